//! Tokens a second of training and decoding, for a model of the size that the quickstart trains: `cargo bench --bench engine [PART]`.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock and prints")]

use agx::base::Seed;
use agx::model::local::tokenizer::{whole_words, whole_words_config};
use agx::model::{self, *};
use std::time::Instant;

/// As in the program: blocks that are given back to the system between operations cost more than the arithmetic.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Quiet;

impl TrainMonitor for Quiet {
    fn progress(&mut self, progress: TrainProgress) {
        if progress.step.is_multiple_of(4) {
            println!("  step {} loss {:.3}", progress.step, progress.loss);
        }
    }
    fn paused(&mut self) -> bool {
        false
    }
    fn load(&mut self) -> Option<Vec<u8>> {
        None
    }
    fn save(&mut self, _: &[u8]) {}
}

fn main() {
    let part = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let directory = tempfile::tempdir().expect("a directory");
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    let words: Vec<String> =
        (0..670).map(|n| [letter(n), letter(n / 26), letter(n / 676), 'x'].iter().collect()).collect();
    std::fs::write(directory.path().join("tokenizer.json"), whole_words(&words)).expect("written");
    std::fs::write(directory.path().join("tokenizer_config.json"), whole_words_config()).expect("written");
    let tokenizer = directory.path().to_owned();
    let spec = ModelSpec {
        source: Source::Fresh(Fresh { tokenizer, seed: 1, width: 192, layers: 5, heads: 6, kv_heads: 2, ffn: 512 }),
        adapter: None,
        context: 512,
        dtype: Dtype::F32,
        device: Device::Auto,
        lora: None,
        tool_format: ToolFormat::Lines,
        tool_calls: ToolCalls::Drawn,
    };
    let row = |n: u64| {
        let length = 150 + Seed(n).bits(0) as usize % 200;
        let tokens: Vec<u32> = (0..length as u64).map(|i| (Seed(n).bits(i) % 1600) as u32).collect();
        TrainRow { learn: vec![true; length], tokens }
    };
    let rows: Vec<TrainRow> = (0..192).map(row).collect();
    let adapter = LoraConfig {
        rank: 8,
        alpha: 16.0,
        dropout: 0.0,
        on: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"].map(str::to_owned).to_vec(),
    };
    for (name, lora) in [("all weights", None), ("LoRA rank 8", Some(adapter))] {
        if !format!("train {name}").contains(&part) {
            continue;
        }
        let config = TrainConfig {
            method: Method::Sft { loss_on: LossOn::All },
            lr: 1e-3,
            decay: Decay::Constant { warmup: 0.0 },
            epochs: 1,
            batch: 16,
            max_len: None,
            clip: 1.0,
            weight_decay: 0.0,
            lora,
            accumulate: 1,
            recompute: false,
            command: None,
        };
        let start = Instant::now();
        let trained =
            model::train(&spec, None, &rows, &config, Seed(1), &mut Quiet, &model::Hub::default()).expect("trained");
        let seconds = start.elapsed().as_secs_f64();
        println!("train {name}: {:.0} tokens/s ({} tokens)", trained.tokens as f64 / seconds, trained.tokens);
    }
    for (name, company, shared) in [("1 alone", 1, 0), ("64 strangers", 64, 0), ("256 sharing 200 of 250", 256, 200)] {
        if !format!("decode {name}").contains(&part) {
            continue;
        }
        let model = model::open(&spec, None, &model::Wire::default()).expect("opened");
        let token = |seed: u64, i: u64| (Seed(seed).bits(i) % 1600) as u32;
        let request = |n: u64| GenRequest {
            prompt: (0..250).map(|i| if i < shared { token(0, i) } else { token(n + 1, i) }).collect(),
            seed: Seed(n),
            sampling: Sampling::drawn(64),
            likely: false,
            form: None,
        };
        let requests: Vec<GenRequest> = (0..company).map(request).collect();
        let start = Instant::now();
        let replies = model.generate(&requests);
        let seconds = start.elapsed().as_secs_f64();
        let tokens: usize = replies.iter().map(|reply| reply.as_ref().map_or(0, |reply| reply.tokens.len())).sum();
        println!("decode {name}: {:.0} tokens/s ({tokens} tokens, prompts of 250 included)", tokens as f64 / seconds);
    }
}
