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
