//! Turns digests and keys into the entries of pack files that every process on a store shares.
//!
//! ```text
//! packs/lock            held by who appends; says what changed last
//! packs/000001.pack     entries; the highest number is the pack that grows
//! packs/000001.index    where the entries of a finished pack lie
//! packs/000001.damaged  what was a pack and can no longer be read
//! ```
//!
//! # Invariants
//! Who appends holds the lock and knows all that others appended, so the first record of a key is the first for everybody.
//! What a killed process never finished is cut off by the next who appends. A number is not used again, and the lock's file
//! is never removed. An index file is a shortcut: what it points at is compared when it is read.

use super::entry::{Entry, Kind};
use super::pack::{Mark, Pack, Read, start_of};
use super::{Damage, Record, StoreError};
use crate::base::{Digest, file};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// From this size on a pack is finished and the next one begun.
const FULL: u64 = 32 << 20;

/// Whatever is numbered higher is not ours: behind the highest number of all there is none for the next pack.
const LAST: u32 = 999_999;

/// Where an entry lies. In this order the entries of one digest stand as they were appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    start: u64,
    kind: Kind,
    pack: u32,
    offset: u32,
    stored: u32,
}

impl Place {
    fn new(pack: u32, mark: &Mark) -> Self {
        let Mark { start, kind, offset, stored } = *mark;
        Self { start, kind, pack, offset, stored }
    }

    fn mark(&self) -> Mark {
        let Self { start, kind, pack: _, offset, stored } = *self;
        Mark { start, kind, offset, stored }
    }
}

#[derive(Debug, Default)]
struct Index {
    /// What the lock's file said when this was read.
    seen: Option<Turn>,
    packs: BTreeMap<u32, Pack>,
    places: BTreeSet<Place>,
    /// Packs that are none.
    unreadable: BTreeSet<u32>,
}

impl Index {
    fn lists(&self, kind: Kind, digest: &Digest) -> bool {
        self.entries(kind, digest).next().is_some()
    }

    /// The entries of a digest, the first first; of records, those after the last time that they were forgotten.
    fn entries(&self, kind: Kind, digest: &Digest) -> impl Iterator<Item = &Place> {
        let start = start_of(digest);
        // Of all that begins so, the first there could be.
        let first = Place { start, kind: Kind::Blob, pack: 0, offset: 0, stored: 0 };
        let all = self.places.range(first..).take_while(move |place| place.start == start);
        let order = |place: &Place| (place.pack, place.offset);
        let forgotten = all.clone().filter(|place| kind == Kind::Record && place.kind == Kind::Forgotten);
        let since = forgotten.map(order).max();
        all.filter(move |place| place.kind == kind && since.is_none_or(|since| order(place) > since))
    }
}

/// What the lock's file says: `changes u64 · pack u64 · end u64`, little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turn {
    /// How often the list of packs changed.
    changes: u64,
    /// The pack that was appended to last, and its end then.
    pack: u32,
    end: u64,
}

impl Turn {
    const SIZE: usize = 24;

    fn read(bytes: &[u8; Self::SIZE]) -> Self {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Self { changes: number(0), pack: u32::try_from(number(8)).unwrap_or_default(), end: number(16) }
    }

    fn to_bytes(self) -> Vec<u8> {
        [self.changes, u64::from(self.pack), self.end].map(u64::to_le_bytes).concat()
    }
}

/// Damage that was come upon.
#[derive(Debug, Default)]
struct Found {
    /// Of no digest that is known: to be told.
    damage: Vec<Damage>,
    /// What is no entry, by pack: to be covered by who appends next.
    torn: Vec<(u32, Range<u64>)>,
}

/// The packs of one store. Cheap to share between threads.
#[derive(Debug, Default)]
pub(super) struct Packs {
    directory: PathBuf,
    index: RwLock<Index>,
    /// The lock's file, once this process appended. One of its threads does at a time.
    lock: Mutex<Option<File>>,
    /// The same file, for those who only read what it says.
    reading: OnceLock<File>,
    found: Mutex<Found>,
}

impl Packs {
    /// Nothing is read before something is asked for.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, ..Self::default() }
    }

    /// What `parse` makes of the first entry of a digest that it takes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where there are entries and none is taken; a pack that cannot be read at all.
    fn find<T>(
        &self,
        kind: Kind,
        digest: &Digest,
        parse: impl Fn(Vec<u8>) -> Result<T, String>,
    ) -> Result<Option<T>, StoreError> {
        if let Ok(Some(found)) = self.known(kind, digest, &parse) {
            return Ok(Some(found));
        }
        // Another process may have appended it since.
        self.refresh()?;
        self.known(kind, digest, &parse)
    }

    /// # Errors
    /// As [`Packs::find`].
    pub(super) fn record(&self, key: &Digest) -> Result<Option<Record>, StoreError> {
        self.find(Kind::Record, key, |payload| Record::from_file(key, &payload))
    }

    /// # Errors
    /// As [`Packs::find`].
    pub(super) fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.find(Kind::Blob, digest, |payload| match Digest::of_bytes(&payload) == *digest {
            true => Ok(payload),
            false => Err(format!("its {} bytes do not hash to its name", payload.len())),
        })
    }

    /// Whether there is an entry of it, whole or not.
    ///
    /// # Errors
    /// A list of packs that cannot be read.
    pub(super) fn lists(&self, kind: Kind, digest: &Digest) -> Result<bool, StoreError> {
        if self.index().lists(kind, digest) {
            return Ok(true);
        }
        self.refresh()?;
        Ok(self.index().lists(kind, digest))
    }

    fn known<T>(
        &self,
        kind: Kind,
        digest: &Digest,
        parse: &impl Fn(Vec<u8>) -> Result<T, String>,
    ) -> Result<Option<T>, StoreError> {
        let index = self.index();
        let mut damage = None;
        for place in index.entries(kind, digest) {
            let pack = &index.packs[&place.pack];
            let problem = match pack.read(&place.mark(), digest)? {
                Read::Payload(payload) => match parse(payload) {
                    Ok(found) => return Ok(Some(found)),
                    Err(problem) => problem,
                },
                Read::Damaged(problem) => problem,
                Read::Torn => {
                    self.found().torn.push((place.pack, place.mark().range()));
                    "its head is not as written".to_owned()
                }
                Read::Another => continue,
            };
            let noun = if kind == Kind::Record { "record" } else { "blob" };
            let problem = format!("{noun} {} at byte {}: {problem}", digest.short(), place.offset);
            damage.get_or_insert_with(|| Damage { path: pack.path().to_owned(), problem });
        }
        damage.map_or(Ok(None), |damage| Err(damage.into()))
    }

    /// The digests of a kind whose hexadecimal form begins so, in order; damage for an entry whose digest cannot be read,
    /// unless another took its place.
    ///
    /// # Errors
    /// A pack that cannot be read at all.
    pub(super) fn digests(&self, kind: Kind, hex: &str) -> Result<Vec<Result<Digest, Damage>>, StoreError> {
        self.refresh()?;
        let index = self.index();
        let bound =
            |fill: &str| u64::from_str_radix(&format!("{hex}{}", fill.repeat(16))[..16], 16).unwrap_or_default();
        let (first, last) = (bound("0"), bound("f"));
        let first = Place { start: first, kind: Kind::Blob, pack: 0, offset: 0, stored: 0 };
        let found = index.places.range(first..).take_while(|place| place.start <= last);
        let found: Vec<_> = found.filter(|place| place.kind == kind).collect();
        let mut digests = Vec::new();
        for alike in found.chunk_by(|one, other| one.start == other.start) {
            let read: BTreeSet<_> =
                alike.iter().filter_map(|place| index.packs[&place.pack].digest(&place.mark())).collect();
            if read.is_empty() {
                let place = alike[0];
                let problem = format!("the head of the entry at byte {} is not as written", place.offset);
                digests.push(Err(Damage { path: index.packs[&place.pack].path().to_owned(), problem }));
            }
            let lasting =
                |digest: &Digest| digest.to_string().starts_with(hex) && index.entries(kind, digest).next().is_some();
            digests.extend(read.into_iter().filter(lasting).map(Ok));
        }
        Ok(digests)
    }

    /// Where the first entry of a name lies.
    #[cfg(test)]
    pub(super) fn first(&self, name: &Digest) -> Option<(PathBuf, Range<u64>)> {
        self.refresh().expect("reads");
        let index = self.index();
        let place = [Kind::Record, Kind::Blob].into_iter().find_map(|kind| index.entries(kind, name).next())?;
        Some((index.packs[&place.pack].path().to_owned(), place.mark().range()))
    }

    /// Damage of which no digest is known, found since the last call.
    pub(super) fn take_damage(&self) -> Vec<Damage> {
        std::mem::take(&mut self.found().damage)
    }

    /// Waits for its turn to append; whatever others appended is known then.
    ///
    /// # Errors
    /// A lock or a pack that cannot be opened, read or mended.
    pub(super) fn appending(&self) -> Result<Appending<'_>, StoreError> {
        let path = self.directory.join("lock");
        let fail = |error: std::io::Error| StoreError::io("write", &path, &error);
        let mut lock = self.lock.lock().expect("no panic holds this lock");
        if lock.is_none() {
            let mut options = File::options();
            *lock = Some(options.read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?);
        }
        lock.as_ref().expect("just opened").lock().map_err(fail)?;
        let appending = Appending { packs: self, lock };
        self.refresh()?;
        appending.mend()?;
        Ok(appending)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().expect("no panic holds this lock")
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().expect("no panic holds this lock")
    }

    fn path(&self, number: u32) -> PathBuf {
        self.directory.join(format!("{number:06}.pack"))
    }

    /// Bytes in packs, from what the system says of them.
    pub(super) fn bytes(&self) -> Result<u64, StoreError> {
        self.refresh()?;
        self.index().packs.values().map(Pack::size).sum()
    }

    /// What the lock's file says; the beginning where there is none.
    fn turn(&self) -> Result<Turn, StoreError> {
        let path = self.directory.join("lock");
        let lock = match self.reading.get() {
            Some(lock) => lock,
            None => match file::open(&path) {
                Ok(lock) => self.reading.get_or_init(|| lock),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Turn::default()),
                Err(error) => return Err(StoreError::io("read", &path, &error)),
            },
        };
        let mut bytes = [0; Turn::SIZE];
        match lock.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Turn::read(&bytes)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Turn::default()),
            Err(error) => Err(StoreError::io("read", &path, &error)),
        }
    }

    /// Waits until what was appended is on the disk: whoever begins a pack flushes the one before.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.index().packs.values().next_back().map_or(Ok(()), Pack::flush)
    }

    /// Reads what others appended, began or swept.
    pub(super) fn refresh(&self) -> Result<(), StoreError> {
        let turn = self.turn()?;
        if self.index().seen == Some(turn) {
            return Ok(());
        }
        let mut index = self.index_mut();
        let mut from = index.packs.keys().last().copied().unwrap_or_default();
        if index.seen.is_none_or(|seen| seen.changes != turn.changes) {
            let numbers = self.numbers("pack")?;
            if index.packs.keys().any(|number| !numbers.contains(number)) {
                *index = Index::default();
                from = 0;
            }
            for number in numbers {
                self.open(&mut index, number)?;
            }
        }
        self.grow(&mut index, from)?;
        if let Some(pack) = index.packs.get(&turn.pack).filter(|pack| pack.end() < turn.end) {
            let problem = format!("it was cut short: {} of {} bytes are left", pack.end(), turn.end);
            self.found().damage.push(Damage { path: pack.path().to_owned(), problem });
        }
        index.seen = Some(turn);
        Ok(())
    }

    /// The numbers that files of this kind have.
    fn numbers(&self, extension: &str) -> Result<BTreeSet<u32>, StoreError> {
        let fail = |error: std::io::Error| StoreError::io("read", &self.directory, &error);
        let mut numbers = BTreeSet::new();
        for found in std::fs::read_dir(&self.directory).map_err(fail)? {
            let path = found.map_err(fail)?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            if path.extension().is_some_and(|found| found == extension) {
                numbers.extend(stem.and_then(|stem| stem.parse().ok()).filter(|number: &u32| *number <= LAST));
            }
        }
        Ok(numbers)
    }

    /// Nothing happens where it is known, or was swept since it was listed.
    fn open(&self, index: &mut Index, number: u32) -> Result<(), StoreError> {
        if index.packs.contains_key(&number) {
            return Ok(());
        }
        match Pack::open(&self.path(number)) {
            Ok(pack) => index.packs.extend(pack.map(|pack| (number, pack))),
            Err(StoreError::Damaged(damage)) if index.unreadable.insert(number) => self.found().damage.push(damage),
            Err(StoreError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads on in the packs from this number on.
    fn grow(&self, index: &mut Index, from: u32) -> Result<(), StoreError> {
        let mut places = Vec::new();
        for (number, pack) in index.packs.range_mut(from..) {
            let (marks, torn) = pack.grow()?;
            places.extend(marks.iter().map(|mark| Place::new(*number, mark)));
            for torn in torn {
                let problem = format!("bytes {} to {} are no entry", torn.start, torn.end);
                let mut found = self.found();
                found.damage.push(Damage { path: pack.path().to_owned(), problem });
                found.torn.push((*number, torn));
            }
        }
        if index.places.is_empty() {
            // Sorted and built at once: many times faster than one by one.
            index.places = places.into_iter().collect();
        } else {
            index.places.extend(places);
        }
        Ok(())
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().expect("no panic holds this lock")
    }
}

/// The turn to append; given back when it is dropped.
pub(super) struct Appending<'a> {
    packs: &'a Packs,
    lock: MutexGuard<'a, Option<File>>,
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.as_ref() {
            // Closing the file gives the lock back too, so a failure here keeps nobody waiting for ever.
            let _ = lock.unlock();
        }
    }
}

impl Appending<'_> {
    /// Takes up what a killed process finished and cuts off what it did not; covers damage, so that it is told once.
    fn mend(&self) -> Result<(), StoreError> {
        {
            let mut index = self.packs.index_mut();
            for number in std::mem::take(&mut index.unreadable) {
                let path = self.packs.path(number);
                std::fs::rename(&path, path.with_extension("damaged"))
                    .map_err(|error| StoreError::io("write", &path, &error))?;
            }
            let last = index.packs.iter().next_back().map(|(number, pack)| (*number, pack));
            if let Some((number, pack)) = last
                && pack.size()? > pack.end()
            {
                self.packs.grow(&mut index, number)?;
            }
        }
        let torn = std::mem::take(&mut self.packs.found().torn);
        let index = self.packs.index();
        for (number, torn) in torn {
            index.packs.get(&number).map_or(Ok(()), |pack| pack.cover(&torn))?;
        }
        match index.packs.values().next_back() {
            Some(last) if last.size()? > last.end() => last.cut(),
            _ => Ok(()),
        }
    }

    /// Whether there is an entry of it, whole or not.
    pub(super) fn lists(&self, kind: Kind, digest: &Digest) -> bool {
        self.packs.index().lists(kind, digest)
    }

    /// Appends entries, in their order. Flushed to the disk where it is asked for.
    ///
    /// # Errors
    /// A write that fails: disk full, permission, input/output.
    pub(super) fn append(&self, entries: &[Entry<'_>], flush: bool) -> Result<(), StoreError> {
        let mut index = self.packs.index_mut();
        let last = index.packs.iter().next_back().map(|(number, pack)| (*number, pack.end()));
        let number = match last {
            Some((number, end)) if end < FULL => number,
            _ => self.begin(&mut index)?,
        };
        let pack = index.packs.get_mut(&number).expect("just begun");
        let marks = pack.append(entries)?;
        if flush {
            pack.flush()?;
        }
        let end = pack.end();
        index.places.extend(marks.iter().map(|mark| Place::new(number, mark)));
        self.pass_on(&mut index, |turn| Turn { pack: number, end, ..turn })
    }

    /// Finishes the last pack and begins the next.
    fn begin(&self, index: &mut Index) -> Result<u32, StoreError> {
        if let Some((number, pack)) = index.packs.iter().next_back() {
            pack.flush()?;
            pack.write_index(index.places.iter().filter(|place| place.pack == *number).map(Place::mark))?;
        }
        let used = [self.packs.numbers("pack")?, self.packs.numbers("damaged")?];
        let number = used.iter().flatten().max().copied().unwrap_or_default() + 1;
        let path = self.packs.path(number);
        if number > LAST {
            return Err(StoreError::Io { doing: "begin", path, problem: "no number is left for it".to_owned() });
        }
        let pack = Pack::begin(&path)?;
        let end = pack.end();
        index.packs.insert(number, pack);
        self.pass_on(index, |turn| Turn { changes: turn.changes.wrapping_add(1), pack: number, end })?;
        Ok(number)
    }

    /// Tells the others what changed.
    fn pass_on(&self, index: &mut Index, change: impl FnOnce(Turn) -> Turn) -> Result<(), StoreError> {
        let turn = change(self.packs.turn()?);
        let lock = self.lock.as_ref().expect("whoever appends opened it");
        let path = self.packs.directory.join("lock");
        lock.write_all_at(&turn.to_bytes(), 0).map_err(|error| StoreError::io("write", &path, &error))?;
        index.seen = Some(turn);
        Ok(())
    }

    /// Writes the entries that are kept into packs of their own and removes the others; says how many bytes became free.
    ///
    /// # Errors
    /// A pack that cannot be read, written or removed. Nothing that is kept is lost then.
    pub(super) fn sweep(&self, keep: impl Fn(&Digest) -> bool) -> Result<u64, StoreError> {
        let old: Vec<u32> = self.packs.index().packs.keys().copied().collect();
        let before = self.packs.bytes()?;
        if let Err(error) = self.copy(keep) {
            self.abandon(&old)?;
            return Err(error);
        }
        let mut index = self.packs.index_mut();
        for number in self.packs.numbers("damaged")?.iter().chain(&old) {
            self.remove(*number)?;
        }
        self.pass_on(&mut index, |turn| Turn { changes: turn.changes.wrapping_add(1), ..turn })?;
        *index = Index::default();
        drop(index);
        Ok(before.saturating_sub(self.packs.bytes()?))
    }

    /// Writes what is kept into packs of its own, to the disk.
    fn copy(&self, keep: impl Fn(&Digest) -> bool) -> Result<(), StoreError> {
        let found = [Kind::Blob, Kind::Record].map(|kind| (kind, self.packs.digests(kind, "")));
        let first = self.begin(&mut self.packs.index_mut())?;
        for (kind, digests) in found {
            for digest in digests?.iter().flatten().filter(|digest| keep(digest)) {
                let payload = match kind {
                    Kind::Record => self.packs.record(digest).map(|record| record.map(|record| record.to_file())),
                    _ => self.packs.blob(digest),
                };
                match payload {
                    Ok(Some(payload)) => self.append(&[Entry::new(kind, digest, &payload)], false)?,
                    // What cannot be read is kept by nobody.
                    Ok(None) | Err(StoreError::Damaged(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.packs.index().packs.range(first..).try_for_each(|(_, pack)| pack.flush())
    }

    /// Removes what a sweep had copied when it found no room for more: the packs of before hold all of it.
    fn abandon(&self, old: &[u32]) -> Result<(), StoreError> {
        for number in self.packs.numbers("pack")?.iter().filter(|number| !old.contains(number)) {
            self.remove(*number)?;
        }
        let mut index = self.packs.index_mut();
        let last = old.last().and_then(|number| Some((*number, index.packs.get(number)?.end())));
        let (pack, end) = last.unwrap_or_default();
        *index = Index::default();
        self.pass_on(&mut index, |turn| Turn { changes: turn.changes.wrapping_add(1), pack, end })?;
        index.seen = None;
        Ok(())
    }

    fn remove(&self, number: u32) -> Result<(), StoreError> {
        for path in ["pack", "index", "damaged"].map(|kind| self.packs.path(number).with_extension(kind)) {
            file::remove(&path).map_err(|error| StoreError::io("remove", &path, &error))?;
        }
        Ok(())
    }
}
