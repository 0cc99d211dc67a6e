//! The recorded dialogues: turns of levels 1 and 2, requirements of level 3, and what of them is asked for.

use super::library::{MOST, Unreadable, read as read_value};
use super::value::{Dict, Text, Value};
use crate::base::file;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Clone, Debug)]
pub struct Dialogue {
    /// Its file's name.
    pub file: String,
    pub turns: Vec<Turn>,
}

#[derive(Clone, Debug)]
pub enum Turn {
    User(Text),
    Ai(Text),
    Api(Recorded),
}

/// A call with its arguments as they were written, and what it answered.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub name: Text,
    pub arguments: Dict,
    pub result: Value,
}

impl Turn {
    pub fn call(&self) -> Option<&Recorded> {
        match self {
            Turn::Api(call) => Some(call),
            _ => None,
        }
    }
}

/// A requirement of level 3 with the calls that meet it.
#[derive(Clone, Debug)]
pub struct Sample {
    pub requirement: Text,
    pub response: Text,
    pub calls: Vec<Recorded>,
}

impl Dialogue {
    /// The turns that are asked for, by their number: each call, and then whatever follows it. A call that follows a call is
    /// asked for twice.
    pub fn asked(&self) -> Vec<usize> {
        let calls = self.turns.iter().enumerate().filter(|(_, turn)| turn.call().is_some());
        calls.flat_map(|(place, _)| [place, place + 1]).filter(|place| *place < self.turns.len()).collect()
    }
}

fn text(of: &Value, name: &str) -> Text {
    of.get(name).map(Value::display).unwrap_or_default().into()
}

fn dict(of: &Value, name: &str) -> Dict {
    of.get(name).and_then(Value::as_dict).cloned().unwrap_or_default()
}

pub fn read(data: &Path, level: &str) -> Result<Vec<Dialogue>, Unreadable> {
    let directory = data.join("lv1-lv2-samples").join(level);
    let unreadable = |path: &Path, reason: String| Unreadable { path: path.to_owned(), reason };
    let failed = |problem: std::io::Error| unreadable(&directory, file::reason(&problem));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|it| it == "jsonl") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut dialogues = Vec::new();
    for path in paths {
        let lines = file::read_text(&path, MOST).map_err(|problem| unreadable(&path, file::reason(&problem)))?;
        let mut turns = Vec::new();
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let turn = serde_json::from_str(line).map_err(|problem| unreadable(&path, problem.to_string()))?;
            turns.push(self::turn(&turn));
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        dialogues.push(Dialogue { file, turns });
    }
    Ok(dialogues)
}

fn turn(turn: &Value) -> Turn {
    match turn.get("role").and_then(Value::as_str) {
        Some("API") => Turn::Api(Recorded {
            name: text(turn, "api_name"),
            arguments: dict(turn, "param_dict"),
            result: turn.get("result").cloned().unwrap_or(Value::None),
        }),
        Some("User") => Turn::User(text(turn, "text")),
        _ => Turn::Ai(text(turn, "text")),
    }
}

pub fn samples(of: &Value) -> Vec<Sample> {
    let call = |call: &Value| Recorded {
        name: text(call, "api_name"),
        arguments: dict(call, "input"),
        result: call.get("output").cloned().unwrap_or(Value::None),
    };
    let sample = |sample: &Value| Sample {
        requirement: text(sample, "requirement"),
        response: text(sample, "response"),
        calls: sample.get("apis").and_then(Value::as_list).unwrap_or_default().iter().map(call).collect(),
    };
    of.as_list().unwrap_or_default().iter().map(sample).collect()
}

/// Specifications of tools as the prompts of levels 1 and 2 give them.
pub fn prompted(data: &Path) -> Result<Vec<Value>, Unreadable> {
    let mut found: BTreeMap<Text, Value> = BTreeMap::new();
    for name in ["level-1-api", "level-1-response", "level-2-api", "level-2-response"] {
        let rows = read_value(&data.join("test-data").join(name).with_extension("json"))?;
        for row in rows.as_list().unwrap_or_default() {
            let prompt = row.get("instruction").and_then(Value::as_str).unwrap_or_default();
            for line in prompt.lines().filter(|line| line.starts_with("{\"name\"")) {
                if let Ok(spec) = serde_json::from_str::<Value>(line) {
                    found.entry(text(&spec, "name")).or_insert(spec);
                }
            }
        }
    }
    Ok(found.into_values().collect())
}
