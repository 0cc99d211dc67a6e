//! Turns a file into colours: what each word is, which its letters alone do not tell.

use super::Document;
use crate::base::Span;
use crate::experiment::Kind;
use crate::experiment::index::{Meaning, Sort};
use crate::syntax::ast::CommentKind;
use crate::syntax::tokens::{Token, TokenKind};
use crate::syntax::words::{Class, TABLE};

/// What a part of the text is, by the names that editors have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Paint {
    Keyword,
    Comment,
    String,
    Number,
    Operator,
    /// Environments: they hold types and data.
    Namespace,
    Type,
    /// Models, critics, prompts, rules, trainers: what statements apply.
    Function,
    Variable,
    Parameter,
    Property,
    EnumMember,
    /// A filter or a unit.
    Macro,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Painted {
    pub span: Span,
    pub paint: Paint,
    pub declares: bool,
    /// What the language or an environment brings.
    pub brought: bool,
    pub documentation: bool,
}

/// In source order, on one line each.
pub fn paint(document: &Document) -> Vec<Painted> {
    let mut painted = Vec::new();
    for (place, token) in document.tokens.iter().enumerate() {
        let Some(one) = token_paint(document, place, *token) else { continue };
        // Editors want tokens that stay on their line.
        let mut start = token.span.start as usize;
        for line in token.text(&document.text).split_inclusive(['\n', '\r']) {
            let text = line.trim_end_matches(['\n', '\r']);
            if !text.is_empty() {
                painted.push(Painted { span: Span::new(start, start + text.len()), ..one });
            }
            start += line.len();
        }
    }
    painted
}

fn token_paint(document: &Document, place: usize, token: Token) -> Option<Painted> {
    let plain = |paint| Painted { span: token.span, paint, declares: false, brought: false, documentation: false };
    Some(match token.kind {
        TokenKind::Comment => {
            let comments = &document.file.comments;
            let found = comments.binary_search_by_key(&token.span.start, |comment| comment.span.start);
            let doc = found.is_ok_and(|at| comments[at].kind != CommentKind::Plain);
            Painted { documentation: doc, ..plain(Paint::Comment) }
        }
        TokenKind::Text | TokenKind::Prose => plain(Paint::String),
        TokenKind::Number => plain(Paint::Number),
        TokenKind::Mark => match token.text(&document.text) {
            "=" | "=>" | "==" | "!=" | "<=" | ">=" | "<" | ">" | "+" | "-" | "*" | "/" | ".." | "|" | "@" | "%" => {
                plain(Paint::Operator)
            }
            _ => return None,
        },
        TokenKind::Word => match document.index.at(token.span.start) {
            Some((span, meaning)) if span.start <= token.span.start && token.span.end <= span.end => {
                meant(document, token, span, meaning)
            }
            _ => plain(unresolved(document, place)),
        },
    })
}

fn meant(document: &Document, token: Token, span: Span, meaning: &Meaning) -> Painted {
    let painted = |paint, brought| Painted { span: token.span, paint, declares: false, brought, documentation: false };
    match meaning {
        Meaning::Field(..) => painted(Paint::Property, true),
        Meaning::Word(_) => painted(Paint::EnumMember, true),
        Meaning::Brought(brought) => painted(of_sort(brought.sort), true),
        Meaning::Name(declared) => {
            let sort = document.index.declaration(*declared).map_or(Sort::Unknown, |it| it.sort);
            Painted { declares: *declared == span, ..painted(of_sort(sort), false) }
        }
    }
}

fn of_sort(sort: Sort) -> Paint {
    match sort {
        Sort::Item(Kind::Env | Kind::Module) => Paint::Namespace,
        Sort::Item(Kind::Param | Kind::Constant | Kind::Dataset) | Sort::Rows | Sort::Evaluation | Sort::Unknown => {
            Paint::Variable
        }
        Sort::Item(_) => Paint::Function,
        Sort::Parameter | Sort::Variable | Sort::Iteration => Paint::Parameter,
        Sort::Split | Sort::Answer | Sort::Metric | Sort::Column | Sort::Offer => Paint::Property,
        Sort::Version => Paint::EnumMember,
        Sort::Filter => Paint::Macro,
        Sort::Type => Paint::Type,
        Sort::Environment => Paint::String,
    }
}

/// A word that the checker did not come to: a word of the language where it is one, or else a name.
pub fn unresolved(document: &Document, place: usize) -> Paint {
    let text = document.tokens[place].text(&document.text);
    let beside = |place: Option<usize>| place.and_then(|place| document.tokens.get(place));
    let before = beside(place.checked_sub(1));
    let sign = |token: Option<&Token>| token.map_or("", |token| token.text(&document.text));
    if before.is_some_and(|token| token.kind == TokenKind::Number) && (Class::Unit.has(text) || Class::Mark.has(text)) {
        return Paint::Macro;
    }
    if sign(before) == "|" && Class::Filter.has(text) {
        return Paint::Macro;
    }
    if sign(before) == "." {
        return Paint::Property;
    }
    if sign(before) == "@" {
        return Paint::EnumMember;
    }
    let next = sign(beside(Some(place + 1)));
    let field = matches!(next, "=" | ":") || next == "{" && !["schedule", "report"].contains(&text);
    let of = |classes: &[Class]| classes.iter().any(|class| class.has(text));
    if of(&[Class::Type]) && matches!(sign(before), ":" | "<") {
        return Paint::Type;
    }
    let names = [Class::Filter, Class::Version, Class::Type, Class::Unit, Class::Outcome, Class::Period];
    let known = TABLE.iter().any(|(class, _)| class.has(text) && !names.contains(class));
    match (field, known) {
        (false, true) => Paint::Keyword,
        (true, _) => Paint::Property,
        (false, false) => Paint::Variable,
    }
}
