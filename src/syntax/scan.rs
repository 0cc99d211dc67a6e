//! Turns text into what a grammar tells badly: comments, strings without an end, brackets without a partner, tabs, depth.
//!
//! # Invariants
//! One pass, no recursion. Nothing here knows items or fields, but for the words that open an item: a bracket still open
//! there was meant to be closed before.

use crate::base::Span;
use crate::syntax::ast::{Comment, CommentKind};
use crate::syntax::error::SyntaxError;
use crate::syntax::layout;
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
    /// No `*/` follows.
    no_star_end: bool,
    /// An opening bracket whose closing one stood in another column.
    suspect: Option<usize>,
    scan: Scan,
}

/// Scans once; and where brackets do not pair, once more with an eye on the indentation, which knows better which of
/// them is missing.
pub fn scan(text: &str) -> Scan {
    if let Some((at, character)) = text.char_indices().find(|(at, c)| is_foreign(text, *at, *c)) {
        let span = Span::new(at, at + character.len_utf8());
        return Scan { errors: vec![SyntaxError::Control { span, character }], fatal: true, ..Scan::default() };
    }
    let first = Scanner::new(text, BTreeSet::new()).run();
    if first.odd.is_empty() || first.fatal { first } else { Scanner::new(text, first.odd).run() }
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
            self.unopened_block(self.at - indent);
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

    /// The same head twice, one below the other: the first one is a block of nothing, and the checker tells of the second.
    fn doubled_head(&mut self) {
        let Some((above, _)) = self.lines.last() else { return };
        let head = layout::code(layout::first_line(&self.text[*above..]));
        let this = layout::code(layout::first_line(self.rest()).trim_start());
        let brace = above + head.len().saturating_sub(1);
        let named = layout::opens_item(head) || layout::is_name(head.trim_end_matches('{').trim_end());
        let last = self.open.last().is_some_and(|open| open.at == brace);
        if head != this || !head.ends_with('{') || !named || !last {
            return;
        }
        self.open.pop();
        self.scan.mended.push((brace + 1, "}".to_owned()));
        if layout::opens_item(head) {
            self.scan.unpaired.push(Span::new(brace, brace + 1));
        }
        self.scan.odd.insert(self.item);
    }

    /// At the opening quotes, after `hashes` hashes.
    fn template(&mut self, hashes: usize) {
        let start = self.at - hashes;
        let closing = format!("\"\"\"{}", "#".repeat(hashes));
        let body = self.at + 3;
        let closed = self.text[body..].find(&closing);
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

    fn closing(&mut self, bracket: char) {
        let span = Span::new(self.at, self.at + 1);
        self.at += 1;
        let partner = |open: &Open| matches!((open.bracket, bracket), ('{', '}') | ('(', ')') | ('[', ']'));
        if bracket == '}' && self.careful.contains(&self.item) && (self.closes_none(span) || self.misplaced(span)) {
            return;
        }
        if !self.open.iter().any(partner) {
            self.closes_nothing(span, bracket);
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

    /// A bracket of which no partner is open.
    fn closes_nothing(&mut self, span: Span, bracket: char) {
        let instead = |text: &str| (span.start as usize, text.to_owned());
        // In a string without an end its brackets were blanked too.
        if self.forgiven == Some(self.line) {
            self.scan.mended.push(instead(" "));
            return;
        }
        // `("a"]`
        if let Some(open) = self.open.last().filter(|open| open.bracket != '{' && open.line == self.line) {
            let due = if open.bracket == '(' { ")" } else { "]" };
            let open = Span::new(open.at, open.at + 1);
            self.scan.errors.push(SyntaxError::WrongClose { span: open, bracket, met: span, due });
            self.scan.mended.push(instead(due));
            self.open.pop();
            return;
        }
        if bracket == '}' && self.lost_brace(span.start as usize) {
            return;
        }
        if bracket != '}' && !self.open.is_empty() {
            // Its partner may be what is missing: what it stands in is not to be relied on.
            self.scan.errors.push(SyntaxError::Stray { span, bracket });
            self.scan.odd.insert(self.item);
            return;
        }
        self.stray(span, bracket);
        if bracket == '}' {
            self.scan.unpaired.push(span);
            self.until_behind();
        }
    }

    /// An `until` behind a `}` that closes no loop is no mistake of its own.
    fn until_behind(&mut self) {
        let rest = self.rest();
        let spaces = layout::indent(rest);
        if rest[spaces..].starts_with("until ") {
            let at = self.at + spaces;
            self.scan.unpaired.push(Span::new(at, at + 5));
        }
    }

    /// Tells of a `{` lost on the line before `end`, if there is a place for it.
    fn lost_brace(&mut self, end: usize) -> bool {
        let Some((at, _)) = self.lines.last().copied() else { return false };
        let Some(place) = layout::lost_brace(&self.text[at..end.max(at)]).map(|place| at + place) else { return false };
        let (found, span) = crate::syntax::grammar::found(self.text, place + 1);
        self.scan.errors.push(SyntaxError::LostBrace { span, found });
        self.scan.mended.push((place, "{".to_owned()));
        self.scan.odd.insert(self.item);
        true
    }

    /// Whether a `}` behind something on its line would close a block whose lines go on below: then it closes a block of
    /// this line, whose `{` is lost, or nothing.
    fn misplaced(&mut self, span: Span) -> bool {
        let first = self.lines.last().is_some_and(|(at, _)| *at == span.start as usize);
        let Some(open) = self.open.last().filter(|_| !first) else { return false };
        let goes_on = |indent: usize| {
            let next = self.rest().split('\n').skip(1).find(|line| !layout::code(line).trim().is_empty());
            next.is_some_and(|line| {
                layout::indent(line) > indent || (layout::indent(line) == indent && line.trim_start().starts_with('}'))
            })
        };
        if open.bracket != '{' || open.line == self.line || !goes_on(open.indent) {
            return false;
        }
        if !self.lost_brace(span.start as usize) {
            self.stray(span, '}');
        }
        true
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
        if self.headless(after) {
            self.scan.mended.push((span.start as usize, " ".to_owned()));
            self.scan.odd.insert(self.item);
            return true;
        }
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
        self.scan.unpaired.push(span);
        self.until_behind();
        true
    }

    /// Whether the lines above, as far as they are further in than this `}`, lack their head: fields at the top of a file,
    /// statements or report lines in an experiment. The grammar tells of the first of them.
    fn headless(&self, after: usize) -> bool {
        let Some((_, above)) = self.lines.split_last() else { return false };
        let body = above.iter().rposition(|(_, indent)| *indent <= self.indent);
        let first = body.map_or(0, |place| place + 1);
        let Some((at, _)) = above.get(first).filter(|(at, _)| *at > after) else { return false };
        let head = body.map(|place| layout::code(layout::first_line(&self.text[above[place].0..])));
        let word = layout::first_line(&self.text[*at..]).split([' ', '\t']).next().unwrap_or("");
        let inner = Class::Statement.has(word) || matches!(word, "plot" | "table");
        match head {
            Some(head) if self.open.is_empty() => {
                let complete = head.starts_with('}') || head.ends_with('}') || head.starts_with("agx ");
                self.indent == 0 && complete
            }
            Some(head) => {
                self.open.len() == 1 && inner && (head.contains('=') || head.starts_with('}') || head.ends_with('}'))
            }
            None => false,
        }
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
        if bracket != '{' {
            self.close_round(at, bracket, met);
        }
        self.scan.errors.push(SyntaxError::Unclosed { span, bracket, met });
    }

    /// Puts the closing partner of a `(` or `[` where it was due: before the `}` on its line, or at the end of the last line
    /// that is further in than its own.
    fn close_round(&mut self, at: usize, bracket: char, met: Option<Span>) {
        let due = if bracket == '(' { ')' } else { ']' };
        let bytes = self.text.as_bytes();
        let own = self.lines.iter().rev().find(|(line, _)| *line <= at).map_or(0, |(_, indent)| *indent);
        let next = self.lines.iter().find(|(line, indent)| *line > at && *indent <= own).map(|(line, _)| *line);
        let met = met.map(|met| met.start as usize).filter(|met| next.is_none_or(|next| *met < next));
        if let Some(met) = met {
            // Fields may stand behind what was to be closed.
            if self.text[at..met].contains(['=', '\n']) {
                return;
            }
            if bytes[met - 1] == b' ' {
                self.scan.mended.push((met - 1, due.to_string()));
            }
            return;
        }
        let Some(next) = next else { return };
        let end = self.text[..next].trim_end_matches([' ', '\t', '\r', '\n']).len();
        let comment = self.scan.comments.iter().rev().find(|comment| comment.span.end as usize == end);
        match comment.map(|comment| comment.span) {
            Some(span) => {
                let instead = format!("{due}{}", " ".repeat(span.len() - 1));
                self.scan.mended.push((span.start as usize, instead));
            }
            None if next > end + 1 => self.scan.mended.push((end, format!("{due}\n"))),
            None => {}
        }
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
        // The space behind the `}` of a loop may still stand before its `until`.
        let until = |at: usize, indent: usize| indent == own + 1 && self.text[at..].starts_with("until ");
        let due = |(at, indent): &&(usize, usize)| *at > brace && (*indent <= own || until(*at, *indent));
        let (at, indent) = *self.lines.iter().find(due)?;
        (indent > 1 && self.text[..at].ends_with("  ")).then(|| at - 2)
    }
}
