//! What each level looks at.

use super::told::{Failed, Told, ToldNode};
use super::{Asked, Expand, Finding, Level, Outcome, claims, differ};
use crate::base::Digest;
use crate::experiment::Experiment;
use crate::model::Wire;
use crate::plan::{Identities, Plan, StepId};
use crate::run::manifest::{Manifest, RowSet};
use crate::run::missing::Lack;
use crate::run::replay::{Differs, Replay};
use crate::run::resources::Resources;
use crate::run::state::{Readiness, Standing, State};
use crate::run::{
    Clock, Control, ItemOutcome, NodeInfo, NodeStatus, Project, RunError, RunEvent, RunLabel, RunOptions, Sink,
    Subject, directory, execute, identify, infos, label_of, start, steps, survey, worked,
};
use crate::store::{Damage, Record, Store, StoreError};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn finding(level: Level, node: &str, what: impl Into<String>) -> Finding {
    Finding { level, node: Some(node.to_owned()), item: None, what: what.into() }
}

fn of_run(level: Level, what: impl Into<String>) -> Finding {
    Finding { level, node: None, item: None, what: what.into() }
}

/// What keeps a level from looking is found, not failed: the run does not hold what it should.
fn or_find<T>(level: Level, result: Result<T, RunError>, findings: &mut Vec<Finding>) -> Result<Option<T>, RunError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(
            error @ (RunError::UnknownRun(_)
            | RunError::NeverStarted(_)
            | RunError::NoRun
            | RunError::Threads { .. }
            | RunError::Place { .. }
            | RunError::Model { .. }
            | RunError::Environment { .. }),
        ) => Err(error),
        Err(error) => {
            let what = match &error {
                RunError::Frozen { run: _, path } => format!("{} was changed since the run started", path.display()),
                other => other.to_string(),
            };
            findings.push(of_run(level, what));
            Ok(None)
        }
    }
}

/// Level 0: every blob hashed again, the journal's chain walked, the frozen files compared.
/// With what the journal says.
pub fn stored(project: &Project, run: &str) -> Result<(Outcome, Told), RunError> {
    let level = Level::Stored;
    let mut findings = Vec::new();
    let Some(events) = or_find(level, directory::events(project, run), &mut findings)? else {
        return Ok((Outcome { level, looked_at: "the journal".to_owned(), findings, proves: true }, Told::default()));
    };
    let mut frozen = 0;
    for (_, event) in &events {
        if let RunEvent::RunStarted { frozen: noted, .. } = event {
            frozen = noted.len();
            or_find(level, directory::compare(project, run, noted), &mut findings)?;
        }
    }
    let told = Told::of(events.iter().map(|(_, event)| event));
    // Opened anew: what was found damaged before is found again.
    let store = &Project::at(project.store.root())?.store;
    let mut seen: BTreeSet<Digest> = BTreeSet::new();
    let mut keys: BTreeMap<&String, Vec<Digest>> = BTreeMap::new();
    for (node, output) in told.done() {
        seen.insert(*output);
        let bytes = match store.get(output) {
            Ok(bytes) => bytes,
            Err(problem) => {
                findings.push(finding(level, node, broken(&problem)));
                continue;
            }
        };
        let Ok(manifest) = Manifest::from_bytes(&bytes) else {
            findings.push(finding(level, node, format!("blob {} is no manifest", output.short())));
            continue;
        };
        keys.insert(node, manifest.items.iter().map(|item| item.key).collect());
        let blobs: Vec<Digest> = manifest.blobs().into_iter().filter(|blob| seen.insert(*blob)).collect();
        findings.extend(unread(store, &blobs).map(|what| finding(level, node, what)));
        // What a selection names are blobs of other nodes, and still its own to name rightly.
        let rows = manifest.output.and_then(|rows| store.get(&rows).ok());
        if let Some(RowSet { rows, dropped }) = rows.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            let named = rows.into_iter().chain(dropped).flat_map(|row| row.blobs());
            let named: Vec<Digest> = named.filter(|blob| seen.insert(*blob)).collect();
            findings.extend(unread(store, &named).map(|what| finding(level, node, what)));
        }
    }
    // A journal that cannot be followed is found on the next level, and damage there as well.
    let steps = worked::worked(project, run);
    for (worked, made) in steps.iter().flat_map(|worked| worked.steps.iter().map(move |made| (worked, made))) {
        if let Some(keys) = keys.get_mut(&worked.step(made).id).filter(|_| made.manifest.missing.is_empty()) {
            keys.push(made.key);
        }
    }
    findings.extend(damaged(store, &keys)?);
    let looked_at = format!("{} blobs, {} events, {frozen} frozen files", seen.len(), events.len());
    Ok((Outcome { level, looked_at, findings, proves: true }, told))
}

/// Records that nodes name by their keys and that do not hold what was written. Whether others are there is asked on the next
/// level: nothing but what they were made from says that they should be.
fn damaged(store: &Store, keys: &BTreeMap<&String, Vec<Digest>>) -> Result<Vec<Finding>, RunError> {
    // Entries that tell not even what they are.
    let nameless = store.take_damage();
    let (mut findings, mut lost) = (Vec::new(), false);
    for (node, keys) in keys {
        let found =
            keys.par_iter().map(|key| Ok(store.lookup(key)?.is_some())).collect::<Result<Vec<_>, StoreError>>()?;
        let damage = store.take_damage();
        lost |= found.iter().filter(|found| !**found).count() > damage.len();
        findings.extend(damage.into_iter().map(|damage| finding(Level::Stored, node, broken(&damage.into()))));
    }
    let nameless = nameless.into_iter().filter(|_| lost);
    findings.extend(nameless.map(|damage| of_run(Level::Stored, broken(&damage.into()))));
    Ok(findings)
}

/// What is wrong with the blobs that cannot be read.
fn unread(store: &Store, blobs: &[Digest]) -> impl Iterator<Item = String> {
    let found: Vec<String> = blobs.par_iter().filter_map(|blob| store.get(blob).err()).map(|it| broken(&it)).collect();
    found.into_iter()
}

fn broken(problem: &StoreError) -> String {
    match problem {
        StoreError::Damaged(Damage { path, problem }) => format!("{} is damaged: {problem}", path.display()),
        other => other.to_string(),
    }
}

/// Level 1: the frozen experiment planned again; every key and seed made again, every record held against them.
/// With the frozen experiment, and the nodes of it that a model behind an endpoint or on a GPU answers.
pub fn keyed(
    project: &Project,
    run: &str,
    told: &Told,
    wire: &Wire,
    expand: Expand<'_>,
) -> Result<(Outcome, Option<Experiment>, BTreeSet<String>), RunError> {
    let level = Level::Keyed;
    let (mut findings, mut recorded) = (Vec::new(), BTreeSet::new());
    let (mut nodes, mut keys) = (0, 0);
    let frozen = or_find(level, directory::experiment(project, run), &mut findings)?;
    if let Some(frozen) = &frozen
        && let Some(Some(what)) = or_find(level, follows(project, run, frozen, expand), &mut findings)?
    {
        findings.push(of_run(level, what));
    }
    if let Some(experiment) = &frozen
        && let Some((identities, plan)) = or_find(level, planned(experiment), &mut findings)?
    {
        let remote = plan.steps.iter().filter(|step| label_of(experiment, step) == RunLabel::Recorded);
        recorded.extend(remote.map(|step| step.id.clone()));
        // What the files hold is the cause where keys differ, so it is said first.
        for claim in [claims::identities(project, run, experiment, &identities), claims::plan(project, run, &plan)] {
            let differs = or_find(level, claim, &mut findings)?.flatten();
            findings.extend(differs.map(|what| of_run(level, what)));
        }
        let planned = infos(&plan);
        if told.planned != planned {
            let differs = told.planned.iter().zip(&planned).find(|(a, b)| a != b);
            let node = differs.map_or("the plan", |(node, _)| &node.id);
            findings.push(finding(level, node, "its key is not the one that the frozen experiment gives"));
        }
        if told.plan != Some(plan.digest) {
            findings.push(of_run(level, "the plan is not the one that the frozen experiment gives"));
        }
        let unsaid =
            told.unsaid().map(|node| finding(level, node, "the run is finished, and does not say what came of it"));
        findings.extend(unsaid);
        findings.extend(claims::begun(told, experiment, &plan).into_iter().map(|what| of_run(level, what)));
        let resources = Resources::new(experiment, &identities, &project.store, wire.clone());
        let mut state = State::new(&plan);
        for (id, step) in plan.ordered() {
            nodes += 1;
            match state.readiness(id) {
                Readiness::Skipped(_) => state.set(id, Standing::Skipped),
                Readiness::Waiting | Readiness::Blocked(_) => {}
                Readiness::Ready(key) => {
                    let Some(output) = told.nodes.get(&step.id).and_then(|told| told.output) else { continue };
                    keys += 1;
                    let checked = key_of(project, &resources, &state, id, &key, told, &output);
                    match checked {
                        Ok((manifest, found)) => {
                            keys += manifest.items.len();
                            findings.extend(found);
                            state.set(id, Standing::Done(manifest));
                        }
                        Err(what) => {
                            findings.push(finding(level, &step.id, what));
                            break;
                        }
                    }
                }
            }
        }
    }
    let damage = project.store.take_damage();
    if !findings.is_empty() {
        // What lacks a record may have had one.
        findings.extend(damage.into_iter().map(|damage| of_run(level, broken(&damage.into()))));
    }
    Ok((Outcome { level, looked_at: format!("{nodes} nodes, {keys} keys"), findings, proves: true }, frozen, recorded))
}

/// In words, how the frozen source does not give what was run; where the run's files lie is not of it.
///
/// # Errors
/// What was set from outside cannot be read.
pub fn follows(
    project: &Project,
    run: &str,
    frozen: &Experiment,
    expand: Expand<'_>,
) -> Result<Option<String>, RunError> {
    let set = directory::overrides(project, run)?;
    let experiments = match expand(&project.run_dir(run).join("source"), &set, frozen) {
        Ok(experiments) => experiments,
        Err(what) => return Ok(Some(format!("the frozen source cannot be checked again: {what}"))),
    };
    let value = |experiment: &Experiment| serde_json::json!(directory::without_places(experiment));
    let then = value(frozen);
    let mut named = experiments.iter().filter(|experiment| experiment.name == frozen.name).map(value);
    let Some(first) = named.next() else {
        return Ok(Some(format!("the frozen source gives no experiment `{}`", frozen.name)));
    };
    if first == then || named.any(|other| other == then) {
        return Ok(None);
    }
    let what = differ::values(&then, &first).unwrap_or_default();
    Ok(Some(format!("the frozen source gives another experiment: {what}")))
}

/// Level 3 without making anything again: another run that was worked by itself. What either took from the store may be the
/// other's.
pub fn against(project: &Project, run: &str, told: &Told, other: &str) -> Result<Outcome, RunError> {
    let level = Level::Remade;
    let events = directory::events(project, other)?;
    let now = Told::of(events.iter().map(|(_, event)| event));
    let mut then = told.clone();
    let mut findings = Vec::new();
    if then.plan != now.plan {
        // Two experiments: what differs between them is no finding about either.
        let what = format!("`{other}` was made from another plan: `agx diff {run} {other}` says how they differ");
        let looked_at = format!("the plan of {other}");
        return Ok(Outcome { level, looked_at, findings: vec![of_run(level, what)], proves: true });
    }
    then.finished &= now.finished;
    let nodes = then.nodes.len();
    // What either did not come to proves nothing.
    then.order.retain(|node| now.nodes.contains_key(node));
    findings.extend(compare(level, &then, &now, &project.store, &project.store));
    let itself = directory::events(project, run)? != events;
    let worked = |told: &Told, node: &NodeInfo| {
        told.counts.get(&node.id).is_some_and(|counts| counts.done > 0 && counts.cached == 0)
    };
    let asked = then.asked().filter(|node| now.nodes.contains_key(&node.id));
    let (twice, once): (Vec<_>, Vec<_>) = asked.partition(|node| itself && worked(&then, node) && worked(&now, node));
    let mut looked_at = format!("{nodes} nodes beside those of {other}, {} asked by both", twice.len());
    if !once.is_empty() {
        looked_at.push_str(&format!(", {} taken from the store", once.len()));
    }
    Ok(Outcome { level, looked_at, findings, proves: !twice.is_empty() })
}

fn planned(experiment: &Experiment) -> Result<(Identities, Plan), RunError> {
    let identities = identify(experiment)?;
    let plan = crate::plan::build(experiment, &identities)?;
    Ok((identities, plan))
}

/// A node's record and its items' against the keys as they are now. An error ends the walk: later keys hang on it.
fn key_of(
    project: &Project,
    resources: &Resources<'_>,
    state: &State<'_>,
    id: StepId,
    key: &Digest,
    told: &Told,
    output: &Digest,
) -> Result<(Manifest, Vec<Finding>), String> {
    let (store, step) = (&project.store, state.plan.step(id));
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let bytes = store.get(output).map_err(|error| words(&error))?;
    let manifest = Manifest::from_bytes(&bytes).map_err(|error| words(&error))?;
    // A decision is in no record's bytes: its words hold names. What is missing some of its items has no record.
    if manifest.missing.is_empty() && steps::decide(resources.experiment, state, id).is_none() {
        let record = store.lookup(key).map_err(|error| words(&error))?;
        let record = record.ok_or("there is no record of its key: it was made from something else, or lost")?;
        if record.output != *output {
            return Err("its record names another result than the journal".to_owned());
        }
        let due = execute::due(*key, resources.experiment, step, *output, &manifest);
        let value = |record: &Record| {
            let Record { key: _, output: _, cost: _, op, also, items, label } = record;
            serde_json::json!({ "op": op, "also": also, "items": items, "label": label })
        };
        if let Some(what) = differ::values(&value(&record), &value(&due)) {
            return Err(format!("its record is not what such a node leaves: {what}"));
        }
    }
    let mut findings = unlike(told.failed.get(&step.id), &step.id, &manifest);
    findings
        .extend(claims::of_node(told, step, &manifest).into_iter().map(|what| finding(Level::Keyed, &step.id, what)));
    let made = survey::items(resources, state, id).map_err(|error| words(&error))?;
    if !made.is_empty() {
        let names = |name: &str, key: &Digest| (name.to_owned(), *key);
        let without: BTreeSet<_> = manifest.missing.iter().map(|it| names(&it.item, &it.key)).collect();
        let (lost, now): (Vec<_>, Vec<_>) =
            made.iter().map(|item| names(&item.name, &item.key)).partition(|it| without.contains(it));
        let then: Vec<_> = manifest.items.iter().map(|item| names(&item.item, &item.key)).collect();
        if now != then || lost.len() != manifest.missing.len() {
            let differs = then.iter().zip(&now).find(|(a, b)| a != b).map(|(then, _)| then.0.clone());
            let what = match differs {
                Some(_) => "its key is not the one that its inputs and its seed give",
                None => "it has other items than the frozen experiment gives",
            };
            findings.push(Finding {
                level: Level::Keyed,
                node: Some(step.id.clone()),
                item: differs,
                what: what.to_owned(),
            });
        }
    }
    let of_item = |item: &crate::run::ManifestItem| -> Option<Finding> {
        let (ItemOutcome::Done { blob } | ItemOutcome::Unparsed { blob }) = item.outcome else { return None };
        let what = match store.lookup(&item.key) {
            Ok(Some(record)) if record.op != step.op.as_str() => {
                format!("its record is of another operation: {}", record.op)
            }
            Ok(Some(record)) if record.output == blob && record.also == item.also => return None,
            Ok(Some(_)) => "its record names another result than its node".to_owned(),
            Ok(None) => "there is no record of its key".to_owned(),
            Err(problem) => problem.to_string(),
        };
        Some(Finding { level: Level::Keyed, node: Some(step.id.clone()), item: Some(item.item.clone()), what })
    };
    findings.extend(manifest.items.par_iter().filter_map(of_item).collect::<Vec<_>>());
    Ok((manifest, findings))
}

/// What a node is missing against what the journal says of its items.
fn unlike(failed: Option<&Failed>, node: &str, manifest: &Manifest) -> Vec<Finding> {
    let (none, missing) =
        (Failed::new(), manifest.missing.iter().map(|it| (it.item.clone(), it.key, it.kind)).collect());
    let failed = failed.unwrap_or(&none);
    let made_up = Failed::difference(&missing, failed)
        .map(|it| (it, "it is missing in its node, and the journal does not say that it failed so"));
    let hidden = failed
        .difference(&missing)
        .map(|it| (it, "the journal says that it failed, and it is not missing in its node"));
    let found = |((item, ..), what): (&(String, Digest, Lack), &str)| Finding {
        level: Level::Keyed,
        node: Some(node.to_owned()),
        item: Some(item.clone()),
        what: what.to_owned(),
    };
    made_up.chain(hidden).map(found).collect()
}

/// A run that is worked a second time.
pub struct Second<'a> {
    pub project: &'a Project,
    pub run: &'a str,
    pub told: &'a Told,
    pub experiment: &'a Experiment,
    pub asked: &'a Asked,
    pub control: &'a Control,
    pub clock: Clock<'a>,
}

impl Second<'_> {
    /// Level 2: every pure step again, given what the models said.
    pub fn replayed(&self) -> Result<Outcome, RunError> {
        // A moment's work: nobody needs to watch it.
        let (findings, _) = self.again(Level::Replayed, 0.0, &mut |_| {})?;
        Ok(Outcome {
            level: Level::Replayed,
            looked_at: format!("{} nodes", self.told.nodes.len()),
            findings,
            proves: true,
        })
    }

    /// Level 3: the models answer and train again.
    pub fn remade(&self, sink: Sink<'_>) -> Result<Outcome, RunError> {
        let (level, share) = (Level::Remade, self.asked.share);
        let (findings, worked) = self.again(level, share, sink)?;
        let part = if share < 1.0 { "some items:" } else { "all items:" };
        let looked_at = format!("{} nodes, {part} {worked} made again", self.told.nodes.len());
        Ok(Outcome { level, looked_at, findings, proves: worked > 0 })
    }

    /// What is found, and how many items models made again.
    fn again(&self, level: Level, share: f64, sink: Sink<'_>) -> Result<(Vec<Finding>, u64), RunError> {
        let Self { project, run, told, experiment, asked, control, clock } = *self;
        let mut findings = Vec::new();
        let place = tempfile::tempdir().map_err(|problem| RunError::Place { path: std::env::temp_dir(), problem })?;
        let store = Store::over(place.path(), Project::at(project.store.root())?.store)?;
        let scratch = Project { store };
        let replay = Arc::new(Replay::new(share, asked.draw).without(told.settled(&project.store)));
        let options = RunOptions {
            jobs: asked.jobs,
            keep_going: true,
            no_budget: true,
            replay: Some(replay.clone()),
            wire: asked.wire.clone(),
        };
        let overrides = BTreeMap::new();
        let subject = Subject { file_name: "replay.agx", source: "", imports: &[], overrides: &overrides, experiment };
        let mut now = Told::default();
        let outcome = start(&scratch, &subject, &options, control, clock, &mut |event| {
            now.hear(event);
            let mut shown = event.clone();
            if let RunEvent::RunStarted { run: name, .. } = &mut shown {
                // To whoever watches it is the run itself.
                run.clone_into(name);
            }
            sink(&shown);
        });
        or_find(level, outcome, &mut findings)?;
        let noted = replay.take();
        for Differs { node, item, both } in &noted.differs {
            let what = differ::records((&project.store, &both.first), (&scratch.store, &both.second));
            findings.push(Finding { level, node: Some(node.clone()), item: Some(item.clone()), what });
        }
        for (node, item) in &noted.failed_no_more {
            let what = "missing as failed in the run, and made now".to_owned();
            findings.push(Finding { level, node: Some(node.clone()), item: Some(item.clone()), what });
        }
        for (node, item, what) in noted.untrue {
            findings.push(Finding { level, node: Some(node), item: Some(item), what });
        }
        if !control.paused() {
            findings.extend(compare(level, told, &now, &project.store, &scratch.store));
        }
        Ok((findings, noted.worked))
    }
}

/// What the journal says against what came out now, node by node.
fn compare(level: Level, then: &Told, now: &Told, old: &Store, new: &Store) -> Vec<Finding> {
    let mut findings = Vec::new();
    for node in &then.order {
        let told = &then.nodes[node];
        // What did not come to its end proves nothing.
        if matches!(told.status, NodeStatus::Failed | NodeStatus::Blocked | NodeStatus::Paused) {
            continue;
        }
        let Some(made) = now.nodes.get(node) else {
            findings.push(finding(level, node, "it is in the run and not in what is worked now"));
            continue;
        };
        if told == made {
            continue;
        }
        let what = match (told.output, made.output) {
            _ if told.status != made.status => {
                let word = |status: NodeStatus| serde_json::to_value(status).unwrap_or_default();
                format!("it is {} in the run and {} now", word(told.status), word(made.status))
            }
            (Some(a), Some(b)) if a != b => outputs((old, &a), (new, &b)),
            _ => {
                let said = |told: &ToldNode| serde_json::json!({ "metrics": told.metrics, "detail": told.detail });
                differ::values(&said(told), &said(made)).unwrap_or_else(|| "it differs".to_owned())
            }
        };
        findings.push(finding(level, node, what));
    }
    let more = now.nodes.keys().filter(|node| then.finished && !then.nodes.contains_key(*node));
    findings.extend(more.map(|node| finding(level, node, "it is worked now and not in the run")));
    if then.finished && then.winner != now.winner {
        let name = |winner: &Option<String>| winner.clone().unwrap_or_else(|| "none".to_owned());
        let what = format!("the winner is {} in the run and {} now", name(&then.winner), name(&now.winner));
        findings.push(of_run(level, what));
    }
    findings
}

/// Two manifests; where only their rows differ, the first row that does.
fn outputs(then: (&Store, &Digest), now: (&Store, &Digest)) -> String {
    let manifest = |(store, blob): (&Store, &Digest)| Manifest::from_bytes(&store.get(blob).ok()?).ok();
    if let (Some(a), Some(b)) = (manifest(then), manifest(now))
        && let (Some(rows), Some(others)) = (a.output, b.output)
        && a.items == b.items
        && rows != others
    {
        return differ::blobs((then.0, &rows), (now.0, &others));
    }
    differ::blobs(then, now)
}
