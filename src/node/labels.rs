//! Turns ground truth into the answer that a perfect critic would give. Only for calibration and, under
//! `unstable(oracle)`, for training a critic.

use super::spec::{AnswerSchema, Verdict};
use super::template::{Scope, Template};
use crate::env::{Labelled, Truth};
use crate::model::Message;

/// Whether `metric` says solved.
pub fn solved(truth: &Truth, metric: &str) -> bool {
    truth.get(metric).is_some_and(|value| *value >= 1.0)
}

/// The true answer.
pub fn truth_answer(truth: &Truth, metric: &str, schema: &AnswerSchema) -> Verdict {
    let _ = (truth, metric, schema);
    todo!()
}

/// A labelled example as a conversation: the critic's question, and the true answer as the assistant's.
pub fn conversation(
    example: &Labelled,
    metric: &str,
    prompt: &Template,
    schema: &AnswerSchema,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Vec<Message> {
    let _ = (example, metric, prompt, schema, count_tokens);
    todo!()
}

/// What a critic's prompt may name of a labelled example.
pub fn scope(example: &Labelled) -> Scope {
    let _ = example;
    todo!()
}
