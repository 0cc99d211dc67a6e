//! Every kernel against a plain statement of what it computes: bit for bit where the rule promises bits, against f64 where
//! it promises closeness.

#![allow(clippy::disallowed_methods, reason = "the platform's functions, in f64, are the reference here")]

mod golden;
mod low_rank;
mod quantised;
mod vocabulary;

use super::attention::{Heads, KvCache, backward, cached, forward};
use super::simd::{LANES, for_every_isa};
use super::*;
use crate::base::Seed;
use half::{bf16, f16};
use std::ops::Range;

/// Numbers in −1 .. 1, the same at every run.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| (Seed(seed).bits(i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Runs the same thing on every instruction set, alone and on three threads; all bits must agree.
fn everywhere<B: Into<Buffer>>(run: impl Fn(Isa) -> B + Sync) -> Buffer {
    let run = |isa| run(isa).into();
    let reference: Buffer = run(Isa::portable());
    let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool");
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    for isa in Isa::available() {
        for (threads, pool) in [(1, &one), (3, &three)] {
            let got = pool.install(|| run(isa));
            assert_eq!(bits(&got), bits(&reference), "{} on {threads} threads", isa.name());
        }
    }
    reference
}

/// The rule itself: one chain over k in order.
fn chain(a: &[f32], b: &[f32], rows: usize, depth: usize, width: usize, start: &[f32]) -> Vec<f32> {
    let element = |at: usize| {
        let (i, j) = (at / width, at % width);
        (0..depth).fold(start[at], |sum, k| a[i * depth + k].mul_add(b[k * width + j], sum))
    };
    (0..rows * width).map(element).collect()
}

fn transpose(x: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols).map(|at| x[at % rows * cols + at / rows]).collect()
}

const SHAPES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (1, 700, 129),
    (1, 64, 512),
    (2, 17, 65),
    (3, 385, 16),
    (5, 40, 31),
    (6, 256, 130),
    (7, 384, 48),
    (8, 641, 15),
    (13, 33, 257),
    (14, 512, 32),
    (15, 300, 33),
    (57, 192, 100),
    (400, 70, 48),
];

/// Chains that are done in several parts.
const DEEP: [(usize, usize, usize); 2] = [(14, 577, 32), (30, 1000, 50)];

#[test]
fn every_product_is_one_chain() {
    for (rows, depth, width) in SHAPES.into_iter().chain(DEEP) {
        let (a, b) = (numbers(1, rows * depth), numbers(2, depth * width));
        let wanted = chain(&a, &b, rows, depth, width, &vec![0.0; rows * width]);
        let (a_down, b_down) = (transpose(&a, rows, depth), transpose(&b, depth, width));
        let rights = [View::new(&b, depth, width), View::new(&b_down, width, depth).transposed()];
        let lefts = [View::new(&a, rows, depth), View::new(&a_down, depth, rows).transposed()];
        for right in rights {
            for left in lefts {
                let got = everywhere(|isa| matmul(isa, left, Packed::new(isa, right).panels()));
                assert_eq!(bits(&got), bits(&wanted), "{rows} × {depth} × {width}");
                if let Some(panels) = Panels::in_place(right) {
                    assert_eq!(bits(&everywhere(|isa| matmul(isa, left, panels))), bits(&wanted));
                }
            }
        }
    }
}

#[test]
fn a_carried_product_continues_its_chains() {
    let (rows, depth, width, cut) = (20, 500, 70, 123);
    let (a, b, start) = (numbers(3, rows * depth), numbers(4, depth * width), numbers(5, rows * width));
    let wanted = chain(&a, &b, rows, depth, width, &start);
    let got = everywhere(|isa| {
        let mut out = start.clone();
        for part in [0..cut, cut..depth] {
            let left = View::new(&a, rows, depth).cols(part.clone());
            let right = Packed::new(isa, View::new(&b, depth, width).rows(part));
            matmul_onto(isa, left, right.panels(), &mut out);
        }
        out
    });
    assert_eq!(bits(&got), bits(&wanted));
}

#[test]
fn a_right_side_from_memory_is_read_otherwise_and_changes_no_bits() {
    let (depth, width, isa) = (60_000, 80, Isa::best());
    assert!(
        depth * width > super::matmul::FAR && depth / 2 * width < super::matmul::FAR,
        "far as a whole, near by halves"
    );
    let b = numbers(2, depth * width);
    let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool");
    // Fewer rows than columns, and more.
    for rows in [20, 90] {
        let a = numbers(1, rows * depth);
        let (a, b) = (View::new(&a, rows, depth), View::new(&b, depth, width));
        let whole = three.install(|| matmul(isa, a, Packed::new(isa, b).panels()));
        let mut halves = vec![0.0; rows * width];
        for part in [0..depth / 2, depth / 2..depth] {
            matmul_onto(isa, a.cols(part.clone()), Packed::new(isa, b.rows(part)).panels(), &mut halves);
        }
        assert_eq!(bits(&whole), bits(&halves), "{rows} rows");
    }
}

#[test]
fn empty_products_are_zero_or_nothing() {
    for isa in Isa::available() {
        assert_eq!(*matmul(isa, View::new(&[], 2, 0), Packed::new(isa, View::new(&[], 0, 3)).panels()), [0.0; 6]);
        let none = matmul(isa, View::new(&[], 0, 4), Packed::new(isa, View::new(&[0.0; 12], 4, 3)).panels());
        assert!(none.is_empty());
    }
}

#[test]
fn packing_and_unpacking_is_the_identity() {
    for (depth, width) in [(1, 1), (5, 33), (40, 16), (17, 100)] {
        let b = numbers(6, depth * width);
        for isa in Isa::available() {
            assert_eq!(Packed::new(isa, View::new(&b, depth, width)).unpacked(), b);
            let down = transpose(&b, depth, width);
            assert_eq!(Packed::new(isa, View::new(&down, width, depth).transposed()).unpacked(), b);
            assert_eq!(Packed::new(isa, View::new(&b, depth, width)).turned(isa).unpacked(), down);
        }
    }
}

/// However few bits a value takes, it is the same value, and every product of it the same bits.
#[test]
fn a_matrix_in_half_the_memory_is_the_same_matrix() {
    let rounded = |to: fn(f32) -> f32, odd: [f32; 4]| move |at: usize, x: f32| odd.get(at).copied().unwrap_or(to(x));
    let tiny = f32::from_bits(1 << 16);
    let bf16s = rounded(|x| bf16::from_f32(x).to_f32(), [tiny, f32::from_bits(0x7f7f_0000), -0.0, f32::INFINITY]);
    let f16s = rounded(|x| f16::from_f32(x).to_f32(), [f16::from_bits(1).to_f32(), 65504.0, 1.0 + 1.0 / 1024.0, -0.0]);
    let neither = rounded(|x| x, [1.0 + f32::EPSILON, 65536.5, 0.0, 0.0]);
    type Value<'a> = &'a dyn Fn(usize, f32) -> f32;
    let kinds: [(Value<'_>, usize); 3] = [(&bf16s, 2), (&f16s, 2), (&neither, 4)];
    for (kind, bytes) in kinds {
        for (rows, depth, width) in SHAPES {
            let a = numbers(7, rows * depth);
            let b: Vec<f32> = numbers(8, depth * width)
                .into_iter()
                .enumerate()
                .map(|(at, x)| kind(at + usize::from(depth == 1) * 9, x))
                .collect();
            let view = View::new(&b, depth, width);
            let left = View::new(&a, rows, depth);
            let narrow = Packed::narrow(Isa::best(), view);
            assert_eq!(bits(&narrow.unpacked()), bits(&b));
            let down = transpose(&b, depth, width);
            Isa::available().into_iter().for_each(|isa| assert_eq!(bits(&narrow.turned(isa).unpacked()), bits(&down)));
            assert!(narrow.bytes() <= bytes * depth * width.next_multiple_of(LANES), "{bytes} bytes a value");
            let wanted = matmul(Isa::portable(), left, Packed::new(Isa::portable(), view).panels());
            let got = everywhere(|isa| matmul(isa, left, Packed::narrow(isa, view).panels()));
            assert_eq!(bits(&got), bits(&wanted), "{rows} × {depth} × {width}");
        }
    }
    let not_a_number = [f32::from_bits(0x7fc0_0001), 1.0];
    assert_eq!(bits(&Packed::narrow(Isa::best(), View::new(&not_a_number, 1, 2)).unpacked()), bits(&not_a_number));
}

#[test]
#[should_panic(expected = "view outside its data")]
fn a_view_past_its_data_is_refused() {
    View::new(&[0.0; 5], 2, 3);
}

#[test]
#[should_panic(expected = "do not meet")]
fn sides_of_different_depth_are_refused() {
    let isa = Isa::best();
    matmul(isa, View::new(&[0.0; 6], 2, 3), Packed::new(isa, View::new(&[0.0; 8], 4, 2)).panels());
}

for_every_isa! {
    fn exp_of(s; x: &[f32], out: &mut [f32]) {
        for i in (0..x.len()).step_by(LANES) {
            let e = math::exp(s, s.at(x, i));
            s.put(e, out, i);
        }
    }
}

#[test]
fn exp_is_within_two_units_in_the_last_place() {
    let x: Vec<f32> = (0..175_000).map(|i| -87.0 + i as f32 * 1e-3).collect();
    let got = everywhere(|isa| {
        let mut out = vec![0.0; x.len()];
        exp_of(isa, &x, &mut out);
        out
    });
    for (x, got) in x.iter().zip(got.iter().copied()) {
        let wanted = f64::from(*x).exp();
        assert!((f64::from(got) / wanted - 1.0).abs() < 2.0 * f64::from(f32::EPSILON), "exp({x}) = {got}");
    }
    assert_eq!(
        everywhere(|isa| {
            let mut out = [1.0; 1];
            exp_of(isa, &[0.0], &mut out);
            out.to_vec()
        }),
        vec![1.0].into()
    );
}

#[test]
fn scalar_functions_are_exact_to_f64() {
    for i in 0..20_000 {
        let x = f64::from(i) * 0.0173;
        let (cos, sin) = math::cos_sin(x);
        assert!((cos - x.cos()).abs() < 1e-14 && (sin - x.sin()).abs() < 1e-14, "angle {x}");
        let far = x * 1000.0;
        let (cos, sin) = math::cos_sin(far);
        assert!((cos - far.cos()).abs() < 1e-10 && (sin - far.sin()).abs() < 1e-10, "angle {far}");
        let positive = x + 1e-6;
        assert!((math::ln64(positive) - positive.ln()).abs() < 1e-14 * positive.ln().abs().max(1.0), "ln({positive})");
        let exponent = x - 170.0;
        assert!((math::exp64(exponent) / exponent.exp() - 1.0).abs() < 1e-13, "exp({exponent})");
    }
}

const LENGTHS: [usize; 8] = [1, 2, 15, 16, 17, 48, 100, 192];

fn close(got: &[f32], wanted: &[f64], tolerance: f64) {
    assert_eq!(got.len(), wanted.len());
    let size = wanted.iter().fold(1e-3f64, |a, b| a.max(b.abs()));
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!((f64::from(*got) - wanted).abs() <= tolerance * size, "element {i}: {got} for {wanted}");
    }
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn sums_and_scales() {
    for n in LENGTHS {
        let (a, b) = (numbers(10, n), numbers(11, n));
        let got = everywhere(|isa| {
            let mut sum = a.clone();
            rows::add(isa, &b, &mut sum);
            rows::scale(isa, 0.37, &mut sum);
            sum.push(rows::dot(isa, &a, &b));
            sum
        });
        let mut wanted: Vec<f64> = wide(&a).iter().zip(wide(&b)).map(|(a, b)| (a + b) * 0.37f32 as f64).collect();
        wanted.push(wide(&a).iter().zip(wide(&b)).map(|(a, b)| a * b).sum());
        close(&got, &wanted, 1e-6);
    }
}

#[test]
fn norms_scale_to_unit_mean_square() {
    for n in LENGTHS {
        let (x, w) = (numbers(12, n), numbers(13, n));
        let got = everywhere(|isa| {
            let mut out = vec![0.0; n];
            rows::rms_norm(isa, &x, &w, 1e-5, &mut out);
            out
        });
        let r = 1.0 / (wide(&x).iter().map(|x| x * x).sum::<f64>() / n as f64 + 1e-5f32 as f64).sqrt();
        close(&got, &wide(&x).iter().zip(wide(&w)).map(|(x, w)| x * r * w).collect::<Vec<_>>(), 1e-6);
        everywhere(|isa| {
            let (mut dx, mut dw) = (vec![0.0; n], numbers(14, n));
            rows::rms_norm_back(isa, &x, &w, &numbers(15, n), 1e-5, &mut dx, &mut dw);
            [dx, dw].concat()
        });
    }
}

#[test]
fn gates_and_rotations() {
    for n in LENGTHS {
        let gate: Vec<f32> = numbers(16, n).iter().map(|x| x * 20.0).collect();
        let (up, grad) = (numbers(17, n), numbers(18, n));
        let got = everywhere(|isa| {
            let (mut out, mut dgate, mut dup) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
            rows::swiglu(isa, &gate, &up, &mut out);
            rows::swiglu_back(isa, &gate, &up, &grad, &mut dgate, &mut dup);
            [out, dgate, dup].concat()
        });
        let silu = |g: f64| g / (1.0 + (-g).exp());
        close(&got[..n], &wide(&gate).iter().zip(wide(&up)).map(|(&g, u)| silu(g) * u).collect::<Vec<_>>(), 1e-6);
        let (x, angle) = (numbers(19, 2 * n), numbers(20, n));
        let cos: Vec<f32> = angle.iter().map(|a| a.cos()).collect();
        let sin: Vec<f32> = angle.iter().map(|a| a.sin()).collect();
        let turned = everywhere(|isa| {
            let mut out = vec![0.0; 2 * n];
            rows::rotate(isa, &x, &cos, &sin, 1.0, &mut out);
            out
        });
        let back = everywhere(|isa| {
            let mut out = vec![0.0; 2 * n];
            rows::rotate(isa, &turned, &cos, &sin, -1.0, &mut out);
            out
        });
        close(&back, &wide(&x), 1e-6);
    }
}

#[test]
fn softmax_sums_to_one_and_is_stable() {
    for n in LENGTHS {
        for shift in [0.0, 1e4, -1e4] {
            let x: Vec<f32> = numbers(21, n).iter().map(|x| x * 30.0 + shift).collect();
            let got = everywhere(|isa| {
                let mut p = x.clone();
                let (greatest, total) = rows::softmax(isa, &mut p, 0.5);
                p.extend([greatest, total]);
                p
            });
            let greatest = wide(&x).iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b)) * 0.5;
            let e: Vec<f64> = wide(&x).iter().map(|x| (x * 0.5 - greatest).exp()).collect();
            let total: f64 = e.iter().sum();
            close(&got[..n], &e.iter().map(|e| e / total).collect::<Vec<_>>(), 1e-6);
            close(&got[n..], &[greatest, total], 1e-6);
            everywhere(|isa| {
                let mut p = got[..n].to_vec();
                rows::softmax_back(isa, &mut p, &numbers(22, n), 0.5);
                p
            });
        }
    }
}

#[test]
fn adamw_takes_the_published_step() {
    let n = 37;
    let (w, g) = (numbers(23, n), numbers(24, n));
    let (m, v) = (numbers(25, n), numbers(26, n).iter().map(|v| v.abs()).collect::<Vec<_>>());
    let got = everywhere(|isa| {
        let (mut w, mut m, mut v) = (w.clone(), m.clone(), v.clone());
        rows::adamw(isa, &mut w, &mut m, &mut v, &g, 0.5, (0.9, 0.99), 0.01, 1.5, 1e-8, 0.999);
        [w, m, v].concat()
    });
    for i in 0..n {
        let g = f64::from(g[i]) * 0.5;
        let m = f64::from(m[i]) * f64::from(0.9f32) + g * (1.0 - f64::from(0.9f32));
        let v = f64::from(v[i]) * f64::from(0.99f32) + g * g * (1.0 - f64::from(0.99f32));
        let w = f64::from(w[i]) * 0.999 - 0.01 * m / ((v * 1.5).sqrt() + 1e-8);
        close(&[got[i], got[n + i], got[2 * n + i]], &[w, m, v], 1e-6);
    }
}

fn ranges(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut range = |&length: &usize| {
        start += length;
        start - length..start
    };
    lengths.iter().map(&mut range).collect()
}

/// Rows of queries, keys and values for `rows` rows.
fn heads_of(heads: Heads, rows: usize) -> [Vec<f32>; 3] {
    let kv = rows * heads.kv_width();
    [numbers(30, rows * heads.query_width()), numbers(31, kv), numbers(32, kv)]
}

const HEADS: [Heads; 5] = [
    Heads { heads: 4, kv_heads: 2, head_dim: 24, window: None },
    Heads { heads: 3, kv_heads: 3, head_dim: 16, window: None },
    Heads { heads: 2, kv_heads: 1, head_dim: 10, window: None },
    Heads { heads: 2, kv_heads: 1, head_dim: 10, window: Some(7) },
    Heads { heads: 4, kv_heads: 2, head_dim: 24, window: Some(64) },
];

#[test]
fn attention_is_causal_softmax_of_scaled_scores() {
    let lengths = [1, 0, 70, 130, 3];
    for heads in HEADS {
        let segments = ranges(&lengths);
        let [q, k, v] = heads_of(heads, lengths.iter().sum());
        let got = everywhere(|isa| forward(isa, heads, &q, &k, &v, &segments));
        let (width, group) = (heads.head_dim, heads.heads / heads.kv_heads);
        let mut wanted = vec![0.0; q.len()];
        for segment in &segments {
            for (i, head) in segment.clone().flat_map(|i| (0..heads.heads).map(move |head| (i, head))) {
                let at = i * heads.query_width() + head * width;
                let kv = |j: usize| j * heads.kv_width() + head / group * width;
                let dot = |j: usize| (0..width).map(|d| f64::from(q[at + d]) * f64::from(k[kv(j) + d])).sum::<f64>();
                let first = heads.window.map_or(0, |window| (i + 1).saturating_sub(window)).max(segment.start);
                let scores: Vec<f64> = (first..=i).map(|j| (dot(j) / (width as f64).sqrt()).exp()).collect();
                let total: f64 = scores.iter().sum();
                for d in 0..width {
                    wanted[at + d] =
                        (first..=i).zip(&scores).map(|(j, score)| score / total * f64::from(v[kv(j) + d])).sum();
                }
            }
        }
        close(&got, &wanted, 1e-6);
    }
}

#[test]
fn a_segment_does_not_see_its_company() {
    for heads in HEADS {
        let lengths = [61, 9, 120];
        let [q, k, v] = heads_of(heads, 190);
        let grad = numbers(33, q.len());
        let isa = Isa::best();
        let together = forward(isa, heads, &q, &k, &v, &ranges(&lengths));
        let [dq, dk, dv] = backward(isa, heads, &q, &k, &v, &grad, &ranges(&lengths));
        for range in ranges(&lengths) {
            let query = range.start * heads.query_width()..range.end * heads.query_width();
            let kv = range.start * heads.kv_width()..range.end * heads.kv_width();
            let (q, k, v) = (&q[query.clone()], &k[kv.clone()], &v[kv.clone()]);
            let only = ranges(&[range.len()]);
            assert_eq!(bits(&together[query.clone()]), bits(&forward(isa, heads, q, k, v, &only)));
            let alone = backward(isa, heads, q, k, v, &grad[query.clone()], &only);
            assert_eq!(bits(&dq[query]), bits(&alone[0]));
            assert_eq!(bits(&dk[kv.clone()]), bits(&alone[1]));
            assert_eq!(bits(&dv[kv]), bits(&alone[2]));
        }
    }
}

#[test]
fn a_cached_sequence_has_the_bits_of_the_whole_one() {
    for heads in HEADS {
        // Two sequences, fed in unequal pieces, single steps and a pause among them.
        let pieces = [[40, 7], [1, 1], [1, 90], [0, 1], [75, 16], [1, 0]];
        let lengths = [0, 1].map(|s| pieces.iter().map(|p| p[s]).sum::<usize>());
        let rows: usize = lengths.iter().sum();
        let [q, k, v] = heads_of(heads, rows);
        let whole = everywhere(|isa| forward(isa, heads, &q, &k, &v, &ranges(&lengths)));
        let continued = everywhere(|isa| {
            let mut caches = [KvCache::new(heads), KvCache::new(heads)];
            let mut out = [Vec::new(), Vec::new()];
            let mut done = [0, lengths[0]];
            for piece in pieces {
                let take = |x: &[f32], width: usize| -> Vec<f32> {
                    (0..2).flat_map(|s| x[done[s] * width..(done[s] + piece[s]) * width].to_vec()).collect()
                };
                let (q, kv) = (take(&q, heads.query_width()), [&k, &v].map(|x| take(x, heads.kv_width())));
                let [first, second] = &mut caches;
                let got = cached(isa, heads, &q, &kv[0], &kv[1], &ranges(&piece), &mut [first, second]);
                let cut = piece[0] * heads.query_width();
                out[0].extend_from_slice(&got[..cut]);
                out[1].extend_from_slice(&got[cut..]);
                done = [done[0] + piece[0], done[1] + piece[1]];
            }
            assert_eq!([caches[0].len(), caches[1].len()], lengths);
            out.concat()
        });
        assert_eq!(bits(&continued), bits(&whole));
    }
}

#[test]
fn a_truncated_or_cloned_cache_goes_on_as_if_nothing_had_followed() {
    let (heads, isa) = (HEADS[0], Isa::best());
    let [q, k, v] = heads_of(heads, 50);
    let part = |range: Range<usize>, cache: &mut KvCache| {
        let (query, kv) = (heads.query_width(), heads.kv_width());
        let q = &q[range.start * query..range.end * query];
        let (k, v) = (&k[range.start * kv..range.end * kv], &v[range.start * kv..range.end * kv]);
        let rows = 0..range.len();
        cached(isa, heads, q, k, v, std::slice::from_ref(&rows), &mut [cache])
    };
    for cut in [0, 1, 16, 21, 32] {
        let mut plain = KvCache::new(heads);
        part(0..cut, &mut plain);
        let mut cut_back = plain.clone();
        let wanted = part(cut..50, &mut plain);
        part(3..44, &mut cut_back);
        cut_back.truncate(cut);
        assert_eq!(cut_back.len(), cut);
        assert_eq!(bits(&part(cut..50, &mut cut_back)), bits(&wanted), "cut at {cut}");
    }
}

#[test]
fn sequences_that_share_blocks_have_the_bits_they_have_alone() {
    for heads in HEADS {
        let widths = [heads.query_width(), heads.kv_width(), heads.kv_width()];
        let prefix = heads_of(heads, 190);
        let begun = |isa, rows: usize| {
            let mut cache = KvCache::new(heads);
            let [q, k, v] = std::array::from_fn(|i| &prefix[i][..rows * widths[i]]);
            cached(isa, heads, q, k, v, &ranges(&[rows]), &mut [&mut cache]);
            cache
        };
        // More than one company of those that share two blocks, one, and none; over the end of a block; one with several rows.
        let lengths: Vec<usize> = [190, 128, 189, 70, 64, 63, 30].into_iter().cycle().take(67).collect();
        let rows: Vec<usize> = (0..lengths.len()).map(|s| if s == 11 { 3 } else { 1 }).collect();
        let steps = 4;
        let added = |s: usize, step: usize| -> [Vec<f32>; 3] {
            std::array::from_fn(|i| numbers((1000 * i + steps * s + step) as u64, rows[s] * widths[i]))
        };
        let together = everywhere(|isa| {
            let whole = begun(isa, 190);
            let of = |length: &usize| {
                let mut cache = whole.clone();
                cache.truncate(*length);
                cache
            };
            let mut caches: Vec<KvCache> = lengths.iter().map(of).collect();
            let mut all = Vec::new();
            for step in 0..steps {
                let parts: Vec<_> = (0..lengths.len()).map(|s| added(s, step)).collect();
                let [q, k, v]: [Vec<f32>; 3] =
                    std::array::from_fn(|i| parts.iter().flat_map(|part| part[i].clone()).collect());
                let mut caches: Vec<&mut KvCache> = caches.iter_mut().collect();
                all.extend_from_slice(&cached(isa, heads, &q, &k, &v, &ranges(&rows), &mut caches));
            }
            all
        });
        let isa = Isa::best();
        let mut caches: Vec<KvCache> = lengths.iter().map(|length| begun(isa, *length)).collect();
        let mut alone = Vec::new();
        for step in 0..steps {
            for (s, cache) in caches.iter_mut().enumerate() {
                let [q, k, v] = added(s, step);
                alone.extend_from_slice(&cached(isa, heads, &q, &k, &v, &ranges(&[rows[s]]), &mut [cache]));
            }
        }
        assert_eq!(bits(&together), bits(&alone), "{heads:?}");
    }
}

#[test]
fn attention_gradients_agree_everywhere() {
    let lengths = [5, 113, 60];
    for heads in HEADS {
        let [q, k, v] = heads_of(heads, 178);
        let grad = numbers(34, q.len());
        everywhere(|isa| {
            backward(isa, heads, &q, &k, &v, &grad, &ranges(&lengths))
                .iter()
                .flat_map(|x| x.iter().copied())
                .collect::<Vec<_>>()
        });
    }
}

#[test]
fn instruction_sets_go_by_name() {
    for isa in Isa::available() {
        assert_eq!(Isa::named(isa.name()).map(Isa::name), Some(isa.name()));
    }
    assert!(Isa::named("abacus").is_none());
    assert_eq!(Isa::named("portable").map(Isa::name), Some("portable"));
}
