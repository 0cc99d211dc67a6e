//! The checked experiment: names are ids, literals are quantities, every reference fits. What is here cannot be wrong later.

use crate::base::Spanned;
use crate::base::units::{MicroUsd, Millis, TokenCount};
use crate::env::EnvSpec;
use crate::model::{ModelSpec, Sampling};
use crate::node::compare;
pub use crate::node::gate::{MetricRef, Until};
use crate::node::spec::{AnswerSchema, CriticKind, Joined, OnUnparsed, PerIteration, TrainerSpec, Votes};
use crate::node::template::Template;
use crate::node::tolerance::Tolerance;
use crate::select::Rule;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub usize);
    )*};
}
ids!(EnvId, DatasetId, ModelId, PromptId, CriticId, RuleId, TrainerId);

/// A declaration with its name: names are for people, never for keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named<T> {
    pub name: String,
    pub it: T,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    pub name: String,
    /// The file's `//!` text.
    pub doc: String,
    pub seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Unstable features the file names: `oracle`.
    pub unstable: Vec<String>,
    pub envs: Vec<Named<EnvSpec>>,
    pub datasets: Vec<Named<Dataset>>,
    pub models: Vec<Named<ModelSpec>>,
    pub prompts: Vec<Named<Template>>,
    pub critics: Vec<Named<Critic>>,
    pub rules: Vec<Named<Rule>>,
    pub trainers: Vec<Named<TrainerSpec>>,
    pub schedule: Vec<Statement>,
    pub report: Vec<ReportItem>,
}

/// What may be spent before the run pauses, each with its place in the file. In no key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// For remote models.
    pub spend: Option<Spanned<MicroUsd>>,
    /// While the run is worked on, over all its sittings.
    pub wall: Option<Spanned<Millis>>,
    /// Sent to and from models; those of a training are not among them.
    pub tokens: Option<Spanned<TokenCount>>,
}

/// A sweep: one experiment, once for every combination of values that its file does not except.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    pub name: String,
    /// The experiment's name.
    pub of: String,
    /// Params that it gives values to: nobody else may.
    pub params: Vec<String>,
    /// The last axis turns fastest.
    pub cells: Vec<Cell>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// One for each axis, in the order of the file.
    pub settings: Vec<Setting>,
    pub experiment: Experiment,
}

/// `lr = 1e-4`, both as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub axis: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dataset {
    /// What an environment offers: `desk.lessons(60000)`.
    Offered { env: EnvId, offer: String, count: u32 },
    /// JSON lines with `messages`.
    Jsonl { path: PathBuf },
    /// A data set of the hub at one revision.
    Hub { repo: String, revision: String, split: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Critic {
    Sole(Sole),
    Panel(Panel),
}

/// One model that judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sole {
    pub model: ModelId,
    pub prompt: PromptId,
    pub answer: AnswerSchema,
    pub on_unparsed: OnUnparsed,
    pub sampling: Sampling,
    pub kind: CriticKind,
    pub votes: Votes,
}

impl Sole {
    /// What a verdict of it on a row holds.
    pub fn row_answer(&self) -> AnswerSchema {
        compare::row_schema(self.kind, &self.answer)
    }

    /// Whether it says which of a task's samples are better, and of none how good it is.
    pub fn is_relative(&self) -> bool {
        compare::is_relative(self.kind, &self.answer)
    }
}

/// Several critics with one answer whose verdicts become one. No member is a panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    pub members: Vec<CriticId>,
    pub by: Joined,
}

impl Experiment {
    /// # Panics
    /// For a panel: a plan holds its members.
    pub fn sole(&self, id: CriticId) -> &Sole {
        match &self.critics[id.0].it {
            Critic::Sole(sole) => sole,
            Critic::Panel(_) => unreachable!("a plan holds a panel's members, never the panel"),
        }
    }

    /// Who judges: the critic alone, or the members of a panel.
    pub fn members(&self, id: CriticId) -> Vec<CriticId> {
        match &self.critics[id.0].it {
            Critic::Sole(_) => vec![id],
            Critic::Panel(panel) => panel.members.clone(),
        }
    }
}

/// Which version of a model slot. Versions count from 0, the declared one; each `train` adds one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// `policy@0`
    Declared,
    /// `policy@2`: what the second training made.
    Trained(u32),
    /// A bare name or `@last`: the newest at this point of the schedule. In `from`, `@prev` is the same.
    Newest,
    /// `@start`: the version at the entry of the enclosing `repeat`; outside one, as [`Version::Declared`].
    Start,
    /// `@best(dev.success)`: of the versions before this point, the one with the highest metric, ties to the earliest.
    Best(MetricRef),
    /// What a `pick` named.
    Picked(String),
}

impl Version {
    /// As the file would write it of this model: `policy@2`.
    pub fn written(&self, model: &str) -> String {
        match self {
            Version::Declared => format!("{model}@0"),
            Version::Trained(number) => format!("{model}@{number}"),
            Version::Newest => model.to_owned(),
            Version::Start => format!("{model}@start"),
            Version::Best(metric) => format!("{model}@best({metric})"),
            Version::Picked(name) => name.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRef {
    pub model: ModelId,
    pub version: Version,
}

/// Rows by the name that a `let` gave them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowsRef {
    pub name: String,
    /// `kept@all`: this iteration's and all earlier ones'.
    pub all_iterations: bool,
}

impl std::fmt::Display for RowsRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, all_iterations } = self;
        write!(f, "{name}{}", if *all_iterations { "@all" } else { "" })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statement {
    Rollout {
        name: String,
        model: ModelRef,
        env: EnvId,
        split: String,
        prompt: PromptId,
        samples: u32,
        sampling: PerIteration<Sampling>,
        /// Another number draws other samples.
        stream: u64,
        #[serde(default, skip_serializing_if = "Tolerance::is_none")]
        tolerance: Tolerance,
    },
    Judge {
        name: String,
        rows: RowsRef,
        critic: CriticId,
        #[serde(default, skip_serializing_if = "Tolerance::is_none")]
        tolerance: Tolerance,
    },
    Select {
        name: String,
        rows: RowsRef,
        /// Its arguments may differ by iteration.
        rule: PerIteration<RuleId>,
    },
    /// Critic and selection against ground truth; metrics only, joined to the rows' name (`kept.precision`).
    Audit {
        rows: RowsRef,
        metric: String,
    },
    /// Agreement of a critic with labelled verdicts; metrics under the critic's name.
    Calibrate {
        critic: CriticId,
        dataset: DatasetId,
    },
    Train {
        model: ModelId,
        on: TrainData,
        mixed: Vec<Mixed>,
        trainer: TrainerId,
        from: Version,
        /// What the method holds it to.
        reference: Option<Version>,
    },
    Evaluate {
        name: Option<String>,
        model: ModelRef,
        env: EnvId,
        split: String,
        prompt: PromptId,
        samples: u32,
        sampling: Sampling,
        /// Of a task's samples, only the one that this critic likes best counts.
        best_by: Option<CriticId>,
        #[serde(default, skip_serializing_if = "Tolerance::is_none")]
        tolerance: Tolerance,
    },
    Repeat {
        times: u32,
        index: String,
        body: Vec<Statement>,
        until: Option<Until>,
    },
    /// Of the versions that the evaluations named `by.name` measured (and those `including`), the best; ties to the earliest.
    Pick {
        name: String,
        model: ModelId,
        by: MetricRef,
        including: Vec<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainData {
    /// Kept trajectories, by their sampled ids.
    Rows(RowsRef),
    /// Dialogues of a static dataset.
    Dataset(DatasetId),
    /// Labelled verdicts rendered by a critic's own prompt, to be answered with the truth: `unstable(oracle)`.
    Through { dataset: DatasetId, critic: CriticId },
}

/// `mixed with 25% general`: so many rows of the dataset that they are this share of all, drawn by the node's seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixed {
    pub share: f64,
    pub dataset: DatasetId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportItem {
    /// A curve over the iterations.
    Plot {
        metrics: Vec<MetricRef>,
    },
    Table {
        metrics: Vec<MetricRef>,
    },
}
