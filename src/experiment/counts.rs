//! Turns a stage and what is known of the rows before it into what is known of those after: how many, with which values.
//!
//! # Invariants
//! Row counts are bounds, never guesses: between `low` and `high` rows are left, whatever the model does.

use super::Checker;
use super::error::CheckError;
use super::interval::{Holds, Interval, Known, holds, narrow};
use super::rule::{Answers, Rows};
use crate::base::Span;
use crate::select::{CellValue, Column, Expr, Side, Stage, Ties};
use serde::Serialize;

/// How many rows there are at least and at most, or pairs of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RowBounds {
    pub low: u64,
    /// `u64::MAX` where nobody knows.
    pub high: u64,
    pub pairs: bool,
}

/// What is known of the rows that a rule gets in one of its uses, and of those that each of its stages leaves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageCounts {
    pub stages: Vec<Stage>,
    pub before: RowBounds,
    pub after: Vec<RowBounds>,
}

impl Rows {
    pub fn bounds(&self) -> RowBounds {
        RowBounds { low: self.low, high: self.high, pairs: self.pairs }
    }
}

impl Checker<'_> {
    /// What a stage does to the row bounds. `false`: it makes all that follows pointless.
    pub(super) fn pass(&mut self, stage: &Stage, span: Span, rows: &mut Rows) -> bool {
        let full = rows.low == rows.high && rows.high == rows.tasks * rows.samples;
        let mut idle: Option<String> = None;
        match stage {
            Stage::Where { condition } => {
                let verdict =
                    if let Answers::Unknown = rows.answer { Holds::Maybe } else { holds(condition, &rows.known) };
                match verdict {
                    Holds::Never => {
                        self.error(CheckError::NeverPasses { span, why: explain(condition, &rows.known) });
                        return false;
                    }
                    Holds::Always => {
                        self.error(CheckError::AlwaysPasses { span, why: explain(condition, &rows.known) })
                    }
                    Holds::Maybe => rows.low = 0,
                }
                rows.known = narrow(condition, &rows.known, true);
            }
            Stage::Top { share, per_task, ties, .. } => {
                let part = |rows: u64| (rows as f64 * share).ceil() as u64;
                rows.low = part(rows.low);
                if *per_task {
                    rows.samples = part(rows.samples);
                    rows.high = rows.high.min(rows.tasks.saturating_mul(rows.samples));
                } else if *ties == Ties::Sample {
                    rows.high = part(rows.high);
                }
            }
            Stage::Best { count, per_task, .. }
            | Stage::Worst { count, per_task, .. }
            | Stage::Sample { count, per_task } => {
                let count = u64::from(*count);
                let (most, of) = if *per_task { (rows.samples, " of a task") } else { (rows.high, "") };
                idle = (most <= count).then(|| format!("at most {most} rows{of} reach it"));
                if *per_task {
                    rows.samples = rows.samples.min(count);
                    rows.high = rows.high.min(rows.tasks.saturating_mul(rows.samples));
                    rows.low = if full { rows.high } else { rows.low.min(count) };
                } else {
                    (rows.low, rows.high) = (rows.low.min(count), rows.high.min(count));
                }
            }
            Stage::CapRows { count } => {
                let count = u64::from(*count);
                idle = (rows.high <= count).then(|| format!("at most {} rows reach it", rows.high));
                (rows.low, rows.high) = (rows.low.min(count), rows.high.min(count));
            }
            Stage::CapTokens { .. } => rows.low = 0,
            Stage::Dedup { .. } => rows.low = rows.low.min(1),
            Stage::Majority { .. } => rows.low = if full { rows.tasks } else { rows.low.min(1) },
            Stage::Add { dataset, cells } => {
                // How many a file has is known where it could be read.
                let count = self.datasets[*dataset].it.as_ref().map_or(0, |info| info.rows.count);
                rows.low = rows.low.saturating_add(count);
                rows.high = if count == 0 { u64::MAX } else { rows.high.saturating_add(count) };
                rows.samples = rows.high;
                rows.known = with_added(&rows.known, cells);
            }
            Stage::Pair { by, margin } => {
                if rows.samples < 2 {
                    let why = "each task has one row, and a pair takes two".to_owned();
                    self.error(CheckError::NeverPasses { span, why });
                    return false;
                }
                let margin = margin.unwrap_or(0.0);
                if let Some(Expr::Column(key)) = by.first()
                    && let Some(known) = rows.known.get(key)
                    && known.high - known.low < margin
                {
                    self.error(CheckError::NeverPasses { span, why: explain(&by[0], &rows.known) });
                    return false;
                }
                rows.low = if full && margin == 0.0 { rows.tasks } else { 0 };
                rows.high = rows.tasks.min(rows.high / 2);
                rows.samples = 1;
                rows.known = paired(&rows.known, by.first(), margin);
                rows.pairs = true;
            }
            Stage::Truncate { .. } => {}
            Stage::Weight { .. } => rows.weighted = true,
            Stage::Balance { max, .. } => rows.low = rows.low.min(u64::from(*max)),
            Stage::Require { count, .. } => {
                if rows.high < u64::from(*count) {
                    self.error(CheckError::NeverEnough { span, count: *count, most: rows.high });
                    return false;
                }
                rows.low = rows.low.max(u64::from(*count));
            }
        }
        if let Some(why) = idle {
            self.error(CheckError::NoEffect { span, why, first: None });
        }
        true
    }

    /// Tells of a stage whose work one of the earlier, `done`, has done. `rows` is what reaches it.
    pub(super) fn done_before(&mut self, done: &mut Vec<(Stage, Span)>, stage: &Stage, span: Span, rows: &Rows) {
        if let Some((_, first)) = done.iter().find(|(earlier, _)| covers(earlier, stage, rows)) {
            let why = match stage {
                Stage::Require { .. } => format!("at least {} rows reach it", rows.low),
                _ => "its work is done".to_owned(),
            };
            self.error(CheckError::NoEffect { span, why, first: Some(*first) });
        }
        match stage {
            _ if brings_rows(stage) => done.clear(),
            Stage::Dedup { .. } | Stage::Balance { .. } | Stage::Require { .. } if done.len() < MOST_DONE => {
                done.push((stage.clone(), span));
            }
            _ => {}
        }
    }
}

/// Stages that are held against each later one.
const MOST_DONE: usize = 100;

/// Whether rows come in, or become other rows: what the stages before have done does not hold for those.
fn brings_rows(stage: &Stage) -> bool {
    matches!(stage, Stage::Add { .. } | Stage::Pair { .. } | Stage::Truncate { .. })
}

/// Whether `stage` can change nothing any more once `earlier` is done, whatever rows are dropped in between.
fn covers(earlier: &Stage, stage: &Stage, rows: &Rows) -> bool {
    match (earlier, stage) {
        // What differs in some columns differs in more of them.
        (Stage::Dedup { by: earlier }, Stage::Dedup { by }) => earlier.iter().all(|column| by.contains(column)),
        (Stage::Balance { by: earlier, max: least }, Stage::Balance { by, max }) => earlier == by && least <= max,
        (Stage::Require { .. }, Stage::Require { count, .. }) => rows.low >= u64::from(*count),
        _ => false,
    }
}

/// The intervals of the columns that a condition reads: "`score` is 0 to 4 here".
fn explain(condition: &Expr, known: &Known) -> String {
    let mut columns: Vec<&Column> = Vec::new();
    collect(condition, &mut columns);
    let one = |column: &&Column| {
        let interval = known.get(*column)?;
        let flag = matches!(column, Column::Traj(_)) && interval.low >= 0.0 && interval.high <= 1.0;
        if flag && interval.low != interval.high {
            return None;
        }
        let name = column.to_string();
        let number = super::value::number_text;
        Some(match interval.low == interval.high {
            true => format!("`{name}` is {} here", number(interval.low)),
            false => format!("`{name}` is {} to {} here", number(interval.low), number(interval.high)),
        })
    };
    columns.iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

fn collect<'e>(expr: &'e Expr, columns: &mut Vec<&'e Column>) {
    match expr {
        Expr::Column(column) if !columns.contains(&column) => columns.push(column),
        Expr::Not(inner) | Expr::Negate(inner) => collect(inner, columns),
        Expr::Binary { left, right, .. } => {
            collect(left, columns);
            collect(right, columns);
        }
        _ => {}
    }
}

/// What is known of rows once those of a dataset stand among them: of these only the given columns.
fn with_added(known: &Known, cells: &std::collections::BTreeMap<Column, CellValue>) -> Known {
    let mut result = Known::new();
    for (column, interval) in known {
        let value = match cells.get(column) {
            Some(CellValue::Number(number)) => *number,
            Some(CellValue::Bool(value)) => f64::from(u8::from(*value)),
            _ => continue,
        };
        let whole = interval.whole && value.fract() == 0.0;
        let interval = Interval { low: interval.low.min(value), high: interval.high.max(value), whole };
        result.insert(column.clone(), interval);
    }
    result.insert(Column::Added, Interval::BOOL);
    result
}

/// What is known of pairs: each side is as the rows were, and the key keeps its distance.
fn paired(known: &Known, key: Option<&Expr>, margin: f64) -> Known {
    let mut result = Known::new();
    for (column, interval) in known {
        match column {
            Column::Task(_) | Column::Iteration => {
                result.insert(column.clone(), *interval);
            }
            _ => {
                for side in Side::ALL {
                    let mut interval = *interval;
                    if key == Some(&Expr::Column(column.clone())) {
                        match side {
                            Side::Chosen => interval.low += margin,
                            Side::Rejected => interval.high -= margin,
                        }
                    }
                    result.insert(Column::Of(side, Box::new(column.clone())), interval);
                }
            }
        }
    }
    result
}
