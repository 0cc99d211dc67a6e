//! Turns a [`Plan`] into [`RunEvent`]s: the only floor with effects.
//!
//! [`start`] runs an experiment from a frozen copy, [`resume`] goes on with a run, [`survey`] says what a run would find
//! done. All three resolve references ([`state`]) and key items in one way.
//!
//! # Invariants
//! Nothing here prints or reads the environment or the clock: time comes in by [`Clock`]. Every event but progress is in
//! the journal before anyone else hears of it.

pub mod event;
pub mod error;
pub mod manifest;
pub mod missing;
pub mod journal;
pub mod directory;
pub mod carried;
pub mod budget;
mod open;
mod emit;
pub mod resources;
mod state;
mod items;
mod episodes;
mod verdicts;
mod refuse;
mod train;
mod steps;
mod execute;
pub mod lock;
pub mod replay;
pub mod said;
pub mod verify;
pub mod survey;
pub mod past;
pub mod worked;
pub mod lineage;
pub mod archive;
pub mod keep;
#[cfg(test)]
pub(crate) mod tests;

pub use error::{RunError, StepError};
pub use event::{Charge, ItemCounts, ItemOutcome, Metric, NodeInfo, NodeStatus, PauseReason, RunEvent, RunLabel};
pub use manifest::{Manifest, ManifestItem, RowEntry, RowSet};
pub use missing::{Lack, MissingItem};
pub use past::{Past, past};
pub use survey::{NodeSurvey, SurveyItems, SurveyStatus, survey};

use crate::base::{Digest, Hasher, file};
use crate::env::EnvKind;
use crate::experiment::{Dataset, Experiment, ModelId};
use crate::model::Wire;
use crate::plan::{Identities, Plan, Step, Work};
use crate::store::Store;
use budget::Purse;
use emit::Emitter;
use execute::Executor;
use missing::Settled;
use replay::Replay;
use resources::Resources;
use said::Said;
use serde_json::Value;
use state::State;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Milliseconds since the Unix epoch, handed down by the edge.
pub type Clock<'a> = &'a (dyn Fn() -> u64 + Sync);

/// Who hears the events.
pub type Sink<'a> = &'a mut (dyn FnMut(&RunEvent) + Send);

/// The file of a store that names the store below it.
const BELOW: &str = "over";
const MOST_PATH: u64 = 1 << 16;

/// Where results live: `.agx/` under the project's root or anywhere else, with the store and the runs.
#[derive(Debug)]
pub struct Project {
    pub store: Store,
}

impl Project {
    /// Opens (and makes, when absent) `.agx/` under `root`.
    ///
    /// # Errors
    /// Not a directory, no permission, a full disk.
    pub fn open(root: &Path) -> Result<Self, RunError> {
        Self::at(&root.join(".agx"))
    }

    /// Opens (and makes, when absent) a store at any place.
    ///
    /// # Errors
    /// As [`Project::open`].
    pub fn at(store: &Path) -> Result<Self, RunError> {
        let below = store.join(BELOW);
        let store = match file::read_text(&below, MOST_PATH) {
            Ok(path) => {
                let path = PathBuf::from(path.trim());
                let below = Store::open_existing(&path).map_err(RunError::Below)?;
                Store::over(store, below)?
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Store::open(store)?,
            Err(problem) => return Err(RunError::file(&below, problem)),
        };
        Ok(Self { store })
    }

    /// Lays the store over another, which is only read, from when it is next opened; or over none. Says what it lay over
    /// before.
    ///
    /// # Errors
    /// A store below that cannot be read or is this one; one here that cannot be written.
    pub fn lay_over(&self, below: Option<&Path>) -> Result<Option<PathBuf>, RunError> {
        let note = self.store.root().join(BELOW);
        let fail = |problem| RunError::file(&note, problem);
        let before = file::read_text(&note, MOST_PATH).ok().map(|path| PathBuf::from(path.trim()));
        let Some(below) = below else {
            return match std::fs::remove_file(&note) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(fail(error)),
                _ => Ok(before),
            };
        };
        let full = below.canonicalize().map_err(|problem| RunError::file(below, problem))?;
        Store::open_existing(&full)?;
        if self.store.root().canonicalize().is_ok_and(|root| root == full) {
            return Err(fail(std::io::Error::other("a store cannot lie over itself")));
        }
        if let Ok(further) = file::read_text(&full.join(BELOW), MOST_PATH) {
            let problem =
                format!("{} lies over {} itself: only one store can be below", full.display(), further.trim());
            return Err(fail(std::io::Error::other(problem)));
        }
        let text = full.to_str().ok_or_else(|| fail(std::io::Error::other("its path is not UTF-8")))?;
        std::fs::write(&note, format!("{text}\n")).map_err(fail)?;
        Ok(before)
    }

    /// `.agx/runs/`
    pub fn runs_dir(&self) -> PathBuf {
        self.store.root().join("runs")
    }

    /// `.agx/runs/<run>/`
    pub fn run_dir(&self, run: &str) -> PathBuf {
        self.store.run_dir(run)
    }

    /// The journal of a run.
    pub fn journal(&self, run: &str) -> PathBuf {
        self.run_dir(run).join("journal.jsonl")
    }
}

/// How the edge talks to a run that is under way.
#[derive(Debug, Default)]
pub struct Control {
    pause: Arc<AtomicBool>,
}

impl Control {
    /// Asks for a pause after what is in flight. Safe from a signal handler's thread.
    pub fn pause(&self) {
        self.pause.store(true, Ordering::SeqCst);
    }

    pub fn paused(&self) -> bool {
        self.pause.load(Ordering::SeqCst)
    }

    /// The same wire, to be let go of once there is a pause.
    pub fn pausing(&self, wire: &Wire) -> Wire {
        wire.pausing(&self.pause)
    }
}

#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Threads; `None` leaves it to rayon.
    pub jobs: Option<usize>,
    /// After a failure, run what does not depend on it.
    pub keep_going: bool,
    /// Run on although the budget is spent.
    pub no_budget: bool,
    /// Work a run a second time.
    pub replay: Option<Arc<Replay>>,
    /// What models behind endpoints are asked with.
    pub wire: Wire,
}

/// What is run: the file as text, for the frozen copy, and as checked.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    pub file_name: &'a str,
    pub source: &'a str,
    /// The files that it imports, by their paths from its directory.
    pub imports: &'a [(PathBuf, &'a str)],
    /// Values from outside the file: of params, and of a cell's axes.
    pub overrides: &'a BTreeMap<String, Value>,
    pub experiment: &'a Experiment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    Finished,
    /// Some step failed: exit code 3.
    Failed,
    /// Interrupted or out of budget: exit code 4; `resume` goes on.
    Paused,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RunOutcome {
    pub run: String,
    pub end: RunEnd,
    /// `policy@2`
    pub winner: Option<String>,
    pub failed: Vec<FailedStep>,
    /// In words, which part of the budget paused it.
    pub spent: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedStep {
    /// `judge@2`
    pub step: String,
    pub reason: String,
    /// Trying the same again may help.
    pub transient: bool,
}

/// Digests of what the declarations name: environments, weights, datasets. Reads files, opens no model.
///
/// # Errors
/// A file that is missing or cannot be read.
pub fn identify(experiment: &Experiment) -> Result<Identities, RunError> {
    let env = |env: &crate::experiment::Named<crate::env::EnvSpec>| {
        let blame = |problem| RunError::Environment { name: env.name.clone(), problem };
        crate::env::identity(&env.it.kind).map_err(blame)
    };
    let envs = experiment.envs.iter().map(env).collect::<Result<Vec<Digest>, _>>()?;
    let model = |model: &crate::experiment::Named<crate::model::ModelSpec>| {
        let blame = |problem| RunError::Model { name: model.name.clone(), problem };
        crate::model::identity(&model.it).map_err(blame)
    };
    let models = experiment.models.iter().map(model).collect::<Result<_, _>>()?;
    let dataset = |dataset: &crate::experiment::Named<Dataset>| match &dataset.it {
        Dataset::Offered { env, offer, count } => {
            Ok(Hasher::new("agx-offer/1").put(&envs[env.0]).put(offer).put(count).finish())
        }
        Dataset::Jsonl { path } => {
            let bytes = file::read(path, resources::MOST_JSONL).map_err(|problem| RunError::file(path, problem))?;
            Ok(Hasher::new("agx-jsonl/1").bytes(&bytes).finish())
        }
        Dataset::Hub { repo, revision, split } => {
            Ok(Hasher::new("agx-hub-data/1").put(repo).put(revision).put(split).finish())
        }
    };
    let datasets = experiment.datasets.iter().map(dataset).collect::<Result<_, RunError>>()?;
    Ok(Identities { envs, models, datasets })
}

/// Runs an experiment from a frozen copy. Every event goes to the journal (but [`RunEvent::Progress`]) and to `sink`.
///
/// # Errors
/// What keeps the run as a whole from running. A step that fails is an event and an outcome.
pub fn start(
    project: &Project,
    subject: &Subject<'_>,
    options: &RunOptions,
    control: &Control,
    clock: Clock<'_>,
    sink: Sink<'_>,
) -> Result<RunOutcome, RunError> {
    let experiment = subject.experiment;
    let identities = identify(experiment)?;
    let plan = crate::plan::build(experiment, &identities)?;
    refuse::refuse(experiment, &plan)?;
    let mut directory = directory::RunDirectory::create(project, subject, &identities, &crate::plan::to_json(&plan))?;
    let (journal, _) = journal::Writer::open(&directory.journal())?;
    let purse = Purse::open(experiment, &plan, &project.store, clock, &[], options)?;
    let mut emitter = Emitter::new(journal, clock, sink);
    emitter.emit(&RunEvent::RunStarted {
        run: directory.run.clone(),
        experiment: experiment.name.clone(),
        title: title(experiment),
        plan: plan.digest,
        label: label(experiment, &plan),
        nodes: infos(&plan),
        frozen: directory.frozen()?,
    });
    emitter.check().map_err(|error| match error {
        // Nothing happened that could be gone on with.
        RunError::Stopped { run: _, path, problem } => RunError::File { path, problem },
        other => other,
    })?;
    directory.begun();
    let settled = options.replay.as_ref().map(|replay| replay.missing().clone()).unwrap_or_default();
    go(project, experiment, &identities, &plan, &directory, options, control, emitter, purse, Said::default(), settled)
}

/// Goes on with a paused, failed or killed run, from its own frozen source.
///
/// # Errors
/// As [`start`]; a run that does not exist, is being written, or whose files have changed.
pub fn resume(
    project: &Project,
    run: &str,
    options: &RunOptions,
    control: &Control,
    clock: Clock<'_>,
    sink: Sink<'_>,
) -> Result<RunOutcome, RunError> {
    let directory = directory::RunDirectory::open(project, run)?;
    let mut started = None;
    let mut told = Said::default();
    // A journal that was never begun is begun now.
    let events = if directory.journal().exists() { journal::read(&directory.journal())? } else { Vec::new() };
    for (_, event) in &events {
        match event {
            RunEvent::RunStarted { plan, frozen, nodes, .. } => {
                directory::compare(project, run, frozen)?;
                (started, told) = (Some(*plan), Said::new(nodes));
            }
            RunEvent::NodeStarted { node, .. } => drop(told.start(node)),
            RunEvent::NodeFinished { node, status, output, .. } => told.insert(node, (*status, *output)),
            _ => {}
        }
    }
    let experiment = directory::experiment(project, run)?;
    let identities = identify(&experiment)?;
    let plan = crate::plan::build(&experiment, &identities)?;
    refuse::refuse(&experiment, &plan)?;
    let purse = Purse::open(&experiment, &plan, &project.store, clock, &events, options)?;
    let (journal, _) = journal::Writer::open(&directory.journal())?;
    let mut emitter = Emitter::new(journal, clock, sink);
    match started {
        Some(digest) if digest != plan.digest => {
            let before = directory::identities(project, run)?;
            let what = before.map(|before| past::changed(&experiment, &before, &identities)).unwrap_or_default();
            return Err(RunError::Changed { run: run.to_owned(), what });
        }
        Some(_) => {
            emitter.emit(&RunEvent::RunResumed { run: run.to_owned() });
            let charged =
                |(node, charge): &(String, Charge)| RunEvent::NodeCharged { node: node.clone(), charge: *charge };
            emitter.emit_all(&purse.untold().iter().map(charged).collect::<Vec<_>>());
        }
        // Killed before the first line was whole.
        None => emitter.emit(&RunEvent::RunStarted {
            run: run.to_owned(),
            experiment: experiment.name.clone(),
            title: title(&experiment),
            plan: plan.digest,
            label: label(&experiment, &plan),
            nodes: infos(&plan),
            frozen: directory.frozen()?,
        }),
    }
    let settled = missing::settled(events.iter().map(|(_, event)| event));
    go(project, &experiment, &identities, &plan, &directory, options, control, emitter, purse, told, settled)
}

#[expect(clippy::too_many_arguments, reason = "the one place where all of a run's parts meet")]
fn go(
    project: &Project,
    experiment: &Experiment,
    identities: &Identities,
    plan: &Plan,
    directory: &directory::RunDirectory,
    options: &RunOptions,
    control: &Control,
    emitter: Emitter<'_>,
    purse: Purse<'_>,
    told: Said<(NodeStatus, Option<Digest>)>,
    settled: Settled,
) -> Result<RunOutcome, RunError> {
    let work = || {
        let wire = control.pausing(&options.wire);
        let resources = Resources::new(experiment, identities, &project.store, wire);
        let (state, scratch) = (State::new(plan), directory.scratch());
        let run = &directory.run;
        let (resources, scratch) = (&resources, scratch.as_path());
        Executor { run, resources, state, options, control, emitter, scratch, purse, told, settled }.run()
    };
    match options.jobs {
        None => work(),
        Some(jobs) => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build();
            pool.map_err(|problem| RunError::Threads { jobs, problem: problem.to_string() })?.install(work)
        }
    }
}

/// The first line that an experiment says of itself.
pub fn title(experiment: &Experiment) -> String {
    experiment.doc.lines().next().unwrap_or_default().trim().to_owned()
}

/// How far the results can be trusted: as far as those of the weakest step.
pub fn label(experiment: &Experiment, plan: &Plan) -> RunLabel {
    plan.steps.iter().map(|step| label_of(experiment, step)).min().unwrap_or(RunLabel::Pure)
}

/// The same of one step, given what it reads.
fn label_of(experiment: &Experiment, step: &Step) -> RunLabel {
    let label = |model: ModelId| match experiment.models[model.0].it.answers_again() {
        true => RunLabel::Seeded,
        false => RunLabel::Recorded,
    };
    // Where an environment answers otherwise another time, so does whoever works in it.
    let around = match &step.work {
        Work::Rollout(episodes) | Work::Evaluate(episodes) => match &experiment.envs[episodes.env.0].it.kind {
            EnvKind::Outside(outside) if !outside.reach.answers_again() => RunLabel::Recorded,
            _ => RunLabel::Pure,
        },
        _ => RunLabel::Pure,
    };
    let alone = match &step.work {
        Work::Train { start, .. } => label(start.model),
        _ => RunLabel::Pure,
    };
    step.work.answer(experiment).into_iter().map(label).min().unwrap_or(alone).min(around)
}

/// The plan as the first event tells it.
pub fn infos(plan: &Plan) -> Vec<NodeInfo> {
    let info = |(_, step): (_, &crate::plan::Step)| NodeInfo {
        id: step.id.clone(),
        op: step.op.as_str().to_owned(),
        iteration: step.iteration,
        name: step.name.clone(),
        key: step.key,
        inputs: plan.ids(&step.inputs),
        after: plan.ids(&step.after),
    };
    plan.ordered().map(info).collect()
}

/// The run that was started last.
pub fn newest(project: &Project) -> Result<Option<String>, RunError> {
    Ok(directory::list(project)?.pop())
}

/// The runs that were started, oldest first.
pub fn list(project: &Project) -> Result<Vec<String>, RunError> {
    directory::list(project)
}

/// All runs, also those that never came to their first event.
pub fn all(project: &Project) -> Result<Vec<String>, RunError> {
    directory::all(project)
}
