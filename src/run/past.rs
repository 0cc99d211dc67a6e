//! Turns a run's frozen files back into its plan, with the keys that it had.
//!
//! # Invariants
//! Nothing here writes, and no model is opened.

use crate::base::Digest;
use crate::experiment::Experiment;
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
    /// Made anew: where agx has changed since, its keys are others than the run's.
    pub plan: Plan,
    /// The run's own, by node.
    keys: BTreeMap<String, Digest>,
}

impl Past {
    pub fn key(&self, node: &str) -> Option<Digest> {
        self.keys.get(node).copied()
    }

    pub fn planned(&self) -> Planned<'_> {
        let Self { experiment, identities, plan, .. } = self;
        Planned { experiment, identities, plan }
    }
}

/// # Errors
/// A run that is not there, never started or is damaged; for one that did not keep what its files held, a file that is
/// gone.
pub fn past(project: &Project, run: &str) -> Result<Past, RunError> {
    let events = directory::events(project, run)?;
    let started = events.into_iter().find_map(|(_, event)| match event {
        RunEvent::RunStarted { nodes, frozen, .. } => Some((nodes, frozen)),
        _ => None,
    });
    let (nodes, frozen) = started.unwrap_or_default();
    directory::verify(run, &project.run_dir(run), &frozen)?;
    let keys = nodes.into_iter().map(|node| (node.id, node.key)).collect();
    let experiment = directory::experiment(project, run)?;
    let identities = directory::identities(project, run)?.map_or_else(|| identify(&experiment), Ok)?;
    let plan = crate::plan::build(&experiment, &identities)?;
    Ok(Past { run: run.to_owned(), experiment, identities, plan, keys })
}
