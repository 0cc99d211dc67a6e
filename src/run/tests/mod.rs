//! Whole runs with scripted models, in the process.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test may look at the clock, wait for a child it kills and print a figure"
)]

mod again;
mod budgets;
mod compared;
mod endpoints;
mod failures;
pub mod faults;
mod juries;
mod survival;

use crate::base::Digest;
use crate::env::{Action, Env, call};
use crate::experiment::*;
use crate::model::ToolFormat;
use crate::node::spec::PerIteration;
use crate::plan::sample::{self, evaluate, quickstart, rows};
use crate::run::manifest::RowSet;
use crate::run::*;
use crate::select::{Otherwise, Stage};
use crate::store::Record;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// A project in a temporary directory, an experiment with scripted models, a clock that ticks.
pub struct Lab {
    pub project: Project,
    pub experiment: Experiment,
    pub directory: tempfile::TempDir,
}

impl Lab {
    pub fn new(times: u32) -> Self {
        // Thousands of small files: in memory where the system has a place for that.
        let in_memory = tempfile::tempdir_in("/dev/shm");
        let directory = in_memory.or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        let experiment = quickstart(directory.path(), times);
        write_scripts(directory.path(), &experiment);
        let project = Project::open(directory.path()).expect("a project");
        Self { project, experiment, directory }
    }

    pub fn start(&self) -> (RunOutcome, Vec<RunEvent>) {
        self.start_with(&RunOptions::default(), &Control::default(), &mut |_| {})
    }

    pub fn start_with(
        &self,
        options: &RunOptions,
        control: &Control,
        watch: &mut (dyn FnMut(&RunEvent) + Send),
    ) -> (RunOutcome, Vec<RunEvent>) {
        let mut events = Vec::new();
        let subject = Subject {
            file_name: "quickstart.agx",
            source: "agx 2026\n",
            imports: &[],
            overrides: &BTreeMap::new(),
            experiment: &self.experiment,
        };
        let outcome = start(&self.project, &subject, options, control, &tick(), &mut |event| {
            events.push(event.clone());
            watch(event);
        });
        (outcome.expect("the run runs"), events)
    }

    /// By a clock of one's own.
    fn start_timed(&self, clock: Clock<'_>) -> RunOutcome {
        let overrides = BTreeMap::new();
        let subject = Subject {
            file_name: "quickstart.agx",
            source: "agx 2026\n",
            imports: &[],
            overrides: &overrides,
            experiment: &self.experiment,
        };
        let (options, control) = (RunOptions::default(), Control::default());
        start(&self.project, &subject, &options, &control, clock, &mut |_| {}).expect("the run runs")
    }

    pub fn resume(&self, run: &str) -> (RunOutcome, Vec<RunEvent>) {
        let mut events = Vec::new();
        let (options, control) = (RunOptions::default(), Control::default());
        let sink = &mut |event: &RunEvent| events.push(event.clone());
        let outcome = resume(&self.project, run, &options, &control, &tick(), sink);
        (outcome.expect("the run goes on"), events)
    }

    fn survey(&self) -> BTreeMap<String, (SurveyStatus, u64, Option<u64>)> {
        let identities = identify(&self.experiment).expect("files are there");
        let plan = crate::plan::build(&self.experiment, &identities).expect("can be planned");
        let wire = crate::model::Wire::default();
        let surveys = survey(&self.project, &self.experiment, &identities, &plan, wire).expect("can be looked at");
        surveys.into_iter().map(|it| (it.id, (it.status, it.items.cached, it.items.total))).collect()
    }
}

/// What the first judging made.
pub fn judged(lab: &Lab, events: &[RunEvent]) -> (Manifest, RowSet) {
    let output = events.iter().find_map(|event| match event {
        RunEvent::NodeFinished { node, output, .. } if node == "judge@1" => *output,
        _ => None,
    });
    let get = |digest: &Digest| lab.project.store.get(digest).expect("is in the store");
    let manifest = Manifest::from_bytes(&get(&output.expect("it was judged"))).expect("a manifest");
    let rows = serde_json::from_slice(&get(&manifest.output.expect("rows"))).expect("rows");
    (manifest, rows)
}

pub fn tick() -> impl Fn() -> u64 + Sync {
    let time = AtomicU64::new(0);
    move || time.fetch_add(1, Ordering::Relaxed)
}

/// A policy that solves every third task, one third more after each training, and sometimes gives up when it draws; a
/// critic that sees who gave up, and says nothing readable of one task.
fn write_scripts(directory: &Path, experiment: &Experiment) {
    let env = Env::open(&experiment.envs[0].it, &crate::model::Wire::default()).expect("the desk is built in");
    let mut replies = Vec::new();
    for split in &experiment.envs[0].it.splits {
        for (at, task) in env.tasks(&split.name).iter().enumerate() {
            let (mut episode, _) = env.start(task, crate::base::Seed(0)).expect("the desk does not fail");
            let mut last = task.fields["request"].as_str().expect("a request").to_owned();
            for (turn, action) in crate::env::desk::expert(task).into_iter().enumerate() {
                let text = match &action {
                    Action::Call(call) => call::render(call, ToolFormat::Lines),
                    Action::Answer(text) | Action::Unreadable(text) => text.clone(),
                };
                let say = if turn == 0 { vec![text, "I give up.".to_owned()] } else { vec![text] };
                replies.push(json!({ "when": last, "skill": if turn == 0 { at % 3 } else { 0 }, "say": say }));
                last = episode.step(&action).expect("the desk does not fail").text;
            }
        }
    }
    let write = |name: &str, script: serde_json::Value| {
        std::fs::write(directory.join(name), script.to_string()).expect("can be written");
    };
    write("policy.json", json!({ "replies": replies, "default": ["I do not know."] }));
    let unreadable = env.tasks("train")[3].fields["request"].clone();
    let critic = json!({
        "replies": [
            { "when": unreadable, "say": ["hard to say"] },
            { "when": "I do not know", "say": ["score: 0"] },
            { "when": "I give up", "say": ["score: 1"] },
        ],
        "default": ["score: 4"],
    });
    write("critic.json", critic);
}

fn finished(events: &[RunEvent]) -> BTreeMap<String, (NodeStatus, ItemCounts)> {
    let node = |event: &RunEvent| match event {
        RunEvent::NodeFinished { node, status, items, .. } => Some((node.clone(), (*status, *items))),
        _ => None,
    };
    events.iter().filter_map(node).collect()
}

/// What must not depend on how the run went: outputs, figures, decisions.
fn results(events: &[RunEvent]) -> BTreeMap<String, String> {
    let node = |event: &RunEvent| match event {
        RunEvent::NodeFinished { node, status, output, metrics, detail, .. } if *status != NodeStatus::Paused => {
            Some((node.clone(), format!("{output:?} {metrics:?} {detail}")))
        }
        _ => None,
    };
    events.iter().filter_map(node).collect()
}

fn metric(events: &[RunEvent], id: &str, name: &str) -> f64 {
    let value = |event: &RunEvent| match event {
        RunEvent::NodeFinished { node, metrics, .. } if node == id => {
            metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
        }
        _ => None,
    };
    events.iter().find_map(value).unwrap_or_else(|| panic!("{id} has no {name}"))
}

fn statuses(events: &[RunEvent], of: NodeStatus) -> Vec<String> {
    finished(events).into_iter().filter(|(_, (status, _))| *status == of).map(|(id, _)| id).collect()
}

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

/// Golden: what each operation makes of the same inputs, by its key. Where bytes change here and a key does not, old records
/// answer for another meaning: raise the operation's revision first, in `plan::key` or `node::key`.
#[test]
fn an_operation_makes_what_it_made() {
    let lab = Lab::new(2);
    let plan = crate::plan::build(&lab.experiment, &identify(&lab.experiment).expect("files are there"));
    let plan = plan.expect("can be planned");
    let (_, events) = lab.start();
    let made = |event: &RunEvent| match event {
        RunEvent::NodeFinished { node, output: Some(output), .. } => {
            let step = plan.find(node).expect("in the plan");
            let revision = crate::plan::key::op_rev(step.op);
            Some(format!("{} -> {} {node}, revision {revision}", step.key.short(), output.short()))
        }
        _ => None,
    };
    insta::assert_snapshot!(events.iter().filter_map(made).collect::<Vec<_>>().join("\n"));
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
    assert!(outcome.failed[0].reason.contains("require at least 1000"), "{:?}", outcome.failed);
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
    assert_eq!(outcome.failed[0].step, "evaluate:base");
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
fn training_reads_all_iterations_and_static_data_where_asked() {
    let mut lab = Lab::new(2);
    for statement in sample::body(&mut lab.experiment) {
        if let Statement::Train { on: TrainData::Rows(rows), mixed, .. } = statement {
            rows.all_iterations = true;
            mixed.clear();
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
            mixed.clear();
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
    let select =
        Statement::Select { name: "again".to_owned(), rows: rows("kept"), rule: PerIteration::always(RuleId(0)) };
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
    let packs = lab.project.store.root().join("packs");
    let (outcome, _) = lab.start_with(&RunOptions::default(), &control, &mut |event| {
        if matches!(event, RunEvent::NodeStarted { .. }) && packs.is_dir() {
            std::fs::rename(&packs, packs.with_extension("kept")).expect("moves");
            std::fs::write(&packs, "not a directory").expect("writes");
        }
    });
    assert_eq!(outcome.end, RunEnd::Failed);
    assert!(outcome.failed[0].reason.contains("packs"), "{:?}", outcome.failed);
    std::fs::remove_file(&packs).expect("removes");
    std::fs::rename(packs.with_extension("kept"), &packs).expect("moves back");
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
