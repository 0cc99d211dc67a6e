//! Turns verdicts' figures and the truth into a receiver operating characteristic: how well the figures rank, whatever
//! threshold is drawn.
//!
//! # Invariants
//! Equal figures are one point: their order is nobody's to choose.

use super::metric::{Metric, Z};
use serde::Serialize;

/// What happens where verdicts of at least `at` are taken for positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    pub at: f64,
    /// Of what is not solved, the share taken for it.
    pub false_positive_rate: f64,
    /// Of what is solved, the share taken for it.
    pub true_positive_rate: f64,
}

/// The curve, from the strictest threshold to the one that lets all through; below the first, at (0, 0), nothing is.
#[derive(Clone, Debug, PartialEq)]
pub struct Roc {
    pub points: Vec<Point>,
    positive: usize,
    negative: usize,
}

impl Roc {
    /// Of pairs (figure, truly solved); `None` where all are solved or none is.
    pub fn of(pairs: &[(f64, bool)]) -> Option<Self> {
        let mut sorted = pairs.to_vec();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let positive = pairs.iter().filter(|(_, solved)| *solved).count();
        let negative = pairs.len() - positive;
        if positive == 0 || negative == 0 {
            return None;
        }
        let (mut hits, mut alarms) = (0, 0);
        let points = sorted.chunk_by(|a, b| a.0 == b.0).map(|equal| {
            let solved = equal.iter().filter(|(_, solved)| *solved).count();
            hits += solved;
            alarms += equal.len() - solved;
            Point {
                at: equal[0].0,
                false_positive_rate: alarms as f64 / negative as f64,
                true_positive_rate: hits as f64 / positive as f64,
            }
        });
        Some(Self { points: points.collect(), positive, negative })
    }

    /// `auc`, the area under the curve by trapezoids: the chance that of a solved and an unsolved one the solved has the higher
    /// figure, where equal ones count a half. Its interval is by the standard error of J. A. Hanley and B. J. McNeil (1982):
    /// `A(1−A) + (p−1)(A/(2−A) − A²) + (n−1)(2A²/(1+A) − A²)` over `p·n`, of `p` solved and `n` unsolved ones.
    pub fn auc(&self) -> Metric {
        let (mut area, mut x, mut y) = (0.0, 0.0, 0.0);
        for Point { false_positive_rate, true_positive_rate, at: _ } in &self.points {
            area += (false_positive_rate - x) * (true_positive_rate + y) / 2.0;
            (x, y) = (*false_positive_rate, *true_positive_rate);
        }
        let (positive, negative) = (self.positive as f64, self.negative as f64);
        let square = area * area;
        let variance = area * (1.0 - area)
            + (positive - 1.0) * (area / (2.0 - area) - square)
            + (negative - 1.0) * (2.0 * square / (1.0 + area) - square);
        let error = (variance.max(0.0) / (positive * negative)).sqrt();
        let n = (self.positive + self.negative) as u64;
        Metric { name: "auc".to_owned(), value: area, n, ci95: Some(Z * error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn auc(pairs: &[(f64, bool)]) -> Option<f64> {
        Roc::of(pairs).map(|roc| roc.auc().value)
    }

    #[test]
    fn a_curve_goes_from_nothing_to_everything() {
        let pairs = [(4.0, true), (4.0, false), (3.0, true), (1.0, false), (0.0, false)];
        let roc = Roc::of(&pairs).expect("both are there");
        let points: Vec<(f64, f64, f64)> =
            roc.points.iter().map(|it| (it.at, it.false_positive_rate, it.true_positive_rate)).collect();
        let third = 1.0 / 3.0;
        assert_eq!(points, [(4.0, third, 0.5), (3.0, third, 1.0), (1.0, 2.0 / 3.0, 1.0), (0.0, 1.0, 1.0)]);
        assert!((roc.auc().value - 0.75).abs() < 1e-12, "{}", roc.auc().value);
        assert_eq!((auc(&[(1.0, true), (0.0, false)]), auc(&[(0.0, true), (1.0, false)])), (Some(1.0), Some(0.0)));
        assert_eq!(auc(&[(2.0, true), (2.0, false)]), Some(0.5), "whoever says one thing says nothing");
        assert_eq!((auc(&[(1.0, true)]), auc(&[(1.0, false)]), auc(&[])), (None, None, None));
    }

    /// J. A. Hanley and B. J. McNeil (1982), table I and the text: 58 normal and 51 abnormal images on five levels give an area
    /// of 0.893 with a standard error of 0.032.
    #[test]
    fn the_published_area_and_error_come_out() {
        let normal = [33, 6, 6, 11, 2];
        let abnormal = [3, 2, 2, 11, 33];
        let of = |counts: [usize; 5], solved: bool| {
            counts.into_iter().zip(1..).flat_map(move |(count, level)| vec![(f64::from(level), solved); count])
        };
        let pairs: Vec<(f64, bool)> = of(normal, false).chain(of(abnormal, true)).collect();
        let area = Roc::of(&pairs).expect("both are there").auc();
        assert!((area.value - 0.893).abs() < 5e-4, "{}", area.value);
        let error = area.ci95.expect("it has one") / Z;
        assert!((error - 0.032).abs() < 1.5e-3, "{error}");
    }

    proptest! {
        /// Against the count of all pairs, on few levels so that many tie.
        #[test]
        fn the_area_is_the_share_of_pairs_in_order(pairs in prop::collection::vec((0u8..6, any::<bool>()), 0..60)) {
            let pairs: Vec<(f64, bool)> = pairs.into_iter().map(|(level, solved)| (f64::from(level) / 3.0, solved)).collect();
            let (mut won, mut all) = (0.0, 0.0);
            for (good, _) in pairs.iter().filter(|(_, solved)| *solved) {
                for (bad, _) in pairs.iter().filter(|(_, solved)| !*solved) {
                    all += 1.0;
                    won += if good > bad { 1.0 } else if good == bad { 0.5 } else { 0.0 };
                }
            }
            match Roc::of(&pairs) {
                None => prop_assert_eq!(all, 0.0),
                Some(roc) => {
                    prop_assert!((roc.auc().value - won / all).abs() < 1e-9);
                    let last = roc.points.last().unwrap();
                    prop_assert_eq!((last.false_positive_rate, last.true_positive_rate), (1.0, 1.0));
                    let rises = |pair: &[Point]| pair[0].at > pair[1].at && pair[0].true_positive_rate <= pair[1].true_positive_rate;
                    prop_assert!(roc.points.windows(2).all(rises));
                }
            }
        }
    }
}
