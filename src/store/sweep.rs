//! Turns a store with what nobody needs into one without.
//!
//! # Invariants
//! Nobody works on a store that is swept, and nobody begins to: both hold the file `lock`, the one alone and the others
//! together. What is to be kept is found out while it is held.

use super::{Store, StoreError};
use crate::base::{Digest, file};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The store to itself.
#[derive(Debug)]
pub struct Sweep<'s> {
    store: &'s Store,
    _lock: File,
}

impl Store {
    /// Keeps others from sweeping for as long as what it hands back is held.
    ///
    /// # Errors
    /// [`StoreError::Swept`]; a lock that cannot be opened.
    pub fn working(&self) -> Result<File, StoreError> {
        let (lock, path) = self.open_lock()?;
        match lock.try_lock_shared() {
            Ok(()) => {
                // What was swept until now may be known as it was before, from files that this process holds open.
                self.packs.refresh()?;
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::Swept(self.root().to_owned())),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &path, &error)),
        }
    }

    /// Keeps others from working.
    ///
    /// # Errors
    /// [`StoreError::InUse`]; a lock that cannot be opened.
    pub fn sweep(&self) -> Result<Sweep<'_>, StoreError> {
        let (lock, path) = self.open_lock()?;
        match lock.try_lock() {
            Ok(()) => Ok(Sweep { store: self, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(self.root().to_owned())),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &path, &error)),
        }
    }

    fn open_lock(&self) -> Result<(File, PathBuf), StoreError> {
        let path = self.root().join("lock");
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let lock = opened.map_err(|error| StoreError::io("write", &path, &error))?;
        Ok((lock, path))
    }
}

impl Sweep<'_> {
    /// Removes every record and blob whose name is not kept, what cannot be read, and what killed processes left unfinished;
    /// says how many bytes of records and blobs became free.
    ///
    /// # Errors
    /// A file that cannot be read, written or removed. Nothing that is kept is lost then.
    pub fn keep(self, keep: impl Fn(&Digest) -> bool) -> Result<u64, StoreError> {
        let Store { packs, large, .. } = self.store;
        let mut freed = packs.appending()?.sweep(&keep)?;
        for blob in large.digests()?.into_iter().flatten().filter(|blob| !keep(blob)) {
            freed += large.remove(&blob)?;
        }
        let root = self.store.root();
        for directory in ["packs", "runs"] {
            unfinished(&root.join(directory))?;
        }
        for shelf in std::fs::read_dir(root.join("cas")).into_iter().flatten().flatten() {
            unfinished(&shelf.path())?;
        }
        Ok(freed)
    }
}

/// Removes what was to be renamed into its place and never was.
fn unfinished(directory: &Path) -> Result<(), StoreError> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|it| it.file_name().as_encoded_bytes().starts_with(file::TEMPORARY.as_bytes())) {
        let path = entry.path();
        file::remove(&path).map_err(|error| StoreError::io("remove", &path, &error))?;
    }
    Ok(())
}
