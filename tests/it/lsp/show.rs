//! Turns answers of the protocol into lines that a person can read against the text.

use serde_json::Value;
use std::fmt::Write;

fn place(position: &Value) -> (usize, usize) {
    let number = |key: &str| usize::try_from(position[key].as_u64().unwrap()).unwrap();
    (number("line"), number("character"))
}

/// The line of a range with the range in brackets; columns in UTF-16 as the protocol has them.
fn marked(text: &str, range: &Value) -> String {
    let ((line, start), (last, end)) = (place(&range["start"]), place(&range["end"]));
    let units: Vec<u16> = text.lines().nth(line).unwrap_or("").encode_utf16().collect();
    let part = |from: usize, to: usize| String::from_utf16(&units[from.min(units.len())..to.min(units.len())]).unwrap();
    let end = if last == line { end } else { units.len() };
    let more = if last == line { String::new() } else { format!(" … to line {}", last + 1) };
    let shown = format!("{}⟦{}⟧{}", part(0, start), part(start, end), part(end, units.len()));
    format!("{}: {}{more}", line + 1, shown.trim_start())
}

fn list(answer: &Value) -> &[Value] {
    answer.as_array().map_or(&[], Vec::as_slice)
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

pub fn refusal(error: &Value) -> String {
    format!("refused: {}", text_of(&error["message"]))
}

pub fn hover(answer: &Value) -> String {
    if answer.is_null() { "nothing".to_owned() } else { text_of(&answer["contents"]["value"]).to_owned() }
}

/// Locations or highlights.
pub fn places(text: &str, answer: &Value) -> String {
    let found: Vec<String> =
        list(answer).iter().filter(|place| !place.is_null()).map(|place| marked(text, &place["range"])).collect();
    if found.is_empty() { "nowhere".to_owned() } else { found.join("\n") }
}

fn edits(answer: &Value) -> Vec<Value> {
    let changes = answer["changes"].as_object();
    changes.into_iter().flat_map(|changes| changes.values()).flat_map(|edits| list(edits).to_vec()).collect()
}

/// A workspace edit, or why there is none.
pub fn edit(text: &str, answer: &Value) -> String {
    if answer.get("code").is_some() {
        return refusal(answer);
    }
    let one = |edit: &Value| format!("{} → {:?}", marked(text, &edit["range"]), text_of(&edit["newText"]));
    edits(answer).iter().map(one).collect::<Vec<_>>().join("\n")
}

pub fn completions(answer: &Value) -> String {
    let mut out = String::new();
    for item in list(answer) {
        let (label, written) = (text_of(&item["label"]), text_of(&item["textEdit"]["newText"]));
        let detail = text_of(&item["detail"]);
        let detail = if detail.is_empty() { String::new() } else { format!("  ({detail})") };
        let written = if written == label { String::new() } else { format!("  → {written:?}") };
        writeln!(out, "{label}{detail}{written}").unwrap();
    }
    if out.is_empty() { "nothing".to_owned() } else { out }
}

pub fn selections(text: &str, answer: &Value) -> String {
    let mut out = String::new();
    let mut at = answer;
    while !at.is_null() {
        writeln!(out, "{}", marked(text, &at["range"])).unwrap();
        at = &at["parent"];
    }
    out
}

pub fn actions(text: &str, answer: &Value) -> String {
    let mut out = String::new();
    for action in list(answer) {
        writeln!(out, "{} [{}]", text_of(&action["title"]), text_of(&action["kind"])).unwrap();
        for edit in edits(&action["edit"]) {
            writeln!(out, "    {} → {:?}", marked(text, &edit["range"]), text_of(&edit["newText"])).unwrap();
        }
    }
    out
}

pub fn diagnostics(text: &str, params: &Value) -> String {
    let mut out = String::new();
    for diagnostic in list(&params["diagnostics"]) {
        let severity = if diagnostic["severity"] == 1 { "error" } else { "warning" };
        let tags = if diagnostic["tags"].is_null() { "" } else { " (faded)" };
        writeln!(out, "{} {severity}{tags} {}", text_of(&diagnostic["code"]), marked(text, &diagnostic["range"]))
            .unwrap();
        for line in text_of(&diagnostic["message"]).lines() {
            writeln!(out, "    {line}").unwrap();
        }
        for related in list(&diagnostic["relatedInformation"]) {
            let there = marked(text, &related["location"]["range"]);
            writeln!(out, "    see {there}: {}", text_of(&related["message"])).unwrap();
        }
    }
    out
}

pub fn outline(out: &mut String, answer: &Value, depth: usize) {
    for symbol in list(answer) {
        let (name, detail) = (text_of(&symbol["name"]), text_of(&symbol["detail"]));
        writeln!(out, "{}{name}  {detail}", "  ".repeat(depth)).unwrap();
        outline(out, &symbol["children"], depth + 1);
    }
}

pub fn folds(text: &str, answer: &Value) -> String {
    let mut out = String::new();
    for fold in list(answer) {
        let first = usize::try_from(fold["startLine"].as_u64().unwrap()).unwrap();
        let line = text.lines().nth(first).unwrap().trim();
        writeln!(out, "{}–{} {} {line}", first + 1, fold["endLine"].as_u64().unwrap() + 1, text_of(&fold["kind"]))
            .unwrap();
    }
    out
}

pub fn hints(text: &str, answer: &Value) -> String {
    let mut out = String::new();
    for hint in list(answer) {
        let (line, column) = place(&hint["position"]);
        let written = text.lines().nth(line).unwrap();
        let (before, after) = written.split_at(column);
        writeln!(out, "{}: {}⟦{}⟧{after}", line + 1, before.trim_start(), text_of(&hint["label"])).unwrap();
    }
    out
}

const TYPES: [&str; 13] = [
    "keyword",
    "comment",
    "string",
    "number",
    "operator",
    "namespace",
    "type",
    "function",
    "variable",
    "parameter",
    "property",
    "enum",
    "macro",
];

/// Every word with its colour, a line each; numbers, marks and prose are left out.
pub fn colours(text: &str, data: &Value) -> String {
    let numbers: Vec<usize> = list(data).iter().map(|it| usize::try_from(it.as_u64().unwrap()).unwrap()).collect();
    let lines: Vec<&str> = text.lines().collect();
    let (mut line, mut column, mut shown) = (0, 0, Vec::<(usize, String)>::new());
    for token in numbers.chunks(5) {
        column = if token[0] == 0 { column + token[1] } else { token[1] };
        line += token[0];
        let kind = TYPES[token[3]];
        if ["comment", "string", "number", "operator"].contains(&kind) {
            continue;
        }
        let units: Vec<u16> = lines[line].encode_utf16().collect();
        let word = String::from_utf16(&units[column..column + token[2]]).unwrap();
        let declares = if token[4] & 1 == 1 { "!" } else { "" };
        shown.push((line, format!("{word}:{kind}{declares}")));
    }
    let mut out = String::new();
    for (at, _) in lines.iter().enumerate() {
        let words: Vec<&str> = shown.iter().filter(|(line, _)| *line == at).map(|(_, word)| word.as_str()).collect();
        if !words.is_empty() {
            writeln!(out, "{}: {}", at + 1, words.join(" ")).unwrap();
        }
    }
    out
}
