//! Turns kernels into candle operations with gradients.
//!
//! Activations are packed rows: `[rows, width]`, contiguous f32 on the CPU, sequences one after another along the first
//! axis. [`Segments`] says where each begins; nothing is ever padded.
//!
//! # Invariants
//! No result depends on thread count, batch company or instruction set. No padding, no hidden cut of a gradient: an
//! operation either gives every gradient asked of it or is named inference-only.

use super::kernels;
use candle_core::{Result, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// Where sequences begin in packed rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Ascending, first 0; the last is the number of rows.
    bounds: Vec<usize>,
}

impl Segments {
    pub fn from_lengths(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut bounds = vec![0];
        for length in lengths {
            bounds.push(bounds[bounds.len() - 1] + length);
        }
        Self { bounds }
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn rows(&self) -> usize {
        self.bounds[self.bounds.len() - 1]
    }

    pub fn range(&self, segment: usize) -> Range<usize> {
        self.bounds[segment]..self.bounds[segment + 1]
    }

    /// The row's place in its own sequence, for every row.
    pub fn positions(&self) -> Vec<u32> {
        (0..self.len()).flat_map(|s| 0..self.range(s).len() as u32).collect()
    }
}

/// A weight `[out, in]` that never changes, packed once.
pub struct FrozenWeight {}

impl FrozenWeight {
    pub fn new(_weight: &Tensor) -> Result<Arc<Self>> {
        todo!()
    }
    pub fn out_width(&self) -> usize {
        todo!()
    }
    pub fn in_width(&self) -> usize {
        todo!()
    }
}

/// What a linear map multiplies with. Shapes are `[out, in]`.
#[derive(Clone)]
pub enum Weight {
    /// No gradient for the weight; packed once.
    Frozen(Arc<FrozenWeight>),
    /// A variable's tensor, packed at every call.
    Trained(Tensor),
    /// `y = x Wᵀ + scale · (x Aᵀ) Bᵀ` with `a` `[rank, in]` and `b` `[out, rank]`; gradients for `a` and `b` alone.
    Lora { base: Arc<FrozenWeight>, a: Tensor, b: Tensor, scale: f32 },
}

/// `x Wᵀ`: `[n, in] → [n, out]`.
pub fn linear(_x: &Tensor, _weight: &Weight) -> Result<Tensor> {
    todo!()
}

/// `x · weight / sqrt(mean(x²) + eps)` a row; `weight` `[width]`.
pub fn rms_norm(_x: &Tensor, _weight: &Tensor, _eps: f32) -> Result<Tensor> {
    todo!()
}

/// `silu(gate) · up`, element by element.
pub fn swiglu(_gate: &Tensor, _up: &Tensor) -> Result<Tensor> {
    todo!()
}

/// Cosines and sines of every position and frequency.
pub struct RopeTables {}

impl RopeTables {
    /// Standard frequencies `theta^(-2i / head_dim)`.
    pub fn new(_head_dim: usize, _positions: usize, _theta: f64) -> Arc<Self> {
        todo!()
    }
    /// Frequencies as given (for scaled variants), one for each of the `head_dim / 2` pairs.
    pub fn from_frequencies(_frequencies: &[f64], _positions: usize) -> Arc<Self> {
        todo!()
    }
}

/// Rotates every head of every row to the row's position: halves rotate against each other, as in Hugging Face's Llama.
/// `[n, heads · head_dim]`, `positions` one a row.
pub fn rope(_x: &Tensor, _positions: &Arc<[u32]>, _tables: &Arc<RopeTables>) -> Result<Tensor> {
    todo!()
}

/// Rows of `table` `[vocab, width]` by id. The backward pass adds row after row, in order.
pub fn embed(_table: &Tensor, _ids: &[u32]) -> Result<Tensor> {
    todo!()
}

/// Head counts of grouped-query attention; `heads` is a multiple of `kv_heads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

/// Causal attention inside each segment: `q` `[n, heads · head_dim]`, `k` and `v` `[n, kv_heads · head_dim]`. Scores are
/// scaled by `1/sqrt(head_dim)`; the backward pass computes probabilities again instead of keeping them.
pub fn attention(_q: &Tensor, _k: &Tensor, _v: &Tensor, _segments: &Arc<Segments>, _heads: Heads) -> Result<Tensor> {
    todo!()
}

/// Keys and values of one sequence in one layer, in the order the kernels read them. Clone it to share a prefix.
#[derive(Clone)]
pub struct KvCache {}

impl KvCache {
    pub fn new(_heads: Heads) -> Self {
        todo!()
    }
    /// Rows held.
    pub fn len(&self) -> usize {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// Forgets all rows from `len` on.
    pub fn truncate(&mut self, _len: usize) {
        todo!()
    }
}

/// Inference only (no gradient). The rows of segment `s` continue the sequence that `caches[s]` holds: their keys and
/// values are appended to it, then each query row sees everything up to itself. One row a segment is a decoding step,
/// many are a prefill chunk; both give the bits that [`attention`] gives over the whole sequence.
pub fn cached_attention(
    _q: &Tensor,
    _k: &Tensor,
    _v: &Tensor,
    _segments: &Segments,
    _caches: &mut [&mut KvCache],
    _heads: Heads,
) -> Result<Tensor> {
    todo!()
}

/// `Σ wᵢ · nllᵢ / Σ wᵢ`, a scalar, where `nllᵢ = −log softmax(hiddenᵢ Wᵀ)[targetᵢ]`. Logits never exist whole; rows of
/// weight 0 cost nothing. Gradients go to `hidden` and, when it is trained, to the weight (LoRA is refused here).
pub fn cross_entropy(_hidden: &Tensor, _weight: &Weight, _targets: &[u32], _weights: &[f32]) -> Result<Tensor> {
    todo!()
}

/// Selected rows of `x`, in the order of `rows` (inference only): to ask for the logits of last positions.
pub fn select_rows(_x: &Tensor, _rows: &[usize]) -> Result<Tensor> {
    todo!()
}
