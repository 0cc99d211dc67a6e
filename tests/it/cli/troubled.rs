//! Runs and stores in trouble, from outside: killed at once, copied, changed, damaged, full of pipes.

use super::runs::{begun, lab, signal, value};
use std::process::Command;

/// A run that was killed at once has a directory and no event: it is nobody's newest, and every verb says what it is.
#[test]
fn a_run_that_never_started_hides_no_other() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let runs = desk.path().join(".agx/runs");
    std::fs::create_dir(runs.join("lab-2")).unwrap();
    std::fs::create_dir(runs.join("lab-3")).unwrap();
    std::fs::write(runs.join("lab-3/journal.jsonl"), "").unwrap();
    std::fs::create_dir(runs.join("lab-4")).unwrap();
    std::fs::write(runs.join("lab-4/journal.jsonl"), "no event\nnor this\n").unwrap();
    let all = desk.agx(&["status", "--all"]);
    assert!(all.ends_with("-- exit 0\n"), "{all}");
    for (run, state) in
        [("lab-1", "finished"), ("lab-2", "never started"), ("lab-3", "never started"), ("lab-4", "damaged: ")]
    {
        let line = all.lines().find(|line| line.trim_start().starts_with(run)).unwrap();
        assert!(line.contains(state), "{line}");
    }
    let states = value(&desk, &["status", "--all", "--format", "json"]);
    assert_eq!(states.as_array().unwrap().len(), 4);
    assert_eq!(value(&desk, &["status", "--format", "json"])["run"], "lab-1", "the newest that started");
    for args in [["status", "lab-2"], ["report", "lab-3"], ["resume", "lab-2"]] {
        let said = desk.agx(&args);
        assert!(said.contains("never started") && said.ends_with("-- exit 2\n"), "{said}");
        assert!(!said.contains("os error"), "{said}");
    }
    let said = desk.agx(&["status", "lab-9"]);
    assert!(said.contains("there is no run `lab-9`") && said.contains("lab-1"), "{said}");
}

#[test]
fn a_copied_run_goes_by_its_directory_and_a_changed_one_stays() {
    let desk = lab(24);
    let mut child = begun(&desk);
    signal(&child, "-INT");
    child.wait().unwrap();
    let runs = desk.path().join(".agx/runs");
    let copied = Command::new("cp").arg("-r").args([runs.join("lab-1"), runs.join("lab-7")]).status().unwrap();
    assert!(copied.success());
    for args in [&["status", "lab-7", "--format", "json"], &["report", "lab-7", "--format", "json"]] {
        assert_eq!(value(&desk, args)["run"], "lab-7");
    }
    let frozen = runs.join("lab-7/source/experiment.json");
    let text = std::fs::read_to_string(&frozen).unwrap();
    std::fs::write(&frozen, text.replace("\"seed\": 7", "\"seed\": 8")).unwrap();
    let said = desk.agx(&["resume", "lab-7"]);
    assert!(
        said.contains("experiment.json was changed since it was started") && said.ends_with("-- exit 2\n"),
        "{said}"
    );
    let said = desk.agx(&["resume", "lab-1"]);
    assert!(said.ends_with("-- exit 0\n"), "{said}");
    let again = desk.agx(&["resume", "lab-1"]);
    assert!(again.contains("is finished") && !again.contains("goes on") && again.ends_with("-- exit 0\n"), "{again}");
}

/// What is suggested can be typed as it stands.
#[test]
fn suggested_commands_name_the_store_and_a_node_that_is_there() {
    let desk = lab(24);
    let said = desk.agx(&["run", "lab.agx", "--store", "my results"]);
    assert!(said.contains("`agx report lab-1 --html report.html --store 'my results'`"), "{said}");
    assert!(said.contains("`agx show select@1 --run lab-1 --store 'my results'`"), "{said}");
    let measure = include_str!("lab.agx");
    let (head, _) = measure.split_once("  schedule {").unwrap();
    desk.write("bare.agx", format!("{head}  schedule {{\n    let base = evaluate policy on desk.dev {{ prompt = act, decode = greedy }}\n  }}\n}}\n"));
    let said = desk.agx(&["run", "bare.agx"]);
    assert!(said.ends_with("-- exit 0\n") && said.contains("`agx show evaluate:base --run lab-1`"), "{said}");
}

/// Each damaged file is told once a run, a flood in one line.
#[test]
fn damage_is_told_once_and_in_few_words() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let pack = desk.path().join(".agx/packs/000001.pack");
    let mut bytes = std::fs::read(&pack).unwrap();
    // Behind the pack's first bytes, without which nothing in it could be read.
    let places = (40..bytes.len()).step_by(900);
    places.clone().for_each(|at| bytes[at] ^= 1);
    std::fs::write(&pack, bytes).unwrap();
    let output = desk.command(&["run", "lab.agx"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let told = said.lines().filter(|line| line.contains("damaged")).count();
    assert!((1..40).contains(&told) && told * 3 < places.len(), "{told} lines of {} places", places.len());
    let mut named: Vec<&str> = said.lines().filter(|line| line.contains("is damaged (")).collect();
    let all = named.len();
    named.sort_unstable();
    named.dedup();
    assert_eq!(named.len(), all, "each once: {said}");
    assert!(said.contains("places in the store are damaged"), "{said}");
    assert_eq!(value(&desk, &["status", "--format", "json"])["state"], "finished");
    let again = desk.agx(&["run", "lab.agx"]);
    assert!(!again.contains("damaged"), "it is whole again: {again}");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_a_file_s_place_is_refused_at_once() {
    let desk = lab(24);
    std::fs::remove_file(desk.path().join("policy.json")).unwrap();
    for name in ["policy.json", "pipe.agx"] {
        assert!(Command::new("mkfifo").arg(desk.path().join(name)).status().unwrap().success());
    }
    for (verb, file) in [("check", "pipe.agx"), ("run", "lab.agx"), ("plan", "lab.agx")] {
        let said = desk.agx(&[verb, file]);
        assert!(said.contains("is not a regular file") && said.ends_with("-- exit 1\n"), "{said}");
    }
}
