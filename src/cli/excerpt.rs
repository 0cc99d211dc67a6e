//! Turns a file into the part of it that a diagnostic shows: the lines around its labels, long ones cut.
//!
//! # Invariants
//! What an excerpt holds is bounded, whatever the file holds, and nothing in it speaks to a terminal. Finding places in a
//! file costs no walk from its beginning.

use crate::report::text::visible;
use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;

/// Longer lines are cut to what stands around the labels.
const MOST_LINE: usize = 320;
/// Bytes kept on either side of a label in such a line.
const AROUND: usize = 60;
/// A label that covers more is shown by its beginning.
const MOST_LABEL: usize = 160;
/// Lines between a first and a last label that are shown together.
const MOST_LINES: usize = 60;
/// Lines shown above and below a label.
const CONTEXT: usize = 1;
/// Labels no further apart than this many lines are drawn in one piece.
const TOGETHER: usize = 8;

/// Where the lines of a text begin.
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
    /// The last place that was asked for, and its column: the next is often a little further on.
    last: Cell<(usize, usize)>,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, starts, last: Cell::new((0, 1)) }
    }

    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at) - 1
    }

    /// From a line's beginning to its end, without what ends it.
    fn range(&self, line: usize) -> Range<usize> {
        let start = self.starts[line];
        let end = self.starts.get(line + 1).map_or(self.text.len(), |next| next - 1);
        start..end - usize::from(self.text[start..end].ends_with('\r'))
    }

    /// Line and column in characters, both from 1; inside a character is at it.
    pub fn place(&self, at: usize) -> (usize, usize) {
        let at = floor(self.text, at);
        let line = self.line(at);
        let start = self.starts[line];
        let (from, before) = match self.last.get() {
            (last, column) if (start..=at).contains(&last) => (last, column),
            _ => (start, 1),
        };
        let column = before + self.text[from..at].chars().count();
        self.last.set((at, column));
        (line + 1, column)
    }

    /// Whether two places can be shown in one excerpt.
    pub fn near(&self, a: usize, b: usize) -> bool {
        self.line(a).abs_diff(self.line(b)) <= MOST_LINES
    }

    /// What to show of the labels' surroundings, and where the labels stand in it. The first label is the one that counts:
    /// another that is not [`near`](Self::near) it is shown at the edge.
    pub fn excerpt(&self, name: &str, labels: &[Range<usize>]) -> (Excerpt, Vec<SourceSpan>) {
        let bounded: Vec<Range<usize>> = labels.iter().map(|label| self.bounded(label)).collect();
        let main = self.line(bounded.first().map_or(0, |label| label.start));
        let near = |line: &usize| line.abs_diff(main) <= MOST_LINES;
        let lines = || bounded.iter().flat_map(|label| [label.start, label.end]).map(|at| self.line(at));
        let first = lines().filter(near).min().unwrap_or(main).saturating_sub(CONTEXT);
        let last = (lines().filter(near).max().unwrap_or(main) + CONTEXT).min(self.starts.len() - 1);

        let mut wanted: Vec<usize> = bounded.iter().flat_map(|label| [label.start, label.end]).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut builder = Builder { text: self.text, wanted: &wanted, shown: String::new(), places: BTreeMap::new() };
        for line in first..=last {
            let range = self.range(line);
            if range.len() <= MOST_LINE {
                builder.keep(range.clone());
            } else {
                self.cut(&mut builder, range.clone(), &bounded);
            }
            builder.reach(self.starts.get(line + 1).copied().unwrap_or(range.end + 1) - 1);
            // Also after the last: an empty line is one only by its end.
            if line + 1 < self.starts.len() {
                builder.shown.push('\n');
            }
        }
        builder.reach(usize::MAX);
        let Builder { shown, places, .. } = builder;
        let spans: Vec<(usize, usize)> =
            bounded.iter().map(|label| (places[&label.start], places[&label.end])).collect();
        let columns =
            spans.iter().zip(&bounded).map(|((start, _), label)| (*start, self.place(label.start).1)).collect();
        let excerpt = Excerpt { name: name.to_owned(), text: shown, first, columns };
        (excerpt, spans.into_iter().map(|(start, end)| (start, end.saturating_sub(start)).into()).collect())
    }

    /// A label that covers many lines, or much of one, by its beginning.
    fn bounded(&self, label: &Range<usize>) -> Range<usize> {
        let start = floor(self.text, label.start);
        let end = floor(self.text, label.end).max(start);
        let line = self.range(self.line(start));
        if self.line(end) - self.line(start) > TOGETHER {
            return start..floor(self.text, line.end.clamp(start, start + MOST_LABEL));
        }
        start..floor(self.text, end.min(start + MOST_LABEL.max(MOST_LINE * TOGETHER)))
    }

    /// Keeps of a long line what stands around the first label on it, or else its beginning.
    fn cut(&self, builder: &mut Builder<'_>, line: Range<usize>, labels: &[Range<usize>]) {
        let label = labels.iter().find(|label| label.start <= line.end && label.end >= line.start);
        let (from, to) = match label {
            Some(label) => {
                let start = label.start.max(line.start);
                (start.saturating_sub(AROUND), label.end.clamp(start, start + MOST_LABEL) + AROUND)
            }
            None => (line.start, line.start + 2 * AROUND),
        };
        let from = floor(self.text, from.clamp(line.start, line.end));
        let to = floor(self.text, to.clamp(from, line.end));
        if from > line.start {
            builder.shown.push('…');
        }
        builder.reach(from.saturating_sub(1));
        builder.keep(from..to);
        if to < line.end {
            builder.reach(line.end);
            builder.shown.push('…');
        }
    }
}

/// The boundary of a character at or before a place.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

struct Builder<'a> {
    text: &'a str,
    /// Places in the file that are asked for, ascending.
    wanted: &'a [usize],
    shown: String,
    /// Where they stand in what is shown.
    places: BTreeMap<usize, usize>,
}

impl Builder<'_> {
    fn keep(&mut self, range: Range<usize>) {
        for (at, c) in self.text[range.clone()].char_indices() {
            self.reach(range.start + at);
            if c == '\t' { self.shown.push(c) } else { visible(c, &mut self.shown) }
        }
    }

    /// All places up to this one stand here.
    fn reach(&mut self, at: usize) {
        while let [first, rest @ ..] = self.wanted
            && *first <= at
        {
            self.places.insert(*first, self.shown.len());
            self.wanted = rest;
        }
    }
}

/// A piece of a file, to be drawn.
#[derive(Debug)]
pub struct Excerpt {
    name: String,
    text: String,
    /// The first line's number in the file, from 0.
    first: usize,
    /// Of the labels' beginnings, from 1: something before them may have been cut or written out.
    columns: Vec<(usize, usize)>,
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.text.as_str().read_span(span, before, after)?;
        let known = self.columns.iter().find(|(at, _)| before == 0 && *at == span.offset());
        let column = known.map_or(found.column(), |(_, column)| column - 1);
        // How far apart two labels may be to be drawn together is counted from here on.
        let lines = found.data().iter().filter(|byte| **byte == b'\n').count() + TOGETHER;
        let line = self.first + found.line();
        Ok(Box::new(MietteSpanContents::new_named(self.name.clone(), found.data(), *found.span(), line, column, lines)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(at: usize, length: usize) -> Vec<Range<usize>> {
        std::iter::once(at..at + length).collect()
    }

    #[test]
    fn places_are_found_in_any_order() {
        let lines = Lines::new("ab\ncé d\r\n\n");
        assert_eq!(lines.place(7), (2, 4));
        assert_eq!(lines.place(5), (2, 2), "inside a character is at it");
        assert_eq!(lines.place(0), (1, 1));
        assert_eq!(lines.place(99), (4, 1));
        assert_eq!(Lines::new("").place(0), (1, 1));
    }

    #[test]
    fn a_long_line_is_cut_around_its_label() {
        let text = format!("agx 2026\n{}wrong{}\n", "é".repeat(400_000), "x".repeat(400_000));
        let at = text.find("wrong").unwrap();
        let (excerpt, spans) = Lines::new(&text).excerpt("a", &one(at, 5));
        assert!(excerpt.text.len() < 600, "{}", excerpt.text.len());
        let shown = spans[0].offset()..spans[0].offset() + spans[0].len();
        assert_eq!(&excerpt.text[shown], "wrong");
        assert_eq!((excerpt.first, excerpt.columns[0].1), (0, 400_001));
        let (all, _) = Lines::new(&text).excerpt("a", &one(0, text.len()));
        assert!(all.text.len() < 600);
    }

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        let text = "a\u{1b}[31m\u{202e}b\u{200b}c é\r\n";
        let at = text.find('c').unwrap();
        let (excerpt, spans) = Lines::new(text).excerpt("a", &one(at, 1));
        assert_eq!(excerpt.text, "aU+001B[31mU+202EbU+200Bc é\n");
        assert_eq!(&excerpt.text[spans[0].offset()..][..1], "c");
    }

    #[test]
    fn far_labels_do_not_bring_everything_between_them() {
        let text = "let a = 1\n".repeat(100_000);
        let (excerpt, spans) = Lines::new(&text).excerpt("a", &[500_000..500_003, 0..3, 999_990..999_993]);
        assert!(excerpt.text.len() < 200, "{}", excerpt.text.len());
        assert!(spans.iter().all(|span| span.offset() + span.len() <= excerpt.text.len()));
    }
}
