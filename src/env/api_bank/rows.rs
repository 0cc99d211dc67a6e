//! The benchmark's own rows as tasks: a recorded dialogue up to a turn, with the prompt that the data has for it, and one reply.
//!
//! # Invariants
//! A row ends with its reply. What of several rows counts together, [`figures`](super::figures) says.

use super::Mode;
use super::library::{Library, Unreadable, read as read_value};
use super::score::{Reply, Rule, Status, score};
use super::value::Value;
use crate::env::{Action, Observation, PureEpisode, Truth, call};
use crate::model::ToolFormat;
use std::path::Path;
use std::sync::Arc;

/// A row, and what it is asked by.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it answers to; its `pred` is empty.
    pub reply: Reply,
    /// How a call is to be written, and which APIs there are.
    pub instruction: String,
    /// The dialogue so far, and what is to be written next.
    pub input: String,
}

/// The files of a level, in the order in which they are read.
const FILES: [(u32, &str); 6] = [
    (1, "level-1-api"),
    (1, "level-1-response"),
    (2, "level-2-api"),
    (2, "level-2-response"),
    (3, "level-3-batch-inf"),
    (3, "level-3-batch-inf-response"),
];

/// # Errors
/// A file that is missing, or a row that says not what it answers to.
pub fn read(data: &Path, library: &Library, levels: std::ops::RangeInclusive<u32>) -> Result<Vec<Row>, Unreadable> {
    let mut rows = Vec::new();
    for (level, name) in FILES.into_iter().filter(|(level, _)| levels.contains(level)) {
        let path = data.join("test-data").join(name).with_extension("json");
        for (number, value) in read_value(&path)?.as_list().unwrap_or_default().iter().enumerate() {
            let row = row(level, value, name.ends_with("response"));
            if let Err(astray) = super::score::asked(library, &row.reply) {
                return Err(Unreadable { path, reason: format!("row {number}: {astray}") });
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

fn row(level: u32, of: &Value, is_response: bool) -> Row {
    let number = |name: &str| match of.get(name) {
        Some(Value::Int(it)) => usize::try_from(*it).ok(),
        _ => None,
    };
    let text = |name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let reply = Reply {
        level,
        file: of.get("file").map(Value::display),
        id: number("id"),
        sample_id: number("sample_id"),
        // The number that a response of level 3 has is none of a call.
        api_id: number("api_id").filter(|_| !is_response),
        pred: String::new(),
    };
    Row { reply, instruction: text("instruction"), input: text("input") }
}

impl Row {
    /// `level-1/AddAgenda-level-1-1/0`, `level-3/7/2`; of an answer of level 3 `level-3/7`.
    pub fn id(&self) -> String {
        let Reply { level, file, id, sample_id, api_id, pred: _ } = &self.reply;
        let file = file.as_deref().map(|file| file.strip_suffix(".jsonl").unwrap_or(file).to_owned());
        let first = file.or_else(|| sample_id.map(|it| it.to_string())).unwrap_or_default();
        let last = id.or(*api_id).map(|it| format!("/{it}")).unwrap_or_default();
        format!("level-{level}/{first}{last}")
    }
}

/// A reply as the evaluators read it: their own notation, whatever the model's is.
pub fn pred(reply: &str, format: ToolFormat) -> String {
    match format {
        ToolFormat::ApiBank => reply.to_owned(),
        other => match call::parse(reply, other) {
            Action::Call(call) => call::render(&call, ToolFormat::ApiBank),
            Action::Answer(_) | Action::Unreadable(_) => reply.to_owned(),
        },
    }
}

pub struct RowEpisode {
    pub library: Arc<Library>,
    pub reply: Reply,
    pub mode: Mode,
    pub done: bool,
}

impl PureEpisode for RowEpisode {
    fn step(&mut self, action: &Action) -> Observation {
        if !self.done {
            self.reply.pred = match action {
                Action::Call(call) => call::render(call, ToolFormat::ApiBank),
                Action::Answer(text) | Action::Unreadable(text) => text.clone(),
            };
            self.done = true;
        }
        Observation::done()
    }

    /// `success` of a call, `rouge` of a text; a reply that never came is an empty one.
    fn truth(&self) -> Truth {
        let scored = score(&self.library, Rule::from(self.mode), std::slice::from_ref(&self.reply));
        let status = scored.ok().and_then(|scored| scored.statuses.into_iter().next());
        let (name, figure) = match status {
            Some(Status::Response(f)) => ("rouge", f),
            Some(Status::Correct) => ("success", 1.0),
            _ => ("success", 0.0),
        };
        std::iter::once((name.to_owned(), figure)).collect()
    }
}
