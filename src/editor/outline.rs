//! Turns a file into its outline: what it declares, and what stands in that.

use crate::base::Span;
use crate::experiment::Kind;
use crate::experiment::index::Sort;
use crate::syntax::ast::{Block, Declared, EntryKind, File, ItemKind, Statement, StatementKind, Statements};

/// One line of an outline.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub detail: String,
    pub sort: Sort,
    pub span: Span,
    /// The name alone; within `span`.
    pub name_span: Span,
    pub inside: Vec<Entry>,
}

pub fn outline(text: &str, file: &File) -> Vec<Entry> {
    file.items.iter().filter_map(|item| entry(text, &item.kind, item.span)).collect()
}

fn entry(text: &str, kind: &ItemKind, span: Span) -> Option<Entry> {
    let (sort, name, inside) = match kind {
        ItemKind::Edition { .. } | ItemKind::Import { .. } | ItemKind::Broken { .. } => return None,
        ItemKind::Param { name, .. } => (Kind::Param, name, Vec::new()),
        ItemKind::Let { name, .. } => (Kind::Constant, name, Vec::new()),
        ItemKind::Declaration { kind, name, body } => match kind {
            Declared::Env => (Kind::Env, name, members(text, body, "splits", Sort::Split)),
            Declared::Critic => (Kind::Critic, name, members(text, body, "answer", Sort::Answer)),
            Declared::Dataset => (Kind::Dataset, name, Vec::new()),
            Declared::Model => (Kind::Model, name, Vec::new()),
            Declared::Trainer => (Kind::Trainer, name, Vec::new()),
        },
        ItemKind::Prompt(prompt) => (Kind::Prompt, &prompt.name, Vec::new()),
        ItemKind::Rule(rule) => (Kind::Rule, &rule.name, Vec::new()),
        ItemKind::Experiment(experiment) => {
            let inside = experiment.schedules.iter().flat_map(|statements| schedule(text, statements)).collect();
            (Kind::Experiment, &experiment.name, inside)
        }
        ItemKind::Matrix(matrix) => (Kind::Matrix, &matrix.name, Vec::new()),
    };
    Some(Entry {
        name: slice(text, name.span).to_owned(),
        detail: kind_word(text, span),
        sort: Sort::Item(sort),
        span,
        name_span: name.span,
        inside,
    })
}

/// The word that opens an item.
fn kind_word(text: &str, span: Span) -> String {
    slice(text, span).split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("").to_owned()
}

/// The names in one block of a declaration.
fn members(text: &str, body: &Block, field: &str, sort: Sort) -> Vec<Entry> {
    let blocks = body.entries.iter().filter(|entry| entry.key.text() == field);
    let blocks = blocks.filter_map(|entry| match &entry.kind {
        EntryKind::Block(block) => Some(block),
        _ => None,
    });
    let entries = blocks.flat_map(|block| &block.entries);
    entries
        .map(|entry| Entry {
            name: entry.key.text(),
            detail: slice(text, Span { start: entry.key.span.end, end: entry.span.end }).trim().to_owned(),
            sort,
            span: entry.span,
            name_span: entry.key.span,
            inside: Vec::new(),
        })
        .collect()
}

fn schedule(text: &str, statements: &Statements) -> Vec<Entry> {
    statements.list.iter().filter_map(|statement| line(text, statement)).collect()
}

/// A statement that makes or changes something: `let kept`, `train policy`, `repeat 3 times`.
fn line(text: &str, statement: &Statement) -> Option<Entry> {
    let (sort, inside) = match &statement.kind {
        StatementKind::Broken { .. } => return None,
        StatementKind::Repeat(repeat) => (Sort::Iteration, schedule(text, &repeat.body)),
        StatementKind::Evaluate { .. } => (Sort::Evaluation, Vec::new()),
        StatementKind::Pick { .. } | StatementKind::Train(_) => (Sort::Version, Vec::new()),
        _ => (Sort::Rows, Vec::new()),
    };
    let written = slice(text, statement.span);
    let head = written.split(['{', '\n']).next().unwrap_or("").trim();
    let (name, detail, name_span) = match &statement.name {
        Some(name) => (name.value.clone(), head.split_once('=').map_or("", |(_, after)| after.trim()), name.span),
        None => {
            (head.to_owned(), "", Span::new(statement.span.start as usize, statement.span.start as usize + head.len()))
        }
    };
    Some(Entry { name, detail: detail.to_owned(), sort, span: statement.span, name_span, inside })
}

fn slice(text: &str, span: Span) -> &str {
    text.get(span.range()).unwrap_or("")
}
