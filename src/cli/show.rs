//! `agx show`: a node, a trajectory, a prompt as it is sent, a record, a blob.

use crate::base::Digest;
use crate::cli::args::ShowArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::report::fold;
use crate::cli::terminal::Terminal;
use crate::cli::{lineage, object};
use crate::model::Message;
use crate::node::judge::JudgeReply;
use crate::node::spec::{AnswerValue, Verdict};
use crate::node::trajectory::{Trajectory, TruthRecord};
use crate::report::html::Reading;
use crate::report::text::{Cell, Table, clip, count, figure, plain, plain_lines};
use crate::report::{NodeReport, Report, status_word};
use crate::run::lineage::Lineage;
use crate::run::manifest::{Manifest, RowEntry, RowSet};
use crate::run::{ItemOutcome, MissingItem, Project};
use crate::store::Store;
use crate::syntax::similar::{did_you_mean, similar};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Items listed for a node before the rest is counted.
pub const MOST_LISTED: usize = 20;
/// Kept and dropped trajectories on a report's page, each.
const READINGS: usize = 4;

pub fn show(args: &ShowArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let words: Vec<&str> = args.object.iter().map(String::as_str).collect();
    if !args.sets.is_empty() && args.file.is_none() {
        return Err(Failure::new(Exit::Usage, "`--set` and `--params` need `--file`: what a run was given is frozen"));
    }
    match words.as_slice() {
        [] => object::show(args, place, &words, terminal),
        [kind, ..] if object::is_kind(kind) => object::show(args, place, &words, terminal),
        ["trajectory", start] if args.file.is_none() => lineage::trajectory(&place.open()?, start, terminal),
        [word] if args.file.is_none() => {
            let project = place.open()?;
            if is_digest_start(word) {
                digest(&project.store, word, terminal)
            } else {
                node(args, place, &project, word, terminal)
            }
        }
        [kind, ..] => {
            let near = similar(kind, object::KINDS.into_iter().chain(["trajectory"]));
            let help = did_you_mean(&near)
                .unwrap_or_else(|| format!("a file declares {}; a store holds a trajectory", object::KINDS.join(", ")));
            Err(Failure::new(Exit::Usage, format!("`{}` is no object", words.join(" "))).help(help))
        }
    }
}

fn node(args: &ShowArgs, place: &Place, project: &Project, id: &str, terminal: &Terminal) -> Result<Exit, Failure> {
    let run = place.run(project, args.run.as_deref())?;
    let report = fold(project, &run)?;
    let node = find(&report, &run, id)?;
    let manifest: Option<Manifest> = node.output.map(|output| read(&project.store, &output)).transpose()?;
    if args.task.is_none() && args.item.is_none() {
        // What the node itself left is shown, whatever is wrong with what it came of.
        let lineage = lineage::of(project, &run, node).unwrap_or_else(|failure| {
            terminal.fail(&failure);
            None
        });
        summary(node, manifest.as_ref(), lineage.as_ref(), terminal);
        return Ok(Exit::Ok);
    }
    let manifest = manifest.ok_or_else(|| Failure::new(Exit::Usage, format!("`{id}` has not finished")))?;
    let rows = rows(project, &run, node, &manifest)?;
    let wanted = |index: usize, row: &RowEntry| match (&args.task, args.item) {
        (Some(task), _) => row.task == *task,
        (None, item) => item == Some(index),
    };
    let found: Vec<&RowEntry> =
        rows.iter().enumerate().filter(|(index, row)| wanted(*index, row)).map(|(_, row)| row).collect();
    if found.is_empty() {
        let help = match rows.first() {
            Some(row) => format!("it has {} trajectories, the first of task `{}`", rows.len(), row.task),
            None => "it holds no trajectories".to_owned(),
        };
        return Err(Failure::new(Exit::Usage, format!("`{id}` has nothing of that")).help(help));
    }
    let readings: Result<Vec<Reading>, Failure> = found.iter().map(|row| reading(&project.store, node, row)).collect();
    let readings = readings?;
    if terminal.json() {
        terminal.value(&Value::Array(readings.iter().map(reading_json).collect()));
    } else {
        for (reading, row) in readings.iter().zip(found) {
            terminal.data(&reading_text(reading, raw_reply(&project.store, row)?.as_ref()));
        }
    }
    Ok(Exit::Ok)
}

/// A node of a run by its name.
pub fn find<'a>(report: &'a Report, run: &str, id: &str) -> Result<&'a NodeReport, Failure> {
    report.node(id).ok_or_else(|| {
        let near = similar(id, report.nodes.iter().map(|node| node.info.id.as_str()));
        let help = did_you_mean(&near).unwrap_or_else(|| "`agx status` lists the nodes".to_owned());
        Failure::new(Exit::Usage, format!("run `{run}` has no node `{id}`")).help(help)
    })
}

fn summary(node: &NodeReport, manifest: Option<&Manifest>, lineage: Option<&Lineage>, terminal: &Terminal) {
    if terminal.json() {
        terminal.value(&json!({
            "id": node.info.id,
            "op": node.info.op,
            "iteration": node.info.iteration,
            "status": node.status,
            "key": node.info.key,
            "inputs": node.info.inputs,
            "items": node.items,
            "output": node.output,
            "manifest": manifest,
            "lineage": lineage,
        }));
        return;
    }
    let mut facts = Table::default();
    let mut fact = |name: &str, value: String| facts.push([Cell::left(name), Cell::left(value)]);
    fact("node", node.info.id.clone());
    fact("status", status_word(node.status).to_owned());
    fact("key", node.info.key.to_string());
    if let Some(output) = node.output {
        fact("output", output.to_string());
    }
    if node.missing() > 0 {
        fact("missing", format!("{} of {} items", count(node.missing()), count(node.total)));
    }
    if !node.info.inputs.is_empty() {
        fact("reads", node.info.inputs.join(", "));
    }
    for metric in &node.metrics {
        fact(&metric.name, format!("{} (n {})", figure(metric), count(metric.n)));
    }
    if let Some(reason) = &node.reason {
        fact("why", reason.clone());
    }
    terminal.data(&facts.text());
    if !node.detail.is_null() {
        let detail = serde_json::to_string_pretty(&node.detail).expect("a JSON value is text");
        terminal.data(&format!("\n{}\n", plain_lines(&detail)));
    }
    if let Some(lineage) = lineage {
        terminal.data(&lineage::words(lineage));
    }
    let listed = |manifest: &&Manifest| !manifest.items.is_empty() || !manifest.missing.is_empty();
    let Some(manifest) = manifest.filter(listed) else { return };
    let mut items = Table::with_head(["item", "outcome", "blob"].map(Cell::left));
    // What is missing is what a reader looks for: it comes first.
    for MissingItem { item, key: _, kind } in manifest.missing.iter().take(MOST_LISTED) {
        items.push([item.as_str(), &format!("missing: {}", kind.as_str()), ""].map(Cell::left));
    }
    let room = MOST_LISTED.saturating_sub(manifest.missing.len());
    for item in manifest.items.iter().take(room) {
        let (outcome, blob) = match &item.outcome {
            ItemOutcome::Done { blob } => ("done".to_owned(), blob.short()),
            ItemOutcome::Unparsed { blob } => ("unparsed".to_owned(), blob.short()),
            ItemOutcome::Failed { .. } | ItemOutcome::Timeout => continue,
        };
        items.push([&item.item, &outcome, &blob].map(Cell::left));
    }
    terminal.data(&format!("\n{}", items.text()));
    if let Some(left @ 1..) = (manifest.items.len() + manifest.missing.len()).checked_sub(MOST_LISTED) {
        terminal.say(&format!("  … and {} more; `--format json` has all", count(left as u64)));
    }
}

/// The trajectories a node holds: its own rows, kept before dropped; those that it trained on; or those of its items.
pub fn rows(project: &Project, run: &str, node: &NodeReport, manifest: &Manifest) -> Result<Vec<RowEntry>, Failure> {
    let store = &project.store;
    if node.info.op == "train" {
        return Ok(lineage::of(project, run, node)?.map(|lineage| lineage.rows).unwrap_or_default());
    }
    if matches!(node.info.op.as_str(), "rollout" | "judge" | "select")
        && let Some(output) = manifest.output
    {
        let RowSet { rows, dropped } = read(store, &output)?;
        return Ok(rows.into_iter().chain(dropped).collect());
    }
    let mut rows = Vec::new();
    for item in manifest.items.iter().filter(|item| item.also.contains_key("truth")) {
        let (ItemOutcome::Done { blob }, Some((task, sample))) = (&item.outcome, item.item.rsplit_once('/')) else {
            continue;
        };
        rows.push(RowEntry {
            task: task.to_owned(),
            sample: sample.parse().unwrap_or(0),
            iteration: node.info.iteration,
            trajectory: *blob,
            truth: item.also["truth"],
            reply: None,
            verdict: None,
            unparsed: None,
            dropped_by: None,
        });
    }
    Ok(rows)
}

fn reading(store: &Store, node: &NodeReport, row: &RowEntry) -> Result<Reading, Failure> {
    let trajectory: Trajectory = read(store, &row.trajectory)?;
    let truth: TruthRecord = read(store, &row.truth)?;
    Ok(Reading {
        node: node.info.id.clone(),
        task: row.task.clone(),
        sample: row.sample,
        messages: trajectory.messages,
        prompt_len: trajectory.prompt_len,
        verdict: row.verdict.as_ref().map(verdict_text),
        dropped_by: row.dropped_by.clone(),
        success: truth.truth.get("success").map(|value| *value >= 1.0),
    })
}

pub fn verdict_text(verdict: &Verdict) -> String {
    let field = |(name, value): (&String, &AnswerValue)| match value {
        AnswerValue::Bool(value) => format!("{name} {value}"),
        AnswerValue::Int(value) => format!("{name} {value}"),
        AnswerValue::Text(text) => format!("{name} “{}”", clip(text, 60)),
    };
    verdict.iter().map(field).collect::<Vec<_>>().join(", ")
}

fn raw_reply(store: &Store, row: &RowEntry) -> Result<Option<JudgeReply>, Failure> {
    row.reply.as_ref().map(|reply| read(store, reply)).transpose()
}

fn reading_text(reading: &Reading, reply: Option<&JudgeReply>) -> String {
    let mut out = format!("{} · task {} · sample {}\n", reading.node, plain(&reading.task), reading.sample);
    for (index, message) in reading.messages.iter().enumerate() {
        let prompt = if index < reading.prompt_len { " (prompt)" } else { "" };
        out.push_str(&format!("\n── {}{prompt}\n", message.role.as_str()));
        out.push_str(&turn(message));
    }
    if let Some(reply) = reply {
        out.push_str(&format!("\n── critic\n{}\n", plain_lines(reply.text.trim_end())));
    }
    let mut closing = Vec::new();
    closing.extend(reading.verdict.clone());
    match &reading.dropped_by {
        Some(stage) => closing.push(format!("dropped by {stage}")),
        None if reading.node.starts_with("select") => closing.push("kept".to_owned()),
        None => {}
    }
    if let Some(success) = reading.success {
        closing.push(format!("in truth {}", if success { "solved" } else { "not solved" }));
    }
    out.push_str(&format!("\n→ {}\n\n", plain(&closing.join(" · "))));
    out
}

pub fn turn(message: &Message) -> String {
    format!("{}\n", plain_lines(message.content.trim_end_matches('\n')))
}

fn reading_json(reading: &Reading) -> Value {
    json!({
        "node": reading.node,
        "task": reading.task,
        "sample": reading.sample,
        "messages": reading.messages,
        "prompt_len": reading.prompt_len,
        "verdict": reading.verdict,
        "dropped_by": reading.dropped_by,
        "success": reading.success,
    })
}

/// For the page: of the last selection that kept anything, the first few kept, and the first few dropped at each stage in
/// turn. Trajectories that cannot be read any more are left out: a report of the rest is worth more than none.
pub fn readings(project: &Project, report: &Report) -> Vec<Reading> {
    let selections = report.nodes.iter().rev().filter(|node| node.info.op == "select");
    for node in selections {
        let Some(output) = node.output else { continue };
        let Ok(manifest) = read::<Manifest>(&project.store, &output) else { continue };
        let Some(Ok(rows)) = manifest.output.map(|rows| read::<RowSet>(&project.store, &rows)) else { continue };
        let mut chosen: Vec<&RowEntry> = rows.rows.iter().take(READINGS).collect();
        let mut seen: Vec<&str> = Vec::new();
        for row in &rows.dropped {
            let stage = row.dropped_by.as_deref().unwrap_or_default();
            if !seen.contains(&stage) && seen.len() < READINGS {
                seen.push(stage);
                chosen.push(row);
            }
        }
        let readings: Vec<Reading> = chosen.iter().filter_map(|row| reading(&project.store, node, row).ok()).collect();
        if !readings.is_empty() {
            return readings;
        }
    }
    Vec::new()
}

pub fn read<T: DeserializeOwned>(store: &Store, digest: &Digest) -> Result<T, Failure> {
    let bytes = store.get(digest).map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
    serde_json::from_slice(&bytes)
        .map_err(|problem| Failure::new(Exit::Usage, format!("blob {} cannot be read: {problem}", digest.short())))
}

pub fn is_digest_start(word: &str) -> bool {
    word.len() >= 8 && word.len() <= 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A record by its key or a blob by its digest: whichever the store has, by the start of it.
fn digest(store: &Store, start: &str, terminal: &Terminal) -> Result<Exit, Failure> {
    let start = start.to_ascii_lowercase();
    let (records, blobs) =
        store.starting_with(&start).map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
    match (records.as_slice(), blobs.as_slice()) {
        ([key], []) => {
            let record = store.lookup(key).map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
            let record = record.ok_or_else(|| Failure::new(Exit::Usage, format!("record {key} is damaged")))?;
            terminal.value(&json!(record));
        }
        ([], [blob]) => {
            let bytes = store.get(blob).map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
            match (serde_json::from_slice::<Value>(&bytes), std::str::from_utf8(&bytes)) {
                (Ok(value), _) => terminal.value(&value),
                (Err(_), Ok(text)) => terminal.data(&plain_lines(text)),
                (Err(_), Err(_)) => {
                    terminal.say(&format!("{} bytes that are no text", count(bytes.len() as u64)));
                }
            }
        }
        ([], []) => return Err(Failure::new(Exit::Usage, format!("the store has nothing that starts with {start}"))),
        _ => {
            return Err(
                Failure::new(Exit::Usage, format!("more than one thing starts with {start}")).help("give more digits")
            );
        }
    }
    Ok(Exit::Ok)
}
