//! Turns what a run left in the store into values and words for people: rows, trajectories, verdicts.

use crate::base::Digest;
use crate::cli::exit::{Exit, Failure};
use crate::cli::replies::Reply;
use crate::model::Message;
use crate::node::spec::{AnswerValue, Verdict};
use crate::node::trajectory::{Trajectory, TruthRecord};
use crate::report::html::Reading;
use crate::report::text::{clip, number, plain, plain_lines};
use crate::report::{NodeReport, Report};
use crate::run::lineage::{self, Lineage};
use crate::run::manifest::{Manifest, RowEntry, RowSet};
use crate::run::worked::worked;
use crate::run::{ItemOutcome, Project};
use crate::store::Store;
use crate::syntax::similar::{did_you_mean, similar};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Items listed for a node before the rest is counted.
pub const MOST_LISTED: usize = 20;

/// Kept and dropped trajectories on a report's page, each.
const READINGS: usize = 4;

/// A node of a run by its name.
pub fn find<'a>(report: &'a Report, run: &str, id: &str) -> Result<&'a NodeReport, Failure> {
    report.node(id).ok_or_else(|| {
        let near = similar(id, report.nodes.iter().map(|node| node.info.id.as_str()));
        let help = did_you_mean(&near).unwrap_or_else(|| "`agx status` lists the nodes".to_owned());
        Failure::new(Exit::Usage, format!("run `{run}` has no node `{id}`")).help(help)
    })
}

/// Whether `--item` means a row: by its place, or by its task and sample.
pub fn is_item(item: &str, place: usize, row: &RowEntry) -> bool {
    item.parse() == Ok(place) || item == format!("{}/{}", row.task, row.sample)
}

/// The trajectories a node holds: its own rows, kept before dropped; those that it trained on; or those of its items.
pub fn rows(project: &Project, run: &str, node: &NodeReport, manifest: &Manifest) -> Result<Vec<RowEntry>, Failure> {
    let store = &project.store;
    if node.info.op == "train" {
        return Ok(lineage_of(project, run, node)?.map(|lineage| lineage.rows).unwrap_or_default());
    }
    if matches!(node.info.op.as_str(), "rollout" | "judge" | "select")
        && let Some(output) = manifest.output
    {
        let RowSet { rows, dropped } = read(store, &output)?;
        return Ok(rows.into_iter().chain(dropped).collect());
    }
    let mut rows = Vec::new();
    for item in &manifest.items {
        let (ItemOutcome::Done { blob }, Some((task, sample)), Some(truth)) =
            (&item.outcome, item.item.rsplit_once('/'), item.also.get("truth"))
        else {
            continue;
        };
        rows.push(RowEntry {
            task: task.to_owned(),
            sample: sample.parse().unwrap_or(0),
            iteration: node.info.iteration,
            trajectory: *blob,
            truth: *truth,
            reply: None,
            replies: Vec::new(),
            verdict: None,
            unparsed: None,
            dropped_by: None,
        });
    }
    Ok(rows)
}

pub fn reading(store: &Store, node: &NodeReport, row: &RowEntry) -> Result<Reading, Failure> {
    let trajectory: Trajectory = read(store, &row.trajectory)?;
    let truth: TruthRecord = read(store, &row.truth)?;
    Ok(Reading {
        node: node.info.id.clone(),
        task: row.task.clone(),
        sample: row.sample,
        messages: trajectory.messages,
        prompt_len: trajectory.prompt_len,
        verdict: row.verdict.as_ref().map(verdict_text),
        unparsed: row.unparsed.clone(),
        dropped_by: row.dropped_by.clone(),
        success: truth.truth.get("success").map(|value| *value >= 1.0),
    })
}

pub fn verdict_text(verdict: &Verdict) -> String {
    let field = |(name, value): (&String, &AnswerValue)| match value {
        AnswerValue::Bool(value) => format!("{name} {value}"),
        AnswerValue::Int(value) => format!("{name} {value}"),
        AnswerValue::Number(value) => format!("{name} {}", number(*value)),
        AnswerValue::Text(text) => format!("{name} “{}”", clip(text, 60)),
    };
    verdict.iter().map(field).collect::<Vec<_>>().join(", ")
}

pub fn reading_text(reading: &Reading, replies: &[Reply]) -> String {
    let mut out = format!("{} · task {} · sample {}\n", reading.node, plain(&reading.task), reading.sample);
    for (index, message) in reading.messages.iter().enumerate() {
        let prompt = if index < reading.prompt_len { " (prompt)" } else { "" };
        out.push_str(&format!("\n── {}{prompt}\n", message.role.as_str()));
        out.push_str(&turn(message));
    }
    for Reply { item: _, asked, text } in replies {
        let asked = if asked.is_empty() { String::new() } else { format!(" ({})", plain(asked)) };
        out.push_str(&format!("\n── critic{asked}\n{}\n", plain_lines(text.trim_end())));
    }
    let mut closing = Vec::new();
    closing.extend(reading.verdict.clone());
    closing.extend(reading.unparsed.as_ref().map(|why| format!("no verdict: {why}")));
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

pub fn reading_json(reading: &Reading, replies: &[Reply]) -> Value {
    let replies =
        replies.iter().map(|Reply { item, asked, text }| json!({ "item": item, "asked": asked, "text": text }));
    json!({
        "node": reading.node,
        "task": reading.task,
        "sample": reading.sample,
        "messages": reading.messages,
        "prompt_len": reading.prompt_len,
        "verdict": reading.verdict,
        "unparsed": reading.unparsed,
        "replies": replies.collect::<Vec<_>>(),
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

/// What a node of a run came of; none where it reads no rows, or has not finished.
pub fn lineage_of(project: &Project, run: &str, node: &NodeReport) -> Result<Option<Lineage>, Failure> {
    if node.output.is_none() || !matches!(node.info.op.as_str(), "judge" | "select" | "audit" | "train") {
        return Ok(None);
    }
    let worked = worked(project, run)?;
    let step = worked.named(&node.info.id);
    Ok(step.map(|step| lineage::lineage(project, &worked, step)).transpose()?)
}
