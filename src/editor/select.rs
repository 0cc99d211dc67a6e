//! Turns a place into the ranges around it, each within the next: word, path, entry, what brackets hold, item.

use super::Document;
use crate::base::Span;
use crate::syntax::tokens::{Token, TokenKind};

/// From the smallest to the whole text.
pub fn around(document: &Document, at: usize) -> Vec<Span> {
    let text = &document.text;
    let tokens: Vec<Token> = document.tokens.iter().copied().filter(|token| token.kind != TokenKind::Comment).collect();
    let mut ranges: Vec<Span> = Vec::new();
    let mut add = |span: Span| {
        let wider = ranges.last().is_none_or(|last| span.start <= last.start && span.end >= last.end && span != *last);
        if wider && !span.is_empty() {
            ranges.push(span);
        }
    };
    if let Some(here) = document.token_at(at) {
        add(here.span);
        add(path(&tokens, text, here));
    }
    for pair in pairs(&tokens, text, at) {
        let inside = &tokens[pair.open.map_or(0, |open| open + 1)..pair.close.unwrap_or(tokens.len())];
        if let Some(entry) = entry(document, inside, at) {
            add(entry);
        }
        if let (Some(open), Some(close)) = (pair.open, pair.close) {
            if let (Some(first), Some(last)) = (inside.first(), inside.last()) {
                add(first.span.to(last.span));
            }
            add(tokens[open].span.to(tokens[close].span));
        }
    }
    let item = document.file.items.iter().find(|item| item.span.start as usize <= at && at <= item.span.end as usize);
    item.into_iter().for_each(|item| add(item.span));
    add(Span::new(0, text.len()));
    ranges
}

/// `desk.train` around one of its words.
fn path(tokens: &[Token], text: &str, here: Token) -> Span {
    let Some(at) = tokens.iter().position(|token| token.span == here.span) else { return here.span };
    let joins = |a: usize, b: usize| {
        let dotted = tokens[a].text(text) == "." || tokens[b].text(text) == ".";
        dotted && tokens[a].span.end == tokens[b].span.start
    };
    let (mut first, mut last) = (at, at);
    while first > 0 && joins(first - 1, first) {
        first -= 1;
    }
    while last + 1 < tokens.len() && joins(last, last + 1) {
        last += 1;
    }
    tokens[first].span.to(tokens[last].span)
}

/// Two brackets by their place among the tokens; neither for the file itself.
struct Pair {
    open: Option<usize>,
    close: Option<usize>,
}

/// The brackets around a place, the innermost first, and the file last.
fn pairs(tokens: &[Token], text: &str, at: usize) -> Vec<Pair> {
    let mut open: Vec<usize> = Vec::new();
    let mut found = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        match token.text(text) {
            "{" | "(" | "[" | "{{" | "{%" => open.push(place),
            "}" | ")" | "]" | "}}" | "%}" => {
                let Some(from) = open.pop() else { continue };
                if tokens[from].span.start as usize <= at && at <= token.span.end as usize {
                    found.push(Pair { open: Some(from), close: Some(place) });
                }
            }
            _ => {}
        }
    }
    found.push(Pair { open: None, close: None });
    found
}

/// Of the tokens between two brackets, those that belong together around a place: up to a comma, a `|`, or the end of a
/// line outside inner brackets.
fn entry(document: &Document, tokens: &[Token], at: usize) -> Option<Span> {
    let text = &document.text;
    let line = |token: &Token| document.lines.line(token.span.start as usize);
    let (mut depth, mut start, mut last): (usize, usize, Option<&Token>) = (0, 0, None);
    let mut runs: Vec<&[Token]> = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        let sign = token.text(text);
        if depth == 0 {
            let separates = matches!(sign, "," | "|");
            let fresh = last.is_some_and(|last| document.lines.line(last.span.end as usize) < line(token));
            if separates || fresh {
                runs.push(&tokens[start..place]);
                start = place + usize::from(separates);
            }
        }
        match sign {
            "{" | "(" | "[" | "{{" | "{%" => depth += 1,
            "}" | ")" | "]" | "}}" | "%}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        last = Some(token);
    }
    runs.push(&tokens[start.min(tokens.len())..]);
    let spans = runs.into_iter().filter_map(|run| Some(run.first()?.span.to(run.last()?.span)));
    spans.into_iter().find(|span| span.start as usize <= at && at <= span.end as usize)
}
