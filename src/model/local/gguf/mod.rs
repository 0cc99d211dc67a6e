//! Turns a GGUF file into what a directory of Hugging Face's says: config, tokenizer, chat template, arrays.
//!
//! llama.cpp computes with the blocks of quantised weights; here they become f32 once, and everything else of the engine is as
//! for any other model. So a reply has the same bits on every machine and in any company, and costs the memory of f32.
//!
//! # Invariants
//! Nothing that is not understood is passed over: neither a key that changes the arithmetic nor a tensor.

mod header;
mod metadata;
mod names;
mod vocabulary;

use super::config::{Config, Family, Shape};
use super::source::Texts;
use super::weights::{self, Array, Arrays, Shapes, file_error, layout};
use crate::model::ModelError;
use header::{Header, Place};
use std::path::Path;

const MOST_FACTORS: usize = 1 << 12;

/// A file whose header was looked at.
pub struct Gguf {
    /// Names the file in messages.
    name: String,
    header: Header,
    pub config: Config,
}

impl Gguf {
    /// With the tokenizer's texts. Reads no weight.
    ///
    /// # Errors
    /// A file that is not whole; an architecture, a key or a tensor that is not supported; one that is missing.
    pub fn open(path: &Path) -> Result<(Self, Texts), ModelError> {
        let (name, header) = (path.display().to_string(), Header::open(path)?);
        let factors = header.tensors.get(metadata::FACTORS);
        // One a pair of a head; more are not even read.
        let factors = factors.filter(|place| place.dims[0] <= MOST_FACTORS && place.dims.len() == 1);
        let factors = factors.map(|place| values(&name, &header, metadata::FACTORS, place)).transpose()?;
        let config = metadata::config(&header, factors.as_deref());
        let mut config = config.map_err(|error| in_its_words(&header, error))?;
        let found: Shapes = header.tensors.iter().map(|(tensor, place)| (tensor.clone(), place.dims.clone())).collect();
        let wanted = layout(&config.shape).into_iter().map(|(tensor, dims)| (names::theirs(&tensor), dims));
        weights::fit(&name, &wanted.collect(), &found, |tensor| factors.is_some() && tensor == metadata::FACTORS)?;
        let texts = vocabulary::texts(&header, &mut config)?;
        Ok((Self { name, header, config }, texts))
    }

    /// An error of what is named as in a `config.json`, with the name that it has here.
    pub fn renamed(&self, error: ModelError) -> ModelError {
        in_its_words(&self.header, error)
    }

    /// # Errors
    /// A value that is not finite.
    pub fn weights(&self) -> Result<Arrays, ModelError> {
        let Shape { heads, kv_heads, .. } = self.config.shape;
        let turns_neighbours = metadata::architecture(&self.header)? == Family::Llama;
        let read = |(tensor, dims): (String, Vec<usize>)| {
            let theirs = names::theirs(&tensor);
            let data = values(&self.name, &self.header, &theirs, &self.header.tensors[&theirs])?;
            let mut array = Array::new(&dims, data);
            if turns_neighbours && tensor.contains(".self_attn.q_proj.") {
                names::by_halves(&mut array, heads);
            }
            if turns_neighbours && tensor.contains(".self_attn.k_proj.") {
                names::by_halves(&mut array, kv_heads);
            }
            Ok((tensor, array))
        };
        layout(&self.config.shape).into_iter().map(read).collect()
    }
}

fn in_its_words(header: &Header, error: ModelError) -> ModelError {
    match error {
        ModelError::Config { path, field, problem } => {
            ModelError::Config { path, field: metadata::key(header, &field), problem }
        }
        other => other,
    }
}

fn values(name: &str, header: &Header, tensor: &str, place: &Place) -> Result<Vec<f32>, ModelError> {
    let values = names::values(place.kind, &header.bytes(place)?);
    values.map_err(|problem| file_error(name, format!("tensor `{tensor}` {problem}")))
}
