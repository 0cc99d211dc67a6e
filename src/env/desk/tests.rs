use super::families::{Family, LESSONS, SINGLES, TASKS};
use super::tools::{LONGEST, Tool};
use super::*;
use crate::base::seed::Rng;
use crate::env::call::parse;
use crate::env::{Action, Call, Env, EnvKind};
use crate::model::{Role, ToolFormat};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SPLITS: [&str; 3] = ["train", "dev", "test"];

fn spec(max_steps: u32) -> EnvSpec {
    let split = |name: &str, size, held_out| Split { name: name.to_owned(), size, held_out };
    let splits = vec![split("train", 400, false), split("dev", 200, false), split("test", 400, true)];
    EnvSpec { kind: EnvKind::Desk, splits, max_steps }
}

/// As a run has it, with episodes that cannot fail.
struct Within(Env, Desk);

impl std::ops::Deref for Within {
    type Target = Env;

    fn deref(&self) -> &Env {
        &self.0
    }
}

impl Within {
    fn start(&self, task: &Task) -> Box<dyn PureEpisode> {
        self.1.start(task)
    }
}

fn desk() -> Within {
    let env = Env::open(&spec(6), &crate::model::Wire::default()).expect("the desk is built in");
    Within(env, Desk::new(&spec(6)))
}

/// Every key of a run holds it: a field in another order, a word or a draw more, and all that was made is made again.
#[test]
fn the_desk_is_the_one_that_results_were_made_of() {
    let identity = crate::env::identity(&EnvKind::Desk).unwrap();
    assert_eq!(identity.to_string(), "d07d469afbb78f454d9b92835430e20e8980c6215af7f8c63f657104a95492f3");
}

fn success(episode: &dyn PureEpisode) -> f64 {
    *episode.truth().get("success").unwrap()
}

fn successes(tasks: &[Task], mut agent: impl FnMut(&Task) -> Vec<Action>) -> f64 {
    let desk = desk();
    let solved = tasks.iter().filter(|task| {
        let mut episode = desk.start(task);
        agent(task).iter().for_each(|action| drop(episode.step(action)));
        success(&*episode) == 1.0
    });
    solved.count() as f64 / tasks.len() as f64
}

#[test]
fn the_expert_solves_every_task_in_five_turns() {
    let desk = desk();
    for task in SPLITS.into_iter().flat_map(|split| desk.tasks(split)) {
        let mut episode = desk.start(&task);
        let actions = expert(&task);
        assert!((2..=5).contains(&actions.len()), "{task:?}");
        for (turn, action) in actions.iter().enumerate() {
            let observation = episode.step(action);
            let refused = observation.text.starts_with("error") && !observation.text.contains(" is taken on ");
            assert!(!refused, "{task:?}\n{action:?}\n{}", observation.text);
            assert_eq!(observation.done, turn + 1 == actions.len());
        }
        let truth = episode.truth();
        assert_eq!((*truth.get("success").unwrap(), *truth.get("progress").unwrap()), (1.0, 1.0), "{task:?}");
        assert_eq!(truth.keys().collect::<Vec<_>>(), ["progress", "success"]);
    }
}

#[test]
fn every_step_of_the_expert_is_needed() {
    let desk = desk();
    for task in SPLITS.into_iter().flat_map(|split| desk.tasks(split)) {
        let actions = expert(&task);
        let effects = actions.iter().filter(|action| matches!(action, Action::Call(call) if changes(call)));
        for skipped in effects.chain(actions.last()) {
            let mut episode = desk.start(&task);
            actions.iter().filter(|action| *action != skipped).for_each(|action| drop(episode.step(action)));
            let refused = matches!(skipped, Action::Call(call) if desk.start(&task).step(&Action::Call(call.clone())).text.contains(" is taken on "));
            assert!(refused || success(&*episode) == 0.0, "{task:?}\nwithout {skipped:?}");
        }
    }
}

fn changes(call: &Call) -> bool {
    Tool::ALL.iter().any(|tool| tool.name() == call.name && tool.changes())
}

#[test]
fn what_nobody_asked_for_spoils_success() {
    let desk = desk();
    for task in desk.tasks("train") {
        for extra in expert(&task).iter().filter(|action| matches!(action, Action::Call(call) if changes(call))) {
            let mut actions = expert(&task);
            actions.insert(0, extra.clone());
            let mut episode = desk.start(&task);
            let observed: Vec<String> = actions.iter().map(|action| episode.step(action).text).collect();
            let twice = observed.iter().filter(|text| *text == tools::OK).count() > goal_effects(&task);
            assert_eq!(success(&*episode), if twice { 0.0 } else { 1.0 }, "{task:?}");
        }
    }
}

fn goal_effects(task: &Task) -> usize {
    task::goal(task).expect("our own task").effects.len()
}

#[test]
fn an_answer_that_lists_guesses_does_not_count() {
    let desk = desk();
    let asked = |task: &&Task| task::goal(task).is_some_and(|goal| !goal.answers.is_empty());
    let all = format!("{} {} 17 45", lexicon::TIMES.join(" "), lexicon::ROOMS.join(" "));
    for task in desk.tasks("train").iter().filter(asked) {
        let Some(Action::Answer(right)) = expert(task).pop() else { panic!("an expert answers") };
        for (text, expected) in [(right.clone(), 1.0), (format!("{right} {all} ana10@desk"), 0.0)] {
            let mut episode = desk.start(task);
            episode.step(&Action::Answer(text));
            assert_eq!(success(&*episode), expected, "{task:?}");
        }
    }
}

#[test]
fn agents_that_do_not_read_solve_next_to_nothing() {
    let desk = desk();
    let tasks: Vec<Task> = SPLITS.into_iter().flat_map(|split| desk.tasks(split)).collect();
    let constant = |text: &str| successes(&tasks, |_| vec![Action::Answer(text.to_owned())]);
    assert_eq!(constant("Done."), 0.0);
    assert_eq!(constant(""), 0.0);
    assert!(constant("The time is 10:00.") < 0.02);
    let mut rng = Seed(7).rng();
    let random = successes(&tasks, |task| random_actions(task, &mut rng));
    assert!(random < 0.02, "{random}");
}

/// Granted tools with typed arguments, half of them from the request, then an answer.
fn random_actions(task: &Task, rng: &mut Rng) -> Vec<Action> {
    let goal = task::goal(task).expect("our own task");
    let request = task.fields["request"].as_str().expect("text");
    let said: Vec<&str> = request.split(|c: char| " ,.?".contains(c)).filter(|word| !word.is_empty()).collect();
    let value = |kind: tools::Kind, rng: &mut Rng| {
        if rng.chance(0.5) {
            let start = rng.below(said.len());
            return said[start..(start + 1 + rng.below(2)).min(said.len())].join(" ");
        }
        match kind {
            tools::Kind::Name => Pool::All.name(rng),
            tools::Kind::Address => lexicon::address(&Pool::All.name(rng), rng),
            tools::Kind::Day => (*rng.pick(&lexicon::DAYS)).to_owned(),
            tools::Kind::Time => (*rng.pick(&lexicon::TIMES)).to_owned(),
            tools::Kind::Room => (*rng.pick(lexicon::ROOMS)).to_owned(),
            tools::Kind::Number => Pool::All.amount(rng).to_string(),
            tools::Kind::Text => Pool::All.topic(rng),
        }
    };
    let mut actions: Vec<Action> = (0..1 + rng.below(3))
        .map(|_| {
            let tool = *rng.pick(&goal.granted);
            let argument = |&(name, kind): &(&str, tools::Kind)| (name.to_owned(), value(kind, rng));
            let arguments = tool.parameters().iter().map(argument).collect();
            Action::Call(Call { name: tool.name().to_owned(), arguments })
        })
        .collect();
    actions.push(Action::Answer(format!("The time is {}.", rng.pick(&lexicon::TIMES))));
    actions
}

#[test]
fn splits_share_no_name_and_no_task_and_test_has_combinations_of_its_own() {
    let desk = desk();
    let names = |split: &str| -> BTreeSet<String> {
        let actions = desk.tasks(split).iter().flat_map(expert).collect::<Vec<_>>();
        let calls =
            actions.into_iter().filter_map(|action| if let Action::Call(call) = action { Some(call) } else { None });
        calls
            .flat_map(|call| ["name", "from", "room", "title", "item"].map(|name| call.arguments.get(name).cloned()))
            .flatten()
            .collect()
    };
    let plans = |split: &str| -> Vec<Vec<String>> {
        let steps = |task: &Task| {
            expert(task)
                .iter()
                .map(|action| if let Action::Call(call) = action { call.name.clone() } else { String::new() })
                .collect()
        };
        desk.tasks(split).iter().map(steps).collect()
    };
    let [train, dev, test] = SPLITS.map(names);
    assert!(train.is_disjoint(&test) && dev.is_disjoint(&test) && train.is_disjoint(&dev));
    let known: BTreeSet<Vec<String>> = plans("train").into_iter().chain(plans("dev")).collect();
    let unseen = plans("test").iter().filter(|plan| !known.contains(*plan)).count() as f64 / 400.0;
    assert!((0.18..0.32).contains(&unseen), "{unseen}");
    let requests: BTreeSet<String> =
        SPLITS.into_iter().flat_map(|split| desk.tasks(split)).map(|task| task.fields["request"].to_string()).collect();
    assert!(requests.len() > 995, "{} different requests of 1000", requests.len());
}

#[test]
fn weights_are_per_mille_and_lessons_show_no_combination_of_tasks() {
    let sum = |weight: fn(&Family) -> u32| TASKS.iter().map(weight).sum::<u32>();
    assert_eq!((sum(|family| family.train), sum(|family| family.test)), (1000, 1000));
    let several = |table: &[Family]| -> BTreeSet<Vec<&str>> {
        table.iter().filter(|family| family.moves() > 1).map(|family| family.parts.concat()).collect()
    };
    let tasks = several(TASKS);
    assert!(tasks.is_disjoint(&several(LESSONS)));
    // Nor a stretch of one: pairs that follow each other in a task are never a pair of dependent moves in the lessons.
    let pairs = |table: &BTreeSet<Vec<&'static str>>| -> BTreeSet<[&'static str; 2]> {
        table.iter().flat_map(|moves| moves.windows(2).map(|pair| [pair[0], pair[1]]).collect::<Vec<_>>()).collect()
    };
    let shared: Vec<_> = pairs(&tasks).intersection(&pairs(&several(LESSONS))).copied().collect();
    assert!(shared.is_empty(), "{shared:?}");
    let used: BTreeSet<&str> = TASKS.iter().flat_map(|family| family.parts.concat()).collect();
    let taught: BTreeSet<&str> =
        LESSONS.iter().flat_map(|family| family.parts.concat()).chain(SINGLES.iter().copied()).collect();
    let phrases = |keys: &BTreeSet<&str>| -> BTreeSet<&str> {
        keys.iter().flat_map(|key| moves::by_key(key).says).copied().collect()
    };
    let untaught: Vec<&str> = phrases(&used).difference(&phrases(&taught)).copied().collect();
    assert!(
        untaught.iter().all(|phrase| phrase.contains("on {day} at that time")
            || phrase.contains("that amount for the {item}")
            || phrase.contains("that amount to the expenses for the {item}")),
        "{untaught:?}"
    );
}

#[test]
fn all_text_is_of_the_lexicon_and_short() {
    let known: BTreeSet<String> = lexicon().into_iter().collect();
    assert!(known.len() <= 1200, "{} words", known.len());
    let desk = desk();
    let mut unknown = BTreeSet::new();
    for offer in ["lessons", "hasty_lessons", "dialogues", "demos", "verdicts", "verdict_lessons"] {
        let examples = desk.examples(offer, 1500);
        let units: usize = examples
            .iter()
            .flat_map(|example| &example.messages)
            .map(|message| {
                let units = lexicon::words(&message.content);
                unknown.extend(
                    units.iter().filter(|&&unit| unit != "\n" && !known.contains(unit)).map(|unit| (*unit).to_owned()),
                );
                units.len() + 2
            })
            .sum();
        let mean = units / examples.len();
        assert!((70..=160).contains(&mean), "{offer}: {mean} tokens a conversation");
    }
    for task in SPLITS.into_iter().flat_map(|split| desk.tasks(split)) {
        let request = task.fields["request"].as_str().expect("text");
        unknown.extend(lexicon::words(request).into_iter().filter(|unit| !known.contains(*unit)).map(str::to_owned));
        assert!((4..=45).contains(&request.split(' ').count()), "{request}");
    }
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn examples_are_a_stable_stream_in_the_shape_of_episodes() {
    let desk = desk();
    for offer in schema().offers.iter().map(|offer| offer.name.as_str()) {
        let (few, many) = (desk.examples(offer, 5), desk.examples(offer, 60));
        assert_eq!(few[..], many[..5], "{offer}");
        for example in &many {
            let roles: Vec<Role> = example.messages.iter().map(|message| message.role).collect();
            assert_eq!(roles[..2], [Role::System, Role::User], "{offer}");
            assert!(example.messages[0].content.starts_with(lessons::SYSTEM));
            assert_eq!(example.labelled.is_some(), offer.starts_with("verdict"));
        }
    }
    assert!(desk.examples("nothing", 3).is_empty());
}

#[test]
fn a_verdict_is_what_its_turns_come_to() {
    let desk = desk();
    let examples = desk.examples("verdicts", 1000);
    let mut successes = 0.0;
    for example in &examples {
        let labelled = example.labelled.as_ref().expect("verdicts are labelled");
        let mut episode = desk.start(&labelled.task);
        let mut turns = labelled.turns.iter().peekable();
        let mut done = false;
        while let Some(turn) = turns.next() {
            assert_eq!(turn.role, Role::Assistant);
            let observation = episode.step(&parse(&turn.content, ToolFormat::Lines));
            done = observation.done;
            if let Some(tool) = turns.next() {
                assert_eq!(tool.content, observation.text);
            }
        }
        assert_eq!((done, &episode.truth()), (labelled.ended, &labelled.truth));
        successes += *labelled.truth.get("success").unwrap();
    }
    let share = successes / examples.len() as f64;
    assert!((0.42..0.58).contains(&share), "{share}");
}

#[test]
fn errors_name_what_is_wrong_and_leave_the_task_solvable() {
    let desk = desk();
    let task = (desk.tasks("train").into_iter())
        .find(|task| {
            task.fields["request"].as_str().is_some_and(|text| text.contains("people")) && expert(task).len() == 3
        })
        .expect("a room to book");
    let mut episode = desk.start(&task);
    let mut step = |text: &str| episode.step(&parse(text, ToolFormat::Lines)).text;
    assert_eq!(step("call fly"), "error: no tool fly");
    assert_eq!(step("call find_room\nday: Monday"), "error: find_room needs people");
    assert_eq!(step("call find_room\nday: Monday\npeople: few\ntime: 9:00"), "error: people must be a number");
    assert_eq!(step("call find_room\nday: Funday\npeople: 3\ntime: 9:00"), "error: no day Funday");
    assert_eq!(step("call find_room\nday: Monday\npeople: 3\ntime: 9:17"), "error: no time 9:17");
    assert_eq!(step("call find_room\nwhy: Monday"), "error: find_room takes no why");
    assert_eq!(step("call book_room\nday: Monday\nroom: Attic\ntime: 9:00"), "error: no room Attic");
    assert_eq!(step("call find_room\nday"), tools::UNREADABLE);
    expert(&task).iter().for_each(|action| drop(episode.step(action)));
    assert_eq!(success(&*episode), 1.0);
}

#[test]
fn the_digest_is_of_the_generator_not_of_the_declaration() {
    let digest = |change: fn(&mut EnvSpec)| {
        let mut spec = spec(6);
        change(&mut spec);
        Desk::new(&spec).digest()
    };
    let same = digest(|_| {});
    assert_eq!(digest(|spec| spec.splits[0].size = 401), same);
    assert_eq!(digest(|spec| spec.max_steps = 7), same);
}

#[test]
fn many_steps_are_made() {
    let desk = desk();
    let plans: Vec<(Task, Vec<Action>)> = desk
        .tasks("train")
        .into_iter()
        .map(|task| {
            let plan = expert(&task);
            (task, plan)
        })
        .collect();
    let mut steps = 0;
    for (task, plan) in plans.iter().cycle().take(4_000) {
        let mut episode = desk.start(task);
        steps += plan.iter().map(|action| episode.step(action)).count();
    }
    assert!(steps > 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn hostile_actions_are_answered_in_a_line(
        index in 0usize..14,
        name in ".{0,40}",
        values in proptest::collection::vec(("[a-z]{0,9}", "(\\PC|[\\x00-\\x1f]){0,90}"), 0..5),
        known in proptest::collection::vec("(the |\\.|9:00|Monday|-1|0|99999999999|[a-zé ]{0,6}){1,3}", 3),
    ) {
        let desk = desk();
        let task = &desk.tasks("test")[index];
        let goal = task::goal(task).expect("our own task");
        let mut episode = desk.start(task);
        let free: BTreeMap<String, String> = values.into_iter().collect();
        let tool = goal.granted[index % goal.granted.len()];
        let fitting = tool.parameters().iter().zip(&known).map(|((name, _), value)| ((*name).to_owned(), value.clone())).collect();
        for (name, arguments) in [(name, free.clone()), (tool.name().to_owned(), free), (tool.name().to_owned(), fitting)] {
            let observation = episode.step(&Action::Call(Call { name, arguments }));
            prop_assert!(observation.text.chars().count() <= LONGEST && !observation.text.contains(char::is_control), "{}", observation.text);
        }
        prop_assert!(success(&*episode) == 0.0);
    }
}

#[test]
fn a_megabyte_is_refused_shortly() {
    let huge = "é".repeat(1 << 19);
    let desk = desk();
    for task in desk.tasks("dev").iter().take(20) {
        let mut episode = desk.start(task);
        for tool in Tool::ALL {
            let arguments: BTreeMap<String, String> =
                tool.parameters().iter().map(|(name, _)| ((*name).to_owned(), huge.clone())).collect();
            let named = Call { name: tool.name().to_owned(), arguments };
            let unknown = Call { name: huge.clone(), arguments: [(huge.clone(), huge.clone())].into() };
            for call in [named, unknown] {
                let text = episode.step(&Action::Call(call)).text;
                assert!(text.starts_with("error: ") && text.chars().count() <= LONGEST, "{text}");
            }
        }
        episode.step(&Action::Unreadable(huge.clone()));
        episode.step(&Action::Answer(huge.clone()));
        assert_eq!(success(&*episode), 0.0);
    }
    let foreign = Task { id: "x".to_owned(), fields: serde_json::Map::new(), hidden: serde_json::Value::Null.into() };
    let mut episode = desk.start(&foreign);
    episode.step(&Action::Answer(String::new()));
    assert_eq!(success(&*episode), 0.0);
    assert!(expert(&foreign).is_empty());
}
