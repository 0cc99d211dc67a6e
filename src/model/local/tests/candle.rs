//! The decoder against candle-transformers, which computes the same models in another way: with candle's own operations on
//! directories, with quantised matrices on GGUF files.

use super::families::{noise, shapes};
use super::gguf::{Entry, Made, said, tokens};
use super::*;
use crate::model::local::config::{Family, Shape, render};
use crate::model::local::decoder::{Decoder, Parameters};
use crate::model::local::ops::Segments;
use crate::model::local::source;
use crate::model::local::weights::Arrays;
use candle_core::quantized::{GgmlDType, gguf_file::Content};
use candle_core::{DType, Device as CandleDevice, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{llama, mistral, quantized_llama, quantized_qwen2, quantized_qwen3, qwen2, qwen3};
use serde_json::{Value, json};
use std::io::Cursor;

const PROMPT: usize = 7;
const GREEDY: usize = 24;

fn ids() -> Vec<u32> {
    (0..29u32).map(|i| (i * i * 7 + 3) % 37).collect()
}

/// The logits after the last of the ids.
type Model<'a> = dyn FnMut(&[u32]) -> Vec<f32> + 'a;

fn ours(shape: &Shape, arrays: &Arrays) -> impl FnMut(&[u32]) -> Vec<f32> + 'static {
    let decoder = Decoder::new(shape, Parameters::Frozen(arrays.clone()), 64).unwrap();
    move |ids| {
        let segments = Segments::from_lengths([ids.len()]);
        let positions = segments.positions();
        let hidden = decoder.forward(ids, &decoder.pass(segments, positions, None), None);
        decoder.logits(&hidden, &[ids.len() - 1]).to_vec()
    }
}

fn row(ids: &[u32]) -> Tensor {
    Tensor::new(ids, &CandleDevice::Cpu).unwrap().unsqueeze(0).unwrap()
}

fn flat(logits: Result<Tensor>) -> Vec<f32> {
    logits.unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference of logits, as a share of the largest logit; with `greedy` the same tokens as well.
fn compare(what: &str, ours: &mut Model, theirs: &mut Model, share: f32, greedy: bool) {
    let (got, wanted) = (ours(&ids()), theirs(&ids()));
    assert_eq!(got.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
    let apart = got.iter().zip(&wanted).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(largest > 1.0 && apart <= share * largest, "{what}: {apart} apart, of logits up to {largest}");
    let mut spoken = ids()[..PROMPT].to_vec();
    for _ in 0..if greedy { GREEDY } else { 0 } {
        let best =
            |logits: Vec<f32>| (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32;
        let (one, other) = (best(ours(&spoken)), best(theirs(&spoken)));
        assert_eq!(one, other, "{what}: after {spoken:?}");
        spoken.push(one);
    }
}

#[test]
fn a_directory_is_computed_as_candle_transformers_computes_it() {
    let mut compared = Vec::new();
    for (name, shape) in shapes() {
        let arrays = noise(&shape);
        let tensors = arrays.iter().map(|(name, array)| {
            (name.clone(), Tensor::from_slice(&array.floats(), &*array.shape, &CandleDevice::Cpu).unwrap())
        });
        let weights = VarBuilder::from_tensors(tensors.collect(), DType::F32, &CandleDevice::Cpu);
        let mut config: Value = serde_json::from_str(&render(&shape, None, &[2], "float32")).unwrap();
        let plain_heads = shape.heads * shape.head_dim == shape.width;
        let mut theirs: Box<Model> = match (shape.family, name) {
            // What it does not compute: biases, wide heads, other scalings than Llama 3.1's.
            (Family::Llama, "llama-wide" | "llama-biased" | "llama-linear") | (_, "qwen2-yarn") => continue,
            (Family::Llama, _) => {
                assert!(plain_heads);
                let config: llama::LlamaConfig = serde_json::from_value(config).unwrap();
                let config = config.into_config(false);
                let model = llama::Llama::load(weights, &config).unwrap();
                Box::new(move |ids| {
                    let mut cache = llama::Cache::new(false, DType::F32, &config, &CandleDevice::Cpu).unwrap();
                    flat(model.forward(&row(ids), 0, &mut cache))
                })
            }
            (Family::Mistral, _) => {
                // It lets each row see one row more than the config says, and than transformers does.
                config["sliding_window"] = json!(shape.windows[0].map(|window| window - 1));
                let config: mistral::Config = serde_json::from_value(config).unwrap();
                let mut model = mistral::Model::new(&config, weights).unwrap();
                Box::new(move |ids| {
                    model.clear_kv_cache();
                    flat(model.forward(&row(ids), 0))
                })
            }
            (Family::Qwen2, _) => {
                config["sliding_window"] = json!(64);
                config["max_window_layers"] = json!(2);
                let config: qwen2::Config = serde_json::from_value(config).unwrap();
                let mut model = qwen2::ModelForCausalLM::new(&config, weights).unwrap();
                Box::new(move |ids| {
                    model.clear_kv_cache();
                    flat(model.forward(&row(ids), 0))
                })
            }
            (Family::Qwen3, _) => {
                config["max_window_layers"] = json!(2);
                let config: qwen3::Config = serde_json::from_value(config).unwrap();
                let mut model = qwen3::ModelForCausalLM::new(&config, weights).unwrap();
                Box::new(move |ids| {
                    model.clear_kv_cache();
                    flat(model.forward(&row(ids), 0))
                })
            }
        };
        compare(name, &mut ours(&shape, &arrays), &mut theirs, 1e-4, true);
        compared.push(name);
    }
    assert_eq!(compared, ["llama", "llama-1", "llama-3.1", "mistral", "mistral-0.3", "qwen2", "qwen3"]);
}

/// What candle-transformers reads a GGUF file to be; each time anew, so that no cache is between.
fn theirs(bytes: Vec<u8>, family: Family) -> impl FnMut(&[u32]) -> Vec<f32> + 'static {
    move |ids| {
        let mut reader = Cursor::new(&*bytes);
        let content = Content::read(&mut reader).unwrap();
        let device = CandleDevice::Cpu;
        match family {
            Family::Llama | Family::Mistral => {
                let mut model = quantized_llama::ModelWeights::from_gguf(content, &mut reader, &device).unwrap();
                flat(model.forward(&row(ids), 0))
            }
            Family::Qwen2 => {
                let mut model = quantized_qwen2::ModelWeights::from_gguf(content, &mut reader, &device).unwrap();
                flat(model.forward(&row(ids), 0))
            }
            Family::Qwen3 => {
                let mut model = quantized_qwen3::ModelWeights::from_gguf(content, &mut reader, &device).unwrap();
                flat(model.forward(&row(ids), 0))
            }
        }
    }
}

/// A file's bytes, and what we make of it.
fn packed(shape: &Shape, kind: GgmlDType, loudness: f32) -> (Vec<u8>, Box<Model<'static>>) {
    let shape = Shape { vocab: tokens().len(), ..shape.clone() };
    let mut arrays = noise(&shape);
    for array in arrays.values_mut().filter(|array| array.shape.len() == 2) {
        array.floats_mut().iter_mut().for_each(|value| *value *= loudness);
    }
    let mut made = Made::of(&shape, &arrays, kind);
    // Without it the Qwen3 there computes in f16.
    made.put("general.dtype", Entry::Whole(0));
    let bytes = made.bytes();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("model.gguf");
    std::fs::write(&path, &bytes).unwrap();
    let spec = spec(Source::Gguf(path));
    let declared = source::declared(&spec).unwrap();
    let arrays = declared.weights(&spec).unwrap();
    (bytes, Box::new(ours(&declared.shape, &arrays)))
}

#[test]
fn a_gguf_file_is_computed_as_candle_transformers_computes_it() {
    let mut compared = Vec::new();
    for (name, shape) in said() {
        // It reads no biases of Llama, no heads of another width, no scaling and no window.
        let is_read = shape.rope.scaling.is_none()
            && shape.windows[0].is_none()
            && name != "llama-biased"
            && (shape.family == Family::Qwen3 || shape.heads * shape.head_dim == shape.width);
        if is_read {
            let (bytes, mut ours) = packed(&shape, GgmlDType::F32, 1.0);
            compare(name, &mut ours, &mut theirs(bytes, shape.family), 1e-4, true);
            compared.push(name);
        }
    }
    assert_eq!(compared, ["llama", "llama-1", "qwen2", "qwen3"]);
}

#[test]
fn quantised_matrices_say_about_what_candle_transformers_computes_with_their_blocks() {
    for (name, shape) in said() {
        if !["llama", "qwen2", "qwen3"].contains(&name) {
            continue;
        }
        let head_dim = 64;
        let shape = Shape { width: 256, ffn: 512, heads: 4, kv_heads: 2, head_dim, ..shape };
        for kind in [GgmlDType::Q8_0, GgmlDType::Q4_0, GgmlDType::Q5_1, GgmlDType::Q4K, GgmlDType::Q6K] {
            // Of sums about as large as their terms: it rounds what a matrix is multiplied with to eight bits.
            let (bytes, mut ours) = packed(&shape, kind, 0.2);
            compare(&format!("{name} in {kind:?}"), &mut ours, &mut theirs(bytes, shape.family), 0.1, false);
        }
    }
}
