//! Critics that are asked more than once, and panels of them.

use super::*;
use crate::node::judge::{self, JudgeReply};
use crate::node::spec::{AnswerSchema, AnswerValue, Joined, OnUnparsed, Verdict, Votes};
use crate::node::tolerance::MaxFailed;
use crate::run::manifest::RowEntry;
use crate::run::verify::Level;
use crate::run::verify::tests::look;

/// Whose only critic draws: of a few readable replies and one that is not.
fn drawing(votes: u32, on_unparsed: OnUnparsed) -> Lab {
    let mut lab = Lab::new(1);
    let say = ["score: 4", "score: 2", "score: 0", "I cannot tell"];
    let critic = json!({ "replies": [], "default": say }).to_string();
    std::fs::write(lab.directory.path().join("critic.json"), critic).expect("can be written");
    let Critic::Sole(sole) = &mut lab.experiment.critics[0].it else { panic!("the sample has a sole critic") };
    sole.votes = Votes { count: votes, by: Joined::Median };
    sole.sampling.temperature = 1.0;
    sole.on_unparsed = on_unparsed;
    lab
}

/// The first critic becomes a panel of itself, asked three times, and of one that is asked once and greedy.
fn panel() -> Lab {
    let mut lab = drawing(3, OnUnparsed::Drop);
    let critics = &mut lab.experiment.critics;
    let mut careful = critics[0].clone();
    careful.name = "careful".to_owned();
    let mut strict = careful.clone();
    strict.name = "strict".to_owned();
    let Critic::Sole(sole) = &mut strict.it else { panic!("it was one") };
    (sole.votes, sole.sampling.temperature) = (Votes::ONE, 0.0);
    critics[0].it = Critic::Panel(Panel { members: vec![CriticId(1), CriticId(2)], by: Joined::Mean });
    critics.extend([careful, strict]);
    lab
}

/// The verdicts in a row's replies, in their order; nothing for what cannot be read.
fn said(lab: &Lab, row: &RowEntry, schema: &AnswerSchema) -> Vec<Option<f64>> {
    let replies = row.reply.iter().chain(&row.replies);
    let read = |digest: &Digest| {
        let bytes = lab.project.store.get(digest).expect("is in the store");
        let reply: JudgeReply = serde_json::from_slice(&bytes).expect("a reply");
        let verdict: Verdict = judge::read(&reply, schema).ok()?;
        verdict.get("score").and_then(AnswerValue::figure)
    };
    replies.map(read).collect()
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures.get(figures.len().wrapping_sub(1) / 2)?, figures.get(figures.len() / 2)?);
    Some((low + high) / 2.0)
}

fn score(row: &RowEntry) -> Option<f64> {
    row.verdict.as_ref()?.get("score")?.figure()
}

#[test]
fn each_row_is_asked_as_often_as_it_has_votes_and_they_become_one() {
    let lab = drawing(3, OnUnparsed::Drop);
    let schema = lab.experiment.sole(CriticId(0)).answer.clone();
    let (outcome, events) = lab.start();
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    let (manifest, rows) = judged(&lab, &events);
    assert_eq!((manifest.items.len(), rows.rows.len()), (36, 12));
    assert_eq!(manifest.items[4].item, format!("{}/{}#2", rows.rows[1].task, rows.rows[1].sample));
    let mut different = 0;
    for row in &rows.rows {
        let votes = said(&lab, row, &schema);
        assert_eq!(votes.len(), 3);
        assert_eq!(score(row), median(votes.iter().flatten().copied().collect()));
        different += usize::from(votes.windows(2).any(|pair| pair[0] != pair[1]));
    }
    assert!(different > 6, "votes are drawn each for itself");
    let alpha = metric(&events, "judge@1", "score.alpha");
    assert!((-1.0..0.5).contains(&alpha), "{alpha}: they are drawn, and agree by chance");
    assert!(metric(&events, "judge@1", "score.spread") > 1.0);
    let unread = rows.rows.iter().flat_map(|row| said(&lab, row, &schema)).filter(Option::is_none).count();
    assert!(unread > 0 && metric(&events, "judge@1", "unread") == unread as f64 / 36.0, "{unread}");
    let alpha = metric(&events, "calibrate:grader", "score.alpha");
    assert!((-1.0..0.5).contains(&alpha), "{alpha}: a calibration asks as often");
    assert!(metric(&events, "calibrate:grader", "unread") > 0.0);
    let (_, again) = lab.start();
    assert_eq!(statuses(&again, NodeStatus::Done), Vec::<String>::new(), "all is cached");
    assert_eq!(lab.survey()["judge@1"], (SurveyStatus::Cached, 36, Some(36)));
}

/// One vote more asks only what is new.
#[test]
fn a_vote_more_keeps_the_others() {
    let mut lab = drawing(2, OnUnparsed::Drop);
    lab.start();
    let Critic::Sole(sole) = &mut lab.experiment.critics[0].it else { panic!("it was one") };
    sole.votes.count = 3;
    let (_, events) = lab.start();
    let counts = finished(&events)["judge@1"].1;
    assert_eq!((counts.done, counts.cached), (12, 24));
}

#[test]
fn a_panel_s_verdicts_become_one() {
    let lab = panel();
    let schema = lab.experiment.sole(CriticId(1)).answer.clone();
    let (outcome, events) = lab.start();
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    let (manifest, rows) = judged(&lab, &events);
    let name = |at: usize| manifest.items[at].item.rsplit_once('/').expect("task and sample").1;
    assert_eq!((name(0), name(35), name(36), name(47)), ("0@careful#1", "1@careful#3", "0@strict", "1@strict"));
    for row in &rows.rows {
        let votes = said(&lab, row, &schema);
        assert_eq!(votes.len(), 4);
        let careful = median(votes[..3].iter().flatten().copied().collect());
        let members: Vec<f64> = careful.into_iter().chain(votes[3]).collect();
        assert_eq!(score(row), Some(members.iter().sum::<f64>() / members.len() as f64));
    }
    assert!(look(&lab, Level::Remade, 1.0).holds(), "and it is proven as any other run");
}

/// A vote that fails leaves the others; what is missing of a row is named.
#[test]
fn a_vote_that_fails_leaves_the_others() {
    let mut lab = drawing(3, OnUnparsed::Fail);
    for statement in sample::body(&mut lab.experiment) {
        if let Statement::Judge { tolerance, .. } = statement {
            tolerance.max_failed = MaxFailed::share(0.9);
        }
    }
    // A calibration tolerates nothing.
    lab.experiment.schedule.remove(0);
    let (outcome, events) = lab.start();
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    let (manifest, rows) = judged(&lab, &events);
    assert!(!manifest.missing.is_empty());
    assert_eq!(manifest.items.len() + manifest.missing.len(), 36);
    let votes: usize = rows.rows.iter().map(|row| usize::from(row.reply.is_some()) + row.replies.len()).sum();
    assert_eq!(votes, manifest.items.len());
    assert!(rows.rows.iter().all(|row| score(row).is_some()), "a row goes on with what was said of it");
}

/// A scale weighted by what the model held for likely; where it does not say, there is no number.
#[test]
fn a_scale_is_weighted_by_what_is_likely() {
    let judge = |critic: serde_json::Value| {
        let mut lab = drawing(1, OnUnparsed::Drop);
        std::fs::write(lab.directory.path().join("critic.json"), critic.to_string()).expect("can be written");
        let Critic::Sole(sole) = &mut lab.experiment.critics[0].it else { panic!("the sample has a sole critic") };
        sole.sampling.temperature = 0.0;
        let plain = crate::plan::build(&lab.experiment, &identify(&lab.experiment).expect("files")).expect("planned");
        let Critic::Sole(sole) = &mut lab.experiment.critics[0].it else { panic!("it was one") };
        sole.answer.fields[0].expectation = true;
        let weighted =
            crate::plan::build(&lab.experiment, &identify(&lab.experiment).expect("files")).expect("planned");
        let key = |plan: &crate::plan::Plan| plan.find("judge@1").expect("is planned").recipe;
        assert_ne!(key(&plain), key(&weighted));
        lab
    };
    let likely = json!({ "3": 0.5, "4": 0.25, "0": 0.25 });
    let lab = judge(json!({ "replies": [{ "when": "", "say": ["score: 3"], "likely": likely }] }));
    let (outcome, events) = lab.start();
    // The rule wants 3 at the least, and 2.5 is below.
    assert!(outcome.failed.iter().any(|failed| failed.step == "select@1"), "{:?}", outcome.failed);
    let (manifest, rows) = judged(&lab, &events);
    assert!(rows.rows.iter().all(|row| score(row) == Some(2.5)));
    assert_eq!(manifest.metric("score.mean"), Some(2.5));
    assert_eq!(metric(&events, "calibrate:grader", "auc"), 0.5);
    let silent = judge(json!({ "replies": [{ "when": "", "say": ["score: 3"] }] }));
    let (_, events) = silent.start();
    let (manifest, rows) = judged(&silent, &events);
    assert_eq!(manifest.metric("parsed"), Some(0.0));
    let why = rows.rows[0].unparsed.clone().unwrap_or_default();
    assert_eq!(why, "the model does not say how likely `score` is");
}
