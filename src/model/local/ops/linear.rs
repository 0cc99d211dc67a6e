//! Turns rows into rows by a weight matrix: frozen, in eight bits, trained, or frozen with a trained low-rank part.
//!
//! # Invariants
//! A frozen weight gets no gradient and is packed once. Nothing is split over the summed axis.

use super::kernels::{Buffer, LowRank, Packed, Panels, Quantised, View, isa, rows};
use super::kernels::{matmul, matmul_added, matmul_low_rank, matmul_onto, matmul_quantised};
use super::{CHUNK, Param, add_onto, by_rows, floats, summed};
use crate::base::Seed;
use candle_core::{Result, Tensor};
use rayon::prelude::*;
use std::sync::Arc;

/// A weight `[out, in]` that never changes, packed once.
pub struct FrozenWeight {
    /// `Wᵀ`, `[in, out]`.
    packed: Packed,
    out: usize,
    input: usize,
}

impl FrozenWeight {
    pub fn new(weight: &Tensor) -> Result<Arc<Self>> {
        let (out, input) = weight.dims2()?;
        let weight = weight.contiguous()?;
        let packed = Packed::narrow(isa(), View::new(&floats(&weight)?, out, input).transposed());
        Ok(Arc::new(Self { packed, out, input }))
    }

    /// `(out, in)`.
    pub fn dims(&self) -> (usize, usize) {
        (self.out, self.input)
    }

    pub(super) fn forward(&self) -> &Packed {
        &self.packed
    }

    /// `W`, `[out, in]`, made anew each time: beside the products of a batch that is little work, and to keep it would double
    /// what the weights take.
    pub(super) fn backward(&self) -> Packed {
        self.packed.turned(isa())
    }
}

/// Rounds a weight `[out, in]` to eight bits, each row by itself.
pub fn quantised(weight: &Tensor) -> Result<Arc<Quantised>> {
    let (out, input) = weight.dims2()?;
    let weight = weight.contiguous()?;
    Ok(Arc::new(Quantised::new(isa(), View::new(&floats(&weight)?, out, input).transposed())))
}

/// What a linear map multiplies with. Shapes are `[out, in]`.
#[derive(Clone)]
pub enum Weight {
    Frozen(Arc<FrozenWeight>),
    /// Rounded to eight bits; it never changes.
    Quantised(Arc<Quantised>),
    /// Packed at every call.
    Trained(Param),
    /// Only the adapter learns.
    Lora(Arc<FrozenWeight>, Adapter),
}

/// `x ↦ scale · (x Aᵀ) Bᵀ` with `a` `[rank, in]` and `b` `[out, rank]` (Hu et al. 2021).
#[derive(Clone)]
pub struct Adapter {
    pub a: Param,
    pub b: Param,
    pub scale: f32,
    /// Its number among the adapters of the model.
    pub site: usize,
}

/// Leaves out a share of what goes into the adapters; the rest counts by so much more (Srivastava et al. 2014).
#[derive(Clone)]
pub struct Dropout {
    pub rate: f64,
    pub seed: Seed,
}

impl Dropout {
    /// The rows that the adapter of `site` sees in the place of `x`.
    pub(super) fn thinned(&self, site: usize, x: &[f32], width: usize) -> Buffer {
        let (seed, kept) = (self.seed.derive(site), (1.0 / (1.0 - self.rate)) as f32);
        let [out] = by_rows(x.len() / width, width, |first, [chunk]| {
            let from = first * width;
            for (at, (out, x)) in chunk.iter_mut().zip(&x[from..]).enumerate() {
                *out = if seed.uniform((from + at) as u64) < self.rate { 0.0 } else { kept * x };
            }
        });
        out
    }

    /// What each of so many numbers is multiplied by.
    pub fn mask(&self, site: usize, count: usize) -> Buffer {
        self.thinned(site, &vec![1.0; count], count)
    }
}

pub struct Linear {
    weight: Weight,
    bias: Option<Param>,
    out: usize,
    input: usize,
}

/// Runs `with` on a right side, packed where it cannot be read as it lies.
fn panels<T>(right: View<'_>, with: impl FnOnce(Panels<'_>) -> T) -> T {
    match Panels::in_place(right) {
        Some(panels) => with(panels),
        None => with(Packed::new(isa(), right).panels()),
    }
}

impl Linear {
    /// # Panics
    /// A bias or an adapter of another size than the weight.
    pub fn new(weight: Weight, bias: Option<Param>) -> Self {
        let (out, input) = match &weight {
            Weight::Frozen(base) | Weight::Lora(base, _) => (base.out, base.input),
            Weight::Quantised(base) => (base.dims().1, base.dims().0),
            Weight::Trained(weight) => (weight.dims()[0], weight.dims()[1]),
        };
        if let Weight::Lora(_, Adapter { a, b, .. }) = &weight {
            assert!(a.dims() == [b.dims()[1], input] && b.dims()[0] == out, "an adapter of another size");
        }
        assert!(bias.as_ref().is_none_or(|bias| bias.dims() == [out]), "a bias of another size");
        Self { weight, bias, out, input }
    }

    /// `(out, in)`.
    pub fn dims(&self) -> (usize, usize) {
        (self.out, self.input)
    }

    pub fn weight(&self) -> &Weight {
        &self.weight
    }

    /// `x Wᵀ + bias`: `[n, in] → [n, out]`.
    pub fn forward(&self, x: &[f32], dropout: Option<&Dropout>) -> Buffer {
        let Self { weight, bias, out, input } = self;
        let x = View::new(x, x.len() / input, *input);
        let mut y = match weight {
            Weight::Frozen(base) => matmul(isa(), x, base.packed.panels()),
            Weight::Quantised(base) => matmul_quantised(isa(), x, base),
            Weight::Trained(weight) => {
                panels(View::new(&weight.value(), *out, *input).transposed(), |weight| matmul(isa(), x, weight))
            }
            Weight::Lora(base, adapter) => adapter.forward(x, base.packed.panels(), dropout),
        };
        if let Some(bias) = bias {
            let bias = bias.value();
            let bias = &*bias;
            let chunks = y.par_chunks_mut(CHUNK * out);
            chunks.for_each(|chunk| chunk.chunks_mut(*out).for_each(|row| rows::add(isa(), bias, row)));
        }
        y
    }

    /// The gradient to `x`, added to `onto` where there is one, from that to the result; those to weight and bias collect.
    pub fn backward(&self, x: &[f32], grad: &[f32], dropout: Option<&Dropout>, onto: Option<Buffer>) -> Buffer {
        let Self { weight, bias, out, input } = self;
        let count = x.len() / input;
        if let Some(bias) = bias {
            bias.learn(|sum| summed(grad, *out, sum));
        }
        let (x, grad) = (View::new(x, count, *input), View::new(grad, count, *out));
        match weight {
            Weight::Frozen(base) => matmul_added(isa(), grad, base.backward().panels(), onto),
            Weight::Quantised(base) => matmul_added(isa(), grad, base.floats(isa()).turned(isa()).panels(), onto),
            Weight::Trained(weight) => {
                weight.learn(|sum| panels(x, |x| matmul_onto(isa(), grad.transposed(), x, sum)));
                panels(View::new(&weight.value(), *out, *input), |weight| matmul_added(isa(), grad, weight, onto))
            }
            Weight::Lora(base, adapter) => adapter.backward(x, grad, base.backward().panels(), dropout, onto),
        }
    }
}

impl Adapter {
    fn rank(&self) -> usize {
        self.a.dims()[0]
    }

    /// `scale · left · right`.
    fn scaled(&self, left: View<'_>, right: View<'_>) -> Buffer {
        let mut out = panels(right, |right| matmul(isa(), left, right));
        rows::scale(isa(), self.scale, &mut out);
        out
    }

    /// `left · base + scale · (left · down) · up`, and `scale · (left · down)`.
    fn beside(
        &self,
        left: View<'_>,
        base: Panels<'_>,
        down: View<'_>,
        up: View<'_>,
        onto: Option<Buffer>,
    ) -> (Buffer, Buffer) {
        let scale = self.scale;
        panels(down, |down| panels(up, |up| matmul_low_rank(isa(), left, base, LowRank { down, up, scale }, onto)))
    }

    /// `base` is `[in, out]`.
    fn forward(&self, x: View<'_>, base: Panels<'_>, dropout: Option<&Dropout>) -> Buffer {
        let (a, b) = (self.a.value(), self.b.value());
        let (rank, input, count) = (self.rank(), x.width(), x.height());
        let down = View::new(&a, rank, input).transposed();
        let up = View::new(&b, b.len() / rank, rank).transposed();
        match dropout {
            None => self.beside(x, base, down, up, None).0,
            Some(dropout) => {
                let mut y = matmul(isa(), x, base);
                let thinned = dropout.thinned(self.site, x.flat(), input);
                let low = self.scaled(View::new(&thinned, count, input), down);
                panels(up, |up| matmul_onto(isa(), View::new(&low, count, rank), up, &mut y));
                y
            }
        }
    }

    /// The gradient to `x`; `base` is `[out, in]`.
    fn backward(
        &self,
        x: View<'_>,
        grad: View<'_>,
        base: Panels<'_>,
        dropout: Option<&Dropout>,
        onto: Option<Buffer>,
    ) -> Buffer {
        let (a, b) = (self.a.value(), self.b.value());
        let (rank, input, count) = (self.rank(), x.width(), x.height());
        let (a, b) = (View::new(&a, rank, input), View::new(&b, grad.width(), rank));
        let thinned = dropout.map(|dropout| dropout.thinned(self.site, x.flat(), input));
        let x = thinned.as_deref().map_or(x, |thinned| View::new(thinned, count, input));
        let low = self.scaled(x, a.transposed());
        self.b.learn(|sum| panels(View::new(&low, count, rank), |low| matmul_onto(isa(), grad.transposed(), low, sum)));
        let (dx, dlow) = match dropout {
            None => self.beside(grad, base, b, a, onto),
            Some(dropout) => {
                let (mut dx, dlow) = (matmul_added(isa(), grad, base, onto), self.scaled(grad, b));
                let whole = panels(a, |a| matmul(isa(), View::new(&dlow, count, rank), a));
                add_onto(&mut dx, &dropout.thinned(self.site, &whole, input));
                (dx, dlow)
            }
        };
        let dlow = View::new(&dlow, count, rank);
        self.a.learn(|sum| panels(x, |x| matmul_onto(isa(), dlow.transposed(), x, sum)));
        dx
    }
}
