//! Environments outside the program: how they are reached, and the schema that the file declares for them.
//!
//! # Invariants
//! Where an environment is reached (its address, its command) is in no identity: its schema and its tasks are.

use super::schema::Schema;
use crate::base::{Digest, Hasher, file};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A file of tasks is held in memory.
const MOST_TASKS: u64 = 1 << 30;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    pub reach: Reach,
    /// JSON lines with the tasks, where the environment has none of its own.
    pub tasks: Option<PathBuf>,
    pub schema: Schema,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// JSON lines on a program's standard input and output.
    Process(Vec<String>),
    /// A WebSocket.
    OpenEnv(String),
    /// A command that is started.
    McpCommand(Vec<String>),
    /// An address.
    McpAddress(String),
    /// An address.
    AgentGym(String),
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
}

impl Outside {
    /// # Errors
    /// A file of tasks that cannot be read.
    pub fn identity(&self) -> std::io::Result<Digest> {
        let Self { reach, tasks, schema } = self;
        let Schema { name: _, task, metrics, offers: _, doc: _ } = schema;
        let mut hasher = Hasher::new("agx-outside/1");
        hasher.str(reach.word()).str(&serde_json::to_string(task).expect("a schema is plain data")).put(metrics);
        match reach {
            // The program is what the environment is; an address says nothing of what answers there.
            Reach::Process(command) | Reach::McpCommand(command) => hasher.put(command),
            Reach::OpenEnv(_) | Reach::McpAddress(_) | Reach::AgentGym(_) => &mut hasher,
        };
        if let Some(tasks) = tasks {
            hasher.bytes(&file::read(tasks, MOST_TASKS)?);
        }
        Ok(hasher.finish())
    }
}
