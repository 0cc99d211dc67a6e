//! Environments by `mcp`: the tools of a Model Context Protocol server, a program or an address.
//!
//! A server is asked to `initialize`, as all know it but those of a revision that has no such thing: one that refuses is asked the
//! newer way, afresh. The other way round would not do, since servers of before leave what they do not know unanswered.
//!
//! A server knows no tasks and measures nothing: the file names the tasks, and metrics follow from what a task holds that is
//! `visible to none`. `answered` is whether the last answer holds its `answer`; `called` is the share of its `gold` calls that
//! were made and went well; `success` is whether all of these that it has are whole.
//!
//! # Invariants
//! An episode has a server of its own, or a session: what one changes is not there for another.

use super::error::EnvError;
use super::program::{LONGEST, Program, Start};
use crate::base::words::words;
use crate::env::call::json::texts;
use crate::env::call::typed;
use crate::env::{Action, Call, Callable, Episode, Observation, Task, Truth};
use rmcp::model::{
    CallToolRequestParams, ClientConfig, ContentBlock, Implementation, ProtocolVersion, ServerJsonRpcMessage, Tool,
};
use rmcp::service::{ClientInitializeError, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpError;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// What can be measured of a task's hidden fields.
pub const METRICS: [&str; 3] = ["success", "answered", "called"];
/// Of what a program says, so many bytes wait for the SDK.
const HANDED: usize = 1 << 16;
/// What the SDK says before what is wrong with a body.
const NOT_READ: &str = "could not parse JSON response as ServerJsonRpcMessage: ";
/// How long a server may take to be told goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub struct Server {
    at: At,
    /// Milliseconds that an answer may take.
    timeout: u64,
    runtime: Runtime,
    /// It refuses to `initialize`, and is not asked to again.
    newer: OnceLock<()>,
}

#[derive(Clone, Debug)]
pub enum At {
    Command(Start),
    Address(String),
}

type Client = RunningService<RoleClient, ClientConfig>;

impl Server {
    /// # Errors
    /// No threads can be started.
    pub fn new(at: At, timeout: u64) -> Result<Self, EnvError> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).thread_name("mcp").enable_all().build();
        let runtime = runtime.map_err(|problem| EnvError::Unstarted(problem.to_string()))?;
        Ok(Self { at, timeout, runtime, newer: OnceLock::new() })
    }

    /// Its name, its tools as a prompt would list them, and what tasks want that it does not have.
    ///
    /// # Errors
    /// As [`McpEpisode::start`]; nothing that tasks want is there.
    pub fn about<'a>(self: &Arc<Self>, tasks: impl Iterator<Item = &'a Task>) -> Result<Vec<String>, EnvError> {
        let session = Session::open(self)?;
        let info = session.client().peer_info();
        let name = info.as_ref().and_then(|info| info.server_info.as_ref()).map_or("without a name", |it| &it.name);
        let version = info.as_ref().map(|info| info.protocol_version.to_string()).unwrap_or_default();
        let mut said = vec![format!("its name is {}, it speaks {}", words(name), words(&version))];
        said.extend(session.tools.iter().map(|(Callable { name, parameters }, doc)| {
            words(&format!("{}: {}", typed::signature(name, parameters), doc.lines().next().unwrap_or_default()))
        }));
        let gold = tasks.filter_map(|task| task.hidden.read::<Hidden>()?.gold).flatten();
        let wanted: BTreeSet<String> = gold.map(|Gold { name, .. }| name).collect();
        let has = |name: &&String| session.tools.iter().any(|(tool, _)| tool.name == **name);
        let strange: Vec<&str> = wanted.iter().filter(|name| !has(name)).map(String::as_str).collect();
        let none = words(&format!("no tool of the server's is what `gold` of tasks calls: {}", strange.join(", ")));
        match strange.len() {
            0 => {}
            many if many == wanted.len() => return Err(EnvError::Undeclared(none)),
            _ => said.push(none),
        }
        Ok(said)
    }
}

/// A connected server.
struct Session {
    server: Arc<Server>,
    client: Option<Client>,
    /// Its own, where it is a program.
    program: Option<Program>,
    /// Reads what the program says.
    reader: Option<JoinHandle<()>>,
    aside: Arc<Aside>,
    /// With what they are for.
    tools: Vec<(Callable, String)>,
}

/// What a program said that is no message.
#[derive(Default)]
struct Aside {
    /// After which nothing more is read.
    fault: OnceLock<EnvError>,
    /// Beside its messages.
    printed: OnceLock<EnvError>,
}

impl Session {
    fn open(server: &Arc<Server>) -> Result<Self, EnvError> {
        let newer = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::LATEST] };
        if server.newer.get().is_some() {
            return Self::begin(server, newer);
        }
        match Self::begin(server, ClientLifecycleMode::Initialize) {
            Err(refused @ EnvError::Refuses(_)) => {
                // What it says to what all know is what tells most.
                let session = Self::begin(server, newer).map_err(|_| refused)?;
                let _ = server.newer.set(());
                Ok(session)
            }
            begun => begun,
        }
    }

    fn begin(server: &Arc<Server>, lifecycle: ClientLifecycleMode) -> Result<Self, EnvError> {
        let me = Implementation::new("agx", env!("CARGO_PKG_VERSION"));
        let me = ClientConfig::new(rmcp::model::ClientCapabilities::default(), me)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE);
        let mut session = Self {
            server: server.clone(),
            client: None,
            program: None,
            reader: None,
            aside: Arc::default(),
            tools: Vec::new(),
        };
        let opened = match &server.at {
            At::Command(start) => {
                let (started, input, output) = Program::start(start)?;
                session.program = Some(started);
                let _inside = server.runtime.enter();
                let fail = |problem: std::io::Error| EnvError::Unstarted(problem.to_string());
                let input = ChildStdin::from_std(input).map_err(fail)?;
                let output = ChildStdout::from_std(output).map_err(fail)?;
                let (handed, given) = tokio::io::duplex(HANDED);
                session.reader = Some(tokio::spawn(hand_on(output, given, session.aside.clone())));
                session.within(me.serve_with_lifecycle((handed, input), lifecycle))?
            }
            At::Address(address) => {
                let _inside = server.runtime.enter();
                // The program's one: whoever comes later finds it set.
                #[cfg(feature = "https")]
                let _ = rustls::crypto::ring::default_provider().install_default();
                let transport = StreamableHttpClientTransport::from_uri(address.as_str());
                session.within(me.serve_with_lifecycle(transport, lifecycle))?
            }
        };
        let client = opened.map_err(|problem| session.unopened(problem))?;
        let spoken = client.peer_info().map(|info| info.protocol_version.clone());
        session.client = Some(client);
        if let Some(spoken) = spoken.filter(|spoken| !ProtocolVersion::KNOWN_VERSIONS.contains(spoken)) {
            return Err(unspoken(std::slice::from_ref(&spoken)));
        }
        let listed = session.within(session.client().list_all_tools())?;
        let tools = listed.map_err(|problem| session.broken(problem))?;
        let of = |Tool { name, description, input_schema, .. }: Tool| {
            let parameters = Value::Object((*input_schema).clone());
            (Callable { name: name.into_owned(), parameters }, description.unwrap_or_default().into_owned())
        };
        session.tools = tools.into_iter().map(of).collect();
        Ok(session)
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("it is there until it is dropped")
    }

    /// # Errors
    /// What it ends in, or that it does not.
    fn within<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<Result<T, E>, EnvError> {
        let timeout = self.server.timeout;
        let timed = async { tokio::time::timeout(Duration::from_millis(timeout), work).await };
        self.server.runtime.block_on(timed).map_err(|_| {
            match (self.aside.fault.get().or(self.aside.printed.get()), &self.program) {
                (Some(fault), _) => fault.clone(),
                (None, Some(program)) => program.hangs(timeout),
                (None, None) => EnvError::silent(timeout),
            }
        })
    }

    fn unopened(&self, problem: ClientInitializeError) -> EnvError {
        if let Some(fault) = self.aside.fault.get() {
            return fault.clone();
        }
        match (&self.program, problem) {
            (_, ClientInitializeError::JsonRpcError(said)) => EnvError::Refuses(words(&said.message)),
            (_, ClientInitializeError::NoCompatibleProtocolVersion { server_supported, .. }) => {
                unspoken(&server_supported)
            }
            (
                Some(program),
                ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. },
            ) => program.gone(),
            (None, ClientInitializeError::TransportError { error, .. }) => self.not_sent(&*error.error),
            _ => EnvError::Garbage("it is no answer to `initialize`".to_owned()),
        }
    }

    fn broken(&self, problem: ServiceError) -> EnvError {
        if let Some(fault) = self.aside.fault.get() {
            return fault.clone();
        }
        match (&self.program, problem) {
            (_, ServiceError::McpError(said)) => EnvError::Refuses(words(&said.message)),
            (Some(program), ServiceError::TransportClosed | ServiceError::TransportSend(_)) => program.gone(),
            (None, ServiceError::TransportSend(error)) => self.not_sent(&*error.error),
            (None, ServiceError::TransportClosed) => {
                EnvError::broken(&format!("it broke off an answer, or one of more than {} MiB", LONGEST >> 20))
            }
            (_, ServiceError::UnexpectedResponse) => EnvError::Garbage("it is no answer to what was asked".to_owned()),
            (_, problem) => EnvError::Garbage(words(&problem.to_string())),
        }
    }

    /// What an exchange over HTTP comes to that has no message in it.
    fn not_sent(&self, problem: &(dyn std::error::Error + 'static)) -> EnvError {
        let address = match &self.server.at {
            At::Address(address) => address,
            At::Command(_) => unreachable!("it is spoken to over HTTP"),
        };
        let refuses =
            |said: &str| EnvError::Refuses(words(&format!("{address}: HTTP {}", said.trim_end_matches([' ', ':']))));
        let garbage = |said: &str| EnvError::Garbage(words(said));
        use StreamableHttpError as Wrong;
        match problem.downcast_ref::<Wrong<reqwest::Error>>() {
            Some(Wrong::ResponseBodyTooLarge { .. }) => EnvError::Floods(LONGEST),
            Some(Wrong::HttpStatus(it)) => refuses(&it.status.to_string()),
            Some(Wrong::AuthRequired(_)) => refuses("401"),
            Some(Wrong::InsufficientScope(_)) => refuses("403"),
            Some(Wrong::SessionExpired) => refuses("404"),
            Some(Wrong::UnexpectedServerResponse(said)) => {
                match (said.strip_prefix("HTTP "), said.strip_prefix(NOT_READ)) {
                    (Some(status), _) => refuses(status),
                    (_, Some(said)) => garbage(said),
                    _ => garbage("it is no answer to what was asked"),
                }
            }
            Some(Wrong::UnexpectedContentType(kind)) => {
                garbage(&format!("it is no JSON, but `{}`", kind.as_deref().unwrap_or("without a content type")))
            }
            Some(Wrong::Client(problem)) if problem.is_connect() => {
                EnvError::Unreachable(words(&format!("{address}: {}", first_cause(problem))))
            }
            Some(Wrong::Client(problem)) => EnvError::broken(&first_cause(problem)),
            _ => EnvError::broken(&first_cause(problem)),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(mut client) = self.client.take() {
            let _ = self.server.runtime.block_on(client.close_with_timeout(GOODBYE));
        }
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

/// What stands in every message, whatever is wrong with it, and in no log.
const MESSAGE: &[u8] = b"\"jsonrpc\"";

/// Hands on the lines of a program as long as they are messages: the SDK leaves out what is none, and waits. What servers print
/// beside them (a greeting, somebody's debugging) is left out too, and told where no answer comes.
async fn hand_on(from: ChildStdout, mut to: DuplexStream, aside: Arc<Aside>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut from).take(LONGEST as u64 + 1).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let is_printed = line.len() <= LONGEST && !line.windows(MESSAGE.len()).any(|part| part == MESSAGE);
        match message(&line) {
            Ok(()) => {}
            Err(problem) if is_printed => {
                let _ = aside.printed.set(problem);
                continue;
            }
            Err(problem) => {
                let _ = aside.fault.set(problem);
                return;
            }
        }
        if to.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// # Errors
/// A line that is no message of JSON-RPC 2.0, or an answer that is none of the protocol's.
fn message(line: &[u8]) -> Result<(), EnvError> {
    if line.len() > LONGEST {
        return Err(EnvError::Floods(LONGEST));
    }
    let text = std::str::from_utf8(line).map_err(|_| EnvError::Garbage("it is no UTF-8".to_owned()))?;
    if text.trim().is_empty() {
        return Ok(());
    }
    let garbage = |problem: &dyn std::fmt::Display| EnvError::Garbage(format!("{problem}: {}", words(text)));
    let fields: Map<String, Value> = serde_json::from_str(text).map_err(|problem| garbage(&problem))?;
    match ["method", "result", "error"].map(|name| fields.contains_key(name)) {
        // What it asks or tells beside is the SDK's to know, or to leave.
        [true, false, false] => Ok(()),
        [false, true, false] | [false, false, true] => {
            let read = serde_json::from_value::<ServerJsonRpcMessage>(Value::Object(fields));
            read.map(|_| ()).map_err(|_| garbage(&"it is no answer of the protocol's"))
        }
        _ => Err(garbage(&"it is no message of JSON-RPC")),
    }
}

fn unspoken(revisions: &[ProtocolVersion]) -> EnvError {
    let theirs = revisions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let ours = ProtocolVersion::KNOWN_VERSIONS.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    EnvError::Garbage(words(&format!("it speaks the revision {theirs} of the protocol, and agx speaks {ours}")))
}

/// The rest tells of layers of the SDK.
fn first_cause(problem: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = problem;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.downcast_ref().map_or_else(|| cause.to_string(), crate::base::file::reason)
}

pub struct McpEpisode {
    session: Session,
    hidden: Hidden,
    made: Vec<Call>,
    answer: String,
    metrics: Vec<String>,
}

/// What metrics go by.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Hidden {
    gold: Option<Vec<Gold>>,
    answer: Option<String>,
}

/// A call as a task has it.
#[derive(Debug, Deserialize)]
struct Gold {
    name: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

impl McpEpisode {
    /// # Errors
    /// The server cannot be started or reached, or does not answer so; hidden fields of another shape.
    pub fn start(server: &Arc<Server>, task: &Task, metrics: &[String]) -> Result<Self, EnvError> {
        let hidden = task.hidden.read::<Hidden>();
        let hidden =
            hidden.ok_or_else(|| EnvError::Undeclared(format!("`gold` or `answer` of {} is none", task.id)))?;
        let (made, answer, metrics) = (Vec::new(), String::new(), metrics.to_vec());
        Ok(Self { session: Session::open(server)?, hidden, made, answer, metrics })
    }

    fn call(&mut self, call: &Call) -> Result<Observation, EnvError> {
        let Some((tool, _)) = self.session.tools.iter().find(|(tool, _)| tool.name == call.name) else {
            return Ok(Observation::told(format!("error: there is no tool `{}`", call.name)));
        };
        let arguments = typed::arguments(call, Some(&tool.parameters));
        let params = CallToolRequestParams::new(call.name.clone()).with_arguments(arguments);
        let called = self.session.within(self.session.client().call_tool(params))?;
        let result = match called {
            Ok(result) => result,
            // The agent may mend its call.
            Err(ServiceError::McpError(said)) => {
                return Ok(Observation::told(format!("error: {}", words(&said.message))));
            }
            Err(problem) => return Err(self.session.broken(problem)),
        };
        let text = result.content.iter().map(content).collect::<Vec<_>>().join("\n");
        if result.is_error == Some(true) {
            return Ok(Observation::told(format!("error: {text}")));
        }
        self.made.push(call.clone());
        let structured = || result.structured_content.map(|value| value.to_string()).unwrap_or_default();
        Ok(Observation::told(if text.is_empty() { structured() } else { text }))
    }
}

fn content(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(_) => "[an image]".to_owned(),
        ContentBlock::Audio(_) => "[a sound]".to_owned(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// Of the calls that are wanted, the share that was made; a call that was made once is one of several equal ones.
fn share_made(gold: &[Gold], made: &[Call]) -> f64 {
    let mut left: Vec<&Call> = made.iter().collect();
    let mut is_made = |Gold { name, arguments }: &&Gold| {
        let call = Call { name: name.clone(), arguments: texts(arguments.clone()) };
        let place = left.iter().position(|made| **made == call);
        place.map(|place| left.swap_remove(place)).is_some()
    };
    if gold.is_empty() { 1.0 } else { gold.iter().filter(|gold| is_made(gold)).count() as f64 / gold.len() as f64 }
}

/// Letters alone, in one case: an answer may be part of a sentence.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

impl Episode for McpEpisode {
    fn step(&mut self, action: &Action) -> Result<Observation, EnvError> {
        match action {
            Action::Call(call) => self.call(call),
            Action::Answer(text) => {
                self.answer.clone_from(text);
                Ok(Observation::done())
            }
            Action::Unreadable(why) => Ok(Observation::told(format!("error: {why}"))),
        }
    }

    fn tools(&self) -> Vec<Callable> {
        self.session.tools.iter().map(|(tool, _)| tool.clone()).collect()
    }

    fn truth(&self) -> Truth {
        let answered = self
            .hidden
            .answer
            .as_ref()
            .map(|wanted| f64::from(!self.answer.is_empty() && plain(&self.answer).contains(&plain(wanted))));
        let called = self.hidden.gold.as_ref().map(|gold| share_made(gold, &self.made));
        let has = [answered, called];
        let success = f64::from(has.iter().flatten().all(|figure| *figure == 1.0) && has.iter().any(Option::is_some));
        let figure = |name: &String| match name.as_str() {
            "answered" => answered.unwrap_or(0.0),
            "called" => called.unwrap_or(0.0),
            _ => success,
        };
        self.metrics.iter().map(|name| (name.clone(), figure(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_made_once_is_one_of_equal_ones() {
        let gold: Vec<Gold> = serde_json::from_str(
            r#"[{"name": "add", "arguments": {"n": 1}}, {"name": "add", "arguments": {"n": 1}}, {"name": "now"}, {"name": "end"}]"#,
        )
        .expect("they are");
        let call = |name: &str, n: Option<&str>| Call {
            name: name.to_owned(),
            arguments: n.map(|n| ("n".to_owned(), n.to_owned())).into_iter().collect(),
        };
        let add = call("add", Some("1"));
        assert_eq!(share_made(&gold, std::slice::from_ref(&add)), 0.25);
        assert_eq!(share_made(&gold, &[add.clone(), call("now", None), add.clone(), add.clone()]), 0.75);
        assert_eq!(share_made(&gold, &[call("add", Some("2")), call("stranger", None)]), 0.0);
        assert_eq!(share_made(&[], &[add]), 1.0);
    }
}
