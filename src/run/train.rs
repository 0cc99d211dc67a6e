//! Training: kept trajectories and static data in, new weights out.
//!
//! # Determinism
//! Rows stand in one written order and the seed decides every draw. A checkpoint continues to the same bytes.

use crate::base::{Canonical, Digest, Seed, file};
use crate::experiment::{Mixed, ModelId, Sole};
use crate::model::{LanguageModel, Message, ModelError, Tokens, TrainMonitor, TrainProgress, TrainRow, Trained};
use crate::node::key::TrainKey;
use crate::node::labels;
use crate::node::metric::Metric;
use crate::node::template::token_counter;
use crate::node::train::{self, KeptRow};
use crate::node::trajectory::Trajectory;
use crate::plan::{Op, RowsFrom, StepId, TrainFrom, Work, key::resolve};
use crate::run::budget::Purse;
use crate::run::emit::Emitter;
use crate::run::manifest::{Manifest, ManifestItem, RowEntry};
use crate::run::resources::{Resources, Version, read_json};
use crate::run::steps::{Bench, Finished};
use crate::run::{Control, ItemCounts, ItemOutcome, RunEvent, RunLabel, StepError, items, label_of, verdicts};
use crate::store::{Divergence, Loaded, Record};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// What is told of a training beside its weights; kept with them, so that an equal training set tells the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Facts {
    rows: usize,
    steps: u64,
    tokens: u64,
    first_loss: f64,
    last_loss: f64,
}

/// What the one item of a training is called.
const ITEM: &str = "weights";

pub fn run(bench: &mut Bench<'_, '_>, id: StepId) -> Result<Finished, StepError> {
    let step = bench.state.plan.step(id);
    let Work::Train { start, on, mixed, trainer, reference: _, version: _ } = &step.work else {
        unreachable!("called for trainings")
    };
    let resources = bench.resources;
    let start = bench.state.version(start);
    if let TrainFrom::Rows(rows) = on
        && skips(bench, rows)
    {
        bench.emitter.emit(&RunEvent::NodeStarted { node: step.id.clone(), items: 0, cached: 0 });
        let mut manifest = Manifest::new(Op::Train);
        manifest.metrics.push(Metric::plain("rows", 0.0, 0));
        manifest.detail = serde_json::json!({ "trained": false });
        manifest.output = start.weights;
        return Ok(Finished { manifest, counts: ItemCounts::default() });
    }
    let seed = Seed(resources.experiment.seed).derive("train").derive(step.iteration);
    let rows = training_rows(bench, &start, on, mixed.first(), seed)?;
    let spec = &resources.experiment.models[start.model.0].it;
    let config = resolve(&resources.experiment.trainers[trainer.0].it, spec, step.iteration);
    let declared = Version { weights: None, ..start.clone() };
    let key = TrainKey {
        model: resources.version_digest(&declared),
        start: start.weights,
        rows: rows.digest(),
        config: config.clone(),
        seed,
    }
    .key();

    let label = label_of(resources.experiment, step);
    let mut found = stored(bench, &key)?;
    if let Some(replay) = bench.replay {
        if found.is_none() {
            return Err(StepError::NotRecorded);
        }
        // What a GPU trained is as it is recorded.
        found = found.filter(|_| label == RunLabel::Recorded || !replay.again(&key));
    }
    let (record, facts, cached) = match found {
        Some((record, facts)) => {
            bench.emitter.emit(&RunEvent::NodeStarted { node: step.id.clone(), items: 1, cached: 1 });
            bench.emitter.emit(&items::cached_event(&step.id, &items::Item { name: ITEM.to_owned(), key }));
            (record, facts, 1)
        }
        None => {
            bench.emitter.emit(&RunEvent::NodeStarted { node: step.id.clone(), items: 1, cached: 0 });
            let weights = start.weights.map(|digest| resources.store.get(&digest)).transpose()?;
            let checkpoint = bench.scratch.join(format!("{key}.checkpoint"));
            let mut monitor = Monitor {
                node: &step.id,
                control: bench.control,
                purse: bench.purse,
                emitter: bench.emitter,
                checkpoint: &checkpoint,
                unsaved: None,
            };
            let hub = &resources.wire.hub;
            let trained = crate::model::train(spec, weights.as_deref(), &rows, &config, seed, &mut monitor, hub)
                .map_err(|problem| resources.blame(start.model, problem))?;
            let (record, facts) = file(bench, id, key, trained, rows.len())?;
            // The record is there, so what led to it is of no more use.
            let _ = std::fs::remove_file(&checkpoint);
            let outcome = ItemOutcome::Done { blob: record.output };
            let (node, item, took) = (step.id.clone(), ITEM.to_owned(), Tokens::default());
            bench.emitter.emit(&RunEvent::ItemFinished { node, item, key, outcome, took });
            (record, facts, 0)
        }
    };
    let Facts { rows, steps, tokens, first_loss, last_loss } = facts;
    let mut manifest = Manifest::new(Op::Train);
    manifest.metrics = vec![
        Metric::plain("loss", last_loss, 1),
        Metric::plain("loss.first", first_loss, 1),
        Metric::plain("rows", rows as f64, rows),
        Metric::plain("tokens", tokens as f64, rows),
        Metric::plain("steps", steps as f64, rows),
    ];
    manifest.detail = serde_json::json!({ "trained": true });
    let outcome = ItemOutcome::Done { blob: record.output };
    manifest.items = vec![ManifestItem { item: ITEM.to_owned(), key, outcome, shown: Vec::new(), also: record.also }];
    manifest.output = Some(record.output);
    Ok(Finished { manifest, counts: ItemCounts { done: 1 - cached, cached, failed: 0 } })
}

/// Whether the newest selection was too small and its rule says to train on nothing then.
fn skips(bench: &Bench<'_, '_>, rows: &RowsFrom) -> bool {
    let newest = bench.state.resolve(rows).into_iter().max();
    let manifest = newest.and_then(|step| bench.state.manifest(step));
    manifest.and_then(|made| made.detail["skip"].as_bool()).unwrap_or(false)
}

fn stored(bench: &mut Bench<'_, '_>, key: &Digest) -> Result<Option<(Record, Facts)>, StepError> {
    let store = bench.resources.store;
    let found = store.load(key)?;
    bench.emitter.tell_damage(store);
    let Some(Loaded { record, also, .. }) = found else { return Ok(None) };
    let (Some(bytes), Some(blob)) = (also.get("facts"), record.also.get("facts")) else { return Ok(None) };
    let facts = serde_json::from_slice(bytes);
    let facts = facts.map_err(|problem| StepError::Blob { blob: *blob, problem: problem.to_string() })?;
    Ok(Some((record, facts)))
}

/// When other weights were recorded for the key first, those are it: others may have read them already.
fn file(
    bench: &mut Bench<'_, '_>,
    id: StepId,
    key: Digest,
    trained: Trained,
    rows: usize,
) -> Result<(Record, Facts), StepError> {
    let Trained { weights, steps, tokens, first_loss, last_loss } = trained;
    let facts = Facts { rows, steps, tokens, first_loss, last_loss };
    let output = bench.resources.store.put(&weights)?;
    let label = label_of(bench.resources.experiment, bench.state.plan.step(id));
    let record = Record::new(key, Op::Train.as_str(), output, label).also("facts", bench.put_json(&facts)?);
    let diverged = bench.resources.store.record(&record)?;
    let node = &bench.state.plan.step(id).id;
    match (bench.replay, &diverged) {
        (Some(replay), both) => replay.note(node, ITEM, both.clone()),
        (None, Some(both)) => {
            let what = format!("{node}: {}", items::diverged_words(ITEM, both));
            bench.emitter.emit(&RunEvent::DamageFound { what });
        }
        (None, None) => {}
    }
    let Some(Divergence { first, second: _ }) = diverged else { return Ok((record, facts)) };
    let facts = first.also.get("facts").map_or(Ok(facts), |facts| bench.resources.json(facts))?;
    Ok((first, facts))
}

/// All rows in the order in which they are handed to the trainer.
fn training_rows(
    bench: &Bench<'_, '_>,
    start: &Version,
    on: &TrainFrom,
    mixed: Option<&Mixed>,
    seed: Seed,
) -> Result<Vec<TrainRow>, StepError> {
    let resources = bench.resources;
    let own: Vec<KeptRow> = match on {
        TrainFrom::Rows(rows) => kept_rows(bench, start, rows)?,
        TrainFrom::Dataset(dataset) => {
            let examples = resources.examples(*dataset)?;
            let conversations = examples.into_iter().map(|example| example.messages).collect();
            number(encode(resources, start, conversations)?)
        }
        TrainFrom::Through { dataset, critic } => {
            let Sole { model, prompt, answer, on_unparsed: _, sampling: _, kind: _, votes: _ } =
                resources.experiment.sole(*critic);
            let examples = verdicts::labelled(resources, *dataset)?;
            let metric = verdicts::label_metric(resources, *dataset)?;
            let template = &resources.experiment.prompts[prompt.0].it;
            let reader = resources.model(&Version { model: *model, number: 0, weights: None })?;
            let count = token_counter(&*reader).map_err(|problem| resources.blame(*model, problem))?;
            let ask = |example| labels::conversation(example, metric, template, answer, &count);
            let conversations = examples.par_iter().map(ask).collect();
            number(encode(resources, start, conversations)?)
        }
    };
    let others = match mixed {
        None => Vec::new(),
        Some(Mixed { share, dataset }) => {
            let mut examples = resources.examples(*dataset)?;
            let count = train::mixed_count(own.len(), *share)?;
            let drawn = train::draw(examples.len(), count, seed.derive("mixed"));
            let drawn = drawn.into_iter().map(|at| std::mem::take(&mut examples[at].messages)).collect();
            encode(resources, start, drawn)?
        }
    };
    Ok(train::assemble(own, others)?)
}

/// Kept trajectories by the very ids that were sampled; re-encoded only where another model sampled them.
fn kept_rows(bench: &Bench<'_, '_>, start: &Version, rows: &RowsFrom) -> Result<Vec<KeptRow>, StepError> {
    let (resources, state) = (bench.resources, bench.state);
    let sampled_here = state.origins(rows).into_iter().all(|origin| match &state.plan.step(origin).work {
        Work::Rollout(episodes) => same_tokens(resources, episodes.version.model, start.model),
        _ => false,
    });
    let entries = bench.rows(rows)?.rows;
    let store = resources.store;
    let trajectories: Vec<Trajectory> =
        entries.par_iter().map(|entry| read_json(store, &entry.trajectory)).collect::<Result<_, StepError>>()?;
    let (ids, conversations): (Vec<TrainRow>, Vec<Vec<Message>>) =
        trajectories.into_iter().map(|trajectory| (trajectory.row, trajectory.messages)).unzip();
    let ids = if sampled_here { ids } else { encode(resources, start, conversations)? };
    let kept = |(entry, row): (RowEntry, TrainRow)| KeptRow {
        task: entry.task,
        sample: entry.sample,
        iteration: entry.iteration,
        row,
    };
    Ok(entries.into_iter().zip(ids).map(kept).collect())
}

/// Whether both slots declare the same tokenizer and weights.
fn same_tokens(resources: &Resources<'_>, a: ModelId, b: ModelId) -> bool {
    a == b || resources.identities.models[a.0] == resources.identities.models[b.0]
}

fn encode(
    resources: &Resources<'_>,
    version: &Version,
    conversations: Vec<Vec<Message>>,
) -> Result<Vec<TrainRow>, StepError> {
    let model: Arc<dyn LanguageModel> = resources.model(version)?;
    let rows: Result<Vec<TrainRow>, ModelError> =
        conversations.par_iter().map(|messages| model.encode_row(messages)).collect();
    rows.map_err(|problem| resources.blame(version.model, problem))
}

/// Rows of static data in their own order.
fn number(rows: Vec<TrainRow>) -> Vec<KeptRow> {
    let kept = |(at, row): (usize, TrainRow)| KeptRow { task: format!("{at:09}"), sample: 0, iteration: 0, row };
    rows.into_iter().enumerate().map(kept).collect()
}

/// Tells the watchers, listens for a pause, keeps the newest checkpoint in scratch.
struct Monitor<'a, 'e> {
    node: &'a str,
    control: &'a Control,
    purse: &'a Purse<'a>,
    emitter: &'a mut Emitter<'e>,
    checkpoint: &'a Path,
    /// Why the last checkpoint could not be written: the training goes on, an interruption would cost more.
    unsaved: Option<String>,
}

impl TrainMonitor for Monitor<'_, '_> {
    fn progress(&mut self, progress: TrainProgress) {
        let TrainProgress { step, steps, loss, grad_norm: _, tokens: _ } = progress;
        let mut note = format!("loss {loss:.3}");
        if let Some(problem) = &self.unsaved {
            note.push_str(&format!(" (checkpoint not written: {problem})"));
        }
        let node = self.node.to_owned();
        self.emitter.emit(&RunEvent::Progress { node, done: step, total: steps, note });
    }

    fn paused(&mut self) -> bool {
        self.control.paused() || self.emitter.broken() || self.purse.overdue().is_some()
    }

    /// One whose own checksum does not fit counts as none: the training starts over, to the same bytes.
    fn load(&mut self) -> Option<Vec<u8>> {
        let mut bytes = file::read(self.checkpoint, u64::MAX).ok()?;
        let digest: [u8; 32] = bytes.split_off(bytes.len().checked_sub(32)?).try_into().ok()?;
        (Digest::of_bytes(&bytes).as_bytes() == &digest).then_some(bytes)
    }

    fn save(&mut self, checkpoint: &[u8]) {
        self.unsaved = write_checkpoint(self.checkpoint, checkpoint).err().map(|problem| problem.to_string());
    }
}

/// Beside its place, then renamed: a kill leaves the one before or this one.
fn write_checkpoint(path: &Path, checkpoint: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().expect("a checkpoint lies in scratch");
    let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(directory)?;
    file.write_all(checkpoint)?;
    file.write_all(Digest::of_bytes(checkpoint).as_bytes())?;
    file.persist(path)?;
    Ok(())
}
