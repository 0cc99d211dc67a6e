//! Turns small blobs and records into the entries of a pack file, and a pack's bytes back into where its entries lie.
//!
//! ```text
//! pack  = "agxpack1" · salt [32] · entry*
//! entry = "agxe" · kind u8 · coding u8 · 0 u16 · stored u32 · raw u32 · digest [32] · check [8] · payload [stored]
//! ```
//!
//! Little-endian. `raw` is the payload's size before compression. `check` is the start of the BLAKE3 of the header before it,
//! keyed with the pack's salt: after damage the next entry is found by it, and nothing that a model or an environment wrote
//! can pass for an entry, since neither knows the salt.

use crate::base::Digest;
use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Read;
use std::ops::Range;

/// Bytes of an entry before its payload.
pub(super) const HEADER: usize = 56;
const MAGIC: [u8; 4] = *b"agxe";
const CHECKED: usize = HEADER - 8;
/// No blob is compressed that is larger.
const MOST: u64 = 1 << 30;
/// A smaller payload is not worth compressing.
const WORTH_CODING: usize = 256;

/// What is drawn when a pack is begun, and stands at its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Salt([u8; 32]);

impl Salt {
    const MAGIC: [u8; 8] = *b"agxpack1";
    /// Bytes of a pack before its first entry.
    pub(super) const SIZE: usize = 40;

    pub(super) fn draw() -> std::io::Result<Self> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)?;
        Ok(Self(salt))
    }

    /// Whether a pack begins as those of a later version will: it is not ours to call damaged.
    pub(super) fn is_newer(start: &[u8]) -> bool {
        start
            .strip_prefix(b"agxpack")
            .and_then(|rest| rest.first())
            .is_some_and(|version| (b'2'..=b'9').contains(version))
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        [&Self::MAGIC[..], &self.0].concat()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let salt = bytes.get(..Self::SIZE)?.strip_prefix(&Self::MAGIC)?;
        Some(Self(salt.try_into().expect("what is left of forty bytes")))
    }

    /// The BLAKE3 of what belongs to this pack, keyed with it.
    pub(super) fn sum(&self, bytes: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, bytes).as_bytes()
    }

    fn check(&self, header: &[u8]) -> [u8; HEADER - CHECKED] {
        self.sum(header)[..HEADER - CHECKED].try_into().expect("a hash is longer")
    }
}

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Blob = 1,
    Record = 2,
    /// The records of this key that stand before it count no more.
    Forgotten = 3,
    /// Where damage was found, told and covered.
    Void = 4,
}

impl Kind {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Kind::Blob, Kind::Record, Kind::Forgotten, Kind::Void].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: Kind,
    coded: bool,
    pub stored: u32,
    raw: u32,
    pub digest: Digest,
}

impl Header {
    /// Covers `size` bytes, itself included.
    pub(super) fn void(size: usize) -> Self {
        let stored = size_field(size - HEADER);
        Self { kind: Kind::Void, coded: false, stored, raw: stored, digest: Digest::of_bytes(b"") }
    }

    /// Bytes of the whole entry.
    pub(super) fn size(&self) -> usize {
        HEADER + self.stored as usize
    }

    pub(super) fn to_bytes(self, salt: &Salt) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend([self.kind as u8, u8::from(self.coded), 0, 0]);
        bytes.extend(self.stored.to_le_bytes());
        bytes.extend(self.raw.to_le_bytes());
        bytes.extend(self.digest.as_bytes());
        bytes.extend(salt.check(&bytes));
        bytes
    }

    pub(super) fn read(salt: &Salt, bytes: &[u8]) -> Option<Self> {
        let (header, check) = bytes.get(..HEADER)?.split_at(CHECKED);
        if header[..4] != MAGIC || check != salt.check(header) {
            return None;
        }
        let size = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let digest = Digest::from_bytes(header[16..].try_into().expect("what is left of 48 bytes"));
        let kind = Kind::from_byte(header[4])?;
        Some(Self { kind, coded: header[5] == 1, stored: size(8), raw: size(12), digest })
    }

    /// The payload as it was given, from how it is stored.
    pub(super) fn payload(&self, stored: &[u8]) -> Result<Vec<u8>, String> {
        if !self.coded {
            return Ok(stored.to_vec());
        }
        // What claims to be larger than anything that is compressed is not given the room.
        decompress(stored, u64::from(self.raw).min(MOST) as usize).map_err(|_| "its bytes do not unpack".to_owned())
    }
}

/// What is to be appended, in the form in which it is stored: made before anybody waits for it.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    header: Header,
    payload: Cow<'a, [u8]>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(kind: Kind, digest: &Digest, raw: &'a [u8]) -> Self {
        let coded = if raw.len() >= WORTH_CODING { compress(raw) } else { None };
        let is_coded = coded.is_some();
        let payload = coded.map_or(Cow::Borrowed(raw), Cow::Owned);
        let (stored, size) = (size_field(payload.len()), size_field(raw.len()));
        Self { header: Header { kind, coded: is_coded, stored, raw: size, digest: *digest }, payload }
    }

    /// Writes header and payload behind what is in `bytes`; says where and what.
    pub(super) fn write(&self, salt: &Salt, bytes: &mut Vec<u8>) -> (usize, Header) {
        let offset = bytes.len();
        bytes.extend(self.header.to_bytes(salt));
        bytes.extend_from_slice(&self.payload);
        (offset, self.header)
    }
}

fn size_field(size: usize) -> u32 {
    u32::try_from(size).expect("an entry is far below 4 GiB")
}

/// Where the entries of a pack lie.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The offset of each header, in order.
    pub entries: Vec<(usize, Header)>,
    /// What is no entry and stands before one.
    pub torn: Vec<Range<usize>>,
    /// The end of the last entry: what follows was never finished.
    pub end: usize,
}

/// Looks through bytes of a pack that begin where an entry does.
pub(super) fn scan(salt: &Salt, bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER) {
        match Header::read(salt, rest) {
            Some(header) if header.size() <= rest.len() => {
                if scan.end < at {
                    scan.torn.push(scan.end..at);
                }
                scan.entries.push((at, header));
                at += header.size();
                scan.end = at;
            }
            // Its payload is not all there yet.
            Some(_) => break,
            None => match rest[1..].windows(MAGIC.len()).position(|window| window == MAGIC) {
                Some(skipped) => at += 1 + skipped,
                None => break,
            },
        }
    }
    scan
}

thread_local! {
    // Making one is dearer than what it does to an entry.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Below this, a code made for the letters of a text costs more time than all else that is done with it.
const SHORT: usize = 1024;

/// Zstandard at its fastest levels; nothing where it does not save an eighth.
pub(super) fn compress(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() as u64 > MOST {
        return None;
    }
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Compressor::new(1).ok();
        }
        let compressor = slot.as_mut()?;
        compressor.set_compression_level(if raw.len() < SHORT { -1 } else { 1 }).ok()?;
        let coded = compressor.compress(raw).ok()?;
        (coded.len() < raw.len() - raw.len() / 8).then_some(coded)
    })
}

fn decompress(coded: &[u8], raw: usize) -> std::io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress(coded, raw)
    })
}

/// Of a whole file; no more than [`MOST`] bytes of it, so that a foreign file cannot fill the memory.
pub(super) fn decompress_all(coded: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    zstd::stream::read::Decoder::new(coded)?.take(MOST).read_to_end(&mut raw)?;
    Ok(raw)
}
