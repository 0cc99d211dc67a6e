//! Turns one large piece of work into tasks for rayon's pool.
//!
//! # Invariants
//! Tasks write disjoint places and read nothing another task writes, so who runs which, and when, cannot matter. Small work
//! never leaves the calling thread.

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

/// A slice that several tasks write disjoint parts of.
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a `&mut [f32]` in pieces; `part` demands that the pieces be disjoint.
unsafe impl Sync for Shared<'_> {}
// SAFETY: as above.
unsafe impl Send for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), owner: PhantomData }
    }

    /// # Safety
    /// While the part lives, no other part that overlaps it may.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "part outside the slice");
        // SAFETY: inside the slice by the assertion, unaliased by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
