//! Turns the runs of a matrix into one table: a row a cell, its values, and what its run found.
//!
//! # Invariants
//! A figure is of the version that the cell's `pick` chose, where it was measured; else of the last iteration.

use super::figures::{self, Curve, Point};
use super::text::{Cell, Table, figure};
use super::{Report, RunState};
use crate::base::Digest;
use crate::experiment::{ReportItem, Setting};
use crate::node::metric::Metric;
use serde_json::{Map, Value, json};

/// One cell and its run.
#[derive(Clone, Debug)]
pub struct Row {
    /// From 1.
    pub number: usize,
    pub settings: Vec<Setting>,
    pub plan: Digest,
    /// `None`: not run.
    pub report: Option<Report>,
}

/// `lr=1e-4, rank=16`
pub fn words(settings: &[Setting]) -> String {
    settings.iter().map(|it| format!("{}={}", it.axis, it.value)).collect::<Vec<_>>().join(", ")
}

/// What the file's report names, and the evaluations outside of loops, by name.
fn found(report: &Report, items: &[ReportItem]) -> Vec<(String, Metric)> {
    let winning = figures::winning_iteration(report);
    let chosen = |curve: &Curve| {
        let won = winning.and_then(|iteration| curve.at(iteration)).or(curve.points.last());
        won.map(|point: &Point| (curve.name.clone(), point.metric.clone()))
    };
    let metrics = figures::wanted(report, items).into_iter().flat_map(|item| match item {
        ReportItem::Plot { metrics } | ReportItem::Table { metrics } => metrics,
    });
    let mut found: Vec<(String, Metric)> = Vec::new();
    let curves = metrics.filter_map(|metric| chosen(&figures::curve(report, &metric)));
    let outside = figures::outside(report, items).into_iter();
    let outside = outside.map(|(node, metric)| (format!("{}.{}", node.info.name, metric.name), metric.clone()));
    for (name, metric) in curves.chain(outside) {
        if found.iter().all(|(known, _)| *known != name) {
            found.push((name, metric));
        }
    }
    found
}

fn state(row: &Row) -> &'static str {
    row.report.as_ref().map_or("not run", |report| report.state.as_str())
}

pub fn table(rows: &[Row], items: &[ReportItem]) -> Table {
    let all: Vec<Vec<(String, Metric)>> =
        rows.iter().map(|row| row.report.as_ref().map(|report| found(report, items)).unwrap_or_default()).collect();
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in all.iter().flatten() {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let axes = rows.first().into_iter().flat_map(|row| &row.settings).map(|setting| Cell::right(&setting.axis));
    let head = std::iter::once(Cell::right("cell")).chain(axes).chain([Cell::left("winner")]);
    let picked = rows.iter().any(|row| row.report.as_ref().is_some_and(|report| report.winner.is_some()));
    let failed = rows.iter().any(|row| row.report.as_ref().is_none_or(|report| report.state != RunState::Finished));
    let last = if failed { vec![Cell::left("state")] } else { Vec::new() };
    let keep = |column: &usize| picked || *column != rows.first().map_or(0, |row| row.settings.len()) + 1;
    let kept = |cells: Vec<Cell>| {
        cells.into_iter().enumerate().filter(|(at, _)| keep(at)).map(|(_, cell)| cell).collect::<Vec<_>>()
    };
    let head: Vec<Cell> = head.chain(columns.iter().map(Cell::right)).chain(last).collect();
    let mut table = Table::with_head(kept(head));
    for (row, found) in rows.iter().zip(&all) {
        let winner = row.report.as_ref().and_then(|report| report.winner.clone()).unwrap_or_default();
        let mut cells = vec![Cell::right(row.number.to_string())];
        cells.extend(row.settings.iter().map(|setting| Cell::right(&setting.value)));
        cells.push(Cell::left(winner));
        for column in &columns {
            let metric = found.iter().find(|(name, _)| name == column);
            cells.push(Cell::right(metric.map_or_else(String::new, |(_, metric)| figure(metric))));
        }
        if failed {
            cells.push(Cell::left(state(row)));
        }
        table.push(kept(cells));
    }
    table
}

pub fn json(matrix: &str, experiment: &str, rows: &[Row], items: &[ReportItem]) -> Value {
    let cell = |row: &Row| {
        let settings: Map<String, Value> =
            row.settings.iter().map(|setting| (setting.axis.clone(), json!(setting.value))).collect();
        let metrics: Map<String, Value> = row
            .report
            .iter()
            .flat_map(|report| found(report, items))
            .map(|(name, metric)| (name, json!({ "value": metric.value, "n": metric.n, "ci95": metric.ci95 })))
            .collect();
        json!({
            "cell": row.number,
            "settings": settings,
            "plan": row.plan,
            "run": row.report.as_ref().map(|report| &report.run),
            "state": state(row),
            "winner": row.report.as_ref().and_then(|report| report.winner.as_ref()),
            "metrics": metrics,
        })
    };
    json!({ "matrix": matrix, "experiment": experiment, "cells": rows.iter().map(cell).collect::<Vec<_>>() })
}
