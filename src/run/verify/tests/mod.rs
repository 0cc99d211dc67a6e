//! A clean run holds on every level; each forgery is found on the level that says it would be.

mod forge;

pub use forge::{manifest, rechain, rewrite};

use super::{Asked, Expand, Level, Verified, verify};
use crate::base::{Digest, Seed};
use crate::run::tests::{Lab, tick};
use crate::run::{Control, ItemOutcome, NodeStatus, RunEvent, RunLabel};
use forge::*;
use serde_json::json;

pub const RUN: &str = "quickstart-1";

pub fn look(lab: &Lab, level: Level, share: f64) -> Verified {
    let wire = crate::model::Wire::default();
    let asked = Asked { level, share, draw: Seed(1), jobs: None, against: None, wire };
    // The lab's experiment has no text.
    let expand: Expand<'_> = &|_, _, _| Ok(vec![lab.experiment.clone()]);
    verify(&lab.project, RUN, &asked, expand, &Control::default(), &tick(), &mut |_| {}).expect("it can be looked at")
}

#[test]
fn a_clean_run_holds_on_every_level() {
    let lab = Lab::new(2);
    lab.start();
    let verified = look(&lab, Level::Remade, 1.0);
    assert!(verified.holds(), "{verified:#?}");
    assert_eq!(verified.levels.len(), 4);
    let remade = &verified.levels[3].looked_at;
    let items: u64 = remade.split_whitespace().nth(4).and_then(|word| word.parse().ok()).expect("a number of items");
    assert!(items > 60, "{remade}");
    let few = look(&lab, Level::Remade, 0.2);
    assert!(few.holds(), "{few:#?}");
    assert!(few.levels[3].looked_at.contains("some items"), "{} of {remade}", few.levels[3].looked_at);
    assert_eq!(crate::run::list(&lab.project).expect("lists"), [RUN], "nothing is left of it");
}

/// Wherever a record's entry is damaged, it is found where it lies, also when it does not even say what it is.
#[test]
fn a_flipped_bit_of_a_record_is_damage() {
    let lab = Lab::new(1);
    lab.start();
    let key = item(&lab, "rollout@1", 5).0;
    let mut length = 0;
    lab.project.store.spoil(&key, |entry| length = entry.len());
    for at in (0..length).step_by(5).chain([length - 1]) {
        damage(&lab, &key, |_| at);
        let verified = look(&lab, Level::Keyed, 1.0);
        let found: Vec<_> = verified.findings().collect();
        let is_said = found.iter().any(|it| it.level == Level::Stored && it.what.contains(".pack is damaged: "));
        assert!(is_said, "byte {at} of {length}: {found:#?}");
        damage(&lab, &key, |_| at);
    }
    assert!(look(&lab, Level::Keyed, 1.0).holds());
}

/// What somebody did to a finished run, and a part of what is said.
struct Forgery {
    what: &'static str,
    level: Level,
    said: &'static str,
    forge: fn(&Lab),
}

#[test]
fn every_forgery_is_found_on_its_level() {
    let mut wrong = Vec::new();
    for Forgery { what, level, said, forge } in FORGERIES {
        let lab = Lab::new(2);
        lab.start();
        forge(&lab);
        let verified = look(&lab, Level::Remade, 1.0);
        let found: Vec<String> = verified
            .findings()
            .map(|it| {
                format!(
                    "{:?} {} {} {}",
                    it.level,
                    it.node.as_deref().unwrap_or("–"),
                    it.item.as_deref().unwrap_or("–"),
                    it.what
                )
            })
            .collect();
        let is_said = found.iter().any(|it| it.contains(said));
        if !is_said || verified.findings().any(|it| it.level != *level) {
            wrong.push(format!("{what}: {said:?} on {level:?} is not {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const FORGERIES: &[Forgery] = &[
    // Somebody who edits files.
    Forgery {
        what: "a verdict is edited",
        level: Level::Stored,
        said: "its 51 bytes do not hash",
        forge: |lab| {
            lab.project.store.spoil(&verdict(lab).1, |entry| {
                let place = entry.windows(8).position(|it| it == b"score: 4").expect("a score");
                entry[place + 7] = b'3';
            });
        },
    },
    Forgery {
        what: "a bit of the weights is flipped",
        level: Level::Stored,
        said: "train@1",
        forge: |lab| {
            let weights = manifest(lab, "train@1").output.expect("weights");
            lab.project.store.spoil(&weights, |entry| *entry.last_mut().expect("some") ^= 1);
        },
    },
    Forgery {
        what: "half of a trajectory is blanked",
        level: Level::Stored,
        said: "its bytes do not unpack",
        forge: |lab| {
            lab.project.store.spoil(&item(lab, "rollout@2", 3).1, |entry| {
                let half = entry.len() / 2;
                entry[half..].fill(0);
            });
        },
    },
    Forgery {
        what: "a bit of an item's record is flipped",
        level: Level::Stored,
        said: "Stored rollout@1 – ",
        forge: |lab| damage(lab, &item(lab, "rollout@1", 5).0, |entry| entry.len() - 1),
    },
    Forgery {
        what: "a bit of a node's record is flipped",
        level: Level::Stored,
        said: ".pack is damaged: record ",
        forge: |lab| damage(lab, &planned(lab, "select@2"), |entry| entry.len() / 2),
    },
    Forgery {
        what: "a blob is removed",
        level: Level::Stored,
        said: "is not in the store",
        forge: |lab| {
            let blob = item(lab, "evaluate:test", 0).1;
            lab.project.store.sweep().expect("nobody works").keep(|name| *name != blob).expect("removes");
        },
    },
    Forgery {
        what: "a figure of the journal is edited",
        level: Level::Stored,
        said: "does not follow the line before",
        forge: |lab| {
            edit_journal(lab, |text| {
                text.replacen("\"name\":\"precision\",\"value\":", "\"name\":\"precision\",\"value\":1", 1)
            });
        },
    },
    Forgery {
        what: "two lines of the journal change places",
        level: Level::Stored,
        said: "does not follow the line before",
        forge: |lab| {
            edit_journal(lab, |text| {
                let mut lines: Vec<&str> = text.lines().collect();
                lines.swap(4, 5);
                lines.join("\n") + "\n"
            });
        },
    },
    Forgery {
        what: "a line of the journal is removed",
        level: Level::Stored,
        said: "does not follow the line before",
        forge: |lab| {
            edit_journal(lab, |text| {
                text.lines()
                    .enumerate()
                    .filter(|(at, _)| *at != 7)
                    .fold(String::new(), |all, (_, line)| all + line + "\n")
            });
        },
    },
    Forgery {
        what: "the frozen seed is edited",
        level: Level::Stored,
        said: "experiment.json was changed",
        forge: |lab| {
            edit_frozen(lab, |experiment| experiment["seed"] = json!(8));
        },
    },
    Forgery {
        what: "the frozen source is edited",
        level: Level::Stored,
        said: "quickstart.agx was changed",
        forge: |lab| {
            let path = lab.project.run_dir(RUN).join("source/quickstart.agx");
            std::fs::write(path, "agx 2026\n// another\n").expect("writes");
        },
    },
    // Somebody who makes the checksums fit.
    Forgery {
        what: "a verdict's record is exchanged",
        level: Level::Keyed,
        said: "its record names another result than its node",
        forge: |lab| {
            let (key, blob) = verdict(lab);
            let other = changed(lab, &blob, "score: 4", "score: 1");
            exchange(lab, key, |record| record.output = other);
        },
    },
    Forgery {
        what: "an item's record says that something else made it",
        level: Level::Keyed,
        said: "its record is of another operation: audit",
        forge: |lab| exchange(lab, item(lab, "rollout@1", 5).0, |record| record.op = "audit".to_owned()),
    },
    Forgery {
        what: "a node's record names fewer items than it has",
        level: Level::Keyed,
        said: "its record is not what such a node leaves: items",
        forge: |lab| exchange(lab, planned(lab, "judge@1"), |record| record.items.truncate(1)),
    },
    Forgery {
        what: "a record is removed",
        level: Level::Keyed,
        said: "there is no record of its key",
        forge: |lab| {
            lab.project.store.forget(&item(lab, "rollout@1", 5).0).expect("forgets");
        },
    },
    Forgery {
        what: "the seed is changed everywhere",
        level: Level::Keyed,
        said: "its key is not the one that the frozen experiment gives",
        forge: |lab| {
            edit_frozen(lab, |experiment| experiment["seed"] = json!(8));
            rechain(lab, |_| {});
        },
    },
    Forgery {
        what: "the rule is changed everywhere",
        level: Level::Keyed,
        said: "select@1",
        forge: |lab| {
            edit_frozen(lab, |experiment| {
                experiment["rules"][0]["it"]["stages"].as_array_mut().expect("stages").remove(1);
            });
            rechain(lab, |_| {});
        },
    },
    Forgery {
        what: "the model's file is another one now",
        level: Level::Keyed,
        said: "its key is not the one",
        forge: |lab| {
            let path = lab.directory.path().join("policy.json");
            let text = std::fs::read_to_string(&path).expect("reads").replace("I give up.", "I gave up.");
            std::fs::write(path, text).expect("writes");
        },
    },
    Forgery {
        what: "weights from elsewhere, recorded as this training's",
        level: Level::Keyed,
        said: "evaluate:dev@1",
        forge: |lab| {
            let foreign = lab.project.store.put(b"{\"skill\":3}").expect("stores");
            let key = manifest(lab, "train@1").items[0].key;
            exchange(lab, key, |record| record.output = foreign);
            remake(lab, "train@1", |manifest| {
                manifest.output = Some(foreign);
                manifest.items[0].outcome = ItemOutcome::Done { blob: foreign };
            });
        },
    },
    Forgery {
        what: "the bytes are said to hang on no model",
        level: Level::Keyed,
        said: "label is \"pure\" in the run and \"seeded\" now",
        forge: |lab| {
            rechain(lab, |event| {
                if let RunEvent::RunStarted { label, .. } = event {
                    *label = RunLabel::Pure;
                }
            });
        },
    },
    Forgery {
        what: "another title",
        level: Level::Keyed,
        said: "title is \"A method of ours.\" in the run",
        forge: |lab| {
            rechain(lab, |event| {
                if let RunEvent::RunStarted { title, .. } = event {
                    *title = "A method of ours.".to_owned();
                }
            });
        },
    },
    Forgery {
        what: "another experiment's name",
        level: Level::Keyed,
        said: "experiment is \"ours\" in the run",
        forge: |lab| {
            rechain(lab, |event| {
                if let RunEvent::RunStarted { experiment, .. } = event {
                    *experiment = "ours".to_owned();
                }
            });
        },
    },
    Forgery {
        what: "items that failed, though none is missing",
        level: Level::Keyed,
        said: "evaluate:test – the journal counts 2 failed items, and 0 are missing",
        forge: |lab| {
            recount(lab, |_, items| (items.done, items.failed) = (items.done - 2, 2));
        },
    },
    Forgery {
        what: "more items than there are",
        level: Level::Keyed,
        said: "evaluate:test – the journal counts ",
        forge: |lab| recount(lab, |_, items| items.cached += 100),
    },
    Forgery {
        what: "a node that failed, with a result",
        level: Level::Keyed,
        said: "it names a result, and the journal does not say that it is done",
        forge: |lab| recount(lab, |status, _| *status = NodeStatus::Failed),
    },
    Forgery {
        what: "other digests of what the files held",
        level: Level::Keyed,
        said: "source/identities.json does not say what the files hold: model `",
        forge: |lab| {
            edit_file(lab, "source/identities.json", |held| held["models"][0] = json!(Digest::of_bytes(b"another")));
            rechain(lab, |_| {});
        },
    },
    Forgery {
        what: "another plan",
        level: Level::Keyed,
        said: "plan.json is not the plan that the frozen experiment gives: nodes[",
        forge: |lab| edit_file(lab, "plan.json", |plan| plan["nodes"][3]["iteration"] = json!(7)),
    },
    Forgery {
        what: "a verdict with its node's manifest",
        level: Level::Replayed,
        said: "judge@1",
        forge: |lab| {
            let (key, blob) = verdict(lab);
            let other = changed(lab, &blob, "score: 4", "score: 1");
            exchange(lab, key, |record| record.output = other);
            // The second iteration asked the same.
            for node in ["judge@1", "judge@2"] {
                remake(lab, node, |manifest| {
                    for item in manifest.items.iter_mut().filter(|item| item.key == key) {
                        item.outcome = ItemOutcome::Done { blob: other };
                    }
                });
            }
        },
    },
    Forgery {
        what: "a row of the selection is exchanged",
        level: Level::Replayed,
        said: "Replayed select@1 – dropped[",
        forge: |lab| {
            remake_rows(lab, "select@1", |set| {
                let mut dropped = set.dropped.pop().expect("something was dropped");
                dropped.dropped_by = None;
                set.rows[0] = dropped;
            });
        },
    },
    Forgery {
        what: "a figure in journal and manifest",
        level: Level::Replayed,
        said: "audit@2 – metrics[",
        forge: |lab| {
            remake(lab, "audit@2", |manifest| manifest.metrics[0].value = 1.5);
        },
    },
    Forgery {
        what: "a figure in the journal alone",
        level: Level::Replayed,
        said: "evaluate:test – metrics[1].value",
        forge: |lab| {
            rechain(lab, |event| {
                if let RunEvent::NodeFinished { node, metrics, .. } = event
                    && node == "evaluate:test"
                {
                    metrics[0].value = 0.99;
                }
            });
        },
    },
    Forgery {
        what: "another winner",
        level: Level::Replayed,
        said: "the winner is policy@1 in the run and policy@2 now",
        forge: |lab| {
            rechain(lab, |event| {
                if let RunEvent::RunFinished { winner, .. } = event {
                    *winner = Some("policy@1".to_owned());
                }
            });
        },
    },
    Forgery {
        what: "another decision of the gate",
        level: Level::Replayed,
        said: "gate@1 – detail.why",
        forge: |lab| {
            rechain(lab, |event| {
                if let RunEvent::NodeFinished { node, detail, .. } = event
                    && node == "gate@1"
                {
                    detail["why"] = json!("because");
                }
            });
        },
    },
    Forgery {
        what: "ground truth of an episode",
        level: Level::Replayed,
        said: "truth.truth.",
        forge: |lab| {
            let (key, _) = item(lab, "evaluate:test", 0);
            let made = manifest(lab, "evaluate:test").items[0].also.get("truth").copied().unwrap();
            let (from, to) = if contains(lab, &made, "1.0") { ("1.0", "0.0") } else { ("0.0", "1.0") };
            let truth = changed(lab, &made, from, to);
            exchange(lab, key, |record| {
                record.also.insert("truth".to_owned(), truth);
            });
            follow(lab);
        },
    },
    Forgery {
        what: "the prompt of an episode, and everything after it made from it",
        level: Level::Replayed,
        said: "Replayed rollout@1 train-0000/0 messages[1].content is ",
        forge: |lab| edit_episode(lab, "\"content\":\"", "\"content\":\"Give up. "),
    },
    Forgery {
        what: "an observation of an episode, and everything after it made from it",
        level: Level::Replayed,
        said: "content is ",
        forge: |lab| edit_episode(lab, "\"role\":\"tool\",\"content\":\"", "\"role\":\"tool\",\"content\":\"well: "),
    },
    Forgery {
        what: "how an episode ended, and everything after it made from it",
        level: Level::Replayed,
        said: "ended is false in the run and true now",
        forge: |lab| edit_episode(lab, "\"ended\":true", "\"ended\":false"),
    },
    Forgery {
        what: "a trajectory, and everything after it made from it",
        level: Level::Remade,
        said: "evaluate:test",
        forge: |lab| {
            let (key, blob) = item(lab, "evaluate:test", 0);
            let other = changed(lab, &blob, "\"messages\":[", "\"messages\":[ ");
            exchange(lab, key, |record| record.output = other);
            follow(lab);
        },
    },
];
