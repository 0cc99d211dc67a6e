//! Where a version comes from, and what became of a trajectory: read in both directions.

use super::runs::{lab, quiet, value};
use serde_json::{Value, json};

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn uses<'a>(trace: &'a Value, run: &str) -> Vec<(&'a str, &'a str)> {
    let uses = trace["trace"]["uses"].as_array().unwrap().iter().filter(|used| used["run"] == run);
    uses.map(|used| (text(&used["node"]), text(&used["what"]))).collect()
}

#[test]
fn a_version_is_followed_to_its_rows_and_a_trajectory_to_its_versions() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert_eq!(desk.code(&["run", "lab.agx", "--set", "threshold=4"]), Some(0));
    quiet(|| insta::assert_snapshot!("lineage_train", desk.agx(&["show", "train@2", "--run", "lab-1"])));

    let shown = value(&desk, &["show", "train@1", "--run", "lab-1", "--format", "json"]);
    let lineage = &shown["lineage"];
    assert_eq!(lineage["training"]["version"], "policy@1");
    assert_eq!(lineage["training"]["start"], "policy@0");
    let from: Vec<&str> = lineage["from"].as_array().unwrap().iter().map(|it| text(&it["node"])).collect();
    assert_eq!(from, ["select@1", "judge@1", "rollout@1"]);
    assert_eq!(lineage["from"][0]["by"], json!(["rule good"]));
    assert!(lineage["from"][1]["prompts"]["grade"].is_string() && lineage["from"][2]["prompts"]["act"].is_string());
    let rows = lineage["rows"].as_array().unwrap();
    let metric = value(&desk, &["report", "lab-1", "--json"])["metrics"].clone();
    let told = metric.as_array().unwrap().iter().find(|it| it["node"] == "select@1" && it["name"] == "kept.count");
    assert_eq!(told.unwrap()["value"].as_f64(), Some(rows.len() as f64), "the rows are those that were kept");
    let items = desk.agx(&["show", "train@1", "--run", "lab-1", "--item", "0"]);
    assert!(items.contains("── critic\nscore: 4"), "a row of a training is read as any other: {items}");
    let to = ["export", "lab-1", "--as", "jsonl", "--node", "train@1", "--to", "trained.jsonl"];
    assert_eq!(desk.code(&to), Some(0));
    let lines = std::fs::read_to_string(desk.path().join("trained.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), rows.len());

    // And back: every row that was trained on says so, in both runs.
    let mut went_on = false;
    for row in rows {
        let trace = value(&desk, &["show", "trajectory", text(&row["trajectory"]), "--format", "json"]);
        let here = uses(&trace, "lab-1");
        for wanted in [("rollout@1", "rolled_out"), ("judge@1", "judged"), ("select@1", "kept"), ("train@1", "trained")]
        {
            assert!(here.contains(&wanted), "{wanted:?}: {here:?}");
        }
        // The next version starts from the one that it trained; where it came out alike again, it trained that one too.
        let (inherited, trained) = (("train@2", "inherited"), ("train@2", "trained"));
        assert!(here.contains(&inherited) != here.contains(&trained), "{here:?}");
        went_on |= here.contains(&inherited);
        let other = uses(&trace, "lab-2");
        assert!(other.contains(&("rollout@1", "rolled_out")), "{other:?}");
        let trained = trace["trace"]["uses"].as_array().unwrap().iter().find(|used| used["what"] == "trained");
        assert_eq!(trained.unwrap()["training"]["weights"], lineage["training"]["weights"]);
    }
    assert!(went_on, "one of them is only in the first training");
    let first = text(&rows[0]["trajectory"]);
    quiet(|| insta::assert_snapshot!("lineage_trajectory", desk.agx(&["show", "trajectory", &first[..12]])));
}

#[test]
fn what_was_dropped_trained_nothing() {
    let desk = lab(8);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let all = ["export", "--as", "jsonl", "--node", "select@1", "--dropped", "--to", "all.jsonl"];
    assert_eq!(desk.code(&all), Some(0));
    let lines = std::fs::read_to_string(desk.path().join("all.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let dropped: Vec<&str> =
        lines.iter().filter(|line| line["dropped_by"].is_string()).map(|line| text(&line["trajectory"])).collect();
    // Samples that came out alike are one trajectory.
    let kept = |digest: &str| lines.iter().any(|it| it["trajectory"] == digest && it["dropped_by"].is_null());
    let only = dropped.into_iter().find(|digest| !kept(digest)).unwrap();
    let trace = value(&desk, &["show", "trajectory", only, "--format", "json"]);
    let what: Vec<&str> = uses(&trace, "lab-1").into_iter().map(|(_, what)| what).collect();
    assert!(what.contains(&"dropped") && !what.contains(&"trained") && !what.contains(&"inherited"), "{what:?}");
    quiet(|| insta::assert_snapshot!("lineage_dropped", desk.agx(&["show", "trajectory", only])));
    // One of an evaluation is known as well.
    let item = value(&desk, &["show", "evaluate:base", "--format", "json"])["manifest"]["items"][0]["blob"].clone();
    let trace = value(&desk, &["show", "trajectory", text(&item), "--format", "json"]);
    assert!(uses(&trace, "lab-1").contains(&("evaluate:base", "evaluated")), "{trace}");
}

/// A training that had nothing to train on leaves what it started from, under the number that the plan gave it.
#[test]
fn a_training_that_trained_nothing_made_no_version() {
    let desk = lab(8);
    let source = std::fs::read_to_string(desk.path().join("lab.agx")).unwrap();
    desk.write("lab.agx", source.replace("require at least 1\n", "require at least 12 else skip\n"));
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    quiet(|| insta::assert_snapshot!("lineage_nothing", desk.agx(&["show", "train@2"])));
    for args in [["--model", "policy@2"], ["--node", "train@2"]] {
        let said = desk.agx(&[&["export", "--as", "peft", "--to", "out"], &args[..]].concat());
        assert!(said.contains("train@2 had nothing to train on: what it left is policy@0"), "{said}");
        assert!(said.contains("policy@0 is as declared: there is no adapter of it"), "{said}");
    }
    let said = desk.agx(&["export", "--as", "peft", "--to", "out", "--model", "policy"]);
    assert!(said.contains("error: policy@0 is as declared"), "the newest is the declared one: {said}");
}

#[test]
fn what_is_not_found_is_said() {
    let desk = lab(8);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let cases: [(&str, &[&str]); 11] = [
        ("trajectory_of_what", &["show", "trajectory"]),
        ("trajectory_of_all_runs", &["show", "trajectory", "0123456789abcdef", "--run", "lab-1"]),
        ("export_script", &["export", "--as", "hf", "--to", "a", "--model", "policy"]),
        ("two_to_stdout", &["report", "--html", "-", "--format", "json"]),
        ("page_and_markdown", &["report", "--html", "-", "--md"]),
        ("no_trajectory", &["show", "trajectory", "0123456789abcdef"]),
        ("no_digest", &["show", "trajectory", "train-0003"]),
        ("export_near", &["export", "--as", "jsonl", "--to", "a", "--node", "selct@1"]),
        ("export_no_training", &["export", "--as", "peft", "--to", "a", "--node", "select@1"]),
        ("export_no_version", &["export", "--as", "hf", "--to", "a", "--model", "policy@7"]),
        ("export_no_model", &["export", "--as", "hf", "--to", "a", "--model", "polcy"]),
    ];
    for (name, args) in cases {
        quiet(|| insta::assert_snapshot!(format!("lineage_{name}"), desk.agx(args)));
    }
    // A run that is damaged hides no other.
    assert_eq!(desk.code(&["run", "lab.agx", "--jobs", "1"]), Some(0));
    let row = value(&desk, &["show", "train@1", "--format", "json"])["lineage"]["rows"][0]["trajectory"].clone();
    let frozen = desk.path().join(".agx/runs/lab-2/source/lab.agx");
    std::fs::write(&frozen, "agx 2026\n").unwrap();
    let trace = value(&desk, &["show", "trajectory", text(&row), "--format", "json"]);
    assert_eq!(trace["unread"], json!(["lab-2"]));
    assert!(!uses(&trace, "lab-1").is_empty());
}
