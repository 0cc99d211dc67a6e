//! What one step is to do, with every reference turned into steps of the plan.
//!
//! A reference is a list of candidates, because a gate may end a loop before the planned one runs; [`Work::reads`] says
//! which of them count once it is known who was skipped.

use crate::experiment::{CriticId, DatasetId, EnvId, Experiment, Mixed, ModelId, PromptId, RuleId, TrainerId, Until};
use crate::model::Sampling;
use crate::node::spec::Joined;
use crate::node::tolerance::Tolerance;
use crate::plan::{Op, StepId};

#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    Rollout(Episodes),
    Judge {
        rows: RowsFrom,
        by: Vec<Judge>,
        /// How the verdicts of several become one.
        joined: Option<Joined>,
        tolerance: Tolerance,
    },
    Select {
        rows: RowsFrom,
        rule: RuleId,
    },
    Audit {
        rows: RowsFrom,
        metric: String,
    },
    Calibrate {
        by: Vec<Judge>,
        joined: Option<Joined>,
        dataset: DatasetId,
    },
    Train {
        start: VersionFrom,
        on: TrainFrom,
        mixed: Vec<Mixed>,
        trainer: TrainerId,
        /// What the method holds it to.
        reference: Option<VersionFrom>,
        /// What the trained version is called: 1, 2, …
        version: u32,
    },
    Evaluate(Episodes),
    Gate {
        until: Until,
        history: History,
    },
    /// Candidates are evaluations, in order.
    Pick {
        model: ModelId,
        metric: String,
        among: Vec<StepId>,
    },
}

/// A model let loose on the tasks of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Episodes {
    pub version: VersionFrom,
    pub env: EnvId,
    pub split: String,
    pub prompt: PromptId,
    pub samples: u32,
    pub sampling: Sampling,
    /// Another number draws other samples.
    pub stream: u64,
    /// Who chooses among a task's samples.
    pub best_by: Vec<Judge>,
    pub tolerance: Tolerance,
}

/// A critic, and the version of its model that answers: the newest, as with a bare name anywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    pub critic: CriticId,
    pub version: VersionFrom,
}

/// Whose rows are read.
#[derive(Clone, Debug, PartialEq)]
pub enum RowsFrom {
    /// The first of these that ran: newest first.
    Newest(Vec<StepId>),
    /// All of these that ran: oldest first.
    All(Vec<StepId>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum TrainFrom {
    Rows(RowsFrom),
    Dataset(DatasetId),
    Through { dataset: DatasetId, critic: CriticId },
}

/// Which version of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionFrom {
    pub model: ModelId,
    pub which: Which,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Which {
    /// The first of these trainings that ran, newest first; the declared weights when none did.
    Newest(Vec<StepId>),
    /// What the evaluation with the highest metric measured, ties to the earliest; `otherwise` when none ran.
    Best {
        metric: String,
        among: Vec<StepId>,
        otherwise: Vec<StepId>,
    },
    Picked(StepId),
    /// What this very training made; where a gate skipped it, there is no such version.
    Trained(StepId),
}

/// The steps a gate may read, by the name their metrics are filed under, in the order in which `until` names them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// For each iteration of the loop so far, from the first.
    pub rounds: Vec<(String, Vec<Vec<StepId>>)>,
    /// What `since` names: counts as iteration 0.
    pub since: Vec<(String, Vec<StepId>)>,
}

impl RowsFrom {
    pub fn resolve(&self, skipped: &dyn Fn(StepId) -> bool) -> Vec<StepId> {
        match self {
            RowsFrom::Newest(steps) => first(steps, skipped).into_iter().collect(),
            RowsFrom::All(steps) => steps.iter().copied().filter(|&step| !skipped(step)).collect(),
        }
    }
}

impl VersionFrom {
    fn reads(&self, skipped: &dyn Fn(StepId) -> bool) -> Vec<StepId> {
        match &self.which {
            Which::Newest(trains) => first(trains, skipped).into_iter().collect(),
            Which::Best { metric: _, among, otherwise } => {
                let ran = ran(among, skipped);
                if ran.is_empty() { first(otherwise, skipped).into_iter().collect() } else { ran }
            }
            Which::Picked(step) | Which::Trained(step) => vec![*step],
        }
    }
}

impl Work {
    /// What it does about items that fail.
    pub fn tolerance(&self) -> Tolerance {
        match self {
            Work::Rollout(episodes) | Work::Evaluate(episodes) => episodes.tolerance,
            Work::Judge { tolerance, .. } => *tolerance,
            _ => Tolerance::default(),
        }
    }

    /// The model that its items are asked of; of a panel, the first critic's.
    pub fn answer(&self, experiment: &Experiment) -> Vec<ModelId> {
        match self {
            Work::Rollout(episodes) | Work::Evaluate(episodes) => vec![episodes.version.model],
            Work::Judge { by, .. } | Work::Calibrate { by, .. } => {
                by.iter().map(|judge| experiment.sole(judge.critic).model).collect()
            }
            Work::Select { .. } | Work::Audit { .. } | Work::Train { .. } | Work::Gate { .. } | Work::Pick { .. } => {
                Vec::new()
            }
        }
    }

    pub fn op(&self) -> Op {
        match self {
            Work::Rollout(_) => Op::Rollout,
            Work::Judge { .. } => Op::Judge,
            Work::Select { .. } => Op::Select,
            Work::Audit { .. } => Op::Audit,
            Work::Calibrate { .. } => Op::Calibrate,
            Work::Train { .. } => Op::Train,
            Work::Evaluate(_) => Op::Evaluate,
            Work::Gate { .. } => Op::Gate,
            Work::Pick { .. } => Op::Pick,
        }
    }

    /// The steps that are read, one list a role, given who was skipped.
    pub fn reads(&self, skipped: &dyn Fn(StepId) -> bool) -> Vec<Vec<StepId>> {
        match self {
            Work::Rollout(episodes) | Work::Evaluate(episodes) => {
                let judges = episodes.best_by.iter().map(|judge| judge.version.reads(skipped));
                [episodes.version.reads(skipped)].into_iter().chain(judges).collect()
            }
            Work::Judge { rows, by, .. } => {
                let judges = by.iter().map(|judge| judge.version.reads(skipped));
                [rows.resolve(skipped)].into_iter().chain(judges).collect()
            }
            Work::Select { rows, .. } | Work::Audit { rows, .. } => vec![rows.resolve(skipped)],
            Work::Calibrate { by, .. } => by.iter().map(|judge| judge.version.reads(skipped)).collect(),
            Work::Train { start, on, reference, .. } => {
                let rows = match on {
                    TrainFrom::Rows(rows) => rows.resolve(skipped),
                    TrainFrom::Dataset(_) | TrainFrom::Through { .. } => Vec::new(),
                };
                let reference = reference.iter().map(|reference| reference.reads(skipped));
                [start.reads(skipped), rows].into_iter().chain(reference).collect()
            }
            Work::Gate { history: History { rounds, since }, .. } => {
                let rounds = rounds.iter().flat_map(|(_, rounds)| rounds);
                rounds.chain(since.iter().map(|(_, steps)| steps)).map(|steps| ran(steps, skipped)).collect()
            }
            Work::Pick { among, .. } => vec![ran(among, skipped)],
        }
    }
}

fn first(steps: &[StepId], skipped: &dyn Fn(StepId) -> bool) -> Option<StepId> {
    steps.iter().copied().find(|&step| !skipped(step))
}

fn ran(steps: &[StepId], skipped: &dyn Fn(StepId) -> bool) -> Vec<StepId> {
    steps.iter().copied().filter(|&step| !skipped(step)).collect()
}
