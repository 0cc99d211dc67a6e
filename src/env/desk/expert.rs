//! Turns a task's hidden plan into the actions of someone who makes no mistake.

use super::episode::DeskEpisode;
use super::task::{Goal, answer_text, found_value, goal};
use crate::env::{Action, PureEpisode, Task};

/// Actions that solve the task, the answer last. Nothing when the task is not one of ours.
pub fn expert(task: &Task) -> Vec<Action> {
    goal(task).map_or_else(Vec::new, |goal| actions(&goal))
}

pub fn actions(goal: &Goal) -> Vec<Action> {
    let mut episode = DeskEpisode::new(goal.clone());
    let (mut actions, mut found) = (Vec::new(), Vec::new());
    for step in &goal.plan {
        let action = Action::Call(step.call(&found));
        found.push(found_value(&episode.step(&action).text));
        actions.push(action);
    }
    let answers: Vec<_> = goal.answers.iter().map(|answer| (answer.kind, found[answer.step].clone())).collect();
    actions.push(Action::Answer(answer_text(&answers)));
    actions
}
