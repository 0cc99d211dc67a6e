//! Turns a node's rows into JSON Lines: a conversation a line, as trainers read them, and where it comes from.

use super::{free, is_stdout};
use crate::base::{Digest, file};
use crate::cli::args::ExportArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::reading::{find, read, rows};
use crate::cli::report::fold;
use crate::cli::terminal::Terminal;
use crate::model::Message;
use crate::node::spec::Verdict;
use crate::node::trajectory::Trajectory;
use crate::report::text::count;
use crate::report::{NodeReport, Report};
use crate::run::manifest::{Manifest, RowEntry};
use crate::store::Store;
use serde::Serialize;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// One line. Ground truth is not in it.
#[derive(Serialize)]
struct Line<'a> {
    messages: Vec<Message>,
    task: &'a str,
    sample: u32,
    iteration: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'a Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_by: Option<&'a str>,
    run: &'a str,
    node: &'a str,
    /// Blobs of the store: `agx show` opens them.
    trajectory: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<Digest>,
}

pub fn export(args: &ExportArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = place.open()?;
    let to_stdout = is_stdout(&args.to);
    if to_stdout && terminal.json() {
        let message = "`--to -` and `--format json` both write to stdout: name a file for one of them";
        return Err(Failure::new(Exit::Usage, message));
    }
    if !to_stdout {
        free(&args.to, args.force)?;
    }
    let run = place.run(&project, args.run.as_deref())?;
    let report = fold(&project, &run)?;
    let node = wanted(args.node.as_deref(), &report, &run)?;
    let (store, id) = (&project.store, &node.info.id);
    let unfinished = || Failure::new(Exit::Usage, format!("`{id}` has not finished"));
    let manifest: Manifest = read(store, &node.output.ok_or_else(unfinished)?)?;
    let mut rows = rows(&project, &run, node, &manifest)?;
    rows.retain(|row| args.dropped || row.dropped_by.is_none());
    if rows.is_empty() {
        let help =
            if node.info.op == "select" { "`--dropped` takes what was not kept too" } else { "name another node" };
        return Err(Failure::new(Exit::Usage, format!("`{id}` holds no trajectories")).help(help));
    }
    if to_stdout {
        lines(store, &run, id, &rows, &mut |line| {
            terminal.data(&line);
            Ok(())
        })?;
        return Ok(Exit::Ok);
    }
    write(&args.to, store, &run, id, &rows)?;
    if terminal.json() {
        terminal.value(&json!({ "run": run, "node": id, "as": "jsonl", "rows": rows.len(), "to": args.to }));
    } else {
        terminal.say(&format!("wrote {} trajectories of {id} to {}", count(rows.len() as u64), args.to.display()));
    }
    Ok(Exit::Ok)
}

/// Without a name, the last selection that finished.
fn wanted<'a>(asked: Option<&str>, report: &'a Report, run: &str) -> Result<&'a NodeReport, Failure> {
    if let Some(id) = asked {
        return find(report, run, id);
    }
    let found = report.nodes.iter().rev().find(|node| node.info.op == "select" && node.output.is_some());
    found.ok_or_else(|| {
        let with_rows =
            |node: &&NodeReport| matches!(node.info.op.as_str(), "rollout" | "judge") && node.output.is_some();
        let with_rows = report.nodes.iter().rev().find(with_rows);
        Failure::new(Exit::Usage, format!("no selection of run `{run}` has finished")).help(match with_rows {
            Some(node) => format!("`--node {}` names another node", node.info.id),
            None => "no node of it has trajectories yet".to_owned(),
        })
    })
}

/// All of the file or none of it.
fn write(path: &Path, store: &Store, run: &str, node: &str, rows: &[RowEntry]) -> Result<(), Failure> {
    let fail = |problem: std::io::Error| {
        Failure::new(Exit::Usage, format!("{} cannot be written: {}", path.display(), file::reason(&problem)))
    };
    let mut fresh = file::temporary(path.parent().unwrap_or(path)).map_err(fail)?;
    let mut out = std::io::BufWriter::new(fresh.as_file_mut());
    lines(store, run, node, rows, &mut |line| out.write_all(line.as_bytes()).map_err(fail))?;
    out.flush().map_err(fail)?;
    drop(out);
    fresh.persist(path).map_err(|problem| fail(problem.error))?;
    Ok(())
}

/// Each trajectory as its line.
fn lines(
    store: &Store,
    run: &str,
    node: &str,
    rows: &[RowEntry],
    write: &mut dyn FnMut(String) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for row in rows {
        let Trajectory { messages, .. } = read(store, &row.trajectory)?;
        let line = Line {
            messages,
            task: &row.task,
            sample: row.sample,
            iteration: row.iteration,
            verdict: row.verdict.as_ref(),
            dropped_by: row.dropped_by.as_deref(),
            run,
            node,
            trajectory: row.trajectory,
            reply: row.reply,
        };
        write(serde_json::to_string(&line).expect("a line is plain data") + "\n")?;
    }
    Ok(())
}
