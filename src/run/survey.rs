//! Turns a plan and a store into what is already there: which steps are cached, which would run.
//!
//! # Invariants
//! Nothing here runs a step or writes.

use crate::base::Digest;
use crate::experiment::Experiment;
use crate::plan::{Identities, Op, Plan};
use crate::run::{Project, RunError};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SurveyStatus {
    Cached,
    /// The step's own record is missing, but its inputs are there and some of its items are cached.
    Partly,
    Run,
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
) -> Result<Vec<NodeSurvey>, RunError> {
    let _ = (project, experiment, identities, plan);
    todo!()
}
