//! Turns ground truth into the answer that a perfect critic would give. Only for calibration and, under
//! `unstable(oracle)`, for training a critic.
//!
//! An integer on the scale `a..b` is `b` when the task is solved. Otherwise it lies below the threshold from which a
//! verdict is positive ([`answer::threshold`]), the higher the more of the task was done: `a + floor(progress · (t − a))`,
//! at most `t − 1`. So a true answer is positive if and only if the task is solved. `progress` is the environment's metric
//! of that name, 0 where it has none. A boolean is whether the task is solved.

use super::answer;
use super::judge;
use super::spec::{AnswerKind, AnswerSchema, AnswerValue, CriticKind, Verdict};
use super::template::{Scope, Template};
use super::trajectory::Trajectory;
use crate::env::{Labelled, Truth};
use crate::model::{Message, Role, TrainRow};

/// Whether `metric` says solved.
pub fn solved(truth: &Truth, metric: &str) -> bool {
    truth.get(metric).is_some_and(|value| *value >= 1.0)
}

/// The true answer.
pub fn truth_answer(truth: &Truth, metric: &str, schema: &AnswerSchema) -> Verdict {
    let solved = solved(truth, metric);
    let value = |kind: &AnswerKind| match *kind {
        AnswerKind::Bool => AnswerValue::Bool(solved),
        AnswerKind::Text => AnswerValue::Text(if solved { "all is done" } else { "not all is done" }.to_owned()),
        AnswerKind::Int { max, .. } if solved => AnswerValue::Int(max),
        AnswerKind::Int { min, max } => {
            let below = i128::from(answer::threshold(min, max)) - i128::from(min);
            let progress = truth.get("progress").copied().filter(|progress| progress.is_finite()).unwrap_or(0.0);
            let steps = (progress.clamp(0.0, 1.0) * below as f64).floor() as i128;
            // Between `min` and the threshold, so an `i64` again.
            AnswerValue::Int((i128::from(min) + steps.min(below - 1).max(0)) as i64)
        }
    };
    schema.fields.iter().map(|field| (field.name.clone(), value(&field.kind))).collect()
}

/// A labelled example as a conversation: the critic's question, and the true answer as the assistant's.
pub fn conversation(
    example: &Labelled,
    metric: &str,
    prompt: &Template,
    schema: &AnswerSchema,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Vec<Message> {
    let mut messages = judge::messages(prompt, answer::format(schema), scope(example), count_tokens);
    let truth = truth_answer(&example.truth, metric, schema);
    messages.push(Message::new(Role::Assistant, answer::write(&truth, schema)));
    messages
}

/// What a critic's prompt may name of a labelled example.
pub fn scope(example: &Labelled) -> Scope {
    Scope::new().task(&example.task).shown(CriticKind::Each, &[trajectory(example)])
}

/// A labelled example as a trajectory with these turns and no ids.
pub fn trajectory(example: &Labelled) -> Trajectory {
    let Labelled { task, turns, ended, truth: _ } = example;
    let turn_of = |role: Role| turns.iter().filter(move |turn| turn.role == role);
    let calls = turn_of(Role::Tool).count();
    Trajectory {
        task: task.id.clone(),
        sample: 0,
        prompt_len: 0,
        row: TrainRow { tokens: Vec::new(), learn: Vec::new() },
        steps: turn_of(Role::Assistant).count() as u32,
        calls: calls as u32,
        actions: turn_of(Role::Assistant)
            .take(calls)
            .map(|turn| turn.content.replace('\n', " "))
            .collect::<Vec<_>>()
            .join("\n"),
        ended: *ended,
        truncated: false,
        error: turn_of(Role::Tool).any(|turn| turn.content.starts_with("error:")),
        logprob: 0.0,
        messages: turns.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Task;
    use crate::node::spec::AnswerField;
    use crate::node::template::{Filter, Piece, TemplateMessage};

    fn schema(kind: AnswerKind) -> AnswerSchema {
        AnswerSchema { fields: vec![AnswerField { name: "score".to_owned(), kind, expectation: false }] }
    }

    fn truth(success: f64, progress: f64) -> Truth {
        Truth::from_iter([("success".to_owned(), success), ("progress".to_owned(), progress)])
    }

    fn label(success: f64, progress: f64, min: i64, max: i64) -> i64 {
        let schema = schema(AnswerKind::Int { min, max });
        let verdict = truth_answer(&truth(success, progress), "success", &schema);
        match *verdict.get("score").unwrap() {
            AnswerValue::Int(score) => score,
            _ => unreachable!(),
        }
    }

    #[test]
    fn the_solved_get_the_top_and_others_by_what_they_did() {
        let labels: Vec<i64> = [0.0, 0.3, 0.34, 0.6, 0.67, 0.99, 1.0].map(|progress| label(0.0, progress, 0, 4)).into();
        assert_eq!(labels, [0, 0, 1, 1, 2, 2, 2]);
        assert_eq!((label(1.0, 0.0, 0, 4), label(1.0, 1.0, 1, 5), label(0.0, 0.5, 1, 5)), (4, 5, 2));
        assert_eq!((label(0.0, f64::NAN, 0, 4), label(0.0, 9.0, 0, 1), label(0.0, 0.5, 3, 3)), (0, 0, 3));
        assert_eq!(label(0.0, 1.0, i64::MIN, i64::MAX).signum(), 1);
    }

    #[test]
    fn a_true_answer_passes_if_and_only_if_it_is_solved() {
        for (min, max) in [(0, 4), (1, 5), (0, 1), (-3, 3), (0, 100)] {
            let schema = schema(AnswerKind::Int { min, max });
            for (success, progress) in [(0.0, 0.0), (0.0, 0.75), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)] {
                let truth = truth(success, progress);
                let verdict = truth_answer(&truth, "success", &schema);
                assert_eq!(answer::passes(&verdict, &schema), Some(success == 1.0), "{min}..{max} {truth:?}");
            }
        }
        let verdict = truth_answer(&truth(1.0, 0.0), "success", &schema(AnswerKind::Bool));
        assert_eq!(verdict.get("score"), Some(&AnswerValue::Bool(true)));
        assert!(!solved(&Truth::new(), "success") && !solved(&truth(0.5, 1.0), "success"));
    }

    #[test]
    fn a_labelled_example_becomes_the_critics_own_conversation() {
        let turns = vec![
            Message::new(Role::Assistant, "call x"),
            Message::new(Role::Tool, "ok"),
            Message::new(Role::Assistant, "Done."),
        ];
        let task = Task { id: "v".to_owned(), fields: serde_json::Map::new(), hidden: serde_json::Value::Null.into() };
        let example = Labelled { task, turns, ended: true, truth: truth(0.0, 0.5) };
        let value = |path: &[&str], filters: Vec<Filter>| Piece::Value {
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            filters,
        };
        let pieces = vec![
            value(&["traj"], vec![Filter::Transcript { max_tokens: None }]),
            Piece::Text("\n".to_owned()),
            value(&["answer", "format"], Vec::new()),
        ];
        let prompt = crate::node::template::Template { messages: vec![TemplateMessage { role: Role::User, pieces }] };
        let schema = schema(AnswerKind::Int { min: 0, max: 4 });
        let messages = conversation(&example, "success", &prompt, &schema, &|text| text.len());
        assert_eq!(messages[0].content, "> call x\n< ok\n> Done.\nAnswer with one line: score: 0 to 4");
        assert_eq!(messages[1], Message::new(Role::Assistant, "score: 1"));
        assert_eq!(
            answer::parse(&messages[1].content, &schema, &[]),
            Ok(truth_answer(&example.truth, "success", &schema))
        );
    }
}
