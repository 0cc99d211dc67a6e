//! An episode of an environment that answers otherwise, or not at all, another time: played again by what it answered the first time.

use super::error::EnvError;
use crate::env::{Action, Episode, Observation, Truth};
use crate::model::{Message, Role};
use std::collections::VecDeque;

#[derive(Debug)]
pub struct Recorded {
    /// What was observed after each of the agent's turns, if anything.
    answers: VecDeque<Option<Message>>,
    /// The last turn ended the episode.
    ended: bool,
    truth: Truth,
}

impl Recorded {
    /// Of what was said after the prompt; and what was said before the agent.
    pub fn new(said: &[Message], ended: bool, truth: Truth) -> (Self, Option<Observation>) {
        let is_agent = |message: &&Message| message.role == Role::Assistant;
        let first = said.first().filter(|message| !is_agent(message));
        let answer = |(at, _)| said.get(at + 1).filter(|message| !is_agent(message)).cloned();
        let answers = said.iter().enumerate().filter(|(_, message)| is_agent(message)).map(answer).collect();
        (Self { answers, ended, truth }, first.map(|message| observed(message.clone())))
    }
}

fn observed(Message { role, content }: Message) -> Observation {
    Observation { text: content, by: role, done: false, truncated: false }
}

impl Episode for Recorded {
    fn step(&mut self, _: &Action) -> Result<Observation, EnvError> {
        let answer = self.answers.pop_front().flatten();
        let last = self.answers.is_empty() && self.ended;
        let observation = answer.map_or_else(Observation::done, observed);
        Ok(Observation { done: observation.done || last, ..observation })
    }

    fn truth(&self) -> Truth {
        self.truth.clone()
    }
}
