//! Why a step failed, and why a run could not be run at all.

use crate::base::Digest;
use crate::base::file::reason;
use crate::env::{EnvError, NotBuilt, Unopened};
use crate::model::ModelError;
use crate::node::reasons::{Commonest, Reason};
use crate::node::train::AssembleError;
use crate::plan::PlanError;
use crate::run::ItemCounts;
use crate::run::replay::NOT_RECORDED;
use crate::store::StoreError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Becomes the reason in the step's event.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Not a failure: the step goes on when the run is resumed.
    #[error("paused")]
    Paused,
    /// As [`StepError::Paused`]: why nothing more may be asked for.
    #[error("{0}")]
    Budget(String),
    /// With how many may fail, and how many of those that did may go well another time.
    #[error("{failed} of {total} items failed{}; {item}: {reason}", permitted(*.allowed), failed = .counts.failed,
        total = .counts.done + .counts.cached + .counts.failed)]
    Items { counts: ItemCounts, allowed: u64, passing: u64, item: String, reason: String },
    #[error("{NOT_RECORDED}")]
    NotRecorded,
    #[error("`{stage}` does not hold: {kept} rows are left{}", unread.as_ref().map_or_else(String::new, words_of))]
    Require { stage: String, kept: usize, unread: Option<Commonest> },
    #[error("model `{name}`: {problem}")]
    Model { name: String, problem: ModelError },
    #[error("no thread can be started: {0}")]
    Threads(String),
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
    #[error("environment `{name}`: {problem}")]
    Environment { name: String, problem: Unopened },
    /// Every episode of it would end so.
    #[error(transparent)]
    Outside(EnvError),
    #[error("{path}: {problem}", path = .path.display())]
    Dataset { path: PathBuf, problem: String },
    #[error("dataset `{0}` has rows without a true verdict")]
    Unlabelled(String),
    #[error("a row names task `{0}`, which its environment does not have")]
    UnknownTask(String),
    #[error("blob {} cannot be read: {problem}", .blob.short())]
    Blob { blob: Digest, problem: String },
    #[error(transparent)]
    Rows(#[from] AssembleError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{path}: {why}", path = .path.display(), why = reason(.problem))]
    File { path: PathBuf, problem: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no run here yet")]
    NoRun,
    #[error("the store below this one: {0}")]
    Below(StoreError),
    /// What it names is not known.
    #[error("{path} holds no event", path = .0.display())]
    Blank(PathBuf),
    #[error("there is no run `{0}`")]
    UnknownRun(String),
    /// Its directory was made, and nothing of it was written.
    #[error("run `{0}` never started: it was ended before its first event")]
    NeverStarted(String),
    #[error("run `{run}` is being written by process {pid}")]
    Locked { run: String, pid: u32 },
    /// `what` are the declarations whose files hold something else; none where it is agx that has changed.
    #[error("run `{run}` cannot go on: {} since it was started", changed(.what))]
    Changed { run: String, what: Vec<String> },
    #[error("run `{run}` is not as it was: {path} was changed since it was started", path = .path.display())]
    Frozen { run: String, path: PathBuf },
    #[error("{path}, line {line}: {problem}", path = .path.display())]
    Journal { path: PathBuf, line: usize, problem: String },
    /// What the journal says of a node is not what the store holds.
    #[error("{node}: {what}")]
    Untrue { node: String, what: String },
    /// Nothing happens unrecorded: a run whose journal cannot be written stops where it is.
    #[error("{}: {path} could not be written; what was done before is kept", unwritten(.problem), path = .path.display())]
    Stopped { run: String, path: PathBuf, problem: std::io::Error },
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("model `{name}`: {problem}")]
    Model { name: String, problem: ModelError },
    #[error("environment `{name}`: {why}", why = reason(.problem))]
    Environment { name: String, problem: std::io::Error },
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
    #[error("no directory can be made in {path} (as `TMPDIR` has it): {why}", path = .path.display(), why = reason(.problem))]
    Place { path: PathBuf, problem: std::io::Error },
    #[error("{jobs} threads cannot be started: {problem}")]
    Threads { jobs: usize, problem: String },
    /// What a survey could not work out.
    #[error(transparent)]
    Step(StepError),
}

/// `; of 12 rows no verdict could be read, of 9 as `score` is not given`
fn words_of(unread: &Commonest) -> String {
    let most = unread.reasons.first().map(|Reason { reason, count }| format!(", of {count} since {reason}"));
    format!("; of {} rows no verdict could be read{}", unread.count, most.unwrap_or_default())
}

fn permitted(most: u64) -> String {
    if most == 0 { String::new() } else { format!(", {most} allowed") }
}

fn unwritten(problem: &std::io::Error) -> String {
    match problem.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the disk is full".to_owned(),
        _ => reason(problem),
    }
}

fn changed(what: &[String]) -> String {
    match what {
        [] => "agx, or a file that it was started with, has changed".to_owned(),
        what => format!("what {} names has changed", what.join(", ")),
    }
}

impl StepError {
    /// Whether the same step may go well when it is tried again: a disk that was full, a blob that is made anew, a machine that
    /// was slow. All else lies in the experiment and what it names, and fails the same way every time.
    pub fn is_transient(&self) -> bool {
        match self {
            StepError::Paused
            | StepError::Budget(_)
            | StepError::Store(_)
            | StepError::Blob { .. }
            | StepError::Threads(_)
            | StepError::Outside(_)
            | StepError::Environment { problem: Unopened::Outside(_), .. } => true,
            StepError::Items { passing, .. } => *passing > 0,
            StepError::Model { problem, .. } => problem.is_transient(),
            StepError::NotRecorded
            | StepError::Require { .. }
            | StepError::NotBuilt(_)
            | StepError::Environment { .. }
            | StepError::Dataset { .. }
            | StepError::Unlabelled(_)
            | StepError::UnknownTask(_)
            | StepError::Rows(_) => false,
        }
    }
}

impl RunError {
    pub(crate) fn file(path: &Path, problem: std::io::Error) -> Self {
        RunError::File { path: path.to_owned(), problem }
    }
}
