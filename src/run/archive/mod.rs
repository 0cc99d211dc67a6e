//! Turns a run into one file that anybody can check, and such a file back into a run.
//!
//! ```text
//! agx.json                what this is, and the digest of every entry that is not named by its own
//! blobs/<digest>          what the run's nodes and items made
//! files/<place>           what the experiment names: weights, tokenizers, data (see `carried`)
//! records.jsonl           what came of which recipe, a record a line, by key
//! runs/<run>/…            the frozen source, the plan, the journal
//! ```
//!
//! A tar of regular files in the order of their names, each once, without times and owners: the same run gives the same
//! bytes. [`pack()`] writes one, [`unpack()`] takes one in. A *cassette* is the same without the models' files: what is
//! recorded is played again beside the experiment's own.
//!
//! # Invariants
//! Nothing of an archive is believed: every blob is hashed, every other entry held against its digest, the journal's chain
//! walked, the frozen source checked anew. Nothing reaches the store before all of it was looked at, and what no node names
//! is refused.

pub(super) mod contents;
mod pack;
mod unpack;

pub use pack::{Packed, pack};
pub use unpack::{Asked, Unpacked, unpack};

use crate::base::Digest;
use crate::base::file::reason;
use crate::run::RunError;
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

const FORMAT: &str = "agx-archive/1";
const HEAD: &str = "agx.json";
const RECORDS: &str = "records.jsonl";
/// The head of an archive names its files, not its blobs.
const MOST_HEAD: u64 = 1 << 26;
/// A blob is held in memory whenever it is used.
const MOST_BLOB: u64 = 4 << 30;
/// What a block of a tar takes.
const BLOCK: u64 = 512;

/// What an archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// All that is needed to work the run again.
    Run,
    /// All but the models' own files.
    Cassette,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    /// The version of agx that wrote it.
    agx: String,
    form: Form,
    run: String,
    /// How many follow: an archive that was cut short is known.
    entries: u64,
    files: BTreeMap<String, Digest>,
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("{path}: {why}", path = .path.display())]
    File { path: PathBuf, why: String },
    #[error("{path} is no archive of agx: {why}", path = .path.display())]
    Foreign { path: PathBuf, why: String },
    #[error("{path} is cut short or damaged: {why}", path = .path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("{path}: `{entry}` {why}", path = .path.display())]
    Entry { path: PathBuf, entry: String, why: String },
    #[error("{path} unpacks to more than {most} GiB", path = .path.display())]
    TooLarge { path: PathBuf, most: u64 },
    /// What it holds is whole, and is not what a run is.
    #[error("{path} does not hold a sound run: {why}", path = .path.display())]
    Unsound { path: PathBuf, why: String },
    #[error("the store holds another result of `{0}`, which has the same key: one of both was recorded elsewhere")]
    Diverges(String),
    #[error("what {} names has changed since the run was started", .0.join(", "))]
    Changed(Vec<String>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Run(#[from] RunError),
}

fn file(path: &std::path::Path, problem: &std::io::Error) -> ArchiveError {
    ArchiveError::File { path: path.to_owned(), why: reason(problem) }
}
