//! Turns a tree into an [`Experiment`]: names into ids, literals into quantities, or into everything that is wrong.
//!
//! [`check`] is the entry. It declares every name first ([`scope`]), evaluates params and `let`s ([`value`]), reads the
//! declarations ([`declare`], [`trainer`], [`critic`], [`prompt`]), and then walks the schedule ([`schedule`], [`statement`],
//! [`train`], [`metric`]), typing each rule ([`rule`], [`interval`]) where it is used, against the rows that reach it.
//! What a prompt leaves unsaid ([`shown`]) and an `until` never sees ([`ends`]) is told on the way.
//! [`vocabulary`] is the table by which every block is read, [`model`] is what comes out.
//!
//! # Invariants
//! A file with a mistake gives no experiment. What is broken poisons its name: nothing that uses it is blamed. Ground
//! truth cannot reach a prompt, a rule or a trainer without `unstable(oracle)`. Nothing here reads a file: whether a path
//! exists is asked through [`World`].

mod budget;
pub mod codes;
mod column;
mod counts;
mod critic;
mod declare;
mod ends;
mod error;
mod error_detail;
mod fields;
pub mod index;
mod interval;
mod jsonl;
mod length;
mod link;
mod link_error;
mod matrix;
mod matrix_error;
mod metric;
pub mod model;
mod once;
mod outside;
mod prompt;
mod quantity;
mod reader;
mod remote;
mod rule;
mod schedule;
mod scope;
mod shown;
mod statement;
mod tolerance;
mod train;
mod trainer;
mod value;
mod version;
pub mod vocabulary;

pub use counts::{RowBounds, StageCounts};
pub use error::{NOT_BUILT, not_built};
pub use link_error::Unreadable;
pub use model::*;
pub use scope::Kind;

use crate::base::{Diagnostic, Span};
use crate::env::{EnvSpec, Schema};
use crate::model::ModelSpec;
use crate::node::spec::TrainerSpec;
use crate::select::Rule;
use crate::syntax::ast::{self, Declared, File, ItemKind};
use crate::syntax::{self, Source, SourceMap};
use error::CheckError;
use index::Index;
use link::Linked;
use scope::Symbols;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use value::Value;

/// What the checker may know of the world outside the file.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The directory of the file that is checked: its relative paths begin here, and its imports stay within.
    pub root: &'a Path,
    pub exists: &'a dyn Fn(&Path) -> bool,
    /// The bytes of an imported file.
    pub read: &'a dyn Fn(&Path) -> Result<Vec<u8>, Unreadable>,
}

/// A value for a param from outside the file. Of several for one param the last counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// `rounds`, or `critics.threshold` of an imported file.
    pub name: String,
    /// As an `.agx` file would write it; text may lack its quotes.
    pub value: String,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `--set`
    Set,
    /// A file of params, by its name.
    Params(String),
}

impl Origin {
    /// Where a value was given, as its user wrote it.
    fn words(&self, name: &str, value: &str) -> String {
        match self {
            Origin::Set => format!("`--set {name}={value}`"),
            Origin::Params(file) => format!("`{name}` in {file}"),
        }
    }
}

/// What a file and everything it imports turned out to be.
#[derive(Clone, Debug)]
pub struct Checked {
    pub sources: SourceMap,
    /// The tree of the file itself, as written.
    pub file: File,
    /// In the order of the file; there if and only if no diagnostic is an error.
    pub experiments: Vec<Experiment>,
    pub matrices: Vec<Matrix>,
    /// One for each way a rule is used.
    pub counts: Vec<StageCounts>,
    /// In the order of their places, those of imported files last.
    pub diagnostics: Vec<Diagnostic>,
    /// What each place means.
    pub index: Index,
}

/// Checks a file and what it imports.
pub fn check(source: Source, given: &[Given], world: World) -> Checked {
    let (file, written) = syntax::parse(&source.text);
    let linked = link::link(source, file.clone(), world);
    let mut checker = Checker::new(&linked, world);
    let mut experiments = checker.file(&linked.file, given);
    let mut diagnostics = once::tell(checker.errors, |span| checker.symbols.scope(span));
    diagnostics.extend(checker.found);
    diagnostics.extend(linked.found.iter().cloned());
    diagnostics.extend(written);
    let sound = |diagnostics: &[Diagnostic]| !diagnostics.iter().any(Diagnostic::is_error);
    let mut matrices = Vec::new();
    if linked.file.sound && sound(&diagnostics) {
        matrices = matrix::matrices(&linked, given, world, &mut diagnostics);
    }
    diagnostics.sort_by(|a, b| (a.primary(), a.code, &a.message).cmp(&(b.primary(), b.code, &b.message)));
    // A rule that two selections use is typed twice: its mistakes are told once.
    diagnostics.dedup();
    if !linked.file.sound || !sound(&diagnostics) {
        experiments.clear();
        matrices.clear();
    }
    let experiments = experiments.into_iter().flatten().collect();
    Checked {
        sources: linked.sources,
        file,
        experiments,
        matrices,
        counts: checker.counts,
        diagnostics,
        index: checker.index,
    }
}

struct EnvInfo {
    spec: EnvSpec,
    schema: Arc<Schema>,
}

struct DatasetInfo {
    it: Dataset,
    env: Option<EnvId>,
    labelled: bool,
    /// What a file's rows are, as far as they could be read.
    rows: jsonl::Rows,
}

/// A slot for each declaration, in source order, so that a place is an id; `None` once a diagnostic has told why.
type Slots<T> = Vec<Named<Option<T>>>;

struct Checker<'a> {
    world: World<'a>,
    errors: Vec<CheckError>,
    index: Index,
    /// What this version does not run, and where the file uses it.
    not_built: Vec<(String, Vec<Span>)>,
    /// What other enums than [`CheckError`] tell.
    found: Vec<Diagnostic>,
    symbols: Symbols,
    unstable: Vec<(String, Span)>,
    /// A head that could not be read whole may name any feature.
    any_feature: bool,
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
    critics: Slots<critic::CriticInfo>,
    /// Which of them are panels.
    panels: BTreeSet<usize>,
    trainers: Slots<TrainerSpec>,
    rule_items: Vec<ast::Rule>,
    /// Of each rule, the stages that do nothing wherever it is used so far.
    idle: BTreeMap<usize, Vec<CheckError>>,
    /// One for each way a rule is used.
    rules: Vec<Named<Rule>>,
    counts: Vec<StageCounts>,
}

impl<'a> Checker<'a> {
    fn new(linked: &Linked, world: World<'a>) -> Self {
        Self {
            world,
            errors: Vec::new(),
            index: Index::of(&linked.file),
            not_built: Vec::new(),
            found: Vec::new(),
            symbols: Symbols::of(linked),
            unstable: linked.unstable.clone(),
            any_feature: linked.any_feature,
            constants: BTreeMap::new(),
            pending: BTreeMap::new(),
            waiting: 0,
            locals: BTreeMap::new(),
            envs: Vec::new(),
            datasets: Vec::new(),
            models: Vec::new(),
            prompts: Vec::new(),
            critics: Vec::new(),
            panels: BTreeSet::new(),
            trainers: Vec::new(),
            rule_items: Vec::new(),
            idle: BTreeMap::new(),
            rules: Vec::new(),
            counts: Vec::new(),
        }
    }
}

impl Checker<'_> {
    fn error(&mut self, error: CheckError) {
        self.errors.push(error);
    }

    /// Part of the language that this version reads, checks and plans, and does not run.
    fn later(&mut self, span: Span, what: impl Into<String>) {
        let what = what.into();
        match self.not_built.iter_mut().find(|(known, _)| *known == what) {
            Some((_, places)) => places.push(span),
            None => self.not_built.push((what, vec![span])),
        }
    }

    /// One note a feature, however often the file uses it.
    fn tell_not_built(&mut self) {
        for (what, mut places) in std::mem::take(&mut self.not_built) {
            places.sort();
            places.dedup();
            self.error(CheckError::NotBuilt { what, places });
        }
    }

    fn has_oracle(&mut self) -> bool {
        self.symbols.oracle_used = true;
        self.any_feature || self.unstable.iter().any(|(feature, _)| feature == "oracle")
    }

    /// One entry an experiment; `None` where a diagnostic has told why.
    fn file(&mut self, file: &File, given: &[Given]) -> Vec<Option<Experiment>> {
        let duplicates = std::mem::take(&mut self.symbols.duplicates);
        for (name, first) in duplicates {
            self.error(CheckError::Duplicate { span: name.span, name: name.value, first });
        }
        self.note_imports(file);
        self.params(file, given);
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
        let experiments = self.experiments(file);
        self.errors.extend(std::mem::take(&mut self.idle).into_values().flatten());
        self.unused_rules();
        self.unused(file);
        self.tell_not_built();
        experiments
    }

    fn declarations(&mut self, file: &File, wanted: Declared) {
        let mut panels = Vec::new();
        for item in &file.items {
            let ItemKind::Declaration { kind, name, body } = &item.kind else { continue };
            if *kind != wanted {
                continue;
            }
            let reliable = !item.unreliable;
            let declared = name.span;
            let name = name.value.clone();
            match kind {
                Declared::Env => {
                    let it = reliable.then(|| self.env(body)).flatten();
                    self.index.env(declared, it.as_ref());
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
                    // A panel is read once its members are, wherever the file declares them.
                    let is_panel = body.entries.iter().any(|entry| entry.key.text() == "panel");
                    if is_panel {
                        self.panels.insert(self.critics.len());
                        panels.extend(reliable.then_some((self.critics.len(), body)));
                    }
                    let it = (reliable && !is_panel).then(|| self.critic(body)).flatten();
                    self.critics.push(Named { name, it });
                }
            }
        }
        for (id, body) in panels {
            self.critics[id].it = self.critic(body);
        }
    }

    fn experiments(&mut self, file: &File) -> Vec<Option<Experiment>> {
        let mut found = Vec::new();
        let mut broken = file.cut;
        for item in &file.items {
            match &item.kind {
                ItemKind::Experiment(_) if item.unreliable => found.push(None),
                ItemKind::Experiment(experiment) => {
                    self.rules.clear();
                    found.push(self.experiment(experiment, &file.doc));
                }
                ItemKind::Matrix(matrix) => {
                    self.reference(&matrix.of, Kind::Experiment);
                    self.uses_of(matrix);
                }
                ItemKind::Broken { word, .. } => {
                    broken |= matches!(word, None | Some(ast::ItemWord::Experiment | ast::ItemWord::Import));
                }
                _ => {}
            }
        }
        // A file of declarations alone is there to be imported.
        let declares = |item: &ast::Item| !matches!(item.kind, ItemKind::Edition { .. } | ItemKind::Import { .. });
        if found.is_empty() && !broken && !file.items.iter().any(declares) {
            let at = file.items.last().map_or(0, |item| item.span.end as usize);
            self.error(CheckError::NoExperiment { span: Span::new(at, at) });
        }
        if found.is_empty() || found.iter().any(Option::is_none) {
            // A schedule was not read to the end: what it would have used is not known.
            self.symbols.everything_used = true;
        }
        found
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
        self.unused_parameters();
        self.found.extend(self.symbols.unused_imports().map(Diagnostic::from));
        let oracle = self.unstable.iter().find(|(feature, _)| feature == "oracle").map(|(_, span)| *span);
        if let (Some(span), false) = (oracle, self.symbols.oracle_used) {
            self.error(CheckError::UnusedFeature { span, feature: "oracle".to_owned() });
        }
    }

    /// Parameters that their rule does not read.
    fn unused_parameters(&mut self) {
        let used = self.index.used();
        let parameters = self.rule_items.iter().flat_map(|rule| &rule.parameters).map(|parameter| &parameter.name);
        let unused: Vec<ast::Name> =
            parameters.filter(|name| !name.value.starts_with('_') && !used.contains(&name.span)).cloned().collect();
        for ast::Name { value: name, span } in unused {
            self.error(CheckError::Unused { span, name, what: "parameter" });
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
        self.note(&name.value, name.span);
        match self.symbols.reference(name, kind) {
            Ok(id) => id,
            Err(error) => {
                self.error(error);
                None
            }
        }
    }

    /// An item is named here.
    fn note(&mut self, name: &str, span: Span) {
        if let Some(declared) = self.symbols.declared(name, span) {
            self.index.name(span, declared);
        }
    }

    /// The names that imports give to the file.
    fn note_imports(&mut self, file: &File) {
        for item in &file.items {
            match &item.kind {
                ItemKind::Import { names: ast::Imported::As(alias), .. } => self.note(&alias.value, alias.span),
                ItemKind::Import { names: ast::Imported::Names(names), .. } => {
                    for name in names {
                        if let Some(declared) = self.symbols.declared(&name.value, name.span) {
                            self.index.import(name, declared);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// As [`Self::note`], and so it is used.
    fn mark(&mut self, name: &str, span: Span) {
        self.note(name, span);
        self.symbols.mark(name);
    }

    /// A path that must be one name of a kind.
    /// Where the environment is declared of which a path names a split.
    fn split_named(&mut self, path: &ast::Path) -> Option<Span> {
        let [env, split] = path.parts.as_slice() else { return None };
        let place = self.envs.iter().position(|it| it.name == env.value)?;
        let splits = &self.envs[place].it.as_ref()?.spec.splits;
        splits.iter().find(|it| it.name == split.value)?;
        self.mark(&env.value, env.span);
        self.symbols.find(&env.value).map(|(_, declared)| declared)
    }

    fn reference_path(&mut self, path: &ast::Path, kind: Kind) -> Option<usize> {
        match path.single() {
            Some(name) => self.reference(name, kind),
            None => {
                if let Some(declared) = self.split_named(path).filter(|_| kind != Kind::Env) {
                    let (span, name, found, wanted) = (path.span, path.text(), "a split", kind.words());
                    self.error(CheckError::WrongBinding { span, name, found, wanted, declared });
                    return None;
                }
                let name = ast::Name::new(path.text(), path.span);
                self.reference(&name, kind)
            }
        }
    }
}
