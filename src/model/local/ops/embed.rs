//! Turns ids into rows of a table.
//!
//! # Invariants
//! The gradient of a table adds rows one after another, in the order of the ids.

use super::kernels::{Buffer, Quantised, isa, rows};
use super::{FrozenWeight, Param};
use std::sync::Arc;

/// Rows `[vocab, width]`.
pub enum Table {
    /// One that may learn.
    Plain(Param),
    /// Looked up where they are packed, like the next: in as few bits as hold them, and where the output layer is the same weight,
    /// once.
    Frozen(Arc<FrozenWeight>),
    Quantised(Arc<Quantised>),
}

/// Rows of `width` values by their numbers.
pub fn gather(table: &[f32], width: usize, ids: impl ExactSizeIterator<Item = usize>) -> Buffer {
    let mut out = Buffer::stale(ids.len() * width);
    ids.zip(out.chunks_mut(width)).for_each(|(id, row)| row.copy_from_slice(&table[id * width..][..width]));
    out
}

/// Rows of a table by id.
pub fn embed(table: &Table, ids: &[u32]) -> Buffer {
    let ids = ids.iter().map(|id| *id as usize);
    match table {
        Table::Plain(table) => gather(&table.value(), table.dims()[1], ids),
        Table::Frozen(table) => columns(table.dims().1, ids, |id, row| table.forward().column(id, row)),
        Table::Quantised(table) => columns(table.dims().0, ids, |id, row| table.column(id, row)),
    }
}

fn columns(width: usize, ids: impl ExactSizeIterator<Item = usize>, look_up: impl Fn(usize, &mut [f32])) -> Buffer {
    let mut out = Buffer::stale(ids.len() * width);
    ids.zip(out.chunks_mut(width)).for_each(|(id, row)| look_up(id, row));
    out
}

pub fn embed_back(table: &Table, ids: &[u32], grad: &[f32]) {
    let Table::Plain(table) = table else { return };
    let width = table.dims()[1];
    table.learn(|sum| {
        for (id, grad) in ids.iter().zip(grad.chunks(width)) {
            rows::add(isa(), grad, &mut sum[*id as usize * width..][..width]);
        }
    });
}
