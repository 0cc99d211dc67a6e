//! Turns the body of a chat completion into what is asked of a model.
//!
//! # Invariants
//! What cannot be done is refused before anything is asked, by the field's name; nothing that would change a reply is passed over.

use super::fields::{Fields, clip, unsupported, wrong};
use super::refusal::Refusal;
use super::tools::{Tools, is_name};
use crate::base::Seed;
use crate::env::call::{self, Call, json};
use crate::model::{Message, Role, Sampling, ToolFormat};
use serde_json::Value;
use std::sync::Arc;

const MOST_MESSAGES: usize = 4096;
const MOST_REPLIES: u32 = 128;
const MOST_STOPS: usize = 4;
/// Bytes: it is looked for in every token's text.
const LONGEST_STOP: usize = 1024;
const MOST_LIKELIEST: u32 = 20;

#[derive(Debug)]
pub struct Question {
    pub model: String,
    pub messages: Vec<Message>,
    /// Those that the model is shown and may call.
    pub tools: Option<Tools>,
    pub sampling: Sampling,
    pub seed: Option<Seed>,
    pub replies: u32,
    /// A reply ends before the first of these.
    pub stops: Arc<[String]>,
    pub probable: Option<usize>,
    pub stream: Option<Streamed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streamed {
    pub usage: bool,
}

impl Question {
    /// # Errors
    /// What is no request of the protocol, or asks for what this server cannot do.
    pub fn read(body: &[u8], format: ToolFormat) -> Result<Self, Refusal> {
        let value =
            serde_json::from_slice(body).map_err(|problem| Refusal::bad(format!("the body is not JSON: {problem}")))?;
        let mut fields = Fields::new("", value)?;
        let model = fields.text("model")?;
        let model = fields.needed("model", model)?;
        let messages = fields.list("messages")?;
        let messages = messages_of(fields.needed("messages", messages)?, format)?;
        let tools = fields.list("tools")?.map_or(Ok(None), |tools| Tools::read(body, tools))?;
        let may_call = tool_choice(&mut fields, tools.is_some())?;
        let question = Self {
            model,
            messages,
            tools: tools.filter(|_| may_call),
            sampling: sampling(&mut fields)?,
            seed: seed(&mut fields)?,
            replies: fields.count("n", 1..=MOST_REPLIES)?.unwrap_or(1),
            stops: stops(&mut fields)?,
            probable: probable(&mut fields)?,
            stream: stream(&mut fields)?,
        };
        refuse_the_rest(fields)?;
        Ok(question)
    }
}

fn sampling(fields: &mut Fields) -> Result<Sampling, Refusal> {
    let mut limit = |name| fields.count(name, 1..=u32::MAX);
    let (older, newer) = (limit("max_tokens")?, limit("max_completion_tokens")?);
    let drawn = Sampling::drawn(older.into_iter().chain(newer).min().unwrap_or(u32::MAX));
    Ok(Sampling {
        temperature: fields.number("temperature", 0.0..=2.0)?.unwrap_or(drawn.temperature),
        top_p: fields.number("top_p", 0.0..=1.0)?.unwrap_or(drawn.top_p),
        // Not of OpenAI, but of most that speak its protocol.
        top_k: fields.count("top_k", 0..=u32::MAX)?.unwrap_or(drawn.top_k),
        min_p: fields.number("min_p", 0.0..=1.0)?.unwrap_or(drawn.min_p),
        repetition_penalty: fields.number("repetition_penalty", 0.01..=100.0)?.unwrap_or(drawn.repetition_penalty),
        ..drawn
    })
}

fn seed(fields: &mut Fields) -> Result<Option<Seed>, Refusal> {
    let Some(value) = fields.take("seed") else { return Ok(None) };
    let bits = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
    bits.map(|bits| Some(Seed(bits))).ok_or_else(|| wrong("seed", "a whole number of 64 bits", &value))
}

fn stops(fields: &mut Fields) -> Result<Arc<[String]>, Refusal> {
    let stops = match fields.take("stop") {
        None => Vec::new(),
        Some(Value::Array(several)) => several,
        Some(one) => vec![one],
    };
    if stops.len() > MOST_STOPS {
        return Err(Refusal::field("stop", "array_above_max_length", format!("`stop`: more than {MOST_STOPS} texts")));
    }
    let text = |stop: Value| match stop {
        Value::String(text) if (1..=LONGEST_STOP).contains(&text.len()) => Ok(text),
        Value::String(text) if text.is_empty() => {
            Err(Refusal::field("stop", "invalid_value", "`stop`: an empty text would stop every reply"))
        }
        Value::String(_) => {
            Err(Refusal::field("stop", "invalid_value", format!("`stop`: a text has at most {LONGEST_STOP} bytes")))
        }
        other => Err(wrong("stop", "a text, or a list of texts", &other)),
    };
    stops.into_iter().map(text).collect()
}

fn probable(fields: &mut Fields) -> Result<Option<usize>, Refusal> {
    let wanted = fields.flag("logprobs")?.unwrap_or(false);
    match fields.count("top_logprobs", 0..=MOST_LIKELIEST)? {
        Some(_) if !wanted => {
            Err(Refusal::field("top_logprobs", "invalid_value", "`top_logprobs` wants `logprobs` to be true"))
        }
        likeliest => Ok(wanted.then_some(likeliest.unwrap_or(0) as usize)),
    }
}

fn stream(fields: &mut Fields) -> Result<Option<Streamed>, Refusal> {
    let streams = fields.flag("stream")?.unwrap_or(false);
    let Some(options) = fields.take("stream_options") else { return Ok(streams.then_some(Streamed { usage: false })) };
    if !streams {
        return Err(Refusal::field("stream_options", "invalid_value", "`stream_options` wants `stream` to be true"));
    }
    let mut options = Fields::new("stream_options", options)?;
    let usage = options.flag("include_usage")?.unwrap_or(false);
    // Padding against those who count bytes on the way.
    options.pass_over(&["include_obfuscation"]);
    options.end()?;
    Ok(Some(Streamed { usage }))
}

/// Whether tools may be called.
fn tool_choice(fields: &mut Fields, offered: bool) -> Result<bool, Refusal> {
    // One call a turn is what is read: no more than either of its values allows.
    fields.flag("parallel_tool_calls")?;
    match fields.take("tool_choice") {
        None => Ok(offered),
        Some(Value::String(choice)) if choice == "auto" => Ok(offered),
        Some(Value::String(choice)) if choice == "none" => Ok(false),
        Some(Value::String(_) | Value::Object(_)) => Err(unsupported(
            "tool_choice",
            "nothing can make the model call a tool; `auto` lets it, `none` shows it none",
        )),
        Some(other) => Err(wrong("tool_choice", "`auto` or `none`", &other)),
    }
}

/// The rest of the protocol: what says nothing to a model, what is as it is here anyway, and what cannot be done.
fn refuse_the_rest(mut fields: Fields) -> Result<(), Refusal> {
    fields.pass_over(&["user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"]);
    for penalty in ["frequency_penalty", "presence_penalty"] {
        if fields.number(penalty, -2.0..=2.0)?.is_some_and(|penalty| penalty != 0.0) {
            return Err(unsupported(penalty, "only 0; `repetition_penalty` is near to it"));
        }
    }
    let as_it_is = |fields: &mut Fields, name: &str, is: &dyn Fn(&Value) -> bool, why: &str| match fields.take(name) {
        Some(value) if !is(&value) => Err(unsupported(name, why)),
        _ => Ok(()),
    };
    let text = |value: &Value| value["type"] == "text";
    as_it_is(
        &mut fields,
        "response_format",
        &text,
        "nothing holds the model to a format; only `{\"type\": \"text\"}`",
    )?;
    let empty = |value: &Value| value.as_object().is_some_and(|biases| biases.is_empty());
    as_it_is(&mut fields, "logit_bias", &empty, "no token can be favoured")?;
    let words = |value: &Value| *value == serde_json::json!(["text"]);
    as_it_is(&mut fields, "modalities", &words, "the model writes text alone")?;
    as_it_is(&mut fields, "store", &|value| *value == false, "nothing is stored")?;
    let tier = |value: &Value| *value == "auto" || *value == "default";
    as_it_is(&mut fields, "service_tier", &tier, "there is one tier")?;
    for name in ["functions", "function_call"] {
        as_it_is(&mut fields, name, &|_| false, "it was replaced by `tools` and `tool_choice`")?;
    }
    for name in ["audio", "prediction", "reasoning_effort", "verbosity", "web_search_options"] {
        as_it_is(&mut fields, name, &|_| false, "this server has no such thing")?;
    }
    fields.end()
}

fn messages_of(messages: Vec<Value>, format: ToolFormat) -> Result<Vec<Message>, Refusal> {
    if messages.is_empty() {
        return Err(Refusal::field("messages", "empty_array", "there is no message"));
    }
    if messages.len() > MOST_MESSAGES {
        let message = format!("more than {MOST_MESSAGES} messages");
        return Err(Refusal::field("messages", "array_above_max_length", message));
    }
    messages.into_iter().enumerate().map(|(at, it)| message(&format!("messages[{at}]"), it, format)).collect()
}

fn message(of: &str, value: Value, format: ToolFormat) -> Result<Message, Refusal> {
    let mut fields = Fields::new(of, value)?;
    let role = fields.text("role")?;
    let role = match fields.needed("role", role)?.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        other => {
            let message = format!("`{}` is no role: system, developer, user, assistant or tool", clip(other));
            return Err(Refusal::field(fields.name("role"), "invalid_value", message));
        }
    };
    let mut content = content(&mut fields)?;
    // Of the one who speaks: models here know roles only.
    fields.text("name")?;
    match role {
        Role::Tool => {
            let call = fields.text("tool_call_id")?;
            fields.needed("tool_call_id", call)?;
        }
        Role::Assistant => {
            let refusal = fields.text("refusal")?;
            content = content.or(refusal);
            // What agx's own server and OpenAI's add to a reply, which clients send back as it came.
            fields.pass_over(&["annotations", "audio", "function_call"]);
            let calls = fields.list("tool_calls")?.unwrap_or_default();
            let written = written(&fields.name("tool_calls"), calls, format)?;
            content = match (content, written) {
                (content, None) => content,
                (Some(text), Some(call)) if !text.trim().is_empty() => Some(format!("{}\n{call}", text.trim_end())),
                (_, call) => call,
            };
        }
        Role::System | Role::User => {}
    }
    let content = fields.needed("content", content)?;
    fields.end()?;
    Ok(Message::new(role, content))
}

/// A text, or parts of one.
fn content(fields: &mut Fields) -> Result<Option<String>, Refusal> {
    let name = fields.name("content");
    match fields.take("content") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Array(parts)) => {
            let part = |(at, part)| {
                let mut part = Fields::new(&format!("{name}[{at}]"), part)?;
                let kind = part.text("type")?;
                let (kind, type_name) = (part.needed("type", kind)?, part.name("type"));
                let text = match kind.as_str() {
                    "text" => part.text("text")?,
                    "refusal" => part.text("refusal")?,
                    _ => return Err(unsupported(&type_name, "the model reads text alone")),
                };
                let text = part.needed(&kind, text)?;
                part.end()?;
                Ok(text)
            };
            parts.into_iter().enumerate().map(part).collect::<Result<String, Refusal>>().map(Some)
        }
        Some(other) => Err(wrong(&name, "a text, or a list of parts", &other)),
    }
}

/// The call of an earlier turn as the model wrote it, or would have.
fn written(of: &str, calls: Vec<Value>, format: ToolFormat) -> Result<Option<String>, Refusal> {
    if calls.len() > 1 {
        return Err(unsupported(of, "models here call one tool a turn"));
    }
    let Some(value) = calls.into_iter().next() else { return Ok(None) };
    let mut fields = Fields::new(&format!("{of}[0]"), value)?;
    fields.text("id")?;
    // A client that adds up a stream keeps it.
    fields.pass_over(&["index"]);
    let kind = fields.text("type")?;
    if kind.is_some_and(|kind| kind != "function") {
        return Err(unsupported(&fields.name("type"), "only functions can be called"));
    }
    let mut fields = fields.last("function")?;
    let name = fields.text("name")?;
    let name = fields.needed("name", name)?;
    if !is_name(&name) {
        return Err(Refusal::field(fields.name("name"), "invalid_value", "no tool is called that"));
    }
    let arguments = fields.text("arguments")?;
    let arguments = fields.needed("arguments", arguments)?;
    let place = fields.name("arguments");
    fields.end()?;
    match serde_json::from_str(if arguments.trim().is_empty() { "{}" } else { &arguments }) {
        Ok(Value::Object(arguments)) => {
            Ok(Some(call::render(&Call { name, arguments: json::texts(arguments) }, format)))
        }
        _ => Err(Refusal::field(place, "invalid_value", "the arguments are no JSON object")),
    }
}
