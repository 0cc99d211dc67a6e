//! Turns trajectories into a critic's raw replies, and raw replies into verdicts.

use super::spec::{AnswerSchema, Verdict};
use super::template::{Scope, Template};
use crate::base::Seed;
use crate::model::{LanguageModel, Message, ModelError, Sampling, StopReason};
use crate::node::metric::Metric;
use serde::{Deserialize, Serialize};

/// One question to a critic.
#[derive(Clone, Debug)]
pub struct JudgeItem {
    pub messages: Vec<Message>,
    pub seed: Seed,
}

/// What the critic said, raw. Stored as it is; reading it is a step of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgeReply {
    pub text: String,
    pub stop: StopReason,
    pub tokens: u32,
}

/// The messages of one question: the critic's prompt over `task` and `traj`, with the answer's instructions.
pub fn messages(
    prompt: &Template,
    answer: &AnswerSchema,
    scope: Scope,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Vec<Message> {
    super::template::render(prompt, &scope.answer_format(super::answer::format(answer)), count_tokens)
}

/// Asks for a group of verdicts. `on_done(index, reply)` is called for each reply, in order.
pub fn run_group(
    model: &dyn LanguageModel,
    sampling: &Sampling,
    items: &[JudgeItem],
    on_done: &mut dyn FnMut(usize, JudgeReply),
) -> Vec<Result<(), ModelError>> {
    let _ = (model, sampling, items, on_done);
    todo!()
}

/// Reads a raw reply. A reply that was cut off is read up to its last whole line only.
///
/// # Errors
/// Why it cannot be read.
pub fn read(reply: &JudgeReply, schema: &AnswerSchema) -> Result<Verdict, String> {
    let _ = (reply, schema);
    todo!()
}

/// `count` (asked), `parsed` (share that could be read) and `FIELD.mean` of each number or boolean.
pub fn metrics(verdicts: &[Option<Verdict>], schema: &AnswerSchema) -> Vec<Metric> {
    let _ = (verdicts, schema);
    todo!()
}
