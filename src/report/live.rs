//! Turns events and the times they came at into the lines of the live view.
//!
//! [`Live::apply`] takes one event and the seconds since the view began; [`Live::lines`] is what to draw.
//!
//! # Invariants
//! Nothing here reads a clock or draws.

use crate::report::figures::{is_settled, telling};
use crate::report::text::{plain, value};
use crate::run::{ItemCounts, ItemOutcome, Metric, NodeStatus, RunEvent};
use serde_json::Value;
use std::collections::BTreeMap;

/// One node that has started.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub node: String,
    pub op: String,
    pub status: NodeStatus,
    pub done: u64,
    pub total: u64,
    pub cached: u64,
    pub failed: u64,
    /// The newest loss or success, or what came out.
    pub note: String,
    started: f64,
    /// When work was last seen, and how much had been done since the start.
    seen: f64,
    worked: u64,
    /// Where the work of the line began: cached items cost nothing and are no part of the rate.
    first: Option<u64>,
}

impl Line {
    /// Work a second since the start; `None` until there is some.
    pub fn rate(&self) -> Option<f64> {
        let elapsed = self.seen - self.started;
        (self.worked > 0 && elapsed > 0.0).then(|| self.worked as f64 / elapsed)
    }

    /// Seconds left at `now`, at the rate so far.
    pub fn eta(&self, now: f64) -> Option<f64> {
        let left = self.total.saturating_sub(self.done) as f64;
        self.rate().map(|rate| (left / rate - (now - self.seen)).max(0.0))
    }

    pub fn elapsed(&self, now: f64) -> f64 {
        (if self.is_over() { self.seen } else { now }) - self.started
    }

    pub fn is_over(&self) -> bool {
        self.status != NodeStatus::Running
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// In the order they started.
    pub lines: Vec<Line>,
    pub run: String,
    /// Nodes of the plan, and those with nothing left to do.
    pub nodes: usize,
    pub settled: usize,
    ops: BTreeMap<String, String>,
}

impl Live {
    /// What changed: the index of the line that the event moved, if it moved one.
    pub fn apply(&mut self, event: &RunEvent, now: f64) -> Option<usize> {
        match event {
            RunEvent::RunStarted { run, nodes, .. } => {
                self.run.clone_from(run);
                self.nodes = nodes.len();
                self.ops = nodes.iter().map(|node| (node.id.clone(), node.op.clone())).collect();
                None
            }
            RunEvent::NodeStarted { node, items, cached } => {
                let op = self.ops.get(node).cloned().unwrap_or_default();
                self.lines.retain(|line| line.node != *node);
                self.lines.push(Line {
                    node: node.clone(),
                    op,
                    status: NodeStatus::Running,
                    done: *cached,
                    total: *items,
                    cached: *cached,
                    failed: 0,
                    note: String::new(),
                    started: now,
                    seen: now,
                    worked: 0,
                    first: None,
                });
                Some(self.lines.len() - 1)
            }
            RunEvent::ItemFinished { node, outcome, .. } => self.change(node, |line| {
                line.worked += 1;
                line.done = (line.done + 1).min(line.total);
                line.seen = now;
                if matches!(outcome, ItemOutcome::Failed { .. } | ItemOutcome::Timeout) {
                    line.failed += 1;
                }
            }),
            RunEvent::ItemRetried { node, .. } => self.change(node, |line| line.seen = now),
            RunEvent::Progress { node, done, total, note } => self.change(node, |line| {
                // A training that goes on from a checkpoint starts at its step, not at none.
                let first = *line.first.get_or_insert(done.saturating_sub(1));
                line.worked = line.worked.max(done.saturating_sub(first));
                line.done = *done;
                line.total = *total;
                line.seen = now;
                line.note.clone_from(note);
            }),
            RunEvent::NodeFinished { node, status, items, metrics, reason, detail, .. } => {
                self.settled += usize::from(is_settled(*status));
                if !self.lines.iter().any(|line| line.node == *node) {
                    let op = self.ops.get(node).cloned().unwrap_or_default();
                    self.lines.push(Line::finished(node, op, now));
                }
                self.change(node, |line| {
                    line.status = *status;
                    // Progress may have counted something else than items, as the steps of a training. One that was left in the
                    // middle of its items says nothing of them.
                    if !matches!(status, NodeStatus::Paused | NodeStatus::Failed) || *items != ItemCounts::default() {
                        let ItemCounts { done, cached, failed } = *items;
                        line.cached = cached;
                        line.failed = failed;
                        line.total = done + cached + failed;
                    }
                    if matches!(status, NodeStatus::Done | NodeStatus::Cached) {
                        line.done = line.total;
                    }
                    line.seen = now;
                    line.note = closing_note(metrics, detail, reason.as_deref());
                })
            }
            RunEvent::RunPaused { .. } => {
                for line in self.lines.iter_mut().filter(|line| line.status == NodeStatus::Running) {
                    line.status = NodeStatus::Paused;
                }
                None
            }
            RunEvent::RunResumed { run } => {
                self.run.clone_from(run);
                None
            }
            RunEvent::RunFinished { .. }
            | RunEvent::DamageFound { .. }
            | RunEvent::ItemCached { .. }
            | RunEvent::NodeCharged { .. } => None,
        }
    }

    fn change(&mut self, node: &str, change: impl FnOnce(&mut Line)) -> Option<usize> {
        let index = self.lines.iter().position(|line| line.node == node)?;
        change(&mut self.lines[index]);
        Some(index)
    }
}

impl Line {
    /// For a node that ended without having been seen to start: cached, skipped, blocked.
    fn finished(node: &str, op: String, now: f64) -> Self {
        Self {
            node: node.to_owned(),
            op,
            status: NodeStatus::Running,
            done: 0,
            total: 0,
            cached: 0,
            failed: 0,
            note: String::new(),
            started: now,
            seen: now,
            worked: 0,
            first: None,
        }
    }
}

/// Why it did not end well, or what came out: a gate's decision, a pick's version, else the two figures that say most.
pub fn closing_note(metrics: &[Metric], detail: &Value, reason: Option<&str>) -> String {
    if let Some(reason) = reason {
        return plain(reason);
    }
    if metrics.is_empty() {
        let version = detail.get("version").and_then(Value::as_str).map(plain);
        let stop = detail.get("stop").and_then(Value::as_bool);
        return version
            .or(stop.map(|stop| if stop { "ends the loop" } else { "until not met" }.to_owned()))
            .unwrap_or_default();
    }
    let figures = telling(metrics).into_iter().take(2).map(|metric| format!("{} {}", metric.name, value(metric)));
    figures.collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;

    fn item(node: &str) -> RunEvent {
        let key = Digest::of_bytes(b"item");
        RunEvent::ItemFinished {
            node: node.to_owned(),
            item: "0".to_owned(),
            key,
            outcome: ItemOutcome::Done { blob: key },
            took: crate::model::Tokens::default(),
        }
    }

    #[test]
    fn the_rate_counts_work_not_what_was_cached() {
        let mut live = Live::default();
        let start = RunEvent::NodeStarted { node: "judge@1".to_owned(), items: 100, cached: 60 };
        assert_eq!(live.apply(&start, 0.0), Some(0));
        assert_eq!(live.lines[0].rate(), None);
        for at in 1..=20 {
            live.apply(&item("judge@1"), f64::from(at) * 0.5);
        }
        let line = &live.lines[0];
        assert_eq!((line.done, line.total), (80, 100));
        assert_eq!(line.rate(), Some(2.0));
        assert_eq!(line.eta(10.0), Some(10.0));
        assert_eq!(line.eta(14.0), Some(6.0), "time goes on between items");
    }

    #[test]
    fn a_training_that_goes_on_is_not_faster_for_it() {
        let mut live = Live::default();
        live.apply(&RunEvent::NodeStarted { node: "train@1".to_owned(), items: 1, cached: 0 }, 0.0);
        let step =
            |done| RunEvent::Progress { node: "train@1".to_owned(), done, total: 100, note: "loss 0.4".to_owned() };
        live.apply(&step(51), 1.0);
        live.apply(&step(60), 10.0);
        assert_eq!(live.lines[0].rate(), Some(1.0));
        assert_eq!(live.lines[0].note, "loss 0.4");
    }
}
