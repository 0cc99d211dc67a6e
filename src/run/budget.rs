//! Turns a budget and what a run has taken into how much more it may ask for.
//!
//! # Invariants
//! An item is asked only where the most it can take still fits, so a run never takes more tokens or money than its budget.
//! What an item took that failed is counted as well. What is cached costs nothing, but what an earlier sitting of the same run
//! made and could not tell: it is found in the store, and named by no event. A budget decides when a run pauses and nothing else.
//! What endpoints charge for is counted without a budget as well.

use crate::base::Digest;
use crate::base::units::MicroUsd;
use crate::experiment::{Budget, Experiment, ModelId};
use crate::model::{Source, Tokens};
use crate::plan::bounds::{self, Asked, Asks};
use crate::plan::{Plan, StepId};
use crate::run::missing::Lack;
use crate::run::open::Open;
use crate::run::{Charge, Clock, RunError, RunEvent, RunOptions};
use crate::store::{Record, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The names of a record's counts.
const PROMPT: &str = "prompt_tokens";
const COMPLETION: &str = "completion_tokens";

/// Notes in a record what its item took.
pub fn file(Tokens { prompt, completion }: Tokens, record: Record) -> Record {
    record.cost(PROMPT, prompt).cost(COMPLETION, completion)
}

/// What an item took; nothing where it has no record.
fn recorded(store: &Store, key: &Digest) -> Result<Tokens, StoreError> {
    Ok(store.lookup(key)?.map_or(Tokens::default(), |record| filed(&record)))
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
    /// Whether anything is asked: a run worked a second time takes nothing that is new.
    asks: bool,
    clock: Clock<'a>,
    began: u64,
    /// Milliseconds of the sittings before.
    earlier: u64,
    tokens: AtomicU64,
    /// Micro-dollars.
    spend: AtomicU64,
    /// Of endpoints, since it was told last.
    charge: Mutex<Charge>,
    /// Of endpoints, by node: what sittings took that were killed before they could tell it.
    untold: Vec<(String, Charge)>,
    /// What the sittings before left open.
    open: Open,
    /// Items that were told, and whether as missing: what they took is counted.
    told: Mutex<BTreeSet<(Digest, bool)>>,
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
        let asks = options.replay.is_none();
        let budget = experiment.budget.as_ref().filter(|_| asks && !options.no_budget);
        let began = if budget.is_some() { clock() } else { 0 };
        let (earlier, tokens, spend) = (elapsed(journal), AtomicU64::new(0), AtomicU64::new(0));
        let (charge, open, told) = (Mutex::default(), Open::default(), Mutex::default());
        let untold = Vec::new();
        let mut purse =
            Self { experiment, budget, asks, clock, began, earlier, tokens, spend, charge, untold, open, told };
        let asked = plan.steps.iter().enumerate();
        let asked = asked.filter_map(|(at, step)| Some((step.id.clone(), purse.asks(plan, StepId(at))?)));
        let asked: BTreeMap<String, Asks> = asked.collect();
        if !asked.is_empty() {
            for (_, event) in journal {
                purse.open.hear(event);
                let (node, item) = match event {
                    RunEvent::ItemFinished { node, item, .. }
                    | RunEvent::ItemRetried { node, item, .. }
                    | RunEvent::ItemCached { node, item, .. } => (node, item),
                    _ => continue,
                };
                if let Some(asked) = asked.get(node).map(|asks| asks.of_item(item)) {
                    purse.hear(event, asked, store)?;
                }
            }
            // Told by the sittings that took it.
            purse.charged();
            purse.untold = purse.killed(&asked, store, journal)?;
        }
        Ok(purse)
    }

    /// What came of items since their node said last what it was charged for.
    fn killed(
        &self,
        asked: &BTreeMap<String, Asks>,
        store: &Store,
        journal: &[(u64, RunEvent)],
    ) -> Result<Vec<(String, Charge)>, StoreError> {
        let mut since = BTreeMap::<&str, Vec<(&str, Tokens, Option<&Digest>)>>::new();
        for (_, event) in journal {
            let (node, came) = match event {
                RunEvent::NodeCharged { node, .. } => {
                    since.remove(node.as_str());
                    continue;
                }
                RunEvent::ItemFinished { node, item, key, outcome, took } => {
                    (node, (item.as_str(), *took, Lack::of(outcome).is_none().then_some(key)))
                }
                RunEvent::ItemRetried { node, item, took, .. } => (node, (item.as_str(), *took, None)),
                _ => continue,
            };
            since.entry(node).or_default().push(came);
        }
        let mut untold = Vec::new();
        // Equal items are one piece of work.
        let mut seen = BTreeSet::new();
        for (node, all) in since {
            let Some(asks) = asked.get(node) else { continue };
            for (item, took, made) in all {
                let made = made.filter(|key| seen.insert(**key));
                let of_record = made.map(|key| recorded(store, key)).transpose()?.unwrap_or_default();
                self.charge(asks.of_item(item), took + of_record);
            }
            untold.push((node.to_owned(), self.charged()));
        }
        untold.retain(|(_, charge)| !charge.tokens.is_none());
        Ok(untold)
    }

    /// What sittings that were killed were charged for and could not tell, by node.
    pub fn untold(&self) -> &[(String, Charge)] {
        &self.untold
    }

    /// Counts what the journal says of an item. Of one that was made, its record has what it took.
    fn hear(&self, event: &RunEvent, asked: &Asked, store: &Store) -> Result<(), StoreError> {
        let (key, lacks, took, made) = match event {
            RunEvent::ItemFinished { key, outcome, took, .. } => {
                let lacks = Lack::of(outcome).is_some();
                (key, lacks, *took, !lacks)
            }
            RunEvent::ItemCached { node, key, .. } => (key, false, Tokens::default(), self.open.worked_before(node)),
            RunEvent::ItemRetried { took, .. } => {
                self.take(asked, *took);
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.take(asked, took);
        if self.tell(key, lacks) && made && self.budget.is_some() {
            self.take(asked, recorded(store, key)?);
        }
        Ok(())
    }

    /// Whether it was not told before.
    fn tell(&self, key: &Digest, lacks: bool) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert((*key, lacks))
    }

    /// Counts an item that a node found in the store, where the run made it in an earlier sitting and could not say so. Says
    /// what it took then.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn found(
        &self,
        node: &str,
        asked: &Asked,
        key: &Digest,
        lacks: bool,
        store: &Store,
    ) -> Result<Tokens, StoreError> {
        if !self.tell(key, lacks) || !self.open.worked(node) {
            return Ok(Tokens::default());
        }
        let took = recorded(store, key)?;
        self.take(asked, took);
        Ok(took)
    }

    /// What items of a step may take; nothing where nobody counts it.
    pub fn asks(&self, plan: &Plan, id: StepId) -> Option<Asks> {
        let asks = Asks::of(self.experiment, &plan.step(id).work)?;
        (self.asks && (self.budget.is_some() || asks.models().any(|model| self.charges(model)))).then_some(asks)
    }

    fn charges(&self, model: ModelId) -> bool {
        matches!(self.experiment.models[model.0].it.source, Source::Remote(_))
    }

    /// What endpoints charge for since this was asked last.
    pub fn charged(&self) -> Charge {
        std::mem::take(&mut self.charge.lock().unwrap_or_else(PoisonError::into_inner))
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
            let words = |micro: u64| MicroUsd(micro).to_string();
            admitted =
                admitted.min(fit(most.value.0, self.spend.load(Ordering::Relaxed), most_each.spend.high, &words)?);
        }
        Ok(admitted)
    }

    /// Counts what an item took that is being worked.
    pub fn made(&self, asked: &Asked, key: &Digest, took: Tokens) {
        self.tell(key, false);
        self.tell(key, true);
        self.take(asked, took);
    }

    fn take(&self, asked: &Asked, took: Tokens) {
        let Tokens { prompt, completion } = took;
        let cost = self.charge(asked, took).unwrap_or(u64::MAX);
        for (taken, more) in [(&self.tokens, prompt.saturating_add(completion)), (&self.spend, cost)] {
            let add = |taken: u64| Some(taken.saturating_add(more));
            taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).expect("it always adds");
        }
    }

    /// Notes what an endpoint charges for; what it costs.
    fn charge(&self, asked: &Asked, took: Tokens) -> Option<u64> {
        let spend = bounds::cost(self.experiment, asked.model, took.prompt, took.completion);
        if self.charges(asked.model) && !took.is_none() {
            *self.charge.lock().unwrap_or_else(PoisonError::into_inner) += Charge { tokens: took, spend };
        }
        spend
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
