//! Turns one large piece of work into tasks for rayon's pool.
//!
//! # Invariants
//! Tasks write disjoint places and read nothing another task writes, so who runs which, and when, cannot matter. Small work
//! never leaves the calling thread.

use super::buffer::{Buffer, Held};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Multiply-adds (or the like) below which a second thread costs more than it gives.
const SMALL: usize = 100_000;

/// How often an idle thread looks for work before it lets others have its core: some ten microseconds.
const IDLE: u32 = 64;

/// How often one looks whether the others are awake: some tens of microseconds, in which a thread can be woken.
const PATIENCE: usize = 1000;

/// Requests to stay awake that no thread has come to yet, of all pools; and how many there may be for each thread.
static ASKED: AtomicUsize = AtomicUsize::new(0);
const MOST_ASKED: usize = 16;

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

/// Runs `work` on a thread of the pool while the others stay awake: what it splits is begun at once. A step of a model is hundreds
/// of short products, and to wake a thread for each takes longer than some of them.
///
/// A thread that waits for parts of its own may do all of this meanwhile: hold no lock that `work` wants over what splits.
pub fn awake<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| {
        let (own, others) = (rayon::current_thread_index(), rayon::current_num_threads() - 1);
        // A thread that is long busy is asked no more.
        if others == 0 || ASKED.load(Ordering::Relaxed) > MOST_ASKED * (others + 1) {
            return work();
        }
        ASKED.fetch_add(others + 1, Ordering::Relaxed);
        let watch = Arc::new(Watch::default());
        let kept = watch.clone();
        rayon::spawn_broadcast(move |thread| {
            ASKED.fetch_sub(1, Ordering::Relaxed);
            if Some(thread.index()) != own {
                kept.keep();
            }
        });
        watch.begin(others);
        let _over = Over(watch);
        work()
    })
}

/// Threads that stay awake for somebody's work.
///
/// Nobody waits for them, and who was busy when the work began does not stay. So no thread stays above a part of the work it stays
/// for, which the work would wait for in vain; and of works that run at the same time, one waits at most for such as began later.
#[derive(Default)]
struct Watch {
    /// Threads that came, and from [`Watch::BEGUN`] on, that it is too late to come.
    came: AtomicUsize,
    over: AtomicBool,
}

impl Watch {
    const BEGUN: usize = 1 << (usize::BITS - 1);

    /// Looks for parts of whatever work there is until the work is over.
    fn keep(&self) {
        if self.came.fetch_add(1, Ordering::AcqRel) >= Self::BEGUN {
            return;
        }
        let mut idle = 0;
        while !self.over.load(Ordering::Relaxed) {
            match rayon::yield_now() {
                Some(rayon::Yield::Executed) => idle = 0,
                // Where there are more threads than cores, others need this one.
                _ if idle == IDLE => std::thread::yield_now(),
                _ => {
                    idle += 1;
                    std::hint::spin_loop();
                }
            }
        }
    }

    /// Waits a moment for those who have nothing else to do.
    fn begin(&self, others: usize) {
        for _ in 0..PATIENCE {
            if self.came.load(Ordering::Acquire) == others {
                break;
            }
            std::hint::spin_loop();
        }
        self.came.fetch_add(Self::BEGUN, Ordering::AcqRel);
    }
}

/// Says that the work is over, also where it panics.
struct Over(Arc<Watch>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Adds up in the pool.
    fn sum() -> usize {
        (0..200usize).into_par_iter().with_max_len(1).sum()
    }

    #[test]
    fn who_stays_awake_goes_back_when_the_work_is_over_or_panics() {
        for threads in [1, 2, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            let inside = pool.install(|| awake(|| (rayon::current_thread_index().is_some(), sum())));
            assert_eq!(inside, (true, 19_900));
            let lost = catch_unwind(AssertUnwindSafe(|| {
                pool.install(|| {
                    awake(|| {
                        if sum() > 0 {
                            panic!("lost")
                        }
                    })
                })
            }));
            assert!(lost.is_err());
            // Several at once, and one inside another: more than there are threads.
            let at_once: usize =
                pool.install(|| (0..9usize).into_par_iter().map(|_| awake(|| awake(sum) + sum())).sum());
            assert_eq!(at_once, 18 * 19_900);
            std::thread::scope(|scope| {
                let callers: Vec<_> = (0..5).map(|_| scope.spawn(|| pool.install(|| awake(sum)))).collect();
                callers.into_iter().for_each(|caller| assert_eq!(caller.join().expect("ends"), 19_900));
            });
        }
    }
}
