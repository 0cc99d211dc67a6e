//! What every instruction set has to be able to do, one operation at a time, with the numbers that are easily got wrong.

use super::super::simd::{LANES, for_every_isa};
use super::*;

for_every_isa! {
    fn each_operation(s; x: &[f32], y: &[f32], out: &mut [f32]) {
        let (x, y) = (s.at(x, 0), s.at(y, 0));
        let ten = s.splat(10.0);
        let positive = s.mul(x, x);
        let all = [
            s.fma(x, y, ten), s.add(x, y), s.sub(x, y), s.mul(x, y), s.div(x, y), s.max(x, y), s.min(x, y),
            s.sqrt(positive), s.round(s.mul(x, ten)), s.exp2i(s.round(s.mul(x, ten))),
        ];
        for (i, v) in all.into_iter().enumerate() {
            s.put(v, out, i * LANES);
        }
        out[all.len() * LANES] = s.sum(x);
    }

    fn extremes(s; x: &[f32], y: &[f32], greatest: &mut [f32], least: &mut [f32]) {
        let (x, y) = (s.at(x, 0), s.at(y, 0));
        s.put(s.max(x, y), greatest, 0);
        s.put(s.min(x, y), least, 0);
    }

    fn rounded(s; x: &[f32], out: &mut [f32]) {
        let n = s.round(s.at(x, 0));
        s.put(n, out, 0);
    }

    fn powers(s; n: &[f32], out: &mut [f32]) {
        let power = s.exp2i(s.at(n, 0));
        s.put(power, out, 0);
    }

    fn turned(s; x: &[f32], out: &mut [f32]) {
        let columns = s.transpose(std::array::from_fn(|row| s.at(x, row * LANES)));
        for (row, column) in columns.into_iter().enumerate() {
            s.put(column, out, row * LANES);
        }
    }

    fn moved(s; x: &[f32], fill: f32, out: &mut [f32]) {
        let lanes = s.at_or(x, 0, fill);
        s.put(lanes, out, 0);
    }
}

for_every_isa! {
    fn widened<; E: Element>(s; x: &[[E; LANES]], out: &mut [f32]) {
        for (i, lanes) in x.iter().enumerate() {
            s.put(E::load(s, lanes), out, i * LANES);
        }
    }
}

#[test]
fn the_vocabulary_means_the_same_everywhere() {
    let mut x = numbers(7, 13);
    let mut y = numbers(8, 13);
    x.extend([0.0, -0.0, 0.25]);
    y.extend([-0.0, 0.0, f32::MIN_POSITIVE]);
    everywhere(|isa| {
        let mut out = vec![0.0; 10 * LANES + 1];
        each_operation(isa, &x, &y, &mut out);
        out
    });
}

/// Of two zeros, and where there is no number, the second one.
#[test]
fn a_maximum_is_what_a_comparison_chooses() {
    let odd = [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(1), f32::from_bits(0x7fc0_0123)];
    for a in odd {
        for b in odd {
            let wanted = [if a > b { a } else { b }, if a < b { a } else { b }];
            let got = everywhere(|isa| {
                let (mut greatest, mut least) = ([1.5; LANES], [1.5; LANES]);
                extremes(isa, &[a; LANES], &[b; LANES], &mut greatest, &mut least);
                assert_eq!((bits(&greatest[1..]), bits(&least[1..])), (bits(&greatest[..15]), bits(&least[..15])));
                vec![greatest[0], least[0]]
            });
            assert_eq!(bits(&got), bits(&wanted), "{a} and {b}");
        }
    }
}

#[test]
fn ties_go_to_even_and_zeros_keep_their_sign() {
    let x =
        [0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, 8388607.5, -8388609.0, 1e30, -0.0, 0.0, -0.3, 126.5, -125.5, 3.7, -3.2];
    let wanted: [f32; LANES] =
        [0.0, 2.0, 2.0, -0.0, -2.0, 0.0, 8388608.0, -8388609.0, 1e30, -0.0, 0.0, -0.0, 126.0, -126.0, 4.0, -3.0];
    let got = everywhere(|isa| {
        let mut out = vec![1.0; LANES];
        rounded(isa, &x, &mut out);
        out
    });
    assert_eq!(bits(&got), bits(&wanted));
}

#[test]
fn powers_of_two_are_exact() {
    let exponents: Vec<i32> = (-126..=127).collect();
    for n in exponents.chunks(LANES) {
        let of: Vec<f32> = n.iter().map(|n| *n as f32).collect();
        let got = everywhere(|isa| {
            let mut out = vec![0.0; n.len()];
            powers(isa, &of, &mut out);
            out
        });
        assert_eq!(got.to_vec(), n.iter().map(|n| 2f32.powi(*n)).collect::<Vec<_>>());
    }
}

#[test]
fn rows_become_columns() {
    let x: Vec<f32> = (0..LANES * LANES).map(|i| i as f32).collect();
    let got = everywhere(|isa| {
        let mut out = vec![0.0; x.len()];
        turned(isa, &x, &mut out);
        out
    });
    assert_eq!(got.to_vec(), transpose(&x, LANES, LANES));
}

#[test]
fn parts_of_lanes_are_read_and_written_and_nothing_beside_them() {
    let x = numbers(9, LANES);
    for from in 0..=LANES {
        for to in 0..=LANES {
            let got = everywhere(|isa| {
                let mut out = vec![9.0; LANES + 1];
                moved(isa, &x[..from], 7.0, &mut out[..to]);
                out
            });
            let wanted = |i: usize| {
                if i >= to {
                    9.0
                } else if i < from {
                    x[i]
                } else {
                    7.0
                }
            };
            assert_eq!(got.to_vec(), (0..=LANES).map(wanted).collect::<Vec<_>>(), "{from} to {to}");
        }
    }
}

/// All that are numbers: of those that are none only bfloat16 knows, as what it is.
#[test]
fn every_half_is_the_float_it_stands_for() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let brains: Vec<[bf16; LANES]> = all.as_chunks().0.iter().map(|x| x.map(bf16::from_bits)).collect();
    let wanted: Vec<u32> = all.iter().map(|x| u32::from(*x) << 16).collect();
    let halves: Vec<[f16; LANES]> = all.as_chunks().0.iter().map(|x| x.map(f16::from_bits)).collect();
    for isa in Isa::available() {
        let mut out = vec![0.0; all.len()];
        widened(isa, &brains, &mut out);
        assert_eq!(bits(&out), wanted, "{}", isa.name());
        widened(isa, &halves, &mut out);
        for (half, out) in halves.as_flattened().iter().zip(&out).filter(|(half, _)| half.is_finite()) {
            let wanted = half.to_f64() as f32;
            assert_eq!(out.to_bits(), wanted.to_bits(), "{half:?} on {}", isa.name());
        }
    }
}
