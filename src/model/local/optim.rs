//! Turns gradients into new weights: AdamW (Loshchilov & Hutter 2019) over named variables.
//!
//! # Invariants
//! Variables are visited in the order of their names. A variable without a gradient is an error, never a skipped step.
//! No hash map is iterated.

use candle_core::{Result, Tensor, Var, backprop::GradStore};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// The gradient of every variable, in the order of the names.
pub struct Gradients {
    grads: Vec<Tensor>,
}

impl Gradients {
    /// # Errors
    /// Names the first variable that has no gradient.
    pub fn of(_vars: &BTreeMap<String, Var>, _store: &GradStore) -> Result<Self> {
        todo!()
    }
    /// Adds another batch's gradients, for accumulation.
    pub fn add(&mut self, _other: &Gradients) -> Result<()> {
        todo!()
    }
    /// The Euclidean norm over all gradients, summed in fixed order.
    pub fn global_norm(&self) -> Result<f64> {
        let _ = &self.grads;
        todo!()
    }
}

/// All there is to an optimiser between two steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamWState {
    pub step: u64,
    /// By variable name: first and second moments.
    pub moments: BTreeMap<String, (Vec<f32>, Vec<f32>)>,
}

pub struct AdamW {}

impl AdamW {
    pub fn new(_vars: BTreeMap<String, Var>, _config: AdamWConfig) -> Self {
        todo!()
    }
    /// One update at learning rate `lr`; gradients are multiplied by `scale` first (1, or clip / norm).
    pub fn step(&mut self, _grads: &Gradients, _lr: f64, _scale: f64) -> Result<()> {
        todo!()
    }
    pub fn vars(&self) -> &BTreeMap<String, Var> {
        todo!()
    }
    pub fn state(&self) -> AdamWState {
        todo!()
    }
    /// # Errors
    /// When the names or sizes are not those of the variables.
    pub fn restore(&mut self, _state: AdamWState) -> Result<()> {
        todo!()
    }
}
