//! Turns numbers into exponentials, logarithms, sines and cosines by our own polynomials.
//!
//! [`exp`] works on lanes of f32 (about one unit in the last place); the scalar functions work in f64, for tables and for
//! the one logarithm a row needs.
//!
//! # Invariants
//! Only IEEE 754 basic operations and fused multiply-adds, so the same bits everywhere. Nothing calls the platform's
//! mathematics.

use super::simd::Simd;
use std::f64::consts::{FRAC_PI_2, LN_2, LOG2_E, SQRT_2};

/// e to the x, x clamped to −87 ..= 88, where results are normal numbers. Coefficients: Cephes `expf` (Moshier 1989).
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    const COEFFICIENTS: [f32; 5] = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let x = s.min(s.max(x, s.splat(-87.0)), s.splat(88.0));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, the first exact in few bits, so that r loses nothing.
    let r = s.fma(n, s.splat(-0.693_359_4), x);
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    let mut p = s.splat(1.987_569_2e-4);
    for c in COEFFICIENTS {
        p = s.fma(p, r, s.splat(c));
    }
    let p = s.add(s.fma(p, s.mul(r, r), r), s.splat(1.0));
    s.mul(p, s.exp2i(n))
}

/// e to the x for |x| < 700.
pub fn exp64(x: f64) -> f64 {
    let n = (x * LOG2_E).round_ties_even();
    let r = n.mul_add(-1.908_214_929_270_587_7e-10, n.mul_add(-0.693_147_180_369_123_8, x));
    // Taylor: |r| ≤ ln 2 / 2, so the term after the fifteenth is below 1e-19.
    let mut p = 1.0;
    for k in (1..=15).rev() {
        p = (p * r / k as f64) + 1.0;
    }
    p * f64::from_bits(((n as i64 + 1023) as u64) << 52)
}

/// The natural logarithm of a positive normal number.
pub fn ln64(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut m = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if m > SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh((m − 1) / (m + 1)); the argument is at most 0.172, its 25th power below 1e-19.
    let t = (m - 1.0) / (m + 1.0);
    let mut series = 0.0;
    for k in (0..12).rev() {
        series = series * t * t + 1.0 / (2 * k + 1) as f64;
    }
    2.0 * t * series + exponent as f64 * LN_2
}

/// Cosine and sine of an angle of at most some 1e8.
pub fn cos_sin(x: f64) -> (f64, f64) {
    // π/2 in two parts: what the first leaves out is 6e-17.
    const TAIL: f64 = 6.123_233_995_736_766e-17;
    let n = (x / FRAC_PI_2).round_ties_even();
    let r = n.mul_add(-TAIL, n.mul_add(-FRAC_PI_2, x));
    let square = r * r;
    let (mut cos, mut sin) = (1.0, 1.0);
    // Taylor: |r| ≤ π/4, so the terms left out are below 1e-19.
    for k in (1..=10).rev() {
        cos = 1.0 - cos * square / ((2 * k - 1) * (2 * k)) as f64;
        sin = 1.0 - sin * square / ((2 * k) * (2 * k + 1)) as f64;
    }
    let sin = sin * r;
    match (n as i64).rem_euclid(4) {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}
