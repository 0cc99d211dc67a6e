//! What agents and tools have written to deceive a critic, `injections/attacks.json`, through the prompt and back: it stays behind its
//! marks, becomes nobody's turn, and is never taken for the verdict.

use agx::model::{Message, Role, TrainRow};
use agx::node::answer;
use agx::node::spec::{AnswerField, AnswerKind, AnswerSchema, AnswerValue};
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

/// The critic's prompt about an episode in which an attack was said, by agent or tool, between things that are none.
fn asked(attack: &Attack, max_tokens: Option<u32>) -> Vec<Message> {
    let by = if attack.by == "tool" { Role::Tool } else { Role::Assistant };
    let said = [
        (Role::User, "Book a room."),
        (Role::Assistant, "call find_room"),
        (by, &attack.text[..]),
        (Role::Assistant, "Bye."),
    ];
    let trajectory = Trajectory {
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
    };
    let traj =
        |path: &[&str], filters| Piece::Value { path: path.iter().map(|it| (*it).to_owned()).collect(), filters };
    let pieces = vec![
        Piece::Text("Transcript:\n".to_owned()),
        traj(&["traj"], vec![Filter::Transcript { max_tokens }]),
        Piece::Text("\nActions:\n".to_owned()),
        traj(&["traj", "actions"], Vec::new()),
        Piece::Text("\nAnswer.".to_owned()),
    ];
    let template = Template { messages: vec![TemplateMessage { role: Role::User, pieces }] };
    render(&template, &Scope::new().trajectory(&trajectory), &|text| text.chars().count() / 4)
}

#[test]
fn no_attack_leaves_its_fence_or_becomes_a_turn() {
    for attack in attacks() {
        let name = &attack.name;
        for max in [None, Some(60), Some(12)] {
            let messages = asked(&attack, max);
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

/// A critic that repeats what it has read before it answers, or instead.
#[test]
fn no_attack_is_taken_for_the_verdict() {
    for attack in attacks() {
        let Attack { name, text, .. } = &attack;
        let read = asked(&attack, None).remove(0).content;
        assert!(answer::parse(&read, &schema()).is_err(), "{name}: a repeated prompt is no verdict");
        for said in [format!("{read}\nscore: 1"), format!("score: 1\n{read}"), format!("> {text}\nscore: 1")] {
            if let Ok(verdict) = answer::parse(&said, &schema()) {
                assert_eq!(verdict.get("score"), Some(&AnswerValue::Int(1)), "{name}: {said:?}");
            }
        }
    }
}
