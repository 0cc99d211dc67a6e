//! What a run says: the only seam between running and showing. Live view, journal, status and report are folds over these.

use crate::base::Digest;
use crate::model::Tokens;
pub use crate::node::metric::Metric;
pub use crate::store::RunLabel;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// `judge@2`, `evaluate:base`: words, unique in the plan.
    pub id: String,
    pub op: String,
    /// 1, 2, … inside a `repeat`; 0 outside.
    pub iteration: u32,
    /// The `let` name, or what its metrics are filed under.
    pub name: String,
    pub key: Digest,
    /// Ids of the nodes whose results it reads.
    pub inputs: Vec<String>,
    /// Ids of the gates that must have let the loop go on before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemCounts {
    /// Worked in this run.
    pub done: u64,
    pub cached: u64,
    /// Of a step that completed, these are missing.
    pub failed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ItemOutcome {
    Done {
        blob: Digest,
    },
    Failed {
        reason: String,
    },
    Timeout,
    /// A critic's reply that could not be read: recorded, counted, never a number.
    Unparsed {
        blob: Digest,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    Pending,
    Running,
    Done,
    Cached,
    Failed,
    /// A gate ended the loop before it.
    Skipped,
    /// A node it needs failed.
    Blocked,
    Paused,
}

/// What endpoints charge for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    pub tokens: Tokens,
    /// Micro-dollars at the most; `None` where a model has no price.
    pub spend: Option<u64>,
}

impl Default for Charge {
    fn default() -> Self {
        Self { tokens: Tokens::default(), spend: Some(0) }
    }
}

impl std::ops::AddAssign for Charge {
    fn add_assign(&mut self, other: Self) {
        let spend = self.spend.zip(other.spend).map(|(a, b)| a.saturating_add(b));
        *self = Self { tokens: self.tokens + other.tokens, spend };
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    Interrupt,
    Budget,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    RunStarted {
        run: String,
        experiment: String,
        title: String,
        plan: Digest,
        label: RunLabel,
        nodes: Vec<NodeInfo>,
        /// Digests of the frozen files, by their paths in the run's directory: `resume` goes on from these and no others.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        frozen: BTreeMap<String, Digest>,
    },
    /// The same run goes on after a pause or a crash; states of unfinished nodes start over.
    RunResumed {
        run: String,
    },
    NodeStarted {
        node: String,
        items: u64,
        cached: u64,
    },
    /// An item was in the store when its node started: an earlier sitting made it, or another run. Told before anything of the
    /// node is worked; a node that is taken as a whole names its items in its manifest.
    ItemCached {
        node: String,
        item: String,
        key: Digest,
    },
    ItemFinished {
        node: String,
        item: String,
        key: Digest,
        #[serde(flatten)]
        outcome: ItemOutcome,
        /// What one that failed took: no record has it.
        #[serde(default, skip_serializing_if = "Tokens::is_none")]
        took: Tokens,
    },
    /// An item failed and is worked again once the others are through: the attempts count from 1.
    ItemRetried {
        node: String,
        item: String,
        key: Digest,
        attempt: u32,
        reason: String,
        #[serde(default, skip_serializing_if = "Tokens::is_none")]
        took: Tokens,
    },
    /// A file of the store does not hold what was written: it counts as missing, and what made it is worked again.
    DamageFound {
        what: String,
    },
    /// Only for eyes: never journalled. `note` is short: `loss 0.412`, `success 0.53`.
    Progress {
        node: String,
        done: u64,
        total: u64,
        note: String,
    },
    /// What a node took of endpoints in this sitting, just before its end is told.
    NodeCharged {
        node: String,
        #[serde(flatten)]
        charge: Charge,
    },
    /// `detail` depends on the kind: a select's funnel, a pick's winner, a gate's decision, a calibration's confusion.
    NodeFinished {
        node: String,
        status: NodeStatus,
        items: ItemCounts,
        output: Option<Digest>,
        metrics: Vec<Metric>,
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        detail: serde_json::Value,
        /// Why, when failed, skipped, blocked, or paused by a budget.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    RunPaused {
        reason: PauseReason,
    },
    RunFinished {
        failed: bool,
        winner: Option<String>,
    },
}
