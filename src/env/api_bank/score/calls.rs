//! Turns a reply into what was meant to be called, in whichever notation: API-Bank's or JSON.

use crate::env::api_bank::World;
use crate::env::api_bank::literal::literal;
use crate::env::api_bank::parse::{api_call, written};
use crate::env::api_bank::tools::Raised;
use crate::env::api_bank::value::{Dict, Text, Value};

#[derive(Clone, Debug, PartialEq)]
pub struct Meant {
    pub name: String,
    pub arguments: Vec<(Text, Value)>,
}

/// Every call of a reply: JSON objects a line or in `<tool_call>`, or else the one in API-Bank's notation.
pub fn meant(pred: &str) -> Vec<Meant> {
    let inside = match pred.split_once("<tool_call>") {
        Some((_, rest)) => rest.split_once("</tool_call>").map_or(rest, |(calls, _)| calls),
        None => pred,
    };
    let whole = json(inside.trim());
    let found: Vec<Meant> =
        if whole.is_empty() { inside.lines().flat_map(|line| json(line.trim())).collect() } else { whole };
    if !found.is_empty() {
        return found;
    }
    let text = |(name, value): (&str, &str)| (name.into(), Value::str(value));
    let call = api_call(pred);
    call.map(|it| Meant { name: it.name.to_owned(), arguments: written(it.inside).into_iter().map(text).collect() })
        .into_iter()
        .collect()
}

fn json(text: &str) -> Vec<Meant> {
    let Some(value) = text.starts_with(['{', '[']).then(|| serde_json::from_str::<Value>(text).ok()).flatten() else {
        return Vec::new();
    };
    let one = |value: &Value| {
        let name = value.get("name")?.as_str()?.to_owned();
        let given = value.get("parameters").or_else(|| value.get("arguments"));
        Some(Meant { name, arguments: given.and_then(Value::as_dict).map(Dict::arguments).unwrap_or_default() })
    };
    match value.as_list() {
        Some(items) => items.iter().filter_map(one).collect(),
        None => one(&value).into_iter().collect(),
    }
}

/// Makes a call with its lists read.
///
/// # Errors
/// What the original raises instead of answering.
pub fn made(world: &mut World, name: &str, arguments: Vec<(Text, Value)>) -> Result<Value, Raised> {
    let arguments = match world.suite().specs.get(name) {
        Some(spec) => with_lists(spec.parameters(), arguments),
        None => arguments,
    };
    world.call(name, arguments)
}

/// Arguments with what should be a list read as one.
fn with_lists(parameters: &Dict, arguments: Vec<(Text, Value)>) -> Vec<(Text, Value)> {
    let is_list = |name: &str| {
        let ty = parameters.get(name).and_then(|it| it.get("type")).and_then(Value::as_str);
        ty.is_some_and(|ty| ty.starts_with("list"))
    };
    let read = |(name, value): (Text, Value)| {
        let list = value.as_str().filter(|_| is_list(&name)).and_then(literal);
        (name, list.unwrap_or(value))
    };
    arguments.into_iter().map(read).collect()
}
