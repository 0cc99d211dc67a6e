//! Turns queries and keys into rotated ones (RoPE, Su et al. 2021).
//!
//! # Invariants
//! Tables are computed in f64 by our own functions and rounded once. Rotation is by a row's position alone.

use super::kernels::{Buffer, math, rows};
use super::{by_rows, isa};
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

    /// Cosines and sines of some positions, `[positions.len(), head_dim / 2]` each.
    pub fn rows(&self, positions: &[u32]) -> (Vec<f32>, Vec<f32>) {
        let rows = |table: &[f32]| {
            positions.iter().flat_map(|at| table[*at as usize * self.pairs..][..self.pairs].to_vec()).collect()
        };
        (rows(&self.cos), rows(&self.sin))
    }

    /// Rotates every head of every row to the row's position, or with a `turn` of −1 back from there (the gradient): halves
    /// rotate against each other, as in Hugging Face's Llama. `[n, heads · head_dim]`, `positions` one a row.
    pub fn turn(&self, x: &[f32], positions: &[u32], turn: f32) -> Buffer {
        let (pairs, width) = (self.pairs, x.len() / positions.len().max(1));
        assert!(pairs > 0 && width.is_multiple_of(2 * pairs), "rows are not whole heads");
        let [out] = by_rows(positions.len(), width, |first, [chunk]| {
            for (i, row) in chunk.chunks_mut(width).enumerate() {
                let at = positions[first + i] as usize * pairs;
                let (cos, sin) = (&self.cos[at..at + pairs], &self.sin[at..at + pairs]);
                let x = &x[(first + i) * width..][..width];
                for (out, x) in row.chunks_mut(2 * pairs).zip(x.chunks(2 * pairs)) {
                    rows::rotate(isa(), x, cos, sin, turn, out);
                }
            }
        });
        out
    }
}
