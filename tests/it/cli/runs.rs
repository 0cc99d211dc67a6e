//! Whole runs from outside, with scripted models: cached, changed, paused, killed, looked at.

use super::Desk;
use agx::env::{Action, Env, EnvKind, EnvSpec, Split, call, desk};
use agx::model::ToolFormat;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// A directory with `lab.agx` and its scripts: a policy that solves every third task, one third more after each training, and
/// sometimes gives up when it draws; a critic that sees who gave up, and says nothing readable of one task.
pub(super) fn lab(tasks: u32) -> Desk {
    let desk = Desk::new();
    let split = |name: &str, size, held_out| Split { name: name.to_owned(), size, held_out };
    let splits = vec![split("train", tasks, false), split("dev", 16, false), split("test", 16, true)];
    let env =
        Env::open(&EnvSpec { kind: EnvKind::Desk, splits: splits.clone(), max_steps: 6 }, &agx::model::Wire::default())
            .expect("the desk is built in");
    let mut replies = Vec::new();
    for split in &splits {
        for (at, task) in env.tasks(&split.name).iter().enumerate() {
            let (mut episode, _) = env.start(task, agx::base::Seed(0)).expect("the desk does not fail");
            let mut last = task.fields["request"].as_str().unwrap().to_owned();
            for (turn, action) in desk::expert(task).into_iter().enumerate() {
                let text = match &action {
                    Action::Call(call) => call::render(call, ToolFormat::Lines),
                    Action::Answer(text) | Action::Unreadable(text) => text.clone(),
                };
                let say = if turn == 0 { vec![text, "I give up.".to_owned()] } else { vec![text] };
                replies.push(json!({ "when": last, "skill": if turn == 0 { at % 3 } else { 0 }, "say": say }));
                last = episode.step(&action).expect("the desk does not fail").text;
            }
        }
    }
    let unreadable = env.tasks("train")[3].fields["request"].clone();
    let critic = json!({
        "replies": [
            { "when": unreadable, "say": ["hard to say"] },
            { "when": "I do not know", "say": ["score: 0"] },
            { "when": "I give up", "say": ["score: 1"] },
        ],
        "default": ["score: 4"],
    });
    desk.write("policy.json", json!({ "replies": replies, "default": ["I do not know."] }).to_string());
    desk.write("critic.json", critic.to_string());
    desk.write("lab.agx", include_str!("lab.agx").replace("train = 24", &format!("train = {tasks}")));
    desk
}

/// The shape without the figures, which change with the environment's tasks.
pub(super) fn quiet(run: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b[0-9a-f]{64}\b", "[digest]");
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[short]");
    settings.add_filter(r"\b[\d.]+ s\b", "[time]");
    settings.add_filter(r"[0-9]", "#");
    settings.bind(run);
}

pub(super) fn value(desk: &Desk, args: &[&str]) -> Value {
    let output = desk.command(args).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
}

fn statuses(plan: &Value) -> Vec<(String, String)> {
    let nodes = plan["nodes"].as_array().unwrap();
    nodes.iter().map(|node| (text(&node["id"]), text(&node["status"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A verdict of several replies is shown with all of them.
#[test]
fn every_reply_of_which_a_verdict_was_made_is_shown() {
    let desk = lab(24);
    let votes = "on_unparsed = drop\n  votes       = 2 by mean\n  decode      = sample { temperature = 0.7 }";
    let file = std::fs::read_to_string(desk.path().join("lab.agx")).unwrap();
    assert!(file.contains("on_unparsed = drop"));
    desk.write("lab.agx", file.replace("on_unparsed = drop", votes));
    let critic = std::fs::read_to_string(desk.path().join("critic.json")).unwrap();
    desk.write("critic.json", critic.replace(r#"["score: 4"]"#, r#"["score: 4", "score: 3", "none"]"#));
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    for node in ["judge@1", "select@1"] {
        let shown = desk.agx(&["show", node, "--item", "0"]);
        assert!(shown.contains("── critic (vote 1)\n") && shown.contains("── critic (vote 2)\n"), "{shown}");
    }
    let one = desk.agx(&["show", "judge@1", "--item", "train-0001/1#2"]);
    assert!(one.contains("task train-0001 · sample 1\n") && one.contains("(vote 2)"), "{one}");
    assert!(!one.contains("(vote 1)"), "{one}");
    let said = desk.agx(&["report"]);
    assert!(said.contains("Replies that could not be read") && said.contains("`score` is not given"), "{said}");
    assert!(said.contains("unread"), "{said}");
}

#[test]
fn a_run_is_told_line_by_line_and_reported() {
    let desk = lab(24);
    quiet(|| {
        insta::assert_snapshot!("runs_plan", desk.agx(&["plan", "lab.agx"]));
        insta::assert_snapshot!("runs_graph", desk.agx(&["graph", "lab.agx", "--mermaid"]));
        insta::assert_snapshot!("runs_run", desk.agx(&["run", "lab.agx"]));
        insta::assert_snapshot!("runs_status", desk.agx(&["status"]));
        insta::assert_snapshot!("runs_status_all", desk.agx(&["status", "--all"]));
        insta::assert_snapshot!("runs_show_select", desk.agx(&["show", "select@1"]));
        insta::assert_snapshot!("runs_show_nothing", desk.agx(&["show", "selct@1"]));
    });
    let looks: [(&[&str], &[&str]); 4] = [
        (
            &["show", "select@1", "--item", "0"],
            &["── user (prompt)\n", "── assistant\n", "── critic\nscore: 4", "· kept ·"],
        ),
        (&["show", "evaluate:base", "--item", "0"], &["task dev-0000", "in truth "]),
        (&["show", "prompt", "grade", "--task", "train-0004"], &["── user\nRequest: ", "score: 0 to 4"]),
        (&["show", "prompt", "act", "--task", "dev-0001"], &["── user\n"]),
    ];
    for (args, shown) in looks {
        let said = desk.agx(args);
        for part in shown {
            assert!(said.contains(part) && said.ends_with("-- exit 0\n"), "{part}: {said}");
        }
    }
    let unread = desk.agx(&["show", "judge@1", "--task", "train-0003"]);
    assert!(
        unread.contains("── critic\nhard to say\n") && unread.contains("no verdict: `score` is not given"),
        "{unread}"
    );
    let shown = |item: &str| {
        let said = desk.agx(&["show", "judge@1", "--item", item]);
        said.split_once("-- stdout\n").expect("it is shown").1.to_owned()
    };
    assert_eq!(shown("train-0003/0"), shown("6"), "by its name and by its place");
    let digest = text(&value(&desk, &["show", "train@1", "--format", "json"])["output"]);
    assert_eq!(value(&desk, &["show", &digest[..12]])["op"], "train", "an object by the start of its digest");
    let report = value(&desk, &["report", "--json"]);
    for metric in report["metrics"].as_array().unwrap() {
        for key in ["node", "name", "iteration", "value", "n", "ci95"] {
            assert!(metric.get(key).is_some(), "{key} is missing in {metric}");
        }
    }
    let desk_page = desk.path().join("page.html");
    assert_eq!(desk.code(&["report", "--html", "page.html"]), Some(0));
    let page = std::fs::read_to_string(desk_page).unwrap();
    assert!(page.contains("A few trajectories to read") && page.contains("class=\"confusion\""));
    let again = desk.path().join("again.html");
    assert_eq!(desk.code(&["report", "lab-1", "--html", "again.html"]), Some(0));
    assert_eq!(std::fs::read_to_string(again).unwrap(), page, "the same run gives the same page");
    assert_eq!(desk.code(&["report", "--with", "lab-1", "--svg", "curves.svg"]), Some(0));
    let curves = std::fs::read_to_string(desk.path().join("curves.svg")).unwrap();
    assert!(curves.starts_with("<svg xmlns=") && curves.matches("class=\"series").count() == 2, "{curves}");
}

#[test]
fn what_is_known_is_not_worked_again() {
    let desk = lab(24);
    let fresh = value(&desk, &["plan", "lab.agx", "--json"]);
    assert!(statuses(&fresh).iter().all(|(_, status)| status == "run"));
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let known = value(&desk, &["plan", "lab.agx", "--format", "json"]);
    assert!(statuses(&known).iter().all(|(_, status)| status == "cached"), "{known}");
    assert_eq!(known["plan"], fresh["plan"]);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let report = value(&desk, &["report", "--json"]);
    assert_eq!(report["run"], "lab-2");
    assert!(report["nodes"].as_array().unwrap().iter().all(|node| node["items"]["done"] == 0), "{report}");

    let stricter = statuses(&value(&desk, &["plan", "lab.agx", "--set", "threshold=4", "--json"]));
    let status = |id: &str| stricter.iter().find(|(node, _)| node == id).unwrap().1.clone();
    assert_eq!((status("rollout@1"), status("judge@1")), ("cached".to_owned(), "cached".to_owned()));
    assert_eq!(status("select@1"), "run");
    let longer = statuses(&value(&desk, &["plan", "lab.agx", "--set", "rounds=3", "--json"]));
    for (id, status) in &longer {
        let early = id.ends_with("@1") || id.ends_with("@2");
        assert!(!early || status == "cached", "{id} is {status}");
    }
}

#[test]
fn a_failed_node_is_one_message_and_its_own_exit_code() {
    let desk = lab(24);
    let strict = include_str!("lab.agx").replace("on_unparsed = drop", "on_unparsed = fail");
    desk.write("strict.agx", strict);
    quiet(|| insta::assert_snapshot!("runs_failed", desk.agx(&["run", "strict.agx"])));
    assert_eq!(desk.code(&["status"]), Some(0));
    assert_eq!(desk.code(&["resume"]), Some(3), "it fails again, and says so again");
    // What could not be read can be looked at.
    let unread = desk.agx(&["show", "judge@1", "--item", "train-0003/0"]);
    let why =
        "judge@1 · train-0003/0 failed: the verdict cannot be read: `score` is not given\n\n── critic\nhard to say\n";
    assert!(unread.contains(why) && unread.ends_with("-- exit 0\n"), "{unread}");
    let json = value(&desk, &["show", "judge@1", "--task", "train-0003", "--format", "json"]);
    assert_eq!((json[0]["reply"].as_str(), json.as_array().unwrap().len()), (Some("hard to say"), 2), "{json}");
    for node in ["judge@1", "calibrate:grader"] {
        let first = desk.agx(&["show", node, "--item", "0"]);
        assert!(first.contains("\n\n── critic\nscore: ") && first.ends_with("-- exit 0\n"), "{first}");
    }
    let none = desk.agx(&["show", "judge@1", "--item", "nobody/0"]);
    assert!(none.contains("`judge@1` has failed, and has nothing of that"), "{none}");
    let later = desk.agx(&["show", "select@1", "--item", "0"]);
    assert!(later.contains("`select@1` has not finished"), "{later}");
}

/// Without `--keep-going` nothing more is begun after a failure; with it, what does not need what failed. What is left out
/// says why.
#[test]
fn what_is_left_out_of_a_run_says_why() {
    let desk = lab(24);
    let strict = include_str!("lab.agx").replace("on_unparsed = drop", "on_unparsed = fail").replace(
        "      audit kept\n",
        "      audit kept\n      let other = rollout policy in desk.dev { prompt = act }\n",
    );
    desk.write("strict.agx", strict);
    assert_eq!(desk.code(&["run", "strict.agx"]), Some(3));
    quiet(|| insta::assert_snapshot!("runs_failed_status", desk.agx(&["status"])));
    quiet(|| insta::assert_snapshot!("runs_keep_going", desk.agx(&["resume", "--keep-going"])));
    quiet(|| insta::assert_snapshot!("runs_keep_going_status", desk.agx(&["status"])));

    let short = include_str!("lab.agx").replace("dev.success stalls 2 by 0.01 since base", "dev.success >= 0.01");
    desk.write("short.agx", short);
    assert_eq!(desk.code(&["run", "short.agx"]), Some(0));
    quiet(|| insta::assert_snapshot!("runs_skipped_status", desk.agx(&["status"])));
}

/// Starts a run and waits for its first line.
pub(super) fn begun(desk: &Desk) -> std::process::Child {
    let mut child = desk.command(&["run", "lab.agx"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("lab · run lab-1"));
    // Read on, so that the program never waits for us.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

pub(super) fn signal(child: &std::process::Child, name: &str) {
    let done = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(done.success());
}

/// What must not depend on how a run went.
fn results(desk: &Desk, run: &str) -> Value {
    let report = value(desk, &["report", run, "--json"]);
    json!({ "plan": report["plan"], "metrics": report["metrics"], "winner": report["winner"] })
}

#[test]
fn interrupted_or_killed_a_run_goes_on_to_the_same_results() {
    let calm = lab(96);
    assert_eq!(calm.code(&["run", "lab.agx"]), Some(0));
    let expected = results(&calm, "lab-1");

    let paused = lab(96);
    let mut child = begun(&paused);
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert_eq!(value(&paused, &["status", "--format", "json"])["state"], "paused");
    assert_eq!(paused.code(&["resume"]), Some(0));
    assert_eq!(results(&paused, "lab-1"), expected);

    let killed = lab(96);
    let mut child = begun(&killed);
    signal(&child, "-KILL");
    child.wait().unwrap();
    assert_eq!(value(&killed, &["status", "--format", "json"])["state"], "interrupted");
    assert_eq!(killed.code(&["resume", "--jobs", "1"]), Some(0));
    assert_eq!(results(&killed, "lab-1"), expected);
}

#[test]
fn a_run_under_way_can_be_watched_but_not_written_twice() {
    let desk = lab(96);
    let mut child = begun(&desk);
    let status = value(&desk, &["status", "--format", "json"]);
    let second = desk.agx(&["resume"]);
    // It may have ended meanwhile; while it runs, a second writer is refused.
    if child.try_wait().unwrap().is_none() {
        assert_eq!(status["state"], "running");
        assert!(second.contains("is being written by process"), "{second}");
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let mut child = desk.command(&["show", "rollout@1", "--format", "json"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// What reads the log may leave: the run is there for its results.
#[test]
fn a_run_goes_on_without_its_log() {
    let desk = lab(24);
    let mut child = desk.command(&["run", "lab.agx"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(value(&desk, &["status", "--format", "json"])["state"], "finished");
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_is_lost_is_an_error() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let verbs: [&[&str]; 5] = [
        &["report"],
        &["plan", "lab.agx"],
        &["status", "--all"],
        &["show", "select@1", "--format", "json"],
        &["--help"],
    ];
    for args in verbs {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = desk.command(args).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "error: the output cannot be written: no space left on device\n", "{args:?}");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_damaged_journal_is_told_by_its_line() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let journal = desk.path().join(".agx/runs/lab-1/journal.jsonl");
    let mut text = std::fs::read_to_string(&journal).unwrap();
    let at = text.find("\"items\"").unwrap();
    text.replace_range(at..at + 7, "\"itemz\"");
    std::fs::write(&journal, text).unwrap();
    let said = desk.agx(&["report"]);
    assert!(said.contains("journal.jsonl, line ") && said.ends_with("-- exit 2\n"), "{said}");
}

#[test]
fn a_store_with_a_file_in_a_directory_s_place_is_told() {
    let desk = lab(24);
    std::fs::create_dir(desk.path().join(".agx")).unwrap();
    desk.write(".agx/cas", "not a directory");
    insta::assert_snapshot!("runs_bad_store", desk.agx(&["run", "lab.agx"]));
}

#[test]
fn a_model_directory_that_is_not_whole_is_one_message() {
    let desk = lab(24);
    let model = |weights: &str| include_str!("lab.agx").replace("scripted = \"policy.json\"", weights);
    desk.write("missing.agx", model("weights = path(\"nowhere\")"));
    insta::assert_snapshot!("runs_model_missing", desk.agx(&["run", "missing.agx"]));
    #[cfg(feature = "local")]
    {
        let base = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/base/policy");
        let copy = desk.path().join("model");
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(base).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
        desk.write("model.agx", model("weights = path(\"model\")"));
        let weights = copy.join("model.safetensors");
        let bytes = std::fs::read(&weights).unwrap();
        std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
        insta::assert_snapshot!("runs_model_short", desk.agx(&["run", "model.agx"]));
        std::fs::remove_file(&weights).unwrap();
        insta::assert_snapshot!("runs_model_without_weights", desk.agx(&["run", "model.agx"]));
    }
}

#[test]
fn a_run_is_followed_to_its_end_by_whoever_looks() {
    let desk = lab(96);
    let mut child = begun(&desk);
    let said = desk.agx(&["status", "--watch"]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    for part in ["lab · run lab-1 · 18 nodes\n", "  ✓ evaluate:after ", "· finished ·", "-- exit 0\n"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // What is over is told at once, with the times that it took.
    quiet(|| insta::assert_snapshot!("runs_watch_finished", desk.agx(&["status", "lab-1", "--watch"])));
    let events = desk.command(&["status", "--watch", "--format", "json"]).output().unwrap();
    let lines: Vec<Value> =
        String::from_utf8(events.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["event"], lines[0]["time"].is_u64()), (&json!("run_started"), true));
    assert_eq!(lines.last().unwrap()["event"], "run_finished");
    assert_eq!(String::from_utf8_lossy(&events.stderr), "");
}

#[test]
fn a_run_that_is_killed_ends_for_those_who_follow_it() {
    let desk = lab(96);
    let mut child = begun(&desk);
    let watcher = desk.command(&["status", "--watch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    signal(&child, "-KILL");
    child.wait().unwrap();
    let output = watcher.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("`agx resume lab-1` goes on"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("interrupted"));
    let journal = desk.path().join(".agx/runs/lab-1/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, format!("{text}no event\nnor this\n")).unwrap();
    let damaged = desk.agx(&["status", "--watch"]);
    assert!(damaged.contains("journal.jsonl, line ") && damaged.ends_with("-- exit 2\n"), "{damaged}");
    std::fs::write(&journal, "").unwrap();
    let never = desk.agx(&["status", "lab-1", "--watch"]);
    assert!(never.contains("never started") && never.ends_with("-- exit 2\n"), "{never}");
}
