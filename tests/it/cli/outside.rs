//! Environments outside the program, from outside: the desk by way of another process is the desk; one that fails ends its episode.

use super::Desk;
use super::runs::{lab, signal, value};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

const SAME: &str = r#"agx 2026

env inside {
  use       = builtin("desk")
  splits    { dev = 16 }
  max_steps = 6
}

env outer {
  use       = process(["[AGX]", "env", "desk", "--tasks", "16"])
  splits    { train = 16, dev = 16 }
  max_steps = 6
  task      { id: text }
  metrics   { success: ratio, progress: ratio }
  limits    { in_flight = 3 }
}

model policy { scripted = "policy.json", context = 4096 tokens }

prompt ask(task: inside.Task) {
  user """
    {{ task.request }}
    """
}

prompt listen(task: outer.Task) {
  system """
    You work at a desk.
    """
}

experiment same {
  seed = 7
  schedule {
    let here  = evaluate policy on inside.dev { prompt = ask, decode = greedy }
    let there = evaluate policy on outer.dev { prompt = listen, decode = greedy }
  }
}
"#;

fn metrics(desk: &Desk) -> (Vec<Value>, Vec<Value>) {
    let report = value(desk, &["report", "--json"]);
    let of = |name: &str| -> Vec<Value> {
        let metrics = report["metrics"].as_array().unwrap().iter();
        let named = metrics.filter_map(|it| Some((it["name"].as_str()?.strip_prefix(name)?.to_owned(), it)));
        named.map(|(name, it)| json!([name, it["value"], it["n"]])).collect()
    };
    (of("here."), of("there."))
}

#[test]
fn the_desk_in_another_process_is_the_desk() {
    let desk = lab(24);
    desk.write("same.agx", SAME.replace("[AGX]", env!("CARGO_BIN_EXE_agx")));
    let said = desk.agx(&["run", "same.agx"]);
    assert!(said.ends_with("-- exit 0\n"), "{said}");
    let (here, there) = metrics(&desk);
    // The prompts have other words, so other tokens.
    let done = |of: Vec<Value>| of.into_iter().filter(|it| it[0] != "tokens").collect::<Vec<_>>();
    let (here, there) = (done(here), done(there));
    assert!(here.iter().any(|it| it[0] == "success" && it[1].as_f64() > Some(0.2)), "{here:?}");
    assert_eq!(here, there);
    // An episode played again is the same, and so is one that is made again.
    let proven = desk.agx(&["verify", "--level", "3"]);
    assert!(proven.contains("✓ 3 remade") && proven.ends_with("-- exit 0\n"), "{proven}");
    let again = desk.agx(&["run", "same.agx", "--frozen"]);
    assert!(again.ends_with("-- exit 0\n"), "{again}");
}

/// Every other task goes wrong in a way of its own.
const FAULTY: &str = r#"
while read -r line; do case "$line" in
  *'"op":"tasks"'*) echo '{"tasks": ["good-1", "crash", "good-2", "hang", "good-3", "garbage"]}';;
  *'"op":"reset"'*) echo '{"observation": "go"}';;
  *'"op":"close"'*) echo '{}';;
  *crash*) echo 'no more paper' >&2; exit 7;;
  *hang*) sleep 60;;
  *garbage*) echo '<html>';;
  *) echo '{"observation": "well done", "done": true, "metrics": {"success": true}}';;
esac; done
"#;

fn faulty(tolerance: &str) -> Desk {
    let desk = Desk::new();
    desk.write("env.sh", FAULTY);
    desk.write("policy.json", r#"{ "default": ["Going."] }"#);
    let file = r#"agx 2026

env world {
  use       = process(["sh", path("env.sh")])
  splits    { dev = 6 }
  max_steps = 2
  task      { id: text }
  metrics   { success: ratio }
  limits    { timeout = 1 s }
}

model policy { scripted = "policy.json", context = 4096 tokens }

prompt act(task: world.Task) {
  system """
    Go.
    """
}

experiment faulty {
  seed = 7
  schedule { let dev = evaluate policy on world.dev { prompt = act, decode = greedy, [TOLERANCE] } }
}
"#;
    desk.write("faulty.agx", file.replace("[TOLERANCE]", tolerance));
    desk
}

/// Why items failed, by their names.
fn reasons(desk: &Desk) -> Vec<(String, String)> {
    let journal = std::fs::read_to_string(desk.path().join(".agx/runs/faulty-1/journal.jsonl")).unwrap();
    let mut found: Vec<(String, String)> = Vec::new();
    for line in journal.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let text = event.to_string();
        for name in ["crash", "hang", "garbage"] {
            let Some(at) = text.find("the environment ").filter(|_| text.contains(&format!("{name}/0"))) else {
                continue;
            };
            let reason: String = text[at..].chars().take_while(|c| *c != '"').collect();
            if !found.iter().any(|(known, _)| known == name) {
                found.push((name.to_owned(), reason));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn what_goes_wrong_ends_its_episode_and_the_others_go_on() {
    let desk = faulty("max_failed = 3");
    let said = desk.agx(&["run", "faulty.agx"]);
    assert!(said.ends_with("-- exit 0\n"), "{said}");
    let metrics = value(&desk, &["report", "--json"])["metrics"].clone();
    let success = metrics.as_array().unwrap().iter().find(|it| it["name"] == "dev.success").unwrap();
    assert_eq!((&success["value"], &success["n"]), (&json!(1.0), &json!(3)), "of those that came to an end");
    let expected = [
        ("crash", "the environment is gone: it ended with exit status: 7; its last words: no more paper"),
        ("garbage", "the environment answers garbage: expected value at line 1 column 1: <html>"),
        ("hang", "the environment hangs: no answer in 1 s"),
    ];
    assert_eq!(reasons(&desk), expected.map(|(name, why)| (name.to_owned(), why.to_owned())));
    // Why is told wherever the node is looked at.
    let gone = "the environment is gone: it ended with exit status: 7; its last words: no more paper";
    let shown = desk.agx(&["show", "evaluate:dev", "--task", "crash"]);
    let missing = format!("-- stdout\nevaluate:dev · crash/0 is missing: {gone}\n-- exit 0\n");
    assert!(shown.ends_with(&missing), "{shown}");
    assert!(desk.agx(&["show", "evaluate:dev", "--item", "crash/0"]).ends_with(&missing));
    assert_eq!(value(&desk, &["show", "evaluate:dev", "--task", "crash", "--format", "json"])[0]["missing"], gone);
    assert!(desk.agx(&["show", "evaluate:dev"]).contains(&format!("1 × {gone}")));
    let told = desk.agx(&["report"]);
    assert!(told.contains("Items that failed") && told.contains(&gone[..60]), "{told}");
    let failures = value(&desk, &["report", "--json"])["nodes"][0]["failures"].clone();
    assert_eq!((&failures["count"], failures["reasons"].as_array().map(Vec::len)), (&json!(3), Some(3)));
    let page = desk.agx(&["report", "--html", "-"]);
    assert!(page.contains("Items that failed") && page.contains(gone));
    // Another run tries them again; what is mended is done.
    desk.write("env.sh", FAULTY.replace("*crash*)", "*crash-no-more*)").replace("*hang*)", "*hang-no-more*)"));
    let changed = desk.agx(&["resume"]);
    assert!(changed.contains("env `world` names has changed") && !changed.ends_with("-- exit 0\n"), "{changed}");

    let strict = faulty("max_failed = 2");
    let said = strict.agx(&["run", "faulty.agx"]);
    assert!(said.contains("3 of 6 items failed, 2 allowed") && said.ends_with("-- exit 3\n"), "{said}");
}

/// What failed is told before the next ones begin: a pause between them would find it in the journal.
#[test]
fn episodes_are_told_as_few_at_a_time_as_they_are_played() {
    let desk = faulty("max_failed = 6");
    let file = std::fs::read_to_string(desk.path().join("faulty.agx")).unwrap();
    desk.write("faulty.agx", file.replace("timeout = 1 s", "timeout = 1 s, in_flight = 2"));
    desk.write("env.sh", FAULTY.replace("*hang*) sleep 60;;", ""));
    assert_eq!(desk.code(&["run", "faulty.agx"]), Some(0));
    let journal = std::fs::read_to_string(desk.path().join(".agx/runs/faulty-1/journal.jsonl")).unwrap();
    let events = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap().to_string());
    let told: Vec<String> = events.filter(|event| event.contains("item_finished")).collect();
    let place = |name: &str| told.iter().position(|event| event.contains(&format!("{name}/0"))).unwrap();
    assert!(place("crash") < place("good-2"), "{told:?}");
    assert!(place("hang") < place("good-3"), "{told:?}");
}

#[test]
fn a_doctor_looks_at_all_that_a_file_names() {
    let desk = faulty("max_failed = 3");
    let clean = |text: String| {
        let of_this_machine =
            |line: &&str| ["threads", "agx 0.", "compute with"].iter().all(|part| !line.contains(part));
        let text: Vec<&str> = text.lines().filter(of_this_machine).collect();
        text.join("\n").replace(": 1 thread", "")
    };
    insta::with_settings!({ filters => vec![(r"identity is [0-9a-f]+", "identity is [short]"), (r"(are|is) (not )?in this build", "$1 [built]")] }, {
        insta::assert_snapshot!("doctor_sound", clean(desk.agx(&["doctor", "faulty.agx"])));
        desk.write("env.sh", "read line; echo nonsense");
        insta::assert_snapshot!("doctor_unsound", clean(desk.agx(&["doctor", "faulty.agx"])));
    });
    let told = value(&desk, &["doctor", "faulty.agx", "--format", "json"]);
    assert_eq!(told["wrong"], 1);
    let machine = desk.agx(&["doctor"]);
    assert!(machine.ends_with("-- exit 0\n"), "{machine}");
    assert_eq!(machine.contains("local models compute with "), cfg!(feature = "local"), "{machine}");
}

#[test]
fn an_imported_run_starts_no_program_unasked() {
    let desk = faulty("max_failed = 3");
    assert_eq!(desk.code(&["run", "faulty.agx"]), Some(0));
    assert_eq!(desk.code(&["export", "--as", "tar", "--to", "faulty.tar.zst"]), Some(0));
    let there = Desk::new();
    there.write("faulty.tar.zst", std::fs::read(desk.path().join("faulty.tar.zst")).unwrap());
    assert_eq!(there.code(&["import", "faulty.tar.zst"]), Some(0));
    for verb in ["verify", "resume"] {
        let said = there.agx(&[verb]);
        assert!(said.contains("its environment `world` is a program: sh ") && said.ends_with("-- exit 2\n"), "{said}");
    }
    let shown = there.agx(&["show", "prompt", "act", "--run", "faulty-1"]);
    assert!(shown.contains("no environment has a task") && shown.ends_with("-- exit 2\n"), "{shown}");
    let proven = there.agx(&["verify", "--start-programs"]);
    assert!(proven.contains("✓ 2 replayed") && proven.ends_with("-- exit 0\n"), "{proven}");
}

/// It says its process, answers nothing more, and does not read on: that its input ends, it never learns.
const STUCK: &str = r#"
read -r line; echo '{"tasks": ["a", "b"]}'
read -r line; echo $$ > stuck
while :; do sleep 0.1; done
"#;

fn begun(desk: &Desk, args: &[&str]) -> Child {
    let mut command = desk.command(args);
    command.env("PATH", "/usr/bin:/bin").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The process of the environment, once it is stuck.
fn stuck(desk: &Desk) -> u32 {
    let path = desk.path().join("stuck");
    let said = || {
        std::thread::sleep(Duration::from_millis(10));
        std::fs::read_to_string(&path).ok()?.trim().parse().ok()
    };
    let id = (0..2000).find_map(|_| said()).expect("it is stuck");
    std::fs::remove_file(&path).unwrap();
    id
}

/// Within a moment, since who kills does not wait. One that nobody has looked after yet is gone.
fn is_gone(id: u32) -> bool {
    let gone = || std::fs::read_to_string(format!("/proc/{id}/stat")).map_or(true, |stat| stat.contains(") Z "));
    (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        gone()
    })
}

#[cfg(target_os = "linux")]
#[test]
fn whoever_ends_at_an_interrupt_leaves_no_environment_behind() {
    let desk = faulty("");
    desk.write("env.sh", STUCK);
    let text = std::fs::read_to_string(desk.path().join("faulty.agx")).unwrap();
    desk.write("faulty.agx", text.replace("dev = 6", "dev = 2").replace("timeout = 1 s", "timeout = 60 s"));
    let mut doctor = begun(&desk, &["doctor", "faulty.agx"]);
    let id = stuck(&desk);
    signal(&doctor, "-INT");
    assert_eq!(doctor.wait().unwrap().code(), Some(4));
    assert!(is_gone(id));

    let mut run = begun(&desk, &["run", "faulty.agx"]);
    let id = stuck(&desk);
    signal(&run, "-INT");
    let mut said = BufReader::new(run.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("pausing")), "once more ends at once");
    signal(&run, "-INT");
    assert_eq!(run.wait().unwrap().code(), Some(4));
    assert!(is_gone(id));
}

/// A program that was mended is another environment, which the run that failed does not have.
#[test]
fn who_fails_for_an_environment_is_told_both_ways_on() {
    let desk = faulty("max_failed = 2");
    let failed = desk.agx(&["run", "faulty.agx"]);
    let ways = "`agx resume faulty-1` tries the rest again; after a change to the experiment, or to a file that it names, \
                `agx run` it again: what is recorded is found\n-- exit 3\n";
    assert!(failed.ends_with(ways), "{failed}");
    desk.write("env.sh", FAULTY.replace("*hang*) sleep 60;;", "").replace("*crash*)", "*unheard*)"));
    let refused = desk.agx(&["resume"]);
    assert!(refused.contains("cannot go on: what env `world` names has changed"), "{refused}");
    assert!(desk.agx(&["run", "faulty.agx"]).ends_with("-- exit 0\n"));
}
