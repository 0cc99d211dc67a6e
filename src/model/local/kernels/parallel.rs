//! Turns one large piece of work into tasks for rayon's pool.
//!
//! # Invariants
//! Tasks write disjoint places and read nothing another task writes, so who runs which, and when, cannot matter. Small work
//! never leaves the calling thread.

use super::buffer::{Buffer, Held};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

/// Multiply-adds (or the like) below which a second thread costs more than it gives.
const SMALL: usize = 100_000;

/// How many tasks to aim for when work of this size is split: one when it is small, else a few for every thread, so that a
/// thread that was kept waiting holds nobody up.
pub fn tasks_for(work: usize) -> usize {
    let threads = rayon::current_num_threads();
    if work < SMALL || threads == 1 { 1 } else { 4 * threads }
}

/// Runs `task(0) … task(tasks − 1)`, on several threads unless `work` is small.
pub fn each(tasks: usize, work: usize, task: impl Fn(usize) + Send + Sync) {
    if tasks == 1 || tasks_for(work) == 1 {
        (0..tasks).for_each(task);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(task);
    }
}

/// New buffers, each of so many values filled by tasks of so many: `fill(task, the task's part of every buffer)`. What a part
/// holds when its task begins may be anything; the task writes all of it.
///
/// # Panics
/// Buffers that need different numbers of tasks.
pub fn filled<T: Held, const N: usize>(
    parts: [(usize, usize); N],
    work: usize,
    fill: impl Fn(usize, [&mut [T]; N]) + Send + Sync,
) -> [Buffer<T>; N] {
    let tasks = parts.map(|(len, part)| len.div_ceil(part.max(1)));
    assert!(tasks.iter().all(|count| *count == tasks[0]), "buffers of different numbers of parts");
    let mut out = parts.map(|(len, _)| Buffer::stale(len));
    let shared = out.each_mut().map(|buffer| Shared::new(buffer));
    each(tasks[0], work, |task| {
        let range = |(len, part): (usize, usize)| task * part..len.min((task + 1) * part);
        // SAFETY: every task has a range of its own.
        fill(task, std::array::from_fn(|n| unsafe { shared[n].part(range(parts[n])) }));
    });
    out
}

/// A buffer of zeros, cleared by all threads where it is large.
pub fn zeros(len: usize) -> Buffer {
    const PART: usize = 1 << 16;
    let [out] = filled([(len, PART)], len, |_, [part]| part.fill(0.0));
    out
}

/// A slice that several tasks write disjoint parts of.
pub struct Shared<'a, T = f32> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut [T]` in pieces; `part` demands that the pieces be disjoint.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), owner: PhantomData }
    }

    /// # Safety
    /// While the part lives, no other part that overlaps it may.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        self.check(&range);
        // SAFETY: inside the slice by the check, unaliased by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Where the first of `rows` rows begins, each of `width` values and `stride` after the one before; all of them are inside.
    pub fn corner(&self, start: usize, rows: usize, width: usize, stride: usize) -> *mut T {
        let after =
            rows.saturating_sub(1).checked_mul(stride).and_then(|last| start.checked_add(last)?.checked_add(width));
        self.check(&(start..after.expect("rows past all memory")));
        self.start.wrapping_add(start)
    }

    #[inline(always)]
    fn check(&self, range: &Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.len, "part outside the slice");
    }
}
