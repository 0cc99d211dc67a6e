//! What can be wrong with a store: one clear message each.

use crate::base::file::reason;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path} is not a directory: the store needs one of its own", path = .0.display())]
    NotADirectory(PathBuf),
    #[error("no permission to {doing} {path}", path = .path.display())]
    Permission { doing: &'static str, path: PathBuf },
    #[error("{path} could not be written: read-only file system", path = .0.display())]
    ReadOnly(PathBuf),
    #[error("the disk is full: {path} could not be written; what was done before is kept", path = .0.display())]
    DiskFull(PathBuf),
    #[error("{path} is no store of agx", path = .0.display())]
    NoStore(PathBuf),
    #[error("{path} was written by a newer agx", path = .0.display())]
    Newer(PathBuf),
    #[error("runs are working on {path}", path = .0.display())]
    InUse(PathBuf),
    #[error("{path} is being cleaned up", path = .0.display())]
    Swept(PathBuf),
    #[error("blob {0} is not in the store")]
    Missing(crate::base::Digest),
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error("cannot {doing} {path}: {problem}", path = .path.display())]
    Io { doing: &'static str, path: PathBuf, problem: String },
}

/// A file of the store that does not hold what was written. It counts as missing; what made it is worked again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is damaged ({problem}): it counts as missing and is made again", path = .path.display())]
pub struct Damage {
    pub path: PathBuf,
    pub problem: String,
}

impl StoreError {
    pub(super) fn io(doing: &'static str, path: &Path, error: &std::io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            ErrorKind::PermissionDenied => StoreError::Permission { doing, path },
            ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(path),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::DiskFull(path),
            ErrorKind::NotADirectory => StoreError::NotADirectory(path),
            _ => StoreError::Io { doing, path, problem: reason(error) },
        }
    }
}
