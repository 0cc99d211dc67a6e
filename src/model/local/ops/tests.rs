//! Every operation against its formula in f64, and every gradient against central differences of that formula.

#![allow(clippy::disallowed_methods, reason = "the platform's functions, in f64, are the reference here")]

use super::*;
use crate::base::Seed;
use candle_core::{DType, Var};
use std::sync::Arc;

fn numbers(seed: u64, count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| (Seed(seed).bits(i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

fn variable(seed: u64, shape: &[usize]) -> Var {
    let data = numbers(seed, shape.iter().product());
    Var::from_tensor(&Tensor::from_vec(data, shape, &Device::Cpu).expect("a tensor")).expect("a variable")
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("f32")
}

fn close(what: &str, got: &[f32], wanted: &[f64], tolerance: f64) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let size = wanted.iter().fold(1e-3f64, |a, b| a.max(b.abs()));
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!((f64::from(*got) - wanted).abs() <= tolerance * size, "{what} {i}: {got} for {wanted}");
    }
}

/// Compares `op` with `formula` and the gradients of `Σ op · r` with central differences of `Σ formula · r`, r random.
fn check(shapes: &[&[usize]], op: impl Fn(&[Tensor]) -> Result<Tensor>, formula: impl Fn(&[Vec<f64>]) -> Vec<f64>) {
    let vars: Vec<Var> = shapes.iter().enumerate().map(|(i, shape)| variable(i as u64 + 1, shape)).collect();
    let inputs: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let mut wide: Vec<Vec<f64>> = inputs.iter().map(|t| values(t).into_iter().map(f64::from).collect()).collect();
    let out = op(&inputs).expect("the operation runs");
    close("output", &values(&out), &formula(&wide), 2e-6);

    let weights = numbers(99, out.elem_count());
    let factor = Tensor::from_vec(weights.clone(), out.shape(), &Device::Cpu).expect("a tensor");
    let loss = (&out * &factor).and_then(|t| t.sum_all()).expect("a sum");
    let grads = loss.backward().expect("gradients");
    let total = |wide: &[Vec<f64>]| formula(wide).iter().zip(&weights).map(|(y, &w)| y * f64::from(w)).sum::<f64>();
    for (i, var) in vars.iter().enumerate() {
        let got = values(grads.get(var.as_tensor()).unwrap_or_else(|| panic!("operand {i} has no gradient")));
        let mut wanted = Vec::new();
        for j in 0..wide[i].len() {
            let (x, step) = (wide[i][j], 1e-4);
            wide[i][j] = x + step;
            let above = total(&wide);
            wide[i][j] = x - step;
            let below = total(&wide);
            wide[i][j] = x;
            wanted.push((above - below) / (2.0 * step));
        }
        close(&format!("gradient of operand {i}"), &got, &wanted, 1e-5);
    }
}

/// `x Wᵀ` for x `[rows, input]` and W `[out, input]`.
fn times(x: &[f64], w: &[f64], input: usize) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    x.chunks(input).flat_map(|x| w.chunks(input).map(move |w| dot(x, w))).collect()
}

#[test]
fn linear_with_a_trained_weight() {
    check(&[&[23, 18], &[35, 18]], |t| linear(&t[0], &Weight::Trained(t[1].clone())), |x| times(&x[0], &x[1], 18));
}

#[test]
fn linear_with_a_frozen_weight() {
    let weight = variable(50, &[21, 18]);
    let wide: Vec<f64> = values(&weight).into_iter().map(f64::from).collect();
    let frozen = FrozenWeight::new(&weight).expect("packed");
    check(&[&[9, 18]], |t| linear(&t[0], &Weight::Frozen(frozen.clone())), |x| times(&x[0], &wide, 18));
}

#[test]
fn linear_with_a_low_rank_part() {
    let weight = variable(50, &[21, 18]);
    let wide: Vec<f64> = values(&weight).into_iter().map(f64::from).collect();
    let base = FrozenWeight::new(&weight).expect("packed");
    let lora = |t: &[Tensor]| Weight::Lora { base: base.clone(), a: t[1].clone(), b: t[2].clone(), scale: 0.5 };
    check(
        &[&[9, 18], &[4, 18], &[21, 4]],
        |t| linear(&t[0], &lora(t)),
        |x| {
            let low = times(&times(&x[0], &x[1], 18), &x[2], 4);
            times(&x[0], &wide, 18).iter().zip(low).map(|(y, low)| y + 0.5 * low).collect()
        },
    );
}

#[test]
fn a_zero_adapter_changes_no_bit() {
    let (x, weight) = (variable(1, &[30, 40]), variable(2, &[50, 40]));
    let base = FrozenWeight::new(&weight).expect("packed");
    let b = Tensor::zeros((50, 8), DType::F32, &Device::Cpu).expect("zeros");
    let adapted = Weight::Lora { base: base.clone(), a: variable(3, &[8, 40]).as_tensor().clone(), b, scale: 2.0 };
    let plain = linear(&x, &Weight::Frozen(base)).expect("runs");
    assert_eq!(values(&plain), values(&linear(&x, &adapted).expect("runs")));
    let trained = Weight::Trained(weight.as_tensor().clone());
    assert_eq!(values(&plain), values(&linear(&x, &trained).expect("runs")));
}

#[test]
fn norm() {
    check(
        &[&[70, 20], &[20]],
        |t| rms_norm(&t[0], &t[1], 1e-5),
        |x| {
            let eps = f64::from(1e-5f32);
            let row = |row: &[f64]| -> Vec<f64> {
                let r = 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / 20.0 + eps).sqrt();
                row.iter().zip(&x[1]).map(|(x, w)| x * r * w).collect()
            };
            x[0].chunks(20).flat_map(row).collect()
        },
    );
}

#[test]
fn gated_activation() {
    check(
        &[&[7, 33], &[7, 33]],
        |t| swiglu(&t[0], &t[1]),
        |x| x[0].iter().zip(&x[1]).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect(),
    );
}

#[test]
fn bias() {
    check(
        &[&[70, 19], &[19]],
        |t| add_bias(&t[0], &t[1]),
        |x| x[0].iter().enumerate().map(|(i, value)| value + x[1][i % 19]).collect(),
    );
    assert!(add_bias(&variable(1, &[4, 8]), &variable(2, &[7])).is_err());
}

#[test]
fn residual_sum() {
    check(&[&[5, 19], &[5, 19]], |t| add(&t[0], &t[1]), |x| x[0].iter().zip(&x[1]).map(|(a, b)| a + b).collect());
}

#[test]
fn rotation_by_position() {
    let tables = RopeTables::new(&RopeTables::frequencies(12, 10_000.0), 400, 1.0);
    let positions: Arc<[u32]> = [0, 1, 2, 0, 399, 17].into();
    check(
        &[&[6, 24]],
        |t| rope(&t[0], &positions, &tables),
        |x| {
            let mut out = x[0].clone();
            for (row, position) in positions.iter().enumerate() {
                for (head, i) in [(0, 0), (1, 0)].iter().flat_map(|&(h, _)| (0..6).map(move |i| (h, i))) {
                    let angle = f64::from(*position) * 10_000f64.powf(-(i as f64) / 6.0);
                    let (a, b) = (row * 24 + head * 12 + i, row * 24 + head * 12 + i + 6);
                    out[a] = x[0][a] * angle.cos() - x[0][b] * angle.sin();
                    out[b] = x[0][a] * angle.sin() + x[0][b] * angle.cos();
                }
            }
            out
        },
    );
    assert!(rope(&variable(1, &[1, 24]), &[400].into(), &tables).is_err(), "a position past the table");
}

#[test]
fn rows_of_a_table() {
    let ids = [3, 0, 3, 6, 3];
    check(
        &[&[7, 10]],
        |t| embed(&t[0], &ids),
        |x| ids.iter().flat_map(|&id| x[0][id as usize * 10..][..10].to_vec()).collect(),
    );
    assert!(embed(&variable(1, &[7, 10]), &[7]).is_err(), "an id past the table");
}

#[test]
fn causal_attention() {
    [None, Some(1), Some(5)].into_iter().for_each(attention_in);
}

fn attention_in(window: Option<usize>) {
    let heads = Heads { heads: 4, kv_heads: 2, head_dim: 6, window };
    let segments = Arc::new(Segments::from_lengths([3, 1, 20]));
    let formula = |x: &[Vec<f64>]| {
        let mut out = vec![0.0; x[0].len()];
        for range in segments.ranges() {
            for (i, head) in range.clone().flat_map(|i| (0..4).map(move |head| (i, head))) {
                let at = i * 24 + head * 6;
                let kv = |j: usize| j * 12 + head / 2 * 6;
                let dot = |j: usize| (0..6).map(|d| x[0][at + d] * x[1][kv(j) + d]).sum::<f64>();
                let first = window.map_or(0, |window| (i + 1).saturating_sub(window)).max(range.start);
                let e: Vec<f64> = (first..=i).map(|j| (dot(j) / 6f64.sqrt()).exp()).collect();
                let total: f64 = e.iter().sum();
                for d in 0..6 {
                    out[at + d] = (first..=i).zip(&e).map(|(j, e)| e / total * x[2][kv(j) + d]).sum();
                }
            }
        }
        out
    };
    check(&[&[24, 24], &[24, 12], &[24, 12]], |t| attention(&t[0], &t[1], &t[2], &segments, heads), formula);
}

const TARGETS: [u32; 6] = [4, 0, 29, 7, 7, 1000];
const WEIGHTS: [f32; 6] = [1.0, 0.5, 2.0, 0.0, 1.0, 0.0];

/// The weighted mean loss for 30 classes and rows of 8.
fn mean_loss(hidden: &[f64], layer: &[f64]) -> Vec<f64> {
    let logits = times(hidden, layer, 8);
    let loss = |(i, row): (usize, &[f64])| match WEIGHTS[i] {
        0.0 => 0.0,
        w => f64::from(w) * (row.iter().map(|z| z.exp()).sum::<f64>().ln() - row[TARGETS[i] as usize]),
    };
    let total: f64 = logits.chunks(30).enumerate().map(loss).sum();
    vec![total / 4.5]
}

#[test]
fn loss_with_a_trained_output_layer() {
    check(
        &[&[6, 8], &[30, 8]],
        |t| cross_entropy(&t[0], &Weight::Trained(t[1].clone()), &TARGETS, &WEIGHTS),
        |x| mean_loss(&x[0], &x[1]),
    );
}

#[test]
fn loss_with_a_frozen_output_layer() {
    let layer = variable(60, &[30, 8]);
    let wide: Vec<f64> = values(&layer).into_iter().map(f64::from).collect();
    let frozen = FrozenWeight::new(&layer).expect("packed");
    check(
        &[&[6, 8]],
        |t| cross_entropy(&t[0], &Weight::Frozen(frozen.clone()), &TARGETS, &WEIGHTS),
        |x| mean_loss(&x[0], &wide),
    );
}

#[test]
fn a_loss_in_many_chunks_is_the_mean_of_its_rows() {
    // 1,400 rows of 1,600 logits do not fit one chunk.
    let (hidden, layer) = (variable(61, &[1400, 16]), variable(62, &[1600, 16]));
    let targets: Vec<u32> = (0..1400).map(|i| i * 7 % 1600).collect();
    let weight = Weight::Trained(layer.as_tensor().clone());
    let loss = |rows: std::ops::Range<usize>| {
        let hidden = hidden.narrow(0, rows.start, rows.len()).expect("rows");
        let loss = cross_entropy(&hidden, &weight, &targets[rows.clone()], &vec![1.0; rows.len()]).expect("runs");
        f64::from(loss.to_scalar::<f32>().expect("a scalar"))
    };
    let singles: f64 = (0..1400).step_by(100).map(|i| loss(i..i + 100)).sum::<f64>() / 14.0;
    assert!((loss(0..1400) - singles).abs() < 1e-6);
}

#[test]
fn a_tied_table_collects_both_gradients() {
    let table = variable(63, &[30, 8]);
    let loss = |t: &[Tensor]| {
        let hidden = embed(&t[0], &[1, 2, 3, 4, 5, 29])?;
        cross_entropy(&hidden, &Weight::Trained(t[0].clone()), &TARGETS, &WEIGHTS)
    };
    let formula = |x: &[Vec<f64>]| {
        let hidden: Vec<f64> = [1, 2, 3, 4, 5, 29].iter().flat_map(|&id| x[0][id * 8..][..8].to_vec()).collect();
        mean_loss(&hidden, &x[0])
    };
    assert!(loss(&[table.as_tensor().clone()]).is_ok());
    check(&[&[30, 8]], loss, formula);
}

#[test]
fn mistakes_are_errors() {
    let (x, w) = (variable(1, &[4, 8]), variable(2, &[5, 7]));
    let trained = |w: &Var| Weight::Trained(w.as_tensor().clone());
    assert!(linear(&x, &trained(&w)).is_err());
    assert!(rms_norm(&x, &variable(3, &[7]), 1e-5).is_err());
    assert!(swiglu(&x, &variable(3, &[8, 4])).is_err());
    let layer = variable(3, &[5, 8]);
    assert!(cross_entropy(&x, &trained(&layer), &[0; 3], &[1.0; 4]).is_err(), "too few targets");
    assert!(cross_entropy(&x, &trained(&layer), &[5; 4], &[1.0; 4]).is_err(), "a target past the vocabulary");
    assert!(cross_entropy(&x, &trained(&layer), &[0; 4], &[0.0; 4]).is_err(), "nothing to learn");
    assert!(cross_entropy(&x, &trained(&layer), &[0; 4], &[f32::NAN; 4]).is_err(), "no number");
    let heads = Heads { heads: 3, kv_heads: 2, head_dim: 2, window: None };
    assert!(attention(&x, &x, &x, &Arc::new(Segments::from_lengths([4])), heads).is_err());
    let half = x.to_dtype(DType::F16).expect("half");
    assert!(add(&half, &half).is_err(), "f32 alone");
}

#[test]
fn a_row_of_no_weight_gets_no_gradient() {
    let (hidden, layer) = (variable(1, &[6, 8]), variable(2, &[30, 8]));
    let weight = Weight::Trained(layer.as_tensor().clone());
    let loss = cross_entropy(&hidden, &weight, &TARGETS, &WEIGHTS).expect("runs");
    let grads = loss.backward().expect("gradients");
    let rows = values(grads.get(&hidden).expect("a gradient"));
    for (i, row) in rows.chunks(8).enumerate() {
        assert_eq!(row.iter().all(|&x| x == 0.0), WEIGHTS[i] == 0.0, "row {i}");
    }
}

#[test]
fn segments_know_their_rows() {
    let segments = Segments::from_lengths([2, 0, 3]);
    assert_eq!((segments.len(), segments.rows(), segments.range(2)), (3, 5, 2..5));
    assert_eq!(segments.positions(), [0, 1, 0, 1, 2]);
    assert!(Segments::from_lengths([]).is_empty());
}
