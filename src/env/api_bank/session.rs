//! Turns a line of the process protocol into its answer: many episodes at once, each with a world of its own.
//!
//! # Invariants
//! Every line gets one line back; one that cannot be understood gets an error and changes nothing.

use super::episode::{ApiBankEpisode, Goal};
use super::value::{Dict, Key, Text, Value};
use super::{Level, Library, Mode};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Episodes that are open at once.
const MOST_EPISODES: usize = 100_000;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Asked {
    /// The ids of all tasks.
    Tasks,
    /// Begins an episode of a task, or of none at a level.
    Reset {
        #[serde(default)]
        episode: String,
        task: Option<String>,
        level: Option<u32>,
        /// Nothing is drawn by it: what is drawn is the same in each episode.
        #[serde(rename = "seed")]
        _seed: Option<u64>,
    },
    /// A tool's whole answer.
    Call {
        #[serde(default)]
        episode: String,
        name: String,
        #[serde(default = "nothing")]
        arguments: Value,
    },
    /// A call, as an agent sees its answer, or a text to the user, who goes on or ends the episode.
    Step {
        #[serde(default)]
        episode: String,
        call: Option<Called>,
        text: Option<String>,
    },
    /// Ends an episode, or without one the session.
    Close { episode: Option<String> },
}

#[derive(Deserialize)]
struct Called {
    name: String,
    #[serde(default = "nothing")]
    arguments: Value,
}

fn nothing() -> Value {
    Value::Dict(Arc::default())
}

pub struct Session {
    library: Arc<Library>,
    mode: Mode,
    episodes: BTreeMap<String, ApiBankEpisode>,
}

/// What a line comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Line(String),
    End,
}

type Fields = Vec<(&'static str, Value)>;

impl Session {
    pub fn new(library: Arc<Library>, mode: Mode) -> Self {
        Self { library, mode, episodes: BTreeMap::new() }
    }

    pub fn answer(&mut self, line: &str) -> Answer {
        let asked = match serde_json::from_str(line) {
            Ok(Asked::Close { episode: None }) => return Answer::End,
            Ok(asked) => self.answered(asked),
            Err(problem) => Err(problem.to_string()),
        };
        let fields = asked.unwrap_or_else(|problem| vec![("error", Value::str(problem))]);
        let rows = fields.into_iter().map(|(name, value)| (Key::Text(name.into()), value)).collect();
        Answer::Line(Value::Dict(Arc::new(Dict::from_rows(rows))).json())
    }

    fn answered(&mut self, asked: Asked) -> Result<Fields, String> {
        match asked {
            Asked::Tasks => {
                let goals = Goal::all(&self.library, 1..=3);
                let ids = goals.into_iter().map(|goal| Value::str(goal.id(&self.library))).collect();
                Ok(vec![("tasks", Value::list(ids))])
            }
            Asked::Reset { episode, task, level, _seed } => self.reset(episode, task, level),
            Asked::Call { episode, name, arguments } => {
                let given = given(&arguments)?;
                let answer = self.open(&episode)?.call(&name, given);
                Ok(match answer {
                    Ok(result) => vec![("episode", Value::str(episode)), ("result", result)],
                    Err(raised) => vec![
                        ("episode", Value::str(episode)),
                        ("raised", Value::str(raised.kind)),
                        ("message", Value::str(raised.message)),
                    ],
                })
            }
            Asked::Step { episode, call, text } => {
                let open = self.open(&episode)?;
                if open.is_done() {
                    return Err(format!("episode `{episode}` has ended"));
                }
                let (role, observation) = match (call, text) {
                    (Some(call), None) => {
                        ("tool", ApiBankEpisode::observation(&open.call(&call.name, given(&call.arguments)?)))
                    }
                    (None, Some(text)) => ("user", open.answer(&text).unwrap_or_default()),
                    _ => return Err("a step is a `call` or a `text`".to_owned()),
                };
                let rows =
                    open.figures().into_iter().map(|(name, figure)| (Key::Text(name.into()), Value::Float(figure)));
                let metrics = Dict::from_rows(rows.collect());
                Ok(vec![
                    ("episode", Value::str(episode)),
                    ("observation", Value::str(observation)),
                    ("role", Value::str(role)),
                    ("done", Value::Bool(open.is_done())),
                    ("truncated", Value::Bool(false)),
                    ("metrics", Value::Dict(Arc::new(metrics))),
                ])
            }
            Asked::Close { episode } => {
                let episode = episode.unwrap_or_default();
                let was_open = self.episodes.remove(&episode).is_some();
                Ok(vec![("episode", Value::str(episode)), ("closed", Value::Bool(was_open))])
            }
        }
    }

    fn reset(&mut self, episode: String, task: Option<String>, level: Option<u32>) -> Result<Fields, String> {
        if self.episodes.len() >= MOST_EPISODES && !self.episodes.contains_key(&episode) {
            return Err(format!("{MOST_EPISODES} episodes are open: close some"));
        }
        let mut fields = vec![("episode", Value::str(episode.as_str()))];
        let opened = match task {
            Some(id) => {
                let goal = Goal::read(&self.library, &id).ok_or_else(|| format!("there is no task `{id}`"))?;
                let tools = goal.tools(&self.library).into_iter().map(Value::str).collect();
                fields.push(("observation", Value::str(goal.exchanges(&self.library).remove(0).said)));
                fields.push(("tools", Value::list(tools)));
                ApiBankEpisode::of(&self.library, goal, self.mode)
            }
            None => {
                let level = match level {
                    None | Some(1 | 2) => Level::General,
                    Some(3) => Level::Three,
                    Some(other) => return Err(format!("there is no level {other}")),
                };
                ApiBankEpisode::new(&self.library, level, self.mode)
            }
        };
        self.episodes.insert(episode, opened);
        Ok(fields)
    }

    fn open(&mut self, episode: &str) -> Result<&mut ApiBankEpisode, String> {
        self.episodes.get_mut(episode).ok_or_else(|| format!("episode `{episode}` is not open: `reset` opens it"))
    }
}

fn given(arguments: &Value) -> Result<Vec<(Text, Value)>, String> {
    Ok(arguments.as_dict().ok_or("`arguments` is not an object")?.arguments())
}
