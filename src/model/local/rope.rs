//! Turns what a config says of rotary positions into frequencies: standard ones (Su et al. 2021), or stretched to longer
//! sequences.
//!
//! # Invariants
//! Frequencies are computed in f64, by our own functions.

use super::config::Fields;
use super::kernels::math::ln64;
use super::ops::RopeTables;
use crate::model::ModelError;
use serde_json::{Value, json};
use std::f64::consts::TAU;
use std::sync::Arc;

/// The rotary positions of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Pair i of a head turns by `theta^(−2i / head_dim)` a position, before it is scaled.
    pub theta: f64,
    pub scaling: Option<Scaling>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// Every frequency over `factor` (Chen et al. 2023).
    Linear { factor: f64 },
    /// Slow frequencies over `factor`, fast ones as they are, a ramp between: Llama 3.1.
    Llama3 { factor: f64, low: f64, high: f64, original: f64 },
    /// A ramp over the pairs, and rotated values times `stretch`: YaRN (Peng et al. 2023).
    Yarn { factor: f64, fast: f64, slow: f64, original: f64, stretch: f64, whole: bool },
}

/// Where a family's models keep the base of their frequencies when no file says it.
const THETA: f64 = 10_000.0;

impl Rope {
    pub const PLAIN: Self = Self { theta: THETA, scaling: None };

    /// From `rope_theta` and `rope_scaling` of transformers 4, or `rope_parameters` of transformers 5.
    ///
    /// # Errors
    /// A kind of scaling that is not supported, or that lacks what it needs.
    pub(super) fn parse(fields: &Fields, positions: usize) -> Result<Self, ModelError> {
        let (theta, found) = match fields.get("rope_parameters") {
            None => (fields.positive("rope_theta", THETA)?, ("rope_scaling", fields.get("rope_scaling"))),
            Some(value) => {
                let inner = match value {
                    Value::Object(map) => map,
                    _ => return Err(fields.wrong("rope_parameters", format!("is {value}, not an object"))),
                };
                let outer = fields.positive("rope_theta", THETA)?;
                let theta = Fields { path: fields.path, map: inner }.positive("rope_theta", outer)?;
                (theta, ("rope_parameters", Some(value)))
            }
        };
        let (name, Some(value)) = found else { return Ok(Self { theta, scaling: None }) };
        let Value::Object(map) = value else { return Err(fields.wrong(name, format!("is {value}, not an object"))) };
        let scaling = scaling(&Fields { path: fields.path, map }, positions);
        let scaling =
            scaling.map_err(|(field, problem)| fields.wrong(name, format!("is {value}: `{field}` {problem}")))?;
        Ok(Self { theta, scaling })
    }

    /// As transformers 4 reads it; nothing where it is standard.
    pub(super) fn render(&self) -> Option<Value> {
        Some(match self.scaling.as_ref()? {
            Scaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
            Scaling::Llama3 { factor, low, high, original } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": *original as u64,
            }),
            Scaling::Yarn { factor, fast, slow, original, stretch, whole } => json!({
                "rope_type": "yarn",
                "factor": factor,
                "beta_fast": fast,
                "beta_slow": slow,
                "original_max_position_embeddings": *original as u64,
                "attention_factor": stretch,
                "truncate": whole,
            }),
        })
    }

    pub fn tables(&self, head_dim: usize, positions: usize) -> Arc<RopeTables> {
        let stretch = if let Some(Scaling::Yarn { stretch, .. }) = &self.scaling { *stretch } else { 1.0 };
        RopeTables::new(&self.frequencies(head_dim), positions, stretch)
    }

    /// By how much each pair of a head turns a position.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f64> {
        let plain = RopeTables::frequencies(head_dim, self.theta);
        let Some(scaling) = &self.scaling else { return plain };
        plain.iter().enumerate().map(|(pair, plain)| self.scaled(scaling, head_dim, pair, *plain)).collect()
    }

    /// As `modeling_rope_utils.py` of transformers has them.
    fn scaled(&self, scaling: &Scaling, head_dim: usize, pair: usize, plain: f64) -> f64 {
        match *scaling {
            Scaling::Linear { factor } => plain / factor,
            Scaling::Llama3 { factor, low, high, original } => {
                // How often it turns within the original length.
                let turns = original * plain / TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                kept * plain + (1.0 - kept) * plain / factor
            }
            Scaling::Yarn { factor, fast, slow, original, stretch: _, whole } => {
                // The pair that turns so often within the original length.
                let dim = head_dim as f64;
                let pair_of = |turns: f64| dim * ln64(original / (turns * TAU)) / (2.0 * ln64(self.theta));
                let (mut first, mut last) = (pair_of(fast), pair_of(slow));
                if whole {
                    (first, last) = (first.floor(), last.ceil());
                }
                let (first, mut last) = (first.max(0.0), last.min(dim - 1.0));
                if first == last {
                    last += 1e-3;
                }
                let ramp = ((pair as f64 - first) / (last - first)).clamp(0.0, 1.0);
                plain / factor * ramp + plain * (1.0 - ramp)
            }
        }
    }
}

/// What went wrong with which field of the object.
type Wrong = (&'static str, String);

fn scaling(fields: &Fields, positions: usize) -> Result<Option<Scaling>, Wrong> {
    let kind = ["rope_type", "type"].into_iter().find_map(|key| fields.get(key));
    let optional = |field: &'static str| match fields.get(field) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) if (number as f32).is_finite() && number as f32 > 0.0 => Ok(Some(number)),
            _ => Err((field, "is not a positive number that f32 can hold".to_owned())),
        },
    };
    let number = |field: &'static str| optional(field)?.ok_or((field, "is missing".to_owned()));
    let understood = |known: &[&str]| {
        let known = |field: &str| ["rope_type", "type", "rope_theta"].contains(&field) || known.contains(&field);
        match fields.map.iter().find(|(field, value)| !known(field) && !value.is_null()) {
            Some((field, _)) => Err(("rope_type", format!("does not go with `{field}`, which is not understood"))),
            None => Ok(()),
        }
    };
    match kind.map(|kind| kind.as_str().unwrap_or_default()) {
        None | Some("default") => {
            understood(&[])?;
            Ok(None)
        }
        Some("linear") => {
            understood(&["factor"])?;
            Ok(Some(Scaling::Linear { factor: number("factor")? }))
        }
        Some("llama3") => {
            understood(&["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"])?;
            let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
            if low >= high {
                return Err(("low_freq_factor", format!("is not below `high_freq_factor`, {high}")));
            }
            let original = number("original_max_position_embeddings")?;
            Ok(Some(Scaling::Llama3 { factor: number("factor")?, low, high, original }))
        }
        Some("yarn") => {
            understood(&[
                "factor",
                "beta_fast",
                "beta_slow",
                "original_max_position_embeddings",
                "attention_factor",
                "truncate",
            ])?;
            let factor = number("factor")?;
            let stretch = match optional("attention_factor")? {
                Some(stretch) => stretch,
                None if factor <= 1.0 => 1.0,
                None => 0.1 * ln64(factor) + 1.0,
            };
            let whole = match fields.get("truncate") {
                None => true,
                Some(value) => value.as_bool().ok_or(("truncate", "is not true or false".to_owned()))?,
            };
            let (fast, slow) = (optional("beta_fast")?.unwrap_or(32.0), optional("beta_slow")?.unwrap_or(1.0));
            let original = optional("original_max_position_embeddings")?.unwrap_or(positions as f64);
            Ok(Some(Scaling::Yarn { factor, fast, slow, original, stretch, whole }))
        }
        Some(_) => {
            Err(("rope_type", "is not supported; there are `default`, `linear`, `llama3` and `yarn`".to_owned()))
        }
    }
}
