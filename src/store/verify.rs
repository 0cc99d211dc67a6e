//! Turns a store into a statement of its health: every blob hashed again, every record read.
//!
//! # Invariants
//! Nothing here repairs or removes; what is found is said.

use super::{Damage, Record, Store, StoreError};
use crate::base::{Digest, file};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What a whole store was found to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub blobs: u64,
    pub bytes: u64,
    pub records: u64,
    /// Files that do not hold what was written, by path.
    pub damaged: Vec<Damage>,
    /// Blobs that a record names and that are not there: (record's key, blob).
    pub missing: Vec<(Digest, Digest)>,
}

impl Health {
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.missing.is_empty()
    }
}

impl Store {
    /// Reads everything.
    ///
    /// # Errors
    /// A directory or file that cannot be read at all.
    pub fn verify(&self) -> Result<Health, StoreError> {
        let mut health = Health::default();
        for path in files(&self.root().join("cas"))? {
            let parts = path.iter().rev().take(2).filter_map(|part| part.to_str()).collect::<Vec<_>>();
            let name = parts.into_iter().rev().collect::<String>();
            let Ok(digest) = name.parse::<Digest>() else {
                health.damaged.push(Damage { path, problem: "its name is not a digest".to_owned() });
                continue;
            };
            match self.get(&digest) {
                Ok(bytes) => {
                    health.blobs += 1;
                    health.bytes += bytes.len() as u64;
                }
                Err(StoreError::Damaged(damage)) => health.damaged.push(damage),
                Err(StoreError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        for path in files(&self.root().join("records"))? {
            match read_record(&path)? {
                Ok(record) => {
                    health.records += 1;
                    let gone = record.blobs().filter(|blob| !self.blob_path(blob).exists());
                    health.missing.extend(gone.map(|blob| (record.key, *blob)));
                }
                Err(problem) => health.damaged.push(Damage { path, problem }),
            }
        }
        Ok(health)
    }
}

fn read_record(path: &Path) -> Result<Result<Record, String>, StoreError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Ok(key) = name.parse::<Digest>() else { return Ok(Err("its name is not a key".to_owned())) };
    match file::read(path, u64::MAX) {
        Ok(bytes) => Ok(Record::from_file(&key, &bytes)),
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(Err(error.to_string())),
        Err(error) => Err(StoreError::io("read", path, &error)),
    }
}

/// The finished files two levels down, by name.
fn files(root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    for shelf in entries(root)? {
        files.extend(entries(&shelf)?);
    }
    files.retain(|path| {
        !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(file::TEMPORARY.as_bytes()))
    });
    Ok(files)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let fail = |error: std::io::Error| StoreError::io("read", directory, &error);
    let read = match std::fs::read_dir(directory) {
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut entries = read.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().map_err(fail)?;
    entries.sort();
    Ok(entries)
}
