//! Turns a checked prompt and the values it names into messages.
//!
//! # Invariants
//! What a model wrote reaches a prompt behind a mark on each of its lines ([`fence`](super::fence)), whatever filter is
//! used. Rendered text is never rendered again. A hidden task field cannot be named: it is not in the scope.

use crate::base::{Canonical, Hasher};
use crate::env::Task;
use crate::model::{LanguageModel, Message, ModelError, Role};
use crate::node::fence;
use crate::node::trajectory::Trajectory;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
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

/// The root whose text a model wrote.
const WRITTEN: &str = "traj";

impl Scope {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `task`: its visible fields, and its `id` unless the environment has a field of that name.
    #[must_use]
    pub fn task(mut self, task: &Task) -> Self {
        let mut fields = task.fields.clone();
        fields.entry("id").or_insert_with(|| Value::String(task.id.clone()));
        self.roots.insert("task".to_owned(), Value::Object(fields));
        self
    }

    /// Adds `traj`: what a critic may know of an episode.
    #[must_use]
    pub fn trajectory(mut self, trajectory: &Trajectory) -> Self {
        let turns = trajectory.messages.get(trajectory.prompt_len..).unwrap_or_default();
        let value = serde_json::json!({
            "turns": turns,
            "steps": trajectory.steps,
            "calls": trajectory.calls,
            "actions": trajectory.actions,
            "ended": trajectory.ended,
            "truncated": trajectory.truncated,
            "tokens": trajectory.row.tokens.len(),
            "error": trajectory.error,
        });
        self.roots.insert(WRITTEN.to_owned(), value);
        self
    }

    /// Adds `answer.format`.
    #[must_use]
    pub fn answer_format(mut self, format: String) -> Self {
        self.roots.insert("answer".to_owned(), serde_json::json!({ "format": format }));
        self
    }
}

/// The messages of a checked template. `count_tokens` is the reading model's. A path that leads nowhere (an optional field
/// that is not known) is empty text.
pub fn render(template: &Template, scope: &Scope, count_tokens: &dyn Fn(&str) -> usize) -> Vec<Message> {
    let roots = scope.roots.iter().map(|(name, value)| (name.as_str(), value, name == WRITTEN)).collect();
    let message = |message: &TemplateMessage| {
        let mut reader = Reader { names: Vec::clone(&roots), count_tokens, text: String::new() };
        reader.pieces(&message.pieces);
        Message::new(message.role, reader.text)
    };
    template.messages.iter().map(message).collect()
}

/// Writes pieces with the names that are visible at this point; the innermost of a name is the last.
struct Reader<'a> {
    /// Name, value, and whether a model wrote it.
    names: Vec<(&'a str, &'a Value, bool)>,
    count_tokens: &'a dyn Fn(&str) -> usize,
    text: String,
}

impl<'a> Reader<'a> {
    fn pieces(&mut self, pieces: &'a [Piece]) {
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.text.push_str(text),
                Piece::Value { path, filters } => {
                    if let Some((value, written)) = self.find(path) {
                        let text = self.filtered(value, written, filters);
                        self.text.push_str(&text);
                    }
                }
                Piece::For { variable, path, body } => {
                    let Some((Value::Array(items), written)) = self.find(path) else { continue };
                    for item in items {
                        self.names.push((variable, item, written));
                        self.pieces(body);
                        self.names.pop();
                    }
                }
                Piece::IfKnown { path, body } => {
                    if self.find(path).is_some_and(|(value, _)| !value.is_null()) {
                        self.pieces(body);
                    }
                }
            }
        }
    }

    fn find(&self, path: &[String]) -> Option<(&'a Value, bool)> {
        let (root, fields) = path.split_first()?;
        let (_, value, written) = self.names.iter().rev().find(|(name, ..)| name == root)?;
        let value = fields.iter().try_fold(*value, |value, field| value.get(field))?;
        Some((value, *written))
    }

    fn filtered(&self, value: &Value, written: bool, filters: &[Filter]) -> String {
        let guard = |text: String| if written { fence::quote(&text) } else { text };
        let mut text: Option<String> = None;
        for filter in filters {
            text = Some(match filter {
                Filter::Transcript { max_tokens } => {
                    let limit = max_tokens.map(|max| max as usize);
                    fence::transcript(&turns(value), limit, self.count_tokens)
                }
                Filter::Json => guard(value.to_string()),
                Filter::Lines => guard(listed(value, "")),
                Filter::Bullets => guard(listed(value, "- ")),
                Filter::Truncate { max_tokens } => {
                    let whole = text.unwrap_or_else(|| guard(plain(value).into_owned()));
                    fence::keep_head(&whole, *max_tokens as usize, self.count_tokens)
                }
            });
        }
        text.unwrap_or_else(|| match value {
            Value::Bool(_) | Value::Number(_) | Value::Null => plain(value).into_owned(),
            _ => guard(plain(value).into_owned()),
        })
    }
}

/// The turns of a trajectory, or of a list of them.
fn turns(value: &Value) -> Vec<Message> {
    let list = value.get("turns").unwrap_or(value);
    serde_json::from_value(list.clone()).unwrap_or_default()
}

fn plain(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

fn listed(value: &Value, mark: &str) -> String {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        Value::Null => &[],
        one => std::slice::from_ref(one),
    };
    items.iter().map(|item| format!("{mark}{}", plain(item))).collect::<Vec<_>>().join("\n")
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
