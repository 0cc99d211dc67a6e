//! Turns JSON lines into what is known of their rows: how many there are, and which columns of which type.
//!
//! # Invariants
//! A file is read once, a line at a time, as far as the world gives its bytes; what is not given is not known, and no error.

use super::Checker;
use super::error::CheckError;
use crate::base::Span;
use crate::env::Field;
use crate::env::schema::fits;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// What a column holds in every row that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Text,
    Number,
    Bool,
    Other,
}

/// What is known of a file's rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    pub count: u64,
    /// Those that every row has, with one type.
    pub columns: BTreeMap<String, Holds>,
}

/// What is wrong with a row, if anything.
type Fits<'f> = &'f dyn Fn(&Map<String, Value>) -> Result<(), String>;

/// The first line that is wrong, counted from 1.
#[derive(Debug, PartialEq)]
struct BadLine {
    line: u64,
    why: String,
}

impl Checker<'_> {
    /// The rows of a data set: each a conversation.
    pub(super) fn conversations(&mut self, path: &Path, span: Span) -> Option<Rows> {
        self.lines(path, span, &|row| match row.get("messages") {
            Some(Value::Array(messages)) if !messages.is_empty() => Ok(()),
            Some(_) => Err("`messages` is no list of messages".to_owned()),
            None => Err("it has no `messages`".to_owned()),
        })
    }

    /// The tasks of an environment that has only tools.
    pub(super) fn tasks(&mut self, path: &Path, span: Span, task: &[Field]) -> Option<Rows> {
        self.lines(path, span, &|row| fits(row, task, ""))
    }

    /// `None`: a diagnostic has told which line is wrong.
    fn lines(&mut self, path: &Path, span: Span, fits: Fits) -> Option<Rows> {
        let Ok(bytes) = (self.world.read)(path) else { return Some(Rows::default()) };
        match read(&bytes, fits) {
            Ok(rows) => Some(rows),
            Err(BadLine { line, why }) => {
                let path = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.error(CheckError::BadLine { span, path, line, why });
                None
            }
        }
    }
}

fn read(bytes: &[u8], fits: Fits) -> Result<Rows, BadLine> {
    let mut rows = Rows::default();
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let bad = |why: String| BadLine { line: at as u64 + 1, why };
        let row = match serde_json::from_slice(line) {
            Ok(Value::Object(row)) => row,
            Ok(_) => return Err(bad("it is no object".to_owned())),
            Err(_) => return Err(bad("it is no JSON".to_owned())),
        };
        fits(&row).map_err(bad)?;
        if rows.count == 0 {
            rows.columns = row.iter().map(|(name, value)| (name.clone(), holds(value))).collect();
        } else {
            rows.columns.retain(|name, known| row.get(name).is_some_and(|value| holds(value) == *known));
        }
        rows.count += 1;
    }
    if rows.count == 0 { Err(BadLine { line: 1, why: "the file has no row".to_owned() }) } else { Ok(rows) }
}

fn holds(value: &Value) -> Holds {
    match value {
        Value::String(_) => Holds::Text,
        Value::Number(_) => Holds::Number,
        Value::Bool(_) => Holds::Bool,
        Value::Null | Value::Array(_) | Value::Object(_) => Holds::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(text: &str) -> Result<Rows, BadLine> {
        read(text.as_bytes(), &|_| Ok(()))
    }

    #[test]
    fn columns_are_what_every_row_has() {
        let rows = any("{\"a\": 1, \"b\": \"x\", \"c\": true}\n\n{\"a\": 2.5, \"b\": 3, \"d\": 1}\n").expect("sound");
        assert_eq!(rows.count, 2);
        assert_eq!(rows.columns, BTreeMap::from([("a".to_owned(), Holds::Number)]));
    }

    #[test]
    fn the_first_bad_line_is_told() {
        let bad = |line, why: &str| Err(BadLine { line, why: why.to_owned() });
        assert_eq!(any("{}\n[1]\n{\n"), bad(2, "it is no object"));
        assert_eq!(any("{}\n\n\u{1}{\n"), bad(3, "it is no JSON"));
        assert_eq!(any("\n\n"), bad(1, "the file has no row"));
        assert_eq!(any(&"[".repeat(100_000)), bad(1, "it is no JSON"));
    }
}
