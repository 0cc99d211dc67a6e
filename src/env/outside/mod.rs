//! Environments outside the program: how they are reached, and the schema that the file declares for them.
//!
//! A file a protocol: [`process`], [`openenv`], [`mcp`], [`agentgym`]. What a task's episode begins with is said by the environment
//! and stands after the prompt as the user's words.
//!
//! # Invariants
//! Where an environment is reached (its address) is in no identity: its schema and its tasks are, and the command with the files
//! that it names. What goes wrong with one ends one episode. An environment that is a program here is played again to prove a
//! run; of the others, what they answered is taken from the record.

mod agentgym;
mod error;
mod figures;
mod http;
mod mcp;
mod openenv;
mod process;
mod program;
mod recorded;
mod tasks;
#[cfg(test)]
mod tests;

pub use error::EnvError;
pub use mcp::METRICS as MCP_METRICS;
pub use program::end_programs;
pub use tasks::NUMBERS;

use super::schema::Schema;
use super::{Action, Begun, Observation, Split, Task, Truth, Unopened, call};
use crate::base::words::words;
use crate::base::{Digest, Hasher, Seed, file};
use crate::model::{Message, ToolFormat, Wire};
use agentgym::AgentGymEpisode;
use http::Http;
use mcp::McpEpisode;
use openenv::OpenEnvEpisode;
use process::{ProcessEpisode, Processes};
use program::Start;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tasks::{MOST_TASKS, Tasks};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    pub reach: Reach,
    /// JSON lines with the tasks, where the environment has none of its own.
    pub tasks: Option<PathBuf>,
    pub schema: Schema,
    pub bounds: Bounds,
}

/// What an environment may take. Nothing here changes what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Milliseconds for one answer.
    pub timeout: u64,
    /// Episodes that are open at once.
    pub in_flight: u32,
    /// Bytes of address space of a program that is started.
    pub memory: Option<u64>,
    /// Milliseconds of processor time of a program that is started.
    pub cpu: Option<u64>,
}

impl Bounds {
    pub const TIMEOUT: u64 = 60_000;
    pub const IN_FLIGHT: u32 = 16;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// JSON lines on a program's standard input and output.
    Process(Vec<Word>),
    /// A WebSocket.
    OpenEnv(String),
    /// A command that is started.
    McpCommand(Vec<Word>),
    /// An address.
    McpAddress(String),
    /// An address.
    AgentGym(String),
}

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Text(String),
    /// A file beside the experiment: what is in it decides what the environment is.
    File(PathBuf),
}

impl Word {
    fn text(&self) -> String {
        match self {
            Word::Text(text) => text.clone(),
            Word::File(path) => path.display().to_string(),
        }
    }
}

/// A command in one line.
pub fn typed_out(command: &[Word]) -> String {
    command.iter().map(Word::text).collect::<Vec<_>>().join(" ")
}

impl Reach {
    /// As the language calls it.
    pub fn word(&self) -> &'static str {
        match self {
            Reach::Process(_) => "process",
            Reach::OpenEnv(_) => "openenv",
            Reach::McpCommand(_) | Reach::McpAddress(_) => "mcp",
            Reach::AgentGym(_) => "agentgym",
        }
    }

    /// Whether it answers the same another time: a program that is started here, with the task and the seed.
    pub fn answers_again(&self) -> bool {
        matches!(self, Reach::Process(_))
    }

    /// Whether it numbers its tasks itself, where the file names none.
    pub fn numbers_tasks(&self) -> bool {
        matches!(self, Reach::OpenEnv(_) | Reach::AgentGym(_))
    }

    pub fn command(&self) -> Option<&[Word]> {
        match self {
            Reach::Process(command) | Reach::McpCommand(command) => Some(command),
            Reach::OpenEnv(_) | Reach::McpAddress(_) | Reach::AgentGym(_) => None,
        }
    }
}

impl Outside {
    /// The files that [`Outside::identity`] reads.
    pub fn files(&self) -> Vec<PathBuf> {
        let named = self.reach.command().into_iter().flatten().filter_map(|word| match word {
            Word::File(path) => Some(path.clone()),
            Word::Text(_) => None,
        });
        self.tasks.iter().cloned().chain(named).collect()
    }

    /// The same, to be put elsewhere.
    pub fn files_mut(&mut self) -> Vec<&mut PathBuf> {
        let command = match &mut self.reach {
            Reach::Process(command) | Reach::McpCommand(command) => command.as_mut_slice(),
            Reach::OpenEnv(_) | Reach::McpAddress(_) | Reach::AgentGym(_) => &mut [],
        };
        let named = command.iter_mut().filter_map(|word| match word {
            Word::File(path) => Some(path),
            Word::Text(_) => None,
        });
        self.tasks.iter_mut().chain(named).collect()
    }

    /// # Errors
    /// A file of tasks, or of a command, that cannot be read.
    pub fn identity(&self) -> std::io::Result<Digest> {
        let Self { reach, tasks, schema, bounds: _ } = self;
        let Schema { name: _, task, metrics, offers: _, doc: _ } = schema;
        let mut hasher = Hasher::new("agx-outside/2");
        hasher.str(reach.word()).str(&serde_json::to_string(task).expect("a schema is plain data")).put(metrics);
        // A program is what the environment is; an address says nothing of what answers there.
        for word in reach.command().into_iter().flatten() {
            match word {
                Word::Text(text) => hasher.str("text").str(text),
                Word::File(path) => hasher.str("file").bytes(&file::read(path, MOST_TASKS)?),
            };
        }
        if let Some(tasks) = tasks {
            hasher.str("tasks").bytes(&file::read(tasks, MOST_TASKS)?);
        }
        Ok(hasher.finish())
    }
}

/// An environment that can be talked to. Nobody is, before the first episode, but for the tasks of a program that gives them.
#[derive(Debug)]
pub struct Opened {
    outside: Outside,
    door: Door,
    tasks: Tasks,
}

#[derive(Debug)]
enum Door {
    Process(Arc<Processes>),
    OpenEnv(openenv::Server),
    /// Made when it is first needed, as it has threads.
    Mcp(mcp::At, OnceLock<Arc<mcp::Server>>),
    AgentGym(Arc<Http>),
}

impl Opened {
    /// # Errors
    /// Tasks that cannot be had, or are not as declared.
    pub fn open(outside: &Outside, splits: &[Split], wire: &Wire) -> Result<Self, Unopened> {
        let Bounds { timeout, in_flight: _, memory, cpu } = outside.bounds;
        let start = |command: &[Word]| {
            let (command, variables) = (command.iter().map(Word::text).collect(), (wire.variables)());
            Start { command, variables, memory, cpu: cpu.map(|millis| millis.div_ceil(1000)) }
        };
        let door = match &outside.reach {
            Reach::Process(command) => Door::Process(Arc::new(Processes::new(start(command), timeout))),
            Reach::OpenEnv(address) => Door::OpenEnv(openenv::Server::new(address, timeout, wire.clock)),
            Reach::McpCommand(command) => Door::Mcp(mcp::At::Command(start(command)), OnceLock::new()),
            Reach::McpAddress(address) => Door::Mcp(mcp::At::Address(address.clone()), OnceLock::new()),
            Reach::AgentGym(address) => Door::AgentGym(Arc::new(Http::new(address, timeout))),
        };
        let tasks = match (&outside.tasks, &door) {
            (Some(path), _) => Tasks::of_rows(tasks::rows(path)?, outside, splits)?,
            (None, Door::Process(processes)) => Tasks::of_rows(processes.tasks()?, outside, splits)?,
            (None, _) => Tasks::numbered(outside, splits),
        };
        Ok(Self { outside: outside.clone(), door, tasks })
    }

    /// # Panics
    /// When the split is not declared: references are checked before.
    pub fn split(&self, name: &str) -> &[Task] {
        self.tasks.split(name)
    }

    pub fn place(&self, split: &str, id: &str) -> Option<u32> {
        self.tasks.place(split, id)
    }

    pub fn in_flight(&self) -> usize {
        self.outside.bounds.in_flight as usize
    }

    pub fn action(&self, reply: &str, format: ToolFormat) -> Action {
        match &self.door {
            Door::AgentGym(_) => agentgym::action(reply),
            _ => call::parse(reply, format),
        }
    }

    /// Whether replies are read as calls.
    pub fn has_calls(&self) -> bool {
        !matches!(self.door, Door::AgentGym(_))
    }

    /// An episode, and what is said as it begins.
    ///
    /// # Errors
    /// The environment cannot be reached, or does not answer as it should.
    pub fn start(&self, task: &Task, seed: Seed) -> Result<Begun, EnvError> {
        let metrics = &self.outside.schema.metrics;
        let number =
            |row: &Map<String, Value>| NUMBERS.into_iter().find_map(|name| row.get(name)?.as_u64()).unwrap_or(0);
        Ok(match &self.door {
            Door::Process(processes) => {
                let (episode, said) = self.of_process(processes, task, seed)?;
                (Box::new(episode), said)
            }
            Door::OpenEnv(server) => {
                let mut reset = tasks::whole(task);
                reset.remove("id");
                let seed = number(&reset);
                reset.entry("seed").or_insert_with(|| seed.into());
                let (episode, said) = OpenEnvEpisode::start(server, &reset, metrics)?;
                (Box::new(episode), said)
            }
            Door::Mcp(at, server) => {
                let server = Self::mcp(at, server, self.outside.bounds.timeout)?;
                (Box::new(McpEpisode::start(&server, task, metrics)?), None)
            }
            Door::AgentGym(http) => {
                let mut row = tasks::whole(task);
                row.remove("id");
                let (episode, said) = AgentGymEpisode::start(http, &row, number(&row), metrics)?;
                (Box::new(episode), said)
            }
        })
    }

    fn of_process(
        &self,
        processes: &Arc<Processes>,
        task: &Task,
        seed: Seed,
    ) -> Result<(ProcessEpisode, Option<Observation>), EnvError> {
        let mut given = tasks::whole(task);
        // A task of its own it knows by the name that it gave it.
        let given = match self.outside.tasks {
            None => given.remove("id").unwrap_or_default(),
            Some(_) => Value::Object(given),
        };
        // Whatever draws there takes 32 bits.
        let seed = (seed.0 >> 32) as u32;
        ProcessEpisode::start(processes, &task.id, given, seed, &self.outside.schema.metrics)
    }

    fn mcp(at: &mcp::At, server: &OnceLock<Arc<mcp::Server>>, timeout: u64) -> Result<Arc<mcp::Server>, EnvError> {
        if let Some(server) = server.get() {
            return Ok(server.clone());
        }
        let made = Arc::new(mcp::Server::new(at.clone(), timeout)?);
        Ok(server.get_or_init(|| made).clone())
    }

    /// An episode played again, and what is said as it begins: `said` is all after the prompt, the first time.
    ///
    /// # Errors
    /// As [`Opened::start`].
    pub fn again(
        &self,
        task: &Task,
        seed: Seed,
        (said, ended): (&[Message], bool),
        truth: &Truth,
    ) -> Result<Begun, EnvError> {
        if self.outside.reach.answers_again() {
            return self.start(task, seed);
        }
        let (episode, first) = recorded::Recorded::new(said, ended, truth.clone());
        Ok((Box::new(episode), first))
    }

    /// What the environment says of itself and of its first task, held against what the file declares: for `agx doctor`.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn examine(&self, split: &str) -> Result<Vec<String>, EnvError> {
        let mut said = match &self.door {
            Door::OpenEnv(server) => server.about()?,
            Door::Mcp(at, server) => Self::mcp(at, server, self.outside.bounds.timeout)?.about(self.tasks.all())?,
            Door::Process(_) | Door::AgentGym(_) => Vec::new(),
        };
        let Some(task) = self.split(split).first() else { return Ok(said) };
        let first = match &self.door {
            Door::Process(processes) => {
                let (episode, first) = self.of_process(processes, task, Seed(0))?;
                said.extend_from_slice(episode.about());
                first
            }
            _ => self.start(task, Seed(0))?.1,
        };
        let first = first.map(|first| words(&first.text));
        said.push(format!("an episode of `{}` begins: {}", task.id, first.as_deref().unwrap_or("nothing is said")));
        Ok(said)
    }
}
