//! Turns a store into a statement of its health: every blob hashed again, every record read.
//!
//! # Invariants
//! Nothing here repairs or removes; what is found is said.

use super::entry::Kind;
use super::{Damage, Store, StoreError};
use crate::base::Digest;
use std::collections::BTreeSet;

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
        let mut blobs = BTreeSet::new();
        for blob in self.packs.digests(Kind::Blob, "")?.into_iter().chain(self.large.digests()?) {
            match blob.map_err(StoreError::from).and_then(|digest| Ok((digest, self.get(&digest)?.len()))) {
                Ok((digest, size)) if blobs.insert(digest) => {
                    health.blobs += 1;
                    health.bytes += size as u64;
                }
                Ok(_) | Err(StoreError::Missing(_)) => {}
                Err(StoreError::Damaged(damage)) => health.damaged.push(damage),
                Err(error) => return Err(error),
            }
        }
        for key in self.packs.digests(Kind::Record, "")? {
            match key.map_err(StoreError::from).and_then(|key| self.packs.record(&key)) {
                Ok(Some(record)) => {
                    health.records += 1;
                    let gone = record.blobs().filter(|blob| !blobs.contains(blob));
                    health.missing.extend(gone.map(|blob| (record.key, *blob)));
                }
                Ok(None) => {}
                Err(StoreError::Damaged(damage)) => health.damaged.push(damage),
                Err(error) => return Err(error),
            }
        }
        health.damaged.extend(self.packs.take_damage());
        Ok(health)
    }
}
