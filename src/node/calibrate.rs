//! Turns a critic's verdicts on labelled examples into its agreement with the truth.

use crate::node::metric::Metric;
use serde::{Deserialize, Serialize};

/// Counts of verdict against truth; unread verdicts are in none of the four.
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
        let _ = pairs;
        todo!()
    }

    /// `accuracy`, `kappa`, `parsed`, `precision`, `recall`.
    pub fn metrics(&self) -> Vec<Metric> {
        todo!()
    }
}
