//! Turns rows into rows by a weight matrix: frozen, trained, or frozen with a trained low-rank part.
//!
//! # Invariants
//! A frozen weight gets no gradient and is packed once. Nothing is split over the summed axis.

use super::kernels::{Packed, Panels, View, isa, matmul, matmul_onto};
use super::{floats, slice, tensor};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, OnceLock};

/// A weight `[out, in]` that never changes, packed once; for the backward pass once more, when it is first asked for.
pub struct FrozenWeight {
    /// `Wᵀ`, `[in, out]`.
    forward: Packed,
    /// `W`, `[out, in]`.
    backward: OnceLock<Packed>,
    out: usize,
    input: usize,
}

impl FrozenWeight {
    pub fn new(weight: &Tensor) -> Result<Arc<Self>> {
        let (out, input) = weight.dims2()?;
        let weight = weight.contiguous()?;
        let forward = Packed::narrow(isa(), View::new(&floats(&weight)?, out, input).transposed());
        Ok(Arc::new(Self { forward, backward: OnceLock::new(), out, input }))
    }

    pub fn out_width(&self) -> usize {
        self.out
    }

    pub fn in_width(&self) -> usize {
        self.input
    }

    pub(super) fn forward(&self) -> &Packed {
        &self.forward
    }

    pub(super) fn backward(&self) -> &Packed {
        self.backward.get_or_init(|| {
            let rows = self.forward.unpacked();
            Packed::narrow(isa(), View::new(&rows, self.input, self.out).transposed())
        })
    }
}

/// What a linear map multiplies with. Shapes are `[out, in]`.
#[derive(Clone)]
pub enum Weight {
    /// No gradient for the weight; packed once.
    Frozen(Arc<FrozenWeight>),
    /// A variable's tensor, packed at every call.
    Trained(Tensor),
    /// `y = x Wᵀ + scale · (x Aᵀ) Bᵀ` with `a` `[rank, in]` and `b` `[out, rank]`; gradients for `a` and `b` alone.
    Lora { base: Arc<FrozenWeight>, a: Tensor, b: Tensor, scale: f32 },
}

impl Weight {
    /// `(out, in)`.
    pub fn dims(&self) -> Result<(usize, usize)> {
        match self {
            Weight::Frozen(base) | Weight::Lora { base, .. } => Ok((base.out, base.input)),
            Weight::Trained(weight) => weight.dims2(),
        }
    }
}

/// `x Wᵀ`: `[n, in] → [n, out]`.
pub fn linear(x: &Tensor, weight: &Weight) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (out, input) = weight.dims()?;
    if x.dims2()?.1 != input {
        bail!("linear: rows of {} values meet a weight of {out} × {input}", x.dims2()?.1);
    }
    match weight {
        Weight::Frozen(base) => x.apply_op1(Frozen(base.clone())),
        Weight::Trained(weight) => x.apply_op2(&weight.contiguous()?, Trained),
        Weight::Lora { base, a, b, scale } => {
            let rank = a.dims2()?.0;
            if a.dims2()? != (rank, input) || b.dims2()? != (out, rank) {
                bail!("linear: low-rank factors {:?} and {:?} for a weight of {out} × {input}", a.dims(), b.dims());
            }
            x.apply_op3(&a.contiguous()?, &b.contiguous()?, Lora { base: base.clone(), scale: *scale })
        }
    }
}

/// `a · b`; packs `b` where it cannot be read as it lies.
fn product(a: View<'_>, b: View<'_>) -> Vec<f32> {
    match Panels::in_place(b) {
        Some(panels) => matmul(isa(), a, panels),
        None => matmul(isa(), a, Packed::new(isa(), b).panels()),
    }
}

struct Frozen(Arc<FrozenWeight>);

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "linear-frozen"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let y = matmul(isa(), View::new(slice(x, layout)?, rows, width), self.0.forward.panels());
        Ok((CpuStorage::F32(y), (rows, self.0.out).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (rows, out) = grad.dims2()?;
        let dx = matmul(isa(), View::new(&floats(&grad)?, rows, out), self.0.backward().panels());
        Ok(Some(tensor(dx, x.shape().clone())?))
    }
}

struct Trained;

impl CustomOp2 for Trained {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((rows, width), (out, _)) = (xl.shape().dims2()?, wl.shape().dims2()?);
        let weight = View::new(slice(w, wl)?, out, width);
        let y = product(View::new(slice(x, xl)?, rows, width), weight.transposed());
        Ok((CpuStorage::F32(y), (rows, out).into()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((rows, width), (out, _)) = (x.dims2()?, w.dims2()?);
        let grad = grad.contiguous()?;
        let (xs, ws, grads) = (floats(x)?, floats(w)?, floats(&grad)?);
        let grads = View::new(&grads, rows, out);
        let dx = product(grads, View::new(&ws, out, width));
        let dw = product(grads.transposed(), View::new(&xs, rows, width));
        Ok((Some(tensor(dx, (rows, width))?), Some(tensor(dw, (out, width))?)))
    }
}

struct Lora {
    base: Arc<FrozenWeight>,
    scale: f32,
}

impl Lora {
    fn scaled(&self, mut data: Vec<f32>) -> Vec<f32> {
        super::kernels::rows::scale(isa(), self.scale, &mut data);
        data
    }
}

impl CustomOp3 for Lora {
    fn name(&self) -> &'static str {
        "linear-lora"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((rows, width), (rank, _)) = (xl.shape().dims2()?, al.shape().dims2()?);
        let x = View::new(slice(x, xl)?, rows, width);
        let a = View::new(slice(a, al)?, rank, width);
        let b = Packed::new(isa(), View::new(slice(b, bl)?, self.base.out, rank).transposed());
        let mut y = matmul(isa(), x, self.base.forward.panels());
        let low = self.scaled(product(x, a.transposed()));
        matmul_onto(isa(), View::new(&low, rows, rank), b.panels(), &mut y);
        Ok((CpuStorage::F32(y), (rows, self.base.out).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((rows, width), (rank, _), out) = (x.dims2()?, a.dims2()?, self.base.out);
        let grad = grad.contiguous()?;
        let (xs, aas, bs, grads) = (floats(x)?, floats(a)?, floats(b)?, floats(&grad)?);
        let (xs, grads) = (View::new(&xs, rows, width), View::new(&grads, rows, out));
        let (a, b) = (View::new(&aas, rank, width), View::new(&bs, out, rank));
        let low = self.scaled(product(xs, a.transposed()));
        let db = product(grads.transposed(), View::new(&low, rows, rank));
        let dlow = self.scaled(product(grads, b));
        let dlow = View::new(&dlow, rows, rank);
        let da = product(dlow.transposed(), xs);
        let mut dx = matmul(isa(), grads, self.base.backward().panels());
        matmul_onto(isa(), dlow, Packed::new(isa(), a).panels(), &mut dx);
        Ok((Some(tensor(dx, (rows, width))?), Some(tensor(da, (rank, width))?), Some(tensor(db, (out, rank))?)))
    }
}
