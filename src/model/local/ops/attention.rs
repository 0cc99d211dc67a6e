//! Turns queries, keys and values into causal attention inside each segment.
//!
//! # Invariants
//! No row sees another segment. A continued sequence gives the bits of the whole one.

use super::kernels::attention::{Heads, KvCache, backward, cached, forward};
use super::{Segments, floats, isa, slice, tensor};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

/// Causal attention inside each segment: `q` `[n, heads · head_dim]`, `k` and `v` `[n, kv_heads · head_dim]`. Scores are
/// scaled by `1/sqrt(head_dim)`; the backward pass computes probabilities again instead of keeping them.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, segments: &Arc<Segments>, heads: Heads) -> Result<Tensor> {
    check(q, k, v, segments, heads)?;
    let op = Attention { segments: segments.clone(), heads };
    q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op)
}

/// Inference only (no gradient). The rows of segment `s` continue the sequence that `caches[s]` holds: their keys and
/// values are appended to it, then each query row sees everything up to itself. One row a segment is a decoding step,
/// many are a prefill chunk; both give the bits that [`attention`] gives over the whole sequence.
pub fn cached_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &Segments,
    caches: &mut [&mut KvCache],
    heads: Heads,
) -> Result<Tensor> {
    check(q, k, v, segments, heads)?;
    if segments.len() != caches.len() || caches.iter().any(|cache| cache.heads() != heads) {
        bail!("attention: {} segments and {} caches, or a cache of other heads", segments.len(), caches.len());
    }
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    let out = cached(isa(), heads, &floats(&q)?, &floats(&k)?, &floats(&v)?, segments.ranges(), caches);
    tensor(out, q.shape().clone())
}

fn check(q: &Tensor, k: &Tensor, v: &Tensor, segments: &Segments, heads: Heads) -> Result<()> {
    if heads.kv_heads == 0
        || heads.head_dim == 0
        || heads.window == Some(0)
        || !heads.heads.is_multiple_of(heads.kv_heads)
    {
        bail!("attention: {heads:?} do not divide into groups");
    }
    let rows = segments.rows();
    let kv = (rows, heads.kv_width());
    if q.dims2()? != (rows, heads.query_width()) || k.dims2()? != kv || v.dims2()? != kv {
        bail!("attention: {:?}, {:?}, {:?} for {rows} rows of {heads:?}", q.dims(), k.dims(), v.dims());
    }
    Ok(())
}

struct Attention {
    segments: Arc<Segments>,
    heads: Heads,
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        k: &CpuStorage,
        kl: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = (slice(q, ql)?, slice(k, kl)?, slice(v, vl)?);
        let out = forward(isa(), self.heads, q, k, v, self.segments.ranges());
        Ok((CpuStorage::F32(out), ql.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (qs, ks, vs, grads) = (floats(q)?, floats(k)?, floats(v)?, floats(&grad)?);
        let [dq, dk, dv] = backward(isa(), self.heads, &qs, &ks, &vs, &grads, self.segments.ranges());
        Ok((
            Some(tensor(dq, q.shape().clone())?),
            Some(tensor(dk, k.shape().clone())?),
            Some(tensor(dv, v.shape().clone())?),
        ))
    }
}
