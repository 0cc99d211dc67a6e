//! Environments by `mcp`: the tools of a Model Context Protocol server, a program or an address. Which revision of the protocol is
//! spoken, the SDK settles.
//!
//! A server knows no tasks and measures nothing: the file names the tasks, and metrics follow from what a task holds that is
//! `visible to none`. `answered` is whether the last answer holds its `answer`; `called` is the share of its `gold` calls that
//! were made and went well; `success` is whether all of these that it has are whole.
//!
//! # Invariants
//! An episode has a server of its own, or a session: what one changes is not there for another.

use super::error::EnvError;
use super::program::{Program, Start};
use crate::base::words::words;
use crate::env::call::json::texts;
use crate::env::call::typed;
use crate::env::{Action, Call, Callable, Episode, Observation, Task, Truth};
use rmcp::model::{CallToolRequestParams, ClientConfig, ContentBlock, Implementation, ProtocolVersion, Tool};
use rmcp::service::{ClientInitializeError, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::runtime::Runtime;

/// What can be measured of a task's hidden fields.
pub const METRICS: [&str; 3] = ["success", "answered", "called"];
/// How long a server may take to be told goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub struct Server {
    at: At,
    /// Milliseconds that an answer may take.
    timeout: u64,
    runtime: Runtime,
    /// The server speaks the older revision: it is not probed again.
    older: OnceLock<()>,
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
        Ok(Self { at, timeout, runtime, older: OnceLock::new() })
    }

    /// Its name, and its tools as a prompt would list them.
    ///
    /// # Errors
    /// As [`McpEpisode::start`].
    pub fn about(self: &Arc<Self>) -> Result<Vec<String>, EnvError> {
        let session = Session::open(self)?;
        let info = session.client().peer_info();
        let name = info.as_ref().and_then(|info| info.server_info.as_ref()).map_or("without a name", |it| &it.name);
        let version = info.as_ref().map(|info| info.protocol_version.to_string()).unwrap_or_default();
        let mut said = vec![format!("its name is {}, it speaks {}", words(name), words(&version))];
        said.extend(session.tools.iter().map(|(Callable { name, parameters }, doc)| {
            words(&format!("{}: {}", typed::signature(name, parameters), doc.lines().next().unwrap_or_default()))
        }));
        Ok(said)
    }

    /// # Errors
    /// What it ends in, or that it does not.
    fn within<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<Result<T, E>, EnvError> {
        let limit = Duration::from_millis(self.timeout);
        let timed = async { tokio::time::timeout(limit, work).await };
        self.runtime.block_on(timed).map_err(|_| EnvError::silent(self.timeout))
    }

    fn lifecycle(&self) -> ClientLifecycleMode {
        match self.older.get() {
            Some(()) => ClientLifecycleMode::Initialize,
            None => ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::LATEST],
                legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
            },
        }
    }
}

/// A connected server.
struct Session {
    server: Arc<Server>,
    client: Option<Client>,
    /// Its own, where it is a program.
    program: Option<Program>,
    /// With what they are for.
    tools: Vec<(Callable, String)>,
}

impl Session {
    fn open(server: &Arc<Server>) -> Result<Self, EnvError> {
        let me = Implementation::new("agx", env!("CARGO_PKG_VERSION"));
        let me = ClientConfig::new(rmcp::model::ClientCapabilities::default(), me);
        let mut program = None;
        let opened = match &server.at {
            At::Command(start) => {
                let (started, input, output) = Program::start(start)?;
                program = Some(started);
                let _inside = server.runtime.enter();
                let fail = |problem: std::io::Error| EnvError::Unstarted(problem.to_string());
                let input = ChildStdin::from_std(input).map_err(fail)?;
                let output = ChildStdout::from_std(output).map_err(fail)?;
                server.within(me.serve_with_lifecycle((output, input), server.lifecycle()))?
            }
            At::Address(address) => {
                let _inside = server.runtime.enter();
                let transport = StreamableHttpClientTransport::from_uri(address.as_str());
                server.within(me.serve_with_lifecycle(transport, server.lifecycle()))?
            }
        };
        let mut session = Self { server: server.clone(), client: None, program, tools: Vec::new() };
        let client = opened.map_err(|problem| session.unopened(&problem))?;
        if client.peer_info().is_some_and(|info| info.protocol_version != ProtocolVersion::LATEST) {
            let _ = server.older.set(());
        }
        session.client = Some(client);
        let listed = server.within(session.client().list_all_tools())?;
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

    fn unopened(&mut self, problem: &ClientInitializeError) -> EnvError {
        match (&mut self.program, problem) {
            (Some(program), ClientInitializeError::ConnectionClosed(_)) => program.gone(),
            (None, ClientInitializeError::TransportError { error, .. }) => EnvError::Unreachable(causes(&*error.error)),
            (_, problem) => EnvError::Garbage(causes(problem)),
        }
    }

    fn broken(&mut self, problem: ServiceError) -> EnvError {
        match (&mut self.program, problem) {
            (_, ServiceError::McpError(said)) => EnvError::Refuses(words(&said.message)),
            (Some(program), ServiceError::TransportClosed | ServiceError::TransportSend(_)) => program.gone(),
            (_, problem @ (ServiceError::TransportClosed | ServiceError::TransportSend(_))) => {
                EnvError::Gone { how: causes(&problem), said: String::new() }
            }
            (_, problem) => EnvError::Garbage(causes(&problem)),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(mut client) = self.client.take() {
            let _ = self.server.runtime.block_on(client.close_with_timeout(GOODBYE));
        }
    }
}

fn causes(problem: &dyn std::error::Error) -> String {
    let mut said = problem.to_string();
    let mut next = problem.source();
    while let Some(cause) = next {
        let cause_said = cause.to_string();
        if !said.contains(&cause_said) {
            said = format!("{said}: {cause_said}");
        }
        next = cause.source();
    }
    words(&said)
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
        let called = self.session.server.within(self.session.client().call_tool(params))?;
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
