//! `--matrix`: the cells of a sweep, planned together or run one after another.
//!
//! A cell is a run of its own; what cells have in common is worked once, for they share the store. Which run is a cell's is
//! said by the plan's digest, so nothing else is kept: the same command goes on where it stopped, and when all is done it
//! shows the table again.

use crate::base::Digest;
use crate::cli::args::{Which, Work};
use crate::cli::exit::{Exit, Failure};
use crate::cli::fetch;
use crate::cli::load::{self, Loaded};
use crate::cli::params;
use crate::cli::place;
use crate::cli::report::fold;
use crate::cli::run::{Worker, subject};
use crate::cli::terminal::Terminal;
use crate::experiment::{Cell, Matrix, Origin};
use crate::report::sweep::{Row, json, table, words};
use crate::report::text::{self, Table, count, counted};
use crate::report::{NodeReport, Report, RunState};
use crate::run::{self, FailedStep, Project, RunEnd, SurveyStatus, survey};
use serde_json::{Value, json as object};
use std::collections::{BTreeMap, BTreeSet};

/// The matrix that is meant, and which of its cells, by their numbers from 1.
pub struct Chosen<'l> {
    pub matrix: &'l Matrix,
    pub cells: Vec<(usize, &'l Cell)>,
}

/// `None`: no matrix is asked for.
pub fn chosen<'l>(loaded: &'l Loaded, which: &Which) -> Result<Option<Chosen<'l>>, Failure> {
    let Some(name) = &which.matrix else { return Ok(None) };
    let matrices = &loaded.checked.matrices;
    let matrix = matrices.iter().find(|matrix| matrix.name == *name).ok_or_else(|| {
        let names: Vec<&str> = matrices.iter().map(|matrix| matrix.name.as_str()).collect();
        let failure = Failure::new(Exit::Usage, format!("{} holds no matrix `{name}`", loaded.name()));
        if names.is_empty() { failure } else { failure.help(format!("it holds {}", names.join(", "))) }
    })?;
    if let Some(given) = loaded.given.iter().find(|given| matrix.params.contains(&given.name)) {
        let by = match &given.origin {
            Origin::Set => "--set",
            Origin::Params(file) => file,
        };
        let message = format!("`{}` is an axis of the matrix `{name}`, and given by `{by}`", given.name);
        return Err(Failure::new(Exit::Usage, message).help(format!("choose a cell: `--cell {}=…`", given.name)));
    }
    let all = || matrix.cells.iter().enumerate().map(|(at, cell)| (at + 1, cell));
    let mut cells: Vec<(usize, &Cell)> = all().collect();
    for wanted in &which.cell {
        cells.retain(|(number, cell)| match wanted.split_once('=') {
            None => wanted.trim().parse() == Ok(*number),
            Some((axis, value)) => {
                cell.settings.iter().any(|it| it.axis == axis.trim() && same(&it.value, value.trim()))
            }
        });
        if cells.is_empty() {
            let message = format!("the matrix `{name}` has no cell `{wanted}`");
            let first = words(&matrix.cells[0].settings);
            let help = format!("it has {}, the first is {first}", matrix.cells.len());
            return Err(Failure::new(Exit::Usage, message).help(help));
        }
    }
    Ok(Some(Chosen { matrix, cells }))
}

/// As written, or the same number.
fn same(a: &str, b: &str) -> bool {
    a == b || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

/// What each cell would run, and what it has in common with those before it.
pub fn plan(chosen: &Chosen, project: &Project, as_json: bool, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut seen: BTreeSet<Digest> = BTreeSet::new();
    let axes = chosen.cells[0].1.settings.iter().map(|setting| text::Cell::right(&setting.axis));
    let numbers = ["nodes", "cached", "shared", "to run"].map(text::Cell::right);
    let head = std::iter::once(text::Cell::right("cell")).chain(axes).chain(numbers);
    let mut shown = Table::with_head(head.chain([text::Cell::left("plan")]));
    let mut cells = Vec::new();
    let mut total = 0;
    for (number, cell) in &chosen.cells {
        let planned = load::plan(&cell.experiment)?;
        let nodes = survey(project, &cell.experiment, &planned.identities, &planned.plan, place::wire())?;
        let is_cached = |status| matches!(status, SurveyStatus::Cached | SurveyStatus::Skipped);
        let cached = nodes.iter().filter(|node| is_cached(node.status)).count();
        let shared = nodes.iter().filter(|node| !is_cached(node.status) && seen.contains(&node.key)).count();
        let left = nodes.len() - cached - shared;
        total += left;
        seen.extend(nodes.iter().map(|node| node.key));
        let values = cell.settings.iter().map(|setting| text::Cell::right(&setting.value));
        let counts = [nodes.len(), cached, shared, left].map(|n| text::Cell::right(count(n as u64)));
        let row = std::iter::once(text::Cell::right(number.to_string())).chain(values).chain(counts);
        shown.push(row.chain([text::Cell::left(planned.plan.digest.short())]));
        let settings: BTreeMap<&str, &str> =
            cell.settings.iter().map(|setting| (setting.axis.as_str(), setting.value.as_str())).collect();
        cells.push(object!({
            "cell": number, "settings": settings, "plan": planned.plan.digest,
            "nodes": nodes.len(), "cached": cached, "shared": shared, "to_run": left,
        }));
    }
    if as_json {
        terminal.value(&object!({ "matrix": chosen.matrix.name, "experiment": chosen.matrix.of, "cells": cells }));
        return Ok(Exit::Ok);
    }
    terminal.data(&shown.text());
    let cells = chosen.cells.len();
    terminal.say(&format!("{} to run; what cells share is worked once", nodes_of(total, cells)));
    Ok(Exit::Ok)
}

fn nodes_of(nodes: usize, cells: usize) -> String {
    format!("{}: {}", counted(cells, "cell"), counted(nodes, "node"))
}

/// Runs the cells that are not finished, and shows the table of all of them.
pub fn run(
    loaded: &Loaded,
    chosen: &Chosen,
    work: &Work,
    project: &Project,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let worker = Worker::new(work, *terminal)?;
    for (_, cell) in &chosen.cells {
        fetch::before(&cell.experiment, project, &worker)?;
    }
    let mut known = runs(project)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut exit = Exit::Ok;
    let of = chosen.matrix.cells.len();
    for (number, cell) in &chosen.cells {
        let plan = load::plan(&cell.experiment)?.plan.digest;
        let mut row = Row { number: *number, settings: cell.settings.clone(), plan, report: None };
        let head = format!("cell {number} of {of}: {}", words(&cell.settings));
        let before = known.get(&plan).map(|report| (report.run.clone(), report.state));
        if let Some((run, RunState::Finished)) = &before {
            row.report = known.get(&plan).cloned();
            let missing: u64 = row.report.iter().flat_map(|report| &report.nodes).map(NodeReport::missing).sum();
            let without = match missing {
                0 => String::new(),
                missing => format!(", without {}: `agx resume {run}` tries again", counted(missing as usize, "item")),
            };
            terminal.say(&format!("{head}: finished as {run}{without}"));
            rows.push(row);
            continue;
        }
        terminal.say(&head);
        let outcome = match &before {
            Some((run, _)) => {
                worker.work(|options, control, sink| run::resume(project, run, options, control, &place::now, sink))?
            }
            None => {
                let mut overrides = params::overrides(&loaded.given);
                let settings = cell.settings.iter().cloned();
                overrides.extend(settings.map(|setting| (setting.axis, Value::String(setting.value))));
                let imports = loaded.imports();
                let subject = subject(loaded, &imports, &overrides, &cell.experiment);
                worker
                    .work(|options, control, sink| run::start(project, &subject, options, control, &place::now, sink))?
            }
        };
        let report = fold(project, &outcome.run)?;
        // A later cell with the same plan has the same results.
        known.insert(plan, report.clone());
        row.report = Some(report);
        rows.push(row);
        match outcome.end {
            RunEnd::Finished => {}
            RunEnd::Failed => {
                for FailedStep { step, reason, transient: _ } in &outcome.failed {
                    let message = format!("cell {number}: {step} failed: {reason}");
                    terminal.fail(&Failure::new(Exit::NodeFailed, message));
                }
                exit = Exit::NodeFailed;
                if !work.keep_going {
                    break;
                }
            }
            RunEnd::Paused => {
                terminal.say(&match &outcome.spent {
                    None => format!("paused in cell {number} of {of}; the same command goes on"),
                    Some(spent) => {
                        format!("paused in cell {number} of {of}: {spent}\nthe same command with `--no-budget` goes on")
                    }
                });
                exit = Exit::Paused;
                break;
            }
        }
    }
    let items = &chosen.cells[0].1.experiment.report;
    if terminal.json() {
        terminal.value(&json(&chosen.matrix.name, &chosen.matrix.of, &rows, items));
    } else {
        terminal.say("");
        terminal.data(&table(&rows, items).text());
    }
    Ok(exit)
}

/// Every run of the store by its plan; of several the one that is furthest, then the newest.
fn runs(project: &Project) -> Result<BTreeMap<Digest, Report>, Failure> {
    let mut known: BTreeMap<Digest, Report> = BTreeMap::new();
    for run in run::list(project)? {
        // A run that cannot be read is nobody's.
        let Ok(report) = fold(project, &run) else { continue };
        let whole = |it: &Report| it.nodes.iter().all(|node| node.missing() == 0);
        let far = |it: &Report| (it.state == RunState::Finished, it.state == RunState::Finished && whole(it));
        if known.get(&report.plan).is_none_or(|before| far(&report) >= far(before)) {
            known.insert(report.plan, report);
        }
    }
    Ok(known)
}
