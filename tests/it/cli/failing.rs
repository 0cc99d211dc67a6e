//! Runs whose items fail, from outside: what is said of them, and with which exit code.

use super::Desk;
use super::runs::{lab, quiet, value};
use serde_json::{Value, json};

/// The lab, whose critic has nothing to say of one task: some of its questions fail, whatever is done.
fn silent(tolerance: &str) -> Desk {
    let desk = lab(24);
    let script: Value =
        serde_json::from_str(&std::fs::read_to_string(desk.path().join("policy.json")).unwrap()).unwrap();
    let requests =
        script["replies"].as_array().unwrap().iter().filter(|reply| reply["say"].as_array().unwrap().len() == 2);
    let mut replies = vec![
        json!({ "when": "I do not know", "say": ["score: 0"] }),
        json!({ "when": "I give up", "say": ["score: 1"] }),
    ];
    let known = requests.enumerate().filter(|(at, _)| *at != 3);
    replies.extend(known.map(|(_, reply)| json!({ "when": reply["when"], "say": ["score: 4"] })));
    desk.write("critic.json", json!({ "replies": replies }).to_string());
    let text = include_str!("lab.agx").replace("    calibrate grader on verdicts\n", "");
    let text = text.replace("dataset verdicts { from = desk.verdicts(16) }\n", "");
    desk.write("lab.agx", text.replace("judge trajs with grader\n", &format!("judge trajs with grader {tolerance}\n")));
    desk
}

#[test]
fn a_run_within_its_max_failed_says_what_is_missing() {
    let desk = silent("{ max_failed = 5% }");
    let said = desk.agx(&["run", "lab.agx"]);
    assert!(said.ends_with("-- exit 0\n"), "{said}");
    let nodes = value(&desk, &["status", "--format", "json"])["nodes"].as_array().unwrap().clone();
    let judge = |id: &str| nodes.iter().find(|node| node["id"] == id).unwrap()["items"]["failed"].clone();
    assert!(judge("judge@1").as_u64().unwrap() > 0, "{nodes:#?}");
    quiet(|| {
        insta::assert_snapshot!("failing_run", said);
        insta::assert_snapshot!("failing_status", desk.agx(&["status"]));
        insta::assert_snapshot!("failing_show", desk.agx(&["show", "judge@2"]));
        insta::assert_snapshot!("failing_report", desk.agx(&["report", "--md"]));
        insta::assert_snapshot!("failing_lock", desk.agx(&["lock", "lab.agx", "--results"]));
    });
    let why = desk.agx(&["plan", "lab.agx", "--why"]);
    assert!(
        why.contains("partly cached: as in lab-1, which is missing ") && why.contains("as in lab-1, after judge@1"),
        "{why}"
    );
    quiet(|| insta::assert_snapshot!("failing_verify", desk.agx(&["verify"])));
    let told = |level: &str| value(&desk, &["verify", "--level", level, "--format", "json"]);
    let missing = told("2")["lacking"]["failed"].as_u64().unwrap();
    assert_eq!(told("2")["not_proven"][1], json!({ "what": format!("{missing} missing items") }));
    let remade = desk.agx(&["verify", "--level", "3"]);
    assert!(remade.contains(&format!("\nproven: {missing} missing items failed again\n")), "{remade}");
    assert!(!remade.contains("not proven") && remade.ends_with("-- exit 0\n"), "{remade}");
    assert_eq!(told("3")["not_proven"], json!([]));
    // Nothing of it is free, though no record names its nodes.
    assert_eq!(desk.code(&["cache", "gc"]), Some(0));
    assert_eq!(desk.code(&["verify", "--level", "3"]), Some(0));
    // Resumed, it tries them again; they fail again.
    let again = desk.agx(&["resume"]);
    assert!(again.contains("Missing items, which failed: judge@1 ") && again.ends_with("-- exit 0\n"), "{again}");
    assert_eq!(desk.code(&["verify", "--level", "3"]), Some(0));
    let page = desk.path().join("page.html");
    assert_eq!(desk.code(&["report", "--html", "page.html"]), Some(0));
    assert!(std::fs::read_to_string(page).unwrap().contains("Missing items, which failed: judge@1"));
}

/// Nobody recorded what failed, so it fails where no model is asked: a run that may miss it comes to the same.
#[test]
fn a_cassette_that_misses_items_is_played_to_the_same() {
    let desk = silent("{ max_failed = 5% }");
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert_eq!(desk.code(&["export", "--as", "cassette", "--to", "lab.cassette"]), Some(0));
    let there = Desk::new();
    for name in ["lab.agx", "policy.json", "critic.json", "lab.cassette"] {
        there.write(name, std::fs::read(desk.path().join(name)).unwrap());
    }
    assert_eq!(there.code(&["import", "lab.cassette"]), Some(0));
    let said = there.agx(&["run", "lab.agx", "--frozen"]);
    assert!(said.ends_with("-- exit 0\n"), "{said}");
    let metrics = |desk: &Desk| value(desk, &["report", "--json"])["metrics"].clone();
    assert_eq!(metrics(&there), metrics(&desk));
    assert_eq!(there.code(&["verify"]), Some(0));
}

#[test]
fn a_run_over_its_max_failed_fails_its_node() {
    for (tolerance, said) in [("", " of 48 items failed; "), ("{ retries = 2 }", " of 48 items failed; ")] {
        let desk = silent(tolerance);
        let run = desk.agx(&["run", "lab.agx"]);
        assert!(run.contains(said) && run.ends_with("-- exit 3\n"), "{run}");
        let journal = std::fs::read_to_string(desk.path().join(".agx/runs/lab-1/journal.jsonl")).unwrap();
        assert_eq!(journal.contains("item_retried"), !tolerance.is_empty());
    }
    let desk = silent("{ max_failed = 0.5% }");
    let run = desk.agx(&["run", "lab.agx", "--keep-going"]);
    assert!(run.contains("judge@1 failed: ") && run.ends_with("-- exit 3\n"), "{run}");
}

#[test]
fn what_is_tolerated_is_shown_and_changes_no_key() {
    let desk = silent("{ max_failed = 5%, timeout = 1 min, retries = 2 }");
    let shown = desk.agx(&["show", "experiment", "lab", "--file", "lab.agx"]);
    assert!(
        shown.contains("graded = judge trajs with grader, max_failed = 5%, timeout = 60 s, retries = 2\n"),
        "{shown}"
    );
    let plan = |desk: &Desk| value(desk, &["graph", "lab.agx", "--json"])["digest"].clone();
    let with = plan(&desk);
    assert_eq!(with, plan(&silent("")));
}

/// What is missing is part of what is proven, elsewhere as here.
#[test]
fn a_run_that_misses_items_is_carried_elsewhere() {
    let desk = silent("{ max_failed = 5% }");
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert_eq!(desk.code(&["export", "--as", "tar", "--to", "lab-1.tar"]), Some(0));
    let there = Desk::new();
    let archive = std::fs::read(desk.path().join("lab-1.tar")).unwrap();
    there.write("lab-1.tar", &archive);
    assert_eq!(there.code(&["import", "lab-1.tar"]), Some(0));
    assert_eq!(there.code(&["verify", "--level", "3"]), Some(0), "{}", there.agx(&["verify", "--level", "3"]));
    assert_eq!(there.code(&["cache", "gc"]), Some(0));
    assert_eq!(there.code(&["export", "--as", "tar", "--to", "again.tar"]), Some(0));
    assert!(std::fs::read(there.path().join("again.tar")).unwrap() == archive);
}
