//! When an endpoint may be asked: its declared rate, what it asks to wait, and how long to wait before asking again.
//!
//! # Invariants
//! No result depends on anything here. Whoever waits gives up once the run is to pause.

use crate::base::Seed;
use crate::model::{Rate, Wire};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The first wait before asking again, in milliseconds; each further one is twice as long.
const FIRST_WAIT: u64 = if cfg!(test) { 2 } else { 500 };
/// The longest wait, whatever an endpoint asks for, in milliseconds.
pub const MOST_WAIT: u64 = if cfg!(test) { 100 } else { 60_000 };
/// How soon a pause is noticed.
const GLANCE: Duration = Duration::from_millis(50);

pub struct Pace {
    wire: Wire,
    /// A token bucket of one token, filled again after so many microseconds: requests are spread evenly.
    spacing: u64,
    times: Mutex<Times>,
    never: Condvar,
}

#[derive(Default)]
struct Times {
    /// When the next request may go out, in microseconds.
    next: u64,
    /// Until when nobody asks, in microseconds.
    held: u64,
    /// When it was looked at last, in microseconds.
    seen: u64,
}

impl Times {
    /// A clock that was set back takes the times ahead with it, so that nobody waits for what it was set back by.
    fn at(&mut self, millis: u64) -> u64 {
        let now = millis.saturating_mul(1000);
        let back = self.seen.saturating_sub(now);
        self.next = self.next.saturating_sub(back);
        self.held = self.held.saturating_sub(back);
        self.seen = now;
        now
    }
}

/// The run is to pause.
#[derive(Debug)]
pub struct Paused;

impl Pace {
    pub fn new(rate: Option<Rate>, wire: Wire) -> Self {
        let spacing = rate.map_or(0, |Rate { count, each }| each.saturating_mul(1000) / count.max(1));
        Self { wire, spacing, times: Mutex::default(), never: Condvar::new() }
    }

    /// Waits for one's turn.
    pub fn turn(&self) -> Result<(), Paused> {
        let wait = {
            let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            let now = times.at((self.wire.clock)());
            let turn = times.next.max(times.held).max(now);
            times.next = turn + self.spacing;
            turn - now
        };
        self.wait(wait)
    }

    /// Nobody asks for so many milliseconds.
    pub fn hold(&self, millis: u64) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let now = times.at((self.wire.clock)());
        times.held = times.held.max(now.saturating_add(millis.min(MOST_WAIT) * 1000));
    }

    /// Waits before the `again`-th further attempt, from 0: exponentially, with jitter from the request's own seed, and
    /// not less than what the endpoint asks for.
    pub fn back_off(&self, seed: Seed, again: u32, asked: Option<u64>) -> Result<(), Paused> {
        let whole = FIRST_WAIT.saturating_mul(1 << again.min(20)).min(MOST_WAIT);
        let jittered = whole as f64 * (0.5 + 0.5 * seed.derive("back off").uniform(u64::from(again)));
        self.wait((jittered as u64).max(asked.unwrap_or(0).min(MOST_WAIT)).saturating_mul(1000))
    }

    fn wait(&self, micros: u64) -> Result<(), Paused> {
        let mut left = Duration::from_micros(micros);
        let mutex = Mutex::new(());
        while !left.is_zero() {
            if self.wire.paused() {
                return Err(Paused);
            }
            let part = left.min(GLANCE);
            let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.never.wait_timeout_while(guard, part, |()| true));
            left -= part;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Instant;

    #[expect(clippy::disallowed_methods, reason = "a test of waiting looks at the clock")]
    fn timed(work: impl FnOnce()) -> Duration {
        let before = Instant::now();
        work();
        before.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "a test of waiting looks at the clock")]
    fn now() -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
    }

    fn wire(clock: fn() -> u64) -> Wire {
        Wire::new(clock, |_| Err(String::new()))
    }

    #[test]
    fn requests_are_spread_over_the_time() {
        let pace = Pace::new(Some(Rate { count: 100, each: 1000 }), wire(now));
        let took = timed(|| {
            std::thread::scope(|scope| {
                for _ in 0..5 {
                    scope.spawn(|| (0..2).for_each(|_| pace.turn().unwrap()));
                }
            });
        });
        assert!(took >= Duration::from_millis(88), "ten at 100 a second take 90 ms: {took:?}");
        let free = Pace::new(None, wire(now));
        assert!(timed(|| (0..1000).for_each(|_| free.turn().unwrap())) < Duration::from_millis(500));
    }

    #[test]
    fn a_hold_keeps_everybody_and_is_capped() {
        let pace = Pace::new(None, wire(now));
        pace.hold(40);
        assert!(timed(|| pace.turn().unwrap()) >= Duration::from_millis(35));
        pace.hold(u64::MAX);
        assert!(timed(|| pace.turn().unwrap()) <= Duration::from_millis(5 * MOST_WAIT));
        assert!(timed(|| pace.back_off(Seed(1), 60, Some(u64::MAX)).unwrap()) <= Duration::from_millis(5 * MOST_WAIT));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting() {
        static HOURS: AtomicU64 = AtomicU64::new(9);
        let clock = || HOURS.load(Ordering::SeqCst) * 3_600_000;
        let pace = Pace::new(Some(Rate { count: 1000, each: 1000 }), wire(clock));
        pace.turn().unwrap();
        pace.hold(50);
        HOURS.store(1, Ordering::SeqCst);
        assert!(timed(|| pace.turn().unwrap()) < Duration::from_millis(5 * MOST_WAIT));
    }

    #[test]
    fn whoever_waits_hears_of_a_pause() {
        let paused = Arc::new(AtomicBool::new(true));
        let pace = Pace::new(Some(Rate { count: 1, each: 1000 }), wire(now).pausing(&paused));
        assert!(pace.turn().is_ok(), "nobody has to wait for the first turn");
        assert!(timed(|| assert!(pace.turn().is_err())) < Duration::from_millis(500));
    }
}
