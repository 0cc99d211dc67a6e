//! Turns a shape and a seed into random weights.
//!
//! # Determinism
//! A value depends on the seed, its tensor's name and its position alone, and is made of integers and one product, so
//! every machine makes the same.
//!
//! # Invariants
//! Nothing here calls a libm function.

use super::config::Shape;
use super::weights::{Array, Arrays, layout};
use crate::base::Seed;

/// The standard deviation of GPT-2 and Llama.
const DEVIATION: f64 = 0.02;

/// Normal with deviation 0.02; projections into the residual stream are scaled by 1/sqrt(2 layers), so that the stream's
/// variance does not grow with depth (Radford et al. 2019); norms are one, biases zero.
pub fn weights(shape: &Shape, seed: Seed) -> Arrays {
    let residual = 1.0 / (2.0 * shape.layers as f64).sqrt();
    let make = |(name, dims): (String, Vec<usize>)| {
        let count = dims.iter().product();
        let scale = match name.rsplit('.').nth(1) {
            Some("o_proj" | "down_proj") => DEVIATION * residual,
            _ => DEVIATION,
        };
        let data = match name.rsplit('.').next() {
            _ if name.ends_with("norm.weight") => vec![1.0; count],
            Some("bias") => vec![0.0; count],
            _ => normal(seed.derive(&*name), count, scale),
        };
        (name, Array::new(&dims, data))
    };
    layout(shape).into_iter().map(make).collect()
}

/// Draws with mean 0 and the given deviation: the centred sum of twelve 16-bit uniforms, within 1 % of a normal's density
/// up to two deviations, exact in integers until the last product.
pub fn normal(seed: Seed, count: usize, deviation: f64) -> Vec<f32> {
    // Twelve uniforms on 0..=65535: mean 12 · 65535/2, variance 12 · (65536² − 1)/12.
    let unit = deviation / 65536.0;
    let draw = |position: u64| {
        let sum: u64 = (0..3)
            .map(|part| seed.bits(3 * position + part))
            .map(|bits| (0..4).map(|quarter| (bits >> (16 * quarter)) & 0xffff).sum::<u64>())
            .sum();
        ((sum as f64 - 6.0 * 65535.0) * unit) as f32
    };
    (0..count as u64).map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_moments_of_a_normal() {
        let draws = normal(Seed(3), 100_000, 2.0);
        let moment = |power: i32| draws.iter().map(|x| (f64::from(*x) / 2.0).powi(power)).sum::<f64>() / 1e5;
        assert!(moment(1).abs() < 0.01, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.02, "{}", moment(2));
        // Twelve uniforms have a kurtosis of 2.9.
        assert!((moment(4) - 2.9).abs() < 0.1, "{}", moment(4));
    }
}
