//! Turns values into text as Python's `str` and `repr` do.
//!
//! # Invariants
//! No value writes without end, however often it holds itself in parts, and none is followed deeper than [`DEEPEST`].

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Output, State, Value};
use std::fmt::Write;

/// Bytes that one value may print.
const MOST: usize = 1 << 24;
/// How far containers may stand in each other; JSON that is read goes no deeper.
const DEEPEST: usize = 200;

/// A text that grows to a bound.
#[derive(Default)]
pub struct Text(String);

impl Text {
    pub fn put(&mut self, part: &str) -> Result<(), Error> {
        if part.len() > MOST - self.0.len() {
            return Err(Error::new(ErrorKind::OutOfFuel, "a value prints more than a template may"));
        }
        self.0.push_str(part);
        Ok(())
    }

    pub fn finish(self) -> String {
        self.0
    }
}

pub fn deeper(depth: usize) -> Result<usize, Error> {
    if depth < DEEPEST { Ok(depth + 1) } else { Err(wrong("values stand too deep in each other")) }
}

pub fn wrong(problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem.into())
}

/// What `{{ value }}` prints.
pub fn print(out: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => out.write_str(text)?,
        None => out.write_str(&text(value)?)?,
    }
    Ok(())
}

/// `str(value)`.
///
/// # Errors
/// A value that is too deep or too long.
pub fn text(value: &Value) -> Result<String, Error> {
    if value.is_undefined() {
        return Ok(String::new());
    }
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    quoted(value)
}

/// `repr(value)`.
///
/// # Errors
/// A value that is too deep or too long.
pub fn quoted(value: &Value) -> Result<String, Error> {
    let mut out = Text::default();
    repr(&mut out, value, 0)?;
    Ok(out.finish())
}

fn repr(out: &mut Text, value: &Value, depth: usize) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined => out.put("Undefined"),
        ValueKind::String => out.put(&string_repr(value.as_str().unwrap_or_default())),
        ValueKind::Number => out.put(&number(value)),
        ValueKind::Map => {
            let depth = deeper(depth)?;
            out.put("{")?;
            for (index, key) in value.try_iter()?.enumerate() {
                out.put(if index > 0 { ", " } else { "" })?;
                repr(out, &key, depth)?;
                out.put(": ")?;
                repr(out, &value.get_item(&key)?, depth)?;
            }
            out.put("}")
        }
        ValueKind::Seq => {
            let depth = deeper(depth)?;
            let (open, close) = if value.is_tuple() { ("(", ")") } else { ("[", "]") };
            out.put(open)?;
            let mut length = 0;
            for item in value.try_iter()? {
                out.put(if length > 0 { ", " } else { "" })?;
                repr(out, &item, depth)?;
                length += 1;
            }
            out.put(if value.is_tuple() && length == 1 { "," } else { "" })?;
            out.put(close)
        }
        _ => out.put(&value.to_string()),
    }
}

/// A number as Python's `repr` has it.
pub fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => float_repr(float),
        _ => value.to_string(),
    }
}

/// The shortest digits that read back as the same number; with an exponent below 1e-4 and from 1e16 on.
fn float_repr(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .to_owned();
    }
    let short = format!("{value:e}");
    let (digits, exponent) = short.split_once('e').expect("`{:e}` writes an exponent");
    match exponent.parse::<i32>().expect("it is a whole number") {
        exponent if (-4..16).contains(&exponent) => {
            let plain = value.to_string();
            if plain.contains('.') { plain } else { format!("{plain}.0") }
        }
        exponent => format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

/// A string as Python's `repr` has it.
fn string_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        let code = c as u32;
        let written = match c {
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            c if c == quote => write!(out, "\\{c}"),
            c if is_printable(c) => write!(out, "{c}"),
            _ if code < 0x100 => write!(out, "\\x{code:02x}"),
            _ if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
        written.expect("a string takes what is written");
    }
    out.push(quote);
    out
}

/// Python's `isprintable`, by the same categories as Rust's `escape_debug`, which escapes a combining character only where it
/// stands first.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || format!("a{c}").escape_debug().nth(1) != Some('\\')
}

/// Python's `isspace`: Unicode's white space and the four separators of ASCII.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Python's `splitlines`.
pub fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let ends = ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends) {
        let end = if rest[at..].starts_with("\r\n") { 2 } else { rest[at..].chars().next().map_or(0, char::len_utf8) };
        found.push(&rest[..if keep_ends { at + end } else { at }]);
        rest = &rest[at + end..];
    }
    if !rest.is_empty() {
        found.push(rest);
    }
    found
}
