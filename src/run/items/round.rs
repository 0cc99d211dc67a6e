//! Works items once, in groups, and files what comes of them.
//!
//! # Invariants
//! A group is a range of item indices, whatever is cached.

use super::{Finished, Item, Lot, Made, WorkItems, Worker, apart, diverged_words, file, tell};
use crate::model::Tokens;
use crate::node::lost::{Halt, Lost, Why};
use crate::run::missing::Lack;
use crate::run::resources::blame;
use crate::run::{Clock, ItemOutcome, RunEvent, StepError};
use litemap::LiteMap;
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Items asked together.
const GROUP: usize = 64;

/// One round over items, and what came of it so far.
pub struct Round<'r, 'w, 'e, 'i, T> {
    pub worker: &'r mut Worker<'w, 'e>,
    lot: &'r mut Lot<'i, T>,
    note: &'r mut dyn FnMut(&T) -> String,
    attempt: u32,
    done: u64,
    /// What failed and is to be worked again.
    again: Vec<usize>,
    pub paused: bool,
    trouble: Option<StepError>,
    watch: Arc<Watch<'e>>,
}

/// When work under way is to stop. A pause lets it finish; only trouble stops in the middle of it.
pub struct Watch<'e> {
    broken: AtomicBool,
    clock: Clock<'e>,
    timeout: Option<u64>,
}

impl Watch<'_> {
    /// To be asked by the work that begins now.
    pub fn begin(&self) -> impl Fn() -> Option<Halt> + '_ {
        let deadline = self.timeout.map(|timeout| (self.clock)().saturating_add(timeout));
        move || match deadline {
            _ if self.broken.load(Ordering::SeqCst) => Some(Halt::Pause),
            Some(deadline) if (self.clock)() > deadline => Some(Halt::Timeout),
            _ => None,
        }
    }
}

impl<'r, 'w, 'e, 'i, T: Clone + Send> Round<'r, 'w, 'e, 'i, T> {
    pub fn new(
        worker: &'r mut Worker<'w, 'e>,
        lot: &'r mut Lot<'i, T>,
        note: &'r mut dyn FnMut(&T) -> String,
        attempt: u32,
    ) -> Self {
        let (clock, timeout) = (worker.emitter.clock(), worker.tolerance.timeout.map(|timeout| timeout.0));
        let watch = Arc::new(Watch { broken: AtomicBool::new(false), clock, timeout });
        let done = lot.count(|_| true);
        Self { worker, lot, note, attempt, done, again: Vec::new(), paused: false, trouble: None, watch }
    }

    /// What failed is to be worked again, as long as this was not the last attempt: what took too long would take it again.
    ///
    /// # Errors
    /// A pause, trouble that every other item would meet, a store that cannot be written.
    pub fn work(
        mut self,
        wanted: &[usize],
        work: &WorkItems<'_>,
        in_flight: Option<usize>,
    ) -> Result<Vec<usize>, StepError> {
        match in_flight {
            Some(at_once) => apart::work(&mut self, wanted, work, at_once)?,
            None => self.together(wanted, work)?,
        }
        if self.paused { Err(StepError::Paused) } else { Ok(self.again) }
    }

    fn together(&mut self, wanted: &[usize], work: &WorkItems<'_>) -> Result<(), StepError> {
        let mut queue: Vec<Vec<usize>> =
            wanted.chunk_by(|a, b| a / GROUP == b / GROUP).map(<[usize]>::to_vec).collect();
        queue.reverse();
        while let Some(mut wanted) = queue.pop() {
            if self.pauses() {
                break;
            }
            // What does not fit with the others may fit once they took less than they might have.
            let admitted = self.admit(wanted.len())?;
            if admitted < wanted.len() {
                queue.push(wanted.split_off(admitted));
            }
            let watch = self.watch();
            let results = work(&wanted, &watch.begin(), &mut |made| {
                let made: Vec<(usize, Made)> = made.into_iter().map(|(place, made)| (wanted[place], made)).collect();
                self.settle(&made);
                self.file(made);
            })?;
            for (&at, result) in wanted.iter().zip(results) {
                result.unwrap_or_else(|lost| self.lost(at, lost));
            }
            self.check()?;
        }
        Ok(())
    }

    pub fn watch(&self) -> Arc<Watch<'e>> {
        self.watch.clone()
    }

    /// Whether no more is begun.
    pub fn pauses(&mut self) -> bool {
        self.paused |= self.worker.control.paused();
        self.paused || self.broken()
    }

    fn broken(&self) -> bool {
        self.watch.broken.load(Ordering::SeqCst)
    }

    /// Nothing more is asked; what is under way ends at its next turn.
    pub fn stop(&mut self, trouble: Option<StepError>) {
        self.watch.broken.store(true, Ordering::SeqCst);
        self.trouble = self.trouble.take().or(trouble);
    }

    /// How many of so many items may be under way by the budget.
    ///
    /// # Errors
    /// The budget has room for none.
    pub fn admit(&self, wanted: usize) -> Result<usize, StepError> {
        let Some(asked) = &self.worker.asked else { return Ok(wanted) };
        self.worker.purse.admit(asked, wanted).map_err(StepError::Budget)
    }

    fn take(&self, took: Tokens) {
        if let Some(asked) = &self.worker.asked {
            self.worker.purse.take(asked, took);
        }
    }

    /// # Errors
    /// What ended the round.
    pub fn check(&mut self) -> Result<(), StepError> {
        match self.trouble.take() {
            Some(trouble) => Err(trouble),
            None if self.broken() => Err(StepError::Paused), // The emitter holds the reason.
            None => Ok(()),
        }
    }

    /// Counts what was taken for items.
    pub fn settle(&self, made: &[(usize, Made)]) {
        made.iter().for_each(|(_, made)| self.take(made.took));
    }

    /// Files what was made of items.
    pub fn file(&mut self, made: Vec<(usize, Made)>) {
        if made.is_empty() || self.worker.emitter.broken() {
            return;
        }
        let (op, label, items, read) = (self.worker.op, self.worker.label, self.lot.items, self.lot.read);
        let took: Vec<(usize, Tokens)> = made.iter().map(|(at, made)| (*at, made.took)).collect();
        let loaded = made.into_par_iter().map(|(at, made)| made.loaded(op, label, &items[at]));
        let filed = file(self.worker.store, loaded.collect(), read).unwrap_or_else(|error| {
            self.stop(Some(error));
            Vec::new()
        });
        for ((at, took), (finished, diverged)) in took.into_iter().zip(filed) {
            let Worker { node, emitter, replay, settled, .. } = &mut *self.worker;
            let name = &self.lot.items[at].name;
            match (&replay, diverged) {
                (Some(replay), diverged) => replay.note(node, name, diverged),
                (None, Some(both)) => emitter.emit(&RunEvent::DamageFound { what: diverged_words(name, &both) }),
                (None, None) => {}
            }
            let missing = settled.and_then(|settled| settled.get(&self.lot.items[at].key));
            let finished = match (&replay, missing) {
                (Some(replay), Some(missing)) if Lack::of(&finished.outcome).is_none() => {
                    replay.note_made(node, name);
                    Finished { outcome: missing.clone(), also: LiteMap::new(), kept: None }
                }
                _ => finished,
            };
            // Of what was made, its record says what it took.
            let took = Lack::of(&finished.outcome).map_or(Tokens::default(), |_| took);
            self.tell(at, &finished.outcome, took);
            let words = finished.kept.as_ref().map(&mut *self.note).unwrap_or_default();
            self.worker.emitter.progress(self.worker.node, self.done, self.lot.items.len() as u64, words);
            if self.worker.emitter.broken() {
                self.stop(None);
            }
            self.lot.finished[at] = Some(finished);
        }
    }

    /// Notes what came to nothing.
    pub fn lost(&mut self, at: usize, Lost { why, took }: Lost) {
        self.take(took);
        let (outcome, passes) = match why {
            Why::Halt(Halt::Pause) => {
                self.paused = true;
                if !took.is_none() {
                    // It is worked anew when the run goes on, and what it took so far is spent.
                    self.retried(at, "paused".to_owned(), took);
                }
                return;
            }
            Why::Failed(problem) if problem.is_general() => {
                let outcome = ItemOutcome::Failed { reason: problem.to_string() };
                self.stop(Some(blame(self.worker.model, problem)));
                (outcome, true)
            }
            Why::Failed(problem) if self.attempt <= self.worker.tolerance.retries => {
                self.retried(at, problem.to_string(), took);
                self.again.push(at);
                return;
            }
            Why::Failed(problem) => (ItemOutcome::Failed { reason: problem.to_string() }, problem.is_transient()),
            Why::Halt(Halt::Timeout) => (ItemOutcome::Timeout, true),
        };
        self.tell(at, &outcome, took);
        self.lot.passing += u64::from(passes);
        self.lot.finished[at] = Some(Finished { outcome, also: LiteMap::new(), kept: None });
    }

    fn retried(&mut self, at: usize, reason: String, took: Tokens) {
        let (node, Item { name: item, key }) = (self.worker.node.to_owned(), self.lot.items[at].clone());
        let attempt = self.attempt;
        self.worker.emitter.emit(&RunEvent::ItemRetried { node, item, key, attempt, reason, took });
    }

    fn tell(&mut self, at: usize, outcome: &ItemOutcome, took: Tokens) {
        tell(self.worker.emitter, self.worker.node, self.lot, at, outcome, took);
        self.done += self.lot.twins[at].len() as u64;
    }
}
