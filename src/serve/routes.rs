//! Turns requests into responses: who may ask, what is asked, and what there is.
//!
//! # Invariants
//! Before the key was shown, nothing of a request is read but its head. No more than [`MOST_BODY`] of a body is held, and no
//! more than [`MOST_HELD`] of all together.

use super::answer::{Events, Head};
use super::fields::clip;
use super::question::Question;
use super::queue::{Asked, Queue};
use super::refusal::{Refusal, json_response};
use super::reply::Reply;
use super::{Served, Terms};
use crate::base::Hasher;
use crate::model::attend::Wanted;
use crate::model::{GenRequest, Message, ModelError, Role, TokenId};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, Version};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_core::Stream;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

/// Bytes of a request: more than a model's context holds.
pub const MOST_BODY: usize = 8 << 20;
/// Of what bodies hold beyond [`SMALL`].
const MOST_HELD: usize = 32 * MOST_BODY;
/// Bytes of a body that find room however many large ones there are.
const SMALL: usize = 64 << 10;
/// What is refused is read on to here.
const MOST_DRAINED: usize = 4 * MOST_BODY;
const HEALTH: &str = "/health";

pub struct Desk {
    pub served: Served,
    pub terms: Terms,
    pub queue: Arc<Queue>,
    /// Bytes that bodies may still take.
    room: Semaphore,
    /// Requests so far, and those of them that gave no seed.
    asked: AtomicU64,
    seedless: AtomicU64,
}

type Shared = State<Arc<Desk>>;

pub fn routes(served: Served, terms: Terms, queue: Arc<Queue>) -> Router {
    let desk = Arc::new(Desk {
        served,
        terms,
        queue,
        room: Semaphore::new(MOST_HELD),
        asked: AtomicU64::new(0),
        seedless: AtomicU64::new(0),
    });
    Router::new()
        .route("/v1/chat/completions", post(complete))
        .route("/v1/models", get(models))
        .route("/v1/models/{*id}", get(model))
        .route(HEALTH, get(async || json_response(StatusCode::OK, &json!({ "status": "ok" }))))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(desk.clone(), admit))
        .with_state(desk)
}

/// Whether the server lives is nobody's secret; for all else the key is wanted.
async fn admit(State(desk): Shared, request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (host, None) if host.is_some() || request.version() < Version::HTTP_11 => host,
        (None, _) => return Refusal::bad("a request of HTTP/1.1 has a `Host`").into_response(),
        _ => return Refusal::bad("there is more than one `Host`").into_response(),
    };
    if let Some(key) = desk.terms.key.as_ref().filter(|_| request.uri().path() != HEALTH) {
        let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given =
            given.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        let message = match given {
            Some((_, given)) if key.is(given.trim()) => return next.run(request).await,
            Some(_) => "the API key is not the server's",
            None => "an API key is wanted: `Authorization: Bearer KEY`",
        };
        return Refusal::new(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message).into_response();
    }
    if desk.terms.key.is_none() && !host.is_none_or(is_address) {
        let message = "it is asked by a name, which anybody may have made to point here: without a key it answers to addresses and `localhost`";
        return Refusal::new(StatusCode::FORBIDDEN, Some("foreign_host"), message).into_response();
    }
    next.run(request).await
}

/// An address, or `localhost`: any other name may have been made to point here by whoever owns it (DNS rebinding).
fn is_address(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str().unwrap_or_default().parse::<Authority>() else { return false };
    let host = host.host().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

async fn unknown(uri: Uri) -> Refusal {
    let message = format!("there is nothing at {}", clip(uri.path()));
    Refusal::new(StatusCode::NOT_FOUND, Some("unknown_url"), message)
}

async fn wrong_method(uri: Uri) -> Refusal {
    let message = format!("{} does not take this method", clip(uri.path()));
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Some("method_not_allowed"), message)
}

async fn models(State(desk): Shared) -> Response {
    json_response(StatusCode::OK, &json!({ "object": "list", "data": [described(&desk.served)] }))
}

async fn model(State(desk): Shared, id: Result<Path<String>, PathRejection>) -> Result<Response, Refusal> {
    // What is no text is no model's name.
    is_served(&desk.served, id.as_ref().map_or("", |Path(id)| id))?;
    Ok(json_response(StatusCode::OK, &described(&desk.served)))
}

fn described(served: &Served) -> Value {
    json!({ "id": served.name, "object": "model", "created": served.created, "owned_by": "agx" })
}

fn is_served(served: &Served, name: &str) -> Result<(), Refusal> {
    if name == served.name {
        return Ok(());
    }
    let message = format!("there is no model `{}` here, only `{}`", clip(name), served.name);
    Err(Refusal::new(StatusCode::NOT_FOUND, Some("model_not_found"), message).of("model"))
}

async fn complete(State(desk): Shared, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    // Which a page of somebody's in a browser cannot send unasked.
    let is_json = |kind: &HeaderValue| {
        kind.to_str().is_ok_and(|kind| {
            kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
        })
    };
    if !headers.get(CONTENT_TYPE).is_some_and(is_json) {
        let message = "the body is to be JSON: `Content-Type: application/json`";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, message));
    }
    let late = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, None, "the body did not come in time");
    let read = tokio::time::timeout(desk.terms.patience, read(&headers, body, &desk.room));
    let (body, held) = read.await.map_err(late)??;
    let reader = desk.clone();
    // Reading a long conversation takes long enough for others to wait.
    let read = tokio::task::spawn_blocking(move || reader.read(&body)).await;
    let (question, prompt) = read.map_err(|_| Refusal::broken("the request could not be read"))??;
    drop(held);
    let (tell, heard) = mpsc::unbounded_channel();
    let Question { tools, sampling, seed, replies, stops, probable, stream, .. } = question;
    let seed = seed.unwrap_or_else(|| desk.terms.seed.derive(desk.seedless.fetch_add(1, Ordering::Relaxed)));
    let head = Head {
        id: desk.id(),
        created: (desk.terms.clock)() / 1000,
        model: desk.served.name.clone(),
        fingerprint: desk.served.fingerprint.to_string(),
        logprobs: probable.is_some(),
        prompt: prompt.len() as u64,
        replies: replies as usize,
        tools,
    };
    let calls = head.tools.as_ref().map(|_| desk.served.tool_format);
    let asked = (0..replies).map(|index| Asked {
        wanted: Wanted {
            request: GenRequest {
                prompt: prompt.clone(),
                seed: seed.derive(index),
                sampling: sampling.clone(),
                likely: false,
                form: None,
            },
            probable,
        },
        reply: Reply::new(stops.clone(), calls),
        index: index as usize,
        tell: tell.clone(),
    });
    desk.queue.ask(asked.collect())?;
    drop(tell);
    let Some(streamed) = stream else { return Ok(json_response(StatusCode::OK, &head.whole(heard).await?)) };
    let mut response = Response::new(Body::from_stream(Events::new(head, heard, streamed.usage)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

impl Desk {
    /// What is asked, and the ids of it.
    fn read(&self, body: &[u8]) -> Result<(Question, Vec<TokenId>), Refusal> {
        let Served { name: _, model, tool_format, .. } = &self.served;
        let question = Question::read(body, *tool_format)?;
        is_served(&self.served, &question.model)?;
        let messages = &question.messages;
        // Without reading them as tokens: of megabytes that would take seconds, and gigabytes.
        let shown = question.tools.as_ref().map_or(0, |tools| tools.json.len());
        let bytes = messages.iter().map(|message| message.content.len()).sum::<usize>() + shown;
        let (longest, context) = (model.longest_token(), model.context());
        if bytes / longest >= context {
            let message =
                format!("the messages have {bytes} bytes, more than the model's context of {context} tokens can hold");
            return Err(Refusal::field("messages", "context_length_exceeded", message));
        }
        let prompt = match &question.tools {
            None => model.encode_chat(messages)?,
            Some(tools) => match model.encode_tools(messages, &tools.json)? {
                Some(prompt) => prompt,
                None => model.encode_chat(&told(messages, &tools.shown(*tool_format)))?,
            },
        };
        let tokens = prompt.len();
        if tokens >= context {
            return Err(ModelError::TooLong { tokens, context }.into());
        }
        Ok((question, prompt))
    }

    fn id(&self) -> String {
        let mut hasher = Hasher::new("agx-serve-id/1");
        hasher.u64((self.terms.clock)()).u64(self.asked.fetch_add(1, Ordering::Relaxed));
        hasher.finish().to_string()[..24].to_owned()
    }
}

/// The messages with a text at the end of what the system says.
fn told(messages: &[Message], text: &str) -> Vec<Message> {
    match messages.split_first() {
        Some((Message { role: Role::System, content }, rest)) => {
            [&[Message::new(Role::System, format!("{content}\n{text}"))], rest].concat()
        }
        _ => [&[Message::new(Role::System, text)], messages].concat(),
    }
}

/// A body, and the room that it takes.
async fn read<'a>(
    headers: &HeaderMap,
    body: Body,
    room: &'a Semaphore,
) -> Result<(Vec<u8>, Option<SemaphorePermit<'a>>), Refusal> {
    let too_large = || {
        let message = format!("the body is larger than {MOST_BODY} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, None, message)
    };
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if headers.contains_key(EXPECT) && length.is_some_and(|length| length > MOST_BODY as u64) {
        return Err(too_large());
    }
    let mut pieces = body.into_data_stream();
    let (mut bytes, mut count, mut held, mut refused) = (Vec::new(), 0, None::<SemaphorePermit<'_>>, None);
    while let Some(piece) = std::future::poll_fn(|context| Pin::new(&mut pieces).poll_next(context)).await {
        let piece = piece.map_err(|_| Refusal::bad("the body broke off"))?;
        count += piece.len();
        if count > MOST_BODY {
            refused.get_or_insert_with(too_large);
        }
        if count > MOST_DRAINED {
            break;
        }
        // What is refused is read on, so that its sender comes to read why.
        if refused.is_some() {
            (bytes, held) = (Vec::new(), None);
            continue;
        }
        let beyond = piece.len().min(count.saturating_sub(SMALL));
        match u32::try_from(beyond).ok().and_then(|beyond| room.try_acquire_many(beyond).ok()) {
            None => refused = Some(Refusal::busy("too many large requests at once")),
            Some(taken) => match &mut held {
                Some(held) => held.merge(taken),
                None => held = Some(taken),
            },
        }
        bytes.extend_from_slice(&piece);
    }
    refused.map_or(Ok((bytes, held)), Err)
}
