//! One run through one task: steps the office and knows how far the goal is met.
//!
//! # Invariants
//! Success needs every effect of the goal exactly once, no other effect, and an answer that says the asked values and no
//! other value of their kinds. No action panics.

use super::lexicon::ROOMS;
use super::moves::Value;
use super::task::Goal;
use super::tools::{Office, UNREADABLE};
use crate::env::{Action, Callable, Observation, PureEpisode, Truth};

/// Characters of an answer that are read.
const LONGEST_ANSWER: usize = 2000;

/// An episode of the desk.
#[derive(Clone, Debug)]
pub struct DeskEpisode {
    goal: Goal,
    pub office: Office,
    answer: Option<String>,
}

impl DeskEpisode {
    pub fn new(goal: Goal) -> Self {
        let office = Office::new(goal.world.clone(), goal.granted.clone());
        Self { goal, office, answer: None }
    }

    pub fn is_done(&self) -> bool {
        self.answer.is_some()
    }
}

impl PureEpisode for DeskEpisode {
    fn step(&mut self, action: &Action) -> Observation {
        if self.is_done() {
            return Observation::done();
        }
        match action {
            Action::Call(call) => Observation::told(self.office.call(call)),
            Action::Unreadable(_) => Observation::told(UNREADABLE),
            Action::Answer(text) => {
                self.answer = Some(text.chars().take(LONGEST_ANSWER).collect());
                Observation::done()
            }
        }
    }

    fn tools(&self) -> Vec<Callable> {
        self.office.granted().iter().map(|tool| tool.callable()).collect()
    }

    fn truth(&self) -> Truth {
        let mut missing = self.goal.effects.clone();
        let mut extra = 0usize;
        for effect in &self.office.effects {
            match missing.iter().position(|wanted| wanted == effect) {
                Some(place) => drop(missing.swap_remove(place)),
                None => extra += 1,
            }
        }
        let answered = self.answer.as_deref().map_or(0, |text| said(&self.goal, text));
        let parts = self.goal.effects.len() + self.goal.answers.len();
        let met = self.goal.effects.len() - missing.len() + answered;
        let progress = met as f64 / (parts + extra).max(1) as f64;
        let success = self.answer.is_some() && met == parts && extra == 0;
        let figures = [("success", f64::from(u8::from(success))), ("progress", progress)];
        figures.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect()
    }
}

/// How many of the asked values an answer says. A kind of which it also says a wrong value does not count: a list of
/// guesses is no answer.
fn said(goal: &Goal, text: &str) -> usize {
    let words: Vec<&str> =
        text.split_whitespace().map(|word| word.trim_matches(|c| ".,;!?\"'()".contains(c))).collect();
    let wanted =
        |kind: Value, word: &str| goal.answers.iter().any(|answer| answer.kind == kind && answer.value == word);
    let clean = |kind: Value| words.iter().all(|word| !is_value(kind, word) || wanted(kind, word));
    goal.answers.iter().filter(|answer| words.contains(&answer.value.as_str()) && clean(answer.kind)).count()
}

fn is_value(kind: Value, word: &str) -> bool {
    match kind {
        Value::Address => word.contains('@'),
        Value::Room => ROOMS.contains(&word),
        Value::Time => word.contains(':'),
        Value::Amount => !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()),
    }
}
