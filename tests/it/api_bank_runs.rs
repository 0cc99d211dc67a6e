//! API-Bank's tasks in rollouts and runs, over a small copy made here.

use super::api_bank::small_copy;
use agx::base::Seed;
use agx::env::api_bank::{Declared, Mode, Tasks};
use agx::env::{Env, EnvKind, EnvSpec, Split};
use agx::model::scripted::Scripted;
use agx::model::{Device, Dtype, ModelSpec, Role, Sampling, Source, ToolCalls, ToolFormat};
use agx::node::rollout::{Played, Rollout, RolloutItem};
use agx::node::template::{Filter, Piece, Template, TemplateMessage};
use serde_json::json;
use std::path::Path;

/// The user says when only once it is asked.
const TALK: &str = r#"{"role": "User", "text": "Set an alarm."}
{"role": "AI", "text": "For when?"}
{"role": "User", "text": "For seven on 2023-05-06. I am ann, cats."}
{"role": "AI", "text": "One moment."}
{"role": "API", "api_name": "GetUserToken", "param_dict": {"username": "ann", "password": "cats"}, "result": {"api_name": "GetUserToken", "input": {"username": "ann", "password": "cats"}, "output": {"token": "t1"}, "exception": null}}
{"role": "API", "api_name": "AddAlarm", "param_dict": {"token": "t1", "time": "2023-05-06 07:00:00"}, "result": {"api_name": "AddAlarm", "input": {"token": "t1", "time": "2023-05-06 07:00:00"}, "output": "success", "exception": null}}
{"role": "AI", "text": "It is set."}
"#;

/// What an agent says that does all of [`TALK`], in API-Bank's notation.
fn script() -> String {
    let replies = [
        ("Set an alarm.", "AI: For when?"),
        ("I am ann", "API-Request: [GetUserToken(username='ann', password='cats')]"),
        ("'token': 't1'", "API-Request: [AddAlarm(token='t1', time='2023-05-06 07:00:00')]"),
        ("success", "It is set."),
    ];
    let replies = replies.map(|(when, say)| json!({ "when": when, "say": [say] }));
    json!({ "replies": replies, "default": ["I do not know."] }).to_string()
}

fn scripted(directory: &Path) -> Scripted {
    let path = directory.join("policy.json");
    std::fs::write(&path, script()).unwrap();
    let spec = ModelSpec {
        source: Source::Scripted(path.clone()),
        adapter: None,
        context: 4000,
        dtype: Dtype::F32,
        device: Device::Cpu,
        lora: None,
        tool_format: ToolFormat::ApiBank,
        tool_calls: ToolCalls::Drawn,
    };
    Scripted::open(&path, &spec, None).unwrap()
}

fn prompt() -> Template {
    let value = |name: &str, filters| Piece::Value { path: vec!["task".to_owned(), name.to_owned()], filters };
    let message = |role, piece| TemplateMessage { role, pieces: vec![piece] };
    let tools = message(Role::System, value("tools", vec![Filter::Lines]));
    Template { messages: vec![tools, message(Role::User, value("request", Vec::new()))] }
}

#[test]
fn the_user_goes_on_once_the_agent_has_answered() {
    let directory = tempfile::tempdir().unwrap();
    small_copy(directory.path());
    std::fs::write(directory.path().join("lv1-lv2-samples/level-1-given-desc/Alarm-1.jsonl"), TALK).unwrap();
    let declared =
        Declared { data: directory.path().to_owned(), from: 1, to: 1, mode: Mode::Repaired, tasks: Tasks::Dialogues };
    let splits = vec![Split { name: "test".to_owned(), size: 1, held_out: true }];
    let env =
        Env::open(&EnvSpec { kind: EnvKind::ApiBank(declared), splits, max_steps: 9 }, &agx::model::Wire::default())
            .unwrap();
    let (model, prompt, task) = (scripted(directory.path()), prompt(), env.task("test", 0));
    let rollout = Rollout {
        model: &model,
        env: &env,
        prompt: &prompt,
        tool_format: ToolFormat::ApiBank,
        tool_calls: ToolCalls::Drawn,
        max_steps: 9,
        sampling: Sampling::greedy(200),
    };
    let mut finished = Vec::new();
    let item = RolloutItem { task: &task, sample: 0, seed: Seed(1) };
    let results = rollout.run(&[item], &|| None, &mut |done| finished.extend(done));
    assert!(results.iter().all(Result::is_ok));
    let [Played { trajectory, truth, .. }] = finished.as_slice() else { panic!("one episode") };
    let turns: Vec<String> =
        trajectory.messages.iter().skip(1).map(|turn| format!("{}: {}", turn.role.as_str(), turn.content)).collect();
    insta::assert_snapshot!(turns.join("\n"), @r"
    user: Set an alarm.
    assistant: AI: For when?
    user: For seven on 2023-05-06. I am ann, cats.
    assistant: API-Request: [GetUserToken(username='ann', password='cats')]
    tool: {'token': 't1'}
    assistant: API-Request: [AddAlarm(token='t1', time='2023-05-06 07:00:00')]
    tool: success
    assistant: It is set.
    ");
    assert!(trajectory.ended && !trajectory.error && trajectory.calls == 2);
    let figures: Vec<(&str, f64)> = truth.truth.iter().map(|(name, figure)| (name.as_str(), *figure)).collect();
    let rouge = figures.iter().find(|(name, _)| *name == "rouge").unwrap().1;
    assert!((rouge - 0.5 * (1.0 + 1.0)).abs() < 0.3, "{figures:?}");
    assert!(figures.contains(&("success", 1.0)) && figures.contains(&("progress", 1.0)), "{figures:?}");
}

/// The small copy's files of rows: three calls and a text of level 1, a call and a text of level 3.
fn with_rows(directory: &Path) {
    let write = |name: &str, rows: serde_json::Value| {
        std::fs::write(directory.join("test-data").join(name), rows.to_string()).unwrap();
    };
    let row = |id: usize, input: &str| json!({ "file": "Alarm-1.jsonl", "id": id, "instruction": "\nGenerate an API request.", "input": input });
    let calls = [0, 2, 4]
        .map(|id| row(id, &format!("User: Is my alarm set? I am ann, cats.\nTurn {id}\nGenerate API Request:\n")));
    write("level-1-api.json", json!(calls));
    write("level-1-response.json", json!([row(5, "User: Is my alarm set?\nGenerate AI Response:\n")]));
    write("level-2-api.json", json!([]));
    write("level-2-response.json", json!([]));
    let row =
        |id: usize, input: &str| json!({ "sample_id": 0, "api_id": id, "instruction": "Generate.", "input": input });
    write("level-3-batch-inf.json", json!([row(0, "User: Who works at Acme?\nGenerate API Request: \n")]));
    write("level-3-batch-inf-response.json", json!([row(1, "User: Who works at Acme?\nGenerate AI Response: \n")]));
}

const ROWS: &str = r#"agx 2026
//! The benchmark's own rows.

env bank {
  use       = builtin("api-bank") { data = path("data"), level = 1..3, tasks = turns, mode = official }
  splits    { test = 6 held_out }
  max_steps = 1
}

model policy { scripted = "policy.json", context = 4000 tokens, tool_format = api_bank }

prompt act(task: bank.Task) {
  user """
    {{ task.instruction }}
    {{ task.request }}
    """
}

experiment rows {
  seed = 7

  schedule {
    let before = evaluate policy on bank.test { prompt = act, decode = greedy }
  }

  report { table before.level1.official, before.level1.repaired, before.level3.samples.official, before.level1.rouge }
}
"#;

#[test]
fn an_evaluation_of_rows_measures_what_scoring_its_replies_does() {
    let desk = super::cli::desk();
    let data = desk.path().join("data");
    small_copy(&data);
    with_rows(&data);
    let said = [
        ("Turn 0", "API-Request: [GetUserToken(username='ann', password='cats')]"),
        ("Turn 2", "API-Request: [AddAlarm(token='t1', time='2023-05-06')]"),
        ("Turn 4", "I do not know."),
        ("Is my alarm set?\nGenerate AI", "It is set for nine."),
        ("Acme?\nGenerate API", "API-Request: [OrganizationMembers(organization='Acme')]"),
    ];
    let replies = said.map(|(when, say)| json!({ "when": when, "say": [say] }));
    desk.write("policy.json", json!({ "replies": replies, "default": ["AI: Bo does."] }).to_string());
    desk.write("rows.agx", ROWS);
    let ran = desk.agx(&["run", "rows.agx"]);
    assert!(ran.contains("-- exit 0"), "{ran}");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[short]");
    settings.bind(|| insta::assert_snapshot!("rows_report", desk.agx(&["report", "--md"])));

    let answers: [(serde_json::Value, &str); 6] = [
        (json!({ "level": 1, "file": "Alarm-1.jsonl", "id": 0 }), said[0].1),
        (json!({ "level": 1, "file": "Alarm-1.jsonl", "id": 2 }), said[1].1),
        (json!({ "level": 1, "file": "Alarm-1.jsonl", "id": 4 }), said[2].1),
        (json!({ "level": 1, "file": "Alarm-1.jsonl", "id": 5 }), said[3].1),
        (json!({ "level": 3, "sample_id": 0, "api_id": 0 }), said[4].1),
        (json!({ "level": 3, "sample_id": 0 }), "AI: Bo does."),
    ];
    let lines = answers.map(|(mut row, pred)| {
        row["pred"] = json!(pred);
        row.to_string()
    });
    desk.write("replies.jsonl", lines.join("\n"));
    let json = |args: &[&str]| -> serde_json::Value {
        let output = desk.command(args).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let report = json(&["report", "--format", "json"]);
    let metric = |name: &str| {
        let all = report["metrics"].as_array().unwrap();
        all.iter()
            .find(|it| it["name"] == format!("before.{name}"))
            .unwrap_or_else(|| panic!("{name}: {report}"))
            .clone()
    };
    for mode in ["official", "repaired"] {
        let scored =
            json(&["score", "api-bank", "--data", "data", "--predictions", "replies.jsonl", "--mode", mode, "--json"]);
        for level in scored["levels"].as_array().unwrap() {
            let name = format!("level{}.{mode}", level["level"]);
            let correct = level["calls"]["correct"].as_f64().unwrap();
            let found = metric(&name);
            let close = |a: f64, b: &serde_json::Value| (a - b.as_f64().unwrap()).abs() < 1e-9;
            assert!(close(correct, &json!(found["value"].as_f64().unwrap() * found["n"].as_f64().unwrap())), "{name}");
            if mode == "official" {
                assert!(close(
                    level["rouge_l"].as_f64().unwrap(),
                    &metric(&format!("level{}.rouge", level["level"]))["value"]
                ));
            }
        }
        assert_eq!(metric(&format!("level3.samples.{mode}"))["value"], json!(1.0));
    }
    assert_eq!(metric("level1.errors.no_api_call")["n"], json!(3));
}
