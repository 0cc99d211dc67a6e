//! Turns ids into rows of a table.
//!
//! # Invariants
//! The gradient of a table adds rows one after another, in the order of the ids.

use super::Param;
use super::kernels::{Buffer, isa, rows, zeros};

/// Rows of `width` values by their numbers.
pub fn gather(table: &[f32], width: usize, ids: impl ExactSizeIterator<Item = usize>) -> Buffer {
    let mut out = zeros(ids.len() * width);
    ids.zip(out.chunks_mut(width)).for_each(|(id, row)| row.copy_from_slice(&table[id * width..][..width]));
    out
}

/// Rows of `table` `[vocab, width]` by id.
pub fn embed(table: &Param, ids: &[u32]) -> Buffer {
    gather(&table.value(), table.dims()[1], ids.iter().map(|id| *id as usize))
}

pub fn embed_back(table: &Param, ids: &[u32], grad: &[f32]) {
    let width = table.dims()[1];
    table.learn(|sum| {
        for (id, grad) in ids.iter().zip(grad.chunks(width)) {
            rows::add(isa(), grad, &mut sum[*id as usize * width..][..width]);
        }
    });
}
