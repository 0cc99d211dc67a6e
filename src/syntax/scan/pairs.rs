//! Pairs brackets, and guesses from the indentation which of them is missing.

use super::{Open, Scanner};
use crate::base::Span;
use crate::syntax::error::SyntaxError;
use crate::syntax::layout;
use crate::syntax::words::Class;

impl Scanner<'_> {
    pub(super) fn closing(&mut self, bracket: char) {
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
    pub(super) fn unclosed(&mut self, end: usize) {
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
