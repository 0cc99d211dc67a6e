//! A finished episode: what was said, which ids were sampled, how it ended. Ground truth is kept apart, in a
//! record of its own.

use crate::env::Truth;
use crate::model::{Message, TrainRow};
use serde::{Deserialize, Serialize};

/// One finished episode as agent and critic may know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    pub task: String,
    pub sample: u32,
    /// The prompt's messages, then assistant and tool turns in order.
    pub messages: Vec<Message>,
    /// How many of `messages` are the prompt.
    pub prompt_len: usize,
    /// The very ids of the conversation; `learn` marks those the agent sampled.
    pub row: TrainRow,
    /// Agent turns.
    pub steps: u32,
    /// Tool calls that could be read.
    pub calls: u32,
    /// Canonical calls, one a line: what `dedup by traj.actions` compares.
    pub actions: String,
    /// The agent answered, rather than ran out of steps, tokens or context.
    pub ended: bool,
    pub truncated: bool,
    /// Some observation was an error or some turn could not be read.
    pub error: bool,
    pub logprob: f64,
}

/// What only metrics and audits may read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TruthRecord {
    pub task: String,
    pub sample: u32,
    pub truth: Truth,
}
