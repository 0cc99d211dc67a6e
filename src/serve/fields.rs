//! Turns a JSON object from outside into typed fields, each refused by its name.
//!
//! # Invariants
//! A field that nobody asked for is refused, never passed over.

use super::refusal::Refusal;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// The fields of an object that are not taken yet. `null` is as no field.
pub struct Fields {
    /// What stands before a field's name: `messages[1].`
    of: String,
    left: Map<String, Value>,
}

impl Fields {
    /// Of the object itself where `of` is empty, else of that field.
    pub fn new(of: &str, value: Value) -> Result<Self, Refusal> {
        match value {
            Value::Object(left) => Ok(Self { of: if of.is_empty() { String::new() } else { format!("{of}.") }, left }),
            other if of.is_empty() => Err(Refusal::bad(format!("the body is {}, not an object", kind(&other)))),
            other => Err(wrong(of, "an object", &other)),
        }
    }

    pub fn name(&self, field: &str) -> String {
        format!("{}{field}", self.of)
    }

    pub fn take(&mut self, field: &str) -> Option<Value> {
        self.left.remove(field).filter(|value| !value.is_null())
    }

    pub fn text(&mut self, field: &str) -> Result<Option<String>, Refusal> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&self.name(field), "a text", &other)),
        }
    }

    pub fn flag(&mut self, field: &str) -> Result<Option<bool>, Refusal> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(&self.name(field), "true or false", &other)),
        }
    }

    pub fn list(&mut self, field: &str) -> Result<Option<Vec<Value>>, Refusal> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(wrong(&self.name(field), "a list", &other)),
        }
    }

    pub fn number(&mut self, field: &str, within: RangeInclusive<f64>) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.take(field) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if within.contains(&number) => Ok(Some(number)),
            _ => {
                Err(wrong(&self.name(field), &format!("a number from {} to {}", within.start(), within.end()), &value))
            }
        }
    }

    pub fn count(&mut self, field: &str, within: RangeInclusive<u32>) -> Result<Option<u32>, Refusal> {
        let Some(value) = self.take(field) else { return Ok(None) };
        match value.as_u64().and_then(|count| u32::try_from(count).ok()) {
            Some(count) if within.contains(&count) => Ok(Some(count)),
            _ => {
                let wanted = format!("a whole number from {} to {}", within.start(), within.end());
                Err(wrong(&self.name(field), &wanted, &value))
            }
        }
    }

    pub fn needed<T>(&self, field: &str, value: Option<T>) -> Result<T, Refusal> {
        let name = self.name(field);
        value.ok_or_else(|| Refusal::field(&name, "missing_required_parameter", format!("`{name}` is missing")))
    }

    /// The fields of the object that is the last field.
    pub fn last(mut self, field: &str) -> Result<Self, Refusal> {
        let (value, name) = (self.take(field), self.name(field));
        let value = self.needed(field, value)?;
        self.end()?;
        Self::new(&name, value)
    }

    /// What is said of itself and changes nothing here.
    pub fn pass_over(&mut self, fields: &[&str]) {
        fields.iter().for_each(|field| drop(self.left.remove(*field)));
    }

    pub fn end(self) -> Result<(), Refusal> {
        match self.left.into_iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((field, _)) => {
                let name = format!("{}{}", self.of, clip(&field));
                Err(Refusal::field(&name, "unknown_parameter", format!("`{name}` is not known here")))
            }
        }
    }
}

pub fn wrong(name: &str, wanted: &str, found: &Value) -> Refusal {
    Refusal::field(name, "invalid_type", format!("`{name}` is {}; {wanted} is wanted", shown(found)))
}

/// What this server cannot do, said before anything is asked.
pub fn unsupported(name: &str, why: &str) -> Refusal {
    Refusal::field(name, "unsupported_value", format!("`{name}`: {why}"))
}

/// A short value itself, of a long one its kind.
fn shown(value: &Value) -> String {
    match value {
        Value::String(_) | Value::Array(_) | Value::Object(_) => kind(value).to_owned(),
        short => short.to_string(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The beginning of somebody else's word.
pub fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}
