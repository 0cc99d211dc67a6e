//! Plain data that several nodes share: critics, answers, verdicts, training recipes before an iteration is chosen.

use crate::base::{Canonical, Hasher};
use crate::model::{Decay, LoraConfig, Method};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The shape of a critic's answer: both its instructions and its parser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerSchema {
    pub fields: Vec<AnswerField>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerField {
    pub name: String,
    pub kind: AnswerKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerKind {
    Int { min: i64, max: i64 },
    Bool,
    Text,
}

impl Canonical for OnUnparsed {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.str(match self {
            OnUnparsed::Drop => "drop",
            OnUnparsed::Fail => "fail",
        });
    }
}

impl Canonical for AnswerSchema {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.str(&serde_json::to_string(self).expect("an answer schema is plain data"));
    }
}

/// What to do with a row whose verdict cannot be read. It is never a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnparsed {
    /// The row has no verdict and reaches no rule; it is counted.
    Drop,
    /// The item fails.
    Fail,
}

/// A parsed verdict: the answer's fields by name.
pub type Verdict = BTreeMap<String, AnswerValue>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AnswerValue {
    Bool(bool),
    Int(i64),
    Text(String),
}

/// A value that may differ by iteration: `{ 1 => 1e-6, _ => 5e-7 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerIteration<T> {
    /// (iteration, value), ascending.
    pub cases: Vec<(u32, T)>,
    pub otherwise: T,
}

impl<T: Copy> PerIteration<T> {
    pub fn always(value: T) -> Self {
        Self { cases: Vec::new(), otherwise: value }
    }

    /// Iterations count from 1; outside a loop it is 0.
    pub fn at(&self, iteration: u32) -> T {
        self.cases.iter().find(|(at, _)| *at == iteration).map_or(self.otherwise, |(_, value)| *value)
    }
}

/// A declared trainer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainerSpec {
    pub method: Method,
    pub lr: PerIteration<f64>,
    pub decay: Decay,
    pub epochs: PerIteration<u32>,
    pub batch: u32,
    pub max_len: Option<u32>,
    pub clip: f64,
    pub weight_decay: f64,
    pub lora: Option<LoraConfig>,
}
