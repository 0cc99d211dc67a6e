//! Every operation against its formula in f64, and every gradient against central differences of that formula.

#![allow(clippy::disallowed_methods, reason = "the platform's functions, in f64, are the reference here")]

use super::*;
use crate::base::Seed;
use candle_core::Device;
use std::sync::Arc;

fn numbers(seed: u64, count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| (Seed(seed).bits(i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// A weight that learns, and where.
fn learning(values: &[f32], shape: &[usize]) -> (Param, Slot) {
    let slot = Slot::default();
    let value = Tensor::from_slice(values, shape, &Device::Cpu).expect("a tensor");
    (Param::new(&value, Some(slot.clone())).expect("whole"), slot)
}

fn close(what: &str, got: &[f32], wanted: &[f64], tolerance: f64) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let size = wanted.iter().fold(1e-3f64, |a, b| a.max(b.abs()));
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!((f64::from(*got) - wanted).abs() <= tolerance * size, "{what} {i}: {got} for {wanted}");
    }
}

/// Compares a result with `formula`, and its gradients, at a random gradient to the result, with central differences of
/// `formula`. `op` gives the result and what makes all gradients of one to it.
fn check<B: FnOnce(&[f32]) -> Vec<Buffer>>(
    sizes: &[usize],
    op: impl FnOnce(&[Vec<f32>]) -> (Buffer, B),
    formula: impl Fn(&[Vec<f64>]) -> Vec<f64>,
) {
    let inputs: Vec<Vec<f32>> = sizes.iter().enumerate().map(|(i, size)| numbers(i as u64 + 1, *size)).collect();
    let mut wide: Vec<Vec<f64>> = inputs.iter().map(|x| wide(x)).collect();
    let (out, backward) = op(&inputs);
    close("output", &out, &formula(&wide), 2e-6);

    // A loss is where a backward pass begins.
    let factors = if out.len() == 1 { vec![1.0] } else { numbers(99, out.len()) };
    let gradients = backward(&factors);
    assert_eq!(gradients.len(), inputs.len());
    let total = |wide: &[Vec<f64>]| formula(wide).iter().zip(&factors).map(|(y, &w)| y * f64::from(w)).sum::<f64>();
    for (i, got) in gradients.iter().enumerate() {
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
        close(&format!("gradient of operand {i}"), got, &wanted, 1e-5);
    }
}

/// `x Wᵀ` for x `[rows, input]` and W `[out, input]`.
fn times(x: &[f64], w: &[f64], input: usize) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    x.chunks(input).flat_map(|x| w.chunks(input).map(move |w| dot(x, w))).collect()
}

fn frozen(values: &[f32], shape: &[usize]) -> Arc<FrozenWeight> {
    FrozenWeight::new(&Tensor::from_slice(values, shape, &Device::Cpu).expect("a tensor")).expect("packed")
}

#[test]
fn linear_with_a_trained_weight() {
    for (rows, out, input) in [(23, 35, 18), (9, 16, 32)] {
        check(
            &[rows * input, out * input, out],
            |x| {
                let (weight, learned) = learning(&x[1], &[out, input]);
                let (bias, offset) = learning(&x[2], &[out]);
                let (linear, x) = (Linear::new(Weight::Trained(weight), Some(bias)), x[0].clone());
                (linear.forward(&x, None), move |grad: &[f32]| {
                    let dx = linear.backward(&x, grad, None, None);
                    vec![dx, learned.take().expect("learned"), offset.take().expect("learned")]
                })
            },
            |x| times(&x[0], &x[1], input).iter().enumerate().map(|(i, y)| y + x[2][i % out]).collect(),
        );
    }
}

#[test]
fn linear_with_a_frozen_weight() {
    let weight = numbers(50, 21 * 18);
    check(
        &[9 * 18],
        |x| {
            let (linear, x) = (Linear::new(Weight::Frozen(frozen(&weight, &[21, 18])), None), x[0].clone());
            (linear.forward(&x, None), move |grad: &[f32]| vec![linear.backward(&x, grad, None, None)])
        },
        |x| times(&x[0], &wide(&weight), 18),
    );
}

/// A table that is packed has the rows that it was packed of, in however few bits it is kept.
#[test]
fn rows_are_looked_up_where_they_are_packed() {
    let exact = numbers(51, 21 * 18);
    let rounded = |round: fn(f32) -> f32| exact.iter().map(|x| round(*x)).collect::<Vec<f32>>();
    let narrow =
        [exact.clone(), rounded(|x| half::bf16::from_f32(x).to_f32()), rounded(|x| half::f16::from_f32(x).to_f32())];
    let ids = [20, 3, 20, 0];
    for values in narrow {
        let wanted = gather(&values, 18, ids.iter().map(|id| *id as usize));
        let table = Table::Frozen(frozen(&values, &[21, 18]));
        assert_eq!(embed(&table, &ids), wanted);
    }
}

/// What its rows are when they are looked up is what it multiplies with, and what a gradient goes through.
#[test]
fn linear_with_a_weight_in_eight_bits() {
    let weight = Tensor::from_slice(&numbers(50, 21 * 18), (21, 18), &Device::Cpu).expect("a tensor");
    let weight = quantised(&weight).expect("packed");
    let ids: Vec<u32> = (0..21).collect();
    let values = embed(&Table::Quantised(weight.clone()), &ids);
    close("weight", &values, &wide(&numbers(50, 21 * 18)), 0.5 / 127.0);
    assert_eq!(embed(&Table::Quantised(weight.clone()), &[20, 3, 20])[18..36], values[3 * 18..4 * 18]);
    check(
        &[9 * 18],
        |x| {
            let (linear, x) = (Linear::new(Weight::Quantised(weight.clone()), None), x[0].clone());
            assert_eq!(linear.dims(), (21, 18));
            (linear.forward(&x, None), move |grad: &[f32]| vec![linear.backward(&x, grad, None, None)])
        },
        |x| times(&x[0], &wide(&values), 18),
    );
}

fn adapted(weight: &[f32], a: &[f32], b: &[f32]) -> (Linear, [Slot; 2]) {
    let (a, to_a) = learning(a, &[4, 18]);
    let (b, to_b) = learning(b, &[21, 4]);
    let adapter = Adapter { a, b, scale: 0.5, site: 3 };
    (Linear::new(Weight::Lora(frozen(weight, &[21, 18]), adapter), None), [to_a, to_b])
}

/// Without dropout and with it; the gradient to the rows joins another.
#[test]
fn linear_with_a_low_rank_part() {
    let weight = numbers(50, 21 * 18);
    for dropout in [None, Some(Dropout { rate: 0.25, seed: Seed(6) })] {
        // What the mask does to ones is the mask.
        let mask = dropout.as_ref().map_or(vec![1.0; 9 * 18].into(), |dropout| dropout.thinned(3, &[1.0; 9 * 18], 18));
        assert_eq!(mask.contains(&0.0), dropout.is_some());
        check(
            &[9 * 18, 4 * 18, 21 * 4],
            |x| {
                let (linear, [to_a, to_b]) = adapted(&weight, &x[1], &x[2]);
                let (x, dropout) = (x[0].clone(), dropout.clone());
                (linear.forward(&x, dropout.as_ref()), move |grad: &[f32]| {
                    let mut dx = linear.backward(&x, grad, dropout.as_ref(), Some(vec![2.0; 9 * 18].into()));
                    dx.iter_mut().for_each(|x| *x -= 2.0);
                    vec![dx, to_a.take().expect("learned"), to_b.take().expect("learned")]
                })
            },
            |x| {
                let thinned: Vec<f64> = x[0].iter().zip(&*mask).map(|(x, mask)| x * f64::from(*mask)).collect();
                let low = times(&times(&thinned, &x[1], 18), &x[2], 4);
                times(&x[0], &wide(&weight), 18).iter().zip(low).map(|(y, low)| y + 0.5 * low).collect()
            },
        );
    }
}

#[test]
fn a_zero_adapter_changes_no_bit() {
    let (x, weight) = (numbers(1, 30 * 18), numbers(2, 21 * 18));
    let (linear, _) = adapted(&weight, &numbers(3, 4 * 18), &[0.0; 21 * 4]);
    let plain = Linear::new(Weight::Frozen(frozen(&weight, &[21, 18])), None).forward(&x, None);
    assert_eq!(*plain, *linear.forward(&x, None));
    let trained = Linear::new(Weight::Trained(learning(&weight, &[21, 18]).0), None);
    assert_eq!(*plain, *trained.forward(&x, None));
}

#[test]
fn norm() {
    check(
        &[70 * 20, 20],
        |x| {
            let (weight, learned) = learning(&x[1], &[20]);
            let (norm, x) = (Norm { weight, eps: 1e-5 }, x[0].clone());
            (norm.forward(&x), move |grad: &[f32]| {
                let beside = vec![3.0; x.len()];
                let mut dx = norm.backward(&x, grad, Some(&beside));
                dx.iter_mut().for_each(|x| *x -= 3.0);
                vec![dx, learned.take().expect("learned")]
            })
        },
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
        &[7 * 33, 7 * 33],
        |x| {
            let (gate, up) = (x[0].clone(), x[1].clone());
            (swiglu(&gate, &up), move |grad: &[f32]| swiglu_back(&gate, &up, grad).into())
        },
        |x| x[0].iter().zip(&x[1]).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect(),
    );
}

#[test]
fn rotation_by_position() {
    let tables = RopeTables::new(&RopeTables::frequencies(12, 10_000.0), 400, 1.0);
    let positions = [0, 1, 2, 0, 399, 17];
    check(
        &[6 * 24],
        |x| (tables.turn(&x[0], &positions, 1.0), |grad: &[f32]| vec![tables.turn(grad, &positions, -1.0)]),
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
}

#[test]
fn rows_of_a_table() {
    let ids = [3, 0, 3, 6, 3];
    check(
        &[7 * 10],
        |x| {
            let (table, learned) = learning(&x[0], &[7, 10]);
            let table = Table::Plain(table);
            (embed(&table, &ids), move |grad: &[f32]| {
                embed_back(&table, &ids, grad);
                vec![learned.take().expect("learned")]
            })
        },
        |x| ids.iter().flat_map(|&id| x[0][id as usize * 10..][..10].to_vec()).collect(),
    );
}

#[test]
fn causal_attention() {
    [None, Some(1), Some(5)].into_iter().for_each(attention_in);
}

fn attention_in(window: Option<usize>) {
    let heads = Heads { heads: 4, kv_heads: 2, head_dim: 6, window };
    let segments = Segments::from_lengths([3, 1, 20]);
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
    let op = |x: &[Vec<f32>]| {
        let (q, k, v) = (x[0].clone(), x[1].clone(), x[2].clone());
        let ranges = segments.ranges();
        let out = kernels::attention::forward(isa(), heads, &q, &k, &v, ranges);
        let backward =
            move |grad: &[f32]| Vec::from(kernels::attention::backward(isa(), heads, &q, &k, &v, grad, ranges));
        (out, backward)
    };
    check(&[24 * 24, 24 * 12, 24 * 12], op, formula);
}

const TARGETS: [u32; 6] = [4, 0, 29, 7, 7, 1000];
const WEIGHTS: [f32; 6] = [1.0, 0.5, 2.0, 0.0, 1.0, 0.0];

/// The weighted mean loss for 30 classes and rows of 8, after a norm.
fn mean_loss(hidden: &[f64], norm: &[f64], layer: &[f64]) -> Vec<f64> {
    let normed = hidden.chunks(8).flat_map(|row| {
        let r = 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / 8.0 + f64::from(1e-5f32)).sqrt();
        row.iter().zip(norm).map(move |(x, w)| x * r * w)
    });
    let logits = times(&normed.collect::<Vec<_>>(), layer, 8);
    let loss = |(i, row): (usize, &[f64])| match WEIGHTS[i] {
        0.0 => 0.0,
        w => f64::from(w) * (row.iter().map(|z| z.exp()).sum::<f64>().ln() - row[TARGETS[i] as usize]),
    };
    let total: f64 = logits.chunks(30).enumerate().map(loss).sum();
    vec![total / 4.5]
}

fn goal() -> Goal {
    Goal::new(&TARGETS, &WEIGHTS, 4.5).expect("weights")
}

#[test]
fn loss_with_a_trained_output_layer() {
    check(
        &[6 * 8, 8, 30 * 8],
        |x| {
            let (weight, to_norm) = learning(&x[1], &[8]);
            let (layer, to_layer) = learning(&x[2], &[30, 8]);
            let head = Head { norm: Norm { weight, eps: 1e-5 }, output: Linear::new(Weight::Trained(layer), None) };
            let (loss, dx) = head.learn(&x[0], &goal()).expect("runs");
            (vec![loss as f32].into(), move |_: &[f32]| {
                for (i, row) in dx.chunks(8).enumerate() {
                    assert_eq!(row.iter().all(|&x| x == 0.0), WEIGHTS[i] == 0.0, "row {i}");
                }
                vec![dx, to_norm.take().expect("learned"), to_layer.take().expect("learned")]
            })
        },
        |x| mean_loss(&x[0], &x[1], &x[2]),
    );
}

#[test]
fn loss_with_a_frozen_output_layer() {
    let layer = numbers(60, 30 * 8);
    check(
        &[6 * 8, 8],
        |x| {
            let (weight, to_norm) = learning(&x[1], &[8]);
            let output = Linear::new(Weight::Frozen(frozen(&layer, &[30, 8])), None);
            let (loss, dx) = Head { norm: Norm { weight, eps: 1e-5 }, output }.learn(&x[0], &goal()).expect("runs");
            (vec![loss as f32].into(), move |_: &[f32]| vec![dx, to_norm.take().expect("learned")])
        },
        |x| mean_loss(&x[0], &x[1], &wide(&layer)),
    );
}

fn head(vocab: usize) -> Head {
    let output = Linear::new(Weight::Frozen(frozen(&numbers(62, vocab * 8), &[vocab, 8])), None);
    Head { norm: Norm { weight: learning(&[1.0; 8], &[8]).0, eps: 1e-5 }, output }
}

#[test]
fn a_loss_in_many_chunks_is_the_mean_of_its_rows() {
    // 1,400 rows of 1,600 logits do not fit one chunk.
    let (hidden, head) = (numbers(61, 1400 * 8), head(1600));
    let targets: Vec<u32> = (0..1400).map(|i| i * 7 % 1600).collect();
    let loss = |rows: Range<usize>| {
        let goal = Goal::new(&targets[rows.clone()], &vec![1.0; rows.len()], rows.len() as f64).expect("weights");
        head.learn(&hidden[rows.start * 8..rows.end * 8], &goal).expect("runs").0
    };
    let singles: f64 = (0..1400).step_by(100).map(|i| loss(i..i + 100)).sum::<f64>() / 14.0;
    assert!((loss(0..1400) - singles).abs() < 1e-6);
}

#[test]
fn mistakes_are_errors() {
    let x = numbers(2, 32);
    assert!(Goal::new(&[0; 3], &[1.0; 4], 4.0).is_err(), "too few targets");
    assert!(Goal::new(&[0; 4], &[0.0; 4], 0.0).is_err(), "nothing to learn");
    assert!(Goal::new(&[0; 4], &[f32::NAN; 4], 1.0).is_err(), "no number");
    let goal = |target: u32, count: usize| Goal::new(&vec![target; count], &vec![1.0; count], 1.0).expect("weights");
    assert!(head(5).learn(&x, &goal(5, 4)).is_err(), "a target past the vocabulary");
    assert!(head(5).learn(&x, &goal(4, 5)).is_err(), "more targets than rows");
    assert!(head(5).learn(&x, &goal(4, 4)).is_ok());
    let half = Tensor::zeros(3, candle_core::DType::F16, &candle_core::Device::Cpu).expect("half");
    assert!(Param::new(&half, None).is_err(), "f32 alone");
}

#[test]
fn segments_know_their_rows() {
    let segments = Segments::from_lengths([2, 0, 3]);
    assert_eq!((segments.len(), segments.rows(), segments.range(2)), (3, 5, 2..5));
    assert_eq!(segments.positions(), [0, 1, 0, 1, 2]);
    assert!(Segments::from_lengths([]).is_empty());
}
