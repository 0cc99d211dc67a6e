//! `agx show`: a node, a trajectory, a prompt as it is sent, a record, a blob.

use crate::cli::args::ShowArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::reading::{
    MOST_LISTED, find, is_digest_start, is_item, lineage_of, read, reading, reading_json, reading_text, rows,
};
use crate::cli::replies::{self, Bare, Reply, Wanted};
use crate::cli::report::fold;
use crate::cli::terminal::Terminal;
use crate::cli::{lineage, object};
use crate::node::reasons::Commonest;
use crate::report::html::Reading;
use crate::report::text::{Cell, Table, count, figure, plain, plain_lines};
use crate::report::{NodeReport, status_word};
use crate::run::lineage::Lineage;
use crate::run::manifest::{Manifest, RowEntry};
use crate::run::{ItemOutcome, MissingItem, NodeStatus, Project};
use crate::store::Store;
use crate::syntax::similar::{did_you_mean, similar};
use serde_json::{Value, json};

pub fn show(args: &ShowArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let words: Vec<&str> = args.object.iter().map(String::as_str).collect();
    if !args.sets.is_empty() && args.file.is_none() {
        return Err(Failure::new(Exit::Usage, "`--set` and `--params` need `--file`: what a run was given is frozen"));
    }
    match words.as_slice() {
        [] => object::show(args, place, &words, terminal),
        [kind, ..] if object::is_kind(kind) => object::show(args, place, &words, terminal),
        ["trajectory"] if args.file.is_none() => {
            Err(Failure::new(Exit::Usage, "`trajectory` needs the start of a digest").help(lineage::DIGEST_START))
        }
        ["trajectory", start] if args.file.is_none() => {
            let options =
                [(args.run.is_some(), "--run"), (args.task.is_some(), "--task"), (args.item.is_some(), "--item")];
            if let Some((_, option)) = options.into_iter().find(|(given, _)| *given) {
                let message = format!("a trajectory is looked for in all runs: `{option}` is for a node");
                return Err(Failure::new(Exit::Usage, message));
            }
            lineage::trajectory(&place.open()?, start, terminal)
        }
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
        let lineage = lineage_of(project, &run, node).unwrap_or_else(|failure| {
            terminal.fail(&failure);
            None
        });
        summary(node, manifest.as_ref(), lineage.as_ref(), terminal);
        return Ok(Exit::Ok);
    }
    let rows = manifest.as_ref().map(|manifest| rows(project, &run, node, manifest)).transpose()?.unwrap_or_default();
    let mut questions = replies::questions(project, &report, node)?;
    // A question by its name is about one row or several.
    if let Some(question) = questions.iter().find(|question| args.item.as_ref() == Some(&question.item)) {
        questions = vec![question.clone()];
    }
    let asked = |row: &RowEntry| match questions.as_slice() {
        [question] => args.item.as_ref() == Some(&question.item) && replies::asked(question, row).is_some(),
        _ => false,
    };
    let wanted = |index: usize, row: &RowEntry| match (&args.task, &args.item) {
        (Some(task), _) => row.task == *task,
        (None, item) => item.as_ref().is_some_and(|item| is_item(item, index, row)) || asked(row),
    };
    let found: Vec<&RowEntry> =
        rows.iter().enumerate().filter(|(index, row)| wanted(*index, row)).map(|(_, row)| row).collect();
    let place = args.item.as_ref().filter(|_| found.is_empty()).and_then(|item| item.parse().ok());
    let wanted = Wanted { task: args.task.as_deref(), item: args.item.as_deref(), place };
    let mut bare = replies::bare(project, &run, node, manifest.as_ref(), &wanted)?;
    // What was asked about a row stands with it.
    bare.retain(|bare| bare.why.is_some() || (found.is_empty() && bare.reply.is_some()));
    if found.is_empty() && bare.is_empty() {
        let failure = match node.status {
            _ if manifest.is_some() => Failure::new(Exit::Usage, format!("`{id}` has nothing of that")),
            NodeStatus::Failed => Failure::new(Exit::Usage, format!("`{id}` has failed, and has nothing of that")),
            _ => return Err(Failure::new(Exit::Usage, format!("`{id}` has not finished"))),
        };
        return Err(failure.help(match rows.first() {
            Some(row) => format!("it has {} trajectories, the first of task `{}`", rows.len(), row.task),
            None => "it holds no trajectories".to_owned(),
        }));
    }
    let word = if manifest.is_some() { "is missing" } else { "failed" };
    let read = |row: &&RowEntry| Ok((reading(&project.store, node, row)?, replies::replies(project, &questions, row)?));
    let readings: Vec<(Reading, Vec<Reply>)> = found.iter().map(read).collect::<Result<_, Failure>>()?;
    if terminal.json() {
        let bare = bare
            .iter()
            .map(|Bare { item, why, reply }| json!({ "node": id, "item": item, "missing": why, "reply": reply }));
        let shown = readings.iter().map(|(reading, replies)| reading_json(reading, replies));
        terminal.value(&Value::Array(shown.chain(bare).collect()));
    } else {
        for (reading, replies) in &readings {
            terminal.data(&reading_text(reading, replies));
        }
        for Bare { item, why, reply } in &bare {
            let why = why.as_ref().map_or_else(String::new, |why| format!(" {word}: {}", plain(why)));
            terminal.data(&format!("{id} · {}{why}\n", plain(item)));
            if let Some(reply) = reply {
                terminal.data(&format!("\n── critic\n{}\n\n", plain_lines(reply.trim_end())));
            }
        }
    }
    Ok(Exit::Ok)
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
            "failures": node.failures.commonest(),
            "unread": node.unread(),
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
    for (name, commonest) in [("failed", node.failures.commonest()), ("unread", node.unread())] {
        for (times, reason) in commonest.iter().flat_map(Commonest::told) {
            fact(name, format!("{} × {reason}", count(times)));
        }
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
    // What a judge says of its replies stands above.
    if !node.detail.is_null() && node.info.op != "judge" {
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
