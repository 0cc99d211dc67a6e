//! Turns a new name into the edits that give it, or says why they would change what some file means.

use super::paint::{Paint, unresolved};
use super::{Document, navigate};
use crate::base::{Diagnostic, Edit, Span, edit};
use crate::experiment::index::{Meaning, Sort};
use crate::syntax::tokens::TokenKind;
use std::collections::BTreeMap;

/// Edits by the name of the file that they are for.
pub type Edits = BTreeMap<String, Vec<Edit>>;

/// Texts that shadow others, by the name of their file.
pub type Texts = BTreeMap<String, String>;

/// What would be renamed at a place.
///
/// # Errors
/// Why nothing can be renamed here, for people.
pub fn prepare(document: &Document, at: usize) -> Result<Span, String> {
    if let Some(named) = navigate::definition(document, at) {
        return Ok(own_part(document, named.span));
    }
    let here = document.token_at(at).filter(|token| token.kind == TokenKind::Word);
    let Some(here) = here else { return Err("there is no name here".to_owned()) };
    let word = here.text(&document.text);
    Err(match document.index.at(at as u32) {
        Some(_) => format!("`{word}` is part of the language or of an environment, not a name of this file"),
        None => format!("`{word}` is not a name that this file declares"),
    })
}

/// Whether other files can use the name at a place.
pub fn is_shared(document: &Document, at: usize) -> bool {
    let declared = navigate::definition(document, at).and_then(|named| document.index.declaration(named.declared));
    declared.is_some_and(|it| matches!(it.sort, Sort::Item(_) | Sort::Split | Sort::Answer))
}

/// The edits that rename what stands at `at`, in every file of `project` that uses it; `document` is one of them. `reread`
/// reads a file of the project anew, with some texts changed.
///
/// # Errors
/// Why some file would no longer mean the same, for people.
pub fn rename(
    document: &Document,
    at: usize,
    to: &str,
    project: &[&Document],
    reread: &dyn Fn(&Document, &Texts) -> Document,
) -> Result<Edits, String> {
    prepare(document, at)?;
    if !is_name(to) {
        return Err(format!("`{to}` is no name: names are lower-case letters, digits and `_`, and no words like `by`"));
    }
    let Some(named) = navigate::definition(document, at) else { return Ok(Edits::new()) };
    let from = document.slice(own_part(document, named.declared));
    if from == to {
        return Ok(Edits::new());
    }
    let declared = document.sources.locate(named.declared);
    let target = (declared.0.name.as_str(), declared.1);
    let mut edits = Edits::new();
    let mut texts = Texts::new();
    for file in project {
        if let Some(line) = hidden(file, from).filter(|_| uses(file, target).next().is_some()) {
            let place = format!("line {line} of {}", file.sources.root().name);
            return Err(format!(
                "`{from}` is also written in {place}, where a mistake hides what it means: mend that first"
            ));
        }
        for span in uses(file, target) {
            let (source, span) = file.sources.locate(own_part(file, span));
            let one = Edit { span, text: to.to_owned() };
            let list = edits.entry(source.name.clone()).or_default();
            if !list.contains(&one) {
                list.push(one);
            }
            texts.insert(source.name.clone(), source.text.clone());
        }
    }
    for (name, text) in &mut texts {
        let list = edits.entry(name.clone()).or_default();
        list.sort_by_key(|edit| edit.span);
        *text = edit::apply(text, list.iter());
    }
    let touched = project.iter().filter(|file| file.sources.iter().any(|source| texts.contains_key(&source.name)));
    for file in touched {
        let renamed = reread(file, &texts);
        if meanings(&renamed) != meanings(file) || renamed.diagnostics.len() != file.diagnostics.len() {
            return Err(format!("`{to}` already means something here: the file would no longer mean the same"));
        }
    }
    Ok(edits)
}

/// Where a file, or what it imports, uses the name that is declared at a place of a file.
fn uses<'d>(file: &'d Document, (name, declared): (&'d str, Span)) -> impl Iterator<Item = Span> + 'd {
    let here = file.index.declarations().map(|(span, _)| span).find(|span| {
        let (source, local) = file.sources.locate(*span);
        source.name == name && local == declared
    });
    here.into_iter().flat_map(|here| file.index.uses_of(here))
}

/// Of a name that is reached through an import, what it is called in its own file.
fn own_part(document: &Document, span: Span) -> Span {
    let own = document.slice(span).rfind('.').map_or(0, |dot| dot + 1);
    Span::new(span.start as usize + own, span.end as usize)
}

/// The line of a word that may be a use of a name, and that a mistake has kept from being looked up.
fn hidden(document: &Document, name: &str) -> Option<usize> {
    if !document.diagnostics.iter().any(Diagnostic::is_error) {
        return None;
    }
    let words = document.tokens.iter().enumerate().filter(|(_, token)| token.kind == TokenKind::Word);
    let mut same = words.filter(|(_, token)| token.text(&document.text) == name);
    let found = same.find(|(place, token)| {
        let known = document.index.at(token.span.start).is_some_and(|(span, _)| token.span.end <= span.end);
        let member = document.text[..token.span.start as usize].ends_with('.');
        !known && (member || unresolved(document, *place) == Paint::Variable)
    });
    found.map(|(_, token)| document.lines.line(token.span.start as usize) + 1)
}

/// The meaning of each place in order, by the order in which names are declared: what stays when only a name changes.
fn meanings(document: &Document) -> Vec<String> {
    let names: Vec<Span> = document.index.declarations().map(|(span, _)| span).collect();
    let one = |meaning: &Meaning| match meaning {
        Meaning::Name(declared) => format!("{:?}", names.binary_search(declared)),
        Meaning::Field(owner, field) => format!("{} {}", owner.words, field.name),
        Meaning::Word(word) => word.name.to_owned(),
        Meaning::Brought(brought) => format!("{:?} {}", brought.sort, brought.ty),
    };
    document.index.uses().map(|(_, meaning)| one(meaning)).collect()
}

/// Whether a text can be declared as a name.
fn is_name(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    // The parser knows which words it keeps for itself.
    starts && text.chars().all(letters) && crate::syntax::parse(&format!("agx 2026\nlet {text} = 1\n")).1.is_empty()
}
