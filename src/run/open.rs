//! Turns a run's journal into the nodes that it leaves open: begun, and not told to have ended. Of these alone the run may have
//! made items that no event names: it was killed between the store and the journal, or the journal could not be written.

use crate::run::{NodeStatus, RunEvent};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Open(BTreeMap<String, Begun>);

#[derive(Debug, Default)]
struct Begun {
    /// Items were worked before it was started last.
    before: bool,
    /// Items found at its last start that are still to be told. Nothing is worked before all are; a journal of before they
    /// were told one by one does not say which they were.
    untold: u64,
}

impl Begun {
    fn worked(&self) -> bool {
        self.before || self.untold == 0
    }
}

impl Open {
    pub fn hear(&mut self, event: &RunEvent) {
        match event {
            RunEvent::NodeStarted { node, cached, .. } => {
                let before = self.worked(node);
                self.0.insert(node.clone(), Begun { before, untold: *cached });
            }
            RunEvent::ItemCached { node, .. } => {
                if let Some(begun) = self.0.get_mut(node) {
                    begun.untold = begun.untold.saturating_sub(1);
                }
            }
            RunEvent::NodeFinished {
                node,
                status: NodeStatus::Done | NodeStatus::Cached | NodeStatus::Failed | NodeStatus::Paused,
                ..
            } => drop(self.0.remove(node)),
            _ => {}
        }
    }

    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether items of a node may have been made that are told nowhere.
    pub fn worked(&self, node: &str) -> bool {
        self.0.get(node).is_some_and(Begun::worked)
    }

    /// The same, as it was before the node was started last.
    pub fn worked_before(&self, node: &str) -> bool {
        self.0.get(node).is_some_and(|begun| begun.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;
    use crate::run::ItemCounts;

    fn finished(status: NodeStatus) -> RunEvent {
        let (node, items) = ("a".to_owned(), ItemCounts::default());
        let (output, metrics, detail, reason) = (None, Vec::new(), serde_json::Value::Null, None);
        RunEvent::NodeFinished { node, status, items, output, metrics, detail, reason }
    }

    #[test]
    fn a_node_is_open_until_its_end_is_told_and_worked_once_all_that_was_found_is() {
        let started = |cached| RunEvent::NodeStarted { node: "a".to_owned(), items: 9, cached };
        let found = || RunEvent::ItemCached { node: "a".to_owned(), item: "1".to_owned(), key: Digest::of_bytes(b"1") };
        let worked = |events: &[RunEvent]| {
            let mut open = Open::default();
            events.iter().for_each(|event| open.hear(event));
            (open.nodes().count() == 1, open.worked("a"))
        };
        assert_eq!(worked(&[]), (false, false));
        assert_eq!(worked(&[started(0)]), (true, true));
        assert_eq!(worked(&[started(2), found()]), (true, false), "torn, or from before items were told");
        assert_eq!(worked(&[started(2), found(), found()]), (true, true));
        assert_eq!(worked(&[started(0), started(2), found()]), (true, true), "the first sitting worked");
        assert_eq!(
            worked(&[started(0), finished(NodeStatus::Blocked)]),
            (true, true),
            "what it needs failed meanwhile"
        );
        assert_eq!(worked(&[started(0), finished(NodeStatus::Paused), started(2)]), (true, false));
        assert_eq!(worked(&[started(0), finished(NodeStatus::Done)]), (false, false));
    }
}
