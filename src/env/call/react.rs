//! `Action: NAME` and `Action Input: {…}`, or `Final Answer: …`, as ReAct writes it (Yao et al. 2023); thoughts may stand before.

use super::form::{AROUND, Callable, any_object, arguments_of, literal, one_of};
use super::{Action, Call, Read, answer, clip, json};
use crate::model::Form;
use serde_json::Value;

const ACTION: &str = "Action:";
const INPUT: &str = "Action Input:";
const ANSWER: &str = "Final Answer:";
const OBSERVATION: &str = "Observation:";

/// What follows a mark at the beginning of a line, and all before that line.
fn after<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(end, _)| end + 1));
    starts
        .into_iter()
        .find_map(|start| Some((&text[..start], text[start..].trim_start_matches(' ').strip_prefix(mark)?)))
}

pub fn parse(text: &str) -> Read {
    if after(text, OBSERVATION).is_some() {
        return Err("it says itself what it observed".to_owned());
    }
    let (action, last) = (after(text, ACTION), after(text, ANSWER));
    let Some((_, call)) = action else { return answer(last.map_or(text, |(_, answer)| answer)) };
    if last.is_some() {
        return Err("an action and a final answer in one turn".to_owned());
    }
    let (name, input) = after(call, INPUT).ok_or_else(|| format!("`{ACTION}` without `{INPUT}`"))?;
    if after(input, ACTION).is_some() {
        return Err("more than one call in a turn".to_owned());
    }
    let arguments = match serde_json::from_str(input.trim()) {
        Ok(Value::Object(arguments)) => json::texts(arguments),
        Ok(_) => return Err(format!("`{}` is no JSON object", clip(input.trim()))),
        Err(error) => return Err(format!("the input is not JSON: {error}")),
    };
    Ok(Action::Call(Call { name: name.trim().to_owned(), arguments }))
}

pub fn render(call: &Call) -> String {
    format!("{ACTION} {}\n{INPUT} {}", call.name, serde_json::json!(call.arguments))
}

pub fn form(tools: &[Callable]) -> Form {
    // No mark.
    const NAME: &str = r"[^\s:][^:\n\r]*";
    // Where a line begins; what stands before the first of all is not looked at.
    const START: &str = r"(?:[\s\S]*\n *|\s*)";
    let line = |mark: &str| format!(r"{START}{mark}[\s\S]*");
    let both = |first: &str, second: &str| format!(r"{START}{first}[\s\S]*\n *{second}[\s\S]*");
    let call = |name: String, input: String| format!(r"{name} ?\n{INPUT} ?{input}");
    let calls = one_of(
        tools,
        |tool| call(literal(&tool.name), arguments_of(&tool.parameters)),
        || call(NAME.to_owned(), any_object()),
    );
    Form {
        begun: format!("{}|{}", line(ACTION), line(OBSERVATION)),
        whole: format!("{START}{ACTION} ?{calls}{AROUND}"),
        never: Some([line(OBSERVATION), both(ACTION, ACTION), both(ANSWER, ACTION)].join("|")),
        marks: &[],
    }
}
