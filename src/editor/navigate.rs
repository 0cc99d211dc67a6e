//! Turns a place into where its name is declared, and into every place where it is used.

use super::Document;
use crate::base::Span;
use crate::experiment::index::Meaning;

/// A name as it stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where it stands.
    pub span: Span,
    /// Where it is declared.
    pub declared: Span,
}

pub fn definition(document: &Document, at: usize) -> Option<Named> {
    match document.index.at(at as u32)? {
        (span, Meaning::Name(declared)) => Some(Named { span, declared: *declared }),
        _ => None,
    }
}

/// Every use of the name at a place, in source order; its declaration is the one that says so.
pub fn references(document: &Document, at: usize) -> Vec<Named> {
    let Some(Named { declared, .. }) = definition(document, at) else { return Vec::new() };
    document.index.uses_of(declared).map(|span| Named { span, declared }).collect()
}

impl Named {
    pub fn is_declaration(&self) -> bool {
        self.span == self.declared
    }
}
