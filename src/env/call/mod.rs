//! What an agent does in one turn: a tool call or an answer, read from the text a model wrote.
//!
//! A file a format: how it writes a call, how one is read, and which texts are one.
//!
//! # Invariants
//! Reading never fails, whatever the text: what begins as a call and is none is [`Action::Unreadable`], with the reason.
//! One call a turn: of several none is made.

pub mod api_bank;
pub mod form;
mod hermes;
pub mod json;
mod lines;
mod llama3;
mod mistral;
mod react;
pub mod typed;

#[cfg(test)]
mod tests;

use crate::model::{Form, ToolFormat};
use form::Callable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A tool call. Arguments are text in the order of their names; the tool types them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Call {
    pub name: String,
    pub arguments: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Call(Call),
    /// Text to the user.
    Answer(String),
    /// Neither: the reason goes back to the agent as an observation.
    Unreadable(String),
}

impl Call {
    /// One line, canonical: `book_room(day=Tuesday, room=Oak)`.
    pub fn canonical(&self) -> String {
        let arguments: Vec<String> = self.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{}({})", self.name, arguments.join(", "))
    }
}

/// An action, or why there is none.
type Read = Result<Action, String>;

/// Reads a reply.
pub fn parse(text: &str, format: ToolFormat) -> Action {
    let text = text.trim();
    let read = match format {
        ToolFormat::Lines => lines::parse(text),
        ToolFormat::Json => json::parse(text),
        ToolFormat::Hermes => hermes::parse(text),
        ToolFormat::Llama3 => llama3::parse(text),
        ToolFormat::Mistral => mistral::parse(text),
        ToolFormat::ApiBank => api_bank::parse(text),
        ToolFormat::React => react::parse(text),
    };
    read.unwrap_or_else(Action::Unreadable)
}

/// Writes a call as a model of this format would.
pub fn render(call: &Call, format: ToolFormat) -> String {
    match format {
        ToolFormat::Lines => lines::render(call),
        ToolFormat::Json => json::render(call),
        ToolFormat::Hermes => hermes::render(call),
        ToolFormat::Llama3 => llama3::render(call),
        ToolFormat::Mistral => mistral::render(call),
        ToolFormat::ApiBank => api_bank::render(call),
        ToolFormat::React => react::render(call),
    }
}

/// What replies are read without fault: calls of these tools, of any where none is known, and answers.
/// A tool whose names a format cannot write is left out.
pub fn form(tools: &[Callable], format: ToolFormat) -> Form {
    let is_writable = |tool: &&Callable| {
        let names = form::parameters(&tool.parameters).unwrap_or_default();
        let arguments = names.iter().map(|it| (it.name.to_owned(), "1".to_owned())).collect();
        let call = Call { name: tool.name.clone(), arguments };
        parse(&render(&call, format), format) == Action::Call(call)
    };
    let writable: Vec<Callable> = tools.iter().filter(is_writable).cloned().collect();
    let form = match format {
        ToolFormat::Lines => lines::form(&writable),
        ToolFormat::Json => json::form(&writable),
        ToolFormat::Hermes => hermes::form(&writable),
        ToolFormat::Llama3 => llama3::form(&writable),
        ToolFormat::Mistral => mistral::form(&writable),
        ToolFormat::ApiBank => api_bank::form(&writable),
        ToolFormat::React => react::form(&writable),
    };
    // Where none of those that are known can be called, none is.
    if writable.is_empty() && !tools.is_empty() { Form { whole: form::NONE.to_owned(), ..form } } else { form }
}

/// How many first bytes of a reply under way are said to the user, whatever follows: behind them is a call, or what may become
/// one.
pub fn settled(text: &str, format: ToolFormat) -> usize {
    match format {
        ToolFormat::Lines => unless_it_begins(text, &["call "]),
        ToolFormat::Json => unless_it_begins(text, &["{"]),
        ToolFormat::Llama3 => unless_it_begins(text, &[llama3::MARK, "{"]),
        ToolFormat::Mistral => unless_it_begins(text, &[mistral::MARK, "[{"]),
        ToolFormat::Hermes => text.find(hermes::OPEN).unwrap_or_else(|| without_start_of(text, hermes::OPEN)),
        // What they say to the user stands within marks too.
        ToolFormat::ApiBank | ToolFormat::React => 0,
    }
}

/// All of a text, or nothing where it begins with one of the marks, or may come to.
fn unless_it_begins(text: &str, marks: &[&str]) -> usize {
    let begun = text.trim_start();
    let may = marks.iter().any(|mark| begun.starts_with(mark) || mark.starts_with(begun));
    if may { 0 } else { text.len() }
}

/// How many bytes of a text stand before what may be the start of a mark at its end.
pub fn without_start_of(text: &str, mark: &str) -> usize {
    let starts = (1..mark.len()).rev().filter(|length| mark.is_char_boundary(*length));
    starts
        .map(|length| &mark[..length])
        .find(|start| text.ends_with(start))
        .map_or(text.len(), |it| text.len() - it.len())
}

fn answer(text: &str) -> Read {
    Ok(Action::Answer(text.trim().to_owned()))
}

/// The beginning of a text, for a reason.
fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}
