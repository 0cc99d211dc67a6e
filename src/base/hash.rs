//! Digests with a written, portable encoding.
//!
//! Every value is framed: integers as 8 little-endian bytes, strings and sequences behind their length, enum variants
//! behind their name. So no two different values feed the same bytes, and no field can run into the next.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// A BLAKE3 digest, written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Of all that a reader gives, without holding it.
    ///
    /// # Errors
    /// A read that fails.
    pub fn of_reader(reader: impl std::io::Read) -> std::io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(reader)?;
        Ok(Self(*hasher.finalize().as_bytes()))
    }

    /// A digest that was stored as it is.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// By table: millions are written, and formatting each byte takes ten times as long.
    fn hex<'a>(&self, text: &'a mut [u8; 64]) -> &'a str {
        HEXLOWER.encode_mut(&self.0, text);
        std::str::from_utf8(text).expect("digits are ASCII")
    }

    /// The first twelve hex digits: enough for a person to tell two apart.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex(&mut [0; 64]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.hex(&mut [0; 64]))
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        // The length first: the decoder wants a place of the very size.
        match text.len() == 64 && HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), &mut bytes).is_ok() {
            true => Ok(Self(bytes)),
            false => Err(format!("`{text}` is not a digest of 64 hex digits")),
        }
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    // BLAKE3's own comparison takes constant time.
    blake3::hash(a) == blake3::hash(b)
}

/// A value with a canonical encoding. Implement by destructuring, so that a new field does not compile until it is in.
pub trait Canonical {
    fn feed(&self, hasher: &mut Hasher);

    fn digest(&self) -> Digest {
        let mut hasher = Hasher::new("agx/1");
        self.feed(&mut hasher);
        hasher.finish()
    }
}

/// Feeds framed values into BLAKE3.
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// `domain` separates hashes that mean different things.
    pub fn new(domain: &str) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.str(domain);
        hasher
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.update(&value.to_le_bytes());
        self
    }

    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.u64(value.len() as u64);
        self.0.update(value);
        self
    }

    pub fn str(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    pub fn put(&mut self, value: &(impl Canonical + ?Sized)) -> &mut Self {
        value.feed(self);
        self
    }

    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

macro_rules! canonical_integer {
    ($($ty:ty),*) => {$(
        impl Canonical for $ty {
            fn feed(&self, hasher: &mut Hasher) {
                hasher.u64(*self as u64);
            }
        }
    )*};
}
canonical_integer!(bool, u8, u16, u32, u64, usize, i32, i64);

impl Canonical for f64 {
    /// By bits, with the two zeros made one; a NaN never reaches a key.
    fn feed(&self, hasher: &mut Hasher) {
        hasher.u64(if *self == 0.0 { 0 } else { self.to_bits() });
    }
}

impl Canonical for str {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.str(self);
    }
}

impl Canonical for String {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.str(self);
    }
}

impl Canonical for Digest {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.bytes(&self.0);
    }
}

impl<T: Canonical + ?Sized> Canonical for &T {
    fn feed(&self, hasher: &mut Hasher) {
        (**self).feed(hasher);
    }
}

impl<T: Canonical> Canonical for [T] {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.u64(self.len() as u64);
        self.iter().for_each(|item| item.feed(hasher));
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn feed(&self, hasher: &mut Hasher) {
        self.as_slice().feed(hasher);
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            None => hasher.u64(0),
            Some(value) => hasher.u64(1).put(value),
        };
    }
}

impl<A: Canonical, B: Canonical> Canonical for (A, B) {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.put(&self.0).put(&self.1);
    }
}

impl<K: Canonical, V: Canonical> Canonical for std::collections::BTreeMap<K, V> {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.u64(self.len() as u64);
        for (key, value) in self {
            hasher.put(key).put(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_neighbours_apart() {
        let split = |a: &str, b: &str| (a.to_owned(), b.to_owned()).digest();
        assert_ne!(split("ab", "c"), split("a", "bc"));
        assert_ne!(vec![1u32].digest(), vec![1u32, 0].digest());
        assert_ne!(None::<u32>.digest(), Some(0u32).digest());
    }

    #[test]
    fn hex_round_trips_and_refuses_others() {
        let digest = Digest::of_bytes(b"agx");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.to_string().to_uppercase().parse(), Ok(digest));
        assert!("xyz".parse::<Digest>().is_err());
        assert!("é".repeat(32).parse::<Digest>().is_err());
        assert!("+f".repeat(32).parse::<Digest>().is_err(), "a sign is no digit");
    }
}
