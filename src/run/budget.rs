//! Turns a budget and what a run has taken into how much more it may ask for.
//!
//! # Invariants
//! An item is asked only where the most it can take still fits, so a run never takes more tokens or money than its budget.
//! What an item took that failed is counted as well. What is cached costs nothing. A budget decides when a run pauses and nothing else.

use crate::base::Digest;
use crate::experiment::{Budget, Experiment};
use crate::model::Tokens;
use crate::plan::bounds::{self, Asked, Asks};
use crate::plan::{Plan, Step, StepId};
use crate::run::missing::Lack;
use crate::run::{Clock, RunError, RunEvent, RunOptions};
use crate::store::{Record, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// The names of a record's counts.
const PROMPT: &str = "prompt_tokens";
const COMPLETION: &str = "completion_tokens";

/// Notes in a record what its item took.
pub fn file(Tokens { prompt, completion }: Tokens, record: Record) -> Record {
    record.cost(PROMPT, prompt).cost(COMPLETION, completion)
}

fn filed(record: &Record) -> Tokens {
    let count = |name: &str| record.cost.get(name).copied().unwrap_or(0);
    Tokens { prompt: count(PROMPT), completion: count(COMPLETION) }
}

/// What a run may take, and what it has taken in all its sittings.
pub struct Purse<'a> {
    experiment: &'a Experiment,
    /// `None` holds nothing back.
    budget: Option<&'a Budget>,
    clock: Clock<'a>,
    began: u64,
    /// Milliseconds of the sittings before.
    earlier: u64,
    tokens: AtomicU64,
    /// Micro-dollars.
    spend: AtomicU64,
}

impl<'a> Purse<'a> {
    /// As the run's journal and the records that it names have it.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn open(
        experiment: &'a Experiment,
        plan: &Plan,
        store: &Store,
        clock: Clock<'a>,
        journal: &[(u64, RunEvent)],
        options: &RunOptions,
    ) -> Result<Self, RunError> {
        // A run worked a second time takes nothing that is new.
        let unbounded = options.no_budget || options.replay.is_some();
        let budget = experiment.budget.as_ref().filter(|_| !unbounded);
        let began = if budget.is_some() { clock() } else { 0 };
        let (earlier, tokens, spend) = (elapsed(journal), AtomicU64::new(0), AtomicU64::new(0));
        let purse = Self { experiment, budget, clock, began, earlier, tokens, spend };
        if budget.is_some() {
            let asked = |step: &Step| Some((step.id.clone(), Asks::of(experiment, &step.work)?));
            let asked: BTreeMap<String, Asks> = plan.steps.iter().filter_map(asked).collect();
            let mut seen: BTreeSet<Digest> = BTreeSet::new();
            for (_, event) in journal {
                let (node, item, key, outcome, took) = match event {
                    RunEvent::ItemFinished { node, item, key, outcome, took } => (node, item, key, Some(outcome), took),
                    RunEvent::ItemRetried { node, item, key, took, .. } => (node, item, key, None, took),
                    _ => continue,
                };
                let Some(asked) = asked.get(node).map(|asks| asks.of_item(item)) else { continue };
                purse.take(asked, *took);
                // Of an item that was made, its record has what it took.
                if outcome.is_some_and(|outcome| Lack::of(outcome).is_none())
                    && seen.insert(*key)
                    && let Some(record) = store.lookup(key)?
                {
                    purse.take(asked, filed(&record));
                }
            }
        }
        Ok(purse)
    }

    /// What items of a step may take; nothing where nothing is held back.
    pub fn asks(&self, plan: &Plan, id: StepId) -> Option<Asks> {
        self.budget.and_then(|_| Asks::of(self.experiment, &plan.step(id).work))
    }

    /// How many of `wanted` items may be asked now.
    ///
    /// # Errors
    /// In words, what keeps the next one from being asked.
    pub fn admit(&self, asks: &Asks, wanted: usize) -> Result<usize, String> {
        let Some(Budget { spend, wall: _, tokens }) = self.budget else { return Ok(wanted) };
        if let Some(words) = self.overdue() {
            return Err(words);
        }
        let (mut admitted, most_each) = (wanted, asks.most());
        if let Some(most) = tokens {
            let each = (most_each.prompt_tokens + most_each.completion_tokens).high;
            let words = |amount: u64| format!("{amount} tokens");
            admitted = admitted.min(fit(most.value.0, self.tokens.load(Ordering::Relaxed), each, &words)?);
        }
        if let Some(most) = spend {
            let words = |micro: u64| format!("{:.2} USD", micro as f64 / 1e6);
            admitted =
                admitted.min(fit(most.value.0, self.spend.load(Ordering::Relaxed), most_each.spend.high, &words)?);
        }
        Ok(admitted)
    }

    /// Counts what an item took.
    pub fn take(&self, asked: &Asked, Tokens { prompt, completion }: Tokens) {
        let cost = bounds::cost(self.experiment, asked.model, prompt, completion).unwrap_or(u64::MAX);
        for (taken, more) in [(&self.tokens, prompt.saturating_add(completion)), (&self.spend, cost)] {
            let add = |taken: u64| Some(taken.saturating_add(more));
            taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).expect("it always adds");
        }
    }

    /// In words, that the time is up, once it is.
    pub fn overdue(&self) -> Option<String> {
        let most = self.budget?.wall.as_ref()?.value.0;
        let taken = self.earlier.saturating_add((self.clock)().saturating_sub(self.began));
        let words =
            |millis: u64| if millis < 1000 { format!("{millis} ms") } else { format!("{:.1} s", millis as f64 / 1e3) };
        (taken >= most).then(|| format!("the run took {} of a budget of {}", words(taken), words(most)))
    }
}

/// How many items fit into what is left; one at least.
fn fit(most: u64, taken: u64, each: Option<u64>, words: &dyn Fn(u64) -> String) -> Result<usize, String> {
    let left = most.saturating_sub(taken);
    let fits = match each {
        Some(0) => usize::MAX,
        Some(each) => usize::try_from(left / each).unwrap_or(usize::MAX),
        None => 0,
    };
    if fits > 0 {
        return Ok(fits);
    }
    let next = each.map_or_else(|| "nobody knows how much".to_owned(), words);
    let (taken, most) = (words(taken), words(most));
    Err(format!("{taken} of a budget of {most} are taken, and the next item may take {next}"))
}

/// Milliseconds from the first to the last event of each sitting.
fn elapsed(journal: &[(u64, RunEvent)]) -> u64 {
    let sittings = journal.chunk_by(|_, (_, next)| !matches!(next, RunEvent::RunResumed { .. }));
    sittings.map(|sitting| sitting[sitting.len() - 1].0.saturating_sub(sitting[0].0)).sum()
}
