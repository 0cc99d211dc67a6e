//! Turns an experiment's schedule into typed statements, each against what the statements before it have made.
//!
//! # Invariants
//! A name means one thing in a file. Held-out splits never train, stop or pick.

use super::error::CheckError;
use super::metric::Wanted;
use super::model::{
    CriticId, DatasetId, EnvId, Experiment, MetricRef, ModelId, ModelRef, Named, ReportItem, RowsRef, Statement,
    TrainerId, Version,
};
use super::rule::Rows;
use super::scope::Kind;
use super::{Checker, Slots, vocabulary};
use crate::base::Span;
use crate::syntax::ast::{self, Name, Path, Repeat, Slot, StatementKind, VersionKind};
use std::collections::{BTreeMap, BTreeSet};

/// What a `let` of the schedule has named.
#[derive(Debug)]
pub struct Binding {
    pub span: Span,
    pub made: Made,
    /// The loops it is made in, outermost first.
    pub place: Vec<usize>,
    pub used: bool,
    /// An `audit` has compared it with the truth.
    pub audited: bool,
}

#[derive(Clone, Debug)]
pub enum Made {
    Rows(Rows),
    Evaluation { model: ModelId, env: EnvId, held_out: bool },
    Picked { model: ModelId },
    Poisoned,
}

impl Made {
    pub fn words(&self) -> &'static str {
        match self {
            Made::Rows(_) => "rows",
            Made::Evaluation { .. } => "an evaluation",
            Made::Picked { .. } => "a picked model",
            Made::Poisoned => "broken",
        }
    }
}

/// A loop of the schedule.
#[derive(Clone, Debug)]
pub struct Loop {
    pub times: u32,
    /// `None` where the loop's head could not be read.
    pub index: Option<String>,
}

/// What the schedule has made so far.
#[derive(Debug, Default)]
pub struct Flow {
    pub names: BTreeMap<String, Binding>,
    /// Critics that a `calibrate` has measured.
    pub calibrated: BTreeMap<String, Vec<usize>>,
    /// What has been audited, and calibrated since the last training: where, in which loops.
    pub audits: BTreeMap<(String, Vec<usize>), Span>,
    pub calibrations: BTreeMap<(CriticId, DatasetId, Vec<usize>), Span>,
    /// Models that a `train` has changed; both say in which loops.
    pub changed: BTreeMap<String, Vec<usize>>,
    /// How often each model may have been trained so far.
    pub versions: BTreeMap<ModelId, u64>,
    /// Metrics of `@best(…)` that are made later in the loop: looked up once they are.
    pub awaited: Vec<(Path, ModelId)>,
    /// Every loop so far.
    pub loops: Vec<Loop>,
    /// Those that are being checked, outermost first.
    pub place: Vec<usize>,
    /// Indices of the loops so far.
    pub indices: Vec<Name>,
    /// Prompts that each model slot is rolled out with, by name, over the whole schedule.
    pub prompts: Vec<(String, Name)>,
    /// Splits whose rows a training has seen.
    pub trained: BTreeSet<(EnvId, String)>,
    pub evaluated: Vec<(EnvId, String, Span)>,
    /// Statements whose names are not known, so an unknown name may be theirs.
    pub lost: bool,
    /// What statements that do not hold would have measured, so it is not called missing.
    pub doubts: Doubts,
    /// Some rollout does not say its prompt.
    pub promptless: bool,
    /// Names given to results that some declaration has already.
    pub shadows: BTreeSet<String>,
    /// Every name that some `let` of the schedule gives, so that one used too early is not called unknown.
    pub given: BTreeMap<String, Span>,
}

#[derive(Debug, Default)]
pub struct Doubts {
    pub audits: bool,
    pub calibrations: bool,
    pub trainings: bool,
}

impl Doubts {
    fn note(&mut self, kind: &StatementKind) {
        let unread = matches!(kind, StatementKind::Broken { declares } if declares.is_empty());
        self.audits |= unread || matches!(kind, StatementKind::Audit { .. });
        self.calibrations |= unread || matches!(kind, StatementKind::Calibrate { .. });
        self.trainings |= unread || matches!(kind, StatementKind::Train(_));
    }
}

impl Flow {
    /// The innermost loop that is being checked.
    pub fn within(&self) -> Option<&Loop> {
        self.place.last().map(|id| &self.loops[*id])
    }

    /// Whether what is made at a place changes with the loop that is being checked.
    pub fn changes(&self, place: &[usize]) -> bool {
        !place.is_empty() && place.starts_with(&self.place)
    }

    /// That `name`, which nothing has made so far, is made later.
    pub fn too_early(&self, name: &str, span: Span) -> Option<CheckError> {
        let declared = *self.given.get(name).filter(|_| !self.names.contains_key(name))?;
        Some(CheckError::TooEarly { span, name: name.to_owned(), declared })
    }
}

impl Checker<'_> {
    pub(super) fn experiment(&mut self, experiment: &ast::Experiment, doc: &str) -> Option<Experiment> {
        let fields = self.fields(&experiment.body, &vocabulary::EXPERIMENT);
        let budget = fields.block("budget").map(|block| self.budget(block));
        let seed = self.whole_of(&fields, "seed").flatten();
        let mut flow = Flow::default();
        for statements in &experiment.schedules {
            survey(statements, &mut flow);
        }
        for (slot, prompt) in &mut flow.prompts {
            *slot = self.symbols.long(slot, prompt.span);
            prompt.value = self.symbols.long(&prompt.value, prompt.span);
        }
        // Each evaluation without a prompt looks through them.
        flow.prompts.sort_by(|a, b| (&a.0, &a.1.value).cmp(&(&b.0, &b.1.value)));
        flow.prompts.dedup_by(|a, b| (&a.0, &a.1.value) == (&b.0, &b.1.value));
        if let [_, second, ..] = experiment.schedules.as_slice() {
            let first = experiment.schedules[0].span;
            self.error(CheckError::FieldTwice { span: second.span, name: "schedule".to_owned(), first });
        }
        // `schedule {` written twice leaves the first one empty.
        let mut schedules = experiment.schedules.iter();
        let schedule = match schedules.clone().find(|schedule| !schedule.list.is_empty()).or_else(|| schedules.next()) {
            Some(statements) => {
                flow.lost = statements.broken;
                self.statements(statements, &mut flow)
            }
            None => {
                if !experiment.body.broken {
                    let (span, owner) = (experiment.body.span, &vocabulary::EXPERIMENT);
                    self.error(CheckError::MissingField { span, name: "schedule", owner });
                }
                None
            }
        };
        if let [_, second, ..] = experiment.reports.as_slice() {
            let first = experiment.reports[0].span;
            self.error(CheckError::FieldTwice { span: second.span, name: "report".to_owned(), first });
        }
        let report: Option<Vec<ReportItem>> = match experiment.reports.first() {
            None => Some(Vec::new()),
            Some(report) => {
                let items: Vec<Option<ReportItem>> =
                    report.lines.iter().map(|line| self.report_line(line, &mut flow)).collect();
                items.into_iter().collect::<Option<Vec<_>>>().filter(|_| !report.broken)
            }
        };
        self.after(&flow, schedule.is_some());
        self.note_metrics(&flow);
        Some(Experiment {
            name: experiment.name.value.clone(),
            doc: doc.to_owned(),
            seed: seed?,
            budget: budget.map_or(Some(None), |budget| budget.map(Some))?,
            unstable: self.unstable.iter().map(|(feature, _)| feature.clone()).collect(),
            envs: all(&self.envs, |info| info.spec.clone())?,
            datasets: all(&self.datasets, |info| info.it.clone())?,
            models: all(&self.models, Clone::clone)?,
            prompts: all(&self.prompts, |info| info.template.clone())?,
            critics: all(&self.critics, |info| info.it.clone())?,
            rules: self.rules.clone(),
            trainers: all(&self.trainers, Clone::clone)?,
            schedule: schedule?,
            report: report?,
        })
    }

    /// What can only be said once the whole schedule is known.
    fn after(&mut self, flow: &Flow, sound: bool) {
        for (env, split, span) in &flow.evaluated {
            if flow.trained.contains(&(*env, split.clone())) {
                self.error(CheckError::EvaluatesTraining { span: *span, split: split.clone() });
            }
        }
        if !sound {
            return;
        }
        for (name, binding) in &flow.names {
            if !binding.used && matches!(binding.made, Made::Rows(_)) && !name.starts_with('_') {
                self.error(CheckError::UnusedRows { span: binding.span, name: name.clone() });
            }
        }
    }

    pub(super) fn statements(&mut self, statements: &ast::Statements, flow: &mut Flow) -> Option<Vec<Statement>> {
        let mut list = Vec::new();
        let mut sound = !statements.broken;
        for statement in &statements.list {
            match self.statement(statement, flow) {
                Some(typed) => list.push(typed),
                None => {
                    sound = false;
                    flow.doubts.note(&statement.kind);
                    if let Some(name) = &statement.name
                        && !flow.names.contains_key(&name.value)
                    {
                        self.bind(name, Made::Poisoned, flow);
                    }
                }
            }
        }
        sound.then_some(list)
    }

    fn statement(&mut self, statement: &ast::Statement, flow: &mut Flow) -> Option<Statement> {
        let name = statement.name.as_ref();
        let span = statement.span;
        match &statement.kind {
            StatementKind::Rollout { model, split, options } => {
                self.rollout(name, span, model, split, options.as_ref(), flow)
            }
            StatementKind::Judge { rows, critic, options } => {
                self.judge(name, span, rows, critic, options.as_ref(), flow)
            }
            StatementKind::Select { rows, rule, arguments } => {
                self.select(name, span, rows, rule, arguments.as_deref().unwrap_or_default(), flow)
            }
            StatementKind::Audit { rows, against } => {
                self.no_name(name, "audit");
                let audit = self.audit(rows, against.as_ref(), flow);
                self.again(audit, span, flow)
            }
            StatementKind::Calibrate { critic, dataset } => {
                self.no_name(name, "calibrate");
                let calibration = self.calibrate(critic, dataset, flow);
                self.again(calibration, span, flow)
            }
            StatementKind::Train(train) => {
                self.no_name(name, "train");
                flow.calibrations.clear();
                self.train(train, span, flow)
            }
            StatementKind::Evaluate { model, split, options } => {
                self.evaluate(name, model, split, options.as_ref(), flow)
            }
            StatementKind::Repeat(repeat) => {
                self.no_name(name, "repeat");
                self.repeat(repeat, flow)
            }
            StatementKind::Pick { model, by, including } => self.pick(name, span, model, by, including, flow),
            StatementKind::Broken { declares } => {
                for name in declares {
                    self.bind(name, Made::Poisoned, flow);
                }
                flow.lost |= declares.is_empty() && name.is_none();
                None
            }
        }
    }

    /// Tells of an audit or a calibration whose figures are there already.
    fn again(&mut self, statement: Option<Statement>, span: Span, flow: &mut Flow) -> Option<Statement> {
        let place = flow.place.clone();
        let (what, first) = match statement.as_ref()? {
            Statement::Audit { rows, metric } => {
                let key = (format!("{} {} {metric}", rows.name, rows.all_iterations), place);
                ("the same audit", *flow.audits.entry(key).or_insert(span))
            }
            Statement::Calibrate { critic, dataset } => {
                ("the same calibration", *flow.calibrations.entry((*critic, *dataset, place)).or_insert(span))
            }
            _ => return statement,
        };
        if first != span {
            self.error(CheckError::Again { span, what: what.to_owned(), first });
        }
        statement
    }

    fn no_name(&mut self, name: Option<&Name>, word: &'static str) {
        if let Some(name) = name {
            self.error(CheckError::NameForNothing { span: name.span, word });
        }
    }

    pub(super) fn bind(&mut self, name: &Name, made: Made, flow: &mut Flow) {
        let first = flow.names.get(&name.value).map(|binding| binding.span);
        let declared = self.symbols.find(&name.value).map(|(_, span)| span);
        if let Some(first) = first.or(declared) {
            self.error(CheckError::Duplicate { span: name.span, name: name.value.clone(), first });
            flow.shadows.insert(name.value.clone());
            return;
        }
        self.index.binding(name, &made);
        let place = flow.place.clone();
        let binding = Binding { span: name.span, made, place, used: false, audited: false };
        flow.names.insert(name.value.clone(), binding);
    }

    /// The name that a result must have.
    pub(super) fn due_name<'n>(
        &mut self,
        name: Option<&'n Name>,
        span: Span,
        word: &'static str,
        flow: &mut Flow,
    ) -> Option<&'n Name> {
        if name.is_none() {
            flow.lost = true;
            self.error(CheckError::NeedsName { span, word });
        }
        name
    }

    pub(super) fn model_slot(&mut self, slot: &Slot, flow: &mut Flow) -> Option<ModelRef> {
        let name = match slot.path.single() {
            Some(name) => name.clone(),
            None => Name::new(slot.path.text(), slot.path.span),
        };
        if let Some(binding) = flow.names.get_mut(&name.value) {
            binding.used = true;
            self.index.name(name.span, binding.span);
            return match binding.made.clone() {
                Made::Picked { model } => {
                    if let Some(version) = &slot.version {
                        let help = "it is one version already".to_owned();
                        self.error(CheckError::NoVersion { span: version.span, help });
                        return None;
                    }
                    Some(ModelRef { model, version: Version::Picked(name.value) })
                }
                Made::Poisoned => None,
                other => {
                    let (declared, found) = (binding.span, other.words());
                    self.error(CheckError::WrongBinding {
                        span: name.span,
                        name: name.value,
                        found,
                        wanted: "a model",
                        declared,
                    });
                    None
                }
            };
        }
        if self.symbols.find(&name.value).is_none() {
            if flow.lost {
                return None;
            }
            if let Some(error) = flow.too_early(&name.value, name.span) {
                self.error(error);
                return None;
            }
        }
        let model = ModelId(self.reference(&name, Kind::Model)?);
        let version = match &slot.version {
            None => Version::Newest,
            Some(version) => self.version(version, model, flow)?,
        };
        Some(ModelRef { model, version })
    }

    /// Rows that a `let` has named.
    pub(super) fn rows(&mut self, slot: &Slot, flow: &mut Flow) -> Option<(RowsRef, Rows)> {
        let name = slot.path.text();
        let Some(binding) = flow.names.get_mut(&name) else {
            self.unknown_rows(&slot.path, flow);
            return None;
        };
        binding.used = true;
        let declared = binding.span;
        self.index.name(slot.path.span, declared);
        let made = binding.made.clone();
        let place = binding.place.clone();
        let is_all = |version: &ast::Version| matches!(&version.kind, VersionKind::Word { word, argument: None } if word.value == "all");
        if let (Some(version), Made::Rows(_) | Made::Poisoned) = (slot.version.as_ref().filter(|it| !is_all(it)), &made)
        {
            let help = "rows have `@all`: this iteration's and all earlier ones'".to_owned();
            self.error(CheckError::NoVersion { span: version.span, help });
            return None;
        }
        let mut rows = match made {
            Made::Rows(rows) => rows,
            Made::Poisoned => return None,
            other => {
                let found = other.words();
                self.error(CheckError::WrongBinding { span: slot.path.span, name, found, wanted: "rows", declared });
                return None;
            }
        };
        let here = flow.place.starts_with(&place);
        let all_iterations = match &slot.version {
            None => false,
            Some(version) => {
                if place.is_empty() {
                    let help = format!("`{name}` is made once: leave `@all` out");
                    self.error(CheckError::NoVersion { span: version.span, help });
                    return None;
                }
                let times =
                    place.iter().fold(1, |times: u64, id| times.saturating_mul(u64::from(flow.loops[*id].times)));
                rows.high = rows.high.saturating_mul(times);
                rows.samples = rows.samples.saturating_mul(times);
                true
            }
        };
        if !here && !all_iterations {
            self.error(CheckError::OnlyInLoop { span: slot.span, name, declared });
            return None;
        }
        Some((RowsRef { name, all_iterations }, rows))
    }

    fn unknown_rows(&mut self, path: &Path, flow: &mut Flow) {
        let name = path.text();
        match self.symbols.find(&name) {
            Some((None, _)) => {}
            Some(_) if flow.shadows.contains(&name) => {}
            Some((Some(found), declared)) => {
                self.mark(&name, path.span);
                let found = found.words();
                self.error(CheckError::WrongBinding { span: path.span, name, found, wanted: "rows", declared });
            }
            None if flow.lost => {}
            None if flow.given.contains_key(&name) => {
                let error = flow.too_early(&name, path.span);
                error.into_iter().for_each(|error| self.error(error));
            }
            None => {
                let rows = flow.names.iter().filter(|(_, binding)| !matches!(binding.made, Made::Picked { .. }));
                let near = self.symbols.near(&name, rows.map(|(name, _)| name.as_str()));
                for near in &near {
                    flow.names.get_mut(near).expect("it was just found").used = true;
                }
                self.error(CheckError::Unknown { span: path.span, name, what: "rows".to_owned(), near });
            }
        }
    }

    fn repeat(&mut self, repeat: &Repeat, flow: &mut Flow) -> Option<Statement> {
        let times = repeat.times.as_ref().and_then(|times| self.small(times, "the number of iterations", 1..=1000));
        if let Some(index) = &repeat.index {
            let declared = self.symbols.find(&index.value).map(|(_, declared)| declared);
            if let Some(first) = declared.or_else(|| flow.given.get(&index.value).copied()) {
                self.error(CheckError::Duplicate { span: index.span, name: index.value.clone(), first });
            }
            flow.indices.push(index.clone());
        }
        let outer_lost = flow.lost;
        flow.lost |= repeat.body.broken;
        let index = repeat.index.as_ref().map(|index| index.value.clone());
        flow.place.push(flow.loops.len());
        flow.loops.push(Loop { times: times.unwrap_or(1000), index });
        let before = flow.versions.clone();
        let awaited_outside = std::mem::take(&mut flow.awaited);
        let body = self.statements(&repeat.body, flow);
        let awaited = std::mem::replace(&mut flow.awaited, awaited_outside);
        let inside = std::mem::take(&mut flow.place);
        let awaited: Vec<Option<MetricRef>> =
            awaited.into_iter().map(|(path, model)| self.best(&path, model, flow)).collect();
        flow.place = inside;
        let until = repeat.until.as_ref().map(|until| self.until(until, flow, false));
        flow.place.pop();
        for (model, count) in &mut flow.versions {
            let once = *count - before.get(model).copied().unwrap_or(0);
            *count += once.saturating_mul(u64::from(times.unwrap_or(1000)) - 1);
        }
        flow.lost = outer_lost || flow.lost;
        let until = match until {
            None => None,
            Some(until) => Some(until?),
        };
        let index = repeat.index.as_ref().map_or_else(|| "i".to_owned(), |index| index.value.clone());
        if awaited.contains(&None) {
            return None;
        }
        Some(Statement::Repeat { times: times?, index, body: body?, until })
    }

    fn pick(
        &mut self,
        name: Option<&Name>,
        span: Span,
        model: &Path,
        by: &Path,
        including: &[Path],
        flow: &mut Flow,
    ) -> Option<Statement> {
        let name = self.due_name(name, span, "pick", flow);
        let id = self.reference_path(model, Kind::Model);
        let metric = self.metric(by, flow, Wanted::Choice);
        let mut names = Vec::new();
        let mut fits = true;
        if let (Some(id), Some(metric)) = (id, &metric) {
            fits &= self.measures(&metric.name, id, by.span, flow);
        }
        // Where the metric is of another model, the evaluations beside it are as well.
        let of = id.filter(|_| fits);
        for path in including {
            let found = metric.as_ref().and_then(|metric| self.including(path, &metric.metric, of, flow));
            fits &= found.is_some();
            names.extend(found);
        }
        let name = name?;
        let made = match id {
            Some(id) => Made::Picked { model: ModelId(id) },
            None => Made::Poisoned,
        };
        self.bind(name, made, flow);
        let pick = Statement::Pick { name: name.value.clone(), model: ModelId(id?), by: metric?, including: names };
        fits.then_some(pick)
    }

    pub(super) fn trainer_id(&mut self, path: &Path) -> Option<TrainerId> {
        self.reference_path(path, Kind::Trainer).map(TrainerId)
    }
}

/// Every slot's value, once all are there.
fn all<T, U>(slots: &Slots<T>, give: impl Fn(&T) -> U) -> Option<Vec<Named<U>>> {
    let one = |slot: &Named<Option<T>>| Some(Named { name: slot.name.clone(), it: give(slot.it.as_ref()?) });
    slots.iter().map(one).collect()
}

/// The names that the schedule gives, and the prompts that rollouts name, with the slot that is rolled out.
fn survey(statements: &ast::Statements, flow: &mut Flow) {
    for statement in &statements.list {
        if let Some(name) = &statement.name {
            flow.given.entry(name.value.clone()).or_insert(name.span);
        }
        match &statement.kind {
            StatementKind::Rollout { options: None, .. } => flow.promptless = true,
            StatementKind::Rollout { model, options: Some(block), .. } => {
                flow.promptless |= !block.entries.iter().any(|entry| entry.key.text() == "prompt");
                for entry in &block.entries {
                    if let ast::EntryKind::Value(ast::Expr { kind: ast::ExprKind::Apply(apply), .. }) = &entry.kind
                        && entry.key.text() == "prompt"
                        && let Some(name) = apply.path.single()
                    {
                        flow.prompts.push((model.path.text(), name.clone()));
                    }
                }
            }
            StatementKind::Repeat(repeat) => survey(&repeat.body, flow),
            _ => {}
        }
    }
}
