//! Turns the runs of a store into what must stay in it, and a run's node into what can be forgotten.
//!
//! # Invariants
//! Whatever a run's journal names, and whatever that names, is kept. While some run cannot be read, what it names is not
//! known, and nothing is removed.

use crate::base::Digest;
use crate::run::manifest::Manifest;
use crate::run::{ItemOutcome, Project, RunError, RunEvent, directory};
use std::collections::BTreeSet;

/// Every record and blob that some run names.
///
/// # Errors
/// A run that is damaged: what it names is not known.
pub fn kept(project: &Project) -> Result<BTreeSet<Digest>, RunError> {
    let mut kept = BTreeSet::new();
    for run in directory::list(project)? {
        for (_, event) in directory::events(project, &run)? {
            match event {
                RunEvent::ItemFinished {
                    outcome: ItemOutcome::Done { blob } | ItemOutcome::Unparsed { blob }, ..
                } => {
                    kept.insert(blob);
                }
                RunEvent::NodeFinished { output: Some(output), .. } if kept.insert(output) => {
                    kept.extend(manifest(project, &output)?.iter().flat_map(Manifest::blobs));
                }
                _ => {}
            }
        }
    }
    // A record is kept with what it made.
    for record in project.store.records()? {
        if kept.contains(&record.output) {
            kept.insert(record.key);
            kept.extend(record.also.values());
        }
    }
    Ok(kept)
}

/// One that is gone or damaged names nothing: its node is worked again.
fn manifest(project: &Project, output: &Digest) -> Result<Option<Manifest>, RunError> {
    let found = project.store.holds(output)?.then(|| project.store.get(output)).transpose()?;
    Ok(found.and_then(|bytes| Manifest::from_bytes(&bytes).ok()))
}

/// Makes a run's node, or all its nodes, be worked again by whoever runs them next; says how many records were forgotten.
/// What they made stays: the run still shows it.
///
/// # Errors
/// A run that cannot be read, a store that cannot be written.
pub fn forget(project: &Project, run: &str, node: Option<&str>) -> Result<usize, RunError> {
    let _working = project.store.working()?;
    let is_asked = |of: &str| node.is_none_or(|node| node == of);
    let (mut keys, mut manifests) = (BTreeSet::new(), BTreeSet::new());
    for (_, event) in directory::events(project, run)? {
        match event {
            RunEvent::ItemFinished { node, key, .. } if is_asked(&node) => {
                keys.insert(key);
            }
            RunEvent::NodeFinished { node, output: Some(output), .. } if is_asked(&node) => {
                manifests.insert(output);
                let items = manifest(project, &output)?.map(|manifest| manifest.items).unwrap_or_default();
                keys.extend(items.into_iter().map(|item| item.key));
            }
            _ => {}
        }
    }
    let mut forgotten = 0;
    for record in project.store.records()? {
        if keys.contains(&record.key) || manifests.contains(&record.output) {
            project.store.forget(&record.key)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}
