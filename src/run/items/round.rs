//! One round over items: what came of each is filed and told here, and what failed is kept to be worked again.

use super::beside::beside;
use super::{
    AtOnce, Finished, Item, Lot, Made, WorkItems, Worker, apart, diverged_words, file, finish, finished_events,
    together,
};
use crate::model::remote::RemoteError;
use crate::model::{ModelError, Tokens};
use crate::node::lost::{Halt, Lost, Problem, Why};
use crate::plan::bounds::Asks;
use crate::run::budget::Purse;
use crate::run::missing::Lack;
use crate::run::resources::blame;
use crate::run::{Clock, Control, ItemOutcome, RunEvent, StepError};
use litemap::LiteMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One round over items, and what came of it so far. Whoever asks shares nothing with it but its [`Watch`].
pub struct Round<'r, 'w, 'e, 'i, T> {
    worker: &'r mut Worker<'w, 'e>,
    lot: &'r mut Lot<'i, T>,
    note: &'r mut (dyn FnMut(&T) -> String + Send),
    attempt: u32,
    done: u64,
    /// What failed and is to be worked again.
    again: Vec<usize>,
    trouble: Option<StepError>,
    rejections: Rejections,
    watch: Arc<Watch<'r>>,
}

/// Items that an endpoint has rejected in the same words before anything else came of one. Some servers say so of what no
/// request could mend: a wrong key of the one behind them, a model they do not know.
enum Rejections {
    Alike(Option<(u16, String)>, usize),
    Mixed,
}

impl Rejections {
    /// So many are taken to say what the others would meet.
    const ENOUGH: usize = 8;

    /// A problem that every item has, once that is plain.
    fn judge(&mut self, problem: &Problem) -> Option<ModelError> {
        let Problem::Model(ModelError::Remote { problem: RemoteError::Rejected { status, what }, took }) = problem
        else {
            *self = Rejections::Mixed;
            return None;
        };
        let (status, what, took) = (*status, what.clone(), *took);
        let said = (status, what.clone());
        let count = match self {
            Rejections::Alike(None, _) => 1,
            Rejections::Alike(Some(first), count) if *first == said => *count + 1,
            _ => 0,
        };
        *self = if count > 0 { Rejections::Alike(Some(said), count) } else { Rejections::Mixed };
        let problem = RemoteError::AllRejected { status, what, count };
        (count >= Self::ENOUGH).then_some(ModelError::Remote { problem, took })
    }
}

/// What asking goes by: whether more is begun, what the budget has room for, and when work under way is to stop. A pause lets
/// it finish; only trouble stops in the middle of it.
pub struct Watch<'w> {
    control: &'w Control,
    paused: AtomicBool,
    broken: AtomicBool,
    clock: Clock<'w>,
    timeout: Option<u64>,
    purse: &'w Purse<'w>,
    /// Where a budget is held: what an item may take.
    asks: Option<Asks>,
    items: &'w [Item],
}

impl Watch<'_> {
    /// To be asked by the work that begins now.
    pub fn begin(&self) -> impl Fn() -> Option<Halt> + '_ {
        let deadline = self.timeout.map(|timeout| (self.clock)().saturating_add(timeout));
        move || match deadline {
            _ if self.broken() => Some(Halt::Pause),
            Some(deadline) if (self.clock)() > deadline => Some(Halt::Timeout),
            _ => None,
        }
    }

    /// Whether no more is begun.
    pub fn pauses(&self) -> bool {
        if self.control.paused() {
            self.pause();
        }
        self.paused() || self.broken()
    }

    /// How many of so many items may be under way by the budget.
    ///
    /// # Errors
    /// The budget has room for none.
    pub fn admit(&self, wanted: usize) -> Result<usize, StepError> {
        let Some(asks) = &self.asks else { return Ok(wanted) };
        self.purse.admit(asks, wanted).map_err(StepError::Budget)
    }

    /// Counts what an item took: before the next one is admitted, whenever it is filed.
    pub fn take(&self, at: usize, took: Tokens) {
        if let Some(asks) = &self.asks {
            let Item { name, key } = &self.items[at];
            self.purse.made(asks.of_item(name), key, took);
        }
    }

    /// Nothing more is asked; what is under way ends at its next turn.
    pub fn stop(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }

    fn paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    fn broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }
}

impl<'r, 'w, 'e, 'i, T: Clone + Send> Round<'r, 'w, 'e, 'i, T> {
    pub fn new(
        worker: &'r mut Worker<'w, 'e>,
        lot: &'r mut Lot<'i, T>,
        note: &'r mut (dyn FnMut(&T) -> String + Send),
        attempt: u32,
    ) -> Self {
        let watch = Watch {
            control: worker.control,
            paused: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            clock: worker.emitter.clock(),
            timeout: worker.tolerance.timeout.map(|timeout| timeout.0),
            purse: worker.purse,
            asks: worker.asks.clone(),
            items: lot.items,
        };
        let done = lot.count(|_| true);
        Self {
            worker,
            lot,
            note,
            attempt,
            done,
            again: Vec::new(),
            trouble: None,
            rejections: Rejections::Alike(None, 0),
            watch: Arc::new(watch),
        }
    }

    /// What failed is to be worked again, as long as this was not the last attempt: what took too long would take it again.
    ///
    /// # Errors
    /// A pause, trouble that every other item would meet, a store that cannot be written.
    pub fn work(mut self, wanted: &[usize], work: &WorkItems<'_>, at_once: AtOnce) -> Result<Vec<usize>, StepError> {
        let ended = match at_once {
            AtOnce::Apart(most) => beside(&mut self, most, |watch, tell| apart::ask(watch, wanted, work, most, tell)),
            AtOnce::Together(most) => {
                beside(&mut self, together::WAITING, |watch, tell| together::ask(watch, wanted, work, most, tell))
            }
        };
        self.check()?;
        ended?;
        if self.watch.paused() { Err(StepError::Paused) } else { Ok(self.again) }
    }

    pub fn watch(&self) -> Arc<Watch<'r>> {
        self.watch.clone()
    }

    /// Ends the round.
    pub fn stop(&mut self, trouble: StepError) {
        self.watch.stop();
        self.trouble.get_or_insert(trouble);
    }

    /// # Errors
    /// What ended the round.
    fn check(&mut self) -> Result<(), StepError> {
        match self.trouble.take() {
            Some(trouble) => Err(trouble),
            None if self.watch.broken() => Err(StepError::Paused),
            None => Ok(()),
        }
    }

    /// Files what was made of items, also where it cannot be told: it was dear, and is found when the run goes on.
    pub fn file(&mut self, made: Vec<(usize, Made)>) {
        if made.is_empty() {
            return;
        }
        self.rejections = Rejections::Mixed;
        let (op, label, items, read) = (self.worker.op, self.worker.label, self.lot.items, self.lot.read);
        let took: Vec<(usize, Tokens)> = made.iter().map(|(at, made)| (*at, made.took)).collect();
        let loaded = made.into_iter().map(|(at, made)| made.loaded(op, label, &items[at]));
        let ats: Vec<usize> = took.iter().map(|(at, _)| *at).collect();
        let filed = match file(self.worker.store, &ats, loaded.collect(), read) {
            Ok(filed) => filed.into_iter().map(Some).collect(),
            Err(error) => {
                self.stop(error);
                // Some of them may have found room.
                let stored = |at: usize| finish(at, self.worker.store.load(&items[at].key).ok()??, read).ok();
                ats.into_iter().map(|at| Some((stored(at)?, None))).collect::<Vec<_>>()
            }
        };
        let mut events = Vec::with_capacity(2 * filed.len());
        for ((at, took), filed) in took.into_iter().zip(filed) {
            let Some((finished, diverged)) = filed else { continue };
            let Worker { node, replay, settled, .. } = &*self.worker;
            let name = &items[at].name;
            match (&replay, diverged) {
                (Some(replay), diverged) => replay.note(node, name, diverged),
                (None, Some(both)) => events.push(RunEvent::DamageFound { what: diverged_words(name, &both) }),
                (None, None) => {}
            }
            let missing = settled.and_then(|settled| settled.get(&items[at].key));
            let finished = match (&replay, missing) {
                (Some(replay), Some(missing)) if Lack::of(&finished.outcome).is_none() => {
                    replay.note_made(node, name);
                    Finished { outcome: missing.clone(), also: LiteMap::new(), kept: None }
                }
                _ => finished,
            };
            // Of what was made, its record says what it took.
            let took = Lack::of(&finished.outcome).map_or(Tokens::default(), |_| took);
            events.extend(finished_events(node, self.lot, at, &finished.outcome, took));
            self.done += self.lot.twins[at].len() as u64;
            let note = finished.kept.as_ref().map(&mut *self.note).unwrap_or_default();
            let (node, done, total) = ((*node).to_owned(), self.done, items.len() as u64);
            events.push(RunEvent::Progress { node, done, total, note });
            self.lot.finished[at] = Some(finished);
        }
        self.tell(&events);
    }

    /// Where that is not possible, nothing more is begun. What is under way is paid for: it is filed as well.
    fn tell(&mut self, events: &[RunEvent]) {
        self.worker.emitter.emit_all(events);
        if self.worker.emitter.broken() {
            self.watch.pause(); // The emitter holds the reason.
        }
    }

    /// Notes what came to nothing.
    pub fn lost(&mut self, at: usize, Lost { why, took }: Lost) {
        let of_all = match &why {
            Why::Failed(problem) => self.rejections.judge(problem),
            Why::Halt(_) => None,
        };
        let (outcome, passes) = match why {
            Why::Halt(Halt::Pause) => {
                self.watch.pause();
                if !took.is_none() {
                    // It is worked anew when the run goes on, and what it took so far is spent.
                    self.retried(at, "paused".to_owned(), took);
                }
                return;
            }
            Why::Failed(problem) if of_all.is_some() || problem.is_general() => {
                // An item's reason is its own, so that equal ones are counted as one.
                let outcome = ItemOutcome::Failed { reason: problem.to_string() };
                self.stop(match (of_all, problem) {
                    (Some(problem), _) | (None, Problem::Model(problem)) => blame(&self.worker.model, problem),
                    (None, Problem::Environment(problem)) => StepError::Outside(problem),
                });
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
        self.tell(&finished_events(self.worker.node, self.lot, at, &outcome, took));
        self.done += self.lot.twins[at].len() as u64;
        self.lot.passing += u64::from(passes);
        self.lot.finished[at] = Some(Finished { outcome, also: LiteMap::new(), kept: None });
    }

    fn retried(&mut self, at: usize, reason: String, took: Tokens) {
        let (node, Item { name: item, key }) = (self.worker.node.to_owned(), self.lot.items[at].clone());
        let attempt = self.attempt;
        self.tell(&[RunEvent::ItemRetried { node, item, key, attempt, reason, took }]);
    }
}
