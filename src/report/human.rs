//! Turns a [`Report`] into text for a terminal: figures, or where each node stands.
//!
//! # Invariants
//! Nothing here decides whether colours are wanted: they are always in, and the edge takes them out.

use crate::base::units::MicroUsd;
use crate::experiment::{MetricRef, ReportItem};
use crate::node::reasons::Commonest;
use crate::report::figures::{self, Curve, Parting, RocPoint, Truth};
use crate::report::live::closing_note;
use crate::report::published::{self, Beside};
use crate::report::text::{Cell, Table, count, figure, number, painted, plain, value};
use crate::report::{NodeReport, Report, RunState, label_word, status_word};
use crate::run::{Charge, Metric, NodeStatus};
use anstyle::{AnsiColor, Style};
use std::fmt::Write;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

const fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(anstyle::Color::Ansi(colour)))
}

/// What the run found.
pub fn report(report: &Report, items: &[ReportItem]) -> String {
    let mut out = heading(report);
    for (title, table) in tables(report, items) {
        write!(out, "\n{}\n{}", painted(&title, BOLD), table.text()).expect("writing to a string");
    }
    for warning in warnings(report) {
        write!(out, "\n{}\n", painted(&plain(&warning), colour(AnsiColor::Yellow))).expect("writing to a string");
    }
    for (node, why) in figures::endings(report) {
        write!(out, "\nThe loop ended after iteration {}: {}\n", node.info.iteration, plain(&why))
            .expect("writing to a string");
    }
    if let Some(winner) = &report.winner {
        write!(out, "\n{} {}\n", painted("Winner", BOLD), plain(winner)).expect("writing to a string");
    }
    out.push_str(&damage(report));
    out.push_str(&missing(report));
    for (status, line) in stops(report) {
        write!(out, "\n{}\n", painted(&plain(&line), mark(status).1)).expect("writing to a string");
    }
    out
}

/// `judge@2 failed: …`: where it did not go on, and why.
pub fn stops(report: &Report) -> Vec<(NodeStatus, String)> {
    let stop = |node: &NodeReport| {
        let (id, reason) = (&node.info.id, node.reason.as_deref());
        let line = match node.status {
            NodeStatus::Failed => format!("{id} failed: {}", reason.unwrap_or("it did not say why")),
            NodeStatus::Paused => format!("{id} paused: {}", reason?),
            _ => return None,
        };
        Some((node.status, line))
    };
    report.nodes.iter().filter_map(stop).collect()
}

/// Where each node stands.
pub fn status(report: &Report) -> String {
    let mut out = heading(report);
    let head = ["", "node", "status", "items", "cached", "failed", ""];
    let right = |index: usize| (3..6).contains(&index);
    let mut table = Table::with_head(
        head.iter().enumerate().map(|(index, text)| if right(index) { Cell::right(text) } else { Cell::left(text) }),
    );
    for node in &report.nodes {
        let (mark, style) = mark(node.status);
        let done = node.items.done + node.items.cached;
        let items = match node.status {
            NodeStatus::Running | NodeStatus::Paused => format!("{}/{}", count(done), count(node.total)),
            NodeStatus::Pending | NodeStatus::Skipped | NodeStatus::Blocked => String::new(),
            _ => count(node.total),
        };
        table.push([
            Cell::left(mark).style(style),
            Cell::left(&node.info.id),
            Cell::left(status_word(node.status)).style(style),
            Cell::right(items),
            Cell::right(nonzero(node.items.cached)),
            Cell::right(nonzero(node.items.failed)).style(colour(AnsiColor::Red)),
            Cell::left(note(node)).at_most(72).style(DIM),
        ]);
    }
    write!(out, "\n{}", table.text()).expect("writing to a string");
    out.push_str(&damage(report));
    out.push_str(&missing(report));
    out
}

/// `Missing items, which failed: rollout@1 3 of 768`: the nodes that completed without some of theirs.
pub fn missing_words(report: &Report) -> Option<String> {
    let lacking = report.nodes.iter().filter(|node| node.missing() > 0);
    let words = |node: &NodeReport| format!("{} {} of {}", node.info.id, count(node.missing()), count(node.total));
    let words: Vec<String> = lacking.map(words).collect();
    (!words.is_empty()).then(|| format!("Missing items, which failed: {}", words.join(", ")))
}

/// What a reader should doubt: critics that part from the truth.
pub fn warnings(report: &Report) -> Vec<String> {
    let words = |Parting { name, first, last, within }: &Parting| {
        format!(
            "The critic parts from the truth: `{name}.gap` grew from {} in iteration {} to {} in iteration {}, and chance makes ± {}. \
             It may be gamed: do not take its scores for progress.",
            number(first.1),
            first.0,
            number(last.1),
            last.0,
            number(*within),
        )
    };
    figures::partings(report).iter().map(words).collect()
}

fn missing(report: &Report) -> String {
    let line = missing_words(report).map(|words| painted(&plain(&words), colour(AnsiColor::Yellow)));
    line.map_or_else(String::new, |line| format!("\n{line}\n"))
}

fn damage(report: &Report) -> String {
    report.damage.iter().fold(String::new(), |mut out, what| {
        writeln!(out, "\n{}", painted(&plain(what), colour(AnsiColor::Yellow))).expect("writing to a string");
        out
    })
}

pub fn mark(status: NodeStatus) -> (&'static str, Style) {
    match status {
        NodeStatus::Done => ("✓", colour(AnsiColor::Green)),
        NodeStatus::Cached => ("✓", colour(AnsiColor::Cyan)),
        NodeStatus::Running => ("▸", colour(AnsiColor::Yellow)),
        NodeStatus::Paused => ("‖", colour(AnsiColor::Yellow)),
        NodeStatus::Failed | NodeStatus::Blocked => ("✗", colour(AnsiColor::Red)),
        NodeStatus::Pending | NodeStatus::Skipped => ("·", DIM),
    }
}

fn nonzero(value: u64) -> String {
    if value == 0 { String::new() } else { count(value) }
}

fn note(node: &NodeReport) -> String {
    closing_note(&node.metrics, &node.detail, node.reason.as_deref())
}

fn heading(report: &Report) -> String {
    let style = match report.state {
        RunState::Finished => colour(AnsiColor::Green),
        RunState::Failed => colour(AnsiColor::Red),
        RunState::Running | RunState::Paused | RunState::Interrupted => colour(AnsiColor::Yellow),
    };
    let mut out = format!(
        "{} · run {} · {} · {} · plan {}\n",
        painted(&plain(&report.experiment), BOLD),
        plain(&report.run),
        painted(report.state.as_str(), style),
        label_word(report.label),
        report.plan.short(),
    );
    if let Some(first) = report.title.lines().find(|line| !line.trim().is_empty()) {
        writeln!(out, "{}", painted(&plain(first.trim()), DIM)).expect("writing to a string");
    }
    out
}

/// The same tables that Markdown shows: a title and its rows, empty ones left out.
pub fn tables(report: &Report, items: &[ReportItem]) -> Vec<(String, Table)> {
    let mut tables = Vec::new();
    for item in figures::wanted(report, items) {
        if let ReportItem::Table { metrics } = item {
            tables.push(("By iteration".to_owned(), by_iteration(report, &metrics)));
        }
    }
    tables.push(("Outside the loop".to_owned(), outside(report, items)));
    tables.extend(published::beside(report).into_iter().map(beside));
    tables.push(("Selection".to_owned(), selection(report)));
    tables.push(("Replies that could not be read".to_owned(), reasons(report, NodeReport::unread)));
    tables.push(("Items that failed".to_owned(), reasons(report, |node| node.failures.commonest())));
    tables.push(("Charged by endpoints".to_owned(), charged(report)));
    tables.push(("Critics against themselves".to_owned(), measures(figures::steadiness(report))));
    tables.push(("Critic against labelled verdicts".to_owned(), truth(report, "calibrate")));
    for truth in figures::truths(report).iter().filter(|truth| !truth.roc.is_empty()) {
        tables.push((format!("Thresholds of {}", plain(&truth.node.info.name)), thresholds(&truth.roc)));
    }
    tables.push(("Critic and selection against the truth".to_owned(), truth(report, "audit")));
    tables.retain(|(_, table)| !table.is_empty());
    tables
}

pub fn iteration_word(iteration: u32) -> String {
    if iteration == 0 { "before".to_owned() } else { iteration.to_string() }
}

fn by_iteration(report: &Report, metrics: &[MetricRef]) -> Table {
    let curves: Vec<Curve> = metrics.iter().map(|metric| figures::curve(report, metric)).collect();
    let mut table =
        Table::with_head(std::iter::once(Cell::left("i")).chain(curves.iter().map(|curve| Cell::right(&curve.name))));
    for iteration in figures::iterations(&curves) {
        let cells = curves
            .iter()
            .map(|curve| Cell::right(curve.at(iteration).map_or_else(String::new, |point| figure(&point.metric))));
        table.push(std::iter::once(Cell::left(iteration_word(iteration))).chain(cells));
    }
    table
}

fn outside(report: &Report, items: &[ReportItem]) -> Table {
    let mut table = Table::with_head([Cell::left("measure"), Cell::right("value"), Cell::right("n")]);
    for (node, metric) in figures::outside(report, items) {
        let name = format!("{}.{}", node.info.name, metric.name);
        table.push([Cell::left(name), Cell::right(figure(metric)), Cell::right(count(metric.n))]);
    }
    table
}

fn beside(Beside { source, columns, rows }: Beside) -> (String, Table) {
    let mut table = Table::with_head(std::iter::once(Cell::left("")).chain(columns.iter().map(Cell::right)));
    for (whose, figures) in rows {
        table.push(std::iter::once(Cell::left(whose)).chain(figures.iter().map(Cell::right)));
    }
    (format!("Beside published figures: {}", plain(&source)), table)
}

fn selection(report: &Report) -> Table {
    let head = ["rolled out", "readable", "passed", "kept"];
    let mut table = Table::with_head(
        std::iter::once(Cell::left("i")).chain(head.map(Cell::right)).chain([Cell::left("dropped by")]),
    );
    for funnel in figures::funnels(report) {
        let drops: Vec<String> =
            funnel.drops().iter().map(|drop| format!("{} {}", count(drop.rows), plain(&drop.reason))).collect();
        table.push([
            Cell::left(funnel.iteration.to_string()),
            Cell::right(funnel.rolled_out.map_or_else(String::new, count)),
            Cell::right(count(funnel.readable)),
            Cell::right(count(funnel.passed)),
            Cell::right(count(funnel.kept)),
            Cell::left(drops.join(" · ")).at_most(96).style(DIM),
        ]);
    }
    table
}

/// The commonest reasons of each node.
fn reasons(report: &Report, of: impl Fn(&NodeReport) -> Option<Commonest>) -> Table {
    let mut table = Table::with_head([Cell::left("node"), Cell::right("n"), Cell::left("why")]);
    for node in &report.nodes {
        for (times, reason) in of(node).iter().flat_map(Commonest::told) {
            table.push([Cell::left(&node.info.id), Cell::right(count(times)), Cell::left(reason).at_most(96)]);
        }
    }
    table
}

/// A row a node, and one of all.
fn charged(report: &Report) -> Table {
    let mut table =
        Table::with_head([Cell::left("node"), Cell::right("sent"), Cell::right("written"), Cell::right("cost")]);
    for (node, charge) in report.charges().iter().flat_map(charge_rows) {
        let [sent, written, cost] = charge_words(&charge).map(Cell::right);
        table.push([Cell::left(node), sent, written, cost]);
    }
    table
}

/// Those of nodes and, of several, that of all.
pub fn charge_rows<'r>((nodes, all): &'r (Vec<(&'r str, Charge)>, Charge)) -> impl Iterator<Item = (&'r str, Charge)> {
    let all = (nodes.len() > 1).then_some(("all", *all));
    nodes.iter().copied().chain(all)
}

/// Tokens sent, tokens written, and what they cost at the most.
pub fn charge_words(Charge { tokens, spend }: &Charge) -> [String; 3] {
    let cost = spend.map_or_else(|| "no price".to_owned(), |micro| format!("at most {}", MicroUsd(micro)));
    [count(tokens.prompt), count(tokens.completion), cost]
}

/// One row an audit or a calibration.
fn truth(report: &Report, op: &str) -> Table {
    let truths: Vec<Truth> = figures::truths(report).into_iter().filter(|truth| truth.node.info.op == op).collect();
    let nodes = truths.iter().map(|Truth { node, metrics, .. }| {
        (*node, metrics.iter().filter(|metric| !figures::is_steadiness(metric)).collect())
    });
    measures(nodes)
}

/// One row a node; the columns are the metrics that any of them has.
fn measures<'r>(nodes: impl IntoIterator<Item = (&'r NodeReport, Vec<&'r Metric>)>) -> Table {
    let nodes: Vec<(&NodeReport, Vec<&Metric>)> = nodes.into_iter().collect();
    let mut names: Vec<&str> = Vec::new();
    for metric in nodes.iter().flat_map(|(_, metrics)| metrics) {
        if !names.contains(&metric.name.as_str()) && names.len() < 8 {
            names.push(&metric.name);
        }
    }
    let mut table = Table::with_head(std::iter::once(Cell::left("node")).chain(names.iter().map(Cell::right)));
    for (node, metrics) in &nodes {
        let cells = names.iter().map(|name| {
            let metric = metrics.iter().find(|metric| metric.name == **name);
            Cell::right(metric.map_or_else(String::new, |metric| value(metric)))
        });
        table.push(std::iter::once(Cell::left(&node.info.id)).chain(cells));
    }
    table
}

/// Thresholds that a table shows; the report in JSON has all.
const MOST_THRESHOLDS: usize = 12;

/// What each threshold on a critic's verdicts lets through: of many, some evenly apart.
fn thresholds(points: &[RocPoint]) -> Table {
    let head = ["verdict at least", "solved let through", "unsolved let through"];
    let mut table = Table::with_head(head.map(Cell::right));
    let shown = points.len().min(MOST_THRESHOLDS);
    for at in 0..shown {
        let place = if shown > 1 { at * (points.len() - 1) / (shown - 1) } else { 0 };
        let RocPoint { at, false_positive_rate, true_positive_rate } = points[place];
        let at = if at.fract() == 0.0 { format!("{at}") } else { number(at) };
        table.push([at, number(true_positive_rate), number(false_positive_rate)].map(Cell::right));
    }
    table
}
