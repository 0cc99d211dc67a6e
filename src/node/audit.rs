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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kept: bool, level: Option<f64>, solved: bool) -> AuditRow {
        AuditRow { kept, passes: level.map(|level| level >= 0.75), level, solved }
    }

    #[test]
    fn critic_and_selection_are_measured_apart() {
        let rows = [
            row(true, Some(1.0), true),
            row(true, Some(0.75), false),
            row(false, Some(0.75), true),
            row(false, Some(0.0), false),
            row(false, None, true),
        ];
        let metrics = metrics(&rows);
        let value =
            |name: &str| metrics.iter().find(|metric| metric.name == name).map(|metric| (metric.value, metric.n));
        assert_eq!(value("precision"), Some((0.5, 2)));
        assert_eq!(value("recall"), Some((1.0 / 3.0, 3)), "an unread success was not kept, either");
        assert_eq!(value("accuracy"), Some((0.75, 4)));
        assert_eq!(value("score"), Some((0.625, 4)));
        assert_eq!(value("truth"), Some((0.6, 5)));
        assert_eq!(value("gap"), Some((0.125, 4)));
        assert!(metrics.iter().all(|metric| metric.ci95.is_some()));
    }

    #[test]
    fn nothing_kept_has_no_precision() {
        let names: Vec<String> = metrics(&[row(false, None, false)]).into_iter().map(|metric| metric.name).collect();
        assert_eq!(names, ["truth"]);
        assert_eq!(metrics(&[]), []);
    }
}
