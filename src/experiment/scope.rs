//! Turns declarations into one table of names: what each is, and whether something names it.
//!
//! # Invariants
//! One namespace a file: a name means one thing in it. A broken declaration is in the table too, poisoned. Within an imported
//! file its names are written short and known by their long names (see [`link`](super::link)): which file a name is of
//! is said by its place.

use super::error::CheckError;
use super::link::{Linked, Scope};
use super::link_error::LinkError;
use crate::base::Span;
use crate::syntax::ast::{Declared, ItemKind, ItemWord, Name};
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
    /// By their long names.
    table: BTreeMap<String, Symbol>,
    scopes: Vec<Scope>,
    /// Prefixes of files that could not be read.
    lost: BTreeSet<String>,
    /// A declaration of this kind lost its name: a name nobody declared may be it.
    nameless: BTreeSet<Kind>,
    anything_nameless: bool,
    pub duplicates: Vec<(Name, Span)>,
    /// Long names declared a second time as something else.
    two_kinds: BTreeSet<String>,
    misses: usize,
    pub everything_used: bool,
    pub oracle_used: bool,
}

impl Symbols {
    pub fn of(linked: &Linked) -> Self {
        let file = &linked.file;
        let (scopes, lost) = (linked.scopes.clone(), linked.lost.clone());
        let mut symbols = Self { anything_nameless: file.cut, scopes, lost, ..Self::default() };
        for name in &linked.poisoned {
            symbols.add(&Name::new(name.clone(), Span::default()), None, 0);
        }
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for item in &file.items {
            let (kind, name) = match &item.kind {
                ItemKind::Edition { .. } | ItemKind::Import { .. } => continue,
                ItemKind::Broken { declares, word } => {
                    for (_, name) in declares {
                        symbols.add(name, None, 0);
                    }
                    match word {
                        Some(ItemWord::Import) | None => symbols.anything_nameless = true,
                        Some(word) => symbols.nameless.extend(Kind::of(*word).filter(|_| declares.is_empty())),
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
        for (alias, import) in &linked.scopes[0].aliases {
            let symbol = Symbol { kind: Some(Kind::Module), id: 0, span: import.span, used: false };
            symbols.table.entry(alias.clone()).or_insert(symbol);
        }
        symbols
    }

    /// The file that `span` is in.
    pub fn scope(&self, span: Span) -> usize {
        self.scopes.partition_point(|scope| scope.base <= span.start) - 1
    }

    /// The long name of what `name` means where it stands.
    pub fn long(&mut self, name: &str, span: Span) -> String {
        let at = self.scope(span);
        if let Some(import) = self.scopes[at].imported.get_mut(name) {
            import.used = true;
        }
        self.called(name, span)
    }

    /// Where that is declared, without a use of it.
    pub fn declared(&self, name: &str, span: Span) -> Option<Span> {
        self.table.get(&self.called(name, span)).map(|symbol| symbol.span)
    }

    fn called(&self, name: &str, span: Span) -> String {
        let scope = &self.scopes[self.scope(span)];
        if let Some(import) = scope.imported.get(name) {
            return import.called.clone();
        }
        if scope.prefix.is_empty() || name.contains('.') { name.to_owned() } else { format!("{}.{name}", scope.prefix) }
    }

    /// How the file that `span` is in writes a long name; `None` if it cannot.
    pub fn short<'n>(&self, long: &'n str, span: Span) -> Option<&'n str> {
        let prefix = &self.scopes[self.scope(span)].prefix;
        if prefix.is_empty() { Some(long) } else { long.strip_prefix(prefix.as_str())?.strip_prefix('.') }
    }

    /// Where the relative paths of a file begin, from the directory of the root.
    pub fn directory(&self, span: Span) -> &std::path::Path {
        &self.scopes[self.scope(span)].directory
    }

    /// In the file that is run a name may be an imported one.
    fn key<'n>(&'n self, name: &'n str) -> &'n str {
        self.scopes[0].imported.get(name).map_or(name, |import| import.called.as_str())
    }

    fn get(&self, name: &str) -> Option<&Symbol> {
        self.table.get(self.key(name))
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Symbol> {
        match self.scopes[0].imported.get_mut(name) {
            Some(import) => {
                import.used = true;
                self.table.get_mut(&import.called)
            }
            None => self.table.get_mut(name),
        }
    }

    /// Whether a long name is of a file that could not be read.
    fn is_lost(&self, name: &str) -> bool {
        let owners = name.match_indices('.').map(|(at, _)| &name[..at]);
        !self.lost.is_empty() && owners.into_iter().any(|owner| self.lost.contains(owner))
    }

    fn add(&mut self, name: &Name, kind: Option<Kind>, id: usize) {
        // A name written large has been told: written as it should be it is no other one.
        let small = name.value.to_ascii_lowercase();
        if small != name.value {
            let symbol = Symbol { kind: None, id, span: name.span, used: false };
            self.table.entry(small).or_insert(symbol);
        }
        match self.table.get(&name.value) {
            Some(first) if first.kind.is_some() && kind.is_some() => {
                if first.kind != kind {
                    self.two_kinds.insert(name.value.clone());
                }
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
        let long = self.long(&name.value, name.span);
        if let Some(symbol) = self.table.get_mut(&long) {
            symbol.used = true;
            return match symbol.kind {
                Some(found) if found == kind => Ok(Some(symbol.id)),
                None => Ok(None),
                Some(_) if self.two_kinds.contains(&long) => Ok(None),
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
        if self.anything_nameless || self.nameless.contains(&kind) || self.is_lost(&long) {
            return Ok(None);
        }
        Err(self.unknown(name, &long, kind))
    }

    /// What is written is declared nowhere; of `critics.gradr` it is the last word that is wrong.
    fn unknown(&mut self, name: &Name, long: &str, kind: Kind) -> CheckError {
        let is_file = |owner: &str| self.scopes.iter().any(|scope| !owner.is_empty() && scope.prefix == owner);
        let (owner, word, span) = match name.value.rsplit_once('.').filter(|(owner, _)| is_file(owner)) {
            Some((owner, word)) => (Some(owner), word, Span { start: name.span.end - word.len() as u32, ..name.span }),
            None => (None, name.value.as_str(), name.span),
        };
        let before = &long[..long.len() - word.len()];
        let names = self.names(kind).filter(|_| self.misses <= MOST_MISSES);
        let known: Vec<String> = names.filter_map(|known| known.strip_prefix(before)).map(str::to_owned).collect();
        let near = self.near(word, known.iter().map(String::as_str));
        let what = match owner {
            Some(owner) => format!("{} of `{}`", kind.word(), self.short(owner, name.span).unwrap_or(owner)),
            None => kind.word().to_owned(),
        };
        // What may have been meant is not unused.
        for near in &near {
            if let Some(symbol) = self.table.get_mut(&format!("{before}{near}")) {
                symbol.used = true;
            }
        }
        CheckError::Unknown { span, name: word.to_owned(), what, near }
    }

    /// The names that may have been meant.
    pub fn near<'n>(&mut self, name: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
        self.misses += 1;
        if self.misses > MOST_MISSES { Vec::new() } else { similar(name, names) }
    }

    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.table.iter().filter(move |(_, symbol)| symbol.kind == Some(kind)).map(|(name, _)| name.as_str())
    }

    /// `None` as its kind: poisoned.
    pub fn find(&self, name: &str) -> Option<(Option<Kind>, Span)> {
        match self.get(name) {
            Some(symbol) => Some((symbol.kind, symbol.span)),
            None => self.is_lost(self.key(name)).then_some((None, Span::default())),
        }
    }

    pub fn mark(&mut self, name: &str) {
        if let Some(symbol) = self.get_mut(name) {
            symbol.used = true;
        }
    }

    /// Whether every declaration could be read.
    pub fn all_known(&self) -> bool {
        let broken = |symbol: &Symbol| symbol.kind.is_none();
        !self.anything_nameless && self.nameless.is_empty() && !self.table.values().any(broken)
    }

    pub fn may_be_lost(&self, kind: Kind) -> bool {
        self.anything_nameless || self.nameless.contains(&kind)
    }

    pub fn is_used(&self, name: &str) -> bool {
        self.get(name).is_some_and(|symbol| symbol.used)
    }

    pub fn is_poisoned(&self, name: &str) -> bool {
        self.find(name).is_some_and(|(kind, _)| kind.is_none())
    }

    /// Of the file that is run: what an imported file has beyond that serves others.
    pub fn unused(&self) -> Vec<(String, Span, Kind)> {
        let entry = |(name, symbol): (&String, &Symbol)| {
            let kind = symbol.kind.filter(|kind| !matches!(kind, Kind::Experiment | Kind::Matrix | Kind::Module))?;
            // One that an import gives as well has been told.
            let own = self.scope(symbol.span) == 0 && !self.scopes[0].imported.contains_key(name);
            (own && !symbol.used && !name.starts_with('_')).then(|| (name.clone(), symbol.span, kind))
        };
        self.table.iter().filter_map(entry).collect()
    }

    /// Imports that their file does not use.
    pub fn unused_imports(&self) -> impl Iterator<Item = LinkError> {
        let imports = self.scopes.iter().flat_map(|scope| scope.aliases.iter().chain(&scope.imported));
        let unused = imports.filter(|(_, import)| !import.used);
        unused.map(|(name, import)| LinkError::Unused { span: import.span, name: name.clone() })
    }
}
