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

/// New vectors of `len` values each, filled by tasks of `chunk` values: `fill(task, the task's chunk of every vector)`. A
/// chunk is zero when its task begins; it is cleared there and then, while it is about to be in the cache anyway.
pub fn filled<T: Copy + Default + Send, const N: usize>(
    len: usize,
    chunk: usize,
    work: usize,
    fill: impl Fn(usize, [&mut [T]; N]) + Send + Sync,
) -> [Vec<T>; N] {
    let mut out: [Vec<T>; N] = std::array::from_fn(|_| Vec::with_capacity(len));
    let shared = out.each_mut().map(|vector| Shared::unfilled(vector, len));
    each(len.div_ceil(chunk.max(1)), work, |task| {
        let range = task * chunk..len.min((task + 1) * chunk);
        // SAFETY: every task has a range of its own.
        fill(task, shared.each_ref().map(|shared| unsafe { shared.cleared(range.clone()) }));
    });
    for vector in &mut out {
        // SAFETY: the tasks' ranges cover `len`, and all of them were cleared.
        unsafe { vector.set_len(len) };
    }
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

impl<'a, T: Copy + Default> Shared<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), owner: PhantomData }
    }

    /// The first `len` places of a vector's spare room; they hold nothing until they are `cleared`.
    pub fn unfilled(vector: &'a mut Vec<T>, len: usize) -> Self {
        let spare = &mut vector.spare_capacity_mut()[..len];
        Self { start: spare.as_mut_ptr().cast(), len, owner: PhantomData }
    }

    /// # Safety
    /// While the part lives, no other part that overlaps it may. What is not yet filled must have been `cleared`.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        self.check(&range);
        // SAFETY: inside the slice by the check, unaliased and filled by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// A part after writing zeros to all of it.
    ///
    /// # Safety
    /// While the part lives, no other part that overlaps it may.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn cleared(&self, range: Range<usize>) -> &mut [T] {
        self.check(&range);
        for at in range.clone() {
            // SAFETY: inside the slice by the check, unaliased by the caller's word.
            unsafe { self.start.add(at).write(T::default()) };
        }
        // SAFETY: as above, and just filled.
        unsafe { self.part(range) }
    }

    #[inline(always)]
    fn check(&self, range: &Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.len, "part outside the slice");
    }
}
