//! Turns text into what a grammar tells badly: comments, strings without an end, brackets without a partner, tabs, depth.
//!
//! # Invariants
//! At most four passes, no recursion. Nothing here knows items or fields, but for the words that open an item: a bracket still open
//! there was meant to be closed before.

mod pairs;

use crate::base::Span;
use crate::syntax::ast::{Comment, CommentKind};
use crate::syntax::error::SyntaxError;
use crate::syntax::layout;
use std::collections::BTreeSet;

/// Brackets within brackets: far above any real file, far below what the stack holds.
pub const MAX_DEPTH: usize = 48;

/// More would be noise: the file is something else.
pub const MOST_ERRORS: usize = 300;

#[derive(Debug, Default)]
pub struct Scan {
    pub comments: Vec<Comment>,
    pub errors: Vec<SyntaxError>,
    /// The text must not be parsed.
    pub fatal: bool,
    /// Places of brackets without a partner, for which no place could be guessed.
    pub unpaired: Vec<Span>,
    /// What the grammar is to read instead, byte for byte as long: strings without an end blanked, a forgotten `}` put where
    /// the indentation says.
    pub mended: Vec<(usize, String)>,
    /// The rest of the text belongs to a text block without an end.
    pub cut: bool,
    /// Where the items begin whose brackets do not pair.
    odd: BTreeSet<usize>,
}

impl Scan {
    /// The text that the grammar reads.
    pub fn mend<'t>(&self, text: &'t str) -> std::borrow::Cow<'t, str> {
        if self.mended.is_empty() {
            return text.into();
        }
        let mut mended = text.to_owned();
        for (at, instead) in &self.mended {
            mended.replace_range(*at..*at + instead.len(), instead);
        }
        mended.into()
    }
}

struct Open {
    at: usize,
    bracket: char,
    indent: usize,
    line: usize,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Where the item begins that the scan is in.
    item: usize,
    guesses: bool,
    /// Items whose brackets are known not to pair.
    careful: BTreeSet<usize>,
    line: usize,
    line_start: usize,
    /// Of this line.
    indent: usize,
    open: Vec<Open>,
    /// Lines outside text blocks since the last item began: where their text begins, and how far in.
    lines: Vec<(usize, usize)>,
    /// The line of a string without an end: brackets opened on it may have been closed in it.
    forgiven: Option<usize>,
    /// No `*/` follows.
    no_star_end: bool,
    /// An opening bracket whose closing one stood in another column.
    suspect: Option<usize>,
    scan: Scan,
}

/// Scans once; and where brackets do not pair, once more with an eye on the indentation, which knows better which of
/// them is missing. `guesses`: quotes that stand in odd places may be lost ones. Only for a text that cannot be read without.
pub fn scan(text: &str, guesses: bool) -> Scan {
    if let Some((at, character)) = text.char_indices().find(|(at, c)| is_foreign(text, *at, *c)) {
        let span = Span::new(at, at + character.len_utf8());
        return Scan { errors: vec![SyntaxError::Control { span, character }], fatal: true, ..Scan::default() };
    }
    let first = Scanner::new(text, guesses, BTreeSet::new()).run();
    if first.odd.is_empty() || first.fatal { first } else { Scanner::new(text, guesses, first.odd).run() }
}

/// A control character; a carriage return is one unless it ends a line together with `\n`.
fn is_foreign(text: &str, at: usize, c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\r' => !text[at + 1..].starts_with('\n'),
        c => c.is_control(),
    }
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str, guesses: bool, careful: BTreeSet<usize>) -> Self {
        Self {
            text,
            at: if text.starts_with('\u{feff}') { 3 } else { 0 },
            item: 0,
            guesses,
            careful,
            line: 0,
            line_start: 0,
            indent: 0,
            open: Vec::new(),
            lines: Vec::new(),
            forgiven: None,
            no_star_end: false,
            suspect: None,
            scan: Scan::default(),
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn run(mut self) -> Scan {
        let mut tabs = Vec::new();
        let mut fresh = true;
        while let Some(next) = self.rest().chars().next() {
            if fresh {
                fresh = false;
                self.begin_line(&mut tabs);
                continue;
            }
            match next {
                '\n' => {
                    self.at += 1;
                    self.line += 1;
                    self.line_start = self.at;
                    fresh = true;
                }
                '/' if self.rest().starts_with("//") => self.comment(),
                '#' => self.hashes(),
                '/' if self.rest().starts_with("/*") => self.star_comment(),
                '"' if self.rest().starts_with("\"\"\"") => self.template(0),
                '"' => self.string(),
                '{' | '(' | '[' => self.opening(next),
                '}' | ')' | ']' => self.closing(next),
                other => self.at += other.len_utf8(),
            }
            if self.scan.errors.len() >= MOST_ERRORS {
                let span = Span::new(self.at, self.at);
                self.scan.errors.push(SyntaxError::TooMany { span, most: MOST_ERRORS });
                self.scan.fatal = true;
            }
            if self.scan.fatal {
                return self.scan;
            }
        }
        self.unclosed(self.text.len());
        if let Some(first) = tabs.first() {
            self.scan.errors.push(SyntaxError::Tabs { first: *first, all: tabs });
        }
        self.scan
    }

    /// Notes tabs in the indentation, and closes what is open when an item begins.
    fn begin_line(&mut self, tabs: &mut Vec<Span>) {
        let line = self.rest();
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if line[..indent].contains('\t') {
            tabs.push(Span::new(self.at, self.at + indent));
        }
        if indent == 0 && layout::opens_item(line) {
            if self.open.len() == 1 && self.careful.contains(&self.item) {
                self.doubled_head();
            }
            self.unclosed(self.at);
            self.lines.clear();
            self.item = self.at;
        }
        self.at += indent;
        self.indent = indent;
        if !self.rest().starts_with(['\n', '\r']) && !self.rest().starts_with("//") {
            if self.careful.contains(&self.item) {
                self.doubled_head();
            }
            self.lines.push((self.at, indent));
            if self.guesses {
                self.unopened_block(self.at - indent);
            }
        }
    }

    fn comment(&mut self) {
        let start = self.at;
        let length = self.rest().find('\n').unwrap_or(self.rest().len());
        let text = self.rest()[..length].trim_end();
        let kind = match text.as_bytes().get(2) {
            Some(b'/') if text.as_bytes().get(3) != Some(&b'/') => CommentKind::Doc,
            Some(b'!') => CommentKind::File,
            _ => CommentKind::Plain,
        };
        let end = start + text.len();
        self.scan.comments.push(Comment { span: Span::new(start, end), kind });
        self.at = start + length;
    }

    fn hashes(&mut self) {
        let count = self.rest().len() - self.rest().trim_start_matches('#').len();
        if self.rest()[count..].starts_with("\"\"\"") {
            self.at += count;
            self.template(count);
        } else if self.rest()[count..].starts_with('"') {
            self.at += count;
        } else {
            self.foreign_comment(count, self.line_end());
        }
    }

    fn line_end(&self) -> usize {
        self.at + layout::first_line(self.rest()).len()
    }

    /// A comment as other languages write it, up to `end`: told, and not read.
    fn foreign_comment(&mut self, length: usize, end: usize) {
        let sign = Span::new(self.at, self.at + length);
        self.scan.errors.push(SyntaxError::ForeignComment { span: sign, one_line: end == self.line_end() });
        self.blank_all(self.at, end);
        self.go_to(end);
    }

    /// `/* … */`; without an end, up to the end of the line.
    fn star_comment(&mut self) {
        let closed = if self.no_star_end { None } else { self.rest().find("*/") };
        self.no_star_end |= closed.is_none();
        let end = closed.map_or(self.line_end(), |length| self.at + length + 2);
        self.foreign_comment(2, end);
    }

    /// A message whose opening quotes are lost or short of one is told here, before its text is taken for code.
    fn unopened_block(&mut self, line: usize) {
        let Some((due, end)) = layout::unopened_block(&self.text[line..]) else { return };
        let (due, end) = (line + due, line + end);
        let (found, span) = crate::syntax::grammar::found(self.text, due);
        self.scan.errors.push(SyntaxError::Unexpected { span, found, expected: vec!["`\"\"\"`"] });
        self.scan.unpaired.push(Span::new(due, due));
        self.blank_all(self.at, end);
        self.go_to(end);
    }

    /// The same head twice, one below the other: the second is told, and the first is not read.
    fn doubled_head(&mut self) {
        let Some((above, _)) = self.lines.last().copied() else { return };
        let head = layout::code(layout::first_line(&self.text[above..]));
        let this = layout::code(layout::first_line(self.rest()).trim_start());
        let brace = above + head.len().saturating_sub(1);
        let named = layout::opens_item(head) || layout::is_name(head.trim_end_matches('{').trim_end());
        let last = self.open.last().is_some_and(|open| open.at == brace);
        if head != this || !head.ends_with('{') || !named || !last {
            return;
        }
        self.open.pop();
        let name = |line: usize| {
            let head = layout::code(layout::first_line(&self.text[line..])).trim_end_matches('{').trim_end();
            let start = head.rfind([' ', '\t']).map_or(0, |at| at + 1);
            Span::new(line + start, line + head.len())
        };
        let (first, span) = (name(above), name(self.at));
        let (name, item) = (self.text[span.range()].to_owned(), layout::opens_item(head));
        self.scan.errors.push(SyntaxError::HeadTwice { span, first, name, item });
        self.blank_all(above, brace + 1);
    }

    /// At the opening quotes, after `hashes` hashes.
    fn template(&mut self, hashes: usize) {
        let start = self.at - hashes;
        let closing = format!("\"\"\"{}", "#".repeat(hashes));
        let body = self.at + 3;
        let closed = self.text[body..].find(&closing);
        if let Some(length) = closed.filter(|_| !self.guesses) {
            self.go_to(body + length + closing.len());
            return;
        }
        let inside = &self.text[body..closed.map_or(self.text.len(), |length| body + length)];
        let head = self.text[..start].rfind('\n').map_or(0, |end| end + 1);
        let indent = layout::indent(&self.text[head..]);
        let after = &self.text[closed.map_or(self.text.len(), |length| body + length + closing.len())..];
        let message = || layout::swallowed_message(inside, indent, after).filter(|_| hashes == 0);
        let cut = layout::swallowed_item(inside).or_else(message);
        if let (Some(length), None) = (closed, cut) {
            self.go_to(body + length + closing.len());
            return;
        }
        let span = Span::new(start, body);
        self.scan.errors.push(SyntaxError::UnclosedTemplate { span, closing });
        self.scan.unpaired.push(span);
        if layout::swallowed_item(inside).is_some() || cut.is_none() {
            self.open.clear();
        }
        // Before the end of the line above, so that the item begins on a line of its own.
        let end = cut.map_or(self.text.len(), |cut| body + cut - 1);
        self.scan.cut |= cut.is_none();
        self.blank(start, end);
        self.go_to(end);
    }

    fn go_to(&mut self, end: usize) {
        let passed = &self.text[self.at..end];
        if let Some(last) = passed.rfind('\n') {
            self.line += passed.matches('\n').count();
            self.line_start = self.at + last + 1;
        }
        self.at = end;
    }

    fn string(&mut self) {
        let start = self.at;
        let mut escaped = false;
        for (offset, next) in self.text[start + 1..].char_indices() {
            match next {
                '\n' => break,
                '"' if !escaped => {
                    self.at = start + 1 + offset + 1;
                    return;
                }
                _ => escaped = next == '\\' && !escaped,
            }
        }
        let text = self.text;
        let line = text[start..].lines().next().unwrap_or("");
        let line = line.split(" //").next().unwrap_or("").trim_end();
        let span = Span::new(start, start + line.len());
        // Brackets at the end of the line were probably meant to stand behind the string.
        let inside = line.trim_end_matches([')', ']', '}', ',', ' ', '\t']).len().max(1);
        let alone = |c: char| c.is_alphanumeric() || "_-./:@".contains(c);
        let at = (inside > 1 && line[1..inside].chars().all(alone)).then_some(start + inside);
        self.scan.errors.push(SyntaxError::UnclosedString { span, at });
        self.blank(start, start + inside);
        self.forgiven = Some(self.line);
        self.at = start + inside;
    }

    /// Leaves the first character, a quote or a hash, and lines.
    fn blank(&mut self, from: usize, to: usize) {
        let blank = |byte: &u8| if matches!(byte, b'\n' | b'\r') { char::from(*byte) } else { ' ' };
        let instead = self.text.as_bytes()[from + 1..to].iter().map(blank).collect();
        self.scan.mended.push((from + 1, instead));
    }

    fn blank_all(&mut self, from: usize, to: usize) {
        let blank = |byte: &u8| if matches!(byte, b'\n' | b'\r') { char::from(*byte) } else { ' ' };
        let instead = self.text.as_bytes()[from..to].iter().map(blank).collect();
        self.scan.mended.push((from, instead));
    }

    fn opening(&mut self, bracket: char) {
        if self.open.len() == MAX_DEPTH {
            let span = Span::new(self.at, self.at + 1);
            self.scan.errors.push(SyntaxError::TooDeep { span, most: MAX_DEPTH });
            self.scan.fatal = true;
            return;
        }
        self.open.push(Open { at: self.at, bracket, indent: self.indent, line: self.line });
        self.at += 1;
    }
}
