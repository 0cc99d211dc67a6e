//! Turns two values into the places where they differ.

use serde::Serialize;
use serde_json::Value;

/// One place, and what stands there on either side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// As the author writes it: `sft.lr`, `good, stage 2`.
    pub field: String,
    /// `None`: there is no such thing.
    pub was: Option<Value>,
    pub is: Option<Value>,
}

/// All of them, in the order of the fields.
pub fn differences(field: &str, was: &Value, is: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(field, Some(was), Some(is), &mut found);
    found
}

fn walk(field: &str, was: Option<&Value>, is: Option<&Value>, found: &mut Vec<Difference>) {
    match (was, is) {
        (was, is) if was == is => {}
        (Some(Value::Object(was)), Some(Value::Object(is))) => {
            let names = was.keys().chain(is.keys().filter(|name| !was.contains_key(*name)));
            for name in names {
                let inner = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
                walk(&inner, was.get(name), is.get(name), found);
            }
        }
        (Some(Value::Array(was)), Some(Value::Array(is))) => lists(field, was, is, found),
        _ => found.push(Difference { field: field.to_owned(), was: was.cloned(), is: is.cloned() }),
    }
}

/// What both begin and end with is left out, so that one part more is one difference.
fn lists(field: &str, was: &[Value], is: &[Value], found: &mut Vec<Difference>) {
    let before = was.iter().zip(is).take_while(|(was, is)| was == is).count();
    let (was, is) = (&was[before..], &is[before..]);
    let after = was.iter().rev().zip(is.iter().rev()).take_while(|(was, is)| was == is).count();
    let (was, is) = (&was[..was.len() - after], &is[..is.len() - after]);
    for at in 0..was.len().max(is.len()) {
        walk(&format!("{field}[{}]", before + at + 1), was.get(at), is.get(at), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_named_and_what_is_alike_is_left_out() {
        let was = json!({ "lr": 0.001, "stages": ["a", "b", "c"], "same": { "deep": 1 }, "gone": true });
        let is = json!({ "lr": 0.002, "stages": ["a", "x", "b", "c"], "same": { "deep": 1 }, "new": [1] });
        let told: Vec<String> = differences("it", &was, &is)
            .into_iter()
            .map(|Difference { field, was, is }| {
                let word = |value: Option<Value>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
                format!("{field}: {} -> {}", word(was), word(is))
            })
            .collect();
        assert_eq!(
            told,
            ["it.gone: true -> none", "it.lr: 0.001 -> 0.002", "it.stages[2]: none -> \"x\"", "it.new: none -> [1]"]
        );
        assert_eq!(differences("it", &was, &was), []);
    }
}
