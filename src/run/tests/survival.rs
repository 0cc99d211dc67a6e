//! Killed, paused, damaged, moved, run twice at once: the same results.

use super::*;
use crate::plan::Op;
use rayon::prelude::*;

/// Killed after any event, and resumed: everything as in an undisturbed run. A sink that panics is as sudden as a kill for
/// all that the run itself holds.
#[test]
fn killed_anywhere_it_ends_the_same() {
    let undisturbed = Lab::new(2);
    let (_, whole) = undisturbed.start();
    let expected = results(&whole);
    let total = whole.len();
    for kill_at in (0..total).step_by(11).chain([1, 2, total - 1]) {
        let lab = Lab::new(2);
        // Paths are in no key, so two labs agree.
        let mut seen = 0;
        let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            lab.start_with(&RunOptions::default(), &Control::default(), &mut |_| {
                seen += 1;
                if seen > kill_at {
                    std::panic::resume_unwind(Box::new("killed"));
                }
            })
        }));
        assert!(crash.is_err(), "killed at {kill_at}");
        let (outcome, rest) = lab.resume("quickstart-1");
        assert_eq!(outcome.end, RunEnd::Finished);
        assert_eq!(outcome.winner.as_deref(), Some("policy@2"));
        let journal = directory::events(&lab.project, "quickstart-1").expect("the chain holds");
        let all: Vec<RunEvent> = journal.into_iter().map(|(_, event)| event).collect();
        assert_eq!(results(&all), expected, "killed at {kill_at}");
        let again = |event: &RunEvent| matches!(event, RunEvent::ItemFinished { .. });
        let in_both = whole.iter().take(kill_at.saturating_sub(1)).filter(|event| again(event)).count()
            + rest.iter().filter(|event| again(event)).count();
        let once = whole.iter().filter(|event| again(event)).count();
        assert!(in_both <= once, "killed at {kill_at}: {in_both} items worked, {once} are enough");
    }
}

/// What a child process does in the next test: it kills itself once so many lines are in its journal.
#[test]
#[ignore = "run by `killed_by_the_system_at_any_line_it_ends_the_same` in processes of their own"]
fn victim() {
    let Some(directory) = std::env::var_os("AGX_VICTIM") else { return };
    let lines: usize = std::env::var("AGX_LINES").expect("given").parse().expect("a number");
    let directory = Path::new(&directory);
    let project = Project::open(directory).expect("a project");
    let experiment = quickstart(directory, 2);
    let subject =
        Subject { file_name: "a.agx", source: "", imports: &[], overrides: &BTreeMap::new(), experiment: &experiment };
    let (options, control) = (RunOptions::default(), Control::default());
    let mut written = 0;
    let outcome = start(&project, &subject, &options, &control, &tick(), &mut |event| {
        written += usize::from(!matches!(event, RunEvent::Progress { .. }));
        if written == lines {
            let myself = std::process::id().to_string();
            std::process::Command::new("kill").args(["-9", &myself]).status().expect("is sent");
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
    });
    outcome.expect("nobody killed it");
}

/// SIGKILL after every line of the journal: nothing recorded is worked twice, nothing half-done is trusted, the end is the
/// same.
#[cfg(unix)]
#[test]
fn killed_by_the_system_at_any_line_it_ends_the_same() {
    let (_, whole) = Lab::new(2).start();
    let written = |events: &[RunEvent]| -> Vec<RunEvent> {
        events.iter().filter(|event| !matches!(event, RunEvent::Progress { .. })).cloned().collect()
    };
    let items = |events: &[RunEvent]| -> Vec<(String, String)> {
        let item = |event: &RunEvent| match event {
            RunEvent::ItemFinished { node, item, .. } => Some((node.clone(), item.clone())),
            _ => None,
        };
        events.iter().filter_map(item).collect()
    };
    let lines = written(&whole).len();
    (1..lines).into_par_iter().for_each(|killed_after| {
        let lab = Lab::new(2);
        let status = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["run::tests::survival::victim", "--exact", "--ignored", "--quiet"])
            .env("AGX_VICTIM", lab.directory.path())
            .env("AGX_LINES", killed_after.to_string())
            .stdout(std::process::Stdio::null())
            .status()
            .expect("starts");
        assert!(!status.success(), "it was killed after {killed_after} lines");
        // Lines of what finished together are one write, which may have ended anywhere.
        let path = lab.project.journal("quickstart-1");
        let journal = std::fs::read_to_string(&path).expect("reads");
        let kept: String = journal.split_inclusive('\n').take(killed_after).collect();
        std::fs::write(&path, kept).expect("writes");
        let (outcome, _) = lab.resume("quickstart-1");
        assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
        let events = directory::events(&lab.project, "quickstart-1").expect("the chain holds");
        let all: Vec<RunEvent> = events.into_iter().map(|(_, event)| event).collect();
        assert_eq!(results(&all), results(&whole), "killed after {killed_after} lines");
        let (mut told, mut due) = (items(&all), items(&whole));
        told.sort();
        due.sort();
        let twice = told.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None, "killed after {killed_after} lines");
        assert!(told.iter().all(|item| due.contains(item)), "killed after {killed_after} lines");
    });
}

#[test]
fn a_torn_journal_and_a_missing_first_line_go_on() {
    let lab = Lab::new(1);
    let (_, events) = lab.start();
    let expected = results(&events);
    let path = lab.project.journal("quickstart-1");
    let whole = std::fs::read(&path).expect("reads");
    for cut in [0, 10, whole.len() / 2, whole.len() - 3] {
        std::fs::write(&path, &whole[..cut]).expect("writes");
        let (outcome, _) = lab.resume("quickstart-1");
        assert_eq!(outcome.end, RunEnd::Finished);
        let events: Vec<RunEvent> = journal::read(&path).expect("reads").into_iter().map(|(_, event)| event).collect();
        assert!(matches!(events[0], RunEvent::RunStarted { .. }));
        assert_eq!(results(&events), expected, "cut at {cut}");
    }
}

#[test]
fn a_pause_finishes_what_is_in_flight_and_resume_goes_on() {
    let (_, whole) = Lab::new(2).start();
    let nodes = ["rollout@1", "judge@1", "train@1", "evaluate:dev@2"];
    for at in nodes {
        let lab = Lab::new(2);
        let control = Control::default();
        let (outcome, events) = lab.start_with(&RunOptions::default(), &control, &mut |event| {
            if matches!(event, RunEvent::NodeStarted { node, .. } if node == at) {
                control.pause();
            }
        });
        assert_eq!(outcome.end, RunEnd::Paused, "at {at}");
        assert!(matches!(events.last(), Some(RunEvent::RunPaused { reason: PauseReason::Interrupt })));
        let (outcome, _) = lab.resume(&outcome.run);
        assert_eq!(outcome.end, RunEnd::Finished);
        let journal = directory::events(&lab.project, &outcome.run).expect("reads");
        let all: Vec<RunEvent> = journal.into_iter().map(|(_, event)| event).collect();
        assert_eq!(results(&all), results(&whole), "paused at {at}");
    }
}

#[test]
fn threads_change_nothing() {
    let (_, one) = Lab::new(2).start_with(
        &RunOptions { jobs: Some(1), ..RunOptions::default() },
        &Control::default(),
        &mut |_| {},
    );
    let (_, four) = Lab::new(2).start_with(
        &RunOptions { jobs: Some(4), ..RunOptions::default() },
        &Control::default(),
        &mut |_| {},
    );
    assert_eq!(results(&one), results(&four));
}

/// Damages what `name` finds among the events of a whole run, and sees that it is told and its item alone made again: how the
/// nodes of the second run ended.
fn damaged_and_made_again(name: impl Fn(&RunEvent) -> Option<Digest>) -> BTreeMap<String, (NodeStatus, ItemCounts)> {
    let lab = Lab::new(1);
    let (_, first) = lab.start();
    let name = first.iter().find_map(name).expect("an episode");
    lab.project.store.spoil(&name, |entry| *entry.last_mut().expect("some") ^= 1);
    let (outcome, second) = lab.start();
    assert_eq!(outcome.end, RunEnd::Finished);
    let told = |event: &RunEvent| matches!(event, RunEvent::DamageFound { what } if what.contains(&name.short()));
    assert!(second.iter().any(told), "the damage is reported by name");
    let finished = finished(&second);
    assert_eq!((finished["rollout@1"].1.done, finished["rollout@1"].0), (1, NodeStatus::Done));
    assert_eq!(results(&first), results(&second));
    let (_, third) = lab.start();
    assert!(statuses(&third, NodeStatus::Done).is_empty(), "it is whole again");
    finished
}

/// Also where the step as a whole is in the store: a run that is not proven by its records is not done.
#[test]
fn a_damaged_record_of_an_item_is_made_again() {
    damaged_and_made_again(|event| match event {
        RunEvent::ItemFinished { node, key, .. } if node == "rollout@1" => Some(*key),
        _ => None,
    });
}

#[test]
fn a_damaged_blob_is_named_and_its_item_alone_worked_again() {
    let finished = damaged_and_made_again(|event| match event {
        RunEvent::ItemFinished { node, outcome: ItemOutcome::Done { blob }, .. } if node == "rollout@1" => Some(*blob),
        _ => None,
    });
    assert_eq!(finished["judge@1"].0, NodeStatus::Cached);
}

#[test]
fn a_run_has_one_writer_and_its_own_source() {
    let mut lab = Lab::new(1);
    let (outcome, _) = lab.start();
    let held = directory::RunDirectory::open(&lab.project, &outcome.run).expect("nobody writes it");
    let resumed = |lab: &Lab, run: &str| {
        resume(&lab.project, run, &RunOptions::default(), &Control::default(), &tick(), &mut |_| {})
    };
    let refused = resumed(&lab, &outcome.run);
    assert!(matches!(refused, Err(RunError::Locked { pid, .. }) if pid == std::process::id()), "{refused:?}");
    drop(held);
    // A changed file on disk changes nothing: the run has its own.
    lab.experiment.seed = 99;
    let (_, events) = lab.resume(&outcome.run);
    assert!(statuses(&events, NodeStatus::Done).is_empty());
    let source = lab.project.run_dir(&outcome.run).join("source/quickstart.agx");
    assert_eq!(std::fs::read_to_string(source).expect("frozen"), "agx 2026\n");
    // Changed weights behind it do.
    std::fs::write(lab.directory.path().join("critic.json"), "{\"default\": [\"score: 2\"]}").expect("writes");
    let refused = resumed(&lab, &outcome.run).expect_err("another critic").to_string();
    let said = "run `quickstart-1` cannot go on: what model `grader_lm` names has changed since it was started";
    assert_eq!(refused, said);
    for run in ["quickstart-9", "../quickstart-1", ""] {
        assert!(matches!(resumed(&lab, run), Err(RunError::UnknownRun(_))), "{run}");
    }
}

/// A frozen run names its files from the place of the store: a moved project goes on.
#[test]
fn a_moved_project_goes_on() {
    let lab = Lab::new(1);
    let control = Control::default();
    let (outcome, _) = lab.start_with(&RunOptions::default(), &control, &mut |_| control.pause());
    assert_eq!(outcome.end, RunEnd::Paused);
    let moved = lab.directory.path().with_extension("moved");
    std::fs::rename(lab.directory.path(), &moved).expect("moves");
    let project = Project::open(&moved).expect("a project");
    let (options, control) = (RunOptions::default(), Control::default());
    let outcome = resume(&project, &outcome.run, &options, &control, &tick(), &mut |_| {});
    std::fs::rename(&moved, lab.directory.path()).expect("moves back");
    assert_eq!(outcome.expect("goes on").end, RunEnd::Finished);
}

/// Whoever gave other bytes for a key second does not win: what was recorded first is what everything else read.
#[test]
fn the_first_result_of_a_key_stays() {
    let lab = Lab::new(1);
    let (_, events) = lab.start();
    let (key, blob) = events
        .iter()
        .find_map(|event| match event {
            RunEvent::ItemFinished { node, key, outcome: ItemOutcome::Done { blob }, .. } if node == "rollout@1" => {
                Some((*key, *blob))
            }
            _ => None,
        })
        .expect("an episode");
    let record = lab.project.store.lookup(&key).expect("reads").expect("is there");
    // Forgotten while another process works the same item to other bytes: its record comes first.
    lab.project.store.forget(&key).expect("forgets");
    let text = String::from_utf8(lab.project.store.get(&blob).expect("is there")).expect("JSON");
    let other = lab.project.store.put(text.replace("\"logprob\":-", "\"logprob\":-1").as_bytes()).expect("puts");
    assert_ne!(other, blob);
    let theirs = Record { output: other, ..record };
    let made = items::Made {
        output: text.clone().into_bytes(),
        also: items::Also::new(),
        took: crate::model::Tokens::default(),
    };
    lab.project.store.record(&theirs).expect("records");
    let item = items::Item { name: "train-0000/0".to_owned(), key };
    let made = vec![made.loaded(Op::Rollout, RunLabel::Seeded, &item)];
    let filed = items::file(&lab.project.store, &[0], made, &|_, _, _| Ok((items::Class::Done, ())));
    let (kept, diverged) = filed.expect("files").remove(0);
    assert_eq!(kept.outcome, ItemOutcome::Done { blob: other });
    assert!(items::diverged_words("train-0000/0", &diverged.expect("is told")).contains("train-0000/0: worked again"));
}

/// A store of an older agx: its keys were made otherwise, so nobody asks for them, and what they name is no matter.
#[test]
fn records_of_older_keys_are_not_used_and_do_no_harm() {
    let today = Lab::new(1);
    let (_, expected) = today.start();
    let old = Lab::new(1);
    let stale = old.project.store.put(b"what an older version made").expect("puts");
    let lost = Digest::of_bytes(b"a blob that nobody has");
    let keys = expected.iter().filter_map(|event| match event {
        RunEvent::ItemFinished { key, .. } => Some(*key),
        _ => None,
    });
    let nodes = expected.iter().find_map(|event| match event {
        RunEvent::RunStarted { nodes, .. } => Some(nodes.iter().map(|node| node.key)),
        _ => None,
    });
    let mut keys: Vec<Digest> = keys.chain(nodes.expect("the first event")).collect();
    keys.sort_unstable();
    keys.dedup();
    for (at, key) in keys.iter().enumerate() {
        let older = Digest::of_bytes(format!("agx-key/0 {key}").as_bytes());
        let output = if at % 3 == 0 { lost } else { stale };
        let record = Record::new(older, "rollout", output, RunLabel::Seeded);
        assert!(old.project.store.record(&record).expect("records").is_none());
    }
    assert!(old.survey().values().all(|(status, cached, _)| (*status, *cached) == (SurveyStatus::Run, 0)));
    let (outcome, events) = old.start();
    assert_eq!(outcome.end, RunEnd::Finished);
    assert!(statuses(&events, NodeStatus::Cached).is_empty());
    assert_eq!(results(&events), results(&expected));
    assert!(!events.iter().any(|event| matches!(event, RunEvent::DamageFound { .. })));
}
