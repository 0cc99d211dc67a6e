//! `[TOOL_CALLS] [{"name": …, "arguments": {…}}]`, as Mistral writes it. The mark is a token of its own and may be lost with the
//! others when the reply becomes text.

use super::form::{AROUND, Callable, json_call, literal};
use super::json::{self, Wire};
use super::{Action, Call, Read, answer};
use crate::model::Form;

pub const MARK: &str = "[TOOL_CALLS]";

pub fn parse(text: &str) -> Read {
    let calls = match text.strip_prefix(MARK).map(str::trim) {
        Some(calls) => calls,
        None if text.starts_with("[{") => text,
        None => return answer(text),
    };
    let calls: Vec<Wire> = serde_json::from_str(calls).map_err(|error| format!("not a list of JSON calls: {error}"))?;
    match <[Wire; 1]>::try_from(calls) {
        Ok([call]) => Ok(Action::Call(call.into())),
        Err(calls) if calls.is_empty() => Err("no call in the list".to_owned()),
        Err(_) => Err("more than one call in a turn".to_owned()),
    }
}

pub fn render(call: &Call) -> String {
    format!("{MARK} [{}]", json::render(call))
}

pub fn form(tools: &[Callable]) -> Form {
    let mark = literal(MARK);
    Form {
        begun: format!(r"\s*(?:{mark}|\[\{{)[\s\S]*"),
        whole: format!(r"{AROUND}(?:{mark}{AROUND})?\[{}\]{AROUND}", json_call(tools, "arguments")),
        never: None,
        marks: &[MARK],
    }
}
