//! Turns gradients into new weights: AdamW (Loshchilov & Hutter 2019) over named variables.
//!
//! # Invariants
//! Variables are visited in the order of their names. A variable without a gradient is an error, never a skipped step.
//! No hash map is iterated.

use super::kernels::{Buffer, isa, parallel, rows};
use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Var, bail};
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
    by_name: BTreeMap<String, Buffer>,
}

impl Gradients {
    /// # Errors
    /// Names the first variable that has no gradient, or one of another size.
    pub fn of(vars: &BTreeMap<String, Var>, mut gradient: impl FnMut(&str) -> Option<Buffer>) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        for (name, var) in vars {
            let Some(values) = gradient(name) else {
                bail!("the variable `{name}` has no gradient: the loss does not depend on it")
            };
            if values.len() != var.elem_count() {
                bail!("the variable `{name}` is {:?}, its gradient has {} numbers", var.shape(), values.len());
            }
            by_name.insert(name.clone(), values);
        }
        Ok(Self { by_name })
    }

    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.by_name.get(name).map(|values| &**values)
    }

    /// The Euclidean norm over all gradients: squares in chunks of fixed size, chunks in f64 in the order of the names.
    pub fn global_norm(&self) -> f64 {
        let chunks: Vec<&[f32]> = self.by_name.values().flat_map(|grad| grad.chunks(CHUNK)).collect();
        let squares: Vec<f32> = chunks.par_iter().map(|chunk| rows::dot(isa(), chunk, chunk)).collect();
        squares.into_iter().map(f64::from).sum::<f64>().sqrt()
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
                Some(grad) if grad.len() != var.elem_count() => {
                    bail!("the variable `{name}` is {:?}, its gradient has {} numbers", var.shape(), grad.len())
                }
                Some(_) => {}
            }
        }
        self.state.step += 1;
        let AdamWConfig { beta1, beta2, eps, weight_decay } = self.config;
        for ((name, var), moments) in self.vars.iter().zip(self.state.moments.values_mut()) {
            let decay = if var.rank() == 2 { lr * weight_decay } else { 0.0 };
            let update = Update {
                gradient: &grads.by_name[name],
                moments: Mutex::new(moments),
                scale: scale as f32,
                betas: (beta1 as f32, beta2 as f32),
                rate: (lr * unbias(beta1, self.state.step)) as f32,
                unbias: unbias(beta2, self.state.step) as f32,
                eps: eps as f32,
                keep: (1.0 - decay) as f32,
            };
            var.inplace_op1(&update)?;
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

/// By what a running mean that began at zero is too small after so many steps.
pub fn unbias(beta: f64, steps: u64) -> f64 {
    1.0 / (1.0 - power(beta, steps))
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
    gradient: &'a [f32],
    moments: Mutex<&'a mut (Vec<f32>, Vec<f32>)>,
    scale: f32,
    betas: (f32, f32),
    rate: f32,
    unbias: f32,
    eps: f32,
    keep: f32,
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, weight: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(weight), Some((start, end))) = (weight, layout.contiguous_offsets()) else {
            bail!("adamw works on contiguous f32")
        };
        let (weight, grad) = (&mut weight[start..end], self.gradient);
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    fn variables() -> BTreeMap<String, Var> {
        let var = |data: &[f32], shape: &[usize]| {
            Var::from_tensor(&Tensor::from_slice(data, shape, &Device::Cpu).expect("a tensor")).expect("a variable")
        };
        BTreeMap::from([
            ("bias".to_owned(), var(&[0.5, -1.0], &[2])),
            ("weight".to_owned(), var(&[1.0, 2.0, -3.0, 4.0], &[2, 2])),
        ])
    }

    /// Gradients of `Σ (w·x)²`-like losses: `weight` gets itself, `bias` three times itself.
    fn gradients(vars: &BTreeMap<String, Var>) -> Gradients {
        let loss = |name: &str| vars[name].as_tensor().sqr().and_then(|t| t.sum_all()).expect("a sum");
        let loss = ((loss("weight") * 0.5).expect("half") + (loss("bias") * 1.5).expect("more")).expect("a sum");
        let store = loss.backward().expect("gradients");
        Gradients::of(vars, |name| flat(store.get(&vars[name])?)).expect("all there")
    }

    fn flat(tensor: &Tensor) -> Option<Buffer> {
        Some(tensor.flatten_all().and_then(|t| t.to_vec1()).ok()?.into())
    }

    fn all(vars: &BTreeMap<String, Var>) -> Vec<f32> {
        vars.values().flat_map(|v| v.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("f32")).collect()
    }

    #[test]
    fn steps_follow_the_formula() {
        let vars = variables();
        let config = AdamWConfig { weight_decay: 0.1, ..AdamWConfig::default() };
        let mut optimiser = AdamW::new(vars.clone(), config);
        let mut wanted: Vec<f64> = all(&vars).into_iter().map(f64::from).collect();
        let (mut m, mut v) = (vec![0.0; 6], vec![0.0; 6]);
        for t in 1..=5 {
            optimiser.step(&gradients(&vars), 0.01, 0.5).expect("a step");
            for i in 0..6 {
                // The bias comes first by name and does not decay.
                let (slope, decay) = if i < 2 { (3.0, 0.0) } else { (1.0, 0.1) };
                let g = wanted[i] * slope * 0.5;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (m, v) = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.999f64.powi(t)));
                wanted[i] -= 0.01 * (decay * wanted[i] + m / (v.sqrt() + 1e-8));
            }
        }
        for (got, wanted) in all(&vars).iter().zip(wanted) {
            assert!((f64::from(*got) - wanted).abs() < 1e-5, "{got} for {wanted}");
        }
    }

    #[test]
    fn a_missing_gradient_is_named() {
        let vars = variables();
        let bias = |name: &str| (name == "bias").then(|| vec![1.0; 2].into());
        let error = Gradients::of(&vars, bias).err().expect("an error");
        assert!(error.to_string().contains("`weight`"), "{error}");
        let only = BTreeMap::from([("bias".to_owned(), vars["bias"].clone())]);
        let few = Gradients::of(&only, bias).expect("there");
        let before = all(&vars);
        assert!(AdamW::new(vars.clone(), AdamWConfig::default()).step(&few, 0.1, 1.0).is_err());
        assert_eq!(all(&vars), before);
    }

    #[test]
    fn norms() {
        let vars = variables();
        let grads = gradients(&vars);
        let wanted = (1.5f64.powi(2) + 9.0 + 1.0 + 4.0 + 9.0 + 16.0).sqrt();
        assert!((grads.global_norm() - wanted).abs() < 1e-6);
    }

    #[test]
    fn a_restored_optimiser_takes_the_same_steps() {
        let (straight, halted) = (variables(), variables());
        let mut first = AdamW::new(straight.clone(), AdamWConfig::default());
        let mut second = AdamW::new(halted.clone(), AdamWConfig::default());
        for _ in 0..3 {
            first.step(&gradients(&straight), 0.1, 1.0).expect("a step");
            let state = second.state();
            second = AdamW::new(halted.clone(), AdamWConfig::default());
            second.restore(state).expect("the same variables");
            second.step(&gradients(&halted), 0.1, 1.0).expect("a step");
        }
        assert_eq!(all(&straight), all(&halted));
        let mut state = first.state();
        state.moments.remove("bias");
        assert!(first.restore(state).is_err());
        let mut state = first.state();
        state.moments.get_mut("bias").expect("there").0.pop();
        assert!(first.restore(state).is_err());
    }
}
