//! `call NAME`, then `argument: value`, a line each: short and without quotes, for small models.

use super::form::{AROUND, Callable, LINE, arguments, literal, one_of, text};
use super::{Action, Call, Read, answer, clip};
use crate::model::Form;
use std::collections::BTreeMap;
use std::fmt::Write;

pub fn parse(text: &str) -> Read {
    let mut lines = text.lines();
    let Some(name) = lines.next().and_then(|line| line.strip_prefix("call ")) else { return answer(text) };
    let mut arguments = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("`{}` is not `argument: value`", clip(line)))?;
        if arguments.insert(name.trim().to_owned(), value.trim().to_owned()).is_some() {
            return Err(format!("argument `{}` is given twice", clip(name.trim())));
        }
    }
    Ok(Action::Call(Call { name: name.trim().to_owned(), arguments }))
}

pub fn render(call: &Call) -> String {
    let mut text = format!("call {}", call.name);
    for (name, value) in &call.arguments {
        write!(text, "\n{name}: {value}").expect("writing to a string");
    }
    text
}

/// Where no tool is known, an argument may still be given twice: an expression cannot tell. One whose arguments are not known takes one.
pub fn form(tools: &[Callable]) -> Form {
    let one = format!("\n[^:\n\r]+: {LINE}");
    let any = format!("(?:{one})*");
    let of = |tool: &Callable| {
        let line = |name: &str, schema: &_| format!("\n{}: {}", literal(name), text(schema, LINE));
        literal(&tool.name) + &arguments(&tool.parameters, "", line).unwrap_or_else(|| format!("(?:{one})?"))
    };
    let calls = one_of(tools, of, || format!("{LINE}{any}"));
    Form {
        begun: r"\s*call [\s\S]*".to_owned(),
        whole: format!("{AROUND}call {calls}{AROUND}"),
        never: None,
        marks: &[],
    }
}
