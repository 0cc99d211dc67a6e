use super::sample::{self, evaluate, identities, quickstart, rows};
use super::*;
use crate::base::Digest;
use crate::env::EnvSpec;
use crate::experiment::*;
use crate::model::{LoraConfig, LossOn, Method, ToolCalls, ToolFormat};
use crate::node::spec::{AnswerKind, OnUnparsed, PerIteration};
use crate::node::template::Piece;
use crate::select::{Otherwise, Stage};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn sample(times: u32) -> Experiment {
    quickstart(Path::new("scripts"), times)
}

fn plan(experiment: &Experiment) -> Plan {
    build(experiment, &identities(experiment)).expect("the sample can be planned")
}

fn keys(experiment: &Experiment) -> BTreeMap<String, Digest> {
    plan(experiment).steps.into_iter().map(|step| (step.id, step.key)).collect()
}

/// The ids whose keys differ.
fn changed(change: impl FnOnce(&mut Experiment)) -> BTreeSet<String> {
    let before = sample(2);
    let mut after = before.clone();
    change(&mut after);
    let (before, after) = (keys(&before), keys(&after));
    assert_eq!(before.len(), after.len());
    before.into_iter().zip(after).filter(|(a, b)| a.1 != b.1).map(|(a, _)| a.0).collect()
}

#[test]
fn the_quickstart_unrolls_to_words_in_order() {
    let plan = plan(&sample(2));
    let ids: Vec<&str> = plan.ordered().map(|(_, step)| step.id.as_str()).collect();
    let iteration = |i: u32| {
        ["rollout", "judge", "select", "audit", "train", "evaluate:dev", "gate"].map(|word| format!("{word}@{i}"))
    };
    let mut expected = vec!["calibrate:grader".to_owned(), "evaluate:base".to_owned()];
    expected.extend(iteration(1).into_iter().chain(iteration(2)));
    expected.extend(["pick:winner".to_owned(), "evaluate:test".to_owned()]);
    assert_eq!(ids, expected);
}

#[test]
fn edges_say_who_reads_whom_and_gates_only_control() {
    let plan = plan(&sample(2));
    let reads = |id: &str| plan.ids(&plan.find(id).expect("in the plan").inputs);
    let after = |id: &str| plan.ids(&plan.find(id).expect("in the plan").after);
    assert_eq!(reads("rollout@1"), [""; 0]);
    assert_eq!(reads("rollout@2"), ["train@1"]);
    assert_eq!(reads("train@2"), ["train@1", "select@2"]);
    assert_eq!(reads("evaluate:dev@2"), ["train@2"]);
    assert_eq!(reads("gate@2"), ["evaluate:base", "evaluate:dev@1", "evaluate:dev@2"]);
    assert_eq!(reads("pick:winner"), ["evaluate:base", "evaluate:dev@1", "evaluate:dev@2"]);
    assert_eq!(reads("evaluate:test"), ["pick:winner"]);
    assert_eq!(after("rollout@1"), [""; 0]);
    assert!(["rollout@2", "judge@2", "gate@2"].iter().all(|id| after(id) == ["gate@1"]));
    assert_eq!(after("pick:winner"), [""; 0]);
}

#[test]
fn one_more_iteration_keeps_every_key_of_those_before() {
    let (three, four) = (keys(&sample(3)), keys(&sample(4)));
    for (id, key) in &three {
        let after_the_loop = ["pick:winner", "evaluate:test"].contains(&id.as_str());
        assert_eq!(four[id] == *key, !after_the_loop, "{id}");
    }
    assert_eq!(four.len(), three.len() + 7);
}

#[test]
fn names_places_paths_until_and_report_are_in_no_key() {
    assert_eq!(
        changed(|it| it.report.push(ReportItem::Table { metrics: vec![sample::metric("dev", "success")] })),
        set(&[])
    );
    assert_eq!(changed(|it| it.doc.push_str("more")), set(&[]));
    assert_eq!(changed(|it| it.name = "other".to_owned()), set(&[]));
    let until = |it: &mut Experiment| {
        *sample::until(it) = Some(Until::Reaches { metric: sample::metric("dev", "success"), at_least: 0.9 });
    };
    assert_eq!(changed(until), set(&["gate@1", "gate@2"]), "until is in its own gate's key alone");

    let mut renamed = sample(2);
    renamed.models[0].it.source = crate::model::Source::Scripted(PathBuf::from("elsewhere/policy.json"));
    for name in [&mut renamed.models[0].name, &mut renamed.critics[0].name, &mut renamed.rules[0].name] {
        name.push_str("_too");
    }
    let text = serde_json::to_string(&renamed.schedule).expect("plain data");
    let text = ["trajs", "graded", "kept", "winner"]
        .iter()
        .fold(text, |text, name| text.replace(&format!("\"{name}\""), &format!("\"{name}_too\"")));
    renamed.schedule = serde_json::from_str(&text).expect("still a schedule");
    let by_place = |experiment: &Experiment| plan(experiment).steps.iter().map(|step| step.key).collect::<Vec<_>>();
    assert_eq!(by_place(&sample(2)), by_place(&renamed));
    assert_eq!(plan(&sample(2)).digest, plan(&renamed).digest);
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// What a change to each part of the configuration reaches first; everything that reads those follows.
#[test]
fn every_field_of_the_configuration_is_in_the_key_of_its_step() {
    type Change = fn(&mut Experiment);
    let agent = ["rollout@1", "evaluate:base"];
    let cases: Vec<(&str, Change, &[&str], &[&str])> = vec![
        ("seed", |it| it.seed = 8, &["rollout@1", "train@1"], &[]),
        ("max_steps", |it| it.envs[0].it.max_steps = 5, &agent, &["calibrate:grader"]),
        ("train split", |it| resize(&mut it.envs[0].it, 0), &["rollout@1"], &["evaluate:base"]),
        ("dev split", |it| resize(&mut it.envs[0].it, 1), &["evaluate:base"], &["rollout@1", "judge@1", "train@1"]),
        ("agent prompt", |it| it.prompts[0].it.messages[0].pieces.push(text()), &agent, &["calibrate:grader"]),
        (
            "critic prompt",
            |it| it.prompts[1].it.messages[0].pieces.push(text()),
            &["judge@1", "calibrate:grader"],
            &agent,
        ),
        ("critic sampling", |it| critic(it).sampling.max_tokens = 17, &["judge@1", "calibrate:grader"], &agent),
        ("on_unparsed", |it| critic(it).on_unparsed = OnUnparsed::Fail, &["judge@1"], &agent),
        ("answer", |it| critic(it).answer.fields[0].kind = AnswerKind::Bool, &["judge@1"], &agent),
        ("context", |it| it.models[0].it.context = 99, &agent, &["calibrate:grader"]),
        ("tool format", |it| it.models[0].it.tool_format = ToolFormat::Json, &agent, &["calibrate:grader"]),
        ("adapter's directory", |it| it.models[0].it.adapter = Some("elsewhere".into()), &[], &agent),
        ("tool calls", |it| it.models[0].it.tool_calls = ToolCalls::WellFormed, &agent, &["calibrate:grader"]),
        ("rule", |it| drop(it.rules[0].it.stages.remove(1)), &["select@1", "audit@1", "train@1"], &["judge@1"]),
        ("lr", |it| it.trainers[0].it.lr = PerIteration::always(2e-3), &["train@1"], &["select@1"]),
        ("epochs", |it| it.trainers[0].it.epochs = PerIteration::always(1), &["train@1"], &["select@1"]),
        ("batch", |it| it.trainers[0].it.batch = PerIteration::always(8), &["train@1"], &["select@1"]),
        ("max_len", |it| it.trainers[0].it.max_len = Some(9), &["train@1"], &["select@1"]),
        ("clip", |it| it.trainers[0].it.clip = 0.5, &["train@1"], &["select@1"]),
        ("weight decay", |it| it.trainers[0].it.weight_decay = 0.1, &["train@1"], &["select@1"]),
        (
            "loss",
            |it| it.trainers[0].it.method = PerIteration::always(Method::Sft { loss_on: LossOn::All }),
            &["train@1"],
            &["select@1"],
        ),
        ("model's adapter", |it| it.models[0].it.lora = Some(lora()), &["train@1"], &["rollout@1"]),
        ("trainer's adapter", |it| it.trainers[0].it.lora = Some(lora()), &["train@1"], &["select@1"]),
        ("mixed share", |it| mixed(it).share = 0.5, &["train@1"], &["select@1"]),
        ("mixed dataset", |it| mixed(it).dataset = DatasetId(1), &["train@1"], &["select@1"]),
        ("from", |it| *from(it) = Version::Declared, &["train@2"], &["train@1"]),
        ("samples", |it| *rollout(it).0 = 3, &["rollout@1"], &["evaluate:base"]),
        ("temperature", |it| rollout(it).1.temperature = 0.5, &["rollout@1"], &["evaluate:base"]),
        ("top_p", |it| rollout(it).1.top_p = 0.5, &["rollout@1"], &["evaluate:base"]),
        ("top_k", |it| rollout(it).1.top_k = 5, &["rollout@1"], &["evaluate:base"]),
        ("min_p", |it| rollout(it).1.min_p = 0.1, &["rollout@1"], &["evaluate:base"]),
        ("penalty", |it| rollout(it).1.repetition_penalty = 1.1, &["rollout@1"], &["evaluate:base"]),
        ("max_tokens", |it| rollout(it).1.max_tokens = 5, &["rollout@1"], &["evaluate:base"]),
        ("audit", |it| audit(it).push('_'), &["audit@1"], &["train@1"]),
    ];
    for (what, change, in_key, out_of_key) in cases {
        let changed = changed(change);
        for id in in_key {
            assert!(changed.contains(*id), "{what} must change the key of {id}; it changed {changed:?}");
        }
        for id in out_of_key {
            assert!(!changed.contains(*id), "{what} must not change the key of {id}");
        }
    }
}

/// A greedy evaluation draws nothing: experiments with other seeds share it.
#[test]
fn the_seed_is_in_no_greedy_key() {
    let changed = changed(|it| it.seed = 8);
    assert!(!changed.contains("evaluate:base") && !changed.contains("calibrate:grader"), "{changed:?}");
    let sampled = |seed| {
        let mut experiment = sample(1);
        experiment.seed = seed;
        if let Statement::Evaluate { sampling, .. } = &mut experiment.schedule[1] {
            sampling.temperature = 1.0;
        }
        keys(&experiment)["evaluate:base"]
    };
    assert_ne!(sampled(7), sampled(8));
}

fn resize(env: &mut EnvSpec, split: usize) {
    env.splits[split].size += 1;
}

fn critic(experiment: &mut Experiment) -> &mut Sole {
    match &mut experiment.critics[0].it {
        Critic::Sole(sole) => sole,
        Critic::Panel(_) => unreachable!("the sample's critic is alone"),
    }
}

fn text() -> Piece {
    Piece::Text("Think.".to_owned())
}

fn lora() -> LoraConfig {
    LoraConfig { rank: 4, alpha: 8.0, dropout: 0.0, on: vec!["q_proj".to_owned()] }
}

fn mixed(experiment: &mut Experiment) -> &mut Mixed {
    let found = sample::body(experiment).iter_mut().find_map(|statement| match statement {
        Statement::Train { mixed, .. } => mixed.first_mut(),
        _ => None,
    });
    found.expect("the sample mixes")
}

fn from(experiment: &mut Experiment) -> &mut Version {
    let found = sample::body(experiment).iter_mut().find_map(|statement| match statement {
        Statement::Train { from, .. } => Some(from),
        _ => None,
    });
    found.expect("the sample trains")
}

fn rollout(experiment: &mut Experiment) -> (&mut u32, &mut crate::model::Sampling) {
    let found = sample::body(experiment).iter_mut().find_map(|statement| match statement {
        Statement::Rollout { samples, sampling, .. } => Some((samples, &mut sampling.otherwise)),
        _ => None,
    });
    found.expect("the sample rolls out")
}

fn audit(experiment: &mut Experiment) -> &mut String {
    let found = sample::body(experiment).iter_mut().find_map(|statement| match statement {
        Statement::Audit { metric, .. } => Some(metric),
        _ => None,
    });
    found.expect("the sample audits")
}

/// Weights, environments and datasets are in keys by their contents.
#[test]
fn data_is_in_the_keys_by_what_it_holds() {
    let experiment = sample(1);
    let base = keys(&experiment);
    let other = Digest::of_bytes(b"other bytes");
    type Change = fn(&mut Identities, Digest);
    let cases: [(Change, &[&str], &[&str]); 4] = [
        (|it, other| it.models[0] = other, &["rollout@1", "evaluate:base", "train@1"], &["calibrate:grader"]),
        (|it, other| it.models[1] = other, &["judge@1", "calibrate:grader"], &["rollout@1"]),
        (|it, other| it.envs[0] = other, &["rollout@1", "evaluate:base"], &["calibrate:grader"]),
        (|it, other| it.datasets[0] = other, &["train@1"], &["select@1", "calibrate:grader"]),
    ];
    for (change, in_key, out_of_key) in cases {
        let mut identities = identities(&experiment);
        change(&mut identities, other);
        let plan = build(&experiment, &identities).expect("can be planned");
        let key = |id: &str| plan.find(id).expect("in the plan").key;
        assert!(in_key.iter().all(|id| key(id) != base[*id]), "{in_key:?}");
        assert!(out_of_key.iter().all(|id| key(id) == base[*id]), "{out_of_key:?}");
    }
}

#[test]
fn per_iteration_values_reach_their_iteration_only() {
    let changed = changed(|it| it.trainers[0].it.lr = PerIteration { cases: vec![(2, 1e-6)], otherwise: 1e-3 });
    assert!(changed.contains("train@2") && !changed.contains("train@1"), "{changed:?}");
}

#[test]
fn statements_that_share_an_operation_are_told_apart() {
    let mut experiment = sample(1);
    let again =
        Statement::Select { name: "few".to_owned(), rows: rows("graded"), rule: PerIteration::always(RuleId(0)) };
    sample::body(&mut experiment).insert(3, again);
    experiment.schedule.push(evaluate(None, "test", Version::Declared));
    let ids: BTreeSet<String> = plan(&experiment).steps.into_iter().map(|step| step.id).collect();
    for id in ["select:kept@1", "select:few@1", "evaluate:test", "evaluate:test-2", "judge@1"] {
        assert!(ids.contains(id), "{id} is not in {ids:?}");
    }
}

#[test]
fn loops_stand_in_loops() {
    let mut experiment = sample(2);
    let inner = Statement::Repeat {
        times: 2,
        index: "j".to_owned(),
        body: vec![evaluate(Some("inner"), "dev", Version::Start)],
        until: None,
    };
    sample::body(&mut experiment).push(inner);
    let plan = plan(&experiment);
    let reads = |id: &str| plan.ids(&plan.find(id).unwrap_or_else(|| panic!("{id}")).inputs);
    // `@start` is the version at the entry of the inner loop: after this iteration's training.
    assert_eq!(reads("evaluate:inner@1.2"), ["train@1"]);
    assert_eq!(reads("evaluate:inner@2.1"), ["train@2"]);
}

#[test]
fn versions_mean_what_the_schedule_says_at_their_point() {
    let mut experiment = sample(2);
    *from(&mut experiment) = Version::Start;
    let plan_start = plan(&experiment);
    assert_eq!(
        plan_start.ids(&plan_start.find("train@2").expect("planned").inputs),
        ["select@2"],
        "@start is the base here"
    );
    *from(&mut experiment) = Version::Best(sample::metric("dev", "success"));
    let plan_best = plan(&experiment);
    assert_eq!(plan_best.ids(&plan_best.find("train@2").expect("planned").inputs), ["evaluate:dev@1", "select@2"]);
    experiment.schedule.push(evaluate(Some("last"), "test", Version::Newest));
    let plan_last = plan(&experiment);
    assert_eq!(plan_last.ids(&plan_last.find("evaluate:last").expect("planned").inputs), ["train@2"]);
}

#[test]
fn all_iterations_are_read_where_the_file_says_so() {
    let mut experiment = sample(3);
    for statement in sample::body(&mut experiment) {
        if let Statement::Train { on: TrainData::Rows(rows), .. } = statement {
            rows.all_iterations = true;
        }
    }
    let plan = plan(&experiment);
    let reads = plan.ids(&plan.find("train@3").expect("planned").inputs);
    assert_eq!(reads, ["select@1", "select@2", "train@2", "select@3"]);
}

#[test]
fn a_selection_that_may_stop_controls_what_follows_it() {
    let mut experiment = sample(2);
    experiment.rules[0].it.stages[2] = Stage::Require { count: 1, otherwise: Otherwise::Stop };
    let plan = plan(&experiment);
    let after = |id: &str| plan.ids(&plan.find(id).expect("planned").after);
    assert_eq!(after("select@1"), [""; 0]);
    assert_eq!(after("train@1"), ["select@1"]);
    assert_eq!(after("rollout@2"), ["gate@1"]);
    assert_eq!(after("train@2"), ["gate@1", "select@2"]);
    *sample::until(&mut experiment) = None;
    let plan = super::build(&experiment, &identities(&experiment)).expect("planned");
    assert_eq!(plan.ids(&plan.find("rollout@2").expect("planned").after), ["select@1"]);
}

#[test]
fn a_schedule_too_long_is_refused_at_once() {
    let experiment = sample(u32::MAX);
    assert_eq!(build(&experiment, &identities(&experiment)), Err(PlanError::TooMany { most: 10_000 }));
    let mut empty = sample(u32::MAX);
    sample::body(&mut empty).clear();
    *sample::until(&mut empty) = None;
    empty.schedule.truncate(3);
    assert_eq!(plan(&empty).steps.len(), 2);
}

#[test]
fn an_unknown_name_is_an_error_not_a_panic() {
    let mut experiment = sample(1);
    sample::body(&mut experiment).remove(0);
    assert_eq!(build(&experiment, &identities(&experiment)), Err(PlanError::Undefined { name: "trajs".to_owned() }));
}

/// Golden: a change here means that everything everyone has cached is worked again. Bump an `op_rev` on purpose only.
#[test]
fn keys_stay_what_they_are() {
    let listing: Vec<String> =
        plan(&sample(2)).ordered().map(|(_, step)| format!("{} {}", step.key.short(), step.id)).collect();
    insta::assert_snapshot!(listing.join("\n"));
}

#[test]
fn exports() {
    let plan = plan(&sample(1));
    insta::assert_snapshot!("dot", to_dot(&plan));
    insta::assert_snapshot!("mermaid", to_mermaid(&plan));
    let json: serde_json::Value = serde_json::from_str(&to_json(&plan)).expect("is JSON");
    assert_eq!(json["nodes"].as_array().map(Vec::len), Some(plan.steps.len()));
    assert_eq!(json["nodes"][3]["id"], "judge@1");
    assert_eq!(json["nodes"][3]["inputs"][0], "rollout@1");
}

/// Why each step of the second experiment has another key than in the first, as words.
fn told(was: &Experiment, is: &Experiment, tamper: impl FnOnce(&mut Plan)) -> BTreeMap<String, String> {
    let (mut before, after) = (plan(was), plan(is));
    tamper(&mut before);
    let (old, new) = (identities(was), identities(is));
    let was = why::Planned { experiment: was, identities: &old, plan: &before };
    let is = why::Planned { experiment: is, identities: &new, plan: &after };
    let words = |(id, why): (StepId, Option<why::Why>)| {
        Some((after.step(id).id.clone(), serde_json::to_string(&why?).expect("plain data")))
    };
    why::why(was, is).into_iter().filter_map(words).collect()
}

#[test]
fn another_key_has_a_reason() {
    let (two, three) = (sample(2), sample(3));
    assert!(told(&two, &two, |_| {}).is_empty());
    let longer = told(&two, &three, |_| {});
    assert_eq!(longer["rollout@3"], r#"{"why":"new"}"#);
    assert_eq!(longer["pick:winner"], r#"{"why":"because","node":"evaluate:dev@3"}"#);
    let shorter = told(&three, &two, |_| {});
    let reads = r#"{"why":"reads","was":["evaluate:base","evaluate:dev@1","evaluate:dev@2","evaluate:dev@3"],"is":["evaluate:base","evaluate:dev@1","evaluate:dev@2"]}"#;
    assert_eq!(shorter["pick:winner"], reads);
    // A run of an older agx had other keys for the same file.
    let older = told(&two, &two, |plan| plan.steps[0].key = Digest::of_bytes(b"another revision"));
    assert_eq!(older, BTreeMap::from([("calibrate:grader".to_owned(), r#"{"why":"meaning"}"#.to_owned())]));
    // Under another name, both are told.
    let mut renamed = two.clone();
    renamed.trainers[0].name = "hot".to_owned();
    assert!(told(&two, &renamed, |_| {}).is_empty(), "names are in no key");
    renamed.trainers[0].it.clip = 0.5;
    let train = &told(&two, &renamed, |_| {})["train@1"];
    assert_eq!(train, r#"{"why":"field","field":"hot.clip","was":1.0,"is":0.5,"was_called":"sft.clip"}"#);
}
