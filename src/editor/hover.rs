//! Turns a place into what a person would like to know about what stands there.

use super::Document;
use crate::base::Span;
use crate::experiment::Kind;
use crate::experiment::index::{Brought, Declaration, Meaning, Sort};
use crate::experiment::vocabulary::{Field, Need, Owner, Word};
use crate::syntax::ast::ItemKind;
use crate::syntax::tokens::{Token, TokenKind};
use crate::syntax::words::Class;

/// Markdown about a part of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hover {
    pub span: Span,
    pub markdown: String,
}

/// A declaration longer than this is shown by its beginning.
const MOST_LINES: usize = 12;

pub fn hover(document: &Document, at: usize) -> Option<Hover> {
    if let Some((span, meaning)) = document.index.at(at as u32) {
        return Some(Hover { span, markdown: markdown(document, meaning)? });
    }
    let token = document.token_at(at)?;
    let markdown = match token.kind {
        TokenKind::Word => word(document, token)?,
        TokenKind::Number => quantity(document, token)?,
        TokenKind::Text | TokenKind::Prose | TokenKind::Comment | TokenKind::Mark => return None,
    };
    Some(Hover { span: token.span, markdown })
}

fn markdown(document: &Document, meaning: &Meaning) -> Option<String> {
    Some(match meaning {
        Meaning::Name(declared) => declaration(document, *declared, document.index.declaration(*declared)?),
        Meaning::Field(owner, field) => of_field(owner, field),
        Meaning::Word(word) => of_word(word),
        Meaning::Brought(brought) => of_brought(brought),
    })
}

/// Its own text, what is known of it, and its doc comment.
fn declaration(document: &Document, span: Span, declared: &Declaration) -> String {
    let mut parts = vec![format!("```agx\n{}\n```", written(document, span, declared))];
    let mut facts = vec![if declared.ty.is_empty() { declared.sort.words() } else { &declared.ty }.to_owned()];
    facts.extend(declared.rows_words());
    parts.push(facts.join(", "));
    if !declared.metrics.is_empty() {
        let names: Vec<String> = declared.metrics.iter().map(|metric| format!("`{}`", metric.name)).collect();
        parts.push(format!("Measured: {}", names.join(", ")));
    }
    if !declared.doc.is_empty() {
        parts.push(declared.doc.clone());
    }
    parts.join("\n\n")
}

/// The item that declares a name, or the line of an item's block.
fn written(document: &Document, span: Span, declared: &Declaration) -> String {
    if declared.sort == Sort::Item(Kind::Experiment) {
        return format!("experiment {}", declared.name);
    }
    let text = match (declared.sort, document.item_at(span)) {
        (Sort::Item(_), Some(item)) => document.slice(item.span),
        _ => line(document, span),
    };
    let mut lines: Vec<&str> = text.lines().take(MOST_LINES).collect();
    if text.lines().count() > MOST_LINES {
        lines.push("…");
    }
    lines.join("\n")
}

/// The line a place is on, without its indentation and comment.
fn line(document: &Document, span: Span) -> &str {
    let (source, span) = document.sources.locate(span);
    let start = source.text[..span.start as usize].rfind('\n').map_or(0, |end| end + 1);
    source.text[start..].lines().next().unwrap_or("").trim()
}

fn of_field(owner: &Owner, field: &Field) -> String {
    let need = match (field.need, field.default) {
        (Need::Required, _) => "required".to_owned(),
        (Need::OneOf, _) => "one of the fields marked so is due".to_owned(),
        (Need::Optional, Some(default)) => format!("`{default}` where it is left out"),
        (Need::Optional, None) => "optional".to_owned(),
    };
    let mut parts =
        vec![format!("**{}** of {}: {}", field.name, owner.words, field.takes.words()), need, field.doc.to_owned()];
    if field.per_iteration {
        parts.push("May differ by iteration: `{ 1 => a, _ => b }`.".to_owned());
    }
    if !field.built {
        parts.push("Not built yet in this version.".to_owned());
    }
    parts.join("\n\n")
}

fn of_word(word: &Word) -> String {
    let built = if word.built { "" } else { "\n\nNot built yet in this version." };
    format!("`{}`\n\n{}{built}", word.form, word.doc)
}

fn of_brought(brought: &Brought) -> String {
    let ty = if brought.ty.is_empty() { String::new() } else { format!(": {}", brought.ty) };
    let head = format!("**{}**{ty}\n\n{}", brought.name, brought.sort.words());
    if brought.doc.is_empty() { head } else { format!("{head}\n\n{}", brought.doc) }
}

/// A word of the language, by the item it stands in.
fn word(document: &Document, token: Token) -> Option<String> {
    let text = token.text(&document.text);
    let item =
        document.file.items.iter().find(|item| item.span.start <= token.span.start && token.span.end <= item.span.end);
    let opens = item.is_none_or(|item| item.span.start == token.span.start);
    use Class::{
        Audience, Clause, Directive, Filter, Item, Literal, Mark, Operator, Outcome, Part, Period, Role, Stage,
        Statement, Type, Unit, Version,
    };
    let classes: &[Class] = match item.map(|item| &item.kind) {
        _ if opens => &[Item],
        _ if follows_number(document, token) => &[Unit, Clause, Mark, Period],
        Some(ItemKind::Rule(_)) => &[Stage, Clause, Operator, Outcome, Literal, Type],
        Some(ItemKind::Prompt(_)) => &[Role, Directive, Filter, Clause, Operator, Type],
        Some(ItemKind::Experiment(_)) => &[Part, Statement, Clause, Operator, Version, Literal],
        _ => &[Part, Clause, Mark, Type, Audience, Operator, Literal, Period, Statement, Stage],
    };
    let found = classes.iter().find_map(|class| class.words().iter().find(|word| word.text == text))?;
    Some(format!("**{}**: {}", found.text, found.doc))
}

fn follows_number(document: &Document, token: Token) -> bool {
    let before = document.tokens.partition_point(|other| other.span.end <= token.span.start);
    before > 0 && document.tokens[before - 1].kind == TokenKind::Number
}

/// A number with its unit, in other units where that says more: `10 min` is 600 s.
fn quantity(document: &Document, token: Token) -> Option<String> {
    let at = document.tokens.partition_point(|other| other.span.end <= token.span.end);
    let unit =
        document.tokens.get(at).filter(|next| next.kind == TokenKind::Word).map(|next| next.text(&document.text))?;
    let found = Class::Unit.words().iter().find(|word| word.text == unit)?;
    let digits = token.text(&document.text).replace('_', "");
    let number: f64 = digits.parse().ok()?;
    let (factor, base) = match unit {
        "min" => (60.0, "s"),
        "h" => (60.0, "min"),
        "days" | "day" => (24.0, "h"),
        "KiB" => (1024.0, "bytes"),
        "MiB" => (1_048_576.0, "bytes"),
        "GiB" => (1024.0, "MiB"),
        "TiB" => (1024.0, "GiB"),
        _ => return Some(format!("`{} {unit}`: {}", token.text(&document.text), found.doc)),
    };
    Some(format!("`{} {unit}`: {} {base}", token.text(&document.text), number * factor))
}
