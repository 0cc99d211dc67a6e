//! `agx lock`, `agx run --locked` and `agx verify FILE`: inputs and results as they were written down.

use super::runs::{lab, quiet, value};
use serde_json::json;

#[test]
fn a_lock_holds_inputs_and_results() {
    let desk = lab(8);
    quiet(|| {
        insta::assert_snapshot!("lock_none", desk.agx(&["run", "lab.agx", "--locked"]));
        insta::assert_snapshot!("lock_first", desk.agx(&["lock", "lab.agx"]));
        insta::assert_snapshot!("lock_too_early", desk.agx(&["lock", "lab.agx", "--results"]));
    });
    assert_eq!(desk.code(&["run", "lab.agx", "--locked"]), Some(0));
    quiet(|| {
        insta::assert_snapshot!("lock_results", desk.agx(&["lock", "lab.agx", "--results"]));
        insta::assert_snapshot!("lock_again", desk.agx(&["lock", "lab.agx"]));
        insta::assert_snapshot!("lock_file", std::fs::read_to_string(desk.path().join("lab.lock")).unwrap());
    });
    let again = desk.command(&["run", "lab.agx", "--locked"]).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).contains("as locked, byte for byte"), "{again:?}");
    let told = value(&desk, &["lock", "lab.agx", "--format", "json"]);
    assert_eq!((&told["lock"], &told["experiment"], &told["changed"]), (&json!("lab.lock"), &json!("lab"), &json!([])));
}

#[test]
fn what_is_not_as_locked_is_named() {
    let desk = lab(8);
    desk.agx(&["run", "lab.agx"]);
    desk.agx(&["lock", "lab.agx", "--results"]);
    // Another setting is another plan.
    quiet(|| insta::assert_snapshot!("lock_set", desk.agx(&["run", "lab.agx", "--locked", "--set", "threshold=4"])));
    // A result that does not come out.
    let path = desk.path().join("lab.lock");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|line| line.starts_with("\"select@1\"")).unwrap();
    std::fs::write(&path, text.replace(line, &format!("\"select@1\" = \"{}\"", "0".repeat(64)))).unwrap();
    let last = |text: String| {
        text.split("-- stderr")
            .last()
            .unwrap()
            .lines()
            .rev()
            .take(5)
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    quiet(|| insta::assert_snapshot!("lock_result", last(desk.agx(&["verify", "lab.agx"]))));
    let told = value(&desk, &["verify", "lab.agx", "--format", "json"]);
    assert_eq!((&told["holds"], &told["differs"][0]["name"]), (&json!(false), &json!("select@1")), "{told}");
    std::fs::write(&path, &text).unwrap();
    let told = value(&desk, &["verify", "lab.agx", "--format", "json"]);
    assert_eq!((&told["holds"], &told["differs"]), (&json!(true), &json!([])), "{told}");
    // A model's file that has changed.
    let critic = std::fs::read_to_string(desk.path().join("critic.json")).unwrap();
    desk.write("critic.json", critic.replace("hard to say", "hard to tell"));
    quiet(|| {
        insta::assert_snapshot!("lock_input", desk.agx(&["run", "lab.agx", "--locked"]));
        insta::assert_snapshot!("lock_update_other", desk.agx(&["lock", "lab.agx", "--update", "policy"]));
        insta::assert_snapshot!("lock_update", desk.agx(&["lock", "lab.agx", "--update", "grader_lm"]));
        insta::assert_snapshot!("lock_no_results", desk.agx(&["verify", "lab.agx"]));
    });
    assert_eq!(desk.code(&["run", "lab.agx", "--locked"]), Some(0));
}

#[test]
fn a_frozen_run_asks_no_model() {
    let desk = lab(8);
    quiet(|| insta::assert_snapshot!("frozen_nothing", desk.agx(&["run", "lab.agx", "--frozen"])));
    desk.agx(&["run", "lab.agx"]);
    assert_eq!(desk.code(&["run", "lab.agx", "--frozen"]), Some(0));
    // The rule asks nothing new, the temperature would.
    assert_eq!(desk.code(&["run", "lab.agx", "--frozen", "--set", "threshold=3"]), Some(0));
    assert_eq!(desk.code(&["run", "lab.agx", "--frozen", "--set", "seed=8"]), Some(3));
}

#[test]
fn a_lock_that_is_none_is_refused() {
    let desk = lab(8);
    desk.write("lab.lock", "<<<<<<< HEAD\nversion = 1\n");
    quiet(|| insta::assert_snapshot!("lock_conflict", desk.agx(&["lock", "lab.agx"])));
    desk.write("lab.lock", "version = 9\n");
    assert_eq!(desk.code(&["run", "lab.agx", "--locked"]), Some(2));
}

/// The repository's own locks: the same inputs and plans, and the least experiment's bytes.
#[cfg(feature = "local")]
#[test]
fn the_repositorys_locks_hold() {
    let experiments = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let store = tempfile::tempdir().unwrap();
    for name in ["quickstart", "minimal"] {
        let desk = super::Desk::new();
        for part in ["base/policy", "base/critic"] {
            std::fs::create_dir_all(desk.path().join(part)).unwrap();
            for entry in std::fs::read_dir(experiments.join(part)).unwrap() {
                let from = entry.unwrap().path();
                std::fs::copy(&from, desk.path().join(part).join(from.file_name().unwrap())).unwrap();
            }
        }
        for file in [format!("{name}.agx"), format!("{name}.lock")] {
            std::fs::copy(experiments.join(&file), desk.path().join(&file)).unwrap();
        }
        let before = std::fs::read_to_string(desk.path().join(format!("{name}.lock"))).unwrap();
        let said = desk.agx(&["lock", &format!("{name}.agx"), "--store", &store.path().display().to_string()]);
        let after = std::fs::read_to_string(desk.path().join(format!("{name}.lock"))).unwrap();
        assert_eq!(before, after, "{said}");
        if name == "minimal" {
            assert_eq!(desk.code(&["verify", "minimal.agx"]), Some(0), "{}", desk.agx(&["verify", "minimal.agx"]));
        }
    }
}
