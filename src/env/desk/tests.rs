use super::*;
use crate::env::call::render;
use crate::env::{Action, Env, EnvKind};
use crate::model::ToolFormat;

fn desk() -> Env {
    let split = |name: &str, size, held_out| Split { name: name.to_owned(), size, held_out };
    let splits = vec![split("train", 400, false), split("dev", 200, false), split("test", 400, true)];
    Env::open(&EnvSpec { kind: EnvKind::Desk, splits, max_steps: 6 })
}

#[test]
fn the_expert_solves_every_task() {
    let desk = desk();
    for split in ["train", "dev", "test"] {
        for task in desk.tasks(split) {
            let mut episode = desk.start(&task);
            let mut done = false;
            for action in expert(&task) {
                let observation = episode.step(&action);
                done = observation.done;
                assert!(!observation.text.starts_with("error"), "{task:?}\n{action:?}\n{}", observation.text);
            }
            assert!(done && episode.truth()["success"] == 1.0, "{task:?}\n{:?}", episode.truth());
        }
    }
}

#[test]
fn all_text_is_of_the_lexicon() {
    let known: std::collections::BTreeSet<String> = lexicon().into_iter().collect();
    println!("{} words", known.len());
    let desk = desk();
    let mut unknown = std::collections::BTreeSet::new();
    let mut look = |text: &str| {
        unknown
            .extend(lexicon::words(text).into_iter().filter(|&w| w != "\n" && !known.contains(w)).map(str::to_owned));
    };
    for offer in ["lessons", "dialogues", "demos", "verdicts"] {
        desk.examples(offer, 2000)
            .iter()
            .flat_map(|example| &example.messages)
            .for_each(|message| look(&message.content));
    }
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
#[ignore = "prints samples to read"]
fn samples() {
    let desk = desk();
    for task in desk.tasks("test").iter().take(14) {
        println!("--- {}: {}", task.id, task.fields["request"]);
        let mut episode = desk.start(task);
        for action in expert(task) {
            let text = match &action {
                Action::Call(call) => render(call, ToolFormat::Lines).replace('\n', " | "),
                Action::Answer(text) | Action::Unreadable(text) => text.clone(),
            };
            println!("    {text} -> {}", episode.step(&action).text);
        }
    }
    for offer in ["lessons", "dialogues", "verdicts"] {
        let examples = desk.examples(offer, 2000);
        let tokens: usize =
            examples.iter().flat_map(|e| &e.messages).map(|m| lexicon::words(&m.content).len() + 2).sum();
        println!("=== {offer}: {} tokens a conversation", tokens / examples.len());
        for example in &examples[..8] {
            println!("---");
            example.messages[1..].iter().for_each(|m| println!("{:?}: {}", m.role, m.content.replace('\n', " | ")));
            if let Some(labelled) = &example.labelled {
                println!("{:?}", labelled.truth);
            }
        }
    }
    let right =
        desk.examples("verdicts", 2000).iter().filter(|e| e.labelled.as_ref().unwrap().truth["success"] == 1.0).count();
    println!("{right} of 2000 verdicts are successes");
}
