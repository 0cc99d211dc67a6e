//! `<|python_tag|>{"name": …, "parameters": {…}}`, as Llama 3 writes it. The mark is a token of its own and may be lost with the
//! others when the reply becomes text.

use super::form::{AROUND, Callable, json_call, literal};
use super::{Action, Call, Read, answer, json};
use crate::model::Form;

pub const MARK: &str = "<|python_tag|>";

pub fn parse(text: &str) -> Read {
    match text.strip_prefix(MARK).map(str::trim) {
        Some(call) => json::call(call).map(Action::Call),
        None if text.starts_with('{') => json::call(text).map(Action::Call),
        None => answer(text),
    }
}

pub fn render(call: &Call) -> String {
    format!("{MARK}{}", json::written(call, "parameters"))
}

pub fn form(tools: &[Callable]) -> Form {
    let mark = literal(MARK);
    Form {
        begun: format!(r"\s*(?:{mark}|\{{)[\s\S]*"),
        whole: format!("{AROUND}(?:{mark}{AROUND})?{}{AROUND}", json_call(tools, "parameters")),
        never: None,
        marks: &[MARK],
    }
}
