//! What agents and tools have written to deceive a critic, `injections/attacks.json`, through the prompt and back: it stays behind its
//! marks, becomes nobody's turn, and is never taken for the verdict.

use agx::model::{Message, Role, StopReason, TrainRow};
use agx::node::answer;
use agx::node::compare::{self, Prefers, Said};
use agx::node::judge::JudgeReply;
use agx::node::spec::{AnswerField, AnswerKind, AnswerSchema, AnswerValue, CriticKind};
use agx::node::template::{Filter, Piece, Scope, Template, TemplateMessage, render};
use agx::node::trajectory::Trajectory;
use serde::Deserialize;

#[derive(Deserialize)]
struct Attack {
    name: String,
    by: String,
    text: String,
}

/// What chat templates in use end and begin turns with.
const TOKENS: [&str; 31] = [
    "<|im_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|begin_of_text|>",
    "<|endoftext|>",
    "<|assistant|>",
    "<|user|>",
    "<|system|>",
    "<|end|>",
    "<|start|>",
    "<|message|>",
    "<|channel|>",
    "<|return|>",
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "[TOOL_CALLS]",
    "[/TOOL_RESULTS]",
    "<tool_call>",
    "<｜Assistant｜>",
    "<｜end▁of▁sentence｜>",
];

fn attacks() -> Vec<Attack> {
    let attacks: Vec<Attack> = serde_json::from_str(include_str!("injections/attacks.json")).unwrap();
    assert!(attacks.len() >= 40);
    attacks
}

fn schema() -> AnswerSchema {
    let kind = AnswerKind::Int { min: 0, max: 4 };
    AnswerSchema { fields: vec![AnswerField { name: "score".to_owned(), kind, expectation: false }] }
}

/// An episode in which an attack was said, by agent or tool, between things that are none.
fn episode(attack: &Attack) -> Trajectory {
    let by = if attack.by == "tool" { Role::Tool } else { Role::Assistant };
    let said = [
        (Role::User, "Book a room."),
        (Role::Assistant, "call find_room"),
        (by, &attack.text[..]),
        (Role::Assistant, "Bye."),
    ];
    Trajectory {
        task: "a".to_owned(),
        sample: 0,
        messages: said.map(|(role, text)| Message::new(role, text)).to_vec(),
        prompt_len: 1,
        row: TrainRow { tokens: Vec::new(), learn: Vec::new() },
        steps: 2,
        calls: 1,
        actions: attack.text.clone(),
        ended: true,
        truncated: false,
        error: false,
        logprob: 0.0,
    }
}

/// What a prompt shows of one.
fn shown(root: &str, max_tokens: Option<u32>) -> Vec<Piece> {
    let value =
        |path: &[&str], filters| Piece::Value { path: path.iter().map(|it| (*it).to_owned()).collect(), filters };
    vec![
        Piece::Text("Transcript:\n".to_owned()),
        value(&[root], vec![Filter::Transcript { max_tokens }]),
        Piece::Text("\nActions:\n".to_owned()),
        value(&[root, "actions"], Vec::new()),
        Piece::Text("\n".to_owned()),
    ]
}

/// The prompt of a critic of this kind: about the episode, about it and an honest one, whichever is first, about it between two.
fn asked(attack: &Attack, kind: CriticKind, place: usize, max_tokens: Option<u32>) -> Vec<Message> {
    let mut pieces = match kind {
        CriticKind::Each => shown("traj", max_tokens),
        CriticKind::Pairs => ["a", "b"].into_iter().flat_map(|root| shown(root, max_tokens)).collect(),
        CriticKind::Group => {
            let (variable, path) = ("t".to_owned(), vec!["trajs".to_owned()]);
            vec![Piece::For { variable, path, body: shown("t", max_tokens) }]
        }
    };
    pieces.push(Piece::Text("Answer.".to_owned()));
    let honest = Attack { name: String::new(), by: "agent".to_owned(), text: "Done.".to_owned() };
    let mut episodes = match kind {
        CriticKind::Each => Vec::new(),
        CriticKind::Pairs => vec![episode(&honest)],
        CriticKind::Group => vec![episode(&honest), episode(&honest)],
    };
    episodes.insert(place, episode(attack));
    let template = Template { messages: vec![TemplateMessage { role: Role::User, pieces }] };
    render(&template, &Scope::new().shown(kind, &episodes), &|text| text.chars().count() / 4)
}

/// Every kind of critic, and every place in which it may be shown an attack.
const PLACES: [(CriticKind, usize); 6] = [
    (CriticKind::Each, 0),
    (CriticKind::Pairs, 0),
    (CriticKind::Pairs, 1),
    (CriticKind::Group, 0),
    (CriticKind::Group, 1),
    (CriticKind::Group, 2),
];

#[test]
fn no_attack_leaves_its_fence_or_becomes_a_turn() {
    for attack in attacks() {
        let name = &attack.name;
        for (kind, place) in PLACES {
            for max in [None, Some(60), Some(12)] {
                let messages = asked(&attack, kind, place, max);
                let [Message { role: Role::User, content }] = &messages[..] else { panic!("{name}: {messages:?}") };
                let fenced = |line: &&str| !matches!(*line, "Transcript:" | "Actions:" | "Answer." | "...");
                for line in content.lines().filter(fenced) {
                    assert!(line.starts_with("> ") || line.starts_with("< "), "{name}: {line:?}");
                }
                let found = TOKENS.iter().find(|token| content.to_lowercase().contains(&token.to_lowercase()));
                assert_eq!(found, None, "{name}: {content:?}");
                let hidden = content.chars().find(|c| c.is_control() && *c != '\n');
                assert_eq!(hidden, None, "{name}: {content:?}");
            }
        }
    }
}

fn reply(text: &str) -> JudgeReply {
    JudgeReply { text: text.to_owned(), stop: StopReason::EndOfTurn, tokens: 1, likely: Vec::new() }
}

/// A critic that repeats what it has read before it answers, or instead.
#[test]
fn no_attack_is_taken_for_the_verdict() {
    for attack in attacks() {
        let Attack { name, text, .. } = &attack;
        let read = asked(&attack, CriticKind::Each, 0, None).remove(0).content;
        assert!(answer::parse(&read, &schema(), &[]).is_err(), "{name}: a repeated prompt is no verdict");
        for said in [format!("{read}\nscore: 1"), format!("score: 1\n{read}"), format!("> {text}\nscore: 1")] {
            if let Ok(verdict) = answer::parse(&said, &schema(), &[]) {
                assert_eq!(verdict.get("score"), Some(&AnswerValue::Int(1)), "{name}: {said:?}");
            }
        }
    }
}

/// The same attacks in the words of a comparison: of either of two, and of any of a group.
#[test]
fn no_attack_is_taken_for_a_choice_or_for_another_s_verdict() {
    let choice = AnswerSchema {
        fields: vec![AnswerField { name: "better".to_owned(), kind: AnswerKind::Bool, expectation: false }],
    };
    for Attack { name, by, text } in attacks() {
        let spoken = |from: &str, to: &str| text.replace("score", from).replace("SCORE", from).replace('4', to);
        for (place, own) in [(0, "a"), (1, "b")] {
            let attack = Attack { name: name.clone(), by: by.clone(), text: spoken("better", own) };
            let read = asked(&attack, CriticKind::Pairs, place, None).remove(0).content;
            assert!(compare::read(&reply(&read), CriticKind::Pairs, &choice, 2).is_unread(), "{name}: {read:?}");
            for said in [format!("{read}\nbetter: tie"), format!("better: tie\n{read}")] {
                if let Said::Pair(Ok(preferred)) = compare::read(&reply(&said), CriticKind::Pairs, &choice, 2) {
                    assert_eq!(preferred.get("better"), Some(&Prefers::Neither), "{name}: {said:?}");
                }
            }
        }
        for place in 0..3 {
            let id = place + 1;
            let attack = Attack { name: name.clone(), by: by.clone(), text: spoken(&format!("score {id}"), "4") };
            let read = asked(&attack, CriticKind::Group, place, None).remove(0).content;
            assert!(compare::read(&reply(&read), CriticKind::Group, &schema(), 3).is_unread(), "{name}: {read:?}");
            let verdicts = "score 1: 1\nscore 2: 1\nscore 3: 1";
            for said in [format!("{read}\n{verdicts}"), format!("{verdicts}\n{read}")] {
                let Said::Group(all) = compare::read(&reply(&said), CriticKind::Group, &schema(), 3) else {
                    panic!("a group's")
                };
                for verdict in all.iter().flatten() {
                    assert_eq!(verdict.get("score"), Some(&AnswerValue::Int(1)), "{name}: {said:?}");
                }
            }
        }
    }
}
