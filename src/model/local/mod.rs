//! Turns declared local models into [`LanguageModel`]s: real transformers, by our own kernels on the processor, by candle's on a GPU.
//!
//! [`open`] gives one that answers; [`train()`] makes new versions; [`export()`] writes one in Hugging Face's layout.
//!
//! # Invariants
//! candle, tokenizers and safetensors are named nowhere outside this folder.

mod array;
mod chat;
mod checkpoint;
mod config;
pub mod constrain;
mod decoder;
mod engine;
mod export;
mod fresh;
mod generate;
mod gguf;
mod gpu;
mod hearing;
pub mod kernels;
mod learner;
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

use super::{
    Dtype, GenReply, GenRequest, LanguageModel, Likely, Listener, Message, ModelError, ModelSpec, TokenId, TrainRow,
};
use chat::Chat;
use constrain::Constraints;
use decoder::{Decoder, Parameters};
use engine::Engine;
use generate::{Generator, Sampled};
use source::Declared;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokenizer::Tokenizer;
use weights::Arrays;

/// One version of a transformer that can be asked.
pub struct LocalModel<E: Engine = Decoder> {
    tokenizer: Arc<Tokenizer>,
    chat: Chat,
    generator: Generator<E>,
}

/// See [`open`](super::open); with so many bytes of keys and values kept between replies.
pub fn open(
    spec: &ModelSpec,
    version: Option<&[u8]>,
    memory: Option<u64>,
) -> Result<Arc<dyn LanguageModel>, ModelError> {
    Ok(match gpu::place(spec) {
        Ok(None) => Arc::new(LocalModel::open(spec, version)?.keeping(memory)),
        Ok(Some(place)) => Arc::new(LocalModel::open_on(spec, version, &place)?.keeping(memory)),
        Err(ModelError::Engine(why)) => {
            let declared = source::declared(spec)?;
            let engine = gpu::Absent::new(declared.shape.clone(), why);
            Arc::new(LocalModel::new(declared, spec, engine))
        }
        Err(problem) => return Err(problem),
    })
}

/// See [`computes`](super::computes).
pub fn computes(spec: &ModelSpec) -> Result<(), ModelError> {
    gpu::place(spec).map(drop)
}

/// The declared weights with what was trained over them.
fn versioned(declared: &Declared, spec: &ModelSpec, version: Option<&[u8]>) -> Result<Arrays, ModelError> {
    let arrays = declared.weights(spec)?;
    match version {
        None => Ok(arrays),
        Some(bytes) => lora::apply(&declared.shape, arrays, lora::read(bytes, spec.lora.as_ref())?),
    }
}

fn engine_error(error: candle_core::Error) -> ModelError {
    ModelError::Engine(error.to_string())
}

impl LocalModel {
    /// On the processor, by our own kernels.
    pub fn open(spec: &ModelSpec, version: Option<&[u8]>) -> Result<Self, ModelError> {
        let declared = source::declared(spec)?;
        let mut arrays = versioned(&declared, spec, version)?;
        arrays.values_mut().for_each(|array| array.round(spec.dtype));
        let parameters = match spec.dtype {
            Dtype::Int8 => Parameters::Quantised(arrays),
            Dtype::F32 | Dtype::Bf16 | Dtype::F16 => Parameters::Frozen(arrays),
        };
        let decoder = Decoder::new(&declared.shape, parameters, spec.context as usize);
        Ok(Self::new(declared, spec, decoder.map_err(engine_error)?))
    }
}

impl LocalModel<gpu::Answering> {
    /// On a device of candle's, by its kernels.
    fn open_on(spec: &ModelSpec, version: Option<&[u8]>, place: &gpu::Place) -> Result<Self, ModelError> {
        let declared = source::declared(spec)?;
        let frozen = versioned(&declared, spec, version)?;
        let weights = gpu::Weights { frozen, learning: &BTreeMap::new(), scale: 1.0 };
        let model = gpu::Model::new(&declared.shape, weights, spec.context as usize, place);
        let engine = model.and_then(gpu::Answering::new).map_err(engine_error)?;
        Ok(Self::new(declared, spec, engine))
    }
}

impl<E: Engine> LocalModel<E> {
    fn new(declared: Declared, spec: &ModelSpec, engine: E) -> Self {
        let (tokenizer, chat) = (Arc::new(declared.tokenizer), declared.chat);
        let constraints = Constraints::new(tokenizer.clone(), chat.ends().clone());
        let generator = Generator::new(engine, spec.context as usize, chat.ends().clone(), constraints);
        Self { tokenizer, chat, generator }
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

impl<E: Engine> LanguageModel for LocalModel<E> {
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
