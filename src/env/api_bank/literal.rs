//! Reads a value that a model wrote as text: a list or dictionary as Python or as JSON has it.

use super::text::is_space;
use super::value::{Dict, Key, Value};
use std::sync::Arc;

/// Brackets within brackets.
const DEEPEST: usize = 32;

/// `None` where the text is no literal from end to end.
pub fn literal(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text, depth: 0 };
    let value = reader.value()?;
    reader.blank().is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn blank(&mut self) -> &'a str {
        self.rest = self.rest.trim_start_matches(is_space);
        self.rest
    }

    fn take(&mut self, c: char) -> bool {
        match self.blank().strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let value = match self.blank().chars().next()? {
            '[' => Value::list(self.items('[', ']')?),
            '(' => Value::Tuple(Arc::new(self.items('(', ')')?)),
            '{' => self.dict()?,
            '\'' | '"' => Value::str(self.text()?),
            _ => self.word()?,
        };
        self.depth -= 1;
        Some(value)
    }

    fn items(&mut self, open: char, close: char) -> Option<Vec<Value>> {
        self.take(open);
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.value()?);
            if !self.take(',') && !self.blank().starts_with(close) {
                return None;
            }
        }
        Some(items)
    }

    fn dict(&mut self) -> Option<Value> {
        self.take('{');
        let mut rows = Vec::new();
        while !self.take('}') {
            let key = match self.value()? {
                Value::Str(text) => Key::Text(text),
                Value::Int(it) => Key::Int(it),
                _ => return None,
            };
            if !self.take(':') {
                return None;
            }
            rows.push((key, self.value()?));
            if !self.take(',') && !self.blank().starts_with('}') {
                return None;
            }
        }
        Some(Value::Dict(Arc::new(Dict::from_rows(rows))))
    }

    fn text(&mut self) -> Option<String> {
        let mut chars = self.rest.char_indices();
        let (_, quote) = chars.next()?;
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = &self.rest[at + c.len_utf8()..];
                    return Some(text);
                }
                '\\' => text.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                }),
                c => text.push(c),
            }
        }
        None
    }

    fn word(&mut self) -> Option<Value> {
        let end =
            self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c))).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "None" | "null" => Some(Value::None),
            "True" | "true" => Some(Value::Bool(true)),
            "False" | "false" => Some(Value::Bool(false)),
            _ if !word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => None,
            _ => word.parse().map(Value::Int).or_else(|_| word.parse().map(Value::Float)).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_python_and_as_json_write_them() {
        let both =
            ["[{'name': 'bp', 'value': '1/2'}, None, -3, 1.5]", "[{\"name\":\"bp\",\"value\":\"1/2\"},null,-3,1.5]"];
        for text in both {
            assert_eq!(literal(text).unwrap().repr(), both[0]);
        }
        assert_eq!(literal("['it\\'s',]").unwrap().repr(), "[\"it's\"]");
        assert_eq!(literal(&"[".repeat(100_000)), None);
        assert!(literal("[1, 2] x").is_none() && literal("[a]").is_none() && literal("").is_none());
    }
}
