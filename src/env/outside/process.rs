//! Environments by `process`: programs that answer a line of JSON with a line of JSON.
//!
//! | asked | answered |
//! |---|---|
//! | `{"op": "tasks"}` | `{"tasks": [{"id": …, "split"?: …, fields…}, …]}` |
//! | `{"op": "reset", "episode": …, "task": …, "seed": …}` | `{"observation"?: …, "tools"?: [{"name", "parameters"?}, …]}` |
//! | `{"op": "step", "episode": …, "call": {"name", "arguments"}}` or with `"text": …` | `{"observation": …, "role"?: "tool" or "user", "done": …, "truncated"?: …, "metrics": {…}}` |
//! | `{"op": "close", "episode": …}` | `{"episode": …}`, and it is ready for another; nothing or an error, and it is ended; a step's answer or garbage, and the episode fails |
//! | `{"op": "close"}` | nothing: it ends |
//!
//! A tool that is a text is as a prompt would list it, and its arguments are text. Any answer may be `{"error": …}`. `task` is the
//! id, as it was given, where the program gives the tasks itself, and the whole row where the file names them.
//!
//! # Invariants
//! A program has one episode at a time, so that what one does to it ends no other. One that failed is not asked again.

use super::error::EnvError;
use super::figures::{Figures, Said};
use super::program::{Lines, Start};
use crate::base::words::words;
use crate::env::call::typed;
use crate::env::{Action, Episode, Observation, Truth};
use crate::model::Role;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// The program, as many times as episodes are open.
#[derive(Debug)]
pub struct Processes {
    start: Start,
    /// Milliseconds that an answer may take.
    timeout: u64,
    idle: Mutex<Vec<Lines>>,
}

/// An answer. What it has beside is not read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    error: Option<Value>,
    episode: Option<String>,
    observation: Option<Value>,
    role: Option<String>,
    done: bool,
    truncated: bool,
    metrics: Map<String, Value>,
    tools: Vec<Value>,
    tasks: Option<Vec<Value>>,
}

impl Processes {
    pub fn new(start: Start, timeout: u64) -> Self {
        Self { start, timeout, idle: Mutex::default() }
    }

    /// The rows of its tasks.
    ///
    /// # Errors
    /// It cannot be started, or does not answer so.
    pub fn tasks(&self) -> Result<Vec<Value>, EnvError> {
        let mut lines = self.take()?;
        let answer = ask(&mut lines, &json!({ "op": "tasks" }), self.timeout)?;
        self.give_back(lines);
        answer.tasks.ok_or_else(|| EnvError::Garbage("it is no list of `tasks`".to_owned()))
    }

    fn take(&self) -> Result<Lines, EnvError> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            // What has said a line too many would have it taken for the next answer.
            match idle {
                None => return Lines::start(&self.start),
                Some(lines) if lines.is_quiet() => return Ok(lines),
                Some(_) => {}
            }
        }
    }

    fn give_back(&self, lines: Lines) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(lines);
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let idle = std::mem::take(self.idle.get_mut().unwrap_or_else(PoisonError::into_inner));
        idle.into_iter().for_each(|lines| lines.end(&json!({ "op": "close" }).to_string()));
    }
}

/// # Errors
/// Nothing comes, or what comes is no answer, or a refusal.
fn ask(lines: &mut Lines, question: &Value, timeout: u64) -> Result<Answer, EnvError> {
    let line = lines.ask(&question.to_string(), timeout)?;
    let garbage = |problem: &dyn std::fmt::Display| EnvError::Garbage(format!("{problem}: {}", words(&line)));
    // A list would be read as the fields in order.
    if line.trim_start().starts_with('[') {
        return Err(garbage(&"it is no object"));
    }
    let answer: Answer = serde_json::from_str(&line).map_err(|problem| garbage(&problem))?;
    match &answer.error {
        Some(Value::String(text)) => Err(EnvError::Refuses(words(text))),
        Some(other) if !other.is_null() => Err(EnvError::Refuses(words(&other.to_string()))),
        _ => Ok(answer),
    }
}

#[derive(Debug)]
pub struct ProcessEpisode {
    processes: Arc<Processes>,
    /// Until it fails.
    lines: Option<Lines>,
    id: String,
    /// JSON Schemas of parameters, by the tools' names.
    tools: Vec<(String, Value)>,
    /// Its tools as a prompt would list them.
    listed: Vec<String>,
    figures: Figures,
}

impl ProcessEpisode {
    /// An episode, and what is said as it begins.
    ///
    /// # Errors
    /// As [`ask`]; the program cannot be started.
    pub fn start(
        processes: &Arc<Processes>,
        id: &str,
        task: Value,
        seed: u32,
        metrics: &[String],
    ) -> Result<(Self, Option<Observation>), EnvError> {
        let lines = processes.take()?;
        // The same in every repetition, another for each sample.
        let (processes, id) = (processes.clone(), format!("{id}#{seed:08x}"));
        let mut episode = Self {
            processes,
            lines: Some(lines),
            id,
            tools: Vec::new(),
            listed: Vec::new(),
            figures: Figures::new(metrics),
        };
        let answer = episode.ask(json!({ "op": "reset", "task": task, "seed": seed }))?;
        if answer.done {
            return Err(EnvError::Garbage("it is done before it begins".to_owned()));
        }
        for tool in &answer.tools {
            if let Value::String(signature) = tool {
                episode.listed.push(words(signature));
                continue;
            }
            let (name, parameters) = named(tool)?;
            if episode.called(name).is_some() {
                return Err(EnvError::Garbage(format!("two of its tools are called `{}`", words(name))));
            }
            episode.listed.push(words(&typed::signature(name, &parameters)));
            episode.tools.push((name.to_owned(), parameters));
        }
        let text = answer.observation.map(text).filter(|text| !text.is_empty());
        Ok((episode, text.map(Observation::asked)))
    }

    fn ask(&mut self, mut question: Value) -> Result<Answer, EnvError> {
        let mut lines = self.lines.take().ok_or_else(|| EnvError::Refuses("its episode has failed".to_owned()))?;
        question["episode"] = json!(self.id);
        let answer = ask(&mut lines, &question, self.processes.timeout);
        let answer = answer.and_then(|answer| match &answer.episode {
            Some(other) if *other != self.id => {
                Err(EnvError::Garbage(format!("it answers for the episode `{}`", words(other))))
            }
            _ => Ok(answer),
        });
        if answer.as_ref().err().is_none_or(EnvError::leaves_it_sound) {
            self.lines = Some(lines);
        }
        answer
    }

    /// Ends the episode. A program that answered all of it line by line, and says whose end it is, serves another. One that ends,
    /// or says that it cannot, takes nothing from an episode that has its end: it is only asked no more.
    ///
    /// # Errors
    /// What it answers is a step's, or nothing that can be read: there was a line too many before.
    fn close(&mut self) -> Result<(), EnvError> {
        let answer = self.ask(json!({ "op": "close" }));
        let lines = self.lines.take().filter(|lines| lines.is_quiet());
        let answer = match answer {
            Err(too_many @ EnvError::Garbage(_)) => return Err(too_many),
            Err(_) => return Ok(()),
            Ok(answer) => answer,
        };
        if answer.observation.is_some() || !answer.metrics.is_empty() {
            return Err(EnvError::Garbage("it said a line too many: the last one came for `close`".to_owned()));
        }
        if answer.episode.is_some() {
            lines.into_iter().for_each(|lines| self.processes.give_back(lines));
        }
        Ok(())
    }

    fn called(&self, name: &str) -> Option<&Value> {
        self.tools.iter().find(|(tool, _)| tool == name).map(|(_, schema)| schema)
    }

    pub fn about(&self) -> &[String] {
        &self.listed
    }
}

/// A tool's name and the JSON Schema of its parameters, of which it may have none: as OpenAI lists functions, or plain.
///
/// # Errors
/// It is not so.
fn named(tool: &Value) -> Result<(&str, Value), EnvError> {
    let garbage = |what: &str| EnvError::Garbage(format!("{what}: {}", words(&tool.to_string())));
    let of = tool.get("function").unwrap_or(tool);
    let name = of.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| garbage("a tool has no `name`"))?;
    match of.get("parameters") {
        Some(parameters @ Value::Object(_)) => Ok((name, parameters.clone())),
        None => Ok((name, json!({}))),
        Some(_) => Err(garbage("the `parameters` of a tool are no JSON Schema")),
    }
}

impl Episode for ProcessEpisode {
    fn step(&mut self, action: &Action) -> Result<Observation, EnvError> {
        let (question, by) = match action {
            Action::Call(call) => {
                let arguments = typed::arguments(call, self.called(&call.name));
                (json!({ "op": "step", "call": { "name": call.name, "arguments": arguments } }), Role::Tool)
            }
            Action::Answer(text) => (json!({ "op": "step", "text": text }), Role::User),
            Action::Unreadable(why) => return Ok(Observation::told(format!("error: {why}"))),
        };
        let answer = self.ask(question)?;
        let over = answer.done || answer.truncated;
        self.figures.take(Said { by_name: &[&answer.metrics], reward: None, done: over })?;
        let by = match answer.role.as_deref() {
            Some("user") => Role::User,
            Some("tool") => Role::Tool,
            None => by,
            Some(other) => return Err(EnvError::Garbage(format!("its role `{}` is none", words(other)))),
        };
        if over {
            self.close()?;
        }
        let text = answer.observation.map(text).unwrap_or_default();
        Ok(Observation { text, by, done: answer.done, truncated: answer.truncated && !answer.done })
    }

    fn truth(&self) -> Truth {
        self.figures.truth()
    }
}

impl Drop for ProcessEpisode {
    fn drop(&mut self) {
        if self.lines.is_some() {
            let _ = self.close();
        }
    }
}

/// What an agent reads of it.
pub fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
