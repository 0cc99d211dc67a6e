//! A model that is declared on a GPU, in a build that has none.

use super::Desk;
use std::path::Path;

#[test]
fn a_gpu_that_is_not_there_is_told_before_anything_works() {
    let desk = Desk::new();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/base/policy");
    let weights = format!("path({:?}), device = cuda", base.display().to_string());
    let hub = include_str!("hub.agx");
    let from = hub.find("hub(").expect("the model's source");
    let to = from + hub[from..].find(')').expect("its end") + 1;
    desk.write("gpu.agx", format!("{}{weights}{}", &hub[..from], &hub[to..]));
    for verb in ["check", "plan"] {
        assert_eq!(desk.code(&[verb, "gpu.agx"]), Some(0), "{verb}: to look needs no GPU");
    }
    insta::assert_snapshot!(desk.agx(&["run", "gpu.agx"]));
    let runs = std::fs::read_dir(desk.path().join(".agx/runs")).map_or(0, Iterator::count);
    assert_eq!(runs, 0, "no run was begun");
}
