//! Turns `dev.success` into a metric that something really produces, and conditions over metrics into [`Until`].

use super::Checker;
use super::error::CheckError;
use super::index::Sort;
use super::model::{MetricRef, ReportItem, Until};
use super::rule::{Answers, Form, Rows};
use super::schedule::{Flow, Made};
use super::scope::Kind;
use super::vocabulary;
use crate::base::Span;
use crate::node::spec::{AnswerKind, AnswerSchema};
use crate::syntax::ast::{self, Apply, Expr, ExprKind, Name, Operator, Path, ReportLine};
use crate::syntax::similar::similar;
use std::collections::BTreeMap;

/// What a metric is for: what may be shown may not always decide.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// In a report.
    Shown,
    /// In a report, by iteration.
    Curve,
    /// It ends the loop that is being checked.
    Stop,
    /// It picks a version.
    Choice,
}

const ROLLED: [&str; 6] = ["count", "ended", "truncated", "error", "steps", "tokens"];
const CALIBRATED: [&str; 6] = ["accuracy", "kappa", "parsed", "precision", "recall", "auc"];
const TRAINED: [&str; 5] = ["loss", "loss.first", "rows", "tokens", "steps"];
const AUDITED: [&str; 6] = ["precision", "recall", "accuracy", "score", "truth", "gap"];
/// Of verdicts that say which of a task's samples are better.
const AUDITED_RELATIVE: [&str; 4] = ["precision", "recall", "truth", "concordance"];
/// Of each field of several verdicts.
const AGREED: [&str; 2] = ["alpha", "spread"];
/// What a budget bounds; a loop that read it would end otherwise on another machine.
const COSTS: [&str; 8] = ["time", "wall", "elapsed", "spend", "cost", "budget", "tokens", "price"];

impl Checker<'_> {
    pub(super) fn metric(&mut self, path: &Path, flow: &mut Flow, wanted: Wanted) -> Option<MetricRef> {
        let (first, rest) = path.parts.split_first().expect("a path has a first part");
        let metric = rest.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
        let reference = MetricRef { name: first.value.clone(), metric };
        let Some(binding) = flow.names.get_mut(&first.value) else {
            return self.declared_metric(path, reference, flow, wanted);
        };
        binding.used = true;
        let (place, audited, declared) = (binding.place.clone(), binding.audited, binding.span);
        self.index.name(first.span, declared);
        let what = match &binding.made {
            Made::Poisoned => {
                self.measured_by_none(&reference, path);
                return None;
            }
            Made::Picked { .. } => "a picked model".to_owned(),
            Made::Evaluation { .. } => format!("the evaluation `{}`", first.value),
            Made::Rows(_) => format!("the rows `{}`", first.value),
        };
        let held_out = matches!(binding.made, Made::Evaluation { held_out: true, .. });
        let made = binding.made.clone();
        let known = self.measured(&made, audited)?;
        self.note_metric(rest, &reference.metric, &made);
        if !known.contains(&reference.metric) {
            let span = rest.iter().map(|part| part.span).reduce(Span::to).unwrap_or(first.span);
            let mean = format!("{}.mean", reference.metric);
            if known.contains(&mean) {
                let near = vec![mean];
                self.error(CheckError::UnknownMetric { span, name: reference.metric, of: what, near, known });
                return None;
            }
            if !audited && AUDITED.iter().chain(&AUDITED_RELATIVE).any(|name| *name == reference.metric) {
                if flow.doubts.audits {
                    return None;
                }
                self.error(CheckError::NotAudited { span, name: reference.name, metric: reference.metric });
                return None;
            }
            let near = similar(&reference.metric, known.iter().map(String::as_str));
            self.error(CheckError::UnknownMetric { span, name: reference.metric, of: what, near, known });
            return None;
        }
        if held_out && matches!(wanted, Wanted::Stop | Wanted::Choice) {
            let use_ = if wanted == Wanted::Stop { "end the loop" } else { "pick a version" };
            self.error(CheckError::HeldOutDecides { span: path.span, path: path.text(), use_, declared });
            return None;
        }
        if !flow.changes(&place) && matches!(wanted, Wanted::Stop | Wanted::Curve) {
            self.error(CheckError::NotInLoop {
                span: path.span,
                path: path.text(),
                declared,
                stop: wanted == Wanted::Stop,
            });
            return None;
        }
        Some(reference)
    }

    /// Whatever a broken name is, it measures nothing that no name measures.
    fn measured_by_none(&mut self, reference: &MetricRef, path: &Path) {
        let metric = reference.metric.as_str();
        let schemas: Option<Vec<_>> = self.envs.iter().map(|env| Some(env.it.as_ref()?.schema.clone())).collect();
        let Some(schemas) = schemas.filter(|_| self.symbols.all_known()) else { return };
        let mut known: Vec<&str> = schemas.iter().flat_map(|schema| &schema.metrics).map(String::as_str).collect();
        known.extend(ROLLED.iter().chain(&AUDITED).chain(&["concordance", "parsed"]));
        // An answer's fields are not known here.
        if metric.is_empty() || metric.ends_with(".mean") || known.contains(&metric) {
            return;
        }
        let near = similar(metric, known.iter().copied());
        let span = path.parts[1..].iter().map(|part| part.span).reduce(Span::to).unwrap_or(path.span);
        let known = known.into_iter().map(str::to_owned).collect();
        let of = format!("the result `{}`", reference.name);
        self.error(CheckError::UnknownMetric { span, name: reference.metric.clone(), of, near, known });
    }

    /// What `name.…` may be. `None`: that is not known.
    fn measured(&self, made: &Made, audited: bool) -> Option<Vec<String>> {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let rows = match made {
            Made::Poisoned => return None,
            Made::Picked { .. } => return Some(Vec::new()),
            Made::Evaluation { env, .. } => {
                let schema = &self.envs[env.0].it.as_ref()?.schema;
                let known = schema.metrics.iter().map(String::as_str).chain(ROLLED).map(str::to_owned);
                return Some(known.collect());
            }
            Made::Rows(rows) => rows,
        };
        let mut known = match rows.form {
            Form::Rolled => names(&ROLLED),
            Form::Judged if rows.joined || rows.pairwise => names(&["count", "parsed", "unread"]),
            Form::Judged => names(&["count", "parsed"]),
            Form::Selected => names(&["count"]),
        };
        match &rows.answer {
            _ if rows.form != Form::Judged => {}
            Answers::Schema(schema) => {
                // A share of comparisons is a half on the average.
                let own = if rows.pairwise { "flips" } else { "mean" };
                let joined = if rows.joined { &AGREED[..] } else { &[] };
                known.extend(of_fields(schema, &[&[own], joined].concat()));
            }
            Answers::Unknown => return None,
            Answers::NotJudged => {}
        }
        if audited {
            known.extend(names(if rows.relative { &AUDITED_RELATIVE } else { &AUDITED }));
        }
        Some(known)
    }

    /// `success` in `dev.success`, `score` and `mean` in `graded.score.mean`.
    fn note_metric(&mut self, parts: &[Name], metric: &str, made: &Made) {
        if let ([field, mean], Made::Rows(Rows { critic: Some(critic), .. })) = (parts, made) {
            self.index.member(field.span, *critic, &field.value);
            self.index.brought(mean.span, Sort::Metric, "mean", "a number", vocabulary::metric(metric));
        } else if let Some(span) = parts.iter().map(|part| part.span).reduce(Span::to) {
            self.index.brought(span, Sort::Metric, metric, "a number", vocabulary::metric(metric));
        }
    }

    /// For editors: what each name of the schedule has measured.
    pub(super) fn note_metrics(&mut self, flow: &Flow) {
        for binding in flow.names.values() {
            if let Some(known) = self.measured(&binding.made, binding.audited) {
                self.index.metrics(binding.span, &known);
            }
        }
        for (made, critic) in [(&flow.calibrated, true), (&flow.changed, false)] {
            for name in made.keys() {
                if let Some((_, declared)) = self.symbols.find(name) {
                    let known = self.declared_metrics(name, critic);
                    self.index.metrics(declared, &known);
                }
            }
        }
    }

    /// What a calibration of a critic measures, or a training of a model.
    fn declared_metrics(&self, name: &str, critic: bool) -> Vec<String> {
        let known: &[&str] = if critic { &CALIBRATED } else { &TRAINED };
        let mut known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
        let info = self.critics.iter().find(|it| critic && it.name == name).and_then(|it| it.it.as_ref());
        if let Some(info) = info.filter(|info| info.joined()) {
            known.push("unread".to_owned());
            known.extend(of_fields(&info.answer, &AGREED));
        }
        known
    }

    fn declared_metric(
        &mut self,
        path: &Path,
        reference: MetricRef,
        flow: &mut Flow,
        wanted: Wanted,
    ) -> Option<MetricRef> {
        let first = &path.parts[0];
        let first = &ast::Name::new(self.symbols.long(&first.value, first.span), first.span);
        let reference = MetricRef { name: first.value.clone(), ..reference };
        match self.symbols.find(&first.value) {
            Some((Some(kind @ (Kind::Critic | Kind::Model)), declared)) => {
                self.mark(&first.value, first.span);
                self.note_metric(&path.parts[1..], &reference.metric, &Made::Poisoned);
                let critic = kind == Kind::Critic;
                let made = if critic { &flow.calibrated } else { &flow.changed };
                let Some(place) = made.get(&first.value).cloned() else {
                    if if critic { flow.doubts.calibrations } else { flow.doubts.trainings } {
                        return None;
                    }
                    let (span, name, metric) = (path.span, first.value.clone(), reference.metric);
                    self.error(CheckError::NotMeasured { span, name, metric, critic });
                    return None;
                };
                let known = self.declared_metrics(&first.value, critic);
                if !known.contains(&reference.metric) {
                    let near = similar(&reference.metric, known.iter().map(String::as_str));
                    let of = format!("the {} of `{}`", if critic { "calibration" } else { "training" }, first.value);
                    let span = path.parts[1..].iter().map(|part| part.span).reduce(Span::to).unwrap_or(path.span);
                    self.error(CheckError::UnknownMetric { span, name: reference.metric, of, near, known });
                    return None;
                }
                if wanted == Wanted::Choice || !flow.changes(&place) && wanted != Wanted::Shown {
                    let (span, path, stop) = (path.span, path.text(), wanted != Wanted::Curve);
                    self.error(CheckError::NotInLoop { span, path, declared, stop });
                    return None;
                }
                Some(reference)
            }
            Some((None, _)) => None,
            Some((Some(found), declared)) => {
                self.mark(&first.value, first.span);
                let (span, name, found) = (first.span, first.value.clone(), found.words());
                self.error(CheckError::WrongBinding { span, name, found, wanted: "something measured", declared });
                None
            }
            None if flow.lost => None,
            None if flow.given.contains_key(&first.value) => {
                let error = flow.too_early(&first.value, first.span);
                error.into_iter().for_each(|error| self.error(error));
                None
            }
            None if wanted == Wanted::Stop && COSTS.contains(&first.value.as_str()) => {
                self.error(CheckError::UntilCost { span: path.span, name: path.text() });
                None
            }
            None => {
                let near = self.symbols.near(&first.value, flow.names.keys().map(String::as_str));
                for near in &near {
                    flow.names.get_mut(near).expect("it was just found").used = true;
                }
                let (span, name, what) = (first.span, first.value.clone(), "measured name".to_owned());
                self.error(CheckError::Unknown { span, name, what, near });
                None
            }
        }
    }

    /// The condition that ends a loop early. `negated`: under an odd number of `not`.
    pub(super) fn until(&mut self, expr: &Expr, flow: &mut Flow, negated: bool) -> Option<Until> {
        match &expr.kind {
            ExprKind::Not(inner) => self.until(inner, flow, !negated),
            ExprKind::Binary { operator, left, right } if matches!(operator.value, Operator::And | Operator::Or) => {
                let parts = (self.until(left, flow, negated), self.until(right, flow, negated));
                let parts = vec![parts.0?, parts.1?];
                let all = (operator.value == Operator::And) != negated;
                Some(if all { Until::All(parts) } else { Until::Any(parts) })
            }
            ExprKind::Binary { operator, left, right } => {
                let (path, written, operator) = match (path_of(left), path_of(right)) {
                    (Some(path), _) if !self.is_constant(path) => (path, &**right, operator.value),
                    (_, Some(path)) => (path, &**left, mirrored(operator.value)),
                    _ => return self.not_until(expr),
                };
                let metric = self.metric(path, flow, Wanted::Stop);
                let bound = match metric {
                    Some(_) => self.real(written, "the bound", f64::MIN, f64::MAX),
                    // What it is compared with is not known, and so what it should be is not either.
                    None => self.value(written).and(None),
                };
                let (metric, bound) = (metric?, bound?);
                let operator = if negated { inverted(operator) } else { operator };
                let until = match operator {
                    Operator::GreaterOrEqual => Until::Reaches { metric, at_least: bound },
                    Operator::Greater => Until::Reaches { metric, at_least: bound.next_up() },
                    Operator::LessOrEqual => Until::Falls { metric, at_most: bound },
                    Operator::Less => Until::Falls { metric, at_most: bound.next_down() },
                    _ => return self.not_until(expr),
                };
                self.can_end(&until, expr.span, Some(written), flow);
                Some(until)
            }
            ExprKind::Stalls { of, times, margin, since } => {
                let Some(path) = path_of(of) else { return self.not_until(expr) };
                let metric = self.metric(path, flow, Wanted::Stop);
                let rounds = self.small(times, "the rounds of `stalls`", 1..=1000);
                let by = margin
                    .as_ref()
                    .map_or(Some(0.0), |margin| self.real(margin, "the margin of `stalls`", 0.0, f64::MAX));
                let since = match (since, &metric) {
                    (None, _) => Some(None),
                    (Some(path), Some(metric)) => self.including(path, &metric.metric, None, flow).map(Some),
                    (Some(_), None) => None,
                };
                if let (Some(rounds), Some(within)) = (rounds, flow.within())
                    && rounds > within.times
                {
                    let times = within.times;
                    self.error(CheckError::NeverStalls { span: expr.span, rounds, times });
                    return None;
                }
                if negated {
                    return self.not_until(expr);
                }
                let until = Until::Stalls { metric: metric?, rounds: rounds?, by: by?, since: since? };
                self.can_end(&until, expr.span, None, flow);
                Some(until)
            }
            ExprKind::Broken => None,
            // `until wall` and the like: tell what is meant before what is written.
            ExprKind::Apply(Apply { path, .. }) => {
                let known = self.metric(path, flow, Wanted::Stop);
                known.and_then(|_| self.not_until(expr))
            }
            _ => self.not_until(expr),
        }
    }

    fn not_until(&mut self, expr: &Expr) -> Option<Until> {
        self.error(CheckError::NotUntil { span: expr.span });
        None
    }

    /// An evaluation outside the loop that measured the same metric.
    pub(super) fn including(
        &mut self,
        path: &Path,
        metric: &str,
        model: Option<usize>,
        flow: &mut Flow,
    ) -> Option<String> {
        let name = path.text();
        let Some(binding) = flow.names.get_mut(&name) else {
            if let Some(error) = flow.too_early(&name, path.span) {
                self.error(error);
            } else if !flow.lost && !self.symbols.is_poisoned(&name) {
                let near = self.symbols.near(&name, flow.names.keys().map(String::as_str));
                self.error(CheckError::Unknown { span: path.span, name, what: "evaluation".to_owned(), near });
            }
            return None;
        };
        binding.used = true;
        let declared = binding.span;
        self.index.name(path.span, declared);
        match &binding.made {
            Made::Poisoned => None,
            Made::Evaluation { env, held_out, .. } => {
                let held_out = *held_out;
                let metrics = &self.envs[env.0].it.as_ref()?.schema.metrics;
                if !metrics.iter().any(|known| known == metric) && !ROLLED.contains(&metric) {
                    let known = metrics.clone();
                    let of = format!("the evaluation `{name}`");
                    let near = Vec::new();
                    self.error(CheckError::UnknownMetric { span: path.span, name: metric.to_owned(), of, near, known });
                    return None;
                }
                if held_out {
                    self.error(CheckError::HeldOutDecides { span: path.span, path: name, use_: "decide", declared });
                    return None;
                }
                if let Some(model) = model
                    && !self.measures(&name, model, path.span, flow)
                {
                    return None;
                }
                Some(name)
            }
            other => {
                let found = other.words();
                self.error(CheckError::WrongBinding {
                    span: path.span,
                    name,
                    found,
                    wanted: "an evaluation",
                    declared,
                });
                None
            }
        }
    }

    /// Whether `name` measured versions of `model`.
    pub(super) fn measures(&mut self, name: &str, model: usize, span: Span, flow: &Flow) -> bool {
        let Some(binding) = flow.names.get(name) else { return true };
        match &binding.made {
            Made::Evaluation { model: measured, .. } if measured.0 == model => true,
            Made::Poisoned => false,
            made => {
                let measured = match made {
                    Made::Evaluation { model, .. } => Some(self.models[model.0].name.clone()),
                    _ => None,
                };
                let model = self.models[model].name.clone();
                let (name, declared) = (name.to_owned(), binding.span);
                self.error(CheckError::MeasuresOther { span, name, model, measured, declared });
                false
            }
        }
    }

    pub(super) fn report_line(&mut self, line: &ReportLine, flow: &mut Flow) -> Option<ReportItem> {
        let wanted = if line.by.is_some() { Wanted::Curve } else { Wanted::Shown };
        let mut fits = true;
        if let Some(by) = &line.by
            && let Some(index) = flow.indices.iter().find(|index| index.value == by.value)
        {
            self.index.name(by.span, index.span);
        }
        if let Some(by) = &line.by
            && !flow.indices.iter().any(|index| index.value == by.value)
            && !flow.lost
        {
            let known: Vec<String> = flow.indices.iter().map(|index| index.value.clone()).collect();
            let near = similar(&by.value, known.iter().map(String::as_str));
            self.error(CheckError::UnknownIndex { span: by.span, name: by.value.clone(), near, known });
            fits = false;
        }
        let mut shown: BTreeMap<String, Span> = BTreeMap::new();
        for path in &line.series {
            if let Some(first) = shown.get(&path.text()).copied() {
                self.error(CheckError::Again { span: path.span, what: format!("`{}`", path.text()), first });
            }
            shown.entry(path.text()).or_insert(path.span);
        }
        let metrics: Vec<Option<MetricRef>> = line.series.iter().map(|path| self.metric(path, flow, wanted)).collect();
        let metrics = metrics.into_iter().collect::<Option<Vec<_>>>()?;
        let item = match line.form.value.as_str() {
            "plot" => ReportItem::Plot { metrics },
            _ => ReportItem::Table { metrics },
        };
        fits.then_some(item)
    }
}

/// These measures of each field that is a figure.
fn of_fields(schema: &AnswerSchema, measures: &[&str]) -> Vec<String> {
    let counted = schema.fields.iter().filter(|field| field.kind != AnswerKind::Text);
    counted.flat_map(|field| measures.iter().map(move |measure| format!("{}.{measure}", field.name))).collect()
}

fn path_of(expr: &Expr) -> Option<&Path> {
    match &expr.kind {
        ExprKind::Apply(Apply { path, version: None, arguments: None, block: None }) => Some(path),
        _ => None,
    }
}

fn mirrored(operator: Operator) -> Operator {
    match operator {
        Operator::Less => Operator::Greater,
        Operator::LessOrEqual => Operator::GreaterOrEqual,
        Operator::Greater => Operator::Less,
        Operator::GreaterOrEqual => Operator::LessOrEqual,
        other => other,
    }
}

fn inverted(operator: Operator) -> Operator {
    match operator {
        Operator::Less => Operator::GreaterOrEqual,
        Operator::LessOrEqual => Operator::Greater,
        Operator::Greater => Operator::LessOrEqual,
        Operator::GreaterOrEqual => Operator::Less,
        other => other,
    }
}
