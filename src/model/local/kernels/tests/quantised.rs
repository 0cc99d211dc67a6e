//! Weights of eight bits against the plain statement of how they are rounded and multiplied.

use super::*;

/// The statement: each column's whole numbers, and its scale.
fn rounded(b: &[f32], depth: usize, width: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut whole, mut scales) = (vec![0.0; depth * width], vec![0.0; width]);
    for j in 0..width {
        let most = (0..depth).fold(0.0f32, |most, k| most.max(b[k * width + j].abs()));
        let scale = most / 127.0;
        if scale >= f32::MIN_POSITIVE {
            scales[j] = scale;
            (0..depth).for_each(|k| whole[k * width + j] = (b[k * width + j] / scale).round_ties_even() + 0.0);
        }
    }
    (whole, scales)
}

fn at<'a>(whole: &'a [f32], scales: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
    whole.iter().enumerate().map(|(at, whole)| whole * scales[at % scales.len()])
}

const SIDES: [(usize, usize); 9] =
    [(1, 1), (17, 15), (64, 16), (256, 33), (257, 130), (384, 48), (385, 17), (700, 129), (1025, 31)];

/// Columns that are hard to round: of nothing, of one huge number, of numbers that are too small to have a scale or just not.
fn hard(depth: usize, width: usize) -> Vec<f32> {
    let mut b = numbers(31, depth * width);
    for (at, x) in b.iter_mut().enumerate() {
        let (k, j) = (at / width, at % width);
        *x = match j {
            1 => 0.0,
            2 if k == depth / 2 => -1e30,
            3 => *x * 1e-38,
            4 => f32::from_bits(1 + k as u32 % 200),
            5 => *x * 1e-35,
            6 if k == 0 => f32::MAX / 2.0,
            // Ties: halves of the scale, which is 1.
            7 if k == 0 => 127.0,
            7 => (k % 100) as f32 + 0.5,
            8 => -0.0,
            _ => *x,
        };
    }
    b
}

#[test]
fn a_weight_in_eight_bits_is_off_by_half_a_scale_at_most() {
    for (depth, width) in SIDES {
        let b = hard(depth, width);
        let (whole, scales) = rounded(&b, depth, width);
        assert!(whole.iter().all(|whole| (-127.0..=127.0).contains(whole)));
        let wanted: Vec<f32> = at(&whole, &scales).collect();
        for ((at, x), b) in wanted.iter().enumerate().zip(&b) {
            // A column that is dropped for its smallness is off by less than anything that is not.
            let most = f64::from(scales[at % width]).max(127.0 * 2.0 * f64::from(f32::MIN_POSITIVE)) * (0.5 + 1e-4);
            assert!((f64::from(*x) - f64::from(*b)).abs() <= most, "{b} as {x}, column {}", at % width);
        }
        let down = transpose(&b, depth, width);
        for isa in Isa::available() {
            for view in [View::new(&b, depth, width), View::new(&down, width, depth).transposed()] {
                let quantised = Quantised::new(isa, view);
                assert_eq!(quantised.dims(), (depth, width));
                assert_eq!(bits(&quantised.floats(isa).unpacked()), bits(&wanted), "{} {depth} × {width}", isa.name());
                let mut column = vec![0.0; depth];
                for j in 0..width {
                    quantised.column(j, &mut column);
                    assert_eq!(bits(&column), bits(&transpose(&wanted, depth, width)[j * depth..][..depth]));
                }
                let held = width.next_multiple_of(LANES) * (depth + 4);
                assert_eq!(quantised.bytes(), held, "a byte a weight and four a column");
            }
        }
    }
}

/// However many rows, and however deep: also where a chain is made in several blocks, it is scaled once.
#[test]
fn a_product_of_eight_bits_is_one_chain_and_one_scale() {
    for (depth, width) in SIDES {
        let b = hard(depth, width);
        let (whole, scales) = rounded(&b, depth, width);
        for rows in [1, 2, 7, 33] {
            let a = numbers(32, rows * depth);
            let chains = chain(&a, &whole, rows, depth, width, &vec![0.0; rows * width]);
            let wanted: Vec<f32> = at(&chains, &scales).collect();
            let a_down = transpose(&a, rows, depth);
            for left in [View::new(&a, rows, depth), View::new(&a_down, depth, rows).transposed()] {
                let right = View::new(&b, depth, width);
                let got = everywhere(|isa| matmul_quantised(isa, left, &Quantised::new(isa, right)));
                assert_eq!(bits(&got), bits(&wanted), "{rows} × {depth} × {width}");
            }
            // And what it is for: the product with the weights that are meant.
            let [a, whole, scales] = [&a, &whole, &scales].map(|x| wide(x));
            let exact = |at: usize| -> (f64, f64) {
                let (i, j) = (at / width, at % width);
                let term = |k: usize| a[i * depth + k] * whole[k * width + j] * scales[j];
                ((0..depth).map(term).sum(), (0..depth).map(|k| term(k).abs()).sum())
            };
            for (n, got) in wanted.iter().enumerate() {
                let (sum, size) = exact(n);
                let far = (f64::from(*got) - sum).abs();
                assert!(far <= 1e-6 * size + 1e-44, "element {n}: {got} for {sum}");
            }
        }
    }
}

/// A number that is not finite must not pass for a weight, wherever in its column it is; the columns beside it are as they were.
#[test]
fn what_is_not_finite_stays_so() {
    let (depth, width) = (300, 20);
    let a = vec![1.0; 2 * depth];
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for k in [0, 7, depth - 1] {
            let mut b = numbers(33, depth * width);
            let before = Quantised::new(Isa::portable(), View::new(&b, depth, width));
            b[k * width + 17] = odd;
            for isa in Isa::available() {
                let left = View::new(&a, 2, depth);
                let wanted = matmul_quantised(isa, left, &before);
                let got = matmul_quantised(isa, left, &Quantised::new(isa, View::new(&b, depth, width)));
                for (at, (got, wanted)) in got.iter().zip(wanted.iter()).enumerate() {
                    match at % width {
                        17 => assert!(!got.is_finite(), "{odd} in row {k} is {got}"),
                        _ => assert_eq!(got.to_bits(), wanted.to_bits()),
                    }
                }
            }
        }
    }
}

#[test]
fn empty_products_of_eight_bits_are_zero_or_nothing() {
    for isa in Isa::available() {
        let none = |depth, width| Quantised::new(isa, View::new(&[], depth, width));
        assert_eq!(*matmul_quantised(isa, View::new(&[], 2, 0), &none(0, 3)), [0.0; 6]);
        assert!(matmul_quantised(isa, View::new(&[0.0; 8], 2, 4), &none(4, 0)).is_empty());
    }
}
