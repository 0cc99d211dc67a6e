//! Turns the tools of a request into what a model is shown, and its calls into what the protocol calls them.
//!
//! # Invariants
//! Tools and their parameters stand in the order in which they came, what a call gives in that of the names. A call is what `env::call` reads, and nothing else.

use super::fields::{Fields, unsupported, wrong};
use super::refusal::Refusal;
use crate::env::call::{self, Call, typed};
use crate::model::ToolFormat;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt;

const MOST_TOOLS: usize = 128;
const LONGEST_NAME: usize = 64;

/// At least one.
#[derive(Debug)]
pub struct Tools {
    all: Vec<Tool>,
    /// As they came, for chat templates.
    pub json: String,
}

#[derive(Debug)]
struct Tool {
    name: String,
    description: Option<String>,
    /// JSON Schema.
    parameters: Value,
    /// The names of its arguments.
    arguments: Vec<String>,
}

impl Tools {
    /// `body` is the request as it came: only there the order of the fields is left.
    pub fn read(body: &[u8], tools: Vec<Value>) -> Result<Option<Self>, Refusal> {
        if tools.is_empty() {
            return Ok(None);
        }
        if tools.len() > MOST_TOOLS {
            return Err(Refusal::field("tools", "array_above_max_length", format!("more than {MOST_TOOLS} tools")));
        }
        let Ordered { tools: raw } =
            serde_json::from_slice(body).map_err(|problem| Refusal::bad(problem.to_string()))?;
        let mut names = BTreeSet::new();
        let mut all = Vec::new();
        for (at, (tool, raw)) in tools.into_iter().zip(&raw).enumerate() {
            let of = format!("tools[{at}]");
            let tool = Tool::read(&of, tool, raw)?;
            if !names.insert(tool.name.clone()) {
                let message = format!("two tools are called `{}`", tool.name);
                return Err(Refusal::field(format!("{of}.function.name"), "invalid_value", message));
            }
            all.push(tool);
        }
        let raw: Vec<&str> = raw.iter().map(|raw| raw.get()).collect();
        Ok(Some(Self { all, json: format!("[{}]", raw.join(",")) }))
    }

    /// For a model whose chat template shows no tools: as agx's own environments show them to one that calls in lines, else
    /// what each takes, and how a call is written.
    pub fn shown(&self, format: ToolFormat) -> String {
        let lines: Vec<String> = self.all.iter().map(|tool| tool.shown(format)).collect();
        let lines = lines.join("\n");
        if format == ToolFormat::Lines {
            return lines;
        }
        let arguments = [("ARGUMENT".to_owned(), "VALUE".to_owned())].into();
        let example = call::render(&Call { name: "TOOL".to_owned(), arguments }, format);
        format!(
            "You may call one of these tools, whose parameters are JSON Schema:\n{lines}\n\nTo call one, write:\n{example}"
        )
    }

    /// A call's arguments as a JSON object: what is no text by the tool's schema is written as what it is.
    pub fn arguments(&self, call: &Call) -> String {
        let parameters = self.all.iter().find(|tool| tool.name == call.name).map(|tool| &tool.parameters);
        let argument = |(name, text): (&String, &String)| {
            let kinds = parameters.map_or(&Value::Null, |it| &it["properties"][name]["type"]);
            (name.clone(), typed::as_taken(text, |wanted| typed::by_type(kinds, wanted)))
        };
        Value::Object(call.arguments.iter().map(argument).collect::<Map<String, Value>>()).to_string()
    }
}

impl Tool {
    fn read(of: &str, tool: Value, raw: &RawValue) -> Result<Self, Refusal> {
        let mut fields = Fields::new(of, tool)?;
        let kind = fields.text("type")?;
        if fields.needed("type", kind)? != "function" {
            return Err(unsupported(&fields.name("type"), "only functions can be called"));
        }
        let mut fields = fields.last("function")?;
        let name = fields.text("name")?;
        let name = fields.needed("name", name)?;
        if !is_name(&name) {
            let message = format!("a tool's name is 1 to {LONGEST_NAME} letters, digits, `_` and `-`");
            return Err(Refusal::field(fields.name("name"), "invalid_value", message));
        }
        if fields.flag("strict")? == Some(true) {
            return Err(unsupported(&fields.name("strict"), "nothing holds the model to a schema; leave it out"));
        }
        let description = fields.text("description")?;
        let parameters = fields.take("parameters").unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
        if !parameters.is_object() {
            return Err(wrong(&fields.name("parameters"), "a JSON Schema", &parameters));
        }
        fields.end()?;
        let named: Result<Named, _> = serde_json::from_str(raw.get());
        let arguments = named.map_or_else(|_| Vec::new(), |named| named.function.parameters.properties.0);
        Ok(Self { name, description, parameters, arguments })
    }

    fn shown(&self, format: ToolFormat) -> String {
        let Self { name, description, parameters, arguments } = self;
        if format == ToolFormat::Lines {
            return format!("{name}({})", arguments.join(", "));
        }
        let description =
            description.as_ref().map_or_else(String::new, |it| format!("\"description\": {}, ", json!(it)));
        format!("{{\"name\": \"{name}\", {description}\"parameters\": {parameters}}}")
    }
}

pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(plain)
}

#[derive(serde::Deserialize)]
struct Ordered<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
}

#[derive(serde::Deserialize)]
struct Named {
    function: NamedFunction,
}

#[derive(serde::Deserialize)]
struct NamedFunction {
    #[serde(default)]
    parameters: NamedParameters,
}

#[derive(Default, serde::Deserialize)]
struct NamedParameters {
    #[serde(default)]
    properties: Names,
}

/// The names of an object's fields, in their order.
#[derive(Default)]
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(body: &str) -> Result<Option<Tools>, Refusal> {
        let value: Value = serde_json::from_str(body).unwrap();
        Tools::read(body.as_bytes(), value["tools"].as_array().unwrap().clone())
    }

    const ROOM: &str = r#"{"tools": [{"type": "function", "function": {"name": "find_room", "description": "Finds one.",
        "parameters": {"type": "object", "properties": {"time": {"type": "string"}, "people": {"type": "integer"}, "day": {}}}}},
        {"type": "function", "function": {"name": "now"}}]}"#;

    #[test]
    fn tools_are_shown_in_their_order_and_as_the_model_calls_them() {
        let tools = tools(ROOM).unwrap().unwrap();
        assert_eq!(tools.shown(ToolFormat::Lines), "find_room(time, people, day)\nnow()");
        insta::assert_snapshot!(tools.shown(ToolFormat::Hermes));
    }

    #[test]
    fn arguments_are_what_the_schema_says() {
        let tools = tools(ROOM).unwrap().unwrap();
        let call = |name: &str, people: &str, time: &str| {
            let arguments = [("people", people), ("time", time), ("x", "1")];
            let arguments = arguments.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            tools.arguments(&Call { name: name.to_owned(), arguments })
        };
        assert_eq!(call("find_room", "4", "1400"), r#"{"people":4,"time":"1400","x":"1"}"#);
        assert_eq!(call("find_room", "four", ""), r#"{"people":"four","time":"","x":"1"}"#);
        assert_eq!(call("find_room", "4.5", "null"), r#"{"people":"4.5","time":"null","x":"1"}"#);
        assert_eq!(call("another", "4", "5"), r#"{"people":"4","time":"5","x":"1"}"#);
    }

    #[test]
    fn what_is_no_tool_is_refused_by_its_place() {
        for (tool, param) in [
            ("1", "tools[0]"),
            ("{}", "tools[0].type"),
            (r#"{"type": "custom", "custom": {"name": "x"}}"#, "tools[0].type"),
            (r#"{"type": "function"}"#, "tools[0].function"),
            (r#"{"type": "function", "function": {"name": ""}}"#, "tools[0].function.name"),
            (r#"{"type": "function", "function": {"name": "a b"}}"#, "tools[0].function.name"),
            (r#"{"type": "function", "function": {"name": "a", "parameters": []}}"#, "tools[0].function.parameters"),
            (r#"{"type": "function", "function": {"name": "a", "strict": true}}"#, "tools[0].function.strict"),
            (r#"{"type": "function", "function": {"name": "a", "x": 1}}"#, "tools[0].function.x"),
        ] {
            let refusal = tools(&format!(r#"{{"tools": [{tool}]}}"#)).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some(param), "{tool}");
        }
        let twice = r#"{"type": "function", "function": {"name": "a"}}"#;
        assert!(tools(&format!(r#"{{"tools": [{twice}, {twice}]}}"#)).is_err());
        let many = vec![twice; MOST_TOOLS + 1].join(",");
        assert_eq!(tools(&format!(r#"{{"tools": [{many}]}}"#)).unwrap_err().param.as_deref(), Some("tools"));
    }
}
