//! Turns hidden rows and targets into a loss, the output layer included.
//!
//! # Invariants
//! Logits exist for a chunk of rows at a time and never whole. Rows of weight 0 are neither multiplied nor summed. Losses are
//! added in the order of the rows, in f64.

use super::kernels::{Packed, View, isa, math, matmul, matmul_onto, rows};
use super::{FrozenWeight, Weight, slice, tensor};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::{Arc, Mutex};

/// Logits held at a time. Not in the results: every sum over rows is one chain.
const LOGITS: usize = 1 << 20;

/// `Σ wᵢ · nllᵢ / Σ wᵢ`, a scalar, where `nllᵢ = −log softmax(hiddenᵢ Wᵀ)[targetᵢ]`. Logits never exist whole; rows of
/// weight 0 cost nothing. Gradients go to `hidden` and, when it is trained, to the weight (LoRA is refused here).
pub fn cross_entropy(hidden: &Tensor, weight: &Weight, targets: &[u32], weights: &[f32]) -> Result<Tensor> {
    let ((count, width), (vocab, input)) = (hidden.dims2()?, weight.dims()?);
    if width != input || targets.len() != count || weights.len() != count {
        bail!(
            "cross_entropy: rows {:?}, {} targets, {} weights, output layer {vocab} × {input}",
            hidden.dims(),
            targets.len(),
            weights.len()
        );
    }
    let active: Vec<usize> = (0..count).filter(|&i| weights[i] != 0.0).collect();
    if let Some(i) = active.iter().find(|&&i| targets[i] as usize >= vocab) {
        bail!("cross_entropy: target {} is past the vocabulary's {vocab}", targets[*i]);
    }
    let total: f64 = active.iter().map(|&i| f64::from(weights[i])).sum();
    if total.is_nan() || total <= 0.0 {
        bail!("cross_entropy: the weights of {count} rows sum to {total}");
    }
    let rows = active.iter().map(|&i| Row { at: i, target: targets[i] as usize, weight: weights[i] }).collect();
    let needs = |tensor: &Tensor| tensor.is_variable() || tensor.track_op();
    let loss = Loss { rows, total, gradients: Mutex::new(None) };
    match weight {
        Weight::Frozen(base) => {
            let op = FrozenLoss { weight: base.clone(), wanted: needs(hidden), loss };
            hidden.contiguous()?.apply_op1(op)
        }
        Weight::Trained(weight) => {
            let op = TrainedLoss { wanted: needs(hidden) || needs(weight), loss };
            hidden.contiguous()?.apply_op2(&weight.contiguous()?, op)
        }
        Weight::Lora { .. } => bail!("cross_entropy: the output layer cannot carry a low-rank adapter"),
    }
}

/// A row that counts.
struct Row {
    at: usize,
    target: usize,
    weight: f32,
}

/// The forward pass has the logits at hand, so it leaves the gradients (at an upstream gradient of 1) for the backward pass.
struct Loss {
    rows: Vec<Row>,
    total: f64,
    gradients: Mutex<Option<Gradients>>,
}

#[derive(Default)]
struct Gradients {
    hidden: Vec<f32>,
    weight: Vec<f32>,
}

/// The output layer in both orders; the second only where gradients are wanted.
struct OutputLayer<'a> {
    /// `[width, vocab]`.
    forward: &'a Packed,
    /// `[vocab, width]`.
    backward: Option<&'a Packed>,
    trained: bool,
}

impl Loss {
    fn run(&self, hidden: &[f32], width: usize, layer: OutputLayer<'_>) -> f32 {
        let vocab = layer.forward.panels().width();
        let mut sum = 0.0f64;
        let mut gradients = Gradients::default();
        if layer.backward.is_some() {
            gradients.hidden = vec![0.0; hidden.len()];
            gradients.weight = vec![0.0; if layer.trained { vocab * width } else { 0 }];
        }
        let size = (LOGITS / vocab.max(1)).max(16);
        for chunk in self.rows.chunks(size) {
            let gathered = gather(hidden, width, chunk);
            let gathered = View::new(&gathered, chunk.len(), width);
            let mut logits = matmul(isa(), gathered, layer.forward.panels());
            sum += self.losses(chunk, &mut logits, vocab);
            let Some(backward) = layer.backward else { continue };
            // `logits` now holds the gradient to the logits.
            let dlogits = View::new(&logits, chunk.len(), vocab);
            let dhidden = matmul(isa(), dlogits, backward.panels());
            for (row, d) in chunk.iter().zip(dhidden.chunks(width)) {
                gradients.hidden[row.at * width..][..width].copy_from_slice(d);
            }
            if layer.trained {
                let right = Packed::new(isa(), gathered);
                matmul_onto(isa(), dlogits.transposed(), right.panels(), &mut gradients.weight);
            }
        }
        if layer.backward.is_some() {
            *self.gradients.lock().expect("no panic holds it") = Some(gradients);
        }
        (sum / self.total) as f32
    }

    /// The weighted losses of a chunk, added in order; `logits` become their gradients:
    /// `(softmax − one-hot) · weight / total`.
    fn losses(&self, chunk: &[Row], logits: &mut [f32], vocab: usize) -> f64 {
        let mut losses = vec![0.0f64; chunk.len()];
        let work = |(row, (logits, loss)): (&Row, (&mut [f32], &mut f64))| {
            let logit = f64::from(logits[row.target]);
            let (greatest, total) = rows::softmax(isa(), logits, 1.0);
            *loss = (math::ln64(f64::from(total)) + f64::from(greatest) - logit) * f64::from(row.weight);
            logits[row.target] -= 1.0;
            rows::scale(isa(), (f64::from(row.weight) / self.total) as f32, logits);
        };
        let parts = chunk.par_iter().zip(logits.par_chunks_mut(vocab).zip(losses.par_iter_mut()));
        parts.with_min_len(8).for_each(work);
        losses.iter().sum()
    }

    /// The kept gradients times the gradient to the loss.
    fn taken(&self, upstream: &Tensor) -> Result<Gradients> {
        let Some(mut gradients) = self.gradients.lock().expect("no panic holds it").take() else {
            bail!("cross_entropy: gradients were asked for twice, or no operand was tracked")
        };
        let by = upstream.to_scalar::<f32>()?;
        if by != 1.0 {
            rows::scale(isa(), by, &mut gradients.hidden);
            rows::scale(isa(), by, &mut gradients.weight);
        }
        Ok(gradients)
    }
}

fn gather(hidden: &[f32], width: usize, rows: &[Row]) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() * width);
    for row in rows {
        out.extend_from_slice(&hidden[row.at * width..][..width]);
    }
    out
}

struct FrozenLoss {
    weight: Arc<FrozenWeight>,
    wanted: bool,
    loss: Loss,
}

impl CustomOp1 for FrozenLoss {
    fn name(&self) -> &'static str {
        "cross-entropy-frozen"
    }

    fn cpu_fwd(&self, hidden: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let layer = OutputLayer {
            forward: self.weight.forward(),
            backward: self.wanted.then(|| self.weight.backward()),
            trained: false,
        };
        let loss = self.loss.run(slice(hidden, layout)?, layout.shape().dims2()?.1, layer);
        Ok((CpuStorage::F32(vec![loss]), ().into()))
    }

    fn bwd(&self, hidden: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(tensor(self.loss.taken(grad)?.hidden, hidden.shape().clone())?))
    }
}

struct TrainedLoss {
    wanted: bool,
    loss: Loss,
}

impl CustomOp2 for TrainedLoss {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, hidden: &CpuStorage, hl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (vocab, width) = wl.shape().dims2()?;
        let weight = View::new(slice(w, wl)?, vocab, width);
        let forward = Packed::new(isa(), weight.transposed());
        let backward = self.wanted.then(|| Packed::new(isa(), weight));
        let layer = OutputLayer { forward: &forward, backward: backward.as_ref(), trained: true };
        let loss = self.loss.run(slice(hidden, hl)?, width, layer);
        Ok((CpuStorage::F32(vec![loss]), ().into()))
    }

    fn bwd(&self, hidden: &Tensor, w: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Gradients { hidden: dhidden, weight } = self.loss.taken(grad)?;
        Ok((Some(tensor(dhidden, hidden.shape().clone())?), Some(tensor(weight, w.shape().clone())?)))
    }
}
