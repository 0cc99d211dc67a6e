//! Turns the tools that may be called into regular expressions for the ways in which calls are written.
//!
//! A tool's arguments stand in the order of their names, as calls are rendered. What a schema says beyond types, choices and what is
//! required is left to the tool.
//!
//! # Invariants
//! Whatever is of the form of a call is read as one: no number beyond what a double holds, no half of a surrogate pair.
//! A schema comes from outside: however deep or wide, its expression stays small.

use super::typed::branches;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A tool that may be called, with the JSON Schema of its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Callable {
    pub name: String,
    pub parameters: Value,
}

/// White space around a call: more of it would only be more of it.
pub const AROUND: &str = r"\s{0,4}";
/// What ends no line.
pub const LINE: &str = r"[^\n\r]+";
const STRING: &str = r#""(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))*""#;
/// Minus nothing is a fraction to who reads it.
const INTEGER: &str = "(?:0|-?[1-9][0-9]{0,14})";
const WHOLE: &str = "-?(?:0|[1-9][0-9]{0,14})";
const FRACTION: &str = r"(?:\.[0-9]{1,16})?(?:[eE][-+]?[0-9]{1,2})?";
/// Lists and objects within each other, where a schema does not say.
const DEEP: usize = 2;
/// Schemas within each other; parameters of a tool, and choices of one; bytes of an expression. Beyond, anything is taken in the
/// place of what is too large, and of nothing around it.
const DEEPEST: usize = 6;
const WIDEST: usize = 64;
const MOST_CHOICES: usize = 1024;
const LONGEST: usize = 1 << 16;
/// No text.
pub const NONE: &str = r"[^\s\S]";

/// This text and no other.
pub fn literal(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let plain = c.is_ascii_alphanumeric() || c == '_';
        if plain { out.push(c) } else { write!(out, "\\x{{{:x}}}", u32::from(c)).expect("writing to a string") }
    }
    out
}

/// One of several, each by itself; where there is none, `any`.
pub fn one_of<T>(all: &[T], each: impl Fn(&T) -> String, any: impl FnOnce() -> String) -> String {
    if all.is_empty() {
        return any();
    }
    let each: Vec<String> = all.iter().map(each).collect();
    format!("(?:{})", each.join("|"))
}

/// `{"name": …, "arguments": {…}}`, whatever the second is called.
pub fn json_call(tools: &[Callable], arguments: &str) -> String {
    let call = |name: String, object: String| format!(r#"\{{ ?"name" ?: ?{name} ?, ?"{arguments}" ?: ?{object} ?\}}"#);
    let of = |Callable { name, parameters }: &Callable| {
        call(literal(&Value::from(name.as_str()).to_string()), arguments_of(parameters))
    };
    one_of(tools, of, || call(STRING.to_owned(), any_object()))
}

/// The arguments of a tool, as an object.
pub fn arguments_of(schema: &Value) -> String {
    object(schema, 0).unwrap_or_else(any_object)
}

/// A parameter of a tool.
pub struct Parameter<'a> {
    pub name: &'a str,
    pub schema: &'a Value,
    pub required: bool,
}

/// In the order of their names; `None` where the schema names none, or too many to be told in order.
pub fn parameters(schema: &Value) -> Option<Vec<Parameter<'_>>> {
    let required = |name: &str| {
        schema.get("required").and_then(Value::as_array).is_some_and(|all| all.iter().any(|it| it == name))
    };
    let named: BTreeMap<&str, &Value> =
        schema.get("properties")?.as_object()?.iter().map(|(name, schema)| (name.as_str(), schema)).collect();
    let of = |(name, schema)| Parameter { name, schema, required: required(name) };
    (named.len() <= WIDEST).then(|| named.into_iter().map(of).collect())
}

/// Parts in their order, with what stands between two of them; a part that is not required may be left out. `None` where that
/// would be too large.
fn sequence(parts: &[(String, bool)], between: &str) -> Option<String> {
    let rest = |from: usize| {
        parts[from..].iter().fold(String::new(), |mut out, (part, required)| {
            write!(out, "(?:{between}{part}){}", if *required { "" } else { "?" }).expect("writing to a string");
            out
        })
    };
    // The first that is there is one of those up to the first that has to be.
    let last = parts.iter().position(|(_, required)| *required);
    let firsts = 0..last.map_or(parts.len(), |last| last + 1);
    let once: usize = parts.iter().map(|(part, _)| part.len() + between.len() + 6).sum();
    if once * firsts.len() > LONGEST {
        return None;
    }
    let mut each: Vec<String> = firsts.map(|at| format!("{}{}", parts[at].0, rest(at + 1))).collect();
    if last.is_none() {
        each.push(String::new());
    }
    Some(format!("(?:{})", each.join("|")))
}

/// The arguments that a schema names, each written as `one` writes its name and its value. `None` where it names none, or too many.
pub fn arguments(schema: &Value, between: &str, one: impl Fn(&str, &Value) -> String) -> Option<String> {
    let each: Vec<(String, bool)> =
        parameters(schema)?.into_iter().map(|it| (one(it.name, it.schema), it.required)).collect();
    sequence(&each, between)
}

fn object(schema: &Value, depth: usize) -> Option<String> {
    let field =
        |name: &str, of: &Value| format!("{} ?: ?{}", literal(&Value::from(name).to_string()), value(of, depth + 1));
    arguments(schema, " ?, ?", field).map(|fields| format!(r"\{{ ?{fields} ?\}}"))
}

/// A value as JSON writes it.
pub fn value(schema: &Value, depth: usize) -> String {
    let found = if depth > DEEPEST { any(0) } else { value_of(schema, depth) };
    if found.len() > LONGEST { any(DEEP) } else { found }
}

fn value_of(schema: &Value, depth: usize) -> String {
    if let Some(choices) = choices(schema) {
        return one_of(&choices, |choice| literal(&choice.to_string()), String::new);
    }
    let kinds = kinds(schema);
    let of_branches: Vec<&Value> = branches(schema).take(WIDEST).collect();
    if kinds.is_empty() && !of_branches.is_empty() {
        return one_of(&of_branches, |schema| value(schema, depth + 1), String::new);
    }
    let of_kind = |kind: &str| match kind {
        "string" => STRING.to_owned(),
        "array" => list(&schema.get("items").map_or_else(|| any(1), |items| value(items, depth + 1))),
        "object" => object(schema, depth).unwrap_or_else(any_object),
        other => plain(other).unwrap_or_else(|| any(DEEP)),
    };
    one_of(&kinds, |kind| of_kind(kind), || any(DEEP))
}

/// A value as text, as lines hold them: `free` where it may be any, or is no text that `free` takes.
pub fn text(schema: &Value, free: &str) -> String {
    let found = text_of(schema, free, 0);
    if found.len() > LONGEST { free.to_owned() } else { found }
}

fn text_of(schema: &Value, free: &str, depth: usize) -> String {
    if let Some(choices) = choices(schema) {
        let words: Vec<String> =
            choices.iter().map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned)).collect();
        // What is read has no blanks around it, and a list or a quote may be something else.
        let is_word = |word: &String| {
            word.trim() == word && !word.is_empty() && !word.contains(['\n', '\r', '\'', '"', '[', '{'])
        };
        return if words.iter().all(is_word) {
            one_of(&words, |word| literal(word), String::new)
        } else {
            free.to_owned()
        };
    }
    let (kinds, of_branches): (_, Vec<&Value>) = (kinds(schema), branches(schema).take(WIDEST).collect());
    if kinds.is_empty() && !of_branches.is_empty() && depth < DEEPEST {
        return one_of(&of_branches, |schema| text_of(schema, free, depth + 1), String::new);
    }
    let of_kind = |kind: &str| match kind {
        "array" | "object" if free == LINE => value(schema, 0),
        other => plain(other).unwrap_or_else(|| free.to_owned()),
    };
    one_of(&kinds, |kind| of_kind(kind), || free.to_owned())
}

/// What a schema lists, unless it is too long.
fn choices(schema: &Value) -> Option<Vec<&Value>> {
    let all: Vec<&Value> = match (schema.get("const"), schema.get("enum")) {
        (Some(one), _) => vec![one],
        (None, Some(Value::Array(all))) => all.iter().collect(),
        _ => return None,
    };
    (1..=MOST_CHOICES).contains(&all.len()).then_some(all)
}

fn kinds(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).take(8).collect(),
        _ => Vec::new(),
    }
}

/// What is written alike in JSON and as text.
fn plain(kind: &str) -> Option<String> {
    Some(match kind {
        "null" => "null".to_owned(),
        "boolean" => "(?:true|false)".to_owned(),
        "integer" => INTEGER.to_owned(),
        "number" => number(),
        _ => return None,
    })
}

fn number() -> String {
    format!("{WHOLE}{FRACTION}")
}

fn list(item: &str) -> String {
    format!(r"\[ ?(?:{item}(?: ?, ?{item})*)? ?\]")
}

/// Any arguments there are.
pub fn any_object() -> String {
    object_of_any(DEEP)
}

fn object_of_any(depth: usize) -> String {
    let field = format!("{STRING} ?: ?{}", any(depth));
    format!(r"\{{ ?(?:{field}(?: ?, ?{field})*)? ?\}}")
}

fn any(depth: usize) -> String {
    let scalar = format!("null|true|false|{}|{STRING}", number());
    if depth == 0 {
        return format!("(?:{scalar})");
    }
    format!("(?:{scalar}|{}|{})", list(&any(depth - 1)), object_of_any(depth - 1))
}
