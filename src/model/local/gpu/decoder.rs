//! Turns token ids into logits on candle's tensors: the decoder of [`super::super::decoder`], operation by operation.
//!
//! Weights that learn are kept in f32 and rounded to the type that is computed in as they are used, so that gradients come to
//! what is exact (Micikevicius et al. 2018). Norms, softmax and losses are computed in f32.
//!
//! # Shapes
//! Packed rows `[rows, width]`, as everywhere; weights `[out, in]`.

use super::Place;
use super::attention::Sight;
use super::pool::{Cache, Pool, Tables};
use crate::model::local::config::{Biases, Shape};
use crate::model::local::decoder::{lora_a, lora_b};
use crate::model::local::engine::Engine;
use crate::model::local::kernels::Buffer;
use crate::model::local::ops::{Dropout, Heads, RopeTables, Segments};
use crate::model::local::weights::{Array, Arrays};
use candle_core::{D, DType, Device, Result, Tensor, Var, bail};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the weights of a decoder come from.
pub struct Weights<'a> {
    /// Those that never change. They go as they are moved to the device.
    pub frozen: Arrays,
    /// Those that learn: all of them, or adapters by PEFT's names.
    pub learning: &'a BTreeMap<String, Var>,
    /// By how much adapters count.
    pub scale: f64,
}

pub struct Model {
    shape: Shape,
    place: Place,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    output: Tensor,
    tables: Arc<RopeTables>,
}

struct Layer {
    heads: Heads,
    attention_norm: Tensor,
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

struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    adapter: Option<Adapter>,
}

struct Adapter {
    a: Tensor,
    b: Tensor,
    scale: f64,
    site: usize,
}

/// What the rows of a pass have in common.
pub struct Pass {
    sight: Sight,
    /// `[rows, 1, head_dim / 2]`, like `sin`.
    cos: Tensor,
    sin: Tensor,
    dropout: Option<Dropout>,
}

pub fn upload(array: &Array, Place { device, dtype }: &Place) -> Result<Tensor> {
    // Rounded here: half as much goes to the device.
    Tensor::from_slice(&array.floats(), array.shape.as_slice(), &Device::Cpu)?.to_dtype(*dtype)?.to_device(device)
}

struct Builder<'a> {
    weights: Weights<'a>,
    place: &'a Place,
    /// Linear maps so far, as the processor's decoder counts them.
    site: usize,
}

impl Builder<'_> {
    fn weight(&mut self, name: &str) -> Result<Tensor> {
        match (self.weights.learning.get(name), self.weights.frozen.remove(name)) {
            (Some(variable), _) => Ok(variable.as_tensor().clone()),
            (None, Some(array)) => upload(&array, self.place),
            (None, None) => bail!("the weight `{name}` is missing"),
        }
    }

    fn linear(&mut self, module: &str, bias: bool) -> Result<Linear> {
        self.site += 1;
        let learning = |name: String| self.weights.learning.get(&name).map(|variable| variable.as_tensor().clone());
        let (scale, site) = (self.weights.scale, self.site);
        let adapter = learning(lora_a(module)).zip(learning(lora_b(module)));
        let adapter = adapter.map(|(a, b)| Adapter { a, b, scale, site });
        let bias = bias.then(|| self.weight(&format!("{module}.bias"))).transpose()?;
        Ok(Linear { weight: self.weight(&format!("{module}.weight"))?, bias, adapter })
    }

    fn layer(&mut self, index: usize, shape: &Shape) -> Result<Layer> {
        let at = |part: &str| format!("model.layers.{index}.{part}");
        let Biases { qkv, output, mlp } = shape.biases;
        let Shape { heads, kv_heads, head_dim, .. } = *shape;
        let mut head_norm = |part: &str| shape.qk_norm.then(|| self.weight(&at(part))).transpose();
        let (query_norm, key_norm) = (head_norm("self_attn.q_norm.weight")?, head_norm("self_attn.k_norm.weight")?);
        Ok(Layer {
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
            attention_norm: self.weight(&at("input_layernorm.weight"))?,
            mlp_norm: self.weight(&at("post_attention_layernorm.weight"))?,
        })
    }
}

impl Model {
    /// The weights must have been held against the shape (`weights::check`); `positions` is the longest sequence that will be
    /// asked for.
    pub fn new(shape: &Shape, weights: Weights, positions: usize, place: &Place) -> Result<Self> {
        let mut builder = Builder { weights, place, site: 0 };
        let embedding = builder.weight("model.embed_tokens.weight")?;
        let output = if shape.tied { embedding.clone() } else { builder.weight("lm_head.weight")? };
        Ok(Self {
            shape: shape.clone(),
            place: place.clone(),
            embedding,
            layers: (0..shape.layers).map(|index| builder.layer(index, shape)).collect::<Result<_>>()?,
            norm: builder.weight("model.norm.weight")?,
            output,
            tables: shape.rope.tables(shape.head_dim, positions),
        })
    }

    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    pub fn vocab(&self) -> usize {
        self.shape.vocab
    }

    pub fn device(&self) -> &Device {
        &self.place.device
    }

    /// What the rows of segments see: keys by their places in the tables, those of a segment's own rows last.
    pub fn pass(
        &self,
        segments: &Segments,
        keys: &[Vec<u32>],
        positions: &[u32],
        dropout: Option<Dropout>,
    ) -> Result<Pass> {
        let heads: Vec<Heads> = self.layers.iter().map(|layer| layer.heads).collect();
        let (cos, sin) = self.tables.rows(positions);
        let turns = |values: Vec<f32>| {
            let values = Tensor::from_vec(values, (positions.len(), 1, self.shape.head_dim / 2), self.device())?;
            values.to_dtype(self.place.dtype)
        };
        let sight = Sight::new(segments.ranges(), keys, &heads, self.device())?;
        Ok(Pass { sight, cos: turns(cos)?, sin: turns(sin)?, dropout })
    }

    pub fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.embedding.index_select(&Tensor::new(ids, self.device())?, 0)?.to_dtype(self.place.dtype)
    }

    /// The rows after a layer. `keep` is given the keys and values of these rows, `[rows · kv_heads, head_dim]`, and gives the
    /// tables in which they lie.
    pub fn layer(
        &self,
        index: usize,
        x: &Tensor,
        pass: &Pass,
        keep: impl FnOnce(Tables) -> Result<Tables>,
    ) -> Result<Tensor> {
        let layer = &self.layers[index];
        let (eps, heads, dropout) = (self.shape.norm_eps, layer.heads, pass.dropout.as_ref());
        let normed = rms_norm(x, &layer.attention_norm, eps)?;
        let turned = |linear: &Linear, norm: &Option<Tensor>, count: usize| {
            let rows = linear.forward(&normed, dropout)?.reshape(((), count, heads.head_dim))?;
            let rows = norm.as_ref().map_or(Ok(rows.clone()), |norm| rms_norm(&rows, norm, eps))?;
            rotate(&rows, pass)
        };
        let flat = |rows: Tensor| rows.reshape(((), heads.head_dim));
        let query = turned(&layer.query, &layer.query_norm, heads.heads)?.flatten_from(1)?;
        let keys = flat(turned(&layer.key, &layer.key_norm, heads.kv_heads)?)?;
        let values = flat(layer.value.forward(&normed, dropout)?)?;
        let seen = pass.sight.attend(heads, &query, &keep(Tables { keys, values })?)?;
        let middle = (x + layer.output.forward(&seen, dropout)?)?;
        let normed = rms_norm(&middle, &layer.mlp_norm, eps)?;
        let (gate, up) = (layer.gate.forward(&normed, dropout)?, layer.up.forward(&normed, dropout)?);
        middle + layer.down.forward(&(gate.silu()? * up)?, dropout)?
    }

    /// Logits in f32, of the rows after the last layer.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor> {
        let normed = rms_norm(x, &self.norm, self.shape.norm_eps)?;
        normed.matmul(&self.output.to_dtype(self.place.dtype)?.t()?)?.to_dtype(DType::F32)
    }
}

impl Linear {
    fn forward(&self, x: &Tensor, dropout: Option<&Dropout>) -> Result<Tensor> {
        let dtype = x.dtype();
        let mut y = x.matmul(&self.weight.to_dtype(dtype)?.t()?)?;
        if let Some(Adapter { a, b, scale, site }) = &self.adapter {
            let thinned = match dropout {
                None => x.clone(),
                Some(dropout) => {
                    let mask = Tensor::from_slice(&dropout.mask(*site, x.elem_count()), x.dims(), x.device())?;
                    (x * mask.to_dtype(dtype)?)?
                }
            };
            let low = (thinned.matmul(&a.to_dtype(dtype)?.t()?)? * *scale)?;
            y = (y + low.matmul(&b.to_dtype(dtype)?.t()?)?)?;
        }
        match &self.bias {
            None => Ok(y),
            Some(bias) => y.broadcast_add(&bias.to_dtype(dtype)?),
        }
    }
}

/// Over the last axis, in f32. Of candle's own, gradients end in the fused one.
fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = x.to_dtype(DType::F32)?;
    let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    x.broadcast_div(&scale)?.to_dtype(dtype)?.broadcast_mul(&weight.to_dtype(dtype)?)
}

/// `[rows, heads, head_dim]`: halves rotate against each other.
fn rotate(x: &Tensor, Pass { cos, sin, .. }: &Pass) -> Result<Tensor> {
    let half = x.dim(2)? / 2;
    let (first, second) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
    let turned = (first.broadcast_mul(cos)? - second.broadcast_mul(sin)?)?;
    let other = (second.broadcast_mul(cos)? + first.broadcast_mul(sin)?)?;
    Tensor::cat(&[turned, other], 2)
}

/// A model that answers, with what it keeps of sequences.
pub struct Answering {
    model: Model,
    pool: Mutex<Pool>,
}

impl Answering {
    pub fn new(model: Model) -> Result<Self> {
        let Shape { kv_heads, head_dim, .. } = model.shape;
        let pool = Pool::new(model.layers.len(), kv_heads, head_dim, &model.place)?;
        Ok(Self { model, pool: Mutex::new(pool) })
    }
}

impl Engine for Answering {
    type Cache = Cache;

    fn shape(&self) -> &Shape {
        &self.model.shape
    }

    fn cache(&self) -> Cache {
        Cache::default()
    }

    fn truncate(cache: &mut Cache, len: usize) {
        cache.truncate(len);
    }

    fn row_bytes(&self) -> usize {
        2 * self.model.layers.len() * self.model.shape.kv_width() * self.model.place.dtype.size_in_bytes()
    }

    fn room(&self) -> Option<u64> {
        super::room(self.model.device())
    }

    fn advance(
        &self,
        ids: &[u32],
        segments: Segments,
        positions: Vec<u32>,
        caches: &mut [&mut Cache],
        chosen: &[usize],
    ) -> Result<Buffer> {
        let Self { model, pool } = self;
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = Vec::with_capacity(caches.len());
        let mut fresh = Vec::new();
        let Shape { kv_heads, head_dim, .. } = model.shape;
        for (cache, rows) in caches.iter_mut().zip(segments.ranges()) {
            pool.extend(cache, rows.len())?;
            let places = cache.places();
            let heads =
                |place: &u32| (0..kv_heads as u32).map(|head| place * kv_heads as u32 + head).collect::<Vec<_>>();
            fresh.extend(places[places.len() - rows.len()..].iter().flat_map(heads));
            keys.push(places);
        }
        let pass = model.pass(&segments, &keys, &positions, None)?;
        // As wide as what is put there.
        let fresh = Tensor::from_vec(fresh, (segments.rows() * kv_heads, 1), model.device())?;
        let fresh = fresh.broadcast_as((segments.rows() * kv_heads, head_dim))?.contiguous()?;
        let mut x = model.embed(ids)?;
        for index in 0..model.layers() {
            let tables = pool.layer(index);
            x = model.layer(index, &x, &pass, |Tables { keys, values }| {
                tables.keys.scatter_set(&fresh, &keys.contiguous()?, 0)?;
                tables.values.scatter_set(&fresh, &values.contiguous()?, 0)?;
                Ok(tables.clone())
            })?;
        }
        let chosen: Vec<u32> = chosen.iter().map(|row| *row as u32).collect();
        if chosen.is_empty() {
            return Ok(Vec::new().into());
        }
        let x = x.index_select(&Tensor::from_slice(&chosen, chosen.len(), model.device())?, 0)?;
        Ok(model.logits(&x)?.flatten_all()?.to_vec1::<f32>()?.into())
    }
}
