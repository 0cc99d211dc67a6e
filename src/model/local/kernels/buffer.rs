//! Vectors whose memory is used again.
//!
//! A training step makes and drops gigabytes of activations of the same few sizes. An allocator gives such blocks back to
//! the system after a while, and the system clears them anew: a fifth of a training. So as long as somebody holds a
//! [`Hold`], memory that is dropped waits here for the next buffer of its size.
//!
//! # Invariants
//! What a buffer held before is never seen.

use std::collections::BTreeMap;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What waits, by capacity.
struct Waiting {
    holds: usize,
    vectors: BTreeMap<usize, Vec<Vec<f32>>>,
}

static WAITING: Mutex<Waiting> = Mutex::new(Waiting { holds: 0, vectors: BTreeMap::new() });

/// Floats beyond which memory waits: an allocator is good at small blocks.
const LARGE: usize = 1 << 14;

fn waiting() -> MutexGuard<'static, Waiting> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As long as it lives, memory waits; when the last one goes, it is given back.
pub struct Hold(());

impl Hold {
    #[allow(clippy::new_without_default, reason = "it changes what others do")]
    pub fn new() -> Self {
        waiting().holds += 1;
        Self(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut waiting = waiting();
        waiting.holds -= 1;
        if waiting.holds == 0 {
            waiting.vectors.clear();
        }
    }
}

/// Capacities are rounded up to eighths of a power of two, so that batches of about the same size share them.
fn capacity(len: usize) -> usize {
    if len < LARGE { len } else { len.next_multiple_of(len.next_power_of_two() / 16) }
}

/// Floats in memory that waits for the next buffer when they are dropped.
#[derive(Debug, PartialEq)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// An empty vector with room for `len` floats.
    pub(super) fn room(len: usize) -> Vec<f32> {
        let capacity = capacity(len);
        if len < LARGE {
            return Vec::with_capacity(capacity);
        }
        // Not much larger: what is small would keep what is large.
        let known = waiting().vectors.range_mut(capacity..=2 * capacity).find_map(|(_, vectors)| vectors.pop());
        known.unwrap_or_else(|| Vec::with_capacity(capacity))
    }
}

impl From<Vec<f32>> for Buffer {
    fn from(vector: Vec<f32>) -> Self {
        Self(vector)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut vector = mem::take(&mut self.0);
        if vector.capacity() < LARGE || vector.capacity() != capacity(vector.capacity()) {
            return;
        }
        let mut waiting = waiting();
        if waiting.holds > 0 {
            vector.clear();
            waiting.vectors.entry(vector.capacity()).or_default().push(vector);
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::zeros;
    use super::*;

    #[test]
    fn memory_is_used_again_and_holds_nothing_of_before() {
        let hold = Hold::new();
        // Of a size of this test's own.
        let len = 77_000_000;
        let mut first = zeros(len);
        first[len - 1] = 7.0;
        let place = first.as_ptr();
        drop(first);
        let second = zeros(len - 1_000_000);
        assert_eq!((second.as_ptr(), second.len()), (place, len - 1_000_000));
        assert!(second.iter().all(|x| *x == 0.0));
        drop(hold);
        for len in [LARGE, LARGE + 1, 99_999, 1 << 20, (1 << 20) + 1] {
            let rounded = capacity(len);
            assert!(rounded >= len && rounded <= len + len / 8 + 1 && capacity(rounded) == rounded, "{len}");
        }
    }
}
