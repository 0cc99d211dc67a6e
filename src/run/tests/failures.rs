//! Items that fail, take too long, or come to nothing at all: what is missing, what it means, and that nobody mistakes it.

use super::faults::{Fault, Faults};
use super::*;
use crate::base::units::{Millis, TokenCount};
use crate::base::{Seed, Span, Spanned};
use crate::model::Tokens;
use crate::node::evaluate::{Behaviour, behaviour_metrics, truth_metrics};
use crate::node::key::item_seed;
use crate::node::spec::OnUnparsed;
use crate::node::tolerance::{MaxFailed, Tolerance};
use crate::node::trajectory::{Trajectory, TruthRecord};
use crate::run::verify::tests::{RUN, look, manifest, rechain};
use crate::run::verify::{Level, Verified};

fn lab(tolerance: Tolerance) -> Lab {
    let mut lab = Lab::new(2);
    for statement in sample::body(&mut lab.experiment) {
        if let Statement::Rollout { tolerance: of, .. } = statement {
            *of = tolerance;
        }
    }
    lab
}

pub(super) fn tolerating(items: u64) -> Tolerance {
    Tolerance { max_failed: MaxFailed::Items(items), ..Tolerance::default() }
}

/// The seeds of the first turns of the first iteration's episodes.
fn seeds(lab: &Lab) -> Vec<Seed> {
    let env = Env::open(&lab.experiment.envs[0].it, &crate::model::Wire::default()).expect("the desk is built in");
    let root = Seed(lab.experiment.seed);
    let turns = |task: &crate::env::Task| {
        let id = task.id.clone();
        (0..2).map(move |sample| item_seed(root, "rollout", 1, &id, sample).derive(0u32))
    };
    env.tasks("train").iter().flat_map(turns).collect()
}

fn failing(lab: &Lab, items: &[usize], fault: Fault) -> std::sync::Arc<Faults> {
    let seeds = seeds(lab);
    Faults::of(items.iter().map(|&at| (seeds[at], fault)).collect())
}

/// What the journal says last of each node.
fn journalled(lab: &Lab, run: &str) -> BTreeMap<String, String> {
    let journal = directory::events(&lab.project, run).expect("the chain holds");
    results(&journal.into_iter().map(|(_, event)| event).collect::<Vec<_>>())
}

fn whole() -> BTreeMap<String, String> {
    results(&Lab::new(2).start().1)
}

#[test]
fn a_step_completes_within_its_max_failed_and_says_what_is_missing() {
    let lab = lab(tolerating(2));
    let faults = failing(&lab, &[3, 7], Faults::ALWAYS);
    let (outcome, events) = faults.among(|| lab.start());
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    assert_eq!(finished(&events)["rollout@1"], (NodeStatus::Done, ItemCounts { done: 10, cached: 0, failed: 2 }));
    assert_eq!(finished(&events)["judge@1"].1, ItemCounts { done: 10, cached: 0, failed: 0 });
    let made = manifest(&lab, "rollout@1");
    let missing: Vec<(&str, Lack)> = made.missing.iter().map(|it| (it.item.as_str(), it.kind)).collect();
    assert_eq!(missing, [("train-0001/1", Lack::Failed), ("train-0003/1", Lack::Failed)]);
    assert_eq!((made.items.len(), metric(&events, "rollout@1", "count")), (10, 10.0));
    assert!(made.items.iter().all(|item| made.missing.iter().all(|missing| missing.key != item.key)));
    assert_eq!(metric(&events, "judge@1", "count"), 10.0);

    // Nothing takes it for whole, and what was made of it is found again by those who miss the same.
    let (_, again) = faults.among(|| lab.start());
    assert_eq!(finished(&again)["rollout@1"], (NodeStatus::Done, ItemCounts { done: 0, cached: 10, failed: 2 }));
    assert_eq!(finished(&again)["judge@1"].0, NodeStatus::Cached);
    assert_eq!(results(&events), results(&again));
    let survey = lab.survey();
    assert_eq!(survey["rollout@1"], (SurveyStatus::Partly, 10, Some(12)));
    assert_eq!(survey["judge@1"].0, SurveyStatus::Run);

    // Once nothing fails any more, everything is as if nothing ever had.
    let (_, mended) = lab.start();
    assert_eq!(finished(&mended)["rollout@1"], (NodeStatus::Done, ItemCounts { done: 2, cached: 10, failed: 0 }));
    let judged = finished(&mended)["judge@1"].1;
    assert_eq!((judged.done + judged.cached, judged.failed), (12, 0));
    assert_eq!(results(&mended), whole());
}

#[test]
fn what_reads_a_step_is_keyed_by_what_is_missing_and_not_by_how() {
    let keys = |items: &[usize], fault, timeout| {
        let lab = lab(Tolerance { timeout, ..tolerating(2) });
        let faults = failing(&lab, items, fault);
        let outcome = faults.among(|| lab.start_timed(&|| faults.now()));
        assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
        let (step, made) = (Digest::of_bytes(b"a step"), manifest(&lab, "rollout@1"));
        (made.key(step), journalled(&lab, RUN)["judge@1"].clone())
    };
    let failed = keys(&[3], Faults::ALWAYS, None);
    assert_eq!(failed, keys(&[3], Faults::ALWAYS, None));
    let others =
        [keys(&[], Faults::ALWAYS, None), keys(&[4], Faults::ALWAYS, None), keys(&[3, 4], Faults::ALWAYS, None)];
    let mut all: Vec<Digest> = others.iter().map(|(key, _)| *key).chain([failed.0]).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4, "another missing set is another key");
    assert_eq!(others[0].0, Digest::of_bytes(b"a step"), "a whole step stands for itself");
    assert_eq!(others[0].1, whole()["judge@1"]);
}

#[test]
fn more_failures_than_allowed_fail_the_step_and_a_resumed_run_is_as_if_nothing_had() {
    let lab = lab(tolerating(2));
    let faults = failing(&lab, &[0, 5, 11], Faults::ALWAYS);
    let (outcome, events) = faults.among(|| lab.start());
    assert_eq!(outcome.end, RunEnd::Failed);
    let reason = "3 of 12 items failed, 2 allowed; train-0000/0: tensor engine: a fault of the test";
    assert_eq!(outcome.failed, [FailedStep { step: "rollout@1".into(), reason: reason.into(), transient: false }]);
    assert_eq!(finished(&events)["rollout@1"].1, ItemCounts { done: 9, cached: 0, failed: 3 });
    let (outcome, _) = lab.resume(RUN);
    assert_eq!(outcome.end, RunEnd::Finished);
    assert_eq!(journalled(&lab, RUN), whole());
}

#[test]
fn a_blocked_step_says_whose_failure_it_waits_for() {
    let lab = lab(tolerating(1));
    let options = RunOptions { keep_going: true, ..RunOptions::default() };
    let faults = failing(&lab, &[1, 2], Faults::ALWAYS);
    let (_, events) = faults.among(|| lab.start_with(&options, &Control::default(), &mut |_| {}));
    let why = |id: &str| {
        let why = |event: &RunEvent| match event {
            RunEvent::NodeFinished { node, reason, .. } if node == id => reason.clone(),
            _ => None,
        };
        events.iter().find_map(why).expect("it says why")
    };
    assert!(why("rollout@1").starts_with("2 of 12 items failed, 1 allowed; "), "{}", why("rollout@1"));
    assert_eq!(why("judge@1"), "rollout@1 did not finish");
    assert_eq!(finished(&events)["evaluate:base"].0, NodeStatus::Done);
}

/// However often it is interrupted, a run goes on with what it had settled, even where others have made it since.
#[test]
fn an_interruption_changes_nothing_about_what_is_missing() {
    let expected = {
        let lab = lab(tolerating(2));
        failing(&lab, &[3, 7], Faults::ALWAYS).among(|| lab.start());
        journalled(&lab, RUN)
    };
    assert_ne!(expected, whole());
    let ends = |lab: &Lab, node: &str| {
        let faults = failing(lab, &[3, 7], Faults::ALWAYS);
        let control = Control::default();
        let (outcome, _) = faults.among(|| {
            lab.start_with(&RunOptions::default(), &control, &mut |event| {
                if matches!(event, RunEvent::NodeFinished { node: ended, .. } if ended == node) {
                    control.pause();
                }
            })
        });
        assert_eq!(outcome.end, RunEnd::Paused);
    };
    for node in ["rollout@1", "judge@1", "train@1", "rollout@2"] {
        let lab = lab(tolerating(2));
        ends(&lab, node);
        if node == "train@1" {
            // Another run makes all of it meanwhile.
            assert_eq!(lab.start().0.end, RunEnd::Finished);
        }
        // The faults are gone.
        let (outcome, events) = lab.resume(RUN);
        assert_eq!(outcome.end, RunEnd::Finished);
        assert_eq!(finished(&events)["rollout@1"].1, ItemCounts { done: 0, cached: 10, failed: 2 }, "{node}");
        assert_eq!(journalled(&lab, RUN), expected, "paused after {node}");
        // It came to its end: now what is missing is tried again.
        let (outcome, events) = lab.resume(RUN);
        assert_eq!((outcome.end, finished(&events)["rollout@1"].1.failed), (RunEnd::Finished, 0));
        assert_eq!(journalled(&lab, RUN), whole(), "resumed after its end, paused after {node}");
    }
}

/// Killed after any line of its journal, a run comes to the same; what was settled by then stays so without the faults, too.
#[test]
fn killed_at_any_line_it_misses_the_same() {
    let lab = lacking();
    let expected = journalled(&lab, RUN);
    let path = lab.project.journal(RUN);
    let whole_journal = std::fs::read_to_string(&path).expect("reads");
    let lines: Vec<&str> = whole_journal.lines().collect();
    let events = journal::read(&path).expect("reads");
    let settles =
        |(_, event): &(u64, RunEvent)| matches!(event, RunEvent::NodeFinished { node, .. } if node == "rollout@1");
    let settled = events.iter().position(settles).expect("it finished") + 1;
    for kept in (1..lines.len()).rev().step_by(13) {
        std::fs::write(&path, lines[..kept].join("\n") + "\n").expect("writes");
        let (outcome, _) = match kept < settled {
            true => failing(&lab, &[3, 7], Faults::ALWAYS).among(|| lab.resume(RUN)),
            false => lab.resume(RUN),
        };
        assert_eq!(outcome.end, RunEnd::Finished);
        assert_eq!(journalled(&lab, RUN), expected, "killed after line {kept} of {}", lines.len());
        let verified = look(&lab, Level::Replayed, 1.0);
        assert!(verified.holds(), "killed after line {kept}: {verified:#?}");
    }
}

#[test]
fn a_failed_item_is_worked_again_as_often_as_the_file_says() {
    let lab = lab(Tolerance { retries: 1, ..Tolerance::default() });
    let faults = failing(&lab, &[3, 7], Fault::Fails(1));
    let (outcome, events) = faults.among(|| lab.start());
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    let of_rollout = |event: &&RunEvent| match event {
        RunEvent::ItemFinished { node, .. } | RunEvent::ItemRetried { node, .. } => node == "rollout@1",
        _ => false,
    };
    let told: Vec<&RunEvent> = events.iter().filter(of_rollout).collect();
    assert_eq!(told.len(), 14, "each attempt is an event");
    let retried = |event: &&RunEvent| match event {
        RunEvent::ItemRetried { item, attempt, took, .. } => Some((item.clone(), *attempt, took.prompt > 0)),
        _ => None,
    };
    let retried: Vec<(String, u32, bool)> = told.iter().filter_map(retried).collect();
    assert_eq!(retried, [("train-0001/1".to_owned(), 1, true), ("train-0003/1".to_owned(), 1, true)]);
    let last: Vec<&str> = told[12..]
        .iter()
        .map(|event| if let RunEvent::ItemFinished { item, .. } = event { item.as_str() } else { "" })
        .collect();
    assert_eq!(last, ["train-0001/1", "train-0003/1"], "after all others");
    assert_eq!(results(&events), whole());

    let lab = self::lab(Tolerance { retries: 1, ..Tolerance::default() });
    let (outcome, events) = failing(&lab, &[3], Fault::Fails(2)).among(|| lab.start());
    assert_eq!(outcome.end, RunEnd::Failed);
    assert_eq!(finished(&events)["rollout@1"].1, ItemCounts { done: 11, cached: 0, failed: 1 });
}

#[test]
fn an_item_that_takes_too_long_is_missing_and_nothing_else() {
    let timeout = Some(Millis(30_000));
    let mut lab = lab(Tolerance { timeout, retries: 3, ..tolerating(12) });
    lab.experiment.rules[0].it.stages[2] = Stage::Require { count: 1, otherwise: Otherwise::Skip };
    let faults = failing(&lab, &[5], Fault::Takes(31_000));
    let outcome = faults.among(|| lab.start_timed(&|| faults.now()));
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    let made = manifest(&lab, "rollout@1");
    assert_eq!(made.missing.len(), 12, "they were asked together, and none had its reply in time");
    assert!(made.missing.iter().all(|it| it.kind == Lack::Timeout));
    for missing in &made.missing {
        assert_eq!(lab.project.store.lookup(&missing.key).expect("reads"), None, "it is not cached");
    }
    let journal = directory::events(&lab.project, RUN).expect("the chain holds");
    let took = |(_, event): &(u64, RunEvent)| match event {
        RunEvent::ItemFinished { node, outcome: ItemOutcome::Timeout, took, .. } if node == "rollout@1" => Some(*took),
        _ => None,
    };
    let took: Vec<Tokens> = journal.iter().filter_map(took).collect();
    assert!(took.len() == 12 && took.iter().all(|took| took.prompt > 0 && took.completion > 0), "{took:?}");
    assert!(
        !journal.iter().any(|(_, event)| matches!(event, RunEvent::ItemRetried { .. })),
        "it would take as long again"
    );

    // Too slow by more than is allowed: the step fails, and another time it may not.
    let lab = self::lab(Tolerance { timeout, ..Tolerance::default() });
    let faults = failing(&lab, &[5], Fault::Takes(31_000));
    let outcome = faults.among(|| lab.start_timed(&|| faults.now()));
    assert_eq!(outcome.end, RunEnd::Failed);
    let FailedStep { reason, transient, .. } = &outcome.failed[0];
    assert!(reason.ends_with("train-0000/0: it took longer than 30 s") && *transient, "{reason}");
    lab.resume(RUN);
    assert_eq!(journalled(&lab, RUN), whole());
}

#[test]
fn what_a_failed_item_took_is_counted_in_the_budget() {
    let place = Span::default();
    let budget = |most| Some(Budget { spend: None, wall: None, tokens: Some(Spanned::new(TokenCount(most), place)) });
    let mut lab = lab(Tolerance { retries: 2, ..tolerating(12) });
    lab.experiment.models.iter_mut().for_each(|model| model.it.context = 300);
    lab.experiment.budget = budget(1 << 40);
    let all: Vec<usize> = (0..12).collect();
    let faults = failing(&lab, &all, Faults::ALWAYS);
    let (outcome, events) = faults.among(|| lab.start());
    // A rule that nothing passes; what matters was before.
    assert_eq!(outcome.failed[0].step, "select@1");
    let sent = |event: &RunEvent| match event {
        RunEvent::ItemFinished { node, took, .. } | RunEvent::ItemRetried { node, took, .. } if node == "rollout@1" => {
            took.prompt
        }
        _ => 0,
    };
    let failed: u64 = events.iter().map(sent).sum();
    let per_attempt = failed / 3;
    assert!(per_attempt > 0 && failed == per_attempt * 3, "three attempts of each: {failed}");

    // It pauses on what failed, though nothing of it is recorded.
    let open = |lab: &Lab| {
        let identities = identify(&lab.experiment).expect("files are there");
        let plan = crate::plan::build(&lab.experiment, &identities).expect("can be planned");
        let journal = directory::events(&lab.project, RUN).expect("the chain holds");
        let clock = tick();
        let options = RunOptions::default();
        let purse = budget::Purse::open(&lab.experiment, &plan, &lab.project.store, &clock, &journal, &options);
        let purse = purse.expect("records can be read");
        let step = plan.steps.iter().position(|step| step.id == "rollout@1").expect("it is planned");
        let asks = purse.asks(&plan, crate::plan::StepId(step)).expect("a budget is held");
        purse.admit(&asks, 1).err().unwrap_or_default()
    };
    lab.experiment.budget = budget(1);
    let with = open(&lab);
    let taken: u64 = with.split(' ').next().and_then(|word| word.parse().ok()).expect("a number of tokens");
    let base: u64 = directory::events(&lab.project, RUN)
        .expect("the chain holds")
        .iter()
        .filter_map(|(_, event)| if let RunEvent::ItemFinished { key, .. } = event { Some(*key) } else { None })
        .collect::<std::collections::BTreeSet<Digest>>()
        .iter()
        .filter_map(|key| lab.project.store.lookup(key).expect("reads"))
        .map(|record| record.cost.values().sum::<u64>())
        .sum();
    assert_eq!(taken, base + failed, "{with}");
}

fn lacking() -> Lab {
    let lab = lab(tolerating(2));
    failing(&lab, &[3, 7], Faults::ALWAYS).among(|| lab.start());
    lab
}

#[test]
fn a_run_that_misses_items_holds_on_every_level() {
    let lab = lacking();
    let look = |level, share| {
        let verified = failing(&lab, &[3, 7], Faults::ALWAYS).among(|| look(&lab, level, share));
        assert!(verified.holds() && verified.levels.len() == level as usize + 1, "{verified:#?}");
        (verified.lacking.failed, verified.lacking.timeout, verified.lacking.not_proven())
    };
    assert_eq!(look(Level::Remade, 1.0), (2, 0, (0, 0)), "they fail again");
    assert_eq!(look(Level::Replayed, 1.0), (2, 0, (2, 0)), "nobody asked again");
    assert_eq!(look(Level::Remade, 1e-9), (2, 0, (2, 0)), "none of them was chosen");
    // Another run makes what is missing: that says nothing about this one.
    assert_eq!(lab.start().0.end, RunEnd::Finished);
    assert_eq!(look(Level::Remade, 1.0), (2, 0, (0, 0)));
}

/// What failed is made now: it is said of that item, and of nothing that hangs on it.
#[test]
fn an_item_that_is_missing_as_failed_and_can_be_made_is_found() {
    let lab = lacking();
    let verified = failing(&lab, &[3], Faults::ALWAYS).among(|| look(&lab, Level::Remade, 1.0));
    let found: Vec<_> = verified.findings().collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    let (node, item) = (found[0].node.as_deref(), found[0].item.as_deref());
    assert_eq!((node, item, found[0].level), (Some("rollout@1"), Some("train-0003/1"), Level::Remade));
    assert_eq!(found[0].what, "missing as failed in the run, and made now");
    assert_eq!(verified.lacking.not_proven(), (2, 0));
}

/// The worst episodes are made to be missing, and everything that says so is made to fit.
#[test]
fn episodes_that_are_hidden_as_missing_prove_nothing() {
    for lack in [Lack::Failed, Lack::Timeout] {
        let mut lab = Lab::new(2);
        let timeout = (lack == Lack::Timeout).then_some(Millis(1_000_000));
        for statement in &mut lab.experiment.schedule {
            if let Statement::Evaluate { tolerance, .. } = statement {
                *tolerance = Tolerance { max_failed: MaxFailed::share(0.8), timeout, ..Tolerance::default() };
            }
        }
        lab.start();
        hide(&lab, "evaluate:test", lack);
        assert_eq!(manifest(&lab, "evaluate:test").metric("success"), Some(1.0));
        let hidden = manifest(&lab, "evaluate:test").missing.len();
        let below = look(&lab, Level::Replayed, 1.0);
        assert!(below.holds(), "{below:#?}");
        assert_eq!(below.lacking.not_proven(), (hidden, 0));
        let verified = look(&lab, Level::Remade, 1.0);
        match lack {
            Lack::Failed => {
                assert_eq!(verified.findings().count(), hidden, "{verified:#?}");
                let said =
                    |found: &crate::run::verify::Finding| found.what.ends_with("failed in the run, and made now");
                assert!(verified.findings().all(said), "{verified:#?}");
            }
            Lack::Timeout => {
                assert!(verified.holds(), "{verified:#?}");
                assert_eq!(verified.lacking.not_proven(), (0, hidden));
            }
        }
    }
}

/// Makes the episodes of an evaluation that were not solved missing, in manifest and journal, and their figures fit.
fn hide(lab: &Lab, node: &str, lack: Lack) {
    let mut made = manifest(lab, node);
    let record = |item: &ManifestItem| -> (TruthRecord, Behaviour) {
        let ItemOutcome::Done { blob } = item.outcome else { panic!("an episode is done") };
        let read = |blob: &Digest| lab.project.store.get(blob).expect("is there");
        let trajectory: Trajectory = serde_json::from_slice(&read(&blob)).expect("a trajectory");
        (serde_json::from_slice(&read(item.also.get("truth").unwrap())).expect("truth"), Behaviour::from(&trajectory))
    };
    let (solved, not): (Vec<_>, Vec<_>) =
        made.items.iter().cloned().partition(|it| record(it).0.truth.get("success") > Some(&0.5));
    assert!(!solved.is_empty() && !not.is_empty());
    let (truths, behaviour): (Vec<_>, Vec<_>) = solved.iter().map(record).unzip();
    made.metrics = truth_metrics(&truths);
    made.metrics.extend(behaviour_metrics(&behaviour));
    made.items = solved;
    made.missing =
        not.into_iter().map(|ManifestItem { item, key, .. }| MissingItem { item, key, kind: lack }).collect();
    let blob = lab.project.store.put(&made.to_bytes()).expect("stores");
    rechain(lab, |event| match event {
        RunEvent::NodeFinished { node: told, items, output, metrics, .. } if told == node => {
            let failed = made.missing.len() as u64;
            *items = ItemCounts { done: made.items.len() as u64, cached: 0, failed };
            (*output, *metrics) = (Some(blob), made.metrics.clone());
        }
        RunEvent::ItemFinished { node: told, item, outcome, .. }
            if told == node && made.missing.iter().any(|it| it.item == *item) =>
        {
            *outcome = match lack {
                Lack::Failed => ItemOutcome::Failed { reason: "no reply".to_owned() },
                Lack::Timeout => ItemOutcome::Timeout,
            };
        }
        _ => {}
    });
}

/// What was made in time is proven however long it takes to make it again.
#[test]
fn a_slow_proof_is_one() {
    let lab = lab(Tolerance { timeout: Some(Millis(1)), ..Tolerance::default() });
    assert_eq!(lab.start_timed(&|| 0).end, RunEnd::Finished);
    // Its clock ticks with each look.
    let verified = look(&lab, Level::Remade, 1.0);
    assert!(verified.holds() && verified.levels.len() == 4, "{verified:#?}");
}

/// Another manifest for a step without a record: its blob and the journal say the same.
fn plant(lab: &Lab, node: &str, change: impl FnOnce(&mut Manifest)) {
    let mut made = manifest(lab, node);
    change(&mut made);
    let blob = lab.project.store.put(&made.to_bytes()).expect("stores");
    rechain(lab, |event| {
        if let RunEvent::NodeFinished { node: told, output, .. } = event
            && told == node
        {
            *output = Some(blob);
        }
    });
}

#[test]
fn a_planted_missing_set_is_found() {
    let found = |forge: fn(&Lab)| {
        let lab = lacking();
        forge(&lab);
        let verified: Verified = look(&lab, Level::Remade, 1.0);
        let finding = verified.findings().next().expect("it is found").clone();
        (finding.level, finding.node.unwrap_or_default(), finding.item.unwrap_or_default(), finding.what)
    };
    // A bad episode is hidden among what failed.
    let (level, node, item, what) = found(|lab| {
        plant(lab, "rollout@1", |made| {
            let ManifestItem { item, key, .. } = made.items.remove(0);
            made.missing.insert(0, MissingItem { item, key, kind: Lack::Failed });
        });
    });
    assert_eq!((level, node.as_str(), item.as_str()), (Level::Keyed, "rollout@1", "train-0000/0"), "{what}");
    assert!(what.contains("the journal does not say that it failed"), "{what}");
    // What failed is left out, as if it had never been asked.
    let (level, node, item, what) = found(|lab| plant(lab, "rollout@1", |made| drop(made.missing.pop())));
    assert_eq!((level, node.as_str(), item.as_str()), (Level::Keyed, "rollout@1", "train-0003/1"), "{what}");
    assert!(what.contains("it is not missing in its node"), "{what}");
    // How it came to be missing.
    let (level, node, ..) = found(|lab| plant(lab, "rollout@1", |made| made.missing[0].kind = Lack::Timeout));
    assert_eq!((level, node.as_str()), (Level::Keyed, "rollout@1"));
    // Too slow, where nothing says how long is too long.
    let (level, node, _, what) = found(|lab| {
        plant(lab, "rollout@1", |made| made.missing[0].kind = Lack::Timeout);
        rechain(lab, |event| {
            if let RunEvent::ItemFinished { item, outcome, .. } = event
                && item == "train-0001/1"
                && matches!(outcome, ItemOutcome::Failed { .. })
            {
                *outcome = ItemOutcome::Timeout;
            }
        });
    });
    assert_eq!((level, node.as_str()), (Level::Keyed, "rollout@1"), "{what}");
    assert!(what.contains("no `timeout` is set"), "{what}");
    // An item is missing everywhere, and still its row is handed on.
    let (level, node, _, what) = found(|lab| {
        let item = manifest(lab, "rollout@2").items.swap_remove(0);
        plant(lab, "rollout@2", |made| {
            let ManifestItem { item, key, .. } = made.items.remove(0);
            made.missing.insert(0, MissingItem { item, key, kind: Lack::Failed });
        });
        rechain(lab, |event| {
            if let RunEvent::ItemFinished { node, key, outcome, .. } = event
                && (node.as_str(), *key) == ("rollout@2", item.key)
            {
                *outcome = ItemOutcome::Failed { reason: "no reply".to_owned() };
            }
        });
    });
    assert!(level >= Level::Keyed && (node == "judge@2" || node == "rollout@2"), "{level:?} {node} {what}");
}

/// Without a figure no gate ends a loop and no version is better than another.
#[test]
fn evaluations_of_nothing_decide_nothing() {
    let mut lab = Lab::new(2);
    let tolerate = |statement: &mut Statement| {
        if let Statement::Evaluate { tolerance, .. } = statement {
            tolerance.max_failed = MaxFailed::share(1.0);
        }
    };
    sample::body(&mut lab.experiment).iter_mut().for_each(tolerate);
    lab.experiment.schedule.iter_mut().for_each(tolerate);
    // Greedy episodes draw nothing, so their first turns are asked by one seed.
    let faults = Faults::of(vec![(Seed(0).derive(0u32), Faults::ALWAYS)]);
    let (outcome, events) = faults.among(|| lab.start());
    assert_eq!((outcome.end, outcome.winner.as_deref()), (RunEnd::Finished, Some("policy@0")), "{:?}", outcome.failed);
    assert_eq!(finished(&events)["evaluate:dev@2"].1, ItemCounts { done: 0, cached: 0, failed: 9 });
    assert_eq!(finished(&events)["rollout@2"].0, NodeStatus::Done);
    let verified = faults.among(|| look(&lab, Level::Remade, 1.0));
    assert!(verified.holds(), "{verified:#?}");
}

#[test]
fn nothing_at_all_may_be_left() {
    let mut lab = lab(tolerating(12));
    lab.experiment.rules[0].it.stages[2] = Stage::Require { count: 1, otherwise: Otherwise::Skip };
    let all: Vec<usize> = (0..12).collect();
    let faults = failing(&lab, &all, Faults::ALWAYS);
    let (outcome, events) = faults.among(|| lab.start());
    assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
    assert_eq!(finished(&events)["judge@1"].1, ItemCounts::default());
    assert_eq!(metric(&events, "train@1", "rows"), 0.0);
    let verified = faults.among(|| look(&lab, Level::Remade, 1.0));
    assert!(verified.holds(), "{verified:#?}");
}

/// A critic that has nothing to say fails its questions: their rows go no further, and no rule sees them.
#[test]
fn a_row_whose_question_failed_is_missing_from_there_on() {
    let mut lab = Lab::new(2);
    for statement in sample::body(&mut lab.experiment) {
        if let Statement::Judge { tolerance, .. } = statement {
            tolerance.max_failed = MaxFailed::share(0.9);
        }
    }
    let critic = json!({
        "replies": [{ "when": "I do not know", "say": ["score: 0"] }, { "when": "I give up", "say": ["score: 1"] }],
        "default": [],
    });
    std::fs::write(lab.directory.path().join("critic.json"), critic.to_string()).expect("writes");
    lab.experiment.schedule.remove(0);
    let (_, events) = lab.start();
    let counts = finished(&events)["judge@1"].1;
    assert!(counts.failed > 0 && counts.done > 0, "{counts:?}");
    assert_eq!(metric(&events, "judge@1", "count"), counts.done as f64);
    let output = manifest(&lab, "judge@1").output.expect("rows");
    let rows: RowSet = serde_json::from_slice(&lab.project.store.get(&output).expect("is there")).expect("rows");
    assert_eq!(rows.rows.len() as u64, counts.done);
    assert!(rows.rows.iter().all(|row| row.verdict.is_some()));
    let made = manifest(&lab, "judge@1");
    let missing: Vec<&str> = made.missing.iter().map(|it| it.item.as_str()).collect();
    assert!(rows.rows.iter().all(|row| !missing.contains(&format!("{}/{}", row.task, row.sample).as_str())));
}

/// A reply that cannot be read is recorded and fails its question; given again, it cannot be read again.
#[test]
fn what_cannot_be_read_fails_again_when_it_is_proven() {
    let mut lab = Lab::new(2);
    if let Critic::Sole(sole) = &mut lab.experiment.critics[0].it {
        sole.on_unparsed = OnUnparsed::Fail;
    }
    for statement in sample::body(&mut lab.experiment) {
        if let Statement::Judge { tolerance, .. } = statement {
            tolerance.max_failed = MaxFailed::share(0.9);
        }
    }
    // A calibration tolerates nothing.
    lab.experiment.schedule.remove(0);
    assert_eq!(lab.start().0.end, RunEnd::Finished);
    let missing = manifest(&lab, "judge@1").missing;
    assert!(!missing.is_empty() && lab.project.store.lookup(&missing[0].key).expect("reads").is_some());
    let verified = look(&lab, Level::Remade, 1.0);
    assert!(verified.holds() && verified.lacking.not_proven() == (0, 0), "{verified:#?}");
}
