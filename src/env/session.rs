//! Turns a line of the process protocol into its answer: many episodes of an environment at once, each with a state of its own.
//!
//! # Invariants
//! Every line gets one line back; one that cannot be understood gets an error and changes nothing.

use super::{Observation, Truth};
use crate::model::Role;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Episodes that are open at once.
const MOST_EPISODES: usize = 100_000;

/// An environment that is asked by lines.
pub trait Host {
    /// What a call is given, as it came.
    type Arguments: DeserializeOwned + Default;
    type Open;

    /// The ids of all tasks.
    fn tasks(&self) -> Vec<String>;

    /// Begins an episode, and what is said of it.
    ///
    /// # Errors
    /// A task that is not there.
    fn reset(&self, task: Option<&str>, level: Option<u32>) -> Result<(Fields, Self::Open), String>;

    /// A tool's whole answer.
    ///
    /// # Errors
    /// Arguments that are none.
    fn call(open: &mut Self::Open, name: &str, arguments: Self::Arguments) -> Result<Fields, String>;

    /// A call as an agent sees its answer.
    ///
    /// # Errors
    /// As [`Host::call`].
    fn step(open: &mut Self::Open, name: &str, arguments: Self::Arguments) -> Result<Observation, String>;

    /// What is said to the user, and how the user goes on.
    fn say(open: &mut Self::Open, text: &str) -> Observation;

    fn is_done(open: &Self::Open) -> bool;

    fn truth(open: &Self::Open) -> Truth;
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Asked<A> {
    Tasks,
    Reset {
        #[serde(default)]
        episode: String,
        task: Option<String>,
        level: Option<u32>,
        /// Nothing is drawn by it: what is drawn is the same in each episode.
        #[serde(rename = "seed")]
        _seed: Option<u64>,
    },
    Call {
        #[serde(default)]
        episode: String,
        name: String,
        #[serde(default)]
        arguments: A,
    },
    /// A call, or a text to the user.
    Step {
        #[serde(default)]
        episode: String,
        call: Option<Called<A>>,
        text: Option<String>,
    },
    /// Ends an episode, or without one the session.
    Close {
        episode: Option<String>,
    },
}

#[derive(Deserialize)]
struct Called<A> {
    name: String,
    #[serde(default)]
    arguments: A,
}

pub struct Session<H: Host> {
    host: H,
    episodes: BTreeMap<String, H::Open>,
}

/// What a line comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Line(String),
    End,
}

/// Names, and values as JSON writes them.
pub type Fields = Vec<(&'static str, String)>;

pub fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("it is plain data")
}

fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{}: {value}", json(name))).collect();
    format!("{{{}}}", fields.join(", "))
}

impl<H: Host> Session<H> {
    pub fn new(host: H) -> Self {
        Self { host, episodes: BTreeMap::new() }
    }

    pub fn answer(&mut self, line: &str) -> Answer {
        let asked = match serde_json::from_str(line) {
            Ok(Asked::Close { episode: None }) => return Answer::End,
            Ok(asked) => self.answered(asked),
            Err(problem) => Err(problem.to_string()),
        };
        Answer::Line(object(asked.unwrap_or_else(|problem| vec![("error", json(&problem))])))
    }

    fn answered(&mut self, asked: Asked<H::Arguments>) -> Result<Fields, String> {
        match asked {
            Asked::Tasks => {
                let ids: Vec<String> = self.host.tasks().iter().map(json).collect();
                Ok(vec![("tasks", format!("[{}]", ids.join(", ")))])
            }
            Asked::Reset { episode, task, level, _seed } => {
                if self.episodes.len() >= MOST_EPISODES && !self.episodes.contains_key(&episode) {
                    return Err(format!("{MOST_EPISODES} episodes are open: close some"));
                }
                let (said, open) = self.host.reset(task.as_deref(), level)?;
                let fields = of(&episode, said);
                self.episodes.insert(episode, open);
                Ok(fields)
            }
            Asked::Call { episode, name, arguments } => {
                let said = H::call(self.open(&episode)?, &name, arguments)?;
                Ok(of(&episode, said))
            }
            Asked::Step { episode, call, text } => {
                let open = self.open(&episode)?;
                if H::is_done(open) {
                    return Err(format!("episode `{episode}` has ended"));
                }
                let Observation { text, by, done: _, truncated } = match (call, text) {
                    (Some(Called { name, arguments }), None) => H::step(open, &name, arguments)?,
                    (None, Some(text)) => H::say(open, &text),
                    _ => return Err("a step is a `call` or a `text`".to_owned()),
                };
                let role = if by == Role::User { "user" } else { "tool" };
                let truth = H::truth(open);
                let metrics = object(truth.iter().map(|(name, figure)| (name.as_str(), json(figure))));
                let said = vec![
                    ("observation", json(&text)),
                    ("role", json(role)),
                    ("done", json(&H::is_done(open))),
                    ("truncated", json(&truncated)),
                    ("metrics", metrics),
                ];
                Ok(of(&episode, said))
            }
            Asked::Close { episode } => {
                let episode = episode.unwrap_or_default();
                let was_open = self.episodes.remove(&episode).is_some();
                Ok(of(&episode, vec![("closed", json(&was_open))]))
            }
        }
    }

    fn open(&mut self, episode: &str) -> Result<&mut H::Open, String> {
        self.episodes.get_mut(episode).ok_or_else(|| format!("episode `{episode}` is not open: `reset` opens it"))
    }
}

/// Whose fields they are stands first.
fn of(episode: &str, mut said: Fields) -> Fields {
    said.insert(0, ("episode", json(episode)));
    said
}
