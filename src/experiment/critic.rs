//! Turns the block of a critic into its spec: whom it asks, with which prompt, and what an answer is.

use super::Checker;
use super::error::CheckError;
use super::fields::{later, optional, required, required_block};
use super::model::{Critic, ModelId, PromptId};
use super::scope::Kind;
use crate::model::Sampling;
use crate::node::spec::{AnswerField, AnswerKind, AnswerSchema, OnUnparsed};
use crate::syntax::ast::{Block, EntryKind, Expr};
use crate::syntax::similar::similar;

/// Tokens a critic may say when its block does not set `max_tokens`.
const CRITIC_TOKENS: u32 = 64;

impl Checker<'_> {
    pub(super) fn critic(&mut self, body: &Block) -> Option<Critic> {
        let known = [
            required("model"),
            required("prompt"),
            required_block("answer"),
            required("on_unparsed"),
            optional("decode"),
            optional("max_tokens"),
            optional("kind"),
            later("votes"),
            later("panel"),
        ];
        let fields = self.fields(body, "a critic", &known);
        let model = fields.value("model").and_then(|value| self.named(value, Kind::Model));
        let prompt = fields.value("prompt").and_then(|value| {
            let id = self.named(value, Kind::Prompt)?;
            self.critic_prompt(id, value.span).then_some(id)
        });
        let answer = fields.block("answer").and_then(|block| self.answer(block));
        let words = [("drop", OnUnparsed::Drop), ("fail", OnUnparsed::Fail)];
        let on_unparsed = fields.value("on_unparsed").and_then(|value| self.word(value, "`on_unparsed`", &words));
        if let Some(value) = fields.value("kind") {
            let kinds = [("each", true), ("pairs", false), ("group", false)];
            if self.word(value, "`kind`", &kinds) == Some(false) {
                self.later(value.span, "a critic that compares");
            }
        }
        let max_tokens = match fields.value("max_tokens") {
            None => Some(CRITIC_TOKENS),
            Some(value) => self.tokens(value, "`max_tokens`"),
        };
        let sampling = match fields.value("decode") {
            None => max_tokens.map(Sampling::greedy),
            Some(value) => max_tokens.and_then(|max_tokens| self.decode(value, max_tokens)),
        };
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

    /// `greedy` or `sample { temperature, top_p, top_k }`.
    pub(super) fn decode(&mut self, value: &Expr, max_tokens: u32) -> Option<Sampling> {
        let apply = self.choice(value, "`decode`", &["greedy", "sample"])?;
        if apply.path.text() == "greedy" {
            return Some(Sampling::greedy(max_tokens));
        }
        let Some(block) = &apply.block else {
            let (name, wanted) = ("sample".to_owned(), "sample { temperature = 0.7 }".to_owned());
            self.error(CheckError::Arguments { span: apply.path.span, wanted, name });
            return None;
        };
        let fields = self.fields(block, "`sample`", &[required("temperature"), optional("top_p"), optional("top_k")]);
        let temperature = fields.value("temperature").and_then(|value| self.real(value, "`temperature`", 0.0, 10.0));
        let top_p = fields.value("top_p").map_or(Some(1.0), |value| self.real(value, "`top_p`", 1e-6, 1.0));
        let top_k = fields.value("top_k").map_or(Some(0), |value| self.small(value, "`top_k`", 1..=1_000_000));
        Some(Sampling { temperature: temperature?, top_p: top_p?, top_k: top_k?, max_tokens })
    }
}
