//! Turns kernels into the parts of a decoder, forward and backward side by side.
//!
//! Activations are packed rows: `[rows, width]`, contiguous f32 on the CPU, sequences one after another along the first
//! axis. [`Segments`] says where each begins; nothing is ever padded. Who goes backward is written out, in [`layer`] and the
//! decoder: candle's walk clears, adds and copies a tensor for every operand, which is as much work as what small
//! operations do.
//!
//! # Invariants
//! No result depends on thread count, batch company or instruction set. No padding, no hidden cut of a gradient: what a
//! weight has to learn collects in its [`Slot`].

mod elementwise;
mod embed;
mod head;
mod layer;
mod linear;
mod norm;
mod param;
mod rope;

#[cfg(test)]
mod tests;

pub use super::kernels::attention::{Heads, KvCache};
pub use elementwise::{add_onto, swiglu, swiglu_back};
pub use embed::{Table, embed, embed_back, gather};
pub use head::{Goal, Head};
pub use layer::{Layer, Pass};
pub use linear::{Adapter, Dropout, FrozenWeight, Linear, Weight, quantised};
pub use norm::Norm;
pub use param::{Param, Slot};
pub use rope::RopeTables;

use super::kernels::{self, Buffer, filled, isa, rows};
use candle_core::{CpuStorage, Result, Storage, Tensor, bail};
use std::ops::{Deref, Range};

/// Where sequences begin in packed rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    ranges: Vec<Range<usize>>,
}

impl Segments {
    pub fn from_lengths(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut start = 0;
        let ranges = lengths
            .into_iter()
            .map(|length| {
                start += length;
                start - length..start
            })
            .collect();
        Self { ranges }
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn rows(&self) -> usize {
        self.ranges.last().map_or(0, |last| last.end)
    }

    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    pub fn range(&self, segment: usize) -> Range<usize> {
        self.ranges[segment].clone()
    }

    /// The row's place in its own sequence, for every row.
    pub fn positions(&self) -> Vec<u32> {
        self.ranges.iter().flat_map(|range| 0..range.len() as u32).collect()
    }
}

/// The numbers of a tensor, for as long as the value lives.
struct Floats<G> {
    guard: G,
    range: Range<usize>,
}

impl<G: Deref<Target = Storage>> Deref for Floats<G> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        match &*self.guard {
            Storage::Cpu(CpuStorage::F32(data)) => &data[self.range.clone()],
            _ => unreachable!("checked by `floats`"),
        }
    }
}

fn floats(tensor: &Tensor) -> Result<impl Deref<Target = [f32]> + '_> {
    let (guard, layout) = tensor.storage_and_layout();
    match (&*guard, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(_)), Some((start, end))) => Ok(Floats { guard, range: start..end }),
        _ => bail!("weights must be contiguous f32 on the CPU"),
    }
}

/// Rows a task works on when work goes row by row; fixed, because gradients over rows are added chunk by chunk.
const CHUNK: usize = 32;

/// New rows of `width` values in N vectors, filled chunk by chunk: `fill(first row, chunk of every vector)`.
fn by_rows<const N: usize>(
    rows: usize,
    width: usize,
    fill: impl Fn(usize, [&mut [f32]; N]) + Send + Sync,
) -> [Buffer; N] {
    // An elementwise pass costs about as much an element as a chain of eight does.
    filled([(rows * width, CHUNK * width); N], rows * width * 8, |task, chunks| fill(task * CHUNK, chunks))
}

/// Adds each column of rows to `sum`: row by row inside chunks, then chunk by chunk.
fn summed(x: &[f32], width: usize, sum: &mut [f32]) {
    let chunks = x.len().div_ceil(CHUNK * width);
    let [partial] = filled([(chunks * width, width)], x.len() * 8, |task, [part]| {
        let chunk = &x[task * CHUNK * width..x.len().min((task + 1) * CHUNK * width)];
        part.fill(0.0);
        chunk.chunks(width).for_each(|row| rows::add(isa(), row, part));
    });
    partial.chunks(width).for_each(|part| rows::add(isa(), part, sum));
}
