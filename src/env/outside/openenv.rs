//! Environments by `openenv`: a WebSocket is an episode (`openenv-core`, `WS /ws`).
//!
//! A call's arguments are the fields of the action, by the schema that the server gives at `/schema`; where an action has
//! `tool_name` and `arguments`, they are the call's. An answer is an action where the action has one text to fill, else it ends the
//! episode.
//!
//! # Invariants
//! A message has one answer, in time, of a bounded size. Another that has come before the next question ends the episode; one that
//! comes later cannot be told from an answer.

use super::error::EnvError;
use super::figures::{Figures, Said};
use super::http::Http;
use super::program::LONGEST;
use crate::base::words::words;
use crate::env::call::typed;
use crate::env::{Action, Call, Episode, Observation, Truth};
use crate::model::Role;
use serde_json::{Map, Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tungstenite::client::{IntoClientRequest, uri_mode};
use tungstenite::handshake::client::Request;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::stream::{MaybeTlsStream, Mode};
use tungstenite::{Message, WebSocket};

#[derive(Debug)]
pub struct Server {
    /// `ws://host:8000/ws`
    address: String,
    /// Milliseconds that an answer may take.
    timeout: u64,
    clock: fn() -> u64,
    http: Http,
    /// The schema of an action.
    action: OnceLock<Value>,
}

/// Milliseconds that a server may take to close its connection.
const GOODBYE: u64 = 500;

type Socket = WebSocket<MaybeTlsStream<Timed>>;

/// A connection on which what is read has to be there, and what is written be taken, by a moment, however it comes.
#[derive(Debug)]
struct Timed {
    stream: TcpStream,
    clock: fn() -> u64,
    pace: Arc<Pace>,
}

#[derive(Debug, Default)]
struct Pace {
    /// On the clock.
    until: AtomicU64,
    /// What is read has come already.
    hurries: AtomicBool,
}

impl Timed {
    fn left(&self) -> std::io::Result<Duration> {
        match self.pace.until.load(Ordering::SeqCst).saturating_sub((self.clock)()) {
            0 => Err(ErrorKind::TimedOut.into()),
            left => Ok(Duration::from_millis(left)),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        if !self.pace.hurries.load(Ordering::SeqCst) {
            return self.stream.read(into);
        }
        self.stream.set_nonblocking(true)?;
        let read = self.stream.read(into);
        self.stream.set_nonblocking(false)?;
        read
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        // To each of many pings a pong is tried: one that finds no room is not to be waited for again.
        self.stream.write(bytes).map_err(|problem| match problem.kind() {
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => problem,
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

impl Server {
    pub fn new(address: &str, timeout: u64, clock: fn() -> u64) -> Self {
        let (scheme, rest) = address.split_once("://").unwrap_or(("ws", address));
        let scheme = if scheme == "wss" { "https" } else { "http" };
        let base = format!("{scheme}://{}", rest.trim_end_matches('/').trim_end_matches("/ws"));
        let http = Http::new(&base, timeout);
        Self { address: address.to_owned(), timeout, clock, http, action: OnceLock::new() }
    }

    /// What the server says of itself, for people and for `agx doctor`: its name and the fields of an action.
    ///
    /// # Errors
    /// It does not answer, or not so.
    pub fn about(&self) -> Result<Vec<String>, EnvError> {
        let action = typed::signature("action", self.action()?);
        // It need not say it.
        let metadata = self.http.get("/metadata").unwrap_or_default();
        let name = metadata.get("name").and_then(Value::as_str);
        let name = name.map_or_else(|| "it has no name".to_owned(), |name| format!("its name is {}", words(name)));
        Ok(vec![name, format!("an action is {}", words(&action))])
    }

    fn action(&self) -> Result<&Value, EnvError> {
        if let Some(schema) = self.action.get() {
            return Ok(schema);
        }
        let mut schema = self.http.get("/schema")?;
        let schema = schema.get_mut("action").map(Value::take);
        let schema = schema.ok_or_else(|| EnvError::Garbage("its schema has no `action`".to_owned()))?;
        Ok(self.action.get_or_init(|| schema))
    }

    /// A connection, and the moment by which what is read has to be there.
    fn connect(&self) -> Result<(Socket, Arc<Pace>), EnvError> {
        let unreachable = |problem: &dyn std::fmt::Display| EnvError::Unreachable(words(&problem.to_string()));
        let request = self.address.as_str().into_client_request().map_err(|problem| unreachable(&problem))?;
        let uri = request.uri();
        let otherwise = match uri_mode(uri).map_err(|problem| unreachable(&problem))? {
            Mode::Plain => 80,
            Mode::Tls => 443,
        };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let places = (host, uri.port_u16().unwrap_or(otherwise)).to_socket_addrs();
        let places = places.map_err(|problem| unreachable(&problem))?;
        let within = Duration::from_millis(self.timeout);
        let mut last = EnvError::Unreachable("its name has no address".to_owned());
        for place in places {
            match TcpStream::connect_timeout(&place, within) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(|problem| unreachable(&problem))?;
                    let pace = Arc::<Pace>::default();
                    pace.until.store((self.clock)().saturating_add(self.timeout), Ordering::SeqCst);
                    let stream = Timed { stream, clock: self.clock, pace: pace.clone() };
                    let config = WebSocketConfig::default()
                        .max_message_size(Some(LONGEST))
                        .max_frame_size(Some(LONGEST))
                        .read_buffer_size(1 << 14);
                    let socket = shake_hands(request, stream, config).map_err(|problem| unreachable(&problem))?;
                    return Ok((socket, pace));
                }
                Err(problem) => last = unreachable(&crate::base::file::reason(&problem)),
            }
        }
        Err(last)
    }
}

#[cfg(feature = "https")]
fn shake_hands(request: Request, stream: Timed, config: WebSocketConfig) -> Result<Socket, String> {
    let opened = tungstenite::client_tls_with_config(request, stream, Some(config), None);
    opened.map(|(socket, _)| socket).map_err(|problem| problem.to_string())
}

#[cfg(not(feature = "https"))]
fn shake_hands(request: Request, stream: Timed, config: WebSocketConfig) -> Result<Socket, String> {
    if request.uri().scheme_str() == Some("wss") {
        return Err("this build has no TLS: build with `--features https`".to_owned());
    }
    let opened = tungstenite::client::client_with_config(request, MaybeTlsStream::Plain(stream), Some(config));
    opened.map(|(socket, _)| socket).map_err(|problem| problem.to_string())
}

#[derive(Debug)]
pub struct OpenEnvEpisode {
    socket: Socket,
    /// Nothing has gone wrong on it: after that it is not touched again.
    sound: bool,
    pace: Arc<Pace>,
    timeout: u64,
    clock: fn() -> u64,
    action: Value,
    figures: Figures,
}

/// What the server answers to a reset or a step.
struct Answer {
    observation: Value,
    reward: Option<f64>,
    done: bool,
}

impl OpenEnvEpisode {
    /// An episode, and what is said as it begins. `reset` is what the server is given of the task.
    ///
    /// # Errors
    /// The server cannot be reached, or does not answer so.
    pub fn start(
        server: &Server,
        reset: &Map<String, Value>,
        metrics: &[String],
    ) -> Result<(Self, Option<Observation>), EnvError> {
        let (action, (socket, pace)) = (server.action()?.clone(), server.connect()?);
        let (timeout, clock, figures) = (server.timeout, server.clock, Figures::new(metrics));
        let mut episode = Self { socket, sound: true, pace, timeout, clock, action, figures };
        let Answer { observation, done, .. } = episode.ask(&json!({ "type": "reset", "data": reset }))?;
        if done {
            return Err(EnvError::Garbage("it is done before it begins".to_owned()));
        }
        let text = shown(&observation);
        Ok((episode, (!text.is_empty()).then(|| Observation::asked(text))))
    }

    fn ask(&mut self, question: &Value) -> Result<Answer, EnvError> {
        let answer = self.asked(question);
        self.sound &= answer.as_ref().err().is_none_or(EnvError::leaves_it_sound);
        answer
    }

    fn asked(&mut self, question: &Value) -> Result<Answer, EnvError> {
        self.pace.until.store((self.clock)().saturating_add(self.timeout), Ordering::SeqCst);
        self.is_quiet()?;
        let sent = self.socket.send(Message::text(question.to_string()));
        sent.map_err(|problem| self.broken(problem))?;
        let text = loop {
            match self.socket.read().map_err(|problem| self.broken(problem))? {
                Message::Text(text) => break text,
                Message::Binary(_) => return Err(EnvError::Garbage("it sends bytes instead of text".to_owned())),
                Message::Close(_) => return Err(EnvError::broken("it closed the connection")),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        };
        let garbage = |what: &str| EnvError::Garbage(format!("{what}: {}", words(&text)));
        let answer: Value = serde_json::from_str(&text).map_err(|_| garbage("it is no JSON"))?;
        let mut data = answer.get("data").cloned().ok_or_else(|| garbage("it has no `data`"))?;
        match answer.get("type").and_then(Value::as_str) {
            Some("observation") => {}
            Some("error") => {
                let said = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
                return Err(EnvError::Refuses(words(&format!("{} {}", said("code"), said("message")))));
            }
            _ => return Err(garbage("it is neither an observation nor an error")),
        }
        let reward = match data.get("reward") {
            Some(Value::Bool(is)) => Some(f64::from(*is)),
            other => other.and_then(Value::as_f64),
        };
        let done = data.get("done").and_then(Value::as_bool).unwrap_or(false);
        let observation = data.get_mut("observation").map(Value::take).ok_or_else(|| garbage("it observes nothing"))?;
        Ok(Answer { observation, reward, done })
    }

    /// # Errors
    /// It has said more than it was asked, which would be taken for what comes next; or it is gone.
    fn is_quiet(&mut self) -> Result<(), EnvError> {
        self.pace.hurries.store(true, Ordering::SeqCst);
        let early = loop {
            match self.socket.read() {
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                early => break early,
            }
        };
        self.pace.hurries.store(false, Ordering::SeqCst);
        let more = |text: &str| EnvError::Garbage(format!("it said more than it was asked: {}", words(text)));
        match early {
            Err(tungstenite::Error::Io(problem)) if problem.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(problem) => Err(self.broken(problem)),
            Ok(Message::Close(_)) => Err(EnvError::broken("it closed the connection")),
            Ok(Message::Text(text)) => Err(more(&text)),
            Ok(_) => Err(more("bytes")),
        }
    }

    fn broken(&self, problem: tungstenite::Error) -> EnvError {
        match problem {
            tungstenite::Error::Io(problem)
                if matches!(problem.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) =>
            {
                EnvError::silent(self.timeout)
            }
            tungstenite::Error::Capacity(_) => EnvError::Floods(LONGEST),
            tungstenite::Error::Protocol(problem) => EnvError::broken(&problem.to_string()),
            tungstenite::Error::Utf8(_) => EnvError::Garbage("it is no UTF-8".to_owned()),
            problem => EnvError::broken(&problem.to_string()),
        }
    }

    /// The one text that an action takes, if it takes nothing else.
    fn text_field(&self) -> Option<&str> {
        let properties = self.action.get("properties")?.as_object()?;
        let required: Vec<&str> = self.action.get("required")?.as_array()?.iter().filter_map(Value::as_str).collect();
        let [name] = required.as_slice() else { return None };
        (properties.get(*name)?.get("type")? == "string").then_some(*name)
    }

    fn of_call(&self, call: &Call) -> Value {
        let properties = self.action.get("properties");
        let has = |name: &str| properties.is_some_and(|all| all.get(name).is_some());
        if has("tool_name") && has("arguments") {
            let arguments = typed::arguments(call, None);
            return json!({ "type": "call_tool", "tool_name": call.name, "arguments": arguments });
        }
        Value::Object(typed::arguments(call, Some(&self.action)))
    }
}

impl Episode for OpenEnvEpisode {
    fn step(&mut self, action: &Action) -> Result<Observation, EnvError> {
        let data = match action {
            Action::Call(call) => self.of_call(call),
            Action::Answer(text) => match self.text_field() {
                Some(field) => json!({ (field): text }),
                None => return Ok(Observation::done()),
            },
            Action::Unreadable(why) => return Ok(Observation::told(format!("error: {why}"))),
        };
        let Answer { observation, reward, done } = match self.ask(&json!({ "type": "step", "data": data })) {
            // The agent may mend its call.
            Err(EnvError::Refuses(what)) => return Ok(Observation::told(format!("error: {what}"))),
            answer => answer?,
        };
        let mut own = Map::new();
        own.extend(reward.map(|reward| ("reward".to_owned(), json!(reward))));
        let within = observation.as_object().cloned().unwrap_or_default();
        self.figures.take(Said { by_name: &[&within, &own], reward, done })?;
        Ok(Observation { text: shown(&observation), by: Role::Tool, done, truncated: false })
    }

    fn truth(&self) -> Truth {
        self.figures.truth()
    }
}

impl Drop for OpenEnvEpisode {
    fn drop(&mut self) {
        if !self.sound {
            return;
        }
        let _ = self.socket.send(Message::text(json!({ "type": "close" }).to_string()));
        // It closes the connection itself, if it is given a moment.
        self.pace.until.store((self.clock)().saturating_add(GOODBYE), Ordering::SeqCst);
        while self.socket.read().is_ok() {}
    }
}

/// What an agent reads of an observation: its one text, or all of it.
fn shown(observation: &Value) -> String {
    let Value::Object(fields) = observation else { return super::process::text(observation.clone()) };
    let mut texts = fields.values().filter_map(Value::as_str);
    match (texts.next(), fields.len()) {
        (Some(text), 1) => text.to_owned(),
        _ => observation.to_string(),
    }
}
