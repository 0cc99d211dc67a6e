//! `API-Request: [ApiName(key='value')]`, as API-Bank's prompts write it (Li et al. 2023).

use super::form::{self, AROUND, Callable, literal, one_of, text};
use super::{Action, Call, Read, answer};
use crate::env::api_bank::parse::{api_call, parameters, written};
use crate::model::Form;

const MARK: &str = "API-Request:";
const ANSWER: &str = "AI:";

/// By what was meant: a quoted value may hold quotes, commas and lists.
pub fn parse(text: &str) -> Read {
    read(text, written)
}

/// As the original's regular expressions take it: a value ends at the first quote within.
pub fn parse_as_original(text: &str) -> Action {
    read(text.trim(), parameters).unwrap_or_else(Action::Unreadable)
}

fn read(text: &str, arguments: fn(&str) -> Vec<(&str, &str)>) -> Read {
    match api_call(text) {
        Some(found) => {
            let arguments =
                arguments(found.inside).into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            Ok(Action::Call(Call { name: found.name.to_owned(), arguments: arguments.collect() }))
        }
        None if text.starts_with(MARK) => Err("there is no `[ApiName(key='value')]` on one line".to_owned()),
        None => answer(text.strip_prefix(ANSWER).unwrap_or(text)),
    }
}

/// A call is one line: what ends a line within a value becomes a space.
pub fn render(call: &Call) -> String {
    let argument = |(name, value): (&String, &String)| format!("{name}='{}'", value.replace(['\n', '\r'], " "));
    let arguments: Vec<String> = call.arguments.iter().map(argument).collect();
    format!("{MARK} [{}({})]", call.name, arguments.join(", "))
}

pub fn form(tools: &[Callable]) -> Form {
    const VALUE: &str = r#"[^'"\n\r]+"#;
    const WORD: &str = "[A-Za-z0-9_]+";
    let any = format!("(?:{WORD}='{VALUE}'(?:, {WORD}='{VALUE}')*)?");
    let of = |tool: &Callable| {
        let one = |name: &str, schema: &_| format!("{}='{}'", literal(name), text(schema, VALUE));
        let arguments = form::arguments(&tool.parameters, ", ", one);
        format!(r"{}\({}\)", literal(&tool.name), arguments.as_ref().unwrap_or(&any))
    };
    let calls = one_of(tools, of, || format!(r"{WORD}\({any}\)"));
    Form {
        begun: format!(r"\s*{MARK}[\s\S]*|[\s\S]*\[[^\s\[\](]+\([\s\S]*"),
        whole: format!(r"{AROUND}(?:{MARK} ?)?\[{calls}\]{AROUND}"),
        never: None,
        marks: &[],
    }
}
