//! Turns rows into rows element by element: gated activation, residual sums.

use super::kernels::{Buffer, filled, isa, rows};
use rayon::prelude::*;

/// Numbers a task works on.
const PART: usize = 16_384;

/// `silu(gate) · up` (Shazeer 2020).
pub fn swiglu(gate: &[f32], up: &[f32]) -> Buffer {
    let [out] = filled([(gate.len(), PART)], gate.len() * 8, |task, [out]| {
        let part = task * PART..task * PART + out.len();
        rows::swiglu(isa(), &gate[part.clone()], &up[part], out);
    });
    out
}

/// The gradients to `gate` and `up`.
pub fn swiglu_back(gate: &[f32], up: &[f32], grad: &[f32]) -> [Buffer; 2] {
    filled([(gate.len(), PART); 2], gate.len() * 8, |task, [dgate, dup]| {
        let part = task * PART..task * PART + dgate.len();
        rows::swiglu_back(isa(), &gate[part.clone()], &up[part.clone()], &grad[part], dgate, dup);
    })
}

/// `out += x`.
pub fn add_onto(out: &mut [f32], x: &[f32]) {
    assert_eq!(out.len(), x.len(), "sums of different sizes");
    out.par_chunks_mut(PART).zip(x.par_chunks(PART)).for_each(|(out, x)| rows::add(isa(), x, out));
}
