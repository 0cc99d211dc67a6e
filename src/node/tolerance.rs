//! What a step does about items that fail: how many may be missing, how long one may take, how often it is worked again.
//!
//! # Invariants
//! Nothing here is in a key. What is missing is, by way of the step's manifest.

use crate::base::units::Millis;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tolerance {
    pub max_failed: MaxFailed,
    /// How long an item may take; `None` is as long as it needs.
    pub timeout: Option<Millis>,
    /// How often an item that failed is worked again before it counts as failed.
    pub retries: u32,
}

/// With how many failed items a step still completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxFailed {
    Items(u64),
    /// Of all items, in millionths, so that no share is a rounding error below what was written.
    Share(u32),
}

const ALL: u64 = 1_000_000;

impl Default for MaxFailed {
    fn default() -> Self {
        MaxFailed::Items(0)
    }
}

impl MaxFailed {
    /// A share of 1 is all.
    pub fn share(share: f64) -> Self {
        MaxFailed::Share((share.clamp(0.0, 1.0) * ALL as f64).round() as u32)
    }

    /// Of so many items; part of an item is none.
    pub fn of(self, items: u64) -> u64 {
        match self {
            MaxFailed::Items(most) => most.min(items),
            MaxFailed::Share(share) => (u128::from(items) * u128::from(share) / u128::from(ALL)) as u64,
        }
    }
}

/// As the file writes it.
impl std::fmt::Display for MaxFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MaxFailed::Items(most) => write!(f, "{most}"),
            MaxFailed::Share(share) => write!(f, "{}%", f64::from(*share) / 1e4),
        }
    }
}

impl Tolerance {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::MaxFailed;

    #[test]
    fn a_share_is_of_all_items_and_exact() {
        let allowed = |share: f64, items| MaxFailed::share(share).of(items);
        assert_eq!([allowed(0.01, 768), allowed(0.01, 99), allowed(0.01, 100)], [7, 0, 1]);
        // As `f64`, 0.29 × 100 is 28.999…
        for percent in 0..=100 {
            assert_eq!(allowed(f64::from(percent) / 100.0, 100), u64::from(percent as u32), "{percent}%");
        }
        assert_eq!(allowed(1.0, u64::MAX), u64::MAX);
        assert_eq!((MaxFailed::Items(3).of(2), MaxFailed::Items(3).of(9)), (2, 3));
    }

    #[test]
    fn it_is_written_as_it_was() {
        let written = [MaxFailed::Items(3), MaxFailed::share(0.01), MaxFailed::share(0.005), MaxFailed::share(1.0)];
        assert_eq!(written.map(|it| it.to_string()), ["3", "1%", "0.5%", "100%"]);
    }
}
