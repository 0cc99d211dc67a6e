//! What an agent does in one turn: a tool call or an answer, read from the text a model wrote.

use crate::model::ToolFormat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

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
    /// Text to the user; ends the episode.
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

/// Reads a reply. Never fails: what cannot be read is an [`Action::Unreadable`] with the reason.
pub fn parse(text: &str, format: ToolFormat) -> Action {
    match format {
        ToolFormat::Lines => parse_lines(text),
        ToolFormat::Json => parse_json(text),
        other => Action::Unreadable(format!("this version does not read calls as `{}`", other.as_str())),
    }
}

/// Writes a call as a model of this format would.
pub fn render(call: &Call, format: ToolFormat) -> String {
    match format {
        ToolFormat::Lines => {
            let mut text = format!("call {}", call.name);
            for (name, value) in &call.arguments {
                write!(text, "\n{name}: {value}").expect("writing to a string");
            }
            text
        }
        // Only what can be read is written: the others are refused before a run begins.
        _ => serde_json::json!({ "name": call.name, "arguments": call.arguments }).to_string(),
    }
}

fn parse_lines(text: &str) -> Action {
    let mut lines = text.trim().lines();
    let Some(name) = lines.next().and_then(|line| line.strip_prefix("call ")) else {
        return Action::Answer(text.trim().to_owned());
    };
    let mut arguments = BTreeMap::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Action::Unreadable(format!("`{}` is not `argument: value`", clip(line)));
        };
        if arguments.insert(name.trim().to_owned(), value.trim().to_owned()).is_some() {
            return Action::Unreadable(format!("argument `{}` is given twice", clip(name.trim())));
        }
    }
    Action::Call(Call { name: name.trim().to_owned(), arguments })
}

fn parse_json(text: &str) -> Action {
    #[derive(Deserialize)]
    struct Wire {
        name: String,
        #[serde(default, alias = "parameters")]
        arguments: serde_json::Map<String, serde_json::Value>,
    }
    let text = text.trim();
    if !text.starts_with('{') {
        return Action::Answer(text.to_owned());
    }
    match serde_json::from_str::<Wire>(text) {
        Err(error) => Action::Unreadable(format!("not a JSON call: {error}")),
        Ok(Wire { name, arguments }) => {
            let as_text = |value: serde_json::Value| match value {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            let arguments = arguments.into_iter().map(|(name, value)| (name, as_text(value))).collect();
            Action::Call(Call { name, arguments })
        }
    }
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let arguments = [("room", "Oak"), ("day", "Tuesday")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let call = Call { name: "book_room".to_owned(), arguments: arguments.into() };
        for format in [ToolFormat::Lines, ToolFormat::Json] {
            assert_eq!(parse(&render(&call, format), format), Action::Call(call.clone()));
        }
    }

    #[test]
    fn text_is_an_answer_and_a_broken_call_says_why() {
        assert_eq!(parse("All done.", ToolFormat::Lines), Action::Answer("All done.".to_owned()));
        assert!(matches!(parse("call x\nno colon", ToolFormat::Lines), Action::Unreadable(_)));
        assert!(matches!(parse("{\"name\": ", ToolFormat::Json), Action::Unreadable(_)));
    }
}
