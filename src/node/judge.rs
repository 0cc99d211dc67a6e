//! Turns trajectories into a critic's raw replies, and raw replies into verdicts.
//!
//! Asking and reading are two steps: a changed parser costs no call.
//!
//! # Invariants
//! A reply that cannot be read has no figure; it is counted. Nothing here knows ground truth.

use super::answer;
use super::spec::{AnswerKind, AnswerSchema, AnswerValue, Verdict};
use super::template::{Scope, Template, render};
use crate::base::Seed;
use crate::model::{GenRequest, LanguageModel, Likely, Message, ModelError, Sampling, StopReason, Tokens};
use crate::node::lost::{Halt, Lost, Why};
use crate::node::metric::Metric;
use rayon::prelude::*;
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
    /// How likely the numbers in it were, where the answer is read by expectation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub likely: Vec<Likely>,
}

/// The messages of one question: the critic's prompt over the task and what was done, with the answer's instructions.
pub fn messages(
    prompt: &Template,
    instructions: String,
    scope: Scope,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Vec<Message> {
    render(prompt, &scope.answer_format(instructions), count_tokens)
}

/// Asks for a group of verdicts; `likely`, with how likely the numbers in them are. `on_done` is called with the replies in order, each with its index and what it took; not
/// where `halt` says that they came too late.
pub fn run_group(
    model: &dyn LanguageModel,
    sampling: &Sampling,
    likely: bool,
    items: &[JudgeItem],
    halt: &dyn Fn() -> Option<Halt>,
    on_done: &mut dyn FnMut(Vec<(usize, Tokens, JudgeReply)>),
) -> Vec<Result<(), Lost>> {
    let encode = |JudgeItem { messages, seed }: &JudgeItem| {
        let prompt = model.encode_chat(messages)?;
        let (tokens, context) = (prompt.len(), model.context());
        if tokens >= context {
            return Err(ModelError::TooLong { tokens, context });
        }
        Ok(GenRequest { prompt, seed: *seed, sampling: sampling.clone(), likely, form: None })
    };
    let encoded: Vec<Result<GenRequest, ModelError>> = items.par_iter().map(encode).collect();
    let (mut asked, mut requests) = (Vec::new(), Vec::new());
    let mut results: Vec<Result<(), Lost>> = Vec::with_capacity(items.len());
    for (index, request) in encoded.into_iter().enumerate() {
        let request = request.map_err(|error| Why::from(error).after(Tokens::default()));
        results.push(request.map(|request| {
            asked.push(index);
            requests.push(request);
        }));
    }
    let replies = model.generate(&requests);
    assert_eq!(replies.len(), requests.len(), "a model answers every request");
    let late = halt() == Some(Halt::Timeout);
    let mut done = Vec::with_capacity(requests.len());
    for ((index, request), reply) in asked.into_iter().zip(&requests).zip(replies) {
        let sent = Tokens { prompt: request.prompt.len() as u64, completion: 0 };
        let took = reply.as_ref().map_or_else(|error| error.took(sent), |reply| reply.took(request.prompt.len()));
        results[index] = match reply {
            _ if late => Err(Why::from(Halt::Timeout).after(took)),
            Err(error) => Err(Why::from(error).after(took)),
            Ok(reply) => {
                let tokens = u32::try_from(reply.tokens.len()).unwrap_or(u32::MAX);
                done.push((
                    index,
                    took,
                    JudgeReply { text: reply.text, stop: reply.stop, tokens, likely: reply.likely },
                ));
                Ok(())
            }
        };
    }
    if !done.is_empty() {
        on_done(done);
    }
    results
}

/// Reads a raw reply. One that was cut off is read up to its last whole line: `score: 1` may have been to be `score: 10`.
///
/// # Errors
/// Why it cannot be read.
pub fn read(reply: &JudgeReply, schema: &AnswerSchema) -> Result<Verdict, String> {
    read_with(reply, |text| answer::parse(text, schema, &reply.likely))
}

/// The same by another parser.
///
/// # Errors
/// As the parser's.
pub fn read_with<T>(reply: &JudgeReply, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
    let JudgeReply { text, stop, tokens: _, likely: _ } = reply;
    if *stop == StopReason::EndOfTurn {
        return parse(text);
    }
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    parse(whole).map_err(|why| format!("the reply was cut off, and {why}"))
}

/// `count` (asked), `parsed` (share that could be read) and `FIELD.mean` of each number or boolean.
pub fn metrics(verdicts: &[Option<&Verdict>], schema: &AnswerSchema) -> Vec<Metric> {
    let read: Vec<&Verdict> = verdicts.iter().copied().flatten().collect();
    let mut metrics = vec![Metric::plain("count", verdicts.len() as f64, verdicts.len())];
    metrics.extend(Metric::share("parsed", read.len(), verdicts.len()));
    for field in &schema.fields {
        let name = format!("{}.mean", field.name);
        let values = read.iter().filter_map(|verdict| verdict.get(&field.name));
        metrics.extend(match field.kind {
            AnswerKind::Int { .. } => {
                Metric::mean(&name, &values.filter_map(AnswerValue::figure).collect::<Vec<f64>>())
            }
            AnswerKind::Bool => {
                Metric::share(&name, values.filter(|value| **value == AnswerValue::Bool(true)).count(), read.len())
            }
            AnswerKind::Text => None,
        });
    }
    metrics
}

#[cfg(test)]
mod tests;
