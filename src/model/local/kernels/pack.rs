//! Turns matrices into panels of sixteen columns, the order a product reads them in.
//!
//! A product of few rows waits for its right side to come from memory, so a matrix that is kept is stored in sixteen bits a
//! value where each of its values fits: those of a checkpoint in bfloat16 or half precision do.
//!
//! # Invariants
//! Packing moves values and never changes one, however they are stored. What pads a panel is zero and is never stored to a result.

use super::buffer::Buffer;
use super::parallel::filled;
use super::simd::{Isa, LANES, for_every_isa};
use half::{bf16, f16};
use rayon::prelude::*;
use std::ops::Range;

/// Sixteen neighbours, aligned to a cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub struct Lane(pub [f32; LANES]);

impl Lane {
    pub const ZERO: Lane = Lane([0.0; LANES]);

    /// The same memory without the alignment.
    pub fn plain(lanes: &[Lane]) -> &[[f32; LANES]] {
        // SAFETY: a `Lane` is its array and nothing else: 64 bytes, aligned to 64.
        unsafe { std::slice::from_raw_parts(lanes.as_ptr().cast(), lanes.len()) }
    }
}

/// A matrix in somebody's memory: rows or columns lie contiguous, the others a stride apart.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(super) data: &'a [f32],
    rows: usize,
    cols: usize,
    pub(super) stride: usize,
    /// Whether the contiguous axis is the rows' (an ordinary matrix) or the columns' (a transposed one).
    pub(super) by_row: bool,
}

impl<'a> View<'a> {
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    pub fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        let needed = if rows == 0 || cols == 0 { 0 } else { (rows - 1) * stride + cols };
        assert!(needed <= data.len() && (rows <= 1 || cols <= stride), "view outside its data");
        Self { data: &data[..needed], rows, cols, stride, by_row: true }
    }

    pub fn height(&self) -> usize {
        self.rows
    }

    pub fn width(&self) -> usize {
        self.cols
    }

    /// All numbers of a view of whole rows that lie one after another.
    pub fn flat(&self) -> &'a [f32] {
        assert!(self.by_row && self.stride == self.cols, "rows do not lie one after another");
        self.data
    }

    pub fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, by_row: !self.by_row, ..self }
    }

    pub fn rows(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows, "rows outside the view");
        let rows = range.len();
        let skipped = range.start * if self.by_row { self.stride } else { 1 };
        Self { data: self.data.get(skipped..).unwrap_or(&[]), rows, ..self }
    }

    pub fn cols(self, range: Range<usize>) -> Self {
        self.transposed().rows(range).transposed()
    }

    /// The only row of a view of one row, when it is contiguous.
    pub fn only_row(&self) -> Option<&'a [f32]> {
        (self.rows == 1 && (self.by_row || self.stride == 1)).then(|| &self.data[..self.cols])
    }
}

for_every_isa! {
    /// `out[k] = view[k][0 ..]` for a view at most sixteen columns wide; lanes past its width are zero.
    pub fn pack_panel(s; view: View<'_>, out: &mut [Lane]) {
        assert!(view.cols <= LANES && out.len() == view.rows);
        if view.by_row {
            for (k, lane) in out.iter_mut().enumerate() {
                let row = &view.data[k * view.stride..][..view.cols];
                s.store(s.at(row, 0), &mut lane.0);
            }
            return;
        }
        for (block, lanes) in out.chunks_mut(LANES).enumerate() {
            let k = block * LANES;
            let mut rows = [s.splat(0.0); LANES];
            for (j, row) in rows.iter_mut().enumerate().take(view.cols) {
                *row = s.at(&view.data[j * view.stride..][..view.rows], k);
            }
            let columns = s.transpose(rows);
            for (lane, column) in lanes.iter_mut().zip(columns) {
                s.store(column, &mut lane.0);
            }
        }
    }
}

/// Lanes in one of the ways to store them.
#[derive(Clone, Copy)]
pub enum Lanes<'a> {
    F32(&'a [[f32; LANES]]),
    Bf16(&'a [[bf16; LANES]]),
    F16(&'a [[f16; LANES]]),
    /// Whole numbers, of [`Quantised`](super::Quantised).
    I8(&'a [[i8; LANES]]),
}

impl<'a> Lanes<'a> {
    pub fn count(self) -> usize {
        match self {
            Lanes::F32(lanes) => lanes.len(),
            Lanes::Bf16(lanes) => lanes.len(),
            Lanes::F16(lanes) => lanes.len(),
            Lanes::I8(lanes) => lanes.len(),
        }
    }

    pub fn from(self, at: usize) -> Self {
        match self {
            Lanes::F32(lanes) => Lanes::F32(&lanes[at..]),
            Lanes::Bf16(lanes) => Lanes::Bf16(&lanes[at..]),
            Lanes::F16(lanes) => Lanes::F16(&lanes[at..]),
            Lanes::I8(lanes) => Lanes::I8(&lanes[at..]),
        }
    }
}

for_every_isa! {
    /// `out[k] = lanes[k · step]`.
    fn widen<; E: Element>(s; lanes: &[[E; LANES]], step: usize, out: &mut [Lane]) {
        for (k, lane) in out.iter_mut().enumerate() {
            s.store(E::load(s, &lanes[k * step]), &mut lane.0);
        }
    }
}

for_every_isa! {
    /// Panel `p` of a transposed matrix, from panels of `depth` lanes each: lane `k` of `out` holds lane `k % 16` of the sixteen
    /// places from `16·p` on of panel `k / 16`; past the depth it is zero.
    fn turn_panel<; E: Element>(s; lanes: &[[E; LANES]], depth: usize, p: usize, out: &mut [Lane]) {
        let places = p * LANES..depth.min((p + 1) * LANES);
        for (panel, block) in out.chunks_mut(LANES).enumerate() {
            let mut rows = [s.splat(0.0); LANES];
            for (row, lane) in rows.iter_mut().zip(&lanes[panel * depth..][places.clone()]) {
                *row = E::load(s, lane);
            }
            for (lane, column) in block.iter_mut().zip(s.transpose(rows)) {
                s.store(column, &mut lane.0);
            }
        }
    }
}

/// The right side of a product, `[depth, width]`: element (k, 16·p + j) is lane j of `lanes[p · panel + k · step]`.
#[derive(Clone, Copy)]
pub struct Panels<'a> {
    pub(super) lanes: Lanes<'a>,
    pub(super) depth: usize,
    pub(super) width: usize,
    pub(super) panel: usize,
    pub(super) step: usize,
}

impl<'a> Panels<'a> {
    pub fn new(lanes: &'a [[f32; LANES]], depth: usize, width: usize, panel: usize, step: usize) -> Self {
        Self::stored(Lanes::F32(lanes), depth, width, panel, step)
    }

    pub(super) fn stored(lanes: Lanes<'a>, depth: usize, width: usize, panel: usize, step: usize) -> Self {
        let panels = width.div_ceil(LANES);
        let needed = if panels == 0 || depth == 0 { 0 } else { (panels - 1) * panel + (depth - 1) * step + 1 };
        assert!(needed <= lanes.count(), "panels outside their lanes");
        Self { lanes, depth, width, panel, step }
    }

    /// An ordinary matrix whose rows are whole lanes, as it lies.
    pub fn in_place(view: View<'a>) -> Option<Self> {
        let fits = view.by_row && view.cols.is_multiple_of(LANES) && view.stride.is_multiple_of(LANES);
        fits.then(|| Self::new(view.data.as_chunks().0, view.rows, view.cols, 1, view.stride / LANES))
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn count(&self) -> usize {
        self.width.div_ceil(LANES)
    }

    /// `count` panels, or as many as there are, from `first` on.
    pub fn strip(self, first: usize, count: usize) -> Self {
        let width = (self.width - first * LANES).min(count * LANES);
        Self { lanes: self.lanes.from(first * self.panel), width, ..self }
    }

    /// Whether they are stored in fewer bits than they are computed with.
    pub fn is_narrow(&self) -> bool {
        !matches!(self.lanes, Lanes::F32(_))
    }

    /// The same as floats, in `room`.
    pub fn widened(self, isa: Isa, room: &mut Vec<Lane>) -> Panels<'_> {
        let Self { lanes, depth, width, panel, step } = self;
        let count = self.count();
        if room.len() < count * depth {
            room.resize(count * depth, Lane::ZERO);
        }
        for (p, out) in room.chunks_exact_mut(depth).take(count).enumerate() {
            match lanes.from(p * panel) {
                Lanes::F32(lanes) => widen(isa, lanes, step, out),
                Lanes::Bf16(lanes) => widen(isa, lanes, step, out),
                Lanes::F16(lanes) => widen(isa, lanes, step, out),
                Lanes::I8(lanes) => widen(isa, lanes, step, out),
            }
        }
        Panels::new(Lane::plain(room), depth, width, depth, 1)
    }

    /// The first `depth` terms of every chain.
    pub fn top(self, depth: usize) -> Self {
        assert!(depth <= self.depth, "deeper than the panels");
        Self { depth, ..self }
    }

    /// The first `width` columns.
    pub fn left(self, width: usize) -> Self {
        assert!(width <= self.width, "wider than the panels");
        Self { width, ..self }
    }
}

/// Panels that own their memory, each contiguous.
#[derive(Clone)]
pub struct Packed {
    lanes: Stored,
    depth: usize,
    width: usize,
}

#[derive(Clone)]
enum Stored {
    F32(Buffer<Lane>),
    Bf16(Vec<[bf16; LANES]>),
    F16(Vec<[f16; LANES]>),
}

impl Packed {
    /// Packs a right side `[depth, width]`.
    pub fn new(isa: Isa, view: View<'_>) -> Self {
        let (depth, width) = (view.height(), view.width());
        let len = width.div_ceil(LANES) * depth;
        let [lanes] = filled([(len, depth)], depth * width, |p, [panel]| {
            pack_panel(isa, view.cols(p * LANES..width.min((p + 1) * LANES)), panel);
        });
        Self { lanes: Stored::F32(lanes), depth, width }
    }

    /// Panels that lie in `lanes` one after another.
    pub(super) fn whole(lanes: Vec<Lane>, depth: usize, width: usize) -> Self {
        assert_eq!(lanes.len(), width.div_ceil(LANES) * depth, "lanes of another matrix");
        Self { lanes: Stored::F32(lanes.into()), depth, width }
    }

    /// The same matrix transposed.
    pub fn turned(&self, isa: Isa) -> Self {
        let (depth, width) = (self.width, self.depth);
        let len = width.div_ceil(LANES) * depth;
        let [lanes] = filled([(len, depth)], depth * width, |p, [panel]| match &self.lanes {
            Stored::F32(lanes) => turn_panel(isa, Lane::plain(lanes), width, p, panel),
            Stored::Bf16(lanes) => turn_panel(isa, lanes, width, p, panel),
            Stored::F16(lanes) => turn_panel(isa, lanes, width, p, panel),
        });
        Self { lanes: Stored::F32(lanes), depth, width }
    }

    /// The same in as few bits a value as hold all of them exactly: for one that is kept.
    pub fn narrow(isa: Isa, view: View<'_>) -> Self {
        let packed = Self::new(isa, view);
        let Stored::F32(lanes) = &packed.lanes else { return packed };
        let all = |fits: fn(f32) -> bool| lanes.par_iter().all(|lane| lane.0.into_iter().all(fits));
        let stored = if all(|x| x.to_bits() & 0xffff == 0) {
            let half = |lane: &Lane| lane.0.map(|x| bf16::from_bits((x.to_bits() >> 16) as u16));
            Stored::Bf16(lanes.par_iter().map(half).collect())
        } else if all(|x| x.is_finite() && f16::from_f32(x).to_f32().to_bits() == x.to_bits()) {
            Stored::F16(lanes.par_iter().map(|lane| lane.0.map(f16::from_f32)).collect())
        } else {
            return packed;
        };
        Self { lanes: stored, ..packed }
    }

    pub fn panels(&self) -> Panels<'_> {
        let lanes = match &self.lanes {
            Stored::F32(lanes) => Lanes::F32(Lane::plain(lanes)),
            Stored::Bf16(lanes) => Lanes::Bf16(lanes),
            Stored::F16(lanes) => Lanes::F16(lanes),
        };
        Panels::stored(lanes, self.depth, self.width, self.depth, 1)
    }

    /// The numbers of a column.
    pub fn column(&self, column: usize, out: &mut [f32]) {
        assert!(column < self.width && out.len() == self.depth, "a column outside the matrix");
        let (from, lane) = (column / LANES * self.depth, column % LANES);
        for (k, x) in out.iter_mut().enumerate() {
            *x = match &self.lanes {
                Stored::F32(lanes) => lanes[from + k].0[lane],
                Stored::Bf16(lanes) => lanes[from + k][lane].to_f32(),
                Stored::F16(lanes) => lanes[from + k][lane].to_f32(),
            };
        }
    }

    /// What the values take.
    pub fn bytes(&self) -> usize {
        match &self.lanes {
            Stored::F32(lanes) => size_of_val(&lanes[..]),
            Stored::Bf16(lanes) => size_of_val(&lanes[..]),
            Stored::F16(lanes) => size_of_val(&lanes[..]),
        }
    }

    /// The matrix `[depth, width]` back, row by row.
    #[cfg(test)]
    pub fn unpacked(&self) -> Vec<f32> {
        use super::simd::{Portable, Simd};
        let lane = |at: usize| match &self.lanes {
            Stored::F32(lanes) => lanes[at].0,
            Stored::Bf16(lanes) => Portable.widen_bf16(&lanes[at]),
            Stored::F16(lanes) => Portable.widen_f16(&lanes[at]),
        };
        let mut out = vec![0.0; self.depth * self.width];
        for k in 0..self.depth {
            for (p, columns) in out[k * self.width..][..self.width].chunks_mut(LANES).enumerate() {
                columns.copy_from_slice(&lane(p * self.depth + k)[..columns.len()]);
            }
        }
        out
    }
}
