//! Turns what the checker resolves into a table of places: what each name, field and word of a file means. For editors.
//!
//! # Invariants
//! Nothing here decides anything: an experiment does not know whether someone took notes. A place means one thing, the
//! first that was found, so that the notes are never more than the text has words.

use super::EnvInfo;
use super::rule::Form;
use super::schedule::Made;
use super::scope::Kind;
use super::vocabulary::{self, Field, Owner, Word};
use crate::base::Span;
use crate::env::Schema;
use crate::syntax::ast::{Block, Declared, EntryKind, File, Imported, ItemKind, Name, StatementKind, Statements};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

/// What sort of thing a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    Item(Kind),
    Split,
    /// A field of a critic's answer.
    Answer,
    /// An argument of a rule.
    Parameter,
    /// An argument of a prompt, or what a `for` in it names.
    Variable,
    Rows,
    Evaluation,
    /// What a `pick` has named, or a `train` makes.
    Version,
    /// The index of a loop.
    Iteration,
    Metric,
    Column,
    Filter,
    Offer,
    Type,
    Environment,
    /// It could not be read.
    Unknown,
}

impl Sort {
    pub fn words(self) -> &'static str {
        match self {
            Sort::Item(kind) => kind.words(),
            Sort::Split => "a split",
            Sort::Answer => "a field of the answer",
            Sort::Parameter => "an argument of the rule",
            Sort::Variable => "a variable of the prompt",
            Sort::Rows => "rows",
            Sort::Evaluation => "an evaluation",
            Sort::Version => "a version of a model",
            Sort::Iteration => "the index of the loop",
            Sort::Metric => "a metric",
            Sort::Column => "a column",
            Sort::Filter => "a filter",
            Sort::Offer => "data that the environment offers",
            Sort::Type => "a type",
            Sort::Environment => "a built-in environment",
            Sort::Unknown => "something that could not be read",
        }
    }
}

/// What stands at a place.
#[derive(Clone, Debug)]
pub enum Meaning {
    /// A name that a file declares, by the place where it does.
    Name(Span),
    /// A field of a block of the language.
    Field(&'static Owner, &'static Field),
    /// A word that a field can be.
    Word(&'static Word),
    /// What the language or an environment brings.
    Brought(Brought),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    pub sort: Sort,
    pub name: String,
    /// "text", "a ratio": its type in words.
    pub ty: String,
    pub doc: String,
}

/// A name that a file declares.
#[derive(Clone, Debug)]
pub struct Declaration {
    pub name: String,
    pub sort: Sort,
    /// The name of the item in whose block it stands.
    pub owner: Option<Span>,
    /// Its type, or what it holds, in words.
    pub ty: String,
    pub doc: String,
    /// At least and at most so many rows.
    pub rows: Option<(u64, u64)>,
    /// What `name.…` may be.
    pub metrics: Vec<Brought>,
}

#[derive(Clone, Debug, Default)]
pub struct Index {
    uses: BTreeMap<Span, Meaning>,
    names: BTreeMap<Span, Declaration>,
    schemas: BTreeMap<Span, Arc<Schema>>,
    /// What names of other files are called in this one.
    short: BTreeMap<Span, String>,
    /// The item whose block is being read.
    item: Option<Span>,
}

impl Index {
    /// What the items of a file declare, themselves and in their blocks.
    pub(super) fn of(file: &File) -> Self {
        let mut index = Self::default();
        for item in &file.items {
            index.item(&item.kind, &item.doc);
        }
        index
    }

    fn item(&mut self, item: &ItemKind, doc: &str) {
        let (kind, name) = match item {
            ItemKind::Edition { .. } => return,
            ItemKind::Import { names, .. } => {
                if let Imported::As(alias) = names {
                    self.declare(alias, Sort::Item(Kind::Module), String::new());
                }
                return;
            }
            ItemKind::Broken { declares, .. } => {
                declares.iter().for_each(|(_, name)| self.declare(name, Sort::Unknown, String::new()));
                return;
            }
            ItemKind::Param { name, .. } => (Kind::Param, name),
            ItemKind::Let { name, .. } => (Kind::Constant, name),
            ItemKind::Declaration { kind, name, .. } => (kind_of(*kind), name),
            ItemKind::Prompt(prompt) => (Kind::Prompt, &prompt.name),
            ItemKind::Rule(rule) => (Kind::Rule, &rule.name),
            ItemKind::Experiment(experiment) => (Kind::Experiment, &experiment.name),
            ItemKind::Matrix(matrix) => (Kind::Matrix, &matrix.name),
        };
        self.declare(name, Sort::Item(kind), String::new());
        if let Some(declared) = self.names.get_mut(&name.span) {
            doc.clone_into(&mut declared.doc);
        }
        match item {
            ItemKind::Declaration { kind: Declared::Env, body, .. } => self.members(name, body, "splits", Sort::Split),
            ItemKind::Declaration { kind: Declared::Critic, body, .. } => {
                self.members(name, body, "answer", Sort::Answer);
            }
            ItemKind::Prompt(prompt) => {
                prompt.parameters.iter().for_each(|it| self.member_of(name, &it.name, Sort::Variable));
            }
            ItemKind::Experiment(experiment) => experiment.schedules.iter().for_each(|it| self.statements(it)),
            ItemKind::Rule(rule) => {
                rule.parameters.iter().for_each(|it| self.member_of(name, &it.name, Sort::Parameter));
            }
            _ => {}
        }
    }

    /// What the statements name, whether or not they turn out to be right.
    fn statements(&mut self, statements: &Statements) {
        for statement in &statements.list {
            let sort = match &statement.kind {
                StatementKind::Evaluate { .. } => Sort::Evaluation,
                StatementKind::Pick { .. } => Sort::Version,
                StatementKind::Broken { declares } => {
                    declares.iter().for_each(|name| self.declare(name, Sort::Unknown, String::new()));
                    Sort::Unknown
                }
                StatementKind::Repeat(repeat) => {
                    if let Some(index) = &repeat.index {
                        self.declare(index, Sort::Iteration, "a whole number, from 1".to_owned());
                    }
                    self.statements(&repeat.body);
                    continue;
                }
                _ => Sort::Rows,
            };
            statement.name.iter().for_each(|name| self.declare(name, sort, String::new()));
        }
    }

    fn members(&mut self, owner: &Name, body: &Block, field: &str, sort: Sort) {
        for entry in body.entries.iter().filter(|entry| entry.key.text() == field) {
            let EntryKind::Block(block) = &entry.kind else { continue };
            for name in block.entries.iter().filter_map(|entry| entry.key.single()) {
                self.member_of(owner, name, sort);
            }
        }
    }

    fn member_of(&mut self, owner: &Name, name: &Name, sort: Sort) {
        self.declare(name, sort, String::new());
        if let Some(declared) = self.names.get_mut(&name.span) {
            declared.owner = Some(owner.span);
        }
    }

    /// A name is declared here.
    pub(super) fn declare(&mut self, name: &Name, sort: Sort, ty: String) {
        self.note(name.span, Meaning::Name(name.span));
        self.names.entry(name.span).or_insert_with(|| Declaration {
            name: name.value.clone(),
            sort,
            owner: None,
            ty,
            doc: String::new(),
            rows: None,
            metrics: Vec::new(),
        });
    }

    pub(super) fn note(&mut self, span: Span, meaning: Meaning) {
        self.uses.entry(span).or_insert(meaning);
    }

    /// A name of another file is called so in this one.
    pub(super) fn import(&mut self, name: &Name, declared: Span) {
        self.name(name.span, declared);
        self.short.entry(declared).or_insert_with(|| name.value.clone());
    }

    /// A name is used here that is declared there.
    pub(super) fn name(&mut self, span: Span, declared: Span) {
        self.note(span, Meaning::Name(declared));
    }

    pub(super) fn brought(
        &mut self,
        span: Span,
        sort: Sort,
        name: &str,
        ty: impl Into<String>,
        doc: impl Into<String>,
    ) {
        let brought = Brought { sort, name: name.to_owned(), ty: ty.into(), doc: doc.into() };
        self.note(span, Meaning::Brought(brought));
    }

    /// A name is used here that the item `owner` declares in its block.
    pub(super) fn member(&mut self, span: Span, owner: Span, name: &str) {
        let found = self.members_of(owner).find(|(_, member)| member.name == name).map(|(declared, _)| declared);
        found.into_iter().for_each(|declared| self.name(span, declared));
    }

    /// From here on it is this item whose names are looked up by [`Self::member_here`].
    pub(super) fn enter(&mut self, item: Span) {
        self.item = Some(item);
    }

    pub(super) fn member_here(&mut self, span: Span, name: &str) {
        if let Some(item) = self.item {
            self.member(span, item, name);
        }
    }

    /// What a `let` of the schedule has named.
    pub(super) fn binding(&mut self, name: &Name, made: &Made) {
        let (ty, rows) = match made {
            Made::Poisoned => return,
            Made::Evaluation { held_out: true, .. } => ("an evaluation on a held-out split".to_owned(), None),
            Made::Evaluation { .. } => ("an evaluation".to_owned(), None),
            Made::Picked { .. } => ("a version that was picked".to_owned(), None),
            Made::Rows(rows) => {
                let form = match rows.form {
                    Form::Rolled => "trajectories",
                    Form::Judged => "trajectories with verdicts",
                    Form::Selected => "trajectories that a rule has kept",
                };
                (format!("{form} of the split `{}`", rows.split), Some((rows.low, rows.high)))
            }
        };
        if let Some(declared) = self.names.get_mut(&name.span) {
            (declared.ty, declared.rows) = (ty, rows);
        }
    }

    pub(super) fn metrics(&mut self, declared: Span, names: &[String]) {
        let one = |name: &String| Brought {
            sort: Sort::Metric,
            name: name.clone(),
            ty: "a number".to_owned(),
            doc: vocabulary::metric(name).to_owned(),
        };
        if let Some(declared) = self.names.get_mut(&declared) {
            declared.metrics = names.iter().map(one).collect();
        }
    }

    /// What an environment is, and how large its splits are.
    pub(super) fn env(&mut self, declared: Span, info: Option<&EnvInfo>) {
        let Some(info) = info else { return };
        self.schemas.insert(declared, info.schema.clone());
        let splits: Vec<Span> = self.members_of(declared).map(|(span, _)| span).collect();
        for split in splits {
            let Some(name) = self.names.get_mut(&split) else { continue };
            if let Some(known) = info.spec.splits.iter().find(|known| known.name == name.name) {
                let held_out = if known.held_out { ", held out" } else { "" };
                name.ty = format!("a split of {} tasks{held_out}", known.size);
            }
        }
    }
}

impl Index {
    /// What stands at a byte, or just before it.
    pub fn at(&self, at: u32) -> Option<(Span, &Meaning)> {
        let behind = Span { start: at, end: u32::MAX };
        let here = self.uses.range(..=behind).rev().take(2).find(|(span, _)| span.start <= at && at <= span.end);
        here.map(|(span, meaning)| (*span, meaning))
    }

    pub fn meaning(&self, span: Span) -> Option<&Meaning> {
        self.uses.get(&span)
    }

    pub fn declaration(&self, declared: Span) -> Option<&Declaration> {
        self.names.get(&declared)
    }

    pub fn declarations(&self) -> impl Iterator<Item = (Span, &Declaration)> {
        self.names.iter().map(|(span, declaration)| (*span, declaration))
    }

    /// Every place that means the name declared there, itself among them.
    pub fn uses_of(&self, declared: Span) -> impl Iterator<Item = Span> {
        let means = move |meaning: &Meaning| matches!(meaning, Meaning::Name(of) if *of == declared);
        self.uses.iter().filter(move |(_, meaning)| means(meaning)).map(|(span, _)| *span)
    }

    /// What is declared somewhere and used somewhere else.
    pub(super) fn used(&self) -> BTreeSet<Span> {
        let used = |(span, meaning): (&Span, &Meaning)| match meaning {
            Meaning::Name(of) if of != span => Some(*of),
            _ => None,
        };
        self.uses.iter().filter_map(used).collect()
    }

    /// Every place with its meaning, in source order.
    pub fn uses(&self) -> impl Iterator<Item = (Span, &Meaning)> {
        self.uses.iter().map(|(span, meaning)| (*span, meaning))
    }

    /// How the file writes a name that is declared there; `None` if it cannot.
    pub fn written(&self, declared: Span) -> Option<&str> {
        let name = &self.names.get(&declared)?.name;
        let short = self.short.get(&declared).map(String::as_str);
        let reachable = name.rsplit_once('.').is_none_or(|(owner, _)| {
            let mut modules = self.names.values().filter(|it| it.sort == Sort::Item(Kind::Module));
            modules.any(|module| module.name == owner)
        });
        short.or(reachable.then_some(name))
    }

    pub fn members_of(&self, owner: Span) -> impl Iterator<Item = (Span, &Declaration)> {
        // They stand behind the owner's name, before the next item's.
        let behind = self.names.range(owner..).skip(1);
        let own = behind.take_while(move |(_, member)| !matches!(member.sort, Sort::Item(_)));
        own.filter(move |(_, member)| member.owner == Some(owner)).map(|(span, member)| (*span, member))
    }

    /// Of the environment whose name is declared there.
    pub fn schema_of(&self, env: Span) -> Option<&Schema> {
        self.schemas.get(&env).map(|schema| &**schema)
    }
}

impl Declaration {
    /// `16 to 768 rows`
    pub fn rows_words(&self) -> Option<String> {
        let (low, high) = self.rows?;
        let mut words = String::new();
        if low != high {
            write!(words, "{low} to ").expect("writing to a string");
        }
        write!(words, "{high} row{}", if high == 1 { "" } else { "s" }).expect("writing to a string");
        Some(words)
    }
}

fn kind_of(declared: Declared) -> Kind {
    match declared {
        Declared::Env => Kind::Env,
        Declared::Dataset => Kind::Dataset,
        Declared::Model => Kind::Model,
        Declared::Critic => Kind::Critic,
        Declared::Trainer => Kind::Trainer,
    }
}
