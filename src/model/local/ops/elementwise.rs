//! Turns rows into rows one by one: normalisation, gated activation, residual sums.
//!
//! # Invariants
//! The gradient of a norm's weight is added row by row inside chunks of fixed size, then chunk by chunk.

use super::kernels::rows;
use super::{CHUNK, by_rows, floats, isa, slice, tensor};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// `x · weight / sqrt(mean(x²) + eps)` a row; `weight` `[width]`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    if x.dims2()?.1 != weight.dims1()? {
        bail!("rms_norm: rows {:?} meet a weight {:?}", x.dims(), weight.dims());
    }
    x.contiguous()?.apply_op2(&weight.contiguous()?, RmsNorm { eps })
}

/// `silu(gate) · up`, element by element.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    same_shape("swiglu", gate, up)?;
    gate.contiguous()?.apply_op2(&up.contiguous()?, SwiGlu)
}

/// `a + b`, element by element: a residual connection.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    same_shape("add", a, b)?;
    a.contiguous()?.apply_op2(&b.contiguous()?, Add)
}

fn same_shape(name: &str, a: &Tensor, b: &Tensor) -> Result<()> {
    a.dims2()?;
    if a.shape() != b.shape() {
        bail!("{name}: shapes {:?} and {:?} differ", a.dims(), b.dims());
    }
    Ok(())
}

struct RmsNorm {
    eps: f32,
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (count, width) = xl.shape().dims2()?;
        let (x, w) = (slice(x, xl)?, slice(w, wl)?);
        let [out] = by_rows(count, width, |first, [chunk]| {
            for (out, x) in chunk.chunks_mut(width).zip(x[first * width..].chunks(width)) {
                rows::rms_norm(isa(), x, w, self.eps, out);
            }
        });
        Ok((CpuStorage::F32(out), xl.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (count, width) = x.dims2()?;
        let grad = grad.contiguous()?;
        let (xs, ws, grads) = (floats(x)?, floats(w)?, floats(&grad)?);
        let (xs, ws, grads) = (&*xs, &*ws, &*grads);
        // The first row of every chunk of `partial` collects the chunk.
        let [dx, partial] = by_rows(count, width, |first, [dx, partial]| {
            let from = first * width;
            for ((dx, x), grad) in dx.chunks_mut(width).zip(xs[from..].chunks(width)).zip(grads[from..].chunks(width)) {
                rows::rms_norm_back(isa(), x, ws, grad, self.eps, dx, &mut partial[..width]);
            }
        });
        let mut dw = vec![0.0; width];
        for chunk in partial.chunks(CHUNK * width) {
            rows::add(isa(), &chunk[..width], &mut dw);
        }
        Ok((Some(tensor(dx, (count, width))?), Some(tensor(dw, width)?)))
    }
}

struct SwiGlu;

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, gate: &CpuStorage, gl: &Layout, up: &CpuStorage, ul: &Layout) -> Result<(CpuStorage, Shape)> {
        let (count, width) = gl.shape().dims2()?;
        let (gate, up) = (slice(gate, gl)?, slice(up, ul)?);
        let [out] = by_rows(count, width, |first, [chunk]| {
            let part = first * width..first * width + chunk.len();
            rows::swiglu(isa(), &gate[part.clone()], &up[part], chunk);
        });
        Ok((CpuStorage::F32(out), gl.shape().clone()))
    }

    fn bwd(&self, gate: &Tensor, up: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (count, width) = gate.dims2()?;
        let grad = grad.contiguous()?;
        let (gates, ups, grads) = (floats(gate)?, floats(up)?, floats(&grad)?);
        let (gates, ups, grads) = (&*gates, &*ups, &*grads);
        let [dgate, dup] = by_rows(count, width, |first, [dgate, dup]| {
            let part = first * width..first * width + dgate.len();
            rows::swiglu_back(isa(), &gates[part.clone()], &ups[part.clone()], &grads[part], dgate, dup);
        });
        Ok((Some(tensor(dgate, gate.shape().clone())?), Some(tensor(dup, gate.shape().clone())?)))
    }
}

struct Add;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add-rows"
    }

    fn cpu_fwd(&self, a: &CpuStorage, al: &Layout, b: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (count, width) = al.shape().dims2()?;
        let (a, b) = (slice(a, al)?, slice(b, bl)?);
        let [out] = by_rows(count, width, |first, [chunk]| {
            let part = first * width..first * width + chunk.len();
            chunk.copy_from_slice(&a[part.clone()]);
            rows::add(isa(), &b[part], chunk);
        });
        Ok((CpuStorage::F32(out), al.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(grad.clone()), Some(grad.clone())))
    }
}
