//! Nodes that start a second time: what was said of them, and of what follows from them, counts no more.

use super::failures::tolerating;
use super::faults::Faults;
use super::*;
use crate::base::Seed;
use crate::node::key::item_seed;
use crate::run::PauseReason;
use crate::run::verify::Level;
use crate::run::verify::tests::{RUN, look, manifest, rewrite};

fn starts(node: &str) -> (u64, RunEvent) {
    (0, RunEvent::NodeStarted { node: node.to_owned(), items: 1, cached: 0 })
}

fn ends(event: &RunEvent, of: &str) -> bool {
    matches!(event, RunEvent::NodeFinished { node, .. } if node == of)
}

/// Forgotten, begun again and killed, while another run makes what it would have made.
#[test]
fn a_node_that_was_begun_again_is_told_again_with_all_that_follows() {
    let lab = Lab::new(2);
    let (_, whole) = lab.start();
    for node in ["rollout@1", "judge@1", "train@1", "gate@1"] {
        rewrite(&lab, |events| {
            let done = events.iter().position(|(_, event)| ends(event, "select@2")).expect("it was done");
            events.truncate(done + 1);
            events.push((0, RunEvent::RunPaused { reason: PauseReason::Interrupt }));
            events.push((0, RunEvent::RunResumed { run: RUN.to_owned() }));
            events.push(starts(node));
        });
        let verified = look(&lab, Level::Remade, 1.0);
        assert!(verified.holds(), "{node}: {verified:#?}");
        let (outcome, rest) = lab.resume(RUN);
        assert_eq!(outcome.end, RunEnd::Finished);
        assert!(rest.iter().any(|event| ends(event, node)), "{node} does not end");
        assert!(
            !rest.iter().any(|event| matches!(event, RunEvent::ItemFinished { .. })),
            "{node}: all is in the store"
        );
        let events = directory::events(&lab.project, RUN).expect("the chain holds");
        let all: Vec<RunEvent> = events.into_iter().map(|(_, event)| event).collect();
        assert_eq!(results(&all), results(&whole), "{node}");
        let verified = look(&lab, Level::Remade, 1.0);
        assert!(verified.holds(), "{node}: {verified:#?}");
    }
}

#[test]
fn a_finished_run_says_what_came_of_each_node() {
    let nodes = ["evaluate:test", "gate@1", "train@2", "rollout@1"];
    for node in nodes {
        let lab = Lab::new(2);
        lab.start();
        rewrite(&lab, |events| events.insert(events.len() - 1, starts(node)));
        let verified = look(&lab, Level::Keyed, 1.0);
        let said =
            |it: &&crate::run::verify::Finding| it.node.as_deref() == Some(node) && it.what.contains("what came of it");
        assert!(verified.findings().any(|it| said(&it)), "{node}: {verified:#?}");
    }
    let lab = Lab::new(2);
    lab.start();
    rewrite(&lab, |events| events.retain(|(_, event)| !ends(event, "audit@1")));
    assert!(!look(&lab, Level::Keyed, 1.0).holds(), "an end that is left out");
}

/// What waits for a gate reads nothing of it: an evaluation that is begun again takes back what the gate let happen.
#[test]
fn what_waits_for_a_gate_is_told_again_with_it() {
    let mut lab = Lab::new(2);
    let mut evaluations = 0;
    for statement in sample::body(&mut lab.experiment) {
        if let Statement::Evaluate { sampling, tolerance, .. } = statement {
            (sampling.temperature, *tolerance, evaluations) = (1.0, tolerating(1), evaluations + 1);
        }
    }
    assert_eq!(evaluations, 1, "of each iteration");
    let env = Env::open(&lab.experiment.envs[0].it, &crate::model::Wire::default()).expect("the desk is built in");
    let task = env.task("dev", 0);
    let first = item_seed(Seed(lab.experiment.seed), "evaluate", 0, &task.id, 0).derive(0u32);
    let faulty = || Faults::of(vec![(first, Faults::ALWAYS)]);
    assert_eq!(faulty().among(|| lab.start()).0.end, RunEnd::Finished);
    assert_eq!(manifest(&lab, "evaluate:dev@2").missing.len(), 1);
    rewrite(&lab, |events| {
        events.push((0, RunEvent::RunResumed { run: RUN.to_owned() }));
        events.push(starts("evaluate:dev@1"));
    });
    let verified = faulty().among(|| look(&lab, Level::Remade, 1.0));
    assert!(verified.holds(), "{verified:#?}");
    assert_eq!(lab.resume(RUN).0.end, RunEnd::Finished);
    let verified = look(&lab, Level::Remade, 1.0);
    assert!(verified.holds(), "{verified:#?}");
    assert!(manifest(&lab, "evaluate:dev@2").missing.is_empty());
}
