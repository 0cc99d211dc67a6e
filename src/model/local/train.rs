//! Turns rows of tokens into new weights: supervised fine-tuning of all weights or of a low-rank adapter.
//!
//! A step takes `batch` rows, packs them side by side without padding, and minimises
//! `−Σ log p(token) / (number of trained tokens)` over the whole batch by AdamW (β₁ 0.9, β₂ 0.95, ε 1e-8). A batch of many
//! tokens goes through in chunks of whole rows whose gradients add up to the batch's.
//!
//! # Determinism
//! The order of rows, the chunks and every sum are fixed by rows, recipe and seed; not by memory, threads or clock. A
//! training that goes on from a checkpoint ends in the same bytes as one that was never interrupted.
//!
//! # Invariants
//! No row is cut, padded or skipped; no variable is left without a gradient.

use super::checkpoint::{self, Checkpoint, Progress};
use super::decoder::{Decoder, Parameters, tensor};
use super::engine::{Learner, Way};
use super::engine_error;
use super::gpu;
use super::kernels::Hold;
use super::kernels::math::cos_sin;
use super::learner;
use super::lora::{self, Adapter, Version};
use super::ops::{Dropout, Goal, Segments};
use super::optim::{AdamW, AdamWConfig};
use super::source::{self, Declared};
use super::weights::Arrays;
use crate::base::{Digest, Hasher, Seed};
use crate::model::{
    Decay, LossOn, Method, ModelError, ModelSpec, TrainConfig, TrainMonitor, TrainProgress, TrainRow, Trained,
};
use candle_core::Var;
use std::collections::BTreeMap;

/// Rows of a batch go forward together up to this many tokens.
const CHUNK_TOKENS: usize = 2048;
/// Arithmetic between two checkpoints, in operations: some twenty seconds of two cores.
const CHECKPOINT_WORK: f64 = 4e12;
/// The share of the peak at which a cosine ends.
const COSINE_FLOOR: f64 = 0.1;

fn failed(problem: impl std::fmt::Display) -> ModelError {
    ModelError::Training(problem.to_string())
}

/// See [`crate::model::train`].
pub fn train(
    spec: &ModelSpec,
    start: Option<&[u8]>,
    rows: &[TrainRow],
    config: &TrainConfig,
    seed: Seed,
    monitor: &mut dyn TrainMonitor,
) -> Result<Trained, ModelError> {
    let declared = source::declared(spec)?;
    check(&declared, spec, rows, config)?;
    let training = training_digest(spec, start, rows, config, seed)?;
    let _memory = Hold::new();
    let mut run = Run::new(&declared, spec, start, config, seed)?;
    let mut progress = Progress::default();
    if let Some(checkpoint) = monitor.load().and_then(|bytes| checkpoint::read(training, &bytes)) {
        progress = checkpoint.progress;
        run.learner.restore(checkpoint.state).map_err(failed)?;
    }
    let per_epoch = rows.len().div_ceil(config.batch as usize) as u64;
    let steps = per_epoch * u64::from(config.epochs);
    let checkpoint_tokens = (CHECKPOINT_WORK / (6.0 * declared.shape.weights() as f64)) as u64;
    let mut saved_at = progress.tokens;
    let mut epoch = (u64::MAX, Vec::new());
    while progress.step < steps {
        if monitor.paused() {
            monitor.save(&run.checkpoint(training, progress)?);
            return Err(ModelError::Paused);
        }
        let number = progress.step / per_epoch;
        if epoch.0 != number {
            epoch = (number, order(rows.len(), seed, number));
        }
        let from = (progress.step % per_epoch) as usize * config.batch as usize;
        let to = rows.len().min(from + config.batch as usize);
        let batch: Vec<&TrainRow> = epoch.1[from..to].iter().map(|index| &rows[*index]).collect();
        let rate = rate(config, progress.step, steps);
        // On a thread of the pool, where a product's parts need nobody to be woken for each.
        let (loss, grad_norm) = rayon::scope(|_| run.step(&batch, progress.step, rate))?;
        if progress.step == 0 {
            progress.first_loss = loss;
        }
        progress.last_loss = loss;
        progress.step += 1;
        progress.tokens += batch.iter().map(|row| row.tokens.len() as u64).sum::<u64>();
        let Progress { step, tokens, .. } = progress;
        monitor.progress(TrainProgress { step, steps, loss, grad_norm, tokens });
        if tokens - saved_at >= checkpoint_tokens && step < steps {
            monitor.save(&run.checkpoint(training, progress)?);
            saved_at = tokens;
        }
    }
    let Progress { step, tokens, first_loss, last_loss } = progress;
    let weights = lora::write(&run.version(&declared)?);
    Ok(Trained { weights, steps: step, tokens, first_loss, last_loss })
}

/// Which tokens count. The other methods are a later version's.
fn loss_on(config: &TrainConfig) -> Result<LossOn, ModelError> {
    match config.method {
        Method::Sft { loss_on } if config.command.is_none() => Ok(loss_on),
        _ => Err(ModelError::Later),
    }
}

/// Refuses rows and recipes that cannot be trained on.
fn check(declared: &Declared, spec: &ModelSpec, rows: &[TrainRow], config: &TrainConfig) -> Result<(), ModelError> {
    let loss_on = loss_on(config)?;
    if rows.is_empty() {
        return Err(failed("there are no rows to learn from"));
    }
    if config.batch == 0 || config.epochs == 0 {
        return Err(failed("batch and epochs must be at least 1"));
    }
    let sane = |value: f64| value.is_finite() && value >= 0.0;
    let warmup = config.decay.warmup();
    if !sane(config.lr) || !sane(config.clip) || !sane(config.weight_decay) || !(0.0..=1.0).contains(&warmup) {
        return Err(failed("lr, clip and weight decay must be at least 0, warm-up a share from 0 to 1"));
    }
    config.lora.as_ref().map_or(Ok(()), lora::check)?;
    let most = config.max_len.unwrap_or(spec.context).min(spec.context) as usize;
    for (index, row) in rows.iter().enumerate() {
        let TrainRow { tokens, learn } = row;
        if tokens.len() != learn.len() {
            return Err(failed(format!("row {index} has {} tokens and {} marks", tokens.len(), learn.len())));
        }
        if tokens.len() > most {
            return Err(failed(format!("row {index} has {} tokens; at most {most} are allowed", tokens.len())));
        }
        if let Some(id) = tokens.iter().find(|id| **id as usize >= declared.shape.vocab) {
            return Err(failed(format!("row {index} holds token {id}, which is outside the vocabulary")));
        }
        if targets(row, loss_on).all(|(_, learn)| !learn) {
            return Err(failed(format!("row {index} has no token to learn")));
        }
    }
    Ok(())
}

/// What each position but the last is to predict, and whether it counts.
fn targets(row: &TrainRow, loss_on: LossOn) -> impl Iterator<Item = (u32, bool)> {
    let all = loss_on == LossOn::All;
    row.tokens.iter().zip(&row.learn).skip(1).map(move |(token, learn)| (*token, all || *learn))
}

fn training_digest(
    spec: &ModelSpec,
    start: Option<&[u8]>,
    rows: &[TrainRow],
    config: &TrainConfig,
    seed: Seed,
) -> Result<Digest, ModelError> {
    let mut hasher = Hasher::new("agx-training/1");
    hasher.put(&source::identity(spec)?).put(&start.map(Digest::of_bytes)).put(rows).put(config).put(&seed);
    Ok(hasher.finish())
}

/// The order of the rows in one epoch.
fn order(rows: usize, seed: Seed, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    seed.derive("epoch").derive(epoch).rng().shuffle(&mut order);
    order
}

/// The learning rate of a step, counted from zero.
pub(super) fn rate(config: &TrainConfig, step: u64, steps: u64) -> f64 {
    let warmup = config.decay.warmup();
    let warm = (warmup * steps as f64).ceil();
    let step = step as f64;
    if step < warm {
        return config.lr * (step + 1.0) / warm;
    }
    match config.decay {
        Decay::Constant { .. } => config.lr,
        Decay::Linear { .. } => config.lr * (1.0 - (step - warm) / (steps as f64 - warm).max(1.0)),
        Decay::Cosine { .. } => {
            let done = (step - warm) / (steps as f64 - warm).max(1.0);
            let (cosine, _) = cos_sin(std::f64::consts::PI * done);
            config.lr * (COSINE_FLOOR + (1.0 - COSINE_FLOOR) * 0.5 * (1.0 + cosine))
        }
    }
}

/// A training on its way.
struct Run<'a> {
    config: &'a TrainConfig,
    seed: Seed,
    learner: Box<dyn Learner>,
    output: Output,
}

/// What the variables become in the end.
enum Output {
    Full,
    Adapter,
    /// An adapter over weights that are not the declared ones: merged, so that the version opens over the declared.
    Merged(Arrays),
}

impl<'a> Run<'a> {
    fn new(
        declared: &Declared,
        spec: &ModelSpec,
        start: Option<&[u8]>,
        config: &'a TrainConfig,
        seed: Seed,
    ) -> Result<Self, ModelError> {
        let shape = &declared.shape;
        let context = spec.context as usize;
        let base = declared.weights(spec)?;
        let start = start.map(|bytes| lora::read(bytes, spec.lora.as_ref())).transpose()?;
        let merge = |base, start: Option<Version>| match start {
            Some(version) => lora::apply(shape, base, version),
            None => Ok(base),
        };
        let (base, learning, output) = match &config.lora {
            None => (Arrays::new(), merge(base, start)?, Output::Full),
            Some(lora) => {
                let (base, adapters, output) = match start {
                    Some(Version::Adapter(adapter)) if lora::fits(shape, lora, &adapter) => {
                        (base, adapter.arrays, Output::Adapter)
                    }
                    None => (base, lora::fresh(shape, lora, seed.derive("adapter")), Output::Adapter),
                    other => {
                        let base = merge(base, other)?;
                        (base.clone(), lora::fresh(shape, lora, seed.derive("adapter")), Output::Merged(base))
                    }
                };
                (base, adapters, output)
            }
        };
        let adam = AdamWConfig { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: config.weight_decay };
        let scale = config.lora.as_ref().map_or(1.0, lora::scale);
        let place = gpu::place(spec)?;
        let learner = move || -> candle_core::Result<Box<dyn Learner>> {
            if let Some(place) = &place {
                return Ok(Box::new(gpu::Learning::new(shape, base, &learning, scale, context, place, adam)?));
            }
            let variables = variables(&learning)?;
            drop(learning);
            let parameters = match &config.lora {
                None => Parameters::Full(&variables),
                Some(_) => Parameters::Lora { base, adapters: &variables, scale },
            };
            let decoder = Decoder::new(shape, parameters, context)?;
            Ok(Box::new(learner::Trained::new(decoder, AdamW::new(variables, adam))))
        };
        Ok(Self { config, seed, learner: learner().map_err(engine_error)?, output })
    }

    /// One optimiser step; gives the loss and the norm of the gradient before clipping.
    fn step(&mut self, batch: &[&TrainRow], step: u64, lr: f64) -> Result<(f64, f64), ModelError> {
        let loss_on = loss_on(self.config)?;
        let counted = |row: &&TrainRow| targets(row, loss_on).filter(|(_, learn)| *learn).count();
        let total = batch.iter().map(counted).sum::<usize>() as f64;
        let mut loss = 0.0;
        for (number, chunk) in chunks(batch, self.config.accumulate as usize).into_iter().enumerate() {
            let seed = self.seed.derive("dropout").derive(step).derive(number);
            loss += self.learn(&chunk, loss_on, total, seed).map_err(engine_error)?;
            if !loss.is_finite() {
                return Err(failed(format!("the loss of step {} is not finite; a lower lr may help", step + 1)));
            }
        }
        let norm = self.learner.norm().map_err(failed)?;
        if !norm.is_finite() {
            return Err(failed(format!("the gradient of step {} is not finite; a lower lr may help", step + 1)));
        }
        let clip = self.config.clip;
        let scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
        self.learner.update(lr, scale).map_err(engine_error)?;
        Ok((loss, norm))
    }

    /// What some rows of a batch add to its loss and its gradients; `total` tokens of the batch count.
    fn learn(&mut self, rows: &[&TrainRow], loss_on: LossOn, total: f64, seed: Seed) -> candle_core::Result<f64> {
        let inputs = |row: &&TrainRow| row.tokens.len() - 1;
        let segments = Segments::from_lengths(rows.iter().map(inputs));
        let ids: Vec<u32> = rows.iter().flat_map(|row| row.tokens[..row.tokens.len() - 1].iter().copied()).collect();
        let (targets, weights): (Vec<u32>, Vec<f32>) = rows
            .iter()
            .flat_map(|row| targets(row, loss_on))
            .map(|(target, learn)| (target, if learn { 1.0 } else { 0.0 }))
            .unzip();
        let rate = self.config.lora.as_ref().map_or(0.0, |lora| lora.dropout);
        let dropout = (rate > 0.0).then_some(Dropout { rate, seed });
        let way = Way { dropout, recompute: self.config.recompute };
        self.learner.learn(&ids, segments, &Goal::new(&targets, &weights, total)?, &way)
    }

    fn checkpoint(&self, training: Digest, progress: Progress) -> Result<Vec<u8>, ModelError> {
        let state = self.learner.state().map_err(engine_error)?;
        Ok(checkpoint::write(training, Checkpoint { progress, state }))
    }

    fn version(self, declared: &Declared) -> Result<Version, ModelError> {
        let arrays = self.learner.state().map_err(engine_error)?.variables;
        let adapter = |arrays| {
            let lora = self.config.lora.as_ref().expect("invariant: adapters come from a LoRA recipe");
            Version::Adapter(Adapter { arrays, scale: lora::scale(lora) })
        };
        match self.output {
            Output::Full => Ok(Version::Full(arrays)),
            Output::Adapter => Ok(adapter(arrays)),
            Output::Merged(base) => Ok(Version::Full(lora::apply(&declared.shape, base, adapter(arrays))?)),
        }
    }
}

pub(super) fn variables(arrays: &Arrays) -> candle_core::Result<BTreeMap<String, Var>> {
    arrays.iter().map(|(name, array)| Ok((name.clone(), Var::from_tensor(&tensor(array)?)?))).collect()
}

/// The rows of a batch in `parts` runs or more, each of at most [`CHUNK_TOKENS`] tokens, one row at least.
fn chunks<'r>(batch: &[&'r TrainRow], parts: usize) -> Vec<Vec<&'r TrainRow>> {
    let most = batch.len().div_ceil(parts.max(1));
    let mut chunks: Vec<Vec<&TrainRow>> = Vec::new();
    let mut tokens = usize::MAX;
    for row in batch {
        tokens = tokens.saturating_add(row.tokens.len());
        match chunks.last_mut() {
            Some(chunk) if tokens <= CHUNK_TOKENS && chunk.len() < most => chunk.push(row),
            _ => {
                tokens = row.tokens.len();
                chunks.push(vec![row]);
            }
        }
    }
    chunks
}
