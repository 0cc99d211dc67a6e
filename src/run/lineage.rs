//! Turns runs as they were worked into provenance: what a node came of, and what became of a trajectory.
//!
//! # Invariants
//! Nothing here writes. Rows are those that were read, not those that were planned: a loop that ended early is seen.

use crate::base::{Canonical, Digest};
use crate::experiment::{CriticId, Experiment, ModelId, PromptId};
use crate::node::spec::Verdict;
use crate::plan::{Judge, Op, StepId, Work};
use crate::run::manifest::{RowEntry, RowSet};
use crate::run::resources::Version;
use crate::run::worked::{Worked, WorkedStep, trained};
use crate::run::{ItemOutcome, Project, RunError, RunLabel, directory, label};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A node on the way from the first rollout to what is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Station {
    pub node: String,
    pub op: Op,
    pub key: Digest,
    /// The rows that it left: a blob.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<Digest>,
    pub count: usize,
    /// What did it, as the file calls it: `rule good`, `critic grader`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// What the model was told, by name and digest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub prompts: BTreeMap<String, Digest>,
    /// `policy@1`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// What a training made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Training {
    /// `policy@2`
    pub version: String,
    /// `policy@1`
    pub start: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Digest>,
    /// It had rows to train on; else it left what it started from.
    pub trained: bool,
}

/// What a node came of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lineage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// The nearest first.
    pub from: Vec<Station>,
    /// Of a training, the rows that it trained on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<RowEntry>,
}

/// The file that lies with exported weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Origin {
    /// The version of agx that wrote it.
    pub agx: String,
    pub run: String,
    pub experiment: String,
    pub label: RunLabel,
    pub plan: Digest,
    /// What the run was started from.
    pub source: BTreeMap<String, Digest>,
    /// `policy@2`
    pub version: String,
    /// The training that made it; none of a declared version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    #[serde(flatten)]
    pub lineage: Lineage,
}

/// What was done with a trajectory, in one node of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Use {
    pub run: String,
    pub node: String,
    pub what: What,
    /// The stage that dropped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Digest>,
    /// What a training made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    RolledOut,
    Evaluated,
    Judged,
    Kept,
    Dropped,
    /// Its tokens are among the rows.
    Trained,
    /// The version that was trained on it is what this one started from.
    Inherited,
}

/// A trajectory and all that was done with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    pub trajectory: Digest,
    pub task: String,
    pub sample: u32,
    pub uses: Vec<Use>,
}

/// `policy@2`
pub fn version(experiment: &Experiment, version: &Version) -> String {
    format!("{}@{}", experiment.models[version.model.0].name, version.number)
}

/// What a training made, if the step is one.
pub fn training(worked: &Worked, step: &WorkedStep) -> Option<Training> {
    let Work::Train { start, version: number, .. } = &worked.step(step).work else { return None };
    let experiment = &worked.past.experiment;
    let made = Version { model: start.model, number: *number, weights: step.manifest.output };
    let start = step.version.as_ref().map(|start| version(experiment, start)).unwrap_or_default();
    let (version, trained) = (version(experiment, &made), trained(step));
    Some(Training { version, start, weights: step.manifest.output, trained })
}

/// # Errors
/// Rows that cannot be read.
pub fn lineage(project: &Project, worked: &Worked, step: &WorkedStep) -> Result<Lineage, RunError> {
    let training = training(worked, step);
    let mut rows = Vec::new();
    if training.as_ref().is_some_and(|training| training.trained) {
        for from in step.rows.iter().filter_map(|id| worked.find(*id)) {
            rows.extend(row_set(project, worked, from)?.rows);
        }
    }
    let (mut from, mut seen) = (Vec::new(), BTreeSet::new());
    stations(project, worked, &step.rows, &mut seen, &mut from)?;
    Ok(Lineage { training, from, rows })
}

/// Level by level, so that the nearest come first.
fn stations(
    project: &Project,
    worked: &Worked,
    ids: &[StepId],
    seen: &mut BTreeSet<StepId>,
    found: &mut Vec<Station>,
) -> Result<(), RunError> {
    let mut next = Vec::new();
    for made in ids.iter().filter(|id| seen.insert(**id)).filter_map(|id| worked.find(*id)) {
        found.push(station(project, worked, made)?);
        next.extend(&made.rows);
    }
    if next.is_empty() { Ok(()) } else { stations(project, worked, &next, seen, found) }
}

fn station(project: &Project, worked: &Worked, made: &WorkedStep) -> Result<Station, RunError> {
    let (step, experiment) = (worked.step(made), &worked.past.experiment);
    let (mut by, mut prompts) = (Vec::new(), Vec::new());
    match &step.work {
        Work::Select { rule, .. } => by.push(format!("rule {}", experiment.rules[rule.0].name)),
        Work::Judge { by: judges, .. } => {
            by.extend(judges.iter().map(|judge| format!("critic {}", critic(experiment, judge.critic))));
            prompts.extend(judges.iter().map(|Judge { critic, .. }| experiment.sole(*critic).prompt));
        }
        Work::Rollout(episodes) => prompts.push(episodes.prompt),
        _ => {}
    }
    let prompt = |id: PromptId| {
        let prompt = &experiment.prompts[id.0];
        (prompt.name.clone(), prompt.it.digest())
    };
    Ok(Station {
        node: step.id.clone(),
        op: step.op,
        key: made.key,
        rows: made.manifest.output,
        count: row_set(project, worked, made)?.rows.len(),
        by,
        prompts: prompts.into_iter().map(prompt).collect(),
        model: made.version.as_ref().map(|it| version(experiment, it)),
    })
}

fn critic(experiment: &Experiment, id: CriticId) -> &str {
    &experiment.critics[id.0].name
}

fn row_set(project: &Project, worked: &Worked, made: &WorkedStep) -> Result<RowSet, RunError> {
    let Some(rows) = made.manifest.output.filter(|_| made.has_rows()) else { return Ok(RowSet::default()) };
    let untrue = |what: String| RunError::Untrue { node: worked.step(made).id.clone(), what };
    let bytes = project.store.get(&rows).map_err(|problem| untrue(problem.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|_| untrue("its rows cannot be read".to_owned()))
}

/// Where a version came from: the training that made it, or none when it is as declared.
///
/// # Errors
/// A frozen file or rows that cannot be read.
pub fn origin(
    project: &Project,
    worked: &Worked,
    named: &Version,
    maker: Option<&WorkedStep>,
) -> Result<Origin, RunError> {
    let past = &worked.past;
    let lineage = match maker {
        Some(step) => lineage(project, worked, step)?,
        None => Lineage { training: None, from: Vec::new(), rows: Vec::new() },
    };
    Ok(Origin {
        agx: env!("CARGO_PKG_VERSION").to_owned(),
        run: past.run.clone(),
        experiment: past.experiment.name.clone(),
        label: label(&past.experiment, &past.plan),
        plan: past.plan.digest,
        source: directory::frozen(&project.run_dir(&past.run))?,
        version: version(&past.experiment, named),
        node: maker.map(|step| worked.step(step).id.clone()),
        key: maker.map(|step| step.key),
        // Named by the rows' digests above: a hundred thousand would drown the rest.
        lineage: Lineage { rows: Vec::new(), ..lineage },
    })
}

/// All that one run did with the trajectories whose digest begins like this, by trajectory.
///
/// # Errors
/// Rows that cannot be read.
pub fn trace(
    project: &Project,
    worked: &Worked,
    start: &str,
    found: &mut BTreeMap<Digest, Trace>,
) -> Result<(), RunError> {
    let wanted = |digest: &Digest| digest.to_string().starts_with(start);
    let mut sets: BTreeMap<StepId, RowSet> = BTreeMap::new();
    // Versions that were trained on it, or from such a one.
    let mut taught: BTreeMap<Digest, BTreeSet<(ModelId, u32)>> = BTreeMap::new();
    for made in &worked.steps {
        let step = worked.step(made);
        let at = |what| Use {
            run: worked.past.run.clone(),
            node: step.id.clone(),
            what,
            dropped_by: None,
            verdict: None,
            reply: None,
            training: None,
        };
        let mut add = |row: (&Digest, &str, u32), used: Use| {
            let (trajectory, task, sample) = row;
            let trace = found.entry(*trajectory).or_insert_with(|| {
                let (trajectory, task) = (*trajectory, task.to_owned());
                Trace { trajectory, task, sample, uses: Vec::new() }
            });
            // Samples that came out alike are one blob.
            if !trace.uses.contains(&used) {
                trace.uses.push(used);
            }
        };
        if made.has_rows() {
            let set = row_set(project, worked, made)?;
            for row in set.rows.iter().chain(&set.dropped).filter(|row| wanted(&row.trajectory)) {
                let what = match (step.op, &row.dropped_by) {
                    (Op::Rollout, _) => What::RolledOut,
                    (Op::Judge, _) => What::Judged,
                    (_, None) => What::Kept,
                    (_, Some(_)) => What::Dropped,
                };
                let RowEntry { dropped_by, verdict, reply, .. } = row.clone();
                let used = match what {
                    What::Judged => Use { verdict, reply, ..at(what) },
                    _ => Use { dropped_by, ..at(what) },
                };
                add((&row.trajectory, &row.task, row.sample), used);
            }
            sets.insert(made.id, set);
        }
        if step.op == Op::Evaluate {
            for item in &made.manifest.items {
                if let (ItemOutcome::Done { blob }, Some((task, sample))) = (&item.outcome, item.item.rsplit_once('/'))
                    && wanted(blob)
                {
                    add((blob, task, sample.parse().unwrap_or(0)), at(What::Evaluated));
                }
            }
        }
        let (Work::Train { version: number, .. }, Some(before)) = (&step.work, &made.version) else { continue };
        let training = training(worked, made);
        let rows = made.rows.iter().filter_map(|id| sets.get(id)).flat_map(|set| &set.rows);
        let rows: Vec<&RowEntry> = rows.filter(|row| trained(made) && wanted(&row.trajectory)).collect();
        for row in &rows {
            taught.entry(row.trajectory).or_default().insert((before.model, *number));
            add((&row.trajectory, &row.task, row.sample), Use { training: training.clone(), ..at(What::Trained) });
        }
        for (trajectory, versions) in &mut taught {
            let is_new = versions.contains(&(before.model, before.number)) && versions.insert((before.model, *number));
            if let Some(trace) = found.get_mut(trajectory).filter(|_| is_new) {
                trace.uses.push(Use { training: training.clone(), ..at(What::Inherited) });
            }
        }
    }
    Ok(())
}
