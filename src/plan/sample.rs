//! The quickstart as the checker would hand it over, small, for the tests of this floor and the next.

use crate::base::{Digest, Hasher};
use crate::env::{EnvKind, EnvSpec, Split};
use crate::experiment::*;
use crate::model::{Decay, Device, Dtype, LossOn, Method, ModelSpec, Role, Sampling, Source, ToolCalls, ToolFormat};
use crate::node::spec::{
    AnswerField, AnswerKind, AnswerSchema, CriticKind, OnUnparsed, PerIteration, TrainerSpec, Votes,
};
use crate::node::template::{Filter, Piece, Template, TemplateMessage};
use crate::node::tolerance::Tolerance;
use crate::plan::Identities;
use crate::select::{BinaryOp, Column, Expr, Otherwise, Rule, Stage, Ties};
use std::path::{Path, PathBuf};

pub fn named<T>(name: &str, it: T) -> Named<T> {
    Named { name: name.to_owned(), it }
}

fn model(path: PathBuf, context: u32) -> ModelSpec {
    ModelSpec {
        source: Source::Scripted(path),
        adapter: None,
        context,
        dtype: Dtype::F32,
        device: Device::Auto,
        lora: None,
        tool_format: ToolFormat::Lines,
        tool_calls: ToolCalls::Drawn,
    }
}

fn template(pieces: Vec<Piece>) -> Template {
    Template { messages: vec![TemplateMessage { role: Role::User, pieces }] }
}

fn value(path: &[&str], filters: Vec<Filter>) -> Piece {
    Piece::Value { path: path.iter().map(|part| (*part).to_owned()).collect(), filters }
}

pub fn metric(name: &str, metric: &str) -> MetricRef {
    MetricRef { name: name.to_owned(), metric: metric.to_owned() }
}

pub fn rows(name: &str) -> RowsRef {
    RowsRef { name: name.to_owned(), all_iterations: false }
}

pub fn evaluate(name: Option<&str>, split: &str, version: Version) -> Statement {
    Statement::Evaluate {
        name: name.map(str::to_owned),
        model: ModelRef { model: ModelId(0), version },
        env: EnvId(0),
        split: split.to_owned(),
        prompt: PromptId(0),
        samples: 1,
        sampling: Sampling::greedy(64),
        best_by: None,
        tolerance: Tolerance::default(),
    }
}

/// Scripts are read from `policy.json` and `critic.json` in the directory.
pub fn quickstart(directory: &Path, times: u32) -> Experiment {
    let split = |name: &str, size, held_out| Split { name: name.to_owned(), size, held_out };
    let score = Expr::Column(Column::Answer("score".to_owned()));
    let at_least = Expr::Binary { op: BinaryOp::Ge, left: Box::new(score.clone()), right: Box::new(Expr::Number(3.0)) };
    let rule = Rule {
        stages: vec![
            Stage::Where { condition: at_least },
            Stage::Top { share: 0.4, per_task: false, by: score, ties: Ties::Keep },
            Stage::Require { count: 1, otherwise: Otherwise::Fail },
        ],
    };
    let offered = |offer: &str, count| Dataset::Offered { env: EnvId(0), offer: offer.to_owned(), count };
    let body = vec![
        Statement::Rollout {
            name: "trajs".to_owned(),
            model: ModelRef { model: ModelId(0), version: Version::Newest },
            env: EnvId(0),
            split: "train".to_owned(),
            prompt: PromptId(0),
            samples: 2,
            sampling: PerIteration::always(Sampling::drawn(64)),
            stream: 0,
            tolerance: Tolerance::default(),
        },
        Statement::Judge {
            name: "graded".to_owned(),
            rows: rows("trajs"),
            critic: CriticId(0),
            tolerance: Tolerance::default(),
        },
        Statement::Select { name: "kept".to_owned(), rows: rows("graded"), rule: PerIteration::always(RuleId(0)) },
        Statement::Audit { rows: rows("kept"), metric: "success".to_owned() },
        Statement::Train {
            model: ModelId(0),
            on: TrainData::Rows(rows("kept")),
            mixed: vec![Mixed { share: 0.25, dataset: DatasetId(0) }],
            trainer: TrainerId(0),
            from: Version::Newest,
            reference: None,
        },
        evaluate(Some("dev"), "dev", Version::Newest),
    ];
    Experiment {
        name: "quickstart".to_owned(),
        doc: "Critic-supervised iterative training at your desk.".to_owned(),
        seed: 7,
        budget: None,
        unstable: Vec::new(),
        envs: vec![named(
            "desk",
            EnvSpec {
                kind: EnvKind::Desk,
                splits: vec![split("train", 6, false), split("dev", 9, false), split("test", 6, true)],
                max_steps: 6,
            },
        )],
        datasets: vec![named("general", offered("dialogues", 8)), named("verdicts", offered("verdicts", 6))],
        models: vec![
            named("policy", model(directory.join("policy.json"), 4096)),
            named("grader_lm", model(directory.join("critic.json"), 4096)),
        ],
        prompts: vec![
            named("act", template(vec![value(&["task", "request"], Vec::new())])),
            named(
                "grade",
                template(vec![
                    Piece::Text("Request: ".to_owned()),
                    value(&["task", "request"], Vec::new()),
                    Piece::Text("\n".to_owned()),
                    value(&["traj"], vec![Filter::Transcript { max_tokens: Some(400) }]),
                    Piece::Text("\n".to_owned()),
                    value(&["answer", "format"], Vec::new()),
                ]),
            ),
        ],
        critics: vec![named(
            "grader",
            Critic::Sole(Sole {
                model: ModelId(1),
                prompt: PromptId(1),
                answer: AnswerSchema {
                    fields: vec![AnswerField {
                        name: "score".to_owned(),
                        kind: AnswerKind::Int { min: 0, max: 4 },
                        expectation: false,
                    }],
                },
                on_unparsed: OnUnparsed::Drop,
                sampling: Sampling::greedy(16),
                kind: CriticKind::Each,
                votes: Votes::ONE,
            }),
        )],
        rules: vec![named("good", rule)],
        trainers: vec![named(
            "sft",
            TrainerSpec {
                method: PerIteration::always(Method::Sft { loss_on: LossOn::Agent }),
                lr: PerIteration::always(1e-3),
                decay: PerIteration::always(Decay::Constant { warmup: 0.0 }),
                epochs: PerIteration::always(3),
                batch: PerIteration::always(32),
                accumulate: 1,
                recompute: false,
                command: None,
                max_len: None,
                clip: 1.0,
                weight_decay: 0.0,
                lora: None,
            },
        )],
        schedule: vec![
            Statement::Calibrate { critic: CriticId(0), dataset: DatasetId(1) },
            evaluate(Some("base"), "dev", Version::Newest),
            Statement::Repeat {
                times,
                index: "i".to_owned(),
                body,
                until: Some(Until::Stalls {
                    metric: metric("dev", "success"),
                    rounds: 2,
                    by: 0.01,
                    since: Some("base".to_owned()),
                }),
            },
            Statement::Pick {
                name: "winner".to_owned(),
                model: ModelId(0),
                by: metric("dev", "success"),
                including: vec!["base".to_owned()],
            },
            evaluate(None, "test", Version::Picked("winner".to_owned())),
        ],
        report: Vec::new(),
    }
}

/// The statements of the one `repeat`.
pub fn body(experiment: &mut Experiment) -> &mut Vec<Statement> {
    let found = experiment.schedule.iter_mut().find_map(|statement| match statement {
        Statement::Repeat { body, .. } => Some(body),
        _ => None,
    });
    found.expect("the sample has a loop")
}

pub fn until(experiment: &mut Experiment) -> &mut Option<Until> {
    let found = experiment.schedule.iter_mut().find_map(|statement| match statement {
        Statement::Repeat { until, .. } => Some(until),
        _ => None,
    });
    found.expect("the sample has a loop")
}

/// As if the files behind the declarations were these.
pub fn identities(experiment: &Experiment) -> Identities {
    let digest = |kind: &str, at: usize| Hasher::new("sample").str(kind).put(&at).finish();
    let all = |kind: &str, count: usize| -> Vec<Digest> { (0..count).map(|at| digest(kind, at)).collect() };
    Identities {
        envs: all("env", experiment.envs.len()),
        models: all("model", experiment.models.len()),
        datasets: all("dataset", experiment.datasets.len()),
    }
}
