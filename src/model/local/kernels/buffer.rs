//! Vectors whose memory is used again.
//!
//! A training step makes and drops gigabytes of activations of the same few sizes. An allocator gives such blocks back to
//! the system after a while, and the system clears them anew: a fifth of a training. So as long as somebody holds a
//! [`Hold`], memory that is dropped waits here for the next buffer of its size.
//!
//! # Invariants
//! Memory is written once before it is first read, and what a buffer held before is never relied on.

use super::pack::Lane;
use super::simd::LANES;
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Vectors that wait, by length.
type Shelf<T> = BTreeMap<usize, Vec<Vec<T>>>;

pub struct Waiting {
    holds: usize,
    floats: Shelf<f32>,
    lanes: Shelf<Lane>,
}

static WAITING: Mutex<Waiting> = Mutex::new(Waiting { holds: 0, floats: BTreeMap::new(), lanes: BTreeMap::new() });

/// Bytes beyond which memory waits: an allocator is good at small blocks.
const LARGE: usize = 1 << 13;

/// What buffers are of.
///
/// # Safety
/// All bits zero is a value.
pub unsafe trait Held: Copy + Send {
    /// What nobody may come to rely on: found in debug builds where nothing was written.
    const POISON: Self;

    fn shelf(waiting: &mut Waiting) -> &mut Shelf<Self>;
}

// SAFETY: it is zero.
unsafe impl Held for f32 {
    const POISON: f32 = f32::NAN;

    fn shelf(waiting: &mut Waiting) -> &mut Shelf<Self> {
        &mut waiting.floats
    }
}

// SAFETY: it is floats, without padding.
unsafe impl Held for Lane {
    const POISON: Lane = Lane([f32::NAN; LANES]);

    fn shelf(waiting: &mut Waiting) -> &mut Shelf<Self> {
        &mut waiting.lanes
    }
}

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
            waiting.floats.clear();
            waiting.lanes.clear();
        }
    }
}

/// Zeros, in memory that the system has cleared already where it can be had.
fn zeroed<T: Held>(len: usize) -> Vec<T> {
    let layout = Layout::array::<T>(len).expect("more than all memory");
    if layout.size() == 0 {
        return Vec::new();
    }
    // SAFETY: of this size and alignment, as a vector's memory is; all of it is numbers, by `Held`'s word.
    unsafe {
        let start = alloc_zeroed(layout);
        if start.is_null() {
            handle_alloc_error(layout);
        }
        Vec::from_raw_parts(start.cast(), len, len)
    }
}

/// Whether so many values are worth keeping.
fn large<T>(len: usize) -> bool {
    len * size_of::<T>() >= LARGE
}

/// Capacities are rounded up to eighths of a power of two, so that batches of about the same size share them.
fn capacity<T>(len: usize) -> usize {
    if large::<T>(len) { len.next_multiple_of(len.next_power_of_two() / 16) } else { len }
}

/// Values in memory that waits for the next buffer when they are dropped.
pub struct Buffer<T: Held = f32> {
    /// As long as memory of its size is, whatever of it is in use: what was written once need not be cleared again.
    whole: Vec<T>,
    len: usize,
}

impl<T: Held> Buffer<T> {
    /// So many values, which may be anything: who asks for them writes them all.
    pub fn stale(len: usize) -> Self {
        let capacity = capacity::<T>(len);
        let mut buffer = match large::<T>(len) {
            true => {
                // Not much larger: what is small would keep what is large.
                let found = |(_, vectors): (_, &mut Vec<Vec<T>>)| vectors.pop();
                let known = T::shelf(&mut waiting()).range_mut(capacity..=2 * capacity).find_map(found);
                Self { whole: known.unwrap_or_else(|| zeroed(capacity)), len }
            }
            false => Self { whole: zeroed(len), len },
        };
        if cfg!(debug_assertions) {
            buffer.fill(T::POISON);
        }
        buffer
    }
}

impl<T: Held> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::stale(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Held> From<Vec<T>> for Buffer<T> {
    fn from(whole: Vec<T>) -> Self {
        Self { len: whole.len(), whole }
    }
}

impl<T: Held + PartialEq> PartialEq for Buffer<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Held + fmt::Debug> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Held> Drop for Buffer<T> {
    fn drop(&mut self) {
        let whole = mem::take(&mut self.whole);
        if !large::<T>(whole.len()) || whole.len() != capacity::<T>(whole.len()) {
            return;
        }
        let mut waiting = waiting();
        if waiting.holds > 0 {
            T::shelf(&mut waiting).entry(whole.len()).or_default().push(whole);
        }
    }
}

impl<T: Held> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.whole[..self.len]
    }
}

impl<T: Held> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.whole[..self.len]
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
            let rounded = capacity::<f32>(len);
            assert!(rounded >= len && rounded <= len + len / 8 + 1 && capacity::<f32>(rounded) == rounded, "{len}");
        }
    }
}
