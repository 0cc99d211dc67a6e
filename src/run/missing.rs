//! Turns a run's journal into the items that are settled as missing.
//!
//! A step completes when no more of its items fail than its `max_failed` lets; the others go on without them. Such a step
//! leaves its manifest in the journal and no record under its key, so nothing takes it for whole: the next run works what is
//! missing again. What reads it is keyed by what is missing as well ([`Manifest::key`](super::Manifest::key)), so its
//! records are sound.
//!
//! A run that was paused or killed goes on with what it had settled, whatever would come of those items now: an
//! interruption changes nothing. Once it has come to its end without a failed step, nothing is settled any more, and
//! resuming it works all that is missing again.
//!
//! # Invariants
//! Whatever a step is missing stands in the journal after its last `NodeStarted`, with why.

use crate::base::Digest;
use crate::run::{ItemOutcome, NodeStatus, RunEvent};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An item that a completed step does without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingItem {
    /// `train-0012/3`
    pub item: String,
    pub key: Digest,
    pub kind: Lack,
}

/// How it came to be missing. The reason's words are in the journal: they may differ from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    Failed,
    Timeout,
}

impl Lack {
    pub fn of(outcome: &ItemOutcome) -> Option<Self> {
        match outcome {
            ItemOutcome::Failed { .. } => Some(Lack::Failed),
            ItemOutcome::Timeout => Some(Lack::Timeout),
            ItemOutcome::Done { .. } | ItemOutcome::Unparsed { .. } => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Lack::Failed => "failed",
            Lack::Timeout => "timeout",
        }
    }
}

/// Of each step, how the items that it is missing came to that, by their keys.
pub type Settled = BTreeMap<String, BTreeMap<Digest, ItemOutcome>>;

/// What a run goes on with.
pub fn settled<'e>(events: impl IntoIterator<Item = &'e RunEvent>) -> Settled {
    let (mut settled, mut under_way) = (Settled::new(), Settled::new());
    for event in events {
        match event {
            RunEvent::NodeStarted { node, .. } => drop(under_way.insert(node.clone(), BTreeMap::new())),
            RunEvent::ItemFinished { node, key, outcome, .. } if Lack::of(outcome).is_some() => {
                under_way.entry(node.clone()).or_default().insert(*key, outcome.clone());
            }
            RunEvent::NodeFinished { node, status: NodeStatus::Done, .. } => {
                settled.insert(node.clone(), under_way.remove(node).unwrap_or_default());
            }
            RunEvent::RunFinished { failed: false, .. } => settled.clear(),
            _ => {}
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::ItemCounts;

    fn started(node: &str) -> RunEvent {
        RunEvent::NodeStarted { node: node.to_owned(), items: 2, cached: 0 }
    }

    fn timed_out(node: &str, item: &str) -> RunEvent {
        RunEvent::ItemFinished {
            node: node.to_owned(),
            item: item.to_owned(),
            key: Digest::of_bytes(item.as_bytes()),
            outcome: ItemOutcome::Timeout,
            took: crate::model::Tokens::default(),
        }
    }

    fn ended(node: &str, status: NodeStatus) -> RunEvent {
        let (node, items) = (node.to_owned(), ItemCounts::default());
        let (output, metrics, detail, reason) = (None, Vec::new(), serde_json::Value::Null, None);
        RunEvent::NodeFinished { node, status, items, output, metrics, detail, reason }
    }

    #[test]
    fn what_a_completed_step_lacks_is_settled_until_the_run_is_finished() {
        let mut events = vec![started("a"), timed_out("a", "1"), ended("a", NodeStatus::Done), started("b")];
        events.extend([timed_out("b", "2"), ended("b", NodeStatus::Failed)]);
        let names = |settled: Settled| settled.iter().map(|(node, it)| (node.clone(), it.len())).collect::<Vec<_>>();
        assert_eq!(names(settled(&events)), [("a".to_owned(), 1)], "what failed is worked again");
        // Killed just as it goes on with `a`.
        events.extend([RunEvent::RunResumed { run: "r".to_owned() }, started("a")]);
        assert_eq!(names(settled(&events)), [("a".to_owned(), 1)]);
        // Another time the item was there.
        events.push(ended("a", NodeStatus::Done));
        assert_eq!(names(settled(&events)), [("a".to_owned(), 0)]);
        events.extend([started("a"), timed_out("a", "1"), ended("a", NodeStatus::Done)]);
        events.push(RunEvent::RunFinished { failed: true, winner: None });
        assert_eq!(names(settled(&events)), [("a".to_owned(), 1)]);
        events.push(RunEvent::RunFinished { failed: false, winner: None });
        assert_eq!(settled(&events), Settled::new());
    }
}
