//! Turns observations into figures: a value, how many observations it stands on, and a 95 % interval.
//!
//! # Invariants
//! No figure is made of no observations.

use serde::{Deserialize, Serialize};

/// One figure: `n` observations, with the half-width of a 95 % interval where one is meaningful.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub name: String,
    pub value: f64,
    pub n: u64,
    pub ci95: Option<f64>,
}

/// The 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

impl Metric {
    /// A plain number: a count, a loss.
    pub fn plain(name: &str, value: f64, n: usize) -> Self {
        Self { name: name.to_owned(), value, n: n as u64, ci95: None }
    }

    /// `hits` of `n`; `None` of nothing.
    pub fn share(name: &str, hits: usize, n: usize) -> Option<Self> {
        (n > 0).then(|| Self {
            name: name.to_owned(),
            value: hits as f64 / n as f64,
            n: n as u64,
            ci95: Some(wilson(hits, n)),
        })
    }

    /// The mean of numbers; `None` of nothing.
    pub fn mean(name: &str, values: &[f64]) -> Option<Self> {
        (!values.is_empty()).then(|| Self {
            name: name.to_owned(),
            value: mean(values),
            n: values.len() as u64,
            ci95: normal(values),
        })
    }
}

/// Half the width of Wilson's 95 % score interval for `hits` of `n`:
/// `z / (1 + z²/n) · sqrt(p(1−p)/n + z²/(4n²))` (E. B. Wilson 1927; Brown, Cai, DasGupta 2001).
///
/// # Panics
/// When `n` is zero.
pub fn wilson(hits: usize, n: usize) -> f64 {
    assert!(n > 0, "a share of nothing");
    let (p, n) = (hits as f64 / n as f64, n as f64);
    let z2 = Z * Z;
    Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt()
}

/// Half the width of the normal 95 % interval of a mean, `z · s / sqrt(n)` with `s` the sample's standard deviation
/// (n − 1 below); `None` below two values.
pub fn normal(values: &[f64]) -> Option<f64> {
    let n = values.len();
    if n < 2 {
        return None;
    }
    let middle = mean(values);
    let squares: f64 = values.iter().map(|value| (value - middle) * (value - middle)).sum();
    Some(Z * (squares / (n as f64 - 1.0) / n as f64).sqrt())
}

/// The arithmetic mean, summed in order; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}
