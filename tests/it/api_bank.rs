//! API-Bank over a small copy made here, and over a real one where there is one: the program from outside, and hostile input.

#![allow(clippy::print_stderr, reason = "a test that tries less says so")]

use agx::env::api_bank::score::{Reply, Rule, Status, score};
use agx::env::api_bank::value::{Dict, Key, Value};
use agx::env::api_bank::{Level, Library, Network, World};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

/// A tool's specification with its parameters: `name`, or `name:type`.
fn spec(name: &str, parameters: &[&str]) -> String {
    let one = |parameter: &&str| {
        let (name, ty) = parameter.split_once(':').unwrap_or((parameter, "str"));
        format!("\"{name}\": {{\"type\": \"{ty}\", \"description\": \"The {name}.\"}}")
    };
    let parameters: Vec<String> = parameters.iter().map(one).collect();
    let words = format!("\"description\": \"It does {name}.\", \"output_parameters\": {{}}");
    format!("{{\"name\": \"{name}\", {words}, \"input_parameters\": {{{}}}}}", parameters.join(", "))
}

const DIALOGUE: &str = r#"{"role": "User", "text": "Is my alarm set? I am ann, cats."}
{"role": "API", "api_name": "GetUserToken", "param_dict": {"username": "ann", "password": "cats"}, "result": {"api_name": "GetUserToken", "input": {"username": "ann", "password": "cats"}, "output": {"token": "t1"}, "exception": null}}
{"role": "API", "api_name": "AddAlarm", "param_dict": {"token": "t1", "time": "2023-05-06 07:00:00"}, "result": {"api_name": "AddAlarm", "input": {"token": "t1", "time": "2023-05-06 07:00:00"}, "output": "success", "exception": null}}
{"role": "API", "api_name": "QueryAlarm", "param_dict": {"token": "t1", "time": "2023-05-06 07:00:00"}, "result": {"api_name": "QueryAlarm", "input": {"token": "t1", "time": "2023-05-06 07:00:00"}, "output": {"username": "ann", "time": "2023-05-06 07:00:00"}, "exception": null}}
{"role": "AI", "text": "It is set for seven."}
"#;

const SAMPLES: &str = r#"[{"requirement": "Who works at Acme?", "response": "Bo does.", "apis": [{"api_name": "OrganizationMembers", "input": {"organization": "Acme"}, "output": {"api_name": "OrganizationMembers", "input": {"organization": "Acme"}, "output": {"members": ["Bo"]}, "exception": null}}]}]"#;

/// A copy with one dialogue, one sample and a few tools.
pub fn small_copy(directory: &Path) {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let empty = "Agenda Alarm Appointments Bank HealthData History Hotel Meeting QuestionAnswering Reminder Scenes \
                 SpeechRecognition Stock Symptom TimeSwitch Wiki";
    empty.split_whitespace().for_each(|name| write(&format!("init_database/{name}.json"), "{}"));
    write("init_database/Account.json", r#"{"ann": {"password": "cats", "token": "t1", "email": "ann@x.org"}}"#);
    write("init_database/ImageCaptioning.json", "[]");
    let documents = r#"{"raw_documents": [{"title": "Cats", "abstract": "Of cats."}], "tokenized_documents": [["cats", "-", "of", "cats", "."]]}"#;
    write("init_database/SearchEngine.json", documents);
    write("lv1-lv2-samples/level-1-given-desc/Alarm-1.jsonl", DIALOGUE);
    write("lv1-lv2-samples/level-2-toolsearcher/Alarm-2.jsonl", DIALOGUE);
    write("test-data/level-3.json", SAMPLES);
    let general = [
        spec("GetUserToken", &["username", "password"]),
        spec("AddAlarm", &["token", "time"]),
        spec("QueryAlarm", &["token", "time"]),
        spec("AddMeeting", &["token", "meeting_topic", "start_time", "end_time", "location", "attendees:list(str)"]),
        spec("BookHotel", &["hotel_name", "check_in_time", "check_out_time", "room_count:int", "adult_count:int"]),
        spec("RecordHealthData", &["user_id", "time", "health_data:list"]),
        spec("AddScene", &["name", "devices:list"]),
        spec("TimedSwitch", &["name", "time", "on:bool"]),
        spec("SearchEngine", &["keyword"]),
        spec("SendEmail", &["receiver", "subject", "content"]),
        spec("Calculator", &["formula"]),
        spec("ToolSearcher", &["keywords"]),
    ];
    let three = [
        spec("OrganizationMembers", &["organization"]),
        spec("TaxCalculator", &["salary:float"]),
        spec("MovieRecommendations", &["preferences:list"]),
        spec("FlightSearch", &["source", "destination", "travel_dates"]),
    ];
    let specs = format!("{{\"./apis\": [{}], \"./lv3_apis\": [{}]}}", general.join(", "), three.join(", "));
    write("vectors/tool_specs.json", &specs);
}

fn small() -> (TempDir, Arc<Library>) {
    let directory = tempfile::tempdir().unwrap();
    small_copy(directory.path());
    let library = Library::open(directory.path()).unwrap();
    (directory, library)
}

/// A real copy, else the small one.
static LIBRARY: LazyLock<Arc<Library>> = LazyLock::new(|| {
    let named = std::env::var_os("AGX_API_BANK_DIR").map(PathBuf::from);
    let found = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/api-bank"));
    if found.join("init_database").exists() {
        return Library::open(&found).unwrap();
    }
    eprintln!("no copy of API-Bank at {}: its tools are not tried, those of a small copy are", found.display());
    small().1
});

const REPLIES: &str = r#"{"level": 1, "file": "Alarm-1.jsonl", "id": 0, "pred": "API-Request: [GetUserToken(username='ann', password='cats')]"}
{"level": 1, "file": "Alarm-1.jsonl", "id": 2, "pred": "[AddAlarm(token='t1', time='2023-05-06 07:00:00')]"}
{"level": 1, "file": "Alarm-1.jsonl", "id": 4, "pred": "[QueryAlarm(token='t1', time='2023-05-06 07:00:00')]"}
{"level": 1, "file": "Alarm-1.jsonl", "id": 5, "pred": "It is set."}
{"level": 3, "sample_id": 0, "api_id": 0, "pred": "[OrganizationMembers(organization='Nobody')]"}
{"level": 3, "sample_id": 0, "pred": "AI: Bo does."}
"#;

#[test]
fn replies_are_scored_from_outside() {
    let desk = super::cli::desk();
    small_copy(&desk.path().join("data"));
    desk.write("replies.jsonl", REPLIES);
    let command = ["score", "api-bank", "--data", "data", "--predictions", "replies.jsonl"];
    let with = |more: &[&str]| desk.agx(&[&command[..], more].concat());
    insta::assert_snapshot!("score_words", with(&["--items", "items.jsonl"]));
    insta::assert_snapshot!("score_items", std::fs::read_to_string(desk.path().join("items.jsonl")).unwrap());
    insta::assert_snapshot!("score_repaired", with(&["--mode", "repaired", "--json"]));
    insta::assert_snapshot!("score_no_toolrl", with(&["--mode", "toolrl"]));
    desk.write("replies.jsonl", "\n{\"level\": 1, \"file\": \"Alarm-9.jsonl\", \"id\": 0, \"pred\": \"\"}\n");
    insta::assert_snapshot!("score_astray", with(&[]));
    desk.write("replies.jsonl", "{\"level\": 1,\n");
    insta::assert_snapshot!("score_broken", with(&[]));
    insta::assert_snapshot!(
        "score_no_data",
        desk.agx(&["score", "api-bank", "--data", "nowhere", "--predictions", "replies.jsonl"])
    );
    insta::assert_snapshot!("score_help", desk.agx(&["score", "api-bank", "--help"]));
}

fn call(level: Level, tool: &str, arguments: Vec<(&str, Value)>) -> String {
    let mut world = World::new(&LIBRARY, level, Network::Recorded);
    let given = arguments.into_iter().map(|(name, value)| (name.into(), value)).collect();
    match world.call(tool, given) {
        Ok(answer) => answer.json(),
        Err(raised) => format!("{}: {}", raised.kind, raised.message),
    }
}

#[test]
fn what_made_the_original_run_forever_is_refused() {
    for formula in ["-3+2", "5*(-2)", "+3", "-3-", "*2", "(+1)+1", "((((1+1", "--", "+-"] {
        let answer = call(Level::General, "Calculator", vec![("formula", Value::str(formula))]);
        assert!(answer.contains("\"output\": null"), "{formula}: {answer}");
    }
}

/// A million characters of many kinds.
fn long_texts() -> Vec<String> {
    let kinds = ["9", "1+", "(1+1)+", "'\"", "- ", "a.", "[{'name':'", "<tool_call>{\"name\":", "[A(b='", "é\u{1c}"];
    kinds.iter().map(|kind| kind.repeat(1_000_000 / kind.len())).collect()
}

#[test]
fn a_million_characters_are_borne_by_every_tool() {
    for level in [Level::General, Level::Three] {
        let texts = long_texts();
        for (place, (name, spec)) in LIBRARY.suite(level).specs.iter().enumerate() {
            for (shift, (parameter, _)) in spec.parameters().rows().iter().enumerate() {
                for (other, text) in texts.iter().enumerate().filter(|(it, _)| (it + place + shift) % 8 == 0) {
                    let rows = spec.parameters().rows().iter();
                    let given = rows.map(|(key, _)| {
                        let long = key == parameter || other % 3 == 0;
                        (key.text().unwrap(), Value::str(if long { text.as_str() } else { "2023-05-06 07:00:00" }))
                    });
                    assert!(call(level, name, given.collect()).len() < 30_000_000, "{name}");
                }
            }
        }
    }
}

#[test]
fn a_million_characters_are_borne_by_every_rule() {
    let (_directory, library) = small();
    for text in long_texts() {
        for mode in [Rule::Official, Rule::Repaired, Rule::Toolrl] {
            let reply = |level, id, pred: &str| Reply {
                level,
                file: Some("Alarm-1.jsonl".to_owned()),
                id: Some(id),
                sample_id: Some(0),
                api_id: Some(0),
                pred: pred.to_owned(),
            };
            let inside = format!("[GetUserToken(username='{text}', password={text})]");
            let replies = [reply(1, 0, &text), reply(1, 0, &inside), reply(1, 5, &text), reply(3, 0, &inside)];
            let scored = score(&library, mode, &replies).unwrap();
            assert!(scored.statuses.iter().all(|status| *status != Status::Correct));
        }
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        "[0-9]{1,40}".prop_map(Value::str),
        "[0-9]{1,4}-[0-9]{1,2}-[0-9]{1,2}( [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2})?".prop_map(Value::str),
        "[-0-9+*/() ]{0,12}".prop_map(Value::str),
        "\\PC{0,20}".prop_map(Value::str),
        prop_oneof![Just("John"), Just("Action"), Just("San Francisco"), Just("a9s8d7f6g5h4j3k2l1")]
            .prop_map(Value::str),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::list),
            prop::collection::vec((prop_oneof!["name", "value", "description", "x"], inner), 0..4).prop_map(|rows| {
                let rows = rows.into_iter().map(|(key, value)| (Key::Text(key.into()), value)).collect();
                Value::Dict(Arc::new(Dict::from_rows(rows)))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Calls in one world, each of any tool with any values: none panics, and the world can still be used.
    #[test]
    fn any_calls_are_answered(calls in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any_value(), 6)), 1..40)) {
        for level in [Level::General, Level::Three] {
            let mut world = World::new(&LIBRARY, level, Network::Recorded);
            let specs: Vec<_> = LIBRARY.suite(level).specs.iter().collect();
            for (tool, values) in &calls {
                let (name, spec) = specs[tool.index(specs.len())];
                let names = spec.parameters().rows().iter().filter_map(|(key, _)| key.text());
                let given = names.zip(values.iter().cycle()).map(|(name, value)| (name.into(), value.clone())).collect();
                if let Ok(answer) = world.call(name, given) {
                    prop_assert!(answer.get("exception").is_some(), "{name}");
                    answer.json();
                    answer.repr();
                }
            }
        }
    }

    #[test]
    fn any_formula_ends(formula in "[-+*/()0-9 ]{0,30}") {
        call(Level::General, "Calculator", vec![("formula", Value::str(formula))]);
    }

    /// What is found of a call stands in the text.
    #[test]
    fn any_reply_is_read(text in "[\\[\\](){}='\", a-c\\n]{0,60}") {
        use agx::env::api_bank::{literal::literal, parse, score::calls};
        calls::meant(&text);
        literal(&text);
        if let Some(found) = parse::api_call(&text) {
            prop_assert!(text.contains(found.text));
            for (name, value) in parse::parameters(found.inside).into_iter().chain(parse::written(found.inside)) {
                prop_assert!(found.inside.contains(name) && found.inside.contains(value));
            }
        }
    }
}

const ASKED: &str = r#"{"op": "tasks"}
{"op": "reset", "episode": "a", "task": "level-1/Alarm-1"}
{"op": "reset", "episode": "b", "level": 1}
{"op": "step", "episode": "a", "call": {"name": "AddAlarm", "arguments": {"token": "t1", "time": "2023-05-06 07:00:00"}}}
{"op": "call", "episode": "b", "name": "QueryAlarm", "arguments": {"token": "t1", "time": "2023-05-06 07:00:00"}}
{"op": "call", "episode": "a", "name": "QueryAlarm", "arguments": {"token": "t1", "time": "2023-05-06 07:00:00"}}
{"op": "call", "episode": "b", "name": "QueryAlarm", "arguments": {"token": "t1"}}
{"op": "call", "episode": "b", "name": "AddScene", "arguments": {"name": "x", "devices": "[{'name': 'Lamp', 'description': 'It shines.'}]"}}
{"op": "step", "episode": "a", "call": {"name": "GetUserToken", "arguments": {"username": "ann", "password": "cats"}}}
{"op": "step", "episode": "a", "text": "It is set for seven."}
{"op": "step", "episode": "a", "text": "Again."}
{"op": "close", "episode": "a"}
{"op": "call", "episode": "a", "name": "QueryAlarm"}
{"op": "reset", "episode": "c", "task": "level-9/x"}
{"op": "dance"}
not JSON
{"op": "close"}
{"op": "tasks"}
"#;

#[test]
fn other_programs_can_use_the_environment() {
    use std::io::Write;
    let desk = super::cli::desk();
    small_copy(&desk.path().join("data"));
    let mut command = desk.command(&["env", "api-bank", "--data", "data", "--mode", "repaired"]);
    let (input, output) = (std::process::Stdio::piped(), std::process::Stdio::piped());
    let mut child = command.stdin(input).stdout(output).spawn().unwrap();
    child.stdin.take().unwrap().write_all(ASKED.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!("env_answers", String::from_utf8(output.stdout).unwrap());
}
