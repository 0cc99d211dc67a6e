//! The bits themselves: all instruction sets of one machine agree by the other tests, machines of different kinds by this one, and so
//! do this version and the next.

use super::*;
use crate::base::Digest;

/// Bits change only with the meaning of every record that depends on them: see "Changing results" in CONTRIBUTING.md.
const WANTED: &str = "\
products: b31bdfdc7f1d
of bfloat16: 50666502b960
of halves: ddb3251a1994
sums: a9fa22329791
norms: 7fb370979ed8
gates: 1c920f1cec39
softmax: 53e2cd4c6076
adamw: bedf5859ae62
rotations: 06a7eeb1c11c
attention: 79c4db7bdb98
its gradients: 3d35b2d2ef45
its steps: 9542f9934abf
exponentials: 0ba6f61ca0d5
scalars: adabf86010c4
";

fn products(isa: Isa, stored: fn(Isa, View<'_>) -> Packed, value: fn(f32) -> f32) -> Vec<f32> {
    let product = |(rows, depth, width): (usize, usize, usize)| {
        let a = numbers(1, rows * depth);
        let b: Vec<f32> = numbers(2, depth * width).into_iter().map(value).collect();
        let right = stored(isa, View::new(&b, depth, width));
        let mut out = matmul(isa, View::new(&a, rows, depth), right.panels()).to_vec();
        let gradient = matmul(isa, View::new(&out, rows, width), right.turned(isa).panels());
        out.extend_from_slice(&gradient);
        out
    };
    SHAPES.into_iter().flat_map(product).collect()
}

fn rows_of(isa: Isa, n: usize) -> [Vec<f32>; 5] {
    let [x, w, g] = [3, 4, 5].map(|seed| numbers(seed, n));
    let mut sum = x.clone();
    rows::add(isa, &w, &mut sum);
    rows::scale(isa, 0.37, &mut sum);
    sum.push(rows::dot(isa, &x, &w));

    let (mut norm, mut dx, mut dw) = (vec![0.0; n], vec![0.0; n], g.clone());
    rows::rms_norm(isa, &x, &w, 1e-5, &mut norm);
    rows::rms_norm_back(isa, &x, &w, &g, 1e-5, &mut dx, &mut dw);

    let gate: Vec<f32> = x.iter().map(|x| x * 20.0).collect();
    let (mut out, mut dgate, mut dup) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    rows::swiglu(isa, &gate, &w, &mut out);
    rows::swiglu_back(isa, &gate, &w, &g, &mut dgate, &mut dup);

    let mut p = gate.clone();
    let (greatest, total) = rows::softmax(isa, &mut p, 0.5);
    let mut dp = p.clone();
    rows::softmax_back(isa, &mut dp, &g, 0.5);

    let (mut weight, mut first, mut second) = (x.clone(), w.clone(), g.iter().map(|g| g * g).collect::<Vec<_>>());
    rows::adamw(isa, &mut weight, &mut first, &mut second, &g, 0.5, (0.9, 0.95), 0.01, 1.5, 1e-8, 0.999);
    let softmax = [p, dp, vec![greatest, total]].concat();
    [sum, [norm, dx, dw].concat(), [out, dgate, dup].concat(), softmax, [weight, first, second].concat()]
}

fn rotations(isa: Isa) -> Vec<f32> {
    let rotated = |n: usize| {
        let angles: Vec<(f64, f64)> = (0..n).map(|i| math::cos_sin((i * i) as f64 * 0.37)).collect();
        let cos: Vec<f32> = angles.iter().map(|(cos, _)| *cos as f32).collect();
        let sin: Vec<f32> = angles.iter().map(|(_, sin)| *sin as f32).collect();
        let mut out = vec![0.0; 2 * n];
        rows::rotate(isa, &numbers(6, 2 * n), &cos, &sin, 1.0, &mut out);
        out
    };
    LENGTHS.into_iter().flat_map(rotated).collect()
}

/// Of whole sequences, their gradients, and of one sequence that comes in parts.
fn attentions(isa: Isa) -> [Vec<f32>; 3] {
    let lengths = ranges(&[5, 113, 60]);
    let [mut whole, mut gradients, mut steps] = [const { Vec::new() }; 3];
    for heads in HEADS {
        let [q, k, v] = heads_of(heads, 178);
        let grad = numbers(34, q.len());
        whole.extend_from_slice(&forward(isa, heads, &q, &k, &v, &lengths));
        for part in &backward(isa, heads, &q, &k, &v, &grad, &lengths) {
            gradients.extend_from_slice(part);
        }
        let mut cache = KvCache::new(heads);
        for rows in [0..70, 70..71, 71..80] {
            let of = |x: &[f32], width: usize| x[rows.start * width..rows.end * width].to_vec();
            let (q, [k, v]) = (of(&q, heads.query_width()), [&k, &v].map(|x| of(x, heads.kv_width())));
            let only = ranges(&[rows.len()]);
            steps.extend_from_slice(&cached(isa, heads, &q, &k, &v, &only, &mut [&mut cache]));
        }
    }
    [whole, gradients, steps]
}

fn exponentials(isa: Isa) -> Vec<f32> {
    let x: Vec<f32> = (-100_000..100_000).map(|i| i as f32 * 1e-3).collect();
    let mut out = vec![0.0; x.len()];
    exp_of(isa, &x, &mut out);
    out
}

/// What tables are made of, in f64.
fn scalars() -> Vec<u8> {
    let of = |i: u32| {
        let x = f64::from(i) * 0.0173;
        let (cos, sin) = math::cos_sin(x * 100.0);
        [cos, sin, math::ln64(x + 1e-6), math::exp64(x - 170.0)]
    };
    (0..20_000).flat_map(of).flat_map(f64::to_le_bytes).collect()
}

fn found(isa: Isa) -> String {
    let [sums, norms, gates, softmax, adamw] =
        std::array::from_fn(|part| LENGTHS.into_iter().flat_map(|n| rows_of(isa, n)[part].clone()).collect());
    let [whole, gradients, steps] = attentions(isa);
    let all: [(&str, Vec<f32>); 13] = [
        ("products", products(isa, Packed::new, |x| x)),
        ("of bfloat16", products(isa, Packed::narrow, |x| bf16::from_f32(x).to_f32())),
        ("of halves", products(isa, Packed::narrow, |x| f16::from_f32(x).to_f32())),
        ("sums", sums),
        ("norms", norms),
        ("gates", gates),
        ("softmax", softmax),
        ("adamw", adamw),
        ("rotations", rotations(isa)),
        ("attention", whole),
        ("its gradients", gradients),
        ("its steps", steps),
        ("exponentials", exponentials(isa)),
    ];
    let line = |what: &str, bytes: &[u8]| format!("{what}: {}\n", Digest::of_bytes(bytes).short());
    let of = |x: &[f32]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let lines: String = all.iter().map(|(what, x)| line(what, &of(x))).collect();
    lines + &line("scalars", &scalars())
}

#[test]
fn every_machine_computes_these_bits() {
    for isa in Isa::available() {
        assert_eq!(found(isa), WANTED, "{}", isa.name());
    }
}
