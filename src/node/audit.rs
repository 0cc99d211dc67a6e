//! Turns graded rows and ground truth into figures about critic and selection. Metrics only: nothing here reaches training.
//!
//! # Invariants
//! Rows without a verdict are not in the critic's figures, but are in the selection's: they were rolled out, too.

use crate::node::metric::{self, Metric};

/// One row that was rolled out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AuditRow {
    pub kept: bool,
    /// Whether the verdict is positive; `None` when there is none.
    pub passes: Option<bool>,
    /// The verdict's figure in 0..=1.
    pub level: Option<f64>,
    pub solved: bool,
}

/// Each with its 95 % interval; those of nothing are left out.
///
/// | name | of | what |
/// |---|---|---|
/// | `precision` | kept rows | share that is truly solved |
/// | `recall` | solved rows | share that was kept |
/// | `accuracy` | judged rows | share whose verdict fits the truth |
/// | `score` | judged rows | mean verdict, on a scale of 0 to 1 |
/// | `truth` | all rows | share that is truly solved |
/// | `gap` | judged rows | mean verdict − share solved: grows when the critic is being gamed |
pub fn metrics(rows: &[AuditRow]) -> Vec<Metric> {
    let count = |of: &dyn Fn(&AuditRow) -> bool| rows.iter().filter(|row| of(row)).count();
    let kept_solved = count(&|row| row.kept && row.solved);
    let solved = count(&|row| row.solved);
    let right = count(&|row| row.passes == Some(row.solved));
    let judged: Vec<(f64, f64)> =
        rows.iter().filter_map(|row| Some((row.level?, f64::from(u8::from(row.solved))))).collect();
    let scores: Vec<f64> = judged.iter().map(|(score, _)| *score).collect();
    let gaps: Vec<f64> = judged.iter().map(|(score, solved)| score - solved).collect();
    [
        Metric::share("precision", kept_solved, count(&|row| row.kept)),
        Metric::share("recall", kept_solved, solved),
        Metric::share("accuracy", right, count(&|row| row.passes.is_some())),
        Metric::mean("score", &scores),
        Metric::share("truth", solved, rows.len()),
        (!gaps.is_empty()).then(|| Metric {
            name: "gap".to_owned(),
            value: metric::mean(&gaps),
            n: gaps.len() as u64,
            ci95: metric::normal(&gaps),
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}
