//! Turns hidden rows into logits, or with targets into a loss: the last norm and the output layer.
//!
//! # Invariants
//! With targets, logits exist for a chunk of rows at a time and never whole. Rows of weight 0 are neither multiplied nor
//! summed. Losses are added in the order of the rows, in f64.

use super::kernels::{Buffer, Packed, View, isa, math, matmul, matmul_onto, rows};
use super::{Linear, Norm, Weight, gather, slice, tensor};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Logits held at a time. Not in the results: every sum over rows of a product is one chain.
const LOGITS: usize = 1 << 20;

pub struct Head {
    pub norm: Norm,
    /// `[vocab, width]`; no adapter, no bias.
    pub output: Linear,
}

/// What some rows are to predict.
pub struct Goal {
    rows: Vec<Row>,
    total: f64,
}

/// A row that counts.
struct Row {
    at: usize,
    target: usize,
    weight: f32,
}

impl Goal {
    /// A target and a weight for each row. The loss is a mean over `total`, which may be that of more rows than these.
    ///
    /// # Errors
    /// Weights that are no weights, a total that is not positive.
    pub fn new(targets: &[u32], weights: &[f32], total: f64) -> Result<Self> {
        if targets.len() != weights.len() || weights.iter().any(|weight| weight.is_nan() || *weight < 0.0) {
            bail!("a loss needs a weight for each target");
        }
        if total.is_nan() || total <= 0.0 {
            bail!("the weights of a loss sum to {total}");
        }
        let row = |(at, (target, weight)): (usize, (&u32, &f32))| Row { at, target: *target as usize, weight: *weight };
        let rows = targets.iter().zip(weights).enumerate().map(row).filter(|row| row.weight > 0.0);
        Ok(Self { rows: rows.collect(), total })
    }
}

/// The output layer in both orders; the second only where gradients are wanted.
struct Sides<'a> {
    /// `[width, vocab]`.
    forward: &'a Packed,
    /// `[vocab, width]`.
    backward: Option<&'a Packed>,
}

impl Head {
    /// The logits of hidden rows.
    pub fn logits(&self, x: &[f32]) -> Buffer {
        self.output.forward(&self.norm.forward(x), None)
    }

    /// The loss, and where it is wanted its gradient to `x`; those to the weights collect.
    fn loss(&self, x: &[f32], width: usize, goal: &Goal, wanted: bool) -> (f32, Option<Buffer>) {
        match self.output.weight() {
            Weight::Frozen(base) | Weight::Lora(base, _) => {
                let backward = wanted.then(|| base.backward());
                self.run(x, width, goal, Sides { forward: base.forward(), backward })
            }
            Weight::Trained(weight) => {
                let values = weight.value();
                let view = View::new(&values, weight.dims()[0], width);
                let forward = Packed::new(isa(), view.transposed());
                let backward = wanted.then(|| Packed::new(isa(), view));
                self.run(x, width, goal, Sides { forward: &forward, backward: backward.as_ref() })
            }
        }
    }

    fn run(
        &self,
        x: &[f32],
        width: usize,
        goal: &Goal,
        Sides { forward, backward }: Sides<'_>,
    ) -> (f32, Option<Buffer>) {
        let vocab = forward.panels().width();
        let mut sum = 0.0f64;
        let mut dx = backward.map(|_| Buffer::zeros(x.len()));
        let size = (LOGITS / vocab.max(1)).max(16);
        for chunk in goal.rows.chunks(size) {
            let gathered = gather(x, width, chunk.iter().map(|row| row.at));
            let normed = self.norm.forward(&gathered);
            let normed = View::new(&normed, chunk.len(), width);
            let mut logits = matmul(isa(), normed, forward.panels());
            sum += losses(chunk, &mut logits, vocab, goal.total);
            let (Some(backward), Some(dx)) = (backward, &mut dx) else { continue };
            // `logits` now holds the gradient to the logits.
            let dlogits = View::new(&logits, chunk.len(), vocab);
            let dnormed = matmul(isa(), dlogits, backward.panels());
            let dgathered = self.norm.backward(&gathered, &dnormed, None);
            for (row, d) in chunk.iter().zip(dgathered.chunks(width)) {
                dx[row.at * width..][..width].copy_from_slice(d);
            }
            if let Weight::Trained(weight) = self.output.weight() {
                let right = Packed::new(isa(), normed);
                weight.learn(|sum| matmul_onto(isa(), dlogits.transposed(), right.panels(), sum));
            }
        }
        ((sum / goal.total) as f32, dx)
    }
}

/// The weighted losses of a chunk, added in order; `logits` become their gradients: `(softmax − one-hot) · weight / total`.
fn losses(chunk: &[Row], logits: &mut [f32], vocab: usize, total: f64) -> f64 {
    let mut losses = vec![0.0f64; chunk.len()];
    let work = |(row, (logits, loss)): (&Row, (&mut [f32], &mut f64))| {
        let logit = f64::from(logits[row.target]);
        let (greatest, sum) = rows::softmax(isa(), logits, 1.0);
        *loss = (math::ln64(f64::from(sum)) + f64::from(greatest) - logit) * f64::from(row.weight);
        logits[row.target] -= 1.0;
        rows::scale(isa(), (f64::from(row.weight) / total) as f32, logits);
    };
    let parts = chunk.par_iter().zip(logits.par_chunks_mut(vocab).zip(losses.par_iter_mut()));
    parts.with_min_len(8).for_each(work);
    losses.iter().sum()
}

/// `Σ wᵢ · nllᵢ / total`, a scalar, where `nllᵢ = −log softmax(norm(xᵢ) Wᵀ)[targetᵢ]`; `x` `[rows, width]`. The forward pass
/// has the logits at hand, so it makes the gradients as well, and the loss is where a backward pass begins.
///
/// # Errors
/// A target past the vocabulary.
pub fn loss(x: &Tensor, head: &Arc<Head>, goal: Goal) -> Result<Tensor> {
    let vocab = match head.output.weight() {
        Weight::Frozen(base) | Weight::Lora(base, _) => base.forward().panels().width(),
        Weight::Trained(weight) => weight.dims()[0],
    };
    if let Some(row) = goal.rows.iter().find(|row| row.target >= vocab || row.at >= x.dims()[0]) {
        bail!("loss: row {} of {:?} is to predict {}, of {vocab} tokens", row.at, x.dims(), row.target);
    }
    let wanted = x.is_variable() || x.track_op();
    x.contiguous()?.apply_op1(Loss { head: head.clone(), goal, wanted, gradient: Mutex::default() })
}

struct Loss {
    head: Arc<Head>,
    goal: Goal,
    wanted: bool,
    gradient: Mutex<Option<Buffer>>,
}

impl CustomOp1 for Loss {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = layout.shape().dims2()?.1;
        let (loss, gradient) = self.head.loss(slice(x, layout)?, width, &self.goal, self.wanted);
        *self.gradient.lock().unwrap_or_else(PoisonError::into_inner) = gradient;
        Ok((CpuStorage::F32(vec![loss]), ().into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gradient = self.gradient.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (gradient, grad.to_scalar::<f32>()?) {
            (Some(gradient), 1.0) => Ok(Some(tensor(gradient.into_vec(), x.shape().clone())?)),
            (None, _) => bail!("cross-entropy: gradients were asked for twice, or nothing was tracked"),
            (_, by) => bail!("cross-entropy: a backward pass begins here, and not with a gradient of {by}"),
        }
    }
}
