//! Turns token ids into hidden states and logits: the decoder of Llama (Touvron et al. 2023) and those made like it.
//!
//! One forward pass over packed rows serves training (whole sequences, side by side) and generation (each sequence's next
//! rows, the earlier ones in its cache).
//!
//! # Shapes
//! Packed rows `[rows, width]`; hidden rows `[rows, width]`, before the last norm; logits `[rows, vocab]`.
//!
//! # Invariants
//! A row's result depends on its own sequence alone. Nothing here draws a random number or knows an optimiser.

use super::config::{Biases, Shape};
use super::engine::Engine;
use super::kernels::{self, Buffer};
use super::ops::{self, Adapter, Dropout, FrozenWeight, Goal, Head, Heads, KvCache, Layer, Linear, Norm, Param, Pass};
use super::ops::{RopeTables, Segments, Slot, Table, Weight};
use super::optim::Gradients;
use super::weights::{Array, Arrays};
use candle_core::{Device, Result, Tensor, Var};
use std::collections::BTreeMap;
use std::sync::Arc;

const EMBEDDING: &str = "model.embed_tokens.weight";

pub struct Decoder {
    shape: Shape,
    embedding: Table,
    layers: Vec<Layer>,
    head: Head,
    tables: Arc<RopeTables>,
    /// Where the gradients of the variables collect.
    slots: BTreeMap<String, Slot>,
}

/// Where the weights of a decoder come from. Arrays go as they are packed, so that no model is held twice.
pub enum Parameters<'a> {
    /// Nothing learns.
    Frozen(Arrays),
    /// Nothing learns, and matrices are rounded to eight bits a weight.
    Quantised(Arrays),
    /// Every weight is a variable.
    Full(&'a BTreeMap<String, Var>),
    /// Frozen weights; the adapters' variables by PEFT's names without the leading `base_model.model.`.
    Lora { base: Arrays, adapters: &'a BTreeMap<String, Var>, scale: f64 },
}

pub fn tensor(array: &Array) -> Result<Tensor> {
    Tensor::from_slice(&array.floats(), array.shape.as_slice(), &Device::Cpu)
}

/// The name of a module's first adapter matrix, `[rank, in]`.
pub fn lora_a(module: &str) -> String {
    format!("{module}.lora_A.weight")
}

/// The name of a module's second adapter matrix, `[out, rank]`.
pub fn lora_b(module: &str) -> String {
    format!("{module}.lora_B.weight")
}

/// Puts a decoder together.
struct Builder<'a> {
    parameters: Parameters<'a>,
    slots: BTreeMap<String, Slot>,
    /// Adapters and other linear maps so far.
    site: usize,
}

impl Builder<'_> {
    fn learning(&mut self, name: &str, variable: &Var) -> Result<Param> {
        let slot = self.slots.entry(name.to_owned()).or_default();
        Param::new(variable.as_tensor(), Some(slot.clone()))
    }

    fn plain(&mut self, name: &str) -> Result<Param> {
        match &self.parameters {
            Parameters::Frozen(arrays) | Parameters::Quantised(arrays) | Parameters::Lora { base: arrays, .. } => {
                Param::new(&tensor(&arrays[name])?, None)
            }
            Parameters::Full(variables) => self.learning(name, &variables[name]),
        }
    }

    fn weight(&mut self, name: &str) -> Result<Weight> {
        match &self.parameters {
            Parameters::Full(_) => Ok(Weight::Trained(self.plain(name)?)),
            Parameters::Quantised(arrays) => Ok(Weight::Quantised(ops::quantised(&tensor(&arrays[name])?)?)),
            Parameters::Frozen(arrays) | Parameters::Lora { base: arrays, .. } => {
                Ok(Weight::Frozen(FrozenWeight::new(&tensor(&arrays[name])?)?))
            }
        }
    }

    fn linear(&mut self, module: &str, bias: bool) -> Result<Linear> {
        self.site += 1;
        let bias = bias.then(|| self.plain(&format!("{module}.bias"))).transpose()?;
        let weight = self.weight(&format!("{module}.weight"))?;
        if let (Weight::Frozen(base), Parameters::Lora { adapters, scale, .. }) = (&weight, &self.parameters)
            && let (Some(a), Some(b)) = (adapters.get(&lora_a(module)), adapters.get(&lora_b(module)))
        {
            let scale = *scale as f32;
            let (a, b) = (self.learning(&lora_a(module), a)?, self.learning(&lora_b(module), b)?);
            let adapter = Adapter { a, b, scale, site: self.site };
            return Ok(Linear::new(Weight::Lora(base.clone(), adapter), bias));
        }
        Ok(Linear::new(weight, bias))
    }

    fn norm(&mut self, name: &str, shape: &Shape) -> Result<Norm> {
        Ok(Norm { weight: self.plain(name)?, eps: shape.norm_eps as f32 })
    }

    fn layer(&mut self, index: usize, shape: &Shape) -> Result<Layer> {
        let at = |part: &str| format!("model.layers.{index}.{part}");
        let Biases { qkv, output, mlp } = shape.biases;
        let Shape { heads, kv_heads, head_dim, .. } = *shape;
        let mut head_norm = |part: &str| shape.qk_norm.then(|| self.norm(&at(part), shape)).transpose();
        let (query_norm, key_norm) = (head_norm("self_attn.q_norm.weight")?, head_norm("self_attn.k_norm.weight")?);
        let layer = Layer {
            heads: Heads { heads, kv_heads, head_dim, window: shape.windows[index] },
            query_norm,
            key_norm,
            query: self.linear(&at("self_attn.q_proj"), qkv)?,
            key: self.linear(&at("self_attn.k_proj"), qkv)?,
            value: self.linear(&at("self_attn.v_proj"), qkv)?,
            output: self.linear(&at("self_attn.o_proj"), output)?,
            gate: self.linear(&at("mlp.gate_proj"), mlp)?,
            up: self.linear(&at("mlp.up_proj"), mlp)?,
            down: self.linear(&at("mlp.down_proj"), mlp)?,
            attention_norm: self.norm(&at("input_layernorm.weight"), shape)?,
            mlp_norm: self.norm(&at("post_attention_layernorm.weight"), shape)?,
        };
        if let Parameters::Frozen(arrays) | Parameters::Quantised(arrays) | Parameters::Lora { base: arrays, .. } =
            &mut self.parameters
        {
            arrays.retain(|name, _| !name.starts_with(&at("")));
        }
        Ok(layer)
    }
}

impl Decoder {
    /// The weights must have been held against the shape (`weights::check`).
    ///
    /// `positions` is the longest sequence that will be asked for.
    pub fn new(shape: &Shape, parameters: Parameters, positions: usize) -> Result<Self> {
        let mut builder = Builder { parameters, slots: BTreeMap::new(), site: 0 };
        let layers = (0..shape.layers).map(|index| builder.layer(index, shape)).collect::<Result<_>>()?;
        let output = builder.weight(if shape.tied { EMBEDDING } else { "lm_head.weight" })?;
        let embedding = match (&builder.parameters, &output) {
            (Parameters::Quantised(_), Weight::Quantised(output)) if shape.tied => Table::Quantised(output.clone()),
            (Parameters::Quantised(arrays), _) => Table::Quantised(ops::quantised(&tensor(&arrays[EMBEDDING])?)?),
            (_, Weight::Frozen(output)) if shape.tied => Table::Frozen(output.clone()),
            (Parameters::Frozen(arrays) | Parameters::Lora { base: arrays, .. }, _) => {
                Table::Frozen(FrozenWeight::new(&tensor(&arrays[EMBEDDING])?)?)
            }
            (Parameters::Full(_), _) => Table::Plain(builder.plain(EMBEDDING)?),
        };
        let output = Linear::new(output, None);
        Ok(Self {
            shape: shape.clone(),
            embedding,
            layers,
            head: Head { norm: builder.norm("model.norm.weight", shape)?, output },
            tables: shape.rope.tables(shape.head_dim, positions),
            slots: builder.slots,
        })
    }

    /// What the rows of segments have in common; `positions` is each row's place in its sequence.
    pub fn pass(&self, segments: Segments, positions: Vec<u32>, dropout: Option<Dropout>) -> Pass {
        Pass { segments, positions, tables: self.tables.clone(), dropout }
    }

    /// The hidden rows of whole sequences, or with `caches` of sequences that go on from theirs, one a layer.
    ///
    /// # Panics
    /// A token outside the vocabulary, a position past those that were asked for.
    pub fn forward(&self, ids: &[u32], pass: &Pass, mut caches: Option<&mut [&mut Vec<KvCache>]>) -> Buffer {
        let mut x = ops::embed(&self.embedding, ids);
        for (index, layer) in self.layers.iter().enumerate() {
            let at_layer = caches.as_mut().map(|caches| caches.iter_mut().map(|caches| &mut caches[index]));
            let mut at_layer: Option<Vec<&mut KvCache>> = at_layer.map(Iterator::collect);
            (x, _) = layer.forward(&x, pass, at_layer.as_deref_mut());
        }
        x
    }

    /// The logits of the chosen ones of hidden rows.
    pub fn logits(&self, hidden: &[f32], rows: &[usize]) -> Buffer {
        self.head.logits(&ops::gather(hidden, self.shape.width, rows.iter().copied()))
    }

    /// The loss of whole sequences; its gradients are added to those that are collected already. With `recompute`, of a layer only
    /// what goes in is kept until its gradient is due, and the rest computed again (Chen et al. 2016).
    ///
    /// # Errors
    /// A target outside the vocabulary.
    pub fn learn(&self, ids: &[u32], pass: &Pass, goal: &Goal, recompute: bool) -> Result<f64> {
        let mut x = ops::embed(&self.embedding, ids);
        let mut trail = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let (next, saved) = layer.forward(&x, pass, None);
            trail.push((std::mem::replace(&mut x, next), (!recompute).then_some(saved)));
        }
        let (loss, mut grad) = self.head.learn(&x, goal)?;
        for layer in self.layers.iter().rev() {
            let (x, saved) = trail.pop().expect("one a layer");
            let saved = saved.unwrap_or_else(|| layer.forward(&x, pass, None).1);
            grad = layer.backward(&x, saved, &grad, pass);
        }
        ops::embed_back(&self.embedding, ids, &grad);
        Ok(loss)
    }

    /// What was collected for the variables, which begins anew.
    ///
    /// # Errors
    /// Names the first variable that has no gradient.
    pub fn gradients(&self, variables: &BTreeMap<String, Var>) -> Result<Gradients> {
        Gradients::of(variables, |name| self.slots.get(name)?.take())
    }
}

impl Engine for Decoder {
    /// One a layer.
    type Cache = Vec<KvCache>;

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn cache(&self) -> Vec<KvCache> {
        self.layers.iter().map(|layer| KvCache::new(layer.heads)).collect()
    }

    fn truncate(cache: &mut Vec<KvCache>, len: usize) {
        cache.iter_mut().for_each(|cache| cache.truncate(len));
    }

    fn row_bytes(&self) -> usize {
        2 * self.shape.layers * self.shape.kv_width() * size_of::<f32>()
    }

    fn advance(
        &self,
        ids: &[u32],
        segments: Segments,
        positions: Vec<u32>,
        caches: &mut [&mut Vec<KvCache>],
        chosen: &[usize],
    ) -> Result<Buffer> {
        let pass = self.pass(segments, positions, None);
        Ok(kernels::awake(|| self.logits(&self.forward(ids, &pass, Some(caches)), chosen)))
    }
}
