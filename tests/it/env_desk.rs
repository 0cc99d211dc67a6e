//! The desk for other programs: sessions from outside, and hostile lines.

use agx::env::desk::session::DeskHost;
use agx::env::session::{Answer, Session};
use agx::env::{Action, Env, EnvKind, EnvSpec, Split, desk};
use proptest::prelude::*;
use serde_json::{Value, json};

const ASKED: &str = r#"{"op": "tasks"}
{"op": "reset", "episode": "a", "task": "train-0000"}
{"op": "call", "episode": "a", "name": "find_contact", "arguments": {"name": "Nobody"}}
{"op": "step", "episode": "a", "call": {"name": "find_contact", "arguments": {"nonsense": 1}}}
{"op": "step", "episode": "a", "call": {"name": "dance"}, "text": "Done."}
{"op": "step", "episode": "a", "text": "I give up."}
{"op": "step", "episode": "a", "text": "Again."}
{"op": "reset", "episode": "b", "task": "train-0001"}
{"op": "reset", "episode": "b", "level": 1}
{"op": "reset", "episode": "b"}
{"op": "call", "episode": "c", "name": "find_contact"}
{"op": "close", "episode": "a"}
{"op": "step", "episode": "a", "call": [1]}
{"op": "close"}
{"op": "tasks"}
"#;

#[test]
fn other_programs_can_use_the_desk() {
    use std::io::Write;
    let desk = super::cli::desk();
    let (input, output) = (std::process::Stdio::piped(), std::process::Stdio::piped());
    let mut child = desk.command(&["env", "desk", "--tasks", "1"]).stdin(input).stdout(output).spawn().unwrap();
    child.stdin.take().unwrap().write_all(ASKED.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!("env_desk_answers", String::from_utf8(output.stdout).unwrap());
    insta::assert_snapshot!("env_desk_no_tasks", desk.agx(&["env", "desk", "--tasks", "0"]));
}

fn ask(session: &mut Session<DeskHost>, line: &str) -> Value {
    match session.answer(line) {
        Answer::Line(answer) => serde_json::from_str(&answer).unwrap_or_else(|problem| panic!("{answer}: {problem}")),
        Answer::End => Value::Null,
    }
}

#[test]
fn an_expert_solves_its_tasks_by_lines() {
    let split = |name: &str, held_out| Split { name: name.to_owned(), size: 8, held_out };
    let splits = vec![split("train", false), split("dev", false), split("test", true)];
    let env = Env::open(&EnvSpec { kind: EnvKind::Desk, splits, max_steps: 6 }, &agx::model::Wire::default())
        .expect("the desk is built in");
    let mut session = Session::new(DeskHost::new(8));
    for task in ["train", "dev", "test"].into_iter().flat_map(|split| env.tasks(split)) {
        let began = ask(&mut session, &json!({ "op": "reset", "episode": "e", "task": task.id }).to_string());
        assert_eq!((&began["observation"], &began["tools"]), (&task.fields["request"], &task.fields["tools"]));
        let mut last = Value::Null;
        for action in desk::expert(&task) {
            let step = match action {
                Action::Call(call) => {
                    json!({ "op": "step", "episode": "e", "call": { "name": call.name, "arguments": call.arguments } })
                }
                Action::Answer(text) | Action::Unreadable(text) => {
                    json!({ "op": "step", "episode": "e", "text": text })
                }
            };
            last = ask(&mut session, &step.to_string());
        }
        assert_eq!((&last["done"], &last["metrics"]["success"]), (&json!(true), &json!(1.0)), "{}", task.id);
    }
}

proptest! {
    /// Every line gets one line of JSON back, and the session goes on.
    #[test]
    fn any_line_is_answered(lines in prop::collection::vec("(\\{\"op\": \"(reset|step|call)\", \"episode\": \"[ab]?\", )?[-\":,{}\\[\\]a-z0-9 ]{0,40}\\}?", 1..8)) {
        let mut session = Session::new(DeskHost::new(1));
        for line in lines {
            ask(&mut session, &line);
        }
        let tasks = ask(&mut session, &json!({ "op": "tasks" }).to_string());
        prop_assert!(tasks["tasks"].is_array());
    }
}
