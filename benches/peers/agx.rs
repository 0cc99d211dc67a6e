//! agx's side of `benches/peers/run`: one piece of work in a process of its own, its figures as one line of JSON.
//! `peers WORK --model DIR [--dtype f32|bf16|f16|int8] [--batch N]`, where WORK is `decode`, `prefill`, `rollouts`, `train` or `train-lora`.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock and prints")]

use agx::base::Seed;
use agx::model::{self, *};
use std::path::PathBuf;
use std::time::Instant;

/// As in the program: blocks that are given back to the system between operations cost more than the arithmetic.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The same for all sides: see `run`.
const PROMPT: u64 = 256;
const NEW: u32 = 64;
const STEPS: u64 = 4;
/// Of rollouts: tokens that all prompts begin with, of a task, of a reply, of what a tool says.
const SHARED: u64 = 600;
const TASK: u64 = 40;
const REPLY: u32 = 24;
const TOOL: u64 = 16;
const TASKS: u64 = 32;
const SAMPLES: u64 = 8;
const TURNS: u64 = 4;

struct Clock {
    /// When each step ended: the first one warms up.
    ends: Vec<Instant>,
}

impl TrainMonitor for Clock {
    fn progress(&mut self, _: TrainProgress) {
        self.ends.push(Instant::now());
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
    // What cargo adds itself means nothing here.
    let mut arguments = std::env::args().skip(1).filter(|it| it != "--bench");
    let work = arguments.next().expect("a piece of work");
    let (mut directory, mut dtype, mut batch) = (None, Dtype::F32, 1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().expect("a value");
        match &name[..] {
            "--model" => directory = Some(PathBuf::from(value)),
            "--dtype" => dtype = serde_json::from_value(value.into()).expect("f32, bf16, f16 or int8"),
            "--batch" => batch = value.parse().expect("a number"),
            other => panic!("no option {other}"),
        }
    }
    let spec = ModelSpec {
        source: Source::Path(directory.expect("--model DIR")),
        adapter: None,
        context: 1024,
        dtype,
        device: Device::Auto,
        lora: None,
        tool_format: ToolFormat::Lines,
        tool_calls: ToolCalls::Drawn,
    };
    let (rate, reply) = match &work[..] {
        "decode" | "prefill" => generate(&spec, batch, work == "prefill"),
        "rollouts" => (rollouts(&spec), Vec::new()),
        "train" => (train(&spec, 16, 256, None), Vec::new()),
        "train-lora" => (train(&spec, 2, 512, Some(adapter())), Vec::new()),
        other => panic!("no work `{other}`"),
    };
    println!("{}", serde_json::json!({ "tokens_per_s": rate, "reply": reply }));
}

/// `mixed` of work.py.
fn token(seed: u64, at: u64) -> u32 {
    let mut value = seed
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(at.wrapping_mul(0xBF58_476D_1CE4_E5B9))
        .wrapping_add(0x94D0_49BB_1331_11EB);
    value ^= value >> 31;
    (value.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 56) as u32
}

/// Tokens a second, of prompts or of replies whose prompts are there already; and the first reply.
fn generate(spec: &ModelSpec, batch: u64, prefill: bool) -> (f64, Vec<TokenId>) {
    let model = model::open(spec, None, &Wire::default()).expect("opens");
    let requests = |round: u64, max_tokens: u32| -> Vec<GenRequest> {
        let request = |n: u64| GenRequest {
            prompt: (0..PROMPT).map(|at| token(round * batch + n, at)).collect(),
            seed: Seed(n),
            sampling: Sampling::greedy(max_tokens),
            likely: false,
            form: None,
        };
        (0..batch).map(request).collect()
    };
    let timed = |requests: &[GenRequest]| {
        let start = Instant::now();
        let replies = model.generate(requests);
        let seconds = start.elapsed().as_secs_f64();
        let replies = replies.into_iter().map(|reply| reply.expect("generates").tokens);
        (replies.collect::<Vec<_>>(), seconds)
    };
    timed(&requests(0, 1));
    if prefill {
        return ((batch * PROMPT) as f64 / timed(&requests(1, 1)).1, Vec::new());
    }
    let (replies, seconds) = timed(&requests(0, NEW));
    (replies.iter().map(Vec::len).sum::<usize>() as f64 / seconds, replies[0].clone())
}

/// Sampled tokens a second of episodes: tasks of one environment, several samples of each, all in flight at once. A turn's prompt
/// is the dialogue so far, and what a tool says.
fn rollouts(spec: &ModelSpec) -> f64 {
    let model = model::open(spec, None, &Wire::default()).expect("opens");
    let episodes = (0..TASKS * SAMPLES).map(|episode| {
        let (shared, task) =
            ((0..SHARED).map(|at| token(0, at)), (0..TASK).map(move |at| token(1 + episode / SAMPLES, at)));
        shared.chain(task).collect()
    });
    let mut episodes: Vec<Vec<TokenId>> = episodes.collect();
    let (mut sampled, start) = (0, Instant::now());
    for turn in 0..TURNS {
        let request = |(episode, prompt): (usize, &Vec<TokenId>)| GenRequest {
            prompt: prompt.clone(),
            seed: Seed(episode as u64 * TURNS + turn),
            sampling: Sampling::drawn(REPLY),
            likely: false,
            form: None,
        };
        let requests: Vec<GenRequest> = episodes.iter().enumerate().map(request).collect();
        for (episode, reply) in model.generate(&requests).into_iter().enumerate() {
            let reply = reply.expect("generates").tokens;
            sampled += reply.len();
            episodes[episode].extend(reply);
            episodes[episode].extend((0..TOOL).map(|at| token(1000 + episode as u64 * TURNS + turn, at)));
        }
    }
    sampled as f64 / start.elapsed().as_secs_f64()
}

fn adapter() -> LoraConfig {
    let linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
    LoraConfig { rank: 16, alpha: 32.0, dropout: 0.0, on: linears.map(str::to_owned).to_vec() }
}

/// Tokens a second after the first step.
fn train(spec: &ModelSpec, batch: u64, length: u64, lora: Option<LoraConfig>) -> f64 {
    let row =
        |n: u64| TrainRow { learn: vec![true; length as usize], tokens: (0..length).map(|at| token(n, at)).collect() };
    let rows: Vec<TrainRow> = (0..batch * STEPS).map(row).collect();
    let config = TrainConfig {
        method: Method::Sft { loss_on: LossOn::All },
        lr: 1e-4,
        decay: Decay::Constant { warmup: 0.0 },
        epochs: 1,
        batch: batch as u32,
        max_len: None,
        clip: 1.0,
        weight_decay: 0.0,
        lora,
        accumulate: 1,
        recompute: false,
        command: None,
    };
    let mut clock = Clock { ends: Vec::new() };
    model::train(spec, None, &rows, &config, Seed(1), &mut clock, &model::Hub::default()).expect("trains");
    let (first, last) = (clock.ends[0], clock.ends[STEPS as usize - 1]);
    ((STEPS - 1) * batch * length) as f64 / (last - first).as_secs_f64()
}
