//! Turns a plan and a store into what is already there: which steps are cached, which would run.
//!
//! # Invariants
//! Nothing here runs a step or writes. A model is opened only to key the questions of a critic whose rows are there.

use crate::base::Digest;
use crate::experiment::Experiment;
use crate::model::{ModelError, Wire};
use crate::plan::{Identities, Op, Plan, StepId, Work};
use crate::run::items::Item;
use crate::run::manifest::Manifest;
use crate::run::resources::Resources;
use crate::run::state::{Readiness, Standing, State};
use crate::run::verdicts::Jury;
use crate::run::{Project, RunError, StepError, episodes, steps, verdicts};
use crate::store::{Loaded, Store, StoreError};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SurveyStatus {
    Cached,
    /// The step's own record is missing, but its inputs are there and some of its items are cached.
    Partly,
    Run,
    /// A gate has ended the loop before it.
    Skipped,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeSurvey {
    pub id: String,
    pub op: Op,
    pub iteration: u32,
    pub key: Digest,
    pub status: SurveyStatus,
    pub items: SurveyItems,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SurveyItems {
    pub cached: u64,
    /// `None` where it is not known before its inputs exist.
    pub total: Option<u64>,
}

/// One entry a step, in plan order.
///
/// # Errors
/// A store or a model file that cannot be read.
pub fn survey(
    project: &Project,
    experiment: &Experiment,
    identities: &Identities,
    plan: &Plan,
    wire: Wire,
) -> Result<Vec<NodeSurvey>, RunError> {
    let resources = Resources::new(experiment, identities, &project.store, wire);
    // Most keys are the planned ones: what is there of these is read at once.
    let found = plan.steps.par_iter().map(|step| Ok(listed(&project.store, &step.key)?.map(|made| (step.key, made))));
    let found = found.collect::<Result<Vec<_>, RunError>>()?;
    let made: BTreeMap<Digest, Listed> = found.into_iter().flatten().collect();
    let mut state = State::new(plan);
    let mut surveys = Vec::with_capacity(plan.steps.len());
    for (id, step) in plan.ordered() {
        let (status, items) = match state.readiness(id) {
            Readiness::Skipped(_) => {
                state.set(id, Standing::Skipped);
                (SurveyStatus::Skipped, SurveyItems { cached: 0, total: Some(0) })
            }
            Readiness::Waiting | Readiness::Blocked(_) => {
                (SurveyStatus::Run, SurveyItems { cached: 0, total: known_total(&resources, &step.work) })
            }
            Readiness::Ready(key) => {
                match made.get(&key).cloned().map_or_else(|| listed(&project.store, &key), |made| Ok(Some(made)))? {
                    Some((recorded, items)) => {
                        let manifest = steps::decide(experiment, &state, id).unwrap_or(recorded);
                        let count = items.max(1);
                        state.set(id, Standing::Done(manifest));
                        (SurveyStatus::Cached, SurveyItems { cached: count, total: Some(count) })
                    }
                    None => {
                        let items = items(&resources, &state, id).map_err(RunError::Step)?;
                        let found =
                            items.par_iter().map(|item| Ok(u64::from(project.store.lookup(&item.key)?.is_some())));
                        let cached = found.sum::<Result<u64, StoreError>>()?;
                        let total = if items.is_empty() { 1 } else { items.len() as u64 };
                        let status = if cached > 0 { SurveyStatus::Partly } else { SurveyStatus::Run };
                        (status, SurveyItems { cached, total: Some(total) })
                    }
                }
            }
        };
        surveys.push(NodeSurvey {
            id: step.id.clone(),
            op: step.op,
            iteration: step.iteration,
            key: step.key,
            status,
            items,
        });
    }
    project.store.take_damage();
    Ok(surveys)
}

/// What a step made, without its items, and how many these are.
type Listed = (Manifest, u64);

/// A step's manifest, when every blob it names is there. Whether they are whole is seen when they are read: there may be
/// millions.
fn listed(store: &Store, key: &Digest) -> Result<Option<Listed>, RunError> {
    let Some(Loaded { output, .. }) = store.load(key)? else { return Ok(None) };
    let Ok(mut manifest) = Manifest::from_bytes(&output) else { return Ok(None) };
    for blob in manifest.blobs() {
        if !store.lists(&blob)? {
            return Ok(None);
        }
    }
    for item in &manifest.items {
        if !store.lists_record(&item.key)? {
            return Ok(None);
        }
    }
    let items = std::mem::take(&mut manifest.items).len() as u64;
    Ok(Some((manifest, items)))
}

/// The items of a step whose inputs are there; none for steps without.
pub fn items(resources: &Resources<'_>, state: &State<'_>, id: StepId) -> Result<Vec<Item>, StepError> {
    match known(resources, state, id) {
        // What this version does not run has no items yet, nor has what a model is asked that is not here.
        Err(StepError::NotBuilt(_) | StepError::Model { problem: ModelError::Hub(_), .. }) => Ok(Vec::new()),
        items => items,
    }
}

fn known(resources: &Resources<'_>, state: &State<'_>, id: StepId) -> Result<Vec<Item>, StepError> {
    let step = state.plan.step(id);
    Ok(match &step.work {
        Work::Rollout(asked) | Work::Evaluate(asked) => {
            let version = state.version(&asked.version);
            episodes::prepare(resources, asked, &version, step.op, step.iteration)?.items
        }
        Work::Judge { rows, by, joined, tolerance: _ } => {
            let set = steps::rows(resources, state, rows)?;
            verdicts::about_rows(resources, state, rows, &set, Jury::of(by, *joined))?.items
        }
        Work::Calibrate { by, joined, dataset } => {
            let examples = verdicts::labelled(resources, *dataset)?;
            verdicts::about_examples(resources, state, Jury::of(by, *joined), &examples)?.items
        }
        Work::Select { .. } | Work::Audit { .. } | Work::Train { .. } | Work::Gate { .. } | Work::Pick { .. } => {
            Vec::new()
        }
    })
}

/// How many items there will be, where the file alone says so.
fn known_total(resources: &Resources<'_>, work: &Work) -> Option<u64> {
    match work {
        Work::Rollout(asked) | Work::Evaluate(asked) => {
            let splits = &resources.experiment.envs[asked.env.0].it.splits;
            let split = splits.iter().find(|split| split.name == asked.split)?;
            Some(u64::from(split.size) * u64::from(asked.samples))
        }
        Work::Judge { .. } => None,
        Work::Calibrate { .. } => None,
        _ => Some(1),
    }
}
