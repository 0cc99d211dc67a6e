//! Turns tasks into trajectories: episodes in lockstep, all of a group asked together turn by turn.
//!
//! # Invariants
//! Token in, token out: a turn's prompt is the ids before it, and only sampled ids are marked to be learned.
//! An episode's text does not depend on its company: every turn has a seed of its own, derived from the item's.

use crate::base::Seed;
use crate::env::{Env, Task};
use crate::model::{LanguageModel, ModelError, Sampling, ToolFormat};
use crate::node::template::Template;
use crate::node::trajectory::{Trajectory, TruthRecord};

/// What all episodes of a node share.
pub struct Rollout<'a> {
    pub model: &'a dyn LanguageModel,
    pub env: &'a Env,
    pub prompt: &'a Template,
    pub tool_format: ToolFormat,
    pub max_steps: u32,
    pub sampling: Sampling,
}

/// One episode wanted.
#[derive(Clone, Debug)]
pub struct RolloutItem {
    pub task: Task,
    pub sample: u32,
    pub seed: Seed,
}

impl Rollout<'_> {
    /// Works a group. `on_done(index, …)` is called as each episode finishes, so that the caller can record it at once.
    /// `stop` is asked before each turn; when it says so, unfinished episodes end as [`ModelError::Paused`].
    pub fn run(
        &self,
        items: &[RolloutItem],
        stop: &dyn Fn() -> bool,
        on_done: &mut dyn FnMut(usize, Trajectory, TruthRecord),
    ) -> Vec<Result<(), ModelError>> {
        let _ = (items, stop, on_done);
        todo!()
    }
}
