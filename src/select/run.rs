//! Runs a rule over rows.

use super::{Row, Rule, Selection, Stage};
use crate::base::Seed;

/// Rows may come in any order; `seed` decides draws only.
pub fn apply(rule: &Rule, rows: &[Row], seed: Seed) -> Selection {
    let _ = (rule, rows, seed);
    todo!()
}

/// Whether the rule draws, so that its seed matters.
pub fn draws(rule: &Rule) -> bool {
    let _ = rule;
    todo!()
}

impl Stage {
    /// As the file would write it: `top 40% by score`.
    pub fn describe(&self) -> String {
        todo!()
    }
}
