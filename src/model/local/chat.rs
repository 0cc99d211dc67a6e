//! Turns conversations into token ids by the model's own chat template.
//!
//! # Invariants
//! Text that a message carries never becomes a special token: a tool that prints `<|end|>` ends no turn.
//! Nothing here re-tokenises what a model sampled, and nothing asks the clock.

use super::tokenizer::Tokenizer;
use crate::model::template::Template;
use crate::model::{GenReply, Message, ModelError, Role, StopReason, TokenId, TrainRow};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeSet;

pub struct Chat {
    template: Template,
    bos: Option<String>,
    eos: Option<String>,
    bos_id: Option<TokenId>,
    /// The special tokens that end a turn, by id and by text.
    ends: BTreeSet<TokenId>,
    end_texts: Vec<String>,
}

/// What a template is given, as transformers gives it.
#[derive(Serialize)]
struct Variables<'a> {
    messages: &'a [Message],
    add_generation_prompt: bool,
    bos_token: &'a str,
    eos_token: &'a str,
    tools: Option<&'a RawValue>,
    documents: Option<()>,
}

fn failed(error: impl std::fmt::Display) -> ModelError {
    ModelError::Template(error.to_string())
}

impl Chat {
    /// # Errors
    /// A template that does not parse; no token that ends a turn.
    pub fn new(
        template: &str,
        bos: Option<String>,
        eos: Option<String>,
        ends: &[TokenId],
        tokenizer: &Tokenizer,
    ) -> Result<Self, ModelError> {
        let template = Template::new(template)?;
        let mut ends: BTreeSet<TokenId> = ends.iter().copied().collect();
        ends.extend(eos.as_deref().and_then(|eos| tokenizer.id(eos)));
        let end_texts: Vec<String> = ends.iter().filter_map(|id| tokenizer.token(*id)).collect();
        if end_texts.is_empty() {
            return Err(ModelError::Template("the model has no end-of-turn token".to_owned()));
        }
        let bos_id = bos.as_deref().and_then(|bos| tokenizer.id(bos));
        Ok(Self { template, bos, eos, bos_id, ends, end_texts })
    }

    /// The ids after which a reply is over.
    pub fn ends(&self) -> &BTreeSet<TokenId> {
        &self.ends
    }

    fn render(&self, messages: &[Message], generation: bool) -> Result<String, ModelError> {
        self.render_with(messages, None, generation)
    }

    fn render_with(&self, messages: &[Message], tools: Option<&str>, generation: bool) -> Result<String, ModelError> {
        let variables = Variables {
            messages,
            add_generation_prompt: generation,
            bos_token: self.bos.as_deref().unwrap_or_default(),
            eos_token: self.eos.as_deref().unwrap_or_default(),
            tools: tools.map(serde_json::from_str).transpose().map_err(failed)?,
            documents: None,
        };
        self.template.render(&serde_json::to_string(&variables).map_err(failed)?)
    }

    /// See [`LanguageModel::encode_chat`](crate::model::LanguageModel::encode_chat).
    pub fn encode_chat(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        let (messages, guard) = guarded(tokenizer, messages);
        let ids = encode_pieces(tokenizer, &self.render(&messages, true)?, guard)?;
        self.refuse_doubled_bos(&ids)?;
        Ok(ids)
    }

    /// See [`LanguageModel::encode_tools`](crate::model::LanguageModel::encode_tools).
    pub fn encode_tools(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        tools: &str,
    ) -> Result<Option<Vec<TokenId>>, ModelError> {
        // They are text from outside as messages are, and guarded with them.
        let (mut messages, guard) = guarded(tokenizer, &[messages, &[Message::new(Role::Tool, tools)]].concat());
        let tools = messages.pop().map(|tools| tools.content);
        let text = self.render_with(&messages, tools.as_deref(), true)?;
        if text == self.render(&messages, true)? {
            return Ok(None);
        }
        let ids = encode_pieces(tokenizer, &text, guard)?;
        self.refuse_doubled_bos(&ids)?;
        Ok(Some(ids))
    }

    /// See [`LanguageModel::continue_chat`](crate::model::LanguageModel::continue_chat).
    pub fn continue_chat(
        &self,
        tokenizer: &Tokenizer,
        history: &[Message],
        reply: &GenReply,
        next: &[Message],
    ) -> Result<Vec<TokenId>, ModelError> {
        let spoken = Message::new(Role::Assistant, reply.text.clone());
        let all: Vec<Message> = history.iter().chain([&spoken]).chain(next).cloned().collect();
        let (all, guard) = guarded(tokenizer, &all);
        let turn = self.turn(&all, history.len())?;
        let whole = self.render(&all, true)?;
        if !whole.starts_with(&turn.text) {
            return Err(rewritten(history.len()));
        }
        let from = if reply.stop == StopReason::EndOfTurn { turn.after_end } else { turn.before_end };
        encode_pieces(tokenizer, &whole[from..], guard)
    }

    /// See [`LanguageModel::encode_row`](crate::model::LanguageModel::encode_row). The text is cut where sampling would cut
    /// it, before and after each reply, so that the ids are those of a conversation that was sampled.
    pub fn encode_row(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<TrainRow, ModelError> {
        let (messages, guard) = guarded(tokenizer, messages);
        let whole = self.render(&messages, false)?;
        let mut row = TrainRow { tokens: Vec::new(), learn: Vec::new() };
        let mut put = |text: &str, learn: bool| -> Result<(), ModelError> {
            row.tokens.extend(encode_pieces(tokenizer, text, guard)?);
            row.learn.resize(row.tokens.len(), learn);
            Ok(())
        };
        let mut done = 0;
        for (index, _) in messages.iter().enumerate().filter(|(_, message)| message.role == Role::Assistant) {
            let turn = self.turn(&messages, index)?;
            if turn.start < done || !whole.starts_with(&turn.text) {
                return Err(rewritten(index));
            }
            put(&whole[done..turn.start], false)?;
            put(&whole[turn.start..turn.after_end], true)?;
            done = turn.after_end;
        }
        put(&whole[done..], false)?;
        self.refuse_doubled_bos(&row.tokens)?;
        Ok(row)
    }

    /// The conversation up to the assistant's message `index`, and where that reply stands in it.
    fn turn(&self, messages: &[Message], index: usize) -> Result<Turn, ModelError> {
        let before = self.render(&messages[..index], true)?;
        let text = self.render(&messages[..=index], false)?;
        let reply = text.strip_prefix(&before).ok_or_else(|| rewritten(index))?;
        let end = self.end_texts.iter().filter_map(|end| reply.rfind(end).map(|at| (at, end.len()))).max();
        let Some((at, length)) = end else {
            let problem = format!("it does not close an assistant's message with {}", self.end_texts.join(" or "));
            return Err(ModelError::Template(problem));
        };
        let before_end = before.len() + at;
        Ok(Turn { start: before.len(), before_end, after_end: before_end + length, text })
    }

    fn refuse_doubled_bos(&self, ids: &[TokenId]) -> Result<(), ModelError> {
        match self.bos_id {
            Some(bos) if ids.starts_with(&[bos, bos]) => Err(failed("it writes the BOS token twice")),
            _ => Ok(()),
        }
    }
}

/// A rendered conversation that ends with a reply, and the bytes where the reply and its end token stand.
struct Turn {
    text: String,
    start: usize,
    before_end: usize,
    after_end: usize,
}

fn rewritten(index: usize) -> ModelError {
    let problem =
        format!("it changes the turns before message {index} when later ones follow; the ids that were sampled");
    ModelError::Template(format!("{problem} could not be kept"))
}

/// The messages with a private character put inside every special token's text, so that it is read as plain text.
fn guarded(tokenizer: &Tokenizer, messages: &[Message]) -> (Vec<Message>, char) {
    let unused = |guard: &char| !messages.iter().any(|message| message.content.contains(*guard));
    let guard = ('\u{e000}'..='\u{f8ff}').chain('\u{f0000}'..='\u{ffffd}').find(unused).unwrap_or('\u{10fffd}');
    let mut messages = messages.to_vec();
    for message in &mut messages {
        for special in tokenizer.specials().filter(|special| special.chars().nth(1).is_some()) {
            if message.content.contains(special) {
                let first = special.chars().next().map_or(0, char::len_utf8);
                let broken = format!("{}{guard}{}", &special[..first], &special[first..]);
                message.content = message.content.replace(special, &broken);
            }
        }
    }
    (messages, guard)
}

/// The ids of a rendered text, cut where a guard stands so that no special token is read across it.
fn encode_pieces(tokenizer: &Tokenizer, text: &str, guard: char) -> Result<Vec<TokenId>, ModelError> {
    let mut ids = Vec::new();
    for piece in text.split(guard).filter(|piece| !piece.is_empty()) {
        ids.extend(tokenizer.encode(piece)?);
    }
    Ok(ids)
}
