//! `call NAME`, then `argument: value`, a line each: short and without quotes, for small models.

use super::{Action, Call, Read, answer, clip};
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
