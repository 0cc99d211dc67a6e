//! Turns a plan and a store into what is already there: which steps are cached, which would run.
//!
//! # Invariants
//! Nothing here runs a step, opens a model or writes.

use crate::base::Digest;
use crate::plan::Op;
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

/// One entry a step, in plan order. (Needs the experiment and a `&Store` too once the store is there.)
pub fn survey(plan: &crate::plan::Plan, experiment: &crate::experiment::Experiment) -> Vec<NodeSurvey> {
    let _ = (plan, experiment);
    todo!()
}
