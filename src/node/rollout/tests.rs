//! Episodes of a scripted agent at the desk.

use super::*;
use crate::env::{EnvKind, EnvSpec, Split};
use crate::model::{Device, Dtype, ModelSpec, Source, TokenId, ToolCalls, ToolFormat, scripted::Scripted};
use crate::node::lost::Problem;
use crate::node::template::{Filter, Piece, TemplateMessage};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

const SAYINGS: &str = r#"{
    "replies": [
        { "when": "error:", "say": ["I give up.", "call notes_of_nobody\nx: 1", "call no colon\nhere"] }
    ],
    "default": ["call find_contact\nname: Nobody", "call find_contact\nnonsense", "Done.", "call read_mail\nname: x\nname: y"]
}"#;

fn scripted(json: &str, context: u32) -> Scripted {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(json.as_bytes()).unwrap();
    let spec = ModelSpec {
        source: Source::Scripted(file.path().to_owned()),
        adapter: None,
        context,
        dtype: Dtype::F32,
        device: Device::Cpu,
        lora: None,
        tool_format: ToolFormat::Lines,
        tool_calls: ToolCalls::Drawn,
    };
    Scripted::open(file.path(), &spec, None).unwrap()
}

fn desk() -> Env {
    let split = |name: &str| Split { name: name.to_owned(), size: 12, held_out: false };
    Env::open(
        &EnvSpec { kind: EnvKind::Desk, splits: vec![split("train")], max_steps: 4 },
        &crate::model::Wire::default(),
    )
    .expect("the desk is built in")
}

fn prompt() -> Template {
    let value =
        |name: &str, filters: Vec<Filter>| Piece::Value { path: vec!["task".to_owned(), name.to_owned()], filters };
    let message = |role, piece| TemplateMessage { role, pieces: vec![piece] };
    let tools = message(Role::System, value("tools", vec![Filter::Lines]));
    Template { messages: vec![tools, message(Role::User, value("request", Vec::new()))] }
}

/// The tasks are leaked: a test's process is short.
fn items(env: &Env, samples: u32) -> Vec<RolloutItem<'static>> {
    let item = |(task, sample): (&'static Task, u32)| RolloutItem {
        task,
        sample,
        seed: crate::node::key::item_seed(Seed(7), "rollout", 1, &task.id, sample),
    };
    env.tasks("train").leak().iter().flat_map(|task| (0..samples).map(move |sample| (task, sample))).map(item).collect()
}

type Finished = BTreeMap<usize, (Trajectory, TruthRecord)>;

fn rollout<'a>(model: &'a dyn LanguageModel, env: &'a Env, prompt: &'a Template, max_tokens: u32) -> Rollout<'a> {
    Rollout {
        model,
        env,
        prompt,
        tool_format: ToolFormat::Lines,
        tool_calls: ToolCalls::Drawn,
        max_steps: 4,
        sampling: Sampling::drawn(max_tokens),
    }
}

fn run(model: &dyn LanguageModel, items: &[RolloutItem], max_tokens: u32) -> (Finished, Vec<Result<(), ModelError>>) {
    let (env, prompt) = (desk(), prompt());
    let rollout = rollout(model, &env, &prompt, max_tokens);
    let mut finished = Finished::new();
    let results = rollout.run(items, &|| None, &mut |done| {
        for Played { index, trajectory, truth, took: _ } in done {
            assert!(finished.insert(index, (trajectory, truth)).is_none(), "finished twice");
        }
    });
    let problem = |lost: Lost| match lost.why {
        Why::Failed(Problem::Model(problem)) => problem,
        Why::Failed(Problem::Environment(problem)) => panic!("{problem}"),
        Why::Halt(_) => ModelError::Paused,
    };
    (finished, results.into_iter().map(|result| result.map_err(problem)).collect())
}

#[test]
fn an_episode_does_not_depend_on_its_company() {
    let (env, model) = (desk(), scripted(SAYINGS, 4000));
    let items = items(&env, 4);
    let (together, results) = run(&model, &items, 200);
    assert!(results.iter().all(Result::is_ok) && together.len() == items.len());
    for (index, item) in items.iter().enumerate() {
        let (alone, _) = run(&model, std::slice::from_ref(item), 200);
        assert_eq!(alone[&0], together[&index]);
    }
    let texts: std::collections::BTreeSet<String> =
        together.values().map(|(trajectory, _)| format!("{:?}", &trajectory.messages[2..])).collect();
    assert!(texts.len() > 10, "samples of a task differ: {}", texts.len());
}

#[test]
fn the_ids_are_those_that_were_sampled_and_only_they_are_learned() {
    let (env, model) = (desk(), scripted(SAYINGS, 4000));
    let (finished, _) = run(&model, &items(&env, 4), 200);
    for (trajectory, truth) in finished.values() {
        let Trajectory { messages, prompt_len, row, steps, calls, ended, truncated, error, actions, .. } = trajectory;
        assert_eq!((trajectory.task.as_str(), trajectory.sample), (truth.task.as_str(), truth.sample));
        assert_eq!(row.tokens.len(), row.learn.len());
        let said: Vec<&Message> = messages[*prompt_len..].iter().filter(|turn| turn.role == Role::Assistant).collect();
        assert_eq!(said.len(), *steps as usize);
        assert_eq!(
            messages[*prompt_len..].iter().filter(|turn| turn.role == Role::Tool).count(),
            said.len() - usize::from(*ended)
        );
        // What is learned is what the agent said, each turn with its end; the rest is what it was told.
        let learned: Vec<TokenId> =
            row.tokens.iter().zip(&row.learn).filter(|(_, learn)| **learn).map(|(id, _)| *id).collect();
        let alone = |turn: &&Message| {
            let row = model.encode_row(&[(*turn).clone()]).unwrap();
            row.tokens[1..].to_vec()
        };
        assert_eq!(learned, said.iter().flat_map(alone).collect::<Vec<_>>());
        // The row is the whole conversation as the model reads it (up to its last word).
        let last_said = messages.iter().rposition(|turn| turn.role == Role::Assistant).unwrap();
        assert_eq!(row.tokens, model.encode_row(&messages[..=last_said]).unwrap().tokens);
        assert_eq!(*ended, said.last().is_some_and(|turn| !turn.content.starts_with("call ")));
        assert!(!truncated && (*ended || *steps == 4));
        assert_eq!(actions.lines().count(), *calls as usize);
        assert_eq!(*error, messages.iter().any(|turn| turn.role == Role::Tool && turn.content.starts_with("error:")));
        assert!(trajectory.logprob < 0.0);
    }
    let count = |of: fn(&Trajectory) -> bool| finished.values().filter(|(trajectory, _)| of(trajectory)).count();
    assert!(
        count(|one| one.ended) > 5 && count(|one| !one.ended) > 0 && count(|one| one.error) > 5,
        "all ways are walked"
    );
}

#[test]
fn a_reply_that_is_cut_is_no_action_and_ends_the_episode() {
    let (env, model) = (desk(), scripted(r#"{ "default": ["call find_contact\nname: Nobody"] }"#, 4000));
    let (finished, _) = run(&model, &items(&env, 1)[..1], 3);
    let (trajectory, _) = &finished[&0];
    assert!(trajectory.truncated && !trajectory.ended);
    assert_eq!((trajectory.steps, trajectory.calls, trajectory.messages.len()), (1, 0, 3));
    assert_eq!(trajectory.row.learn.iter().filter(|learn| **learn).count(), 3);
}

#[test]
fn a_full_context_ends_the_episode_and_a_prompt_too_long_fails_its_item_only() {
    let env = desk();
    let items = items(&env, 1);
    let talk = r#"{ "default": ["call find_contact\nname: Nobody"] }"#;
    let lengths: Vec<usize> = {
        let (finished, _) = run(&scripted(talk, 9000), &items, 200);
        let prompt = |trajectory: &Trajectory| trajectory.row.learn.iter().position(|learn| *learn).unwrap();
        (0..items.len()).map(|index| prompt(&finished[&index].0)).collect()
    };
    let context = 20 + *lengths.iter().min().unwrap();
    let (finished, results) = run(&scripted(talk, context as u32), &items, 200);
    for (index, result) in results.iter().enumerate() {
        match result {
            Ok(()) => {
                let (trajectory, _) = &finished[&index];
                assert!(trajectory.truncated && !trajectory.ended && trajectory.row.tokens.len() <= context);
                assert!(lengths[index] < context);
            }
            Err(ModelError::TooLong { tokens, context: limit }) => {
                assert!(!finished.contains_key(&index) && lengths[index] == *tokens && *limit == context);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(!finished.is_empty() && finished.len() < items.len());
}

#[test]
fn a_model_that_has_no_reply_fails_its_episode_and_no_other() {
    let env = desk();
    let items = items(&env, 1);
    let word = items[0].task.fields["request"].as_str().unwrap();
    let script = serde_json::json!({ "replies": [{ "when": word, "say": ["Done."] }] }).to_string();
    let (finished, results) = run(&scripted(&script, 4000), &items, 200);
    assert!(results[0].is_ok() && finished[&0].0.ended);
    let failed = results.iter().filter(|result| matches!(result, Err(ModelError::Script(_)))).count();
    assert_eq!(failed + finished.len(), items.len());
    assert!(failed > 0);
}

#[test]
fn a_stop_pauses_what_is_under_way_and_keeps_what_is_done() {
    let (env, prompt, model) = (desk(), prompt(), scripted(SAYINGS, 4000));
    let items = items(&env, 4);
    let rollout = rollout(&model, &env, &prompt, 200);
    let asked = AtomicU32::new(0);
    let mut done = Finished::new();
    let halt = || (asked.fetch_add(1, Ordering::Relaxed) == 2).then_some(Halt::Pause);
    let results = rollout.run(&items, &halt, &mut |ended| {
        done.extend(ended.into_iter().map(|Played { index, trajectory, truth, took: _ }| (index, (trajectory, truth))));
    });
    let paused =
        results.iter().filter(|result| matches!(result, Err(Lost { why: Why::Halt(Halt::Pause), .. }))).count();
    assert!(paused > 0 && !done.is_empty() && paused + done.len() == items.len());
    let (whole, _) = run(&model, &items, 200);
    assert!(done.iter().all(|(index, finished)| whole[index] == *finished && finished.0.steps <= 2));
}

/// Looked at before each turn and after its replies: what ended before is kept, what had its reply too late is paid for.
#[test]
fn time_that_is_up_ends_what_is_under_way_and_says_what_it_took() {
    let (env, prompt, model) = (desk(), prompt(), scripted(SAYINGS, 4000));
    let items = items(&env, 4);
    let (whole, _) = run(&model, &items, 200);
    let rollout = rollout(&model, &env, &prompt, 200);
    // Two looks a turn: before the first, after its replies, before the second, after its replies.
    for (look, replies) in [(0, 0), (1, 1), (2, 1), (3, 2)] {
        let looked = AtomicU32::new(0);
        let mut done = Finished::new();
        let halt = || (looked.fetch_add(1, Ordering::Relaxed) >= look).then_some(Halt::Timeout);
        let results = rollout.run(&items, &halt, &mut |ended| {
            done.extend(
                ended.into_iter().map(|Played { index, trajectory, truth, took: _ }| (index, (trajectory, truth))),
            );
        });
        let late = results.iter().zip(0..).filter_map(|(result, index)| Some((index, result.as_ref().err()?)));
        let late: Vec<(usize, &Lost)> = late.collect();
        assert_eq!(late.len() + done.len(), items.len());
        assert!(!late.is_empty() && (look < 2 || !done.is_empty()), "look {look}");
        assert!(done.iter().all(|(index, finished)| whole[index] == *finished));
        for (index, Lost { why, took }) in late {
            assert!(matches!(why, Why::Halt(Halt::Timeout)));
            let learn = &whole[&index].0.row.learn;
            let turns: Vec<bool> = learn.chunk_by(|a, b| a == b).map(|part| part[0]).collect();
            assert!(turns.iter().filter(|said| **said).count() >= replies);
            // What the first replies took, by the whole episode.
            let parts: Vec<&[bool]> = learn.chunk_by(|a, b| a == b).take(2 * replies).collect();
            let drawn: usize = parts.iter().filter(|part| part[0]).map(|part| part.len()).sum();
            let sent = (0..replies).map(|turn| parts[..=2 * turn].iter().map(|part| part.len()).sum::<usize>());
            assert_eq!(*took, Tokens { prompt: sent.sum::<usize>() as u64, completion: drawn as u64 }, "look {look}");
        }
    }
}

/// An environment that a shell plays, with six tasks.
#[cfg(unix)]
fn played_by(script: &str, timeout: u64, max_steps: u32) -> Env {
    use crate::env::outside::{Bounds, Outside, Reach, Word};
    use crate::env::schema::Schema;
    let words = ["sh", "-c", script].map(|word| Word::Text(word.to_owned()));
    let (metrics, task) = (vec!["success".to_owned()], Vec::new());
    let schema = Schema { name: "test".to_owned(), task, metrics, offers: Vec::new(), doc: String::new() };
    let bounds = Bounds { timeout, in_flight: 6, memory: None, cpu: None };
    let outside = Outside { reach: Reach::Process(words.into()), tasks: None, schema, bounds };
    let splits = vec![Split { name: "train".to_owned(), size: 6, held_out: false }];
    let spec = EnvSpec { kind: EnvKind::Outside(Box::new(outside)), splits, max_steps };
    Env::open(&spec, &crate::model::Wire::default()).expect("it gives its tasks")
}

#[cfg(unix)]
fn go() -> Template {
    let go = Piece::Text("Go.".to_owned());
    Template { messages: vec![TemplateMessage { role: Role::User, pieces: vec![go] }] }
}

/// An environment that takes its time to let an episode go takes it once, not once for each.
#[cfg(unix)]
#[test]
#[allow(clippy::disallowed_methods, reason = "how long it takes is what is asked")]
fn episodes_are_let_go_side_by_side() {
    const NEVER_CLOSES: &str = r#"while read -r line; do case "$line" in
        *'"op":"tasks"'*) echo '{"tasks": ["a", "b", "c", "d", "e", "f"]}';;
        *'"op":"reset"'*) echo '{}';;
        *'"op":"step"'*) echo '{"observation": "and?"}';;
    esac; done"#;
    let (env, prompt) = (played_by(NEVER_CLOSES, 1_000, 1), go());
    let model = scripted(r#"{ "default": ["Done."] }"#, 400);
    let rollout = Rollout { max_steps: 1, ..rollout(&model, &env, &prompt, 64) };
    let (mut played, before) = (0, std::time::Instant::now());
    let results = rollout.run(&items(&env, 1), &|| None, &mut |done| played += done.len());
    assert!(played == 6 && results.iter().all(Result::is_ok), "{played}");
    assert!(before.elapsed() < std::time::Duration::from_secs(4), "{:?}", before.elapsed());
}

/// One episode's environment answers only when all others are over: they do not wait for it, and are what they are without it.
#[cfg(unix)]
#[test]
fn who_is_slow_holds_nobody_up() {
    let place = tempfile::tempdir().expect("a place");
    let over = place.path().join("over");
    let script = r#"while read -r line; do case "$line" in
        *'"op":"tasks"'*) echo '{"tasks": ["a", "b", "c", "d", "e", "f"]}';;
        *'"op":"reset"'*) slow=; case "$line" in *'"c"'*) slow=yes;; esac; echo '{}';;
        *'"op":"step"'*) while [ -n "$slow" ] && [ ! -e OVER ]; do sleep 0.05; done; echo '{"observation": "and?"}';;
        *'"op":"close"'*) exit;;
    esac; done"#;
    let (env, prompt) = (played_by(&script.replace("OVER", &over.display().to_string()), 20_000, 3), go());
    let model = scripted(r#"{ "default": ["One.", "Two.", "Three."] }"#, 400);
    let rollout = Rollout { max_steps: 3, ..rollout(&model, &env, &prompt, 64) };
    let mut order = Vec::new();
    let results = rollout.run(&items(&env, 1), &|| None, &mut |done| {
        order.extend(done.into_iter().map(|played| (played.index, played.trajectory)));
        if order.len() == 5 {
            std::fs::write(&over, "").expect("a file");
        }
    });
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(order.last().map(|(index, _)| *index), Some(2));
    // Now nobody is slow.
    let mut again = BTreeMap::new();
    let results = rollout.run(&items(&env, 1), &|| None, &mut |done| {
        again.extend(done.into_iter().map(|played| (played.index, played.trajectory)));
    });
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    for (index, trajectory) in &order {
        assert_eq!((trajectory.steps, trajectory.messages.len()), (3, 7));
        assert_eq!(again[index], *trajectory);
    }
}
