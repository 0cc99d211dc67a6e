//! Turns bytes into a text that can be parsed, or says why they are none.

use crate::base::{Diagnostic, Span};
use crate::syntax::error::SyntaxError;

/// Longer files are refused: an experiment is written by people.
pub const MAX_BYTES: usize = 4 << 20;

/// A file's name, as the user wrote it, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub text: String,
}

impl Source {
    /// Takes the bytes of a file. With a diagnostic the text is what can be shown of it, which may be nothing.
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> (Self, Option<Diagnostic>) {
        let name = name.into();
        let refuse = |name, text, error: SyntaxError| (Self { name, text }, Some(Diagnostic::from(error)));
        if bytes.len() > MAX_BYTES {
            return refuse(name, String::new(), SyntaxError::TooLarge { bytes: bytes.len() });
        }
        if bytes.contains(&0) {
            return refuse(name, String::new(), SyntaxError::Binary);
        }
        match String::from_utf8(bytes) {
            Ok(text) => (Self { name, text }, None),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let byte = error.as_bytes()[at];
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let span = Span::new(at, at + char::REPLACEMENT_CHARACTER.len_utf8());
                refuse(name, text, SyntaxError::NotUtf8 { span, byte })
            }
        }
    }
}

/// The files of one check, in one address space of places: the first begins at 0, so that its places are its own offsets,
/// and each imported one behind the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceMap {
    sources: Vec<(u32, Source)>,
}

impl SourceMap {
    pub fn new(root: Source) -> Self {
        Self { sources: vec![(0, root)] }
    }

    /// Where the next file would begin. The byte between two files belongs to the first: a place may be its very end.
    pub fn next_base(&self) -> u32 {
        self.sources.last().map_or(0, |(base, source)| base + source.text.len() as u32 + 1)
    }

    pub fn add(&mut self, source: Source) {
        self.sources.push((self.next_base(), source));
    }

    pub fn root(&self) -> &Source {
        &self.sources[0].1
    }

    /// The file that a place is in, counted from the root, and where it begins.
    pub fn place(&self, span: Span) -> (usize, u32) {
        let at = self.sources.partition_point(|(base, _)| *base <= span.start) - 1;
        (at, self.sources[at].0)
    }

    /// The file that a place is in, and the place within it.
    pub fn locate(&self, span: Span) -> (&Source, Span) {
        let (at, base) = self.place(span);
        (&self.sources[at].1, Span { start: span.start - base, end: span.end.max(span.start) - base })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().map(|(_, source)| source)
    }

    /// The imported files, in the order in which they were found.
    pub fn imported(&self) -> impl Iterator<Item = &Source> {
        self.iter().skip(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_told() {
        let code = |bytes: Vec<u8>| Source::from_bytes("a.agx", bytes).1.map(|diagnostic| diagnostic.code);
        assert_eq!(code(b"agx 2026".to_vec()), None);
        assert_eq!(code(b"agx\xff".to_vec()), Some("E0003"));
        assert_eq!(code(b"agx\0".to_vec()), Some("E0004"));
        assert_eq!(code(vec![b' '; MAX_BYTES + 1]), Some("E0005"));
    }

    #[test]
    fn a_place_is_in_one_file() {
        let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
        let mut sources = SourceMap::new(source("a", "abc"));
        sources.add(source("b", ""));
        sources.add(source("c", "de"));
        let located = |start, end| {
            let (source, span) = sources.locate(Span::new(start, end));
            (source.name.as_str(), span.start, span.end)
        };
        assert_eq!(located(0, 3), ("a", 0, 3));
        assert_eq!(located(3, 3), ("a", 3, 3), "the very end");
        assert_eq!(located(4, 4), ("b", 0, 0));
        assert_eq!(located(5, 7), ("c", 0, 2));
        assert_eq!(located(7, 7), ("c", 2, 2));
    }
}
