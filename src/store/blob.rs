//! The store on disk: write-once files by digest and by key.

use super::{Damage, Divergence, Record, StoreError};
use crate::base::{Digest, file};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// From this size on, a blob is flushed to the disk before it is named.
pub const FLUSHED: usize = 64 * 1024;

/// A directory of blobs and records. Cheap to share by reference between threads; several processes may use one at once.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    noted: Mutex<Noted>,
    /// What is not here is read there; nothing is written there.
    below: Option<Box<Store>>,
}

/// Damage that was found: not taken yet, and not made whole yet.
#[derive(Debug, Default)]
struct Noted {
    damage: Vec<Damage>,
    paths: BTreeSet<PathBuf>,
}

impl Store {
    /// Opens the directory, and makes it where there is none.
    ///
    /// # Errors
    /// Not a directory, no permission, a full disk.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        if root.exists() && !root.is_dir() {
            return Err(StoreError::NotADirectory(root));
        }
        for part in ["cas", "records", "runs"] {
            let path = root.join(part);
            std::fs::create_dir_all(&path).map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => StoreError::NotADirectory(path.clone()),
                _ => StoreError::io("make", &path, &error),
            })?;
        }
        let records = root.join("records");
        std::fs::read_dir(&records).map_err(|error| StoreError::io("read", &records, &error))?;
        Ok(Self { root, noted: Mutex::default(), below: None })
    }

    /// Opens the directory over another store, which is read and never written: what is found there need not be made again.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn over(root: impl Into<PathBuf>, below: Store) -> Result<Self, StoreError> {
        Ok(Self { below: Some(Box::new(below)), ..Self::open(root)? })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where one run keeps its own files; not made here.
    pub fn run_dir(&self, run: &str) -> PathBuf {
        self.root.join("runs").join(run)
    }

    /// Where a blob lies or would lie.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        self.root.join("cas").join(&hex[..2]).join(&hex[2..])
    }

    pub fn record_path(&self, key: &Digest) -> PathBuf {
        let hex = key.to_string();
        self.root.join("records").join(&hex[..2]).join(&hex)
    }

    /// Stores a blob; a damaged one in its place is repaired.
    ///
    /// # Errors
    /// A write that fails: disk full, permission, input/output.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of_bytes(bytes);
        let path = self.blob_path(&digest);
        // Read, not trusted to be there: what was damaged is made whole by storing it again.
        if read(&path).is_ok_and(|found| found.as_deref() == Some(bytes)) {
            return Ok(digest);
        }
        if self.below.as_ref().is_some_and(|below| below.get(&digest).is_ok()) {
            return Ok(digest);
        }
        write(&path, bytes, Existing::Replace, bytes.len() >= FLUSHED)?;
        self.noted().paths.remove(&path);
        Ok(digest)
    }

    /// Reads a blob and verifies it.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Damaged`], or a read that fails.
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.blob_path(digest);
        let Some(bytes) = read(&path)? else {
            return self.below.as_ref().map_or(Err(StoreError::Missing(*digest)), |below| below.get(digest));
        };
        if Digest::of_bytes(&bytes) != *digest {
            let problem = format!("its {} bytes do not hash to its name", bytes.len());
            return Err(Damage { path, problem }.into());
        }
        Ok(bytes)
    }

    /// Files a record. The first of a key stays, unless what it names can no longer be read; a second one that disagrees
    /// is kept apart and handed back.
    ///
    /// # Errors
    /// A write that fails.
    pub fn record(&self, record: &Record) -> Result<Option<Divergence>, StoreError> {
        if let Some(below) = &self.below
            && let Some(first) = below.lookup(&record.key)?.filter(|first| below.is_whole(first))
        {
            return Ok((!first.agrees(record)).then(|| Divergence { first, second: record.clone() }));
        }
        let path = self.record_path(&record.key);
        let bytes = record.to_file();
        let flush = record.blobs().any(|blob| self.is_flushed(blob));
        if write(&path, &bytes, Existing::Keep, flush)? {
            return Ok(None);
        }
        let Some(first) = self.lookup(&record.key)?.filter(|first| self.is_whole(first)) else {
            write(&path, &bytes, Existing::Replace, flush)?;
            self.noted().paths.remove(&path);
            return Ok(None);
        };
        if first.agrees(record) {
            return Ok(None);
        }
        let hex = record.key.to_string();
        let name = format!("{hex}.{}", Digest::of_bytes(&bytes).short());
        write(&self.root.join("divergences").join(&hex[..2]).join(name), &bytes, Existing::Replace, flush)?;
        Ok(Some(Divergence { first, second: record.clone() }))
    }

    /// The record of a key. A damaged one counts as missing and is noted in [`Store::take_damage`].
    ///
    /// # Errors
    /// A read that fails.
    pub fn lookup(&self, key: &Digest) -> Result<Option<Record>, StoreError> {
        let path = self.record_path(key);
        let record = match read(&path) {
            Ok(None) => return self.below.as_ref().map_or(Ok(None), |below| below.lookup(key)),
            Ok(Some(bytes)) => Record::from_file(key, &bytes).map_err(|problem| Damage { path, problem }),
            Err(StoreError::Damaged(damage)) => Err(damage),
            Err(error) => return Err(error),
        };
        Ok(record.map_err(|damage| self.note(damage)).ok())
    }

    /// A key's record with the bytes of its output: the finished item, or nothing when any of its blobs is missing or
    /// damaged (noted in [`Store::take_damage`]).
    ///
    /// # Errors
    /// A read that fails.
    pub fn load(&self, key: &Digest) -> Result<Option<(Record, Vec<u8>)>, StoreError> {
        let Some(record) = self.lookup(key)? else { return Ok(None) };
        for blob in record.also.values() {
            if self.get_or_note(blob)?.is_none() {
                return Ok(None);
            }
        }
        Ok(self.get_or_note(&record.output)?.map(|bytes| (record, bytes)))
    }

    /// What was found damaged since the last call, in the order found; each file once until it is made whole.
    pub fn take_damage(&self) -> Vec<Damage> {
        let mut damage = self.below.as_ref().map(|below| below.take_damage()).unwrap_or_default();
        damage.append(&mut self.noted().damage);
        damage
    }

    /// Whether a blob can be read; a damaged one cannot, and is noted in [`Store::take_damage`].
    ///
    /// # Errors
    /// A read that fails.
    pub fn holds(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.get_or_note(digest)?.is_some())
    }

    fn get_or_note(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        match self.get(digest) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::Missing(_)) => Ok(None),
            Err(StoreError::Damaged(damage)) => {
                self.note(damage);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn note(&self, damage: Damage) {
        let mut noted = self.noted();
        if noted.paths.insert(damage.path.clone()) {
            noted.damage.push(damage);
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().expect("no panic holds this lock")
    }

    fn is_whole(&self, record: &Record) -> bool {
        record.blobs().all(|blob| self.get(blob).is_ok())
    }

    fn is_flushed(&self, blob: &Digest) -> bool {
        std::fs::metadata(self.blob_path(blob)).is_ok_and(|file| file.len() >= FLUSHED as u64)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Keep,
    Replace,
}

/// What stands at a place of the store, nothing where nothing does. Something else than a file is damage.
fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match file::read(path, u64::MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) => match error.kind() {
            ErrorKind::NotFound => Ok(None),
            ErrorKind::InvalidInput => Err(Damage { path: path.to_owned(), problem: error.to_string() }.into()),
            _ => Err(StoreError::io("read", path, &error)),
        },
    }
}

/// Writes beside the place and renames into it; says whether the place now holds these bytes.
fn write(path: &Path, bytes: &[u8], existing: Existing, flush: bool) -> Result<bool, StoreError> {
    let fail = |error: std::io::Error| StoreError::io("write", path, &error);
    let parent = path.parent().expect("every file of a store is in a directory of it");
    std::fs::create_dir_all(parent).map_err(fail)?;
    let mut fresh = file::temporary(parent).map_err(fail)?;
    fresh.write_all(bytes).map_err(fail)?;
    if flush {
        fresh.as_file().sync_all().map_err(fail)?;
    }
    if existing == Existing::Replace && path.is_dir() {
        // A file cannot be renamed onto a directory; what is in it is not ours to remove.
        let aside = file::temporary(parent).map_err(fail)?.into_temp_path();
        std::fs::remove_file(&aside).and_then(|()| std::fs::rename(path, &aside)).map_err(fail)?;
    }
    let named = match existing {
        Existing::Replace => fresh.persist(path),
        Existing::Keep => fresh.persist_noclobber(path),
    };
    match named {
        Ok(_) => {}
        Err(error) if existing == Existing::Keep && error.error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(fail(error.error)),
    }
    if flush {
        // The name is only as lasting as the directory that holds it.
        std::fs::File::open(parent).and_then(|directory| directory.sync_all()).map_err(fail)?;
    }
    Ok(true)
}
