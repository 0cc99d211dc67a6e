//! Turns a [`Report`] into what is drawn: curves over the iterations, selection funnels, confusions.
//!
//! # Invariants
//! Nothing here formats. A figure that the run did not give is absent, never zero.

use crate::experiment::{MetricRef, ReportItem};
use crate::report::{NodeReport, Report};
use crate::run::{Metric, NodeStatus};
use crate::select::FunnelStep;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// A metric over the iterations; iteration 0 is what was measured before the loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// As the file writes it: `dev.success`.
    pub name: String,
    /// Ascending by iteration.
    pub points: Vec<Point>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub iteration: u32,
    pub metric: Metric,
    pub node: String,
}

impl Curve {
    pub fn at(&self, iteration: u32) -> Option<&Point> {
        self.points.iter().find(|point| point.iteration == iteration)
    }

    /// Every value, with its interval, lies within 0 and 1.
    pub fn is_ratio(&self) -> bool {
        !self.points.is_empty() && self.points.iter().all(|point| (0.0..=1.0).contains(&point.metric.value))
    }
}

/// What the file wants drawn; without a `report` block, the telling measure of each evaluation in a loop.
pub fn wanted(report: &Report, items: &[ReportItem]) -> Vec<ReportItem> {
    if !items.is_empty() {
        return items.to_vec();
    }
    let mut metrics = Vec::new();
    for node in report.nodes.iter().filter(|node| node.info.op == "evaluate" && node.info.iteration > 0) {
        let Some(telling) = telling(&node.metrics).first().copied() else { continue };
        let metric = MetricRef { name: node.info.name.clone(), metric: telling.name.clone() };
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    if metrics.is_empty() {
        return Vec::new();
    }
    vec![ReportItem::Plot { metrics: metrics.clone() }, ReportItem::Table { metrics }]
}

/// Nodes give many figures; these say most, in this order. A node that has none of them is told by its first.
const TELLING: [&str; 10] =
    ["success", "loss", "accuracy", "kappa", "precision", "recall", "concordance", "score.mean", "ended", "count"];

/// The figures that say most, first; the others in their own order after them.
pub fn telling(metrics: &[Metric]) -> Vec<&Metric> {
    let rank = |metric: &Metric| TELLING.iter().position(|name| *name == metric.name).unwrap_or(TELLING.len());
    let mut sorted: Vec<&Metric> = metrics.iter().collect();
    sorted.sort_by_key(|metric| rank(metric));
    sorted
}

/// The iteration of the version that won, when it was measured on a curve.
pub fn winning_iteration(report: &Report) -> Option<u32> {
    let winner = report.winner.as_deref()?;
    let mut candidates = report.nodes.iter().filter(|node| node.info.op == "pick").filter_map(|node| {
        let candidates = node.detail.get("candidates")?.as_array()?;
        let won = candidates.iter().find(|it| it.get("version").and_then(Value::as_str) == Some(winner))?;
        report.node(won.get("node")?.as_str()?)
    });
    candidates.next_back().map(|node| node.info.iteration)
}

/// Why a loop ended early: the node of its gate, and the reason it gave.
pub fn endings(report: &Report) -> Vec<(&NodeReport, String)> {
    let gates = report.nodes.iter().filter(|node| node.detail.get("stop") == Some(&Value::Bool(true)));
    gates.map(|node| (node, node.detail.get("why").and_then(Value::as_str).unwrap_or_default().to_owned())).collect()
}

pub fn curve(report: &Report, wanted: &MetricRef) -> Curve {
    let named = report.nodes.iter().filter(|node| node.info.name == wanted.name);
    let mut points: Vec<Point> = named.filter_map(|node| point(node, &wanted.metric)).collect();
    if !points.iter().any(|point| point.iteration == 0) {
        points.extend(baseline(report, wanted, &points));
    }
    points.sort_by_key(|point| point.iteration);
    Curve { name: format!("{}.{}", wanted.name, wanted.metric), points }
}

fn point(node: &NodeReport, metric: &str) -> Option<Point> {
    let metric = node.metric(metric)?.clone();
    Some(Point { iteration: node.info.iteration, metric, node: node.info.id.clone() })
}

/// The measure from before the loop that a gate or a pick sets beside the curve's: `since base`, `including base`.
fn baseline(report: &Report, wanted: &MetricRef, points: &[Point]) -> Option<Point> {
    let on_curve: BTreeSet<&str> = points.iter().map(|point| point.node.as_str()).collect();
    let readers = report.nodes.iter().filter(|node| matches!(node.info.op.as_str(), "gate" | "pick"));
    let together = readers.filter(|node| node.info.inputs.iter().any(|input| on_curve.contains(input.as_str())));
    let inputs = together.flat_map(|node| &node.info.inputs);
    inputs
        .filter_map(|id| report.node(id))
        .find(|node| node.info.op == "evaluate" && node.info.iteration == 0)
        .and_then(|node| point(node, &wanted.metric))
}

/// One selection, from what was rolled out to what was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Funnel {
    pub node: String,
    pub name: String,
    pub iteration: u32,
    pub rolled_out: Option<u64>,
    /// Of these, how many have no verdict: the question failed, and `max_failed` let it.
    pub missing: u64,
    /// And how many have none for want of another sample of their task.
    pub alone: u64,
    /// Rows with a verdict that could be read: what the rule sees.
    pub readable: u64,
    /// Left after the rule's opening conditions.
    pub passed: u64,
    pub kept: u64,
    pub stages: Vec<FunnelStep>,
}

/// Rows that went, and at what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    pub reason: String,
    pub rows: u64,
}

pub const UNREADABLE: &str = "verdict could not be read";
/// It compares, and there is one sample of the task.
pub const ALONE: &str = "nothing to compare with";
/// The critic was asked and the question failed.
pub const MISSING: &str = "no verdict: the question failed";

impl Funnel {
    pub fn drops(&self) -> Vec<Drop> {
        let known = self.missing.saturating_add(self.alone).saturating_add(self.readable);
        let unreadable = self.rolled_out.map(|all| all.saturating_sub(known));
        let unreadable = unreadable.map(|rows| Drop { reason: UNREADABLE.to_owned(), rows });
        let drop = |reason: &str, rows| Drop { reason: reason.to_owned(), rows };
        let first = [drop(MISSING, self.missing), drop(ALONE, self.alone)].into_iter().chain(unreadable);
        let stages = self.stages.iter().map(|stage| Drop {
            reason: stage.stage.clone(),
            rows: stage.rows_in.saturating_sub(stage.rows_out) as u64,
        });
        first.chain(stages).filter(|drop| drop.rows > 0).collect()
    }
}

pub fn funnels(report: &Report) -> Vec<Funnel> {
    report.nodes.iter().filter(|node| node.info.op == "select").filter_map(|node| funnel(report, node)).collect()
}

fn funnel(report: &Report, node: &NodeReport) -> Option<Funnel> {
    let stages: Vec<FunnelStep> = Vec::deserialize(node.detail.get("funnel")?).ok()?;
    let first = stages.first()?;
    let (rolled_out, missing) = rolled_out(report, node);
    // A comparison that failed need not leave a row without a verdict.
    let entered = node.detail.get("rolled_out").and_then(Value::as_u64);
    let lost = rolled_out.zip(entered).map(|(all, entered)| all.saturating_sub(entered));
    let missing = lost.map_or(missing, |lost| missing.min(lost));
    let passed = stages.iter().take_while(|stage| stage.stage.starts_with("where ")).last();
    Some(Funnel {
        node: node.info.id.clone(),
        name: node.info.name.clone(),
        iteration: node.info.iteration,
        rolled_out,
        missing,
        alone: node.detail.get("alone").and_then(Value::as_u64).unwrap_or(0),
        readable: first.rows_in as u64,
        passed: passed.map_or(first.rows_in, |stage| stage.rows_out) as u64,
        kept: stages.last().map_or(first.rows_in, |stage| stage.rows_out) as u64,
        stages: stages.clone(),
    })
}

/// Episodes of the rollouts that a selection goes back to, and questions about them that failed.
fn rolled_out(report: &Report, node: &NodeReport) -> (Option<u64>, u64) {
    let mut waiting: Vec<&str> = node.info.inputs.iter().map(String::as_str).collect();
    let (mut rollouts, mut judges) = (BTreeSet::new(), BTreeSet::new());
    while let Some(id) = waiting.pop() {
        let Some(input) = report.node(id) else { continue };
        match input.info.op.as_str() {
            "rollout" => drop(rollouts.insert(id)),
            "judge" | "select" => {
                judges.insert(id);
                waiting.extend(input.info.inputs.iter().map(String::as_str));
            }
            _ => {}
        }
    }
    let items = |id: &&str| report.node(id).map(|node| node.items.done + node.items.cached);
    let missing = judges.iter().filter_map(|id| report.node(id)).map(NodeReport::missing).sum();
    (if rollouts.is_empty() { None } else { Some(rollouts.iter().filter_map(items).sum()) }, missing)
}

/// Whether a measure says how far a critic agrees with itself.
pub fn is_steadiness(metric: &Metric) -> bool {
    let measure = metric.name.rsplit_once('.').map_or(metric.name.as_str(), |(_, measure)| measure);
    matches!(measure, "flips" | "alpha" | "spread" | "unread")
}

/// How far critics agree with themselves: in both orders of a comparison, and from vote to vote; and how many replies had no part
/// in that.
pub fn steadiness(report: &Report) -> Vec<(&NodeReport, Vec<&Metric>)> {
    let judges = report.nodes.iter().filter(|node| matches!(node.info.op.as_str(), "judge" | "calibrate"));
    let measured =
        judges.map(|node| (node, node.metrics.iter().filter(|metric| is_steadiness(metric)).collect::<Vec<_>>()));
    measured.filter(|(_, metrics)| !metrics.is_empty()).collect()
}

/// A critic's (or a selection's) word against the truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth<'r> {
    pub node: &'r NodeReport,
    pub confusion: Option<Confusion>,
    pub roc: Vec<RocPoint>,
    pub metrics: &'r [Metric],
}

/// `positive`: said to be good; `true`: rightly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Confusion {
    pub true_positive: u64,
    pub false_positive: u64,
    pub false_negative: u64,
    pub true_negative: u64,
}

impl Confusion {
    pub fn total(self) -> u64 {
        self.true_positive + self.false_positive + self.false_negative + self.true_negative
    }
}

pub fn truths(report: &Report) -> Vec<Truth<'_>> {
    let nodes = report.nodes.iter().filter(|node| matches!(node.info.op.as_str(), "audit" | "calibrate"));
    nodes
        .filter(|node| !node.metrics.is_empty())
        .map(|node| Truth { node, confusion: confusion(&node.detail), roc: roc(&node.detail), metrics: &node.metrics })
        .collect()
}

/// What a threshold on the verdicts would give.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct RocPoint {
    pub at: f64,
    pub false_positive_rate: f64,
    pub true_positive_rate: f64,
}

/// Empty where it was not measured, or is not made of shares.
fn roc(detail: &Value) -> Vec<RocPoint> {
    let points = detail.get("roc").and_then(|points| Vec::<RocPoint>::deserialize(points).ok()).unwrap_or_default();
    let shares = |point: &RocPoint| {
        [point.false_positive_rate, point.true_positive_rate].iter().all(|rate| (0.0..=1.0).contains(rate))
    };
    if points.iter().all(shares) { points } else { Vec::new() }
}

fn confusion(detail: &Value) -> Option<Confusion> {
    Confusion::deserialize(detail.get("confusion")?).ok()
}

/// What a critic says of trajectories has moved away from what they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Parting {
    /// The rows that were audited.
    pub name: String,
    /// Iterations with their gaps: the first, and the last.
    pub first: (u32, f64),
    pub last: (u32, f64),
    /// Half the 95 % interval of the difference.
    pub within: f64,
}

/// Where the mean verdict has risen above the truth: the gap of the last iteration is wider than that of the first by more than
/// chance, and above nothing by more than chance. The difference is held against half its 95 % interval, the root of the summed
/// squares of the two halves.
pub fn partings(report: &Report) -> Vec<Parting> {
    let audits: Vec<&NodeReport> =
        report.nodes.iter().filter(|node| node.info.op == "audit" && node.info.iteration > 0).collect();
    let statement = |node: &NodeReport| node.info.id.rsplit_once('@').map_or("", |(id, _)| id).to_owned();
    let mut statements: Vec<String> = Vec::new();
    for audit in &audits {
        if !statements.contains(&statement(audit)) {
            statements.push(statement(audit));
        }
    }
    let parting = |id: &String| {
        let gap = |node: &&&NodeReport| node.metric("gap").is_some_and(|gap| gap.ci95.is_some());
        let own: Vec<&NodeReport> = audits.iter().filter(|node| statement(node) == *id).filter(gap).copied().collect();
        let first = own.iter().min_by_key(|node| node.info.iteration)?;
        let last = own.iter().max_by_key(|node| node.info.iteration)?;
        let (from, to) = (first.metric("gap")?, last.metric("gap")?);
        let within = from.ci95?.hypot(to.ci95?);
        let beyond = to.value - from.value > within && to.interval().is_some_and(|(low, _)| low > 0.0);
        beyond.then(|| Parting {
            name: last.info.name.clone(),
            first: (first.info.iteration, from.value),
            last: (last.info.iteration, to.value),
            within,
        })
    };
    statements.iter().filter_map(parting).collect()
}

/// Iterations that have any figure, ascending.
pub fn iterations(curves: &[Curve]) -> Vec<u32> {
    let all: BTreeSet<u32> = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.iteration)).collect();
    all.into_iter().collect()
}

/// Evaluations outside of any loop, in the plan's order, by the measures that the file's report names of evaluations (or
/// the most telling one): what was measured before and after.
pub fn outside<'a>(report: &'a Report, items: &[ReportItem]) -> Vec<(&'a NodeReport, &'a Metric)> {
    let evaluations = || report.nodes.iter().filter(|node| node.info.op == "evaluate");
    let is_evaluation = |name: &str| evaluations().any(|node| node.info.name == name);
    let named: BTreeSet<&str> = items
        .iter()
        .flat_map(|item| match item {
            ReportItem::Plot { metrics } | ReportItem::Table { metrics } => metrics,
        })
        .filter(|metric| is_evaluation(&metric.name))
        .map(|metric| metric.metric.as_str())
        .collect();
    let shown = |node: &'a NodeReport| -> Vec<(&'a NodeReport, &'a Metric)> {
        let of_node = telling(&node.metrics);
        let wanted: Vec<&Metric> =
            of_node.iter().filter(|metric| named.contains(metric.name.as_str())).copied().collect();
        let chosen = if wanted.is_empty() { of_node.into_iter().take(1).collect() } else { wanted };
        chosen.into_iter().map(|metric| (node, metric)).collect()
    };
    evaluations().filter(|node| node.info.iteration == 0).flat_map(shown).collect()
}

/// Done, cached or skipped: nothing left to do.
pub fn is_settled(status: NodeStatus) -> bool {
    matches!(status, NodeStatus::Done | NodeStatus::Cached | NodeStatus::Skipped)
}
