//! What an environment that is a benchmark says of a whole evaluation: figures over many tasks, and what others published.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One figure over many tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub name: String,
    pub of: Of,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Of {
    /// So many of so many.
    Share(usize, usize),
    /// Their mean.
    Values(Vec<f64>),
}

/// Figures of others under the same names, to stand beside an evaluation's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Where they stand.
    pub source: String,
    /// By whose they are, in the order of the source; a share each, by the metric's name.
    pub figures: Vec<(String, BTreeMap<String, f64>)>,
}
