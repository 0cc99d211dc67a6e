//! Turns the runs of a store into what must stay in it, and a run's node into what can be forgotten.
//!
//! # Invariants
//! Whatever a run's journal names, and whatever that names, is kept. While some run cannot be read, what it names is not
//! known, and nothing is removed.

use crate::base::Digest;
use crate::run::manifest::Manifest;
use crate::run::{ItemOutcome, Project, RunError, RunEvent, directory, journal};
use crate::store::{Record, StoreError};
use std::collections::BTreeSet;
use std::io::ErrorKind;

/// Every record and blob that some run names, whatever its directory is called. `records` are those of the store.
///
/// # Errors
/// A run that is damaged or has no journal: what it names is not known.
pub fn kept(project: &Project, records: &[Record]) -> Result<BTreeSet<Digest>, RunError> {
    let mut kept = BTreeSet::new();
    for journal in directory::journals(project)? {
        let events = match journal::read(&journal) {
            Ok(events) if events.is_empty() => return Err(RunError::Blank(journal)),
            Err(RunError::File { problem, .. }) if problem.kind() == ErrorKind::NotFound => {
                return Err(RunError::Blank(journal));
            }
            events => events?,
        };
        for (_, event) in events {
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
    // A record is kept with what it made, and with its items: a manifest that is damaged is made again from them.
    let named = records.iter().filter(|record| kept.contains(&record.output));
    let items: BTreeSet<Digest> = named.flat_map(|record| record.items.iter().copied()).collect();
    for record in records {
        if kept.contains(&record.output) || items.contains(&record.key) {
            kept.insert(record.key);
            kept.extend(record.blobs());
        }
    }
    Ok(kept)
}

/// One that is gone or damaged names nothing: its node is worked again.
fn manifest(project: &Project, output: &Digest) -> Result<Option<Manifest>, RunError> {
    match project.store.get(output) {
        Ok(bytes) => Ok(Manifest::from_bytes(&bytes).ok()),
        Err(StoreError::Missing(_) | StoreError::Damaged(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
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

#[cfg(test)]
mod tests {
    use super::kept;
    use crate::run::tests::Lab;
    use crate::run::{ItemCounts, RunEvent};

    #[test]
    fn the_items_of_a_damaged_manifest_are_kept() {
        let lab = Lab::new(1);
        let rollout = |events: Vec<RunEvent>| {
            let of = |event| match event {
                RunEvent::NodeFinished { node, output, items, .. } if node == "rollout@1" => Some((output, items)),
                _ => None,
            };
            events.into_iter().find_map(of).expect("it is worked")
        };
        let (first, (_, events)) = (lab.start().0.run, lab.start());
        let (manifest, before) = rollout(events);
        assert_eq!(before, ItemCounts { done: 0, cached: 12, failed: 0 });
        // The journal of the run that made the items is gone; the other's names their manifest only.
        std::fs::remove_dir_all(lab.project.run_dir(&first)).expect("removes");
        lab.project.store.spoil(&manifest.expect("has rows"), |entry| *entry.last_mut().expect("bytes") ^= 1);
        let kept = kept(&lab.project, &lab.project.store.records().expect("reads")).expect("can be read");
        let sweep = lab.project.store.sweep().expect("nobody works");
        sweep.keep(|name| kept.contains(name)).expect("sweeps");
        assert_eq!(rollout(lab.start().1), (manifest, before), "no episode is played again");
    }
}
