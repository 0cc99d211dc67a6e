//! What a training step's time goes to, products and attention, and a reply's: weights from memory. `cargo bench --bench kernels -- [avx512|avx2|neon|portable]`.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock and prints")]

use agx::model::local::kernels::attention::{self, Heads};
use agx::model::local::kernels::{Buffer, Isa, Packed, Quantised, View, matmul, matmul_quantised, set_isa};
use std::sync::LazyLock;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seconds on the clock; with one thread on Linux, seconds of processor time, which say more on a machine that others use.
fn now() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let start = *START;
    let clock = start.elapsed().as_secs_f64();
    if rayon::current_num_threads() > 1 { clock } else { processor_time().unwrap_or(clock) }
}

fn processor_time() -> Option<f64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let spent = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(tasks.flatten().filter_map(spent).sum::<f64>() * 1e-9)
}

/// The shortest of several runs, in seconds: on a machine that others use, the one least disturbed.
fn best(runs: usize, mut run: impl FnMut()) -> f64 {
    let time = |_| {
        let start = now();
        run();
        now() - start
    };
    (0..runs).map(time).fold(f64::INFINITY, f64::min)
}

fn numbers(count: usize, size: f32) -> Vec<f32> {
    (0..count as u32).map(|i| ((i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0) * size).collect()
}

fn products(isa: Isa) {
    println!("products, GFLOP/s (packing of the right side apart):");
    let shapes = [
        (4000, 192, 192, "square"),
        (4000, 192, 512, "gate"),
        (4000, 512, 192, "down"),
        (192, 4000, 512, "weight gradient"),
        (656, 192, 1600, "logits"),
        (1, 192, 512, "decoding, 1 row"),
        (8, 192, 512, "decoding, 8 rows"),
        (32, 192, 512, "decoding, 32 rows"),
        (2048, 2048, 2048, "2048³"),
    ];
    for (rows, depth, width, name) in shapes {
        let (a, b) = (numbers(rows * depth, 1.0), numbers(depth * width, 1.0));
        let right = Packed::new(isa, View::new(&b, depth, width));
        let flop = 2 * rows * depth * width;
        let repeat = (4_000_000_000 / flop).max(1);
        let seconds = best(5, || {
            for _ in 0..repeat {
                std::hint::black_box(matmul(isa, View::new(&a, rows, depth), right.panels()));
            }
        });
        println!("  {name:<20} {rows:>5} × {depth:>4} × {width:>4}  {:>7.1}", (flop * repeat) as f64 / seconds / 1e9);
    }
}

/// A weight that no cache holds, by how it is kept: as many numbers as a model of 135 million has.
fn weights(isa: Isa) {
    const DEPTH: usize = 2048;
    const WIDTH: usize = 65_536;
    println!("a weight of {DEPTH} × {WIDTH} from memory, milliseconds a product, and the weight's GB/s:");
    let exact = numbers(DEPTH * WIDTH, 1.0);
    let view = View::new(&exact, DEPTH, WIDTH);
    let (single, eight) = (Packed::new(isa, view), Quantised::new(isa, view));
    let short: Vec<f32> = exact.iter().map(|x| f32::from_bits(x.to_bits() & 0xffff_0000)).collect();
    let brain = Packed::narrow(isa, View::new(&short, DEPTH, WIDTH));
    type Product<'a> = &'a dyn Fn(View<'_>) -> Buffer;
    let kept: [(&str, usize, Product<'_>); 3] = [
        ("f32", single.bytes(), &|a| matmul(isa, a, single.panels())),
        ("bf16", brain.bytes(), &|a| matmul(isa, a, brain.panels())),
        ("int8", eight.bytes(), &|a| matmul_quantised(isa, a, &eight)),
    ];
    for rows in [1, 2, 8, 32] {
        let a = numbers(rows * DEPTH, 1.0);
        for (name, bytes, product) in kept {
            let seconds = best(9, || drop(std::hint::black_box(product(View::new(&a, rows, DEPTH)))));
            println!("  {rows:>2} rows, {name:<4}  {:>7.2}  {:>6.1}", seconds * 1e3, bytes as f64 / seconds / 1e9);
        }
    }
}

fn attention(isa: Isa) {
    const HEADS: Heads = Heads { heads: 4, kv_heads: 2, head_dim: 48, window: None };
    let segments: Vec<_> = (0..16).map(|n| n * 250..(n + 1) * 250).collect();
    let [q, kv] = [HEADS.query_width(), HEADS.kv_width()].map(|width| numbers(4000 * width, 1.0));
    let forward = best(10, || drop(attention::forward(isa, HEADS, &q, &kv, &kv, &segments)));
    let backward = best(10, || drop(attention::backward(isa, HEADS, &q, &kv, &kv, &q, &segments)));
    println!("attention of 16 × 250 rows, 4 heads of 48, 2 of keys and values, milliseconds:");
    println!("  forward {:.2}, backward {:.2}", forward * 1e3, backward * 1e3);
}

fn main() {
    let isa = match std::env::args().skip(1).find_map(|name| Isa::named(&name)) {
        Some(isa) => isa,
        None => Isa::best(),
    };
    set_isa(isa);
    println!("{} on {} threads", isa.name(), rayon::current_num_threads());
    products(isa);
    weights(isa);
    attention(isa);
}
