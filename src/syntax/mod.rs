//! Turns text into a tree: [`parse`] gives a [`File`] and diagnostics, whatever the text is.
//!
//! [`Source`] takes bytes in at the door; [`scan`] walks once over the text for what must not wait for a grammar (brackets,
//! strings, tabs, depth); the grammar (`grammar/agx.pest`) gives pairs that recover where they can; [`build`] makes the
//! tree. [`fmt`] writes a text anew in the canonical style. [`SourceMap`] holds the files of one check in one address space of
//! places, [`walk`] visits every place of a tree; [`words`] is the table of the language's words; [`similar`] is the
//! did-you-mean of this floor and the next; [`tokens`] is for editors, which read what is not finished.
//!
//! # Invariants
//! Nothing here reads a file, knows an environment or resolves a name. No text makes it panic, hang or overflow the stack:
//! size and nesting are bounded before the grammar sees them. pest appears nowhere else.

pub mod ast;
mod build;
pub mod codes;
mod error;
pub mod fmt;
mod foreign;
mod grammar;
mod layout;
mod scan;
pub mod similar;
mod source;
pub mod tokens;
pub mod walk;
pub mod words;

pub use ast::File;
pub use source::{MAX_BYTES, Source, SourceMap};

use crate::base::{Diagnostic, Span};

/// The tree of `text` and everything wrong with its writing, in source order. Never fails: what cannot be read is in the
/// tree as `Broken`.
pub fn parse(text: &str) -> (File, Vec<Diagnostic>) {
    let (mut file, mut errors) = if text.len() > MAX_BYTES {
        (File { cut: true, ..File::default() }, vec![error::SyntaxError::TooLarge { bytes: text.len() }])
    } else {
        let plain = read(text, scan::scan(text, false));
        // What is missing is guessed only where something is.
        if plain.1.is_empty() { plain } else { read(text, scan::scan(text, true)) }
    };
    errors.sort_by_key(|error| error.span());
    let begin = if text.starts_with('\u{feff}') { 3 } else { 0 };
    file.begin = Span::new(begin, begin);
    let diagnostics: Vec<Diagnostic> = errors.into_iter().map(Into::into).collect();
    file.sound = !diagnostics.iter().any(Diagnostic::is_error);
    (file, diagnostics)
}

fn read(text: &str, scan: scan::Scan) -> (File, Vec<error::SyntaxError>) {
    if scan.fatal { (File { cut: true, ..File::default() }, scan.errors) } else { build::file(text, scan) }
}

/// As [`parse`], for a text that lies at `base` in an address space of several.
pub fn parse_at(text: &str, base: u32) -> (File, Vec<Diagnostic>) {
    let (mut file, diagnostics) = parse(text);
    walk::shift(&mut file, base);
    (file, diagnostics.into_iter().map(|diagnostic| diagnostic.shifted(base)).collect())
}

/// One value alone: what the command line sets a param to.
pub fn value(text: &str) -> Option<ast::Expr> {
    build::value(text)
}
