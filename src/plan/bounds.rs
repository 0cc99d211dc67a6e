//! Turns a plan into bounds of what it may take: items, tokens asked, answered and trained on, if nothing is cached.
//!
//! An upper bound holds whatever the models say; a lower bound is what runs at the very least. What the file does not say,
//! as the length of a data set on disk, is unknown, and so is every sum with it: nothing is guessed. With `c` the context of
//! the model that answers, `m` its `max_tokens`, `w` the words of the prompt's fixed text (each is a token or more):
//!
//! | step | items | prompt tokens | completion tokens |
//! |---|---|---|---|
//! | rollout, evaluate | tasks × samples | `w` a task × sample, to `max_steps` × `c` | to `max_steps` × min(`m`, `c`) |
//! | judge | rows × votes | `w` to `c` an item | to min(`m`, `c`) an item |
//! | judge, `kind = pairs` | rows × (samples − 1) × votes | the same | the same |
//! | judge, `kind = group` | tasks × votes | the same | the same |
//! | calibrate | examples | `w` to `c` an example | to min(`m`, `c`) an example |
//!
//! A training sees at most rows × min(`max_len`, `c`) × epochs tokens; rows that are mixed in for a share `s` make `n` rows
//! `n / (1 − s)`. A selection keeps at most what its stages let through: a rule's `best 2 per task` of 100 tasks is 200.
//!
//! An item that fails may have taken anything up to that, and each of its `retries` again; with `max_failed`, so many may have
//! taken nothing.
//!
//! What is asked of a remote model costs its declared price for a million tokens; at the lowest, the price of what was sent
//! before. Where its endpoint may be asked again, whatever broke off after it was sent may be charged for twice.
//!
//! # Invariants
//! A step that a gate or a selection may leave out has the lower bound 0. Pure: nothing here reads a file or a tokenizer.

use crate::base::Digest;
use crate::experiment::{CriticId, Dataset, DatasetId, Experiment, ModelId, Sole};
use crate::model::remote::CHARGED;
use crate::model::{Remote, Source};
use crate::node::spec::CriticKind;
use crate::node::tolerance::Tolerance;
use crate::plan::{Episodes, Identities, Judge, Plan, RowsFrom, Step, StepId, TrainFrom, Work, build};
use crate::select::{Stage, Ties};
use serde::Serialize;
use std::ops::{Add, AddAssign};

/// Prices are for so many tokens.
const MILLION: u128 = 1_000_000;

/// Between these; without an upper end, nobody knows how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Amount {
    pub low: u64,
    pub high: Option<u64>,
}

impl Default for Amount {
    fn default() -> Self {
        Self { low: 0, high: Some(0) }
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let high = self.high.zip(other.high).map(|(a, b)| a.saturating_add(b));
        Self { low: self.low.saturating_add(other.low), high }
    }
}

impl Amount {
    fn times(self, low: u64, high: u64) -> Self {
        Self { low: self.low.saturating_mul(low), high: self.high.map(|count| count.saturating_mul(high)) }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bounds {
    pub items: Amount,
    pub prompt_tokens: Amount,
    pub completion_tokens: Amount,
    pub training_tokens: Amount,
    /// Micro-dollars for remote models, by their declared prices. Those of this machine cost none.
    pub spend: Amount,
}

impl AddAssign for Bounds {
    fn add_assign(&mut self, other: Self) {
        *self = Self {
            items: self.items + other.items,
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            completion_tokens: self.completion_tokens + other.completion_tokens,
            training_tokens: self.training_tokens + other.training_tokens,
            spend: self.spend + other.spend,
        };
    }
}

/// At most so many rows.
#[derive(Clone, Copy, Debug, Default)]
struct Rows {
    all: u64,
    tasks: u64,
    per_task: u64,
}

/// The bounds of each step, in the order of [`Plan::steps`].
pub fn bounds(experiment: &Experiment, plan: &Plan) -> Vec<Bounds> {
    let mut reader = Reader { experiment, plan, rows: Vec::with_capacity(plan.steps.len()) };
    plan.steps.iter().map(|step| reader.step(step)).collect()
}

/// The plan of an experiment as far as it can be known without its data, and the bounds of its steps; nothing where the
/// schedule unrolls too far.
pub fn foresee(experiment: &Experiment) -> Option<(Plan, Vec<Bounds>)> {
    let plan = build(experiment, &nameless(experiment)).ok()?;
    let bounds = bounds(experiment, &plan);
    Some((plan, bounds))
}

/// Bounds do not depend on what files hold.
fn nameless(experiment: &Experiment) -> Identities {
    let digests = |count: usize| vec![Digest::of_bytes(&[]); count];
    Identities {
        envs: digests(experiment.envs.len()),
        models: digests(experiment.models.len()),
        datasets: digests(experiment.datasets.len()),
    }
}

/// Of the whole plan.
pub fn total(steps: &[Bounds]) -> Bounds {
    let mut total = Bounds::default();
    steps.iter().for_each(|step| total += *step);
    total
}

/// What one item of a step asks of a model, at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub model: ModelId,
    pub each: Bounds,
}

/// What the items of a step ask: an episode, or a question to a critic; of a panel, by the member's name, which its items have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asks(Vec<(String, Asked)>);

impl Asks {
    /// Nothing of a step that asks no model.
    pub fn of(experiment: &Experiment, work: &Work) -> Option<Self> {
        let one = Amount { low: 1, high: Some(1) };
        match work {
            Work::Rollout(asked) | Work::Evaluate(asked) => {
                let each = episodes(experiment, asked, one);
                Some(Self(vec![(String::new(), Asked { model: asked.version.model, each })]))
            }
            Work::Judge { by, .. } | Work::Calibrate { by, .. } => {
                let asked = |judge: &Judge| {
                    let model = experiment.sole(judge.critic).model;
                    let name = experiment.critics[judge.critic.0].name.clone();
                    (name, Asked { model, each: questions(experiment, judge.critic, one) })
                };
                Some(Self(by.iter().map(asked).collect()))
            }
            Work::Select { .. } | Work::Audit { .. } | Work::Gate { .. } | Work::Pick { .. } | Work::Train { .. } => {
                None
            }
        }
    }

    pub fn models(&self) -> impl Iterator<Item = ModelId> {
        self.0.iter().map(|(_, asked)| asked.model)
    }

    /// What an item asks, by its name.
    pub fn of_item(&self, item: &str) -> &Asked {
        let member = spoken_to(item).and_then(|member| self.0.iter().find(|(name, _)| name == member));
        &member.unwrap_or(&self.0[0]).1
    }

    /// The most that any item asks.
    pub fn most(&self) -> Bounds {
        let most =
            |a: Amount, b: Amount| Amount { low: a.low.max(b.low), high: a.high.zip(b.high).map(|(a, b)| a.max(b)) };
        let all = self.0.iter().map(|(_, asked)| asked.each);
        let larger = |a: Bounds, b: Bounds| Bounds {
            items: most(a.items, b.items),
            prompt_tokens: most(a.prompt_tokens, b.prompt_tokens),
            completion_tokens: most(a.completion_tokens, b.completion_tokens),
            training_tokens: most(a.training_tokens, b.training_tokens),
            spend: most(a.spend, b.spend),
        };
        all.reduce(larger).expect("a step that asks asks someone")
    }
}

/// The name of a question: what it is about, whom of a panel it asks, and which of several votes it is.
pub fn question(about: &str, member: Option<&str>, vote: Option<u32>) -> String {
    let member = member.map_or_else(String::new, |name| format!("@{name}"));
    let vote = vote.map_or_else(String::new, |vote| format!("#{vote}"));
    format!("{about}{member}{vote}")
}

/// Whom of a panel a question asks.
fn spoken_to(item: &str) -> Option<&str> {
    let (_, member) = item.rsplit_once('@')?;
    Some(member.split_once('#').map_or(member, |(member, _)| member))
}

/// Micro-dollars, at the most, of what was asked; `None` where there is no price.
pub fn cost(experiment: &Experiment, model: ModelId, prompt: u64, completion: u64) -> Option<u64> {
    let exactly = |count: u64| Amount { low: count, high: Some(count) };
    spend(experiment, model, exactly(prompt), exactly(completion)).high
}

/// How often so many items are tried: those that fail may have taken nothing, or each try of theirs all that it may.
fn tried(items: Amount, Tolerance { max_failed, timeout: _, retries }: Tolerance) -> Amount {
    let failed = max_failed.of(items.high.unwrap_or(items.low));
    Amount { low: items.low.saturating_sub(failed), ..items }.times(1, 1 + u64::from(retries))
}

/// So many episodes.
fn episodes(experiment: &Experiment, asked: &Episodes, items: Amount) -> Bounds {
    let steps = u64::from(experiment.envs[asked.env.0].it.max_steps);
    let context = u64::from(experiment.models[asked.version.model.0].it.context);
    let words = words(experiment, asked.prompt.0);
    let turns = steps * charges(experiment, asked.version.model);
    let prompt_tokens = items.times(words.min(context), turns * context);
    let completion_tokens = items.times(0, turns * context.min(u64::from(asked.sampling.max_tokens)));
    let spend = spend(experiment, asked.version.model, prompt_tokens, completion_tokens);
    Bounds { items, prompt_tokens, completion_tokens, training_tokens: Amount::default(), spend }
}

/// So many questions to a critic.
fn questions(experiment: &Experiment, critic: CriticId, items: Amount) -> Bounds {
    let Sole { model, prompt, sampling, .. } = experiment.sole(critic);
    let context = u64::from(experiment.models[model.0].it.context);
    let charges = charges(experiment, *model);
    let prompt_tokens = items.times(words(experiment, prompt.0).min(context), charges * context);
    let completion_tokens = items.times(0, charges * context.min(u64::from(sampling.max_tokens)));
    let spend = spend(experiment, *model, prompt_tokens, completion_tokens);
    Bounds { items, prompt_tokens, completion_tokens, training_tokens: Amount::default(), spend }
}

/// How often one request may be charged for.
fn charges(experiment: &Experiment, model: ModelId) -> u64 {
    match &experiment.models[model.0].it.source {
        Source::Remote(Remote { limits, .. }) => 1 + u64::from(limits.retries.min(CHARGED)),
        _ => 1,
    }
}

/// At the lowest, all of the prompt was sent before. A remote model without a price costs nobody knows what.
fn spend(experiment: &Experiment, model: ModelId, prompt: Amount, completion: Amount) -> Amount {
    let Source::Remote(remote) = &experiment.models[model.0].it.source else { return Amount::default() };
    let Some(price) = &remote.price else { return Amount { low: 0, high: None } };
    let cost = |tokens: u64, each: u64| u128::from(tokens) * u128::from(each);
    let micro = |cost: u128| u64::try_from(cost).unwrap_or(u64::MAX);
    let low = cost(prompt.low, price.input.min(price.cached)) + cost(completion.low, price.output);
    let high = prompt.high.zip(completion.high);
    let high =
        high.map(|(prompt, completion)| cost(prompt, price.input.max(price.cached)) + cost(completion, price.output));
    Amount { low: micro(low / MILLION), high: high.map(|cost| micro(cost.div_ceil(MILLION))) }
}

fn words(experiment: &Experiment, prompt: usize) -> u64 {
    experiment.prompts[prompt].it.fixed_words()
}

struct Reader<'p> {
    experiment: &'p Experiment,
    plan: &'p Plan,
    /// Of the steps so far.
    rows: Vec<Rows>,
}

impl Reader<'_> {
    fn step(&mut self, step: &Step) -> Bounds {
        let (mut bounds, mut rows) = (Bounds::default(), Rows::default());
        match &step.work {
            Work::Rollout(asked) | Work::Evaluate(asked) => {
                let tasks = self.tasks(asked);
                rows = Rows { all: tasks * u64::from(asked.samples), tasks, per_task: u64::from(asked.samples) };
                let items = Amount { low: rows.all, high: Some(rows.all) };
                bounds = Bounds { items, ..episodes(self.experiment, asked, tried(items, asked.tolerance)) };
                for judge in &asked.best_by {
                    bounds += questions(self.experiment, judge.critic, self.asked(judge.critic, rows, items.low));
                }
            }
            Work::Judge { rows: from, by, joined: _, tolerance } => {
                rows = self.rows_of(from);
                let surely = self.surely(from, rows.all);
                for judge in by {
                    let items = self.asked(judge.critic, rows, surely);
                    let worked = questions(self.experiment, judge.critic, tried(items, *tolerance));
                    bounds += Bounds { items, ..worked };
                }
            }
            Work::Calibrate { by, joined: _, dataset } => {
                let examples = self.examples(*dataset);
                for judge in by {
                    let votes = u64::from(self.experiment.sole(judge.critic).votes.count);
                    let items = Amount { low: examples.unwrap_or(0), high: examples }.times(votes, votes);
                    bounds += questions(self.experiment, judge.critic, items);
                }
            }
            Work::Select { rows: from, rule } => {
                rows = self.rows_of(from);
                for stage in &self.experiment.rules[rule.0].it.stages {
                    rows = self.kept(stage, rows);
                }
            }
            Work::Train { start, on, mixed, trainer, .. } => {
                let own = match on {
                    TrainFrom::Rows(from) => Some(self.rows_of(from).all),
                    TrainFrom::Dataset(dataset) | TrainFrom::Through { dataset, .. } => self.examples(*dataset),
                };
                let whole = |rows: u64, share: f64| (rows as f64 / (1.0 - share)).ceil() as u64;
                let seen = own.map(|rows| whole(rows, mixed.iter().map(|mixed| mixed.share).sum()));
                let spec = &self.experiment.trainers[trainer.0].it;
                let context = self.experiment.models[start.model.0].it.context;
                let length = u64::from(spec.max_len.map_or(context, |most| most.min(context)));
                let epochs = u64::from(spec.epochs.at(step.iteration));
                bounds.training_tokens = Amount { low: 0, high: seen }.times(0, length * epochs);
            }
            Work::Audit { .. } | Work::Gate { .. } | Work::Pick { .. } => {}
        }
        self.rows.push(rows);
        if !step.after.is_empty() {
            for amount in [
                &mut bounds.items,
                &mut bounds.prompt_tokens,
                &mut bounds.completion_tokens,
                &mut bounds.training_tokens,
                &mut bounds.spend,
            ] {
                amount.low = 0;
            }
        }
        bounds
    }

    fn tasks(&self, asked: &Episodes) -> u64 {
        let splits = &self.experiment.envs[asked.env.0].it.splits;
        splits.iter().find(|split| split.name == asked.split).map_or(0, |split| u64::from(split.size))
    }

    /// One question a row and vote; of a critic that compares, one for each two of a task in each order, or one a task. Some of
    /// them are surely asked only where all rows are surely there.
    fn asked(&self, critic: CriticId, rows: Rows, surely: u64) -> Amount {
        let Sole { kind, votes, .. } = self.experiment.sole(critic);
        let low = if surely == rows.all { rows.all } else { 0 };
        let items = match kind {
            CriticKind::Each => Amount { low: surely, high: Some(rows.all) },
            CriticKind::Pairs => {
                let others = rows.per_task.saturating_sub(1);
                Amount { low, high: Some(rows.all) }.times(others, others)
            }
            CriticKind::Group => Amount { low: low.min(rows.tasks), high: Some(rows.all.min(rows.tasks)) },
        };
        let votes = u64::from(votes.count);
        items.times(votes, votes)
    }

    fn examples(&self, dataset: DatasetId) -> Option<u64> {
        match &self.experiment.datasets[dataset.0].it {
            Dataset::Offered { count, .. } => Some(u64::from(*count)),
            Dataset::Jsonl { .. } | Dataset::Hub { .. } => None,
        }
    }

    /// The rows of the newest step that ran, whichever that is, or of all.
    fn rows_of(&self, from: &RowsFrom) -> Rows {
        let rows = |steps: &[StepId]| steps.iter().map(|step| self.rows[step.0]).collect::<Vec<_>>();
        match from {
            RowsFrom::Newest(steps) => rows(steps).into_iter().fold(Rows::default(), |most, rows| Rows {
                all: most.all.max(rows.all),
                tasks: most.tasks.max(rows.tasks),
                per_task: most.per_task.max(rows.per_task),
            }),
            RowsFrom::All(steps) => rows(steps).into_iter().fold(Rows::default(), |most, rows| Rows {
                all: most.all.saturating_add(rows.all),
                tasks: most.tasks.max(rows.tasks),
                per_task: most.per_task.saturating_add(rows.per_task),
            }),
        }
    }

    /// How many of the rows there are in any case: of one rollout that surely runs, all but those that may be missing.
    fn surely(&self, from: &RowsFrom, all: u64) -> u64 {
        let first = match from {
            RowsFrom::Newest(steps) => steps.first(),
            RowsFrom::All(_) => None,
        };
        let step = first.map(|step| self.plan.step(*step)).filter(|step| step.after.is_empty());
        step.map_or(0, |step| all - step.work.tolerance().max_failed.of(all))
    }

    /// What a stage can let through.
    fn kept(&self, stage: &Stage, rows: Rows) -> Rows {
        match stage {
            Stage::Add { dataset, .. } => {
                let added = self.examples(DatasetId(*dataset)).unwrap_or(u64::MAX);
                let (all, per_task) = (rows.all.saturating_add(added), rows.per_task.saturating_add(added));
                Rows { all, per_task, ..rows }
            }
            Stage::Pair { .. } => Rows { all: rows.tasks.min(rows.all / 2), per_task: 1, ..rows },
            _ => kept(stage, rows),
        }
    }
}

/// What a stage can let through that only drops rows.
fn kept(stage: &Stage, rows: Rows) -> Rows {
    let part = |rows: u64, share: f64| (rows as f64 * share).ceil() as u64;
    let at_most = |count: u64| Rows { all: rows.all.min(count), ..rows };
    let each = |count: u64| {
        let per_task = rows.per_task.min(count);
        Rows { all: rows.all.min(rows.tasks.saturating_mul(per_task)), per_task, ..rows }
    };
    match stage {
        Stage::Top { share, per_task: true, .. } => each(part(rows.per_task, *share)),
        Stage::Top { share, ties: Ties::Sample, .. } => at_most(part(rows.all, *share)),
        // All of them may tie at the cut.
        Stage::Top { .. } => rows,
        Stage::Best { count, per_task, .. }
        | Stage::Worst { count, per_task, .. }
        | Stage::Sample { count, per_task } => {
            if *per_task {
                each(u64::from(*count))
            } else {
                at_most(u64::from(*count))
            }
        }
        Stage::CapRows { count } => at_most(u64::from(*count)),
        Stage::Where { .. }
        | Stage::Dedup { .. }
        | Stage::CapTokens { .. }
        | Stage::Balance { .. }
        | Stage::Majority { .. }
        | Stage::Truncate { .. }
        | Stage::Weight { .. }
        | Stage::Add { .. }
        | Stage::Pair { .. }
        | Stage::Require { .. } => rows,
    }
}
