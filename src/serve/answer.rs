//! Turns what is said of a request's replies into OpenAI's objects: a completion, or the events of a stream.
//!
//! # Invariants
//! A stream says what the whole would have said. Nothing of a request is in it but its replies.

use super::refusal::Refusal;
use super::reply::{Ended, Finish, Said};
use super::tools::Tools;
use crate::model::Tokens;
use crate::model::attend::{Candidate, Probable};
use futures_core::Stream;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::UnboundedReceiver;

/// What each object of an answer repeats, and what is known before it.
pub struct Head {
    /// Unique of this server's; ids of calls are made of it.
    pub id: String,
    /// Seconds since the Unix epoch.
    pub created: u64,
    pub model: String,
    pub fingerprint: String,
    pub tools: Option<Tools>,
    pub logprobs: bool,
    /// Tokens of the prompt.
    pub prompt: u64,
    pub replies: usize,
}

#[derive(Clone, Default)]
struct Choice {
    text: String,
    probable: Vec<Probable>,
    ended: Option<Ended>,
}

impl Head {
    /// Hears all replies to their ends.
    ///
    /// # Errors
    /// A reply that failed; nobody that answers any more.
    pub async fn whole(&self, mut heard: UnboundedReceiver<(usize, Said)>) -> Result<Value, Refusal> {
        let mut choices = vec![Choice::default(); self.replies];
        while choices.iter().any(|choice| choice.ended.is_none()) {
            let (index, said) = heard.recv().await.ok_or_else(gone)?;
            let choice = &mut choices[index];
            match said {
                Said::Text(text, probable) => {
                    choice.text.push_str(&text);
                    choice.probable.extend(probable);
                }
                Said::Ended(ended) => choice.ended = Some(ended),
                Said::Failed(problem) => return Err(problem.into()),
            }
        }
        let tokens = choices.iter().filter_map(|choice| choice.ended.as_ref()).map(|ended| ended.tokens).sum();
        let choices: Vec<Value> =
            choices.into_iter().enumerate().map(|(index, choice)| self.choice(index, choice)).collect();
        let mut answer = self.object("chat.completion", Value::Array(choices));
        answer["usage"] = self.usage(tokens);
        Ok(answer)
    }

    fn choice(&self, index: usize, Choice { text, probable, ended }: Choice) -> Value {
        let Some(Ended { finish, call, tokens: _ }) = ended else { return Value::Null };
        let mut message = json!({ "role": "assistant", "content": text, "refusal": null });
        if let Some(mut call) = call.and_then(|call| self.call(index, &call)) {
            message["content"] = if text.is_empty() { Value::Null } else { Value::String(text) };
            call.as_object_mut().map(|call| call.remove("index"));
            message["tool_calls"] = json!([call]);
        }
        json!({
            "index": index,
            "message": message,
            "logprobs": self.logprobs(&probable),
            "finish_reason": finish.as_str(),
        })
    }

    fn call(&self, index: usize, call: &crate::env::Call) -> Option<Value> {
        let arguments = self.tools.as_ref()?.arguments(call);
        Some(json!({
            "index": 0,
            "id": format!("call_{}_{index}", self.id),
            "type": "function",
            "function": { "name": call.name, "arguments": arguments },
        }))
    }

    fn logprobs(&self, probable: &[Probable]) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        let token = |Candidate { text, logprob }: &Candidate| {
            // Bytes are only known where the token is a text of its own.
            let bytes = (!text.contains(char::REPLACEMENT_CHARACTER)).then_some(text.as_bytes());
            json!({ "token": text, "logprob": logprob, "bytes": bytes })
        };
        let content = probable.iter().map(|Probable { drawn, likeliest }| {
            let mut drawn = token(drawn);
            drawn["top_logprobs"] = likeliest.iter().map(token).collect();
            drawn
        });
        json!({ "content": content.collect::<Vec<_>>(), "refusal": null })
    }

    fn usage(&self, completion: u64) -> Value {
        let Tokens { prompt, completion } = Tokens { prompt: self.prompt, completion };
        json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion })
    }

    fn object(&self, kind: &str, choices: Value) -> Value {
        json!({
            "id": format!("chatcmpl-{}", self.id),
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        })
    }
}

fn gone() -> Refusal {
    Refusal::broken("the model answers no more")
}

/// The server-sent events of an answer.
pub struct Events {
    head: Head,
    heard: UnboundedReceiver<(usize, Said)>,
    /// Whether each chunk tells the usage: of all but the last, that there is none.
    usage: bool,
    /// Written, and not sent yet.
    ready: VecDeque<Value>,
    left: usize,
    tokens: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Goes,
    /// All is said but that it is all.
    Said,
    Over,
}

impl Events {
    pub fn new(head: Head, heard: UnboundedReceiver<(usize, Said)>, usage: bool) -> Self {
        let left = head.replies;
        let mut events = Self { head, heard, usage, ready: VecDeque::new(), left, tokens: 0, state: State::Goes };
        for index in 0..left {
            let delta = json!({ "role": "assistant", "content": "", "refusal": null });
            events.put(index, delta, Value::Null, None);
        }
        events
    }

    fn put(&mut self, index: usize, delta: Value, logprobs: Value, finish: Option<Finish>) {
        let choice = json!({
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish.map(Finish::as_str),
        });
        let mut chunk = self.head.object("chat.completion.chunk", json!([choice]));
        if self.usage {
            chunk["usage"] = Value::Null;
        }
        self.ready.push_back(chunk);
    }

    fn take(&mut self, index: usize, said: Said) {
        match said {
            Said::Text(text, probable) => {
                let logprobs = self.head.logprobs(&probable);
                self.put(index, json!({ "content": text }), logprobs, None);
            }
            Said::Ended(Ended { finish, call, tokens }) => {
                if let Some(call) = call.and_then(|call| self.head.call(index, &call)) {
                    self.put(index, json!({ "tool_calls": [call] }), Value::Null, None);
                }
                self.put(index, json!({}), Value::Null, Some(finish));
                self.tokens += tokens;
                self.left -= 1;
                if self.left == 0 {
                    self.state = State::Said;
                    if self.usage {
                        let mut last = self.head.object("chat.completion.chunk", json!([]));
                        last["usage"] = self.head.usage(self.tokens);
                        self.ready.push_back(last);
                    }
                }
            }
            Said::Failed(problem) => self.fail(&problem.into()),
        }
    }

    /// An error ends a stream without the word that all was said.
    fn fail(&mut self, refusal: &Refusal) {
        self.ready.push_back(refusal.to_json());
        self.state = State::Over;
        self.heard.close();
    }
}

impl Stream for Events {
    type Item = Result<String, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(format!("data: {chunk}\n\n"))));
            }
            match self.state {
                State::Over => return Poll::Ready(None),
                State::Said => {
                    self.state = State::Over;
                    return Poll::Ready(Some(Ok("data: [DONE]\n\n".to_owned())));
                }
                State::Goes => match ready!(self.heard.poll_recv(context)) {
                    Some((index, said)) => self.take(index, said),
                    None => self.fail(&gone()),
                },
            }
        }
    }
}
