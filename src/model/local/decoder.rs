//! Turns token ids into hidden states and logits: the decoder of Llama (Touvron et al. 2023) and those made like it.
//!
//! One forward pass over packed rows serves training (whole sequences, side by side) and generation (each sequence's next
//! rows, the earlier ones in its cache).
//!
//! # Shapes
//! Packed rows `[rows, width]`; hidden states `[rows, width]`; logits `[rows, vocab]`.
//!
//! # Invariants
//! A row's result depends on its own sequence alone. Nothing here draws a random number or knows an optimiser.

use super::config::{Biases, Shape};
use super::ops::{self, FrozenWeight, Heads, KvCache, RopeTables, Segments, Weight};
use super::weights::{Array, Arrays};
use candle_core::{Device, Result, Tensor, Var};
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct Decoder {
    shape: Shape,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Weight,
    tables: Arc<RopeTables>,
}

struct Layer {
    heads: Heads,
    attention_norm: Tensor,
    /// Of each head's queries and keys.
    query_norm: Option<Tensor>,
    key_norm: Option<Tensor>,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    mlp_norm: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// A linear map of a layer. `dropout` masks what goes into its adapter.
struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
    adapter: Option<DroppedAdapter>,
}

/// An adapter whose input is thinned by a mask, so it cannot be fused with its base.
struct DroppedAdapter {
    a: Tensor,
    b: Tensor,
    scale: f64,
    site: usize,
}

/// The mask of one adapter's input, `[rows, in]`, by the adapter's number; entries are 0 or `1 / (1 − rate)`.
pub type Dropout<'a> = &'a dyn Fn(usize, usize, usize) -> Result<Tensor>;

/// Where the weights of a decoder come from.
pub enum Parameters<'a> {
    /// Nothing learns.
    Frozen(&'a Arrays),
    /// Every weight is a variable.
    Full(&'a BTreeMap<String, Var>),
    /// Frozen weights; the adapters' variables by PEFT's names without the leading `base_model.model.`.
    Lora { base: &'a Arrays, adapters: &'a BTreeMap<String, Var>, scale: f64, dropout: bool },
}

/// What the rows of a forward pass see besides themselves.
pub enum Sight<'a> {
    /// Each segment is a whole sequence.
    Whole(&'a Arc<Segments>),
    /// Each segment continues the sequence whose caches (one a layer) stand at its place.
    Cached(&'a Segments, &'a mut [&'a mut Vec<KvCache>]),
}

pub fn tensor(array: &Array) -> Result<Tensor> {
    Tensor::from_slice(&array.data, array.shape.as_slice(), &Device::Cpu)
}

impl Parameters<'_> {
    fn plain(&self, name: &str) -> Result<Tensor> {
        match self {
            Parameters::Frozen(arrays) | Parameters::Lora { base: arrays, .. } => tensor(&arrays[name]),
            Parameters::Full(variables) => Ok(variables[name].as_tensor().clone()),
        }
    }

    fn weight(&self, name: &str) -> Result<Weight> {
        match self {
            Parameters::Full(_) => Ok(Weight::Trained(self.plain(name)?)),
            _ => Ok(Weight::Frozen(FrozenWeight::new(&self.plain(name)?)?)),
        }
    }

    fn linear(&self, module: &str, bias: bool, site: &mut usize) -> Result<Linear> {
        *site += 1;
        let bias = bias.then(|| self.plain(&format!("{module}.bias"))).transpose()?;
        let name = format!("{module}.weight");
        if let Parameters::Lora { adapters, scale, dropout, .. } = self
            && let (Some(a), Some(b)) = (adapters.get(&lora_a(module)), adapters.get(&lora_b(module)))
        {
            let (a, b) = (a.as_tensor().clone(), b.as_tensor().clone());
            if *dropout {
                let adapter = DroppedAdapter { a, b, scale: *scale, site: *site };
                return Ok(Linear { weight: self.weight(&name)?, bias, adapter: Some(adapter) });
            }
            let base = FrozenWeight::new(&self.plain(&name)?)?;
            return Ok(Linear { weight: Weight::Lora { base, a, b, scale: *scale as f32 }, bias, adapter: None });
        }
        Ok(Linear { weight: self.weight(&name)?, bias, adapter: None })
    }
}

/// The name of a module's first adapter matrix, `[rank, in]`.
pub fn lora_a(module: &str) -> String {
    format!("{module}.lora_A.weight")
}

/// The name of a module's second adapter matrix, `[out, rank]`.
pub fn lora_b(module: &str) -> String {
    format!("{module}.lora_B.weight")
}

impl Linear {
    fn forward(&self, x: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
        let mut y = ops::linear(x, &self.weight)?;
        if let Some(bias) = &self.bias {
            y = ops::add_bias(&y, bias)?;
        }
        let Some(DroppedAdapter { a, b, scale, site }) = &self.adapter else { return Ok(y) };
        let thinned = match dropout {
            Some(mask) => x.mul(&mask(*site, x.dim(0)?, x.dim(1)?)?)?,
            None => x.clone(),
        };
        let low = ops::linear(&thinned, &Weight::Trained(a.clone()))?;
        ops::add(&y, &ops::linear(&low, &Weight::Trained(b.clone()))?.affine(*scale, 0.0)?)
    }
}

impl Decoder {
    /// The weights must have been held against the shape (`weights::check`).
    ///
    /// `positions` is the longest sequence that will be asked for.
    pub fn new(shape: &Shape, parameters: &Parameters, positions: usize) -> Result<Self> {
        let mut site = 0;
        let layer = |index: usize| -> Result<Layer> {
            let at = |part: &str| format!("model.layers.{index}.{part}");
            let mut linear = |part: &str, bias: bool| parameters.linear(&at(part), bias, &mut site);
            let Biases { qkv, output, mlp } = shape.biases;
            let head_norm = |part: &str| shape.qk_norm.then(|| parameters.plain(&at(part))).transpose();
            let Shape { heads, kv_heads, head_dim, .. } = *shape;
            Ok(Layer {
                heads: Heads { heads, kv_heads, head_dim, window: shape.windows[index] },
                query_norm: head_norm("self_attn.q_norm.weight")?,
                key_norm: head_norm("self_attn.k_norm.weight")?,
                query: linear("self_attn.q_proj", qkv)?,
                key: linear("self_attn.k_proj", qkv)?,
                value: linear("self_attn.v_proj", qkv)?,
                output: linear("self_attn.o_proj", output)?,
                gate: linear("mlp.gate_proj", mlp)?,
                up: linear("mlp.up_proj", mlp)?,
                down: linear("mlp.down_proj", mlp)?,
                attention_norm: parameters.plain(&at("input_layernorm.weight"))?,
                mlp_norm: parameters.plain(&at("post_attention_layernorm.weight"))?,
            })
        };
        let layers = (0..shape.layers).map(layer).collect::<Result<_>>()?;
        let head = if shape.tied { "model.embed_tokens.weight" } else { "lm_head.weight" };
        Ok(Self {
            shape: shape.clone(),
            embedding: parameters.plain("model.embed_tokens.weight")?,
            layers,
            norm: parameters.plain("model.norm.weight")?,
            head: parameters.weight(head)?,
            tables: shape.rope.tables(shape.head_dim, positions),
        })
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub fn head(&self) -> &Weight {
        &self.head
    }

    /// Empty caches for one sequence.
    pub fn caches(&self) -> Vec<KvCache> {
        self.layers.iter().map(|layer| KvCache::new(layer.heads)).collect()
    }

    /// The hidden states after the last norm. `positions` is each row's place in its sequence.
    pub fn hidden(
        &self,
        ids: &[u32],
        positions: &Arc<[u32]>,
        mut sight: Sight,
        dropout: Option<Dropout>,
    ) -> Result<Tensor> {
        let eps = self.shape.norm_eps as f32;
        let mut x = ops::embed(&self.embedding, ids)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let normed = ops::rms_norm(&x, &layer.attention_norm, eps)?;
            let turned = |linear: &Linear, norm: &Option<Tensor>| {
                let rows = linear.forward(&normed, dropout)?;
                let rows = match norm {
                    Some(norm) => self.by_head(&rows, |heads| ops::rms_norm(heads, norm, eps))?,
                    None => rows,
                };
                ops::rope(&rows, positions, &self.tables)
            };
            let query = turned(&layer.query, &layer.query_norm)?;
            let key = turned(&layer.key, &layer.key_norm)?;
            let value = layer.value.forward(&normed, dropout)?;
            let seen = match &mut sight {
                Sight::Whole(segments) => ops::attention(&query, &key, &value, segments, layer.heads)?,
                Sight::Cached(segments, caches) => {
                    let mut at_layer: Vec<&mut KvCache> = caches.iter_mut().map(|caches| &mut caches[index]).collect();
                    ops::cached_attention(&query, &key, &value, segments, &mut at_layer, layer.heads)?
                }
            };
            x = ops::add(&x, &layer.output.forward(&seen, dropout)?)?;
            let normed = ops::rms_norm(&x, &layer.mlp_norm, eps)?;
            let gate = layer.gate.forward(&normed, dropout)?;
            let up = layer.up.forward(&normed, dropout)?;
            x = ops::add(&x, &layer.down.forward(&ops::swiglu(&gate, &up)?, dropout)?)?;
        }
        ops::rms_norm(&x, &self.norm, eps)
    }

    /// Maps rows `[n · heads, head_dim]` in the place of `[n, heads · head_dim]`.
    fn by_head(&self, rows: &Tensor, map: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let (count, width) = rows.dims2()?;
        let head_dim = self.shape.head_dim;
        map(&rows.reshape((count * width / head_dim, head_dim))?)?.reshape((count, width))
    }

    /// The logits of the chosen rows of hidden states (inference only).
    pub fn logits(&self, hidden: &Tensor, rows: &[usize]) -> Result<Tensor> {
        ops::linear(&ops::select_rows(hidden, rows)?, &self.head)
    }
}
