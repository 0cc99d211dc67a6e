//! Typed prompt templates: what a checked prompt is, and how it becomes messages.

use crate::model::Role;
use serde::{Deserialize, Serialize};

/// A checked prompt: every path exists and is visible to the reader, every filter fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    pub messages: Vec<TemplateMessage>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateMessage {
    pub role: Role,
    pub pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// Bytes as written, margin removed.
    Text(String),
    /// `{{ task.request }}`, `{{ traj | transcript(max = 400 tokens) }}`, `{{ answer.format }}`.
    Value { path: Vec<String>, filters: Vec<Filter> },
    /// `{% for x in task.tools %}…{% end %}`
    For { variable: String, path: Vec<String>, body: Vec<Piece> },
    /// `{% if task.note is known %}…{% end %}`
    IfKnown { path: Vec<String>, body: Vec<Piece> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The turns of a trajectory, fenced line by line, the oldest cut first when longer than `max` tokens.
    Transcript {
        max_tokens: Option<u32>,
    },
    Json,
    Lines,
    Bullets,
    Truncate {
        max_tokens: u32,
    },
}
