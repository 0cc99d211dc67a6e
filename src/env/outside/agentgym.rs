//! Environments by `agentgym`: `/create`, `/reset`, `/step`, `/close`, as the servers of AgentGym (Xi et al. 2024) have them.
//!
//! Their servers name a few things each in its own way. A request says a thing by all of its names, since they take no
//! offence at a field more; an answer is read by whichever is there.
//!
//! An agent's turn is an action in words: what follows its last `Action:`, or all of it.

use super::error::EnvError;
use super::figures::{Figures, Said};
use super::http::Http;
use crate::base::words::words;
use crate::env::{Action, Call, Episode, Observation, Truth};
use crate::model::Role;
use serde_json::{Map, Value, json};
use std::sync::Arc;

const ACTION: &str = "Action:";
/// What the trajectory calls an action in words.
const ACT: &str = "act";

#[derive(Debug)]
pub struct AgentGymEpisode {
    http: Arc<Http>,
    /// As the server gave it.
    id: Value,
    figures: Figures,
}

/// A turn of the agent's is always an action.
pub fn action(reply: &str) -> Action {
    let text =
        reply.rsplit_once(ACTION).map_or(reply, |(_, after)| after.trim_start().lines().next().unwrap_or_default());
    let arguments = [("action".to_owned(), text.trim().to_owned())].into();
    Action::Call(Call { name: ACT.to_owned(), arguments })
}

/// # Errors
/// It says an error instead.
fn sound(answer: Value) -> Result<Value, EnvError> {
    match answer.get("error").filter(|error| !error.is_null()) {
        Some(error) => Err(EnvError::Refuses(words(&super::process::text(error.clone())))),
        None => Ok(answer),
    }
}

/// What an agent reads of an answer.
fn observed(answer: &Value) -> Option<String> {
    // WebShop's reset is a pair.
    let answer = answer.get(0).unwrap_or(answer);
    let said = |name: &str| answer.get(name).and_then(Value::as_str);
    let text = said("observation").or_else(|| said("state")).or_else(|| answer.as_str())?;
    let task = said("task_description").map(|task| format!("{task}\n")).unwrap_or_default();
    let actions = answer.get("available_actions").and_then(Value::as_array).map(|actions| {
        let actions: Vec<&str> = actions.iter().filter_map(Value::as_str).collect();
        format!("\nAVAILABLE ACTIONS: {}", actions.join(","))
    });
    Some(format!("{task}{text}{}", actions.unwrap_or_default()))
}

impl AgentGymEpisode {
    /// An episode, and what is said as it begins. `task` is what the file has of it; `index` is its number in the server's data.
    ///
    /// # Errors
    /// The server cannot be reached, or does not answer so.
    pub fn start(
        http: &Arc<Http>,
        task: &Map<String, Value>,
        index: u64,
        metrics: &[String],
    ) -> Result<(Self, Option<Observation>), EnvError> {
        let created = sound(http.post("/create", &json!({}))?)?;
        let id = ["id", "env_idx"].into_iter().find_map(|name| created.get(name)).unwrap_or(&created).clone();
        if !(id.is_u64() || id.is_string()) {
            return Err(EnvError::Garbage(format!("it creates without an id: {}", words(&created.to_string()))));
        }
        let episode = Self { http: http.clone(), id, figures: Figures::new(metrics) };
        let mut body = json!({ "data_idx": index, "session_id": index, "game": index, "world_type": "Text" });
        body.as_object_mut().expect("it is one").extend(task.clone());
        let answer = sound(episode.post("/reset", body)?)?;
        let text = match observed(&answer) {
            Some(text) => text,
            None => {
                let id = super::process::text(episode.id.clone());
                let seen = sound(http.get(&format!("/observation?id={id}&env_idx={id}"))?)?;
                observed(&seen).ok_or_else(|| EnvError::Garbage("it observes nothing".to_owned()))?
            }
        };
        Ok((episode, Some(Observation::asked(text))))
    }

    fn post(&self, path: &str, mut body: Value) -> Result<Value, EnvError> {
        body["id"] = self.id.clone();
        body["env_idx"] = self.id.clone();
        self.http.post(path, &body)
    }
}

impl Episode for AgentGymEpisode {
    fn step(&mut self, action: &Action) -> Result<Observation, EnvError> {
        let text = match action {
            Action::Call(call) => call.arguments.values().next().cloned().unwrap_or_default(),
            Action::Answer(text) | Action::Unreadable(text) => text.clone(),
        };
        let answer = match sound(self.post("/step", json!({ "action": text }))?) {
            // The agent may mend its action.
            Err(EnvError::Refuses(what)) => return Ok(Observation::told(format!("error: {what}"))),
            answer => answer?,
        };
        let garbage = || EnvError::Garbage(format!("it is no step: {}", words(&answer.to_string())));
        let fields = answer.as_object().ok_or_else(garbage)?;
        let text = observed(&answer).ok_or_else(garbage)?;
        // Where it says both, a score is what the episode is worth so far, a reward what the step was.
        let worth = ["score", "reward"].into_iter().find_map(|name| fields.get(name)).and_then(Value::as_f64);
        let done = fields.get("done").and_then(Value::as_bool).ok_or_else(garbage)?;
        self.figures.take(Said { by_name: &[fields], reward: worth, done })?;
        Ok(Observation { text, by: Role::Tool, done, truncated: false })
    }

    fn truth(&self) -> Truth {
        self.figures.truth()
    }
}

impl Drop for AgentGymEpisode {
    fn drop(&mut self) {
        // Not every server has it.
        let _ = self.post("/close", json!({}));
    }
}
