//! Works a run a second time from what the first one recorded: its models answer from the record, or again.
//!
//! # Invariants
//! Nothing of the first run is written. A model that is not to answer again is never asked: an item that is not recorded fails,
//! and its step with it unless so many of its items may.

use crate::base::{Digest, Seed};
use crate::plan::Op;
use crate::run::missing::Settled;
use crate::store::Divergence;
use std::sync::{Mutex, MutexGuard};

/// Worked a second time, what was not recorded the first time is not made.
pub const NOT_RECORDED: &str = "it is not recorded, and no model is asked";

/// How a run is worked again.
#[derive(Debug)]
pub struct Replay {
    /// Share of what models made that they make again; 0 for none.
    again: f64,
    /// Draws the share: whoever made the run could not know it.
    draw: Seed,
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
    /// Items by their nodes that do not follow from what the model said in them, and how.
    pub untrue: Vec<(String, String, String)>,
}

/// An item whose bytes are other ones than the first time.
#[derive(Clone, Debug, PartialEq)]
pub struct Differs {
    pub node: String,
    pub item: String,
    pub both: Divergence,
}

impl Replay {
    /// Every pure step again; of what models made the share `again`, as `draw` draws it.
    pub fn new(again: f64, draw: Seed) -> Self {
        Self { again, draw, missing: Settled::new(), noted: Mutex::default() }
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

    /// Whether the item of a key is made again.
    pub fn again(&self, key: &Digest) -> bool {
        // 2^64 as a float: a share of 1 is all.
        (self.draw.derive(*key).0 as f64) < self.again * 18_446_744_073_709_551_616.0
    }

    /// Of these keys the one that is made again before all others, so that of each node something is.
    pub fn first<'k>(&self, keys: impl Iterator<Item = &'k Digest>) -> Option<&'k Digest> {
        if self.again == 0.0 { None } else { keys.min_by_key(|key| self.draw.derive(**key).0) }
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

    /// An item says of itself what does not follow from what the model said in it.
    pub fn note_untrue(&self, node: &str, item: &str, what: String) {
        self.noted().untrue.push((node.to_owned(), item.to_owned(), what));
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
    use crate::base::{Digest, Seed};

    #[test]
    fn a_share_of_the_keys_is_made_again_another_one_each_time_and_one_at_least() {
        let keys: Vec<Digest> = (0..10_000u32).map(|n| Digest::of_bytes(&n.to_le_bytes())).collect();
        let made = |share: f64, draw| {
            let replay = Replay::new(share, Seed(draw));
            keys.iter().filter(|key| replay.again(key)).collect::<Vec<_>>()
        };
        assert_eq!((made(0.0, 1).len(), made(1.0, 1).len()), (0, keys.len()));
        assert!((400..600).contains(&made(0.05, 1).len()), "{}", made(0.05, 1).len());
        assert_ne!(made(0.05, 1), made(0.05, 2));
        let first = |share: f64, draw| Replay::new(share, Seed(draw)).first(keys.iter());
        assert!(first(0.0, 1).is_none() && first(1e-9, 1).is_some() && first(1e-9, 1) != first(1e-9, 2));
        assert!(made(0.05, 1).contains(&first(0.05, 1).expect("one at least")));
    }
}
