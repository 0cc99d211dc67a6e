//! Plain data that several nodes share: critics, answers, verdicts, training recipes before an iteration is chosen.

use crate::base::{Canonical, Hasher};
use crate::model::{Decay, LoraConfig, Method};
use litemap::LiteMap;
use serde::{Deserialize, Serialize};

/// The shape of a critic's answer: both its instructions and its parser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerSchema {
    pub fields: Vec<AnswerField>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerField {
    pub name: String,
    pub kind: AnswerKind,
    /// `by expectation`: the scale's values weighted by the model's probability of each.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expectation: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerKind {
    Int { min: i64, max: i64 },
    Bool,
    Text,
}

/// What one verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CriticKind {
    /// One trajectory.
    Each,
    /// Two of one task, in both orders.
    Pairs,
    /// All samples of a task.
    Group,
}

impl CriticKind {
    /// What its prompt shows, by the names that a template has for it.
    pub fn shows(self) -> &'static [&'static str] {
        match self {
            CriticKind::Each => &["traj"],
            CriticKind::Pairs => &["a", "b"],
            CriticKind::Group => &["trajs"],
        }
    }
}

/// How several numbers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Joined {
    Mean,
    Median,
    Majority,
    Min,
    Max,
}

impl Joined {
    pub fn as_str(self) -> &'static str {
        match self {
            Joined::Mean => "mean",
            Joined::Median => "median",
            Joined::Majority => "majority",
            Joined::Min => "min",
            Joined::Max => "max",
        }
    }

    /// Whether whole numbers become whole numbers.
    pub fn stays_whole(self) -> bool {
        matches!(self, Joined::Majority | Joined::Min | Joined::Max)
    }
}

/// How often a row is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Votes {
    pub count: u32,
    pub by: Joined,
}

impl Votes {
    pub const ONE: Self = Self { count: 1, by: Joined::Mean };
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

/// A parsed verdict: the answer's fields by name; one at least.
pub type Verdict = LiteMap<String, AnswerValue>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AnswerValue {
    Bool(bool),
    Int(i64),
    /// What several whole numbers have become.
    Number(f64),
    Text(String),
}

impl AnswerValue {
    /// Its number; of a boolean 0 or 1, of a text none.
    pub fn figure(&self) -> Option<f64> {
        match self {
            AnswerValue::Bool(value) => Some(f64::from(u8::from(*value))),
            AnswerValue::Int(value) => Some(*value as f64),
            AnswerValue::Number(value) => Some(*value),
            AnswerValue::Text(_) => None,
        }
    }
}

/// A value that may differ by iteration: `{ 1 => 1e-6, _ => 5e-7 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerIteration<T> {
    /// (iteration, value), ascending.
    pub cases: Vec<(u32, T)>,
    pub otherwise: T,
}

impl<T: Clone> PerIteration<T> {
    pub fn always(value: T) -> Self {
        Self { cases: Vec::new(), otherwise: value }
    }

    /// Both values of each iteration.
    pub fn with<U: Clone>(&self, other: &PerIteration<U>) -> PerIteration<(T, U)> {
        let mut at: Vec<u32> =
            self.cases.iter().map(|(at, _)| *at).chain(other.cases.iter().map(|(at, _)| *at)).collect();
        at.sort_unstable();
        at.dedup();
        let cases = at.into_iter().map(|at| (at, (self.at(at), other.at(at)))).collect();
        PerIteration { cases, otherwise: (self.otherwise.clone(), other.otherwise.clone()) }
    }

    pub fn map<U>(self, make: impl Fn(T) -> U) -> PerIteration<U> {
        let cases = self.cases.into_iter().map(|(at, value)| (at, make(value))).collect();
        PerIteration { cases, otherwise: make(self.otherwise) }
    }

    /// Every value that may hold.
    pub fn values(&self) -> impl Iterator<Item = T> {
        self.cases.iter().map(|(_, value)| value.clone()).chain([self.otherwise.clone()])
    }

    /// Iterations count from 1; outside a loop it is 0.
    pub fn at(&self, iteration: u32) -> T {
        self.cases.iter().find(|(at, _)| *at == iteration).map_or(&self.otherwise, |(_, value)| value).clone()
    }
}

/// A declared trainer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainerSpec {
    pub method: PerIteration<Method>,
    pub lr: PerIteration<f64>,
    pub decay: PerIteration<Decay>,
    pub epochs: PerIteration<u32>,
    pub batch: PerIteration<u32>,
    pub accumulate: u32,
    pub recompute: bool,
    pub command: Option<Vec<String>>,
    pub max_len: Option<u32>,
    pub clip: f64,
    pub weight_decay: f64,
    pub lora: Option<LoraConfig>,
}
