//! Turns a model's name on the Hugging Face hub into a directory on this machine.
//!
//! [`Hub`] says where models are kept and whom to ask. [`placed`] finds one that is there, [`fetch`] brings what is missing of one;
//! every other part of agx sees directories. The layout is that of `huggingface_hub`: what one has fetched, the other finds.
//! The crate `hf-hub` is not used: it believes a server's words as file names, verifies nothing, and waits for ever.
//!
//! # Invariants
//! Nothing but [`fetch`] and [`missing`] asks anybody. Where nothing is missing, nobody is asked.

mod ask;
mod cache;
mod error;
mod fetch;
mod sum;
#[cfg(test)]
mod tests;

pub use error::HubError;

use super::{ModelError, ModelSpec, Secret, Source, Wire};
use cache::Snapshot;
use fetch::Fetch;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Where models of the hub are kept, and whom to ask for them: handed down from the edge of the program as a value.
#[derive(Clone, Debug)]
pub struct Hub {
    /// The directory of `models--org--name`.
    pub cache: PathBuf,
    /// The address before `/org/name`.
    pub endpoint: String,
    /// What it is asked with, if there is one.
    pub token: fn() -> Result<Option<Secret>, String>,
    /// Nobody is asked.
    pub offline: bool,
}

impl Hub {
    /// For people: without what names who asks.
    pub fn address(&self) -> String {
        match self.endpoint.rsplit_once('@') {
            Some((_, host)) => format!("…@{host}"),
            None => self.endpoint.clone(),
        }
    }
}

/// No model is here, and nobody is asked for one.
impl Default for Hub {
    fn default() -> Self {
        Self { cache: PathBuf::new(), endpoint: String::new(), token: || Ok(None), offline: true }
    }
}

/// What is heard of a model on its way.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// So many bytes are there, of those that were begun together.
    Come { file: &'a str, done: u64, total: u64 },
    /// It came to nothing, and is tried again.
    Again { problem: &'a HubError },
    /// Another process brings this file.
    Other { file: &'a str },
}

/// An owner and a name, of letters, digits, `-`, `_` and `.`.
pub fn is_repo(repo: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let part =
        |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && part.chars().all(plain);
    // As the hub has it; two dashes stand for the `/` in its cache.
    let is_odd = repo.len() > 96 || repo.contains("--") || repo.contains("..");
    !is_odd && repo.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

/// A branch or a tag is something else tomorrow.
pub fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && sum::is_hex(revision)
}

/// The same with a directory in place of a name on the hub. Nobody is asked.
///
/// # Errors
/// A model that is not here, or not all of it ([`HubError::Absent`]).
pub fn placed<'s>(spec: &'s ModelSpec, hub: &Hub) -> Result<Cow<'s, ModelSpec>, ModelError> {
    let Some(snapshot) = snapshot(spec, hub)? else { return Ok(Cow::Borrowed(spec)) };
    if !cfg!(feature = "local") {
        return Err(ModelError::NotBuilt);
    }
    match snapshot.lacking()? {
        lacking if lacking.is_empty() => {
            Ok(Cow::Owned(ModelSpec { source: Source::Path(snapshot.directory), ..spec.clone() }))
        }
        lacking => Err(HubError::Absent { model: snapshot.words(), lacking }.into()),
    }
}

/// Brings what is missing here of a model of the hub, and says where it is; nothing of any other.
///
/// # Errors
/// A model that this version does not run: mostly before its weights come; a hub that cannot be reached, refuses, or
/// does not give what it says; a disk that cannot be written; a pause: what came is gone on with.
pub fn fetch(spec: &ModelSpec, wire: &Wire, heard: &mut dyn FnMut(Heard<'_>)) -> Result<Option<PathBuf>, ModelError> {
    let Some(snapshot) = snapshot(spec, &wire.hub)? else { return Ok(None) };
    if !cfg!(feature = "local") {
        return Err(ModelError::NotBuilt);
    }
    if let Some(fetch) = due(&snapshot, wire)? {
        fetch.all(&|directory: &Path| super::positions(directory).map(drop), heard)?;
    }
    let there = placed(spec, &wire.hub)?;
    snapshot.hold()?;
    super::look(&there)?;
    Ok(Some(snapshot.directory))
}

/// Bytes that are missing here of a model of the hub, as the hub says; nothing where it is whole, and of any other model.
///
/// # Errors
/// As [`fetch`].
pub fn missing(spec: &ModelSpec, wire: &Wire) -> Result<Option<u64>, ModelError> {
    let Some(snapshot) = snapshot(spec, &wire.hub)? else { return Ok(None) };
    due(&snapshot, wire)?.map(|fetch| fetch.missing()).transpose()
}

/// Holds a model's files against the sums that the hub gave; other models have none. Its name is its identity, so whoever works
/// with it does this first.
///
/// # Errors
/// A file that is another; one that is not here.
pub fn hold(spec: &ModelSpec, hub: &Hub) -> Result<(), ModelError> {
    let Some(snapshot) = snapshot(spec, hub)? else { return Ok(()) };
    placed(spec, hub)?;
    snapshot.hold()
}

fn snapshot(spec: &ModelSpec, hub: &Hub) -> Result<Option<Snapshot>, HubError> {
    match &spec.source {
        Source::Hub { repo, revision } => Snapshot::new(hub, repo, revision).map(Some),
        _ => Ok(None),
    }
}

/// Who brings what is missing, if something is.
fn due<'a>(snapshot: &'a Snapshot, wire: &'a Wire) -> Result<Option<Fetch<'a>>, ModelError> {
    match snapshot.lacking()? {
        lacking if lacking.is_empty() => Ok(None),
        lacking if wire.hub.offline => Err(HubError::Offline { model: snapshot.words(), lacking }.into()),
        _ => Ok(Some(Fetch::new(snapshot, wire)?)),
    }
}
