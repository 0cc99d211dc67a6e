//! Turns provenance into words: what a node came of, what became of a trajectory.

use crate::cli::exit::{Exit, Failure};
use crate::cli::reading::{MOST_LISTED, is_digest_start, verdict_text};
use crate::cli::terminal::Terminal;
use crate::report::text::{Cell, Table, clip, count, plain};
use crate::run::lineage::{self, Lineage, Station, Trace, Training, Use, What};
use crate::run::worked::worked;
use crate::run::{self, Project, RowEntry};
use serde_json::json;
use std::collections::BTreeMap;

/// What to give where a digest is meant.
pub const DIGEST_START: &str = "eight hex digits or more, as `agx show train@1` lists them";

pub fn words(lineage: &Lineage) -> String {
    let Lineage { training, from, rows } = lineage;
    let mut out = String::new();
    if let Some(training) = training {
        out.push_str(&format!("\nmade {}\n", made(training)));
    }
    if !from.is_empty() {
        let mut table = Table::default();
        for station in from {
            let Station { node, op: _, key: _, rows, count: rows_count, by, prompts, model } = station;
            let prompts = prompts.iter().map(|(name, digest)| format!("prompt {name} {}", digest.short()));
            let parts: Vec<String> = by.iter().cloned().chain(model.clone()).chain(prompts).collect();
            let rows = rows.map(|rows| rows.short()).unwrap_or_default();
            let cells = [node.clone(), format!("{} rows", count(*rows_count as u64)), rows, parts.join(" · ")];
            table.push(cells.map(Cell::left));
        }
        out.push_str(&format!("\ncame of\n{}", table.text()));
    }
    if !rows.is_empty() {
        let mut table = Table::with_head(["row", "i", "trajectory", "verdict"].map(Cell::left));
        for RowEntry { task, sample, iteration, trajectory, verdict, .. } in rows.iter().take(MOST_LISTED) {
            let verdict = verdict.as_ref().map(verdict_text).unwrap_or_default();
            let cells = [format!("{task}/{sample}"), iteration.to_string(), trajectory.short(), clip(&verdict, 60)];
            table.push(cells.map(Cell::left));
        }
        out.push_str(&format!("\ntrained on\n{}", table.text()));
        if let Some(left @ 1..) = rows.len().checked_sub(MOST_LISTED) {
            out.push_str(&format!("  … and {} more; `--format json` has all\n", count(left as u64)));
        }
    }
    out
}

fn made(training: &Training) -> String {
    let Training { version, start, weights, trained } = training;
    let weights = weights.map(|weights| format!(", weights {}", weights.short())).unwrap_or_default();
    match trained {
        true => format!("{version} from {start}{weights}"),
        false => format!("{version}, which is {start}: there was nothing to train on"),
    }
}

/// `agx show trajectory 3f9a0c12`: what became of it, in every run of the store.
pub fn trajectory(project: &Project, start: &str, terminal: &Terminal) -> Result<Exit, Failure> {
    if !is_digest_start(start) {
        let failure = Failure::new(Exit::Usage, format!("`{start}` is no start of a digest"));
        return Err(failure.help(DIGEST_START));
    }
    let (start, mut found) = (start.to_ascii_lowercase(), BTreeMap::new());
    let mut unread = Vec::new();
    for run in run::list(project)? {
        // One that cannot be read hides no other.
        let traced = worked(project, &run).and_then(|worked| lineage::trace(project, &worked, &start, &mut found));
        if let Err(problem) = traced {
            terminal.say(&format!("run {run} was not looked at: {problem}"));
            unread.push(run);
        }
    }
    let mut traces: Vec<Trace> = found.into_values().collect();
    let trace = match (traces.pop(), traces.len()) {
        (Some(trace), 0) => trace,
        (None, _) => {
            return Err(Failure::new(Exit::Usage, format!("no run has a trajectory that starts with {start}")));
        }
        (Some(_), _) => {
            let message = format!("more than one trajectory starts with {start}");
            return Err(Failure::new(Exit::Usage, message).help("give more digits"));
        }
    };
    if terminal.json() {
        terminal.value(&json!({ "trace": trace, "unread": unread }));
        return Ok(Exit::Ok);
    }
    let Trace { trajectory, task, sample, uses } = &trace;
    terminal.data(&format!("trajectory {trajectory} · task {} · sample {sample}\n\n", plain(task)));
    let mut table = Table::default();
    for used in uses {
        table.push([used.run.clone(), used.node.clone(), deed(used)].map(Cell::left));
    }
    terminal.data(&table.text());
    terminal.say(&format!("\n`agx show {}` has it as it is stored", trajectory.short()));
    Ok(Exit::Ok)
}

/// `kept`, `judged: score 4`
fn deed(used: &Use) -> String {
    let Use { run: _, node: _, what, dropped_by, verdict, reply, training } = used;
    let training = training.as_ref().map(made).unwrap_or_default();
    match what {
        What::RolledOut => "rolled out".to_owned(),
        What::Evaluated => "evaluated".to_owned(),
        What::Judged => {
            let verdict = verdict.as_ref().map_or_else(|| "unreadable".to_owned(), verdict_text);
            let reply = reply.map(|reply| format!(", reply {}", reply.short())).unwrap_or_default();
            format!("judged: {verdict}{reply}")
        }
        What::Kept => "kept".to_owned(),
        What::Dropped => format!("dropped by {}", dropped_by.as_deref().unwrap_or_default()),
        What::Trained => format!("trained {training}"),
        What::Inherited => format!("went on in {training}"),
    }
}
