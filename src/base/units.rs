//! Quantities that must not be mixed up, in base units as integers so that they compare and hash exactly.

use crate::base::{Canonical, Hasher};
use serde::{Deserialize, Serialize};
use std::fmt;

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

/// `12.50 USD`, rounded up to the cent; below a dollar exact.
impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1_000_000 {
            let cents = self.0.div_ceil(10_000);
            return write!(f, "{}.{:02} USD", cents / 100, cents % 100);
        }
        let exact = format!("0.{:06}", self.0);
        write!(f, "{:0<4} USD", exact.trim_end_matches('0'))
    }
}

quantity!(/// Memory in bytes: `8 GiB`.
    ByteCount(u64));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_told_to_the_cent_and_below_a_dollar_to_the_last() {
        let told = [0, 1, 4_000, 10_000, 123_456, 500_000, 999_999, 1_000_000, 2_500_000, 1_234_567].map(MicroUsd);
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        let wanted = ["0.00", "0.000001", "0.004", "0.01", "0.123456", "0.50", "0.999999", "1.00", "2.50", "1.24"];
        assert_eq!(told, wanted.map(|amount| format!("{amount} USD")));
    }
}
