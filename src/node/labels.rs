//! Turns ground truth into the answer that a perfect critic would give. Only for calibration and, under
//! `unstable(oracle)`, for training a critic.
//!
//! An integer on the scale `a..b` is `b` when the task is solved. Otherwise it lies below the threshold from which a
//! verdict is positive ([`answer::threshold`]), the higher the more of the task was done: `a + floor(progress · (t − a))`,
//! at most `t − 1`. So a true answer is positive if and only if the task is solved. `progress` is the environment's metric
//! of that name, 0 where it has none. A boolean is whether the task is solved.

use super::answer;
use super::judge;
use super::spec::{AnswerKind, AnswerSchema, AnswerValue, Verdict};
use super::template::{Scope, Template};
use super::trajectory::Trajectory;
use crate::env::{Labelled, Truth};
use crate::model::{Message, Role, TrainRow};

/// Whether `metric` says solved.
pub fn solved(truth: &Truth, metric: &str) -> bool {
    truth.get(metric).is_some_and(|value| *value >= 1.0)
}

/// The true answer.
pub fn truth_answer(truth: &Truth, metric: &str, schema: &AnswerSchema) -> Verdict {
    let solved = solved(truth, metric);
    let value = |kind: &AnswerKind| match *kind {
        AnswerKind::Bool => AnswerValue::Bool(solved),
        AnswerKind::Text => AnswerValue::Text(if solved { "all is done" } else { "not all is done" }.to_owned()),
        AnswerKind::Int { max, .. } if solved => AnswerValue::Int(max),
        AnswerKind::Int { min, max } => {
            let below = answer::threshold(min, max).saturating_sub(min);
            let progress = truth.get("progress").copied().filter(|progress| progress.is_finite()).unwrap_or(0.0);
            let steps = (progress.clamp(0.0, 1.0) * below as f64).floor() as i64;
            AnswerValue::Int(min + steps.min(below.saturating_sub(1)).max(0))
        }
    };
    schema.fields.iter().map(|field| (field.name.clone(), value(&field.kind))).collect()
}

/// A labelled example as a conversation: the critic's question, and the true answer as the assistant's.
pub fn conversation(
    example: &Labelled,
    metric: &str,
    prompt: &Template,
    schema: &AnswerSchema,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Vec<Message> {
    let mut messages = judge::messages(prompt, schema, scope(example), count_tokens);
    let truth = truth_answer(&example.truth, metric, schema);
    messages.push(Message::new(Role::Assistant, answer::write(&truth, schema)));
    messages
}

/// What a critic's prompt may name of a labelled example: as of a trajectory with these turns and no ids.
pub fn scope(example: &Labelled) -> Scope {
    let Labelled { task, turns, ended, truth: _ } = example;
    let turn_of = |role: Role| turns.iter().filter(move |turn| turn.role == role);
    let calls = turn_of(Role::Tool).count();
    let trajectory = Trajectory {
        task: task.id.clone(),
        sample: 0,
        prompt_len: 0,
        row: TrainRow { tokens: Vec::new(), learn: Vec::new() },
        steps: turn_of(Role::Assistant).count() as u32,
        calls: calls as u32,
        actions: turn_of(Role::Assistant)
            .take(calls)
            .map(|turn| turn.content.replace('\n', " "))
            .collect::<Vec<_>>()
            .join("\n"),
        ended: *ended,
        truncated: false,
        error: turn_of(Role::Tool).any(|turn| turn.content.starts_with("error:")),
        logprob: 0.0,
        messages: turns.clone(),
    };
    Scope::new().task(task).trajectory(&trajectory)
}
