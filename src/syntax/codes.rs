//! Turns a diagnostic's code into its title and explanation: what `agx explain` and the book print.

/// The words that begin a statement.
pub const STATEMENTS: &[&str] =
    &["let", "rollout", "judge", "select", "audit", "calibrate", "train", "evaluate", "repeat", "pick"];

/// The words that begin a stage of a rule.
pub const STAGES: &[&str] = &[
    "where", "top", "best", "worst", "sample", "dedup", "cap", "balance", "add", "pair", "truncate", "weight",
    "require",
];
