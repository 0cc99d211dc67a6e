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
    std::fs::remove_dir_all(desk.path().join(".agx/packs")).unwrap();
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

#[test]
fn runs_and_files_are_compared_field_by_field() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    insta::assert_snapshot!("diff_run_and_its_file", desk.agx(&["diff", "lab-1", "lab.agx"]));
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    insta::assert_snapshot!("diff_same_runs", desk.agx(&["diff", "lab-1", "lab-2"]));
    assert_eq!(desk.code(&["run", "lab.agx", "--set", "threshold=1"]), Some(0));
    insta::assert_snapshot!("diff_runs", desk.agx(&["diff", "lab-1", "lab-3"]));
    let other = changed("lr = 5e-4", "lr = 1e-3, clip = 0.5")
        .replace("    audit kept\n", "")
        .replace("  | top 80% by score\n", "  | top 50% by score\n")
        .replace("scripted = \"policy.json\"", "scripted = \"again.json\"")
        .replace(
            "plot dev.success, kept.precision by i\n    table dev.success, kept.count, kept.precision,",
            "table dev.success,",
        );
    desk.write("other.agx", other);
    std::fs::copy(desk.path().join("policy.json"), desk.path().join("again.json")).unwrap();
    insta::assert_snapshot!("diff_files", desk.agx(&["diff", "lab.agx", "other.agx"]));
    insta::assert_snapshot!("diff_set", desk.agx(&["diff", "lab-1", "lab.agx", "--set", "rounds=3"]));
}

#[test]
fn a_diff_is_data_too() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert_eq!(desk.code(&["run", "lab.agx", "--set", "seed=8"]), Some(0));
    let same = value(&desk, &["diff", "lab-1", "lab-1", "--format", "json"]);
    assert_eq!((&same["same"], &same["first"]), (&json!(true), &Value::Null));
    let diff = value(&desk, &["diff", "lab-1", "lab-2", "--format", "json"]);
    assert_eq!(diff["fields"], json!([{ "kind": "experiment", "field": "seed", "was": 7, "is": 8, "keyed": "in" }]));
    assert_eq!(diff["first"], json!({ "id": "rollout@1", "why": "field", "field": "seed", "was": 7, "is": 8 }));
    let success = |it: &&Value| it["name"] == "dev.success" && it["iteration"] == 1;
    let figure = diff["metrics"].as_array().unwrap().iter().find(success).unwrap();
    let of = |side: &str, what: &str| figure[side][what].as_f64().unwrap();
    assert_eq!(figure["difference"].as_f64().unwrap(), of("b", "value") - of("a", "value"));
    let half = (of("a", "ci95").powi(2) + of("b", "ci95").powi(2)).sqrt();
    assert!((figure["ci95"].as_f64().unwrap() - half).abs() < 1e-12);
    for kept in diff["kept"].as_array().unwrap() {
        let of = |key: &str| kept[key].as_u64().unwrap();
        assert!(of("both") <= of("a").min(of("b")) && of("a") > 0, "{kept}");
    }
    assert_eq!(diff["kept"].as_array().unwrap().len(), 2);
}

#[test]
fn a_diff_tells_what_it_cannot_compare() {
    let desk = lab(24);
    desk.write("bad.agx", "agx 2026\nenv desk {\n");
    desk.write("two.agx", include_str!("lab.agx").replace("experiment lab {", "experiment one {") + &second());
    insta::assert_snapshot!("diff_no_runs", desk.agx(&["diff", "lab-1", "lab.agx"]));
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    insta::assert_snapshot!("diff_unknown_run", desk.agx(&["diff", "lab-1", "lab-7"]));
    assert_eq!(desk.code(&["diff", "lab-1", "missing.agx"]), Some(2));
    assert_eq!(desk.code(&["diff", "lab-1", "bad.agx"]), Some(2));
    insta::assert_snapshot!("diff_two_experiments", desk.agx(&["diff", "lab-1", "two.agx"]));
    let another = desk.agx(&["diff", "lab-1", "two.agx", "--experiment", "two"]);
    assert!(another.contains("name") && another.contains("in no key") && another.ends_with("-- exit 1\n"), "{another}");
    insta::assert_snapshot!("diff_set_of_runs", desk.agx(&["diff", "lab-1", "lab-1", "--set", "seed=8"]));
    // Rows that are gone hide nothing else.
    assert_eq!(desk.code(&["run", "lab.agx", "--set", "seed=8"]), Some(0));
    std::fs::remove_dir_all(desk.path().join(".agx/packs")).unwrap();
    let said = desk.agx(&["diff", "lab-1", "lab-2"]);
    assert!(said.contains("the rows of select@1 cannot be compared") && said.contains("policy.tokens"), "{said}");
    let journal = desk.path().join(".agx/runs/lab-1/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, text.replacen("\"items\"", "\"itemz\"", 1)).unwrap();
    let said = desk.agx(&["diff", "lab-1", "lab-2"]);
    assert!(said.contains("journal.jsonl, line ") && said.ends_with("-- exit 2\n"), "{said}");
}

/// Another experiment over the lab's declarations.
fn second() -> String {
    let lab = include_str!("lab.agx");
    let experiment = &lab[lab.find("experiment lab {").unwrap()..];
    format!("\n{}", experiment.replace("experiment lab {", "experiment two {"))
}

#[test]
fn where_files_lie_is_no_difference() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    std::fs::create_dir(desk.path().join("copy")).unwrap();
    for name in ["lab.agx", "policy.json", "critic.json"] {
        std::fs::copy(desk.path().join(name), desk.path().join("copy").join(name)).unwrap();
    }
    assert_eq!(desk.code(&["diff", "lab.agx", "copy/lab.agx"]), Some(0));
    assert_eq!(desk.code(&["diff", "lab-1", "copy/lab.agx"]), Some(0));
    let script = std::fs::read_to_string(desk.path().join("critic.json")).unwrap();
    desk.write("copy/critic.json", script.replace("score: 4", "score: 3"));
    quiet_keys(|| insta::assert_snapshot!("diff_contents", desk.agx(&["diff", "lab-1", "copy/lab.agx"])));
    std::fs::remove_file(desk.path().join("copy/policy.json")).unwrap();
    assert_eq!(desk.code(&["diff", "lab-1", "copy/lab.agx"]), Some(2), "1 says that they differ");
}
