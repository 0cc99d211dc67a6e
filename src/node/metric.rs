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
pub const Z: f64 = 1.959_963_984_540_054;

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

impl Metric {
    /// The 95 % interval itself. A share's is Wilson's, which lies within 0 and 1 and not around the share: its middle is
    /// `(p + z²/2n) / (1 + z²/n)`. A mean's is the normal one, as far to either side.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let half = self.ci95?;
        if !self.is_share() {
            return Some((self.value - half, self.value + half));
        }
        let over = Z * Z / self.n as f64;
        let middle = (self.value + over / 2.0) / (1.0 + over);
        Some(((middle - half).max(0.0), (middle + half).min(1.0)))
    }

    /// Whether it was made by [`Metric::share`]: its half-width is the one of so many hits.
    pub fn is_share(&self) -> bool {
        let hits = (self.value * self.n as f64).round();
        let possible = self.n > 0 && (0.0..=self.n as f64).contains(&hits);
        let near = |half: f64| (half - wilson(hits as usize, self.n as usize)).abs() < 1e-9;
        possible && self.ci95.is_some_and(near)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_s_interval_stays_within_the_possible() {
        let interval = |hits, n| Metric::share("s", hits, n).and_then(|share| share.interval()).unwrap();
        let near = |(low, high): (f64, f64), expected: (f64, f64)| {
            assert!((low - expected.0).abs() < 5e-5 && (high - expected.1).abs() < 5e-5, "{low} to {high}");
        };
        // R. Newcombe (1998), table I, method 3.
        near(interval(81, 263), (0.2553, 0.3662));
        near(interval(0, 20), (0.0, 0.1611));
        near(interval(1, 29), (0.0061, 0.1718));
        near(interval(20, 20), (1.0 - 0.1611, 1.0));
        let mean = Metric::mean("score", &[1.0, 2.0]).unwrap();
        assert!(!mean.is_share());
        assert_eq!(mean.interval(), mean.ci95.map(|half| (1.5 - half, 1.5 + half)));
    }

    /// R. Newcombe (1998), table I, method 3: 81/263 gives 0.2553 to 0.3662, 0/20 gives 0 to 0.1611.
    #[test]
    fn wilson_fits_published_values() {
        assert!((wilson(81, 263) * 2.0 - (0.3662 - 0.2553)).abs() < 1e-4);
        assert!((wilson(0, 20) * 2.0 - 0.1611).abs() < 1e-4);
        assert_eq!(wilson(20, 20), wilson(0, 20));
    }

    #[test]
    fn the_normal_interval_is_z_standard_errors() {
        // Standard deviation of 1, 2, 3, 4 is 1.2909944; by sqrt(4) and z: 1.2651544.
        assert!((normal(&[1.0, 2.0, 3.0, 4.0]).unwrap() - 1.959_964 * 1.290_994_4 / 2.0).abs() < 1e-5);
        assert_eq!((normal(&[1.0]), normal(&[])), (None, None));
    }

    #[test]
    fn there_is_no_figure_of_nothing() {
        assert_eq!((Metric::share("x", 0, 0), Metric::mean("x", &[])), (None, None));
        assert_eq!(Metric::share("x", 1, 4).unwrap().value, 0.25);
    }
}
