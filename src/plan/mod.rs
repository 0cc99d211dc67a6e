//! Turns an [`Experiment`] into a [`Plan`]: every step of every iteration, its key, and the order they run in.
//!
//! # Invariants
//! Nothing here opens a model, runs a step or knows a clock. A key holds no name, no path, no comment, nothing of the
//! report, and `until` only in the key of its own gate.

pub mod export;
pub mod survey;

pub use export::{to_dot, to_json, to_mermaid};
pub use survey::{NodeSurvey, SurveyItems, SurveyStatus, survey};

use crate::base::Digest;
use crate::experiment::Experiment;
use petgraph::graph::{DiGraph, NodeIndex};
use serde::Serialize;

/// A step in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId(pub usize);

/// The unrolled experiment.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Weights are [`StepId`]s: indices into `steps`.
    pub graph: DiGraph<StepId, Edge>,
    /// In the order they run.
    pub steps: Vec<Step>,
    /// Of all keys in order.
    pub digest: Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The result is read.
    Input,
    /// A gate decides whether the step runs at all.
    Control,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Words, unique in the plan: `judge@2`, `evaluate:base`.
    pub id: String,
    pub op: Op,
    /// 1, 2, … inside a `repeat`; 0 outside.
    pub iteration: u32,
    /// What its metrics are filed under: the `let` name, the audited rows', the critic's, the model's.
    pub name: String,
    pub key: Digest,
    /// Steps whose results it reads, as long as no gate ends a loop.
    pub inputs: Vec<StepId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    Rollout,
    Judge,
    Select,
    Audit,
    Calibrate,
    Train,
    Evaluate,
    Gate,
    Pick,
}

impl Op {
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Rollout => "rollout",
            Op::Judge => "judge",
            Op::Select => "select",
            Op::Audit => "audit",
            Op::Calibrate => "calibrate",
            Op::Train => "train",
            Op::Evaluate => "evaluate",
            Op::Gate => "gate",
            Op::Pick => "pick",
        }
    }
}

/// What the data behind the declarations is: digests of contents, in the order of the declarations. Made by
/// `run::identify`, for it reads files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identities {
    pub envs: Vec<Digest>,
    pub models: Vec<Digest>,
    pub datasets: Vec<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("the schedule has {steps} steps after unrolling; at most {most} can be planned")]
    TooMany { steps: usize, most: usize },
    #[error("`{name}` is used before anything defines it")]
    Undefined { name: String },
}

impl Plan {
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0]
    }

    pub fn find(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }
}

/// Unrolls the schedule and gives every step its key.
///
/// # Errors
/// More steps than anyone can want; a reference that the checker should have refused.
pub fn build(experiment: &Experiment, identities: &Identities) -> Result<Plan, PlanError> {
    let _ = (experiment, identities, NodeIndex::<u32>::new(0));
    todo!()
}
