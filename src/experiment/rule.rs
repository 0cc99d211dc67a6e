//! Turns a rule into its typed form, against the rows that reach it: columns, types, and how many rows can be left.
//!
//! # Invariants
//! `truth.*` needs `unstable(oracle)`; a task's hidden field is never a column. Row counts are bounds, never guesses.

use super::Checker;
use super::error::CheckError;
use super::interval::{Holds, Interval, Known, holds, narrow};
use super::model::{EnvId, ModelId, Named, RuleId};
use super::vocabulary;
use crate::base::Span;
use crate::env::{FieldType, Schema};
use crate::node::spec::{AnswerKind, AnswerSchema};
use crate::select::{BinaryOp, Column, ColumnType, Expr, Otherwise, Rule, Stage, TRAJ_COLUMNS, Ties};
use crate::syntax::ast::{self, Apply, Argument, ExprKind, Operator, Path, StageKind};
use crate::syntax::similar::similar;

/// What is known of some rows before anything runs.
#[derive(Clone, Debug)]
pub struct Rows {
    pub model: ModelId,
    pub env: EnvId,
    pub split: String,
    pub held_out: bool,
    pub form: Form,
    pub answer: Answers,
    pub tasks: u64,
    /// At most so many of one task.
    pub samples: u64,
    pub low: u64,
    pub high: u64,
    pub known: Known,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Rolled,
    Judged,
    Selected,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    NotJudged,
    Schema(AnswerSchema),
    /// The critic is broken, or the rule is used nowhere: any name may be a field.
    Unknown,
}

/// What a rule is typed against.
struct Table<'r> {
    schema: Option<&'static Schema>,
    answer: &'r Answers,
}

type Typed = (Expr, ColumnType);

impl Checker<'_> {
    /// What is known of rows from rollouts, before a critic.
    pub(super) fn rolled(&self, env: EnvId, iterations: u32) -> Known {
        let mut known = Known::new();
        let Some(info) = &self.envs[env.0].it else { return known };
        let steps = Interval::whole(0.0, f64::from(info.spec.max_steps));
        let traj = |name: &str| Column::Traj(name.to_owned());
        known.insert(traj("steps"), steps);
        known.insert(traj("calls"), steps);
        known.insert(traj("tokens"), Interval::whole(0.0, f64::INFINITY));
        for flag in ["ended", "truncated", "error"] {
            known.insert(traj(flag), Interval::BOOL);
        }
        for metric in &info.schema.metrics {
            known.insert(Column::Truth((*metric).to_owned()), Interval::SHARE);
        }
        let first = f64::from(u32::from(iterations > 0));
        known.insert(Column::Iteration, Interval::whole(first, f64::from(iterations)));
        known
    }

    /// A rule as one selection uses it, and the rows it leaves. `None`: a diagnostic has told why.
    pub(super) fn rule(&mut self, id: usize, arguments: &[Argument], rows: &Rows, at: Span) -> Option<(RuleId, Rows)> {
        let rule = self.rule_items[id].clone();
        if self.symbols.is_poisoned(&rule.name.value) {
            return None;
        }
        self.locals.clear();
        let mut fits = true;
        if arguments.len() != rule.parameters.len() || arguments.iter().any(|argument| argument.name.is_some()) {
            let names: Vec<&str> = rule.parameters.iter().map(|parameter| parameter.name.value.as_str()).collect();
            let name = rule.name.value.clone();
            let wanted = if names.is_empty() { name.clone() } else { format!("{name}({})", names.join(", ")) };
            self.error(CheckError::Arguments { span: at, wanted, name });
            return None;
        }
        let mut text = rule.name.value.clone();
        for (parameter, argument) in rule.parameters.iter().zip(arguments) {
            let value = self.value(&argument.value);
            fits &= value.is_some();
            text.push_str(&format!("({value:?})"));
            self.locals.insert(parameter.name.value.clone(), value);
        }
        let result = self.stages(&rule, rows, &mut fits);
        self.locals.clear();
        let (stages, rows) = result.filter(|_| fits)?;
        let it = Rule { stages };
        let named = Named { name: rule.name.value, it };
        let place = self.rules.iter().position(|known| *known == named).unwrap_or_else(|| {
            self.rules.push(named);
            self.rules.len() - 1
        });
        Some((RuleId(place), rows))
    }

    /// Types a rule that nothing uses, as far as that goes: any name may be a critic's field.
    pub(super) fn rule_alone(&mut self, rule: &ast::Rule) {
        for parameter in &rule.parameters {
            self.locals.insert(parameter.name.value.clone(), None);
        }
        let schema = match self.envs.as_slice() {
            [only] => only.it.as_ref().map(|info| info.schema),
            _ => None,
        };
        let table = Table { schema, answer: &Answers::Unknown };
        for stage in &rule.stages {
            self.stage(stage, &table);
        }
        self.locals.clear();
    }

    fn stages(&mut self, rule: &ast::Rule, rows: &Rows, fits: &mut bool) -> Option<(Vec<Stage>, Rows)> {
        let schema = self.envs[rows.env.0].it.as_ref()?.schema;
        let table = Table { schema: Some(schema), answer: &rows.answer };
        let mut left = Rows { form: Form::Selected, ..rows.clone() };
        let mut stages = Vec::new();
        // Once a stage is broken, how many rows are left is not known.
        let mut counted = true;
        for stage in &rule.stages {
            let Some(typed) = self.stage(stage, &table) else {
                *fits = false;
                counted = false;
                continue;
            };
            if counted {
                counted = self.pass(&typed, stage.span, &mut left);
                *fits &= counted;
            }
            stages.push(typed);
        }
        Some((stages, left))
    }

    /// What a stage does to the row bounds. `false`: it makes all that follows pointless.
    fn pass(&mut self, stage: &Stage, span: Span, rows: &mut Rows) -> bool {
        let full = rows.low == rows.high && rows.high == rows.tasks * rows.samples;
        let before = (rows.low, rows.high);
        let mut limits = false;
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
                limits = true;
                let count = u64::from(*count);
                if *per_task {
                    rows.samples = rows.samples.min(count);
                    rows.high = rows.high.min(rows.tasks.saturating_mul(rows.samples));
                    rows.low = if full { rows.high } else { rows.low.min(count) };
                } else {
                    (rows.low, rows.high) = (rows.low.min(count), rows.high.min(count));
                }
            }
            Stage::CapRows { count } => {
                limits = true;
                (rows.low, rows.high) = (rows.low.min(u64::from(*count)), rows.high.min(u64::from(*count)));
            }
            Stage::CapTokens { .. } => rows.low = 0,
            Stage::Dedup { .. } => rows.low = rows.low.min(1),
            Stage::Balance { max, .. } => rows.low = rows.low.min(u64::from(*max)),
            Stage::Require { count, .. } => {
                if rows.high < u64::from(*count) {
                    self.error(CheckError::NeverEnough { span, count: *count, most: rows.high });
                    return false;
                }
                rows.low = rows.low.max(u64::from(*count));
            }
        }
        if limits && full && before == (rows.low, rows.high) {
            self.error(CheckError::NoEffect { span, most: before.1 });
        }
        true
    }

    fn stage(&mut self, stage: &ast::Stage, table: &Table) -> Option<Stage> {
        let most = 1_000_000_000;
        Some(match &stage.kind {
            StageKind::Where(condition) => {
                let (typed, ty) = self.column_expr(condition, table)?;
                if ty != ColumnType::Bool {
                    let found = type_words(ty);
                    self.error(CheckError::NotCondition { span: condition.span, found });
                    return None;
                }
                Stage::Where { condition: typed }
            }
            StageKind::Top { share, per_task, by, options } => {
                let share = self.share(share, "the share of `top`");
                let ties = match options {
                    None => Some(Ties::Keep),
                    Some(block) => {
                        let fields = self.fields(block, &vocabulary::TOP);
                        let words = [("keep", Ties::Keep), ("sample", Ties::Sample)];
                        self.word_of(&fields, "ties", &words).unwrap_or(Some(Ties::Keep))
                    }
                };
                if let [_, second, ..] = by.as_slice() {
                    self.later(second.span, "`top` by several columns");
                    return None;
                }
                let by = self.keys(by, table);
                Stage::Top { share: share?, per_task: *per_task, by: by?.remove(0), ties: ties? }
            }
            StageKind::Best { count, per_task, by } => {
                let count = self.small(count, "the count of `best`", 1..=most);
                let by = self.keys(by, table);
                Stage::Best { count: count?, per_task: *per_task, by: by? }
            }
            StageKind::Worst { count, per_task, by } => {
                let count = self.small(count, "the count of `worst`", 1..=most);
                let by = self.keys(by, table);
                Stage::Worst { count: count?, per_task: *per_task, by: by? }
            }
            StageKind::Sample { count, per_task } => {
                Stage::Sample { count: self.small(count, "the count of `sample`", 1..=most)?, per_task: *per_task }
            }
            StageKind::Dedup { by } => {
                let columns: Vec<Option<_>> = by.iter().map(|path| self.column(path, table)).collect();
                let columns: Option<Vec<_>> = columns.into_iter().collect();
                Stage::Dedup { by: columns?.into_iter().map(|(column, _)| column).collect() }
            }
            StageKind::Cap { count, tokens: false } => {
                Stage::CapRows { count: self.small(count, "the count of `cap`", 1..=most)? }
            }
            StageKind::Cap { count, tokens: true } => {
                Stage::CapTokens { tokens: self.whole(count, "the tokens of `cap`", 1..=u64::from(u32::MAX))? }
            }
            StageKind::Balance { by, max } => {
                if let [_, second, ..] = by.as_slice() {
                    self.later(second.span, "`balance` by several columns");
                    return None;
                }
                let column = self.column(&by[0], table);
                let max = self.small(max, "`max`", 1..=most);
                Stage::Balance { by: column?.0, max: max? }
            }
            StageKind::Require { at_least, otherwise } => {
                let count = self.small(at_least, "the count of `require`", 1..=most);
                let words = [("fail", Otherwise::Fail), ("stop", Otherwise::Stop), ("skip", Otherwise::Skip)];
                let otherwise = match otherwise {
                    None => Some(Otherwise::Fail),
                    Some(word) => self.name_as("`else`", word, vocabulary::ELSE, &words),
                };
                Stage::Require { count: count?, otherwise: otherwise? }
            }
            StageKind::Add { .. } => return self.later_stage(stage.span, "add"),
            StageKind::Pair { .. } => return self.later_stage(stage.span, "pair"),
            StageKind::Truncate { .. } => return self.later_stage(stage.span, "truncate"),
            StageKind::Weight(_) => return self.later_stage(stage.span, "weight"),
            StageKind::Broken => return None,
        })
    }

    fn later_stage(&mut self, span: Span, word: &str) -> Option<Stage> {
        self.later(span, format!("the stage `{word}`"));
        None
    }

    /// Columns that rows can be ordered by.
    fn keys(&mut self, by: &[Path], table: &Table) -> Option<Vec<Expr>> {
        let mut keys = Vec::new();
        for path in by {
            let (column, ty) = self.column(path, table)?;
            if ty == ColumnType::Text {
                self.error(CheckError::NoOrder { span: path.span, name: path.text() });
                return None;
            }
            keys.push(Expr::Column(column));
        }
        Some(keys)
    }

    /// The column that a path names, and its type.
    fn column(&mut self, path: &Path, table: &Table) -> Option<(Column, ColumnType)> {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let parts: Vec<&str> = path.parts.iter().map(|part| part.value.as_str()).collect();
        match parts.as_slice() {
            ["iteration"] => Some((Column::Iteration, ColumnType::Number)),
            ["traj", field] => match TRAJ_COLUMNS.iter().find(|(name, _)| name == field) {
                Some((name, ty)) => Some((Column::Traj((*name).to_owned()), *ty)),
                None => {
                    let known: Vec<&str> = TRAJ_COLUMNS.iter().map(|(name, _)| *name).collect();
                    self.no_column(path, names(&known))
                }
            },
            ["task", "id"] => Some((Column::Task("id".to_owned()), ColumnType::Text)),
            ["task", field] => {
                let Some(schema) = table.schema else {
                    return Some((Column::Task((*field).to_owned()), ColumnType::Text));
                };
                let visible = schema.task.iter().filter(|field| field.visible.agent || field.visible.critic);
                let known: Vec<&str> = visible.map(|field| field.name).collect();
                let Some(found) = schema.task.iter().find(|known| known.name == *field) else {
                    return self.no_column(path, names(&known));
                };
                if !known.contains(field) {
                    self.error(CheckError::Hidden { span: path.span, path: path.text(), env: schema.name });
                    return None;
                }
                let ty = match found.ty {
                    FieldType::Text => ColumnType::Text,
                    FieldType::Int | FieldType::Ratio => ColumnType::Number,
                    FieldType::Bool => ColumnType::Bool,
                    FieldType::List(_) | FieldType::Opaque => {
                        self.error(CheckError::NoOrder { span: path.span, name: path.text() });
                        return None;
                    }
                };
                Some((Column::Task(found.name.to_owned()), ty))
            }
            ["truth", metric] => {
                let known: Vec<&str> = table.schema.map(|schema| schema.metrics.clone()).unwrap_or_default();
                if table.schema.is_some() && !known.contains(metric) {
                    return self.no_column(path, names(&known));
                }
                if !self.has_oracle() {
                    self.error(CheckError::NeedsOracle {
                        span: path.span,
                        what: format!("`{}` is ground truth", path.text()),
                    });
                    return None;
                }
                Some((Column::Truth((*metric).to_owned()), ColumnType::Number))
            }
            [field] => match table.answer {
                Answers::Unknown => Some((Column::Answer((*field).to_owned()), ColumnType::Number)),
                Answers::NotJudged => {
                    self.error(CheckError::NotJudged { span: path.span, name: (*field).to_owned() });
                    None
                }
                Answers::Schema(schema) => match schema.fields.iter().find(|known| known.name == *field) {
                    Some(found) => {
                        let ty = match found.kind {
                            AnswerKind::Int { .. } => ColumnType::Number,
                            AnswerKind::Bool => ColumnType::Bool,
                            AnswerKind::Text => ColumnType::Text,
                        };
                        Some((Column::Answer((*field).to_owned()), ty))
                    }
                    None => {
                        let answers = schema.fields.iter().map(|field| field.name.clone());
                        self.no_column(path, answers.chain(["iteration".to_owned()]).collect())
                    }
                },
            },
            _ => self.no_column(path, names(&["traj.…", "task.…", "iteration"])),
        }
    }

    fn no_column<T>(&mut self, path: &Path, known: Vec<String>) -> Option<T> {
        let last = path.parts.last().map_or("", |part| part.value.as_str());
        let near = similar(last, known.iter().map(String::as_str));
        let span = path.parts.last().map_or(path.span, |part| part.span);
        self.error(CheckError::UnknownColumn { span, name: path.text(), near, known });
        None
    }

    fn column_expr(&mut self, expr: &ast::Expr, table: &Table) -> Option<Typed> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Bool(value) => Some((Expr::Bool(*value), ColumnType::Bool)),
            ExprKind::Text(text) => Some((Expr::Text(text.clone()), ColumnType::Text)),
            ExprKind::Not(inner) => {
                let inner_expr = self.column_expr(inner, table)?;
                let inner = self.is(inner_expr, ColumnType::Bool, inner.span, "`not`")?;
                Some((Expr::Not(Box::new(inner)), ColumnType::Bool))
            }
            ExprKind::Negative(inner) => {
                let inner_expr = self.column_expr(inner, table)?;
                let inner = self.is(inner_expr, ColumnType::Number, inner.span, "`-`")?;
                Some((Expr::Negate(Box::new(inner)), ColumnType::Number))
            }
            ExprKind::Apply(Apply { path, version: None, arguments: None, block: None }) => {
                let constant = path.single().is_some_and(|name| {
                    let long = self.symbols.long(&name.value, name.span);
                    self.locals.contains_key(&name.value) || self.constants.contains_key(&long)
                });
                // A critic's field wins over a param of the same name: the row is nearer.
                let field = match (path.single(), table.answer) {
                    (Some(name), Answers::Schema(schema)) => schema.fields.iter().any(|field| field.name == name.value),
                    _ => false,
                };
                if constant && !field {
                    return self.literal(expr);
                }
                self.column(path, table).map(|(column, ty)| (Expr::Column(column), ty))
            }
            ExprKind::Binary { operator, left, right } => self.operation(operator.value, left, right, span, table),
            ExprKind::Broken => None,
            _ => self.literal(expr),
        }
    }

    fn literal(&mut self, expr: &ast::Expr) -> Option<Typed> {
        use super::value::Value;
        match self.value(expr)? {
            Value::Text(text) => Some((Expr::Text(text), ColumnType::Text)),
            Value::Bool(value) => Some((Expr::Bool(value), ColumnType::Bool)),
            other => match other.number() {
                Some(number) => Some((Expr::Number(number), ColumnType::Number)),
                None => {
                    self.error(CheckError::NoValue { span: expr.span });
                    None
                }
            },
        }
    }

    fn is(&mut self, (expr, ty): Typed, wanted: ColumnType, span: Span, of: &str) -> Option<Expr> {
        if ty == wanted {
            return Some(expr);
        }
        self.error(CheckError::Operand { span, found: type_words(ty), wanted: type_words(wanted), of: of.to_owned() });
        None
    }

    fn operation(
        &mut self,
        operator: Operator,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
        table: &Table,
    ) -> Option<Typed> {
        let of = format!("`{}`", operator.as_str());
        let op = match operator {
            Operator::In => return self.within(left, right, table),
            Operator::Range => {
                self.error(CheckError::NoValue { span });
                return None;
            }
            Operator::Or => BinaryOp::Or,
            Operator::And => BinaryOp::And,
            Operator::Equal => BinaryOp::Eq,
            Operator::Unequal => BinaryOp::Ne,
            Operator::Less => BinaryOp::Lt,
            Operator::LessOrEqual => BinaryOp::Le,
            Operator::Greater => BinaryOp::Gt,
            Operator::GreaterOrEqual => BinaryOp::Ge,
            Operator::Add => BinaryOp::Add,
            Operator::Subtract => BinaryOp::Sub,
            Operator::Multiply => BinaryOp::Mul,
            Operator::Divide => BinaryOp::Div,
        };
        let (a, b) = (self.column_expr(left, table), self.column_expr(right, table));
        let (operands, result) = match op {
            BinaryOp::Or | BinaryOp::And => (ColumnType::Bool, ColumnType::Bool),
            BinaryOp::Eq | BinaryOp::Ne => (a.as_ref().map_or(ColumnType::Number, |a| a.1), ColumnType::Bool),
            BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => (ColumnType::Number, ColumnType::Bool),
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div => (ColumnType::Number, ColumnType::Number),
        };
        let equality = matches!(op, BinaryOp::Eq | BinaryOp::Ne);
        if equality && a.is_none() {
            return None;
        }
        let a = a.and_then(|a| self.is(a, operands, left.span, &of));
        let b = b.and_then(|b| self.is(b, operands, right.span, &of));
        Some((Expr::Binary { op, left: Box::new(a?), right: Box::new(b?) }, result))
    }

    /// `x in 1..3` is `x >= 1 and x <= 3`.
    fn within(&mut self, left: &ast::Expr, right: &ast::Expr, table: &Table) -> Option<Typed> {
        let value = self.column_expr(left, table)?;
        let value = self.is(value, ColumnType::Number, left.span, "`in`")?;
        let (low, high) = self.range(right)?;
        let side = |op, bound| Expr::Binary { op, left: Box::new(value.clone()), right: Box::new(Expr::Number(bound)) };
        let (low, high) = (side(BinaryOp::Ge, low), side(BinaryOp::Le, high));
        Some((Expr::Binary { op: BinaryOp::And, left: Box::new(low), right: Box::new(high) }, ColumnType::Bool))
    }
}

fn type_words(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Number => "a number",
        ColumnType::Bool => "true or false",
        ColumnType::Text => "text",
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
        let name = match column {
            Column::Answer(name) => name.clone(),
            Column::Traj(name) => format!("traj.{name}"),
            Column::Task(name) => format!("task.{name}"),
            Column::Truth(name) => format!("truth.{name}"),
            Column::Iteration => "iteration".to_owned(),
        };
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
