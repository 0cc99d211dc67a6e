//! A model that is declared on a GPU, in a build that has none.

use super::Desk;
use std::path::Path;

/// A rollout by the small policy, and its judging by a critic that computes on `device`.
fn desk(device: &str) -> Desk {
    let desk = Desk::new();
    write(&desk, device);
    desk
}

fn write(desk: &Desk, device: &str) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/base").display().to_string();
    desk.write("gpu.agx", include_str!("gpu.agx").replace("base/", &format!("{base}/")).replace("DEVICE", device));
}

fn runs(desk: &Desk) -> usize {
    std::fs::read_dir(desk.path().join(".agx/runs")).map_or(0, Iterator::count)
}

#[test]
fn a_gpu_that_is_not_there_is_told_before_anything_works() {
    let desk = desk("cuda");
    for verb in ["check", "plan"] {
        assert_eq!(desk.code(&[verb, "gpu.agx"]), Some(0), "{verb}: to look needs no GPU");
    }
    insta::assert_snapshot!(desk.agx(&["run", "gpu.agx"]));
    assert_eq!(runs(&desk), 0, "no run was begun");
}

/// Its prompts are made of what is there, and of its tokenizer alone.
#[test]
fn what_a_gpu_would_be_asked_is_planned_without_it() {
    let desk = desk("cpu");
    assert_eq!(desk.code(&["run", "gpu.agx"]), Some(0));
    write(&desk, "cuda");
    let plan = desk.agx(&["plan", "gpu.agx", "--format", "json"]);
    assert!(plan.contains("-- exit 0") && plan.contains("\"cached\""), "{plan}");
    assert_eq!(desk.code(&["run", "gpu.agx"]), Some(1));
    assert_eq!(runs(&desk), 1, "no other run was begun");
    write(&desk, "auto");
    let plan = desk.agx(&["plan", "gpu.agx"]);
    assert!(plan.contains("2 nodes: 2 cached"), "`auto` is the processor: {plan}");
}
