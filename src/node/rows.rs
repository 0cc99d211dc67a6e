//! Turns a trajectory with its verdict into the row that a rule sees.
//!
//! # Invariants
//! Without `truth` given, no cell is made of ground truth: hidden task fields are not read.

use super::spec::{AnswerValue, Verdict};
use super::trajectory::Trajectory;
use crate::env::{Task, Truth};
use crate::select::{CellValue, Column, Row};
use serde_json::Value;

/// `truth` is given only where the file says `unstable(oracle)`. Lists and objects have no cell.
pub fn row(
    task: &Task,
    trajectory: &Trajectory,
    verdict: Option<&Verdict>,
    truth: Option<&Truth>,
    iteration: u32,
) -> Row {
    let Trajectory { steps, calls, actions, ended, truncated, error, row, sample, .. } = trajectory;
    let number = |value: u32| CellValue::Number(f64::from(value));
    let traj = [
        ("steps", number(*steps)),
        ("calls", number(*calls)),
        ("actions", CellValue::Text(actions.clone())),
        ("ended", CellValue::Bool(*ended)),
        ("truncated", CellValue::Bool(*truncated)),
        ("tokens", CellValue::Number(row.tokens.len() as f64)),
        ("error", CellValue::Bool(*error)),
    ];
    let traj = traj.into_iter().map(|(name, cell)| (Column::Traj(name.to_owned()), cell));
    let task_cell = |(name, value): (&String, &Value)| {
        let cell = match value {
            Value::String(text) => CellValue::Text(text.clone()),
            Value::Bool(value) => CellValue::Bool(*value),
            Value::Number(number) => CellValue::Number(number.as_f64()?),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((Column::Task(name.clone()), cell))
    };
    let id = (Column::Task("id".to_owned()), CellValue::Text(task.id.clone()));
    let answer_cell = |(name, value): (&String, &AnswerValue)| {
        let cell = match value {
            AnswerValue::Bool(value) => CellValue::Bool(*value),
            AnswerValue::Int(value) => CellValue::Number(*value as f64),
            AnswerValue::Text(text) => CellValue::Text(text.clone()),
        };
        (Column::Answer(name.clone()), cell)
    };
    let truth_cell = |(name, value): (&String, &f64)| (Column::Truth(name.clone()), CellValue::Number(*value));
    let cells = std::iter::once(id)
        .chain(task.fields.iter().filter_map(task_cell))
        .chain(traj)
        .chain(verdict.into_iter().flatten().map(answer_cell))
        .chain(truth.into_iter().flatten().map(truth_cell))
        .chain([(Column::Iteration, number(iteration))])
        .collect();
    Row { task: task.id.clone(), sample: *sample, iteration, cells }
}
