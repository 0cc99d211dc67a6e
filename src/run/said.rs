//! What a journal says of nodes, as far as it still counts: a node that starts again takes back what was said of it, and of
//! all that read what it made, or waited for what it decides.

use crate::run::NodeInfo;
use std::collections::{BTreeMap, BTreeSet};

/// Something said of nodes, by their places in the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Said<T> {
    places: BTreeMap<String, usize>,
    /// What each reads or waits for, by place: what comes before it.
    needs: Vec<Vec<usize>>,
    said: BTreeMap<usize, T>,
}

impl<T> Default for Said<T> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl<T> Said<T> {
    /// Of nodes in the order of their plan.
    pub fn new(nodes: &[NodeInfo]) -> Self {
        let places: BTreeMap<String, usize> =
            nodes.iter().enumerate().map(|(at, node)| (node.id.clone(), at)).collect();
        let needs = |node: &NodeInfo| {
            node.inputs.iter().chain(&node.after).filter_map(|needed| places.get(needed).copied()).collect()
        };
        Self { needs: nodes.iter().map(needs).collect(), places, said: BTreeMap::new() }
    }

    /// A node starts. Gives the places of those of whom nothing is said any more.
    pub fn start(&mut self, node: &str) -> BTreeSet<usize> {
        let Some(&place) = self.places.get(node) else { return BTreeSet::new() };
        let last = self.said.last_key_value().map_or(0, |(last, _)| *last);
        let mut reached = BTreeSet::from([place]);
        for later in place + 1..=last {
            if self.needs[later].iter().any(|needed| reached.contains(needed)) {
                reached.insert(later);
            }
        }
        reached.retain(|place| self.said.remove(place).is_some());
        reached
    }

    /// Nothing happens where the plan has no such node.
    pub fn insert(&mut self, node: &str, what: T) {
        if let Some(place) = self.places.get(node) {
            self.said.insert(*place, what);
        }
    }

    pub fn get(&self, node: &str) -> Option<&T> {
        self.said.get(self.places.get(node)?)
    }

    /// The nodes of whom nothing is said, in order.
    pub fn unsaid(&self) -> impl Iterator<Item = &str> {
        let mut places: Vec<(&str, usize)> = self.places.iter().map(|(node, place)| (node.as_str(), *place)).collect();
        places.sort_by_key(|(_, place)| *place);
        places.into_iter().filter(|(_, place)| !self.said.contains_key(place)).map(|(node, _)| node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;

    #[test]
    fn who_starts_again_takes_back_what_follows_from_it_and_nothing_else() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let node = |id: &str, inputs: &[&str], after: &[&str]| NodeInfo {
            id: id.to_owned(),
            op: "select".to_owned(),
            iteration: 0,
            name: id.to_owned(),
            key: Digest::of_bytes(id.as_bytes()),
            inputs: ids(inputs),
            after: ids(after),
        };
        let nodes = [
            node("a", &[], &[]),
            node("b", &["a"], &[]),
            node("c", &[], &[]),
            node("d", &["c"], &["b"]),
            node("e", &["c"], &[]),
        ];
        let mut said = Said::new(&nodes);
        for node in ["a", "b", "c", "d"] {
            assert!(said.start(node).is_empty(), "{node} starts for the first time");
            said.insert(node, ());
        }
        assert_eq!(said.unsaid().collect::<Vec<_>>(), ["e"]);
        assert_eq!(said.start("b"), BTreeSet::from([1, 3]));
        assert!(said.get("a").is_some() && said.get("b").is_none() && said.get("c").is_some());
        assert_eq!(said.unsaid().collect::<Vec<_>>(), ["b", "d", "e"]);
        said.insert("nobody", ());
        assert!(said.start("nobody").is_empty() && said.get("nobody").is_none());
    }
}
