//! Runs and files held against each other: why a node is to run, and what differs.

use super::runs::{lab, quiet, value};
use serde_json::{Value, json};

/// The lab with some of its text replaced.
fn changed(from: &str, to: &str) -> String {
    let text = include_str!("lab.agx");
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

fn reasons(plan: &Value) -> Vec<(String, Value)> {
    let nodes = plan["nodes"].as_array().unwrap();
    nodes.iter().map(|node| (node["id"].as_str().unwrap().to_owned(), node["why"].clone())).collect()
}

#[test]
fn a_plan_says_why_its_nodes_are_to_run() {
    let desk = lab(24);
    quiet(|| insta::assert_snapshot!("why_no_run", desk.agx(&["plan", "lab.agx", "--why"])));
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    insta::assert_snapshot!("why_nothing", desk.agx(&["plan", "lab.agx", "--why"]));
    let cases = [
        ("rate", changed("lr = 5e-4", "lr = { 1 => 5e-4, _ => 1e-3 }")),
        ("prompt", changed("    Request: {{ task.request }}\n", "    It was asked: {{ task.request }}\n")),
        ("rule", changed("  | top 80% by score\n", "  | cap 20\n  | top 80% by score\n")),
        ("rounds", changed("rounds    : int in 1..8 = 2", "rounds    : int in 1..8 = 3")),
        ("split", changed("dev = 16", "dev = 12")),
        ("renamed", changed("sft", "fit").replace("method = fit", "method = sft")),
    ];
    for (name, text) in cases {
        desk.write("lab.agx", text);
        quiet_keys(|| insta::assert_snapshot!(format!("why_{name}"), desk.agx(&["plan", "lab.agx", "--why"])));
    }
}

/// Figures stay, digests and plans do not.
fn quiet_keys(run: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[short]");
    settings
        .add_filter(r"at most \S+ prompt, \S+ answer and \S+ training", "at most [prompt], [answer] and [training]");
    settings.bind(run);
}

#[test]
fn the_reasons_are_data_too() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert_eq!(desk.code(&["run", "lab.agx", "--set", "threshold=4"]), Some(0));
    let plan = value(&desk, &["plan", "lab.agx", "--set", "seed=8", "--why", "--against", "lab-1", "--json"]);
    assert_eq!(plan["against"], "lab-1");
    let why = reasons(&plan);
    let of = |id: &str| why.iter().find(|(node, _)| node == id).unwrap().1.clone();
    assert_eq!(of("rollout@1"), json!({ "why": "field", "field": "seed", "was": 7, "is": 8 }));
    assert_eq!(of("judge@1"), json!({ "why": "because", "node": "rollout@1" }));
    assert_eq!(of("evaluate:base"), Value::Null);
    let newest = value(&desk, &["plan", "lab.agx", "--why", "--format", "json"]);
    assert_eq!(newest["against"], "lab-2");
    let field = reasons(&newest).into_iter().find(|(id, _)| id == "select@1").unwrap().1;
    assert_eq!((&field["field"], &field["was"]), (&json!("good[1]"), &json!("where score >= 4")));
    // A file that changed under the same name.
    let script = std::fs::read_to_string(desk.path().join("critic.json")).unwrap();
    desk.write("critic.json", script.replace("score: 4", "score: 3"));
    let plan = value(&desk, &["plan", "lab.agx", "--why", "--against", "lab-1", "--json"]);
    let judge = reasons(&plan).into_iter().find(|(id, _)| id == "judge@1").unwrap().1;
    assert_eq!(judge["field"], "grader_lm.contents");
}

#[test]
fn what_cannot_be_compared_is_told() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    insta::assert_snapshot!("why_unknown_run", desk.agx(&["plan", "lab.agx", "--why", "--against", "lab-2"]));
    insta::assert_snapshot!("why_alone", desk.agx(&["plan", "lab.agx", "--against", "lab-1"]));
    // What a run lost is to be worked again, though nothing differs.
    std::fs::remove_dir_all(desk.path().join(".agx/records")).unwrap();
    quiet_keys(|| insta::assert_snapshot!("why_lost", desk.agx(&["plan", "lab.agx", "--why"])));
    let source = desk.path().join(".agx/runs/lab-1/source/experiment.json");
    let text = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, text.replace("\"seed\": 7", "\"seed\": 9")).unwrap();
    insta::assert_snapshot!("why_changed_source", desk.agx(&["plan", "lab.agx", "--why"]));
    std::fs::write(&source, text).unwrap();
    let journal = desk.path().join(".agx/runs/lab-1/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, text.replacen("\"items\"", "\"itemz\"", 1)).unwrap();
    let said = desk.agx(&["plan", "lab.agx", "--why"]);
    assert!(said.contains("journal.jsonl, line ") && said.ends_with("-- exit 2\n"), "{said}");
}
