//! What a store holds, what of it may go, and stores over stores.

use super::Desk;
use super::runs::{begun, lab, quiet, signal, value};

fn verified(desk: &Desk, run: &str) {
    let said = desk.agx(&["verify", run]);
    assert!(said.ends_with("-- exit 0\n"), "{said}");
}

/// What a run worked itself, of the nodes with items.
fn worked(desk: &Desk, args: &[&str]) -> u64 {
    let status = value(desk, &[&["status", "--format", "json"], args].concat());
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["items"]["done"].as_u64().unwrap()).sum()
}

#[test]
fn what_no_run_names_is_removed_and_nothing_else() {
    let desk = lab(24);
    quiet(|| insta::assert_snapshot!("cache_no_store", desk.agx(&["cache", "ls"])));
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    quiet(|| insta::assert_snapshot!("cache_ls", desk.agx(&["cache", "ls"])));
    assert_eq!(desk.code(&["run", "lab.agx", "--set", "seed=8"]), Some(0));
    let all = value(&desk, &["cache", "ls", "--format", "json"]);
    assert_eq!(all["named_by_no_run"]["records"], 0, "{all}");
    assert!(desk.agx(&["cache", "gc"]).contains("there is nothing to remove"));
    for run in ["lab-1", "lab-2"] {
        verified(&desk, run);
    }

    std::fs::remove_dir_all(desk.path().join(".agx/runs/lab-2")).unwrap();
    let loose = value(&desk, &["cache", "gc", "--dry-run", "--format", "json"]);
    assert!(loose["records"].as_u64() > Some(0) && loose["freed_disk_bytes"].is_null(), "{loose}");
    let said = desk.agx(&["cache", "ls"]);
    assert!(said.contains("Named by no run: ") && said.contains("`agx cache gc`"), "{said}");
    // What a killed import and a killed run left.
    let unfinished = ["runs/.tmp-a", "packs/.tmp-b"].map(|name| desk.path().join(".agx").join(name));
    std::fs::create_dir_all(unfinished[0].join("packs")).unwrap();
    std::fs::write(&unfinished[1], "half").unwrap();
    let gone = value(&desk, &["cache", "gc", "--format", "json"]);
    assert!(unfinished.iter().all(|path| !path.exists()));
    assert_eq!(gone["records"], loose["records"]);
    assert!(gone["freed_disk_bytes"].as_u64() > Some(0), "{gone}");
    let left = value(&desk, &["cache", "ls", "--format", "json"]);
    assert!(
        left["disk_bytes"].as_u64() < all["disk_bytes"].as_u64() && left["named_by_no_run"]["blobs"] == 0,
        "{left}"
    );
    verified(&desk, "lab-1");
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert_eq!(worked(&desk, &["lab-2"]), 0, "all of it is still there");
}

#[test]
fn nothing_is_removed_under_a_run_that_works_or_that_cannot_be_read() {
    let desk = lab(24);
    let mut child = begun(&desk);
    let said = desk.agx(&["cache", "gc"]);
    signal(&child, "-INT");
    child.wait().unwrap();
    assert!(said.contains("runs are working on") && said.ends_with("-- exit 2\n"), "{said}");
    assert_eq!(desk.code(&["resume"]), Some(0));
    let journal = desk.path().join(".agx/runs/lab-1/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, text.replacen("\"items\"", "\"itemz\"", 1)).unwrap();
    let said = desk.agx(&["cache", "gc"]);
    assert!(said.contains("nothing is removed") && said.ends_with("-- exit 2\n"), "{said}");
    std::fs::write(&journal, text).unwrap();
    verified(&desk, "lab-1");
}

#[test]
fn a_run_keeps_what_it_made_whatever_its_directory_is_called() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let runs = desk.path().join(".agx/runs");
    let (own, other) = (runs.join("lab-1"), runs.join("the good one.bak"));
    std::fs::rename(&own, &other).unwrap();
    let said = desk.agx(&["cache", "gc"]);
    assert!(said.contains("there is nothing to remove"), "{said}");
    std::fs::rename(&other, &own).unwrap();
    verified(&desk, "lab-1");
    // A journal that a power cut emptied, or that is gone: what the run made is not known, and stays.
    let journal = own.join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, "").unwrap();
    quiet(|| insta::assert_snapshot!("cache_blank", desk.agx(&["cache", "gc"])));
    let said = desk.agx(&["cache", "ls"]);
    assert!(said.contains("rollout") && said.contains("holds no event") && said.ends_with("-- exit 0\n"), "{said}");
    std::fs::remove_file(&journal).unwrap();
    assert_eq!(desk.code(&["cache", "gc"]), Some(2));
    std::fs::write(&journal, text).unwrap();
    verified(&desk, "lab-1");
}

/// Sweeping copies what is kept first. Where there is no room for that, all is as it was.
#[cfg(unix)]
#[test]
fn a_sweep_without_room_leaves_all_as_it_was() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let packs = || {
        let files = std::fs::read_dir(desk.path().join(".agx/packs")).unwrap().map(|entry| entry.unwrap());
        files.filter(|file| file.path().extension().is_some_and(|it| it == "pack")).count()
    };
    for blocks in [1, 20, 60] {
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f $1; exec \"$0\" cache gc", env!("CARGO_BIN_EXE_agx")]);
        let output = limited.arg(blocks.to_string()).current_dir(desk.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains("file too large"), "{blocks}: {said}");
        assert_eq!(packs(), 1, "{blocks}");
        verified(&desk, "lab-1");
    }
    assert_eq!(desk.code(&["cache", "gc"]), Some(0));
    verified(&desk, "lab-1");
}

#[test]
fn what_is_forgotten_is_worked_again_to_the_same_results() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    quiet(|| insta::assert_snapshot!("cache_forget", desk.agx(&["cache", "forget", "--node", "judge@2"])));
    quiet(|| insta::assert_snapshot!("cache_forget_unknown", desk.agx(&["cache", "forget", "--node", "jugde@2"])));
    let shown = desk.agx(&["show", "judge@2", "--run", "lab-1"]);
    assert!(shown.ends_with("-- exit 0\n"), "{shown}");
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert!(worked(&desk, &["lab-2"]) > 0);
    let same = desk.agx(&["verify", "lab-2", "--against", "lab-1"]);
    assert!(same.ends_with("-- exit 0\n"), "{same}");
    let said = desk.agx(&["cache", "forget", "lab-1"]);
    assert!(said.ends_with("-- exit 0\n"), "{said}");
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert!(worked(&desk, &["lab-3"]) > 100);
}

#[test]
fn a_store_over_another_makes_nothing_again_and_writes_nothing_there() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx", "--store", "shared"]), Some(0));
    let shared = || value(&desk, &["cache", "ls", "--format", "json", "--store", "shared"]);
    let before = shared();
    quiet(|| insta::assert_snapshot!("cache_over_none", desk.agx(&["cache", "over", "nowhere"])));
    quiet(|| insta::assert_snapshot!("cache_over_no_store", desk.agx(&["cache", "over", "shared/runs"])));
    assert!(desk.agx(&["cache", "over", "shared"]).ends_with("-- exit 0\n"));
    let said = desk.agx(&["cache", "over", ".agx"]);
    assert!(said.contains("cannot lie over itself") && said.ends_with("-- exit 2\n"), "{said}");
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert_eq!(worked(&desk, &[]), 0);
    assert!(desk.agx(&["cache", "ls"]).contains("What is not here is read in "));
    let said = desk.agx(&["cache", "over", ".agx", "--store", "third"]);
    assert!(said.contains("only one store can be below") && said.ends_with("-- exit 2\n"), "{said}");
    assert_eq!(desk.code(&["run", "lab.agx", "--set", "threshold=4"]), Some(0));
    verified(&desk, "lab-2");
    assert_eq!(shared(), before);
    std::fs::rename(desk.path().join("shared"), desk.path().join("moved")).unwrap();
    quiet(|| insta::assert_snapshot!("cache_over_gone", desk.agx(&["status"])));
    quiet(|| insta::assert_snapshot!("cache_over_left", desk.agx(&["cache", "over", "--none"])));
    std::fs::rename(desk.path().join("moved"), desk.path().join("shared")).unwrap();
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert!(worked(&desk, &[]) > 100, "it stands for itself again");
}
