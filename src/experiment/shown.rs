//! Tells of a prompt that leaves its reader in the dark: an agent about the task, a critic about how to answer.

use super::Checker;
use super::error::CheckError;
use crate::base::Span;
use crate::node::spec::AnswerSchema;
use crate::node::template::{Piece, Template};

impl Checker<'_> {
    /// Of a prompt that an agent reads at `used`.
    pub(super) fn shows_task(&mut self, prompt: usize, used: Span) {
        let Some(info) = &self.prompts[prompt].it else { return };
        if !reads(&info.template, "task") {
            let name = self.prompts[prompt].name.clone();
            let span = self.symbols.find(&name).map_or(used, |(_, declared)| declared);
            self.error(CheckError::ShowsNoTask { span, name });
        }
    }

    /// Of a prompt with which a critic is asked for this answer at `used`.
    pub(super) fn says_how_to_answer(&mut self, prompt: usize, answer: &AnswerSchema, used: Span) {
        let Some(info) = &self.prompts[prompt].it else { return };
        // Half a hole has been told.
        let mut words = answer.fields.iter().map(|field| field.name.as_str()).chain(["answer.format"]);
        let says_itself = words.any(|word| writes(&info.template, word));
        if !reads(&info.template, "answer") && !says_itself {
            let name = self.prompts[prompt].name.clone();
            let span = self.symbols.find(&name).map_or(used, |(_, declared)| declared);
            self.error(CheckError::SaysNoAnswer { span, name });
        }
    }

    /// A critic of a group answers by ids, which only the prompt can tell it.
    pub(super) fn shows_ids(&mut self, prompt: usize, used: Span) {
        let Some(info) = &self.prompts[prompt].it else { return };
        let is_id = |path: &[String]| matches!(path, [of, id] if of != "task" && id == "id");
        if !any(&info.template, &|piece| matches!(piece, Piece::Value { path, .. } if is_id(path))) {
            let name = self.prompts[prompt].name.clone();
            let span = self.symbols.find(&name).map_or(used, |(_, declared)| declared);
            self.error(CheckError::ShowsNoId { span, name });
        }
    }
}

/// Whether a template names `root` or a field of it.
pub(super) fn reads(template: &Template, root: &str) -> bool {
    any(template, &|piece| match piece {
        Piece::Text(_) => false,
        Piece::Value { path, .. }
        | Piece::For { path, .. }
        | Piece::IfKnown { path, .. }
        | Piece::IfUnknown { path, .. } => path.first().is_some_and(|first| first == root),
    })
}

/// Whether a word stands in a template's own text.
fn writes(template: &Template, word: &str) -> bool {
    let is_in = |text: &str| {
        let mut words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '.');
        words.any(|it| it.trim_matches('.').eq_ignore_ascii_case(word))
    };
    any(template, &|piece| matches!(piece, Piece::Text(text) if is_in(text)))
}

fn any(template: &Template, is: &dyn Fn(&Piece) -> bool) -> bool {
    template.messages.iter().any(|message| any_of(&message.pieces, is))
}

fn any_of(pieces: &[Piece], is: &dyn Fn(&Piece) -> bool) -> bool {
    pieces.iter().any(|piece| {
        is(piece)
            || match piece {
                Piece::For { body, .. } | Piece::IfKnown { body, .. } | Piece::IfUnknown { body, .. } => {
                    any_of(body, is)
                }
                Piece::Text(_) | Piece::Value { .. } => false,
            }
    })
}
