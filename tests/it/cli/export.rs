//! What a run made, for other programs.

use super::Desk;
use super::runs::{lab, quiet};
use serde_json::Value;

fn read(desk: &Desk, name: &str) -> String {
    std::fs::read_to_string(desk.path().join(name)).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn trajectories_are_exported_as_conversations_with_their_origin() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    quiet(|| insta::assert_snapshot!("export_jsonl", desk.agx(&["export", "--as", "jsonl", "--to", "kept.jsonl"])));
    let kept = read(&desk, "kept.jsonl");
    quiet(|| insta::assert_snapshot!("export_line", kept.lines().next().unwrap()));
    let kept = lines(&kept);
    assert!(!kept.is_empty() && kept.iter().all(|line| line["node"] == "select@2" && line["verdict"].is_object()));
    for line in &kept {
        let messages = line["messages"].as_array().unwrap();
        assert_eq!(messages.last().unwrap()["role"], "assistant");
        assert!(messages.iter().all(|message| message["content"].is_string()), "{line}");
        let shown = desk.agx(&["show", line["trajectory"].as_str().unwrap(), "--format", "json"]);
        assert!(shown.contains(line["task"].as_str().unwrap()), "{shown}");
    }
    let written = read(&desk, "kept.jsonl");
    assert!(!written.contains("\"truth\"") && !written.contains("\"success\""), "ground truth is not handed out");

    let all = ["export", "lab-1", "--as", "jsonl", "--to", "all.jsonl", "--node", "select@1", "--dropped"];
    assert_eq!(desk.code(&all), Some(0));
    let all = lines(&read(&desk, "all.jsonl"));
    let dropped = all.iter().filter(|line| line["dropped_by"].is_string()).count();
    assert!(dropped > 0 && dropped < all.len());
    assert_eq!(desk.code(&["export", "--as", "jsonl", "--to", "rolled.jsonl", "--node", "rollout@1"]), Some(0));
    assert_eq!(lines(&read(&desk, "rolled.jsonl")).len(), all.len());
}

#[test]
fn what_cannot_be_exported_is_said_and_nothing_is_written_over() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    desk.write("kept.jsonl", "mine");
    let fifo = std::process::Command::new("mkfifo").arg(desk.path().join("fifo.jsonl")).status().unwrap();
    assert!(fifo.success());
    let cases: [(&str, &[&str]); 8] = [
        ("exists", &["--to", "kept.jsonl"]),
        ("directory", &["--to", ".agx", "--force"]),
        ("device", &["--to", "/dev/full", "--force"]),
        ("fifo", &["--to", "fifo.jsonl"]),
        ("no_node", &["--to", "a.jsonl", "--node", "selct@1"]),
        ("no_rows", &["--to", "a.jsonl", "--node", "pick:winner"]),
        ("no_place", &["--to", "no/such/a.jsonl"]),
        ("model", &["--to", "a.jsonl", "--model", "policy@1"]),
    ];
    for (name, args) in cases {
        let all = [&["export", "--as", "jsonl"], args].concat();
        quiet(|| insta::assert_snapshot!(format!("export_{name}"), desk.agx(&all)));
    }
    assert_eq!(read(&desk, "kept.jsonl"), "mine");
    assert_eq!(desk.code(&["export", "--as", "jsonl", "--to", "kept.jsonl", "--force"]), Some(0));
    assert_ne!(read(&desk, "kept.jsonl"), "mine");
    insta::assert_snapshot!("export_hf_node", desk.agx(&["export", "--as", "hf", "--to", "out", "--node", "select@1"]));
    assert!(!desk.path().join("a.jsonl").exists() && !desk.path().join("out").exists());
}

#[test]
fn trajectories_go_to_stdout_where_that_is_asked_for() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert_eq!(desk.code(&["export", "--as", "jsonl", "--to", "kept.jsonl"]), Some(0));
    let output = desk.command(&["export", "--as", "jsonl", "--to", "-"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), read(&desk, "kept.jsonl"));
    assert!(!desk.path().join("-").exists());
    let refused = ["tar", "cassette", "hf", "peft"].map(|form| desk.agx(&["export", "--as", form, "--to", "-"]));
    quiet(|| insta::assert_snapshot!("export_stdout", refused.join("\n")));
    let both = ["export", "--as", "jsonl", "--to", "-", "--format", "json"];
    assert_eq!(desk.code(&both), Some(2));
}

#[test]
fn a_run_without_a_selection_is_told_of_a_node_that_is_there() {
    let desk = lab(24);
    let text = read(&desk, "lab.agx");
    let (head, _) = text.split_once("schedule {").unwrap();
    desk.write(
        "a.agx",
        format!("{head}schedule {{\n    let first = rollout policy in desk.train {{ prompt = act }}\n  }}\n}}\n"),
    );
    desk.agx(&["run", "a.agx"]);
    let said = desk.agx(&["export", "--as", "jsonl", "--to", "a.jsonl"]);
    quiet(|| insta::assert_snapshot!("export_no_selection", said));
}
