//! Typed prompt templates: what a checked prompt is, and how it becomes messages.

use crate::base::{Canonical, Hasher};
use crate::env::Task;
use crate::model::{LanguageModel, Message, ModelError, Role};
use crate::node::trajectory::Trajectory;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

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

impl Canonical for Template {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.str(&serde_json::to_string(self).expect("a template is plain data"));
    }
}

/// What a template may name: `task`, `traj`, `answer`.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    roots: BTreeMap<String, Value>,
}

impl Scope {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `task`: its visible fields only.
    #[must_use]
    pub fn task(mut self, task: &Task) -> Self {
        self.roots.insert("task".to_owned(), Value::Object(task.fields.clone()));
        self
    }

    /// Adds `traj`: what a critic may know of an episode.
    #[must_use]
    pub fn trajectory(self, trajectory: &Trajectory) -> Self {
        let _ = trajectory;
        todo!()
    }

    /// Adds `answer.format`.
    #[must_use]
    pub fn answer_format(mut self, format: String) -> Self {
        self.roots.insert("answer".to_owned(), serde_json::json!({ "format": format }));
        self
    }
}

/// The messages of a checked template. `count_tokens` is the reading model's.
pub fn render(template: &Template, scope: &Scope, count_tokens: &dyn Fn(&str) -> usize) -> Vec<Message> {
    let _ = (template, scope, count_tokens);
    todo!()
}

/// Counts a text's tokens as `model` does inside a message.
///
/// # Errors
/// A model whose chat template cannot render a single message.
pub fn token_counter(model: &dyn LanguageModel) -> Result<impl Fn(&str) -> usize + '_, ModelError> {
    let around = model.encode_chat(&[Message::new(Role::User, "")])?.len();
    Ok(move |text: &str| {
        let ids = model.encode_chat(&[Message::new(Role::User, text)]);
        // A text too long for the model is longer than any limit that a template may name.
        ids.map_or(usize::MAX, |ids| ids.len().saturating_sub(around))
    })
}
