//! Turns a step into its key, and into the named parts that the key is made of.
//!
//! Configurations are taken apart field by field, so that a new field does not compile until it is in the key or is left
//! out by name. Left out everywhere: names, the place in the file. The contract in words, for every field of a
//! file, is [`keyed`](super::keyed).

use crate::base::{Canonical, Digest, Hasher, Seed};
use crate::env::{EnvSpec, Split};
use crate::experiment::{
    CriticId, DatasetId, EnvId, Experiment, MetricRef, Mixed, ModelId, Named, PromptId, Sole, Until,
};
use crate::model::{ModelSpec, Sampling, ToolCalls, TrainConfig};
use crate::node::key::{EvaluateKey, JudgeKey, RolloutKey, TrainKey};
use crate::node::spec::{CriticKind, Joined, TrainerSpec, Votes};
use crate::plan::{Episodes, History, Identities, Judge, Op, Step, StepId, TrainFrom, VersionFrom, Which, Work};
use crate::select::{self, Stage};
use serde::Serialize;
use serde_json::{Value, json};

/// Bumped by hand when what an operation does with the same inputs changes. One whose items have keys of their own goes by
/// their revision, so that neither can be raised alone.
pub fn op_rev(op: Op) -> u64 {
    match op {
        Op::Rollout => RolloutKey::REV,
        // What it measures of the replies has changed once.
        Op::Judge => JudgeKey::REV + 1,
        Op::Select => 1,
        Op::Audit => 2,
        // It asks as `judge` does; with what it measures of the replies it has changed twice.
        Op::Calibrate => JudgeKey::REV + 2,
        Op::Train => TrainKey::REV,
        Op::Evaluate => EvaluateKey::REV,
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

/// One part of a recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Ingredient {
    /// What kind of declaration says it, and in which field: two recipes are compared by these, whatever their authors
    /// call things. Empty for the statement itself, and for what has but one field.
    pub role: (&'static str, &'static str),
    /// As the author wrote it: `sft.lr`, `samples`.
    pub field: String,
    pub value: Value,
}

/// The kind of a declaration and its name.
type Owner<'a> = (&'static str, &'a str);

/// What the statement itself says.
const STATED: Owner<'static> = ("", "");

/// Takes a recipe's parts in: always into its digest, and beside it under their names where someone wants to read them.
struct Ingredients {
    hasher: Hasher,
    named: Option<Vec<Ingredient>>,
}

impl Ingredients {
    /// A part that is shown as it is fed.
    fn put(&mut self, owner: Owner<'_>, field: &'static str, value: &(impl Canonical + Serialize)) -> &mut Self {
        self.fed(owner, field, value, || serde_json::to_value(value).expect("plain data"))
    }

    /// A part that is fed in one form and shown in another, which differs where the first does.
    fn fed(
        &mut self,
        (kind, name): Owner<'_>,
        field: &'static str,
        value: &(impl Canonical + ?Sized),
        shown: impl FnOnce() -> Value,
    ) -> &mut Self {
        self.hasher.put(value);
        if let Some(named) = &mut self.named {
            let parts = [name, field].into_iter().filter(|part| !part.is_empty());
            let written = parts.collect::<Vec<_>>().join(".");
            named.push(Ingredient { role: (kind, field), field: written, value: shown() });
        }
        self
    }

    /// Frames what follows: its name alone is fed.
    fn word(&mut self, word: &str) -> &mut Self {
        self.hasher.str(word);
        self
    }
}

/// What a step does, apart from the results it reads.
pub struct Recipe<'a> {
    pub experiment: &'a Experiment,
    pub identities: &'a Identities,
}

impl Recipe<'_> {
    pub fn digest(&self, work: &Work, iteration: u32) -> Digest {
        self.take(work, iteration, None).hasher.finish()
    }

    /// The same by its parts, in the order in which they are fed.
    pub fn ingredients(&self, work: &Work, iteration: u32) -> Vec<Ingredient> {
        self.take(work, iteration, Some(Vec::new())).named.unwrap_or_default()
    }

    fn take(&self, work: &Work, iteration: u32, named: Option<Vec<Ingredient>>) -> Ingredients {
        let mut into = Ingredients { hasher: Hasher::new("agx-recipe/1"), named };
        let op = work.op();
        into.put(STATED, "operation", &op.as_str()).put(("agx", op.as_str()), "revision", &op_rev(op));
        let seed = Seed(self.experiment.seed);
        match work {
            Work::Rollout(episodes) => {
                self.episodes(&mut into, episodes);
                into.put(STATED, "seed", &seed).put(STATED, "iteration", &iteration);
            }
            // Without the iteration: equal weights share their results.
            Work::Evaluate(episodes) => {
                self.episodes(&mut into, episodes);
                into.put(STATED, "seed", &drawn(&episodes.sampling, seed));
            }
            Work::Judge { rows: _, by, joined, tolerance: _ } => self.judges(&mut into, by, *joined),
            Work::Select { rows: _, rule } => {
                let Named { name, it: rule } = &self.experiment.rules[rule.0];
                into.fed(("rule", name), "", rule, || rule.placed().stages.iter().map(Stage::describe).collect());
                for dataset in rule.datasets() {
                    self.dataset(&mut into, DatasetId(dataset));
                }
                if select::draws(rule) {
                    into.put(STATED, "seed", &seed).put(STATED, "iteration", &iteration);
                }
            }
            Work::Audit { rows: _, metric } => {
                into.put(STATED, "against", metric);
            }
            Work::Calibrate { by, joined, dataset } => {
                self.judges(&mut into, by, *joined);
                self.dataset(&mut into, *dataset);
            }
            Work::Train { start, on, mixed, trainer, reference, version: _ } => {
                self.version(&mut into, start);
                match on {
                    TrainFrom::Rows(_) => {
                        into.put(STATED, "on", &"rows");
                    }
                    TrainFrom::Dataset(dataset) => {
                        self.dataset(into.put(STATED, "on", &"dataset"), *dataset);
                    }
                    TrainFrom::Through { dataset, critic } => {
                        self.dataset(into.put(STATED, "on", &"through"), *dataset);
                        self.critic(&mut into, *critic);
                    }
                }
                let mut mixed =
                    mixed.iter().map(|Mixed { share, dataset }| (*share, self.identities.datasets[dataset.0]));
                let spec = &self.experiment.models[start.model.0].it;
                let Named { name, it: trainer } = &self.experiment.trainers[trainer.0];
                let config = resolve(trainer, spec, iteration);
                let mixture =
                    |(share, contents): (f64, Digest)| json!({ "share": share, "contents": contents.short() });
                let first = mixed.next();
                into.fed(STATED, "mixed", &first, || first.map_or(Value::Null, mixture));
                into.put(("trainer", name), "", &config).put(STATED, "seed", &seed).put(
                    STATED,
                    "iteration",
                    &iteration,
                );
                // Only where there are such: what was trained before there could be keeps its key.
                mixed.for_each(|more| {
                    into.word("mixed").fed(STATED, "mixed", &more, || mixture(more));
                });
                if let Some(reference) = reference {
                    self.version(into.word("reference"), reference);
                }
            }
            Work::Gate { until, history } => {
                until_key(&mut into, until, history);
                // How many rounds there are to look back on: never another number for the same gate.
                into.fed(STATED, "rounds", &history.rounds.first().map(|(_, rounds)| rounds.len()), || Value::Null);
            }
            Work::Pick { model: _, metric, among: _ } => {
                into.put(STATED, "by", metric);
            }
        }
        into
    }

    fn episodes(&self, into: &mut Ingredients, episodes: &Episodes) {
        // What is missing is in the keys of what reads it, not what may be.
        let Episodes { version, env, split, prompt, samples, sampling, stream, best_by, tolerance: _ } = episodes;
        self.version(into, version);
        self.env(into, *env, split);
        self.prompt(into, *prompt);
        into.put(STATED, "samples", samples).put(STATED, "", sampling);
        if *stream > 0 {
            into.word("stream").put(STATED, "stream", stream);
        }
        if !best_by.is_empty() {
            self.judges(into.word("best"), best_by, None);
        }
    }

    /// The declared weights, and how one of the versions over them is chosen.
    fn version(&self, into: &mut Ingredients, version: &VersionFrom) {
        let VersionFrom { model, which } = version;
        self.model(into, *model);
        match which {
            // Of a version that is named by its number, the training itself is an input.
            Which::Newest(_) | Which::Trained(_) => into.put(STATED, "version", &"newest"),
            Which::Best { metric, among: _, otherwise: _ } => {
                into.put(STATED, "version", &"best").put(STATED, "best", metric)
            }
            Which::Picked(_) => into.put(STATED, "version", &"picked"),
        };
    }

    fn model(&self, into: &mut Ingredients, model: ModelId) {
        let Named { name, it } = &self.experiment.models[model.0];
        // Source and adapter are in the identity by their contents; the shape of one to train is in the trainer's configuration.
        let ModelSpec { source: _, adapter: _, context, dtype, device, lora: _, tool_format, tool_calls } = it;
        let owner = ("model", name.as_str());
        contents(into, owner, self.identities.models[model.0]);
        into.put(owner, "context", context).put(owner, "dtype", dtype).put(owner, "tool_format", tool_format);
        if device.is_gpu() {
            into.put(owner, "device", device);
        }
        if *tool_calls != ToolCalls::Drawn {
            into.put(owner, "tool_calls", tool_calls);
        }
    }

    fn env(&self, into: &mut Ingredients, env: EnvId, split: &str) {
        let Named { name, it: EnvSpec { kind: _, splits, max_steps } } = &self.experiment.envs[env.0];
        let declared = splits.iter().find(|declared| declared.name == split);
        let tasks = declared.map(|Split { name, size, held_out }| ((name, size), held_out));
        let owner = ("env", name.as_str());
        contents(into, owner, self.identities.envs[env.0]);
        into.put(owner, "max_steps", max_steps);
        into.fed(owner, "splits", &tasks, || {
            tasks.map_or(
                Value::Null,
                |((split, size), held_out)| json!({ (split.as_str()): size, "held_out": held_out }),
            )
        });
    }

    fn dataset(&self, into: &mut Ingredients, dataset: DatasetId) {
        let name = &self.experiment.datasets[dataset.0].name;
        contents(into, ("dataset", name), self.identities.datasets[dataset.0]);
    }

    fn prompt(&self, into: &mut Ingredients, prompt: PromptId) {
        let Named { name, it } = &self.experiment.prompts[prompt.0];
        into.fed(("prompt", name), "", it, || it.written().into());
    }

    fn judges(&self, into: &mut Ingredients, by: &[Judge], joined: Option<Joined>) {
        for Judge { critic, version } in by {
            self.version(into, version);
            self.critic(into, *critic);
        }
        if let Some(joined) = joined {
            into.word("panel").put(STATED, "panel by", &joined.as_str());
        }
    }

    fn critic(&self, into: &mut Ingredients, critic: CriticId) {
        let owner = ("critic", self.experiment.critics[critic.0].name.as_str());
        let Sole { model, prompt, answer, on_unparsed, sampling, kind, votes } = self.experiment.sole(critic);
        self.model(into, *model);
        self.prompt(into, *prompt);
        into.fed(owner, "answer", answer, || answer.fields.iter().map(ToString::to_string).collect());
        // The order in which a group is shown is drawn whatever the replies are.
        let seed = Seed(self.experiment.seed);
        let seed = if *kind == CriticKind::Group { Some(seed) } else { drawn(sampling, seed) };
        into.put(owner, "", sampling).put(STATED, "seed", &seed);
        into.put(owner, "on_unparsed", on_unparsed);
        match kind {
            CriticKind::Each => {}
            CriticKind::Pairs => drop(into.put(owner, "kind", &"pairs")),
            CriticKind::Group => drop(into.put(owner, "kind", &"group")),
        }
        let Votes { count, by } = votes;
        if *count > 1 {
            into.word("votes").put(owner, "votes", count).put(owner, "votes by", &by.as_str());
        }
    }
}

/// What a declaration names outside of the file.
fn contents(into: &mut Ingredients, owner: Owner<'_>, identity: Digest) {
    into.fed(owner, "contents", &identity, || identity.short().into());
}

/// The recipe of one iteration: per-iteration values chosen, the model's adapter where the trainer names none.
pub fn resolve(trainer: &TrainerSpec, model: &ModelSpec, iteration: u32) -> TrainConfig {
    let TrainerSpec {
        method,
        lr,
        decay,
        epochs,
        batch,
        max_len,
        clip,
        weight_decay,
        lora,
        accumulate,
        recompute,
        command,
    } = trainer;
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
        recompute: *recompute,
        command: command.clone(),
    }
}

/// The seed where it decides anything: a greedy reply draws nothing, so experiments with other seeds share it.
fn drawn(sampling: &Sampling, seed: Seed) -> Option<Seed> {
    (sampling.temperature > 0.0).then_some(seed)
}

const UNTIL: Owner<'static> = ("until", "until");

/// Names stand as their places in the history: whose metrics they are is said by the keys of the steps that are read.
fn until_key(into: &mut Ingredients, until: &Until, history: &History) {
    let History { rounds, since: since_steps } = history;
    let metric_key = |into: &mut Ingredients, MetricRef { name, metric }: &MetricRef| {
        let place = rounds.iter().position(|(known, _)| known == name);
        into.fed(UNTIL, "name", &place, || place.into()).put(UNTIL, "metric", metric);
    };
    let mut parts_key = |word: &'static str, parts: &[Until]| {
        into.put(UNTIL, "is", &word).put(UNTIL, "parts", &(parts.len() as u64));
        parts.iter().for_each(|part| until_key(into, part, history));
    };
    match until {
        Until::Any(parts) => parts_key("any", parts),
        Until::All(parts) => parts_key("all", parts),
        Until::Stalls { metric, rounds, by, since } => {
            let since = since.as_ref().map(|since| since_steps.iter().position(|(known, _)| known == since));
            metric_key(into.put(UNTIL, "is", &"stalls"), metric);
            into.put(UNTIL, "rounds", rounds).put(UNTIL, "by", by);
            into.fed(UNTIL, "since", &since, || since.into());
        }
        Until::Reaches { metric, at_least } => {
            metric_key(into.put(UNTIL, "is", &"reaches"), metric);
            into.put(UNTIL, "at least", at_least);
        }
        Until::Falls { metric, at_most } => {
            metric_key(into.put(UNTIL, "is", &"falls"), metric);
            into.put(UNTIL, "at most", at_most);
        }
    }
}
