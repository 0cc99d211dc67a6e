//! What an agent does in one turn: a tool call or an answer, read from the text a model wrote.
//!
//! A file a format: how it writes a call, and how one is read.
//!
//! # Invariants
//! Reading never fails, whatever the text: what begins as a call and is none is [`Action::Unreadable`], with the reason.
//! One call a turn: of several none is made.

pub mod api_bank;
mod hermes;
pub mod json;
mod lines;
mod llama3;
mod mistral;
mod react;

#[cfg(test)]
mod tests;

use crate::model::ToolFormat;
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

fn answer(text: &str) -> Read {
    Ok(Action::Answer(text.trim().to_owned()))
}

/// The beginning of a text, for a reason.
fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}
