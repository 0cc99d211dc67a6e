//! A run with a budget: it never takes more, pauses, and goes on.

use super::*;
use crate::base::units::{Millis, TokenCount};
use crate::base::{Span, Spanned};

/// Whose models hold so little that a few items may not take all of a budget.
fn small() -> Lab {
    let mut lab = Lab::new(2);
    lab.experiment.models.iter_mut().for_each(|model| model.it.context = 300);
    lab
}

fn with_budget(tokens: Option<u64>, wall: Option<u64>) -> Lab {
    let mut lab = small();
    let place = Span::default();
    lab.experiment.budget = Some(Budget {
        spend: None,
        wall: wall.map(|most| Spanned::new(Millis(most), place)),
        tokens: tokens.map(|most| Spanned::new(TokenCount(most), place)),
    });
    lab
}

/// By the records of what the run worked.
fn taken(lab: &Lab, run: &str) -> u64 {
    let journal = directory::events(&lab.project, run).expect("the chain holds");
    let keys: std::collections::BTreeSet<Digest> = journal
        .iter()
        .filter_map(|(_, event)| if let RunEvent::ItemFinished { key, .. } = event { Some(*key) } else { None })
        .collect();
    let cost = |key| lab.project.store.lookup(key).expect("reads").expect("is there").cost.values().sum::<u64>();
    keys.iter().map(cost).sum()
}

fn resume_without(lab: &Lab, run: &str) -> RunOutcome {
    let (options, control) = (RunOptions { no_budget: true, ..RunOptions::default() }, Control::default());
    resume(&lab.project, run, &options, &control, &tick(), &mut |_| {}).expect("the run goes on")
}

#[test]
fn a_budget_of_tokens_is_never_passed_and_what_was_taken_is_remembered() {
    let free = small();
    let (_, whole) = free.start();
    let expected = taken(&free, "quickstart-1");
    for part in [expected / 2, expected - 500] {
        let lab = with_budget(Some(part), None);
        let (outcome, events) = lab.start();
        assert_eq!(outcome.end, RunEnd::Paused);
        assert!(matches!(events.last(), Some(RunEvent::RunPaused { reason: PauseReason::Budget })));
        let words = outcome.spent.expect("why it paused");
        let before = taken(&lab, &outcome.run);
        assert!(words.contains(&format!("{before} tokens of a budget of {part} tokens")), "{before}: {words}");
        assert!(before > 0 && before <= part, "{before} of {part}");

        // It goes on from what its journal says was taken: at once it pauses again.
        let (again, events) = lab.resume(&outcome.run);
        assert_eq!((again.end, again.spent.as_deref()), (RunEnd::Paused, Some(words.as_str())));
        assert!(!events.iter().any(|event| matches!(event, RunEvent::ItemFinished { .. })));

        let last = resume_without(&lab, &outcome.run);
        assert_eq!(last.end, RunEnd::Finished);
        let journal = directory::events(&lab.project, &outcome.run).expect("the chain holds");
        let all: Vec<RunEvent> = journal.into_iter().map(|(_, event)| event).collect();
        assert_eq!(results(&all), results(&whole));
    }
}

#[test]
fn what_is_cached_costs_nothing() {
    let mut lab = small();
    lab.start();
    lab.experiment.budget = with_budget(Some(1), None).experiment.budget;
    let (outcome, _) = lab.start();
    assert_eq!((outcome.end, outcome.spent), (RunEnd::Finished, None));
}

#[test]
fn a_budget_of_time_counts_every_sitting() {
    // The clock ticks once for each event and for each look at it.
    let lab = with_budget(None, Some(60));
    let (outcome, events) = lab.start();
    assert_eq!(outcome.end, RunEnd::Paused);
    assert!(events.len() > 10, "{}", events.len());
    let (again, events) = lab.resume(&outcome.run);
    assert_eq!(again.end, RunEnd::Paused);
    assert!(again.spent.expect("why").ends_with(" ms of a budget of 60 ms"));
    assert!(!events.iter().any(|event| matches!(event, RunEvent::ItemFinished { .. })));
    assert_eq!(resume_without(&lab, &outcome.run).end, RunEnd::Finished);
}

/// By all records of the store.
fn stored(lab: &Lab) -> u64 {
    let records = lab.project.store.records().expect("reads");
    records.iter().flat_map(|record| record.cost.values()).sum()
}

/// Killed between the store and the journal, and resumed: what no event names is counted all the same, once.
#[test]
fn what_was_made_and_not_told_is_counted_once() {
    let free = small();
    free.start();
    let part = taken(&free, "quickstart-1") / 2;
    let (_, calm) = with_budget(Some(part), None).start();
    let is_item = |event: &RunEvent| matches!(event, RunEvent::ItemFinished { .. });
    let last = calm.iter().rposition(is_item).expect("items");
    for lost in [1, 2, usize::MAX] {
        let lab = with_budget(Some(part), None);
        let mut seen = 0;
        let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            lab.start_with(&RunOptions::default(), &Control::default(), &mut |_| {
                seen += 1;
                if seen > last {
                    std::panic::resume_unwind(Box::new("killed"));
                }
            })
        }));
        assert!(crash.is_err());
        let path = lab.project.journal("quickstart-1");
        let journal = std::fs::read_to_string(&path).expect("reads");
        let mut lines: Vec<&str> = journal.split_inclusive('\n').collect();
        let mut untold = 0;
        while untold < lost && lines.last().is_some_and(|line| line.contains("\"item_finished\"")) {
            lines.pop();
            untold += 1;
        }
        assert!(untold > 0);
        std::fs::write(&path, lines.concat()).expect("writes");
        for _ in 0..2 {
            let (outcome, events) = lab.resume("quickstart-1");
            assert_eq!(outcome.end, RunEnd::Paused);
            let (words, all) = (outcome.spent.expect("why it paused"), stored(&lab));
            assert!(
                all <= part && words.contains(&format!("{all} tokens of a budget of {part} tokens")),
                "{all}: {words}"
            );
            assert!(events.iter().any(|event| matches!(event, RunEvent::ItemCached { .. })), "what was found is named");
        }
    }
}

/// Whose run paused in good order made nothing that it did not say.
#[test]
fn what_another_run_made_meanwhile_costs_nothing() {
    let free = small();
    free.start();
    let part = taken(&free, "quickstart-1") / 2;
    let mut lab = with_budget(Some(part), None);
    let (paused, _) = lab.start();
    lab.experiment.budget = None;
    assert_eq!(lab.start().0.end, RunEnd::Finished);
    assert_eq!(lab.resume(&paused.run).0.end, RunEnd::Finished);
}
