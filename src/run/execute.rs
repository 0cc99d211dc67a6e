//! Works a plan's steps in order: what is recorded is taken, what is not is worked, what cannot be is said why.
//!
//! # Invariants
//! A step's record is written after its items' and before its last event, so a kill at any moment loses at most what was
//! in flight.

use crate::base::Digest;
use crate::experiment::Experiment;
use crate::plan::{Op, Step, StepId};
use crate::run::budget::Purse;
use crate::run::emit::Emitter;
use crate::run::items::{self, Item};
use crate::run::manifest::{Manifest, ManifestItem};
use crate::run::missing::Settled;
use crate::run::resources::Resources;
use crate::run::said::Said;
use crate::run::state::{Readiness, Standing, State};
use crate::run::steps::{self, Bench, Finished};
use crate::run::{
    Control, FailedStep, ItemCounts, NodeStatus, PauseReason, RunEnd, RunError, RunEvent, RunOptions, RunOutcome,
    StepError,
};
use crate::store::{Loaded, Record, Store, StoreError};
use rayon::prelude::*;
use std::path::Path;

pub struct Executor<'a, 'e> {
    pub run: &'a str,
    pub resources: &'a Resources<'a>,
    pub state: State<'a>,
    pub options: &'a RunOptions,
    pub control: &'a Control,
    pub emitter: Emitter<'e>,
    pub scratch: &'a Path,
    pub purse: Purse<'a>,
    /// What the journal says already of each step, and of what it gave, in a run that goes on.
    pub told: Said<(NodeStatus, Option<Digest>)>,
    /// The items that it goes on without.
    pub settled: Settled,
}

impl Executor<'_, '_> {
    pub fn run(mut self) -> Result<RunOutcome, RunError> {
        let mut failed: Vec<FailedStep> = Vec::new();
        let order = self.state.plan.order.clone();
        for id in order {
            if self.control.paused() {
                return self.pause(None);
            }
            let step = self.state.plan.step(id);
            match self.state.readiness(id) {
                Readiness::Waiting => {}
                Readiness::Skipped(reason) => {
                    self.state.set(id, Standing::Skipped);
                    self.left_out(step, NodeStatus::Skipped, reason);
                }
                Readiness::Blocked(reason) => {
                    self.state.set(id, Standing::Failed);
                    self.left_out(step, NodeStatus::Blocked, reason);
                }
                Readiness::Ready(_) if !failed.is_empty() && !self.options.keep_going => {}
                Readiness::Ready(key) => match self.step(id, key)? {
                    Ok(()) => {}
                    Err(paused @ (StepError::Paused | StepError::Budget(_))) => {
                        self.emitter.check()?;
                        let spent = match paused {
                            StepError::Budget(words) => Some(words),
                            // A training hears of the time as of an interrupt.
                            _ if self.control.paused() => None,
                            _ => self.purse.overdue(),
                        };
                        self.finished(step, NodeStatus::Paused, ItemCounts::default(), None, spent.clone());
                        return self.pause(spent);
                    }
                    Err(error) => {
                        let counts = match &error {
                            StepError::Items { counts, .. } => *counts,
                            _ => ItemCounts::default(),
                        };
                        self.state.set(id, Standing::Failed);
                        self.finished(step, NodeStatus::Failed, counts, None, Some(error.to_string()));
                        let (step, transient) = (step.id.clone(), error.is_transient());
                        failed.push(FailedStep { step, reason: error.to_string(), transient });
                    }
                },
            }
            self.emitter.check()?;
        }
        let winner = self.winner();
        self.emitter.emit(&RunEvent::RunFinished { failed: !failed.is_empty(), winner: winner.clone() });
        self.flush()?;
        let end = if failed.is_empty() { RunEnd::Finished } else { RunEnd::Failed };
        Ok(RunOutcome { run: self.run.to_owned(), end, winner, failed, spent: None })
    }

    /// Takes or works one step.
    fn step(&mut self, id: StepId, key: Digest) -> Result<Result<(), StepError>, RunError> {
        let step = self.state.plan.step(id);
        let decided = steps::decide(self.resources.experiment, &self.state, id);
        // Worked a second time, a step is made anew from its items.
        let replay = self.options.replay.as_deref();
        let recorded = match replay {
            Some(replay) if !replay.takes(step.op) => None,
            // Others may have made what it goes on without.
            _ if self.settled.get(&step.id).is_some_and(|missing| !missing.is_empty()) => None,
            _ => recorded(self.resources.store, &key)?,
        };
        self.emitter.tell_damage(self.resources.store);
        if let Some(recorded) = recorded {
            let (blob, manifest) = match decided {
                // A decision's words hold names, which are in no key: they may be new here.
                Some(decided) => (self.resources.store.put(&decided.to_bytes())?, decided),
                None => recorded,
            };
            let items = manifest.total();
            if !self.is_told(step, blob) {
                self.told.start(&step.id);
                self.emitter.emit(&RunEvent::NodeStarted { node: step.id.clone(), items, cached: items });
                self.emitter.emit_all(&self.owed(step, id, &manifest)?);
                let counts = ItemCounts { done: 0, cached: items, failed: 0 };
                self.finished(step, NodeStatus::Cached, counts, Some((blob, &manifest)), None);
            }
            self.state.set(id, Standing::Done(manifest));
            return Ok(Ok(()));
        }
        self.told.start(&step.id);
        let mut bench = Bench {
            resources: self.resources,
            state: &self.state,
            control: self.control,
            emitter: &mut self.emitter,
            scratch: self.scratch,
            replay,
            purse: &self.purse,
            settled: &self.settled,
        };
        let made = steps::work(&mut bench, id)
            .and_then(|finished| Ok((record(self.resources, key, step, &finished.manifest)?, finished)));
        Ok(made.map(|(blob, Finished { manifest, counts })| {
            self.finished(step, NodeStatus::Done, counts, Some((blob, &manifest)), None);
            self.state.set(id, Standing::Done(manifest));
        }))
    }

    /// Tells those items of a step taken as a whole that this run made and could not tell, and counts them.
    fn owed(&self, step: &Step, id: StepId, manifest: &Manifest) -> Result<Vec<RunEvent>, RunError> {
        let Some(asks) = self.purse.asks(self.state.plan, id) else { return Ok(Vec::new()) };
        let mut owed = Vec::new();
        for ManifestItem { item: name, key, .. } in &manifest.items {
            let took = self.purse.found(&step.id, asks.of_item(name), key, false, self.resources.store)?;
            if !took.is_none() {
                owed.push(items::cached_event(&step.id, &Item { name: name.clone(), key: *key }));
            }
        }
        Ok(owed)
    }

    /// Whether the journal says it already. Where a run that was finished finds what was missing, other things come of it.
    fn is_told(&self, step: &Step, manifest: Digest) -> bool {
        match self.told.get(&step.id) {
            Some((NodeStatus::Done | NodeStatus::Cached, output)) => *output == Some(manifest),
            _ => false,
        }
    }

    fn left_out(&mut self, step: &Step, status: NodeStatus, reason: String) {
        // A skip is for good; what is blocked may be worked once what failed is mended, so it is told at each resume.
        if status != NodeStatus::Skipped || self.told.get(&step.id).is_none_or(|(told, _)| *told != status) {
            self.finished(step, status, ItemCounts::default(), None, Some(reason));
        }
    }

    fn finished(
        &mut self,
        step: &Step,
        status: NodeStatus,
        items: ItemCounts,
        made: Option<(Digest, &Manifest)>,
        reason: Option<String>,
    ) {
        let charge = self.purse.charged();
        if !charge.tokens.is_none() {
            self.emitter.emit(&RunEvent::NodeCharged { node: step.id.clone(), charge });
        }
        self.emitter.emit(&RunEvent::NodeFinished {
            node: step.id.clone(),
            status,
            items,
            output: made.map(|(blob, _)| blob),
            metrics: made.map(|(_, manifest)| manifest.metrics.clone()).unwrap_or_default(),
            detail: made.map(|(_, manifest)| manifest.detail.clone()).unwrap_or_default(),
            reason,
        });
    }

    fn pause(mut self, spent: Option<String>) -> Result<RunOutcome, RunError> {
        let reason = if spent.is_some() { PauseReason::Budget } else { PauseReason::Interrupt };
        self.emitter.emit(&RunEvent::RunPaused { reason });
        self.flush()?;
        Ok(RunOutcome { run: self.run.to_owned(), end: RunEnd::Paused, winner: None, failed: Vec::new(), spent })
    }

    /// Brings the run to the disk: the journal last, as it says that the others are there.
    fn flush(&mut self) -> Result<(), RunError> {
        self.resources.store.flush()?;
        self.emitter.flush()
    }

    /// What the last pick named.
    fn winner(&self) -> Option<String> {
        let picks = self.state.plan.order.iter().rev().filter(|id| self.state.plan.step(**id).op == Op::Pick);
        let mut made = picks.filter_map(|&id| self.state.manifest(id));
        made.next().and_then(|pick| pick.detail["version"].as_str().map(str::to_owned))
    }
}

/// A step's manifest and the blob it is in, when it, every blob it names and the record of each of its items can be read.
fn recorded(store: &Store, key: &Digest) -> Result<Option<(Digest, Manifest)>, RunError> {
    let Some(Loaded { output, record, .. }) = store.load(key)? else { return Ok(None) };
    let Ok(manifest) = Manifest::from_bytes(&output) else { return Ok(None) };
    let whole = manifest.blobs().par_iter().map(|blob| store.holds(blob)).collect::<Result<Vec<bool>, _>>()?;
    let items = manifest.items.par_iter().map(|item| Ok(store.lookup(&item.key)?.is_some()));
    let recorded = items.collect::<Result<Vec<bool>, StoreError>>()?;
    Ok(whole.into_iter().chain(recorded).all(|whole| whole).then_some((record.output, manifest)))
}

/// Keeps what a step made, and says in which blob. Only what is whole is recorded under its key, or another run would take it
/// for that.
fn record(resources: &Resources<'_>, key: Digest, step: &Step, manifest: &Manifest) -> Result<Digest, StepError> {
    let Resources { store, experiment, .. } = resources;
    let blob = store.put(&manifest.to_bytes())?;
    if !manifest.missing.is_empty() {
        return Ok(blob);
    }
    store.record(&due(key, experiment, step, blob, manifest))?;
    Ok(blob)
}

/// What a whole step leaves under its key.
pub(super) fn due(key: Digest, experiment: &Experiment, step: &Step, blob: Digest, manifest: &Manifest) -> Record {
    let mut record = Record::new(key, step.op.as_str(), blob, super::label_of(experiment, step));
    record.items = manifest.items.iter().map(|item| item.key).collect();
    record
}
