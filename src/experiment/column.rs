//! Turns the expressions of a rule into typed ones, over the columns of the rows that reach them.
//!
//! # Invariants
//! `truth.*` needs `unstable(oracle)`; a task's hidden field is never a column.

use super::Checker;
use super::error::CheckError;
use super::index::Sort;
use super::rule::Answers;
use super::vocabulary;
use crate::base::Span;
use crate::env::{Field, FieldType, Schema};
use crate::node::spec::AnswerKind;
use crate::select::{BinaryOp, Column, ColumnType, Expr, Side, TRAJ_COLUMNS};
use crate::syntax::ast::{self, Apply, ExprKind, Name, Operator, Path};
use crate::syntax::similar::similar;
use std::sync::Arc;

/// What a rule is typed against.
pub struct Table<'r> {
    pub schema: Option<Arc<Schema>>,
    pub answer: &'r Answers,
    /// Where the critic is declared that has judged them.
    pub critic: Option<Span>,
    /// The rows are pairs by now.
    pub pairs: bool,
}

impl Table<'_> {
    /// A field of an answer that is not known, since its critic is broken: it may be of any type.
    pub fn is_guess(&self, expr: &Expr) -> bool {
        matches!((self.answer, expr), (Answers::Unknown, Expr::Column(Column::Answer(_))))
    }
}

type Typed = (Expr, ColumnType);

impl Checker<'_> {
    /// Columns that rows can be ordered by.
    pub(super) fn keys(&mut self, by: &[Path], table: &Table) -> Option<Vec<Expr>> {
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
    pub(super) fn column(&mut self, path: &Path, table: &Table) -> Option<(Column, ColumnType)> {
        let found = self.find_column(path, table)?;
        self.note_column(path, table, &found);
        Some(found)
    }

    /// For editors: what the words of a path mean.
    fn note_column(&mut self, path: &Path, table: &Table, (column, ty): &(Column, ColumnType)) {
        let (last, roots) = path.parts.split_last().expect("a path has a last part");
        if let (Column::Answer(name), Some(critic)) = (column, table.critic) {
            self.index.member(last.span, critic, name);
            return;
        }
        let (root, doc) = match column {
            Column::Traj(name) => ("what the agent did", vocabulary::column(name).to_owned()),
            Column::Task(name) => {
                let fields = table.schema.as_ref().map(|schema| schema.task.as_slice()).unwrap_or_default();
                let known = fields.iter().find(|field| field.name == *name);
                ("the task it worked on", known.map_or_else(String::new, |field| field.doc.clone()))
            }
            Column::Answer(_) => ("", "an answer of the critic whose verdicts reach the rule".to_owned()),
            Column::Truth(_) => ("ground truth", "ground truth of the environment".to_owned()),
            Column::Iteration => ("", "the iteration that rolled it out, from 1".to_owned()),
            Column::Added => ("", "whether the row was added from a dataset".to_owned()),
            Column::Of(..) => ("one side of a pair", String::new()),
        };
        if let [first, ..] = roots {
            self.index.brought(first.span, Sort::Column, &first.value, "", root);
        }
        if !matches!(column, Column::Of(..)) {
            self.index.brought(last.span, Sort::Column, &path.text(), type_words(*ty), doc);
        }
    }

    fn find_column(&mut self, path: &Path, table: &Table) -> Option<(Column, ColumnType)> {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let parts: Vec<&str> = path.parts.iter().map(|part| part.value.as_str()).collect();
        let side = Side::ALL.into_iter().find(|side| parts.first() == Some(&side.as_str()));
        match (side, parts.as_slice(), table.pairs) {
            (Some(side), [_, _, ..], true) => {
                let parts = path.parts[1..].to_vec();
                let span = parts.iter().map(|part| part.span).reduce(Span::to).unwrap_or(path.span);
                let one = Table { schema: table.schema.clone(), pairs: false, ..*table };
                let (column, ty) = self.column(&Path { span, parts }, &one)?;
                return Some((Column::Of(side, Box::new(column)), ty));
            }
            (Some(_), _, false) => {
                let (why, help) = ("these rows are no pairs", "`pair best with worst per task by …` makes pairs");
                self.error(CheckError::StageMisfit { span: path.span, why, help });
                return None;
            }
            (None, ["task", ..] | ["iteration"], true) | (_, _, false) => {}
            (_, _, true) => {
                let (why, help) = ("a pair has two sides", "say which: `chosen.…` or `rejected.…`");
                self.error(CheckError::StageMisfit { span: path.span, why, help });
                return None;
            }
        }
        match parts.as_slice() {
            ["iteration"] => Some((Column::Iteration, ColumnType::Number)),
            ["added"] => Some((Column::Added, ColumnType::Bool)),
            ["traj", field] => match TRAJ_COLUMNS.iter().find(|(name, _)| name == field) {
                Some((name, ty)) => Some((Column::Traj((*name).to_owned()), *ty)),
                None => {
                    let known: Vec<&str> = TRAJ_COLUMNS.iter().map(|(name, _)| *name).collect();
                    self.no_column(path, names(&known))
                }
            },
            ["task", "id"] => Some((Column::Task("id".to_owned()), ColumnType::Text)),
            ["task", _, ..] => {
                let Some(schema) = table.schema.clone() else {
                    return Some((Column::Task(parts[1..].join(".")), ColumnType::Text));
                };
                self.task_column(path, &path.parts[1..], &schema)
            }
            ["truth", metric] => {
                let known = table.schema.as_ref().map(|schema| schema.metrics.clone()).unwrap_or_default();
                if table.schema.is_some() && !known.iter().any(|known| known == metric) {
                    return self.no_column(path, known);
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
            _ => self.no_column(path, names(&["traj.…", "task.…", "iteration", "added"])),
        }
    }

    /// A field of a task that somebody may see, or of a record within it.
    fn task_column(&mut self, path: &Path, fields: &[Name], schema: &Schema) -> Option<(Column, ColumnType)> {
        let mut list: &[Field] = &schema.task;
        let mut ty = None;
        for field in fields {
            let Some(found) = list.iter().find(|known| known.name == field.value) else {
                let visible = list.iter().filter(|field| field.visible.agent || field.visible.critic);
                return self.no_column(path, visible.map(|field| field.name.clone()).collect());
            };
            if !found.visible.agent && !found.visible.critic {
                self.error(CheckError::Hidden { span: path.span, path: path.text(), env: schema.name.clone() });
                return None;
            }
            list = match &found.ty {
                FieldType::Record(inner) => inner,
                _ => &[],
            };
            ty = Some(&found.ty);
        }
        let ty = match ty {
            Some(FieldType::Text) => ColumnType::Text,
            Some(FieldType::Int | FieldType::Ratio) => ColumnType::Number,
            Some(FieldType::Bool) => ColumnType::Bool,
            _ => {
                self.error(CheckError::NoOrder { span: path.span, name: path.text() });
                return None;
            }
        };
        let name = fields.iter().map(|field| field.value.as_str()).collect::<Vec<_>>().join(".");
        Some((Column::Task(name), ty))
    }

    pub(super) fn no_column<T>(&mut self, path: &Path, known: Vec<String>) -> Option<T> {
        let last = path.parts.last().map_or("", |part| part.value.as_str());
        let near = similar(last, known.iter().map(String::as_str));
        let span = path.parts.last().map_or(path.span, |part| part.span);
        self.error(CheckError::UnknownColumn { span, name: path.text(), near, known });
        None
    }

    pub(super) fn column_expr(&mut self, expr: &ast::Expr, table: &Table) -> Option<Typed> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Bool(value) => Some((Expr::Bool(*value), ColumnType::Bool)),
            ExprKind::Text(text) => Some((Expr::Text(text.clone()), ColumnType::Text)),
            ExprKind::Not(inner) => {
                let inner_expr = self.column_expr(inner, table)?;
                let inner = self.is(inner_expr, ColumnType::Bool, inner.span, "`not`", table)?;
                Some((Expr::Not(Box::new(inner)), ColumnType::Bool))
            }
            ExprKind::Negative(inner) => {
                let inner_expr = self.column_expr(inner, table)?;
                let inner = self.is(inner_expr, ColumnType::Number, inner.span, "`-`", table)?;
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
            ExprKind::Apply(Apply { path, version: None, arguments: Some(arguments), block: None })
                if matches!(path.text().as_str(), "min" | "max") && !arguments.is_empty() =>
            {
                let (word, op) = match path.text().as_str() {
                    "min" => ("`min`", BinaryOp::Min),
                    _ => ("`max`", BinaryOp::Max),
                };
                let mut values = Vec::new();
                for argument in arguments {
                    let value = self.column_expr(&argument.value, table);
                    values.push(
                        value.and_then(|value| self.is(value, ColumnType::Number, argument.value.span, word, table)),
                    );
                }
                let values = values.into_iter().collect::<Option<Vec<Expr>>>()?;
                let join = |left, right| Expr::Binary { op, left: Box::new(left), right: Box::new(right) };
                values.into_iter().reduce(join).map(|value| (value, ColumnType::Number))
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

    fn is(&mut self, (expr, ty): Typed, wanted: ColumnType, span: Span, of: &str, table: &Table) -> Option<Expr> {
        if ty == wanted || table.is_guess(&expr) {
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
            BinaryOp::Eq | BinaryOp::Ne => {
                let known = a.iter().chain(&b).find(|(expr, _)| !table.is_guess(expr));
                (known.map_or(ColumnType::Number, |(_, ty)| *ty), ColumnType::Bool)
            }
            BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => (ColumnType::Number, ColumnType::Bool),
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Min | BinaryOp::Max => {
                (ColumnType::Number, ColumnType::Number)
            }
        };
        let equality = matches!(op, BinaryOp::Eq | BinaryOp::Ne);
        if equality && a.is_none() {
            return None;
        }
        let a = a.and_then(|a| self.is(a, operands, left.span, &of, table));
        let b = b.and_then(|b| self.is(b, operands, right.span, &of, table));
        Some((Expr::Binary { op, left: Box::new(a?), right: Box::new(b?) }, result))
    }

    /// `x in 1..3` is `x >= 1 and x <= 3`.
    fn within(&mut self, left: &ast::Expr, right: &ast::Expr, table: &Table) -> Option<Typed> {
        let value = self.column_expr(left, table)?;
        let value = self.is(value, ColumnType::Number, left.span, "`in`", table)?;
        let (low, high) = self.range(right)?;
        let side = |op, bound| Expr::Binary { op, left: Box::new(value.clone()), right: Box::new(Expr::Number(bound)) };
        let (low, high) = (side(BinaryOp::Ge, low), side(BinaryOp::Le, high));
        Some((Expr::Binary { op: BinaryOp::And, left: Box::new(low), right: Box::new(high) }, ColumnType::Bool))
    }
}

pub fn type_words(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Number => "a number",
        ColumnType::Bool => "true or false",
        ColumnType::Text => "text",
    }
}
