//! Turns tasks into trajectories: episodes in lockstep, all of a group asked together turn by turn; or each at its own pace, where
//! environments are waited for ([`abreast`]).
//!
//! # Invariants
//! Token in, token out: a turn's prompt is the ids before it, and only sampled ids are marked to be learned.
//! An episode's text does not depend on its company: every turn has a seed of its own, derived from the item's.
//! An environment's error never ends a group; a model's error ends its own episode only. No clock is read here: whether time
//! is up is for the caller to say.

use crate::base::Seed;
use crate::env::{Action, Begun, Env, EnvError, Episode, Task};
use crate::model::{
    Form, GenReply, GenRequest, LanguageModel, Message, ModelError, Role, Sampling, StopReason, Tokens, ToolCalls,
    ToolFormat, TrainRow,
};
use crate::node::lost::{Halt, Lost, Why};
use crate::node::template::{Scope, Template, render, token_counter};
use crate::node::trajectory::{Trajectory, TruthRecord};
use rayon::prelude::*;
use std::sync::Arc;

mod abreast;

/// What all episodes of a node share.
pub struct Rollout<'a> {
    pub model: &'a dyn LanguageModel,
    pub env: &'a Env,
    pub prompt: &'a Template,
    pub tool_format: ToolFormat,
    pub tool_calls: ToolCalls,
    pub max_steps: u32,
    pub sampling: Sampling,
}

/// One episode wanted.
#[derive(Clone, Copy, Debug)]
pub struct RolloutItem<'t> {
    pub task: &'t Task,
    pub sample: u32,
    pub seed: Seed,
}

/// A finished episode, by its place among those asked for.
pub struct Played {
    pub index: usize,
    pub trajectory: Trajectory,
    pub truth: TruthRecord,
    pub took: Tokens,
}

/// Whether unfinished episodes are to end, and why.
type Halted<'a> = &'a dyn Fn() -> Option<Halt>;

/// What an observation that is an error begins with; the environments' convention.
const ERROR: &str = "error:";

/// An episode under way.
struct Live {
    index: usize,
    seed: Seed,
    episode: Box<dyn Episode>,
    trajectory: Trajectory,
    /// What form its replies are to have.
    form: Option<Arc<Form>>,
    /// Tokens sent and drawn, as the model counts them.
    took: Tokens,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    Over,
}

/// An episode after a turn. One that is not live any more is let go of already.
enum Turned {
    Live(Live),
    Done(Played),
    Lost(usize, Lost),
}

impl Live {
    fn played(self) -> Played {
        let Self { index, episode, trajectory, took, .. } = self;
        let truth = TruthRecord { task: trajectory.task.clone(), sample: trajectory.sample, truth: episode.truth() };
        Played { index, trajectory, truth, took }
    }
}

impl Rollout<'_> {
    /// Works a group. `on_done` is called with the episodes that a turn has finished, by index, so that the caller can record
    /// them at once.
    /// `halt` is asked before each turn, and after the replies whether they came in time: unfinished episodes end there.
    pub fn run(
        &self,
        items: &[RolloutItem<'_>],
        halt: Halted<'_>,
        on_done: &mut dyn FnMut(Vec<Played>),
    ) -> Vec<Result<(), Lost>> {
        if self.env.in_flight().is_some() {
            return abreast::run(self, items, halt, on_done);
        }
        let mut results: Vec<Result<(), Lost>> = items.iter().map(|_| Ok(())).collect();
        let started: Vec<_> = items.par_iter().enumerate().map(|(index, item)| self.start(index, item)).collect();
        let mut live = Vec::with_capacity(items.len());
        for (index, episode) in started.into_iter().enumerate() {
            match episode {
                Ok(episode) => live.push(episode),
                Err(why) => results[index] = Err(why.after(Tokens::default())),
            }
        }
        while !live.is_empty() {
            if let Some(halt) = halt() {
                for Live { index, took, .. } in live {
                    results[index] = Err(Why::from(halt).after(took));
                }
                break;
            }
            let requests: Vec<GenRequest> = live.iter().map(|episode| self.request(episode)).collect();
            let replies = self.model.generate(&requests);
            assert_eq!(replies.len(), requests.len(), "a model answers every request");
            let halt = halt();
            let turned = live.into_par_iter().zip(replies).map(|(episode, reply)| self.turn(episode, reply, halt));
            let turned: Vec<Turned> = turned.collect();
            live = Vec::with_capacity(turned.len());
            let mut done = Vec::new();
            for turned in turned {
                match turned {
                    Turned::Live(episode) => live.push(episode),
                    Turned::Done(played) => done.push(played),
                    Turned::Lost(index, lost) => results[index] = Err(lost),
                }
            }
            if !done.is_empty() {
                on_done(done);
            }
        }
        results
    }

    fn start(&self, index: usize, item: &RolloutItem<'_>) -> Result<Live, Why> {
        let RolloutItem { task, sample, seed } = item;
        let count = token_counter(self.model)?;
        let messages = render(self.prompt, &Scope::new().task(task), &count);
        let mut trajectory = begun(task, *sample, messages, TrainRow::default());
        let (episode, first) = self.env.start(task, *seed)?;
        trajectory.messages.extend(first.map(|first| Message::new(first.by, first.text)));
        let tokens = self.model.encode_chat(&trajectory.messages)?;
        let context = self.model.context();
        if tokens.len() >= context {
            return Err(ModelError::TooLong { tokens: tokens.len(), context }.into());
        }
        trajectory.row = TrainRow { learn: vec![false; tokens.len()], tokens };
        let held = self.tool_calls == ToolCalls::WellFormed;
        let form = if held { self.env.form(&*episode, self.tool_format).map(Arc::new) } else { None };
        Ok(Live { index, seed: *seed, episode, trajectory, form, took: Tokens::default() })
    }

    fn request(&self, episode: &Live) -> GenRequest {
        GenRequest {
            prompt: episode.trajectory.row.tokens.clone(),
            seed: episode.seed.derive(episode.trajectory.steps),
            sampling: self.sampling.clone(),
            likely: false,
            form: episode.form.clone(),
        }
    }

    /// Takes a reply, or says that it came too late.
    fn turn(&self, mut episode: Live, reply: Result<GenReply, ModelError>, halt: Option<Halt>) -> Turned {
        let goes = match halt {
            Some(Halt::Timeout) => Err(overdue(&episode, reply)),
            _ => self.take(&mut episode, reply),
        };
        match goes {
            Ok(Goes::On) => Turned::Live(episode),
            // Here, beside the others: an environment may take its time to let one go.
            Ok(Goes::Over) => Turned::Done(episode.played()),
            Err(lost) => Turned::Lost(episode.index, lost),
        }
    }

    fn take(&self, live: &mut Live, reply: Result<GenReply, ModelError>) -> Result<Goes, Lost> {
        let reply = reply.map_err(|error| failed(live, error))?;
        live.took = live.took + reply.took(live.trajectory.row.tokens.len());
        self.step(live, &reply).map_err(|why| why.after(live.took))
    }

    /// Takes a reply: does what it says, and puts what the environment answers before the agent.
    fn step(&self, live: &mut Live, reply: &GenReply) -> Result<Goes, Why> {
        let Live { episode, trajectory, .. } = live;
        let history = trajectory.messages.len();
        trajectory.row.tokens.extend(&reply.tokens);
        trajectory.row.learn.resize(trajectory.row.tokens.len(), true);
        trajectory.logprob += reply.logprob;
        let whole = reply.stop == StopReason::EndOfTurn;
        let Some(told) = act(self.env, self.tool_format, &mut **episode, trajectory, &reply.text, whole)? else {
            return Ok(Goes::Over);
        };
        let Trajectory { messages, row, .. } = trajectory;
        // The critic reads the last observation even where the agent cannot any more.
        let (before, _) = messages.split_at(history);
        let next = if trajectory.steps < self.max_steps {
            Some(self.model.continue_chat(before, reply, std::slice::from_ref(&told))?)
        } else {
            None
        };
        messages.push(told);
        let Some(next) = next else { return Ok(Goes::Over) };
        if row.tokens.len() + next.len() >= self.model.context() {
            trajectory.truncated = true;
            return Ok(Goes::Over);
        }
        row.tokens.extend(next);
        row.learn.resize(row.tokens.len(), false);
        Ok(Goes::On)
    }
}

/// An agent's turn: what it said is done, and what the environment answers comes back, nothing where the episode is over.
fn act(
    env: &Env,
    format: ToolFormat,
    episode: &mut dyn Episode,
    trajectory: &mut Trajectory,
    said: &str,
    whole: bool,
) -> Result<Option<Message>, EnvError> {
    trajectory.messages.push(Message::new(Role::Assistant, said.to_owned()));
    trajectory.steps += 1;
    if !whole {
        // Half a reply is not an action: `delete_event(…` may have been about to go on.
        trajectory.truncated = true;
        return Ok(None);
    }
    let action = env.action(said, format);
    let mut observation = episode.step(&action)?;
    match action {
        Action::Answer(_) => {}
        Action::Call(call) => {
            trajectory.calls += 1;
            if !trajectory.actions.is_empty() {
                trajectory.actions.push('\n');
            }
            trajectory.actions.push_str(&call.canonical().replace('\n', "\\n"));
        }
        Action::Unreadable(why) => {
            if !observation.text.starts_with(ERROR) {
                observation.text = format!("{ERROR} {why}");
            }
        }
    }
    trajectory.error |= observation.by == Role::Tool && observation.text.starts_with(ERROR);
    trajectory.ended = observation.done;
    trajectory.truncated |= observation.truncated;
    let over = observation.done || observation.truncated;
    // That it was cut off by the environment shows in that something stands behind the agent's last words.
    let speaks = !over || observation.truncated || !observation.text.is_empty();
    let told = speaks.then(|| Message::new(observation.by, observation.text));
    if over {
        trajectory.messages.extend(told);
        return Ok(None);
    }
    Ok(told)
}

/// Plays a recorded episode again by what the agent said in it, without its model: all else, to the ground truth, follows from
/// that. Ids and their probability are taken as they are; so is that a last reply was cut off, or that no more fitted.
/// `begun` is the episode begun again ([`Env::again`]).
///
/// # Errors
/// An environment outside the program that fails.
pub fn replay(
    env: &Env,
    (mut episode, first): Begun,
    prompt: Vec<Message>,
    (format, max_steps): (ToolFormat, u32),
    task: &Task,
    recorded: &Trajectory,
) -> Result<(Trajectory, TruthRecord), EnvError> {
    let said = recorded.messages.get(recorded.prompt_len..).unwrap_or_default();
    let cut = recorded.truncated && said.last().is_some_and(|last| last.role == Role::Assistant);
    let said: Vec<&Message> = said.iter().filter(|message| message.role == Role::Assistant).collect();
    let mut trajectory = begun(task, recorded.sample, prompt, recorded.row.clone());
    trajectory.logprob = recorded.logprob;
    trajectory.messages.extend(first.map(|first| Message::new(first.by, first.text)));
    let mut over = false;
    for (at, message) in said.iter().enumerate() {
        let whole = !(cut && at + 1 == said.len());
        let told = act(env, format, &mut *episode, &mut trajectory, &message.content, whole)?;
        over = told.is_none() || trajectory.steps >= max_steps;
        trajectory.messages.extend(told);
        if over {
            break;
        }
    }
    // One that ends before its time was cut short, by its context or by somebody.
    trajectory.truncated |= !over;
    let truth = TruthRecord { task: task.id.clone(), sample: recorded.sample, truth: episode.truth() };
    Ok((trajectory, truth))
}

/// An episode before its first turn.
fn begun(task: &Task, sample: u32, prompt: Vec<Message>, row: TrainRow) -> Trajectory {
    Trajectory {
        task: task.id.clone(),
        sample,
        prompt_len: prompt.len(),
        messages: prompt,
        row,
        steps: 0,
        calls: 0,
        actions: String::new(),
        ended: false,
        truncated: false,
        error: false,
        logprob: 0.0,
    }
}

/// What was asked of one that failed was taken as well.
fn failed(live: &Live, error: ModelError) -> Lost {
    let sent = Tokens { prompt: live.trajectory.row.tokens.len() as u64, completion: 0 };
    let took = live.took + error.took(sent);
    Why::from(error).after(took)
}

/// A reply that came too late is paid for all the same.
fn overdue(live: &Live, reply: Result<GenReply, ModelError>) -> Lost {
    match reply {
        Ok(reply) => Why::from(Halt::Timeout).after(live.took + reply.took(live.trajectory.row.tokens.len())),
        Err(error) => Lost { why: Why::from(Halt::Timeout), ..failed(live, error) },
    }
}

#[cfg(test)]
mod tests;
