//! Turns a question into the JSON that an endpoint is sent.

use crate::base::Seed;
use crate::model::{LIKELIEST, Message, Role, Sampling};
use serde::Serialize;
use serde_json::json;

/// The field's newer name: the only one that some models take, while some servers know the older one alone.
pub const NEWER: &str = "max_completion_tokens";
const OLDER: &str = "max_tokens";

pub struct Body<'a> {
    pub model: &'a str,
    pub messages: &'a [Message],
    pub sampling: &'a Sampling,
    /// Tokens that the reply may have.
    pub room: u32,
    pub seed: Seed,
    /// Whether the likeliest tokens are to be told.
    pub likely: bool,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: &'a str,
}

impl Body<'_> {
    pub fn to_json(&self, newer: bool) -> String {
        let Self { model, messages, sampling, room, seed, likely } = self;
        let Sampling { temperature, top_p, top_k, min_p, repetition_penalty, max_tokens: _ } = sampling;
        let mut body = json!({
            "model": model,
            "messages": messages.iter().map(said).collect::<Vec<_>>(),
            "temperature": temperature,
            // Servers hold it in a signed integer of 32 bits, some of them.
            "seed": seed.bits(0) >> 33,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        body[if newer { NEWER } else { OLDER }] = json!(room);
        if *likely {
            body["logprobs"] = json!(true);
            body["top_logprobs"] = json!(LIKELIEST);
        }
        if *top_p < 1.0 {
            body["top_p"] = json!(top_p);
        }
        // The rest is not of the protocol: only where it was asked for.
        if *top_k > 0 {
            body["top_k"] = json!(top_k);
        }
        if *min_p > 0.0 {
            body["min_p"] = json!(min_p);
        }
        if *repetition_penalty != 1.0 {
            body["repetition_penalty"] = json!(repetition_penalty);
        }
        body.to_string()
    }
}

/// What a tool answers is said by the user: in the protocol a tool's message answers a call in the protocol's own form, and
/// here models write their calls as text.
fn said(Message { role, content }: &Message) -> Said<'_> {
    let role = if *role == Role::Tool { Role::User } else { *role };
    Said { role: role.as_str(), content }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_what_the_protocol_takes() {
        let messages =
            [Role::System, Role::User, Role::Assistant, Role::Tool].map(|role| Message::new(role, "a \"b\""));
        let sampling =
            Sampling { temperature: 0.7, top_p: 0.9, top_k: 40, min_p: 0.05, repetition_penalty: 1.1, max_tokens: 64 };
        let body = Body {
            model: "m-2026-01-01",
            messages: &messages,
            sampling: &sampling,
            room: 50,
            seed: Seed(7),
            likely: false,
        };
        insta::assert_snapshot!(body.to_json(false));
        let plain = Body { sampling: &Sampling::greedy(64), ..body };
        insta::assert_snapshot!(plain.to_json(true));
        let told = Body { likely: true, ..plain }.to_json(true);
        assert!(told.contains("\"logprobs\":true") && told.contains("\"top_logprobs\":20"), "{told}");
    }
}
