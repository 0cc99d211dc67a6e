//! Turns text into what a grammar tells badly: comments, strings without an end, brackets without a partner, tabs, depth.
//!
//! # Invariants
//! One pass, no recursion. Nothing here knows items or fields, but for the words that open an item: a bracket still open
//! there was meant to be closed before.

use crate::base::Span;
use crate::syntax::ast::{Comment, CommentKind};
use crate::syntax::error::SyntaxError;
use crate::syntax::words::Class;
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
    /// An opening bracket whose closing one stood in another column.
    suspect: Option<usize>,
    scan: Scan,
}

/// Scans once; and where brackets do not pair, once more with an eye on the indentation, which knows better which of
/// them is missing.
pub fn scan(text: &str) -> Scan {
    let first = Scanner::new(text, BTreeSet::new()).run();
    if first.odd.is_empty() || first.fatal { first } else { Scanner::new(text, first.odd).run() }
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str, careful: BTreeSet<usize>) -> Self {
        Self {
            text,
            at: if text.starts_with('\u{feff}') { 3 } else { 0 },
            item: 0,
            careful,
            line: 0,
            line_start: 0,
            indent: 0,
            open: Vec::new(),
            lines: Vec::new(),
            forgiven: None,
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
                '"' if self.rest().starts_with("\"\"\"") => self.template(0),
                '"' => self.string(),
                '{' | '(' | '[' => self.opening(next),
                '}' | ')' | ']' => self.closing(next),
                '\t' | '\r' => self.at += 1,
                control if control.is_control() => {
                    let span = Span::new(self.at, self.at + control.len_utf8());
                    self.scan.errors.push(SyntaxError::Control { span, character: control });
                    self.scan.fatal = true;
                }
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
        if indent == 0 && opens_item(line) {
            self.unclosed(self.at);
            self.lines.clear();
            self.item = self.at;
        }
        self.at += indent;
        self.indent = indent;
        if !self.rest().starts_with(['\n', '\r']) && !self.rest().starts_with("//") {
            self.lines.push((self.at, indent));
        }
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
        let closed = self.text[body..].find(&closing);
        let inside = &self.text[body..closed.map_or(self.text.len(), |length| body + length)];
        let cut = swallowed_item(inside);
        if let (Some(length), None) = (closed, cut) {
            self.go_to(body + length + closing.len());
            return;
        }
        let span = Span::new(start, body);
        self.scan.errors.push(SyntaxError::UnclosedTemplate { span, closing });
        self.scan.unpaired.push(span);
        self.open.clear();
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
        self.scan.errors.push(SyntaxError::UnclosedString { span });
        // Brackets at the end of the line were probably meant to stand behind the string.
        let inside = line.trim_end_matches([')', ']', '}', ',', ' ', '\t']).len().max(1);
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

    fn closing(&mut self, bracket: char) {
        let span = Span::new(self.at, self.at + 1);
        self.at += 1;
        let partner = |open: &Open| matches!((open.bracket, bracket), ('{', '}') | ('(', ')') | ('[', ']'));
        if bracket == '}' && self.careful.contains(&self.item) && self.closes_none(span) {
            return;
        }
        if !self.open.iter().any(partner) {
            self.stray(span, bracket);
            if bracket == '}' {
                self.scan.unpaired.push(span);
            }
            return;
        }
        while let Some(open) = self.open.pop() {
            if partner(&open) {
                if open.line != self.line && open.indent != self.indent {
                    self.suspect.get_or_insert(open.at);
                }
                if self.open.is_empty() {
                    self.suspect = None;
                }
                return;
            }
            if self.forgiven != Some(open.line) {
                self.never_closed(open.at, Some(span));
            }
        }
    }

    /// Told, and not read by the grammar.
    fn stray(&mut self, span: Span, bracket: char) {
        self.scan.errors.push(SyntaxError::Stray { span, bracket });
        self.scan.mended.push((span.start as usize, " ".to_owned()));
        self.scan.odd.insert(self.item);
    }

    /// Whether a `}` that begins its line stands further in than the `{` it would close: then it is one too many, or its
    /// own `{` is missing behind the line above that is as far in.
    fn closes_none(&mut self, span: Span) -> bool {
        let first = self.lines.last().is_some_and(|(at, _)| *at == span.start as usize);
        let further_in = match self.open.last() {
            None => true,
            Some(open) => open.bracket == '{' && open.line != self.line && open.indent < self.indent,
        };
        if !first || !further_in {
            return false;
        }
        let after = self.open.last().map_or(0, |open| open.at);
        if let Some((end, next)) = self.header_above(after) {
            let (found, expected) = ("the end of the line".to_owned(), vec!["`{`"]);
            self.scan.errors.push(SyntaxError::Unexpected { span: Span::new(end, end), found, expected });
            self.scan.mended.push((next - 1, "{".to_owned()));
            self.scan.odd.insert(self.item);
            return true;
        }
        if self.open.is_empty() {
            return false;
        }
        self.stray(span, '}');
        true
    }

    /// A line above without a `{`, as far in as this one, whose next line is further in: where it ends, and where the next
    /// one begins.
    fn header_above(&self, after: usize) -> Option<(usize, usize)> {
        let above = self.lines.split_last()?.1;
        let place = above.iter().rposition(|(_, indent)| *indent <= self.indent)?;
        let ((at, indent), (next, deeper)) = (above[place], *above.get(place + 1)?);
        let line = self.text[at..].lines().next().unwrap_or("");
        let line = line.split("//").next().unwrap_or("").trim_end();
        let fits = indent == self.indent && deeper > indent && at > after && !line.contains(['{', '}']);
        fits.then(|| (at + line.len(), next))
    }

    fn never_closed(&mut self, at: usize, met: Option<Span>) {
        let span = Span::new(at, at + 1);
        let bracket = self.text[at..].chars().next().expect("a bracket was here");
        self.scan.odd.insert(self.item);
        self.scan.errors.push(SyntaxError::Unclosed { span, bracket, met });
    }

    /// Everything still open at `end` has no partner; the one that was probably forgotten is told.
    fn unclosed(&mut self, end: usize) {
        let suspect = self.suspect.take();
        let open = std::mem::take(&mut self.open);
        let Some(last) = open.last() else { return };
        let blamed = suspect.unwrap_or(last.at);
        let due = self.due_close(blamed).filter(|_| self.text[blamed..].starts_with('{'));
        let before = due.map_or(end, |due| due + 2);
        let met = self.text[before..].split([' ', '\n']).next().filter(|word| !word.is_empty());
        let met = met.map(|word| Span::new(before, before + word.len()));
        self.never_closed(blamed, met);
        match due.filter(|_| open.len() == 1) {
            Some(at) => {
                self.scan.mended.push((at, "}\n".to_owned()));
            }
            None => {
                let places = open.iter().map(|open| open.at).chain([blamed]);
                self.scan.unpaired.extend(places.map(|at| Span::new(at, at + 1)));
            }
        }
    }

    /// Where a forgotten `}` was due by the indentation: in the two spaces before the first line that is no further in
    /// than the line of its `{`.
    fn due_close(&self, brace: usize) -> Option<usize> {
        let line = self.text[..brace].rfind('\n').map_or(0, |end| end + 1);
        let own = self.text[line..].len() - self.text[line..].trim_start_matches([' ', '\t']).len();
        let (at, indent) = *self.lines.iter().find(|(at, indent)| *at > brace && *indent <= own)?;
        (indent > 1 && self.text[..at].ends_with("  ")).then(|| at - 2)
    }
}

/// Where in a text block a line begins that opens an item, when the block's own lines are further in: its end was forgotten.
fn swallowed_item(inside: &str) -> Option<usize> {
    let mut lines = inside.match_indices('\n').map(|(at, _)| at + 1);
    let first = lines.next()?;
    if !inside[first..].starts_with([' ', '\t']) {
        return None;
    }
    lines.find(|at| opens_item(&inside[*at..]))
}

/// A line that can only be the head of an item: `model name {`, `rule name =`, `import "`.
fn opens_item(text: &str) -> bool {
    let line = text.split('\n').next().unwrap_or("");
    let mut words = line.splitn(3, [' ', '\t']);
    let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let named = second.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match first {
        "import" => second.starts_with('"'),
        "agx" => second.starts_with(|c: char| c.is_ascii_digit()),
        // A schedule has lets of its own.
        "let" => false,
        first => Class::Item.has(first) && named,
    }
}
