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
}
