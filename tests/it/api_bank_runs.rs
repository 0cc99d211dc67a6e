//! API-Bank's tasks in rollouts and runs, over a small copy made here.

use super::api_bank::small_copy;
use agx::base::Seed;
use agx::env::api_bank::{Declared, Mode};
use agx::env::{Env, EnvKind, EnvSpec, Split};
use agx::model::scripted::Scripted;
use agx::model::{Device, Dtype, ModelSpec, Role, Sampling, Source, ToolFormat};
use agx::node::rollout::{Rollout, RolloutItem};
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
        context: 4000,
        dtype: Dtype::F32,
        device: Device::Cpu,
        lora: None,
        tool_format: ToolFormat::ApiBank,
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
    let declared = Declared { data: directory.path().to_owned(), from: 1, to: 1, mode: Mode::Repaired };
    let splits = vec![Split { name: "test".to_owned(), size: 1, held_out: true }];
    let env = Env::open(&EnvSpec { kind: EnvKind::ApiBank(declared), splits, max_steps: 9 }).unwrap();
    let (model, prompt, task) = (scripted(directory.path()), prompt(), env.task("test", 0));
    let rollout = Rollout {
        model: &model,
        env: &env,
        prompt: &prompt,
        tool_format: ToolFormat::ApiBank,
        max_steps: 9,
        sampling: Sampling::greedy(200),
    };
    let mut finished = Vec::new();
    let item = RolloutItem { task: &task, sample: 0, seed: Seed(1) };
    let results = rollout.run(&[item], &|| None, &mut |done| finished.extend(done));
    assert!(results.iter().all(Result::is_ok));
    let [(_, trajectory, truth)] = finished.as_slice() else { panic!("one episode") };
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
