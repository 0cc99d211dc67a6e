use super::*;
use crate::model::{Device, Dtype, ModelSpec, Role, Source, ToolCalls, ToolFormat, scripted::Scripted};
use crate::node::spec::AnswerField;
use std::io::Write;

fn schema() -> AnswerSchema {
    let field = |name: &str, kind| AnswerField { name: name.to_owned(), kind, expectation: false };
    AnswerSchema { fields: vec![field("score", AnswerKind::Int { min: 0, max: 10 }), field("ok", AnswerKind::Bool)] }
}

fn critic(json: &str) -> Scripted {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(json.as_bytes()).unwrap();
    let spec = ModelSpec {
        source: Source::Scripted(file.path().to_owned()),
        adapter: None,
        context: 100,
        dtype: Dtype::F32,
        device: Device::Cpu,
        lora: None,
        tool_format: ToolFormat::Lines,
        tool_calls: ToolCalls::Drawn,
    };
    Scripted::open(file.path(), &spec, None).unwrap()
}

fn reply(text: &str, stop: StopReason) -> JudgeReply {
    JudgeReply { text: text.to_owned(), stop, tokens: 1, likely: Vec::new() }
}

#[test]
fn a_group_is_asked_at_once_and_each_failure_is_its_own() {
    let model = critic(
        r#"{ "replies": [{ "when": "good", "say": ["score: 9\nok: yes"] }, { "when": "odd", "say": ["well"] }] }"#,
    );
    let texts = ["good", "silent", "odd", &"long ".repeat(99), "good"];
    let item = |text: &&str| JudgeItem { messages: vec![Message::new(Role::User, *text)], seed: Seed(1) };
    let items: Vec<JudgeItem> = texts.iter().map(item).collect();
    let mut replies = Vec::new();
    let sampling = Sampling::greedy(50);
    let mut keep = |done: Vec<_>| replies.extend(done.into_iter().map(|(index, _, reply)| (index, reply)));
    let results = run_group(&model, &sampling, false, &items, &|| None, &mut keep);
    assert_eq!(replies.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2, 4]);
    let problem = |at: usize| match &results[at] {
        Err(Lost { why: Why::Failed(problem), took }) => (problem.to_string(), *took),
        other => panic!("{other:?}"),
    };
    let ((silent, sent), (long, unsent)) = (problem(1), problem(3));
    assert!(silent.contains("no reply") && long.contains("context"), "{silent}, {long}");
    assert!(sent.prompt > 0 && sent.completion == 0 && unsent.is_none());
    let late =
        run_group(&model, &sampling, false, &items, &|| Some(Halt::Timeout), &mut |_| panic!("it came too late"));
    let is_late = |result: &&Result<(), Lost>| matches!(result, Err(Lost { why: Why::Halt(Halt::Timeout), took }) if took.prompt > 0);
    assert_eq!(late.iter().filter(is_late).count(), 4, "all that were asked");
    let verdicts: Vec<Option<Verdict>> = replies.iter().map(|(_, reply)| read(reply, &schema()).ok()).collect();
    assert!(verdicts[0].is_some() && verdicts[1].is_none() && verdicts[2] == verdicts[0]);
}

#[test]
fn half_a_line_is_never_read() {
    let schema = AnswerSchema { fields: schema().fields[..1].to_vec() };
    assert!(read(&reply("score: 1", StopReason::EndOfTurn), &schema).is_ok());
    for stop in [StopReason::MaxTokens, StopReason::ContextFull] {
        let why = read(&reply("score: 1", stop), &schema).unwrap_err();
        assert_eq!(why, "the reply was cut off, and `score` is not given", "it may have been to be 10");
        assert!(read(&reply("score: 1\nAs I sa", stop), &schema).is_ok());
        assert!(read(&reply("score: 1\nsco", stop), &schema).is_ok());
    }
}

#[test]
fn what_is_unread_has_no_figure() {
    let verdict = |score: i64, ok: bool| {
        Some(Verdict::from_iter([
            ("score".to_owned(), AnswerValue::Int(score)),
            ("ok".to_owned(), AnswerValue::Bool(ok)),
        ]))
    };
    let (low, high) = (verdict(2, true), verdict(4, false));
    let metrics = metrics(&[low.as_ref(), None, high.as_ref(), None], &schema());
    let values: Vec<(&str, f64, u64)> =
        metrics.iter().map(|metric| (metric.name.as_str(), metric.value, metric.n)).collect();
    assert_eq!(values, [("count", 4.0, 4), ("parsed", 0.5, 4), ("score.mean", 3.0, 2), ("ok.mean", 0.5, 2)]);
    let none = super::metrics(&[None], &schema());
    assert_eq!(none.len(), 2, "no mean of nothing");
}
