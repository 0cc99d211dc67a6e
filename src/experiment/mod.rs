//! Turns a tree into an [`Experiment`]: names into ids, literals into quantities, or into everything that is wrong.
//!
//! [`check`] is the entry. It declares every name first ([`scope`]), evaluates params and `let`s ([`value`]), reads the
//! declarations ([`declare`], [`trainer`], [`critic`], [`prompt`]), and then walks the schedule ([`schedule`], [`statement`],
//! [`train`], [`metric`]), typing each rule ([`rule`], [`interval`]) where it is used, against the rows that reach it.
//! [`vocabulary`] is the table by which every block is read, [`model`] is what comes out.
//!
//! # Invariants
//! A file with a mistake gives no experiment. What is broken poisons its name: nothing that uses it is blamed. Ground
//! truth cannot reach a prompt, a rule or a trainer without `unstable(oracle)`. Nothing here reads a file: whether a path
//! exists is asked through [`World`].

pub mod codes;
mod critic;
mod declare;
mod error;
mod error_detail;
mod fields;
mod interval;
mod metric;
pub mod model;
mod prompt;
mod rule;
mod schedule;
mod scope;
mod statement;
mod train;
mod trainer;
mod value;
pub mod vocabulary;

pub use model::*;
pub use scope::Kind;

use crate::base::{Diagnostic, Span};
use crate::env::{EnvSpec, Schema};
use crate::model::ModelSpec;
use crate::node::spec::TrainerSpec;
use crate::select::Rule;
use crate::syntax::ast::{self, Declared, File, ItemKind};
use error::CheckError;
use scope::Symbols;
use std::collections::BTreeMap;
use std::path::Path;
use value::Value;

/// What the checker may know of the world outside the file.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// Relative paths of the file begin here.
    pub root: &'a Path,
    pub exists: &'a dyn Fn(&Path) -> bool,
}

/// Checks a file. `overrides` are the `--set name=value` of the command line. There is an experiment if and only if no
/// diagnostic is an error, of these or of the writing.
pub fn check(file: &File, overrides: &[(String, String)], world: World) -> (Option<Experiment>, Vec<Diagnostic>) {
    let mut checker = Checker::new(file, world);
    let experiment = checker.file(file, overrides);
    let mut seen: Vec<Diagnostic> = checker.errors.into_iter().map(Diagnostic::from).collect();
    seen.sort_by(|a, b| (a.primary(), a.code, &a.message).cmp(&(b.primary(), b.code, &b.message)));
    // A rule that two selections use is typed twice: its mistakes are told once.
    seen.dedup();
    let sound = file.sound && !seen.iter().any(Diagnostic::is_error);
    (experiment.filter(|_| sound), seen)
}

struct EnvInfo {
    spec: EnvSpec,
    schema: &'static Schema,
}

struct DatasetInfo {
    it: Dataset,
    env: Option<EnvId>,
    labelled: bool,
}

/// A slot for each declaration, in source order, so that a place is an id; `None` once a diagnostic has told why.
type Slots<T> = Vec<Named<Option<T>>>;

struct Checker<'a> {
    world: World<'a>,
    errors: Vec<CheckError>,
    symbols: Symbols,
    unstable: Vec<(String, Span)>,
    constants: BTreeMap<String, Option<Value>>,
    /// `let`s that are not evaluated yet: their order in the file means nothing.
    pending: BTreeMap<String, ast::Expr>,
    /// How many of them wait for each other.
    waiting: usize,
    /// Arguments of the rule that is being typed.
    locals: BTreeMap<String, Option<Value>>,
    envs: Slots<EnvInfo>,
    datasets: Slots<DatasetInfo>,
    models: Slots<ModelSpec>,
    prompts: Slots<prompt::PromptInfo>,
    critics: Slots<Critic>,
    trainers: Slots<TrainerSpec>,
    rule_items: Vec<ast::Rule>,
    /// One for each way a rule is used.
    rules: Vec<Named<Rule>>,
}

impl<'a> Checker<'a> {
    fn new(file: &File, world: World<'a>) -> Self {
        Self {
            world,
            errors: Vec::new(),
            symbols: Symbols::of(file),
            unstable: Vec::new(),
            constants: BTreeMap::new(),
            pending: BTreeMap::new(),
            waiting: 0,
            locals: BTreeMap::new(),
            envs: Vec::new(),
            datasets: Vec::new(),
            models: Vec::new(),
            prompts: Vec::new(),
            critics: Vec::new(),
            trainers: Vec::new(),
            rule_items: Vec::new(),
            rules: Vec::new(),
        }
    }
}

impl Checker<'_> {
    fn error(&mut self, error: CheckError) {
        self.errors.push(error);
    }

    fn later(&mut self, span: Span, what: impl Into<String>) {
        self.error(CheckError::NotBuilt { span, what: what.into() });
    }

    fn has_oracle(&mut self) -> bool {
        self.symbols.oracle_used = true;
        self.unstable.iter().any(|(feature, _)| feature == "oracle")
    }

    fn file(&mut self, file: &File, overrides: &[(String, String)]) -> Option<Experiment> {
        let duplicates = std::mem::take(&mut self.symbols.duplicates);
        for (name, first) in duplicates {
            self.error(CheckError::Duplicate { span: name.span, name: name.value, first });
        }
        self.edition(file);
        self.params(file, overrides);
        self.declarations(file, Declared::Env);
        self.declarations(file, Declared::Dataset);
        self.declarations(file, Declared::Model);
        self.declarations(file, Declared::Trainer);
        for item in &file.items {
            if let ItemKind::Prompt(prompt) = &item.kind {
                let it = if item.unreliable { None } else { self.prompt(prompt) };
                self.prompts.push(Named { name: prompt.name.value.clone(), it });
            }
        }
        self.declarations(file, Declared::Critic);
        for item in &file.items {
            if let ItemKind::Rule(rule) = &item.kind {
                self.rule_items.push(rule.clone());
            }
        }
        let experiment = self.experiments(file);
        self.unused_rules();
        self.unused(file);
        experiment
    }

    fn edition(&mut self, file: &File) {
        let mut first = None;
        for (place, item) in file.items.iter().enumerate() {
            let ItemKind::Edition { year, unstable } = &item.kind else { continue };
            match first {
                Some(first) => self.error(CheckError::EditionTwice { span: item.span, first }),
                None if place > 0 => self.error(CheckError::EditionLate { span: item.span }),
                None => {}
            }
            first.get_or_insert(item.span);
            if year.value != "2026" {
                self.error(CheckError::UnknownEdition { span: year.span, edition: year.value.clone() });
            }
            for feature in unstable {
                if feature.value == "oracle" {
                    self.unstable.push((feature.value.clone(), feature.span));
                } else {
                    self.error(CheckError::UnknownFeature { span: feature.span, feature: feature.value.clone() });
                }
            }
        }
        let broken =
            file.items.iter().any(|item| matches!(&item.kind, ItemKind::Broken { word: Some(ast::ItemWord::Agx), .. }));
        if first.is_none() && !broken && !file.cut {
            let at = file.items.first().map_or(0, |item| item.span.start as usize);
            self.error(CheckError::NoEdition { span: Span::new(at, at) });
        }
    }

    fn declarations(&mut self, file: &File, wanted: Declared) {
        for item in &file.items {
            let ItemKind::Declaration { kind, name, body } = &item.kind else { continue };
            if *kind != wanted {
                continue;
            }
            let reliable = !item.unreliable;
            let name = name.value.clone();
            match kind {
                Declared::Env => {
                    let it = reliable.then(|| self.env(body)).flatten();
                    self.envs.push(Named { name, it });
                }
                Declared::Dataset => {
                    let it = reliable.then(|| self.dataset(body)).flatten();
                    self.datasets.push(Named { name, it });
                }
                Declared::Model => {
                    let it = reliable.then(|| self.model(body)).flatten();
                    self.models.push(Named { name, it });
                }
                Declared::Trainer => {
                    let it = reliable.then(|| self.trainer(body)).flatten();
                    self.trainers.push(Named { name, it });
                }
                Declared::Critic => {
                    let it = reliable.then(|| self.critic(body)).flatten();
                    self.critics.push(Named { name, it });
                }
            }
        }
    }

    fn experiments(&mut self, file: &File) -> Option<Experiment> {
        let mut found: Option<(Span, Option<Experiment>)> = None;
        let mut broken = file.cut;
        for item in &file.items {
            match &item.kind {
                ItemKind::Experiment(experiment) => match &found {
                    Some(_) => {
                        self.symbols.everything_used = true;
                        self.later(experiment.name.span, "a second experiment in a file");
                    }
                    None if item.unreliable => found = Some((item.span, None)),
                    None => {
                        let checked = self.experiment(experiment, &file.doc);
                        found = Some((item.span, checked));
                    }
                },
                ItemKind::Import { path, .. } => self.later(path.span, "`import`"),
                ItemKind::Matrix(matrix) => self.later(matrix.name.span, "`matrix`"),
                ItemKind::Broken { word, .. } => {
                    broken |= matches!(word, None | Some(ast::ItemWord::Experiment | ast::ItemWord::Import));
                }
                _ => {}
            }
        }
        if found.is_none() {
            self.symbols.everything_used = true;
            if !broken {
                let at = file.items.last().map_or(0, |item| item.span.end as usize);
                self.error(CheckError::NoExperiment { span: Span::new(at, at) });
            }
        }
        let (_, checked) = found?;
        if checked.is_none() {
            // Its schedule was not read to the end: what it would have used is not known.
            self.symbols.everything_used = true;
        }
        checked
    }

    /// Declarations that nothing names.
    fn unused(&mut self, file: &File) {
        let opaque =
            file.cut || file.items.iter().any(|item| item.unreliable || matches!(item.kind, ItemKind::Broken { .. }));
        if self.symbols.everything_used || opaque {
            return;
        }
        for (name, span, kind) in self.symbols.unused() {
            self.error(CheckError::Unused { span, name, what: kind.word() });
        }
        let oracle = self.unstable.iter().find(|(feature, _)| feature == "oracle").map(|(_, span)| *span);
        if let (Some(span), false) = (oracle, self.symbols.oracle_used) {
            self.error(CheckError::UnusedFeature { span, feature: "oracle".to_owned() });
        }
    }

    /// Rules that no selection uses are still typed, as far as that goes without rows.
    fn unused_rules(&mut self) {
        for place in 0..self.rule_items.len() {
            let rule = self.rule_items[place].clone();
            if !self.symbols.is_used(&rule.name.value) && !self.symbols.is_poisoned(&rule.name.value) {
                self.rule_alone(&rule);
            }
        }
    }

    fn reference(&mut self, name: &ast::Name, kind: Kind) -> Option<usize> {
        match self.symbols.reference(name, kind) {
            Ok(id) => id,
            Err(error) => {
                self.error(error);
                None
            }
        }
    }

    /// A path that must be one name of a kind.
    fn reference_path(&mut self, path: &ast::Path, kind: Kind) -> Option<usize> {
        match path.single() {
            Some(name) => self.reference(name, kind),
            None => {
                let name = ast::Name::new(path.text(), path.span);
                self.reference(&name, kind)
            }
        }
    }
}
