//! Turns what a run says of itself beside its results into how that differs from what its frozen experiment gives.

use super::differ;
use super::told::{Begun, Told};
use crate::experiment::Experiment;
use crate::plan::{Identities, Plan, Step, to_json};
use crate::run::{ItemCounts, Lack, Manifest, NodeStatus, Project, RunError, directory, label, past, title};
use serde_json::{Value, json};

/// What the first event claims against what follows from the frozen experiment: one first event, with its words.
pub fn begun(told: &Told, experiment: &Experiment, plan: &Plan) -> Vec<String> {
    let value = |Begun { experiment, title, label }: &Begun| json!({ "experiment": experiment, "title": title, "label": label });
    let now = Begun { experiment: experiment.name.clone(), title: title(experiment), label: label(experiment, plan) };
    let differs = |begun: &Begun| differ::values(&value(begun), &value(&now));
    let mut found: Vec<String> = told.begun.iter().filter_map(differs).collect();
    if told.begun.len() > 1 {
        found.push(format!("its journal begins it {} times", told.begun.len()));
    }
    found
}

/// `source/identities.json` against what stands in the files. A run of before it was kept has none.
///
/// # Errors
/// It cannot be read.
pub fn identities(
    project: &Project,
    run: &str,
    experiment: &Experiment,
    now: &Identities,
) -> Result<Option<String>, RunError> {
    let differs = directory::identities(project, run)?.filter(|noted| noted != now);
    Ok(differs.map(|noted| {
        let of = past::changed(experiment, &noted, now);
        let of = if of.is_empty() { "what the experiment names".to_owned() } else { of.join(", ") };
        format!("source/identities.json does not say what the files hold: {of}")
    }))
}

/// `plan.json` against the plan built anew.
///
/// # Errors
/// It cannot be read.
pub fn plan(project: &Project, run: &str, now: &Plan) -> Result<Option<String>, RunError> {
    let noted = directory::plan(project, run)?;
    let now: Value = serde_json::from_str(&to_json(now)).expect("it was just written");
    let differs = differ::values(&noted, &now);
    Ok(differs.map(|what| format!("plan.json is not the plan that the frozen experiment gives: {what}")))
}

/// What the journal says of a node that gave a result, against its manifest.
pub fn of_node(told: &Told, step: &Step, manifest: &Manifest) -> Vec<String> {
    let mut found = Vec::new();
    if told.nodes.get(&step.id).is_none_or(|node| node.status != NodeStatus::Done) {
        found.push("it names a result, and the journal does not say that it is done".to_owned());
    }
    let ItemCounts { done, cached, failed } = told.counts.get(&step.id).copied().unwrap_or_default();
    let (missing, total) = (manifest.missing.len() as u64, manifest.total());
    let counted = done.saturating_add(cached).saturating_add(failed);
    if failed != missing {
        found.push(format!("the journal counts {failed} failed items, and {missing} are missing in it"));
    } else if counted != total {
        found.push(format!("the journal counts {counted} items, and it has {total}"));
    }
    let too_long = manifest.missing.iter().any(|missing| missing.kind == Lack::Timeout);
    if too_long && step.work.tolerance().timeout.is_none() {
        found.push("items are missing in it that took too long, and no `timeout` is set for it".to_owned());
    }
    found
}
