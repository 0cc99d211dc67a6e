//! Critics that compare a task's samples: two at a time, or all at once.

use super::*;
use crate::node::compare::{self, Said};
use crate::node::judge::JudgeReply;
use crate::node::spec::{AnswerField, AnswerKind, AnswerSchema, CriticKind, Joined, OnUnparsed, Votes};
use crate::node::template::{Filter, Piece};
use crate::node::trajectory::Trajectory;
use crate::plan::bounds::bounds;
use crate::run::manifest::ManifestItem;
use crate::run::verify::Level;
use crate::run::verify::tests::look;
use crate::select::{Column, Expr};
use std::collections::BTreeSet;

const SAMPLES: u32 = 3;

fn value(path: &[&str], filters: Vec<Filter>) -> Piece {
    Piece::Value { path: path.iter().map(|part| (*part).to_owned()).collect(), filters }
}

fn shown(at: &str) -> Piece {
    value(&[at], vec![Filter::Transcript { max_tokens: None }])
}

/// Whose critic compares and says one of these, drawn or the first.
fn comparing(kind: CriticKind, temperature: f64, say: &[&str]) -> Lab {
    let mut lab = Lab::new(1);
    let experiment = &mut lab.experiment;
    let (field, answer) = match kind {
        CriticKind::Pairs => ("better", AnswerKind::Bool),
        _ => ("score", AnswerKind::Int { min: 0, max: 4 }),
    };
    let critic = json!({ "replies": [], "default": say }).to_string();
    std::fs::write(lab.directory.path().join("critic.json"), critic).expect("can be written");
    let pieces = match kind {
        CriticKind::Group => {
            let body = vec![value(&["t", "id"], Vec::new()), Piece::Text(":\n".to_owned()), shown("t")];
            vec![Piece::For { variable: "t".to_owned(), path: vec!["trajs".to_owned()], body }]
        }
        _ => vec![shown("a"), Piece::Text("\n\n".to_owned()), shown("b")],
    };
    experiment.prompts[1].it.messages[0].pieces =
        pieces.into_iter().chain([Piece::Text("\n".to_owned()), value(&["answer", "format"], Vec::new())]).collect();
    let Critic::Sole(sole) = &mut experiment.critics[0].it else { panic!("the sample has a sole critic") };
    sole.kind = kind;
    sole.answer =
        AnswerSchema { fields: vec![AnswerField { name: field.to_owned(), kind: answer, expectation: false }] };
    (sole.sampling.temperature, sole.sampling.max_tokens) = (temperature, 99);
    let by = vec![Expr::Column(Column::Answer(field.to_owned()))];
    experiment.rules[0].it.stages = vec![Stage::Best { count: 1, per_task: true, by }];
    // Labelled examples stand alone.
    experiment.schedule.remove(0);
    for statement in sample::body(experiment) {
        if let Statement::Rollout { samples, .. } = statement {
            *samples = SAMPLES;
        }
    }
    lab
}

fn sole(lab: &mut Lab) -> &mut Sole {
    let Critic::Sole(sole) = &mut lab.experiment.critics[0].it else { panic!("it was one") };
    sole
}

fn said(lab: &Lab, item: &ManifestItem) -> Said {
    let (ItemOutcome::Done { blob } | ItemOutcome::Unparsed { blob }) = &item.outcome else { panic!("it was made") };
    let reply: JudgeReply = serde_json::from_slice(&lab.project.store.get(blob).expect("stored")).expect("a reply");
    let sole = lab.experiment.sole(CriticId(0));
    compare::read(&reply, sole.kind, &sole.answer, item.shown.len())
}

/// By task and sample.
fn figures(rows: &RowSet, field: &str) -> BTreeMap<(String, u32), Option<f64>> {
    let figure = |row: &crate::run::manifest::RowEntry| row.verdict.as_ref()?.get(field)?.figure();
    rows.rows.iter().map(|row| ((row.task.clone(), row.sample), figure(row))).collect()
}

#[test]
fn each_two_of_a_task_are_compared_in_both_orders_as_the_plan_says() {
    let lab = comparing(CriticKind::Pairs, 0.0, &["better: a"]);
    let identities = identify(&lab.experiment).expect("files are there");
    let plan = crate::plan::build(&lab.experiment, &identities).expect("can be planned");
    let at = plan.find("judge@1").expect("is planned").id.clone();
    let place = plan.steps.iter().position(|step| step.id == at).expect("it was found");
    let items = bounds(&lab.experiment, &plan)[place].items;
    assert_eq!((items.low, items.high), (36, Some(36)), "6 tasks, 3 pairs each, 2 orders");
    let (outcome, events) = lab.start();
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    let (manifest, rows) = judged(&lab, &events);
    assert_eq!((manifest.items.len(), rows.rows.len()), (36, 18));
    let names: Vec<&str> = manifest.items[..6].iter().map(|item| item.item.rsplit_once('/').unwrap().1).collect();
    assert_eq!(names, ["0-1", "1-0", "0-2", "2-0", "1-2", "2-1"]);
    assert_eq!((&manifest.items[0].shown[..], &manifest.items[3].shown[..]), (&[0, 1][..], &[2, 0][..]));
    // It always says the first: that is its place, not the sample.
    assert_eq!(metric(&events, "judge@1", "better.flips"), 1.0);
    assert!(figures(&rows, "better").values().all(|share| *share == Some(0.5)));
    for row in &rows.rows {
        assert_eq!(usize::from(row.reply.is_some()) + row.replies.len(), 4, "two others, in both orders");
    }
    assert_eq!(lab.survey()["judge@1"], (SurveyStatus::Cached, 36, Some(36)));
    assert!(look(&lab, Level::Remade, 1.0).holds(), "and it is proven as any other run");
}

/// Against another way to count them.
#[test]
fn a_row_has_the_share_of_its_comparisons_that_it_wins() {
    let say = ["better: a", "better: b", "better: a", "better: b", "better: tie", "neither, I think"];
    let lab = comparing(CriticKind::Pairs, 1.0, &say);
    let policy = json!({ "replies": [], "default": ["Done.", "I am done.", "All is done.", "It is done."] });
    std::fs::write(lab.directory.path().join("policy.json"), policy.to_string()).expect("can be written");
    let (outcome, events) = lab.start();
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    let (manifest, rows) = judged(&lab, &events);
    let said: BTreeMap<(&str, u32, u32), Option<compare::Prefers>> = (manifest.items.iter())
        .map(|item| {
            let Said::Pair(preferred) = said(&lab, item) else { panic!("a pair") };
            let prefers = preferred.ok().and_then(|it| it.get("better").copied());
            ((item.item.rsplit_once('/').unwrap().0, item.shown[0], item.shown[1]), prefers)
        })
        .collect();
    let shown: BTreeMap<(&str, u32), Vec<crate::model::Message>> = (rows.rows.iter())
        .map(|row| {
            let bytes = lab.project.store.get(&row.trajectory).expect("stored");
            let trajectory: Trajectory = serde_json::from_slice(&bytes).expect("a trajectory");
            ((row.task.as_str(), row.sample), trajectory.messages)
        })
        .collect();
    let (mut unparsed, mut different, mut ties) = (0, BTreeSet::new(), 0);
    for row in &rows.rows {
        let (mut points, mut compared) = (0.0, 0);
        for other in (0..SAMPLES).filter(|other| *other != row.sample) {
            let task = row.task.as_str();
            // Nothing tells them apart: a tie, whatever is said.
            if shown[&(task, row.sample)] == shown[&(task, other)] {
                (compared, points, ties) = (compared + 1, points + 0.5, ties + 1);
                continue;
            }
            let (Some(first), Some(second)) = (said[&(task, row.sample, other)], said[&(task, other, row.sample)])
            else {
                continue;
            };
            compared += 1;
            points += match (first, second) {
                (compare::Prefers::First, compare::Prefers::Second) => 1.0,
                (compare::Prefers::Second, compare::Prefers::First) => 0.0,
                _ => 0.5,
            };
        }
        let figure = figures(&rows, "better")[&(row.task.clone(), row.sample)];
        assert_eq!(figure, (compared > 0).then(|| points / f64::from(compared)), "{}/{}", row.task, row.sample);
        assert_eq!(row.unparsed.is_some(), compared == 0);
        unparsed += usize::from(compared == 0);
        different.extend(figure.map(|figure| (figure * 100.0) as i64));
    }
    assert!(ties > 0, "some samples say the same");
    let unread = said.values().filter(|prefers| prefers.is_none()).count();
    assert!(unread > 0 && metric(&events, "judge@1", "unread") == unread as f64 / 36.0, "{unread}");
    let why = &manifest.detail["unread"];
    assert_eq!((&why["count"], &why["reasons"][0]["count"]), (&json!(unread), &json!(unread)));
    assert_eq!(why["reasons"][0]["reason"], "`better` is not given");
    assert!(different.len() > 2, "replies are drawn each for itself: {different:?}");
    assert_eq!(metric(&events, "judge@1", "parsed"), (18 - unparsed) as f64 / 18.0);
    let RunEvent::NodeFinished { detail, .. } = events
        .iter()
        .find(|event| matches!(event, RunEvent::NodeFinished { node, .. } if node == "select@1"))
        .expect("it was selected")
    else {
        unreachable!()
    };
    assert_eq!(detail["readable"], 18 - unparsed, "what has no verdict reaches no rule");
}

/// What lacks another is not what could not be read, and a rule that is left with nothing says of which there is how much.
#[test]
fn a_row_alone_and_one_that_cannot_be_read_are_told_apart() {
    let of = |kind: CriticKind, say: &str, samples: u32| {
        let mut lab = comparing(kind, 0.0, &[say]);
        for statement in sample::body(&mut lab.experiment) {
            if let Statement::Rollout { samples: of, .. } = statement {
                *of = samples;
            }
        }
        let (_, events) = lab.start();
        let detail = |event: &RunEvent| match event {
            RunEvent::NodeFinished { node, detail, .. } if node == "select@1" => Some(detail.clone()),
            _ => None,
        };
        let detail = events.iter().find_map(detail).expect("it was selected");
        (detail["readable"].as_u64(), detail["alone"].as_u64())
    };
    assert_eq!(of(CriticKind::Pairs, "better: a", 1), (Some(0), Some(6)));
    assert_eq!(of(CriticKind::Group, "all fine", 3), (Some(0), None));
    let mut lab = comparing(CriticKind::Group, 0.0, &["all fine"]);
    lab.experiment.rules[0].it.stages.push(Stage::Require { count: 1, otherwise: Otherwise::Fail });
    let (outcome, _) = lab.start();
    let reason = outcome.failed.first().map(|failed| failed.reason.clone()).unwrap_or_default();
    let expected = "0 rows are left; of 18 rows no verdict could be read, of 6 since `score 1` is not given";
    assert!(reason.ends_with(expected), "{reason}");
}

#[test]
fn votes_of_comparisons_become_one_and_an_unread_one_fails_where_the_file_says() {
    let mut lab = comparing(CriticKind::Pairs, 1.0, &["better: a", "better: b"]);
    sole(&mut lab).votes = Votes { count: 2, by: Joined::Mean };
    let (outcome, events) = lab.start();
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    let (manifest, _) = judged(&lab, &events);
    assert_eq!(manifest.items.len(), 72);
    assert!(manifest.items[1].item.ends_with("/0-1#2"), "{}", manifest.items[1].item);
    metric(&events, "judge@1", "better.alpha");
    let mut lab = comparing(CriticKind::Pairs, 0.0, &["better: both"]);
    sole(&mut lab).on_unparsed = OnUnparsed::Fail;
    let (outcome, _) = lab.start();
    let reason = outcome.failed.first().map(|failed| failed.reason.clone()).unwrap_or_default();
    assert!(reason.contains("neither a, b nor tie"), "{reason}");
}

#[test]
fn a_group_s_verdicts_reach_the_samples_that_they_name() {
    let say = ["score 1: 4\nscore 2: 1\nscore 3: 0", "score 3: 2\nscore 1: 3", "score 0: 4\nscore 1: 1", "all fine"];
    let lab = comparing(CriticKind::Group, 1.0, &say);
    let (outcome, events) = lab.start();
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    let (manifest, rows) = judged(&lab, &events);
    assert_eq!((manifest.items.len(), rows.rows.len()), (6, 18), "one question a task");
    let orders: BTreeSet<&[u32]> = manifest.items.iter().map(|item| &item.shown[..]).collect();
    assert!(orders.len() > 1, "the order is drawn: {orders:?}");
    let figures = figures(&rows, "score");
    let mut read = 0;
    for item in &manifest.items {
        let Said::Group(all) = said(&lab, item) else { panic!("a group") };
        for (sample, judged) in item.shown.iter().zip(all) {
            let expected = judged.ok().and_then(|verdict| verdict.get("score")?.figure());
            assert_eq!(figures[&(item.item.clone(), *sample)], expected, "{} {sample}", item.item);
            read += usize::from(expected.is_some());
        }
    }
    assert_eq!(metric(&events, "judge@1", "parsed"), read as f64 / 18.0);
    assert!((1..18).contains(&read), "{read}");
    assert_eq!(manifest.detail["unread"]["count"], 18 - read, "rows without a verdict, and no others");
    assert!(look(&lab, Level::Remade, 1.0).holds());
    let mut lab = comparing(CriticKind::Group, 0.0, &["score 1: 4\nscore 2: 1"]);
    sole(&mut lab).votes = Votes { count: 2, by: Joined::Mean };
    let (outcome, events) = lab.start();
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    assert_eq!(metric(&events, "judge@1", "unread"), 1.0 / 3.0);
}

/// The order is drawn by the seed, whatever the replies are; each vote has its own.
#[test]
fn the_order_of_a_group_is_of_the_seed() {
    let orders = |seed: u64, votes: u32| {
        let mut lab = comparing(CriticKind::Group, 0.0, &["score 1: 4\nscore 2: 1\nscore 3: 0"]);
        lab.experiment.seed = seed;
        sole(&mut lab).votes = Votes { count: votes, by: Joined::Mean };
        let (outcome, events) = lab.start();
        assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
        judged(&lab, &events).0.items.into_iter().map(|item| item.shown).collect::<Vec<_>>()
    };
    assert_eq!(orders(7, 1), orders(7, 1));
    assert_ne!(orders(7, 1), orders(8, 1));
    let votes = orders(7, 3);
    assert_eq!(votes.iter().step_by(3).cloned().collect::<Vec<_>>(), orders(7, 1), "the first vote is as before");
    assert!(votes.chunks(3).any(|of_task| of_task[0] != of_task[1] || of_task[1] != of_task[2]));
    let key = |seed: u64| {
        let mut lab = comparing(CriticKind::Group, 0.0, &["score 1: 4"]);
        lab.experiment.seed = seed;
        let plan =
            crate::plan::build(&lab.experiment, &crate::plan::sample::identities(&lab.experiment)).expect("planned");
        plan.find("judge@1").expect("is planned").recipe
    };
    assert_ne!(key(7), key(8), "and the step's key knows");
}
