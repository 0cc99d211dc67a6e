//! Turns the name of something that a file declares into its typed form, as a person wants to read it: with units, and
//! with what the file leaves out.
//!
//! [`show`] answers `agx show KIND NAME`, of a file or of the file that a run has frozen.

mod declared;
mod facts;
mod rule;
mod schedule;
mod words;

use crate::cli::args::ShowArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::load::{self, Loaded};
use crate::cli::place::Place;
use crate::cli::prompt;
use crate::cli::terminal::Terminal;
use crate::experiment::{Checked, Experiment, Given, Matrix, Named, StageCounts};
use crate::report::text::{Cell, Table};
use crate::run::{Project, directory};
use crate::syntax::ast::{Block, Declared, File, Item, ItemKind};
use crate::syntax::similar::{did_you_mean, similar};
use facts::Facts;
use serde_json::json;

/// What a file can declare, as it is written there.
pub const KINDS: [&str; 10] =
    ["param", "env", "dataset", "model", "prompt", "critic", "rule", "trainer", "experiment", "matrix"];

pub fn is_kind(word: &str) -> bool {
    KINDS.contains(&word)
}

/// A checked file: what it means, and what it says.
pub struct Subject {
    pub experiment: Experiment,
    pub matrices: Vec<Matrix>,
    /// What the checker knows of a rule's rows; a run has its funnel instead.
    pub counts: Vec<StageCounts>,
    /// The file itself, then what it imports.
    sources: Vec<Source>,
    /// Values given for its params.
    pub given: Vec<Given>,
    /// The run whose frozen file it is.
    pub run: Option<(Project, String)>,
}

struct Source {
    text: String,
    file: File,
}

impl Source {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), file: crate::syntax::parse(text).0 }
    }
}

impl Subject {
    fn new(args: &ShowArgs, place: &Place, words: &[&str], terminal: &Terminal) -> Result<Self, Failure> {
        if let Some(path) = &args.file {
            let Loaded { checked, given } = load::load_to_show(path, &args.sets, terminal)?;
            let Checked { sources, experiments, matrices, counts, .. } = checked;
            let run = args.run.as_deref().map(|run| {
                let project = place.open()?;
                let run = place.run(&project, Some(run))?;
                Ok::<_, Failure>((project, run))
            });
            // All experiments of a file see the same declarations, but for rules, which are typed where they are used.
            let named = |it: &Experiment| match words {
                ["experiment", name] => it.name == *name,
                ["rule", name] => it.rules.iter().any(|rule| rule.name == *name),
                _ => !it.rules.is_empty(),
            };
            let wanted = experiments.iter().position(named).unwrap_or(0);
            let experiment = experiments.into_iter().nth(wanted).ok_or_else(|| {
                Failure::new(Exit::Usage, format!("{} holds no experiment", path.display()))
                    .help("look into a file that imports it")
            })?;
            let sources = sources.iter().map(|source| Source::new(&source.text)).collect();
            return Ok(Self { experiment, matrices, counts, sources, given, run: run.transpose()? });
        }
        let project = place.open()?;
        let run = place.run(&project, args.run.as_deref())?;
        let experiment = directory::experiment(&project, &run)?;
        let mut sources: Vec<Source> =
            directory::sources(&project, &run)?.iter().map(|text| Source::new(text)).collect();
        let is_own =
            |source: &Source| source.file.items.iter().any(|it| word(it) == Some(("experiment", &experiment.name)));
        sources.sort_by_key(|source| !is_own(source));
        Ok(Self {
            experiment,
            matrices: Vec::new(),
            counts: Vec::new(),
            sources,
            given: Vec::new(),
            run: Some((project, run)),
        })
    }

    /// What the file, or one that it imports, says of an object. An imported one is called `critics.grader`.
    fn item(&self, kind: &str, name: &str) -> Option<&Item> {
        self.said(kind, name).map(|(_, item)| item)
    }

    /// As [`item`](Self::item), with the text that its places are in.
    fn said(&self, kind: &str, name: &str) -> Option<(&str, &Item)> {
        let (own, imported) = self.sources.split_first()?;
        let find =
            |source: &'_ Source, name: &str| source.file.items.iter().position(|item| word(item) == Some((kind, name)));
        if let Some(at) = find(own, name) {
            return Some((&own.text, &own.file.items[at]));
        }
        let last = name.rsplit('.').next()?;
        let mut found = imported.iter().filter_map(|source| Some((source, find(source, last)?)));
        match (found.next(), found.next()) {
            (Some((source, at)), None) => Some((&source.text, &source.file.items[at])),
            // Two files have one of that name: which is meant is not known here.
            _ => None,
        }
    }

    fn own_items(&self) -> impl Iterator<Item = &Item> {
        self.sources.first().into_iter().flat_map(|source| &source.file.items)
    }

    /// The block of a declaration, where the file's own text has it.
    fn body(&self, kind: &str, name: &str) -> Option<&Block> {
        match &self.item(kind, name)?.kind {
            ItemKind::Declaration { body, .. } => Some(body),
            _ => None,
        }
    }

    /// Facts that know the object's doc comment and which of its fields are written.
    fn facts(&self, kind: &str, name: &str) -> Facts {
        let mut facts = Facts::new(kind, name);
        if let Some(item) = self.item(kind, name) {
            facts.doc(&item.doc);
        }
        if let Some(body) = self.body(kind, name) {
            facts.written(body);
        }
        facts
    }

    fn names(&self, kind: &str) -> Vec<String> {
        fn all<T>(list: &[Named<T>]) -> Vec<String> {
            list.iter().map(|named| named.name.clone()).collect()
        }
        let it = &self.experiment;
        let mut names = match kind {
            "env" => all(&it.envs),
            "dataset" => all(&it.datasets),
            "model" => all(&it.models),
            "prompt" => all(&it.prompts),
            "critic" => all(&it.critics),
            "rule" => all(&it.rules),
            "trainer" => all(&it.trainers),
            "experiment" if self.run.is_some() => vec![it.name.clone()],
            "matrix" => self.matrices.iter().map(|matrix| matrix.name.clone()).collect(),
            _ => self
                .own_items()
                .filter_map(word)
                .filter(|(it, _)| *it == kind)
                .map(|(_, name)| name.to_owned())
                .collect(),
        };
        // A rule that is used in two ways is there twice.
        names.dedup();
        names
    }
}

/// `("critic", "grader")` of an item that declares something.
fn word(item: &Item) -> Option<(&str, &str)> {
    Some(match &item.kind {
        ItemKind::Param { name, .. } => ("param", &name.value),
        ItemKind::Declaration { kind, name, .. } => {
            let kind = match kind {
                Declared::Env => "env",
                Declared::Dataset => "dataset",
                Declared::Model => "model",
                Declared::Critic => "critic",
                Declared::Trainer => "trainer",
            };
            (kind, &name.value)
        }
        ItemKind::Prompt(prompt) => ("prompt", &prompt.name.value),
        ItemKind::Rule(rule) => ("rule", &rule.name.value),
        ItemKind::Experiment(experiment) => ("experiment", &experiment.name.value),
        ItemKind::Matrix(matrix) => ("matrix", &matrix.name.value),
        _ => return None,
    })
}

/// `agx show --file F`, `agx show rule`, `agx show rule good`.
pub fn show(args: &ShowArgs, place: &Place, words: &[&str], terminal: &Terminal) -> Result<Exit, Failure> {
    let subject = Subject::new(args, place, words, terminal)?;
    match *words {
        [] => list(&subject, &KINDS, terminal),
        [kind] => match subject.names(kind).as_slice() {
            [only] => one(args, &subject, kind, only, terminal)?,
            _ => list(&subject, &[kind], terminal),
        },
        [kind, name, ..] => one(args, &subject, kind, name, terminal)?,
    }
    Ok(Exit::Ok)
}

fn list(subject: &Subject, kinds: &[&str], terminal: &Terminal) {
    let mut table = Table::default();
    let mut values = Vec::new();
    for kind in kinds {
        for name in subject.names(kind) {
            let doc = subject.item(kind, &name).map(|item| item.doc.trim()).unwrap_or_default();
            table.push([Cell::left(kind), Cell::left(&name), Cell::left(doc.lines().next().unwrap_or_default())]);
            values.push(json!({ "kind": kind, "name": name, "doc": doc }));
        }
    }
    if terminal.json() {
        terminal.value(&json!(values));
    } else {
        terminal.data(&table.text());
    }
}

fn one(args: &ShowArgs, subject: &Subject, kind: &str, name: &str, terminal: &Terminal) -> Result<(), Failure> {
    let names = subject.names(kind);
    if !names.iter().any(|known| known == name) {
        let near = similar(name, names.iter().map(String::as_str));
        let help = did_you_mean(&near).unwrap_or_else(|| match names.as_slice() {
            [] => format!("it declares no {kind} at all"),
            _ => format!("the file has {}", names.join(", ")),
        });
        return Err(Failure::new(Exit::Usage, format!("the file has no {kind} `{name}`")).help(help));
    }
    let facts = match kind {
        "prompt" => return prompt::show(args, subject, name, terminal),
        "param" => declared::param(subject, name),
        "env" => declared::env(subject, name),
        "dataset" => declared::dataset(subject, name),
        "model" => declared::model(subject, name),
        "critic" => declared::critic(subject, name),
        "trainer" => declared::trainer(subject, name),
        "rule" => rule::rule(subject, name),
        "matrix" => schedule::matrix(subject, name),
        _ => schedule::experiment(subject),
    };
    facts.tell(terminal);
    Ok(())
}
