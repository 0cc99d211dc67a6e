//! The decoder against each family written out in f64, loop by loop, as transformers' `modeling_*.py` define it.

#![allow(clippy::disallowed_methods, reason = "the platform's functions, in f64, are the reference here")]

use super::*;
use crate::model::local::config::Shape;
use crate::model::local::decoder::{Decoder, Parameters};
use crate::model::local::ops::Segments;
use crate::model::local::rope::Scaling;
use crate::model::local::weights::{Array, Arrays};
use std::f64::consts::PI;

type Rows = Vec<Vec<f64>>;

fn linear(x: &Rows, weight: &Array) -> Rows {
    let columns = weight.shape[1];
    let dot = |x: &[f64], row: &[f32]| x.iter().zip(row).map(|(x, w)| x * f64::from(*w)).sum();
    x.iter().map(|x| weight.floats().chunks_exact(columns).map(|row| dot(x, row)).collect()).collect()
}

/// A linear map of a layer, with its bias where it has one.
fn mapped(x: &Rows, arrays: &Arrays, module: &str) -> Rows {
    let mut y = linear(x, &arrays[&format!("{module}.weight")]);
    if let Some(bias) = arrays.get(&format!("{module}.bias")) {
        y.iter_mut().for_each(|y| y.iter_mut().zip(bias.floats().iter()).for_each(|(y, bias)| *y += f64::from(*bias)));
    }
    y
}

/// Each head by itself.
fn normed_heads(x: Rows, weight: Option<&Array>, shape: &Shape) -> Rows {
    let Some(weight) = weight else { return x };
    let row = |row: Vec<f64>| norm(&row.chunks(shape.head_dim).map(<[f64]>::to_vec).collect(), weight, shape.norm_eps);
    x.into_iter().map(|x| row(x).concat()).collect()
}

fn norm(x: &Rows, weight: &Array, eps: f64) -> Rows {
    let one = |x: &Vec<f64>| {
        let scale = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + eps).sqrt();
        x.iter().zip(weight.floats().iter()).map(|(x, w)| x * scale * f64::from(*w)).collect()
    };
    x.iter().map(one).collect()
}

/// `x · cos + rotate_half(x) · sin`, head by head.
fn rotated(x: &Rows, shape: &Shape) -> Rows {
    let (dim, half) = (shape.head_dim, shape.head_dim / 2);
    let (frequencies, stretch) = frequencies(shape);
    let one = |(position, x): (usize, &Vec<f64>)| {
        let head = |head: &[f64]| {
            (0..dim)
                .map(|i| {
                    let angle = position as f64 * frequencies[i % half];
                    let turned = if i < half { -head[i + half] } else { head[i - half] };
                    stretch * (head[i] * angle.cos() + turned * angle.sin())
                })
                .collect::<Vec<f64>>()
        };
        x.chunks_exact(dim).flat_map(head).collect()
    };
    x.iter().enumerate().map(one).collect()
}

/// `inv_freq` and `attention_scaling` of transformers' `modeling_rope_utils.py`, line for line.
fn frequencies(shape: &Shape) -> (Vec<f64>, f64) {
    let (dim, base) = (shape.head_dim as f64, shape.rope.theta);
    let plain: Vec<f64> = (0..shape.head_dim / 2).map(|i| 1.0 / base.powf((2 * i) as f64 / dim)).collect();
    match shape.rope.scaling {
        None => (plain, 1.0),
        Some(Scaling::Linear { factor }) => (plain.iter().map(|f| f / factor).collect(), 1.0),
        Some(Scaling::Llama3 { factor, low, high, original }) => {
            let (low_wavelen, high_wavelen) = (original / low, original / high);
            let one = |f: &f64| {
                let wavelen = 2.0 * PI / f;
                let scaled = if wavelen > low_wavelen { f / factor } else { *f };
                let smooth = (original / wavelen - low) / (high - low);
                let smoothed = (1.0 - smooth) * scaled / factor + smooth * scaled;
                let is_medium = wavelen >= high_wavelen && wavelen <= low_wavelen;
                if is_medium { smoothed } else { scaled }
            };
            (plain.iter().map(one).collect(), 1.0)
        }
        Some(Scaling::Yarn { factor, fast, slow, original, stretch, whole }) => {
            assert!(whole && (stretch - (0.1 * factor.ln() + 1.0)).abs() < 1e-12, "the defaults");
            let correction_dim = |turns: f64| (dim * (original / (turns * 2.0 * PI)).ln()) / (2.0 * base.ln());
            let low = correction_dim(fast).floor().max(0.0);
            let high = correction_dim(slow).ceil().min(dim - 1.0);
            let one = |(i, f): (usize, &f64)| {
                let ramp = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                let extrapolated = 1.0 - ramp;
                f / factor * (1.0 - extrapolated) + f * extrapolated
            };
            (plain.iter().enumerate().map(one).collect(), stretch)
        }
    }
}

/// Causal; each key/value head serves `heads / kv_heads` neighbouring heads (`repeat_kv`).
fn attention(q: &Rows, k: &Rows, v: &Rows, shape: &Shape, window: Option<usize>) -> Rows {
    let (dim, group) = (shape.head_dim, shape.heads / shape.kv_heads);
    let one = |row: usize| {
        let head = |head: usize| {
            let part = |x: &'_ Vec<f64>, head: usize| x[head * dim..(head + 1) * dim].to_vec();
            let query = part(&q[row], head);
            let score = |seen: usize| {
                let key = part(&k[seen], head / group);
                (query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>() / (dim as f64).sqrt()).exp()
            };
            let first = window.map_or(0, |window| (row + 1).saturating_sub(window));
            let scores: Vec<f64> = (first..=row).map(score).collect();
            let total: f64 = scores.iter().sum();
            let value = |i: usize| {
                let weighted = scores.iter().enumerate().map(|(seen, s)| s * part(&v[first + seen], head / group)[i]);
                weighted.sum::<f64>() / total
            };
            (0..dim).map(value).collect::<Vec<f64>>()
        };
        (0..shape.heads).flat_map(head).collect()
    };
    (0..q.len()).map(one).collect()
}

fn add(x: Rows, y: &Rows) -> Rows {
    x.into_iter().zip(y).map(|(x, y)| x.into_iter().zip(y).map(|(x, y)| x + y).collect()).collect()
}

fn logits(shape: &Shape, arrays: &Arrays, ids: &[u32]) -> Rows {
    let embedding = &arrays["model.embed_tokens.weight"];
    let row = |id: &u32| {
        let from = *id as usize * shape.width;
        embedding.floats()[from..from + shape.width].iter().map(|value| f64::from(*value)).collect()
    };
    let mut x: Rows = ids.iter().map(row).collect();
    for layer in 0..shape.layers {
        let at = |part: &str| arrays.get(&format!("model.layers.{layer}.{part}.weight"));
        let linear = |x: &Rows, part: &str| mapped(x, arrays, &format!("model.layers.{layer}.{part}"));
        let normed = norm(&x, at("input_layernorm").unwrap(), shape.norm_eps);
        let [q, k] = [("self_attn.q_proj", "self_attn.q_norm"), ("self_attn.k_proj", "self_attn.k_norm")]
            .map(|(map, norm)| rotated(&normed_heads(linear(&normed, map), at(norm), shape), shape));
        let v = linear(&normed, "self_attn.v_proj");
        let seen = attention(&q, &k, &v, shape, shape.windows[layer]);
        x = add(x, &linear(&seen, "self_attn.o_proj"));
        let normed = norm(&x, at("post_attention_layernorm").unwrap(), shape.norm_eps);
        let (gate, up) = (linear(&normed, "mlp.gate_proj"), linear(&normed, "mlp.up_proj"));
        let silu = |gate: f64| gate / (1.0 + (-gate).exp());
        let inner = gate.iter().zip(&up).map(|(g, u)| g.iter().zip(u).map(|(g, u)| silu(*g) * u).collect()).collect();
        x = add(x, &linear(&inner, "mlp.down_proj"));
    }
    let head = if shape.tied { embedding } else { &arrays["lm_head.weight"] };
    linear(&norm(&x, &arrays["model.norm.weight"], shape.norm_eps), head)
}

#[test]
fn the_decoder_is_what_each_config_says() {
    for (name, shape) in families::shapes() {
        let arrays = families::noise(&shape);
        let ids: Vec<u32> = (0..29u32).map(|i| (i * i + 3) % 37).collect();
        let wanted = logits(&shape, &arrays, &ids);
        let decoder = Decoder::new(&shape, Parameters::Frozen(arrays.clone()), 64).unwrap();
        let segments = Segments::from_lengths([ids.len()]);
        let positions = segments.positions();
        let hidden = decoder.forward(&ids, &decoder.pass(segments, positions, None), None);
        let got = decoder.logits(&hidden, &(0..ids.len()).collect::<Vec<_>>());
        let largest = wanted.iter().flatten().fold(0.0f64, |most, value| most.max(value.abs()));
        assert!(largest > 1.0);
        for (wanted, got) in wanted.iter().flatten().zip(got.iter()) {
            assert!((wanted - f64::from(*got)).abs() < 1e-5 * largest, "{name}: {wanted} {got}");
        }
    }
}
