//! Turns a step into its key. The written contract of what counts as a change.
//!
//! Configurations are taken apart field by field, so that a new field does not compile until it is in the key or is left
//! out by name. Left out everywhere: names, the place in the file, the device.

use crate::base::{Digest, Hasher, Seed};
use crate::env::{EnvSpec, Split};
use crate::experiment::{CriticId, EnvId, Experiment, MetricRef, Mixed, ModelId, PromptId, Sole, Until};
use crate::model::{ModelSpec, Sampling, TrainConfig};
use crate::node::spec::{CriticKind, Joined, OnUnparsed, TrainerSpec, Votes};
use crate::plan::{Episodes, History, Identities, Judge, Op, Step, StepId, TrainFrom, VersionFrom, Which, Work};
use crate::select;

/// Bumped by hand when what an operation does with the same inputs changes.
pub fn op_rev(op: Op) -> u32 {
    match op {
        Op::Rollout => 1,
        Op::Judge => 1,
        Op::Select => 1,
        Op::Audit => 1,
        Op::Calibrate => 1,
        Op::Train => 1,
        Op::Evaluate => 1,
        Op::Gate => 1,
        Op::Pick => 1,
    }
}

/// The key of a step whose inputs have these keys: as planned, or as it came to be when a loop ended early.
pub fn step_key(step: &Step, skipped: &dyn Fn(StepId) -> bool, key_of: &dyn Fn(StepId) -> Digest) -> Digest {
    let mut hasher = Hasher::new("agx-key/1");
    hasher.put(&step.recipe);
    let reads = step.work.reads(skipped);
    hasher.u64(reads.len() as u64);
    for role in reads {
        hasher.put(&role.into_iter().map(key_of).collect::<Vec<_>>());
    }
    hasher.finish()
}

/// What a step does, apart from the results it reads.
pub struct Recipe<'a> {
    pub experiment: &'a Experiment,
    pub identities: &'a Identities,
}

impl Recipe<'_> {
    pub fn digest(&self, work: &Work, iteration: u32) -> Digest {
        let mut hasher = Hasher::new("agx-recipe/1");
        let op = work.op();
        hasher.str(op.as_str()).put(&op_rev(op));
        let seed = Seed(self.experiment.seed);
        match work {
            Work::Rollout(episodes) => {
                self.episodes(&mut hasher, episodes);
                hasher.put(&seed).put(&iteration);
            }
            // Without the iteration: equal weights share their results.
            Work::Evaluate(episodes) => {
                self.episodes(&mut hasher, episodes);
                hasher.put(&drawn(&episodes.sampling, seed));
            }
            Work::Judge { rows: _, by, joined } => self.judges(&mut hasher, by, *joined),
            Work::Select { rows: _, rule } => {
                let rule = &self.experiment.rules[rule.0].it;
                hasher.put(rule);
                for dataset in rule.datasets() {
                    hasher.put(&self.identities.datasets[dataset]);
                }
                if select::draws(rule) {
                    hasher.put(&seed).put(&iteration);
                }
            }
            Work::Audit { rows: _, metric } => {
                hasher.put(metric);
            }
            Work::Calibrate { by, joined, dataset } => {
                self.judges(&mut hasher, by, *joined);
                hasher.put(&self.identities.datasets[dataset.0]);
            }
            Work::Train { start, on, mixed, trainer, reference, version: _ } => {
                self.version(&mut hasher, start);
                match on {
                    TrainFrom::Rows(_) => hasher.str("rows"),
                    TrainFrom::Dataset(dataset) => hasher.str("dataset").put(&self.identities.datasets[dataset.0]),
                    TrainFrom::Through { dataset, critic } => {
                        hasher.str("through").put(&self.identities.datasets[dataset.0]);
                        self.critic(&mut hasher, *critic);
                        &mut hasher
                    }
                };
                let mut mixed =
                    mixed.iter().map(|Mixed { share, dataset }| (*share, self.identities.datasets[dataset.0]));
                let spec = &self.experiment.models[start.model.0].it;
                let config = resolve(&self.experiment.trainers[trainer.0].it, spec, iteration);
                hasher.put(&mixed.next()).put(&config).put(&seed).put(&iteration);
                // Only where there are such: what was trained before there could be keeps its key.
                mixed.for_each(|more| {
                    hasher.str("mixed").put(&more);
                });
                if let Some(reference) = reference {
                    self.version(hasher.str("reference"), reference);
                }
            }
            Work::Gate { until, history } => {
                until_key(&mut hasher, until, history);
                hasher.put(&history.rounds.first().map(|(_, rounds)| rounds.len()));
            }
            Work::Pick { model: _, metric, among: _ } => {
                hasher.put(metric);
            }
        }
        hasher.finish()
    }

    fn episodes(&self, hasher: &mut Hasher, episodes: &Episodes) {
        let Episodes { version, env, split, prompt, samples, sampling, stream, best_by } = episodes;
        self.version(hasher, version);
        self.env(hasher, *env, split);
        self.prompt(hasher, *prompt);
        hasher.put(samples).put(sampling);
        if *stream > 0 {
            hasher.str("stream").put(stream);
        }
        if !best_by.is_empty() {
            self.judges(hasher.str("best"), best_by, None);
        }
    }

    /// The declared weights, and how one of the versions over them is chosen.
    fn version(&self, hasher: &mut Hasher, version: &VersionFrom) {
        let VersionFrom { model, which } = version;
        self.model(hasher, *model);
        match which {
            Which::Newest(_) => hasher.str("newest"),
            Which::Best { metric, among: _, otherwise: _ } => hasher.str("best").put(metric),
            Which::Picked(_) => hasher.str("picked"),
            // The training itself is an input.
            Which::Trained(_) => hasher.str("newest"),
        };
    }

    fn model(&self, hasher: &mut Hasher, model: ModelId) {
        // The source is in the identity by its contents; the adapter's shape is in the trainer's configuration.
        let ModelSpec { source: _, context, dtype, device: _, lora: _, tool_format } =
            &self.experiment.models[model.0].it;
        hasher.put(&self.identities.models[model.0]).put(context).put(dtype).put(tool_format);
    }

    fn env(&self, hasher: &mut Hasher, env: EnvId, split: &str) {
        let EnvSpec { kind: _, splits, max_steps } = &self.experiment.envs[env.0].it;
        let declared = splits.iter().find(|declared| declared.name == split);
        let tasks = declared.map(|Split { name, size, held_out }| ((name, size), held_out));
        hasher.put(&self.identities.envs[env.0]).put(max_steps).put(&tasks);
    }

    fn prompt(&self, hasher: &mut Hasher, prompt: PromptId) {
        hasher.put(&self.experiment.prompts[prompt.0].it);
    }

    fn judges(&self, hasher: &mut Hasher, by: &[Judge], joined: Option<Joined>) {
        for Judge { critic, version } in by {
            self.version(hasher, version);
            self.critic(hasher, *critic);
        }
        if let Some(joined) = joined {
            hasher.str("panel").str(joined.as_str());
        }
    }

    fn critic(&self, hasher: &mut Hasher, critic: CriticId) {
        let Sole { model, prompt, answer, on_unparsed, sampling, kind, votes } = self.experiment.sole(critic);
        self.model(hasher, *model);
        self.prompt(hasher, *prompt);
        hasher.put(answer).put(sampling).put(&drawn(sampling, Seed(self.experiment.seed))).str(match on_unparsed {
            OnUnparsed::Drop => "drop",
            OnUnparsed::Fail => "fail",
        });
        match kind {
            CriticKind::Each => {}
            CriticKind::Pairs | CriticKind::Group => {
                hasher.str(if *kind == CriticKind::Pairs { "pairs" } else { "group" });
            }
        }
        let Votes { count, by } = votes;
        if *count > 1 {
            hasher.str("votes").put(count).str(by.as_str());
        }
    }
}

/// The recipe of one iteration: per-iteration values chosen, the model's adapter where the trainer names none.
pub fn resolve(trainer: &TrainerSpec, model: &ModelSpec, iteration: u32) -> TrainConfig {
    let TrainerSpec { method, lr, decay, epochs, batch, max_len, clip, weight_decay, lora, accumulate, command } =
        trainer;
    TrainConfig {
        method: method.at(iteration),
        lr: lr.at(iteration),
        decay: decay.at(iteration),
        epochs: epochs.at(iteration),
        batch: batch.at(iteration),
        max_len: *max_len,
        clip: *clip,
        weight_decay: *weight_decay,
        lora: lora.clone().or_else(|| model.lora.clone()),
        accumulate: *accumulate,
        command: command.clone(),
    }
}

/// The seed where it decides anything: a greedy reply draws nothing, so experiments with other seeds share it.
fn drawn(sampling: &Sampling, seed: Seed) -> Option<Seed> {
    (sampling.temperature > 0.0).then_some(seed)
}

/// Names stand as their places in the history: whose metrics they are is said by the keys of the steps that are read.
fn until_key(hasher: &mut Hasher, until: &Until, history: &History) {
    let History { rounds, since: since_steps } = history;
    let metric_key = |hasher: &mut Hasher, MetricRef { name, metric }: &MetricRef| {
        hasher.put(&rounds.iter().position(|(known, _)| known == name)).put(metric);
    };
    match until {
        Until::Stalls { metric, rounds, by, since } => {
            let since = since.as_ref().map(|since| since_steps.iter().position(|(known, _)| known == since));
            metric_key(hasher.str("stalls"), metric);
            hasher.put(rounds).put(by).put(&since);
        }
        Until::Reaches { metric, at_least } => {
            metric_key(hasher.str("reaches"), metric);
            hasher.put(at_least);
        }
        Until::Falls { metric, at_most } => {
            metric_key(hasher.str("falls"), metric);
            hasher.put(at_most);
        }
        Until::Any(parts) => {
            hasher.str("any").u64(parts.len() as u64);
            parts.iter().for_each(|part| until_key(hasher, part, history));
        }
        Until::All(parts) => {
            hasher.str("all").u64(parts.len() as u64);
            parts.iter().for_each(|part| until_key(hasher, part, history));
        }
    }
}
