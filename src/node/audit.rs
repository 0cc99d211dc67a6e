//! Turns graded rows and ground truth into figures about critic and selection. Metrics only: nothing here reaches training.
//!
//! # Invariants
//! Rows without a verdict are not in the critic's figures, but are in the selection's: they were rolled out, too. A verdict that
//! says which of a task's samples is better is held against no level: its mean is the same, however good they are.

use crate::node::metric::{self, Metric, Z};
use std::collections::BTreeMap;

/// One row that was rolled out.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// What its verdict may be compared with: the task, and the iteration it was rolled out in.
    pub group: (u32, String),
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
/// | `concordance` | pairs of rows | see [`concordance`] |
///
/// `relative`: verdicts say which of a task's samples are better. They have no `accuracy`, `score` and `gap`; others have no
/// `concordance`.
pub fn metrics(rows: &[AuditRow], relative: bool) -> Vec<Metric> {
    let count = |of: &dyn Fn(&AuditRow) -> bool| rows.iter().filter(|row| of(row)).count();
    let kept_solved = count(&|row| row.kept && row.solved);
    let solved = count(&|row| row.solved);
    let right = count(&|row| row.passes == Some(row.solved));
    let judged: Vec<(f64, f64)> =
        rows.iter().filter_map(|row| Some((row.level?, f64::from(u8::from(row.solved))))).collect();
    let scores: Vec<f64> = judged.iter().map(|(score, _)| *score).collect();
    let gaps: Vec<f64> = judged.iter().map(|(score, solved)| score - solved).collect();
    let selection =
        [Metric::share("precision", kept_solved, count(&|row| row.kept)), Metric::share("recall", kept_solved, solved)];
    let truth = Metric::share("truth", solved, rows.len());
    if relative {
        return selection.into_iter().chain([truth, concordance(rows)]).flatten().collect();
    }
    let levels = [
        Metric::share("accuracy", right, count(&|row| row.passes.is_some())),
        Metric::mean("score", &scores),
        truth,
        (!gaps.is_empty()).then(|| Metric {
            name: "gap".to_owned(),
            value: metric::mean(&gaps),
            n: gaps.len() as u64,
            ci95: metric::normal(&gaps),
        }),
    ];
    selection.into_iter().chain(levels).flatten().collect()
}

/// Pairwise concordance (F. E. Harrell et al. 1982): of the pairs of a task's judged rows of which one is solved and the other is
/// not, the share in which the solved one has the higher verdict, where equal ones count a half. Its interval takes the tasks for
/// what was drawn, as pairs of one task share their rows: the ratio estimator's (W. G. Cochran, *Sampling Techniques*, 1977,
/// chapter 2), `z / Σm · sqrt(k / (k − 1) · Σ(c − C·m)²)`, of `k` tasks with `m` pairs each, of which `c` are in order.
fn concordance(rows: &[AuditRow]) -> Option<Metric> {
    let mut groups: BTreeMap<&(u32, String), [Vec<f64>; 2]> = BTreeMap::new();
    for AuditRow { group, level, solved, .. } in rows {
        groups.entry(group).or_default()[usize::from(*solved)].extend(level);
    }
    let of_group = |[bad, good]: &[Vec<f64>; 2]| {
        let in_order = |good: &f64, bad: &f64| if good > bad { 1.0 } else { f64::from(u8::from(good == bad)) / 2.0 };
        let concordant: f64 = good.iter().flat_map(|good| bad.iter().map(move |bad| in_order(good, bad))).sum();
        (concordant, (good.len() * bad.len()) as f64)
    };
    let groups: Vec<(f64, f64)> = groups.values().map(of_group).filter(|(_, pairs)| *pairs > 0.0).collect();
    let pairs: f64 = groups.iter().map(|(_, pairs)| pairs).sum();
    let value = groups.iter().map(|(concordant, _)| concordant).sum::<f64>() / pairs;
    let squares: f64 = groups.iter().map(|(concordant, pairs)| (concordant - value * pairs).powi(2)).sum();
    let k = groups.len() as f64;
    (pairs > 0.0).then(|| Metric {
        name: "concordance".to_owned(),
        value,
        n: pairs as u64,
        ci95: (groups.len() > 1).then(|| Z / pairs * (k / (k - 1.0) * squares).sqrt()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kept: bool, level: Option<f64>, solved: bool) -> AuditRow {
        let group = (1, "a".to_owned());
        AuditRow { group, kept, passes: level.map(|level| level >= 0.75), level, solved }
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
        let metrics = metrics(&rows, false);
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
        let names: Vec<String> =
            metrics(&[row(false, None, false)], false).into_iter().map(|metric| metric.name).collect();
        assert_eq!(names, ["truth"]);
        assert_eq!(metrics(&[], false), []);
        assert_eq!(metrics(&[], true), []);
    }

    /// Shares of comparisons are a half on the average, whatever was done: no gap and no score of them says anything.
    #[test]
    fn what_is_better_is_held_against_what_is_better_in_its_task() {
        let of = |iteration: u32, task: &str, level: f64, solved: bool| AuditRow {
            group: (iteration, task.to_owned()),
            ..row(level > 0.5, Some(level), solved)
        };
        let perfect = [
            of(1, "a", 1.0, true),
            of(1, "a", 0.0, false),
            of(1, "b", 0.5, false),
            of(1, "b", 0.5, false),
            of(1, "c", 1.0, true),
        ];
        let metrics = metrics(&perfect, true);
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(names, ["precision", "recall", "truth", "concordance"]);
        assert_eq!((metrics[3].value, metrics[3].n, metrics[3].ci95), (1.0, 1, None), "one task, one pair");
        // Two right and a tie of four in the one task, one wrong in the other; the same task of another time is another.
        let mixed = [
            of(1, "a", 1.0, true),
            of(1, "a", 0.5, true),
            of(1, "a", 0.5, false),
            of(1, "a", 0.75, false),
            of(1, "b", 0.25, true),
            of(1, "b", 0.75, false),
            of(2, "b", 0.0, false),
            AuditRow { level: None, ..of(1, "b", 0.0, false) },
        ];
        let metric = concordance(&mixed).expect("some pairs differ");
        assert_eq!((metric.value, metric.n), (2.5 / 5.0, 5));
        let half = Z / 5.0 * (2.0_f64 * (0.5 * 0.5 + 0.5 * 0.5)).sqrt();
        assert!((metric.ci95.expect("two tasks") - half).abs() < 1e-12, "{metric:?}");
        assert_eq!(concordance(&[of(1, "a", 1.0, true), of(1, "b", 0.0, false)]), None, "nothing to compare");
    }
}
