//! Works a run a second time from what the first one recorded: its models answer from the record, or again.
//!
//! # Invariants
//! Nothing of the first run is written. A model that is not to answer again is never asked: an item that is not recorded fails,
//! and its step with it unless so many of its items may.

use crate::base::Digest;
use crate::plan::Op;
use crate::run::missing::Settled;
use crate::store::Divergence;
use std::sync::{Mutex, MutexGuard};

/// Worked a second time, what was not recorded the first time is not made.
pub const NOT_RECORDED: &str = "it is not recorded, and no model is asked";

/// How a run is worked again.
#[derive(Debug, Default)]
pub struct Replay {
    /// Share of what models made that they make again; 0 for none.
    again: f64,
    /// What it did without: it does again. Of what failed, the share that is made again is asked once more.
    missing: Settled,
    noted: Mutex<Noted>,
}

/// What models made again, and where it differs.
#[derive(Debug, Default)]
pub struct Noted {
    pub worked: u64,
    pub differs: Vec<Differs>,
    /// Items by their nodes that failed the first time, and were made now.
    pub failed_no_more: Vec<(String, String)>,
}

/// An item whose bytes are other ones than the first time.
#[derive(Clone, Debug, PartialEq)]
pub struct Differs {
    pub node: String,
    pub item: String,
    pub both: Divergence,
}

impl Replay {
    /// Every pure step again; of what models made the share `again`.
    pub fn new(again: f64) -> Self {
        Self { again, missing: Settled::new(), noted: Mutex::default() }
    }

    pub fn without(self, missing: Settled) -> Self {
        Self { missing, ..self }
    }

    pub fn missing(&self) -> &Settled {
        &self.missing
    }

    /// Whether a step is taken as it is recorded: a training whose weights are not made again.
    pub fn takes(&self, op: Op) -> bool {
        op == Op::Train && self.again == 0.0
    }

    /// Whether the item of a key is made again. The key decides, so a share is the same items each time.
    pub fn again(&self, key: &Digest) -> bool {
        let head: [u8; 8] = key.as_bytes()[..8].try_into().expect("a digest has 32 bytes");
        // 2^64 as a float: a share of 1 is all.
        (u64::from_be_bytes(head) as f64) < self.again * 18_446_744_073_709_551_616.0
    }

    /// An item was made again; `both` if it came out otherwise.
    pub fn note(&self, node: &str, item: &str, both: Option<Divergence>) {
        let mut noted = self.noted();
        noted.worked += 1;
        let differs = |both| Differs { node: node.to_owned(), item: item.to_owned(), both };
        noted.differs.extend(both.map(differs));
    }

    /// An item is missing as failed, and was made now. It goes on without it, so that nothing else differs for that.
    pub fn note_made(&self, node: &str, item: &str) {
        self.noted().failed_no_more.push((node.to_owned(), item.to_owned()));
    }

    pub fn take(&self) -> Noted {
        std::mem::take(&mut *self.noted())
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().expect("no panic holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::Replay;
    use crate::base::Digest;

    #[test]
    fn a_share_of_the_keys_is_made_again() {
        let keys: Vec<Digest> = (0..10_000u32).map(|n| Digest::of_bytes(&n.to_le_bytes())).collect();
        let made = |share: f64| keys.iter().filter(|key| Replay::new(share).again(key)).count();
        assert_eq!((made(0.0), made(1.0)), (0, keys.len()));
        assert!((400..600).contains(&made(0.05)), "{}", made(0.05));
    }
}
