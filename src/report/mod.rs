//! Turns what a run said into what a person reads.
//!
//! [`Report::fold`] makes one [`Report`] of the events; [`human`], [`markdown`], [`html`] and [`Report::json`] show it.
//! [`figures`] finds curves, funnels and confusions in it, [`published`] sets a benchmark beside what others published; [`live`] is the fold of the live view,
//! [`sweep`] sets the runs of a matrix beside each other, [`diff`] two runs or files; [`change`] says in words how two values differ.
//!
//! # Invariants
//! Nothing here prints, reads a file, the environment or a clock; times are handed in.
//! Nothing here trusts a word of the events: names, reasons and models' text are escaped for where they go.
//!
//! Why a fold: a finished run, a running one and a crashed one are all read from the same events, so live view, status
//! and report cannot disagree.

pub mod figures;
pub mod published;
pub mod text;
pub mod human;
pub mod markdown;
pub mod html;
pub mod live;
pub mod sweep;
pub mod change;
pub mod diff;

use crate::base::Digest;
use crate::node::reasons::{Commonest, Tally};
use crate::run::{Charge, ItemCounts, ItemOutcome, Metric, NodeInfo, NodeStatus, PauseReason, RunEvent, RunLabel};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One run, as far as its events go.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub run: String,
    pub experiment: String,
    pub title: String,
    pub plan: Digest,
    pub label: RunLabel,
    pub state: RunState,
    /// In the plan's order.
    pub nodes: Vec<NodeReport>,
    pub winner: Option<String>,
    /// Files of the store that did not hold what was written: they were worked again.
    pub damage: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// The events do not say how it ended: it runs, or it was killed.
    Running,
    /// As [`RunState::Running`], and nobody holds the run: said by who looked.
    Interrupted,
    Paused,
    Finished,
    Failed,
}

impl RunState {
    pub fn as_str(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Interrupted => "interrupted",
            RunState::Paused => "paused",
            RunState::Finished => "finished",
            RunState::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct NodeReport {
    pub info: NodeInfo,
    pub status: NodeStatus,
    /// Items it has in all; 0 until it starts.
    pub total: u64,
    pub items: ItemCounts,
    /// Verdicts that could not be read: counted among the done.
    pub unparsed: u64,
    pub metrics: Vec<Metric>,
    pub detail: Value,
    /// The manifest that the node left in the store.
    pub output: Option<Digest>,
    pub reason: Option<String>,
    /// The failures by reason, in this run.
    pub failures: Tally,
    /// What endpoints charged it for, in all sittings of this run.
    pub charge: Charge,
}

impl NodeReport {
    fn new(info: &NodeInfo) -> Self {
        Self {
            info: info.clone(),
            status: NodeStatus::Pending,
            total: 0,
            items: ItemCounts::default(),
            unparsed: 0,
            metrics: Vec::new(),
            detail: Value::Null,
            output: None,
            reason: None,
            failures: Tally::default(),
            charge: Charge::default(),
        }
    }

    /// As before anything came of it, but for what is paid.
    fn begin(&mut self) {
        *self = Self { charge: self.charge, ..Self::new(&self.info) };
    }

    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// Items that it does without, though it completed.
    pub fn missing(&self) -> u64 {
        if matches!(self.status, NodeStatus::Done | NodeStatus::Cached) { self.items.failed } else { 0 }
    }

    /// Why a critic's replies could not be read.
    pub fn unread(&self) -> Option<Commonest> {
        Commonest::deserialize(self.detail.get("unread")?).ok()
    }

    pub fn is_over(&self) -> bool {
        !matches!(self.status, NodeStatus::Pending | NodeStatus::Running | NodeStatus::Paused)
    }
}

/// `cached`, `done`, …: one word for tables and JSON.
pub fn status_word(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Pending => "pending",
        NodeStatus::Running => "running",
        NodeStatus::Done => "done",
        NodeStatus::Cached => "cached",
        NodeStatus::Failed => "failed",
        NodeStatus::Skipped => "skipped",
        NodeStatus::Blocked => "blocked",
        NodeStatus::Paused => "paused",
    }
}

pub fn label_word(label: RunLabel) -> &'static str {
    match label {
        RunLabel::Pure => "pure",
        RunLabel::Seeded => "seeded",
        RunLabel::Recorded => "recorded",
    }
}

impl Report {
    /// `None` when no event says which run this is.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a RunEvent>) -> Option<Self> {
        let mut report = None;
        events.into_iter().for_each(|event| Self::hear(&mut report, event));
        report
    }

    /// One event of a fold; the first one of a run begins its report.
    pub fn hear(report: &mut Option<Self>, event: &RunEvent) {
        match (&mut *report, event) {
            (_, RunEvent::RunStarted { run, experiment, title, plan, label, nodes, frozen: _ }) => {
                *report = Some(Self {
                    run: run.clone(),
                    experiment: experiment.clone(),
                    title: title.clone(),
                    plan: *plan,
                    label: *label,
                    state: RunState::Running,
                    nodes: nodes.iter().map(NodeReport::new).collect(),
                    winner: None,
                    damage: Vec::new(),
                });
            }
            (Some(report), event) => report.apply(event),
            (None, _) => {}
        }
    }

    /// Moves on by one event. Events about nodes that the plan does not have are passed over.
    pub fn apply(&mut self, event: &RunEvent) {
        match event {
            RunEvent::RunStarted { .. } => {}
            RunEvent::RunResumed { .. } => {
                self.state = RunState::Running;
                let over = |status| matches!(status, NodeStatus::Done | NodeStatus::Cached | NodeStatus::Skipped);
                self.nodes.iter_mut().filter(|node| !over(node.status)).for_each(NodeReport::begin);
            }
            RunEvent::NodeStarted { node, items, cached } => {
                if let Some(node) = self.node_mut(node) {
                    node.begin();
                    node.status = NodeStatus::Running;
                    node.total = *items;
                    node.items.cached = *cached;
                }
            }
            RunEvent::ItemFinished { node, outcome, .. } => {
                if let Some(node) = self.node_mut(node) {
                    match outcome {
                        ItemOutcome::Done { .. } => node.items.done += 1,
                        ItemOutcome::Unparsed { .. } => {
                            node.items.done += 1;
                            node.unparsed += 1;
                        }
                        ItemOutcome::Failed { reason } => node.fail(reason),
                        ItemOutcome::Timeout => node.fail("timeout"),
                    }
                }
            }
            RunEvent::NodeCharged { node, charge } => {
                if let Some(node) = self.node_mut(node) {
                    node.charge += *charge;
                }
            }
            RunEvent::DamageFound { what } => self.damage.push(what.clone()),
            // What came of it in the end is told as well; how many were found, when the node started.
            RunEvent::Progress { .. } | RunEvent::ItemRetried { .. } | RunEvent::ItemCached { .. } => {}
            RunEvent::NodeFinished { node, status, items, output, metrics, detail, reason } => {
                if let Some(node) = self.node_mut(node) {
                    node.status = *status;
                    // One that was left in the middle of its items says what came of each, and not how many.
                    if !matches!(status, NodeStatus::Paused | NodeStatus::Failed) || *items != ItemCounts::default() {
                        node.items = *items;
                        node.total = items.done + items.cached + items.failed;
                    }
                    node.metrics.clone_from(metrics);
                    node.detail.clone_from(detail);
                    node.output = *output;
                    node.reason.clone_from(reason);
                }
            }
            RunEvent::RunPaused { reason: PauseReason::Interrupt | PauseReason::Budget } => {
                self.state = RunState::Paused;
                for node in self.nodes.iter_mut().filter(|node| node.status == NodeStatus::Running) {
                    node.status = NodeStatus::Paused;
                }
            }
            RunEvent::RunFinished { failed, winner } => {
                self.state = if *failed { RunState::Failed } else { RunState::Finished };
                self.winner.clone_from(winner);
            }
        }
    }

    /// What endpoints charged for, by node and in all; nothing where nothing was asked of any.
    pub fn charges(&self) -> Option<(Vec<(&str, Charge)>, Charge)> {
        let charged = self.nodes.iter().filter(|node| !node.charge.tokens.is_none());
        let by_node: Vec<(&str, Charge)> = charged.map(|node| (&*node.info.id, node.charge)).collect();
        let mut all = Charge::default();
        by_node.iter().for_each(|(_, charge)| all += *charge);
        (!by_node.is_empty()).then_some((by_node, all))
    }

    pub fn node(&self, id: &str) -> Option<&NodeReport> {
        self.nodes.iter().find(|node| node.info.id == id)
    }

    fn node_mut(&mut self, id: &str) -> Option<&mut NodeReport> {
        self.nodes.iter_mut().find(|node| node.info.id == id)
    }

    /// One object; metric names as the file writes them: `dev.success`.
    pub fn json(&self) -> Value {
        let nodes: Vec<Value> = self.nodes.iter().map(node_json).collect();
        let metrics: Vec<Value> =
            self.nodes.iter().flat_map(|node| node.metrics.iter().map(|metric| metric_json(node, metric))).collect();
        json!({
            "run": self.run,
            "experiment": self.experiment,
            "plan": self.plan,
            "label": self.label,
            "state": self.state,
            "nodes": nodes,
            "metrics": metrics,
            "roc": figures::truths(self).iter().filter(|truth| !truth.roc.is_empty()).map(roc_json).collect::<Vec<_>>(),
            "warnings": human::warnings(self),
            "winner": self.winner,
            "charged": self.charges().map(|(_, all)| charge_json(&all)),
        })
    }
}

impl NodeReport {
    fn fail(&mut self, reason: &str) {
        self.items.failed += 1;
        self.failures.add(reason);
    }
}

fn node_json(node: &NodeReport) -> Value {
    let mut value = json!({
        "id": node.info.id,
        "op": node.info.op,
        "iteration": node.info.iteration,
        "status": node.status,
        "key": node.info.key,
        "items": node.items,
    });
    if let Some(reason) = &node.reason {
        value["reason"] = json!(reason);
    }
    if !node.charge.tokens.is_none() {
        value["charged"] = charge_json(&node.charge);
    }
    for (name, commonest) in [("unread", node.unread()), ("failures", node.failures.commonest())] {
        if let Some(commonest) = commonest {
            value[name] = json!(commonest);
        }
    }
    value
}

fn charge_json(Charge { tokens, spend }: &Charge) -> Value {
    let usd = spend.map(|micro| micro as f64 / 1e6);
    json!({ "prompt_tokens": tokens.prompt, "completion_tokens": tokens.completion, "usd": usd })
}

fn roc_json(truth: &figures::Truth<'_>) -> Value {
    json!({ "node": truth.node.info.id, "points": truth.roc })
}

fn metric_json(node: &NodeReport, metric: &Metric) -> Value {
    json!({
        "node": node.info.id,
        "name": format!("{}.{}", node.info.name, metric.name),
        "iteration": node.info.iteration,
        "value": metric.value,
        "n": metric.n,
        "ci95": metric.ci95,
    })
}
