//! Where a training step's time goes: products, attention, loss, and a whole step of a model of the quickstart's size.
//! `cargo bench --bench kernels -- [avx512|avx2|portable] [training]`.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock and prints")]

use agx::model::local::kernels::{Isa, Packed, View, matmul, set_isa};
use agx::model::local::ops::*;
use agx::model::local::optim::{AdamW, AdamWConfig, Gradients};
use candle_core::{Device, Result, Tensor, Var};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
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

struct Model {
    vars: BTreeMap<String, Var>,
    tables: Arc<RopeTables>,
}

const LAYERS: usize = 5;
const WIDTH: usize = 192;
const FFN: usize = 512;
const VOCAB: usize = 1600;
const HEADS: Heads = Heads { heads: 4, kv_heads: 2, head_dim: 48, window: None };

impl Model {
    fn new() -> Result<Self> {
        let mut vars = BTreeMap::new();
        let mut add = |name: String, shape: &[usize]| -> Result<()> {
            let data = match shape.len() {
                1 => vec![1.0; shape[0]],
                _ => numbers(shape.iter().product(), 0.05),
            };
            vars.insert(name, Var::from_tensor(&Tensor::from_vec(data, shape, &Device::Cpu)?)?);
            Ok(())
        };
        add("embed".into(), &[VOCAB, WIDTH])?;
        add("norm".into(), &[WIDTH])?;
        for layer in 0..LAYERS {
            let (query, kv) = (HEADS.query_width(), HEADS.kv_width());
            for (name, out, input) in [
                ("q", query, WIDTH),
                ("k", kv, WIDTH),
                ("v", kv, WIDTH),
                ("o", WIDTH, query),
                ("gate", FFN, WIDTH),
                ("up", FFN, WIDTH),
                ("down", WIDTH, FFN),
            ] {
                add(format!("{layer}.{name}"), &[out, input])?;
            }
            add(format!("{layer}.norm1"), &[WIDTH])?;
            add(format!("{layer}.norm2"), &[WIDTH])?;
        }
        Ok(Self { vars, tables: RopeTables::new(&RopeTables::frequencies(HEADS.head_dim, 10_000.0), 1024, 1.0) })
    }

    fn linear(&self, x: &Tensor, name: String) -> Result<Tensor> {
        linear(x, &Weight::Trained(self.vars[&name].as_tensor().clone()))
    }

    fn hidden(&self, ids: &[u32], segments: &Arc<Segments>) -> Result<Tensor> {
        let positions: Arc<[u32]> = segments.positions().into();
        let mut x = embed(&self.vars["embed"], ids)?;
        for layer in 0..LAYERS {
            let normed = rms_norm(&x, &self.vars[&format!("{layer}.norm1")], 1e-5)?;
            let q = rope(&self.linear(&normed, format!("{layer}.q"))?, &positions, &self.tables)?;
            let k = rope(&self.linear(&normed, format!("{layer}.k"))?, &positions, &self.tables)?;
            let v = self.linear(&normed, format!("{layer}.v"))?;
            let seen = attention(&q, &k, &v, segments, HEADS)?;
            x = add(&x, &self.linear(&seen, format!("{layer}.o"))?)?;
            let normed = rms_norm(&x, &self.vars[&format!("{layer}.norm2")], 1e-5)?;
            let gate = self.linear(&normed, format!("{layer}.gate"))?;
            let up = self.linear(&normed, format!("{layer}.up"))?;
            x = add(&x, &self.linear(&swiglu(&gate, &up)?, format!("{layer}.down"))?)?;
        }
        rms_norm(&x, &self.vars["norm"], 1e-5)
    }
}

fn training() -> Result<()> {
    let model = Model::new()?;
    let parameters: usize = model.vars.values().map(|v| v.elem_count()).sum();
    let segments = Arc::new(Segments::from_lengths([250; 16]));
    let ids: Vec<u32> = (0..4000u32).map(|i| i.wrapping_mul(2_654_435_761) % VOCAB as u32).collect();
    let targets: Vec<u32> = (0..4000).map(|i| ids[(i + 1) % 4000]).collect();
    let weights = vec![1.0; 4000];
    let mut optimiser = AdamW::new(model.vars.clone(), AdamWConfig::default());
    let head = || Weight::Trained(model.vars["embed"].as_tensor().clone());
    println!("a step of {:.2} M parameters on 4,000 tokens, milliseconds:", parameters as f64 / 1e6);
    let mut parts = [f64::INFINITY; 5];
    for _ in 0..12 {
        let mut times = vec![now()];
        let hidden = model.hidden(&ids, &segments)?;
        times.push(now());
        let loss = cross_entropy(&hidden, &head(), &targets, &weights)?;
        times.push(now());
        let store = loss.backward()?;
        times.push(now());
        let grads = Gradients::of(&model.vars, &store)?;
        let norm = grads.global_norm()?;
        optimiser.step(&grads, 1e-3, 1.0 / norm.max(1.0))?;
        times.push(now());
        for (part, pair) in parts.iter_mut().zip(times.windows(2)) {
            *part = part.min(pair[1] - pair[0]);
        }
        parts[4] = parts[4].min(times[4] - times[0]);
    }
    for (name, part) in ["forward", "loss and its gradient", "backward", "optimiser"].iter().zip(parts) {
        println!("  {name:<24} {:>7.1}", part * 1e3);
    }
    println!("  {:<24} {:>7.1}   {:.0} tokens/s", "all", parts[4] * 1e3, 4000.0 / parts[4]);

    let [q, kv] = [HEADS.query_width(), HEADS.kv_width()]
        .map(|width| Var::from_tensor(&Tensor::from_vec(numbers(4000 * width, 1.0), (4000, width), &Device::Cpu)?));
    let (q, kv) = (q?, kv?);
    let out = attention(&q, &kv, &kv, &segments, HEADS)?;
    let forward = best(10, || drop(attention(&q, &kv, &kv, &segments, HEADS)));
    let loss = out.sum_all()?;
    let backward = best(10, || drop(loss.backward()));
    println!("  of it attention, a layer: forward {:.2}, backward {:.2}", forward * 1e3, backward * 1e3);
    Ok(())
}

fn main() -> Result<()> {
    let isa = match std::env::args().skip(1).find_map(|name| Isa::named(&name)) {
        Some(isa) => isa,
        None => Isa::best(),
    };
    set_isa(isa);
    println!("{} on {} threads", isa.name(), rayon::current_num_threads());
    if std::env::args().all(|word| word != "training") {
        products(isa);
    }
    training()
}
