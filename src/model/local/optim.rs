//! Turns gradients into new weights: AdamW (Loshchilov & Hutter 2019) over named variables.
//!
//! # Invariants
//! Variables are visited in the order of their names. A variable without a gradient is an error, never a skipped step.
//! No hash map is iterated.

use super::kernels::{isa, parallel, rows};
use super::ops::floats;
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, Var, backprop::GradStore, bail};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Mutex;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// Decoupled; applied to matrices, not to vectors.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// Numbers handled at a time; fixed, because norms are added chunk by chunk.
const CHUNK: usize = 16_384;

/// The gradient of every variable, in the order of the names.
pub struct Gradients {
    by_name: BTreeMap<String, Tensor>,
}

impl Gradients {
    /// # Errors
    /// Names the first variable that has no gradient.
    pub fn of(vars: &BTreeMap<String, Var>, store: &GradStore) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        for (name, var) in vars {
            let Some(grad) = store.get(var.as_tensor()) else {
                bail!("the variable `{name}` has no gradient: the loss does not depend on it")
            };
            by_name.insert(name.clone(), grad.contiguous()?.detach());
        }
        Ok(Self { by_name })
    }

    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name)
    }

    /// Adds another batch's gradients, for accumulation.
    pub fn add(&mut self, other: &Gradients) -> Result<()> {
        if !self.by_name.keys().eq(other.by_name.keys()) {
            bail!("gradients of different variables cannot be added");
        }
        for (sum, grad) in self.by_name.values_mut().zip(other.by_name.values()) {
            *sum = (&*sum + grad)?;
        }
        Ok(())
    }

    /// The Euclidean norm over all gradients: squares in chunks of fixed size, chunks in f64 in the order of the names.
    pub fn global_norm(&self) -> Result<f64> {
        let mut squares = 0.0f64;
        for grad in self.by_name.values() {
            for chunk in floats(grad)?.chunks(CHUNK) {
                squares += f64::from(rows::dot(isa(), chunk, chunk));
            }
        }
        Ok(squares.sqrt())
    }
}

/// All there is to an optimiser between two steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamWState {
    /// Steps taken.
    pub step: u64,
    /// By variable: the running means of its gradient and of its square.
    pub moments: BTreeMap<String, (Vec<f32>, Vec<f32>)>,
}

pub struct AdamW {
    vars: BTreeMap<String, Var>,
    config: AdamWConfig,
    state: AdamWState,
}

impl AdamW {
    pub fn new(vars: BTreeMap<String, Var>, config: AdamWConfig) -> Self {
        let zero = |var: &Var| (vec![0.0; var.elem_count()], vec![0.0; var.elem_count()]);
        let moments = vars.iter().map(|(name, var)| (name.clone(), zero(var))).collect();
        Self { vars, config, state: AdamWState { step: 0, moments } }
    }

    pub fn vars(&self) -> &BTreeMap<String, Var> {
        &self.vars
    }

    /// One update at learning rate `lr`; gradients are multiplied by `scale` first (1, or clip / norm).
    ///
    /// # Errors
    /// When a variable has no gradient or one of another shape; nothing has changed then.
    pub fn step(&mut self, grads: &Gradients, lr: f64, scale: f64) -> Result<()> {
        for (name, var) in &self.vars {
            match grads.get(name) {
                None => bail!("the variable `{name}` has no gradient"),
                Some(grad) if grad.shape() != var.shape() => {
                    bail!("the variable `{name}` is {:?}, its gradient {:?}", var.shape(), grad.shape())
                }
                Some(_) => {}
            }
        }
        self.state.step += 1;
        let AdamWConfig { beta1, beta2, eps, weight_decay } = self.config;
        let unbias = |beta: f64| 1.0 / (1.0 - power(beta, self.state.step));
        for ((name, var), moments) in self.vars.iter().zip(self.state.moments.values_mut()) {
            let decay = if var.rank() == 2 { lr * weight_decay } else { 0.0 };
            let update = Update {
                moments: Mutex::new(moments),
                scale: scale as f32,
                betas: (beta1 as f32, beta2 as f32),
                rate: (lr * unbias(beta1)) as f32,
                unbias: unbias(beta2) as f32,
                eps: eps as f32,
                keep: (1.0 - decay) as f32,
            };
            var.inplace_op2(&grads.by_name[name], &update)?;
        }
        Ok(())
    }

    pub fn state(&self) -> AdamWState {
        self.state.clone()
    }

    /// # Errors
    /// When the names or sizes are not those of the variables.
    pub fn restore(&mut self, state: AdamWState) -> Result<()> {
        if !state.moments.keys().eq(self.vars.keys()) {
            bail!("the optimiser's state is of other variables");
        }
        for ((name, var), (first, second)) in self.vars.iter().zip(state.moments.values()) {
            if first.len() != var.elem_count() || second.len() != var.elem_count() {
                bail!("the optimiser's state of `{name}` has another size");
            }
        }
        self.state = state;
        Ok(())
    }
}

/// `base` to the power of `exponent` by squaring: no platform function.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}

/// One variable's update; candle wants it behind a shared reference.
struct Update<'a> {
    moments: Mutex<&'a mut (Vec<f32>, Vec<f32>)>,
    scale: f32,
    betas: (f32, f32),
    rate: f32,
    unbias: f32,
    eps: f32,
    keep: f32,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, weight: &mut CpuStorage, wl: &Layout, grad: &CpuStorage, gl: &Layout) -> Result<()> {
        let (CpuStorage::F32(weight), CpuStorage::F32(grad)) = (weight, grad) else { bail!("adamw works on f32") };
        let (Some((w0, w1)), Some((g0, g1))) = (wl.contiguous_offsets(), gl.contiguous_offsets()) else {
            bail!("adamw works on contiguous variables")
        };
        let (weight, grad) = (&mut weight[w0..w1], &grad[g0..g1]);
        let mut moments = self.moments.lock().expect("no panic holds it");
        let (first, second) = &mut **moments;
        let size = if parallel::tasks_for(weight.len() * 8) > 1 { CHUNK } else { weight.len().max(1) };
        weight
            .par_chunks_mut(size)
            .zip(grad.par_chunks(size))
            .zip(first.par_chunks_mut(size).zip(second.par_chunks_mut(size)))
            .for_each(|((w, g), (m, v))| {
                rows::adamw(isa(), w, m, v, g, self.scale, self.betas, self.rate, self.unbias, self.eps, self.keep);
            });
        Ok(())
    }
}
