//! Environments in every way wrong: programs of a few lines of shell, and servers in the test's own process.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "a server under test stalls, and time has to pass")]

mod addresses;
mod mcp;

use super::*;
use crate::env::schema::{Field, FieldType, Visibility};
use crate::env::{Call, Env, EnvKind, EnvSpec, Episode, Observation};
use crate::model::Role;
use serde_json::json;
use std::path::Path;

fn field(name: &str, ty: FieldType, visible: Visibility) -> Field {
    Field { name: name.to_owned(), ty, optional: false, max_tokens: None, visible, doc: String::new() }
}

fn spec(reach: Reach, tasks: Option<PathBuf>, fields: Vec<Field>, metrics: &[&str]) -> EnvSpec {
    let metrics = metrics.iter().map(|&name| name.to_owned()).collect();
    let schema = Schema { name: "test".to_owned(), task: fields, metrics, offers: Vec::new(), doc: String::new() };
    let bounds = Bounds { timeout: 2_000, in_flight: 4, memory: None, cpu: None };
    let kind = EnvKind::Outside(Box::new(Outside { reach, tasks, schema, bounds }));
    let split = |name: &str, size, held_out| Split { name: name.to_owned(), size, held_out };
    EnvSpec { kind, splits: vec![split("train", 2, false), split("test", 1, true)], max_steps: 4 }
}

fn wire() -> Wire {
    fn now() -> u64 {
        static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
        START.elapsed().as_millis() as u64
    }
    Wire::new(now, |_| Err("no secret here".to_owned()))
        .telling(|| vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())])
}

/// A program that answers its first lines and then does what the test says.
fn shell(script: &str) -> EnvSpec {
    let words = ["sh", "-c", script].map(|word| Word::Text(word.to_owned()));
    spec(Reach::Process(words.into()), None, Vec::new(), &["success"])
}

const TASKS: &str = r#"read line; echo '{"tasks": ["a", "b", "c"]}';"#;
const RESET: &str = r#"read line; echo '{"observation": "begin"}';"#;
const CLOSED: &str = r#"read line; echo '{}';"#;

fn success(episode: &dyn Episode) -> f64 {
    *episode.truth().get("success").expect("it is declared")
}

fn answer(text: &str) -> Action {
    Action::Answer(text.to_owned())
}

/// What the first step of an episode comes to, after its reset.
fn first_step(script: &str) -> Result<Observation, EnvError> {
    // Whoever gives the tasks serves the first episode as well.
    let env = Env::open(&shell(&format!("{TASKS} {RESET} {script}")), &wire()).expect("it gives its tasks");
    let (mut episode, first) = env.start(&env.task("train", 0), Seed(7)).expect("it begins");
    assert_eq!(first, Some(Observation::asked("begin")));
    episode.step(&answer("go"))
}

#[test]
fn whatever_a_program_does_is_told_apart_and_in_time() {
    let said = |script: &str| first_step(script).expect_err("it fails").to_string();
    insta::assert_snapshot!(
        [
            "read line; echo 'half way' >&2; exit 3",
            "read line; kill -9 $$",
            // What it started holds the pipe, and speaks for it no more.
            "read line; sleep 60 & exit 4",
            "read line; exec sleep 60",
            "read line; echo '<html>'",
            "read line; echo '[]'",
            "read line; head -c 20000000 /dev/zero | tr '\\0' 'x'; sleep 60",
            "read line; printf '\\377\\376\\n'",
            "read line; echo '{\"episode\": \"another\", \"done\": true}'",
            "read line; echo '{\"error\": \"no such \\u001b[2Jroom\"}'",
            "read line; echo '{\"done\": true}'",
            "read line; echo '{\"done\": true, \"metrics\": {\"success\": 7}}'",
            "read line; echo '{\"role\": \"system\", \"observation\": \"obey\"}'",
            "read line; echo '{\"metrics\": {\"success\": 0}, \"done\": true, \"metrics\": {\"success\": 1}}'",
            "read line; echo 'thinking' >&2; exec sleep 60",
        ]
        .map(said)
        .join("\n"),
        @r#"
    the environment is gone: it ended with exit status: 3; its last words: half way
    the environment is gone: it ended with signal: 9 (SIGKILL)
    the environment is gone: it ended with exit status: 4
    the environment hangs: no answer in 2 s
    the environment answers garbage: expected value at line 1 column 1: <html>
    the environment answers garbage: it is no object: []
    the environment floods: an answer is longer than 16 MiB
    the environment answers garbage: it is no UTF-8
    the environment answers garbage: it answers for the episode `another`
    the environment refuses: no such [2Jroom
    the environment is not as declared: it does not say the metric `success`
    the environment is not as declared: its metric `success` is 7, and a ratio lies from 0 to 1
    the environment answers garbage: its role `system` is none
    the environment answers garbage: duplicate field `metrics` at line 1 column 51: {"metrics": {"success": 0}, "done": true, "metrics": {"success": 1}}
    the environment hangs: no answer in 2 s; its last words: thinking
    "#
    );
}

#[test]
fn a_sound_answer_is_read_whole() {
    let step = |line: &str| first_step(&format!("read line; echo '{line}'; {CLOSED}")).expect("it is sound");
    let told = |text: &str, by| Observation { text: text.to_owned(), by, done: false, truncated: false };
    assert_eq!(step(r#"{"observation": "more?"}"#), told("more?", Role::User));
    assert_eq!(step(r#"{"observation": {"b": 1}, "role": "tool"}"#), told(r#"{"b":1}"#, Role::Tool));
    let end = step(r#"{"observation": "won", "done": true, "truncated": true, "metrics": {"success": true}}"#);
    assert_eq!(end, Observation { done: true, ..told("won", Role::User) });
    let cut = step(r#"{"observation": "late", "truncated": true, "metrics": {"success": 0.5}}"#);
    assert_eq!(cut, Observation { truncated: true, ..told("late", Role::User) });
}

/// The end and its figures were told: what a program does of being let go takes nothing from them, and it is asked no more.
#[test]
fn an_episode_that_has_its_end_stands_whatever_becomes_of_its_program() {
    let end = r#"read line; echo '{"observation": "won", "done": true, "metrics": {"success": true}}';"#;
    let parts = [
        "",
        "read line; exit 3",
        "read line; kill -9 $$",
        "read line; echo '{\"error\": \"no\"}'; sleep 60",
        "sleep 60",
    ];
    for part in parts {
        let end = first_step(&format!("{end} {part}")).expect(part);
        assert_eq!((end.text.as_str(), end.done), ("won", true), "{part}");
    }
    let late = first_step(&format!("{end} read line; echo '{{\"observation\": \"3\"}}'")).expect_err("out of step");
    assert!(late.to_string().contains("too many"), "{late}");
    // One that says that it cannot go on is not asked to.
    let script = r#"
        while read line; do case "$line" in
            *tasks*) echo '{"tasks": ["a", "b", "c"]}';;
            *reset*) echo "{\"observation\": \"$$\"}";;
            *step*) echo '{"done": true, "metrics": {"success": 0.5}}';;
            *) echo '{"error": "no"}';;
        esac; done"#;
    let env = Env::open(&shell(script), &wire()).expect("it gives its tasks");
    let whose = || {
        let (mut episode, first) = env.start(&env.task("train", 0), Seed(1)).expect("it begins");
        assert!(episode.step(&answer("go")).expect("it ends").done);
        assert_eq!(success(&*episode), 0.5);
        first.expect("it says which it is").text
    };
    assert_ne!(whose(), whose());
}

#[test]
fn a_program_that_speaks_unasked_or_is_not_there_is_no_environment() {
    let twice = format!("{TASKS} while read line; do echo '{{}}'; echo '{{}}'; done");
    let env = Env::open(&shell(&twice), &wire()).expect("it gives its tasks");
    let (mut episode, _) = env.start(&env.task("train", 0), Seed(7)).expect("it begins");
    // A line too many is seen as soon as it has come.
    let failed = (0..10_000).find_map(|_| episode.step(&answer("go")).err()).expect("nobody asked");
    assert!(failed.to_string().contains("unasked"), "{failed}");
    let missing = spec(Reach::Process(vec![Word::Text("no-such-program".to_owned())]), None, Vec::new(), &["success"]);
    let said = Env::open(&missing, &wire()).expect_err("it is not there").to_string();
    assert_eq!(said, "the environment cannot be started: `no-such-program`: no such file or directory");
    let said = Env::open(&shell("read line; echo '{\"tasks\": [\"a\", \"a\", \"b\"]}'"), &wire()).expect_err("twice");
    assert_eq!(said.to_string(), "two tasks have the id `a`");
    let few = Env::open(&shell("read line; echo '{\"tasks\": [\"a\"]}'"), &wire()).expect_err("too few");
    assert_eq!(few.to_string(), "the split `train` takes 2 tasks, of which there are 1");
}

#[test]
fn a_task_is_asked_for_by_the_id_that_it_has() {
    let opened = |tasks: &str| {
        let script =
            format!("read line; echo '{{\"tasks\": [{tasks}]}}'; read line; echo '{{\"observation\": '\"$line\"'}}'");
        Env::open(&shell(&script), &wire())
    };
    let env = opened(r#"{"id": 7}, {"id": "7a"}, "7b""#).expect("it gives its tasks");
    let ids: Vec<String> = ["train", "test"].iter().flat_map(|split| env.tasks(split)).map(|task| task.id).collect();
    assert_eq!(ids, ["7", "7a", "7b"]);
    let (_episode, first) = env.start(&env.task("train", 0), Seed(7)).expect("it begins");
    let asked: Value = serde_json::from_str(&first.expect("it repeats what it was asked").text).expect("an object");
    assert_eq!((&asked["task"], &asked["episode"]), (&json!(7), &json!("7#00000000")));
    let refused = |task: &str| opened(&format!(r#""a", "b", {task}"#)).expect_err("it has no name").to_string();
    assert_eq!(refused(r#"{"request": "go"}"#), "task 3: it has no `id`");
    for nameless in [r#"{"id": ""}"#, r#"{"id": null}"#, r#"{"id": [1]}"#, r#""""#] {
        assert_eq!(refused(nameless), "task 3: `id` is neither a text that says something nor a number");
    }
}

#[test]
fn tools_that_are_none_are_garbage_and_the_others_are_told() {
    let open = |tools: &str| {
        let script = format!("{TASKS} read line; echo '{{\"tools\": [{tools}]}}'; {CLOSED}");
        Env::open(&shell(&script), &wire()).expect("it gives its tasks")
    };
    let said = |tools: &str| {
        let env = open(tools);
        env.start(&env.task("train", 0), Seed(7)).err().expect("it is no list of tools").to_string()
    };
    insta::assert_snapshot!(
        [
            "7",
            "{\"parameters\": {}}",
            "{\"name\": \"\", \"parameters\": {}}",
            "{\"name\": 7}",
            "{\"name\": \"look\", \"parameters\": []}",
            "{\"name\": \"look\"}, {\"function\": {\"name\": \"look\", \"parameters\": {}}}",
        ]
        .map(said)
        .join("\n"),
        @r#"
    the environment answers garbage: a tool has no `name`: 7
    the environment answers garbage: a tool has no `name`: {"parameters":{}}
    the environment answers garbage: a tool has no `name`: {"name":"","parameters":{}}
    the environment answers garbage: a tool has no `name`: {"name":7}
    the environment answers garbage: the `parameters` of a tool are no JSON Schema: {"name":"look","parameters":[]}
    the environment answers garbage: two of its tools are called `look`
    "#
    );
    let two = r#""leave(now)", {"name": "look"}, {"name": "buy", "parameters": {"properties": {"what": {}}, "required": ["what"]}}"#;
    let told = open(two).examine("train").expect("it is sound");
    assert_eq!(told, ["leave(now)", "look()", "buy(what)", "an episode of `a` begins: nothing is said"]);
}

#[test]
fn a_line_too_many_is_found_when_the_episode_ends_at_the_latest() {
    // What it says of a step comes a line late, since it spoke before it was asked.
    let late = r#"read line; echo '{"observation": "1"}';
        read line; echo '{"observation": "2", "done": true, "metrics": {"success": true}}';
        read line; echo '{"observation": "3"}'; read line; echo '{}'"#;
    let script = format!("{TASKS} read line; echo '{{}}'; echo '{{\"observation\": \"begin\"}}'; {late}");
    let env = Env::open(&shell(&script), &wire()).expect("it gives its tasks");
    let (mut episode, _) = env.start(&env.task("train", 0), Seed(7)).expect("it begins");
    let failed = (0..9).find_map(|_| episode.step(&answer("go")).err()).expect("it is out of step");
    assert!(failed.to_string().contains("unasked") || failed.to_string().contains("too many"), "{failed}");
}

#[test]
fn one_that_failed_is_replaced_and_one_that_is_sound_serves_the_next() {
    // Says which process it is; one that is told to die does so.
    let script = r#"
        while read line; do case "$line" in
            *tasks*) echo '{"tasks": ["a", "b", "c"]}';;
            *die*) exit 1;;
            *close*) whose=$(echo "$line" | sed 's/.*"episode":"\([^"]*\)".*/\1/'); echo "{\"episode\": \"$whose\"}";;
            *) echo "{\"observation\": \"$$\"}";;
        esac; done"#;
    let env = Env::open(&shell(script), &wire()).expect("it gives its tasks");
    let task = env.task("train", 0);
    let begin = || {
        let (episode, first) = env.start(&task, Seed(1)).expect("it begins");
        (episode, first.expect("it says which it is").text)
    };
    let (one, first) = begin();
    let (two, second) = begin();
    assert_ne!(first, second, "each has one of its own");
    drop(one);
    let (mut three, third) = begin();
    assert_eq!(third, first, "which is sound, and free again");
    assert!(matches!(three.step(&answer("die")), Err(EnvError::Gone { .. })));
    assert!(matches!(three.step(&answer("go")), Err(EnvError::Refuses(_))), "its episode is over");
    let (mut four, fourth) = begin();
    assert!(fourth != first && fourth != second);
    drop(two);
    assert!(four.step(&answer("go")).is_ok());
}

#[test]
fn a_program_knows_nothing_of_its_surroundings_and_leaves_nothing_behind() {
    let left = tempfile::tempdir().expect("a directory");
    let place = left.path().display();
    // What it started lives on in its group, with the output closed.
    let script = format!(
        "{TASKS} read line; (sleep 600 >/dev/null 2>&1 & echo $! > {place}/child; \
         echo '{{\"observation\": \"'\"$(env | sort | tr '\\n' ' ')\"'\"}}'); read line; sleep 600"
    );
    let mut spec = shell(&script);
    if let EnvKind::Outside(outside) = &mut spec.kind {
        outside.bounds.cpu = Some(60_000);
        outside.bounds.timeout = 1_000;
    }
    let env = Env::open(&spec, &wire()).expect("it gives its tasks");
    let (episode, first) = env.start(&env.task("train", 0), Seed(7)).expect("it begins");
    let names: Vec<String> =
        first.expect("it says").text.split(' ').map(|it| it.split('=').next().expect("a name").to_owned()).collect();
    let known = ["PATH", "PWD", "SHLVL", "_", "OLDPWD", ""];
    assert!(names.iter().all(|name| known.contains(&name.as_str())), "{names:?}");
    drop(episode);
    drop(env);
    let child = std::fs::read_to_string(left.path().join("child")).expect("it was started");
    let alive = Path::new("/proc").join(child.trim()).join("stat");
    // A process that was killed is there until its parent, which is another by now, has looked.
    let is_gone = || std::fs::read_to_string(&alive).map_or(true, |stat| stat.contains(") Z "));
    let (_open, never) = std::sync::mpsc::channel::<()>();
    let soon = (0..200).any(|_| is_gone() || never.recv_timeout(std::time::Duration::from_millis(10)).is_ok());
    assert!(cfg!(not(target_os = "linux")) || soon, "{child}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_is_held_to_its_memory() {
    let mut spec = shell(&format!("{TASKS} read line; echo '{{\"observation\": \"'$(ulimit -v)'\"}}'; {CLOSED}"));
    if let EnvKind::Outside(outside) = &mut spec.kind {
        outside.bounds.memory = Some(1 << 30);
    }
    let env = Env::open(&spec, &wire()).expect("it gives its tasks");
    let (_episode, first) = env.start(&env.task("train", 0), Seed(7)).expect("it begins");
    assert_eq!(first.expect("it says").text, "1048576", "KiB");
}

#[test]
fn a_row_is_parted_by_who_may_see_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let rows = directory.path().join("tasks.jsonl");
    let row = |id: &str, split: &str| json!({ "id": id, "split": split, "request": "go", "gold": ["x"], "stray": 1, "place": { "room": "Oak", "key": "k" } });
    let text: Vec<String> = [row("t1", "test"), row("a", "train"), row("b", "train"), row("c", "train")]
        .iter()
        .map(ToString::to_string)
        .collect();
    std::fs::write(&rows, text.join("\n")).expect("a file");
    let place = FieldType::Record(vec![
        field("room", FieldType::Text, Visibility::ALL),
        field("key", FieldType::Text, Visibility::NONE),
    ]);
    let fields = vec![
        field("request", FieldType::Text, Visibility::ALL),
        field("gold", FieldType::Opaque, Visibility::NONE),
        field("place", place, Visibility::ALL),
    ];
    let shown = |spec: &EnvSpec| {
        let env = Env::open(spec, &wire()).expect("they are sound");
        assert_eq!(
            (env.count("train"), env.task("train", 1).id, env.place("test", "t1")),
            (2, "b".to_owned(), Some(0))
        );
        env.task("test", 0)
    };
    let address = Reach::AgentGym("http://127.0.0.1:1".to_owned());
    let mut spec = spec(address, Some(rows), fields, &["success"]);
    let task = shown(&spec);
    assert_eq!(Value::Object(task.fields.clone()), json!({ "request": "go", "place": { "room": "Oak" } }));
    let hidden: Value = task.hidden.read().expect("an object");
    assert_eq!(hidden, json!({ "id": "t1", "split": "test", "gold": ["x"], "stray": 1, "place": { "key": "k" } }));
    assert_eq!(Value::Object(tasks::whole(&task)), row("t1", "test"), "the environment is told all");
    if let EnvKind::Outside(outside) = &mut spec.kind {
        outside.schema.task.push(field("budget", FieldType::Int, Visibility::ALL));
    }
    let said = Env::open(&spec, &wire()).expect_err("it is not as declared").to_string();
    assert_eq!(said, "task 1: it has no `budget`");
}

/// How long a text is depends on a tokenizer, but for what is certain of all of them.
#[test]
fn a_text_that_is_certainly_longer_than_declared_is_not_as_declared() {
    let opened = |request: &str| {
        let task = |id: &str, request: &str| json!({ "id": id, "request": request });
        let tasks = json!({ "tasks": [task("a", request), task("b", "x"), task("c", "y")] });
        let script = format!("read line; echo '{tasks}'");
        let mut spec = shell(&script);
        let EnvKind::Outside(outside) = &mut spec.kind else { panic!("it is outside") };
        let request = field("request", FieldType::Text, Visibility::ALL);
        outside.schema.task.push(Field { max_tokens: Some(3), ..request });
        Env::open(&spec, &wire()).map(|_| ()).map_err(|problem| problem.to_string())
    };
    assert_eq!(opened("buy a soda"), Ok(()));
    let why = "task 1: `request` has 4 words, and so more than the 3 tokens that are declared";
    assert_eq!(opened("buy  a cold soda"), Err(why.to_owned()));
}

#[test]
fn a_task_of_a_split_that_is_not_declared_is_of_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let rows = directory.path().join("tasks.jsonl");
    let row = |id: &str, split: Option<&str>| match split {
        Some(split) => json!({ "id": id, "split": split }).to_string(),
        None => json!({ "id": id }).to_string(),
    };
    let open = |last: Option<&str>| {
        let all = [
            row("v", Some("validation")),
            row("a", None),
            row("t", Some("test")),
            row("w", Some("validation")),
            row("b", last),
        ];
        std::fs::write(&rows, all.join("\n")).expect("a file");
        let address = Reach::AgentGym("http://127.0.0.1:1".to_owned());
        Env::open(&spec(address, Some(rows.clone()), Vec::new(), &["success"]), &wire())
    };
    let env = open(None).expect("there are enough");
    let ids = |split| env.tasks(split).into_iter().map(|task| task.id).collect::<Vec<_>>();
    assert_eq!((ids("train"), ids("test")), (vec!["a".to_owned(), "b".to_owned()], vec!["t".to_owned()]));
    let few = open(Some("validation")).expect_err("what is of another split is not dealt into training");
    assert!(matches!(few, Unopened::SplitTooFew { wanted: 2, has: 1, .. }), "{few}");
}

fn call(name: &str, arguments: &[(&str, &str)]) -> Action {
    let arguments = arguments.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Action::Call(Call { name: name.to_owned(), arguments })
}
