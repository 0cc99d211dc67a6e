//! `agx init`, and `agx show` of what a file declares.

use super::Desk;
use serde_json::Value;

fn json(desk: &Desk, args: &[&str]) -> Value {
    let output = desk.command(args).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
}

#[test]
fn every_start_checks_clean_and_plans() {
    let desk = Desk::new();
    let starts = json(&desk, &["init", "--list", "--format", "json"]);
    let starts: Vec<&str> = starts.as_array().unwrap().iter().map(|start| start["name"].as_str().unwrap()).collect();
    assert!(starts.len() > 2, "{starts:?}");
    for name in starts {
        let told = json(&desk, &["init", name, "--from", name, "--format", "json"]);
        let file = format!("{name}/{name}.agx");
        assert!(told["written"].as_array().unwrap().iter().any(|path| *path == format!("{name}.agx")), "{told}");
        let checked = desk.command(&["check", &file, "--format", "json"]).output().unwrap();
        let found = String::from_utf8(checked.stdout).unwrap();
        assert_eq!(checked.status.code(), Some(0), "{name}: {found}");
        // What this version plans and does not run is noted; nothing else is.
        assert!(found.lines().all(|line| name == "eto" && line.contains("\"W0009\"")), "{name}: {found}");
        // To know a model's weights by what is in them is the local models' work.
        #[cfg(feature = "local")]
        assert!(json(&desk, &["plan", &file, "--json"])["nodes"][0].is_object(), "{name}");
        // What to do next is said as commands that exist.
        for command in told["next"].as_array().unwrap() {
            assert!(command.as_str().unwrap().ends_with(&format!(" {name}.agx")), "{command}");
        }
    }
}

#[test]
fn a_project_is_written_once_and_never_over_something_else() {
    let desk = Desk::new();
    insta::assert_snapshot!("init_list", desk.agx(&["init", "--list"]));
    insta::assert_snapshot!("init_new", desk.agx(&["init", "first", "--from", "minimal"]));
    insta::assert_snapshot!("init_again", desk.agx(&["init", "first", "--from", "minimal"]));
    desk.write("first/minimal.agx", "mine");
    insta::assert_snapshot!("init_refused", desk.agx(&["init", "first", "--from", "minimal"]));
    assert_eq!(std::fs::read_to_string(desk.path().join("first/minimal.agx")).unwrap(), "mine");
    // Of another start only what is missing is written.
    insta::assert_snapshot!("init_second", desk.agx(&["init", "first", "--from", "paper"]));
    assert_eq!(desk.code(&["init", "first", "--from", "minimal", "--force"]), Some(0));
    assert_eq!(desk.code(&["check", "first/minimal.agx"]), Some(0));
    desk.write("file", "a file");
    insta::assert_snapshot!("init_into_a_file", desk.agx(&["init", "file"]));
}

#[test]
fn what_is_ignored_already_stays() {
    let desk = Desk::new();
    desk.write(".gitignore", "target");
    assert_eq!(desk.code(&["init", "--from", "minimal"]), Some(0));
    let ignored = || std::fs::read_to_string(desk.path().join(".gitignore")).unwrap();
    assert_eq!(ignored(), "target\n.agx/\n");
    assert_eq!(desk.code(&["init", "--from", "minimal"]), Some(0));
    assert_eq!(ignored(), "target\n.agx/\n", "once");
}

#[test]
fn what_a_file_declares_is_shown_with_what_it_leaves_out() {
    let desk = Desk::new();
    desk.write("policy.json", r#"{ "default": ["Done."] }"#).write("critic.json", r#"{ "default": ["score: 4"] }"#);
    desk.write("lab.agx", include_str!("lab.agx"));
    let looks: [(&str, &[&str]); 11] = [
        ("list", &[]),
        ("env", &["env"]),
        ("dataset", &["dataset", "verdicts"]),
        ("model", &["model", "policy"]),
        ("critic", &["critic"]),
        ("rule", &["rule", "good"]),
        ("rule_set", &["rule", "good", "--set", "threshold=4"]),
        ("trainer", &["trainer"]),
        ("param", &["param", "threshold", "--set", "threshold=4"]),
        ("experiment", &["experiment"]),
        ("prompt_of_a_critic", &["prompt", "grade", "--item", "2"]),
    ];
    for (name, words) in looks {
        let args = [&["show"], words, &["--file", "lab.agx"]].concat();
        insta::assert_snapshot!(format!("show_{name}"), desk.agx(&args));
        let value = json(&desk, &[args.as_slice(), &["--format", "json"]].concat());
        assert!(value.is_object() || value.is_array(), "{value}");
    }
    let value = json(&desk, &["show", "critic", "--file", "lab.agx", "--format", "json"]);
    assert_eq!(value["defaults"], serde_json::json!(["kind", "votes", "decode", "max_tokens"]));
    let problems: [(&str, &[&str]); 5] = [
        ("unknown_name", &["rule", "goood", "--file", "lab.agx"]),
        ("unknown_kind", &["rul", "good", "--file", "lab.agx"]),
        ("unknown_task", &["prompt", "act", "--file", "lab.agx", "--task", "dev-9999"]),
        ("set_without_file", &["rule", "good", "--set", "threshold=4"]),
        ("nothing", &[]),
    ];
    for (name, words) in problems {
        insta::assert_snapshot!(format!("show_{name}"), desk.agx(&[&["show"], words].concat()));
        assert_eq!(desk.code(&[&["show"], words].concat()), Some(2), "{name}");
    }
    assert!(!desk.path().join(".agx").exists(), "looking makes nothing");
}
