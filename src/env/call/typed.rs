//! Turns the arguments of a call, which are text, into what a tool's JSON Schema takes.

use super::Call;
use serde_json::{Map, Value};

/// By the schema of the tool's parameters; text where it says nothing, or where the text is no such value.
pub fn arguments(call: &Call, schema: Option<&Value>) -> Map<String, Value> {
    let of = |name: &str| schema.and_then(|schema| schema.get("properties")?.get(name));
    call.arguments.iter().map(|(name, text)| (name.clone(), typed(text, of(name)))).collect()
}

fn typed(text: &str, schema: Option<&Value>) -> Value {
    match (schema, serde_json::from_str(text)) {
        (Some(schema), Ok(value)) if says_nothing(schema) => value,
        (Some(schema), _) => as_taken(text, |kind| takes(schema, kind)),
        (None, _) => Value::String(text.to_owned()),
    }
}

/// A text as a value of a kind that is taken; itself where text is, or where it is none of them.
pub fn as_taken(text: &str, takes: impl Fn(&'static str) -> bool) -> Value {
    match serde_json::from_str(text) {
        Ok(value) if !takes("string") && takes(kind(&value)) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Whether a `type`, one or several, takes a kind: every integer is a number.
pub fn by_type(kinds: &Value, kind: &str) -> bool {
    let is = |word: &Value| word == kind || (kind == "integer" && word == "number");
    kinds.as_array().map_or_else(|| is(kinds), |kinds| kinds.iter().any(is))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The parts of a schema of which one has to fit.
pub(super) fn branches(schema: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf"].into_iter().filter_map(|name| schema.get(name)?.as_array()).flatten()
}

fn says_nothing(schema: &Value) -> bool {
    schema.get("type").is_none() && schema.get("enum").is_none() && branches(schema).next().is_none()
}

fn takes(schema: &Value, kind: &str) -> bool {
    let by_type = schema.get("type").is_some_and(|kinds| by_type(kinds, kind));
    let one_of = schema.get("enum").and_then(Value::as_array);
    let by_value =
        schema.get("type").is_none() && one_of.is_some_and(|all| all.iter().any(|it| self::kind(it) == kind));
    by_type || by_value || branches(schema).any(|schema| takes(schema, kind))
}

/// The name of a tool with its parameters, as a prompt would list it: `read_file(path, head?)`.
pub fn signature(name: &str, schema: &Value) -> String {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let names = schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    let parameters: Vec<String> =
        names.map(|name| if required.contains(&name.as_str()) { name.clone() } else { format!("{name}?") }).collect();
    format!("{name}({})", parameters.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_becomes_what_the_schema_takes_and_stays_text_otherwise() {
        let schema = json!({ "properties": {
            "path": { "type": "string" }, "lines": { "type": "integer" }, "share": { "type": "number" },
            "all": { "type": ["boolean", "null"] }, "tags": { "anyOf": [{ "type": "array" }, { "type": "null" }] },
            "mode": { "enum": ["fast", 2] }, "level": { "enum": [1, 2] }, "any": {},
        }, "required": ["path"] });
        let cases = [
            ("path", "12", json!("12")),
            ("lines", "12", json!(12)),
            ("lines", "1.5", json!("1.5")),
            ("lines", "many", json!("many")),
            ("share", "1", json!(1)),
            ("share", "0.5", json!(0.5)),
            ("all", "true", json!(true)),
            ("all", "\"true\"", json!("\"true\"")),
            ("tags", "[\"a\"]", json!(["a"])),
            ("tags", "a", json!("a")),
            ("mode", "2", json!("2")),
            ("level", "2", json!(2)),
            ("any", "{\"a\":1}", json!({ "a": 1 })),
            ("stranger", "1", json!("1")),
        ];
        for (name, text, wanted) in cases {
            let call = Call { name: "f".to_owned(), arguments: [(name.to_owned(), text.to_owned())].into() };
            assert_eq!(arguments(&call, Some(&schema))[name], wanted, "{name} = {text}");
            assert_eq!(arguments(&call, None)[name], json!(text));
        }
        assert!(signature("f", &schema).contains("lines?") && signature("f", &schema).contains("path"));
        assert_eq!(signature("f", &Value::Null), "f()");
    }
}
