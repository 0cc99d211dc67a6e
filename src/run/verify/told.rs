//! Turns a run's journal into what it says last of each node, and of the run.

use super::Lacking;
use crate::base::Digest;
use crate::node::metric::Metric;
use crate::run::missing::{Lack, MissingItem, Settled};
use crate::run::replay::Replay;
use crate::run::said::Said;
use crate::run::{ItemCounts, ItemOutcome, Manifest, NodeInfo, NodeStatus, RunEvent, RunLabel};
use crate::store::Store;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the journal says last of each node, and of the run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// What its first event claims: of a sound run there is one.
    pub begun: Vec<Begun>,
    pub plan: Option<Digest>,
    /// Every node with its key, as planned.
    pub planned: Vec<NodeInfo>,
    pub nodes: BTreeMap<String, ToldNode>,
    /// Their names as they came.
    pub order: Vec<String>,
    /// Of each, the items that failed since it was started last.
    pub failed: BTreeMap<String, Failed>,
    /// Of each, how many items came to what.
    pub counts: BTreeMap<String, ItemCounts>,
    pub winner: Option<String>,
    pub finished: bool,
    said: Said<()>,
}

/// What a run says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Begun {
    pub experiment: String,
    pub title: String,
    pub label: RunLabel,
}

/// Items with how each failed.
pub type Failed = BTreeSet<(String, Digest, Lack)>;

#[derive(Clone, Debug, PartialEq)]
pub struct ToldNode {
    pub status: NodeStatus,
    pub output: Option<Digest>,
    pub metrics: Vec<Metric>,
    pub detail: Value,
}

impl Told {
    pub fn of<'e>(events: impl IntoIterator<Item = &'e RunEvent>) -> Self {
        let mut told = Self::default();
        events.into_iter().for_each(|event| told.hear(event));
        told
    }

    pub fn hear(&mut self, event: &RunEvent) {
        match event {
            RunEvent::RunStarted { run: _, experiment, title, plan, label, nodes, frozen: _ } => {
                (self.plan, self.planned, self.said) = (Some(*plan), nodes.clone(), Said::new(nodes));
                self.begun.push(Begun { experiment: experiment.clone(), title: title.clone(), label: *label });
            }
            // What came of it is said again once it ends.
            RunEvent::RunResumed { .. } => (self.winner, self.finished) = (None, false),
            RunEvent::NodeStarted { node, .. } => {
                self.failed.remove(node);
                for place in self.said.start(node) {
                    let id = &self.planned[place].id;
                    self.nodes.remove(id);
                    self.counts.remove(id);
                    self.order.retain(|other| other != id);
                }
            }
            RunEvent::ItemFinished { node, item, key, outcome, took: _ } => {
                if let Some(lack) = Lack::of(outcome) {
                    self.failed.entry(node.clone()).or_default().insert((item.clone(), *key, lack));
                }
            }
            RunEvent::NodeFinished { node, status, output, metrics, detail, items, reason: _ } => {
                self.counts.insert(node.clone(), *items);
                // Taken from the store or worked: the result is one.
                let status = if *status == NodeStatus::Cached { NodeStatus::Done } else { *status };
                let told = ToldNode { status, output: *output, metrics: metrics.clone(), detail: detail.clone() };
                self.said.insert(node, ());
                if self.nodes.insert(node.clone(), told).is_none() {
                    self.order.push(node.clone());
                }
            }
            RunEvent::RunFinished { winner, failed } => (self.winner, self.finished) = (winner.clone(), !failed),
            _ => {}
        }
    }

    /// What each node is missing, by its manifest.
    fn missing(&self, store: &Store) -> BTreeMap<String, Vec<MissingItem>> {
        let of = |output: &Digest| Manifest::from_bytes(&store.get(output).ok()?).ok().map(|manifest| manifest.missing);
        self.done().map(|(node, output)| (node.clone(), of(output).unwrap_or_default())).collect()
    }

    /// As the items that a second run goes on without.
    pub fn settled(&self, store: &Store) -> Settled {
        let outcome = |MissingItem { item: _, key, kind }| match kind {
            Lack::Failed => (key, ItemOutcome::Failed { reason: "it failed in the run".to_owned() }),
            Lack::Timeout => (key, ItemOutcome::Timeout),
        };
        let settled = |(node, missing): (String, Vec<_>)| (node, missing.into_iter().map(outcome).collect());
        self.missing(store).into_iter().map(settled).collect()
    }

    /// How many items are missing, where those that failed and are made `again` were found to fail again; of the `recorded` nodes
    /// nobody was asked again.
    pub fn lacking(&self, store: &Store, again: Option<&Replay>, recorded: &BTreeSet<String>) -> Lacking {
        let missing = self.missing(store);
        let missing: Vec<(&String, &MissingItem)> =
            missing.iter().flat_map(|(node, items)| items.iter().map(move |item| (node, item))).collect();
        let count =
            |like: &dyn Fn(&String, &MissingItem) -> bool| missing.iter().filter(|(node, it)| like(node, it)).count();
        let failed = |it: &MissingItem| it.kind == Lack::Failed;
        let fails_again =
            |replay: &Replay| count(&|node, it| failed(it) && replay.again(&it.key) && !recorded.contains(node));
        let made = |node: &String| self.counts.get(node).map_or(0, |counts| counts.done + counts.cached);
        Lacking {
            failed: count(&|_, it| failed(it)),
            timeout: count(&|_, it| !failed(it)),
            failed_again: again.map(fails_again),
            recorded: again.map_or(0, |_| {
                self.done().filter(|(node, _)| recorded.contains(*node)).map(|(node, _)| made(node)).sum()
            }),
        }
    }

    /// The nodes that a model works.
    pub fn asked(&self) -> impl Iterator<Item = &NodeInfo> {
        let asks = |op: &str| matches!(op, "rollout" | "judge" | "calibrate" | "evaluate" | "train");
        self.planned.iter().filter(move |node| asks(&node.op))
    }

    /// The nodes of which a finished run does not say what came of them.
    pub fn unsaid(&self) -> impl Iterator<Item = &str> {
        self.said.unsaid().filter(|_| self.finished)
    }

    pub fn done(&self) -> impl Iterator<Item = (&String, &Digest)> {
        self.order.iter().filter_map(|node| Some((node, self.nodes[node].output.as_ref()?)))
    }
}
