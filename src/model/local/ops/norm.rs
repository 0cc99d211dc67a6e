//! Turns rows into rows of one size (RMSNorm, Zhang & Sennrich 2019).
//!
//! # Invariants
//! The gradient of the weight is added row by row inside chunks of fixed size, then chunk by chunk.

use super::kernels::{Buffer, filled, isa, rows};
use super::{CHUNK, Param, by_rows};

/// `x · weight / sqrt(mean(x²) + eps)` a row; `weight` `[width]`.
pub struct Norm {
    pub weight: Param,
    pub eps: f32,
}

impl Norm {
    pub fn forward(&self, x: &[f32]) -> Buffer {
        let weight = self.weight.value();
        let (weight, width) = (&*weight, weight.len());
        let [out] = by_rows(x.len() / width, width, |first, [chunk]| {
            for (out, x) in chunk.chunks_mut(width).zip(x[first * width..].chunks(width)) {
                rows::rms_norm(isa(), x, weight, self.eps, out);
            }
        });
        out
    }

    /// The gradient to `x` from that to the result; `beside`, what comes to `x` on another way, is added.
    pub fn backward(&self, x: &[f32], grad: &[f32], beside: Option<&[f32]>) -> Buffer {
        let weight = self.weight.value();
        let (weight, width) = (&*weight, weight.len());
        let chunks = x.len().div_ceil(CHUNK * width);
        let parts = [(x.len(), CHUNK * width), (chunks * width, width)];
        let [dx, partial] = filled(parts, x.len() * 8, |task, [dx, partial]| {
            partial.fill(0.0);
            let range = task * CHUNK * width..task * CHUNK * width + dx.len();
            let pairs = x[range.clone()].chunks(width).zip(grad[range.clone()].chunks(width));
            for (dx, (x, grad)) in dx.chunks_mut(width).zip(pairs) {
                rows::rms_norm_back(isa(), x, weight, grad, self.eps, dx, partial);
            }
            if let Some(beside) = beside {
                rows::add(isa(), &beside[range], dx);
            }
        });
        self.weight.learn(|sum| partial.chunks(width).for_each(|part| rows::add(isa(), part, sum)));
        dx
    }
}
