//! Turns hidden rows into logits, or with targets into a loss: the last norm and the output layer.
//!
//! # Invariants
//! With targets, logits exist for a chunk of rows at a time and never whole. Rows of weight 0 are neither multiplied nor
//! summed. Losses are added in the order of the rows, in f64.

use super::kernels::{Buffer, Packed, View, isa, math, matmul, matmul_onto, matmul_quantised, rows, zeros};
use super::{Linear, Norm, Weight, gather};
use candle_core::{Result, bail};
use rayon::prelude::*;

/// Logits of the rows whose losses, and whose parts in the last norm's gradient, are summed together: so it is in the results.
/// Products are not: each of their sums over rows is one chain.
const LOGITS: usize = 1 << 20;
/// Rows multiplied at a time, at least: the output layer of a large vocabulary comes from memory for each few of them.
const ROWS: usize = 168;

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
pub struct Row {
    pub at: usize,
    pub target: usize,
    pub weight: f32,
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

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    pub fn total(&self) -> f64 {
        self.total
    }

    /// # Errors
    /// A target past the vocabulary, more targets than rows.
    pub fn fits(&self, rows: usize, vocab: usize) -> Result<()> {
        if let Some(row) = self.rows.iter().find(|row| row.target >= vocab || row.at >= rows) {
            bail!("row {} is to predict token {}; there are {rows} rows and {vocab} tokens", row.at, row.target);
        }
        Ok(())
    }
}

impl Head {
    /// The logits of hidden rows.
    pub fn logits(&self, x: &[f32]) -> Buffer {
        self.output.forward(&self.norm.forward(x), None)
    }

    /// `Σ wᵢ · nllᵢ / total`, where `nllᵢ = −log softmax(norm(xᵢ) Wᵀ)[targetᵢ]`, with its gradient to `x` `[rows, width]`; those to
    /// the weights collect in their slots. The logits are at hand but once, so forward and backward are one.
    ///
    /// # Errors
    /// A target past the vocabulary, more targets than rows.
    pub fn learn(&self, x: &[f32], goal: &Goal) -> Result<(f64, Buffer)> {
        let (vocab, width) = self.output.dims();
        goal.fits(x.len() / width, vocab)?;
        match self.output.weight() {
            Weight::Frozen(base) | Weight::Lora(base, _) => {
                Ok(self.run(x, goal, |x| matmul(isa(), x, base.forward().panels()), &base.backward()))
            }
            Weight::Quantised(base) => {
                Ok(self.run(x, goal, |x| matmul_quantised(isa(), x, base), &base.floats(isa()).turned(isa())))
            }
            Weight::Trained(weight) => {
                let values = weight.value();
                let view = View::new(&values, vocab, width);
                let forward = Packed::new(isa(), view.transposed());
                Ok(self.run(x, goal, |x| matmul(isa(), x, forward.panels()), &Packed::new(isa(), view)))
            }
        }
    }

    /// `forward` makes logits of normed rows; `backward` is `[vocab, width]`.
    fn run(&self, x: &[f32], goal: &Goal, forward: impl Fn(View<'_>) -> Buffer, backward: &Packed) -> (f64, Buffer) {
        let (vocab, width) = self.output.dims();
        let mut sum = 0.0f64;
        let mut dx = zeros(x.len());
        let together = (LOGITS / vocab.max(1)).max(16);
        for chunk in goal.rows.chunks(together * ROWS.div_ceil(together)) {
            let gathered = gather(x, width, chunk.iter().map(|row| row.at));
            let normed = self.norm.forward(&gathered);
            let normed = View::new(&normed, chunk.len(), width);
            let mut logits = forward(normed);
            for (rows, logits) in chunk.chunks(together).zip(logits.chunks_mut(together * vocab)) {
                sum += losses(rows, logits, vocab, goal.total);
            }
            // `logits` now holds the gradient to the logits.
            let dlogits = View::new(&logits, chunk.len(), vocab);
            let dnormed = matmul(isa(), dlogits, backward.panels());
            let parts = gathered.chunks(together * width).zip(dnormed.chunks(together * width));
            for (rows, (x, grad)) in chunk.chunks(together).zip(parts) {
                let d = self.norm.backward(x, grad, None);
                for (row, d) in rows.iter().zip(d.chunks(width)) {
                    dx[row.at * width..][..width].copy_from_slice(d);
                }
            }
            if let Weight::Trained(weight) = self.output.weight() {
                let right = Packed::new(isa(), normed);
                weight.learn(|sum| matmul_onto(isa(), dlogits.transposed(), right.panels(), sum));
            }
        }
        (sum / goal.total, dx)
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
