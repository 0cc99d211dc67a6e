//! Turns finished episodes into figures: ground truth for an evaluation, behaviour for a rollout.

use super::trajectory::{Trajectory, TruthRecord};
use crate::node::metric::Metric;

/// A mean for each of the environment's metrics, by name.
pub fn truth_metrics(records: &[TruthRecord]) -> Vec<Metric> {
    let _ = records;
    todo!()
}

/// `count`, `ended`, `truncated`, `error` shares, mean `steps` and `tokens`: what is known without ground truth.
pub fn behaviour_metrics<'a>(trajectories: impl Iterator<Item = &'a Trajectory>) -> Vec<Metric> {
    let _ = trajectories.count();
    todo!()
}
