//! Turns a [`Plan`](crate::plan::Plan) into [`RunEvent`]s: the only floor with effects.
//!
//! # Invariants
//! Nothing here prints or reads the environment or the clock: time comes in by [`Clock`].

pub mod event;
pub mod journal;
pub mod survey;

pub use event::{ItemCounts, ItemOutcome, Metric, NodeInfo, NodeStatus, PauseReason, RunEvent, RunLabel};

pub use survey::{NodeSurvey, SurveyItems, SurveyStatus, survey};

use crate::base::Diagnostic;
use crate::experiment::Experiment;
use crate::plan::{Identities, PlanError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Milliseconds since the Unix epoch, handed down by the edge.
pub type Clock<'a> = &'a (dyn Fn() -> u64 + Sync);

/// Where results live: `.agx/` under the project's root, with the store and the runs. (`store: Store` comes with it.)
#[derive(Debug)]
pub struct Project {
    pub root: PathBuf,
}

impl Project {
    /// Opens (and makes, when absent) `.agx/` under `root`.
    pub fn open(root: &Path) -> Result<Self, RunError> {
        Ok(Self { root: root.to_owned() })
    }

    /// `.agx/runs/<run>/`
    pub fn run_dir(&self, run: &str) -> PathBuf {
        self.root.join(".agx/runs").join(run)
    }

    /// The journal of a run.
    pub fn journal(&self, run: &str) -> PathBuf {
        self.run_dir(run).join("journal.jsonl")
    }
}

/// How the edge talks to a run that is under way.
#[derive(Debug, Default)]
pub struct Control {
    pause: AtomicBool,
}

impl Control {
    /// Asks for a pause after what is in flight. Safe from a signal handler's thread.
    pub fn pause(&self) {
        self.pause.store(true, Ordering::SeqCst);
    }

    pub fn paused(&self) -> bool {
        self.pause.load(Ordering::SeqCst)
    }
}

#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Threads; `None` leaves it to rayon.
    pub jobs: Option<usize>,
    /// After a failure, run what does not depend on it.
    pub keep_going: bool,
}

/// What is run: the file as text, for the frozen copy, and as checked.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    pub file_name: &'a str,
    pub source: &'a str,
    /// Values of `--set`, by the param's name.
    pub overrides: &'a BTreeMap<String, Value>,
    pub experiment: &'a Experiment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    Finished,
    /// Some step failed: exit code 3.
    Failed,
    /// Interrupted: exit code 4; `resume` goes on.
    Paused,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RunOutcome {
    pub run: String,
    pub end: RunEnd,
    pub winner: Option<String>,
    /// Ids and reasons of the steps that failed.
    pub failed: Vec<(String, String)>,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{path}: {problem}")]
    File { path: PathBuf, problem: std::io::Error },
    #[error("there is no run here yet")]
    NoRun,
    #[error("there is no run `{0}`")]
    UnknownRun(String),
    #[error("run `{run}` is being written by process {pid}")]
    Locked { run: String, pid: u32 },
    #[error("the run's frozen source no longer checks")]
    Source(Vec<Diagnostic>),
    #[error("{path}, line {line}: {problem}")]
    Journal { path: PathBuf, line: usize, problem: String },
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("model `{name}`: {problem}")]
    Model { name: String, problem: crate::model::ModelError },
}

/// Digests of what the declarations name: environments, weights, datasets. Reads files, opens no model.
pub fn identify(experiment: &Experiment) -> Result<Identities, RunError> {
    let _ = experiment;
    todo!()
}

/// Runs an experiment from a frozen copy. Every event goes to the journal (but [`RunEvent::Progress`]) and to `sink`.
pub fn start(
    project: &Project,
    subject: &Subject<'_>,
    options: &RunOptions,
    control: &Control,
    clock: Clock<'_>,
    sink: &mut (dyn FnMut(&RunEvent) + Send),
) -> Result<RunOutcome, RunError> {
    let _ = (project, subject, options, control, clock, sink);
    todo!()
}

/// Goes on with a paused, failed or killed run, from its own frozen source.
pub fn resume(
    project: &Project,
    run: &str,
    options: &RunOptions,
    control: &Control,
    clock: Clock<'_>,
    sink: &mut (dyn FnMut(&RunEvent) + Send),
) -> Result<RunOutcome, RunError> {
    let _ = (project, run, options, control, clock, sink);
    todo!()
}

/// The run that was started last.
pub fn newest(project: &Project) -> Result<Option<String>, RunError> {
    let _ = project;
    todo!()
}

/// All runs, oldest first.
pub fn list(project: &Project) -> Result<Vec<String>, RunError> {
    let _ = project;
    todo!()
}
