//! Turns rows into steps by candle's gradients.
//!
//! Variables, gradients and the optimiser's moments are f32; what is computed in between is of the model's type.

use super::Place;
use super::decoder::{Model, Pass, Weights, upload};
use crate::model::local::checkpoint::State;
use crate::model::local::config::Shape;
use crate::model::local::engine::{Learner, Way};
use crate::model::local::ops::{Goal, Segments};
use crate::model::local::optim::{AdamWConfig, AdamWState, unbias};
use crate::model::local::weights::{Array, Arrays};
use candle_core::backprop::GradStore;
use candle_core::{D, DType, Result, Tensor, Var, bail};
use std::collections::BTreeMap;

pub struct Learning {
    model: Model,
    variables: BTreeMap<String, Var>,
    gradients: BTreeMap<String, Tensor>,
    config: AdamWConfig,
    steps: u64,
    /// The running means of each variable's gradient and of its square.
    moments: BTreeMap<String, [Tensor; 2]>,
}

impl Learning {
    /// `learning` are variables by name: all weights, or adapters over `frozen` ones that count `scale` times.
    pub fn new(
        shape: &Shape,
        frozen: Arrays,
        learning: &Arrays,
        scale: f64,
        positions: usize,
        place: &Place,
        config: AdamWConfig,
    ) -> Result<Self> {
        if place.dtype == DType::F16 {
            bail!("half precision cannot hold a gradient on a GPU: declare `dtype = bf16`");
        }
        let exact = Place { dtype: DType::F32, ..place.clone() };
        let variable =
            |(name, array): (&String, &Array)| Ok((name.clone(), Var::from_tensor(&upload(array, &exact)?)?));
        let variables = learning.iter().map(variable).collect::<Result<BTreeMap<_, _>>>()?;
        let zeros =
            |(name, variable): (&String, &Var)| Ok((name.clone(), [variable.zeros_like()?, variable.zeros_like()?]));
        let moments = variables.iter().map(zeros).collect::<Result<_>>()?;
        let model = Model::new(shape, Weights { frozen, learning: &variables, scale }, positions, place)?;
        Ok(Self { model, variables, gradients: BTreeMap::new(), config, steps: 0, moments })
    }

    /// Adds what a backward pass found.
    fn collect(&mut self, found: &GradStore) -> Result<()> {
        for (name, variable) in &self.variables {
            let Some(gradient) = found.get(variable.as_tensor()) else { continue };
            let sum = match self.gradients.get(name) {
                None => gradient.clone(),
                Some(sum) => (sum + gradient)?,
            };
            self.gradients.insert(name.clone(), sum.detach());
        }
        Ok(())
    }

    fn layer(&self, index: usize, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.model.layer(index, x, pass, Ok)
    }

    /// `Σ wᵢ · nllᵢ / total`.
    fn loss(&self, x: &Tensor, goal: &Goal) -> Result<Tensor> {
        let device = self.model.device();
        let rows: Vec<u32> = goal.rows().map(|row| row.at as u32).collect();
        let targets: Vec<u32> = goal.rows().map(|row| row.target as u32).collect();
        let weights: Vec<f32> = goal.rows().map(|row| row.weight).collect();
        let count = rows.len();
        let logits = self.model.logits(&x.index_select(&Tensor::from_vec(rows, count, device)?, 0)?)?;
        let greatest = logits.max_keepdim(D::Minus1)?.detach();
        let logits = logits.broadcast_sub(&greatest)?;
        let right = logits.gather(&Tensor::from_vec(targets, (count, 1), device)?, 1)?;
        let losses = (logits.exp()?.sum_keepdim(D::Minus1)?.log()? - right)?;
        (losses * Tensor::from_vec(weights, (count, 1), device)?)?.sum_all()? / goal.total()
    }
}

impl Learner for Learning {
    fn learn(&mut self, ids: &[u32], segments: Segments, goal: &Goal, way: &Way) -> Result<f64> {
        goal.fits(segments.rows(), self.model.vocab())?;
        if goal.rows().next().is_none() {
            return Ok(0.0);
        }
        let keys: Vec<Vec<u32>> =
            segments.ranges().iter().map(|range| (range.start as u32..range.end as u32).collect()).collect();
        let pass = self.model.pass(&segments, &keys, &segments.positions(), way.dropout.clone())?;
        let layers = self.model.layers();
        let loss = if way.recompute {
            let mut inputs = Vec::with_capacity(layers);
            let mut x = self.model.embed(ids)?.detach();
            for index in 0..layers {
                let next = self.layer(index, &x, &pass)?.detach();
                inputs.push(std::mem::replace(&mut x, next));
            }
            let x = Var::from_tensor(&x)?;
            let loss = self.loss(&x, goal)?;
            let mut gradient = self.gradient(&loss, &x)?;
            for (index, x) in inputs.into_iter().enumerate().rev() {
                let x = Var::from_tensor(&x)?;
                // Its gradient to `x` is that of the loss.
                let through = (self.layer(index, &x, &pass)? * gradient)?.sum_all()?;
                gradient = self.gradient(&through, &x)?;
            }
            let found = (self.model.embed(ids)? * gradient)?.sum_all()?.backward()?;
            self.collect(&found)?;
            loss
        } else {
            let mut x = self.model.embed(ids)?;
            for index in 0..layers {
                x = self.layer(index, &x, &pass)?;
            }
            let loss = self.loss(&x, goal)?;
            let found = loss.backward()?;
            self.collect(&found)?;
            loss
        };
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }

    fn norm(&mut self) -> Result<f64> {
        let mut sum = 0.0;
        for name in self.variables.keys() {
            let Some(gradient) = self.gradients.get(name) else {
                bail!("the variable `{name}` has no gradient: the loss does not depend on it")
            };
            sum += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        Ok(sum.sqrt())
    }

    fn update(&mut self, lr: f64, scale: f64) -> Result<()> {
        let gradients = std::mem::take(&mut self.gradients);
        self.steps += 1;
        let AdamWConfig { beta1, beta2, eps, weight_decay } = self.config;
        for (name, variable) in &self.variables {
            let (Some(gradient), Some([first, second])) = (gradients.get(name), self.moments.get_mut(name)) else {
                bail!("the variable `{name}` has no gradient")
            };
            let gradient = (gradient * scale)?;
            *first = ((&*first * beta1)? + (&gradient * (1.0 - beta1))?)?;
            *second = ((&*second * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
            let spread = ((&*second * unbias(beta2, self.steps))?.sqrt()? + eps)?;
            let step = ((&*first * (lr * unbias(beta1, self.steps)))? / spread)?;
            let decay = if variable.rank() == 2 { lr * weight_decay } else { 0.0 };
            variable.set(&((variable.as_tensor() * (1.0 - decay))? - step)?.detach())?;
        }
        Ok(())
    }

    fn state(&self) -> Result<State> {
        let variable =
            |(name, variable): (&String, &Var)| Ok((name.clone(), Array::new(variable.dims(), numbers(variable)?)));
        let moments =
            |(name, [first, second]): (&String, &[Tensor; 2])| Ok((name.clone(), (numbers(first)?, numbers(second)?)));
        let optimiser =
            AdamWState { step: self.steps, moments: self.moments.iter().map(moments).collect::<Result<_>>()? };
        Ok(State { variables: self.variables.iter().map(variable).collect::<Result<_>>()?, optimiser })
    }

    fn restore(&mut self, State { variables, optimiser }: State) -> Result<()> {
        for (name, variable) in &self.variables {
            let (Some(value), Some((first, second))) = (variables.get(name), optimiser.moments.get(name)) else {
                bail!("the checkpoint has no `{name}`")
            };
            let like = |data: &[f32]| Tensor::from_slice(data, variable.dims(), variable.device());
            variable.set(&like(&value.floats())?)?;
            self.moments.insert(name.clone(), [like(first)?, like(second)?]);
        }
        self.steps = optimiser.step;
        Ok(())
    }
}

impl Learning {
    /// Of `sum` to `x`; that to the variables is collected.
    fn gradient(&mut self, sum: &Tensor, x: &Var) -> Result<Tensor> {
        let found = sum.backward()?;
        self.collect(&found)?;
        match found.get(x.as_tensor()) {
            Some(gradient) => Ok(gradient.detach()),
            None => bail!("no gradient comes through a layer"),
        }
    }
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}
