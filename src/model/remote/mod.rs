//! Turns an OpenAI-compatible endpoint into a model: `POST {base_url}/chat/completions`, streamed.
//!
//! Its tokenizer is unknown, so its ids spell the conversation ([`super::spelled`]); what it charges for is counted as the
//! endpoint says, and by those ids where it does not say.
//!
//! # Invariants
//! Nothing is asked before the first request, and the key is needed only then. It is sent to the declared address alone.
//! A reply of any size or shape is a reply or an error.

mod ask;
mod body;
mod error;
mod pace;
mod reply;
mod resolve;
#[cfg(test)]
pub(crate) mod tests;

pub(super) use ask::retry_after;
pub use ask::{CHARGED, exchange};
pub use error::RemoteError;
pub(super) use pace::Pace;

use super::spelled;
use super::{
    GenReply, GenRequest, LanguageModel, Message, ModelError, Remote, StopReason, TokenId, Tokens, TrainRow, Wire,
};
use ask::Client;
use body::Body;
use reply::Reply;

/// Whether the endpoint has the model, as far as it says; nothing is charged for that.
///
/// # Errors
/// It cannot be reached, refuses, or does not say.
pub fn has_model(remote: &Remote, wire: &Wire) -> Result<bool, RemoteError> {
    Ok(Client::new(remote, wire).models()?.contains(&remote.name))
}

pub struct RemoteModel {
    name: String,
    context: usize,
    in_flight: usize,
    client: Client,
}

impl RemoteModel {
    pub fn open(remote: &Remote, context: u32, wire: &Wire) -> Self {
        Self {
            name: remote.name.clone(),
            context: context as usize,
            in_flight: remote.limits.in_flight as usize,
            client: Client::new(remote, wire),
        }
    }

    fn reply(
        &self,
        GenRequest { prompt, seed, sampling, likely, form: _ }: &GenRequest,
    ) -> Result<GenReply, ModelError> {
        let (tokens, context) = (prompt.len(), self.context);
        let room = context.saturating_sub(tokens);
        if room == 0 {
            return Err(ModelError::TooLong { tokens, context });
        }
        let room = sampling.max_tokens.min(u32::try_from(room).unwrap_or(u32::MAX));
        let messages = spelled::messages(prompt);
        let body = Body { model: &self.name, messages: &messages, sampling, room, seed: *seed, likely: *likely };
        let most = Tokens { prompt: tokens as u64, completion: u64::from(room) };
        let (Reply { text, finish, calls, usage, tokens: told }, before) = self.client.ask(&body, *seed, most)?;
        let mut ids = spelled::encode(&text);
        let stop = if reply::CUT.contains(&finish.as_str()) {
            StopReason::MaxTokens
        } else {
            ids.push(spelled::END);
            StopReason::EndOfTurn
        };
        let said = Tokens { prompt: tokens as u64, completion: ids.len() as u64 };
        let used = before + usage.unwrap_or(said);
        let failed = |problem| Err(ModelError::Remote { problem, took: used });
        match finish.as_str() {
            "content_filter" => failed(RemoteError::Filtered),
            end if calls || (text.is_empty() && matches!(end, "tool_calls" | "function_call")) => failed(
                RemoteError::Malformed("it calls a tool in the protocol's own form, and was offered none".to_owned()),
            ),
            _ => {
                let likely = if *likely { reply::likely(&text, &told) } else { Vec::new() };
                Ok(GenReply { tokens: ids, text, stop, logprob: 0.0, likely, used: Some(used) })
            }
        }
    }
}

impl LanguageModel for RemoteModel {
    fn context(&self) -> usize {
        self.context
    }

    fn encode_chat(&self, messages: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        Ok(spelled::chat(messages))
    }

    fn continue_chat(&self, _: &[Message], reply: &GenReply, next: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        Ok(spelled::continued(&reply.tokens, next))
    }

    fn encode_row(&self, messages: &[Message]) -> Result<TrainRow, ModelError> {
        Ok(spelled::row(messages))
    }

    fn in_flight(&self) -> Option<usize> {
        Some(self.in_flight)
    }

    fn generate(&self, requests: &[GenRequest]) -> Vec<Result<GenReply, ModelError>> {
        requests.iter().map(|request| self.reply(request)).collect()
    }
}
