//! Turns declared local models into [`LanguageModel`]s: real transformers, on candle's tensors and our own kernels.
//!
//! [`LocalModel`] answers; [`train()`] makes new versions; [`export()`] writes one in Hugging Face's layout.
//!
//! # Invariants
//! candle, tokenizers and safetensors are named nowhere outside this folder.

mod chat;
mod checkpoint;
mod config;
pub mod constrain;
mod decoder;
mod export;
mod fresh;
mod generate;
mod gguf;
mod hearing;
pub mod kernels;
mod lora;
pub mod ops;
pub mod optim;
mod peft;
mod prefix;
mod rope;
mod sample;
mod source;
pub mod tokenizer;
mod train;
mod weights;
#[cfg(test)]
mod tests;

pub use export::{export, export_adapter};
pub use peft::{feed as feed_adapter, files as adapter_files};
pub use source::{files, identity, look, positions};
pub use train::train;

use super::{GenReply, GenRequest, LanguageModel, Likely, Listener, Message, ModelError, ModelSpec, TokenId, TrainRow};
use chat::Chat;
use constrain::Constraints;
use decoder::{Decoder, Parameters};
use generate::{Generator, Sampled};
use std::sync::Arc;
use tokenizer::Tokenizer;

/// One version of a transformer that can be asked.
pub struct LocalModel {
    tokenizer: Arc<Tokenizer>,
    chat: Chat,
    generator: Generator,
}

impl LocalModel {
    /// See [`open`](super::open).
    pub fn open(spec: &ModelSpec, version: Option<&[u8]>) -> Result<Self, ModelError> {
        let declared = source::declared(spec)?;
        let mut arrays = declared.weights(spec)?;
        if let Some(bytes) = version {
            arrays = lora::apply(&declared.shape, arrays, lora::read(bytes, spec.lora.as_ref())?)?;
        }
        arrays.values_mut().for_each(|array| weights::round(&mut array.data, spec.dtype));
        let context = spec.context as usize;
        let decoder = Decoder::new(&declared.shape, Parameters::Frozen(arrays), context);
        let decoder = decoder.map_err(|error| ModelError::Engine(error.to_string()))?;
        let tokenizer = Arc::new(declared.tokenizer);
        let ends = declared.chat.ends();
        let constraints = Constraints::new(tokenizer.clone(), ends.clone());
        let generator = Generator::new(decoder, context, ends.clone(), constraints);
        Ok(Self { tokenizer, chat: declared.chat, generator })
    }

    /// With so many bytes of keys and values kept between replies; as many as are usual where nothing is said.
    #[must_use]
    pub fn keeping(mut self, memory: Option<u64>) -> Self {
        if let Some(memory) = memory {
            self.generator.keep(memory);
        }
        self
    }
}

/// The numbers in a reply, with those that might have stood there.
fn likely(
    tokenizer: &Tokenizer,
    tokens: &[TokenId],
    likeliest: &[Vec<(TokenId, f64)>],
) -> Result<Vec<Likely>, ModelError> {
    let mut found = Vec::new();
    for (place, (token, likeliest)) in tokens.iter().zip(likeliest).enumerate() {
        let word = tokenizer.decode(&[*token])?;
        if !word.trim().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // A token alone may be spelt without the space that it has within a text.
        let (before, with) = (tokenizer.decode(&tokens[..place])?, tokenizer.decode(&tokens[..=place])?);
        let Some(word) = with.strip_prefix(before.as_str()) else { continue };
        let words = likeliest.iter().map(|(id, logprob)| Ok((tokenizer.decode(&[*id])?, *logprob)));
        let words: Vec<(String, f64)> = words.collect::<Result<_, ModelError>>()?;
        let likeliest = words.iter().map(|(word, logprob)| (word.as_str(), *logprob));
        found.extend(Likely::of(before.len(), word, likeliest));
    }
    Ok(found)
}

fn reply(tokenizer: &Tokenizer, sampled: Sampled) -> Result<GenReply, ModelError> {
    let Sampled { tokens, stop, logprob, likeliest } = sampled;
    let likely = likely(tokenizer, &tokens, &likeliest)?;
    Ok(GenReply { text: tokenizer.decode(&tokens)?, tokens, stop, logprob, likely, used: None })
}

impl LanguageModel for LocalModel {
    fn context(&self) -> usize {
        self.generator.context()
    }

    fn longest_token(&self) -> usize {
        self.tokenizer.longest()
    }

    fn encode_chat(&self, messages: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        self.chat.encode_chat(&self.tokenizer, messages)
    }

    fn continue_chat(
        &self,
        history: &[Message],
        reply: &GenReply,
        next: &[Message],
    ) -> Result<Vec<TokenId>, ModelError> {
        self.chat.continue_chat(&self.tokenizer, history, reply, next)
    }

    fn encode_row(&self, messages: &[Message]) -> Result<TrainRow, ModelError> {
        self.chat.encode_row(&self.tokenizer, messages)
    }

    fn generate(&self, requests: &[GenRequest]) -> Vec<Result<GenReply, ModelError>> {
        let replies = self.generator.generate(requests).into_iter();
        replies.map(|sampled| reply(&self.tokenizer, sampled?)).collect()
    }

    fn encode_tools(&self, messages: &[Message], tools: &str) -> Result<Option<Vec<TokenId>>, ModelError> {
        self.chat.encode_tools(&self.tokenizer, messages, tools)
    }

    fn attend(&self, listener: &mut dyn Listener) {
        self.generator.attend(&mut hearing::Hearing::new(&self.tokenizer, listener));
    }
}
