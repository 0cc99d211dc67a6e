//! Turns two experiments, or two runs, into what differs between them: fields, keys, figures, kept rows.
//!
//! # Invariants
//! Rows and figures are matched by what they are about (operation, name, iteration), never by their order.

use crate::plan::keyed::{Change, Keyed};
use crate::plan::why::Why;
use crate::report::change;
use crate::report::text::{self, Cell, Table, counted, figure, grouped, number, plain};
use crate::report::{NodeReport, Report};
use crate::run::Metric;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// A figure of both runs, or of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// As the second run calls it, where it has it.
    pub node: String,
    /// `dev.success`
    pub name: String,
    pub iteration: u32,
    pub a: Option<Metric>,
    pub b: Option<Metric>,
}

/// What a selection kept in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overlap {
    pub node: String,
    pub iteration: u32,
    pub a: usize,
    pub b: usize,
    /// Rows of the same iteration, task and sample.
    pub both: usize,
}

/// A row by what it is about: iteration, task, sample.
pub type RowName = (u32, String, u32);

#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// `lab-1`, `lab.agx`
    pub a: String,
    pub b: String,
    pub changes: Vec<Change>,
    /// Of the second plan, the nodes whose keys are others, each with its reason.
    pub nodes: Vec<(String, Why)>,
    /// Nodes that only the first plan has.
    pub gone: Vec<String>,
    /// Of two runs.
    pub figures: Vec<Figure>,
    pub kept: Vec<Overlap>,
}

impl Figure {
    fn differs(&self) -> bool {
        self.a.as_ref().map(|it| it.value) != self.b.as_ref().map(|it| it.value)
    }

    /// What the second is more, and half the width of its 95 % interval, as of two independent measurements: the root of
    /// the sum of the squares of theirs. Where both were measured on the same tasks it is rather too wide.
    pub fn difference(&self) -> Option<(f64, Option<f64>)> {
        let (a, b) = (self.a.as_ref()?, self.b.as_ref()?);
        let half = a.ci95.zip(b.ci95).map(|(a, b)| (a * a + b * b).sqrt());
        Some((b.value - a.value, half))
    }
}

/// The figures of two runs.
pub fn figures(a: &Report, b: &Report) -> Vec<Figure> {
    let mut figures = Vec::new();
    for node in &b.nodes {
        let other = a.nodes.iter().find(|other| is_same(other, node));
        for metric in &node.metrics {
            let before = other.and_then(|other| other.metric(&metric.name));
            figures.push(named(node, before, Some(metric)));
        }
    }
    for node in &a.nodes {
        let other = b.nodes.iter().find(|other| is_same(other, node));
        let missing = |metric: &&Metric| other.is_none_or(|other| other.metric(&metric.name).is_none());
        figures.extend(node.metrics.iter().filter(missing).map(|metric| named(node, Some(metric), None)));
    }
    figures
}

/// Whether two nodes are about the same.
pub fn is_same(a: &NodeReport, b: &NodeReport) -> bool {
    (&a.info.op, &a.info.name, a.info.iteration) == (&b.info.op, &b.info.name, b.info.iteration)
}

fn named(node: &NodeReport, a: Option<&Metric>, b: Option<&Metric>) -> Figure {
    let metric = b.or(a).expect("a figure of one run at least");
    let name = format!("{}.{}", node.info.name, metric.name);
    Figure { node: node.info.id.clone(), name, iteration: node.info.iteration, a: a.cloned(), b: b.cloned() }
}

pub fn overlap(node: &NodeReport, a: &BTreeSet<RowName>, b: &BTreeSet<RowName>) -> Overlap {
    let both = a.intersection(b).count();
    Overlap { node: node.info.id.clone(), iteration: node.info.iteration, a: a.len(), b: b.len(), both }
}

impl Diff {
    /// Nothing differs that is looked at.
    pub fn is_same(&self) -> bool {
        let Self { a: _, b: _, changes, nodes, gone, figures, kept } = self;
        let kept_same = kept.iter().all(|it| it.a == it.both && it.b == it.both);
        changes.is_empty() && nodes.is_empty() && gone.is_empty() && kept_same && !figures.iter().any(Figure::differs)
    }

    pub fn json(&self) -> Value {
        let figure = |it: &Figure| {
            let side = |metric: &Option<Metric>| {
                metric.as_ref().map(|it| json!({ "value": it.value, "n": it.n, "ci95": it.ci95 }))
            };
            let difference = it.difference();
            json!({
                "node": it.node,
                "name": it.name,
                "iteration": it.iteration,
                "a": side(&it.a),
                "b": side(&it.b),
                "difference": difference.map(|(value, _)| value),
                "ci95": difference.and_then(|(_, half)| half),
            })
        };
        let node = |(node, why): &(String, Why)| {
            let mut value = json!(why);
            value["id"] = json!(node);
            value
        };
        json!({
            "a": self.a,
            "b": self.b,
            "same": self.is_same(),
            "fields": self.changes,
            "first": self.nodes.first().map(node),
            "nodes": self.nodes.iter().map(node).collect::<Vec<_>>(),
            "gone": self.gone,
            "metrics": self.figures.iter().map(figure).collect::<Vec<_>>(),
            "kept": self.kept,
        })
    }

    /// What differs, with a count of what does not.
    pub fn human(&self) -> String {
        let mut out = String::new();
        let mut part = |title: &str, table: &Table| {
            write!(out, "{}{title}\n{}", if out.is_empty() { "" } else { "\n" }, table.text()).expect("to a string");
        };
        let (a, b) = (plain(&self.a), plain(&self.b));
        if !self.changes.is_empty() {
            part("Fields", &self.fields());
        }
        if let Some((node, why)) = self.nodes.first() {
            let mut table = Table::default();
            table.push([Cell::left(node), Cell::left(change::why(why, &a))]);
            let others = counted(self.nodes.len(), "node");
            part(&format!("The first node with another key, of {others} in {b}"), &table);
        }
        if !self.gone.is_empty() {
            let mut table = Table::default();
            table.push([Cell::left(self.gone.join(", "))]);
            part(&format!("Nodes that only {a} has"), &table);
        }
        let differ = self.figures.iter().filter(|figure| figure.differs()).count();
        if differ > 0 {
            let same = self.figures.len() - differ;
            part(&format!("Figures ({} the same)", counted(same, "other")), &self.figures_table());
        }
        if !self.kept.is_empty() {
            let mut table =
                Table::with_head([Cell::left("node"), Cell::right(&a), Cell::right(&b), Cell::right("in both")]);
            for Overlap { node, iteration: _, a, b, both } in &self.kept {
                let count = |rows: &usize| Cell::right(text::count(*rows as u64));
                table.push([Cell::left(node), count(a), count(b), count(both)]);
            }
            part("Kept rows", &table);
        }
        out
    }

    fn fields(&self) -> Table {
        let mut table = Table::with_head(["field", &self.a, &self.b, ""].map(Cell::left));
        for Change { kind: _, difference, keyed } in &self.changes {
            let [field, was, is] = change::words(difference);
            let note = match keyed {
                Keyed::In => "",
                Keyed::Contents => "in keys by its contents",
                Keyed::Out => "in no key",
            };
            table.push([field.as_str(), &was, &is, note].map(Cell::left));
        }
        table
    }

    fn figures_table(&self) -> Table {
        let head = ["figure", "node", &self.a, &self.b, "difference"];
        let right = |index: usize| index > 1;
        let cell = |(index, text): (usize, &&str)| if right(index) { Cell::right(text) } else { Cell::left(text) };
        let mut table = Table::with_head(head.iter().enumerate().map(cell));
        for it in self.figures.iter().filter(|figure| figure.differs()) {
            let side = |metric: &Option<Metric>| Cell::right(metric.as_ref().map_or_else(|| "none".to_owned(), figure));
            let difference = it.difference().map_or_else(String::new, |(value, half)| {
                let half = half.map_or_else(String::new, |half| format!(" ± {half:.3}"));
                format!("{}{half}", signed(value, [&it.a, &it.b]))
            });
            table.push([Cell::left(&it.name), Cell::left(&it.node), side(&it.a), side(&it.b), Cell::right(difference)]);
        }
        table
    }
}

/// With as many decimals as the figures it lies between.
fn signed(value: f64, sides: [&Option<Metric>; 2]) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    let counts = sides.into_iter().flatten().all(|it| !text::value(it).contains('.'));
    if counts { format!("{sign}{}", grouped(value as i64)) } else { format!("{sign}{}", number(value)) }
}
