//! Works one step: what it reads, what it does, what it leaves.

use crate::base::{Digest, Seed};
use crate::experiment::{Experiment, MetricRef, Until};
use crate::node::audit::{self, AuditRow};
use crate::node::calibrate::Confusion;
use crate::node::metric::Metric;
use crate::node::reasons::Tally;
use crate::node::trajectory::{Trajectory, TruthRecord};
use crate::node::{answer, compare, gate, labels, pick, rows as node_rows};
use crate::plan::{History, Op, RowsFrom, StepId, Work};
use crate::run::budget::Purse;
use crate::run::emit::Emitter;
use crate::run::items::Worker;
use crate::run::manifest::{Manifest, RowEntry, RowSet, to_json};
use crate::run::missing::Settled;
use crate::run::replay::Replay;
use crate::run::resources::{Resources, Version, read_json};
use crate::run::state::State;
use crate::run::verdicts::Jury;
use crate::run::{Control, ItemCounts, RunEvent, StepError, episodes, train, verdicts};
use crate::select::{self, Otherwise, Row};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// Everything a step needs at hand.
pub struct Bench<'a, 'e> {
    pub resources: &'a Resources<'a>,
    pub state: &'a State<'a>,
    pub control: &'a Control,
    pub emitter: &'a mut Emitter<'e>,
    pub scratch: &'a Path,
    pub replay: Option<&'a Replay>,
    pub purse: &'a Purse<'a>,
    pub settled: &'a Settled,
}

pub struct Finished {
    pub manifest: Manifest,
    pub counts: ItemCounts,
}

impl<'e> Bench<'_, 'e> {
    pub fn worker(&mut self, id: StepId) -> Worker<'_, 'e> {
        let (step, experiment) = (self.state.plan.step(id), self.resources.experiment);
        let models = step.work.answer(experiment);
        let models: BTreeSet<&str> = models.iter().map(|model| experiment.models[model.0].name.as_str()).collect();
        let mut tolerance = step.work.tolerance();
        if self.replay.is_some() {
            // What was made in time is made again, however long it takes here.
            tolerance.timeout = None;
        }
        Worker {
            node: &step.id,
            op: step.op,
            model: models.into_iter().collect::<Vec<_>>().join("`, `"),
            label: super::label_of(experiment, step),
            store: self.resources.store,
            control: self.control,
            emitter: self.emitter,
            replay: self.replay,
            purse: self.purse,
            asks: self.purse.asks(self.state.plan, id),
            tolerance,
            settled: self.settled.get(&step.id),
        }
    }

    pub fn put_json(&self, value: &impl Serialize) -> Result<Digest, StepError> {
        Ok(self.resources.store.put(&to_json(value))?)
    }

    /// The rows a reference means now: of several iterations, one after another.
    pub fn rows(&self, from: &RowsFrom) -> Result<RowSet, StepError> {
        rows(self.resources, self.state, from)
    }

    /// A step without items of its own.
    fn announce(&mut self, id: StepId) {
        let node = self.state.plan.step(id).id.clone();
        self.emitter.emit(&RunEvent::NodeStarted { node, items: 1, cached: 0 });
    }
}

pub fn rows(resources: &Resources<'_>, state: &State<'_>, from: &RowsFrom) -> Result<RowSet, StepError> {
    let mut all = RowSet::default();
    for step in state.resolve(from) {
        let RowSet { rows, dropped } = resources.row_set(state.manifest(step).and_then(|made| made.output))?;
        all.rows.extend(rows);
        all.dropped.extend(dropped);
    }
    Ok(all)
}

/// Works a step.
///
/// # Errors
/// Why the step failed, or that it was paused.
pub fn work(bench: &mut Bench<'_, '_>, id: StepId) -> Result<Finished, StepError> {
    let plan = bench.state.plan;
    match &plan.step(id).work {
        Work::Rollout(episodes) | Work::Evaluate(episodes) => episodes::run(bench, id, episodes),
        Work::Judge { rows, by, joined, tolerance: _ } => verdicts::run(bench, id, rows, Jury::of(by, *joined)),
        Work::Calibrate { by, joined, dataset } => verdicts::calibrate(bench, id, Jury::of(by, *joined), *dataset),
        Work::Train { .. } => train::run(bench, id),
        Work::Select { rows, rule } => {
            bench.announce(id);
            let rule = &bench.resources.experiment.rules[rule.0].it;
            one(select_rows(bench, id, rows, rule)?)
        }
        Work::Audit { rows, metric } => {
            bench.announce(id);
            one(audit_rows(bench, rows, metric)?)
        }
        Work::Gate { .. } | Work::Pick { .. } => {
            bench.announce(id);
            one(decide(bench.resources.experiment, bench.state, id)
                .expect("gates and picks are decided from what is there"))
        }
    }
}

fn one(manifest: Manifest) -> Result<Finished, StepError> {
    Ok(Finished { manifest, counts: ItemCounts { done: 1, cached: 0, failed: 0 } })
}

fn select_rows(bench: &Bench<'_, '_>, id: StepId, from: &RowsFrom, rule: &select::Rule) -> Result<Manifest, StepError> {
    let resources = bench.resources;
    let RowSet { rows: entering, .. } = bench.rows(from)?;
    let origins = verdicts::Origins::of(resources, bench.state, from)?;
    let oracle = resources.experiment.unstable.iter().any(|feature| feature == "oracle");
    let store = resources.store;
    let mut unread = Tally::default();
    let without = entering.iter().filter_map(|row| row.unparsed.as_ref());
    let (alone, why): (Vec<&String>, Vec<&String>) = without.partition(|why| compare::is_alone(why));
    why.into_iter().for_each(|why| unread.add(why));
    let alone = alone.len();
    // A verdict that could not be read is never a number: its row reaches no rule.
    let (readable, unreadable): (Vec<RowEntry>, Vec<RowEntry>) =
        entering.into_iter().partition(|row| row.unparsed.is_none());
    let cells = |entry: &RowEntry| -> Result<Row, StepError> {
        let task = origins.task(&entry.task)?;
        let trajectory: Trajectory = read_json(store, &entry.trajectory)?;
        let truth: Option<TruthRecord> = oracle.then(|| read_json(store, &entry.truth)).transpose()?;
        let truth = truth.as_ref().map(|record| &record.truth);
        Ok(node_rows::row(&task, &trajectory, entry.verdict.as_ref(), truth, entry.iteration))
    };
    let rows: Vec<Row> = readable.par_iter().map(cells).collect::<Result<_, _>>()?;
    let step = bench.state.plan.step(id);
    let seed = Seed(resources.experiment.seed).derive("select").derive(step.iteration);
    let selection = select::apply(rule, &rows, seed);

    let stage_of = |stage: usize| selection.funnel.get(stage).map(|step| step.stage.clone());
    let set = RowSet {
        rows: selection.kept.iter().map(|&at| readable[at].clone()).collect(),
        dropped: {
            let went = |why: &String| if compare::is_alone(why) { "comparable" } else { "readable" };
            let unread = unreadable.iter().map(|row| (row, row.unparsed.as_ref().map(|why| went(why).to_owned())));
            let dropped = readable.iter().zip(&selection.dropped_at);
            let dropped = dropped.filter_map(|(row, at)| at.map(|at| (row, stage_of(at))));
            unread.chain(dropped).map(|(row, dropped_by)| RowEntry { dropped_by, ..row.clone() }).collect()
        },
    };
    let (kept, entered) = (set.rows.len(), readable.len() + unreadable.len());
    if selection.unmet == Some(Otherwise::Fail) {
        let stage = selection.funnel.last().map(|step| step.stage.clone()).unwrap_or_default();
        return Err(StepError::Require { stage, kept, unread: unread.commonest() });
    }
    let mut manifest = Manifest::new(Op::Select);
    manifest.metrics.push(Metric::plain("count", kept as f64, entered));
    manifest.detail = serde_json::json!({
        "rolled_out": entered,
        "readable": readable.len(),
        "funnel": selection.funnel,
        "kept": kept,
        "stop": selection.unmet == Some(Otherwise::Stop),
        "skip": selection.unmet == Some(Otherwise::Skip),
    });
    if alone > 0 {
        manifest.detail["alone"] = serde_json::json!(alone);
    }
    manifest.output = Some(bench.put_json(&set)?);
    Ok(manifest)
}

/// Critic and selection against the truth: over every row that entered, whether it stayed or not.
fn audit_rows(bench: &Bench<'_, '_>, from: &RowsFrom, metric: &str) -> Result<Manifest, StepError> {
    let (resources, state) = (bench.resources, bench.state);
    let kept: BTreeSet<(u32, String, u32)> = bench.rows(from)?.rows.into_iter().map(place).collect();
    // Back through the selections to what they chose from.
    let mut universe = from.clone();
    let (mut schema, mut relative) = (None, false);
    state.walk_origins(from, &mut |_, work| {
        if let Work::Judge { by, .. } = work
            && let Some(first) = by.first()
        {
            schema.get_or_insert_with(|| resources.experiment.sole(first.critic).row_answer());
            relative |= by.iter().any(|judge| resources.experiment.sole(judge.critic).is_relative());
        }
    });
    loop {
        let steps = state.resolve(&universe);
        let before: Vec<StepId> = steps
            .iter()
            .flat_map(|&step| match &state.plan.step(step).work {
                Work::Select { rows, .. } => state.resolve(rows),
                _ => vec![step],
            })
            .collect();
        if before == steps {
            break;
        }
        universe = RowsFrom::All(before);
    }
    let store = resources.store;
    let observe = |row: RowEntry| -> Result<AuditRow, StepError> {
        let record: TruthRecord = read_json(store, &row.truth)?;
        let verdict = row.verdict.as_ref().zip(schema.as_ref());
        Ok(AuditRow {
            passes: verdict.and_then(|(verdict, schema)| answer::passes(verdict, schema)),
            level: verdict.and_then(|(verdict, schema)| answer::level(verdict, schema)),
            solved: labels::solved(&record.truth, metric),
            group: (row.iteration, row.task.clone()),
            kept: kept.contains(&place(row)),
        })
    };
    let rows = bench.rows(&universe)?.rows;
    let observed: Vec<AuditRow> = rows.into_par_iter().map(observe).collect::<Result<_, _>>()?;
    let mut manifest = Manifest::new(Op::Audit);
    manifest.metrics = audit::metrics(&observed, relative);
    if !relative {
        let pairs: Vec<(Option<bool>, bool)> = observed.iter().map(|row| (row.passes, row.solved)).collect();
        manifest.detail = serde_json::json!({ "confusion": Confusion::of(&pairs) });
    }
    Ok(manifest)
}

fn place(row: RowEntry) -> (u32, String, u32) {
    (row.iteration, row.task, row.sample)
}

/// A gate's decision or a pick's winner, from recorded metrics alone. Made anew each time, since it costs nothing and its
/// words hold names. `None` for other steps.
pub fn decide(experiment: &Experiment, state: &State<'_>, id: StepId) -> Option<Manifest> {
    match &state.plan.step(id).work {
        Work::Gate { until, history } => {
            let mut manifest = Manifest::new(Op::Gate);
            let decision = decide_gate(state, until, history);
            manifest.detail = serde_json::json!({ "stop": decision.stop, "why": decision.why });
            Some(manifest)
        }
        Work::Pick { metric, .. } => {
            let mut manifest = Manifest::new(Op::Pick);
            let among = state.reads(id).remove(0);
            let value = |&step: &StepId| state.manifest(step).and_then(|made| made.metric(metric));
            let values: Vec<Option<f64>> = among.iter().map(value).collect();
            // The checker let only evaluations with this metric in; the first is as good as any when nothing is known.
            let winner = pick::best(&values).unwrap_or(0);
            let candidates: Vec<serde_json::Value> = among
                .iter()
                .zip(&values)
                .map(|(&step, value)| {
                    let Version { model, number, weights: _ } = state.evaluated(step);
                    let version = format!("{}@{number}", experiment.models[model.0].name);
                    serde_json::json!({ "node": state.plan.step(step).id, "version": version, "value": value })
                })
                .collect();
            manifest.detail = serde_json::json!({
                "winner": winner,
                "version": candidates[winner]["version"],
                "metric": metric,
                "candidates": candidates,
            });
            Some(manifest)
        }
        _ => None,
    }
}

fn decide_gate(state: &State<'_>, until: &Until, history: &History) -> gate::GateDecision {
    let History { rounds, since } = history;
    let read = |steps: &[StepId], metric: &str| {
        steps.iter().find_map(|&step| state.manifest(step).and_then(|made| made.metric(metric)))
    };
    let value = |metric: &MetricRef, iteration: u32| match iteration.checked_sub(1) {
        None => since.iter().find(|(name, _)| *name == metric.name).and_then(|(_, steps)| read(steps, &metric.metric)),
        Some(at) => {
            let (_, rounds) = rounds.iter().find(|(name, _)| *name == metric.name)?;
            read(rounds.get(at as usize)?, &metric.metric)
        }
    };
    let iteration = rounds.first().map_or(0, |(_, rounds)| rounds.len()) as u32;
    gate::decide(until, &value, iteration)
}
