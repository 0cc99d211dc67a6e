//! Turns rows into steps of the processor's decoder, by our own kernels.

use super::checkpoint::State;
use super::decoder::{Decoder, tensor};
use super::engine::{Learner, Way};
use super::kernels;
use super::ops::{Goal, Segments};
use super::optim::{AdamW, Gradients};
use super::weights::{Array, Arrays};
use candle_core::{Result, Var, bail};

pub struct Trained {
    decoder: Decoder,
    optimiser: AdamW,
    /// Of this step, once its norm was asked for.
    gradients: Option<Gradients>,
}

impl Trained {
    /// `optimiser` moves the variables that the decoder was made of.
    pub fn new(decoder: Decoder, optimiser: AdamW) -> Self {
        Self { decoder, optimiser, gradients: None }
    }
}

impl Learner for Trained {
    fn learn(&mut self, ids: &[u32], segments: Segments, goal: &Goal, way: &Way) -> Result<f64> {
        let positions = segments.positions();
        let pass = self.decoder.pass(segments, positions, way.dropout.clone());
        kernels::awake(|| self.decoder.learn(ids, &pass, goal, way.recompute))
    }

    fn norm(&mut self) -> Result<f64> {
        let gradients = self.decoder.gradients(self.optimiser.vars())?;
        Ok(self.gradients.insert(gradients).global_norm())
    }

    fn update(&mut self, lr: f64, scale: f64) -> Result<()> {
        let Some(gradients) = self.gradients.take() else { bail!("a step without gradients") };
        self.optimiser.step(&gradients, lr, scale)
    }

    fn state(&self) -> Result<State> {
        let array = |(name, variable): (&String, &Var)| {
            let data = variable.flatten_all()?.to_vec1::<f32>()?;
            Ok((name.clone(), Array::new(variable.dims(), data)))
        };
        let variables = self.optimiser.vars().iter().map(array).collect::<Result<Arrays>>()?;
        Ok(State { variables, optimiser: self.optimiser.state() })
    }

    fn restore(&mut self, State { variables, optimiser }: State) -> Result<()> {
        for (name, variable) in self.optimiser.vars() {
            let Some(array) = variables.get(name) else { bail!("the checkpoint has no `{name}`") };
            variable.set(&tensor(array)?)?;
        }
        self.optimiser.restore(optimiser)
    }
}
