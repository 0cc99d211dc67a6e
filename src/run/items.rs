//! Works a step's items: those in the store are taken from it, the others are worked in groups and recorded one by one,
//! as each finishes.
//!
//! # Invariants
//! A group is a range of item indices, whatever is cached. An item is recorded before it is announced. Failed items are
//! not recorded.
//!
//! # Determinism
//! Results stand in the order of the items; the order of finishing is in the journal only.

use crate::base::Digest;
use crate::model::ModelError;
use crate::plan::Op;
use crate::plan::bounds::Asked;
use crate::run::budget::{Purse, Tokens};
use crate::run::emit::Emitter;
use crate::run::manifest::ManifestItem;
use crate::run::replay::Replay;
use crate::run::{Control, ItemCounts, ItemOutcome, RunEvent, RunLabel, StepError};
use crate::store::{Divergence, Record, Store};
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

/// What came of an item.
pub struct Made {
    pub output: Vec<u8>,
    /// Further blobs by role.
    pub also: Vec<(&'static str, Vec<u8>)>,
    pub took: Tokens,
}

/// What an item's bytes are worth.
pub enum Class {
    Done,
    Unparsed,
    Failed(String),
}

pub struct Worked {
    pub items: Vec<ManifestItem>,
    /// The outputs' bytes, in the order of the items.
    pub outputs: Vec<Vec<u8>>,
    pub counts: ItemCounts,
}

/// Works the items of a range that are asked for: calls back with each that finishes, says of each whether it did.
pub type WorkGroup<'f> = &'f mut dyn FnMut(
    &[usize],
    &dyn Fn() -> bool,
    &mut dyn FnMut(usize, Made),
) -> Result<Vec<Result<(), ModelError>>, StepError>;

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
}

#[derive(Debug)]
pub(super) struct Finished {
    pub(super) outcome: ItemOutcome,
    also: BTreeMap<String, Digest>,
    output: Vec<u8>,
}

impl Worker<'_, '_> {
    /// `classify` judges an item's bytes, fresh or stored; `note` makes a few words for the watchers.
    ///
    /// # Errors
    /// A failed item, a pause, a store that cannot be written.
    pub fn work(
        self,
        items: &[Item],
        classify: &(dyn Fn(&[u8]) -> Class + Sync),
        note: &mut dyn FnMut(&Made) -> String,
        group: WorkGroup<'_>,
    ) -> Result<Worked, StepError> {
        let Self { node, op, store, control, emitter, replay, purse, asked } = self;
        // Equal keys are one piece of work: a greedy critic asked twice the same.
        let mut first_of: BTreeMap<Digest, usize> = BTreeMap::new();
        let mut twins: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
        for (index, item) in items.iter().enumerate() {
            let first = *first_of.entry(item.key).or_insert(index);
            twins[first].push(index);
        }
        let mut finished: Vec<Option<Finished>> = stored(store, items, &twins, classify)?;
        if let Some(replay) = replay {
            recall(replay, items, &twins, &mut finished)?;
        }
        let loaded = finished.iter().zip(&twins).filter(|(item, _)| item.is_some());
        let cached = loaded.map(|(_, twins)| twins.len() as u64).sum();
        emitter.tell_damage(store);
        emitter.emit(&RunEvent::NodeStarted { node: node.to_owned(), items: items.len() as u64, cached });

        let broken: Cell<bool> = Cell::new(false);
        let trouble: RefCell<Option<StepError>> = RefCell::new(None);
        // A pause lets the group in flight finish; only trouble stops in the middle of it.
        let stop = || broken.get();
        let mut failures: Vec<(usize, String)> = Vec::new();
        let mut paused = false;
        let mut done = cached;
        let mut queue: Vec<Vec<usize>> = Vec::new();
        for start in (0..items.len()).step_by(GROUP) {
            let range = start..items.len().min(start + GROUP);
            queue.push(range.filter(|&at| finished[at].is_none() && !twins[at].is_empty()).collect());
        }
        queue.reverse();
        while let Some(mut wanted) = queue.pop() {
            if wanted.is_empty() {
                continue;
            }
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
            let mut on_done = |place: usize, made: Made| {
                if broken.get() {
                    return;
                }
                let at = wanted[place];
                let words = note(&made);
                if let Some(asked) = &asked {
                    purse.take(asked, made.took);
                }
                match file(store, op, &items[at], made, classify) {
                    Err(error) => {
                        broken.set(true);
                        trouble.replace(Some(error));
                    }
                    Ok((result, diverged)) => {
                        let name = &items[at].name;
                        match (replay, diverged) {
                            (Some(replay), diverged) => replay.note(node, name, diverged),
                            (None, Some(both)) => {
                                emitter.emit(&RunEvent::DamageFound { what: diverged_words(name, &both) })
                            }
                            (None, None) => {}
                        }
                        for &twin in &twins[at] {
                            let Item { name, key } = items[twin].clone();
                            let outcome = result.outcome.clone();
                            emitter.emit(&RunEvent::ItemFinished { node: node.to_owned(), item: name, key, outcome });
                        }
                        done += twins[at].len() as u64;
                        emitter.progress(node, done, items.len() as u64, words);
                        broken.set(emitter.broken());
                        finished[at] = Some(result);
                    }
                }
            };
            let results = group(&wanted, &stop, &mut on_done)?;
            for (&at, result) in wanted.iter().zip(results) {
                match result {
                    Ok(()) => {}
                    Err(ModelError::Paused) => paused = true,
                    Err(problem) => {
                        failures.push((at, problem.to_string()));
                        for &twin in &twins[at] {
                            let Item { name, key } = items[twin].clone();
                            let outcome = ItemOutcome::Failed { reason: problem.to_string() };
                            emitter.emit(&RunEvent::ItemFinished { node: node.to_owned(), item: name, key, outcome });
                        }
                    }
                }
            }
            if let Some(error) = trouble.take() {
                return Err(error);
            }
            if broken.get() {
                return Err(StepError::Paused); // The emitter holds the reason.
            }
        }
        if paused {
            return Err(StepError::Paused);
        }
        collect(items, &twins, finished, failures, cached)
    }
}

/// Of what the store has, models make again what they are to; all of it must be there.
fn recall(
    replay: &Replay,
    items: &[Item],
    twins: &[Vec<usize>],
    finished: &mut [Option<Finished>],
) -> Result<(), StepError> {
    for ((item, twins), finished) in items.iter().zip(twins).zip(finished) {
        if finished.is_none() && !twins.is_empty() {
            return Err(StepError::NotRecorded(item.name.clone()));
        }
        if replay.again(&item.key) {
            *finished = None;
        }
    }
    Ok(())
}

/// What the store already has, twins filled in.
fn stored(
    store: &Store,
    items: &[Item],
    twins: &[Vec<usize>],
    classify: &(dyn Fn(&[u8]) -> Class + Sync),
) -> Result<Vec<Option<Finished>>, StepError> {
    use rayon::prelude::*;
    let load = |(item, twins): (&Item, &Vec<usize>)| -> Result<Option<Finished>, StepError> {
        if twins.is_empty() {
            return Ok(None);
        }
        Ok(store.load(&item.key)?.map(|(record, output)| finish(record, output, classify)))
    };
    items.par_iter().zip(twins).map(load).collect()
}

/// Puts an item into the store. When another result was recorded for its key first, that one is it: others may have read
/// it already.
pub(super) fn file(
    store: &Store,
    op: Op,
    item: &Item,
    made: Made,
    classify: &(dyn Fn(&[u8]) -> Class + Sync),
) -> Result<(Finished, Option<Divergence>), StepError> {
    let Made { mut output, also, took } = made;
    let mut record = took.file(Record::new(item.key, op.as_str(), store.put(&output)?, RunLabel::Seeded));
    for (role, bytes) in also {
        record = record.also(role, store.put(&bytes)?);
    }
    let diverged = store.record(&record)?;
    if let Some(Divergence { first, second: _ }) = &diverged {
        output = store.get(&first.output)?;
        record = first.clone();
    }
    Ok((finish(record, output, classify), diverged))
}

/// `train-0012/3: worked again, …`
pub(super) fn diverged_words(name: &str, both: &Divergence) -> String {
    let (first, second) = (both.first.output.short(), both.second.output.short());
    format!("{name}: worked again, it gave other bytes ({second}) than were recorded ({first}); the first stay")
}

fn finish(record: Record, output: Vec<u8>, classify: &(dyn Fn(&[u8]) -> Class + Sync)) -> Finished {
    let outcome = match classify(&output) {
        Class::Done => ItemOutcome::Done { blob: record.output },
        Class::Unparsed => ItemOutcome::Unparsed { blob: record.output },
        Class::Failed(reason) => ItemOutcome::Failed { reason },
    };
    Finished { outcome, also: record.also, output }
}

fn collect(
    items: &[Item],
    twins: &[Vec<usize>],
    finished: Vec<Option<Finished>>,
    mut failures: Vec<(usize, String)>,
    cached: u64,
) -> Result<Worked, StepError> {
    let mut made: Vec<Option<(ManifestItem, Vec<u8>)>> = vec![None; items.len()];
    for (at, result) in finished.into_iter().enumerate() {
        let Some(Finished { outcome, also, output }) = result else { continue };
        if let ItemOutcome::Failed { reason } = &outcome {
            failures.push((at, reason.clone()));
        }
        for &twin in &twins[at] {
            let Item { name, key } = items[twin].clone();
            let item = ManifestItem { item: name, key, outcome: outcome.clone(), also: also.clone() };
            made[twin] = Some((item, output.clone()));
        }
    }
    let failed = failures.iter().map(|(at, _)| twins[*at].len() as u64).sum();
    let total = items.len() as u64;
    if let Some((at, reason)) = failures.into_iter().min() {
        let counts = ItemCounts { done: total.saturating_sub(cached + failed), cached, failed };
        return Err(StepError::Items { counts, item: items[at].name.clone(), reason });
    }
    let (items, outputs): (Vec<_>, Vec<_>) = made.into_iter().flatten().unzip();
    let counts = ItemCounts { done: total - cached, cached, failed: 0 };
    Ok(Worked { items, outputs, counts })
}
