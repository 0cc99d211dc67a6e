//! `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, as Hermes and Qwen write it; a text may stand before it.

use super::form::{AROUND, Callable, json_call};
use super::{Action, Call, Read, answer, json};
use crate::model::Form;

pub const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

pub fn parse(text: &str) -> Read {
    let Some((_, rest)) = text.split_once(OPEN) else { return answer(text) };
    let (inside, after) = rest.split_once(CLOSE).ok_or_else(|| format!("`{OPEN}` without `{CLOSE}`"))?;
    if after.contains(OPEN) {
        return Err("more than one call in a turn".to_owned());
    }
    json::call(inside.trim()).map(Action::Call)
}

pub fn render(call: &Call) -> String {
    format!("{OPEN}\n{}\n{CLOSE}", json::render(call))
}

pub fn form(tools: &[Callable]) -> Form {
    Form {
        begun: format!(r"[\s\S]*{OPEN}[\s\S]*"),
        whole: format!(r"[\s\S]*{OPEN}{AROUND}{}{AROUND}{CLOSE}{AROUND}", json_call(tools, "arguments")),
        // The first mark that closes it does, be it in a text.
        never: Some(format!(r"[\s\S]*{OPEN}[\s\S]*(?:{OPEN}|{CLOSE}[\s\S]*{CLOSE})[\s\S]*")),
        marks: &[],
    }
}
