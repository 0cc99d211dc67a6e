//! Whole runs with scripted models: caching, kills, pauses, gates, damage.

mod lab;

use crate::base::Digest;
use crate::env::{Action, Env, call};
use crate::experiment::*;
use crate::model::ToolFormat;
use crate::plan::sample::{self, evaluate, quickstart, rows};
use crate::run::*;
use crate::select::{Otherwise, Stage};
use crate::store::Record;
use lab::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;

#[test]
fn the_quickstart_runs_to_its_winner() {
    let lab = Lab::new(2);
    let (outcome, events) = lab.start();
    assert_eq!((outcome.end, outcome.run.as_str()), (RunEnd::Finished, "quickstart-1"), "{:?}", outcome.failed);
    assert_eq!(outcome.winner.as_deref(), Some("policy@2"));
    assert!(finished(&events).values().all(|(status, _)| *status == NodeStatus::Done), "{:?}", finished(&events));
    let dev = |id: &str| metric(&events, id, "success");
    assert!(dev("evaluate:base") < dev("evaluate:dev@1") && dev("evaluate:dev@1") < dev("evaluate:dev@2"));
    assert_eq!(finished(&events)["rollout@1"].1, ItemCounts { done: 12, cached: 0, failed: 0 });
    assert!(metric(&events, "judge@1", "parsed") < 1.0, "the unreadable verdicts are counted");
    assert!(metric(&events, "audit@2", "precision") > 0.0);
    assert!(metric(&events, "train@1", "rows") >= 1.0);
    let RunEvent::RunStarted { nodes, label, .. } = &events[0] else { panic!("the first event says what will be run") };
    assert_eq!((nodes.len(), *label), (18, RunLabel::Seeded));
    let journal: Vec<RunEvent> =
        journal::read(&lab.project.journal("quickstart-1")).expect("reads").into_iter().map(|(_, it)| it).collect();
    let told: Vec<RunEvent> = events.into_iter().filter(|event| !matches!(event, RunEvent::Progress { .. })).collect();
    assert_eq!(journal, told, "the journal is what was said");
}

#[test]
fn a_second_run_finds_all_of_it() {
    let lab = Lab::new(2);
    let (_, first) = lab.start();
    let (outcome, second) = lab.start();
    assert_eq!(outcome.run, "quickstart-2");
    assert_eq!(results(&first), results(&second));
    for (id, (status, items)) in finished(&second) {
        assert_eq!((status, items.done, items.cached > 0), (NodeStatus::Cached, 0, true), "{id}");
    }
    assert_eq!(newest(&lab.project).expect("lists").as_deref(), Some("quickstart-2"));
    assert!(lab.survey().values().all(|(status, _, _)| *status == SurveyStatus::Cached), "{:?}", lab.survey());
}

/// The promise: `--set` of the rule's threshold re-runs from `select` on.
#[test]
fn another_threshold_works_again_from_select_on() {
    let mut lab = Lab::new(1);
    lab.start();
    lab.experiment.rules[0].it.stages.remove(1);
    let survey = lab.survey();
    let status = |id: &str| survey[id].0;
    assert!(["rollout@1", "judge@1", "evaluate:base"].iter().all(|id| status(id) == SurveyStatus::Cached));
    assert!(["select@1", "train@1", "evaluate:dev@1"].iter().all(|id| status(id) == SurveyStatus::Run));
    let (_, events) = lab.start();
    assert!(["select@1", "audit@1", "train@1"].iter().all(|id| finished(&events)[*id].0 == NodeStatus::Done));
    assert!(["rollout@1", "judge@1"].iter().all(|id| finished(&events)[*id].0 == NodeStatus::Cached));
}

#[test]
fn another_critic_prompt_judges_again_and_rolls_nothing_out() {
    let mut lab = Lab::new(1);
    lab.start();
    let pieces = &mut lab.experiment.prompts[1].it.messages[0].pieces;
    pieces.push(crate::node::template::Piece::Text("\nBe strict.".to_owned()));
    let (_, events) = lab.start();
    let finished = finished(&events);
    assert_eq!(finished["rollout@1"].0, NodeStatus::Cached);
    assert_eq!(finished["judge@1"].1, ItemCounts { done: 12, cached: 0, failed: 0 });
    // The verdicts are the same, so the training set is, and the weights, and what they do.
    assert_eq!(finished["train@1"].1.cached, 1);
    assert_eq!(finished["evaluate:dev@1"].1, ItemCounts { done: 0, cached: 9, failed: 0 });
}

#[test]
fn more_samples_work_only_the_new_ones() {
    let mut lab = Lab::new(1);
    lab.start();
    if let Statement::Rollout { samples, .. } = &mut sample::body(&mut lab.experiment)[0] {
        *samples = 3;
    }
    let survey = lab.survey();
    assert_eq!(survey["rollout@1"], (SurveyStatus::Partly, 12, Some(18)));
    assert_eq!(survey["judge@1"], (SurveyStatus::Run, 0, None));
    let (_, events) = lab.start();
    assert_eq!(finished(&events)["rollout@1"].1, ItemCounts { done: 6, cached: 12, failed: 0 });
}

#[test]
fn a_larger_split_works_only_its_new_tasks() {
    let mut lab = Lab::new(1);
    lab.start();
    lab.experiment.envs[0].it.splits[1].size = 10;
    let survey = lab.survey();
    assert_eq!(survey["evaluate:base"], (SurveyStatus::Partly, 9, Some(10)));
    assert!(
        ["rollout@1", "judge@1", "train@1", "calibrate:grader"].iter().all(|id| survey[*id].0 == SurveyStatus::Cached)
    );
}

#[test]
fn one_more_iteration_keeps_those_before() {
    let mut lab = Lab::new(1);
    lab.start();
    if let Statement::Repeat { times, .. } = &mut lab.experiment.schedule[2] {
        *times = 2;
    }
    let (_, events) = lab.start();
    for (id, (status, _)) in finished(&events) {
        let new = id.ends_with("@2") || ["pick:winner", "evaluate:test"].contains(&id.as_str());
        assert_eq!(status, if new { NodeStatus::Done } else { NodeStatus::Cached }, "{id}");
    }
}

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

/// What a child process does in the next test: a slow run, so that it can be killed in the middle.
#[test]
#[ignore = "run by `killed_by_the_system_it_ends_the_same` in a process of its own"]
fn victim() {
    let Some(directory) = std::env::var_os("AGX_VICTIM") else { return };
    let directory = Path::new(&directory);
    let project = Project::open(directory).expect("a project");
    let experiment = quickstart(directory, 2);
    let subject = Subject { file_name: "a.agx", source: "", overrides: &BTreeMap::new(), experiment: &experiment };
    let (options, control) = (RunOptions::default(), Control::default());
    let outcome = start(&project, &subject, &options, &control, &tick(), &mut |_| {
        std::thread::sleep(std::time::Duration::from_millis(3));
    });
    outcome.expect("nobody killed it");
}

#[cfg(unix)]
#[test]
fn killed_by_the_system_it_ends_the_same() {
    use std::io::BufRead;
    let (_, whole) = Lab::new(2).start();
    for lines in [5, 40, 80] {
        let lab = Lab::new(2);
        let mut child = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["run::tests::victim", "--exact", "--ignored", "--quiet"])
            .env("AGX_VICTIM", lab.directory.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("starts");
        let journal = lab.project.journal("quickstart-1");
        let written = || std::fs::File::open(&journal).map_or(0, |file| std::io::BufReader::new(file).lines().count());
        while written() < lines && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        child.kill().expect("SIGKILL");
        let status = child.wait().expect("ends");
        assert!(!status.success(), "it was killed after {lines} lines");
        let (outcome, _) = lab.resume("quickstart-1");
        assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
        let events = directory::events(&lab.project, "quickstart-1").expect("the chain holds");
        let all: Vec<RunEvent> = events.into_iter().map(|(_, event)| event).collect();
        assert_eq!(results(&all), results(&whole), "killed after {lines} lines");
    }
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

/// Flips a byte of a file.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).expect("writes");
}

#[test]
fn a_damaged_blob_is_named_and_its_item_alone_worked_again() {
    let lab = Lab::new(1);
    let (_, first) = lab.start();
    let blob = first.iter().find_map(|event| match event {
        RunEvent::ItemFinished { node, outcome: ItemOutcome::Done { blob }, .. } if node == "rollout@1" => Some(*blob),
        _ => None,
    });
    let path = lab.project.store.blob_path(&blob.expect("an episode"));
    damage(&path);
    let (outcome, second) = lab.start();
    assert_eq!(outcome.end, RunEnd::Finished);
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let told = |event: &RunEvent| matches!(event, RunEvent::DamageFound { what } if what.contains(name));
    assert!(second.iter().any(told), "the damage is reported by name");
    let finished = finished(&second);
    assert_eq!((finished["rollout@1"].1.done, finished["rollout@1"].0), (1, NodeStatus::Done));
    assert_eq!(finished["judge@1"].0, NodeStatus::Cached);
    assert_eq!(results(&first), results(&second));
    let (_, third) = lab.start();
    assert!(statuses(&third, NodeStatus::Done).is_empty(), "it is whole again");
}

#[test]
fn a_gate_skips_the_rest_of_the_loop_and_what_follows_still_runs() {
    let mut lab = Lab::new(3);
    *sample::until(&mut lab.experiment) =
        Some(Until::Reaches { metric: sample::metric("dev", "success"), at_least: 0.0 });
    let (outcome, events) = lab.start();
    assert_eq!((outcome.end, outcome.winner.as_deref()), (RunEnd::Finished, Some("policy@1")));
    let skipped = statuses(&events, NodeStatus::Skipped);
    assert_eq!(skipped.len(), 14, "{skipped:?}");
    assert!(skipped.iter().all(|id| id.ends_with("@2") || id.ends_with("@3")));
    assert_eq!(finished(&events)["evaluate:test"].0, NodeStatus::Done);
    let tested = metric(&events, "evaluate:test", "success");

    // Another `until` keeps what was worked, and the winner is measured anew: not taken from the shorter loop.
    *sample::until(&mut lab.experiment) = None;
    let (outcome, events) = lab.start();
    assert_eq!(outcome.winner.as_deref(), Some("policy@2"), "the third training adds no skill that a task needs");
    assert_eq!(finished(&events)["train@1"].0, NodeStatus::Cached);
    assert_eq!(finished(&events)["train@2"].0, NodeStatus::Done);
    assert!(metric(&events, "evaluate:test", "success") > tested);
}

#[test]
fn a_selection_too_small_fails_stops_or_skips_as_the_file_says() {
    let with = |otherwise| {
        let mut lab = Lab::new(2);
        lab.experiment.rules[0].it.stages[2] = Stage::Require { count: 1000, otherwise };
        lab.start()
    };
    let (outcome, events) = with(Otherwise::Fail);
    assert_eq!(outcome.end, RunEnd::Failed);
    assert!(outcome.failed[0].1.contains("require at least 1000"), "{:?}", outcome.failed);
    assert_eq!(statuses(&events, NodeStatus::Failed), ["select@1"]);
    let blocked = statuses(&events, NodeStatus::Blocked);
    assert!(
        ["audit@1", "train@1", "gate@1", "rollout@2", "pick:winner"].iter().all(|id| blocked.contains(&id.to_string()))
    );

    let (outcome, events) = with(Otherwise::Stop);
    assert_eq!((outcome.end, outcome.winner.as_deref()), (RunEnd::Finished, Some("policy@0")));
    assert!(
        ["train@1", "evaluate:dev@1", "gate@1", "rollout@2"]
            .iter()
            .all(|id| finished(&events)[*id].0 == NodeStatus::Skipped)
    );

    let (outcome, events) = with(Otherwise::Skip);
    assert_eq!(outcome.end, RunEnd::Finished);
    assert_eq!(metric(&events, "train@1", "rows"), 0.0);
    let dev = finished(&events)["evaluate:dev@1"].1;
    assert_eq!((dev.done, dev.cached), (0, 9), "equal weights share the base's results");
}

#[test]
fn failed_items_fail_their_step_and_are_tried_again() {
    let lab = Lab::new(1);
    let policy = std::fs::read(lab.directory.path().join("policy.json")).expect("reads");
    // No default: tasks beyond its skill have no reply.
    let mut script: serde_json::Value = serde_json::from_slice(&policy).expect("a script");
    script["default"] = json!([]);
    std::fs::write(lab.directory.path().join("policy.json"), script.to_string()).expect("writes");
    let (outcome, events) = lab.start();
    assert_eq!(outcome.end, RunEnd::Failed);
    let items = finished(&events)["evaluate:base"].1;
    assert!(items.failed > 0 && items.done > 0, "{items:?}");
    assert_eq!(outcome.failed[0].0, "evaluate:base");
    let (outcome, again) = lab.resume(&outcome.run);
    assert_eq!(outcome.end, RunEnd::Failed);
    let retried = finished(&again)["evaluate:base"].1;
    assert_eq!(
        (retried.cached, retried.failed),
        (items.done, items.failed),
        "what worked is kept, the rest tried again"
    );

    let options = RunOptions { keep_going: true, ..RunOptions::default() };
    let (_, kept_going) = lab.start_with(&options, &Control::default(), &mut |_| {});
    assert_eq!(statuses(&kept_going, NodeStatus::Failed), ["evaluate:base", "rollout@1"]);
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
    assert!(matches!(resumed(&lab, &outcome.run), Err(RunError::Changed { .. })));
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
    std::fs::remove_file(lab.project.store.record_path(&key)).expect("removes");
    let text = String::from_utf8(lab.project.store.get(&blob).expect("is there")).expect("JSON");
    let other = lab.project.store.put(text.replace("\"logprob\":-", "\"logprob\":-1").as_bytes()).expect("puts");
    assert_ne!(other, blob);
    let theirs = Record { output: other, ..record };
    let made = items::Made { output: text.clone().into_bytes(), also: Vec::new() };
    lab.project.store.record(&theirs).expect("records");
    let item = items::Item { name: "train-0000/0".to_owned(), key };
    let (kept, diverged) =
        items::file(&lab.project.store, Op::Rollout, &item, made, &|_| items::Class::Done).expect("files");
    assert_eq!(kept.outcome, ItemOutcome::Done { blob: other });
    assert!(diverged.expect("is told").contains("train-0000/0"));
}

#[test]
fn training_reads_all_iterations_and_static_data_where_asked() {
    let mut lab = Lab::new(2);
    for statement in sample::body(&mut lab.experiment) {
        if let Statement::Train { on: TrainData::Rows(rows), mixed, .. } = statement {
            rows.all_iterations = true;
            *mixed = None;
        }
    }
    let (_, all) = lab.start();
    let rows = |id: &str| metric(&all, id, "rows");
    assert_eq!(rows("train@2"), metric(&all, "select@1", "count") + metric(&all, "select@2", "count"));
    assert_eq!(rows("train@1"), metric(&all, "select@1", "count"));

    let mut lab = Lab::new(1);
    lab.experiment.unstable.push("oracle".to_owned());
    for statement in sample::body(&mut lab.experiment) {
        if let Statement::Train { on, mixed, .. } = statement {
            *on = TrainData::Through { dataset: DatasetId(1), critic: CriticId(0) };
            *mixed = None;
        }
    }
    let (outcome, through) = lab.start();
    assert_eq!(outcome.failed, []);
    assert_eq!(metric(&through, "train@1", "rows"), 6.0);
}

#[test]
fn versions_are_chosen_as_the_file_says() {
    let mut lab = Lab::new(2);
    lab.experiment.schedule.push(evaluate(Some("first"), "dev", Version::Declared));
    lab.experiment.schedule.push(evaluate(Some("last"), "dev", Version::Newest));
    lab.experiment.schedule.push(evaluate(Some("best"), "dev", Version::Best(sample::metric("dev", "success"))));
    let select = Statement::Select { name: "again".to_owned(), rows: rows("kept"), rule: RuleId(0) };
    sample::body(&mut lab.experiment).push(select);
    let (outcome, events) = lab.start();
    assert_eq!(outcome.failed, []);
    let success = |id: &str| metric(&events, id, "success");
    assert_eq!(success("evaluate:first"), success("evaluate:base"));
    assert_eq!(success("evaluate:last"), success("evaluate:dev@2"));
    assert_eq!(success("evaluate:best"), success("evaluate:dev@2"));
}

/// A full disk, as far as a test can make one: nothing that was done is lost, and the step says why.
#[cfg(unix)]
#[test]
fn a_store_that_cannot_be_written_fails_the_step() {
    let lab = Lab::new(1);
    let control = Control::default();
    let cas = lab.project.store.root().join("cas");
    let mut items = 0;
    let (outcome, _) = lab.start_with(&RunOptions::default(), &control, &mut |event| {
        items += u32::from(matches!(event, RunEvent::ItemFinished { .. }));
        if items == 5 && cas.is_dir() {
            std::fs::rename(&cas, cas.with_extension("kept")).expect("moves");
            std::fs::write(&cas, "not a directory").expect("writes");
        }
    });
    assert_eq!(outcome.end, RunEnd::Failed);
    assert!(outcome.failed[0].1.contains("cas"), "{:?}", outcome.failed);
    std::fs::remove_file(&cas).expect("removes");
    std::fs::rename(cas.with_extension("kept"), &cas).expect("moves back");
    let (outcome, _) = lab.resume(&outcome.run);
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
}

#[test]
fn blobs_hold_what_events_name() {
    let lab = Lab::new(1);
    let (_, events) = lab.start();
    for event in &events {
        if let RunEvent::NodeFinished { node, output: Some(output), metrics, .. } = event {
            let manifest = Manifest::from_bytes(&lab.project.store.get(output).expect("is there")).expect("a manifest");
            assert_eq!(manifest.metrics, *metrics, "{node}");
            assert!(manifest.blobs().iter().all(|blob| lab.project.store.get(blob).is_ok()), "{node}");
        }
    }
    let digest = |id: &str| {
        events.iter().find_map(|event| match event {
            RunEvent::NodeFinished { node, output, .. } if node == id => *output,
            _ => None,
        })
    };
    let manifest = |id: &str| -> Manifest {
        let bytes = lab.project.store.get(&digest(id).expect("finished")).expect("is there");
        Manifest::from_bytes(&bytes).expect("a manifest")
    };
    let rows: Digest = manifest("select@1").output.expect("rows");
    let rows: RowSet = serde_json::from_slice(&lab.project.store.get(&rows).expect("is there")).expect("rows");
    assert_eq!(rows.rows.len() + rows.dropped.len(), 12);
    assert!(rows.dropped.iter().all(|row| row.dropped_by.is_some()));
    assert!(rows.dropped.iter().any(|row| row.dropped_by.as_deref() == Some("readable")));
}

/// What an item costs beside its model: printed, since a machine's speed is no fact about the code.
#[test]
#[ignore = "a measurement: run with --ignored --nocapture"]
fn ten_thousand_items() {
    let mut lab = Lab::new(1);
    lab.experiment.envs[0].it.splits[1].size = 10_000;
    lab.experiment.schedule = vec![evaluate(Some("base"), "dev", Version::Declared)];
    for round in ["worked", "cached"] {
        let before = std::time::Instant::now();
        let (outcome, _) = lab.start();
        assert_eq!(outcome.end, RunEnd::Finished);
        println!("10,000 items {round}: {:?}", before.elapsed());
    }
}
