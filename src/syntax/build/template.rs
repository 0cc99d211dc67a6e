//! Templates: the margin comes off, and `{% … %}` … `{% end %}` become a tree.

use super::{Builder, Parts, Rule, span};
use crate::base::Span;
use crate::syntax::ast::*;
use crate::syntax::error::SyntaxError;
use crate::syntax::grammar;
use crate::syntax::layout::is_name;
use pest::iterators::Pair;

/// A `{% for %}` or `{% if %}` that waits for its end.
struct Open {
    /// `None`: it could not be read, and what is inside stands where it stood.
    piece: Option<Piece>,
    span: Span,
    what: &'static str,
    outer: Vec<Piece>,
}

impl Open {
    /// The pieces around the block, with the block and what is inside it at their end.
    fn close(mut self, inside: Vec<Piece>) -> Vec<Piece> {
        match self.piece {
            None => self.outer.extend(inside),
            Some(mut piece) => {
                if let Piece::For { body, .. } | Piece::If { body, .. } = &mut piece {
                    *body = inside;
                }
                self.outer.push(piece);
            }
        }
        self.outer
    }
}

/// `{% for %}` within `{% for %}`: the tree is as deep.
const MOST_OPEN: usize = 16;

impl Builder<'_> {
    pub(super) fn template(&mut self, pair: Pair<Rule>) -> Template {
        let place = span(&pair);
        let margin = self.margin(place);
        let mut template = Template { span: place, pieces: Vec::new(), broken: false };
        let mut open: Vec<Open> = Vec::new();
        let mut pieces: Vec<Piece> = Vec::new();
        let parts: Vec<Pair<Rule>> = pair.into_inner().collect();
        let own_line: Vec<bool> = parts.iter().map(|part| self.alone_on_line(part)).collect();
        for (at, part) in parts.iter().enumerate() {
            match part.as_rule() {
                Rule::text => {
                    let after_directive = at > 0 && own_line[at - 1];
                    let before_directive = own_line.get(at + 1).copied().unwrap_or(false);
                    let first = at == 0;
                    let last = parts[at + 1..].iter().all(|part| part.as_rule() == Rule::template_end);
                    if self.text[place.range()].starts_with('"') {
                        self.half_holes(part);
                    }
                    let text = self.text_piece(part, margin, place, first);
                    let text = trim_ends(&text, first || after_directive, before_directive, last);
                    if !text.is_empty() {
                        pieces.push(Piece::Text(text.to_owned()));
                    }
                }
                Rule::interpolation => {
                    let value = self.interpolation(part.clone());
                    pieces.push(value);
                }
                Rule::directive => self.directive(part.clone(), &mut pieces, &mut open, &mut template.broken),
                Rule::broken_piece => {
                    template.broken = true;
                    self.broken_piece(part, &mut pieces, &mut open);
                }
                _ => {}
            }
        }
        while let Some(block) = open.pop() {
            template.broken = true;
            if block.piece.is_some() {
                self.error(SyntaxError::NoEnd { span: block.span, what: block.what });
            }
            pieces = block.close(pieces);
        }
        template.pieces = pieces;
        template
    }

    /// The column of the closing quotes, when they stand on a line of their own.
    fn margin(&self, place: Span) -> Option<usize> {
        let text = &self.text[place.range()];
        let line = text.rfind('\n')? + 1;
        let indent = text[line..].len() - text[line..].trim_start_matches([' ', '\t']).len();
        text[line + indent..].starts_with("\"\"\"").then_some(indent)
    }

    /// Whether nothing but space stands beside a directive: then its whole line is not text.
    fn alone_on_line(&self, part: &Pair<Rule>) -> bool {
        let place = span(part);
        let before = self.text[..place.start as usize].trim_end_matches([' ', '\t']);
        let after = self.text[place.end as usize..].trim_start_matches([' ', '\t']);
        part.as_rule() == Rule::directive && before.ends_with('\n') && after.starts_with(['\n', '\r'])
    }

    /// The text without its margin, lines ended by `\n`.
    fn text_piece(&mut self, part: &Pair<Rule>, margin: Option<usize>, quotes: Span, first: bool) -> String {
        let Some(margin) = margin else { return part.as_str().replace("\r\n", "\n") };
        let mut text = String::with_capacity(part.as_str().len());
        let mut at = span(part).start as usize;
        for (number, line) in part.as_str().split_inclusive('\n').enumerate() {
            let begins_line = number > 0;
            let body = line.trim_end_matches(['\n', '\r']);
            let indent = body.len() - body.trim_start_matches([' ', '\t']).len();
            let cut = if begins_line { indent.min(margin) } else { 0 };
            let continues = at + body.len() == span(part).end as usize;
            if begins_line && indent < margin && (indent < body.len() || (continues && !self.closes(at + indent))) {
                let closing = Span { start: quotes.end - 3, end: quotes.end };
                let span = Span::new(at + indent, (at + body.len()).max(at + indent));
                self.error(SyntaxError::LeftOfMargin { span, margin, quotes: closing });
            }
            // A line of nothing but space is empty.
            if !(begins_line && indent == body.len() && line.ends_with('\n')) {
                text.push_str(&body[cut..]);
            }
            if line.ends_with('\n') {
                text.push('\n');
            }
            at += line.len();
        }
        let _ = first;
        text
    }

    fn closes(&self, at: usize) -> bool {
        self.text[at..].starts_with("\"\"\"")
    }

    fn interpolation(&mut self, pair: Pair<Rule>) -> Piece {
        let place = span(&pair);
        let mut parts = Parts::of(Parts::of(pair).due());
        let path = self.path(parts.due());
        let mut filters = Vec::new();
        while let Some(filter) = parts.next() {
            if filter.as_rule() == Rule::pipe {
                continue;
            }
            let mut inner = Parts::of(filter);
            let name = self.name(inner.due());
            let arguments = inner.next().map(|list| self.arguments(list)).unwrap_or_default();
            filters.push(Filter { name, arguments });
        }
        Piece::Value { span: place, path, filters }
    }

    fn directive(&mut self, pair: Pair<Rule>, pieces: &mut Vec<Piece>, open: &mut Vec<Open>, broken: &mut bool) {
        let place = span(&pair);
        let inner = Parts::of(pair).due();
        let rule = inner.as_rule();
        let mut parts = Parts::of(inner);
        let piece = match rule {
            Rule::for_each => {
                let name = self.declared(parts.due());
                self.visible.push(name.value.clone());
                Piece::For { span: place, name, list: self.path(parts.due()), body: Vec::new() }
            }
            Rule::if_known => {
                let path = self.path(parts.due());
                Piece::If { span: place, path, negated: parts.has(Rule::absent), body: Vec::new() }
            }
            _ => {
                match open.pop() {
                    Some(block) => *pieces = block.close(std::mem::take(pieces)),
                    None => {
                        *broken = true;
                        self.error(SyntaxError::EndWithout { span: place });
                    }
                }
                return;
            }
        };
        if open.len() == MOST_OPEN {
            *broken = true;
            self.error(SyntaxError::TooDeep { span: place, most: MOST_OPEN });
            return;
        }
        let what = if rule == Rule::for_each { "for" } else { "if" };
        open.push(Open { piece: Some(piece), span: place, what, outer: std::mem::take(pieces) });
    }

    /// Tells what is wrong, and keeps the blocks in step: a broken `{% if %}` still waits for its end.
    fn broken_piece(&mut self, pair: &Pair<Rule>, pieces: &mut Vec<Piece>, open: &mut Vec<Open>) {
        let region = span(pair);
        let inner = pair.as_str().trim_start_matches('#').strip_prefix("{%").map_or("", str::trim_start);
        let word = meant_directive(inner);
        if word == "end" {
            if let Some(block) = open.pop() {
                *pieces = block.close(std::mem::take(pieces));
            }
        } else if (word == "for" || word == "if") && open.len() < MOST_OPEN {
            open.push(Open { piece: None, span: region, what: "if", outer: std::mem::take(pieces) });
        }
        let hashes = pair.as_str().len() - pair.as_str().trim_start_matches('#').len();
        let start = region.start as usize + hashes;
        let text = &self.text[start..region.end as usize];
        let miss = grammar::miss(Rule::only_piece, text, start);
        let miss = miss.unwrap_or(grammar::Miss { at: start, expected: Vec::new() });
        let (found, span) = grammar::found(self.text, miss.at);
        let meant = self.meant_piece(inner, word, span);
        self.error(SyntaxError::BadPiece { span, found, expected: miss.expected, meant });
    }

    /// What to write instead of a directive that cannot be read; `word` is what it was to be.
    fn meant_piece(&self, inner: &str, word: &str, stop: Span) -> Option<(String, Option<(Span, String)>)> {
        let first = inner.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or("");
        let written = &self.text[stop.range()];
        if word == "if" && first == "if" && !inner.contains("known") {
            let path = inner[2..].split("%}").next().unwrap_or("").trim();
            return Some((format!("write `{{% if {path} is known %}}`"), None));
        }
        if word.is_empty() || first.is_empty() || first == word || written != first {
            return None;
        }
        let shown = match word {
            "for" => "{% for x in list %}",
            "if" => "{% if path is known %}",
            _ => "{% end %}",
        };
        Some((format!("write `{shown}`"), Some((stop, word.to_owned()))))
    }

    /// Tells of `{ task.request }` and `task.request }}`, where a hole was meant: the path begins with what is visible here.
    fn half_holes(&mut self, part: &Pair<Rule>) {
        let base = span(part).start as usize;
        let mut found = Vec::new();
        for line in part.as_str().split('\n') {
            let start = line.as_ptr() as usize - part.as_str().as_ptr() as usize;
            let mut from = 0;
            while let Some(close) = line[from..].find('}').map(|at| from + at) {
                let closed = line[close..].len() - line[close..].trim_start_matches('}').len();
                let open = line[from..close].rfind('{').map(|at| from + at);
                let begin = match open {
                    Some(open) => open + 1,
                    None => line[from..close].trim_end().rfind(' ').map_or(from, |at| from + at + 1),
                };
                let inner = line[begin..close].trim();
                let opened = usize::from(open.is_some());
                if closed <= 2 && opened + closed >= 2 && self.is_visible(inner) {
                    let begin = begin + (line[begin..close].len() - line[begin..close].trim_start().len());
                    let at = open.unwrap_or(begin);
                    let place = Span::new(base + start + at, base + start + close + closed);
                    found.push(SyntaxError::HalfHole { span: place, path: inner.to_owned(), opened, closed });
                }
                from = close + closed;
            }
        }
        for error in found {
            self.error(error);
        }
    }

    /// `task.request` or `traj | transcript(…)`, of something that this prompt sees.
    fn is_visible(&self, inner: &str) -> bool {
        let path = inner.split('|').next().unwrap_or("").trim();
        let mut names = path.split('.');
        let first = names.next().unwrap_or("");
        let deeper = path.len() > first.len() || inner.contains('|');
        deeper && names.all(is_name) && self.visible.iter().any(|name| name == first)
    }
}

/// What a directive that cannot be read was to be: by its word, a word near to it, or what stands in it.
fn meant_directive(inner: &str) -> &'static str {
    let mut words = inner.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or("");
    let known = ["end", "for", "if"];
    if let Some(word) = known.into_iter().find(|word| first.starts_with(word)) {
        return word;
    }
    let rest: Vec<&str> = words.collect();
    if rest.contains(&"in") {
        "for"
    } else if rest.contains(&"known") {
        "if"
    } else if rest.is_empty() && !first.is_empty() {
        "end"
    } else {
        ""
    }
}

/// Takes off the line break after the opening quotes or a directive's line, the indentation before a directive's line, and
/// the last line break.
fn trim_ends(text: &str, break_before: bool, directive_after: bool, last: bool) -> &str {
    let mut text = text;
    if break_before {
        let inner = text.trim_start_matches([' ', '\t']);
        text = inner.strip_prefix('\n').unwrap_or(text);
    }
    if directive_after {
        text = text.trim_end_matches([' ', '\t']);
    }
    if last {
        let inner = text.trim_end_matches([' ', '\t']);
        text = inner.strip_suffix('\n').unwrap_or(text);
    }
    text
}
