//! Turns bytes into lines and columns as editors count them, and back.
//!
//! # Invariants
//! Any line and column, however wrong, gives a place in the text, and never one inside a character.

use crate::base::Span;

/// What a column counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Units {
    /// Bytes.
    Utf8,
    /// What every editor knows: an emoji counts two.
    #[default]
    Utf16,
}

/// Both from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u32,
    pub column: u32,
}

/// Where the lines of one text begin.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    starts: Vec<u32>,
}

impl Lines {
    /// A line ends with `\n`, `\r\n` or `\r`.
    pub fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let ends = |at: usize| bytes[at] == b'\n' || bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n');
        let starts = (0..bytes.len()).filter(|at| ends(*at)).map(|at| at as u32 + 1);
        Self { starts: std::iter::once(0).chain(starts).collect() }
    }

    /// The line of a byte.
    pub fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start as usize <= at) - 1
    }

    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Where a line begins; the end of the text for one that is not there.
    pub fn start(&self, line: usize, text: &str) -> usize {
        self.starts.get(line).map_or(text.len(), |start| *start as usize)
    }

    pub fn place(&self, text: &str, at: usize, units: Units) -> Place {
        let at = boundary(text, at);
        let line = self.line(at);
        let before = &text[self.starts[line] as usize..at];
        let column = match units {
            Units::Utf8 => before.len(),
            Units::Utf16 => before.chars().map(char::len_utf16).sum(),
        };
        Place { line: line as u32, column: column as u32 }
    }

    /// The byte at a place. Behind the end of a line is at its end, behind the last line at the end of the text.
    pub fn offset(&self, text: &str, place: Place, units: Units) -> usize {
        let line = place.line as usize;
        if line >= self.starts.len() {
            return text.len();
        }
        let start = self.starts[line] as usize;
        let whole = &text[start..self.start(line + 1, text)];
        let whole = whole.trim_end_matches(['\n', '\r']);
        let mut left = place.column as usize;
        for (at, c) in whole.char_indices() {
            let width = match units {
                Units::Utf8 => c.len_utf8(),
                Units::Utf16 => c.len_utf16(),
            };
            if left < width {
                return start + at;
            }
            left -= width;
        }
        start + whole.len()
    }

    /// The bytes between two places, in either order.
    pub fn span(&self, text: &str, from: Place, to: Place, units: Units) -> Span {
        let (a, b) = (self.offset(text, from, units), self.offset(text, to, units));
        Span::new(a.min(b), a.max(b))
    }
}

/// The start of the character that a byte is in.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a🎓b\r\né\rc\n";

    #[test]
    fn an_emoji_counts_two_or_four() {
        let lines = Lines::of(TEXT);
        let place = |line, column| Place { line, column };
        let b = TEXT.find('b').expect("it is there");
        assert_eq!(lines.place(TEXT, b, Units::Utf16), place(0, 3));
        assert_eq!(lines.place(TEXT, b, Units::Utf8), place(0, 5));
        assert_eq!(lines.offset(TEXT, place(0, 3), Units::Utf16), b);
        assert_eq!(lines.offset(TEXT, place(0, 2), Units::Utf16), 1, "inside a character is before it");
        assert_eq!(lines.place(TEXT, TEXT.len(), Units::Utf16), place(3, 0));
    }

    #[test]
    fn a_place_that_is_not_there_is_the_nearest() {
        let lines = Lines::of(TEXT);
        let at = |line, column| lines.offset(TEXT, Place { line, column }, Units::Utf16);
        assert_eq!(at(0, u32::MAX), TEXT.find('\r').expect("it is there"));
        assert_eq!(at(u32::MAX, u32::MAX), TEXT.len());
        assert_eq!(Lines::of("").offset("", Place { line: 7, column: 7 }, Units::Utf16), 0);
    }

    #[test]
    fn every_byte_comes_back_from_its_place() {
        let lines = Lines::of(TEXT);
        for units in [Units::Utf8, Units::Utf16] {
            for (at, c) in TEXT.char_indices().filter(|(_, c)| !matches!(c, '\n')) {
                assert_eq!(lines.offset(TEXT, lines.place(TEXT, at, units), units), at, "{c:?}");
            }
        }
    }
}
