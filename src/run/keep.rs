//! Turns the runs of a store into what must stay in it, and a run's node into what can be forgotten.
//!
//! # Invariants
//! Whatever a run's journal names, and whatever that names, is kept. Of a run that did not come to its end, what it made last may
//! be named nowhere: as long as a node of it is open, no record of the node's operation is removed. While some run cannot be
//! read, what it names is not known, and nothing is removed.

use crate::base::Digest;
use crate::run::manifest::Manifest;
use crate::run::open::Open;
use crate::run::{ItemOutcome, Project, RunError, RunEvent, directory, journal};
use crate::store::{Record, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

/// What must stay in a store.
#[derive(Debug, Default)]
pub struct Kept {
    /// Of records and blobs.
    pub names: BTreeSet<Digest>,
    /// Runs that did not come to their end, and how many records stay only because one of them may have made them.
    pub open: BTreeSet<String>,
    pub perhaps: usize,
}

/// Every record and blob that some run names, whatever its directory is called, or may have made. `records` are those of the store.
///
/// # Errors
/// A run that is damaged or has no journal: what it names is not known.
pub fn kept(project: &Project, records: &[Record]) -> Result<Kept, RunError> {
    let (mut kept, mut items) = (BTreeSet::new(), BTreeSet::new());
    let (mut runs, mut ops) = (BTreeSet::new(), BTreeSet::new());
    for journal in directory::journals(project)? {
        let events = match journal::read(&journal) {
            Ok(events) if events.is_empty() => return Err(RunError::Blank(journal)),
            Err(RunError::File { problem, .. }) if problem.kind() == ErrorKind::NotFound => {
                return Err(RunError::Blank(journal));
            }
            events => events?,
        };
        let (mut open, mut op_of) = (Open::default(), BTreeMap::new());
        for (_, event) in events {
            open.hear(&event);
            match event {
                RunEvent::RunStarted { nodes, .. } => op_of.extend(nodes.into_iter().map(|node| (node.id, node.op))),
                RunEvent::ItemCached { key, .. } => drop(items.insert(key)),
                RunEvent::ItemFinished { key, outcome, .. } => {
                    items.insert(key);
                    if let ItemOutcome::Done { blob } | ItemOutcome::Unparsed { blob } = outcome {
                        kept.insert(blob);
                    }
                }
                RunEvent::NodeFinished { output: Some(output), .. } if kept.insert(output) => {
                    kept.extend(manifest(project, &output)?.iter().flat_map(Manifest::blobs));
                }
                _ => {}
            }
        }
        let begun: Vec<&String> = open.nodes().filter_map(|node| op_of.get(node)).collect();
        if !begun.is_empty() {
            runs.extend(journal.parent().and_then(Path::file_name).map(|run| run.to_string_lossy().into_owned()));
            ops.extend(begun.into_iter().cloned());
        }
    }
    // A record is kept with what it made, and with its items: a manifest that is damaged is made again from them.
    let named = records.iter().filter(|record| kept.contains(&record.output));
    items.extend(named.flat_map(|record| record.items.iter().copied()));
    let (named, loose): (Vec<&Record>, Vec<&Record>) =
        records.iter().partition(|record| kept.contains(&record.output) || items.contains(&record.key));
    let perhaps: Vec<&Record> = loose.into_iter().filter(|record| ops.contains(&record.op)).collect();
    for record in named.iter().chain(&perhaps) {
        kept.insert(record.key);
        kept.extend(record.blobs());
    }
    Ok(Kept { names: kept, open: runs, perhaps: perhaps.len() })
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
            RunEvent::ItemFinished { node, key, .. } | RunEvent::ItemCached { node, key, .. } if is_asked(&node) => {
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
    use crate::base::Digest;
    use crate::experiment::Statement;
    use crate::plan::sample;
    use crate::run::archive::contents::Contents;
    use crate::run::tests::Lab;
    use crate::run::worked::worked;
    use crate::run::{Control, ItemCounts, RunEvent, directory};
    use std::collections::BTreeSet;

    fn keys(lab: &Lab, run: &str, of: impl Fn(&RunEvent) -> Option<Digest>) -> BTreeSet<Digest> {
        let events = directory::events(&lab.project, run).expect("the chain holds");
        events.iter().filter_map(|(_, event)| of(event)).collect()
    }

    /// Removes what no run names, or may have made; says which records are left.
    fn swept(lab: &Lab) -> BTreeSet<Digest> {
        let kept = kept(&lab.project, &lab.project.store.records().expect("reads")).expect("can be read");
        let sweep = lab.project.store.sweep().expect("nobody works");
        sweep.keep(|name| kept.names.contains(name)).expect("sweeps");
        lab.project.store.records().expect("reads").into_iter().map(|record| record.key).collect()
    }

    /// Another run made them, and its directory is gone.
    #[test]
    fn what_a_paused_run_took_is_kept_and_packed() {
        let mut lab = Lab::new(1);
        let (first, _) = lab.start();
        if let Statement::Rollout { samples, .. } = &mut sample::body(&mut lab.experiment)[0] {
            *samples = 3;
        }
        let control = Control::default();
        let (paused, _) = lab.start_with(&Default::default(), &control, &mut |event| {
            if matches!(event, RunEvent::NodeStarted { node, .. } if node == "rollout@1") {
                control.pause();
            }
        });
        std::fs::remove_dir_all(lab.project.run_dir(&first.run)).expect("removes");
        let took = keys(&lab, &paused.run, |event| match event {
            RunEvent::ItemCached { node, key, .. } if node == "rollout@1" => Some(*key),
            _ => None,
        });
        assert_eq!(took.len(), 12);
        assert!(took.is_subset(&swept(&lab)));
        let contents = Contents::of(&lab.project, &worked(&lab.project, &paused.run).expect("reads")).expect("whole");
        assert!(took.iter().all(|key| contents.records.contains_key(key)));
        let kept = kept(&lab.project, &lab.project.store.records().expect("reads")).expect("can be read");
        assert_eq!((kept.open.len(), kept.perhaps), (0, 0), "it ended in good order");
    }

    /// Killed between the store and the journal.
    #[test]
    fn what_a_killed_run_may_have_made_is_kept() {
        let lab = Lab::new(1);
        let (run, _) = lab.start();
        let all = |of: &str| {
            keys(&lab, &run.run, |event| match event {
                RunEvent::ItemFinished { node, key, .. } if node == of => Some(*key),
                _ => None,
            })
        };
        let (rolled, judged) = (all("rollout@1"), all("judge@1"));
        let path = lab.project.journal(&run.run);
        let journal = std::fs::read_to_string(&path).expect("reads");
        let begun = journal.lines().position(|line| line.contains("node_started") && line.contains("\"rollout@1\""));
        let lines: Vec<&str> = journal.split_inclusive('\n').take(begun.expect("it is worked") + 3).collect();
        std::fs::write(&path, lines.concat()).expect("writes");
        let records = lab.project.store.records().expect("reads");
        let found = kept(&lab.project, &records).expect("can be read");
        assert_eq!((found.open, found.perhaps), (BTreeSet::from([run.run.clone()]), 11), "ten episodes and their node");
        let left = swept(&lab);
        assert!(rolled.is_subset(&left));
        assert!(!judged.is_subset(&left), "judging had not begun: what no other reply shares is gone");
        let (_, events) = lab.resume(&run.run);
        let again = events.iter().any(|it| matches!(it, RunEvent::ItemFinished { node, .. } if node == "rollout@1"));
        assert!(!again, "nothing is made twice");
        assert_eq!(kept(&lab.project, &lab.project.store.records().expect("reads")).expect("can be read").perhaps, 0);
    }

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
        sweep.keep(|name| kept.names.contains(name)).expect("sweeps");
        assert_eq!(rollout(lab.start().1), (manifest, before), "no episode is played again");
    }
}
