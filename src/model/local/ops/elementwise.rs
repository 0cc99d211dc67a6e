//! Turns rows into rows one by one: normalisation, gated activation, residual sums.
//!
//! # Invariants
//! The gradient of a norm's weight, or of a bias, is added row by row inside chunks of fixed size, then chunk by chunk.

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

/// `x + bias`, the same for each row; `bias` `[width]`.
pub fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if x.dims2()?.1 != bias.dims1()? {
        bail!("add_bias: rows {:?} meet a bias {:?}", x.dims(), bias.dims());
    }
    x.contiguous()?.apply_op2(&bias.contiguous()?, AddBias)
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
        Ok((Some(tensor(dx, (count, width))?), Some(tensor(summed(&partial, width), width)?)))
    }
}

/// The sum of the chunks' first rows.
fn summed(partial: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    partial.chunks(CHUNK * width).for_each(|chunk| rows::add(isa(), &chunk[..width], &mut sum));
    sum
}

struct AddBias;

impl CustomOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add-bias"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, bias: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (count, width) = xl.shape().dims2()?;
        let (x, bias) = (slice(x, xl)?, slice(bias, bl)?);
        let [out] = by_rows(count, width, |first, [chunk]| {
            chunk.copy_from_slice(&x[first * width..][..chunk.len()]);
            chunk.chunks_mut(width).for_each(|row| rows::add(isa(), bias, row));
        });
        Ok((CpuStorage::F32(out), xl.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (count, width) = grad.dims2()?;
        let grad = grad.contiguous()?;
        let grads = floats(&grad)?;
        let grads = &*grads;
        // The first row of every chunk collects the chunk.
        let [partial] = by_rows(count, width, |first, [partial]| {
            let (sum, rest) = partial.split_at_mut(width);
            sum.copy_from_slice(&grads[first * width..][..width]);
            let others = grads[first * width..][width..].chunks(width).take(rest.len() / width);
            others.for_each(|row| rows::add(isa(), row, sum));
        });
        Ok((Some(grad.clone()), Some(tensor(summed(&partial, width), width)?)))
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
