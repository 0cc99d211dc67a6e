//! Turns a file into the ranges of lines that an editor can fold: blocks, text blocks, rules, runs of comments.

use super::Document;
use crate::syntax::ast::ItemKind;
use crate::syntax::tokens::TokenKind;
use std::collections::BTreeMap;

/// The first line stays, the others hide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    pub first: usize,
    pub last: usize,
    pub comment: bool,
}

/// At most one for each first line: the outermost.
pub fn folds(document: &Document) -> Vec<Fold> {
    let line = |at: u32| document.lines.line(at as usize);
    let mut folds: BTreeMap<usize, Fold> = BTreeMap::new();
    let mut add = |first: usize, last: usize, comment: bool| {
        if last > first {
            let fold = folds.entry(first).or_insert(Fold { first, last, comment });
            fold.last = fold.last.max(last);
        }
    };
    for item in document.file.items.iter().filter(|item| matches!(item.kind, ItemKind::Rule(_))) {
        add(line(item.span.start), line(item.span.end), false);
    }
    let mut open: Vec<usize> = Vec::new();
    let mut prose: Option<usize> = None;
    let mut comments: Option<(usize, usize)> = None;
    for token in &document.tokens {
        let (first, last) = (line(token.span.start), line(token.span.end));
        let text = token.text(&document.text);
        match token.kind {
            TokenKind::Prose => {
                if text.trim_start_matches('#').starts_with("\"\"\"") {
                    prose = Some(first);
                }
                if text.trim_end_matches('#').ends_with("\"\"\"")
                    && let Some(first) = prose
                {
                    add(first, last, false);
                }
            }
            TokenKind::Mark if matches!(text, "{" | "(" | "[") => open.push(first),
            // The line that closes stays in sight.
            TokenKind::Mark if matches!(text, "}" | ")" | "]") => {
                if let Some(first) = open.pop() {
                    add(first, last.saturating_sub(1), false);
                }
            }
            _ => {}
        }
        let alone = token.kind == TokenKind::Comment && starts_line(document, token.span.start as usize);
        comments = match (alone, comments) {
            (true, Some((from, to))) if first == to + 1 => Some((from, first)),
            (is_alone, before) => {
                before.into_iter().for_each(|(from, to)| add(from, to, true));
                is_alone.then_some((first, first))
            }
        };
    }
    comments.into_iter().for_each(|(from, to)| add(from, to, true));
    folds.into_values().collect()
}

fn starts_line(document: &Document, at: usize) -> bool {
    let start = document.lines.start(document.lines.line(at), &document.text);
    document.text[start..at].trim().is_empty()
}
