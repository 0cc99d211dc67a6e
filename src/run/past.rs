//! Turns a run's frozen files back into its plan, with the keys that it had.
//!
//! # Invariants
//! Nothing here writes, and no model is opened.

use crate::base::Digest;
use crate::experiment::{Experiment, Named};
use crate::plan::why::Planned;
use crate::plan::{Identities, Plan};
use crate::run::{Project, RunError, RunEvent, directory, identify};
use std::collections::BTreeMap;

/// What a run was started with.
#[derive(Debug)]
pub struct Past {
    pub run: String,
    pub experiment: Experiment,
    pub identities: Identities,
    /// Made anew, with the keys that the run had: where agx has changed since, they are not those of its recipes.
    pub plan: Plan,
}

impl Past {
    pub fn planned(&self) -> Planned<'_> {
        let Self { run: _, experiment, identities, plan } = self;
        Planned { experiment, identities, plan }
    }
}

/// The declarations whose files held something else, as a file names them: ``model `policy` ``.
pub fn changed(experiment: &Experiment, was: &Identities, is: &Identities) -> Vec<String> {
    fn of<T>(kind: &str, list: &[Named<T>], was: &[Digest], is: &[Digest]) -> Vec<String> {
        let differs = list.iter().zip(was.iter().zip(is)).filter(|(_, (was, is))| was != is);
        differs.map(|(Named { name, .. }, _)| format!("{kind} `{name}`")).collect()
    }
    let Experiment { envs, models, datasets, .. } = experiment;
    [
        of("env", envs, &was.envs, &is.envs),
        of("model", models, &was.models, &is.models),
        of("dataset", datasets, &was.datasets, &is.datasets),
    ]
    .concat()
}

/// # Errors
/// A run that is not there, never started or is damaged; for one that did not keep what its files held, a file that is
/// gone.
pub fn past(project: &Project, run: &str) -> Result<Past, RunError> {
    of(project, run, &directory::events(project, run)?)
}

/// As [`past`], of one whose journal was read.
pub(super) fn of(project: &Project, run: &str, events: &[(u64, RunEvent)]) -> Result<Past, RunError> {
    let started = events.iter().find_map(|(_, event)| match event {
        RunEvent::RunStarted { plan, nodes, frozen, .. } => Some((*plan, nodes, frozen)),
        _ => None,
    });
    let (digest, nodes, frozen) = started.ok_or_else(|| RunError::NeverStarted(run.to_owned()))?;
    directory::compare(project, run, frozen)?;
    let keys: BTreeMap<&str, Digest> = nodes.iter().map(|node| (node.id.as_str(), node.key)).collect();
    let experiment = directory::experiment(project, run)?;
    let identities = directory::identities(project, run)?.map_or_else(|| identify(&experiment), Ok)?;
    let mut plan = crate::plan::build(&experiment, &identities)?;
    plan.digest = digest;
    for step in &mut plan.steps {
        step.key = keys.get(step.id.as_str()).copied().unwrap_or(step.key);
    }
    Ok(Past { run: run.to_owned(), experiment, identities, plan })
}
