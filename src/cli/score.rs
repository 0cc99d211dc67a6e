//! `agx score`: replies from anywhere, scored as a benchmark scores them.

use crate::base::file;
use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::Terminal;
use crate::env::api_bank::Library;
use crate::env::api_bank::score::{Count, LevelScore, PUBLISHED, Reply, Rule, Scored, Status, score as score_replies};
use crate::report::text::{Cell, Table, counted};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of replies is held in memory.
const MOST: u64 = 1 << 30;

#[derive(Debug, Subcommand)]
pub enum ScoreCommand {
    /// API-Bank (Li et al. 2023), levels 1 to 3, over a copy of its data.
    #[command(
        after_help = "Examples:\n  agx score api-bank --data api-bank --predictions replies.jsonl\n  agx score api-bank --data api-bank --predictions replies.jsonl --mode repaired --json\n  agx score api-bank --data api-bank --predictions replies.jsonl --items scored.jsonl\n\nA reply a line:\n  {\"level\": 1, \"file\": \"AddAgenda-level-1-1.jsonl\", \"id\": 0, \"pred\": \"API-Request: [GetUserToken(username='foo', password='bar')]\"}\n  {\"level\": 3, \"sample_id\": 0, \"api_id\": 1, \"pred\": \"API-Request: [QueryMeeting(user_name='John')]\"}\nWithout `api_id` it is the answer to a sample of level 3. Where an id asks for text, its ROUGE-L counts."
    )]
    ApiBank(ApiBankArgs),
}

#[derive(Debug, Args)]
pub struct ApiBankArgs {
    /// A copy of API-Bank: `init_database`, `lv1-lv2-samples`, `test-data`.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The replies, a JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub predictions: PathBuf,
    /// By which rule.
    #[arg(long, value_enum, default_value_t = Mode::Official)]
    pub mode: Mode,
    /// Write each reply back with its `status`.
    #[arg(long, value_name = "FILE")]
    pub items: Option<PathBuf>,
    /// One JSON object (as `--format json`).
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// As the original's evaluators, to the last quirk: numbers compare with published ones.
    Official,
    /// Lists are read, a dialogue's earlier calls are made first, each turn counts once.
    Repaired,
    /// Name and arguments are the recorded ones, as ToolRL compares them.
    Toolrl,
}

pub fn score(command: &ScoreCommand, terminal: &Terminal) -> Result<Exit, Failure> {
    let ScoreCommand::ApiBank(args) = command;
    let library = library(&args.data)?;
    let (replies, lines) = replies(&args.predictions)?;
    let mode = match args.mode {
        Mode::Official => Rule::Official,
        Mode::Repaired => Rule::Repaired,
        Mode::Toolrl => Rule::Toolrl,
    };
    if mode == Rule::Toolrl && library.toolrl.iter().all(Vec::is_empty) {
        return Err(Failure::new(Exit::Usage, format!("{} has no answers of ToolRL's", args.data.display()))
            .help("they are its files `toolrl/level-1-api_processed.json` to `-3-`"));
    }
    let scored = score_replies(&library, mode, &replies).map_err(|(place, astray)| {
        Failure::new(Exit::Usage, format!("{}, line {}: {astray}", args.predictions.display(), lines[place]))
    })?;
    if let Some(path) = &args.items {
        write_items(path, &replies, &scored.statuses)?;
    }
    if args.json || terminal.json() {
        terminal.value(&json!(scored));
    } else {
        terminal.data(&words(&scored));
    }
    Ok(Exit::Ok)
}

/// A copy of API-Bank that somebody named.
pub fn library(data: &Path) -> Result<Arc<Library>, Failure> {
    Library::open(data).map_err(|problem| {
        Failure::new(Exit::Usage, problem.to_string())
            .help("`--data` is a directory with API-Bank's `init_database`, `lv1-lv2-samples` and `test-data`")
    })
}

/// The replies, and the line of each.
fn replies(path: &Path) -> Result<(Vec<Reply>, Vec<usize>), Failure> {
    let failure = |message: String| Failure::new(Exit::Usage, format!("{}{message}", path.display()));
    let text = file::read_text(path, MOST).map_err(|problem| failure(format!(": {}", file::reason(&problem))))?;
    let mut found = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let reply = serde_json::from_str(line);
        found.0.push(reply.map_err(|problem| failure(format!(", line {}: {problem}", number + 1)))?);
        found.1.push(number + 1);
    }
    if found.0.is_empty() {
        return Err(failure(": no reply in it".to_owned()));
    }
    Ok(found)
}

fn write_items(path: &Path, replies: &[Reply], statuses: &[Status]) -> Result<(), Failure> {
    let failure =
        |problem: std::io::Error| Failure::new(Exit::Usage, format!("{}: {}", path.display(), file::reason(&problem)));
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).map_err(failure)?);
    for (reply, status) in replies.iter().zip(statuses) {
        let mut row = json!(reply);
        row["status"] = json!(status.words());
        if let Status::Response(f) = status {
            row["rouge_l"] = json!(f);
        }
        writeln!(out, "{row}").map_err(failure)?;
    }
    out.flush().map_err(failure)
}

fn percent(count: Count) -> String {
    count.accuracy().map_or_else(|| "–".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

fn words(scored: &Scored) -> String {
    let mut table = Table::with_head(
        ["level", "correct", "of", "", "tool searcher", "online", "samples", "ROUGE-L"].map(Cell::left),
    );
    for level in &scored.levels {
        let part =
            |count: Count| if count.rows == 0 { "–".to_owned() } else { format!("{}/{}", count.correct, count.rows) };
        table.push([
            Cell::left(level.level.to_string()),
            Cell::right(level.calls.correct.to_string()),
            Cell::right(level.calls.rows.to_string()),
            Cell::right(percent(level.calls)),
            Cell::right(part(level.tool_searcher)),
            Cell::right(part(level.online)),
            Cell::right(level.samples.map_or_else(|| "–".to_owned(), part)),
            Cell::right(level.rouge_l.map_or_else(|| "–".to_owned(), |f| format!("{f:.4}"))),
        ]);
    }
    let mut out = table.text();
    for level in &scored.levels {
        out.push_str(&errors(level));
    }
    if scored.mode == Rule::Official {
        let mut table = Table::with_head(["published", "level 1", "level 2", "level 3"].map(Cell::left));
        for (name, levels) in PUBLISHED {
            let figures = levels.map(|figure| Cell::right(format!("{figure:.2} %")));
            table.push(std::iter::once(Cell::left(name)).chain(figures));
        }
        write!(out, "\n{}", table.text()).expect("writing to a string");
    }
    out
}

/// A line for the wrong calls of a level, the most frequent class first.
fn errors(level: &LevelScore) -> String {
    let mut classes: Vec<(&str, usize)> = level.errors.iter().map(|(class, count)| (*class, *count)).collect();
    classes.retain(|(_, count)| *count > 0);
    classes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut parts: Vec<String> = classes.iter().map(|(class, count)| format!("{class} {count}")).collect();
    if level.unanswered > 0 {
        parts.push(format!("{} without a reply", counted(level.unanswered, "call")));
    }
    if parts.is_empty() { String::new() } else { format!("\nlevel {}: {}\n", level.level, parts.join(", ")) }
}
