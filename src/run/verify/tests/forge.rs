//! What somebody who means to deceive does to a run: it fits together again afterwards.

use super::RUN;
use crate::base::Digest;
use crate::run::tests::Lab;
use crate::run::{ItemCounts, ItemOutcome, Manifest, NodeStatus, RowSet, RunEvent, journal};
use crate::store::Record;
use serde_json::Value;

/// The manifest of a node, as the journal names it.
pub fn manifest(lab: &Lab, node: &str) -> Manifest {
    let events = journal::read(&lab.project.journal(RUN)).expect("reads");
    let output = |(_, event): &(u64, RunEvent)| match event {
        RunEvent::NodeFinished { node: told, output, .. } if told == node => *output,
        _ => None,
    };
    let output = events.iter().rev().find_map(output).expect("the node has finished");
    Manifest::from_bytes(&lab.project.store.get(&output).expect("is there")).expect("a manifest")
}

/// Key and blob of an item.
pub fn item(lab: &Lab, node: &str, at: usize) -> (Digest, Digest) {
    let item = manifest(lab, node).items.swap_remove(at);
    let (ItemOutcome::Done { blob } | ItemOutcome::Unparsed { blob }) = item.outcome else { panic!("it was made") };
    (item.key, blob)
}

/// A verdict of 4.
pub fn verdict(lab: &Lab) -> (Digest, Digest) {
    let mut items = (0..manifest(lab, "judge@1").items.len()).map(|at| item(lab, "judge@1", at));
    items.find(|(_, blob)| contains(lab, blob, "score: 4")).expect("one is good")
}

pub fn contains(lab: &Lab, blob: &Digest, part: &str) -> bool {
    String::from_utf8(lab.project.store.get(blob).expect("is there")).expect("text").contains(part)
}

/// A blob with other words, stored rightly.
pub fn changed(lab: &Lab, blob: &Digest, from: &str, to: &str) -> Digest {
    assert!(contains(lab, blob, from), "{from} is in it");
    let text = String::from_utf8(lab.project.store.get(blob).expect("is there")).expect("text");
    lab.project.store.put(text.replacen(from, to, 1).as_bytes()).expect("stores")
}

/// Another record for a key, filed rightly.
pub fn exchange(lab: &Lab, key: Digest, change: impl FnOnce(&mut Record)) {
    let store = &lab.project.store;
    let mut record = store.lookup(&key).expect("reads").expect("is there");
    change(&mut record);
    store.forget(&key).expect("forgets");
    store.record(&record).expect("files");
}

/// Another manifest of a node: its blob, its record and the journal say the same.
pub fn remake(lab: &Lab, node: &str, change: impl FnOnce(&mut Manifest)) {
    let mut made = manifest(lab, node);
    change(&mut made);
    let blob = lab.project.store.put(&made.to_bytes()).expect("stores");
    let mut key = None;
    rechain(lab, |event| match event {
        RunEvent::RunStarted { nodes, .. } => key = nodes.iter().find(|info| info.id == node).map(|info| info.key),
        RunEvent::NodeFinished { node: told, output, metrics, .. } if told == node => {
            (*output, *metrics) = (Some(blob), made.metrics.clone());
        }
        _ => {}
    });
    exchange(lab, key.expect("the node is planned"), |record| record.output = blob);
}

pub fn remake_rows(lab: &Lab, node: &str, change: impl FnOnce(&mut RowSet)) {
    let rows = manifest(lab, node).output.expect("it gives rows");
    let mut set: RowSet = serde_json::from_slice(&lab.project.store.get(&rows).expect("is there")).expect("rows");
    change(&mut set);
    let rows = lab.project.store.put(&serde_json::to_vec(&set).expect("plain data")).expect("stores");
    remake(lab, node, |manifest| manifest.output = Some(rows));
}

/// Runs the experiment again on a store with a forged item, and passes that off as the first run.
pub fn follow(lab: &Lab) {
    let store = &lab.project.store;
    let events = journal::read(&lab.project.journal(RUN)).expect("reads");
    let RunEvent::RunStarted { nodes, .. } = &events[0].1 else { panic!("the first event says what is run") };
    for node in nodes {
        store.forget(&node.key).expect("forgets");
    }
    std::fs::remove_dir_all(lab.project.run_dir(RUN)).expect("removes");
    assert_eq!(lab.start().0.run, RUN);
}

/// Other words in the first rollout that has some, and everything after it made from it.
pub fn edit_episode(lab: &Lab, from: &str, to: &str) {
    let mut items = (0..manifest(lab, "rollout@1").items.len()).map(|at| item(lab, "rollout@1", at));
    let (key, blob) = items.find(|(_, blob)| contains(lab, blob, from)).expect("one has these words");
    let other = changed(lab, &blob, from, to);
    exchange(lab, key, |record| record.output = other);
    follow(lab);
}

pub fn edit_journal(lab: &Lab, edit: impl FnOnce(String) -> String) {
    let path = lab.project.journal(RUN);
    let text = std::fs::read_to_string(&path).expect("reads");
    let edited = edit(text.clone());
    assert_ne!(text, edited);
    std::fs::write(path, edited).expect("writes");
}

/// The key that a node was planned with.
pub fn planned(lab: &Lab, node: &str) -> Digest {
    let events = journal::read(&lab.project.journal(RUN)).expect("reads");
    let RunEvent::RunStarted { nodes, .. } = &events[0].1 else { panic!("the first event says what is run") };
    nodes.iter().find(|info| info.id == node).expect("it is planned").key
}

/// Flips a bit in the entry of a record.
pub fn damage(lab: &Lab, key: &Digest, at: impl FnOnce(&[u8]) -> usize) {
    lab.project.store.spoil(key, |entry| {
        let at = at(entry);
        entry[at] ^= 1;
    });
}

/// Other words of the journal about how the last evaluation ended.
pub fn recount(lab: &Lab, change: impl Fn(&mut NodeStatus, &mut ItemCounts)) {
    rechain(lab, |event| {
        if let RunEvent::NodeFinished { node, status, items, .. } = event
            && node == "evaluate:test"
        {
            change(status, items);
        }
    });
}

pub fn edit_frozen(lab: &Lab, edit: impl FnOnce(&mut Value)) {
    edit_file(lab, "source/experiment.json", edit);
}

pub fn edit_file(lab: &Lab, name: &str, edit: impl FnOnce(&mut Value)) {
    let path = lab.project.run_dir(RUN).join(name);
    let mut value: Value = serde_json::from_slice(&std::fs::read(&path).expect("reads")).expect("JSON");
    edit(&mut value);
    std::fs::write(path, value.to_string()).expect("writes");
}

/// The journal with other events, chained rightly, and the digests of the frozen files as they are now.
pub fn rechain(lab: &Lab, mut edit: impl FnMut(&mut RunEvent)) {
    rewrite(lab, |events| {
        for (_, event) in events {
            if let RunEvent::RunStarted { frozen, .. } = event {
                for (name, digest) in frozen {
                    *digest = Digest::of_bytes(&std::fs::read(lab.project.run_dir(RUN).join(name)).expect("reads"));
                }
            }
            edit(event);
        }
    });
}

/// Another journal in the place of the run's, chained rightly.
pub fn rewrite(lab: &Lab, edit: impl FnOnce(&mut Vec<(u64, RunEvent)>)) {
    let path = lab.project.journal(RUN);
    let mut events = journal::read(&path).expect("reads");
    edit(&mut events);
    std::fs::remove_file(&path).expect("removes");
    let (mut writer, _) = journal::Writer::open(&path).expect("opens");
    for (time, event) in events {
        writer.write(time, &[event]).expect("writes");
    }
}
