//! What the original answered on the same calls, where a copy of its data is at hand.

use super::parse::{api_call, parameters};
use super::rouge::rouge_l;
use super::score::{Reply, Rule, score};
use super::tools::Raised;
use super::value::{Key, Text, Value};
use super::{Declared, Level, Library, Mode, Network, Tasks, World};
use std::path::PathBuf;
use std::sync::Arc;

/// A copy of the data, by `AGX_API_BANK_DIR` or beside the repository.
#[allow(clippy::disallowed_methods, reason = "a test asks the environment where the data lies")]
pub fn copy() -> Option<PathBuf> {
    let named = std::env::var_os("AGX_API_BANK_DIR").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/api-bank");
    let found = named.unwrap_or(beside);
    if found.join("init_database").exists() {
        return Some(found);
    }
    #[allow(clippy::print_stderr, reason = "a test that does not run says so")]
    {
        eprintln!("skipped: no copy of API-Bank at {} (set AGX_API_BANK_DIR)", found.display());
    }
    None
}

pub fn library() -> Option<(PathBuf, Arc<Library>)> {
    let data = copy()?;
    let library = Library::open(&data).unwrap();
    Some((data, library))
}

fn rows(data: &std::path::Path, name: &str) -> Vec<Value> {
    let Ok(text) = std::fs::read_to_string(data.join("vectors").join(name)) else { return Vec::new() };
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn str<'a>(of: &'a Value, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub fn given(arguments: &Value) -> Vec<(Text, Value)> {
    let text = |key: &Key| key.text().unwrap().into();
    arguments.as_dict().unwrap().rows().iter().map(|(key, value)| (text(key), value.clone())).collect()
}

/// Whether an answer is the recorded one, but for what is drawn and what lies online.
fn same(tool: &str, found: &Result<Value, Raised>, wanted: &Value) -> bool {
    match (found, wanted.get("result")) {
        (Err(raised), None) => raised.kind == str(wanted, "raised") && raised.message == str(wanted, "message"),
        (Ok(found), Some(wanted)) => {
            // The file has tuples as lists.
            let found: Value = serde_json::from_str(&found.json()).unwrap();
            let drawn = ["AppointmentRegistration", "RegisterUser"].contains(&tool);
            let both = |name: &str| (found.get(name), wanted.get(name));
            let (output, recorded) = both("output");
            let equal = |name: &str| both(name).0 == both(name).1;
            let output = output == recorded || (drawn && output.is_some_and(|it| !it.is_none()));
            let online = str(wanted, "exception") == "STUB_NO_NETWORK" && !found.get("exception").unwrap().is_none();
            equal("api_name") && equal("input") && output && (online || equal("exception"))
        }
        _ => false,
    }
}

#[test]
fn texts_are_parsed_as_the_original_parses_them() {
    let Some(data) = copy() else { return };
    for row in rows(&data, "parse_vectors.jsonl") {
        let found = api_call(str(&row, "text"));
        assert_eq!(found.map(|it| it.text), row.get("get_api_call").and_then(Value::as_str), "{}", row.json());
        let Some(found) = found else { continue };
        let parsed = row.get("parsed").unwrap();
        assert_eq!(found.name, str(parsed, "name"));
        let params = parameters(found.inside).into_iter().map(|(k, v)| (Key::Text(k.into()), Value::str(v))).collect();
        let params = Value::Dict(Arc::new(super::value::Dict::from_rows(params)));
        assert_eq!(Some(&params), parsed.get("params"), "{}", row.json());
    }
}

#[test]
fn rouge_is_what_the_package_computes() {
    let Some(data) = copy() else { return };
    for row in rows(&data, "rouge_l_vectors.jsonl") {
        let found = rouge_l(str(&row, "ref"), str(&row, "hyp"));
        let number = |name: &str| row.get(name).and_then(Value::number);
        let close = |a: f64, name: &str| (a - number(name).unwrap()).abs() < 1e-9;
        match found {
            None => assert!(row.get("raised").is_some(), "{}", row.json()),
            Some(it) => assert!(close(it.f, "f") && close(it.p, "p") && close(it.r, "r"), "{it:?} {}", row.json()),
        }
    }
}

#[test]
fn specifications_are_written_as_the_original_writes_them() {
    let Some((data, library)) = library() else { return };
    let Ok(specs) = super::library::read(&data.join("vectors/tool_specs.json")) else { return };
    for (suite, level) in [("./apis", Level::General), ("./lv3_apis", Level::Three)] {
        let specs = specs.get(suite).and_then(Value::as_list).unwrap();
        assert_eq!(library.suite(level).specs.len(), specs.len());
        for spec in specs {
            let found = &library.suite(level).specs[str(spec, "name")];
            assert_eq!(found.value.json(), str(spec, "get_api_description"));
        }
    }
}

/// A copy as it is published has no file of specifications: prompts and searches have them.
#[cfg(unix)]
#[test]
fn specifications_are_in_a_copy_as_it_is_published() {
    let Some((data, library)) = library() else { return };
    let published = tempfile::tempdir().unwrap();
    for name in ["init_database", "lv1-lv2-samples", "test-data"] {
        std::os::unix::fs::symlink(data.canonicalize().unwrap().join(name), published.path().join(name)).unwrap();
    }
    let found = Library::open(published.path()).unwrap();
    for (level, lacking) in
        [(Level::General, ["AddScene", "CheckToken", "ModifyScene"].as_slice()), (Level::Three, &[])]
    {
        let (wanted, found) = (&library.suite(level).specs, &found.suite(level).specs);
        let missing: Vec<&str> =
            wanted.keys().filter(|name| !found.contains_key(*name)).map(std::convert::AsRef::as_ref).collect();
        assert_eq!(missing, lacking, "what no dialogue calls");
        for (name, spec) in found {
            // Their descriptions are not everywhere the same in the data.
            if !["ToolSearcher", "Translate"].contains(&name.as_ref()) {
                assert_eq!(spec.value.json(), wanted[name].value.json());
            }
        }
    }
}

#[test]
fn gold_calls_answer_what_the_original_answered() {
    let Some((data, library)) = library() else { return };
    let mut wrong = Vec::new();
    for row in rows(&data, "gold_calls_lv12.jsonl") {
        let tool = str(&row, "api");
        let fresh = row.get("fresh").unwrap();
        if fresh.get("skipped").is_none() && tool != "ToolSearcher" {
            let mut world = World::new(&library, Level::General, Network::Down);
            let found = world.call(tool, given(row.get("param_dict").unwrap()));
            if !same(tool, &found, fresh) {
                wrong.push(format!("{found:?}\n  wanted {}", fresh.json()));
            }
        }
    }
    for row in rows(&data, "gold_calls_lv3.jsonl") {
        let (tool, fresh) = (str(&row, "api"), row.get("fresh").unwrap());
        if fresh.get("skipped").is_none() {
            let mut world = World::new(&library, Level::Three, Network::Down);
            let found = world.call(tool, given(row.get("param_dict").unwrap()));
            if !same(tool, &found, fresh) {
                wrong.push(format!("{found:?}\n  wanted {}", fresh.json()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A value with one text for another wherever it stands.
fn renamed(value: &Value, names: &[(String, String)]) -> Value {
    let text = names.iter().fold(value.json(), |text, (from, to)| text.replace(from, to));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn episodes_go_as_the_originals_went() {
    let Some((data, library)) = library() else { return };
    let (mut wrong, mut calls) = (Vec::new(), 0);
    for episode in rows(&data, "fuzz_episodes.jsonl") {
        let level = if str(&episode, "suite") == "apis" { Level::General } else { Level::Three };
        let mut world = World::new(&library, level, Network::Down);
        // What was drawn there, and here.
        let mut drawn: Vec<(String, String)> = Vec::new();
        for call in episode.get("calls").and_then(Value::as_list).unwrap() {
            let tool = str(call, "api");
            let found = world.call(tool, given(&renamed(call.get("kwargs").unwrap(), &drawn)));
            let wanted = renamed(call, &drawn);
            calls += 1;
            if !same(tool, &found, &wanted) {
                wrong.push(format!("{}: {found:?}\n  wanted {}", str(&episode, "episode"), call.json()));
            }
            if ["AppointmentRegistration", "RegisterUser"].contains(&tool) {
                let output = |of: &Value| of.get("output").filter(|it| !it.is_none()).cloned();
                let id = |of: Value| of.get("token").cloned().unwrap_or(of).display();
                let here = found.as_ref().ok().and_then(output);
                if let (Some(here), Some(there)) = (here, call.get("result").and_then(output)) {
                    drawn.push((id(there), id(here)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {calls} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn dialogues_replayed_answer_what_the_original_answered() {
    let Some((data, library)) = library() else { return };
    let mut wrong = Vec::new();
    for row in rows(&data, "gold_calls_lv12.jsonl") {
        let level = usize::from(str(&row, "split") == "level-2-toolsearcher");
        let dialogue = library.dialogues[level].iter().find(|it| it.file == str(&row, "file")).unwrap();
        let Some(Value::Int(turn)) = row.get("turn") else { panic!("a turn is a number") };
        let tool = str(&row, "api");
        if tool == "ToolSearcher" {
            continue;
        }
        let mut world = World::new(&library, Level::General, Network::Down);
        for call in dialogue.turns[..*turn as usize].iter().filter_map(|turn| turn.call()) {
            let _ = world.call(&call.name, given(&Value::Dict(Arc::new(call.arguments.clone()))));
        }
        let found = world.call(tool, given(row.get("param_dict").unwrap()));
        // An appointment's number is drawn; what is found by it is otherwise the same.
        if tool != "QueryRegistration" && !same(tool, &found, row.get("stateful").unwrap()) {
            wrong.push(format!("{found:?}\n  wanted {}", row.json()));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn reply(row: &Value, pred: &str) -> Reply {
    let number = |name: &str| match row.get(name) {
        Some(Value::Int(it)) => Some(*it as usize),
        _ => None,
    };
    let file = row.get("file").map(Value::display);
    Reply {
        level: 0,
        file,
        id: number("id"),
        sample_id: number("sample_id"),
        api_id: number("api_id"),
        pred: pred.into(),
    }
}

#[test]
fn verdicts_are_the_originals() {
    let Some((data, library)) = library() else { return };
    let rows = rows(&data, "evaluator_vectors.jsonl");
    let replies: Vec<Reply> = rows
        .iter()
        .map(|row| Reply { level: str(row, "level").parse().unwrap(), ..reply(row, str(row, "pred")) })
        .collect();
    let scored = score(&library, Rule::Official, &replies).unwrap();
    let pairs = rows.iter().zip(&scored.statuses);
    let wrong: Vec<String> = pairs
        .filter(|(row, status)| status.words() != str(row, "status"))
        .map(|(row, status)| format!("{} for {}", status.words(), row.json()))
        .collect();
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// The recorded calls and answers as replies.
pub fn gold(data: &std::path::Path) -> Vec<Reply> {
    let mut replies = Vec::new();
    let files = [
        (1, "level-1-api", "expected_output"),
        (1, "level-1-response", "expected_output"),
        (2, "level-2-api", "expected_output"),
        (2, "level-2-response", "expected_output"),
        (3, "level-3-batch-inf", "output"),
    ];
    for (level, name, field) in files {
        let rows = super::library::read(&data.join(format!("test-data/{name}.json"))).unwrap();
        replies.extend(rows.as_list().unwrap().iter().map(|row| Reply { level, ..reply(row, str(row, field)) }));
    }
    replies
}

#[test]
fn the_recorded_calls_score_what_the_original_gives_them() {
    let Some((data, library)) = library() else { return };
    let replies = gold(&data);
    let counts = |mode| {
        let scored = score(&library, mode, &replies).unwrap();
        scored
            .levels
            .iter()
            .map(|it| [it.calls, it.tool_searcher, it.online].map(|it| (it.correct, it.rows)))
            .collect::<Vec<_>>()
    };
    let official = score(&library, Rule::Official, &replies).unwrap();
    for (level, rows) in [(0, 375), (1, 103)] {
        assert_eq!(official.levels[level].responses, rows);
        assert!((official.levels[level].rouge_l.unwrap() - 1.0).abs() < 1e-6);
    }
    // In each: all, of them the tool searcher's, of them those that ask online.
    assert_eq!(
        counts(Rule::Official),
        [[(338, 399), (0, 0), (0, 9)], [(95, 135), (15, 45), (0, 0)], [(235, 245), (114, 114), (0, 0)]]
    );
    assert_eq!(
        counts(Rule::Repaired),
        [[(365, 389), (0, 0), (0, 9)], [(87, 119), (15, 45), (0, 0)], [(245, 245), (114, 114), (0, 0)]]
    );
    // ToolRL's answers lack the children of five hotel bookings.
    assert_eq!(
        counts(Rule::Toolrl).iter().map(|[all, ..]| *all).collect::<Vec<_>>(),
        [(394, 399), (67, 67), (131, 131)]
    );
}

#[test]
fn the_recorded_calls_solve_the_tasks() {
    use crate::base::Seed;
    use crate::env::{Action, Call, Env, EnvKind, EnvSpec, Observation, Split, Unopened};
    use crate::model::Role;
    use crate::model::Wire;
    let Some(data) = copy() else { return };
    let mode = Mode::Repaired;
    let spec = |sizes: [u32; 2], level| EnvSpec {
        kind: EnvKind::ApiBank(Declared { data: data.clone(), from: level, to: level, mode, tasks: Tasks::Dialogues }),
        splits: vec![
            Split { name: "train".to_owned(), size: sizes[0], held_out: false },
            Split { name: "test".to_owned(), size: sizes[1], held_out: true },
        ],
        max_steps: 20,
    };
    let library = Library::open(&data).unwrap();
    let (mut solved, mut told) = (Vec::new(), 0);
    for (level, sizes) in [(1, [100, 112]), (2, [30, 19]), (3, [25, 25])] {
        let env = Env::open(&spec(sizes, level), &Wire::default()).unwrap();
        let tasks: Vec<_> = ["train", "test"].into_iter().flat_map(|split| env.tasks(split)).collect();
        let mut ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), tasks.len(), "splits share no task");
        assert_eq!(env.place("test", &env.task("test", 3).id), Some(3));
        let mut all = 0;
        for task in &tasks {
            let goal = super::episode::Goal::read(&library, &task.id).unwrap();
            let (mut episode, _) = env.start(task, Seed(0)).unwrap();
            for call in goal.calls(&library) {
                let rows = call.arguments.rows().iter();
                let arguments = rows.map(|(key, value)| (key.text().unwrap().to_owned(), value.display())).collect();
                let action = Action::Call(Call { name: call.name.to_string(), arguments });
                assert_eq!(episode.step(&action).unwrap().by, Role::Tool);
            }
            let seen = serde_json::to_string(&task.fields).unwrap();
            for exchange in &goal.exchanges(&library)[1..] {
                assert_eq!(episode.truth().get("success"), Some(&0.0), "not before it has answered");
                let next = episode.step(&Action::Answer("Done.".to_owned())).unwrap();
                assert_eq!(next, Observation::asked(exchange.said.clone()));
                assert!(!exchange.said.is_empty());
                told += usize::from(seen.contains(&exchange.said));
            }
            assert_eq!(episode.step(&Action::Answer("Done.".to_owned())), Ok(Observation::done()));
            all += usize::from(episode.truth().get("success") == Some(&1.0));
        }
        solved.push((all, tasks.len()));
        let too_many = Env::open(&spec([sizes[0], sizes[1] + 300], level), &Wire::default()).unwrap_err();
        assert!(matches!(too_many, Unopened::TooFew { .. }), "{too_many}");
    }
    // Users who say the same again, or `7am`: none of it is known from the task otherwise.
    assert!(told < 8, "{told}");
    // What is not solved are dialogues with a recorded call that no call is accepted for.
    assert_eq!(solved, [(197, 212), (47, 49), (50, 50)]);
}

#[test]
fn rows_are_those_that_the_benchmark_asks() {
    use crate::base::Seed;
    use crate::env::benchmark::{Figure, Of};
    use crate::env::{Action, Env, EnvKind, EnvSpec, Split};
    use crate::model::{ToolFormat, Wire};
    let Some((data, library)) = library() else { return };
    let declared = Declared { data: data.clone(), from: 1, to: 3, mode: Mode::Official, tasks: Tasks::Turns };
    let splits = vec![Split { name: "test".to_owned(), size: 1307, held_out: true }];
    let env = Env::open(&EnvSpec { kind: EnvKind::ApiBank(declared.clone()), splits, max_steps: 1 }, &Wire::default())
        .unwrap();
    let rows = super::rows::read(&data, &library, 1..=3).unwrap();
    assert_eq!(rows.len(), 1307);
    let gold: std::collections::BTreeMap<String, String> =
        rows.iter().zip(gold_of_rows(&data)).map(|(row, pred)| (row.id(), pred)).collect();
    let (mut said, mut solved) = (Vec::new(), 0);
    for task in env.tasks("test") {
        let pred = &gold[&task.id];
        let action = env.action(pred, ToolFormat::ApiBank);
        assert_eq!(action, Action::Answer(pred.clone()));
        // One in ten is asked of an episode; the figures are of all.
        if said.len() % 10 == 0 {
            let (mut episode, _) = env.start(&task, Seed(0)).unwrap();
            assert!(episode.step(&action).unwrap().done);
            solved += usize::from(episode.truth().values().any(|figure| *figure > 0.99));
        }
        said.push((task.id, pred.clone()));
    }
    assert!((90..130).contains(&solved), "{solved}");
    let (figures, published) = env.benchmark(&said).unwrap();
    let share = |name: &str| match figures.iter().find(|figure| figure.name == name) {
        Some(Figure { of: Of::Share(hits, of), .. }) => (*hits, *of),
        other => panic!("{name}: {other:?}"),
    };
    let shares =
        ["level1.official", "level2.official", "level3.official", "level1.repaired", "level2.repaired"].map(share);
    assert_eq!(shares, [(338, 399), (95, 135), (235, 245), (365, 389), (87, 119)]);
    let shares = ["level3.repaired", "level1.toolrl", "level2.toolrl", "level3.toolrl"].map(share);
    assert_eq!(shares, [(245, 245), (394, 399), (67, 67), (131, 131)]);
    assert_eq!(share("level3.samples.repaired"), (50, 50));
    assert!(published.figures.iter().all(|(_, figures)| figures.len() == 3));
    // A file can name every figure.
    let known = &declared.schema().metrics;
    assert!(figures.iter().all(|figure| known.contains(&figure.name)));
}

/// What the data expects of each row, in their order.
fn gold_of_rows(data: &std::path::Path) -> Vec<String> {
    let files = [
        ("level-1-api", "expected_output"),
        ("level-1-response", "expected_output"),
        ("level-2-api", "expected_output"),
        ("level-2-response", "expected_output"),
        ("level-3-batch-inf", "output"),
        ("level-3-batch-inf-response", "output"),
    ];
    let read = |(name, field): &(&str, &str)| {
        let rows = super::library::read(&data.join(format!("test-data/{name}.json"))).unwrap();
        rows.as_list().unwrap().iter().map(|row| str(row, field).to_owned()).collect::<Vec<_>>()
    };
    files.iter().flat_map(read).collect()
}

#[test]
fn training_dialogues_can_be_played_again_and_are_none_that_is_evaluated() {
    use super::training::{self, RecordingEpisode};
    use crate::env::{Action, PureEpisode};
    let Some(data) = copy() else { return };
    let bytes = |path: &std::path::Path| std::fs::read(path).ok();
    assert_eq!(training::meeting(&data, &bytes), None);
    let recordings = training::read(&data).unwrap();
    // Of 338 one writes its calls without brackets.
    assert_eq!(recordings.len(), 337);
    for recording in recordings {
        let recording = Arc::new(recording);
        let mut episode = RecordingEpisode::new(recording.clone());
        for (call, result) in recording.calls() {
            assert_eq!(episode.step(&Action::Call(call.clone())).text, *result, "{call:?}");
        }
        assert!(episode.step(&Action::Answer(recording.answer().to_owned())).done);
        assert_eq!(episode.truth().get("success"), Some(&1.0), "{recording:?}");
    }
    // The same words in another layout, by one row of a level 3 that is otherwise as it was.
    let planted = |path: &std::path::Path| {
        let text = String::from_utf8(std::fs::read(path).ok()?).unwrap();
        let row = r#"[{"input": "x\nUser:  query MEETING of John and send email reminder to john@example.com.TIME: 2031-01-01\n"},"#;
        let plants = path.ends_with("training-data/lv3-train.json");
        Some(if plants { text.replacen('[', row, 1) } else { text }.into_bytes())
    };
    let met = training::meeting(&data, &planted).unwrap();
    assert!(met.evaluation.starts_with("test-data/level-3.json"), "{met}");
}

/// What the original answers where its own parameters, types and order decide; asked of it, and in no file of vectors.
#[test]
fn calls_at_the_edges_go_as_in_the_original() {
    let Some((_, library)) = library() else { return };
    let call = |level, name: &str, given: &[(&str, Value)]| {
        let given = given.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        World::new(&library, level, Network::Down).call(name, given)
    };
    let twice = [("post_id", Value::str("x")), ("post_id", Value::str("4"))];
    let found = call(Level::Three, "LikeCount", &twice).expect("the later one is a number");
    assert_eq!(found.get("input").and_then(|input| input.get("post_id")), Some(&Value::Int(4)));
    let told = |found: Result<Value, Raised>| {
        let found = found.expect("it answers");
        found.get("exception").map(Value::display).unwrap_or_default()
    };
    let health =
        [("user_id", Value::Int(7)), ("start_time", Value::Int(7)), ("end_time", Value::str("2023-04-05 17:00:00"))];
    assert_eq!(told(call(Level::General, "QueryHealthData", &health)), "'int' object has no attribute 'upper'");
    let alarm = [("token", Value::str("o9i8u7y6t5r4e3w2q1")), ("time", Value::None)];
    assert_eq!(told(call(Level::General, "QueryAlarm", &alarm)), "strptime() argument 1 must be str, not None");
    let own = [("symptom", Value::str("rash")), ("self", Value::str("1"))];
    let raised = call(Level::General, "SymptomSearch", &own).expect_err("it is the manager's");
    assert_eq!(raised.message, "ToolManager.api_call() got multiple values for argument 'self'");
}
