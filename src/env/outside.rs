//! Environments outside the program: how they are reached, and the schema that the file declares for them.
//!
//! # Invariants
//! Where an environment is reached (its address, its command) is in no identity: its schema and its tasks are.

use super::schema::{Field, FieldType, Schema, Visibility};
use crate::base::{Digest, Hasher, file};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

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

/// The files of a directory and of those in it, by their paths.
pub(super) fn directory_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut files, mut left) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            // A link may lead back.
            if kind.is_dir() {
                left.push(path);
            } else if path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Of a directory's files, by their names and bytes.
pub(super) fn directory_digest(domain: &str, directory: &Path, levels: (u32, u32)) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new(domain);
    hasher.put(&levels);
    for path in directory_files(directory)? {
        hasher
            .str(&path.strip_prefix(directory).unwrap_or(&path).to_string_lossy())
            .bytes(&file::read(&path, MOST_TASKS)?);
    }
    Ok(hasher.finish())
}

/// What prompts and rules see of API-Bank.
pub(super) fn api_bank() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
        let field = |name: &str, ty, visible, doc: &str| {
            let (name, doc) = (name.to_owned(), doc.to_owned());
            Field { name, ty, optional: false, max_tokens: None, visible, doc }
        };
        let texts = FieldType::List(Box::new(FieldType::Text));
        Schema {
            name: "api-bank".to_owned(),
            task: vec![
                field("request", FieldType::Text, Visibility::ALL, "What the user says, a line a turn."),
                field("tools", texts, Visibility::ALL, "The APIs that are given, each a specification."),
                field("level", FieldType::Int, Visibility::ALL, "1: the APIs are known; 2, 3: they are searched for."),
                field("gold", FieldType::Opaque, Visibility::NONE, "The recorded calls and their results."),
            ],
            metrics: ["success", "progress", "rouge"].map(str::to_owned).into(),
            offers: Vec::new(),
            doc: "API-Bank: dialogues in which the right API is to be called (Li et al. 2023).".to_owned(),
        }
    });
    &SCHEMA
}
