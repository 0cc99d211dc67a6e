//! The contract of keys: every field of an experiment is changed, and the plan's keys change where the table says so, and
//! nowhere else.

use agx::base::Digest;
use agx::experiment::{Experiment, Unreadable, World, check};
use agx::plan::keyed::{self, FIELDS, Field, Keyed, between};
use agx::plan::why::{Planned, Why, why};
use agx::plan::{Identities, Plan, build, key::Recipe, outline};
use agx::run::identify;
use agx::syntax::Source;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Only a build with local models reads these; what is in them is in their identity, which has tests of its own.
const LOCAL: [&str; 4] = ["weights.path", "weights.gguf", "weights.fresh", "weights.fresh.tokenizer"];

/// Where the sample says in other words what it says anyway: the adapter of a model that is not trained, and a model's newest
/// version before it is trained.
const SAME: [&str; 3] = ["/models/#/it/lora", "/schedule/#/evaluate/model/version", "/schedule/#/train/from"];

/// The experiment of every field, in a directory with all that it names, twice.
struct Desk {
    directory: tempfile::TempDir,
    experiment: Experiment,
}

fn desk() -> Desk {
    let directory = tempfile::tempdir().unwrap();
    for copy in ["", "again-"] {
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        std::fs::create_dir(directory.path().join(format!("{copy}api-bank"))).unwrap();
        write(&format!("{copy}api-bank/level-1.json"), "{}");
        write(&format!("{copy}tasks.jsonl"), "{\"request\":\"a\"}\n");
        let talk = json!({ "messages": [{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }] });
        write(&format!("{copy}talk.jsonl"), &format!("{talk}\n"));
        write(&format!("{copy}policy.json"), "{ \"replies\": [], \"default\": [\"a\"] }");
        write(&format!("{copy}small.json"), "{ \"replies\": [], \"default\": [\"b\"] }");
    }
    let source = Source { name: "every_field.agx".to_owned(), text: include_str!("every_field.agx").to_owned() };
    let read = |path: &Path| std::fs::read(path).map_err(|_| Unreadable::Missing);
    let world = World { root: directory.path(), exists: &|path| path.exists(), read: &read };
    let mut checked = check(source, &[], world);
    assert!(checked.diagnostics.iter().all(|it| !it.is_error()), "{:#?}", checked.diagnostics);
    Desk { experiment: checked.experiments.remove(0), directory }
}

struct Made {
    experiment: Experiment,
    identities: Identities,
    plan: Plan,
}

/// `None` where no file could say so: a name of nothing, a place that is not there.
fn made(experiment: Experiment) -> Option<Made> {
    let made = catch_unwind(AssertUnwindSafe(|| {
        let identities = identify(&experiment).ok()?;
        let plan = build(&experiment, &identities).ok()?;
        // A rule or a name that nothing declares is found here.
        outline(&experiment);
        Some((identities, plan))
    }));
    let (identities, plan) = made.ok().flatten()?;
    Some(Made { experiment, identities, plan })
}

/// The values within, by where they stand.
fn leaves(value: &Value, at: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, it)| leaves(it, &format!("{at}/{name}"), found)),
        Value::Array(list) => list.iter().enumerate().for_each(|(n, it)| leaves(it, &format!("{at}/{n}"), found)),
        leaf => found.push((at.to_owned(), leaf.clone())),
    }
}

/// Every other thing that could stand there, as far as a test can think of it: the first that a file could say is taken.
fn others(root: &Path, leaf: &Value) -> Vec<Value> {
    const WORDS: [&str; 26] = [
        "well_formed",
        "official",
        "dialogues",
        "bf16",
        "cuda",
        "json",
        "all",
        "std",
        "sigmoid",
        "mean",
        "max",
        "fail",
        "drop",
        "group",
        "keep",
        "skip",
        "rejected",
        "ge",
        "newest",
        "declared",
        "desk",
        "traj.calls",
        "graded",
        "kept",
        "base",
        "dev",
    ];
    match leaf {
        Value::Bool(it) => vec![json!(!it)],
        Value::Number(it) if it.is_u64() => {
            let it = it.as_u64().unwrap();
            vec![json!(it + 1), json!(it.saturating_sub(1))]
        }
        Value::Number(it) => vec![json!(it.as_f64().unwrap() / 2.0)],
        Value::String(it) => {
            let copy = Path::new(it).file_name().map(|name| root.join(format!("again-{}", name.display())));
            let copy = copy.filter(|copy| copy.exists() && Path::new(it).is_absolute());
            let other = [json!(format!("{it}x"))].into_iter().chain(WORDS.map(|word| json!(word)));
            copy.map(|copy| json!(copy)).into_iter().chain(other).collect()
        }
        Value::Null => {
            let lora = json!({ "rank": 4, "alpha": 8.0, "dropout": 0.0, "on": ["q_proj"] });
            vec![json!(1), json!("newest"), json!("x"), json!(["x"]), lora]
        }
        Value::Array(_) | Value::Object(_) => unreachable!("a leaf"),
    }
}

/// The fields in which two experiments of one shape differ, by their lines in the table.
fn changed(was: &Experiment, is: &Experiment) -> Vec<&'static Field> {
    let (was, is) = (outline(was), outline(is));
    assert_eq!(was.len(), is.len());
    let mut lines = Vec::new();
    for (was, is) in was.iter().zip(&is) {
        // A statement's word says what it is about; its own name is its `let`.
        let declares = ["env", "dataset", "model", "prompt", "critic", "rule", "trainer"].contains(&is.kind);
        if declares && was.name != is.name {
            lines.push(keyed::keyed("every declaration", "name").unwrap());
        }
        for change in between(was, is) {
            let inner = change.difference.field.strip_prefix(&is.name).unwrap().trim_start_matches('.');
            lines.push(keyed::keyed(is.kind, inner).unwrap());
        }
    }
    lines
}

fn keys(plan: &Plan) -> Vec<Digest> {
    plan.steps.iter().map(|step| step.key).collect()
}

/// What is told of a changed key is in that key: the parts of a recipe differ where its digest does, and a step whose key
/// differs has a reason that can be named.
fn is_told(before: &Made, after: &Made, what: &str) {
    for (was, is) in before.plan.steps.iter().zip(&after.plan.steps) {
        let parts = |of: &Made, step: &agx::plan::Step| -> Vec<_> {
            let recipe = Recipe { experiment: &of.experiment, identities: &of.identities };
            let parts = recipe.ingredients(&step.work, step.iteration);
            parts.into_iter().map(|part| (part.role, part.value)).collect()
        };
        assert_eq!(was.recipe != is.recipe, parts(before, was) != parts(after, is), "{what}: {}", is.id);
    }
    fn side(it: &Made) -> Planned<'_> {
        Planned { experiment: &it.experiment, identities: &it.identities, plan: &it.plan }
    }
    for (id, why) in why(side(before), side(after)) {
        let id = &after.plan.step(id).id;
        assert_ne!(why, Some(Why::Meaning), "{what}: {id}");
    }
}

#[test]
fn every_field_is_in_the_keys_or_not_as_the_table_says() {
    let desk = desk();
    let before = made(desk.experiment.clone()).expect("the sample can be planned");
    let whole = serde_json::to_value(&desk.experiment).unwrap();
    let mut found = Vec::new();
    leaves(&whole, "", &mut found);
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    // Of each place in an experiment's types, whether a change there reached a key.
    let mut reached: BTreeMap<String, bool> = BTreeMap::new();
    for (place, leaf) in found {
        // Where in the text a budget stands.
        if place.contains("/span/") {
            continue;
        }
        for other in others(desk.directory.path(), &leaf) {
            if other == leaf {
                continue;
            }
            let mut text = whole.clone();
            *text.pointer_mut(&place).unwrap() = other.clone();
            // A name is changed wherever it is used.
            if let (Value::String(old), true) = (&leaf, place.ends_with("/name") || place.ends_with("/index")) {
                rename(&mut text, old, &other);
            }
            let Ok(experiment) = serde_json::from_value::<Experiment>(text) else { continue };
            let Some(after) = made(experiment) else { continue };
            let lines = changed(&before.experiment, &after.experiment);
            // What no file can say, as how one vote is joined, is in no outline.
            if lines.is_empty() {
                continue;
            }
            let what = format!("{place}: {leaf} -> {other}");
            seen.extend(lines.iter().map(|line| (line.kind, line.field)));
            let differs = if lines.iter().any(|line| line.field == "times") {
                let known: BTreeSet<Digest> = keys(&after.plan).into_iter().collect();
                let mut earlier = before.plan.steps.iter().filter(|step| step.id.ends_with("@1"));
                earlier.any(|step| !known.contains(&step.key))
            } else {
                is_told(&before, &after, &what);
                keys(&before.plan) != keys(&after.plan)
            };
            // Another name changes what refers to it, which is in keys by what it names. A split's name makes its tasks.
            let renames = !place.contains("/splits/") && lines.iter().any(|line| line.why == "names are for people");
            if !renames && lines.iter().any(|line| line.keyed == Keyed::In) {
                let number = |it: &str| it.parse::<u32>().is_ok();
                let parts: Vec<&str> = place.split('/').map(|it| if number(it) { "#" } else { it }).collect();
                *reached.entry(parts.join("/")).or_default() |= differs;
            } else {
                assert!(!differs, "{what} is in the keys; {lines:?}");
            }
            break;
        }
    }
    SAME.iter().for_each(|place| assert_eq!(reached.remove(*place), Some(false), "{place}"));
    let unkeyed: Vec<&String> = reached.iter().filter(|(_, differs)| !**differs).map(|(place, _)| place).collect();
    assert!(unkeyed.is_empty(), "not in the keys: {unkeyed:#?}");
    let unseen: Vec<_> = FIELDS
        .iter()
        .filter(|line| !seen.contains(&(line.kind, line.field)) && !LOCAL.contains(&line.field))
        .map(|line| format!("{} {}", line.kind, line.field))
        .collect();
    assert!(unseen.is_empty(), "no change reaches {unseen:#?}");
}

fn rename(value: &mut Value, old: &str, new: &Value) {
    match value {
        Value::String(it) if it == old => *value = new.clone(),
        Value::Object(map) => map.values_mut().for_each(|it| rename(it, old, new)),
        Value::Array(list) => list.iter_mut().for_each(|it| rename(it, old, new)),
        _ => {}
    }
}

#[test]
fn a_file_is_in_the_keys_by_its_contents() {
    for name in ["api-bank/level-1.json", "tasks.jsonl", "talk.jsonl", "policy.json", "small.json"] {
        let desk = desk();
        let before = made(desk.experiment.clone()).unwrap();
        let path = desk.directory.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.push(b'\n');
        std::fs::write(&path, bytes).unwrap();
        let after = made(desk.experiment.clone()).unwrap();
        assert_ne!(keys(&before.plan), keys(&after.plan), "{name}");
        is_told(&before, &after, name);
    }
}
