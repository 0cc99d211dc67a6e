//! Tells of a prompt that its model cannot hold.
//!
//! Without a tokenizer two things can be proven: fixed text has at least as many tokens as words, for no tokenizer that is in
//! use makes one token of two words; and a value cut at `max = 400 tokens` may well have 400.

use super::Checker;
use super::error::CheckError;
use super::model::ModelId;
use crate::base::Span;
use crate::node::template::{Filter, Piece, Template};

impl Checker<'_> {
    /// Of a prompt that this model is asked with. `span` is where they meet.
    pub(super) fn fits_context(&mut self, prompt: usize, model: ModelId, span: Span) {
        let (Some(info), Some(spec)) = (&self.prompts[prompt].it, &self.models[model.0].it) else { return };
        let (fixed, cut) = lengths(&info.template);
        let (name, context) = (self.prompts[prompt].name.clone(), u64::from(spec.context));
        if fixed > context {
            self.error(CheckError::PromptTooLong { span, name, words: fixed, context });
        } else if fixed + cut > context {
            self.error(CheckError::PromptMayBeTooLong { span, name, words: fixed, cut, context });
        }
    }
}

/// Words of the fixed text, and the tokens that values may have where the prompt cuts them.
fn lengths(template: &Template) -> (u64, u64) {
    (template.fixed_words(), template.messages.iter().map(|message| cut(&message.pieces)).sum())
}

/// What stands in a condition may be there, and in a loop at least once.
fn cut(pieces: &[Piece]) -> u64 {
    let of = |piece: &Piece| match piece {
        Piece::Text(_) => 0,
        Piece::Value { filters, .. } => filters.iter().map(cut_at).max().unwrap_or(0),
        Piece::For { body, .. } | Piece::IfKnown { body, .. } | Piece::IfUnknown { body, .. } => cut(body),
    };
    pieces.iter().map(of).sum()
}

fn cut_at(filter: &Filter) -> u64 {
    match filter {
        Filter::Transcript { max_tokens } => u64::from(max_tokens.unwrap_or(0)),
        Filter::Truncate { max_tokens } => u64::from(*max_tokens),
        Filter::Json | Filter::Lines | Filter::Bullets => 0,
    }
}
