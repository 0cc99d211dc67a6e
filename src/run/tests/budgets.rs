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
