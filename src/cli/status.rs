//! `agx status`: where each node stands, from the journal alone.

use crate::cli::args::StatusArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::report::{fold, read};
use crate::cli::terminal::Terminal;
use crate::cli::watch;
use crate::report::text::{Cell, Table};
use crate::report::{Report, human};
use crate::run::{self, Project, RunError};
use serde_json::json;

pub fn status(args: &StatusArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = place.open()?;
    if args.all {
        return all(&project, terminal);
    }
    let run = place.run(&project, args.run.as_deref())?;
    if args.watch {
        return watch::watch(&project, place, &run, terminal);
    }
    let report = fold(&project, &run)?;
    if terminal.json() {
        terminal.value(&report.json())
    } else {
        terminal.data(&human::status(&report))
    }
    Ok(Exit::Ok)
}

/// Every run, a line each; one that cannot be read says why, and hides no other.
fn all(project: &Project, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut table = Table::with_head(["run", "experiment", "state", "winner"].map(Cell::left));
    let mut rows = Vec::new();
    for run in run::all(project)? {
        match read(project, &run) {
            Ok(report) => {
                let Report { experiment, state, winner, .. } = report;
                rows.push(json!({ "run": run, "experiment": experiment, "state": state, "winner": winner }));
                table.push([run.as_str(), &experiment, state.as_str(), &winner.unwrap_or_default()].map(Cell::left));
            }
            Err(RunError::NeverStarted(_)) => {
                rows.push(json!({ "run": run, "state": "never_started" }));
                table.push([&run, "", "never started"].map(Cell::left));
            }
            Err(problem) => {
                rows.push(json!({ "run": run, "state": "damaged", "problem": problem.to_string() }));
                table.push([&run, "", &format!("damaged: {problem}")].map(Cell::left));
            }
        }
    }
    if terminal.json() {
        terminal.value(&json!(rows));
    } else if table.is_empty() {
        return Err(RunError::NoRun.into());
    } else {
        terminal.data(&table.text());
    }
    Ok(Exit::Ok)
}
