//! Turns rows into kept rows by running a rule, stage by stage.
//!
//! # Invariants
//! The outcome depends on the rows and the seed, never on the order in which rows are given. A row that lacks a column
//! which a stage reads is dropped by that stage; no default stands in for it.
//!
//! # Determinism
//! A draw ranks rows by a hash of (seed, stage, task, sample, iteration): another row more or less moves no other row's
//! place.

use super::{CellValue, Column, Expr, FunnelStep, Otherwise, Row, Rule, Selection, Stage, Ties, eval};
use crate::base::Seed;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

/// A share of rows closer to a whole number than this is that number: 7 % of 100 rows is 7, though `0.07 * 100` is more.
const SLACK: f64 = 1e-9;

/// Runs a rule. Rows may come in any order; `seed` decides draws only.
///
/// After `top`, `best` and `worst` rows stand in the order of their keys, ties by (task, sample); the other stages keep the
/// order they find. So `top 40% by score | dedup by traj.actions | cap 10` keeps the best of equal rows, then the best ten.
pub fn apply(rule: &Rule, rows: &[Row], seed: Seed) -> Selection {
    let mut kept: Vec<usize> = (0..rows.len()).collect();
    kept.sort_by(|&a, &b| by_place(rows, a, b));
    let mut dropped_at = vec![None; rows.len()];
    let mut funnel = Vec::with_capacity(rule.stages.len());
    let mut unmet = None;
    for (index, stage) in rule.stages.iter().enumerate() {
        let pass = Pass { rows, seed: seed.derive(index) };
        let rows_in = kept.len();
        let next = match stage {
            Stage::Require { count, otherwise } => {
                if rows_in < *count as usize {
                    let _: &mut Otherwise = unmet.get_or_insert(*otherwise);
                }
                kept.clone()
            }
            other => pass.run(other, &kept),
        };
        let staying: BTreeSet<usize> = next.iter().copied().collect();
        for row in kept.into_iter().filter(|row| !staying.contains(row)) {
            dropped_at[row] = Some(index);
        }
        kept = next;
        funnel.push(FunnelStep { stage: stage.describe(), rows_in, rows_out: kept.len() });
    }
    Selection { kept, funnel, dropped_at, unmet }
}

/// Whether the rule draws, so that its seed matters.
pub fn draws(rule: &Rule) -> bool {
    rule.stages.iter().any(|stage| matches!(stage, Stage::Sample { .. } | Stage::Top { ties: Ties::Sample, .. }))
}

/// What every order ends with. The iteration is last: it tells rows of `kept@all` apart.
fn by_place(rows: &[Row], a: usize, b: usize) -> Ordering {
    let place = |index: usize| (&rows[index].task, rows[index].sample, rows[index].iteration, index);
    place(a).cmp(&place(b))
}

/// One stage at work.
struct Pass<'a> {
    rows: &'a [Row],
    seed: Seed,
}

/// A row with the numbers it is ordered by.
struct Keyed {
    row: usize,
    keys: Vec<f64>,
}

impl Pass<'_> {
    fn run(&self, stage: &Stage, kept: &[usize]) -> Vec<usize> {
        match stage {
            Stage::Where { condition } => {
                let holds = |row: &usize| eval::value(condition, &self.rows[*row]) == Some(CellValue::Bool(true));
                kept.iter().copied().filter(holds).collect()
            }
            Stage::Top { share, per_task, by, ties } => {
                self.top(*share, *per_task, *ties, self.keyed(kept, std::slice::from_ref(by)))
            }
            Stage::Best { count, per_task, by } => {
                self.first_of_each(*count as usize, *per_task, self.keyed(kept, by), highest_first)
            }
            Stage::Worst { count, per_task, by } => {
                self.first_of_each(*count as usize, *per_task, self.keyed(kept, by), |a, b| highest_first(b, a))
            }
            Stage::Sample { count, per_task } => {
                let drawn: BTreeSet<usize> = self
                    .groups(kept.to_vec(), *per_task, |row| *row)
                    .into_iter()
                    .flat_map(|mut group| {
                        group.sort_by(|&a, &b| self.by_draw(a, b));
                        group.truncate(*count as usize);
                        group
                    })
                    .collect();
                kept.iter().copied().filter(|row| drawn.contains(row)).collect()
            }
            Stage::Dedup { by } => {
                let mut seen = BTreeSet::new();
                kept.iter()
                    .copied()
                    .filter(|&row| self.cells(row, by).is_some_and(|cells| seen.insert(cells)))
                    .collect()
            }
            Stage::CapRows { count } => kept.iter().copied().take(*count as usize).collect(),
            Stage::CapTokens { tokens } => self.cap_tokens(*tokens, kept),
            Stage::Balance { by, max } => {
                let mut counts: BTreeMap<Cell, u32> = BTreeMap::new();
                let mut room = |cell: Cell| {
                    let count = counts.entry(cell).or_default();
                    *count += 1;
                    *count <= *max
                };
                kept.iter().copied().filter(|&row| self.cell(row, by).is_some_and(&mut room)).collect()
            }
            Stage::Majority { by } => {
                let most = |group: Vec<usize>| {
                    let mut counts: BTreeMap<Vec<Cell>, (usize, Reverse<usize>)> = BTreeMap::new();
                    for (at, row) in group.iter().enumerate() {
                        if let Some(cells) = self.cells(*row, by) {
                            counts.entry(cells).or_insert((0, Reverse(at))).0 += 1;
                        }
                    }
                    let winner = counts.into_iter().max_by_key(|(_, count)| *count).map(|(cells, _)| cells);
                    let agrees = move |row: &usize| winner.is_some() && self.cells(*row, by) == winner;
                    group.into_iter().filter(agrees)
                };
                let agreed: BTreeSet<usize> =
                    self.groups(kept.to_vec(), true, |row| *row).into_iter().flat_map(most).collect();
                kept.iter().copied().filter(|row| agreed.contains(row)).collect()
            }
            Stage::Add { .. } | Stage::Pair { .. } | Stage::Truncate { .. } | Stage::Weight { .. } => {
                unreachable!("refused before a run begins: {}", stage.describe())
            }
            Stage::Require { .. } => kept.to_vec(),
        }
    }

    fn top(&self, share: f64, per_task: bool, ties: Ties, keyed: Vec<Keyed>) -> Vec<usize> {
        let mut chosen: Vec<Keyed> = Vec::new();
        for mut group in self.groups(keyed, per_task, |keyed| keyed.row) {
            let count = ((share * group.len() as f64 - SLACK).ceil().max(0.0) as usize).min(group.len());
            group.sort_by(|a, b| {
                highest_first(&a.keys, &b.keys).then_with(|| match ties {
                    Ties::Sample => self.by_draw(a.row, b.row),
                    Ties::Keep => by_place(self.rows, a.row, b.row),
                })
            });
            if ties == Ties::Keep && !per_task {
                let cut = count.checked_sub(1).map(|last| group[last].keys.clone());
                group.retain(|row| cut.as_ref().is_some_and(|cut| highest_first(&row.keys, cut) != Ordering::Greater));
            } else {
                group.truncate(count);
            }
            chosen.extend(group);
        }
        self.ordered(chosen, highest_first)
    }

    fn first_of_each(
        &self,
        count: usize,
        per_task: bool,
        keyed: Vec<Keyed>,
        order: impl Fn(&[f64], &[f64]) -> Ordering,
    ) -> Vec<usize> {
        let mut chosen = Vec::new();
        for mut group in self.groups(keyed, per_task, |keyed| keyed.row) {
            self.sort(&mut group, &order);
            group.truncate(count);
            chosen.extend(group);
        }
        self.ordered(chosen, order)
    }

    fn cap_tokens(&self, tokens: u64, kept: &[usize]) -> Vec<usize> {
        let column = Column::Traj("tokens".to_owned());
        let mut room = tokens as f64;
        let counted = kept.iter().filter_map(|&row| match eval::cell(&column, &self.rows[row])? {
            CellValue::Number(count) => Some((row, count)),
            _ => None,
        });
        let within = |(row, count): (usize, f64)| {
            room -= count;
            (room >= 0.0).then_some(row)
        };
        counted.map_while(within).collect()
    }

    /// Rows with all their numbers; those that lack one are left out.
    fn keyed(&self, kept: &[usize], by: &[Expr]) -> Vec<Keyed> {
        let number = |expr: &Expr, row: usize| match eval::value(expr, &self.rows[row])? {
            CellValue::Number(value) => Some(value),
            CellValue::Bool(value) => Some(f64::from(u8::from(value))),
            CellValue::Text(_) => None,
        };
        let keyed = |&row: &usize| {
            let keys = by.iter().map(|expr| number(expr, row)).collect::<Option<Vec<f64>>>()?;
            Some(Keyed { row, keys })
        };
        kept.iter().filter_map(keyed).collect()
    }

    /// All in one, or a group a task, in the tasks' order.
    fn groups<T>(&self, items: Vec<T>, per_task: bool, row: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
        if !per_task {
            return vec![items];
        }
        let mut groups: BTreeMap<&str, Vec<T>> = BTreeMap::new();
        for item in items {
            groups.entry(&self.rows[row(&item)].task).or_default().push(item);
        }
        groups.into_values().collect()
    }

    fn sort(&self, keyed: &mut [Keyed], order: impl Fn(&[f64], &[f64]) -> Ordering) {
        keyed.sort_by(|a, b| order(&a.keys, &b.keys).then_with(|| by_place(self.rows, a.row, b.row)));
    }

    fn ordered(&self, mut keyed: Vec<Keyed>, order: impl Fn(&[f64], &[f64]) -> Ordering) -> Vec<usize> {
        self.sort(&mut keyed, order);
        keyed.into_iter().map(|keyed| keyed.row).collect()
    }

    fn by_draw(&self, a: usize, b: usize) -> Ordering {
        let draw = |row: usize| {
            let Row { task, sample, iteration, cells: _ } = &self.rows[row];
            self.seed.derive(task.as_str()).derive(*sample).derive(*iteration)
        };
        draw(a).cmp(&draw(b)).then_with(|| by_place(self.rows, a, b))
    }

    fn cells(&self, row: usize, columns: &[Column]) -> Option<Vec<Cell>> {
        columns.iter().map(|column| self.cell(row, column)).collect()
    }

    fn cell(&self, row: usize, column: &Column) -> Option<Cell> {
        eval::cell(column, &self.rows[row]).map(Cell::from)
    }
}

fn highest_first(a: &[f64], b: &[f64]) -> Ordering {
    let pairs = a.iter().zip(b);
    // No key is a NaN: an expression that gives none gives no value.
    pairs
        .map(|(a, b)| b.partial_cmp(a).unwrap_or(Ordering::Equal))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// A cell that can be compared for being the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Bool(bool),
    /// By bits, the two zeros made one.
    Number(u64),
    Text(String),
}

impl From<CellValue> for Cell {
    fn from(value: CellValue) -> Self {
        match value {
            CellValue::Bool(value) => Cell::Bool(value),
            CellValue::Number(value) => Cell::Number(if value == 0.0 { 0 } else { value.to_bits() }),
            CellValue::Text(text) => Cell::Text(text),
        }
    }
}
