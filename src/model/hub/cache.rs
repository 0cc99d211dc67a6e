//! Turns a model's name and commit into where its files lie, in the layout of `huggingface_hub`.
//!
//! ```text
//! models--org--name/
//!   blobs/SUM                  a file under the sum of its bytes; SUM.incomplete while it comes
//!   snapshots/COMMIT/NAME      a link to its blob
//!   .no_exist/COMMIT/NAME      asked for, and the model has none
//!   trees/COMMIT.json          all names that there are, where `huggingface_hub` has asked for them
//! .locks/models--org--name/SUM.lock
//! ```
//!
//! # Invariants
//! No name leads out of the cache. What is under a name in `snapshots` is whole: it comes there last.

use super::sum::Sum;
use super::{Hub, HubError, is_commit, is_repo};
use crate::base::file;
use crate::model::ModelError;
use crate::model::shards;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What a model that runs has.
const DUE: [&str; 3] = ["config.json", "tokenizer.json", "tokenizer_config.json"];
/// What it may have, and what decides how it answers all the same: that it has none must be known.
const OPTIONAL: [&str; 2] = ["generation_config.json", "chat_template.jinja"];
const WEIGHTS: &str = "model.safetensors";
pub const INDEX: &str = "model.safetensors.index.json";
/// More than any of these but the weights, in bytes.
pub const MOST_TEXT: u64 = 1 << 28;

/// Whether a model may do without it.
pub fn is_optional(name: &str) -> bool {
    OPTIONAL.contains(&name)
}

/// Whether it is an answer, and no fault, that the model has no such file: weights may lie in several.
pub fn may_be_absent(name: &str) -> bool {
    is_optional(name) || name == WEIGHTS
}

/// Of what weights consist, and not what describes them.
pub fn is_weights(name: &str) -> bool {
    name.ends_with(".safetensors")
}

/// One commit of one model.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub repo: String,
    pub revision: String,
    /// Where its files are, as a directory in the Hugging Face layout.
    pub directory: PathBuf,
    absent: PathBuf,
    tree: PathBuf,
    blobs: PathBuf,
    locks: PathBuf,
}

impl Snapshot {
    pub fn new(hub: &Hub, repo: &str, revision: &str) -> Result<Self, HubError> {
        if !is_repo(repo) {
            return Err(HubError::Name(repo.to_owned()));
        }
        if !is_commit(revision) {
            return Err(HubError::Revision(revision.to_owned()));
        }
        let folder = format!("models--{}", repo.replace('/', "--"));
        let root = hub.cache.join(&folder);
        Ok(Self {
            repo: repo.to_owned(),
            revision: revision.to_owned(),
            directory: root.join("snapshots").join(revision),
            absent: root.join(".no_exist").join(revision),
            tree: root.join("trees").join(format!("{revision}.json")),
            blobs: root.join("blobs"),
            locks: hub.cache.join(".locks").join(&folder),
        })
    }

    /// `org/name at 0123456789ab`
    pub fn words(&self) -> String {
        format!("{} at {}", self.repo, &self.revision[..12])
    }

    /// The names that are still to be asked for, as far as they are known here: those of shards once the index is there.
    ///
    /// # Errors
    /// An index that is none.
    pub fn lacking(&self) -> Result<Vec<String>, ModelError> {
        let is_open = |name: &&str| !(self.is_there(name) || is_optional(name) && self.is_absent(name));
        let mut lacking: Vec<String> =
            DUE.iter().chain(&OPTIONAL).copied().filter(is_open).map(str::to_owned).collect();
        if self.is_there(WEIGHTS) {
            return Ok(lacking);
        }
        if self.is_there(INDEX) {
            let path = self.directory.join(INDEX);
            let text = file::read_text(&path, MOST_TEXT).map_err(|problem| disk(&path, &problem))?;
            let shards = shards::named(&path.display().to_string(), &text)?;
            lacking.extend(shards.into_iter().filter(|shard| !self.is_there(shard)));
        } else {
            lacking.push(if self.is_absent(WEIGHTS) { INDEX } else { WEIGHTS }.to_owned());
        }
        Ok(lacking)
    }

    /// Whether what the link leads to is there as well.
    pub fn is_there(&self, name: &str) -> bool {
        self.directory.join(name).is_file()
    }

    fn is_absent(&self, name: &str) -> bool {
        self.absent.join(name).exists() || self.is_unlisted(name).unwrap_or(false)
    }

    fn is_unlisted(&self, name: &str) -> Option<bool> {
        let text = file::read(&self.tree, MOST_TEXT).ok()?;
        let tree: Value = serde_json::from_slice(&text).ok()?;
        let files = tree["files"].as_object().filter(|_| tree["format_version"] == 1)?;
        // One without what every model has lists something else.
        Some(files.contains_key(DUE[0]) && !files.contains_key(name))
    }

    /// Notes that the model has no such file.
    pub fn note_absent(&self, name: &str) -> Result<(), HubError> {
        let path = self.absent.join(name);
        make(&self.absent)?;
        fs::write(&path, "").map_err(|problem| disk(&path, &problem))
    }

    pub fn blob(&self, sum: &Sum) -> PathBuf {
        self.blobs.join(sum.as_str())
    }

    /// Where a file is while it comes.
    pub fn part(&self, sum: &Sum) -> PathBuf {
        self.blobs.join(format!("{}.incomplete", sum.as_str()))
    }

    /// How much of a file has come, so far.
    pub fn come(&self, sum: &Sum) -> u64 {
        fs::metadata(self.part(sum)).map_or(0, |part| part.len())
    }

    /// Opens what has come of a file, to go on behind it.
    pub fn open_part(&self, sum: &Sum) -> Result<(File, u64), HubError> {
        make(&self.blobs)?;
        let path = self.part(sum);
        // One that leads elsewhere is nobody's beginning.
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            file::remove(&path).map_err(|problem| disk(&path, &problem))?;
        }
        let mut options = File::options();
        let open = options.read(true).write(true).create(true).truncate(false).open(&path).and_then(|mut part| {
            let size = part.seek(SeekFrom::End(0))?;
            part.rewind()?;
            Ok((part, size))
        });
        open.map_err(|problem| disk(&path, &problem))
    }

    /// The one process that brings a file; `None` while another does. The system frees it when its holder ends.
    pub fn lock(&self, sum: &Sum) -> Result<Option<File>, HubError> {
        make(&self.locks)?;
        let path = self.locks.join(format!("{}.lock", sum.as_str()));
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|problem| disk(&path, &problem))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(problem)) => Err(disk(&path, &problem)),
        }
    }

    /// What has come whole is from now on under its sum.
    pub fn keep(&self, sum: &Sum) -> Result<(), HubError> {
        let blob = self.blob(sum);
        fs::rename(self.part(sum), &blob).map_err(|problem| disk(&blob, &problem))
    }

    /// Puts a blob under its name. Where there are no links, it lies there itself, as `huggingface_hub` has it.
    pub fn put(&self, name: &str, sum: &Sum) -> Result<(), HubError> {
        make(&self.directory)?;
        let (blob, path) = (self.blob(sum), self.directory.join(name));
        let put = file::remove(&path).and_then(|()| {
            link(&Path::new("../../blobs").join(sum.as_str()), &path)
                .or_else(|_| fs::hard_link(&blob, &path))
                .or_else(|_| fs::rename(&blob, &path))
        });
        put.map_err(|problem| disk(&path, &problem))
    }

    /// Holds what is here against the sums that it is under. What lies under its name itself has none.
    ///
    /// # Errors
    /// The first file that is another; it stays where it is.
    pub fn hold(&self) -> Result<(), ModelError> {
        let entries = fs::read_dir(&self.directory).map_err(|problem| disk(&self.directory, &problem))?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            let fail = |problem: std::io::Error| disk(&path, &problem);
            let blob = path.canonicalize().map_err(fail)?;
            let Some(sum) = blob.file_name().and_then(|name| Sum::of_hex(name.to_str()?)) else { continue };
            let file = file::open(&blob).map_err(fail)?;
            let mut found = sum.begin(file.metadata().map_err(fail)?.len());
            found.add_all(file).map_err(fail)?;
            if found.end() != sum {
                let problem = format!("is not what the hub gave: remove {}, and `agx fetch` it again", blob.display());
                return Err(HubError::Disk { path, problem }.into());
            }
        }
        Ok(())
    }
}

#[cfg(unix)]
fn link(to: &Path, at: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

/// Elsewhere a link is a right that not everybody has.
#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

fn make(directory: &Path) -> Result<(), HubError> {
    fs::create_dir_all(directory).map_err(|problem| disk(directory, &problem))
}

/// In words; a full disk says what stays.
pub fn disk(path: &Path, problem: &std::io::Error) -> HubError {
    let problem = match problem.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "the disk is full: what has come is kept; make room, or let `HF_HUB_CACHE` name a larger place".to_owned()
        }
        _ => file::reason(problem),
    };
    HubError::Disk { path: path.to_owned(), problem }
}
