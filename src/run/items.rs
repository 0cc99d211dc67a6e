//! Works a step's items: those in the store are taken from it, the others are worked in groups ([`together`]), or each by
//! itself where a model is asked many at once ([`apart`]), and recorded as they finish ([`round`]).
//!
//! # Invariants
//! An item is recorded before it is announced. Of what failed or took too long nothing is recorded, but a reply that cannot
//! be read: it counts as failed where the file says so.
//!
//! # Determinism
//! Results stand in the order of the items; the order of finishing is in the journal only.

mod apart;
mod beside;
mod round;
mod together;

use crate::base::Digest;
use crate::model::Tokens;
use crate::node::lost::{Halt, Lost};
use crate::node::tolerance::Tolerance;
use crate::plan::Op;
use crate::plan::bounds::Asks;
use crate::run::budget::{self, Purse};
use crate::run::emit::Emitter;
use crate::run::manifest::ManifestItem;
use crate::run::missing::{Lack, MissingItem};
use crate::run::replay::{NOT_RECORDED, Replay};
use crate::run::{Control, ItemCounts, ItemOutcome, RunEvent, RunLabel, StepError};
use crate::store::{Divergence, Loaded, Record, Store, StoreError};
use litemap::LiteMap;
use rayon::prelude::*;
use round::Round;
use std::collections::BTreeMap;

/// Items found in the store are told so many with one write.
const TOLD_AT_ONCE: usize = 4096;

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

/// Reads the bytes of the item of a place, fresh or stored: what they are worth, and what the step keeps of them. The bytes
/// themselves are in the store, and need not be in memory as well. What cannot be read at all is said in words.
pub type Read<'r, T> = &'r (dyn Fn(usize, &[u8], &Also) -> Result<(Class, T), String> + Sync);

pub struct Worked<T> {
    /// In the order of the items, with what was kept of each; `None` for what is missing.
    pub made: Vec<Option<(ManifestItem, T)>>,
    pub missing: Vec<MissingItem>,
    pub counts: ItemCounts,
}

/// Works the items that are asked for: calls back with those that finish, by their places, says of each whether it did.
pub type WorkItems<'f> = dyn Fn(
        &[usize],
        &dyn Fn() -> Option<Halt>,
        &mut dyn FnMut(Vec<(usize, Made)>),
    ) -> Result<Vec<Result<(), Lost>>, StepError>
    + Sync
    + 'f;

/// How items are worked, made once it is known that some are.
pub struct Ready<'f> {
    pub work: Box<WorkItems<'f>>,
    pub at_once: AtOnce,
}

/// How many items are under way.
#[derive(Clone, Copy)]
pub enum AtOnce {
    /// So many, each by itself.
    Apart(usize),
    /// In groups of so many at the most.
    Together(usize),
}

pub struct Worker<'a, 'e> {
    pub node: &'a str,
    pub op: Op,
    /// The name of the model that answers; of several, their names.
    pub model: String,
    /// How far what it says can be trusted.
    pub label: RunLabel,
    pub store: &'a Store,
    pub control: &'a Control,
    pub emitter: &'a mut Emitter<'e>,
    pub replay: Option<&'a Replay>,
    pub purse: &'a Purse<'a>,
    /// Where a budget is held: what an item may take.
    pub asks: Option<Asks>,
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
    /// Of those that failed, how many may go well another time.
    passing: u64,
}

impl Worker<'_, '_> {
    /// `note` makes a few words of a fresh item for the watchers.
    ///
    /// # Errors
    /// More failed items than may be missing, a pause, a store that cannot be written.
    pub fn work<'r, T: Clone + Send>(
        mut self,
        items: &[Item],
        read: Read<'_, T>,
        note: &mut (dyn FnMut(&T) -> String + Send),
        ready: &dyn Fn() -> Result<Ready<'r>, StepError>,
    ) -> Result<Worked<T>, StepError> {
        let mut lot = Lot::stored(self.store, items, read, self.settled)?;
        if let Some(replay) = self.replay {
            lot.recall(replay, self.label);
        }
        let cached = lot.count(|it| Lack::of(&it.outcome).is_none());
        self.emitter.tell_damage(self.store);
        self.emitter.emit(&RunEvent::NodeStarted { node: self.node.to_owned(), items: items.len() as u64, cached });
        let found: Vec<(usize, &ItemOutcome)> =
            lot.finished.iter().enumerate().filter_map(|(at, it)| Some((at, &it.as_ref()?.outcome))).collect();
        for found in found.chunks(TOLD_AT_ONCE) {
            let mut events = Vec::with_capacity(found.len());
            for &(at, outcome) in found {
                let lacks = Lack::of(outcome).is_some();
                let took = self.owed(&items[at], lacks)?;
                events.extend(if lacks {
                    finished_events(self.node, &lot, at, outcome, took)
                } else {
                    lot.twins[at].iter().map(|&twin| cached_event(self.node, &items[twin])).collect()
                });
            }
            self.emitter.emit_all(&events);
        }
        if self.emitter.broken() {
            return Err(StepError::Paused); // The emitter holds the reason.
        }
        let open = |at: &usize| lot.finished[*at].is_none() && !lot.twins[*at].is_empty();
        let mut wanted: Vec<usize> = (0..items.len()).filter(open).collect();
        if !wanted.is_empty() {
            let Ready { work, at_once } = ready()?;
            for attempt in 1.. {
                wanted = Round::new(&mut self, &mut lot, note, attempt).work(&wanted, &*work, at_once)?;
                if wanted.is_empty() {
                    break;
                }
            }
        }
        lot.collect(cached, self.tolerance)
    }

    /// What an item that was found takes from the budget: something where the run made it and could not say so.
    fn owed(&self, item: &Item, lacks: bool) -> Result<Tokens, StoreError> {
        let Some(asks) = &self.asks else { return Ok(Tokens::default()) };
        self.purse.found(self.node, asks.of_item(&item.name), &item.key, lacks, self.store)
    }
}

pub(super) fn cached_event(node: &str, Item { name, key }: &Item) -> RunEvent {
    RunEvent::ItemCached { node: node.to_owned(), item: name.clone(), key: *key }
}

/// What came of an item and its twins, of whom the first took what they took.
fn finished_events<T>(node: &str, lot: &Lot<'_, T>, at: usize, outcome: &ItemOutcome, took: Tokens) -> Vec<RunEvent> {
    let event = |&twin: &usize| {
        let (node, Item { name: item, key }) = (node.to_owned(), lot.items[twin].clone());
        let took = if twin == at { took } else { Tokens::default() };
        RunEvent::ItemFinished { node, item, key, outcome: outcome.clone(), took }
    };
    lot.twins[at].iter().map(event).collect()
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
        let load = |(at, (item, twins)): (usize, (&Item, &Vec<usize>))| -> Result<Option<Finished<T>>, StepError> {
            if twins.is_empty() {
                return Ok(None);
            }
            if let Some(outcome) = settled.and_then(|settled| settled.get(&item.key)) {
                let outcome = outcome.clone();
                return Ok(Some(Finished { outcome, also: LiteMap::new(), kept: None }));
            }
            store.load(&item.key)?.map(|loaded| finish(at, loaded, read)).transpose()
        };
        let finished = items.par_iter().zip(&twins).enumerate().map(load).collect::<Result<_, _>>()?;
        Ok(Self { items, twins, finished, read, passing: 0 })
    }

    /// Of what the store has, models make again what they are to; what it does not have fails.
    fn recall(&mut self, replay: &Replay, label: RunLabel) {
        let stored = |(item, finished): (&'i Item, &Option<Finished<T>>)| {
            finished.as_ref().filter(|it| it.outcome != ItemOutcome::Timeout).map(|_| &item.key)
        };
        let first = replay.first(self.items.iter().zip(&self.finished).filter_map(stored));
        for ((item, twins), finished) in self.items.iter().zip(&self.twins).zip(&mut self.finished) {
            match finished {
                None if !twins.is_empty() => {
                    let outcome = ItemOutcome::Failed { reason: NOT_RECORDED.to_owned() };
                    *finished = Some(Finished { outcome, also: LiteMap::new(), kept: None });
                }
                // Nobody knows what would have come of it.
                Some(Finished { outcome: ItemOutcome::Timeout, .. }) => {}
                // What an endpoint said is the truth: it may say something else now.
                _ if label == RunLabel::Recorded => {}
                // A local model that failed fails again.
                _ if replay.again(&item.key) || first == Some(&item.key) => *finished = None,
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
        let Self { items, twins, finished, read: _, passing } = self;
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
                        made[twin] = Some((ManifestItem { item, key, outcome, shown: Vec::new(), also }, kept));
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
            let (item, reason) = (items[*at].name.clone(), reason(outcome, tolerance));
            return Err(StepError::Items { counts, allowed, passing, item, reason });
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
    pub(super) fn loaded(self, op: Op, label: RunLabel, item: &Item) -> Loaded {
        let Self { output, also, took } = self;
        let mut record = Record::new(item.key, op.as_str(), Digest::of_bytes(&output), label);
        for (role, bytes) in &also {
            record = record.also(role, Digest::of_bytes(bytes));
        }
        Loaded { record: budget::file(took, record), output, also }
    }
}

/// Puts items into the store. When another result was recorded for a key first, that one is it: others may have read it
/// already.
pub(super) fn file<T>(
    store: &Store,
    at: &[usize],
    made: Vec<Loaded>,
    read: Read<'_, T>,
) -> Result<Vec<Filed<T>>, StepError> {
    let diverged = store.file(&made)?;
    let finished = at.iter().zip(made).zip(diverged).map(|((at, mut loaded), diverged)| {
        if let Some(Divergence { first, second: _ }) = &diverged {
            loaded = store.load(&first.key)?.ok_or(StoreError::Missing(first.output))?;
        }
        Ok((finish(*at, loaded, read)?, diverged))
    });
    finished.collect()
}

/// `train-0012/3: worked again, …`
pub(super) fn diverged_words(name: &str, both: &Divergence) -> String {
    let (first, second) = (both.first.output.short(), both.second.output.short());
    format!("{name}: worked again, it gave other bytes ({second}) than were recorded ({first}); the first stay")
}

fn finish<T>(at: usize, Loaded { record, output, also }: Loaded, read: Read<'_, T>) -> Result<Finished<T>, StepError> {
    let (class, kept) = read(at, &output, &also).map_err(|problem| StepError::Blob { blob: record.output, problem })?;
    let outcome = match class {
        Class::Done => ItemOutcome::Done { blob: record.output },
        Class::Unparsed => ItemOutcome::Unparsed { blob: record.output },
        Class::Failed(reason) => ItemOutcome::Failed { reason },
    };
    Ok(Finished { outcome, also: record.also, kept: Some(kept) })
}
