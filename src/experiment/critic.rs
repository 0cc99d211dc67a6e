//! Turns the block of a critic into its spec: whom it asks, with which prompt, and what an answer is.

use super::Checker;
use super::error::CheckError;
use super::fields::{Fields, Given};
use super::model::{Critic, CriticId, ModelId, Panel, PromptId, Sole};
use super::scope::Kind;
use super::vocabulary::{self, Takes};
use crate::model::Sampling;
use crate::node::spec::{AnswerField, AnswerKind, AnswerSchema, CriticKind, Joined, OnUnparsed, Votes};
use crate::syntax::ast::{Block, EntryKind, Expr, ExprKind};
use crate::syntax::similar::similar;

/// Tokens a critic may say when its block does not set `max_tokens`.
const CRITIC_TOKENS: u32 = 64;

/// Columns of a row that a rule calls by one word, as it does an answer's fields.
const OWN_COLUMNS: [&str; 2] = ["iteration", "added"];

const JOINED: [(&str, Joined); 5] = [
    ("mean", Joined::Mean),
    ("median", Joined::Median),
    ("majority", Joined::Majority),
    ("min", Joined::Min),
    ("max", Joined::Max),
];

/// A critic as the checker knows it.
pub struct CriticInfo {
    pub it: Critic,
    /// As rules see it: a mean of whole numbers is no whole number.
    pub answer: AnswerSchema,
    pub prompts: Vec<PromptId>,
    /// The file says that it may judge what its own model has done.
    pub itself: bool,
}

impl CriticInfo {
    /// Whether several verdicts on a row become one.
    pub fn joined(&self) -> bool {
        match &self.it {
            Critic::Sole(sole) => sole.votes.count > 1,
            Critic::Panel(_) => true,
        }
    }
}

/// The answer once several have become one.
fn joined_answer(answer: &AnswerSchema, joined: Option<Joined>) -> AnswerSchema {
    let mut answer = answer.clone();
    if joined.is_some_and(|joined| !joined.stays_whole()) {
        answer.fields.iter_mut().for_each(|field| field.expectation |= matches!(field.kind, AnswerKind::Int { .. }));
    }
    answer
}

/// Whether two answers have the same fields with the same values.
fn same_scales(a: &AnswerSchema, b: &AnswerSchema) -> bool {
    let scale = |field: &AnswerField| (field.name.clone(), field.kind.clone());
    a.fields.iter().map(scale).eq(b.fields.iter().map(scale))
}

impl Checker<'_> {
    pub(super) fn critic(&mut self, body: &Block) -> Option<CriticInfo> {
        let fields = self.fields(body, &vocabulary::CRITIC);
        if let Some((value, _)) = fields.given("panel") {
            for alone in ["model", "prompt", "answer", "on_unparsed", "kind", "votes", "decode", "max_tokens"] {
                if let Some(span) = fields.key(alone) {
                    self.error(CheckError::PanelToo { span, name: alone });
                }
            }
            return self.panel(value);
        }
        for name in ["model", "prompt", "answer", "on_unparsed"] {
            self.due_field(body, &fields, name);
        }
        let model = self.name_of(&fields, "model").flatten();
        let kinds = [("each", CriticKind::Each), ("pairs", CriticKind::Pairs), ("group", CriticKind::Group)];
        let kind = self.word_of(&fields, "kind", &kinds).unwrap_or(Some(CriticKind::Each));
        let prompt = self.name_of(&fields, "prompt").flatten().filter(|id| {
            let used = fields.value("prompt").map_or(body.span, |value| value.span);
            // Which trajectories it is to show is not known where the kind is broken.
            kind.is_some_and(|kind| self.critic_prompt(*id, kind, used))
        });
        let answer = fields.block("answer").and_then(|block| {
            let answer = self.answer(block)?;
            (kind != Some(CriticKind::Pairs) || self.chooses(block, &answer)).then_some(answer)
        });
        let words = [("drop", OnUnparsed::Drop), ("fail", OnUnparsed::Fail)];
        let on_unparsed = self.word_of(&fields, "on_unparsed", &words).flatten();
        let max_tokens = self.tokens_of(&fields, "max_tokens").unwrap_or(Some(CRITIC_TOKENS));
        let sampling = max_tokens.and_then(|max_tokens| match self.decode(&fields, max_tokens) {
            None => Some(Sampling::greedy(max_tokens)),
            Some(sampling) => sampling,
        });
        let votes = self.votes(&fields).unwrap_or(Some(Votes::ONE));
        if let (Some(Votes { count: samples @ 2.., .. }), Some(Sampling { temperature: 0.0, .. })) = (votes, &sampling)
            // A group is shown in another order each time.
            && kind != Some(CriticKind::Group)
            && let Some(span) = fields.span("votes")
        {
            self.error(CheckError::SameSamples { span, samples });
        }
        let itself = self.bool_of(&fields, "judges_itself").unwrap_or(Some(false));
        if let (Some(model), Some(prompt), Some(asked)) = (model, prompt, fields.value("prompt")) {
            self.fits_context(prompt, ModelId(model), asked.span);
        }
        if let (Some(prompt), Some(answer), Some(asked)) = (prompt, &answer, fields.value("prompt")) {
            self.says_how_to_answer(prompt, answer, asked.span);
            if kind == Some(CriticKind::Group) {
                self.shows_ids(prompt, asked.span);
            }
        }
        let sole = Sole {
            model: ModelId(model?),
            prompt: PromptId(prompt?),
            answer: answer?,
            on_unparsed: on_unparsed?,
            sampling: sampling?,
            kind: kind?,
            votes: votes?,
        };
        let joined = votes.filter(|votes| votes.count > 1).map(|votes| votes.by);
        Some(CriticInfo {
            answer: joined_answer(&sole.row_answer(), joined),
            it: Critic::Sole(sole),
            prompts: vec![PromptId(prompt?)],
            itself: itself?,
        })
    }

    /// `3 by median`
    fn votes(&mut self, fields: &Fields) -> Given<Votes> {
        let (value, field) = fields.given("votes")?;
        let Takes::Votes(words) = field.takes else { unreachable!("`votes` is a number by a word") };
        let ExprKind::By { of, by } = &value.kind else {
            if !matches!(value.kind, ExprKind::Broken) {
                let (name, wanted) = ("votes".to_owned(), "votes = 3 by median".to_owned());
                self.error(CheckError::WrongForm { span: value.span, name, wanted });
            }
            return Some(None);
        };
        let count = self.small(of, "`votes`", 1..=100);
        let by = self.name_as("`by`", by, words, &JOINED);
        Some(count.and_then(|count| Some(Votes { count, by: by? })))
    }

    /// `[a, b, c] by mean`: sole critics with one answer.
    fn panel(&mut self, value: &Expr) -> Option<CriticInfo> {
        let Some(Takes::Panel(_, words)) = vocabulary::CRITIC.field("panel").map(|field| &field.takes) else {
            unreachable!("`panel` is a list by a word")
        };
        let wrong = |checker: &mut Self| {
            let (name, wanted) = ("panel".to_owned(), "panel = [a, b, c] by mean".to_owned());
            checker.error(CheckError::WrongForm { span: value.span, name, wanted });
        };
        let (list, by) = match &value.kind {
            ExprKind::By { of, by } => (of, by),
            ExprKind::Broken => return None,
            _ => {
                wrong(self);
                return None;
            }
        };
        let ExprKind::List(items) = &list.kind else {
            wrong(self);
            return None;
        };
        let by = self.name_as("`by`", by, words, &JOINED);
        let (mut members, mut spans) = (Vec::new(), Vec::new());
        let mut answer: Option<AnswerSchema> = None;
        let mut prompts = Vec::new();
        let (mut fits, mut itself) = (items.len() > 1, true);
        if items.len() < 2 {
            wrong(self);
        }
        for item in items {
            let Some(id) = self.named(item, Kind::Critic) else {
                fits = false;
                continue;
            };
            if let Some(first) = members.iter().position(|member| *member == CriticId(id)) {
                let (name, first) = (self.critics[id].name.clone(), spans[first]);
                self.error(CheckError::MemberTwice { span: item.span, name, first });
                fits = false;
                continue;
            }
            if self.panels.contains(&id) {
                self.error(CheckError::PanelMember { span: item.span, why: "is a panel itself" });
                fits = false;
                continue;
            }
            let Some(member) = self.critics[id].it.as_ref() else {
                fits = false;
                continue;
            };
            let why = match &answer {
                Some(known) if !same_scales(known, &member.answer) => Some("answers something else than the others"),
                _ => None,
            };
            itself &= member.itself;
            prompts.extend(member.prompts.iter().copied());
            let known = answer.get_or_insert_with(|| member.answer.clone());
            for (field, other) in known.fields.iter_mut().zip(&member.answer.fields) {
                field.expectation |= other.expectation;
            }
            members.push(CriticId(id));
            spans.push(item.span);
            if let Some(why) = why {
                self.error(CheckError::PanelMember { span: item.span, why });
                fits = false;
            }
        }
        let by = by?;
        let answer = joined_answer(&answer?, Some(by));
        fits.then_some(CriticInfo { it: Critic::Panel(Panel { members, by }), answer, prompts, itself })
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
            if let Some(first) = fields.iter().position(|field| field.name.eq_ignore_ascii_case(&name)) {
                let (known, first) = (fields[first].name.clone(), block.entries[first].key.span);
                self.error(CheckError::CaseAlone { span: entry.key.span, name, first, known });
                fits = false;
                continue;
            }
            if OWN_COLUMNS.contains(&name.as_str()) {
                self.error(CheckError::OwnColumn { span: entry.key.span, name });
                fits = false;
                continue;
            }
            let expectation = match &ty.by {
                None => false,
                Some(by) => {
                    let known = self.name_as("`by`", by, vocabulary::BY_EXPECTATION, &[("expectation", ())]);
                    let kind = ty.name.path.text();
                    let is_int = kind == "int";
                    // Any other type is unknown, which is told below.
                    if known.is_some() && matches!(kind.as_str(), "bool" | "text") {
                        self.error(CheckError::NoClause { span: by.span, clause: "an expectation", of: "`int`" });
                    }
                    fits &= known.is_some() && is_int;
                    true
                }
            };
            let kind = match (ty.name.path.text().as_str(), &ty.within) {
                ("int", Some(within)) => self.answer_range(within).filter(|kind| {
                    let AnswerKind::Int { min, max } = kind else { return true };
                    let digits = 0 <= *min && *max <= 9;
                    if expectation && !digits {
                        self.error(CheckError::NotDigits { span: within.span });
                    }
                    !expectation || digits
                }),
                ("int", None) => {
                    self.error(CheckError::NoScale { span: ty.span, name: name.clone() });
                    None
                }
                ("bool", None) => Some(AnswerKind::Bool),
                ("text", None) => Some(AnswerKind::Text),
                ("bool" | "text", Some(within)) => {
                    self.error(CheckError::NoClause { span: within.span, clause: "a range", of: "`int`" });
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
            fields.extend(kind.map(|kind| AnswerField { name, kind, expectation }));
        }
        if fits && fields.is_empty() {
            self.error(CheckError::NoAnswer { span: block.span });
            return None;
        }
        fits.then_some(AnswerSchema { fields })
    }

    /// Whether the answer says which of two is preferred.
    fn chooses(&mut self, block: &Block, answer: &AnswerSchema) -> bool {
        let number = answer.fields.iter().position(|field| matches!(field.kind, AnswerKind::Int { .. }));
        let missing = !answer.fields.iter().any(|field| field.kind == AnswerKind::Bool);
        if let Some(at) = number {
            let name = Some(answer.fields[at].name.clone());
            self.error(CheckError::NoChoice { span: block.entries[at].span, name });
        } else if missing {
            self.error(CheckError::NoChoice { span: block.span, name: None });
        }
        number.is_none() && !missing
    }

    fn answer_range(&mut self, within: &Expr) -> Option<AnswerKind> {
        let (low, high) = self.range(within)?;
        if low.fract() != 0.0 || high.fract() != 0.0 || low == high {
            self.error(CheckError::EmptyRange { span: within.span, low, high });
            return None;
        }
        Some(AnswerKind::Int { min: low as i64, max: high as i64 })
    }

    /// `decode = greedy` or `sample { temperature, top_p, … }`.
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
                let min_p = self.real_of(&fields, "min_p").unwrap_or(Some(0.0));
                let penalty = self.real_of(&fields, "repetition_penalty").unwrap_or(Some(1.0));
                Some(Sampling {
                    temperature: temperature?,
                    top_p: top_p?,
                    top_k: top_k?,
                    min_p: min_p?,
                    repetition_penalty: penalty?,
                    max_tokens,
                })
            }
        }))
    }
}
