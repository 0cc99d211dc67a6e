//! Turns a seed into labelled verdicts: trajectories of an agent that makes a small model's mistakes, with what came of them.

use super::episode::DeskEpisode;
use super::expert;
use super::families::{Family, LESSON_PAIRS, TASKS};
use super::lessons::{opening, slip};
use super::lexicon::Pool;
use super::task::{Draft, compose};
use crate::base::seed::Rng;
use crate::env::call::render;
use crate::env::{Action, Episode, Example, Labelled};
use crate::model::{Message, Role, ToolFormat};

/// Share of the trajectories without a mistake on purpose.
const RIGHT: f64 = 0.5;

/// Draws a family by weight; families of test count as those of train do.
pub fn family(weight: impl Fn(&Family) -> u32, rng: &mut Rng) -> &'static Family {
    let total: u32 = TASKS.iter().map(&weight).sum();
    let mut left = rng.below(total as usize) as u32;
    for family in TASKS {
        if left < weight(family) {
            return family;
        }
        left -= weight(family);
    }
    unreachable!("a draw is below the sum of the weights")
}

pub fn verdict(id: String, rng: &mut Rng) -> Example {
    let family =
        if rng.chance(0.15) { rng.pick(LESSON_PAIRS) } else { family(|family| family.train.max(family.test), rng) };
    let draft = compose(family.parts, Pool::All, rng);
    let actions = noisy(&draft, rng);
    let mut episode = DeskEpisode::new(draft.goal.clone());
    let (turns, ended) = act(&mut episode, &actions);
    let truth = episode.truth();
    let mut messages = opening(&draft.tools(), &draft.request);
    messages.extend(turns.clone());
    Example { messages, labelled: Some(Labelled { task: draft.into_task(id), turns, ended, truth }) }
}

/// An expert's episode.
pub fn demo(rng: &mut Rng) -> Example {
    let draft = compose(family(|family| family.train, rng).parts, Pool::Train, rng);
    let mut messages = opening(&draft.tools(), &draft.request);
    messages.extend(act(&mut DeskEpisode::new(draft.goal.clone()), &expert::actions(&draft.goal)).0);
    Example { messages, labelled: None }
}

/// Steps an episode; the turns and whether it ended.
fn act(episode: &mut DeskEpisode, actions: &[Action]) -> (Vec<Message>, bool) {
    let mut turns = Vec::new();
    for action in actions {
        let observation = episode.step(action);
        let text = match action {
            Action::Call(call) => render(call, ToolFormat::Lines),
            Action::Answer(text) | Action::Unreadable(text) => text.clone(),
        };
        turns.push(Message::new(Role::Assistant, text));
        if observation.done {
            return (turns, true);
        }
        turns.push(Message::new(Role::Tool, observation.text));
    }
    (turns, false)
}

fn noisy(draft: &Draft, rng: &mut Rng) -> Vec<Action> {
    let mut actions = expert::actions(&draft.goal);
    if rng.chance(RIGHT) {
        return actions;
    }
    let calls = actions.len() - 1;
    let at = rng.below(calls);
    match rng.below(6) {
        // Stops early.
        0 | 1 if calls > 1 => drop(actions.drain(1 + rng.below(calls - 1)..calls)),
        // Skips a step.
        2 if calls > 1 => drop(actions.remove(at)),
        // Does a step twice.
        3 => actions.insert(at, actions[at].clone()),
        // Never answers.
        4 => drop(actions.pop()),
        _ => {
            if let Action::Call(call) = &actions[at] {
                actions[at] = Action::Call(slip(&draft.goal.plan[at], call, rng));
            }
        }
    }
    actions
}
