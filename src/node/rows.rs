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
            AnswerValue::Number(value) => CellValue::Number(*value),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TrainRow;
    use crate::select::TRAJ_COLUMNS;
    use serde_json::json;

    #[test]
    fn a_row_has_what_a_rule_may_name_and_no_truth_unless_given() {
        let Value::Object(fields) = json!({ "kind": "mail", "urgent": true, "size": 2, "tools": ["x"], "note": null })
        else {
            unreachable!()
        };
        let task = Task { id: "a".to_owned(), fields, hidden: json!({ "goal": 1 }).into() };
        let trajectory = Trajectory {
            task: "a".to_owned(),
            sample: 3,
            messages: Vec::new(),
            prompt_len: 0,
            row: TrainRow { tokens: vec![5; 9], learn: vec![false; 9] },
            steps: 4,
            calls: 3,
            actions: "x()".to_owned(),
            ended: true,
            truncated: false,
            error: true,
            logprob: -1.0,
        };
        let verdict = Verdict::from_iter([
            ("score".to_owned(), AnswerValue::Int(3)),
            ("iteration".to_owned(), AnswerValue::Bool(true)),
        ]);
        let row = super::row(&task, &trajectory, Some(&verdict), None, 2);
        assert_eq!((row.task.as_str(), row.sample, row.iteration), ("a", 3, 2));
        for (name, ty) in TRAJ_COLUMNS {
            let cell = &row.cells[&Column::Traj(name.to_owned())];
            let fits = matches!(
                (cell, ty),
                (CellValue::Number(_), crate::select::ColumnType::Number)
                    | (CellValue::Bool(_), crate::select::ColumnType::Bool)
                    | (CellValue::Text(_), crate::select::ColumnType::Text)
            );
            assert!(fits, "{name}: {cell:?} is not {ty:?}");
        }
        assert_eq!(row.cells[&Column::Traj("tokens".to_owned())], CellValue::Number(9.0));
        assert_eq!(row.cells[&Column::Answer("score".to_owned())], CellValue::Number(3.0));
        assert_eq!(row.cells[&Column::Iteration], CellValue::Number(2.0), "not the answer's field of that name");
        let tasks = row.cells.keys().filter(|column| matches!(column, Column::Task(_))).count();
        assert_eq!(tasks, 4, "id, kind, urgent, size");
        assert!(!row.cells.keys().any(|column| matches!(column, Column::Truth(_))));
        let truth = Truth::from_iter([("success".to_owned(), 1.0)]);
        let oracle = super::row(&task, &trajectory, None, Some(&truth), 2);
        assert_eq!(oracle.cells[&Column::Truth("success".to_owned())], CellValue::Number(1.0));
        assert!(!oracle.cells.keys().any(|column| matches!(column, Column::Answer(_))));
    }
}
