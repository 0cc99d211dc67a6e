//! Turns a text and a place in it into what an editor asks for: what stands there, where it is declared, what may follow.
//!
//! [`Document::read`] reads and checks a text once; one file answers one question about it: [`hover`], [`navigate`],
//! [`rename`], [`complete`], [`fix`], [`outline`], [`fold`], [`select`], [`paint`], [`hints`]. [`position`] turns bytes into
//! lines and columns.
//!
//! # Invariants
//! Pure: no file is read but through [`World`], nothing is kept between two questions. Nothing here knows a protocol. Any
//! place in any text gives an answer or none; there is no wrong place.

pub mod complete;
pub mod fix;
pub mod fold;
pub mod hints;
pub mod hover;
pub mod navigate;
pub mod outline;
pub mod paint;
pub mod position;
pub mod rename;
pub mod select;

#[cfg(test)]
mod tests;

use crate::base::{Diagnostic, Span};
use crate::experiment::index::Index;
use crate::experiment::{self, Checked, Experiment, World};
use crate::plan;
use crate::syntax::ast::{File, Item};
use crate::syntax::tokens::{Token, TokenKind, tokens};
use crate::syntax::{MAX_BYTES, Source, SourceMap};
use position::Lines;

/// A text, read and checked.
pub struct Document {
    pub text: String,
    pub lines: Lines,
    pub tokens: Vec<Token>,
    /// The file alone, as written.
    pub file: File,
    /// The file and what it imports: places from the end of the text on are in other files.
    pub sources: SourceMap,
    pub index: Index,
    /// In source order, those of imported files last.
    pub diagnostics: Vec<Diagnostic>,
    /// There when nothing is an error.
    pub experiments: Vec<Experiment>,
}

impl Document {
    /// `name` is the file's path, as places in it are told.
    pub fn read(name: String, text: String, world: World) -> Self {
        let lines = Lines::of(&text);
        // What is too long to be parsed is not worth colours either.
        let tokens = if text.len() > MAX_BYTES { Vec::new() } else { tokens(&text) };
        let checked = plan::afford(experiment::check(Source { name, text: text.clone() }, &[], world));
        let Checked { sources, file, diagnostics, index, experiments, .. } = checked;
        Self { text, lines, tokens, file, sources, index, diagnostics, experiments }
    }

    /// Whether a place is in this text, not in an imported one.
    pub fn is_own(&self, span: Span) -> bool {
        span.end as usize <= self.text.len()
    }

    /// The item around a place.
    pub fn item_at(&self, span: Span) -> Option<&Item> {
        self.file.items.iter().find(|item| item.span.start <= span.start && span.end <= item.span.end)
    }

    /// The text at a place, of whichever file.
    pub fn slice(&self, span: Span) -> &str {
        let (source, span) = self.sources.locate(span);
        source.text.get(span.range()).unwrap_or("")
    }

    /// The token at a byte; of two that touch there, the word.
    pub fn token_at(&self, at: usize) -> Option<Token> {
        let next = self.tokens.partition_point(|token| (token.span.end as usize) < at);
        let touching = self.tokens[next..].iter().take_while(|token| token.span.start as usize <= at);
        let touching: Vec<Token> = touching.copied().collect();
        let word = touching.iter().find(|token| token.kind == TokenKind::Word);
        word.or(touching.last()).copied()
    }
}
