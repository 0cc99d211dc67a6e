//! Replies that are held to a form: whatever is drawn under it is read without fault, and what models write is of it.

use agx::base::Seed;
use agx::env::call::{self, Action, Call, form::Callable};
use agx::model::local::LocalModel;
use agx::model::local::constrain::{Constrained, Constraints};
use agx::model::local::tokenizer::{END, Tokenizer, whole_words, whole_words_config};
use agx::model::{
    Device, Dtype, Form, Fresh, GenReply, GenRequest, LanguageModel, Message, ModelSpec, Role, Sampling, Source,
    StopReason, TokenId, ToolCalls, ToolFormat,
};
use serde_json::json;
use std::sync::Arc;

const WORDS: [&str; 12] = ["Ada", "Ben", "book", "call", "find", "mail", "ok", "room", "the", "to", "14:00", "."];

fn words() -> Vec<String> {
    WORDS.iter().map(|word| (*word).to_owned()).collect()
}

/// How far a walk goes.
const LONGEST: usize = 3000;

fn tools() -> Vec<Callable> {
    let text = json!({ "type": "string" });
    let find = json!({ "properties": { "day": text, "who": text }, "required": ["day", "who"] });
    let count = json!({ "type": "object", "required": ["n"], "properties": {
        "n": { "type": "integer" }, "share": { "type": ["number", "null"] }, "all": { "type": "boolean" },
        "mode": { "enum": ["fast", "it's", 2] }, "tags": { "type": "array", "items": text },
        "in": { "type": "object", "properties": { "deep": { "anyOf": [{ "type": "null" }, { "const": "x" }] } } },
    } });
    let callable = |name: &str, parameters| Callable { name: name.to_owned(), parameters };
    vec![
        callable("find_room", find),
        callable("count", count),
        callable("any-thing.v2", json!({})),
        callable("now", json!({ "properties": {} })),
    ]
}

/// With what a reply begins that is a call.
fn opening(format: ToolFormat) -> &'static str {
    match format {
        ToolFormat::Lines => "call ",
        ToolFormat::Json | ToolFormat::Llama3 => "{",
        ToolFormat::Hermes => "ok <tool_call>",
        ToolFormat::Mistral => "[TOOL_CALLS]",
        ToolFormat::ApiBank => "API-Request: [",
        ToolFormat::React => "ok\nAction:",
    }
}

struct Walker {
    tokenizer: Arc<Tokenizer>,
    constraints: Constraints,
    end: TokenId,
}

impl Walker {
    fn new() -> Self {
        let tokenizer = Arc::new(Tokenizer::parse("tiny", whole_words(&words()).as_bytes()).unwrap());
        let end = tokenizer.id(END).unwrap();
        Self { constraints: Constraints::new(tokenizer.clone(), [end].into()), tokenizer, end }
    }

    fn allowed(&self, reply: &Constrained) -> Vec<TokenId> {
        let mut logits = vec![0.0; self.tokenizer.vocab()];
        self.constraints.allowed(reply).unwrap().bar(&mut logits);
        (0..).zip(logits).filter(|(_, logit)| *logit == 0.0).map(|(id, _)| id).collect()
    }

    /// Whether a text may be written, to its end.
    fn takes(&self, form: &Arc<Form>, text: &str) -> bool {
        let mut reply = self.constraints.begin(form).unwrap();
        for token in self.tokenizer.encode(text).unwrap() {
            if !self.allowed(&reply).contains(&token) {
                return false;
            }
            self.constraints.take(&mut reply, token);
        }
        self.allowed(&reply).contains(&self.end)
    }

    /// A reply of any tokens that are allowed, behind an opening; `None` where it does not end.
    fn walk(&self, form: &Arc<Form>, opening: &str, seed: Seed) -> Option<String> {
        let mut reply = self.constraints.begin(form).unwrap();
        let mut tokens = self.tokenizer.encode(opening).unwrap();
        tokens.iter().for_each(|token| self.constraints.take(&mut reply, *token));
        while tokens.len() < LONGEST {
            let allowed = self.allowed(&reply);
            let draw = seed.uniform(tokens.len() as u64);
            if allowed.contains(&self.end) && draw < 0.2 {
                return Some(self.tokenizer.decode(&tokens).unwrap());
            }
            let allowed: Vec<TokenId> = allowed.into_iter().filter(|token| *token != self.end).collect();
            let Some(token) = allowed.get((draw * allowed.len() as f64) as usize) else {
                return Some(self.tokenizer.decode(&tokens).unwrap());
            };
            tokens.push(*token);
            self.constraints.take(&mut reply, *token);
        }
        None
    }
}

#[test]
fn whatever_is_drawn_under_a_form_is_read_without_fault() {
    let walker = Walker::new();
    for format in ToolFormat::ALL {
        for tools in [tools(), Vec::new()] {
            let form = Arc::new(call::form(&tools, format));
            let (mut calls, mut answers, mut named) = (0, 0, std::collections::BTreeSet::new());
            for seed in 0..60 {
                let opening = if seed % 3 == 0 { "" } else { opening(format) };
                let Some(text) = walker.walk(&form, opening, Seed(7).derive(seed)) else { continue };
                match call::parse(&text, format) {
                    Action::Call(Call { name, .. }) => {
                        calls += 1;
                        assert!(tools.is_empty() || tools.iter().any(|tool| tool.name == name), "{text}");
                        named.insert(name);
                    }
                    Action::Answer(_) => answers += 1,
                    // Where no tool is known, lines cannot be kept from giving an argument twice.
                    Action::Unreadable(why) => {
                        let twice = format == ToolFormat::Lines && tools.is_empty() && why.contains("twice");
                        assert!(twice, "{}: {why}: {text}", format.as_str());
                    }
                }
            }
            assert!(calls >= 20 && answers >= 10, "{}: {calls} calls, {answers} answers", format.as_str());
            // API-Bank's calls have words for names.
            let writable = if format == ToolFormat::ApiBank { 3 } else { 4 };
            assert!(tools.is_empty() || named.len() == writable, "{}: {named:?}", format.as_str());
        }
    }
}

#[test]
fn what_a_model_writes_well_is_of_the_form() {
    let walker = Walker::new();
    let call = |name: &str, arguments: &[(&str, &str)]| Call {
        name: name.to_owned(),
        arguments: arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let texts = |schema: &serde_json::Value| schema.get("properties").is_some();
    for format in ToolFormat::ALL {
        for tools in [tools(), Vec::new()] {
            let form = Arc::new(call::form(&tools, format));
            let find = call("find_room", &[("day", "Monday: 14:00"), ("who", "Ada é, 友 {}")]);
            assert!(walker.takes(&form, &call::render(&find, format)), "{}", format.as_str());
            assert!(walker.takes(&form, &call::render(&call("now", &[]), format)), "{}", format.as_str());
            assert!(
                walker.takes(&form, "Done: the room is [7], {ok}.") && walker.takes(&form, ""),
                "{}",
                format.as_str()
            );
            if tools.iter().any(|tool| texts(&tool.parameters)) {
                for wrong in
                    [call("find", &[]), call("find_room", &[("day", "Monday")]), call("count", &[("n", "many")])]
                {
                    assert!(!walker.takes(&form, &call::render(&wrong, format)), "{}: {wrong:?}", format.as_str());
                }
            }
        }
    }
    let form = Arc::new(call::form(&tools(), ToolFormat::Hermes));
    let count = r#"<tool_call>{"name": "count", "arguments": {"in": {"deep":null}, "n": -3, "share": 1.5e3, "tags": ["a", "b"]}}</tool_call>"#;
    assert!(walker.takes(&form, count));
    assert!(!walker.takes(&form, &count.replace("-3", "3.5")) && !walker.takes(&form, &format!("{count}{count}")));
}

/// Names and types are held to whatever else a schema has: what is too large gives way alone.
#[test]
fn what_a_schema_says_is_held_to() {
    let walker = Walker::new();
    let many: serde_json::Map<String, serde_json::Value> = (0..13)
        .map(|n| (format!("p{n:02}"), json!({ "type": "string" })))
        .chain([("zid".to_owned(), json!({ "type": "integer" }))])
        .collect();
    let choices: Vec<String> = (0..100).map(|n| format!("c{n:03}")).collect();
    let two = json!({ "properties": { "id": { "type": "string" }, "meta": {}, "tags": { "type": "object" } }, "required": ["id"] });
    let odd = json!({ "properties": {
        "e": { "enum": choices }, "f": { "enum": ["", "two\nlines"] }, "l": { "type": "array", "items": { "type": "integer" } },
        "n": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
    } });
    let tool = |name: &str, parameters| Callable { name: name.to_owned(), parameters };
    let tools = [
        tool("many", json!({ "properties": many, "required": ["zid"] })),
        tool("two", two),
        tool("odd", odd),
        tool("none", json!({})),
    ];
    let json = Arc::new(call::form(&tools, ToolFormat::Json));
    let lines = Arc::new(call::form(&tools, ToolFormat::Lines));
    for (form, text, is_taken) in [
        (&json, r#"{"name": "many", "arguments": {"p03": "x", "zid": 3}}"#, true),
        (&json, r#"{"name": "many", "arguments": {"p03": "x"}}"#, false),
        (&json, r#"{"name": "many", "arguments": {"zid": "3"}}"#, false),
        (&json, r#"{"name": "two", "arguments": {"id": "a", "meta": {"a": [1]}, "tags": {"b": null}}}"#, true),
        (&json, r#"{"name": "two", "arguments": {}}"#, false),
        (&json, r#"{"name": "two", "arguments": {"id": "a", "zz": 1}}"#, false),
        (&json, r#"{"name": "odd", "arguments": {"e": "c099", "f": "two\nlines", "n": null}}"#, true),
        (&json, r#"{"name": "odd", "arguments": {"e": "c100"}}"#, false),
        (&json, r#"{"name": "odd", "arguments": {"n": -0}}"#, false),
        (&lines, "call odd\ne: c099\nl: [1, 2]\nn: null", true),
        (&lines, "call odd\nn: many", false),
        (&lines, "call odd\nl: many", false),
        (&lines, "call odd\nn: -0", false),
        (&lines, "call none\na: 1", true),
        (&lines, "call none\na: 1\na: 1", false),
    ] {
        assert_eq!(walker.takes(form, text), is_taken, "{text}");
    }
    let unwritable = Arc::new(call::form(&[tool("send", json!({ "properties": { "a:b": {} } }))], ToolFormat::Lines));
    assert!(!walker.takes(&unwritable, "call send") && walker.takes(&unwritable, "I cannot."));
    let react = Arc::new(call::form(&[], ToolFormat::React));
    assert!(
        walker.takes(&react, "Action: find\nAction Input: {}")
            && !walker.takes(&react, "Action: Action Input: a\nAction Input: {}")
    );
}

/// What is lost when ids become text would hide a call from the form.
#[test]
fn a_special_token_opens_no_way_around() {
    let walker = Walker::new();
    let form = Arc::new(call::form(&tools(), ToolFormat::Lines));
    for text in ["<|user|>call zzz", "ca<|user|>ll ", "ok<|tool|>"] {
        assert!(!walker.takes(&form, text), "{text}");
    }
    // An end that the tokenizer does not have ends all the same.
    let constraints = Constraints::new(walker.tokenizer.clone(), [walker.end, 1 << 20].into());
    let mut logits = vec![0.0; walker.tokenizer.vocab() + 8];
    constraints.allowed(&constraints.begin(&form).unwrap()).unwrap().bar(&mut logits);
    assert_eq!(logits[walker.end as usize], 0.0);
    assert!(logits[walker.tokenizer.vocab()..].iter().all(|logit| *logit == f32::NEG_INFINITY));
}

#[test]
fn hostile_schemas_stay_small() {
    let mut deep = json!({ "type": "string" });
    for _ in 0..7 {
        let mut properties: serde_json::Map<String, serde_json::Value> =
            (0..63).map(|n| (format!("p{n:02}"), json!({ "type": "string" }))).collect();
        properties.insert("z".to_owned(), deep);
        deep = json!({ "type": "object", "properties": properties });
    }
    let wide: serde_json::Map<String, serde_json::Value> =
        (0..5000).map(|n| (format!("p{n}"), json!({ "anyOf": [{ "type": "string" }, { "enum": [n] }] }))).collect();
    let odd = json!({ "properties": { "\"\\\n}": { "type": ["x", 7], "enum": [[]] } }, "required": 7 });
    for parameters in [deep, json!({ "properties": wide }), odd, json!([1]), json!(null)] {
        for format in ToolFormat::ALL {
            let name = "a\")|(?:\n".to_owned();
            let form = call::form(&[Callable { name, parameters: parameters.clone() }], format);
            assert!(form.whole.len() < 1 << 18, "{}", form.whole.len());
            Walker::new().constraints.begin(&Arc::new(form)).unwrap();
        }
    }
}

#[test]
fn a_model_that_knows_nothing_calls_well() {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("tokenizer.json"), whole_words(&words())).unwrap();
    std::fs::write(directory.path().join("tokenizer_config.json"), whole_words_config()).unwrap();
    let tokenizer = directory.path().to_owned();
    let spec = ModelSpec {
        source: Source::Fresh(Fresh { tokenizer, seed: 5, width: 24, layers: 2, heads: 4, kv_heads: 2, ffn: 40 }),
        adapter: None,
        context: 400,
        dtype: Dtype::F32,
        device: Device::Auto,
        lora: None,
        tool_format: ToolFormat::Lines,
        tool_calls: ToolCalls::WellFormed,
    };
    let model = LocalModel::open(&spec, None).unwrap();
    let form = Arc::new(Form { begun: r"[\s\S]*".to_owned(), ..call::form(&tools(), ToolFormat::Lines) });
    let prompt = model.encode_chat(&[Message::new(Role::User, "mail Ada.")]).unwrap();
    let request = |n: u64, held: bool| GenRequest {
        prompt: prompt.clone(),
        seed: Seed(n),
        sampling: Sampling { temperature: if n == 0 { 0.0 } else { 1.0 }, ..Sampling::drawn(300) },
        likely: false,
        form: held.then(|| form.clone()),
    };
    let held: Vec<GenRequest> = (0..12).map(|n| request(n, true)).collect();
    let replies = |requests: &[GenRequest]| -> Vec<GenReply> {
        model.generate(requests).into_iter().map(Result::unwrap).collect()
    };
    let together = replies(&held);
    let whole: Vec<&GenReply> = together.iter().filter(|reply| reply.stop == StopReason::EndOfTurn).collect();
    assert!(whole.len() >= 4, "{}", whole.len());
    for reply in whole {
        assert!(matches!(call::parse(&reply.text, ToolFormat::Lines), Action::Call(_)), "{}", reply.text);
    }
    // Company changes nothing, nor is who is free held to anything.
    let mixed: Vec<GenRequest> = (0..12).map(|n| request(n, n % 2 == 0)).collect();
    let mixed = replies(&mixed);
    for (n, (mixed, together)) in mixed.iter().zip(&together).enumerate() {
        assert_eq!(mixed == together, n % 2 == 0, "{n}");
    }
}
