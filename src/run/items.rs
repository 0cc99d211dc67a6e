//! Works a step's items: those in the store are taken from it, the others are worked in groups and recorded one by one,
//! as each finishes.
//!
//! # Invariants
//! A group is a range of item indices, whatever is cached. An item is recorded before it is announced. Of what
//! failed or took too long nothing is recorded, but a reply that cannot be read: it counts as failed where the file says so.
//!
//! # Determinism
//! Results stand in the order of the items; the order of finishing is in the journal only.

use crate::base::Digest;
use crate::model::Tokens;
use crate::node::lost::{Halt, Lost, Why};
use crate::node::tolerance::Tolerance;
use crate::plan::Op;
use crate::plan::bounds::Asked;
use crate::run::budget::{self, Purse};
use crate::run::emit::Emitter;
use crate::run::manifest::ManifestItem;
use crate::run::missing::{Lack, MissingItem};
use crate::run::replay::{NOT_RECORDED, Replay};
use crate::run::{Control, ItemCounts, ItemOutcome, RunEvent, RunLabel, StepError};
use crate::store::{Divergence, Loaded, Record, Store, StoreError};
use litemap::LiteMap;
use rayon::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// Items asked together.
pub const GROUP: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// `train-0012/3`
    pub name: String,
    pub key: Digest,
}

/// Further blobs of an item, by role.
pub type Also = BTreeMap<String, Vec<u8>>;

/// What came of an item.
pub struct Made {
    pub output: Vec<u8>,
    pub also: Also,
    pub took: Tokens,
}

/// What an item's bytes are worth.
pub enum Class {
    Done,
    Unparsed,
    Failed(String),
}

/// Reads the bytes of an item, fresh or stored: what they are worth, and what the step keeps of them. The bytes themselves
/// are in the store, and need not be in memory as well. What cannot be read at all is said in words.
pub type Read<'r, T> = &'r (dyn Fn(&[u8], &Also) -> Result<(Class, T), String> + Sync);

pub struct Worked<T> {
    /// In the order of the items, with what was kept of each; `None` for what is missing.
    pub made: Vec<Option<(ManifestItem, T)>>,
    pub missing: Vec<MissingItem>,
    pub counts: ItemCounts,
}

/// Works the items that are asked for: calls back with those that finish, says of each whether it did.
pub type WorkGroup<'f> = &'f mut dyn FnMut(
    &[usize],
    &dyn Fn() -> Option<Halt>,
    &mut dyn FnMut(Vec<(usize, Made)>),
) -> Result<Vec<Result<(), Lost>>, StepError>;

pub struct Worker<'a, 'e> {
    pub node: &'a str,
    pub op: Op,
    pub store: &'a Store,
    pub control: &'a Control,
    pub emitter: &'a mut Emitter<'e>,
    pub replay: Option<&'a Replay>,
    pub purse: &'a Purse<'a>,
    /// Where a budget is held: what an item may take.
    pub asked: Option<Asked>,
    pub tolerance: Tolerance,
    /// Items that are missing whatever would come of them now.
    pub settled: Option<&'a BTreeMap<Digest, ItemOutcome>>,
}

#[derive(Clone, Debug)]
pub(super) struct Finished<T> {
    pub(super) outcome: ItemOutcome,
    also: LiteMap<String, Digest>,
    /// `None` for what is missing and was never made.
    kept: Option<T>,
}

/// What came of an item, and another result for its key that was there before.
type Filed<T> = (Finished<T>, Option<Divergence>);

/// The items of a step, and what has come of each.
struct Lot<'i, T> {
    items: &'i [Item],
    /// Equal keys are one piece of work, of which the first item stands for all: a greedy critic asked twice the same.
    twins: Vec<Vec<usize>>,
    finished: Vec<Option<Finished<T>>>,
    read: Read<'i, T>,
}

impl Worker<'_, '_> {
    /// `note` makes a few words of a fresh item for the watchers.
    ///
    /// # Errors
    /// More failed items than may be missing, a pause, a store that cannot be written.
    pub fn work<T: Clone + Send>(
        mut self,
        items: &[Item],
        read: Read<'_, T>,
        note: &mut dyn FnMut(&T) -> String,
        group: WorkGroup<'_>,
    ) -> Result<Worked<T>, StepError> {
        let mut lot = Lot::stored(self.store, items, read, self.settled)?;
        if let Some(replay) = self.replay {
            lot.recall(replay);
        }
        let cached = lot.count(|it| Lack::of(&it.outcome).is_none());
        self.emitter.tell_damage(self.store);
        self.emitter.emit(&RunEvent::NodeStarted { node: self.node.to_owned(), items: items.len() as u64, cached });
        for (at, finished) in lot.finished.iter().enumerate() {
            if let Some(Finished { outcome, .. }) = finished.as_ref().filter(|it| Lack::of(&it.outcome).is_some()) {
                tell(self.emitter, self.node, &lot, at, outcome, Tokens::default());
            }
        }
        let open = |at: &usize| lot.finished[*at].is_none() && !lot.twins[*at].is_empty();
        let mut wanted: Vec<usize> = (0..items.len()).filter(open).collect();
        let mut attempt = 0;
        while !wanted.is_empty() {
            attempt += 1;
            wanted = self.round(&mut lot, &wanted, attempt, note, group)?;
        }
        lot.collect(cached, self.tolerance)
    }

    /// Works items once. What failed is to be worked again, as long as this was not the last attempt: what took too long would
    /// take it again.
    fn round<T: Clone + Send>(
        &mut self,
        lot: &mut Lot<'_, T>,
        wanted: &[usize],
        attempt: u32,
        note: &mut dyn FnMut(&T) -> String,
        group: WorkGroup<'_>,
    ) -> Result<Vec<usize>, StepError> {
        let Self { node, op, store, control, emitter, replay, purse, asked, tolerance, settled } = self;
        let (clock, total) = (emitter.clock(), lot.items.len() as u64);
        let broken: Cell<bool> = Cell::new(false);
        let trouble: RefCell<Option<StepError>> = RefCell::new(None);
        let (mut again, mut paused) = (Vec::new(), false);
        let mut done = lot.count(|_| true);
        let mut queue: Vec<Vec<usize>> =
            wanted.chunk_by(|a, b| a / GROUP == b / GROUP).map(<[usize]>::to_vec).collect();
        queue.reverse();
        while let Some(mut wanted) = queue.pop() {
            if control.paused() {
                paused = true;
                break;
            }
            if let Some(asked) = &asked {
                // What does not fit with the others may fit once they took less than they might have.
                let admitted = purse.admit(asked, wanted.len()).map_err(StepError::Budget)?;
                if admitted < wanted.len() {
                    queue.push(wanted.split_off(admitted));
                }
            }
            let deadline = tolerance.timeout.map(|timeout| clock().saturating_add(timeout.0));
            // A pause lets the group in flight finish; only trouble stops in the middle of it.
            let halt = || match deadline {
                _ if broken.get() => Some(Halt::Pause),
                Some(deadline) if clock() > deadline => Some(Halt::Timeout),
                _ => None,
            };
            let mut on_done = |made: Vec<(usize, Made)>| {
                if broken.get() {
                    return;
                }
                let (items, read) = (lot.items, lot.read);
                let took: Vec<(usize, Tokens)> = made.iter().map(|(place, made)| (wanted[*place], made.took)).collect();
                if let Some(asked) = &asked {
                    took.iter().for_each(|(_, took)| purse.take(asked, *took));
                }
                let loaded = made.into_par_iter().map(|(place, made)| made.loaded(*op, &items[wanted[place]]));
                let filed = file(store, loaded.collect(), read).unwrap_or_else(|error| {
                    broken.set(true);
                    trouble.replace(Some(error));
                    Vec::new()
                });
                for ((at, took), (finished, diverged)) in took.into_iter().zip(filed) {
                    let name = &lot.items[at].name;
                    match (&replay, diverged) {
                        (Some(replay), diverged) => replay.note(node, name, diverged),
                        (None, Some(both)) => {
                            emitter.emit(&RunEvent::DamageFound { what: diverged_words(name, &both) })
                        }
                        (None, None) => {}
                    }
                    let missing = settled.and_then(|settled| settled.get(&lot.items[at].key));
                    let finished = match (&replay, missing) {
                        (Some(replay), Some(missing)) if Lack::of(&finished.outcome).is_none() => {
                            replay.note_made(node, name);
                            Finished { outcome: missing.clone(), also: LiteMap::new(), kept: None }
                        }
                        _ => finished,
                    };
                    // Of what was made, its record says what it took.
                    let took = Lack::of(&finished.outcome).map_or(Tokens::default(), |_| took);
                    tell(emitter, node, lot, at, &finished.outcome, took);
                    done += lot.twins[at].len() as u64;
                    let words = finished.kept.as_ref().map(&mut *note).unwrap_or_default();
                    emitter.progress(node, done, total, words);
                    broken.set(broken.get() || emitter.broken());
                    lot.finished[at] = Some(finished);
                }
            };
            let results = group(&wanted, &halt, &mut on_done)?;
            for (&at, result) in wanted.iter().zip(results) {
                let Err(Lost { why, took }) = result else { continue };
                if let Some(asked) = &asked {
                    purse.take(asked, took);
                }
                let outcome = match why {
                    Why::Halt(Halt::Pause) => {
                        paused = true;
                        continue;
                    }
                    Why::Failed(problem) if attempt <= tolerance.retries => {
                        let (node, Item { name: item, key }) = ((*node).to_owned(), lot.items[at].clone());
                        let reason = problem.to_string();
                        emitter.emit(&RunEvent::ItemRetried { node, item, key, attempt, reason, took });
                        again.push(at);
                        continue;
                    }
                    Why::Failed(problem) => ItemOutcome::Failed { reason: problem.to_string() },
                    Why::Halt(Halt::Timeout) => ItemOutcome::Timeout,
                };
                tell(emitter, node, lot, at, &outcome, took);
                done += lot.twins[at].len() as u64;
                lot.finished[at] = Some(Finished { outcome, also: LiteMap::new(), kept: None });
            }
            if let Some(error) = trouble.take() {
                return Err(error);
            }
            if broken.get() {
                return Err(StepError::Paused); // The emitter holds the reason.
            }
        }
        if paused { Err(StepError::Paused) } else { Ok(again) }
    }
}

/// Tells what came of an item and its twins, of whom the first took what they took.
fn tell<T>(emitter: &mut Emitter<'_>, node: &str, lot: &Lot<'_, T>, at: usize, outcome: &ItemOutcome, took: Tokens) {
    for &twin in &lot.twins[at] {
        let (node, Item { name: item, key }) = (node.to_owned(), lot.items[twin].clone());
        let took = if twin == at { took } else { Tokens::default() };
        emitter.emit(&RunEvent::ItemFinished { node, item, key, outcome: outcome.clone(), took });
    }
}

impl<'i, T: Clone + Send> Lot<'i, T> {
    /// With what the store has already, and with what is missing for good.
    fn stored(
        store: &Store,
        items: &'i [Item],
        read: Read<'i, T>,
        settled: Option<&BTreeMap<Digest, ItemOutcome>>,
    ) -> Result<Self, StepError> {
        let mut first_of: BTreeMap<Digest, usize> = BTreeMap::new();
        let mut twins: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
        for (index, item) in items.iter().enumerate() {
            let first = *first_of.entry(item.key).or_insert(index);
            twins[first].push(index);
        }
        let load = |(item, twins): (&Item, &Vec<usize>)| -> Result<Option<Finished<T>>, StepError> {
            if twins.is_empty() {
                return Ok(None);
            }
            if let Some(outcome) = settled.and_then(|settled| settled.get(&item.key)) {
                let outcome = outcome.clone();
                return Ok(Some(Finished { outcome, also: LiteMap::new(), kept: None }));
            }
            store.load(&item.key)?.map(|loaded| finish(loaded, read)).transpose()
        };
        let finished = items.par_iter().zip(&twins).map(load).collect::<Result<_, _>>()?;
        Ok(Self { items, twins, finished, read })
    }

    /// Of what the store has, models make again what they are to; what it does not have fails.
    fn recall(&mut self, replay: &Replay) {
        for ((item, twins), finished) in self.items.iter().zip(&self.twins).zip(&mut self.finished) {
            match finished {
                None if !twins.is_empty() => {
                    let outcome = ItemOutcome::Failed { reason: NOT_RECORDED.to_owned() };
                    *finished = Some(Finished { outcome, also: LiteMap::new(), kept: None });
                }
                // Nobody knows what would have come of it.
                Some(Finished { outcome: ItemOutcome::Timeout, .. }) => {}
                // A local model that failed fails again.
                _ if replay.again(&item.key) => *finished = None,
                _ => {}
            }
        }
    }

    /// How many have come to something like this.
    fn count(&self, like: impl Fn(&Finished<T>) -> bool) -> u64 {
        let finished = self.finished.iter().zip(&self.twins).filter(|(it, _)| it.as_ref().is_some_and(&like));
        finished.map(|(_, twins)| twins.len() as u64).sum()
    }

    fn collect(self, cached: u64, tolerance: Tolerance) -> Result<Worked<T>, StepError> {
        let Self { items, twins, finished, read: _ } = self;
        let mut made: Vec<Option<(ManifestItem, T)>> = vec![None; items.len()];
        let mut lacking: BTreeMap<usize, ItemOutcome> = BTreeMap::new();
        for (finished, twins) in
            finished.into_iter().zip(twins).filter_map(|(finished, twins)| Some((finished?, twins)))
        {
            // One has no twin as a rule: what it holds is moved, not copied.
            let copies = std::iter::repeat_n(finished, twins.len());
            for (twin, Finished { outcome, also, kept }) in twins.into_iter().zip(copies) {
                match kept {
                    Some(kept) if Lack::of(&outcome).is_none() => {
                        let Item { name: item, key } = items[twin].clone();
                        made[twin] = Some((ManifestItem { item, key, outcome, also }, kept));
                    }
                    _ => drop(lacking.insert(twin, outcome)),
                }
            }
        }
        let (total, failed) = (items.len() as u64, lacking.len() as u64);
        let counts = ItemCounts { done: total.saturating_sub(cached + failed), cached, failed };
        let allowed = tolerance.max_failed.of(total);
        if let Some((at, outcome)) = lacking.first_key_value()
            && failed > allowed
        {
            let timeouts = lacking.values().filter(|outcome| **outcome == ItemOutcome::Timeout).count() as u64;
            let (item, reason) = (items[*at].name.clone(), reason(outcome, tolerance));
            return Err(StepError::Items { counts, allowed, timeouts, item, reason });
        }
        let missing = lacking.into_iter().filter_map(|(at, outcome)| {
            let Item { name: item, key } = items[at].clone();
            Some(MissingItem { item, key, kind: Lack::of(&outcome)? })
        });
        Ok(Worked { missing: missing.collect(), made, counts })
    }
}

fn reason(outcome: &ItemOutcome, tolerance: Tolerance) -> String {
    match (outcome, tolerance.timeout) {
        (ItemOutcome::Failed { reason }, _) => reason.clone(),
        (_, Some(most)) => format!("it took longer than {} s", most.0 as f64 / 1e3),
        (_, None) => "it took too long".to_owned(),
    }
}

impl Made {
    /// With its record, as it is stored.
    pub(super) fn loaded(self, op: Op, item: &Item) -> Loaded {
        let Self { output, also, took } = self;
        let mut record = Record::new(item.key, op.as_str(), Digest::of_bytes(&output), RunLabel::Seeded);
        for (role, bytes) in &also {
            record = record.also(role, Digest::of_bytes(bytes));
        }
        Loaded { record: budget::file(took, record), output, also }
    }
}

/// Puts items into the store. When another result was recorded for a key first, that one is it: others may have read it
/// already.
pub(super) fn file<T: Send>(store: &Store, made: Vec<Loaded>, read: Read<'_, T>) -> Result<Vec<Filed<T>>, StepError> {
    let diverged = store.file(&made)?;
    let finished = made.into_par_iter().zip(diverged).map(|(mut loaded, diverged)| {
        if let Some(Divergence { first, second: _ }) = &diverged {
            loaded = store.load(&first.key)?.ok_or(StoreError::Missing(first.output))?;
        }
        Ok((finish(loaded, read)?, diverged))
    });
    finished.collect()
}

/// `train-0012/3: worked again, …`
pub(super) fn diverged_words(name: &str, both: &Divergence) -> String {
    let (first, second) = (both.first.output.short(), both.second.output.short());
    format!("{name}: worked again, it gave other bytes ({second}) than were recorded ({first}); the first stay")
}

fn finish<T>(Loaded { record, output, also }: Loaded, read: Read<'_, T>) -> Result<Finished<T>, StepError> {
    let (class, kept) = read(&output, &also).map_err(|problem| StepError::Blob { blob: record.output, problem })?;
    let outcome = match class {
        Class::Done => ItemOutcome::Done { blob: record.output },
        Class::Unparsed => ItemOutcome::Unparsed { blob: record.output },
        Class::Failed(reason) => ItemOutcome::Failed { reason },
    };
    Ok(Finished { outcome, also: record.also, kept: Some(kept) })
}
