//! Turns the block of a critic into its spec: whom it asks, with which prompt, and what an answer is.

use super::Checker;
use super::error::CheckError;
use super::fields::{Fields, Given};
use super::model::{Critic, ModelId, PromptId};
use super::vocabulary;
use crate::model::Sampling;
use crate::node::spec::{AnswerField, AnswerKind, AnswerSchema, OnUnparsed};
use crate::syntax::ast::{Block, EntryKind, Expr};
use crate::syntax::similar::similar;

/// Tokens a critic may say when its block does not set `max_tokens`.
const CRITIC_TOKENS: u32 = 64;

impl Checker<'_> {
    pub(super) fn critic(&mut self, body: &Block) -> Option<Critic> {
        let fields = self.fields(body, &vocabulary::CRITIC);
        for name in ["model", "prompt", "answer", "on_unparsed"] {
            if !body.broken && !fields.has(name) {
                self.error(CheckError::MissingField { span: body.span, name, owner: vocabulary::CRITIC.words });
            }
        }
        let model = self.name_of(&fields, "model").flatten();
        let prompt = self.name_of(&fields, "prompt").flatten().filter(|id| {
            let used = fields.value("prompt").map_or(body.span, |value| value.span);
            self.critic_prompt(*id, used)
        });
        let answer = fields.block("answer").and_then(|block| self.answer(block));
        let words = [("drop", OnUnparsed::Drop), ("fail", OnUnparsed::Fail)];
        let on_unparsed = self.word_of(&fields, "on_unparsed", &words).flatten();
        self.word_of(&fields, "kind", &[("each", ()), ("pairs", ()), ("group", ())]);
        let max_tokens = self.tokens_of(&fields, "max_tokens").unwrap_or(Some(CRITIC_TOKENS));
        let sampling = max_tokens.and_then(|max_tokens| match self.decode(&fields, max_tokens) {
            None => Some(Sampling::greedy(max_tokens)),
            Some(sampling) => sampling,
        });
        if let (Some(model), Some(prompt), Some(asked)) = (model, prompt, fields.value("prompt")) {
            self.fits_context(prompt, ModelId(model), asked.span);
        }
        Some(Critic {
            model: ModelId(model?),
            prompt: PromptId(prompt?),
            answer: answer?,
            on_unparsed: on_unparsed?,
            sampling: sampling?,
        })
    }

    fn answer(&mut self, block: &Block) -> Option<AnswerSchema> {
        let mut fields: Vec<AnswerField> = Vec::new();
        let mut fits = !block.broken;
        for entry in &block.entries {
            let name = entry.key.text();
            let EntryKind::Type(ty) = &entry.kind else {
                fits = false;
                if !matches!(entry.kind, EntryKind::Broken) {
                    let wanted = format!("{name}: int in 1..5");
                    self.error(CheckError::WrongForm { span: entry.span, name, wanted });
                }
                continue;
            };
            if let Some(first) = fields.iter().position(|field| field.name == name) {
                let first = block.entries[first].key.span;
                self.error(CheckError::FieldTwice { span: entry.key.span, name, first });
                fits = false;
                continue;
            }
            if let Some(by) = &ty.by {
                self.later(by.span, format!("`by {}`", by.value));
                fits = false;
            }
            let kind = match (ty.name.path.text().as_str(), &ty.within) {
                ("int", Some(within)) => self.answer_range(within),
                ("int", None) => {
                    self.error(CheckError::NoScale { span: ty.span, name: name.clone() });
                    None
                }
                ("bool", None) => Some(AnswerKind::Bool),
                ("text", None) => Some(AnswerKind::Text),
                ("bool" | "text", Some(within)) => {
                    self.error(CheckError::NotList { span: within.span, of: "only `int` has a range; this" });
                    None
                }
                (other, _) => {
                    let known = vec!["int", "bool", "text"];
                    let near = similar(other, known.iter().copied());
                    self.error(CheckError::UnknownType { span: ty.name.span, name: other.to_owned(), near, known });
                    None
                }
            };
            fits &= kind.is_some();
            fields.extend(kind.map(|kind| AnswerField { name, kind }));
        }
        if fits && fields.is_empty() {
            self.error(CheckError::NoAnswer { span: block.span });
            return None;
        }
        fits.then_some(AnswerSchema { fields })
    }

    fn answer_range(&mut self, within: &Expr) -> Option<AnswerKind> {
        let (low, high) = self.range(within)?;
        if low.fract() != 0.0 || high.fract() != 0.0 || low == high {
            self.error(CheckError::EmptyRange { span: within.span, low, high });
            return None;
        }
        Some(AnswerKind::Int { min: low as i64, max: high as i64 })
    }

    /// `decode = greedy` or `sample { temperature, top_p, top_k }`.
    pub(super) fn decode(&mut self, fields: &Fields, max_tokens: u32) -> Given<Sampling> {
        let chosen = self.choice_of(fields, "decode")?;
        Some(chosen.and_then(|(apply, word)| match word.name {
            "greedy" => Some(Sampling::greedy(max_tokens)),
            _ => {
                let block = self.due_block(apply, word)?;
                let fields = self.fields(block, &vocabulary::SAMPLE);
                let temperature = self.real_of(&fields, "temperature").flatten();
                let top_p = self.real_of(&fields, "top_p").unwrap_or(Some(1.0));
                let top_k = self.small_of(&fields, "top_k").unwrap_or(Some(0));
                Some(Sampling { temperature: temperature?, top_p: top_p?, top_k: top_k?, max_tokens })
            }
        }))
    }
}
