//! Selection rules: rows in, kept rows out, and for every dropped row the stage that dropped it.
//!
//! [`Rule`] is the typed form of `rule good = where score >= 3 | top 40% by score | …`; [`apply`](run::apply) runs it.
//!
//! # Invariants
//! Rows enter sorted by (task, sample); every order ends with that pair, except that a pooled `top P%` keeps all ties at
//! its cut. Nothing here calls a model or reads ground truth that the rule does not name.

mod describe;
mod eval;
pub mod run;

#[cfg(test)]
mod tests;

pub use run::{apply, draws};

use crate::base::{Canonical, Hasher};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub stages: Vec<Stage>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Where {
        condition: Expr,
    },
    /// The best `share` in (0, 1], rounded up; pooled or in each task.
    Top {
        share: f64,
        per_task: bool,
        by: Expr,
        ties: Ties,
    },
    Best {
        count: u32,
        per_task: bool,
        by: Vec<Expr>,
    },
    Worst {
        count: u32,
        per_task: bool,
        by: Vec<Expr>,
    },
    /// A uniform draw without replacement, by the node's seed.
    Sample {
        count: u32,
        per_task: bool,
    },
    /// Keeps the first of the rows whose columns are all equal.
    Dedup {
        by: Vec<Column>,
    },
    CapRows {
        count: u32,
    },
    /// Keeps rows while the sum of `traj.tokens` stays within.
    CapTokens {
        tokens: u64,
    },
    /// At most `max` rows for each value of the column.
    Balance {
        by: Column,
        max: u32,
    },
    /// Of each task, the rows with the value that most of them have; of equally many, the first.
    Majority {
        by: Vec<Column>,
    },
    /// Rows of a dataset beside the others, with columns of their own.
    Add {
        /// Its place among the experiment's datasets.
        dataset: usize,
        cells: BTreeMap<Column, CellValue>,
    },
    /// Of each task, its best row with its worst: the rows become pairs.
    Pair {
        by: Vec<Expr>,
        margin: Option<f64>,
    },
    /// Cuts one side of a pair to so many turns.
    Truncate {
        side: Side,
        to: Expr,
    },
    /// Gives each row a weight.
    Weight {
        by: Expr,
    },
    Require {
        count: u32,
        otherwise: Otherwise,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    Keep,
    Sample,
}

/// Of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Chosen,
    Rejected,
}

impl Side {
    pub const ALL: [Self; 2] = [Side::Chosen, Side::Rejected];

    pub fn as_str(self) -> &'static str {
        match self {
            Side::Chosen => "chosen",
            Side::Rejected => "rejected",
        }
    }
}

/// What happens when `require at least N` does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// The node fails: the default.
    Fail,
    /// The loop ends as if `until` held.
    Stop,
    /// This iteration trains on nothing: its version equals the one it started from.
    Skip,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expr {
    Number(f64),
    Text(String),
    Bool(bool),
    Column(Column),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary { op: BinaryOp, left: Box<Expr>, right: Box<Expr> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BinaryOp {
    Or,
    And,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
}

/// A typed column of a row. Stored as text (`traj.steps`, `answer.score`), so that it can be the name of a cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Column {
    /// `task.NAME`
    Task(String),
    /// `traj.NAME`: one of [`TRAJ_COLUMNS`].
    Traj(String),
    /// A field of the critic's answer: `score`.
    Answer(String),
    /// `truth.METRIC`: only under `unstable(oracle)`.
    Truth(String),
    Iteration,
    /// Whether the row comes from an `add`.
    Added,
    /// `chosen.score`: a column of one side of a pair.
    Of(Side, Box<Column>),
}

impl From<Column> for String {
    fn from(column: Column) -> Self {
        match column {
            Column::Answer(name) => format!("answer.{name}"),
            Column::Of(side, column) => format!("{}.{}", side.as_str(), String::from(*column)),
            other => other.to_string(),
        }
    }
}

impl TryFrom<String> for Column {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a column");
        match text.split_once('.') {
            None if text == "iteration" => Ok(Column::Iteration),
            None if text == "added" => Ok(Column::Added),
            None => Err(wrong()),
            Some((root, name)) => {
                if let Some(side) = Side::ALL.into_iter().find(|side| side.as_str() == root) {
                    return Ok(Column::Of(side, Box::new(Column::try_from(name.to_owned())?)));
                }
                let name = name.to_owned();
                match root {
                    "task" => Ok(Column::Task(name)),
                    "traj" => Ok(Column::Traj(name)),
                    "answer" => Ok(Column::Answer(name)),
                    "truth" => Ok(Column::Truth(name)),
                    _ => Err(wrong()),
                }
            }
        }
    }
}

/// The columns of `traj` and their types.
pub const TRAJ_COLUMNS: [(&str, ColumnType); 7] = [
    ("steps", ColumnType::Number),
    ("calls", ColumnType::Number),
    ("actions", ColumnType::Text),
    ("ended", ColumnType::Bool),
    ("truncated", ColumnType::Bool),
    ("tokens", ColumnType::Number),
    ("error", ColumnType::Bool),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    Number,
    Bool,
    Text,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CellValue {
    Bool(bool),
    Number(f64),
    Text(String),
}

/// One trajectory as a rule sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub task: String,
    pub sample: u32,
    pub iteration: u32,
    pub cells: BTreeMap<Column, CellValue>,
}

/// What a rule did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Indices into the rows, in the order the last stage left them.
    pub kept: Vec<usize>,
    /// One entry a stage, in order.
    pub funnel: Vec<FunnelStep>,
    /// For each row, the index of the stage that dropped it.
    pub dropped_at: Vec<Option<usize>>,
    /// A `require` that did not hold.
    pub unmet: Option<Otherwise>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunnelStep {
    /// As the file would write it: `where score >= 3`.
    pub stage: String,
    pub rows_in: usize,
    pub rows_out: usize,
}

impl Rule {
    /// Whether what it leaves are pairs.
    pub fn pairs(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage, Stage::Pair { .. }))
    }

    /// Whether it gives rows a weight.
    pub fn weighs(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage, Stage::Weight { .. }))
    }

    /// The datasets whose rows it adds, by their place.
    pub fn datasets(&self) -> impl Iterator<Item = usize> {
        self.stages.iter().filter_map(|stage| match stage {
            Stage::Add { dataset, .. } => Some(*dataset),
            _ => None,
        })
    }

    /// The first stage that this version does not run.
    pub fn later(&self) -> Option<&Stage> {
        self.stages.iter().find(|stage| match stage {
            Stage::Add { .. } | Stage::Pair { .. } | Stage::Truncate { .. } | Stage::Weight { .. } => true,
            Stage::Where { .. }
            | Stage::Top { .. }
            | Stage::Best { .. }
            | Stage::Worst { .. }
            | Stage::Sample { .. }
            | Stage::Dedup { .. }
            | Stage::CapRows { .. }
            | Stage::CapTokens { .. }
            | Stage::Balance { .. }
            | Stage::Majority { .. }
            | Stage::Require { .. } => false,
        })
    }
}

impl Rule {
    /// With its datasets called by the order in which they are added, wherever the file declares them.
    pub fn placed(&self) -> Rule {
        let Self { stages } = self;
        let mut stages = stages.clone();
        let mut place = 0..;
        for stage in &mut stages {
            if let Stage::Add { dataset, .. } = stage {
                *dataset = place.next().expect("numbers do not end");
            }
        }
        Rule { stages }
    }
}

impl Canonical for Rule {
    /// The typed form as JSON with its fields in declared order: equal rules, and only those, are equal text. Which its
    /// datasets are is the caller's to say.
    fn feed(&self, hasher: &mut Hasher) {
        let Self { stages } = self.placed();
        hasher.str(&serde_json::to_string(&stages).expect("a rule is plain data"));
    }
}
