//! `agx status`: where each node stands, from the journal alone.

use crate::cli::args::StatusArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::report::fold;
use crate::cli::terminal::Terminal;
use crate::report::human;
use crate::report::text::{Cell, Table};
use crate::run;
use serde_json::json;

pub fn status(args: &StatusArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = place.open()?;
    if args.all {
        let mut table = Table::with_head(["run", "experiment", "state", "winner"].map(Cell::left));
        let mut rows = Vec::new();
        for run in run::list(&project)? {
            let report = fold(&project, &run)?;
            let winner = report.winner.clone().unwrap_or_default();
            rows.push(
                json!({ "run": run, "experiment": report.experiment, "state": report.state, "winner": report.winner }),
            );
            table.push([run.as_str(), &report.experiment, report.state.as_str(), &winner].map(Cell::left));
        }
        if terminal.json() {
            terminal.value(&json!(rows));
        } else if table.is_empty() {
            return Err(run::RunError::NoRun.into());
        } else {
            terminal.data(&table.text());
        }
        return Ok(Exit::Ok);
    }
    let run = place.run(&project, args.run.as_deref())?;
    let report = fold(&project, &run)?;
    if terminal.json() {
        terminal.value(&report.json())
    } else {
        terminal.data(&human::status(&report))
    }
    Ok(Exit::Ok)
}
