//! Quantities that must not be mixed up, in base units as integers so that they compare and hash exactly.

use crate::base::{Canonical, Hasher};
use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl Canonical for $name {
            fn feed(&self, hasher: &mut Hasher) {
                hasher.put(&self.0);
            }
        }
    };
}

quantity!(/// A number of tokens: `512 tokens`.
    TokenCount(u64));
quantity!(/// A span of time in milliseconds: `30 s`, `10 min`.
    Millis(u64));
quantity!(/// Money in micro-dollars: `2.50 USD`.
    MicroUsd(u64));
quantity!(/// Memory in bytes: `8 GiB`.
    ByteCount(u64));
