//! Turns why one item and another came to nothing into the commonest reasons.
//!
//! # Invariants
//! What is left out is counted.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many reasons are told.
const MOST: usize = 3;

/// How often each reason was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<String, u64>);

/// The commonest reasons, the commonest first; of equally common ones in the order of their letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commonest {
    /// Of all reasons.
    pub count: u64,
    pub reasons: Vec<Reason>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub reason: String,
    pub count: u64,
}

impl Tally {
    pub fn add(&mut self, reason: &str) {
        match self.0.get_mut(reason) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(reason.to_owned(), 1)),
        }
    }

    /// `None` of nothing.
    pub fn commonest(&self) -> Option<Commonest> {
        let mut reasons: Vec<(&String, u64)> = self.0.iter().map(|(reason, count)| (reason, *count)).collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let count = reasons.iter().map(|(_, count)| count).sum();
        let told = reasons.into_iter().take(MOST);
        let reasons = told.map(|(reason, count)| Reason { reason: reason.clone(), count }).collect();
        (count > 0).then_some(Commonest { count, reasons })
    }
}

impl Commonest {
    /// Of each reason that is told how often, and of all others together.
    pub fn told(&self) -> Vec<(u64, &str)> {
        let told: u64 = self.reasons.iter().fold(0, |sum, it| sum.saturating_add(it.count));
        let others = self.count.saturating_sub(told);
        let reasons = self.reasons.iter().map(|it| (it.count, it.reason.as_str()));
        reasons.chain((others > 0).then_some((others, "other reasons"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commonest_come_first_and_the_others_are_counted() {
        let mut tally = Tally::default();
        assert_eq!(tally.commonest(), None);
        for reason in ["c", "b", "d", "a", "c", "b", "e", "c"] {
            tally.add(reason);
        }
        let commonest = tally.commonest().expect("some");
        assert_eq!(commonest.told(), [(3, "c"), (2, "b"), (1, "a"), (2, "other reasons")]);
        assert_eq!(commonest.count, 8);
    }
}
