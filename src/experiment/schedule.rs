//! Turns an experiment's schedule into typed statements, each against what the statements before it have made.
//!
//! # Invariants
//! A name means what the nearest earlier `let` gave it. Held-out splits never train, stop or pick.

use super::error::CheckError;
use super::fields::{later, optional, required};
use super::metric::Wanted;
use super::model::{
    CriticId, DatasetId, EnvId, Experiment, ModelId, ModelRef, Named, PromptId, ReportItem, RowsRef, Statement,
    TrainerId, Version,
};
use super::rule::{Answers, Form, Rows};
use super::scope::Kind;
use super::value::Value;
use super::{Checker, Slots};
use crate::base::Span;
use crate::model::Sampling;
use crate::node::spec::{AnswerKind, OnUnparsed};
use crate::select::Column;
use crate::syntax::ast::{self, Argument, Block, Expr, Name, Path, Repeat, Slot, StatementKind, VersionKind};
use crate::syntax::similar::similar;
use std::collections::{BTreeMap, BTreeSet};

/// Tokens an agent may say in a turn when `max_tokens` is not set.
const TURN_TOKENS: u32 = 128;

/// What a `let` of the schedule has named.
#[derive(Debug)]
pub struct Binding {
    pub span: Span,
    pub made: Made,
    pub in_loop: bool,
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

/// The loop that is being checked.
#[derive(Clone, Debug)]
pub struct Loop {
    pub times: u32,
}

/// What the schedule has made so far.
#[derive(Debug, Default)]
pub struct Flow {
    pub names: BTreeMap<String, Binding>,
    /// Critics that a `calibrate` has measured.
    pub calibrated: BTreeSet<String>,
    pub within: Option<Loop>,
    /// Indices of the loops so far.
    pub indices: Vec<String>,
    /// Prompts that each model slot is rolled out with, by name, over the whole schedule.
    prompts: Vec<(String, Name)>,
    /// Splits whose rows a training has seen.
    pub trained: Vec<(EnvId, String)>,
    evaluated: Vec<(EnvId, String, Span)>,
    /// Statements whose names are not known, so an unknown name may be theirs.
    pub lost: bool,
}

impl Checker<'_> {
    pub(super) fn experiment(&mut self, experiment: &ast::Experiment, doc: &str) -> Option<Experiment> {
        let fields = self.fields(&experiment.body, "an experiment", &[required("seed"), later("budget")]);
        let seed = fields.value("seed").and_then(|value| self.whole(value, "`seed`", 0..=u64::MAX));
        let mut flow = Flow::default();
        for statements in &experiment.schedules {
            prompts_of(statements, &mut flow.prompts);
        }
        if let [_, second, ..] = experiment.schedules.as_slice() {
            let first = experiment.schedules[0].span;
            self.error(CheckError::FieldTwice { span: second.span, name: "schedule".to_owned(), first });
        }
        let schedule = match experiment.schedules.first() {
            Some(statements) => {
                flow.lost = statements.broken;
                self.statements(statements, &mut flow)
            }
            None => {
                if !experiment.body.broken {
                    let (span, owner) = (experiment.body.span, "an experiment");
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
        Some(Experiment {
            name: experiment.name.value.clone(),
            doc: doc.to_owned(),
            seed: seed?,
            unstable: self.unstable.iter().map(|(feature, _)| feature.clone()).collect(),
            envs: all(&self.envs, |info| info.spec.clone())?,
            datasets: all(&self.datasets, |info| info.it.clone())?,
            models: all(&self.models, Clone::clone)?,
            prompts: all(&self.prompts, |info| info.template.clone())?,
            critics: all(&self.critics, Clone::clone)?,
            rules: self.rules.clone(),
            trainers: all(&self.trainers, Clone::clone)?,
            schedule: schedule?,
            report: report?,
        })
    }

    /// What can only be said once the whole schedule is known.
    fn after(&mut self, flow: &Flow, sound: bool) {
        for (env, split, span) in &flow.evaluated {
            if flow.trained.iter().any(|(trained, name)| trained == env && name == split) {
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
                if let Some(block) = options {
                    self.fields(block, "`judge`", &[]);
                }
                self.judge(name, span, rows, critic, flow)
            }
            StatementKind::Select { rows, rule, arguments } => {
                self.select(name, span, rows, rule, arguments.as_deref().unwrap_or_default(), flow)
            }
            StatementKind::Audit { rows, against } => {
                self.no_name(name, "audit");
                self.audit(rows, against.as_ref(), flow)
            }
            StatementKind::Calibrate { critic, dataset } => {
                self.no_name(name, "calibrate");
                self.calibrate(critic, dataset, flow)
            }
            StatementKind::Train(train) => {
                self.no_name(name, "train");
                self.train(train, span, flow)
            }
            StatementKind::Evaluate { model, split, options } => {
                self.evaluate(name, model, split, options.as_ref(), flow)
            }
            StatementKind::Repeat(repeat) => {
                self.no_name(name, "repeat");
                self.repeat(repeat, span, flow)
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
            return;
        }
        let in_loop = flow.within.is_some();
        let binding = Binding { span: name.span, made, in_loop, used: false, audited: false };
        flow.names.insert(name.value.clone(), binding);
    }

    /// The name that a result must have.
    fn due_name<'n>(&mut self, name: Option<&'n Name>, span: Span, word: &'static str) -> Option<&'n Name> {
        if name.is_none() {
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
        if flow.lost && self.symbols.find(&name.value).is_none() {
            return None;
        }
        let model = ModelId(self.reference(&name, Kind::Model)?);
        let version = match &slot.version {
            None => Version::Newest,
            Some(version) => self.version(version, flow)?,
        };
        Some(ModelRef { model, version })
    }

    pub(super) fn version(&mut self, version: &ast::Version, flow: &mut Flow) -> Option<Version> {
        match &version.kind {
            VersionKind::Number(0) => Some(Version::Declared),
            VersionKind::Number(_) => {
                self.later(version.span, "a version by its number, other than `@0`");
                None
            }
            VersionKind::Word { word, argument } => match (word.value.as_str(), argument) {
                ("prev" | "last", None) => Some(Version::Newest),
                ("start", None) => Some(Version::Start),
                ("best", Some(metric)) => self.metric(metric, flow, Wanted::Choice).map(Version::Best),
                ("best", None) => {
                    let help = "name the metric: `@best(dev.success)`".to_owned();
                    self.error(CheckError::NoVersion { span: version.span, help });
                    None
                }
                (other, _) => {
                    let near = similar(other, ["prev", "start", "last", "best"]);
                    let help = crate::syntax::similar::did_you_mean(&near).unwrap_or_else(|| {
                        "versions are `@0`, `@prev`, `@start`, `@last` and `@best(metric)`".to_owned()
                    });
                    self.error(CheckError::NoVersion { span: version.span, help });
                    None
                }
            },
        }
    }

    /// Rows that a `let` has named.
    pub(super) fn rows(&mut self, slot: &Slot, flow: &mut Flow) -> Option<(RowsRef, Rows)> {
        let name = slot.path.text();
        let within = flow.within.is_some();
        let Some(binding) = flow.names.get_mut(&name) else {
            self.unknown_rows(&slot.path, flow);
            return None;
        };
        binding.used = true;
        let declared = binding.span;
        let mut rows = match &binding.made {
            Made::Rows(rows) => rows.clone(),
            Made::Poisoned => return None,
            other => {
                let found = other.words();
                self.error(CheckError::WrongBinding { span: slot.path.span, name, found, wanted: "rows", declared });
                return None;
            }
        };
        let in_loop = binding.in_loop;
        let all_iterations = match &slot.version {
            None => false,
            Some(version) => {
                let all = matches!(&version.kind, VersionKind::Word { word, argument: None } if word.value == "all");
                if !all || !in_loop {
                    let help = match all {
                        true => format!("`{name}` is made once: leave `@all` out"),
                        false => "rows have `@all`: this iteration's and all earlier ones'".to_owned(),
                    };
                    self.error(CheckError::NoVersion { span: version.span, help });
                    return None;
                }
                rows.high = rows.high.saturating_mul(1000);
                true
            }
        };
        if in_loop && !within && !all_iterations {
            self.error(CheckError::OnlyInLoop { span: slot.span, name, declared });
            return None;
        }
        Some((RowsRef { name, all_iterations }, rows))
    }

    fn unknown_rows(&mut self, path: &Path, flow: &mut Flow) {
        let name = path.text();
        match self.symbols.find(&name) {
            Some((None, _)) => {}
            Some((Some(found), declared)) => {
                self.symbols.mark(&name);
                let found = found.words();
                self.error(CheckError::WrongBinding { span: path.span, name, found, wanted: "rows", declared });
            }
            None if flow.lost => {}
            None => {
                let rows = flow.names.iter().filter(|(_, binding)| !matches!(binding.made, Made::Picked { .. }));
                let near = similar(&name, rows.map(|(name, _)| name.as_str()));
                for near in &near {
                    flow.names.get_mut(near).expect("it was just found").used = true;
                }
                self.error(CheckError::Unknown { span: path.span, name, what: "rows".to_owned(), near });
            }
        }
    }

    fn rollout(
        &mut self,
        name: Option<&Name>,
        span: Span,
        model: &Slot,
        split: &Path,
        options: Option<&Block>,
        flow: &mut Flow,
    ) -> Option<Statement> {
        let name = self.due_name(name, span, "rollout");
        let model = self.model_slot(model, flow);
        let place = self.split(split);
        let Some(block) = options else {
            self.error(CheckError::NeedsPrompt { span, word: "rollout", several: false });
            return None;
        };
        let known = [
            required("prompt"),
            optional("samples"),
            optional("temperature"),
            optional("top_p"),
            optional("top_k"),
            optional("max_tokens"),
            optional("decode"),
            later("stream"),
        ];
        let fields = self.fields(block, "`rollout`", &known);
        let env = place.as_ref().map(|(env, _)| *env);
        let prompt = fields.value("prompt").and_then(|value| self.task_prompt(value, env));
        let samples = fields.value("samples").map_or(Some(1), |value| self.samples(value));
        let max_tokens =
            fields.value("max_tokens").map_or(Some(TURN_TOKENS), |value| self.tokens(value, "`max_tokens`"));
        let sampling = if let Some(value) = fields.value("decode") {
            for twice in ["temperature", "top_p", "top_k"] {
                if let Some(span) = fields.span(twice) {
                    self.error(CheckError::DecodeTwice { span, name: twice });
                }
            }
            max_tokens.and_then(|max_tokens| self.decode(value, max_tokens))
        } else {
            let temperature =
                fields.value("temperature").map_or(Some(1.0), |value| self.real(value, "`temperature`", 0.0, 10.0));
            let top_p = fields.value("top_p").map_or(Some(1.0), |value| self.real(value, "`top_p`", 1e-6, 1.0));
            let top_k = fields.value("top_k").map_or(Some(0), |value| self.small(value, "`top_k`", 1..=1_000_000));
            match (temperature, top_p, top_k, max_tokens) {
                (Some(temperature), Some(top_p), Some(top_k), Some(max_tokens)) => {
                    Some(Sampling { temperature, top_p, top_k, max_tokens })
                }
                _ => None,
            }
        };
        let at = fields.span("samples");
        self.same_samples(samples, sampling.as_ref(), at);
        let (env, split) = place?;
        let model = model?;
        let known = self.rolled(env, flow.within.as_ref().map_or(0, |within| within.times));
        let (samples, sampling, prompt, name) = (samples?, sampling?, prompt?, name?);
        let (tasks, per_task) = (u64::from(split.size), u64::from(samples));
        let total = tasks * per_task;
        let rows = Rows {
            model: model.model,
            env,
            split: split.name.clone(),
            held_out: split.held_out,
            form: Form::Rolled,
            answer: Answers::NotJudged,
            tasks,
            samples: per_task,
            low: total,
            high: total,
            known,
        };
        self.bind(name, Made::Rows(rows), flow);
        let (name, split) = (name.value.clone(), split.name);
        Some(Statement::Rollout { name, model, env, split, prompt: PromptId(prompt), samples, sampling })
    }

    /// `4` or `4 per task`.
    fn samples(&mut self, value: &Expr) -> Option<u32> {
        match self.value(value)? {
            Value::PerTask(count @ 1..=100_000) | Value::Int(count @ 1..=100_000) => Some(count as u32),
            Value::PerTask(count) | Value::Int(count) => {
                let of = "`samples`".to_owned();
                let (low, high) = (1.0, 100_000.0);
                self.error(CheckError::Range { span: value.span, of, value: count as f64, low, high, declared: None });
                None
            }
            other => {
                let (found, of) = (other.words(), "`samples`".to_owned());
                self.error(CheckError::Mismatch { span: value.span, found, wanted: "a number per task", of });
                None
            }
        }
    }

    fn same_samples(&mut self, samples: Option<u32>, sampling: Option<&Sampling>, at: Option<Span>) {
        if let (Some(samples @ 2..), Some(Sampling { temperature: 0.0, .. }), Some(span)) = (samples, sampling, at) {
            self.error(CheckError::SameSamples { span, samples });
        }
    }

    fn task_prompt(&mut self, value: &Expr, env: Option<EnvId>) -> Option<usize> {
        let id = self.named(value, Kind::Prompt)?;
        self.agent_prompt(id, env?, value.span).then_some(id)
    }

    fn judge(
        &mut self,
        name: Option<&Name>,
        span: Span,
        rows: &Slot,
        critic: &Path,
        flow: &mut Flow,
    ) -> Option<Statement> {
        let name = self.due_name(name, span, "judge");
        let found = self.rows(rows, flow);
        let critic_span = critic.span;
        let critic = self.reference_path(critic, Kind::Critic)?;
        let (reference, of) = found?;
        if of.form != Form::Rolled || reference.all_iterations {
            self.later(rows.span, "judging anything but the rows of one rollout");
            return None;
        }
        let mut judged = Rows { form: Form::Judged, ..of };
        match self.critic_info(CriticId(critic)).cloned() {
            None => judged.answer = Answers::Unknown,
            Some(info) => {
                if info.model == judged.model {
                    let name = self.models[info.model.0].name.clone();
                    self.error(CheckError::JudgesItself { span: critic_span, name });
                }
                let shows = self.prompts[info.prompt.0].it.as_ref().and_then(|prompt| prompt.env);
                if shows.is_some_and(|shows| shows != judged.env) {
                    let name = self.prompts[info.prompt.0].name.clone();
                    let why = "the critic's prompt shows tasks of another environment";
                    let help = "judge with a critic made for this environment";
                    self.error(CheckError::PromptMisfit { span: critic_span, name, why, help });
                    return None;
                }
                if info.on_unparsed == OnUnparsed::Drop {
                    judged.low = 0;
                }
                for field in &info.answer.fields {
                    let interval = match field.kind {
                        AnswerKind::Int { min, max } => super::interval::Interval::whole(min as f64, max as f64),
                        AnswerKind::Bool => super::interval::Interval::BOOL,
                        AnswerKind::Text => continue,
                    };
                    judged.known.insert(Column::Answer(field.name.clone()), interval);
                }
                judged.answer = Answers::Schema(info.answer);
            }
        }
        let name = name?;
        self.bind(name, Made::Rows(judged), flow);
        Some(Statement::Judge { name: name.value.clone(), rows: reference, critic: CriticId(critic) })
    }

    fn select(
        &mut self,
        name: Option<&Name>,
        span: Span,
        rows: &Slot,
        rule: &Path,
        arguments: &[Argument],
        flow: &mut Flow,
    ) -> Option<Statement> {
        let name = self.due_name(name, span, "select");
        let found = self.rows(rows, flow);
        let id = self.reference_path(rule, Kind::Rule)?;
        let Some((reference, of)) = found else {
            // The rows are broken: the rule is still read.
            let rule = self.rule_items[id].clone();
            self.rule_alone(&rule);
            return None;
        };
        if of.form == Form::Selected {
            self.later(rows.span, "selecting from what a rule has kept");
            return None;
        }
        let (rule, kept) = self.rule(id, arguments, &of, rule.span)?;
        let name = name?;
        self.bind(name, Made::Rows(kept), flow);
        Some(Statement::Select { name: name.value.clone(), rows: reference, rule })
    }

    fn audit(&mut self, rows: &Slot, against: Option<&Path>, flow: &mut Flow) -> Option<Statement> {
        let (reference, of) = self.rows(rows, flow)?;
        if of.form == Form::Rolled {
            self.error(CheckError::NothingToAudit { span: rows.span, name: reference.name });
            return None;
        }
        let schema = self.envs[of.env.0].it.as_ref()?.schema;
        let metric = match against {
            None => schema.metrics[0].to_owned(),
            Some(path) => {
                let name = path.text();
                if !schema.metrics.contains(&name.as_str()) {
                    let near = similar(&name, schema.metrics.iter().copied());
                    let known = schema.metrics.iter().map(|name| (*name).to_owned()).collect();
                    let of = format!("the environment `{}`", schema.name);
                    self.error(CheckError::UnknownMetric { span: path.span, name, of, near, known });
                    return None;
                }
                name
            }
        };
        if let Some(binding) = flow.names.get_mut(&reference.name) {
            binding.audited = true;
        }
        Some(Statement::Audit { rows: reference, metric })
    }

    fn calibrate(&mut self, critic: &Path, dataset: &Slot, flow: &mut Flow) -> Option<Statement> {
        let id = self.reference_path(critic, Kind::Critic);
        let data = self.reference_path(&dataset.path, Kind::Dataset);
        if let Some(id) = id {
            flow.calibrated.insert(self.critics[id].name.clone());
        }
        let (id, data) = (id?, data?);
        let info = self.datasets[data].it.as_ref()?;
        let (labelled, env) = (info.labelled, info.env);
        if !labelled {
            self.error(CheckError::NotLabelled { span: dataset.span, name: dataset.path.text() });
            return None;
        }
        let prompt = self.critic_info(CriticId(id))?.prompt;
        let shows = self.prompts[prompt.0].it.as_ref()?.env;
        if shows.is_some() && shows != env {
            let name = self.prompts[prompt.0].name.clone();
            let why = "it shows tasks of another environment than the dataset's";
            let help = "calibrate on labelled verdicts of the critic's own environment";
            self.error(CheckError::PromptMisfit { span: dataset.span, name, why, help });
            return None;
        }
        Some(Statement::Calibrate { critic: CriticId(id), dataset: DatasetId(data) })
    }

    fn evaluate(
        &mut self,
        name: Option<&Name>,
        model: &Slot,
        split: &Slot,
        options: Option<&Block>,
        flow: &mut Flow,
    ) -> Option<Statement> {
        let reference = self.model_slot(model, flow);
        if let Some(version) = &split.version {
            self.error(CheckError::NoVersion { span: version.span, help: "a split has no versions".to_owned() });
        }
        let place = self.split(&split.path);
        let empty = Block { span: split.span, entries: Vec::new(), broken: false };
        let known = [optional("prompt"), optional("decode"), optional("samples"), optional("max_tokens")];
        let fields = self.fields(options.unwrap_or(&empty), "`evaluate`", &known);
        let env = place.as_ref().map(|(env, _)| *env);
        let prompt = match fields.value("prompt") {
            Some(value) => self.task_prompt(value, env),
            None => reference.as_ref().and_then(|reference| self.usual_prompt(reference.model, env, model.span, flow)),
        };
        let samples = fields.value("samples").map_or(Some(1), |value| self.samples(value));
        let max_tokens =
            fields.value("max_tokens").map_or(Some(TURN_TOKENS), |value| self.tokens(value, "`max_tokens`"));
        let sampling = max_tokens.and_then(|max_tokens| match fields.value("decode") {
            None => Some(Sampling::greedy(max_tokens)),
            Some(value) => self.decode(value, max_tokens),
        });
        self.same_samples(samples, sampling.as_ref(), fields.span("samples"));
        let (env, chosen) = place?;
        flow.evaluated.push((env, chosen.name.clone(), split.span));
        let reference = reference?;
        if let Some(name) = name {
            let made = Made::Evaluation { model: reference.model, env, held_out: chosen.held_out };
            self.bind(name, made, flow);
        }
        Some(Statement::Evaluate {
            name: name.map(|name| name.value.clone()),
            model: reference,
            env,
            split: chosen.name,
            prompt: PromptId(prompt?),
            samples: samples?,
            sampling: sampling?,
        })
    }

    /// The prompt of an evaluation that names none: the one that the model is rolled out with, or the only one there is.
    fn usual_prompt(&mut self, model: ModelId, env: Option<EnvId>, span: Span, flow: &Flow) -> Option<usize> {
        let slot = self.models[model.0].name.clone();
        let mut names: Vec<&str> =
            flow.prompts.iter().filter(|(of, _)| *of == slot).map(|(_, prompt)| prompt.value.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let place = |checker: &Self, name: &str| checker.prompts.iter().position(|prompt| prompt.name == name);
        let id = match names.as_slice() {
            [only] => place(self, only)?,
            [] => {
                let for_agents: Vec<usize> = (0..self.prompts.len())
                    .filter(|id| {
                        self.prompts[*id].it.as_ref().is_none_or(|info| !info.trajectory && info.answer.is_none())
                    })
                    .collect();
                match for_agents.as_slice() {
                    [only] => *only,
                    _ => {
                        if !flow.lost {
                            self.error(CheckError::NeedsPrompt {
                                span,
                                word: "evaluate",
                                several: for_agents.len() > 1,
                            });
                        }
                        return None;
                    }
                }
            }
            _ => {
                self.error(CheckError::NeedsPrompt { span, word: "evaluate", several: true });
                return None;
            }
        };
        let name = self.prompts[id].name.clone();
        self.symbols.mark(&name);
        self.agent_prompt(id, env?, span).then_some(id)
    }

    fn repeat(&mut self, repeat: &Repeat, span: Span, flow: &mut Flow) -> Option<Statement> {
        if flow.within.is_some() {
            self.later(
                Span::new(span.start as usize, span.start as usize + "repeat".len()),
                "a `repeat` within a `repeat`",
            );
            return None;
        }
        let times = repeat.times.as_ref().and_then(|times| self.small(times, "the number of iterations", 1..=1000));
        if let Some(index) = &repeat.index {
            if let Some((_, first)) = self.symbols.find(&index.value) {
                self.error(CheckError::Duplicate { span: index.span, name: index.value.clone(), first });
            }
            flow.indices.push(index.value.clone());
        }
        let outer_lost = flow.lost;
        flow.lost |= repeat.body.broken;
        flow.within = Some(Loop { times: times.unwrap_or(1000) });
        let body = self.statements(&repeat.body, flow);
        let until = repeat.until.as_ref().map(|until| self.until(until, flow, false));
        flow.within = None;
        flow.lost = outer_lost || flow.lost;
        let until = match until {
            None => None,
            Some(until) => Some(until?),
        };
        let index = repeat.index.as_ref().map_or_else(|| "i".to_owned(), |index| index.value.clone());
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
        let name = self.due_name(name, span, "pick");
        let id = self.reference_path(model, Kind::Model);
        let metric = self.metric(by, flow, Wanted::Choice);
        let mut names = Vec::new();
        let mut fits = true;
        for path in including {
            let found = metric.as_ref().and_then(|metric| self.including(path, &metric.metric, id, flow));
            fits &= found.is_some();
            names.extend(found);
        }
        if let (Some(id), Some(metric)) = (id, &metric) {
            fits &= self.measures(&metric.name, id, by.span, flow);
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

/// The prompts that rollouts name, with the slot that is rolled out.
fn prompts_of(statements: &ast::Statements, found: &mut Vec<(String, Name)>) {
    for statement in &statements.list {
        match &statement.kind {
            StatementKind::Rollout { model, options: Some(block), .. } => {
                for entry in &block.entries {
                    if let ast::EntryKind::Value(Expr { kind: ast::ExprKind::Apply(apply), .. }) = &entry.kind
                        && entry.key.text() == "prompt"
                        && let Some(name) = apply.path.single()
                    {
                        found.push((model.path.text(), name.clone()));
                    }
                }
            }
            StatementKind::Repeat(repeat) => prompts_of(&repeat.body, found),
            _ => {}
        }
    }
}
