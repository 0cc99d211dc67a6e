//! Turns a critic's verdicts on labelled examples into its agreement with the truth.
//!
//! # Invariants
//! A verdict that could not be read is neither right nor wrong: it lowers `parsed` and nothing else.

use crate::node::metric::Metric;
use serde::{Deserialize, Serialize};

/// Counts of verdict against truth; unread verdicts are in none of the first four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    pub true_positive: u64,
    pub false_positive: u64,
    pub false_negative: u64,
    pub true_negative: u64,
    pub unparsed: u64,
}

impl Confusion {
    /// Of pairs (verdict passes, `None` when it could not be read; truly solved).
    pub fn of(pairs: &[(Option<bool>, bool)]) -> Self {
        let mut counts = Self::default();
        for pair in pairs {
            *match pair {
                (Some(true), true) => &mut counts.true_positive,
                (Some(true), false) => &mut counts.false_positive,
                (Some(false), true) => &mut counts.false_negative,
                (Some(false), false) => &mut counts.true_negative,
                (None, _) => &mut counts.unparsed,
            } += 1;
        }
        counts
    }

    /// Verdicts that could be read.
    pub fn parsed(&self) -> u64 {
        self.true_positive + self.false_positive + self.false_negative + self.true_negative
    }

    /// Cohen's kappa (J. Cohen 1960): `(p_o − p_e) / (1 − p_e)`, agreement beyond what the two frequencies alone give.
    /// `None` of nothing, or when both always say the same one thing.
    pub fn kappa(&self) -> Option<f64> {
        let Self { true_positive, false_positive, false_negative, true_negative, unparsed: _ } = *self;
        let n = self.parsed() as f64;
        let share = |part: u64| part as f64 / n;
        let observed = share(true_positive + true_negative);
        let said = share(true_positive + false_positive);
        let is = share(true_positive + false_negative);
        let expected = said * is + (1.0 - said) * (1.0 - is);
        (self.parsed() > 0 && expected < 1.0).then(|| (observed - expected) / (1.0 - expected))
    }

    /// `accuracy`, `kappa`, `parsed`, `precision`, `recall`; those of nothing are left out.
    pub fn metrics(&self) -> Vec<Metric> {
        let share = |name, hits: u64, n: u64| Metric::share(name, hits as usize, n as usize);
        let parsed = self.parsed();
        let kappa = self.kappa().map(|kappa| Metric::plain("kappa", kappa, parsed as usize));
        let said = self.true_positive + self.false_positive;
        let is = self.true_positive + self.false_negative;
        [
            share("accuracy", self.true_positive + self.true_negative, parsed),
            kappa,
            share("parsed", parsed, parsed + self.unparsed),
            share("precision", self.true_positive, said),
            share("recall", self.true_positive, is),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confusion(tp: u64, fp: u64, fn_: u64, tn: u64, unparsed: u64) -> Confusion {
        Confusion { true_positive: tp, false_positive: fp, false_negative: fn_, true_negative: tn, unparsed }
    }

    #[test]
    fn each_pair_is_counted_once() {
        let pairs = [
            (Some(true), true),
            (Some(true), false),
            (Some(false), true),
            (Some(false), false),
            (None, true),
            (None, false),
        ];
        assert_eq!(Confusion::of(&pairs), confusion(1, 1, 1, 1, 2));
    }

    #[test]
    fn kappa_is_cohens() {
        // The textbook table 20, 5, 10, 15: agreement 0.7 where 0.5 is expected.
        let kappa = confusion(20, 5, 10, 15, 7).kappa().unwrap();
        assert!((kappa - 0.4).abs() < 1e-12, "{kappa}");
        assert_eq!(confusion(5, 0, 0, 5, 0).kappa(), Some(1.0));
        assert_eq!(confusion(0, 5, 5, 0, 0).kappa(), Some(-1.0));
        assert_eq!((confusion(9, 0, 0, 0, 0).kappa(), confusion(0, 0, 0, 0, 3).kappa()), (None, None));
    }

    #[test]
    fn what_is_unread_lowers_parsed_only() {
        let metrics = confusion(6, 2, 1, 1, 10).metrics();
        let value = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();
        assert_eq!((value("accuracy").value, value("accuracy").n), (0.7, 10));
        assert_eq!((value("parsed").value, value("parsed").n), (0.5, 20));
        assert_eq!((value("precision").value, value("recall").value), (0.75, 6.0 / 7.0));
        assert_eq!(confusion(0, 0, 0, 0, 2).metrics().len(), 1, "only that nothing could be read");
    }
}
