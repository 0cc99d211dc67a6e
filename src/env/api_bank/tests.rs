//! What the original answered on the same calls, where a copy of its data is at hand.

use super::parse::{api_call, parameters};
use super::rouge::rouge_l;
use super::tools::Raised;
use super::value::{Key, Text, Value};
use super::{Level, Library, Network, World};
use std::path::PathBuf;
use std::sync::Arc;

/// A copy of the data, by `AGX_API_BANK` or beside the repository.
#[allow(clippy::disallowed_methods, reason = "a test asks the environment where the data lies")]
pub fn copy() -> Option<PathBuf> {
    let named = std::env::var_os("AGX_API_BANK").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/api-bank");
    let found = named.unwrap_or(beside);
    if found.join("init_database").exists() {
        return Some(found);
    }
    #[allow(clippy::print_stderr, reason = "a test that does not run says so")]
    {
        eprintln!("skipped: no copy of API-Bank at {} (set AGX_API_BANK)", found.display());
    }
    None
}

pub fn library() -> Option<(PathBuf, Arc<Library>)> {
    let data = copy()?;
    let library = Library::open(&data).unwrap();
    Some((data, library))
}

fn rows(data: &std::path::Path, name: &str) -> Vec<Value> {
    let Ok(text) = std::fs::read_to_string(data.join("vectors").join(name)) else { return Vec::new() };
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn str<'a>(of: &'a Value, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub fn given(arguments: &Value) -> Vec<(Text, Value)> {
    let text = |key: &Key| key.text().unwrap().into();
    arguments.as_dict().unwrap().rows().iter().map(|(key, value)| (text(key), value.clone())).collect()
}

/// Whether an answer is the recorded one, but for what is drawn and what lies online.
fn same(tool: &str, found: &Result<Value, Raised>, wanted: &Value) -> bool {
    match (found, wanted.get("result")) {
        (Err(raised), None) => raised.kind == str(wanted, "raised") && raised.message == str(wanted, "message"),
        (Ok(found), Some(wanted)) => {
            // The file has tuples as lists.
            let found: Value = serde_json::from_str(&found.json()).unwrap();
            let drawn = ["AppointmentRegistration", "RegisterUser"].contains(&tool);
            let both = |name: &str| (found.get(name), wanted.get(name));
            let (output, recorded) = both("output");
            let equal = |name: &str| both(name).0 == both(name).1;
            let output = output == recorded || (drawn && output.is_some_and(|it| !it.is_none()));
            let online = str(wanted, "exception") == "STUB_NO_NETWORK" && !found.get("exception").unwrap().is_none();
            equal("api_name") && equal("input") && output && (online || equal("exception"))
        }
        _ => false,
    }
}

#[test]
fn texts_are_parsed_as_the_original_parses_them() {
    let Some(data) = copy() else { return };
    for row in rows(&data, "parse_vectors.jsonl") {
        let found = api_call(str(&row, "text"));
        assert_eq!(found.map(|it| it.text), row.get("get_api_call").and_then(Value::as_str), "{}", row.json());
        let Some(found) = found else { continue };
        let parsed = row.get("parsed").unwrap();
        assert_eq!(found.name, str(parsed, "name"));
        let params = parameters(found.inside).into_iter().map(|(k, v)| (Key::Text(k.into()), Value::str(v))).collect();
        let params = Value::Dict(Arc::new(super::value::Dict::from_rows(params)));
        assert_eq!(Some(&params), parsed.get("params"), "{}", row.json());
    }
}

#[test]
fn rouge_is_what_the_package_computes() {
    let Some(data) = copy() else { return };
    for row in rows(&data, "rouge_l_vectors.jsonl") {
        let found = rouge_l(str(&row, "ref"), str(&row, "hyp"));
        let number = |name: &str| row.get(name).and_then(Value::number);
        let close = |a: f64, name: &str| (a - number(name).unwrap()).abs() < 1e-9;
        match found {
            None => assert!(row.get("raised").is_some(), "{}", row.json()),
            Some(it) => assert!(close(it.f, "f") && close(it.p, "p") && close(it.r, "r"), "{it:?} {}", row.json()),
        }
    }
}

#[test]
fn specifications_are_written_as_the_original_writes_them() {
    let Some((data, library)) = library() else { return };
    let Ok(specs) = super::library::read(&data.join("vectors/tool_specs.json")) else { return };
    for (suite, level) in [("./apis", Level::General), ("./lv3_apis", Level::Three)] {
        let specs = specs.get(suite).and_then(Value::as_list).unwrap();
        assert_eq!(library.suite(level).specs.len(), specs.len());
        for spec in specs {
            let found = &library.suite(level).specs[str(spec, "name")];
            assert_eq!(found.value.json(), str(spec, "get_api_description"));
        }
    }
}

#[test]
fn gold_calls_answer_what_the_original_answered() {
    let Some((data, library)) = library() else { return };
    let mut wrong = Vec::new();
    for row in rows(&data, "gold_calls_lv12.jsonl") {
        let tool = str(&row, "api");
        let fresh = row.get("fresh").unwrap();
        if fresh.get("skipped").is_none() && tool != "ToolSearcher" {
            let mut world = World::new(&library, Level::General, Network::Down);
            let found = world.call(tool, given(row.get("param_dict").unwrap()));
            if !same(tool, &found, fresh) {
                wrong.push(format!("{found:?}\n  wanted {}", fresh.json()));
            }
        }
    }
    for row in rows(&data, "gold_calls_lv3.jsonl") {
        let (tool, fresh) = (str(&row, "api"), row.get("fresh").unwrap());
        if fresh.get("skipped").is_none() {
            let mut world = World::new(&library, Level::Three, Network::Down);
            let found = world.call(tool, given(row.get("param_dict").unwrap()));
            if !same(tool, &found, fresh) {
                wrong.push(format!("{found:?}\n  wanted {}", fresh.json()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A value with one text for another wherever it stands.
fn renamed(value: &Value, names: &[(String, String)]) -> Value {
    let text = names.iter().fold(value.json(), |text, (from, to)| text.replace(from, to));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn episodes_go_as_the_originals_went() {
    let Some((data, library)) = library() else { return };
    let (mut wrong, mut calls) = (Vec::new(), 0);
    for episode in rows(&data, "fuzz_episodes.jsonl") {
        let level = if str(&episode, "suite") == "apis" { Level::General } else { Level::Three };
        let mut world = World::new(&library, level, Network::Down);
        // What was drawn there, and here.
        let mut drawn: Vec<(String, String)> = Vec::new();
        for call in episode.get("calls").and_then(Value::as_list).unwrap() {
            let tool = str(call, "api");
            let found = world.call(tool, given(&renamed(call.get("kwargs").unwrap(), &drawn)));
            let wanted = renamed(call, &drawn);
            calls += 1;
            if !same(tool, &found, &wanted) {
                wrong.push(format!("{}: {found:?}\n  wanted {}", str(&episode, "episode"), call.json()));
            }
            if ["AppointmentRegistration", "RegisterUser"].contains(&tool) {
                let output = |of: &Value| of.get("output").filter(|it| !it.is_none()).cloned();
                let id = |of: Value| of.get("token").cloned().unwrap_or(of).display();
                let here = found.as_ref().ok().and_then(output);
                if let (Some(here), Some(there)) = (here, call.get("result").and_then(output)) {
                    drawn.push((id(there), id(here)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {calls} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
