//! The decoder against Llama written out in f64, loop by loop, as transformers' `modeling_llama.py` defines it.

#![allow(clippy::disallowed_methods, reason = "the platform's functions, in f64, are the reference here")]

use super::*;
use crate::model::local::config::Shape;
use crate::model::local::decoder::{Decoder, Parameters, Sight};
use crate::model::local::ops::Segments;
use crate::model::local::weights::{Array, Arrays, layout};
use std::sync::Arc;

type Rows = Vec<Vec<f64>>;

fn linear(x: &Rows, weight: &Array) -> Rows {
    let columns = weight.shape[1];
    let dot = |x: &[f64], row: &[f32]| x.iter().zip(row).map(|(x, w)| x * f64::from(*w)).sum();
    x.iter().map(|x| weight.data.chunks_exact(columns).map(|row| dot(x, row)).collect()).collect()
}

fn norm(x: &Rows, weight: &Array, eps: f64) -> Rows {
    let one = |x: &Vec<f64>| {
        let scale = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + eps).sqrt();
        x.iter().zip(&weight.data).map(|(x, w)| x * scale * f64::from(*w)).collect()
    };
    x.iter().map(one).collect()
}

/// `x · cos + rotate_half(x) · sin`, head by head.
fn rotated(x: &Rows, shape: &Shape) -> Rows {
    let (dim, half) = (shape.head_dim, shape.head_dim / 2);
    let one = |(position, x): (usize, &Vec<f64>)| {
        let head = |head: &[f64]| {
            (0..dim)
                .map(|i| {
                    let frequency = shape.rope_theta.powf(-((2 * (i % half)) as f64) / dim as f64);
                    let angle = position as f64 * frequency;
                    let turned = if i < half { -head[i + half] } else { head[i - half] };
                    head[i] * angle.cos() + turned * angle.sin()
                })
                .collect::<Vec<f64>>()
        };
        x.chunks_exact(dim).flat_map(head).collect()
    };
    x.iter().enumerate().map(one).collect()
}

/// Causal; each key/value head serves `heads / kv_heads` neighbouring heads (`repeat_kv`).
fn attention(q: &Rows, k: &Rows, v: &Rows, shape: &Shape) -> Rows {
    let (dim, group) = (shape.head_dim, shape.heads / shape.kv_heads);
    let one = |row: usize| {
        let head = |head: usize| {
            let part = |x: &'_ Vec<f64>, head: usize| x[head * dim..(head + 1) * dim].to_vec();
            let query = part(&q[row], head);
            let score = |seen: usize| {
                let key = part(&k[seen], head / group);
                (query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>() / (dim as f64).sqrt()).exp()
            };
            let scores: Vec<f64> = (0..=row).map(score).collect();
            let total: f64 = scores.iter().sum();
            let value = |i: usize| {
                let weighted = scores.iter().enumerate().map(|(seen, s)| s * part(&v[seen], head / group)[i]);
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
        embedding.data[from..from + shape.width].iter().map(|value| f64::from(*value)).collect()
    };
    let mut x: Rows = ids.iter().map(row).collect();
    for layer in 0..shape.layers {
        let at = |part: &str| &arrays[&format!("model.layers.{layer}.{part}.weight")];
        let normed = norm(&x, at("input_layernorm"), shape.norm_eps);
        let (q, k) = (linear(&normed, at("self_attn.q_proj")), linear(&normed, at("self_attn.k_proj")));
        let v = linear(&normed, at("self_attn.v_proj"));
        let seen = attention(&rotated(&q, shape), &rotated(&k, shape), &v, shape);
        x = add(x, &linear(&seen, at("self_attn.o_proj")));
        let normed = norm(&x, at("post_attention_layernorm"), shape.norm_eps);
        let (gate, up) = (linear(&normed, at("mlp.gate_proj")), linear(&normed, at("mlp.up_proj")));
        let silu = |gate: f64| gate / (1.0 + (-gate).exp());
        let inner = gate.iter().zip(&up).map(|(g, u)| g.iter().zip(u).map(|(g, u)| silu(*g) * u).collect()).collect();
        x = add(x, &linear(&inner, at("mlp.down_proj")));
    }
    let head = if shape.tied { embedding } else { &arrays["lm_head.weight"] };
    linear(&norm(&x, &arrays["model.norm.weight"], shape.norm_eps), head)
}

#[test]
fn the_decoder_is_llama() {
    let base = Shape {
        width: 24,
        ffn: 40,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 6,
        vocab: 37,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        tied: true,
        positions: 64,
    };
    let shapes = [
        Shape { kv_heads: 4, tied: false, rope_theta: 500.0, norm_eps: 1e-2, ..base.clone() },
        // Heads wider than the stream, as in some newer models.
        Shape { heads: 6, kv_heads: 1, head_dim: 10, ..base.clone() },
        base,
    ];
    for shape in shapes {
        let noise = |(name, dims): (String, Vec<usize>)| {
            let count = dims.iter().product();
            let mut data = crate::model::local::fresh::normal(Seed(4).derive(&*name), count, 0.3);
            if name.ends_with("norm.weight") {
                data.iter_mut().for_each(|value| *value += 1.0);
            }
            (name, Array::new(&dims, data))
        };
        let arrays: Arrays = layout(&shape).into_iter().map(noise).collect();
        let ids: Vec<u32> = (0..29u32).map(|i| (i * i + 3) % 37).collect();
        let wanted = logits(&shape, &arrays, &ids);
        let decoder = Decoder::new(&shape, &Parameters::Frozen(&arrays), 64).unwrap();
        let segments = Arc::new(Segments::from_lengths([ids.len()]));
        let positions = Arc::from(segments.positions());
        let hidden = decoder.hidden(&ids, &positions, Sight::Whole(&segments), None).unwrap();
        let got = decoder.logits(&hidden, &(0..ids.len()).collect::<Vec<_>>()).unwrap().to_vec2::<f32>().unwrap();
        let largest = wanted.iter().flatten().fold(0.0f64, |most, value| most.max(value.abs()));
        assert!(largest > 1.0);
        for (wanted, got) in wanted.iter().flatten().zip(got.iter().flatten()) {
            assert!((wanted - f64::from(*got)).abs() < 1e-5 * largest, "{wanted} {got}");
        }
    }
}
