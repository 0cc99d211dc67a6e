//! Turns an [`Experiment`] into a [`Plan`]: every step of every iteration, its key, and the order they run in.
//!
//! A key is the recipe's identity, known before anything runs: the operation and its revision, its whole configuration,
//! the seed, and the keys of the steps it reads. Gates are control, not inputs: they are in no other step's key.
//!
//! [`key`] makes keys, [`keyed`] says of each field of a file whether it is in them, [`why`](mod@why) why two plans have others,
//! [`outline`](mod@outline) and [`difference`] are what experiments are compared by.
//!
//! # Invariants
//! Nothing here opens a model, runs a step or knows a clock. A key holds no name, no path, no comment, nothing of the
//! report, and `until` only in the key of its own gate.

pub mod bounds;
pub mod budget;
pub mod build;
pub mod export;
pub mod key;
pub mod outline;
pub mod difference;
pub mod keyed;
pub mod why;
pub mod work;
#[cfg(test)]
pub mod sample;
#[cfg(test)]
mod tests;

pub use bounds::{Amount, Bounds, bounds, foresee, total};
pub use budget::afford;
pub use build::build;
pub use difference::{Difference, differences};
pub use export::{to_dot, to_json, to_mermaid};
pub use outline::{Part, outline};
pub use work::{Episodes, History, Judge, RowsFrom, TrainFrom, VersionFrom, Which, Work};

use crate::base::Digest;
use petgraph::graph::DiGraph;
use serde::{Deserialize, Serialize};

/// A step: its place in [`Plan::steps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StepId(pub usize);

/// The unrolled experiment.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Node indices equal [`StepId`]s.
    pub graph: DiGraph<StepId, Edge>,
    /// As written, unrolled.
    pub steps: Vec<Step>,
    /// As run: Kahn's order, ties by (iteration, place in the file).
    pub order: Vec<StepId>,
    /// Of all keys in order.
    pub digest: Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The result is read.
    Input,
    /// Decides whether the step runs at all.
    Control,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Words, unique in the plan: `judge@2`, `evaluate:base`.
    pub id: String,
    pub op: Op,
    /// 1, 2, … inside a `repeat` (the innermost); 0 outside.
    pub iteration: u32,
    /// What its metrics are filed under: the `let` name, the audited rows', the critic's, the model's.
    pub name: String,
    /// As planned: when no gate ends a loop early.
    pub key: Digest,
    /// The part of the key that is its own: operation, configuration, seed.
    pub recipe: Digest,
    pub work: Work,
    /// Steps whose results it reads, as long as no gate ends a loop.
    pub inputs: Vec<StepId>,
    /// Gates, and selections with `require … else stop`, that decide whether it runs.
    pub after: Vec<StepId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identities {
    pub envs: Vec<Digest>,
    pub models: Vec<Digest>,
    pub datasets: Vec<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("the schedule unrolls to more than {most} steps")]
    TooMany { most: usize },
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

    /// In the order they run.
    pub fn ordered(&self) -> impl Iterator<Item = (StepId, &Step)> {
        self.order.iter().map(|&id| (id, self.step(id)))
    }

    /// The ids of the steps, as words.
    pub fn ids(&self, steps: &[StepId]) -> Vec<String> {
        steps.iter().map(|&id| self.step(id).id.clone()).collect()
    }
}

impl PartialEq for Plan {
    /// Everything else follows from the steps.
    fn eq(&self, other: &Self) -> bool {
        self.steps == other.steps && self.order == other.order
    }
}
