//! What a file may be made of: imports, several experiments, params from outside, matrices.

use super::Desk;
use super::runs::{lab, quiet, value};
use serde_json::Value;
use std::process::Stdio;

/// The laboratory in three files: what the critic is, what the desk is, and what is run.
fn spread() -> Desk {
    let desk = lab(24);
    let whole = std::fs::read_to_string(desk.path().join("lab.agx")).unwrap();
    let item = |begin: &str, end: &str| {
        let (at, rest) = (whole.find(begin).unwrap(), &whole[whole.find(begin).unwrap()..]);
        whole[at..at + rest.find(end).unwrap() + end.len()].to_owned()
    };
    let world = item("env desk", "\n}\n");
    let threshold = item("param threshold", "\n");
    let judging = [
        threshold.clone(),
        item("model grader_lm", "\n"),
        item("prompt grade", "\n}\n"),
        item("critic grader", "\n}\n"),
        item("rule good", "at least 1\n"),
    ];
    let mut root = whole.replace(&world, "");
    judging.iter().for_each(|item| root = root.replace(item, ""));
    let root = root
        .replace("agx 2026\n", "agx 2026\nimport \"lib/critics.agx\" as critics\nimport \"lib/desk.agx\" { desk }\n")
        .replace("grader on", "critics.grader on")
        .replace("with grader", "with critics.grader")
        .replace("by good", "by critics.good");
    let lib = desk.path().join("lib");
    std::fs::create_dir(&lib).unwrap();
    std::fs::write(lib.join("desk.agx"), format!("agx 2026\n{world}")).unwrap();
    let critics = judging.join("\n").replace("\"critic.json\"", "\"../critic.json\"");
    std::fs::write(lib.join("critics.agx"), format!("agx 2026\nimport \"desk.agx\" {{ desk }}\n{critics}")).unwrap();
    desk.write("spread.agx", root);
    desk
}

#[test]
fn a_run_of_several_files_is_the_run_of_one_and_keeps_them_all() {
    let desk = spread();
    assert!(desk.agx(&["check", "spread.agx"]).contains("spread.agx: ok\n"), "{}", desk.agx(&["check", "spread.agx"]));
    assert!(desk.agx(&["check", "lib/critics.agx"]).contains("lib/critics.agx: ok, declarations only\n"));
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let plan = |args: &[&str]| value(&desk, &[&["plan"], args, &["--json"]].concat());
    let (one, several) = (plan(&["lab.agx"]), plan(&["spread.agx"]));
    assert_eq!(one["plan"], several["plan"], "no file and no name is in a key");
    let set = ["spread.agx", "--set", "critics.threshold=4"];
    assert_eq!(plan(&set)["plan"], plan(&["lab.agx", "--set", "threshold=4"])["plan"]);
    assert_ne!(plan(&set)["plan"], several["plan"]);

    assert_eq!(desk.code(&["run", "spread.agx"]), Some(0));
    let frozen = desk.path().join(".agx/runs/lab-2/source");
    for file in ["spread.agx", "lib/critics.agx", "lib/desk.agx"] {
        let kept = std::fs::read(frozen.join(file)).unwrap();
        assert_eq!(kept, std::fs::read(desk.path().join(file)).unwrap(), "{file}");
    }
    desk.write("lib/critics.agx", "nothing of it is left");
    std::fs::remove_file(desk.path().join("lib/desk.agx")).unwrap();
    std::fs::remove_file(desk.path().join("spread.agx")).unwrap();
    assert_eq!(desk.code(&["resume", "lab-2"]), Some(0), "a run goes on from its own copy");
}

#[test]
fn a_mistake_in_an_imported_file_is_shown_there() {
    let desk = spread();
    let path = desk.path().join("lib/critics.agx");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("on_unparsed = drop", "on_unparsed = dropp")).unwrap();
    let root = std::fs::read_to_string(desk.path().join("spread.agx")).unwrap();
    desk.write("spread.agx", root.replace("with critics.grader", "with critics.good"));
    insta::assert_snapshot!("files_imported_mistake", desk.agx(&["check", "spread.agx"]));
    let output = desk.command(&["check", "spread.agx", "--format", "json"]).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let files: Vec<&str> = lines.iter().map(|line| line["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["spread.agx", "lib/critics.agx"]);
    assert_eq!(lines[0]["labels"][1]["file"], "lib/critics.agx", "declared in another file");
    let edit = &lines[1]["edits"][0]["span"];
    let text = std::fs::read_to_string(&path).unwrap();
    let range = edit["start"].as_u64().unwrap() as usize..edit["end"].as_u64().unwrap() as usize;
    assert_eq!(&text[range], "dropp", "places are the file's own");
}

#[test]
fn imports_stay_in_the_project() {
    let outside = Desk::new();
    outside.write("critics.agx", "agx 2026\nlet one = 1\n");
    let desk = Desk::new();
    std::os::unix::fs::symlink(outside.path(), desk.path().join("lib")).unwrap();
    std::fs::create_dir(desk.path().join("folder.agx")).unwrap();
    desk.write("linked.agx", "agx 2026\nimport \"lib/critics.agx\" as c\nlet _two = c.one\n");
    desk.write("folder.agx/x.agx", "agx 2026\nimport \"../folder.agx\" as c\nlet _two = c.one\n");
    desk.write("directory.agx", "agx 2026\nimport \"folder.agx\" as c\nlet _two = c.one\n");
    insta::assert_snapshot!("files_linked", desk.agx(&["check", "linked.agx"]));
    insta::assert_snapshot!("files_directory", desk.agx(&["check", "directory.agx"]));
    let above = desk.agx(&["check", "folder.agx/x.agx"]);
    assert!(above.contains("E0014") && above.ends_with("-- exit 1\n"), "{above}");
    // Many files, each of which imports the next.
    for at in 0..70 {
        desk.write(&format!("f{at}.agx"), format!("agx 2026\nimport \"f{}.agx\" as next\nlet _n = next._n\n", at + 1));
    }
    let many = desk.agx(&["check", "f0.agx"]);
    assert!(many.contains("E0017") && many.contains("1 error in f0.agx"), "{many}");
}

#[test]
fn a_cell_that_cannot_be_is_named() {
    let desk = lab(24);
    let text = std::fs::read_to_string(desk.path().join("lab.agx")).unwrap();
    desk.write("short.agx", text + "\nmatrix m of lab { threshold in [2, 3], rounds in [2, 1] }\n");
    insta::assert_snapshot!("files_wrong_cell", desk.agx(&["check", "short.agx"]));
}

/// Two experiments, the second with a sweep.
const SEVERAL: &str = "
experiment small {
  seed = 7
  schedule { evaluate policy on desk.dev { prompt = act } }
}

matrix rates of lab {
  sft.lr    in [5e-4, 1e-3]
  zip {
    threshold in [2, 3, 4]
    rounds    in [2, 3, 2]
  }
  except { lr = 0.001, threshold = 4 }
}
";

fn several() -> Desk {
    let desk = lab(24);
    let text = std::fs::read_to_string(desk.path().join("lab.agx")).unwrap();
    desk.write("several.agx", text + SEVERAL);
    desk
}

#[test]
fn of_several_experiments_one_is_named() {
    let desk = several();
    assert!(desk.agx(&["check", "several.agx"]).contains("several.agx: ok\n"));
    insta::assert_snapshot!("files_which_experiment", desk.agx(&["run", "several.agx"]));
    insta::assert_snapshot!("files_no_such_experiment", desk.agx(&["plan", "several.agx", "-e", "labb"]));
    assert!(!desk.path().join(".agx").exists());
    let plan = |file: &str, args: &[&str]| value(&desk, &[&["plan", file], args, &["--json"]].concat());
    assert_eq!(plan("several.agx", &["-e", "lab"])["plan"], plan("lab.agx", &[])["plan"]);
    assert_eq!(plan("several.agx", &["--experiment", "small"])["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(desk.code(&["graph", "several.agx", "-e", "small"]), Some(0));
    assert_eq!(desk.code(&["run", "several.agx", "-e", "small"]), Some(0));
    assert!(desk.path().join(".agx/runs/small-1").exists());
    let declarations = desk.agx(&["run", "nothing.agx"]);
    assert!(declarations.ends_with("-- exit 1\n"), "{declarations}");
}

#[test]
fn params_come_from_the_command_line_a_file_or_the_experiment() {
    let desk = lab(24);
    desk.write("params.toml", "rounds = 3\nthreshold = 4\nseed = 11\n");
    desk.write("more.toml", "threshold = 2\n");
    let plan = |args: &[&str]| value(&desk, &[&["plan", "lab.agx"], args, &["--json"]].concat())["plan"].clone();
    let files = plan(&["--params", "params.toml", "--set", "seed=7"]);
    assert_eq!(files, plan(&["--set", "rounds=3", "--set", "threshold=4"]), "the command line goes before the file");
    let last = plan(&["--params", "params.toml", "--params", "more.toml"]);
    assert_eq!(last, plan(&["--set", "rounds=3", "--set", "threshold=2", "--set", "seed=11"]), "the last file counts");
    assert_ne!(files, plan(&[]));
    desk.write("wrong.toml", "rounds = 9\nthreshold = \"many\"\nround = 3\n");
    insta::assert_snapshot!("files_wrong_params", desk.agx(&["check", "lab.agx", "--params", "wrong.toml"]));
    desk.write("broken.toml", "rounds = \n");
    insta::assert_snapshot!("files_broken_params", desk.agx(&["check", "lab.agx", "--params", "broken.toml"]));
    desk.write("lists.toml", "[a]\nrounds = [1, 2]\n");
    insta::assert_snapshot!("files_list_params", desk.agx(&["check", "lab.agx", "--params", "lists.toml"]));
    assert_eq!(desk.code(&["check", "lab.agx", "--params", "missing.toml"]), Some(2));
}

#[test]
fn a_matrix_is_planned_run_and_set_side_by_side() {
    let desk = several();
    quiet(|| insta::assert_snapshot!("files_matrix_plan", desk.agx(&["plan", "several.agx", "--matrix", "rates"])));
    assert_eq!(desk.code(&["run", "several.agx", "--matrix", "rates", "--cell", "2"]), Some(0));
    let run = desk.agx(&["run", "several.agx", "--matrix", "rates"]);
    assert!(run.contains("cell 2 of 5: lr=5e-4, threshold=3, rounds=3: finished as lab-1"), "{run}");
    quiet(|| insta::assert_snapshot!("files_matrix_run", run));
    let again = value(&desk, &["run", "several.agx", "--matrix", "rates", "--format", "json"]);
    let cells = again["cells"].as_array().unwrap();
    let shown: Vec<(&str, &str)> =
        cells.iter().map(|cell| (cell["state"].as_str().unwrap(), cell["run"].as_str().unwrap())).collect();
    assert_eq!(shown.iter().filter(|(state, _)| *state == "finished").count(), 5, "{again}");
    assert_eq!(shown[1].1, "lab-1");
    assert!(cells[0]["metrics"]["dev.success"]["value"].is_number(), "{again}");
    assert_eq!(std::fs::read_dir(desk.path().join(".agx/runs")).unwrap().count(), 5, "nothing was run twice");
    // The cell of the file's own values is the file's experiment.
    let plan = |args: &[&str]| value(&desk, &[&["plan", "several.agx"], args, &["--json"]].concat());
    assert_eq!(
        plan(&["--matrix", "rates", "--cell", "threshold=3", "--cell", "lr=0.0005"])["plan"],
        plan(&["-e", "lab", "--set", "rounds=3"])["plan"]
    );
    assert_eq!(desk.code(&["graph", "several.agx", "--matrix", "rates", "--cell", "1"]), Some(0));
    for args in [
        &["run", "several.agx", "--matrix", "rate"][..],
        &["run", "several.agx", "--matrix", "rates", "--cell", "9"],
        &["run", "several.agx", "--matrix", "rates", "--set", "rounds=2"],
        &["graph", "several.agx", "--matrix", "rates"],
        &["run", "several.agx", "--cell", "1"],
    ] {
        assert_eq!(desk.code(args), Some(2), "{args:?}");
    }
    insta::assert_snapshot!(
        "files_axis_set",
        desk.agx(&["run", "several.agx", "--matrix", "rates", "--set", "rounds=2"])
    );
}

#[test]
fn a_paused_sweep_goes_on_by_the_same_command() {
    let calm = several();
    let args = ["run", "several.agx", "--matrix", "rates", "--format", "json"];
    let expected = value(&calm, &args);
    let desk = several();
    let mut command = desk.command(&args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // It has begun with the second cell.
    let journal = desk.path().join(".agx/runs/lab-2/journal.jsonl");
    while !journal.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    super::runs::signal(&child, "-INT");
    let code = child.wait().unwrap().code();
    assert!(matches!(code, Some(4)), "paused: {code:?}");
    let went_on = value(&desk, &args);
    let found = |value: &Value| -> Vec<Value> {
        value["cells"].as_array().unwrap().iter().map(|cell| cell["metrics"].clone()).collect()
    };
    assert_eq!(found(&went_on), found(&expected));
    assert_eq!(std::fs::read_dir(desk.path().join(".agx/runs")).unwrap().count(), 5, "the paused run went on");
}

#[test]
fn a_budget_is_checked_and_pauses_the_run() {
    let desk = lab(24);
    let text = std::fs::read_to_string(desk.path().join("lab.agx")).unwrap();
    let budget =
        |tokens: &str| text.replace("  seed = seed\n", &format!("  seed = seed\n  budget {{ tokens = {tokens} }}\n"));
    desk.write("wide.agx", budget("1_000_000_000 tokens")).write("low.agx", budget("7 tokens"));
    desk.write("tight.agx", budget("30_000 tokens"));
    insta::assert_snapshot!("files_budget_check", desk.agx(&["check", "wide.agx"]));
    let plan = |file: &str| value(&desk, &["plan", file, "--json"])["plan"].clone();
    assert_eq!(plan("wide.agx"), plan("lab.agx"), "a budget is in no key");
    super::runs::quiet(|| {
        insta::assert_snapshot!("files_budget_run", desk.agx(&["run", "tight.agx"]));
        insta::assert_snapshot!("files_budget_status", desk.agx(&["status"]));
        insta::assert_snapshot!("files_budget_resume", desk.agx(&["resume"]));
    });
    assert_eq!(desk.code(&["resume", "--no-budget"]), Some(0));
    assert_eq!(desk.code(&["run", "tight.agx"]), Some(0), "what is cached costs nothing");
    assert!(desk.agx(&["check", "low.agx"]).contains("E0701"));
}

/// Two labels a hundred lines apart are drawn each in its place.
#[test]
fn far_labels_are_drawn_each_in_its_place() {
    let desk = Desk::new();
    let between = "// nothing\n".repeat(100);
    desk.write("far.agx", format!("agx 2026\nlet a = 1\n{between}let a = 2\n"));
    insta::assert_snapshot!("far_labels", desk.agx(&["check", "far.agx"]));
    insta::assert_snapshot!("far_labels_narrated", desk.agx(&["check", "--narrate", "far.agx"]));
}
