//! What the hub says that a file holds: a large one (LFS, Xet) by the SHA-256 of its bytes, any other by its git blob's SHA-1.
//!
//! # Invariants
//! Hex digits and nothing else, so it is a file's name as well.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::io::{Error, Read};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum(String);

/// The same, of bytes that come one after another.
#[derive(Clone)]
pub enum Summing {
    Blob(Sha1),
    Large(Sha256),
}

impl Sum {
    /// As an `ETag` has it; nothing where it is of another kind.
    pub fn of_etag(etag: &str) -> Option<Self> {
        let etag = etag.trim();
        Self::of_hex(etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"'))
    }

    pub fn of_hex(hex: &str) -> Option<Self> {
        (matches!(hex.len(), 40 | 64) && is_hex(hex)).then(|| Self(hex.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of a file of so many bytes, none of which has come.
    pub fn begin(&self, size: u64) -> Summing {
        match self.0.len() {
            40 => Summing::Blob(Sha1::new_with_prefix(format!("blob {size}\0"))),
            _ => Summing::Large(Sha256::new()),
        }
    }
}

impl Summing {
    pub fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::Blob(sum) => sum.update(bytes),
            Self::Large(sum) => sum.update(bytes),
        }
    }

    /// All that a reader has left.
    ///
    /// # Errors
    /// A read that fails.
    pub fn add_all(&mut self, mut from: impl Read) -> Result<(), Error> {
        let mut part = vec![0; 1 << 18];
        loop {
            match from.read(&mut part)? {
                0 => return Ok(()),
                read => self.add(&part[..read]),
            }
        }
    }

    pub fn end(self) -> Sum {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Sum(match self {
            Self::Blob(sum) => hex(&sum.finalize()),
            Self::Large(sum) => hex(&sum.finalize()),
        })
    }
}

/// Lower-case hex digits.
pub fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_what_git_and_lfs_say() {
        // `printf 'hello\n' | git hash-object --stdin`, and `sha256sum`.
        let blob = Sum::of_etag("\"ce013625030ba8dba906f756967f9e9ca394464a\"").unwrap();
        let large = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        for sum in [blob, Sum::of_etag(&format!("W/\"{large}\"")).unwrap()] {
            let mut parts = sum.begin(6);
            parts.add(b"hel");
            parts.add_all(&b"lo\n"[..]).unwrap();
            assert_eq!(parts.end(), sum);
        }
        for other in [
            "",
            "\"\"",
            "../../x",
            "CE013625030BA8DBA906F756967F9E9CA394464A",
            "5d41402abc4b2a76b9719d911017c592",
            "\"\u{e9}\"",
        ] {
            assert_eq!(Sum::of_etag(other), None, "{other}");
        }
    }
}
