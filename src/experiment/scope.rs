//! Turns declarations into one table of names: what each is, and whether something names it.
//!
//! # Invariants
//! One namespace: a name means one thing in a file. A broken declaration is in the table too, poisoned.

use super::error::CheckError;
use crate::base::Span;
use crate::syntax::ast::{Declared, File, Imported, ItemKind, ItemWord, Name};
use crate::syntax::similar::similar;
use std::collections::{BTreeMap, BTreeSet};

/// After so many unknown names nothing is proposed: each proposal reads all names.
const MOST_MISSES: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Env,
    Dataset,
    Model,
    Prompt,
    Critic,
    Rule,
    Trainer,
    Experiment,
    Matrix,
    Param,
    Constant,
    Module,
}

impl Kind {
    pub fn words(self) -> &'static str {
        match self {
            Kind::Env => "an environment",
            Kind::Dataset => "a dataset",
            Kind::Model => "a model",
            Kind::Prompt => "a prompt",
            Kind::Critic => "a critic",
            Kind::Rule => "a rule",
            Kind::Trainer => "a trainer",
            Kind::Experiment => "an experiment",
            Kind::Matrix => "a matrix",
            Kind::Param => "a param",
            Kind::Constant => "a constant",
            Kind::Module => "an import",
        }
    }

    /// Without its article.
    pub fn word(self) -> &'static str {
        self.words().split_once(' ').map_or("", |(_, word)| word)
    }

    fn of(word: ItemWord) -> Option<Self> {
        Some(match word {
            ItemWord::Env => Kind::Env,
            ItemWord::Dataset => Kind::Dataset,
            ItemWord::Model => Kind::Model,
            ItemWord::Prompt => Kind::Prompt,
            ItemWord::Critic => Kind::Critic,
            ItemWord::Rule => Kind::Rule,
            ItemWord::Trainer => Kind::Trainer,
            ItemWord::Experiment => Kind::Experiment,
            ItemWord::Matrix => Kind::Matrix,
            ItemWord::Param => Kind::Param,
            ItemWord::Let => Kind::Constant,
            ItemWord::Agx | ItemWord::Import => return None,
        })
    }
}

#[derive(Debug)]
struct Symbol {
    /// `None`: broken, so it may be anything.
    kind: Option<Kind>,
    /// Its place among its kind.
    id: usize,
    span: Span,
    used: bool,
}

#[derive(Debug, Default)]
pub struct Symbols {
    table: BTreeMap<String, Symbol>,
    /// A declaration of this kind lost its name: a name nobody declared may be it.
    nameless: BTreeSet<Kind>,
    anything_nameless: bool,
    pub duplicates: Vec<(Name, Span)>,
    misses: usize,
    pub everything_used: bool,
    pub oracle_used: bool,
}

impl Symbols {
    pub fn of(file: &File) -> Self {
        let mut symbols = Self { anything_nameless: file.cut, ..Self::default() };
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for item in &file.items {
            let (kind, name) = match &item.kind {
                ItemKind::Edition { .. } => continue,
                ItemKind::Import { names, .. } => {
                    match names {
                        Imported::As(name) => symbols.add(name, Some(Kind::Module), 0),
                        Imported::Names(names) => names.iter().for_each(|name| symbols.add(name, None, 0)),
                    }
                    continue;
                }
                ItemKind::Broken { declares, word } => {
                    for (_, name) in declares {
                        symbols.add(name, None, 0);
                    }
                    match word.map(Kind::of) {
                        Some(Some(kind)) if declares.is_empty() => {
                            symbols.nameless.insert(kind);
                        }
                        None => symbols.anything_nameless = true,
                        _ => {}
                    }
                    continue;
                }
                ItemKind::Param { name, .. } => (Kind::Param, name),
                ItemKind::Let { name, .. } => (Kind::Constant, name),
                ItemKind::Declaration { kind, name, .. } => match kind {
                    Declared::Env => (Kind::Env, name),
                    Declared::Dataset => (Kind::Dataset, name),
                    Declared::Model => (Kind::Model, name),
                    Declared::Critic => (Kind::Critic, name),
                    Declared::Trainer => (Kind::Trainer, name),
                },
                ItemKind::Prompt(prompt) => (Kind::Prompt, &prompt.name),
                ItemKind::Rule(rule) => (Kind::Rule, &rule.name),
                ItemKind::Experiment(experiment) => (Kind::Experiment, &experiment.name),
                ItemKind::Matrix(matrix) => (Kind::Matrix, &matrix.name),
            };
            let count = counts.entry(kind).or_default();
            symbols.add(name, Some(kind), *count);
            *count += 1;
        }
        symbols
    }

    fn add(&mut self, name: &Name, kind: Option<Kind>, id: usize) {
        match self.table.get(&name.value) {
            Some(first) if first.kind.is_some() && kind.is_some() => {
                self.duplicates.push((name.clone(), first.span));
            }
            Some(first) if first.kind.is_none() => {}
            _ => {
                self.table.insert(name.value.clone(), Symbol { kind, id, span: name.span, used: false });
            }
        }
    }

    /// The id of `name` as a `kind`. `Ok(None)`: it is poisoned.
    pub fn reference(&mut self, name: &Name, kind: Kind) -> Result<Option<usize>, CheckError> {
        if let Some(symbol) = self.table.get_mut(&name.value) {
            symbol.used = true;
            return match symbol.kind {
                Some(found) if found == kind => Ok(Some(symbol.id)),
                None => Ok(None),
                Some(found) => {
                    let declared = symbol.span;
                    Err(CheckError::WrongKind {
                        span: name.span,
                        name: name.value.clone(),
                        found,
                        wanted: kind,
                        declared,
                    })
                }
            };
        }
        if self.anything_nameless || self.nameless.contains(&kind) {
            return Ok(None);
        }
        self.misses += 1;
        let names = if self.misses > MOST_MISSES { Vec::new() } else { self.names(kind).collect() };
        let near = similar(&name.value, names);
        // What may have been meant is not unused.
        for near in &near {
            if let Some(symbol) = self.table.get_mut(near) {
                symbol.used = true;
            }
        }
        Err(CheckError::Unknown { span: name.span, name: name.value.clone(), what: kind.word().to_owned(), near })
    }

    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.table.iter().filter(move |(_, symbol)| symbol.kind == Some(kind)).map(|(name, _)| name.as_str())
    }

    pub fn find(&self, name: &str) -> Option<(Option<Kind>, Span)> {
        self.table.get(name).map(|symbol| (symbol.kind, symbol.span))
    }

    pub fn mark(&mut self, name: &str) {
        if let Some(symbol) = self.table.get_mut(name) {
            symbol.used = true;
        }
    }

    pub fn may_be_lost(&self, kind: Kind) -> bool {
        self.anything_nameless || self.nameless.contains(&kind)
    }

    pub fn is_used(&self, name: &str) -> bool {
        self.table.get(name).is_some_and(|symbol| symbol.used)
    }

    pub fn is_poisoned(&self, name: &str) -> bool {
        self.table.get(name).is_some_and(|symbol| symbol.kind.is_none())
    }

    pub fn unused(&self) -> Vec<(String, Span, Kind)> {
        let entry = |(name, symbol): (&String, &Symbol)| {
            let kind = symbol.kind.filter(|kind| !matches!(kind, Kind::Experiment | Kind::Matrix | Kind::Module))?;
            (!symbol.used && !name.starts_with('_')).then(|| (name.clone(), symbol.span, kind))
        };
        self.table.iter().filter_map(entry).collect()
    }
}
