//! Faults by name, from outside: a full disk, a store that cannot be written, damage of every kind, two at once, a clock set
//! back. Hardly anything here knows how a store lays out its bytes.

use super::Desk;
use super::runs::{begun, lab, signal, value};
use agx::base::Digest;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn events(journal: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(journal).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What each node gave; no item may have been worked twice.
fn outputs(journal: &Path) -> BTreeMap<String, String> {
    let mut worked = BTreeSet::new();
    let mut outputs = BTreeMap::new();
    for event in events(journal) {
        match event["event"].as_str().unwrap() {
            "item_finished" => {
                let item = format!("{} {}", event["node"], event["item"]);
                assert!(worked.insert(item.clone()), "{item} was worked twice");
            }
            "node_finished" if event["output"].is_string() => {
                outputs.insert(event["node"].to_string(), event["output"].to_string());
            }
            _ => {}
        }
    }
    outputs
}

fn journal(desk: &Desk, run: &str) -> PathBuf {
    desk.path().join(".agx/runs").join(run).join("journal.jsonl")
}

/// What an undisturbed run gives.
fn due(tasks: u32) -> BTreeMap<String, String> {
    let calm = lab(tasks);
    assert_eq!(calm.code(&["run", "lab.agx"]), Some(0));
    let outputs = outputs(&journal(&calm, "lab-1"));
    assert_eq!(outputs.len(), 18);
    outputs
}

/// Runs a script in which `"$0"` is the program and `m` a file system of its own of `$1` KiB. Needs the right to mount;
/// `None` without it, which is said.
fn in_a_small_world(desk: &Desk, kilobytes: u32, script: &str) -> Option<Output> {
    std::fs::create_dir_all(desk.path().join("m")).unwrap();
    let mount = "mount -t tmpfs -o size=$1k tmpfs m 2>/dev/null || exit 99\ncp lab.agx *.json m && cd m || exit 98\n";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{mount}{script}"), env!("CARGO_BIN_EXE_agx")]);
    let output = command.arg(kilobytes.to_string()).current_dir(desk.path()).stdin(Stdio::null()).output();
    let refused = |output: &Output| output.status.code() == Some(99) || output.stderr.starts_with(b"unshare:");
    match output {
        Ok(output) if !refused(&output) => Some(output),
        _ => {
            // Past the test's captured output, so that it is seen.
            let said = "skipped: a test of a full or read-only disk, no file system may be mounted here\n";
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            None
        }
    }
}

fn read(desk: &Desk, name: &str) -> String {
    std::fs::read_to_string(desk.path().join(name)).unwrap()
}

/// Full at any moment: one message that names the file and says how to go on; with more space, the same results.
#[test]
fn a_full_disk_loses_nothing_that_was_done() {
    let due = due(24);
    let desk = lab(24);
    let script = r#"
        "$0" run lab.agx >/dev/null 2>../said; echo $? >../code
        mount -o remount,size=64m . || exit 97
        "$0" resume >/dev/null 2>../again || "$0" run lab.agx >/dev/null 2>&1 || exit 96
        [ "$(ls .agx/runs)" = lab-1 ] || exit 94
        cp .agx/runs/lab-1/journal.jsonl ../journal
        "$0" verify >../verified 2>&1 || exit 95
        "$0" cache gc >../swept 2>&1 || exit 93
    "#;
    let mut hit = BTreeMap::from([("start", 0), ("journal", 0), ("store", 0), ("nothing", 0)]);
    for kilobytes in (40..420).step_by(12) {
        let Some(output) = in_a_small_world(&desk, kilobytes, script) else { return };
        let said = read(&desk, "said");
        assert_eq!(output.status.code(), Some(0), "{kilobytes} KiB: {said}\n{output:?}");
        assert_eq!(outputs(&desk.path().join("journal")), due, "{kilobytes} KiB");
        let told: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        let code = read(&desk, "code");
        let what = match (code.trim(), &told[..]) {
            ("0", []) => "nothing",
            ("2", [told]) if told.contains("no space left on device") && said.contains("--store DIR") => "start",
            ("3", [told]) if told.contains("the disk is full") && said.contains("`agx resume lab-1`") => {
                if told.contains("journal.jsonl") { "journal" } else { "store" }
            }
            _ => panic!("{kilobytes} KiB, exit {code}{said}"),
        };
        *hit.get_mut(what).unwrap() += 1;
    }
    assert!(hit.values().all(|times| *times > 0), "the disk was full at every kind of file: {hit:?}");
}

/// The same without the right to mount: no file may grow beyond a limit, which the longest meets, the journal or a pack.
#[cfg(unix)]
#[test]
fn a_file_that_may_not_grow_loses_nothing_that_was_done() {
    let due = due(24);
    let mut stopped = 0;
    // In blocks of 512 bytes.
    for blocks in [1, 4, 20, 24, 40, 64, 96, 128, 160] {
        let desk = lab(24);
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -f $1; exec \"$0\" run lab.agx", env!("CARGO_BIN_EXE_agx")]);
        let output = limited.arg(blocks.to_string()).current_dir(desk.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let code = output.status.code();
        assert!(matches!(code, Some(2 | 3)) && said.matches("error: ").count() == 1, "{blocks}: {code:?} {said}");
        assert!(said.contains("file too large"), "{blocks}: {said}");
        if code == Some(3) {
            assert!(said.contains("`agx resume lab-1`"), "{blocks}: {said}");
            assert_eq!(desk.code(&["resume"]), Some(0), "{blocks}");
            assert_eq!(outputs(&journal(&desk, "lab-1")), due, "{blocks}");
            stopped += 1;
        } else {
            assert_eq!(desk.code(&["run", "lab.agx"]), Some(0), "{blocks}");
            assert_eq!(outputs(&journal(&desk, "lab-1")), due, "{blocks}: one that could not begin leaves nothing");
        }
    }
    assert!(stopped > 3, "{stopped} were stopped on their way");
}

/// All that looks works; what would write says where else it may.
#[test]
fn a_store_that_can_only_be_read_is_read() {
    let desk = lab(24);
    let script = r#"
        "$0" run lab.agx >/dev/null 2>&1 && mount -o remount,ro . || exit 97
        for verb in "plan lab.agx" "plan lab.agx --set threshold=4" status "status --all" report "show select@1" verify \
                    "diff lab.agx lab-1" resume "run lab.agx" "run lab.agx --store ../elsewhere"; do
            said=$("$0" $verb 2>&1 >/dev/null); echo "$? $verb: $said"
        done
    "#;
    let Some(output) = in_a_small_world(&desk, 65536, script) else { return };
    let said = String::from_utf8(output.stdout).unwrap();
    let mut codes = said.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let refused: Vec<&str> = codes.by_ref().filter(|line| !line.starts_with("0 ")).collect();
    assert!(refused.len() == 1 && refused[0].starts_with("2 run lab.agx: error: "), "{said}");
    assert!(said.contains("read-only file system\n help: ") && said.contains("--store DIR"), "{said}");
    assert!(desk.path().join("elsewhere/runs/lab-1").is_dir(), "{said}");
}

/// Every file of the store but those of the runs, and the one that says how long the others were.
fn stored(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with(".agx/runs") => {}
            false if path.ends_with("packs/lock") => {}
            true => files.extend(stored(&path)),
            false => files.push(path),
        }
    }
    files
}

/// Flipped, cut short, emptied or gone, all of it at once: verify finds it, a run makes it again and ends the same.
#[test]
fn damage_of_every_kind_is_found_and_mended() {
    let due = due(24);
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
        std::fs::write(path, bytes).unwrap();
    };
    let cut = |path: &Path| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let empty = |path: &Path| std::fs::write(path, "").unwrap();
    let delete = |path: &Path| std::fs::remove_file(path).unwrap();
    for way in ["flipped", "cut", "emptied", "gone"] {
        let desk = lab(24);
        assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
        stored(&desk.path().join(".agx")).iter().for_each(|path| match way {
            "flipped" => flip(path),
            "cut" => cut(path),
            "emptied" => empty(path),
            _ => delete(path),
        });
        let found = desk.agx(&["verify", "lab-1"]);
        assert!(found.ends_with("-- exit 5\n"), "{way}: {found}");
        let again = desk.agx(&["run", "lab.agx"]);
        assert!(again.ends_with("-- exit 0\n"), "{way}: {again}");
        assert_eq!(again.contains("damaged"), way != "gone", "{way}: {again}");
        assert_eq!(outputs(&journal(&desk, "lab-2")), due, "{way}");
        let third = desk.agx(&["run", "lab.agx"]);
        assert!(!third.contains("damaged") && third.ends_with("-- exit 0\n"), "{way}: {third}");
        let worked = events(&journal(&desk, "lab-3")).iter().filter(|event| event["event"] == "item_finished").count();
        assert_eq!(worked, 0, "{way}: it is whole again");
    }
}

#[test]
fn two_at_once_on_one_store_end_alike() {
    let due = due(96);
    let desk = lab(96);
    let start = || desk.command(&["run", "lab.agx"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let both = [start(), start()].map(|child| child.wait_with_output().unwrap());
    for output in both {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    for run in ["lab-1", "lab-2"] {
        assert_eq!(outputs(&journal(&desk, run)), due, "{run}");
        let verified = desk.agx(&["verify", run]);
        assert!(verified.ends_with("-- exit 0\n"), "{verified}");
    }
}

/// The text between two marks, replaced.
fn between(line: &str, before: &str, after: &str, new: &str) -> String {
    let (head, rest) = line.split_once(before).unwrap();
    let (_, tail) = rest.split_once(after).unwrap();
    format!("{head}{before}{new}{after}{tail}")
}

/// The first sitting was in 2100, as its journal says; the second is today. Times are for people: nothing rests on them.
#[test]
fn a_clock_that_was_set_back_changes_nothing() {
    let due = due(96);
    let desk = lab(96);
    let mut child = begun(&desk);
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let path = journal(&desk, "lab-1");
    let mut prev = Digest::of_bytes(b"agx-journal/1");
    let mut shifted = String::new();
    for (at, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
        let line = between(line, "\"time\":", ",", &(4_102_444_800_000 - 1000 * at as u64).to_string());
        let line = between(&line, "\"prev\":\"", "\"", &prev.to_string());
        prev = Digest::of_bytes(line.as_bytes());
        shifted += &format!("{line}\n");
    }
    std::fs::write(&path, shifted).unwrap();
    for args in [&["status"][..], &["resume"], &["status"], &["report"], &["status", "--watch"], &["verify"]] {
        let said = desk.agx(args);
        assert!(said.ends_with("-- exit 0\n"), "{said}");
    }
    assert_eq!(outputs(&path), due);
    let report = value(&desk, &["report", "--json"]);
    assert_eq!(report["state"], json!("finished"));
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert_eq!(value(&desk, &["status", "--format", "json"])["run"], "lab-2", "the newest, whatever the clock said");
}
