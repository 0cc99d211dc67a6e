//! Turns a rule into its typed form, stage by stage, against the rows that reach it.
//!
//! Expressions are typed in [`super::column`], row counts and value ranges followed in [`super::counts`].
//!
//! # Invariants
//! A rule is typed once for each way it is used: for the rows, for the arguments, for the iteration.

use super::column::{Table, type_words};
use super::counts::StageCounts;
use super::error::CheckError;
use super::interval::{Interval, Known};
use super::jsonl::Holds;
use super::model::{EnvId, ModelId, Named, RuleId};
use super::schedule::Flow;
use super::scope::Kind;
use super::value::{Value, cast, wanted};
use super::{Checker, vocabulary};
use crate::base::Span;
use crate::node::spec::{AnswerKind, AnswerSchema, PerIteration};
use crate::select::{CellValue, Column, ColumnType, Otherwise, Rule, Side, Stage, Ties};
use crate::syntax::ast::{self, Argument, Block, EntryKind, ExprKind, Parameter, Path, StageKind};
use crate::syntax::similar::similar;
use crate::syntax::words::Class;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of some rows before anything runs.
#[derive(Clone, Debug)]
pub struct Rows {
    pub model: ModelId,
    pub env: EnvId,
    pub split: String,
    pub held_out: bool,
    /// Where the critic is declared that has judged them.
    pub critic: Option<Span>,
    pub form: Form,
    pub answer: Answers,
    /// Several verdicts on each have become one.
    pub joined: bool,
    /// They are shares of comparisons.
    pub pairwise: bool,
    /// Their verdicts are relative to others of their task.
    pub relative: bool,
    pub tasks: u64,
    /// At most so many of one task.
    pub samples: u64,
    pub low: u64,
    pub high: u64,
    pub known: Known,
    /// Each is one trajectory better than another of its task.
    pub pairs: bool,
    /// Each has a weight.
    pub weighted: bool,
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
            known.insert(Column::Truth(metric.clone()), Interval::SHARE);
        }
        let first = f64::from(u32::from(iterations > 0));
        known.insert(Column::Iteration, Interval::whole(first, f64::from(iterations)));
        known
    }

    /// A rule as one selection uses it, for each iteration where its arguments name the loop's index, and the rows it may
    /// leave. `None`: a diagnostic has told why.
    pub(super) fn rule_each(
        &mut self,
        id: usize,
        arguments: &[Argument],
        rows: &Rows,
        at: Span,
        flow: &Flow,
    ) -> Option<(PerIteration<RuleId>, Rows)> {
        let before = self.errors.len();
        let typed = self.rule_by_iteration(id, arguments, rows, at, flow);
        let idle: Vec<CheckError> = self.errors.extract_if(before.., |error| error.idle().is_some()).collect();
        // A stage that does nothing here may still decide where the rule is used again.
        match self.idle.entry(id) {
            Entry::Vacant(first) => _ = first.insert(idle),
            Entry::Occupied(mut known) if typed.is_some() => {
                let here = places(&idle);
                known.get_mut().retain(|stage| is_at(stage, &here));
            }
            Entry::Occupied(_) => {}
        }
        typed
    }

    fn rule_by_iteration(
        &mut self,
        id: usize,
        arguments: &[Argument],
        rows: &Rows,
        at: Span,
        flow: &Flow,
    ) -> Option<(PerIteration<RuleId>, Rows)> {
        let within = flow.within().and_then(|within| Some((within.times, within.index.clone()?)));
        let Some((times, index)) = within.filter(|(_, index)| arguments.iter().any(|it| names(&it.value, index)))
        else {
            let (rule, rows) = self.rule(id, arguments, rows, at, None)?;
            return Some((PerIteration::always(rule), rows));
        };
        let mut cases: Vec<(u32, RuleId)> = Vec::new();
        let mut left: Option<Rows> = None;
        let before = self.errors.len();
        // A stage that every row passes in one iteration may still decide in another.
        let mut idle: Option<Vec<CheckError>> = None;
        for iteration in 1..=times {
            let typed = self.rule(id, arguments, rows, at, Some((&index, iteration)));
            let (here, told): (Vec<_>, Vec<_>) = self.errors.drain(before..).partition(|error| error.idle().is_some());
            self.errors.extend(told);
            idle = Some(match idle {
                None => here,
                Some(known) => {
                    let here = places(&here);
                    known.into_iter().filter(|stage| is_at(stage, &here)).collect()
                }
            });
            let (rule, rows) = typed?;
            cases.push((iteration, rule));
            left = Some(match left {
                None => rows,
                Some(before) => before.or(rows),
            });
        }
        self.errors.extend(idle.into_iter().flatten());
        let (_, otherwise) = *cases.last()?;
        Some((PerIteration { cases, otherwise }, left?))
    }

    fn rule(
        &mut self,
        id: usize,
        arguments: &[Argument],
        rows: &Rows,
        at: Span,
        index: Option<(&str, u32)>,
    ) -> Option<(RuleId, Rows)> {
        let rule = self.rule_items[id].clone();
        if self.symbols.is_poisoned(&rule.name.value) {
            return None;
        }
        self.locals.clear();
        let mut fits = self.parameters_twice(&rule.parameters).is_empty();
        if arguments.len() != rule.parameters.len() || arguments.iter().any(|argument| argument.name.is_some()) {
            let names: Vec<&str> = rule.parameters.iter().map(|parameter| parameter.name.value.as_str()).collect();
            let name = rule.name.value.clone();
            let wanted = if names.is_empty() { name.clone() } else { format!("{name}({})", names.join(", ")) };
            self.error(CheckError::Arguments { span: at, wanted, name });
            return None;
        }
        self.locals.extend(index.map(|(index, at)| (index.to_owned(), Some(Value::Int(i64::from(at))))));
        let values: Vec<Option<Value>> = rule
            .parameters
            .iter()
            .zip(arguments)
            .map(|(parameter, argument)| self.argument(parameter, argument))
            .collect();
        self.locals.clear();
        for (parameter, value) in rule.parameters.iter().zip(values) {
            fits &= value.is_some();
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

    /// The value of an argument, as its parameter's type takes it.
    fn argument(&mut self, parameter: &Parameter, argument: &Argument) -> Option<Value> {
        let kind = parameter.ty.name.path.text();
        if parameter.ty.name.of.is_some() || parameter.ty.name.optional || !Class::Type.has(&kind) {
            let near = similar(&kind, Class::Type.names());
            let known = Class::Type.names().collect();
            self.error(CheckError::UnknownType { span: parameter.ty.name.span, name: kind, near, known });
            return None;
        }
        let value = self.value(&argument.value)?;
        let (span, of) = (argument.value.span, format!("`{}`", parameter.name.value));
        let Some(value) = cast(&value, &kind) else {
            self.error(CheckError::Mismatch { span, found: value.words(), wanted: wanted(&kind), of });
            return None;
        };
        if let (Some(within), Some(number)) = (&parameter.ty.within, value.number()) {
            let (low, high) = self.range(within)?;
            if !(low..=high).contains(&number) {
                let declared = Some(within.span);
                self.error(CheckError::Range { span, of, value: number, low, high, declared });
                return None;
            }
        }
        Some(value)
    }

    /// Names that more than one parameter has, each told once.
    pub(super) fn parameters_twice<'p>(&mut self, parameters: &'p [Parameter]) -> Vec<&'p str> {
        let mut names: BTreeMap<&str, Span> = BTreeMap::new();
        let mut twice = Vec::new();
        for Parameter { name, .. } in parameters {
            let first = *names.entry(&name.value).or_insert(name.span);
            if first != name.span {
                self.error(CheckError::FieldTwice { span: name.span, name: name.value.clone(), first });
                twice.push(name.value.as_str());
            }
        }
        twice
    }

    /// Types a rule that nothing uses, as far as that goes: any name may be a critic's field.
    pub(super) fn rule_alone(&mut self, rule: &ast::Rule) {
        self.parameters_twice(&rule.parameters);
        for parameter in &rule.parameters {
            self.locals.insert(parameter.name.value.clone(), None);
        }
        let schema = match self.envs.as_slice() {
            [only] => only.it.as_ref().map(|info| info.schema.clone()),
            _ => None,
        };
        let mut table = Table { schema, answer: &Answers::Unknown, critic: None, pairs: false };
        self.index.enter(rule.name.span);
        for stage in &rule.stages {
            self.stage(stage, &table, None);
            table.pairs |= matches!(stage.kind, StageKind::Pair { .. });
        }
        self.locals.clear();
    }

    fn stages(&mut self, rule: &ast::Rule, rows: &Rows, fits: &mut bool) -> Option<(Vec<Stage>, Rows)> {
        let mut after = Vec::new();
        let schema = self.envs[rows.env.0].it.as_ref()?.schema.clone();
        let mut table = Table { schema: Some(schema), answer: &rows.answer, critic: rows.critic, pairs: rows.pairs };
        self.index.enter(rule.name.span);
        let mut left = Rows { form: Form::Selected, ..rows.clone() };
        let (mut stages, mut done) = (Vec::new(), Vec::new());
        // Once a stage is broken, how many rows are left is not known.
        let mut counted = true;
        for stage in &rule.stages {
            let typed = self.stage(stage, &table, Some(rows.env));
            table.pairs |= matches!(stage.kind, StageKind::Pair { .. });
            let Some(typed) = typed else {
                *fits = false;
                counted = false;
                continue;
            };
            if counted {
                self.done_before(&mut done, &typed, stage.span, &left);
                counted = self.pass(&typed, stage.span, &mut left);
                *fits &= counted;
                after.push(left.bounds());
            }
            stages.push(typed);
        }
        let counts = StageCounts { stages: stages.clone(), before: rows.bounds(), after };
        if *fits && !self.counts.contains(&counts) {
            self.counts.push(counts);
        }
        Some((stages, left))
    }

    fn stage(&mut self, stage: &ast::Stage, table: &Table, env: Option<EnvId>) -> Option<Stage> {
        let most = 1_000_000_000;
        Some(match &stage.kind {
            StageKind::Where(condition) => {
                let (typed, ty) = self.column_expr(condition, table)?;
                if ty != ColumnType::Bool && !table.is_guess(&typed) {
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
                self.one_column(by, "top 40% by score")?;
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
                self.one_column(by, "balance by task.id max 4")?;
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
            StageKind::Majority { by } => {
                let columns: Vec<Option<_>> = by.iter().map(|path| self.column(path, table)).collect();
                let columns: Option<Vec<_>> = columns.into_iter().collect();
                Stage::Majority { by: columns?.into_iter().map(|(column, _)| column).collect() }
            }
            StageKind::Add { dataset, options } => {
                self.later(stage.span, "the stage `add`");
                self.not_on_pairs(stage.span, table)?;
                self.add(dataset, options.as_ref(), table, env)?
            }
            StageKind::Pair { by, margin } => {
                self.later(stage.span, "the stage `pair`");
                self.not_on_pairs(stage.span, table)?;
                let by = self.keys(by, table);
                let margin = margin.as_ref().map(|margin| self.real(margin, "the margin of `pair`", 0.0, 1e9));
                let margin = match margin {
                    None => None,
                    Some(margin) => Some(margin?),
                };
                Stage::Pair { by: by?, margin }
            }
            StageKind::Truncate { field, to } => {
                self.later(stage.span, "the stage `truncate`");
                if !table.pairs {
                    let (why, help) =
                        ("these rows are no pairs", "`truncate` cuts one side of a pair: put `pair` before it");
                    self.error(CheckError::StageMisfit { span: stage.span, why, help });
                    return None;
                }
                let text = field.text();
                let Some(side) = Side::ALL.into_iter().find(|side| side.as_str() == text) else {
                    let near = similar(&text, ["chosen", "rejected"]);
                    let (of, known) = ("the side that `truncate` cuts".to_owned(), ["chosen", "rejected"]);
                    let known = known.map(str::to_owned).into();
                    self.error(CheckError::UnknownWord { span: field.span, of, found: Some(text), near, known });
                    return None;
                };
                Stage::Truncate { side, to: self.number(to, table)? }
            }
            StageKind::Weight(by) => {
                self.later(stage.span, "the stage `weight`");
                Stage::Weight { by: self.number(by, table)? }
            }
            StageKind::Broken => return None,
        })
    }

    fn number(&mut self, expr: &ast::Expr, table: &Table) -> Option<crate::select::Expr> {
        let (typed, ty) = self.column_expr(expr, table)?;
        if ty == ColumnType::Text {
            let (found, of) = (type_words(ty), "this stage".to_owned());
            self.error(CheckError::Operand { span: expr.span, found, wanted: "a number", of });
            return None;
        }
        Some(typed)
    }

    fn one_column(&mut self, by: &[Path], wanted: &str) -> Option<()> {
        let [_, second, ..] = by else { return Some(()) };
        let name = wanted.split(' ').next().unwrap_or_default().to_owned();
        self.error(CheckError::Arguments { span: second.span, wanted: wanted.to_owned(), name });
        None
    }

    fn not_on_pairs(&mut self, span: Span, table: &Table) -> Option<()> {
        if table.pairs {
            let (why, help) = ("the rows are pairs by now", "put it before `pair`");
            self.error(CheckError::StageMisfit { span, why, help });
            return None;
        }
        Some(())
    }

    /// Rows of a dataset beside the judged ones: what rules read of the critic's answer they must be given.
    fn add(&mut self, path: &Path, options: Option<&Block>, table: &Table, env: Option<EnvId>) -> Option<Stage> {
        let dataset = self.reference_path(path, Kind::Dataset);
        let empty = Block { span: path.span, entries: Vec::new(), broken: false };
        let block = options.unwrap_or(&empty);
        let mut cells = BTreeMap::new();
        let mut fits = !block.broken;
        for entry in &block.entries {
            let cell = self.added_cell(entry, table);
            fits &= cell.is_some();
            if let Some((column, cell)) = cell
                && cells.insert(column, cell).is_some()
            {
                let name = entry.key.text();
                let first =
                    block.entries.iter().find(|other| other.key.text() == name).map_or(path.span, |it| it.key.span);
                self.error(CheckError::FieldTwice { span: entry.key.span, name, first });
                fits = false;
            }
        }
        let columns = dataset
            .and_then(|id| self.datasets[id].it.as_ref())
            .map(|info| info.rows.columns.clone())
            .unwrap_or_default();
        if let (true, Answers::Schema(schema)) = (fits, table.answer) {
            for field in schema.fields.iter().filter(|field| field.kind != AnswerKind::Text) {
                let due = if field.kind == AnswerKind::Bool { Holds::Bool } else { Holds::Number };
                let own = columns.get(&field.name) == Some(&due);
                if !own && !cells.contains_key(&Column::Answer(field.name.clone())) {
                    let (span, name) = (block.span, field.name.clone());
                    self.error(CheckError::AddLacks { span, name });
                    fits = false;
                }
            }
        }
        let dataset = dataset?;
        let info = self.datasets[dataset].it.as_ref()?;
        if info.labelled {
            if self.has_oracle() {
                self.error(CheckError::NeedsThrough { span: path.span, name: path.text() });
            } else {
                let what = format!("`{}` is labelled by ground truth", path.text());
                self.error(CheckError::NeedsOracle { span: path.span, what });
            }
            return None;
        }
        if let (Some(of), Some(env)) = (info.env, env)
            && of != env
        {
            let (why, help) = ("the dataset is of another environment", "add what the rows' environment offers");
            self.error(CheckError::StageMisfit { span: path.span, why, help });
            return None;
        }
        fits.then_some(Stage::Add { dataset, cells })
    }

    fn added_cell(&mut self, entry: &ast::Entry, table: &Table) -> Option<(Column, CellValue)> {
        let EntryKind::Value(value) = &entry.kind else {
            if !matches!(entry.kind, EntryKind::Broken) {
                let name = entry.key.text();
                let wanted = format!("{name} = …");
                self.error(CheckError::WrongForm { span: entry.span, name, wanted });
            }
            return None;
        };
        let (column, ty) = self.column(&entry.key, table)?;
        let found = self.value(value)?;
        let cell = match (&found, ty) {
            (Value::Text(text), ColumnType::Text) => CellValue::Text(text.clone()),
            (Value::Bool(value), ColumnType::Bool) => CellValue::Bool(*value),
            (found, ColumnType::Number) if found.number().is_some() => {
                let number = found.number().expect("asked just above");
                if let (Answers::Schema(schema), Column::Answer(name)) = (table.answer, &column)
                    && let Some(AnswerKind::Int { min, max }) =
                        schema.fields.iter().find(|field| field.name == *name).map(|field| &field.kind)
                    && !(*min as f64..=*max as f64).contains(&number)
                {
                    let (of, low, high) = (format!("`{name}`"), *min as f64, *max as f64);
                    self.error(CheckError::Range { span: value.span, of, value: number, low, high, declared: None });
                    return None;
                }
                CellValue::Number(number)
            }
            _ => {
                let (found, of) = (found.words(), format!("`{}`", entry.key.text()));
                self.error(CheckError::Mismatch { span: value.span, found, wanted: type_words(ty), of });
                return None;
            }
        };
        Some((column, cell))
    }
}

impl Rows {
    /// What is known where either may be.
    fn or(self, other: Self) -> Self {
        let mut known = Known::new();
        for (column, a) in &self.known {
            if let Some(b) = other.known.get(column) {
                let hull = Interval { low: a.low.min(b.low), high: a.high.max(b.high), whole: a.whole && b.whole };
                known.insert(column.clone(), hull);
            }
        }
        let (low, high) = (self.low.min(other.low), self.high.max(other.high));
        Self { low, high, samples: self.samples.max(other.samples), known, ..self }
    }
}

/// Where the stages are that do nothing.
fn places(idle: &[CheckError]) -> BTreeSet<Span> {
    idle.iter().filter_map(CheckError::idle).collect()
}

fn is_at(stage: &CheckError, places: &BTreeSet<Span>) -> bool {
    stage.idle().is_some_and(|place| places.contains(&place))
}

/// Whether an expression names something.
fn names(expr: &ast::Expr, name: &str) -> bool {
    match &expr.kind {
        ExprKind::Apply(apply) => {
            let arguments = apply.arguments.iter().flatten();
            apply.path.text() == name || arguments.into_iter().any(|argument| names(&argument.value, name))
        }
        ExprKind::Not(inner) | ExprKind::Negative(inner) => names(inner, name),
        ExprKind::Binary { left, right, .. } => names(left, name) || names(right, name),
        _ => false,
    }
}
