//! Turns rows into rows: norms, activations, rotations, softmax, and what their gradients need.
//!
//! # Invariants
//! A sum over a row runs in sixteen lanes, folded in one tree; what is past a row's end counts as zero. No row looks at
//! another, but where a function adds to an accumulator, its caller decides the order.

use super::math;
use super::simd::{LANES, for_every_isa};

for_every_isa! {
    /// `Σ a·b`.
    pub fn dot(s; a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        let mut sum = s.splat(0.0);
        for i in (0..a.len()).step_by(LANES) {
            sum = s.fma(s.at(a, i), s.at(b, i), sum);
        }
        s.sum(sum)
    }

    /// `out += a`.
    pub fn add(s; a: &[f32], out: &mut [f32]) {
        assert_eq!(a.len(), out.len());
        for i in (0..a.len()).step_by(LANES) {
            let sum = s.add(s.at(out, i), s.at(a, i));
            s.put(sum, out, i);
        }
    }

    /// `out *= by`.
    pub fn scale(s; by: f32, out: &mut [f32]) {
        let by = s.splat(by);
        for i in (0..out.len()).step_by(LANES) {
            let product = s.mul(s.at(out, i), by);
            s.put(product, out, i);
        }
    }

    /// `out = x · weight / sqrt(mean(x²) + eps)`.
    pub fn rms_norm(s; x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        assert!(x.len() == weight.len() && x.len() == out.len());
        let mut squares = s.splat(0.0);
        for i in (0..x.len()).step_by(LANES) {
            let x = s.at(x, i);
            squares = s.fma(x, x, squares);
        }
        let inverse = s.splat(1.0 / (s.sum(squares) / x.len() as f32 + eps).sqrt());
        for i in (0..x.len()).step_by(LANES) {
            let y = s.mul(s.mul(s.at(x, i), inverse), s.at(weight, i));
            s.put(y, out, i);
        }
    }

    /// The gradient to `x` into `dx`; the gradient to `weight` is added to `dweight`. With `r = 1/sqrt(mean(x²) + eps)`:
    /// `dx = r·(g·w) − x · r³/n · Σ g·w·x` and `dw = x·r·g`.
    pub fn rms_norm_back(s; x: &[f32], weight: &[f32], grad: &[f32], eps: f32, dx: &mut [f32], dweight: &mut [f32]) {
        let n = x.len();
        assert!(n == weight.len() && n == grad.len() && n == dx.len() && n == dweight.len());
        let (mut squares, mut products) = (s.splat(0.0), s.splat(0.0));
        for i in (0..n).step_by(LANES) {
            let x = s.at(x, i);
            squares = s.fma(x, x, squares);
            products = s.fma(s.mul(s.at(grad, i), s.at(weight, i)), x, products);
        }
        let r = 1.0 / (s.sum(squares) / n as f32 + eps).sqrt();
        let pull = s.splat(-(s.sum(products) * (r * r * r / n as f32)));
        let r = s.splat(r);
        for i in (0..n).step_by(LANES) {
            let (x, grad) = (s.at(x, i), s.at(grad, i));
            let d = s.fma(s.mul(grad, s.at(weight, i)), r, s.mul(x, pull));
            s.put(d, dx, i);
            let d = s.fma(s.mul(x, r), grad, s.at(dweight, i));
            s.put(d, dweight, i);
        }
    }

    /// `out = gate · sigmoid(gate) · up`.
    pub fn swiglu(s; gate: &[f32], up: &[f32], out: &mut [f32]) {
        assert!(gate.len() == up.len() && gate.len() == out.len());
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        for i in (0..out.len()).step_by(LANES) {
            let gate = s.at(gate, i);
            let sigmoid = s.div(one, s.add(one, math::exp(s, s.sub(zero, gate))));
            s.put(s.mul(s.mul(gate, sigmoid), s.at(up, i)), out, i);
        }
    }

    /// With `σ = sigmoid(gate)`: `dup = g·gate·σ` and `dgate = g·up·σ·(1 + gate·(1 − σ))`.
    pub fn swiglu_back(s; gate: &[f32], up: &[f32], grad: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
        let n = gate.len();
        assert!(n == up.len() && n == grad.len() && n == dgate.len() && n == dup.len());
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        for i in (0..n).step_by(LANES) {
            let (gate, grad) = (s.at(gate, i), s.at(grad, i));
            let sigmoid = s.div(one, s.add(one, math::exp(s, s.sub(zero, gate))));
            let silu = s.mul(gate, sigmoid);
            s.put(s.mul(grad, silu), dup, i);
            let slope = s.fma(silu, s.sub(one, sigmoid), sigmoid);
            s.put(s.mul(s.mul(grad, s.at(up, i)), slope), dgate, i);
        }
    }

    /// Rotates one head: `out = (a·cos − b·sin, a·sin + b·cos)` for the halves `a` and `b` of `x`. `turn` is 1, or −1 to
    /// rotate back (the gradient).
    pub fn rotate(s; x: &[f32], cos: &[f32], sin: &[f32], turn: f32, out: &mut [f32]) {
        let half = cos.len();
        assert!(sin.len() == half && x.len() == 2 * half && out.len() == 2 * half);
        let (a, b) = x.split_at(half);
        let (out_a, out_b) = out.split_at_mut(half);
        let turn = s.splat(turn);
        for i in (0..half).step_by(LANES) {
            let (a, b, cos, sin) = (s.at(a, i), s.at(b, i), s.at(cos, i), s.mul(s.at(sin, i), turn));
            s.put(s.sub(s.mul(a, cos), s.mul(b, sin)), out_a, i);
            s.put(s.fma(a, sin, s.mul(b, cos)), out_b, i);
        }
    }

    /// `x = softmax(scale · x)` in place, for `scale` > 0. Returns the greatest `scale · x` and the sum of the exponentials
    /// relative to it.
    pub fn softmax(s; x: &mut [f32], scale: f32) -> (f32, f32) {
        let mut greatest = s.splat(f32::NEG_INFINITY);
        for i in (0..x.len()).step_by(LANES) {
            greatest = s.max(s.at_or(x, i, f32::NEG_INFINITY), greatest);
        }
        let greatest = s.array(greatest).into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
        let (shift, factor) = (s.splat(greatest), s.splat(scale));
        let full = x.len() / LANES * LANES;
        let mut sum = s.splat(0.0);
        for i in (0..x.len()).step_by(LANES) {
            let e = math::exp(s, s.mul(s.sub(s.at(x, i), shift), factor));
            s.put(e, x, i);
            // Read back past the last full lanes: what is past the row's end must count as zero.
            sum = s.add(sum, if i < full { e } else { s.at(x, i) });
        }
        let total = s.sum(sum);
        let inverse = s.splat(1.0 / total);
        for i in (0..x.len()).step_by(LANES) {
            let p = s.mul(s.at(x, i), inverse);
            s.put(p, x, i);
        }
        (greatest * scale, total)
    }

    /// The gradient through a softmax of scaled scores, over the probabilities: `p ← p · (g − Σ p·g) · scale`.
    pub fn softmax_back(s; p: &mut [f32], grad: &[f32], scale: f32) {
        assert_eq!(p.len(), grad.len());
        let mut sum = s.splat(0.0);
        for i in (0..p.len()).step_by(LANES) {
            sum = s.fma(s.at(p, i), s.at(grad, i), sum);
        }
        let (mean, scale) = (s.splat(s.sum(sum)), s.splat(scale));
        for i in (0..p.len()).step_by(LANES) {
            let d = s.mul(s.mul(s.at(p, i), s.sub(s.at(grad, i), mean)), scale);
            s.put(d, p, i);
        }
    }

    /// One AdamW update. `rate` is the learning rate over the first moment's bias correction, `unbias` one over the
    /// second's, `keep` one minus learning rate times decay.
    pub fn adamw(
        s; weight: &mut [f32], first: &mut [f32], second: &mut [f32], grad: &[f32], scale: f32, betas: (f32, f32),
        rate: f32, unbias: f32, eps: f32, keep: f32,
    ) {
        let n = weight.len();
        assert!(first.len() == n && second.len() == n && grad.len() == n);
        let (beta1, beta2) = (s.splat(betas.0), s.splat(betas.1));
        let (rest1, rest2) = (s.splat(1.0 - betas.0), s.splat(1.0 - betas.1));
        let (scale, rate, unbias, eps, keep) =
            (s.splat(scale), s.splat(rate), s.splat(unbias), s.splat(eps), s.splat(keep));
        for i in (0..n).step_by(LANES) {
            let g = s.mul(s.at(grad, i), scale);
            let m = s.fma(s.at(first, i), beta1, s.mul(g, rest1));
            let v = s.fma(s.at(second, i), beta2, s.mul(s.mul(g, g), rest2));
            let step = s.div(s.mul(rate, m), s.add(s.sqrt(s.mul(v, unbias)), eps));
            let w = s.sub(s.mul(s.at(weight, i), keep), step);
            s.put(m, first, i);
            s.put(v, second, i);
            s.put(w, weight, i);
        }
    }
}
