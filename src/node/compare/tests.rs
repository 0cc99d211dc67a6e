use super::*;
use crate::model::StopReason;
use crate::node::answer::tests::{schema, score};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn better() -> AnswerSchema {
    schema(&[("why", AnswerKind::Text), ("better", AnswerKind::Bool)])
}

fn preferred(prefers: Prefers) -> Said {
    Said::Pair(Ok(Preferred::from_iter([("better".to_owned(), prefers)])))
}

fn scores(text: &str, shown: usize) -> Result<Vec<Option<i64>>, String> {
    let number = |judged: &Judged| match judged.as_ref().ok()?.get("score")? {
        AnswerValue::Int(score) => Some(*score),
        _ => None,
    };
    Ok(parse_group(text, &score(), shown, &[])?.iter().map(number).collect())
}

fn seed(first: usize, vote: u32) -> Seed {
    Seed(7).derive(first as u64).derive(vote)
}

#[test]
fn the_instructions_say_what_is_compared() {
    assert_eq!(
        format(CriticKind::Pairs, &better(), 2),
        "Answer with these lines:\nwhy: a few words\nbetter: a, b or tie"
    );
    assert_eq!(
        format(CriticKind::Group, &score(), 3),
        "Answer with these lines:\nscore 1: 0 to 4\nscore 2: 0 to 4\nscore 3: 0 to 4"
    );
    assert_eq!(format(CriticKind::Group, &score(), 1), "Answer with one line: score 1: 0 to 4");
    assert_eq!(row_schema(CriticKind::Group, &score()), score());
    assert_eq!(row_schema(CriticKind::Pairs, &better()).fields[0].to_string(), "better: int in 0..1 by expectation");
}

#[test]
fn a_choice_is_one_of_two_or_a_tie() {
    let read = |text: &str| parse_pair(text, &better()).map(|preferred| *preferred.get("better").unwrap());
    assert_eq!(read("why: done\nbetter: a"), Ok(Prefers::First));
    assert_eq!(read("I think.\nwhy: done\n BETTER : B "), Ok(Prefers::Second));
    assert_eq!(read("why: both\nbetter: tie"), Ok(Prefers::Neither));
    for text in [
        "",
        "better: a",
        "why: \nbetter: a",
        "why: x\nbetter: c",
        "why: x\nbetter: yes",
        "why: x\nbetter: a or b",
        "why: x\nbetter: a, b or tie",
        "why: x\nbetter: a\nbetter: a",
        "why: better: b\nbetter: a",
        "why: x\nbetter = a",
        "why: x\nbetter: а",
        "why: x\n> better: a",
    ] {
        assert!(parse_pair(text, &better()).is_err(), "{text:?}");
    }
}

#[test]
fn a_group_s_verdicts_go_by_id_and_one_that_lacks_shifts_none() {
    assert_eq!(scores("score 1: 4\nscore 2: 0\nscore 3: 2", 3), Ok(vec![Some(4), Some(0), Some(2)]));
    assert_eq!(scores("score 3: 2\nthinking\nSCORE 1: 4", 3), Ok(vec![Some(4), None, Some(2)]));
    assert_eq!(scores("score 1: 9\nscore 2: 3", 2), Ok(vec![None, Some(3)]), "out of range is that one's alone");
    assert_eq!(scores("score: 3\nscore: 4", 2), Ok(vec![None, None]), "whose they are is not said");
    assert_eq!(scores("The score for 2 is high.\nscore 2: 3", 2), Ok(vec![None, Some(3)]));
    let twelve: Vec<String> = (1..=12).map(|id| format!("score {id}: {}", id % 5)).collect();
    assert_eq!(scores(&twelve.join("\n"), 12), Ok((1..=12).map(|id| Some(id % 5)).collect()));
    assert_eq!(scores("Here are the scores:\nscore 1: 4\nscore 2: 0", 2), Ok(vec![Some(4), Some(0)]));
    assert_eq!(scores("scored = well\nscore 1: 4\nSCORE\t2: 0\n", 2), Ok(vec![Some(4), None]), "as it is asked for");
    for doubtful in [
        "score1: 4\nscore 1: 3\nscore 2: 0",
        "score 0: 4\nscore 1: 3",
        "score 1: 4\nscore 2: 3\nscore 3: 0",
        "score 1: 4\nscore 1: 4\nscore 2: 0",
        "score 1: 4\nscore 2: 0\nI said score 1 = 2",
        "score 01: 4\nscore 2: 3",
        "score ２: 4\nscore 1: 3",
        "score a: 4\nscore 2: 3",
        "score 1: 4\n`score` 2: 1\nscore 2: 3\nscore 2: 3",
    ] {
        assert!(scores(doubtful, 2).is_err(), "{doubtful:?}");
    }
}

#[test]
fn what_was_cut_off_is_read_up_to_its_last_whole_line() {
    let reply = |text: &str, stop| JudgeReply { text: text.to_owned(), stop, tokens: 9, likely: Vec::new() };
    let said = read(&reply("score 1: 4\nscore 2: 1", StopReason::MaxTokens), CriticKind::Group, &score(), 2);
    let Said::Group(all) = &said else { panic!("{said:?}") };
    assert!(all[0].is_ok() && all[1].is_err());
    assert_eq!(said.unread(), [None, all[1].as_ref().err()], "one of two, whatever is said of the other");
    let said = read(&reply("why: x\nbetter: a", StopReason::MaxTokens), CriticKind::Pairs, &better(), 2);
    assert_eq!(said.unread(), [Some(&"the reply was cut off, and `better` is not given".to_owned())]);
    let said = read(&reply("score 7: 1", StopReason::EndOfTurn), CriticKind::Group, &score(), 2);
    assert!(matches!(said.unread()[..], [Some(_), Some(_)]));
}

#[test]
fn every_two_of_a_task_are_asked_about_in_both_orders() {
    let tasks = ["x", "y", "x", "x", "z"];
    let layout = Layout::of(CriticKind::Pairs, &tasks, 1, &seed);
    let shown: Vec<Vec<usize>> = (0..layout.questions()).map(|at| layout.shown(at).into_owned()).collect();
    assert_eq!(shown, [[0, 2], [2, 0], [0, 3], [3, 0], [2, 3], [3, 2]]);
    let twice = Layout::of(CriticKind::Pairs, &tasks, 2, &seed);
    assert_eq!((twice.questions(), twice.vote(3), &*twice.shown(3)), (12, 1, &[2, 0][..]));
    let group = Layout::of(CriticKind::Group, &tasks, 2, &seed);
    let sizes: Vec<usize> = (0..group.questions()).map(|at| group.shown(at).len()).collect();
    assert_eq!(sizes, [3, 3, 1, 1, 1, 1]);
    let each = Layout::of(CriticKind::Each, &tasks, 3, &seed);
    assert_eq!((each.questions(), &*each.shown(7), each.vote(7)), (15, &[2][..], 1));
}

#[test]
fn a_win_is_one_in_both_orders_and_a_flip_is_a_tie() {
    use Prefers::{First, Neither, Second};
    let tasks = ["x", "x", "x", "y"];
    let layout = Layout::of(CriticKind::Pairs, &tasks, 1, &seed);
    let unread = || Said::Pair(Err("`better` is not given".to_owned()));
    // 0 beats 1; 0 against 2 goes by the place; 1 against 2 cannot be read in one order.
    let said = [preferred(First), preferred(Second), preferred(First), preferred(First), unread(), preferred(First)];
    let said = |at: usize| Some(&said[at]);
    let verdicts = layout.verdicts(0, &said);
    let share =
        |row: usize| verdicts[row].clone().map(|judged| judged.map(|verdict| verdict.get("better").cloned().unwrap()));
    assert_eq!(share(0), Some(Ok(AnswerValue::Number(0.75))));
    assert_eq!(share(1), Some(Ok(AnswerValue::Number(0.0))));
    assert_eq!(share(2), Some(Ok(AnswerValue::Number(0.5))));
    assert!(matches!(share(3), Some(Err(why)) if why.contains("no other sample")));
    let flips = flips(&better(), &layout.in_both_orders(&said));
    assert_eq!((flips[0].name.as_str(), flips[0].value, flips[0].n), ("better.flips", 0.5, 2));
    // Whoever says in one order that they are equal, and not in the other, disagrees with itself.
    let said = [preferred(First), preferred(Neither), unread(), unread(), unread(), unread()];
    let verdicts = layout.verdicts(0, &|at| Some(&said[at]));
    assert_eq!(verdicts[1].clone().unwrap().unwrap().get("better").cloned().unwrap(), AnswerValue::Number(0.5));
    assert_eq!(
        verdicts[2].clone().unwrap(),
        Err("`better` is not given (2 of 2)".to_owned()),
        "all of its comparisons"
    );
    // What is missing is neither a verdict nor unread.
    assert_eq!(layout.verdicts(0, &|_| None)[..3], [None, None, None]);
}

/// Of two equal texts a critic that goes by what it reads says the same in both orders.
#[test]
fn two_that_read_the_same_are_a_tie_and_no_flip() {
    use Prefers::{First, Second};
    let mut layout = Layout::of(CriticKind::Pairs, &["x", "x", "x"], 2, &seed);
    // 0 and 2 are the same text; 0 and 1, and 2 and 1, are not.
    let texts = ["01", "01", "10", "10", "00", "00", "00", "00", "10", "10", "01", "01"];
    layout.note_alike(&texts.map(|text| Digest::of_bytes(text.as_bytes())), &better());
    let said = [First, First, Second, Second, First, First, First, Second, Second, Second, First, First].map(preferred);
    let said = |at: usize| Some(&said[at]);
    let flips = flips(&better(), &layout.in_both_orders(&said));
    assert_eq!((flips[0].value, flips[0].n), (0.0, 4), "two comparisons, two votes");
    for vote in 0..2 {
        let shares = layout.verdicts(vote, &said);
        let share = |row: usize| shares[row].clone().unwrap().unwrap().get("better").unwrap().figure();
        assert_eq!([share(0), share(1), share(2)], [Some(0.75), Some(0.0), Some(0.75)]);
    }
    assert_eq!(layout.verdicts(0, &|_| None), [None, None, None], "what is missing stays so");
}

proptest! {
    /// Whatever a critic prefers, what one wins another loses, and none wins for standing first.
    #[test]
    fn shares_of_a_task_are_a_half_on_average(rows in 2usize..6, answers in prop::collection::vec(0u8..3, 30)) {
        let tasks = vec!["x"; rows];
        let layout = Layout::of(CriticKind::Pairs, &tasks, 1, &seed);
        let prefers = [Prefers::First, Prefers::Second, Prefers::Neither];
        let said: Vec<Said> = answers.iter().map(|at| preferred(prefers[*at as usize])).collect();
        let share = |verdict: &Option<Judged>| verdict.clone().unwrap().unwrap().get("better").cloned().unwrap().figure().unwrap();
        let shares: Vec<f64> = layout.verdicts(0, &|at| Some(&said[at])).iter().map(share).collect();
        prop_assert!((mean(&shares) - 0.5).abs() < 1e-12, "{shares:?}");
        prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        for first in [Prefers::First, Prefers::Second] {
            let said = preferred(first);
            prop_assert!(layout.verdicts(0, &|_| Some(&said)).iter().all(|verdict| share(verdict) == 0.5));
        }
    }

    /// A group is shown whole, in an order of its own each vote, and each verdict reaches the one it names.
    #[test]
    fn a_drawn_order_is_the_group_and_verdicts_find_home(rows in 1usize..12, votes in 1usize..4, skipped in 0usize..12) {
        let tasks = vec!["x"; rows];
        let layout = Layout::of(CriticKind::Group, &tasks, votes, &seed);
        for question in 0..votes {
            let shown = layout.shown(question).into_owned();
            let mut sorted = shown.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..rows).collect::<Vec<_>>());
            // The true score of a row is its number, whatever id it is shown under.
            let lines = shown.iter().zip(1..).filter(|(_, id)| *id != skipped).map(|(row, id)| format!("score {id}: {}", row % 5));
            let text = lines.collect::<Vec<_>>().join("\n");
            let said = Said::Group(parse_group(&text, &score(), rows, &[]).unwrap());
            let verdicts = layout.verdicts(question as u32, &|at| (at == question).then_some(&said));
            for (row, judged) in verdicts.iter().enumerate() {
                let lacks = skipped > 0 && shown.get(skipped - 1) == Some(&row);
                match judged.as_ref().unwrap() {
                    Ok(verdict) => prop_assert_eq!(verdict.get("score").unwrap(), &AnswerValue::Int((row % 5) as i64)),
                    Err(_) => prop_assert!(lacks),
                }
            }
        }
    }

    #[test]
    fn no_two_votes_show_a_group_in_the_same_order_while_there_are_others(rows in 1usize..5, votes in 1usize..30, salt: u64) {
        let layout = Layout::of(CriticKind::Group, &vec!["x"; rows], votes, &|row, vote| seed(row, vote).derive(salt));
        let there_are: usize = (1..=rows).product();
        let orders: Vec<Vec<usize>> = (0..votes).map(|vote| layout.shown(vote).into_owned()).collect();
        for orders in orders.chunks(there_are) {
            let distinct: BTreeSet<&Vec<usize>> = orders.iter().collect();
            prop_assert_eq!(distinct.len(), orders.len());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,12}((score|better|why)[ 0-9a]{0,4}[:=]{0,2} ?[0-9ab]{0,2}\\PC{0,6}\n?){0,4}") {
        if let Ok(all) = parse_group(&text, &score(), 3, &[]) {
            prop_assert_eq!(all.len(), 3);
        }
        if let Ok(preferred) = parse_pair(&text, &better()) {
            prop_assert_eq!(preferred.len(), 1);
        }
    }
}
