//! Turns large blobs into files named by their digest, and back.
//!
//! ```text
//! cas/ab/cdef…       the bytes
//! cas/ab/cdef….zst   the same in Zstandard, where that pays
//! ```
//!
//! # Invariants
//! A file is written beside its place and renamed into it, flushed before and after: its name is never there without its bytes.

use super::{Damage, StoreError, entry};
use crate::base::{Digest, file};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Tells whether coding the whole pays.
const SAMPLE: usize = 64 * 1024;
const SUFFIX: &str = ".zst";

#[derive(Debug)]
pub(super) struct Large {
    directory: PathBuf,
}

impl Large {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn place(&self, digest: &Digest, suffix: &str) -> PathBuf {
        let hex = digest.to_string();
        self.directory.join(&hex[..2]).join(format!("{}{suffix}", &hex[2..]))
    }

    /// Where it is, if it is here.
    pub(super) fn path(&self, digest: &Digest) -> Option<PathBuf> {
        ["", SUFFIX].map(|suffix| self.place(digest, suffix)).into_iter().find(|path| path.exists())
    }

    pub(super) fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let pays = entry::compress(&bytes[..bytes.len().min(SAMPLE)]).is_some();
        match entry::compress(bytes).filter(|_| pays) {
            Some(coded) => write(&self.place(digest, SUFFIX), &coded, true),
            None => write(&self.place(digest, ""), bytes, true),
        }
    }

    /// Nothing where it is not here. Something else than its bytes is damage.
    pub(super) fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let mut damage = None;
        for suffix in ["", SUFFIX] {
            let path = self.place(digest, suffix);
            let problem = match file::read(&path, u64::MAX) {
                Ok(bytes) => match if suffix.is_empty() { Ok(bytes) } else { entry::decompress_all(&bytes) } {
                    Ok(bytes) if Digest::of_bytes(&bytes) == *digest => return Ok(Some(bytes)),
                    Ok(bytes) => format!("its {} bytes do not hash to its name", bytes.len()),
                    Err(_) => "its bytes do not unpack".to_owned(),
                },
                Err(error) => match error.kind() {
                    ErrorKind::NotFound => continue,
                    ErrorKind::InvalidInput => error.to_string(),
                    _ => return Err(StoreError::io("read", &path, &error)),
                },
            };
            damage = Some(Damage { path, problem });
        }
        damage.map_or(Ok(None), |damage| Err(damage.into()))
    }

    /// Every digest that a file here is named by, in order; what is named otherwise is damage.
    pub(super) fn digests(&self) -> Result<Vec<Result<Digest, Damage>>, StoreError> {
        let mut digests = Vec::new();
        for shelf in entries(&self.directory)? {
            for path in entries(&shelf)? {
                let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
                let (shelf, file) = (name(&shelf), name(&path));
                if file.starts_with(file::TEMPORARY) {
                    continue;
                }
                let hex = format!("{shelf}{}", file.strip_suffix(SUFFIX).unwrap_or(&file));
                digests.push(hex.parse().map_err(|_| Damage { path, problem: "its name is not a digest".to_owned() }));
            }
        }
        Ok(digests)
    }

    /// Bytes of all files, from what the system says of them.
    pub(super) fn bytes(&self) -> Result<u64, StoreError> {
        let digests = self.digests()?;
        let paths = digests.iter().flatten().filter_map(|digest| self.path(digest));
        Ok(paths.filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum())
    }

    /// Removes a blob; says how many bytes became free.
    pub(super) fn remove(&self, digest: &Digest) -> Result<u64, StoreError> {
        let mut freed = 0;
        while let Some(path) = self.path(digest) {
            let size = std::fs::metadata(&path).map_or(0, |file| file.len());
            file::remove(&path).map_err(|error| StoreError::io("remove", &path, &error))?;
            freed += size;
        }
        Ok(freed)
    }
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

/// Writes beside the place and renames into it.
pub(super) fn write(path: &Path, bytes: &[u8], flush: bool) -> Result<(), StoreError> {
    let fail = |error: std::io::Error| StoreError::io("write", path, &error);
    let parent = path.parent().expect("every file of a store is in a directory of it");
    std::fs::create_dir_all(parent).map_err(fail)?;
    let mut fresh = file::temporary(parent).map_err(fail)?;
    fresh.write_all(bytes).map_err(fail)?;
    if flush {
        fresh.as_file().sync_all().map_err(fail)?;
    }
    if path.is_dir() {
        // A file cannot be renamed onto a directory; what is in it is not ours to remove.
        let aside = file::temporary(parent).map_err(fail)?.into_temp_path();
        std::fs::remove_file(&aside).and_then(|()| std::fs::rename(path, &aside)).map_err(fail)?;
    }
    fresh.persist(path).map_err(|error| fail(error.error))?;
    if flush {
        // The name is only as lasting as the directory that holds it.
        std::fs::File::open(parent).and_then(|directory| directory.sync_all()).map_err(fail)?;
    }
    Ok(())
}
