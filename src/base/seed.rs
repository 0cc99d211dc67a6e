//! Randomness as a value: seeds are derived by hashing, numbers are drawn by counting.
//!
//! # Determinism
//! A draw depends on the seed and its position alone, so order, threads and interruption cannot change it.

use crate::base::{Canonical, Hasher};
use serde::{Deserialize, Serialize};

/// Where a stream of random numbers starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of one part of a whole: `seed.derive("rollout").derive(iteration).derive("task-12").derive(sample)`.
    #[must_use]
    pub fn derive(self, part: impl Canonical) -> Seed {
        let digest = Hasher::new("agx-seed/1").u64(self.0).put(&part).finish();
        let bytes = digest.as_bytes().first_chunk().expect("a digest has 32 bytes");
        Seed(u64::from_le_bytes(*bytes))
    }

    pub fn rng(self) -> Rng {
        Rng { seed: self, position: 0 }
    }

    /// The 64 random bits at one position. SplitMix64's output function (Steele, Lea, Flood 2014) over a counter.
    pub fn bits(self, position: u64) -> u64 {
        let mut z = self.0.wrapping_add(position.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)` with 53 bits, at one position.
    pub fn uniform(self, position: u64) -> f64 {
        (self.bits(position) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

impl Canonical for Seed {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.u64(self.0);
    }
}

/// Draws in sequence from one seed.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: Seed,
    position: u64,
}

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.position += 1;
        self.seed.bits(self.position - 1)
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        self.position += 1;
        self.seed.uniform(self.position - 1)
    }

    /// Uniform in `0..n` by multiply-shift; the bias is below n / 2^64.
    ///
    /// # Panics
    /// When `n` is zero.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "a draw from nothing");
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Fisher-Yates, from the back.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_uniform_and_parts_differ() {
        let mut rng = Seed(7).derive("x").rng();
        let mut counts = [0usize; 10];
        (0..10_000).for_each(|_| counts[rng.below(10)] += 1);
        assert!(counts.iter().all(|&count| (850..1150).contains(&count)), "{counts:?}");
        assert_ne!(Seed(7).derive("a"), Seed(7).derive("b"));
        assert_ne!(Seed(7).derive(1u32).derive(2u32), Seed(7).derive(2u32).derive(1u32));
    }
}
