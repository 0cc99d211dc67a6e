//! The store on disk: small blobs and records in packs, large blobs in files of their own.

use super::entry::{Entry, Kind};
use super::large::{self, Large};
use super::packs::Packs;
use super::{Damage, Divergence, Record, StoreError};
use crate::base::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// From this size on, a blob is a file of its own and is flushed to the disk before it is named.
pub const LARGE: usize = 64 * 1024;

/// A directory of blobs and records. Cheap to share by reference between threads; several processes may use one at once.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    pub(super) packs: Packs,
    pub(super) large: Large,
    noted: Mutex<Noted>,
    /// What is not here is read there; nothing is written there.
    below: Option<Box<Store>>,
}

/// A finished item: its record and the bytes of what it names.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub record: Record,
    pub output: Vec<u8>,
    /// By role.
    pub also: BTreeMap<String, Vec<u8>>,
}

/// Damage that was found: not taken yet, and not made whole yet.
#[derive(Debug, Default)]
struct Noted {
    damage: Vec<Damage>,
    of: BTreeSet<(Kind, Digest)>,
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
        for part in ["cas", "packs", "runs"] {
            let path = root.join(part);
            std::fs::create_dir_all(&path).map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => StoreError::NotADirectory(path.clone()),
                _ => StoreError::io("make", &path, &error),
            })?;
        }
        std::fs::read_dir(root.join("packs")).map_err(|error| StoreError::io("read", &root.join("packs"), &error))?;
        Ok(Self::at(root))
    }

    /// Opens the directory over another store, which is read and never written: what is found there need not be made again.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn over(root: impl Into<PathBuf>, below: Store) -> Result<Self, StoreError> {
        Ok(Self { below: Some(Box::new(below)), ..Self::open(root)? })
    }

    /// Opens a store that is there, and makes nothing.
    ///
    /// # Errors
    /// Not a store, no permission.
    pub fn open_existing(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        let packs = root.join("packs");
        std::fs::read_dir(&packs).map_err(|error| match error.kind() {
            ErrorKind::NotFound => StoreError::NoStore(root.clone()),
            _ => StoreError::io("read", &packs, &error),
        })?;
        Ok(Self::at(root))
    }

    fn at(root: PathBuf) -> Self {
        let (packs, large) = (Packs::new(root.join("packs")), Large::new(root.join("cas")));
        Self { root, packs, large, noted: Mutex::default(), below: None }
    }

    /// The store that is read where this one has nothing.
    pub fn below(&self) -> Option<&Store> {
        self.below.as_deref()
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where one run keeps its own files; not made here.
    pub fn run_dir(&self, run: &str) -> PathBuf {
        self.root.join("runs").join(run)
    }

    /// Stores a blob; a damaged one is made whole.
    ///
    /// # Errors
    /// A write that fails: disk full, permission, input/output.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of_bytes(bytes);
        let is_large = bytes.len() >= LARGE;
        let here = if is_large { self.large.get(&digest) } else { self.packs.blob(&digest) };
        // Read, not trusted to be there: what was damaged is made whole by storing it again.
        if matches!(here, Ok(Some(_))) || self.below.as_ref().is_some_and(|below| below.get(&digest).is_ok()) {
            return Ok(digest);
        }
        if is_large {
            self.large.put(&digest, bytes)?;
        } else {
            let entry = Entry::new(Kind::Blob, &digest, bytes);
            let appending = self.packs.appending()?;
            if !matches!(self.packs.blob(&digest), Ok(Some(_))) {
                appending.append(&[entry], false)?;
            }
        }
        self.made_whole(Kind::Blob, digest);
        Ok(digest)
    }

    /// Reads a blob and verifies it.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Damaged`], or a read that fails.
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let here = match self.packs.blob(digest) {
            Ok(None) => self.large.get(digest),
            found => found,
        };
        let problem = match here {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) => StoreError::Missing(*digest),
            Err(problem) => problem,
        };
        // What is damaged here may be whole below: then it is not stored again.
        match self.below.as_ref().map(|below| below.get(digest)) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(below)) if matches!(problem, StoreError::Missing(_)) => Err(below),
            Some(Err(_)) | None => Err(problem),
        }
    }

    /// Files a record. The first of a key stays, unless what it names can no longer be read; a second one that disagrees
    /// is kept apart and handed back.
    ///
    /// # Errors
    /// A write that fails.
    pub fn record(&self, record: &Record) -> Result<Option<Divergence>, StoreError> {
        let file = record.to_file();
        let entry = Entry::new(Kind::Record, &record.key, &file);
        let appending = self.packs.appending()?;
        let Some(first) = self.lookup(&record.key)?.filter(|first| self.is_whole(first)) else {
            // What names a large blob was dear to make. The blob is on the disk already.
            let mut flush = false;
            for blob in record.blobs() {
                flush |= !appending.lists(Kind::Blob, blob) && self.large.path(blob).is_some();
            }
            let mut entries = vec![entry];
            if appending.lists(Kind::Record, &record.key) {
                entries.insert(0, Entry::new(Kind::Forgotten, &record.key, b""));
            }
            appending.append(&entries, flush)?;
            self.made_whole(Kind::Record, record.key);
            return Ok(None);
        };
        drop(appending);
        if first.agrees(record) {
            return Ok(None);
        }
        let hex = record.key.to_string();
        let name = format!("{hex}.{}", Digest::of_bytes(&file).short());
        large::write(&self.root.join("divergences").join(&hex[..2]).join(name), &file, false)?;
        Ok(Some(Divergence { first, second: record.clone() }))
    }

    /// The record of a key. A damaged one counts as missing and is noted in [`Store::take_damage`].
    ///
    /// # Errors
    /// A read that fails.
    pub fn lookup(&self, key: &Digest) -> Result<Option<Record>, StoreError> {
        match self.packs.record(key) {
            Ok(None) => self.below.as_ref().map_or(Ok(None), |below| below.lookup(key)),
            Err(StoreError::Damaged(damage)) => {
                self.note(Kind::Record, key, damage);
                Ok(None)
            }
            found => found,
        }
    }

    /// A key's record with the bytes that it names: the finished item, or nothing when any of its blobs is missing or
    /// damaged (noted in [`Store::take_damage`]).
    ///
    /// # Errors
    /// A read that fails.
    pub fn load(&self, key: &Digest) -> Result<Option<Loaded>, StoreError> {
        let Some(record) = self.lookup(key)? else { return Ok(None) };
        let mut also = BTreeMap::new();
        for (role, blob) in &record.also {
            let Some(bytes) = self.get_or_note(blob)? else { return Ok(None) };
            also.insert(role.clone(), bytes);
        }
        Ok(self.get_or_note(&record.output)?.map(|output| Loaded { record, output, also }))
    }

    /// Waits until all that was stored is on the disk.
    ///
    /// # Errors
    /// A write that fails.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.packs.flush()
    }

    /// Makes a key's record count no more: what it names is worked again.
    ///
    /// # Errors
    /// A write that fails.
    pub fn forget(&self, key: &Digest) -> Result<(), StoreError> {
        self.packs.appending()?.append(&[Entry::new(Kind::Forgotten, key, b"")], false)
    }

    /// Every record of this store, without those below, in the order of their keys; what is damaged is left out.
    ///
    /// # Errors
    /// A read that fails.
    pub fn records(&self) -> Result<Vec<Record>, StoreError> {
        let keys = self.packs.digests(Kind::Record, "")?;
        keys.into_iter().flatten().filter_map(|key| self.lookup(&key).transpose()).collect()
    }

    /// Every blob of this store with its size, without those below, in the order of their digests.
    ///
    /// # Errors
    /// A read that fails.
    pub fn blobs(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        let blobs = self.packs.digests(Kind::Blob, "")?.into_iter().chain(self.large.digests()?).flatten();
        let blobs: BTreeSet<_> = blobs.collect();
        let sized = |blob: Digest| Some((blob, self.get_or_note(&blob).transpose()?.map(|bytes| bytes.len() as u64)));
        blobs.into_iter().filter_map(sized).map(|(blob, size)| Ok((blob, size?))).collect()
    }

    /// Bytes that blobs and records take on the disk.
    ///
    /// # Errors
    /// A read that fails.
    pub fn size(&self) -> Result<u64, StoreError> {
        Ok(self.packs.bytes()? + self.large.bytes()?)
    }

    /// Records and blobs whose name begins so, in order.
    ///
    /// # Errors
    /// A read that fails.
    pub fn starting_with(&self, hex: &str) -> Result<(Vec<Digest>, Vec<Digest>), StoreError> {
        let mut blobs: Vec<_> = self.packs.digests(Kind::Blob, hex)?.into_iter().flatten().collect();
        blobs.extend(self.large.digests()?.into_iter().flatten().filter(|digest| digest.to_string().starts_with(hex)));
        Ok((self.packs.digests(Kind::Record, hex)?.into_iter().flatten().collect(), blobs))
    }

    /// Writes over the entry of a record or blob, or over its file, as somebody with an editor would.
    #[cfg(test)]
    pub(crate) fn spoil(&self, name: &Digest, change: impl FnOnce(&mut [u8])) {
        let large = || (self.large.path(name).expect("is in the store"), 0..u64::MAX);
        let (path, range) = self.packs.first(name).unwrap_or_else(large);
        let mut bytes = std::fs::read(&path).expect("reads");
        let end = bytes.len().min(range.end as usize);
        change(&mut bytes[range.start as usize..end]);
        std::fs::write(path, bytes).expect("writes");
    }

    /// What was found damaged since the last call, in the order found; each file once until it is made whole.
    pub fn take_damage(&self) -> Vec<Damage> {
        let mut damage = self.below.as_ref().map(|below| below.take_damage()).unwrap_or_default();
        damage.append(&mut self.packs.take_damage());
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

    /// Whether a blob is here or below, whole or not: nothing is read.
    ///
    /// # Errors
    /// A list of packs that cannot be read.
    pub fn lists(&self, digest: &Digest) -> Result<bool, StoreError> {
        if self.packs.lists(Kind::Blob, digest)? || self.large.path(digest).is_some() {
            return Ok(true);
        }
        self.below.as_ref().map_or(Ok(false), |below| below.lists(digest))
    }

    /// Whether there is a record of a key, here or below, whole or not: nothing is read.
    ///
    /// # Errors
    /// A list of packs that cannot be read.
    pub fn lists_record(&self, key: &Digest) -> Result<bool, StoreError> {
        Ok(self.packs.lists(Kind::Record, key)?
            || self.below.as_ref().map_or(Ok(false), |below| below.lists_record(key))?)
    }

    fn get_or_note(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        match self.get(digest) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::Missing(_)) => Ok(None),
            Err(StoreError::Damaged(damage)) => {
                self.note(Kind::Blob, digest, damage);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn note(&self, kind: Kind, digest: &Digest, damage: Damage) {
        let mut noted = self.noted();
        if noted.of.insert((kind, *digest)) {
            noted.damage.push(damage);
        }
    }

    pub(super) fn made_whole(&self, kind: Kind, digest: Digest) {
        self.noted().of.remove(&(kind, digest));
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().expect("no panic holds this lock")
    }

    fn is_whole(&self, record: &Record) -> bool {
        record.blobs().all(|blob| self.get(blob).is_ok())
    }
}
