//! Turns a run's journal and its store back into the steps as they were worked: each with the key that it came to have,
//! whose rows it read, and what it left.
//!
//! # Invariants
//! Nothing here writes, and no model is opened. What the journal tells is held against the store: a decision that does not
//! follow, a result that is none, is an error.

use crate::base::Digest;
use crate::experiment::ModelId;
use crate::plan::{Op, Step, StepId, TrainFrom, Work};
use crate::run::manifest::Manifest;
use crate::run::resources::Version;
use crate::run::state::{Readiness, Standing, State};
use crate::run::{NodeStatus, Past, Project, RunError, RunEvent, directory, past, steps};
use std::collections::BTreeMap;

/// A run as far as it went.
#[derive(Debug)]
pub struct Worked {
    pub past: Past,
    pub events: Vec<(u64, RunEvent)>,
    /// Those that gave a result, in the order they ran.
    pub steps: Vec<WorkedStep>,
}

#[derive(Debug)]
pub struct WorkedStep {
    pub id: StepId,
    /// As its inputs came to be: another one than planned where a loop ended early.
    pub key: Digest,
    /// The blob of its manifest.
    pub output: Digest,
    pub manifest: Manifest,
    /// The steps whose rows it read.
    pub rows: Vec<StepId>,
    /// The version that it let loose, judged with, or started from.
    pub version: Option<Version>,
}

impl Worked {
    pub fn step(&self, worked: &WorkedStep) -> &Step {
        self.past.plan.step(worked.id)
    }

    /// What a step left, if it came to that.
    pub fn find(&self, id: StepId) -> Option<&WorkedStep> {
        self.steps.iter().find(|worked| worked.id == id)
    }

    /// By its name: `train@2`.
    pub fn named(&self, node: &str) -> Option<&WorkedStep> {
        self.steps.iter().find(|worked| self.step(worked).id == node)
    }

    /// The training that a version is named after.
    pub fn training(&self, model: ModelId, number: u32) -> Option<&WorkedStep> {
        let named = |worked: &&WorkedStep| {
            matches!(&self.step(worked).work, Work::Train { start, version, .. }
                if start.model == model && *version == number)
        };
        self.steps.iter().find(named)
    }

    /// The version whose weights a training left, and the training that made them. One that had nothing to train on made
    /// none of its own: it left what it started from, in the end what is declared.
    pub fn maker<'a>(&'a self, training: &'a WorkedStep) -> (Version, Option<&'a WorkedStep>) {
        let mut last = training;
        loop {
            let Work::Train { start, version, .. } = &self.step(last).work else {
                unreachable!("only trainings make versions")
            };
            let made = Version { model: start.model, number: *version, weights: last.manifest.output };
            if trained(last) {
                return (made, Some(last));
            }
            let before = last.version.clone().unwrap_or(Version { number: 0, weights: None, ..made });
            match self.training(before.model, before.number) {
                Some(training) if before.number < *version => last = training,
                _ => return (before, None),
            }
        }
    }
}

/// Whether a training had rows to train on.
pub fn trained(train: &WorkedStep) -> bool {
    train.manifest.detail["trained"].as_bool().unwrap_or(true)
}

/// # Errors
/// A run that is not there, never started or is damaged; a result that is not in the store, or not what the journal says.
pub fn worked(project: &Project, run: &str) -> Result<Worked, RunError> {
    let events = directory::events(project, run)?;
    let past = past::of(project, run, &events)?;
    let mut told = BTreeMap::new();
    for (_, event) in &events {
        if let RunEvent::NodeFinished { node, status: NodeStatus::Done | NodeStatus::Cached, output, .. } = event {
            told.insert(node.as_str(), *output);
        }
    }
    let mut state = State::new(&past.plan);
    let mut steps = Vec::new();
    for (id, step) in past.plan.ordered() {
        match state.readiness(id) {
            Readiness::Skipped(_) => state.set(id, Standing::Skipped),
            Readiness::Waiting | Readiness::Blocked(_) => {}
            Readiness::Ready(key) => {
                let Some(Some(output)) = told.get(step.id.as_str()) else { continue };
                let mut manifest = manifest(project, &past, &state, id, output)?;
                let (rows, version) = reads(&state, id);
                // The items are not for the state.
                let items = std::mem::take(&mut manifest.items);
                state.set(id, Standing::Done(manifest.clone()));
                manifest.items = items;
                steps.push(WorkedStep { id, key, output: *output, manifest, rows, version });
            }
        }
    }
    Ok(Worked { past, events, steps })
}

fn manifest(
    project: &Project,
    past: &Past,
    state: &State<'_>,
    id: StepId,
    output: &Digest,
) -> Result<Manifest, RunError> {
    let step = past.plan.step(id);
    let untrue = |what: String| RunError::Untrue { node: step.id.clone(), what };
    if let Some(decided) = steps::decide(&past.experiment, state, id) {
        return match Digest::of_bytes(&decided.to_bytes()) == *output {
            true => Ok(decided),
            false => Err(untrue("what it decided does not follow from the figures".to_owned())),
        };
    }
    let bytes = project.store.get(output).map_err(|problem| untrue(problem.to_string()))?;
    match Manifest::from_bytes(&bytes) {
        Ok(manifest) if manifest.op == step.op => Ok(manifest),
        _ => Err(untrue(format!("blob {} is no result of it", output.short()))),
    }
}

/// Whose rows a step reads, and with which version it works.
fn reads(state: &State<'_>, id: StepId) -> (Vec<StepId>, Option<Version>) {
    match &state.plan.step(id).work {
        Work::Rollout(episodes) | Work::Evaluate(episodes) => (Vec::new(), Some(state.version(&episodes.version))),
        Work::Judge { rows, by, .. } => (state.resolve(rows), by.first().map(|judge| state.version(&judge.version))),
        Work::Calibrate { by, .. } => (Vec::new(), by.first().map(|judge| state.version(&judge.version))),
        Work::Select { rows, .. } | Work::Audit { rows, .. } => (state.resolve(rows), None),
        Work::Train { start, on, .. } => {
            let rows = match on {
                TrainFrom::Rows(rows) => state.resolve(rows),
                TrainFrom::Dataset(_) | TrainFrom::Through { .. } => Vec::new(),
            };
            (rows, Some(state.version(start)))
        }
        Work::Gate { .. } | Work::Pick { .. } => (Vec::new(), None),
    }
}

impl WorkedStep {
    /// Whether what it left are rows.
    pub fn has_rows(&self) -> bool {
        matches!(self.manifest.op, Op::Rollout | Op::Judge | Op::Select)
    }
}
