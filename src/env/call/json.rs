//! `{"name": …, "arguments": {…}}`; most other formats have such objects within.

use super::form::{AROUND, Callable, json_call};
use super::{Action, Call, Read, answer};
use crate::model::Form;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A call as an object. An argument that is not text is taken as JSON writes it.
#[derive(Deserialize)]
pub struct Wire {
    name: String,
    #[serde(default, alias = "parameters")]
    arguments: Map<String, Value>,
}

impl From<Wire> for Call {
    fn from(Wire { name, arguments }: Wire) -> Self {
        Call { name, arguments: texts(arguments) }
    }
}

pub fn texts(arguments: Map<String, Value>) -> std::collections::BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    arguments.into_iter().map(|(name, value)| (name, text(value))).collect()
}

pub fn call(text: &str) -> Result<Call, String> {
    serde_json::from_str::<Wire>(text).map(Call::from).map_err(|error| format!("not a JSON call: {error}"))
}

pub fn parse(text: &str) -> Read {
    if text.starts_with('{') { call(text).map(Action::Call) } else { answer(text) }
}

pub fn render(call: &Call) -> String {
    written(call, "arguments")
}

/// The name first, as models are taught: where an object's names are sorted it would be last.
pub fn written(call: &Call, arguments: &str) -> String {
    format!(r#"{{"name":{},"{arguments}":{}}}"#, json!(call.name), json!(call.arguments))
}

pub fn form(tools: &[Callable]) -> Form {
    let whole = format!("{AROUND}{}{AROUND}", json_call(tools, "arguments"));
    Form { begun: r"\s*\{[\s\S]*".to_owned(), whole, never: None, marks: &[] }
}
