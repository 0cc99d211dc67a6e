//! `agx verify` from outside: a clean run, a forged one, another one, a cell of a matrix.

use super::runs::{lab, quiet, value};
use serde_json::json;

#[test]
fn a_clean_run_is_proven_as_far_as_is_asked() {
    let desk = lab(8);
    desk.agx(&["run", "lab.agx", "--set", "threshold=2"]);
    quiet(|| {
        insta::assert_snapshot!("verify_clean", desk.agx(&["verify"]));
        insta::assert_snapshot!("verify_remade", desk.agx(&["verify", "lab-1", "--level", "3"]));
    });
    let told = value(&desk, &["verify", "--level", "1", "--format", "json"]);
    assert_eq!((&told["holds"], told["levels"].as_array().map(Vec::len)), (&json!(true), Some(2)));
    assert_eq!((told["proven"][1]["level"].as_u64(), told["not_proven"][0]["level"].as_u64()), (Some(1), Some(2)));
}

#[test]
fn what_was_changed_is_named() {
    let desk = lab(8);
    desk.agx(&["run", "lab.agx"]);
    let frozen = desk.path().join(".agx/runs/lab-1/source/lab.agx");
    let text = std::fs::read_to_string(&frozen).unwrap();
    std::fs::write(&frozen, text.replace("top 80%", "top 90%")).unwrap();
    quiet(|| insta::assert_snapshot!("verify_changed", desk.agx(&["verify"])));
    let told = value(&desk, &["verify", "--format", "json"]);
    assert_eq!((&told["holds"], &told["levels"][0]["findings"][0]["level"]), (&json!(false), &json!(0)));
    std::fs::write(&frozen, text).unwrap();
    assert_eq!(desk.code(&["verify"]), Some(0));
}

/// Nothing marks the end of a journal but its last event: a run without one has not finished.
#[test]
fn a_journal_cut_short_is_no_finished_run() {
    let desk = lab(8);
    desk.agx(&["run", "lab.agx"]);
    let journal = desk.path().join(".agx/runs/lab-1/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let half: String = text.split_inclusive('\n').take(20).collect();
    std::fs::write(&journal, half).unwrap();
    quiet(|| insta::assert_snapshot!("verify_cut", desk.agx(&["verify", "--level", "0"])));
    assert_eq!(value(&desk, &["verify", "--level", "0", "--format", "json"])["finished"], json!(false));
    // The files that the run names are needed to say more.
    std::fs::write(&journal, text).unwrap();
    std::fs::remove_file(desk.path().join("policy.json")).unwrap();
    quiet(|| insta::assert_snapshot!("verify_no_model", desk.agx(&["verify"])));
}

#[test]
fn runs_are_compared_bit_by_bit() {
    let desk = lab(8);
    desk.agx(&["run", "lab.agx"]);
    desk.agx(&["run", "lab.agx", "--jobs", "1"]);
    desk.agx(&["run", "lab.agx", "--set", "threshold=4"]);
    quiet(|| {
        insta::assert_snapshot!("verify_against_itself", desk.agx(&["verify", "lab-1", "--against", "lab-1"]));
        insta::assert_snapshot!("verify_against", desk.agx(&["verify", "lab-1", "--against", "lab-2"]));
        insta::assert_snapshot!("verify_against_another", desk.agx(&["verify", "lab-1", "--against", "lab-3"]));
    });
}

/// A cell's axes are set by nobody else: its source is expanded all the same.
#[test]
fn a_cell_of_a_matrix_is_proven() {
    let desk = lab(8);
    let text = std::fs::read_to_string(desk.path().join("lab.agx")).unwrap();
    desk.write("lab.agx", text + "\nmatrix cuts of lab { threshold in [2, 4], trainer.sft.lr in [1e-4, 1e-3] }\n");
    desk.agx(&["run", "lab.agx", "--matrix", "cuts", "--cell", "threshold=4"]);
    assert_eq!(desk.code(&["verify"]), Some(0), "{}", desk.agx(&["verify"]));
}

#[test]
fn what_cannot_be_asked_is_said() {
    let desk = lab(8);
    quiet(|| {
        insta::assert_snapshot!("verify_nothing", desk.agx(&["verify"]));
        insta::assert_snapshot!("verify_share", desk.agx(&["verify", "--sample", "0%"]));
    });
    desk.agx(&["run", "lab.agx"]);
    assert_eq!(desk.code(&["verify", "lab-9"]), Some(2));
    assert_eq!(desk.code(&["verify", "lab-1", "--against", "lab-9"]), Some(2));
}

/// A decision's words hold names, which are in no key: a run with other names is proven by its own words.
#[test]
fn a_run_with_other_names_is_proven_too() {
    let desk = lab(8);
    desk.agx(&["run", "lab.agx"]);
    let text = std::fs::read_to_string(desk.path().join("lab.agx")).unwrap();
    let renamed = text.replace("policy ", "agent ").replace("model policy", "model agent");
    desk.write("lab.agx", renamed);
    assert!(desk.agx(&["run", "lab.agx"]).contains("agent@"));
    assert_eq!(desk.code(&["verify", "lab-2"]), Some(0), "{}", desk.agx(&["verify", "lab-2"]));
}
