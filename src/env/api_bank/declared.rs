//! What a file declares of API-Bank: where its data lies, what is taken of it, and what prompts and rules see of a task.

use super::figures;
use crate::base::{Canonical, Digest, Hasher, file};
use crate::env::{Field, FieldType, Schema, Visibility};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::LazyLock;

/// No file of the data is longer.
const MOST: u64 = 1 << 30;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// The directory with the published files.
    pub data: PathBuf,
    /// Levels `from` to `to`, both among them.
    pub from: u32,
    pub to: u32,
    pub mode: Mode,
    pub tasks: Tasks,
}

/// What a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tasks {
    /// A dialogue, in which the user says what was recorded, turn by turn.
    Dialogues,
    /// One turn of a recorded dialogue, as the benchmark's own files ask it: what published figures are of.
    Turns,
    /// A dialogue of the training rows, whose calls are answered as they were recorded.
    Training,
}

impl Tasks {
    pub fn as_str(self) -> &'static str {
        match self {
            Tasks::Dialogues => "dialogues",
            Tasks::Turns => "turns",
            Tasks::Training => "training",
        }
    }
}

impl Canonical for Tasks {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.str(self.as_str());
    }
}

/// How an agent's calls are read and made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As the original does: a list that is written as text stays text, and its tools refuse it; in API-Bank's notation a
    /// value ends at the first quote within.
    Official,
    /// Lists that are written as text are read as lists.
    Repaired,
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Official => "official",
            Mode::Repaired => "repaired",
        }
    }
}

impl Canonical for Mode {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.str(self.as_str());
    }
}

impl Declared {
    /// Of what is taken, and of the directory's files by their names and bytes.
    ///
    /// # Errors
    /// A file or a directory that cannot be read.
    pub fn identity(&self) -> io::Result<Digest> {
        let Self { data, from, to, mode, tasks } = self;
        let mut hasher = Hasher::new("agx-api-bank/2");
        hasher.put(from).put(to).put(mode).put(tasks);
        for path in self.files()? {
            let name = path.strip_prefix(data).unwrap_or(&path);
            hasher.str(&name.to_string_lossy()).bytes(&file::read(&path, MOST)?);
        }
        Ok(hasher.finish())
    }

    /// The files of the directory and of those in it, by their paths.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let (mut files, mut left) = (Vec::new(), vec![self.data.clone()]);
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

    /// What prompts and rules see.
    pub fn schema(&self) -> &'static Schema {
        static SCHEMAS: LazyLock<BTreeMap<Key, Schema>> = LazyLock::new(|| {
            let levels = (1..=3).flat_map(|from| (from..=3).map(move |to| (from, to)));
            let kinds = [Tasks::Dialogues, Tasks::Turns, Tasks::Training];
            let keys = levels.flat_map(|(from, to)| kinds.map(|tasks| (tasks, from, to)));
            keys.map(|key| (key, schema(key))).collect()
        });
        SCHEMAS.get(&(self.tasks, self.from, self.to)).expect("levels are 1 to 3, the lower first")
    }
}

/// What a schema depends on: what a task is, and the levels.
type Key = (Tasks, u32, u32);

fn schema((tasks, from, to): Key) -> Schema {
    let field = |name: &str, ty, visible, doc: &str| {
        let (name, doc) = (name.to_owned(), doc.to_owned());
        Field { name, ty, optional: false, max_tokens: None, visible, doc }
    };
    let text = |name: &str, doc: &str| field(name, FieldType::Text, Visibility::ALL, doc);
    let mut task = match tasks {
        Tasks::Turns => vec![
            text("instruction", "How a call is to be written, and the APIs that are given: the data's own words."),
            text("request", "The dialogue so far, and what is to be written next."),
        ],
        Tasks::Dialogues | Tasks::Training => vec![
            text("request", "What the user says first, a line a turn; of level 3 all that is wanted."),
            field(
                "tools",
                FieldType::List(Box::new(FieldType::Text)),
                Visibility::ALL,
                "The APIs that are given, each a specification.",
            ),
        ],
    };
    task.push(field("level", FieldType::Int, Visibility::ALL, "1: the APIs are known; 2, 3: they are searched for."));
    task.push(field("gold", FieldType::Opaque, Visibility::NONE, "The recorded calls and their results."));
    let mut metrics: Vec<String> = match tasks {
        Tasks::Turns => ["success", "rouge"].map(str::to_owned).into(),
        Tasks::Dialogues | Tasks::Training => ["success", "progress", "rouge"].map(str::to_owned).into(),
    };
    if tasks == Tasks::Turns {
        metrics.extend((from..=to).flat_map(figures::names));
    }
    let doc = match tasks {
        Tasks::Dialogues => "API-Bank: dialogues in which the right API is to be called (Li et al. 2023).",
        Tasks::Turns => {
            "API-Bank's rows: one turn of a recorded dialogue each, as the benchmark asks it (Li et al. 2023)."
        }
        Tasks::Training => {
            "API-Bank's training dialogues, in which a call is answered as it was recorded (Li et al. 2023)."
        }
    };
    Schema { name: "api-bank".to_owned(), task, metrics, offers: Vec::new(), doc: doc.to_owned() }
}
