//! Turns a seed into conversations to learn from: the corpus that the base policy is pre-trained on, and dialogues.
//!
//! Lessons have the shape of real episodes. They teach language, format, copying and single calls, and requests of several
//! parts in combinations that no task uses. Like the web they are written by careful and by careless hands: often the
//! assistant of a lesson with several parts stops early or copies a wrong value, so that good behaviour is in a base model
//! without being its first choice.
//!
//! # Invariants
//! No lesson shows a combination of moves that a task is made of.

use super::episode::DeskEpisode;
use super::families::{self, SINGLES};
use super::lexicon::Pool;
use super::mistakes::{other_found, refused, slip};
use super::moves::Value;
use super::small_talk;
use super::task::{Draft, answer_text, compose, found_value};
use super::tools::Tool;
use crate::base::seed::Rng;
use crate::env::call::render;
use crate::env::{Action, Call, PureEpisode};
use crate::model::{Message, Role, ToolFormat};

/// The system message of an episode: this line, then the granted tools, one a line.
pub const SYSTEM: &str = "You work at a desk. Call one tool per turn. When nothing is left to do, answer the user.";

/// What a corpus is mixed of. Shares are of all its conversations, what is left being single calls.
#[derive(Debug)]
pub struct Corpus {
    read_back: f64,
    talk: f64,
    /// Requests of dependent parts.
    pairs: f64,
    /// Requests of independent parts.
    independent: f64,
    /// Share of the conversations with several parts in which the assistant is careless.
    careless: f64,
    /// Share of the careless that stop early; the others copy a wrong value.
    stops_early: f64,
}

/// Teaches to speak, to copy and to call.
pub const LESSONS: Corpus =
    Corpus { read_back: 0.06, talk: 0.04, pairs: 0.20, independent: 0.22, careless: 0.5, stops_early: 0.7 };

/// Teaches the habit of most hands: of several parts, one is done and the rest is forgotten.
pub const HASTY: Corpus =
    Corpus { read_back: 0.03, talk: 0.02, pairs: 0.30, independent: 0.30, careless: 0.75, stops_early: 0.93 };

/// Share of lessons in which the assistant first makes a mistake that a tool refuses, and mends it.
const RECOVERS: f64 = 0.06;

pub fn phrases() -> [String; 2] {
    [SYSTEM.to_owned(), "call Done. The address room time amount is".to_owned()]
}

/// The opening of a conversation, as the quickstart's `act` prompt renders it.
pub fn opening(tools: &[String], request: &str) -> Vec<Message> {
    let system = format!("{SYSTEM}\n{}", tools.join("\n"));
    vec![Message::new(Role::System, system), Message::new(Role::User, request)]
}

/// One conversation of a corpus.
pub fn lesson(corpus: &Corpus, rng: &mut Rng) -> Vec<Message> {
    let Corpus { read_back, talk: small_talk, pairs, independent: unrelated, careless: _, stops_early: _ } = corpus;
    let kind = rng.uniform();
    if kind < *read_back {
        return talk(&[small_talk::read_back(rng)], rng);
    }
    if kind < read_back + small_talk {
        return talk(&[small_talk::exchange(rng)], rng);
    }
    if kind < read_back + small_talk + pairs {
        return several(&compose(rng.pick(families::LESSONS).parts, Pool::All, rng), corpus, rng);
    }
    if kind < read_back + small_talk + pairs + unrelated {
        return several(&independent(rng), corpus, rng);
    }
    carry_out(&single(rng), usize::MAX, None, rng)
}

/// Ordinary dialogue: talk of one to three exchanges, and single calls.
pub fn dialogue(rng: &mut Rng) -> Vec<Message> {
    if rng.chance(0.4) {
        return carry_out(&single(rng), usize::MAX, None, rng);
    }
    let exchanges: Vec<_> = (0..1 + rng.below(3)).map(|_| small_talk::exchange(rng)).collect();
    talk(&exchanges, rng)
}

fn single(rng: &mut Rng) -> Draft {
    let key = *rng.pick(SINGLES);
    compose(&[&[key]], Pool::All, rng)
}

/// Two parts, now and then three, that have nothing to do with each other.
fn independent(rng: &mut Rng) -> Draft {
    let mut keys = SINGLES.to_vec();
    rng.shuffle(&mut keys);
    let count = if rng.chance(0.2) { 3 } else { 2 };
    let parts: Vec<&[&str]> = keys[..count].iter().map(std::slice::from_ref).collect();
    compose(&parts, Pool::All, rng)
}

fn talk(exchanges: &[(String, String)], rng: &mut Rng) -> Vec<Message> {
    let mut tools = Tool::ALL.to_vec();
    rng.shuffle(&mut tools);
    let tools: Vec<String> = tools.into_iter().take(3 + rng.below(3)).map(Tool::signature).collect();
    let mut messages = opening(&tools, "");
    messages.truncate(1);
    for (said, reply) in exchanges {
        messages.push(Message::new(Role::User, said));
        messages.push(Message::new(Role::Assistant, reply));
    }
    messages
}

/// A lesson with several parts, by a careful or a careless hand.
fn several(draft: &Draft, corpus: &Corpus, rng: &mut Rng) -> Vec<Message> {
    let steps = draft.goal.plan.len();
    if !rng.chance(corpus.careless) {
        return carry_out(draft, usize::MAX, None, rng);
    }
    if rng.chance(corpus.stops_early) {
        return carry_out(draft, 1 + rng.below(steps - 1), None, rng);
    }
    let goal = &draft.goal;
    let told = |place: usize| goal.answers.iter().any(|answer| answer.step == place);
    let may_slip: Vec<usize> = (0..steps).filter(|&place| goal.plan[place].finds.is_none() || told(place)).collect();
    let wrong = *rng.pick(&may_slip);
    carry_out(draft, usize::MAX, Some(wrong), rng)
}

/// Carries a draft's plan out for `limit` steps and answers as if all was done. What step `wrong` was to write or to tell
/// comes out wrong: a look-up for the answer is made well and told wrong, so that a slip looks like a slip.
fn carry_out(draft: &Draft, limit: usize, wrong: Option<usize>, rng: &mut Rng) -> Vec<Message> {
    let goal = &draft.goal;
    let mut episode = DeskEpisode::new(goal.clone());
    let mut messages = opening(&draft.tools(), &draft.request);
    let mut found: Vec<String> = Vec::new();
    let mends = rng.chance(RECOVERS).then(|| rng.below(goal.plan.len()));
    for (place, step) in goal.plan.iter().take(limit).enumerate() {
        let mut call = step.call(&found);
        if wrong == Some(place) && step.finds.is_none() {
            call = slip(step, &call, &goal.world, rng);
        } else if mends == Some(place) {
            let wrong = refused(step, &call, &episode.office, rng);
            say(&mut messages, &mut episode, &wrong);
        }
        found.push(found_value(&say(&mut messages, &mut episode, &call)));
    }
    let answers: Vec<(Value, String)> = (goal.answers.iter())
        .filter_map(|answer| {
            let value = found.get(answer.step)?.clone();
            let wrong = wrong == Some(answer.step);
            Some((answer.kind, if wrong { other_found(answer.kind, &value, &goal.world, rng) } else { value }))
        })
        .collect();
    messages.push(Message::new(Role::Assistant, answer_text(&answers)));
    messages
}

fn say(messages: &mut Vec<Message>, episode: &mut DeskEpisode, call: &Call) -> String {
    let observation = episode.step(&Action::Call(call.clone())).text;
    messages.push(Message::new(Role::Assistant, render(call, ToolFormat::Lines)));
    messages.push(Message::new(Role::Tool, observation.clone()));
    observation
}
