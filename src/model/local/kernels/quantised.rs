//! Turns a weight into eight bits a value: whole numbers from −127 to 127, and for each column of a product one scale.
//!
//! A product of few rows waits for its right side to come from memory: this is a quarter of what floats are. The left side stays
//! as it is, so an element is the chain over `x · q`, which is exact as `q` is, and in the end times its column's scale.
//!
//! # Invariants
//! No chain begins from what was scaled: [`Quantised`] has no panels that anyone could go on from outside this folder, and
//! [`matmul_quantised`](super::matmul_quantised) makes its own result. A column of finite numbers has a finite scale; any other has none.

use super::pack::{Lane, Lanes, Packed, Panels, View, pack_panel};
use super::simd::{Isa, LANES, for_every_isa};
use rayon::prelude::*;

/// A right side `[depth, width]`, packed: element (k, j) is a whole number times the scale of column j.
pub struct Quantised {
    lanes: Vec<[i8; LANES]>,
    /// A lane for each panel.
    scales: Vec<Lane>,
    depth: usize,
    width: usize,
}

/// The largest whole number; −128 is left out, so that a weight and its negative are as near.
const MOST: f32 = 127.0;

for_every_isa! {
    /// One panel: its columns' scales, the largest number of each over [`MOST`], and the whole numbers nearest to what is over the
    /// scale, ties to even.
    fn quantise(s; panel: &[Lane], lanes: &mut [[i8; LANES]], scales: &mut Lane) {
        let zero = s.splat(0.0);
        let (mut most, mut odd) = (zero, zero);
        for lane in panel {
            let x = s.load(&lane.0);
            most = s.max(most, s.max(x, s.sub(zero, x)));
            // Not zero where a number is not finite: `max` may pass over one.
            odd = s.fma(x, zero, odd);
        }
        let scale = s.array(s.add(s.div(most, s.splat(MOST)), odd));
        // Below the normal numbers a scale is too coarse, or is nothing: so small a column is zero.
        scales.0 = scale.map(|scale| if scale < f32::MIN_POSITIVE { 0.0 } else { scale });
        let by = s.load(&scales.0.map(|scale| if scale == 0.0 { f32::INFINITY } else { scale }));
        for (lane, whole) in panel.iter().zip(lanes) {
            *whole = s.array(s.round(s.div(s.load(&lane.0), by))).map(|q| q as i8);
        }
    }

    /// One panel as floats.
    fn multiplied(s; lanes: &[[i8; LANES]], scales: &Lane, out: &mut [Lane]) {
        for (whole, lane) in lanes.iter().zip(out) {
            s.store(s.mul(s.widen_i8(whole), s.load(&scales.0)), &mut lane.0);
        }
    }
}

impl Quantised {
    /// Rounds a right side `[depth, width]`.
    pub fn new(isa: Isa, view: View<'_>) -> Self {
        let (depth, width) = (view.height(), view.width());
        let panels = width.div_ceil(LANES);
        let mut lanes = vec![[0; LANES]; panels * depth];
        let mut scales = vec![Lane::ZERO; panels];
        let parts = lanes.par_chunks_mut(depth.max(1)).zip(&mut scales).enumerate();
        parts.for_each(|(p, (lanes, scales))| {
            let mut panel = vec![Lane::ZERO; depth];
            pack_panel(isa, view.cols(p * LANES..width.min((p + 1) * LANES)), &mut panel);
            quantise(isa, &panel, lanes, scales);
        });
        Self { lanes, scales, depth, width }
    }

    /// `[depth, width]`.
    pub fn dims(&self) -> (usize, usize) {
        (self.depth, self.width)
    }

    /// The numbers of a column.
    pub fn column(&self, column: usize, out: &mut [f32]) {
        assert!(column < self.width && out.len() == self.depth, "a column outside the matrix");
        let (panel, lane) = (column / LANES, column % LANES);
        let scale = self.scales[panel].0[lane];
        for (whole, x) in self.lanes[panel * self.depth..].iter().zip(out) {
            *x = f32::from(whole[lane]) * scale;
        }
    }

    /// The same matrix in floats.
    pub fn floats(&self, isa: Isa) -> Packed {
        let mut floats = vec![Lane::ZERO; self.lanes.len()];
        let panel = self.depth.max(1);
        let parts = self.lanes.par_chunks(panel).zip(floats.par_chunks_mut(panel)).zip(&self.scales);
        parts.for_each(|((lanes, out), scales)| multiplied(isa, lanes, scales, out));
        Packed::whole(floats, self.depth, self.width)
    }

    /// The whole numbers, without their scales.
    pub(super) fn panels(&self) -> Panels<'_> {
        Panels::stored(Lanes::I8(&self.lanes), self.depth, self.width, self.depth, 1)
    }

    pub(super) fn scales(&self) -> &[Lane] {
        &self.scales
    }

    /// What the values take.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.lanes[..]) + size_of_val(&self.scales[..])
    }
}
