//! What a file declares of API-Bank: where its data lies, what is taken of it, and what prompts and rules see of a task.

use crate::base::{Canonical, Digest, Hasher, file};
use crate::env::{Field, FieldType, Schema, Visibility};
use serde::{Deserialize, Serialize};
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
        let Self { data, from, to, mode } = self;
        let mut hasher = Hasher::new("agx-api-bank/2");
        hasher.put(from).put(to).put(mode);
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
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let field = |name: &str, ty, visible, doc: &str| {
                let (name, doc) = (name.to_owned(), doc.to_owned());
                Field { name, ty, optional: false, max_tokens: None, visible, doc }
            };
            let texts = FieldType::List(Box::new(FieldType::Text));
            Schema {
                name: "api-bank".to_owned(),
                task: vec![
                    field(
                        "request",
                        FieldType::Text,
                        Visibility::ALL,
                        "What the user says first, a line a turn; of level 3 all that is wanted.",
                    ),
                    field("tools", texts, Visibility::ALL, "The APIs that are given, each a specification."),
                    field(
                        "level",
                        FieldType::Int,
                        Visibility::ALL,
                        "1: the APIs are known; 2, 3: they are searched for.",
                    ),
                    field("gold", FieldType::Opaque, Visibility::NONE, "The recorded calls and their results."),
                ],
                metrics: ["success", "progress", "rouge"].map(str::to_owned).into(),
                offers: Vec::new(),
                doc: "API-Bank: dialogues in which the right API is to be called (Li et al. 2023).".to_owned(),
            }
        });
        &SCHEMA
    }
}
