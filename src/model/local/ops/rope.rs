//! Turns queries and keys into rotated ones (RoPE, Su et al. 2021).
//!
//! # Invariants
//! Tables are computed in f64 by our own functions and rounded once. Rotation is by a row's position alone.

use super::kernels::{math, rows};
use super::{by_rows, floats, isa, slice, tensor};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

/// Cosines and sines of every position and frequency.
pub struct RopeTables {
    /// `[positions, head_dim / 2]`, like `sin`.
    cos: Vec<f32>,
    sin: Vec<f32>,
    pairs: usize,
}

impl RopeTables {
    /// `theta^(−2i / head_dim)` for every pair i.
    pub fn frequencies(head_dim: usize, theta: f64) -> Vec<f64> {
        let log = math::ln64(theta);
        (0..head_dim / 2).map(|i| math::exp64(-log * (2 * i) as f64 / head_dim as f64)).collect()
    }

    /// One frequency for each of the `head_dim / 2` pairs; what is rotated grows by `stretch` as well.
    pub fn new(frequencies: &[f64], positions: usize, stretch: f64) -> Arc<Self> {
        let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f64 * f));
        let (cos, sin) = angles
            .map(|angle| {
                let (cos, sin) = math::cos_sin(angle);
                ((stretch * cos) as f32, (stretch * sin) as f32)
            })
            .unzip();
        Arc::new(Self { cos, sin, pairs: frequencies.len() })
    }

    pub fn positions(&self) -> usize {
        self.cos.len() / self.pairs.max(1)
    }
}

/// Rotates every head of every row to the row's position: halves rotate against each other, as in Hugging Face's Llama.
/// `[n, heads · head_dim]`, `positions` one a row.
pub fn rope(x: &Tensor, positions: &Arc<[u32]>, tables: &Arc<RopeTables>) -> Result<Tensor> {
    let (count, width) = x.dims2()?;
    if positions.len() != count || tables.pairs == 0 || !width.is_multiple_of(2 * tables.pairs) {
        bail!("rope: rows {:?}, {} positions, heads of {}", x.dims(), positions.len(), 2 * tables.pairs);
    }
    if let Some(far) = positions.iter().find(|&&p| p as usize >= tables.positions()) {
        bail!("rope: position {far} is past the table's {}", tables.positions());
    }
    x.contiguous()?.apply_op1(Rope { positions: positions.clone(), tables: tables.clone() })
}

struct Rope {
    positions: Arc<[u32]>,
    tables: Arc<RopeTables>,
}

impl Rope {
    fn turned(&self, x: &[f32], width: usize, turn: f32) -> Vec<f32> {
        let pairs = self.tables.pairs;
        let [out] = by_rows(self.positions.len(), width, |first, [chunk]| {
            for (i, row) in chunk.chunks_mut(width).enumerate() {
                let at = self.positions[first + i] as usize * pairs;
                let (cos, sin) = (&self.tables.cos[at..at + pairs], &self.tables.sin[at..at + pairs]);
                let x = &x[(first + i) * width..][..width];
                for (out, x) in row.chunks_mut(2 * pairs).zip(x.chunks(2 * pairs)) {
                    rows::rotate(isa(), x, cos, sin, turn, out);
                }
            }
        });
        out
    }
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = layout.shape().dims2()?.1;
        Ok((CpuStorage::F32(self.turned(slice(x, layout)?, width, 1.0)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let dx = self.turned(&floats(&grad)?, x.dims2()?.1, -1.0);
        Ok(Some(tensor(dx, x.shape().clone())?))
    }
}
