//! Whole runs whose models are behind an endpoint, which fails in every way.

use super::*;
use crate::base::units::MicroUsd;
use crate::base::{Seed, Span, Spanned};
use crate::model::remote::tests::endpoint::{Asked, Endpoint, Then, chunked, say_for, status};
use crate::model::remote::tests::wire;
use crate::model::scripted::Scripted;
use crate::model::{GenRequest, LanguageModel, Limits, ModelSpec, Remote, Sampling, Source, StopReason, Tokens};
use crate::node::tolerance::{MaxFailed, Tolerance};
use std::net::TcpStream;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// A policy that rolls out and is evaluated, and a critic, both behind an endpoint; nothing is trained.
fn schedule(lab: &mut Lab) {
    let critic = CriticId(0);
    let body = std::mem::take(sample::body(&mut lab.experiment));
    let [rollout, judge, select, audit, ..] = <[Statement; 6]>::try_from(body).expect("the quickstart's loop");
    let calibrate = Statement::Calibrate { critic, dataset: DatasetId(1) };
    lab.experiment.schedule =
        vec![calibrate, evaluate(Some("base"), "dev", Version::Declared), rollout, judge, select, audit];
}

/// The scripts of the lab behind an endpoint: it says what a scripted model would.
struct Behind {
    lab: Lab,
    scripts: [Arc<Scripted>; 2],
    /// What a provider would charge for: replies, and what broke off midway.
    charged: Arc<Mutex<Tokens>>,
}

impl Behind {
    fn new() -> Self {
        let mut lab = Lab::new(1);
        schedule(&mut lab);
        let open = |at: usize| {
            let spec: &ModelSpec = &lab.experiment.models[at].it;
            let Source::Scripted(path) = &spec.source else { panic!("scripted") };
            Arc::new(Scripted::open(path, spec, None).expect("a script"))
        };
        let scripts = [open(0), open(1)];
        Self { lab, scripts, charged: Arc::default() }
    }

    /// Behind an endpoint that answers as a script does where `faults` does not do otherwise.
    fn serve(&mut self, faults: impl Fn(&Asked, &mut TcpStream) -> Option<Then> + Send + Sync + 'static) -> Endpoint {
        let (scripts, charged) = (self.scripts.clone(), self.charged.clone());
        let endpoint = Endpoint::new(move |asked, stream| {
            let fault = faults(asked, stream);
            if fault == Some(Then::Stay) {
                return Then::Stay;
            }
            let script = &scripts[usize::from(asked.body["model"] == "critic-2026-01-01")];
            let (text, finish, mut took) = answer(script, asked);
            if fault.is_some() {
                took.completion = asked.body["max_tokens"].as_u64().expect("a number");
            }
            {
                let mut charged = charged.lock().expect("no panic holds this lock");
                *charged = *charged + took;
            }
            fault.unwrap_or_else(|| say_for(stream, &text, finish, Some((took.prompt, took.completion))))
        });
        for (at, name) in ["policy-2026-01-01", "critic-2026-01-01"].into_iter().enumerate() {
            let remote = Remote { name: name.to_owned(), ..endpoint.remote() };
            self.lab.experiment.models[at].it.source = Source::Remote(remote);
        }
        endpoint
    }

    /// As [`serve`](Self::serve), with faults for as long as the flag stands.
    fn serve_broken(
        &mut self,
        faults: impl Fn(&Asked, &mut TcpStream) -> Option<Then> + Send + Sync + 'static,
    ) -> (Endpoint, Arc<AtomicBool>) {
        let broken = Arc::new(AtomicBool::new(true));
        let flag = broken.clone();
        let endpoint =
            self.serve(move |asked, stream| if flag.load(Ordering::SeqCst) { faults(asked, stream) } else { None });
        (endpoint, broken)
    }

    fn limit(&mut self, change: impl Fn(&mut Limits)) {
        for model in &mut self.lab.experiment.models {
            if let Source::Remote(remote) = &mut model.it.source {
                change(&mut remote.limits);
            }
        }
    }

    fn start(&self) -> (RunOutcome, Vec<RunEvent>) {
        self.lab.start_with(&options(), &Control::default(), &mut |_| {})
    }

    fn resume(&self, run: &str) -> (RunOutcome, Vec<RunEvent>) {
        let mut events = Vec::new();
        let mut sink = |event: &RunEvent| events.push(event.clone());
        let outcome = resume(&self.lab.project, run, &options(), &Control::default(), &tick(), &mut sink);
        (outcome.expect("the run goes on"), events)
    }
}

fn options() -> RunOptions {
    RunOptions { wire: wire(), ..RunOptions::default() }
}

fn answer(script: &Scripted, asked: &Asked) -> (String, &'static str, Tokens) {
    let prompt = script.encode_chat(&asked.messages()).expect("always");
    let sampling = Sampling {
        temperature: asked.body["temperature"].as_f64().expect("a number"),
        ..Sampling::greedy(asked.body["max_tokens"].as_u64().expect("a number") as u32)
    };
    let (seed, sent) = (Seed(asked.body["seed"].as_u64().expect("a number")), prompt.len());
    let reply = script
        .generate(&[GenRequest { prompt, seed, sampling, likely: false, form: None }])
        .remove(0)
        .expect("it has a default");
    let finish = if reply.stop == StopReason::EndOfTurn { "stop" } else { "length" };
    let took = reply.took(sent);
    (reply.text, finish, took)
}

/// One of many faults for about half of all requests, always the same for the same body; none for the third time of it.
fn storm(asked: &Asked, stream: &mut TcpStream) -> Option<Then> {
    let chance = u64::from_le_bytes(*Digest::of_bytes(asked.body.to_string().as_bytes()).as_bytes().first_chunk()?);
    if asked.again >= 2 {
        return None;
    }
    Some(match (chance % 16, asked.again) {
        (0 | 1, _) => status(stream, 429, "retry-after: 0\r\n", r#"{"error":{"message":"slow down"}}"#),
        (2, _) => status(stream, 500, "", "worker died"),
        (3, _) => status(stream, 503, "retry-after: 0.01\r\n", ""),
        (4, 0) => chunked(stream, &["data: {\"choices\":[{\"delta\":{\"content\":\"ca"], false),
        (5, 0) => chunked(stream, &["data: {\"choi\n\n"], true),
        (6, 0) => Then::Close,
        (7, 0) => {
            std::thread::sleep(Duration::from_millis(3));
            Then::Close
        }
        _ => return None,
    })
}

/// The bodies that were answered, each with how often it came.
fn bodies(endpoint: &Endpoint) -> BTreeMap<String, usize> {
    let mut bodies = BTreeMap::new();
    endpoint.asked().iter().for_each(|asked| *bodies.entry(asked.body.to_string()).or_default() += 1);
    bodies
}

#[test]
fn faults_change_nothing_and_what_is_recorded_is_not_asked_again() {
    let mut calm = Behind::new();
    let endpoint = calm.serve(|_, _| None);
    let (outcome, expected) = calm.start();
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    assert!(bodies(&endpoint).values().all(|count| *count == 1), "nothing is asked twice");
    let RunEvent::RunStarted { label, .. } = &expected[0] else { panic!("it starts") };
    assert_eq!(*label, RunLabel::Recorded);

    let mut rough = Behind::new();
    let endpoint = rough.serve(storm);
    let (outcome, events) = rough.start();
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    assert_eq!(results(&events), results(&expected));
    let asked = endpoint.asked().len();
    assert!(asked > bodies(&endpoint).len(), "some had to be asked again");
    let rollout = |event: &RunEvent| match event {
        RunEvent::ItemFinished { node, key, .. } if node == "rollout:trajs" || node.starts_with("judge") => Some(*key),
        _ => None,
    };
    let keys: Vec<Digest> = events.iter().filter_map(rollout).collect();
    assert!(!keys.is_empty());
    for key in keys {
        let record = rough.lab.project.store.lookup(&key).expect("reads").expect("is there");
        assert_eq!(record.label, RunLabel::Recorded);
    }

    // All of it is there: another run, and a replay without anybody to ask.
    let (outcome, again) = rough.start();
    assert_eq!(charge(&again), Charge::default(), "what is recorded costs nothing");
    assert_eq!((outcome.end, results(&again), endpoint.asked().len()), (RunEnd::Finished, results(&events), asked));
    drop(endpoint);
    let frozen = RunOptions { replay: Some(Arc::new(Replay::new(0.0, Seed(0)))), ..RunOptions::default() };
    let (outcome, replayed) = rough.lab.start_with(&frozen, &Control::default(), &mut |_| {});
    assert_eq!((outcome.end, results(&replayed)), (RunEnd::Finished, results(&events)));
}

/// Answers nobody before so many wait.
#[test]
fn as_many_are_under_way_as_the_limit_lets() {
    const MANY: usize = 24;
    let mut behind = Behind::new();
    behind.lab.experiment.envs[0].it.splits[1].size = 48;
    behind.lab.experiment.schedule.drain(2..);
    behind.lab.experiment.schedule.remove(0);
    let (waiting, all) = (Mutex::new(0), Condvar::new());
    let endpoint = behind.serve(move |_, _| {
        let mut waiting = waiting.lock().expect("no panic holds this lock");
        *waiting += 1;
        all.notify_all();
        let late = all.wait_timeout_while(waiting, Duration::from_secs(5), |waiting| *waiting < MANY);
        assert!(!late.expect("no panic holds this lock").1.timed_out(), "they wait for one another");
        None
    });
    behind.limit(|limits| (limits.in_flight, limits.timeout, limits.first_byte) = (MANY as u32, 20_000, 20_000));
    let one = RunOptions { jobs: Some(1), ..options() };
    let (outcome, _) = behind.lab.start_with(&one, &Control::default(), &mut |_| {});
    assert_eq!((outcome.end, endpoint.most_in_flight()), (RunEnd::Finished, MANY), "{:?}", outcome.failed);
}

#[test]
fn money_is_never_spent_beyond_the_budget() {
    let mut free = Behind::new();
    let endpoint = free.serve(|_, _| None);
    free.lab.experiment.models.iter_mut().for_each(|model| model.it.context = 400);
    let (outcome, whole) = free.start();
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    drop(endpoint);
    let spent = |behind: &Behind| {
        let Tokens { prompt, completion } = *behind.charged.lock().expect("no panic holds this lock");
        prompt * 2 + completion * 8
    };
    let expected = spent(&free);
    for most in [expected / 2, expected - expected / 10] {
        let mut lab = Behind::new();
        lab.lab.experiment.models.iter_mut().for_each(|model| model.it.context = 400);
        let _endpoint = lab.serve(|asked, _| (asked.number % 5 == 2 && asked.again == 0).then_some(Then::Close));
        lab.lab.experiment.budget =
            Some(Budget { spend: Some(Spanned::new(MicroUsd(most), Span::default())), wall: None, tokens: None });
        let (mut outcome, _) = lab.start();
        assert_eq!(outcome.end, RunEnd::Paused, "{most} of {expected}");
        let before = spent(&lab);
        assert!(before > 0 && before <= most, "{before} of {most}, of {expected} in all");
        // It goes on from what was taken.
        outcome = lab.resume(&outcome.run).0;
        assert_eq!(outcome.end, RunEnd::Paused);
        assert_eq!(spent(&lab), before);
        let unbound = RunOptions { no_budget: true, ..options() };
        let mut events = Vec::new();
        let mut sink = |event: &RunEvent| events.push(event.clone());
        resume(&lab.lab.project, &outcome.run, &unbound, &Control::default(), &tick(), &mut sink).expect("goes on");
        let journal = directory::events(&lab.lab.project, &outcome.run).expect("the chain holds");
        let all: Vec<RunEvent> = journal.into_iter().map(|(_, event)| event).collect();
        assert_eq!(results(&all), results(&whole));
        assert_eq!(charge(&all).spend, Some(spent(&lab)), "each sitting tells what it took");
    }
    assert_eq!(
        charge(&whole),
        Charge { tokens: *free.charged.lock().expect("no panic holds this lock"), spend: Some(expected) }
    );
}

/// A sitting that is killed says nothing of what it was charged for: the next one does, by what was filed.
#[test]
fn what_a_killed_sitting_was_charged_for_is_told_by_the_next() {
    for lost in [0, 2] {
        let mut behind = Behind::new();
        let _endpoint = behind.serve(|_, _| None);
        let (outcome, events) = behind.start();
        assert_eq!(outcome.end, RunEnd::Finished);
        let path = behind.lab.project.journal(&outcome.run);
        let journal = std::fs::read_to_string(&path).expect("reads");
        let lines: Vec<&str> = journal.lines().collect();
        // In the last node that asks; of two items it was filed and not told that they were made.
        let told = lines.iter().rposition(|line| line.contains("node_charged")).expect("it was charged");
        std::fs::write(&path, lines[..told - lost].join("\n") + "\n").expect("writes");
        let (outcome, _) = behind.resume(&outcome.run);
        assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
        let again = directory::events(&behind.lab.project, &outcome.run).expect("the chain holds");
        let again: Vec<RunEvent> = again.into_iter().map(|(_, event)| event).collect();
        assert_eq!(charge(&again), charge(&events), "{lost} lost");
    }
}

/// Why items failed.
fn reasons(events: &[RunEvent]) -> std::collections::BTreeSet<String> {
    let reason = |event: &RunEvent| match event {
        RunEvent::ItemFinished { outcome: ItemOutcome::Failed { reason }, .. } => Some(reason.clone()),
        _ => None,
    };
    events.iter().filter_map(reason).collect()
}

/// What a run says that it was charged for.
fn charge(events: &[RunEvent]) -> Charge {
    let mut all = Charge::default();
    for event in events {
        if let RunEvent::NodeCharged { charge, .. } = event {
            all += *charge;
        }
    }
    all
}

#[test]
fn an_interrupted_run_goes_on_and_asks_nothing_twice() {
    let mut behind = Behind::new();
    let endpoint = behind.serve(|_, _| None);
    behind.limit(|limits| limits.in_flight = 3);
    let control = Control::default();
    let mut finished = 0;
    let (outcome, _) = behind.lab.start_with(&options(), &control, &mut |event| {
        finished += u32::from(matches!(event, RunEvent::ItemFinished { .. }));
        if finished == 10 {
            control.pause();
        }
    });
    assert_eq!(outcome.end, RunEnd::Paused);
    let (outcome, _) = behind.resume(&outcome.run);
    assert_eq!(outcome.end, RunEnd::Finished);
    assert!(bodies(&endpoint).values().all(|count| *count == 1));
}

#[test]
fn what_every_request_would_meet_ends_the_step_at_once() {
    let mut behind = Behind::new();
    behind.lab.experiment.envs[0].it.splits[1].size = 200;
    let (endpoint, locked) =
        behind.serve_broken(|_, stream| Some(status(stream, 401, "", r#"{"error":{"message":"bad key"}}"#)));
    behind.limit(|limits| limits.in_flight = 4);
    let (outcome, _) = behind.start();
    assert_eq!(outcome.end, RunEnd::Failed);
    let FailedStep { step, reason, transient } = &outcome.failed[0];
    assert_eq!((step.as_str(), *transient), ("calibrate:grader", true));
    assert!(reason.contains("model `grader_lm`") && reason.contains("401: bad key"), "{reason}");
    assert!(endpoint.asked().len() <= 4, "{}", endpoint.asked().len());
    // Once the key is right, it goes on.
    locked.store(false, Ordering::SeqCst);
    assert_eq!(behind.resume(&outcome.run).0.end, RunEnd::Finished);
}

/// As LiteLLM says of a name it does not know, or of the key of the provider behind it.
#[test]
fn what_every_request_is_rejected_for_ends_the_step_soon() {
    let mut behind = Behind::new();
    behind.lab.experiment.envs[0].it.splits[1].size = 200;
    behind.lab.experiment.schedule = vec![evaluate(Some("base"), "dev", Version::Declared)];
    let (endpoint, unknown) =
        behind.serve_broken(|_, stream| Some(status(stream, 400, "", r#"{"error":{"message":"unknown model"}}"#)));
    behind.limit(|limits| limits.in_flight = 4);
    let (outcome, events) = behind.start();
    assert_eq!(outcome.end, RunEnd::Failed);
    let FailedStep { step, reason, transient } = &outcome.failed[0];
    assert_eq!((step.as_str(), *transient), ("evaluate:base", true));
    let plain = "the endpoint rejects the request (400: unknown model)".to_owned();
    assert_eq!(reasons(&events), [plain].into(), "those under way when it was plain have the same reason");
    assert!(reason.contains("rejects every request (400: unknown model); so the first 8 ended"), "{reason}");
    // Who files is a little behind who asks.
    assert!((8..=24).contains(&endpoint.asked().len()), "{}", endpoint.asked().len());
    unknown.store(false, Ordering::SeqCst);
    assert_eq!(behind.resume(&outcome.run).0.end, RunEnd::Finished);
}

/// A step that fails for what an endpoint did not want goes well once the endpoint is mended.
#[test]
fn what_was_rejected_is_tried_again_by_a_resumed_run() {
    let mut behind = Behind::new();
    behind.lab.experiment.schedule = vec![evaluate(Some("base"), "dev", Version::Declared)];
    let (_endpoint, broken) = behind.serve_broken(|asked, stream| {
        (asked.number == 0).then(|| status(stream, 400, "", r#"{"error":{"message":"no tokenizer"}}"#))
    });
    let (outcome, _) = behind.start();
    assert_eq!(outcome.end, RunEnd::Failed);
    assert!(outcome.failed[0].transient, "{}", outcome.failed[0].reason);
    broken.store(false, Ordering::SeqCst);
    assert_eq!(behind.resume(&outcome.run).0.end, RunEnd::Finished);
}

#[test]
fn every_item_ends_done_or_failed() {
    ends_done_or_failed(500);
}

#[test]
#[ignore = "ten seconds: run with --ignored"]
fn every_item_of_ten_thousand_ends_done_or_failed() {
    ends_done_or_failed(10_000);
}

/// Each item ends as done or as a failure that says why, and the step completes without what failed.
fn ends_done_or_failed(items: u32) {
    let mut behind = Behind::new();
    behind.lab.experiment.envs[0].it.splits[1].size = items;
    behind.lab.experiment.schedule = vec![evaluate(Some("base"), "dev", Version::Declared)];
    if let Statement::Evaluate { tolerance, .. } = &mut behind.lab.experiment.schedule[0] {
        *tolerance = Tolerance { max_failed: MaxFailed::share(0.9), ..Tolerance::default() };
    }
    let _endpoint = behind.serve(|asked, stream| {
        let chance = u64::from_le_bytes(*Digest::of_bytes(asked.body.to_string().as_bytes()).as_bytes().first_chunk()?);
        Some(match chance % 12 {
            0 => status(stream, 429, "", "later"),
            1 => status(stream, 500, "", "worker died"),
            2 => chunked(stream, &["data: {\"choices\":[{\"del"], false),
            3 => status(stream, 400, "", r#"{"error":{"message":"no"}}"#),
            4 => say_for(stream, "I must not", "content_filter", None),
            5 => status(stream, 200, "", "<html>"),
            6 => Then::Close,
            _ => say_for(stream, "I do not know.", "stop", None),
        })
    });
    behind.limit(|limits| (limits.in_flight, limits.retries) = (32, 1));
    let (outcome, events) = behind.start();
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    let counts = finished(&events)["evaluate:base"].1;
    assert_eq!(counts.done + counts.failed, u64::from(items));
    assert!(counts.done.min(counts.failed) > u64::from(items) / 4, "{counts:?}");
    let reasons = reasons(&events);
    for words in [
        "is busy (429: later)",
        "is busy (500",
        "rejects the request (400: no)",
        "content filter",
        "broke off",
        "cannot be read",
    ] {
        assert!(reasons.iter().any(|reason| reason.contains(words)), "{words}: {reasons:?}");
    }
}

/// The disk of the journal is full and that of the store is not: what is paid for is filed, asked no second time, and named
/// when the run goes on.
#[test]
fn what_cannot_be_told_is_filed_all_the_same() {
    let mut behind = Behind::new();
    let _endpoint = behind.serve(|_, _| None);
    let charged = |behind: &Behind| {
        let Tokens { prompt, completion } = *behind.charged.lock().expect("no panic holds this lock");
        prompt + completion
    };
    let filed = |behind: &Behind| -> u64 {
        let records = behind.lab.project.store.records().expect("reads");
        records.iter().flat_map(|record| record.cost.values()).sum()
    };
    let overrides = BTreeMap::new();
    let experiment = &behind.lab.experiment;
    let subject = Subject { file_name: "a.agx", source: "", imports: &[], overrides: &overrides, experiment };
    let stopped = faults::with_room(2, || {
        start(&behind.lab.project, &subject, &options(), &Control::default(), &tick(), &mut |_| {})
    });
    let Err(RunError::Stopped { run, .. }) = stopped else { panic!("{stopped:?}") };
    assert_eq!(filed(&behind), charged(&behind), "nothing that was answered is lost");
    let named = |run: &str| {
        let events = directory::events(&behind.lab.project, run).expect("the chain holds");
        let named = |event: &RunEvent| match event {
            RunEvent::ItemFinished { key, .. } | RunEvent::ItemCached { key, .. } => Some(*key),
            _ => None,
        };
        events.iter().filter_map(|(_, event)| named(event)).collect::<std::collections::BTreeSet<Digest>>()
    };
    let paid = |record: &Record| record.cost.values().sum::<u64>() > 0;
    let records = behind.lab.project.store.records().expect("reads");
    let made: Vec<Digest> = records.iter().filter(|record| paid(record)).map(|record| record.key).collect();
    assert!(made.iter().any(|key| !named(&run).contains(key)), "some could not be told");
    let (outcome, _) = behind.resume(&run);
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    assert_eq!(filed(&behind), charged(&behind), "nothing is asked twice");
    assert!(made.iter().all(|key| named(&run).contains(key)), "what was found is named");
}
