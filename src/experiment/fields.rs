//! Turns a block into its fields: unknown, doubled and missing ones told, forms checked.

use super::Checker;
use super::error::CheckError;
use crate::base::Span;
use crate::syntax::ast::{Apply, Block, Entry, EntryKind, Expr, ExprKind};
use crate::syntax::similar::similar;
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Value,
    Block,
    Any,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
    /// Part of the language, not of this version.
    Later,
}

#[derive(Clone, Copy)]
pub struct Field {
    name: &'static str,
    form: Form,
    need: Need,
}

pub const fn required(name: &'static str) -> Field {
    Field { name, form: Form::Value, need: Need::Required }
}

pub const fn optional(name: &'static str) -> Field {
    Field { name, form: Form::Value, need: Need::Optional }
}

pub const fn required_block(name: &'static str) -> Field {
    Field { name, form: Form::Block, need: Need::Required }
}

pub const fn optional_block(name: &'static str) -> Field {
    Field { name, form: Form::Block, need: Need::Optional }
}

pub const fn later(name: &'static str) -> Field {
    Field { name, form: Form::Any, need: Need::Later }
}

/// The entries of one block by name.
pub struct Fields<'b> {
    entries: BTreeMap<&'b str, &'b Entry>,
}

impl<'b> Fields<'b> {
    pub fn value(&self, name: &str) -> Option<&'b Expr> {
        match &self.entries.get(name)?.kind {
            EntryKind::Value(value) => Some(value),
            _ => None,
        }
    }

    pub fn block(&self, name: &str) -> Option<&'b Block> {
        match &self.entries.get(name)?.kind {
            EntryKind::Block(block) => Some(block),
            _ => None,
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    pub fn span(&self, name: &str) -> Option<Span> {
        self.entries.get(name).map(|entry| entry.span)
    }
}

impl Checker<'_> {
    /// Reads a block whose fields are known. `owner` is what has them: "a model".
    pub(super) fn fields<'b>(&mut self, block: &'b Block, owner: &'static str, known: &[Field]) -> Fields<'b> {
        let mut entries: BTreeMap<&'b str, &'b Entry> = BTreeMap::new();
        for entry in &block.entries {
            let Some(name) = entry.key.single() else {
                self.unknown_field(entry.key.span, &entry.key.text(), owner, known, false);
                continue;
            };
            let Some(field) = known.iter().find(|field| field.name == name.value) else {
                let broken = matches!(entry.kind, EntryKind::Broken);
                self.unknown_field(name.span, &name.value, owner, known, broken);
                continue;
            };
            let broken = |entry: &Entry| matches!(entry.kind, EntryKind::Broken);
            if let Some(first) = entries.get(name.value.as_str()).filter(|first| !broken(first) && !broken(entry)) {
                let first = first.key.span;
                self.error(CheckError::FieldTwice { span: name.span, name: name.value.clone(), first });
                continue;
            }
            if entries.contains_key(name.value.as_str()) && broken(entry) {
                continue;
            }
            entries.insert(&name.value, entry);
            if field.need == Need::Later {
                self.later(name.span, format!("`{}` of {owner}", name.value));
                continue;
            }
            let fits = match (&entry.kind, field.form) {
                (EntryKind::Broken, _) | (_, Form::Any) => true,
                (EntryKind::Value(_), form) => form == Form::Value,
                (EntryKind::Block(_), form) => form == Form::Block,
                (EntryKind::Type(_), _) => false,
            };
            if !fits {
                let wanted = match field.form {
                    Form::Block => format!("{} {{ … }}", field.name),
                    _ => format!("{} = …", field.name),
                };
                self.error(CheckError::WrongForm { span: entry.span, name: name.value.clone(), wanted });
            }
        }
        // A name close to a missing field was that field.
        let meant: Vec<String> = block
            .entries
            .iter()
            .filter(|entry| known.iter().all(|field| entry.key.text() != field.name))
            .flat_map(|entry| similar(&entry.key.text(), known.iter().map(|field| field.name)))
            .collect();
        if !block.broken {
            for field in known.iter().filter(|field| field.need == Need::Required) {
                if !entries.contains_key(field.name) && !meant.iter().any(|name| name == field.name) {
                    self.error(CheckError::MissingField { span: block.span, name: field.name, owner });
                }
            }
        }
        Fields { entries }
    }

    fn unknown_field(&mut self, span: Span, name: &str, owner: &'static str, known: &[Field], broken: bool) {
        // What cannot be read has been told already.
        if broken {
            return;
        }
        let names: Vec<&'static str> =
            known.iter().filter(|field| field.need != Need::Later).map(|field| field.name).collect();
        let near = similar(name, known.iter().map(|field| field.name));
        self.error(CheckError::UnknownField { span, name: name.to_owned(), owner, near, known: names });
    }

    /// One of a few words: `drop` or `fail`.
    pub(super) fn word<T: Copy>(&mut self, expr: &Expr, of: &str, words: &[(&'static str, T)]) -> Option<T> {
        let apply = self.choice(expr, of, &words.iter().map(|(word, _)| *word).collect::<Vec<_>>())?;
        if apply.arguments.is_some() || apply.block.is_some() {
            self.error(CheckError::NoValue { span: expr.span });
            return None;
        }
        let word = apply.path.text();
        words.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
    }

    /// One of a few words, maybe with arguments or a block behind it: `cosine { warmup = 3% }`.
    pub(super) fn choice<'e>(&mut self, expr: &'e Expr, of: &str, words: &[&'static str]) -> Option<&'e Apply> {
        match &expr.kind {
            ExprKind::Apply(apply) if words.contains(&apply.path.text().as_str()) => Some(apply),
            ExprKind::Broken => None,
            other => {
                let found = match other {
                    ExprKind::Apply(apply) => Some(apply.path.text()),
                    _ => None,
                };
                let near = found.as_deref().map(|found| similar(found, words.iter().copied())).unwrap_or_default();
                let span = match other {
                    ExprKind::Apply(apply) => apply.path.span,
                    _ => expr.span,
                };
                let error = CheckError::UnknownWord { span, of: of.to_owned(), found, near, known: words.to_vec() };
                self.error(error);
                None
            }
        }
    }

    /// The one text in the parentheses: `path("base/policy")`.
    pub(super) fn text_argument(&mut self, apply: &Apply) -> Option<String> {
        match apply.arguments.as_deref() {
            Some([argument]) if argument.name.is_none() => {
                self.text(&argument.value, &format!("`{}(…)`", apply.path.text()))
            }
            _ => {
                let name = apply.path.text();
                self.error(CheckError::Arguments { span: apply.path.span, wanted: format!("{name}(\"…\")"), name });
                None
            }
        }
    }
}
