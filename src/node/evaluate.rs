//! Turns finished episodes into figures: ground truth for an evaluation, behaviour for a rollout.
//!
//! # Invariants
//! [`behaviour_metrics`] reads nothing that the agent or the critic may not know.

use super::trajectory::{Trajectory, TruthRecord};
use crate::node::metric::{Metric, mean, normal};
use std::collections::BTreeMap;

/// A mean for each of the environment's metrics, by name. With one sample a task, the interval of a metric that is 0 or 1
/// is Wilson's; with more, it is the normal one over the tasks' means, as samples of one task are not independent
/// (E. Miller, *Adding Error Bars to Evals*, 2024).
pub fn truth_metrics(records: &[TruthRecord]) -> Vec<Metric> {
    let mut columns: BTreeMap<&str, BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for TruthRecord { task, sample: _, truth } in records {
        for (name, value) in truth {
            columns.entry(name).or_default().entry(task).or_default().push(*value);
        }
    }
    columns.into_iter().filter_map(|(name, tasks)| summary(name, tasks.into_values().collect())).collect()
}

fn summary(name: &str, tasks: Vec<Vec<f64>>) -> Option<Metric> {
    let all: Vec<f64> = tasks.iter().flatten().copied().collect();
    if tasks.iter().any(|samples| samples.len() > 1) {
        let means: Vec<f64> = tasks.iter().map(|samples| mean(samples)).collect();
        return Metric::mean(name, &all).map(|metric| Metric { ci95: normal(&means), ..metric });
    }
    if all.iter().all(|value| *value == 0.0 || *value == 1.0) {
        return Metric::share(name, all.iter().filter(|value| **value == 1.0).count(), all.len());
    }
    Metric::mean(name, &all)
}

/// What the figures need of a trajectory.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    ended: bool,
    truncated: bool,
    error: bool,
    steps: u32,
    tokens: usize,
}

impl From<&Trajectory> for Behaviour {
    fn from(trajectory: &Trajectory) -> Self {
        let Trajectory { ended, truncated, error, steps, row, .. } = trajectory;
        Self { ended: *ended, truncated: *truncated, error: *error, steps: *steps, tokens: row.tokens.len() }
    }
}

/// `count`, `ended`, `truncated`, `error` shares, mean `steps` and `tokens`: what is known without ground truth.
pub fn behaviour_metrics(all: &[Behaviour]) -> Vec<Metric> {
    let n = all.len();
    let share = |name, of: fn(&Behaviour) -> bool| Metric::share(name, all.iter().filter(|one| of(one)).count(), n);
    let average = |name, of: fn(&Behaviour) -> f64| Metric::mean(name, &all.iter().map(of).collect::<Vec<_>>());
    [
        Some(Metric::plain("count", n as f64, n)),
        share("ended", |one| one.ended),
        share("truncated", |one| one.truncated),
        share("error", |one| one.error),
        average("steps", |one| f64::from(one.steps)),
        average("tokens", |one| one.tokens as f64),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Truth;

    fn record(task: &str, sample: u32, success: f64, progress: f64) -> TruthRecord {
        let truth = [("success", success), ("progress", progress)].map(|(name, value)| (name.to_owned(), value));
        TruthRecord { task: task.to_owned(), sample, truth: Truth::from_iter(truth) }
    }

    #[test]
    fn one_sample_a_task_is_a_share_and_more_are_clustered() {
        let single =
            [record("a", 0, 1.0, 1.0), record("b", 0, 0.0, 0.5), record("c", 0, 0.0, 0.25), record("d", 0, 0.0, 0.25)];
        let metrics = truth_metrics(&single);
        assert_eq!(metrics.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>(), ["progress", "success"]);
        assert_eq!((metrics[0].value, metrics[1].value, metrics[1].n), (0.5, 0.25, 4));
        assert_eq!(metrics[1].ci95, Metric::share("success", 1, 4).unwrap().ci95);

        // Samples of a task that always agree tell as much as one sample each.
        let double: Vec<TruthRecord> =
            single.iter().flat_map(|one| [one.clone(), TruthRecord { sample: 1, ..one.clone() }]).collect();
        let success = &truth_metrics(&double)[1];
        assert_eq!((success.value, success.n, success.ci95), (0.25, 8, normal(&[1.0, 0.0, 0.0, 0.0])));
        assert_eq!(truth_metrics(&[]), []);
    }
}
