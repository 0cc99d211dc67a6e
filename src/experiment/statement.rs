//! Turns the statements that work on rows and models into their typed form: rollout, judge, select, audit, calibrate,
//! evaluate.

use super::Checker;
use super::error::CheckError;
use super::fields::{Fields, Given};
use super::index::Sort;
use super::interval::Interval;
use super::model::{Critic, CriticId, DatasetId, EnvId, ModelId, PromptId, Sole, Statement};
use super::rule::{Answers, Form, Rows};
use super::schedule::{Flow, Made};
use super::scope::Kind;
use super::value::Value;
use super::vocabulary;
use crate::base::Span;
use crate::model::Sampling;
use crate::node::spec::{AnswerKind, CriticKind, OnUnparsed, PerIteration};
use crate::node::tolerance::Tolerance;
use crate::select::Column;
use crate::syntax::ast::{Argument, Block, Expr, Name, Path, Slot};
use crate::syntax::similar::similar;

/// Tokens an agent may say in a turn when `max_tokens` is not set.
const TURN_TOKENS: u32 = 128;

impl Checker<'_> {
    pub(super) fn rollout(
        &mut self,
        name: Option<&Name>,
        span: Span,
        model: &Slot,
        split: &Path,
        options: Option<&Block>,
        flow: &mut Flow,
    ) -> Option<Statement> {
        let name = self.due_name(name, span, "rollout", flow);
        let model = self.model_slot(model, flow);
        let place = self.split(split);
        let Some(block) = options else {
            self.error(CheckError::NeedsPrompt { span, word: "rollout", several: false });
            return None;
        };
        let fields = self.fields(block, &vocabulary::ROLLOUT);
        let env = place.as_ref().map(|(env, _)| *env);
        let prompt = self.task_prompt(&fields, env).flatten();
        let samples = fields.value("samples").map_or(Some(1), |value| self.samples(value));
        let max_tokens = self.tokens_of(&fields, "max_tokens").unwrap_or(Some(TURN_TOKENS));
        let sampling = if fields.has("decode") {
            let mut twice = false;
            for name in ["temperature", "top_p", "top_k", "min_p", "repetition_penalty"] {
                if let Some(span) = fields.span(name) {
                    self.error(CheckError::DecodeTwice { span, name });
                    twice = true;
                }
            }
            let decode = max_tokens.and_then(|max_tokens| self.decode(&fields, max_tokens).flatten());
            decode.filter(|_| !twice).map(PerIteration::always)
        } else {
            max_tokens.and_then(|max_tokens| self.drawn_each(&fields, max_tokens))
        };
        let stream = self.whole_of(&fields, "stream").unwrap_or(Some(0));
        let items = place.as_ref().zip(samples).map(|((_, split), samples)| u64::from(split.size) * u64::from(samples));
        let tolerance = self.tolerance(&fields, items);
        let at = fields.span("samples");
        let greedy = sampling.iter().flat_map(PerIteration::values).find(|sampling| sampling.temperature == 0.0);
        self.same_samples(samples, greedy.as_ref(), at);
        let (env, split) = place?;
        let model = model?;
        if let (Some(prompt), Some(asked)) = (prompt, fields.value("prompt")) {
            self.fits_context(prompt, model.model, asked.span);
        }
        let known = self.rolled(env, flow.within().map_or(0, |within| within.times));
        let (samples, sampling, prompt, name, tolerance) = (samples?, sampling?, prompt?, name?, tolerance?);
        let (tasks, per_task) = (u64::from(split.size), u64::from(samples));
        let total = tasks * per_task;
        let rows = Rows {
            model: model.model,
            env,
            split: split.name.clone(),
            held_out: split.held_out,
            critic: None,
            joined: false,
            pairwise: false,
            relative: false,
            form: Form::Rolled,
            answer: Answers::NotJudged,
            tasks,
            samples: per_task,
            low: total - tolerance.max_failed.of(total),
            high: total,
            pairs: false,
            weighted: false,
            known,
        };
        self.bind(name, Made::Rows(rows), flow);
        let (name, split, stream) = (name.value.clone(), split.name, stream?);
        let prompt = PromptId(prompt);
        Some(Statement::Rollout { name, model, env, split, prompt, samples, sampling, stream, tolerance })
    }

    /// `4` or `4 per task`.
    /// The sampling of a rollout by its own fields, each of which may differ by iteration.
    fn drawn_each(&mut self, fields: &Fields, max_tokens: u32) -> Option<PerIteration<Sampling>> {
        let mut real =
            |name, otherwise| self.real_each(fields, name).unwrap_or_else(|| Some(PerIteration::always(otherwise)));
        let (temperature, top_p) = (real("temperature", 1.0), real("top_p", 1.0));
        let (min_p, penalty) = (real("min_p", 0.0), real("repetition_penalty", 1.0));
        let top_k = self.small_each(fields, "top_k").unwrap_or_else(|| Some(PerIteration::always(0)));
        let all = temperature?.with(&top_p?).with(&top_k?).with(&min_p?).with(&penalty?);
        Some(all.map(|((((temperature, top_p), top_k), min_p), repetition_penalty)| Sampling {
            temperature,
            top_p,
            top_k,
            min_p,
            repetition_penalty,
            max_tokens,
        }))
    }

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

    fn task_prompt(&mut self, fields: &Fields, env: Option<EnvId>) -> Given<usize> {
        let used = fields.value("prompt")?.span;
        let id = self.name_of(fields, "prompt")?;
        Some(id.filter(|id| env.is_some_and(|env| self.agent_prompt(*id, env, used, true))))
    }

    pub(super) fn judge(
        &mut self,
        name: Option<&Name>,
        span: Span,
        rows: &Slot,
        critic: &Path,
        options: Option<&Block>,
        flow: &mut Flow,
    ) -> Option<Statement> {
        let name = self.due_name(name, span, "judge", flow);
        let found = self.rows(rows, flow);
        let tolerance = match options {
            None => Some(Tolerance::default()),
            Some(block) => {
                let fields = self.fields(block, &vocabulary::JUDGE);
                self.tolerance(&fields, found.as_ref().map(|(_, of)| of.high))
            }
        };
        let critic_span = critic.span;
        let critic = self.reference_path(critic, Kind::Critic)?;
        let (reference, of) = found?;
        if of.pairs {
            let (why, help) = ("pairs are made, not judged", "judge the rows before `pair`");
            self.error(CheckError::StageMisfit { span: rows.span, why, help });
            return None;
        }
        if of.form != Form::Rolled || reference.all_iterations {
            self.later(rows.span, "judging anything but the rows of one rollout");
        }
        let declared = self.symbols.find(&self.critics[critic].name).map(|(_, declared)| declared);
        let mut judged = Rows { form: Form::Judged, critic: declared, ..of };
        match self.critics[critic].it.as_ref() {
            None => judged.answer = Answers::Unknown,
            Some(info) => {
                let (itself, joined) = (info.itself, info.joined());
                let (answer, prompts, it) = (info.answer.clone(), info.prompts.clone(), info.it.clone());
                let soles = self.soles(&it);
                if !itself && soles.iter().any(|sole| sole.model == judged.model) {
                    let name = self.models[judged.model.0].name.clone();
                    self.error(CheckError::JudgesItself { span: critic_span, name });
                }
                let shows = |id: &PromptId| {
                    let shows = self.prompts[id.0].it.as_ref().and_then(|prompt| prompt.env);
                    shows.is_some_and(|shows| shows != judged.env)
                };
                if let Some(foreign) = prompts.iter().find(|id| shows(id)) {
                    let name = self.prompts[foreign.0].name.clone();
                    let why = "the critic's prompt shows tasks of another environment";
                    let help = "judge with a critic made for this environment";
                    self.error(CheckError::PromptMisfit { span: critic_span, name, why, help });
                    return None;
                }
                let pairwise = soles.iter().any(|sole| sole.kind == CriticKind::Pairs);
                if soles.iter().any(|sole| sole.kind != CriticKind::Each) && judged.samples < 2 {
                    let (why, help) = (
                        "this critic compares samples of a task, of which there is one",
                        "roll out with `samples = 2 per task` or more",
                    );
                    self.error(CheckError::StageMisfit { span: critic_span, why, help });
                    return None;
                }
                // A vote that is lost leaves the others; only where none is left there is no verdict.
                // Where samples may be missing, one may have nothing beside it that it is compared with.
                let alone = pairwise && judged.low < judged.high;
                if alone || soles.iter().any(|sole| sole.on_unparsed == OnUnparsed::Drop) {
                    judged.low = 0;
                }
                for field in &answer.fields {
                    let interval = match field.kind {
                        AnswerKind::Int { min, max } => {
                            Interval { low: min as f64, high: max as f64, whole: !field.expectation }
                        }
                        AnswerKind::Bool => Interval::BOOL,
                        AnswerKind::Text => continue,
                    };
                    judged.known.insert(Column::Answer(field.name.clone()), interval);
                }
                judged.answer = Answers::Schema(answer);
                judged.pairwise = pairwise;
                judged.relative = soles.iter().any(|sole| sole.is_relative());
                judged.joined = joined;
            }
        }
        let (name, tolerance) = (name?, tolerance?);
        judged.low = judged.low.saturating_sub(tolerance.max_failed.of(judged.high));
        self.bind(name, Made::Rows(judged), flow);
        Some(Statement::Judge { name: name.value.clone(), rows: reference, critic: CriticId(critic), tolerance })
    }

    pub(super) fn select(
        &mut self,
        name: Option<&Name>,
        span: Span,
        rows: &Slot,
        rule: &Path,
        arguments: &[Argument],
        flow: &mut Flow,
    ) -> Option<Statement> {
        let name = self.due_name(name, span, "select", flow);
        let found = self.rows(rows, flow);
        let id = self.reference_path(rule, Kind::Rule)?;
        let Some((reference, of)) = found else {
            // The rows are broken: the rule is still read.
            let rule = self.rule_items[id].clone();
            self.rule_alone(&rule);
            return None;
        };
        let (rule, kept) = self.rule_each(id, arguments, &of, rule.span, flow)?;
        let name = name?;
        self.bind(name, Made::Rows(kept), flow);
        Some(Statement::Select { name: name.value.clone(), rows: reference, rule })
    }

    pub(super) fn audit(&mut self, rows: &Slot, against: Option<&Path>, flow: &mut Flow) -> Option<Statement> {
        let Some((reference, of)) = self.rows(rows, flow) else {
            // Which environment's rows they are is not known: the metric is none of any.
            let envs = self.envs.iter().map(|env| Some(&env.it.as_ref()?.schema.metrics));
            let known: Option<Vec<&Vec<String>>> = envs.collect();
            if let (Some(path), Some(known)) = (against, known)
                && !known.iter().any(|metrics| metrics.contains(&path.text()))
            {
                let known: Vec<String> = known.into_iter().flatten().cloned().collect();
                let (name, of) = (path.text(), "any environment".to_owned());
                let near = similar(&name, known.iter().map(String::as_str));
                self.error(CheckError::UnknownMetric { span: path.span, name, of, near, known });
            }
            return None;
        };
        if of.form == Form::Rolled {
            self.error(CheckError::NothingToAudit { span: rows.span, name: reference.name });
            return None;
        }
        let schema = self.envs[of.env.0].it.as_ref()?.schema.clone();
        let metric = match against {
            None => schema.success().to_owned(),
            Some(path) => {
                let name = path.text();
                if !schema.metrics.contains(&name) {
                    let near = similar(&name, schema.metrics.iter().map(String::as_str));
                    let known = schema.metrics.clone();
                    let of = format!("the environment `{}`", schema.name);
                    self.error(CheckError::UnknownMetric { span: path.span, name, of, near, known });
                    return None;
                }
                self.index.brought(path.span, Sort::Metric, &name, "a ratio", "ground truth of the environment");
                name
            }
        };
        if let Some(binding) = flow.names.get_mut(&reference.name) {
            binding.audited = true;
        }
        Some(Statement::Audit { rows: reference, metric })
    }

    pub(super) fn calibrate(&mut self, critic: &Path, dataset: &Slot, flow: &mut Flow) -> Option<Statement> {
        let id = self.reference_path(critic, Kind::Critic);
        let data = self.reference_path(&dataset.path, Kind::Dataset);
        if let Some(id) = id {
            flow.calibrated.insert(self.critics[id].name.clone(), flow.place.clone());
        }
        let (id, data) = (id?, data?);
        let info = self.datasets[data].it.as_ref()?;
        let (labelled, env) = (info.labelled, info.env);
        if !labelled {
            self.error(CheckError::NotLabelled { span: dataset.span, name: dataset.path.text() });
            return None;
        }
        if self.compares(id, critic.span) {
            return None;
        }
        let prompts = self.critics[id].it.as_ref()?.prompts.clone();
        for prompt in prompts {
            let shows = self.prompts[prompt.0].it.as_ref()?.env;
            if shows.is_some() && shows != env {
                let name = self.prompts[prompt.0].name.clone();
                let why = "it shows tasks of another environment than the dataset's";
                let help = "calibrate on labelled verdicts of the critic's own environment";
                self.error(CheckError::PromptMisfit { span: dataset.span, name, why, help });
                return None;
            }
        }
        Some(Statement::Calibrate { critic: CriticId(id), dataset: DatasetId(data) })
    }

    pub(super) fn evaluate(
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
        let fields = self.fields(options.unwrap_or(&empty), &vocabulary::EVALUATE);
        let env = place.as_ref().map(|(env, _)| *env);
        let prompt = match self.task_prompt(&fields, env) {
            Some(prompt) => prompt,
            None => reference.as_ref().and_then(|reference| self.usual_prompt(reference.model, env, model.span, flow)),
        };
        let samples = fields.value("samples").map_or(Some(1), |value| self.samples(value));
        let max_tokens = self.tokens_of(&fields, "max_tokens").unwrap_or(Some(TURN_TOKENS));
        let sampling = max_tokens.and_then(|max_tokens| match self.decode(&fields, max_tokens) {
            None => (!fields.may_have("decode")).then(|| Sampling::greedy(max_tokens)),
            Some(sampling) => sampling,
        });
        self.same_samples(samples, sampling.as_ref(), fields.span("samples"));
        let best_by = self.name_of(&fields, "best_by");
        if let (Some(_), Some(1), Some(span)) = (best_by, samples, fields.span("best_by")) {
            let (why, help) = ("there is one sample to choose from", "add `samples = 8 per task` and a temperature");
            self.error(CheckError::StageMisfit { span, why, help });
        }
        let items = place.as_ref().zip(samples).map(|((_, split), samples)| u64::from(split.size) * u64::from(samples));
        let tolerance = self.tolerance(&fields, items);
        let (env, chosen) = place?;
        flow.evaluated.push((env, chosen.name.clone(), split.span));
        let reference = reference?;
        if let Some(prompt) = prompt {
            self.fits_context(prompt, reference.model, fields.value("prompt").map_or(model.span, |asked| asked.span));
        }
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
            best_by: match best_by {
                None => None,
                Some(critic) => Some(CriticId(critic?)),
            },
            tolerance: tolerance?,
        })
    }

    /// Whether a critic compares samples of a task, where there is one trajectory of each.
    pub(super) fn compares(&mut self, critic: usize, span: Span) -> bool {
        let soles = self.critics[critic].it.as_ref().map(|info| self.soles(&info.it)).unwrap_or_default();
        let compares = soles.iter().any(|sole| sole.kind != CriticKind::Each);
        if compares {
            self.error(CheckError::NothingBeside { span, name: self.critics[critic].name.clone() });
        }
        compares
    }

    /// Who judges: the critic alone, or the members of a panel.
    fn soles(&self, critic: &Critic) -> Vec<Sole> {
        let sole = |id: &CriticId| match &self.critics[id.0].it.as_ref()?.it {
            Critic::Sole(sole) => Some(sole.clone()),
            Critic::Panel(_) => None,
        };
        match critic {
            Critic::Sole(sole) => vec![sole.clone()],
            Critic::Panel(panel) => panel.members.iter().filter_map(sole).collect(),
        }
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
                        self.prompts[*id].it.as_ref().is_none_or(|info| info.given.is_empty() && info.answer.is_none())
                    })
                    .collect();
                match for_agents.as_slice() {
                    [only] => *only,
                    _ => {
                        if !flow.lost && !flow.promptless {
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
        self.agent_prompt(id, env?, span, false).then_some(id)
    }
}
