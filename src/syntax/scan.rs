//! Turns text into what a grammar tells badly: comments, strings without an end, brackets without a partner, tabs, depth.
//!
//! # Invariants
//! One pass, no recursion. Nothing here knows items or fields, but for the words that open an item: a bracket still open
//! there was meant to be closed before.

use crate::base::Span;
use crate::syntax::ast::{Comment, CommentKind};
use crate::syntax::error::SyntaxError;

/// Brackets within brackets: far above any real file, far below what the stack holds.
pub const MAX_DEPTH: usize = 48;

#[derive(Debug, Default)]
pub struct Scan {
    pub comments: Vec<Comment>,
    pub errors: Vec<SyntaxError>,
    /// The text must not be parsed.
    pub fatal: bool,
    /// Places of brackets without a partner.
    pub unpaired: Vec<Span>,
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
    line: usize,
    line_start: usize,
    open: Vec<Open>,
    /// An opening bracket whose closing one stood in another column.
    suspect: Option<usize>,
    scan: Scan,
}

pub fn scan(text: &str) -> Scan {
    let mut scanner = Scanner {
        text,
        at: if text.starts_with('\u{feff}') { 3 } else { 0 },
        line: 0,
        line_start: 0,
        open: Vec::new(),
        suspect: None,
        scan: Scan::default(),
    };
    scanner.run();
    scanner.scan
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn run(&mut self) {
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
                '"' if self.rest().starts_with("\"\"\"") => self.template(0),
                '"' => self.string(),
                '{' | '(' | '[' => self.opening(next),
                '}' | ')' | ']' => self.closing(next),
                '\t' | '\r' => self.at += 1,
                control if control.is_control() => {
                    let span = Span::new(self.at, self.at + control.len_utf8());
                    self.scan.errors.push(SyntaxError::Control { span, character: control });
                    self.scan.fatal = true;
                    return;
                }
                other => self.at += other.len_utf8(),
            }
            if self.scan.fatal {
                return;
            }
        }
        self.unclosed(self.text.len());
        if let Some(first) = tabs.first() {
            self.scan.errors.push(SyntaxError::Tabs { first: *first, all: tabs });
        }
    }

    /// Notes tabs in the indentation, and closes what is open when an item begins.
    fn begin_line(&mut self, tabs: &mut Vec<Span>) {
        let line = self.rest();
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if line[..indent].contains('\t') {
            tabs.push(Span::new(self.at, self.at + indent));
        }
        if indent == 0 && !self.open.is_empty() && opens_item(line) {
            self.unclosed(self.at);
        }
        self.at += indent;
    }

    fn comment(&mut self) {
        let start = self.at;
        let length = self.rest().find('\n').unwrap_or(self.rest().len());
        let text = self.rest()[..length].trim_end_matches('\r');
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
        } else {
            self.at += count;
        }
    }

    /// At the opening quotes, after `hashes` hashes.
    fn template(&mut self, hashes: usize) {
        let start = self.at - hashes;
        let closing = format!("\"\"\"{}", "#".repeat(hashes));
        let body = self.at + 3;
        match self.text[body..].find(&closing) {
            Some(length) => self.go_to(body + length + closing.len()),
            None => {
                let span = Span::new(start, body);
                self.scan.errors.push(SyntaxError::UnclosedTemplate { span, closing });
                self.open.clear();
                self.go_to(self.text.len());
            }
        }
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
            let end = start + 1 + offset;
            match next {
                '\n' => {
                    let line = self.text[start..end].trim_end();
                    self.scan.errors.push(SyntaxError::UnclosedString { span: Span::new(start, start + line.len()) });
                    self.at = end;
                    return;
                }
                '"' if !escaped => {
                    self.at = end + 1;
                    return;
                }
                _ => escaped = next == '\\' && !escaped,
            }
        }
        self.scan.errors.push(SyntaxError::UnclosedString { span: Span::new(start, self.text.len()) });
        self.at = self.text.len();
    }

    fn indent(&self) -> usize {
        let line = &self.text[self.line_start..];
        line.len() - line.trim_start_matches([' ', '\t']).len()
    }

    fn opening(&mut self, bracket: char) {
        if self.open.len() == MAX_DEPTH {
            let span = Span::new(self.at, self.at + 1);
            self.scan.errors.push(SyntaxError::TooDeep { span, most: MAX_DEPTH });
            self.scan.fatal = true;
            return;
        }
        self.open.push(Open { at: self.at, bracket, indent: self.indent(), line: self.line });
        self.at += 1;
    }

    fn closing(&mut self, bracket: char) {
        let span = Span::new(self.at, self.at + 1);
        self.at += 1;
        let partner = |open: &Open| matches!((open.bracket, bracket), ('{', '}') | ('(', ')') | ('[', ']'));
        if !self.open.iter().any(partner) {
            self.scan.unpaired.push(span);
            self.scan.errors.push(SyntaxError::Stray { span, bracket });
            return;
        }
        while let Some(open) = self.open.pop() {
            if partner(&open) {
                if open.line != self.line && open.indent != self.indent() {
                    self.suspect = Some(open.at);
                }
                return;
            }
            self.never_closed(open.at, Some(span));
        }
    }

    fn never_closed(&mut self, at: usize, met: Option<Span>) {
        let span = Span::new(at, at + 1);
        self.scan.unpaired.push(span);
        let bracket = self.text[at..].chars().next().expect("a bracket was here");
        self.scan.errors.push(SyntaxError::Unclosed { span, bracket, met });
    }

    /// Everything still open at `end` has no partner; the one that was probably forgotten is told.
    fn unclosed(&mut self, end: usize) {
        let suspect = self.suspect.take();
        let Some(first) = self.open.first() else { return };
        let blamed = suspect.filter(|at| *at > first.at).unwrap_or_else(|| self.open.last().map_or(0, |open| open.at));
        let met = (end < self.text.len()).then(|| Span::new(end, end + self.text[end..].find(' ').unwrap_or(1)));
        self.never_closed(blamed, met);
        let first = first_span(&self.open);
        self.scan.unpaired.push(first);
        self.open.clear();
    }
}

fn first_span(open: &[Open]) -> Span {
    open.first().map_or(Span::default(), |open| Span::new(open.at, open.at + 1))
}

/// A line that can only be the head of an item: `model name {`, `rule name =`, `import "`.
fn opens_item(line: &str) -> bool {
    let mut words = line.splitn(3, [' ', '\t']);
    let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let named = second.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match first {
        "env" | "dataset" | "model" | "prompt" | "critic" | "rule" | "trainer" | "experiment" | "param" | "matrix" => {
            named
        }
        "import" => second.starts_with('"'),
        "agx" => second.starts_with(|c: char| c.is_ascii_digit()),
        _ => false,
    }
}
