//! Turns items that finished together into entries that are written at once.
//!
//! # Invariants
//! What is left in the store is what [`Store::put`] and [`Store::record`] would have left, one item after the other.

use super::entry::{Entry, Kind};
use super::{Divergence, LARGE, Loaded, Store, StoreError};
use crate::base::Digest;
use std::collections::BTreeSet;

impl Store {
    /// Stores finished items with their blobs, and says of each what [`Store::record`] would. One turn to append and one write
    /// serve all of which nothing is there yet, so that an item costs microseconds.
    ///
    /// # Errors
    /// A write that fails. The items before the one that it failed at are stored.
    pub fn file(&self, items: &[Loaded]) -> Result<Vec<Option<Divergence>>, StoreError> {
        // Where there is no room for all there may be for some, and each of them may have been dear to make.
        let filed = self.file_fresh(items).unwrap_or_else(|_| vec![false; items.len()]);
        let alone = |(item, filed): (&Loaded, bool)| if filed { Ok(None) } else { self.file_alone(item) };
        items.iter().zip(filed).map(alone).collect()
    }

    /// All of those that can be; says which they are.
    fn file_fresh(&self, items: &[Loaded]) -> Result<Vec<bool>, StoreError> {
        let files: Vec<Vec<u8>> = items.iter().map(|item| item.record.to_file()).collect();
        let coded: Vec<Option<Coded<'_>>> =
            items.iter().zip(&files).map(|(item, file)| Coded::of(item, file)).collect();
        let appending = self.packs.appending()?;
        let is_below = |key: &Digest| self.below().is_some_and(|below| !matches!(below.lookup(key), Ok(None)));
        let (mut entries, mut filed, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (Loaded { record, .. }, coded) in items.iter().zip(coded) {
            let is_fresh =
                !appending.lists(Kind::Record, &record.key) && !is_below(&record.key) && seen.insert(record.key);
            filed.push(is_fresh && coded.is_some());
            let Some(Coded { blobs, record }) = coded.filter(|_| is_fresh) else { continue };
            for (digest, entry) in blobs {
                if seen.insert(digest) && (!appending.lists(Kind::Blob, &digest) || self.get(&digest).is_err()) {
                    self.made_whole(Kind::Blob, digest);
                    entries.push(entry);
                }
            }
            entries.push(record);
        }
        appending.append(&entries, false)?;
        Ok(filed)
    }

    fn file_alone(&self, Loaded { record, output, also }: &Loaded) -> Result<Option<Divergence>, StoreError> {
        for bytes in also.values().chain([output]) {
            self.put(bytes)?;
        }
        self.record(record)
    }
}

struct Coded<'i> {
    blobs: Vec<(Digest, Entry<'i>)>,
    record: Entry<'i>,
}

impl<'i> Coded<'i> {
    /// Nothing where a blob is large: it is a file of its own.
    fn of(item: &'i Loaded, file: &'i [u8]) -> Option<Self> {
        let Loaded { record, output, also } = item;
        let named = also.iter().map(|(role, bytes)| (record.also[role], bytes)).chain([(record.output, output)]);
        let blob = |(digest, bytes): (Digest, &'i Vec<u8>)| {
            (bytes.len() < LARGE).then(|| (digest, Entry::new(Kind::Blob, &digest, bytes)))
        };
        let blobs = named.map(blob).collect::<Option<_>>()?;
        Some(Self { blobs, record: Entry::new(Kind::Record, &record.key, file) })
    }
}
