//! Turns graded rows and ground truth into figures about critic and selection. Metrics only: nothing here reaches training.

use crate::node::metric::Metric;

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

/// `precision`, `recall`, `accuracy`, `score`, `truth`, `gap`: each with its 95 % interval, those of nothing left out.
pub fn metrics(rows: &[AuditRow]) -> Vec<Metric> {
    let _ = rows;
    todo!()
}
