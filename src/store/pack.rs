//! Turns one append-only file into entries, and entries into bytes at its end.
//!
//! # Invariants
//! Bytes before [`Pack::end`] are entries, or damage that was told. Only who holds the store's lock appends, cuts or covers. A
//! whole entry is never cut off: others may know it.

use super::entry::{self, Entry, HEADER, Header, Kind, Salt};
use super::{Damage, StoreError};
use crate::base::{Digest, file};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// No pack of ours is larger, whatever its entries.
const MOST: u64 = 1 << 30;

/// One open pack.
#[derive(Debug)]
pub(super) struct Pack {
    path: PathBuf,
    file: File,
    salt: Salt,
    end: u64,
}

/// Where an entry lies in its pack, and what it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub start: u64,
    pub kind: Kind,
    pub offset: u32,
    pub stored: u32,
}

/// What stands where an entry was.
#[derive(Debug)]
pub(super) enum Read {
    Payload(Vec<u8>),
    Damaged(String),
    /// No entry.
    Torn,
    /// The entry of a digest that begins alike.
    Another,
}

impl Mark {
    /// The bytes of its pack that it takes.
    pub(super) fn range(&self) -> Range<u64> {
        let offset = u64::from(self.offset);
        offset..offset + HEADER as u64 + u64::from(self.stored)
    }

    fn of(offset: usize, header: &Header) -> Self {
        let offset = u32::try_from(offset).expect("a pack is below 4 GiB");
        Self { start: start_of(&header.digest), kind: header.kind, offset, stored: header.stored }
    }
}

/// The first 64 bits of a digest: enough to find its entries among millions.
pub(super) fn start_of(digest: &Digest) -> u64 {
    u64::from_be_bytes(digest.as_bytes()[..8].try_into().expect("eight of 32 bytes"))
}

impl Pack {
    /// Begins a pack; its first bytes are there as soon as its name is.
    pub(super) fn begin(path: &Path) -> Result<Self, StoreError> {
        let fail = |error: std::io::Error| StoreError::io("write", path, &error);
        let salt = Salt::draw().map_err(fail)?;
        let directory = path.parent().expect("a pack is in a directory");
        let mut fresh = file::temporary(directory).map_err(fail)?;
        fresh.write_all(&salt.to_bytes()).map_err(fail)?;
        let file = fresh.persist_noclobber(path).map_err(|error| fail(error.error))?;
        Ok(Self { path: path.to_owned(), file, salt, end: Salt::SIZE as u64 })
    }

    /// Nothing where it is gone; damage where it is no pack.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let damage = |problem: &str| Damage { path: path.to_owned(), problem: problem.to_owned() }.into();
        let opened = file::open(path).and_then(|file| {
            // Those who only read may not be allowed more.
            let file = File::options().read(true).write(true).open(path).unwrap_or(file);
            Ok((file.metadata()?.len(), file))
        });
        let (size, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::NotFound => Ok(None),
                    ErrorKind::InvalidInput => Err(damage("is not a regular file")),
                    _ => Err(StoreError::io("read", path, &error)),
                };
            }
        };
        let mut start = [0; Salt::SIZE];
        let salt = file.read_exact_at(&mut start, 0).ok().and_then(|()| Salt::read(&start));
        match salt {
            Some(salt) if size <= MOST => Ok(Some(Self { path: path.to_owned(), file, salt, end: Salt::SIZE as u64 })),
            Some(_) => Err(damage("it is larger than any pack")),
            None if Salt::is_newer(&start) => Err(StoreError::Newer(path.to_owned())),
            None => Err(damage("its start is not as written, so nothing in it can be read")),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn size(&self) -> Result<u64, StoreError> {
        Ok(self.file.metadata().map_err(|error| self.fail("read", &error))?.len())
    }

    /// What was appended since the last look, and what lies between and is no entry.
    pub(super) fn grow(&mut self) -> Result<(Vec<Mark>, Vec<Range<u64>>), StoreError> {
        let size = self.size()?.min(MOST);
        // Who wrote the index may have been killed before the next pack was there: this one may have grown since.
        let index = if self.end == Salt::SIZE as u64 { self.read_index() } else { None };
        let (from, mut marks) = index.filter(|(end, _)| *end <= size).unwrap_or((self.end, Vec::new()));
        let bytes = self.bytes(from, size).map_err(|error| self.fail("read", &error))?;
        let scan = entry::scan(&self.salt, &bytes);
        let base = from as usize;
        marks.extend(scan.entries.iter().map(|(offset, header)| Mark::of(base + offset, header)));
        let torn = scan.torn.iter().map(|torn| (base + torn.start) as u64..(base + torn.end) as u64).collect();
        self.end = from + scan.end as u64;
        Ok((marks, torn))
    }

    /// What lies there, without what another process cuts off meanwhile.
    fn bytes(&self, from: u64, to: u64) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; to.saturating_sub(from) as usize];
        let mut read = 0;
        while read < bytes.len() {
            match self.file.read_at(&mut bytes[read..], from + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    pub(super) fn read(&self, mark: &Mark, digest: &Digest) -> Result<Read, StoreError> {
        let mut bytes = vec![0; HEADER + mark.stored as usize];
        match self.file.read_exact_at(&mut bytes, u64::from(mark.offset)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Ok(Read::Damaged("the pack ends before it does".to_owned()));
            }
            Err(error) => return Err(self.fail("read", &error)),
        }
        Ok(match Header::read(&self.salt, &bytes) {
            None => Read::Torn,
            Some(header) if header.digest != *digest => Read::Another,
            Some(header) => header.payload(&bytes[HEADER..]).map_or_else(Read::Damaged, Read::Payload),
        })
    }

    /// The whole digest of an entry, where its head can be read.
    pub(super) fn digest(&self, mark: &Mark) -> Option<Digest> {
        let mut head = [0; HEADER];
        self.file.read_exact_at(&mut head, u64::from(mark.offset)).ok()?;
        Header::read(&self.salt, &head).map(|header| header.digest)
    }

    /// Appends entries in one write. One that fails may leave the first of them.
    pub(super) fn append(&mut self, entries: &[Entry<'_>]) -> Result<Vec<Mark>, StoreError> {
        let mut bytes = Vec::new();
        let written = entries.iter().map(|entry| entry.write(&self.salt, &mut bytes));
        let marks = written.map(|(offset, header)| Mark::of(self.end as usize + offset, &header)).collect();
        // Where it fails, what a full disk took of it stays until the next who appends takes up what is whole of it: others may
        // have read that already, and would take what is written in its place for damage.
        self.file.write_all_at(&bytes, self.end).map_err(|error| self.fail("write", &error))?;
        self.end += bytes.len() as u64;
        Ok(marks)
    }

    /// Removes what was never finished.
    pub(super) fn cut(&self) -> Result<(), StoreError> {
        self.file.set_len(self.end).map_err(|error| self.fail("write", &error))
    }

    /// Makes one entry of what is none, so that it is told once.
    pub(super) fn cover(&self, torn: &Range<u64>) -> Result<(), StoreError> {
        let size = (torn.end - torn.start) as usize;
        if size < HEADER {
            return Ok(());
        }
        let head = Header::void(size).to_bytes(&self.salt);
        self.file.write_all_at(&head, torn.start).map_err(|error| self.fail("write", &error))
    }

    /// Waits until it is on the disk.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|error| self.fail("write", &error))
    }

    fn fail(&self, doing: &'static str, error: &std::io::Error) -> StoreError {
        StoreError::io(doing, &self.path, error)
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.path.with_extension("index")
    }

    /// Writes where its entries lie, so that a finished pack need not be read to be opened.
    ///
    /// ```text
    /// end u64 · (start u64 · kind u8 · offset u32 · stored u32)* · sum [32]
    /// ```
    ///
    /// `sum` is the BLAKE3 of what stands before it, keyed with the pack's salt: of another pack's index, all offsets would be
    /// taken for damage.
    pub(super) fn write_index(&self, marks: impl Iterator<Item = Mark>) -> Result<(), StoreError> {
        let mut bytes = self.end.to_le_bytes().to_vec();
        for Mark { start, kind, offset, stored } in marks {
            bytes.extend(start.to_le_bytes());
            bytes.push(kind as u8);
            bytes.extend(offset.to_le_bytes());
            bytes.extend(stored.to_le_bytes());
        }
        bytes.extend(self.salt.sum(&bytes));
        let path = self.index_path();
        let directory = path.parent().expect("a pack is in a directory");
        let write = || {
            let mut fresh = file::temporary(directory)?;
            fresh.write_all(&bytes)?;
            fresh.persist(&path).map_err(|error| error.error)
        };
        write().map(|_| ()).map_err(|error| StoreError::io("write", &path, &error))
    }

    /// Nothing where there is none that can be believed: the pack is read instead.
    fn read_index(&self) -> Option<(u64, Vec<Mark>)> {
        let bytes = file::read(&self.index_path(), MOST).ok()?;
        let (bytes, sum) = bytes.split_last_chunk::<32>()?;
        if self.salt.sum(bytes) != *sum {
            return None;
        }
        let (end, marks) = bytes.split_first_chunk::<8>()?;
        let inside = Salt::SIZE as u64..=u64::from_le_bytes(*end);
        let four = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        let mark = |bytes: &[u8]| {
            let start = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
            let kind = Kind::from_byte(bytes[8])?;
            let mark = Mark { start, kind, offset: four(&bytes[9..13]), stored: four(&bytes[13..]) };
            let range = mark.range();
            (inside.contains(&range.start) && inside.contains(&range.end)).then_some(mark)
        };
        let marks = marks.chunks_exact(17).map(mark).collect::<Option<Vec<_>>>()?;
        Some((*inside.end(), marks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(directory: &Path, name: &str, payloads: &[&[u8]]) -> (Pack, Vec<Mark>) {
        let mut pack = Pack::begin(&directory.join(name)).expect("begins");
        let entries: Vec<_> =
            payloads.iter().map(|payload| Entry::new(Kind::Blob, &Digest::of_bytes(payload), payload)).collect();
        let marks = pack.append(&entries).expect("appends");
        (pack, marks)
    }

    fn read(path: &Path) -> (u64, Vec<Mark>) {
        let mut pack = Pack::open(path).expect("opens").expect("is there");
        let (marks, torn) = pack.grow().expect("reads");
        assert_eq!(torn, []);
        (pack.end(), marks)
    }

    /// Its offsets would have whole entries taken for damage, and written over.
    #[test]
    fn the_index_of_another_pack_is_not_believed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (pack, marks) = begun(directory.path(), "000001.pack", &[b"one", b"another", b"and a third"]);
        let (other, wrong) = begun(directory.path(), "000002.pack", &[b"something longer"]);
        other.write_index(wrong.into_iter()).expect("writes");
        std::fs::copy(other.index_path(), pack.index_path()).expect("copies");
        assert_eq!(read(pack.path()), (pack.end(), marks));
    }

    /// Who begins the next pack writes the index first, and may be killed there.
    #[test]
    fn what_was_appended_after_an_index_was_written_is_found() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (mut pack, mut marks) = begun(directory.path(), "000001.pack", &[b"before"]);
        pack.write_index(marks.iter().copied()).expect("writes");
        let digest = Digest::of_bytes(b"after");
        marks.extend(pack.append(&[Entry::new(Kind::Blob, &digest, b"after")]).expect("appends"));
        assert_eq!(read(pack.path()), (pack.end(), marks));
    }

    #[test]
    fn an_index_that_points_out_of_its_pack_is_not_believed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (pack, marks) = begun(directory.path(), "000001.pack", &[b"one"]);
        for (offset, stored) in [(0, 3), (40, 4), (40, u32::MAX), (u32::MAX, 3)] {
            pack.write_index([Mark { offset, stored, ..marks[0] }].into_iter()).expect("writes");
            assert_eq!(read(pack.path()), (pack.end(), marks.clone()));
        }
    }
}
