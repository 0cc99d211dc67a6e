//! Small decoders of every supported family, as their configs say them; the same bits however they are asked or trained.

use super::training::{differentiate, rows, trained};
use super::*;
use crate::model::local::config::{self, Shape, render};
use crate::model::local::decoder::{Decoder, Parameters};
use crate::model::local::train::variables;
use crate::model::local::weights::{Array, Arrays, layout, serialize};
use crate::model::local::{LocalModel, lora as adapters, source};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Each family with what is its own, as transformers writes it.
pub fn shapes() -> Vec<(&'static str, Shape)> {
    let plain = json!({
        "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 37, "rms_norm_eps": 1e-5, "max_position_embeddings": 64,
        "hidden_act": "silu", "use_cache": true, "torch_dtype": "float32",
    });
    let with = |name: &'static str, own: Value| {
        let mut config = plain.clone();
        config.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let shape = config::parse(name, &config.to_string()).unwrap().shape;
        assert_eq!(config::parse(name, &render(&shape, None, &[], "float32")).unwrap().shape, shape, "{name}");
        (name, shape)
    };
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16});
    let yarn = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32});
    vec![
        with("llama", json!({"model_type": "llama", "tie_word_embeddings": true, "head_dim": 6})),
        with(
            "llama-1",
            json!({"model_type": "llama", "num_key_value_heads": 4, "rope_theta": 500.0, "rms_norm_eps": 1e-2}),
        ),
        // Heads wider than the stream, as in some newer models.
        with(
            "llama-wide",
            json!({"model_type": "llama", "num_attention_heads": 6, "num_key_value_heads": 1, "head_dim": 10}),
        ),
        with("llama-biased", json!({"model_type": "llama", "attention_bias": true, "mlp_bias": true})),
        with("llama-3.1", json!({"model_type": "llama", "rope_theta": 500000.0, "rope_scaling": llama3})),
        with(
            "llama-linear",
            json!({"model_type": "llama", "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0}}),
        ),
        with("mistral", json!({"model_type": "mistral", "sliding_window": 9})),
        with("mistral-0.3", json!({"model_type": "mistral", "sliding_window": null, "rope_theta": 1e6, "head_dim": 8})),
        with(
            "qwen2",
            json!({"model_type": "qwen2", "tie_word_embeddings": true, "rope_theta": 1e6, "sliding_window": 9,
            "max_window_layers": 2, "use_sliding_window": false}),
        ),
        with(
            "qwen2-yarn",
            json!({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 9, "max_window_layers": 1,
            "rope_scaling": yarn}),
        ),
        with(
            "qwen3",
            json!({"model_type": "qwen3", "head_dim": 10, "rope_theta": 1e6, "sliding_window": null,
            "layer_types": ["full_attention", "full_attention"], "attention_bias": false}),
        ),
    ]
}

/// Weights that are far from what a fresh model has, so that each of them shows.
pub fn noise(shape: &Shape) -> Arrays {
    let make = |(name, dims): (String, Vec<usize>)| {
        let count = dims.iter().product();
        let mut data = crate::model::local::fresh::normal(Seed(4).derive(&*name), count, 0.3);
        if name.ends_with("norm.weight") {
            data.iter_mut().for_each(|value| *value += 1.0);
        }
        (name, Array::new(&dims, data))
    };
    layout(shape).into_iter().map(make).collect()
}

/// A model directory as others make it.
pub fn directory(shape: &Shape) -> (TempDir, ModelSpec) {
    let directory = tokenizer();
    let vocab = source::declared(&fresh(directory.path())).unwrap().shape.vocab;
    let shape = Shape { vocab, ..shape.clone() };
    std::fs::write(directory.path().join("config.json"), render(&shape, None, &[2], "float32")).unwrap();
    let bytes = serialize(&noise(&shape), &BTreeMap::new(), Dtype::F32);
    std::fs::write(directory.path().join("model.safetensors"), bytes).unwrap();
    let spec = spec(Source::Path(directory.path().to_owned()));
    (directory, spec)
}

#[test]
fn replies_are_the_same_however_they_are_asked() {
    for (name, shape) in shapes() {
        let (_directory, spec) = directory(&shape);
        let model = LocalModel::open(&spec, None).unwrap();
        let requests = requests(&model, 1.0);
        let together = replies(&model, &requests);
        assert_eq!(together, replies(&model, &requests), "{name}: from kept prefixes");
        for (request, reply) in requests.iter().zip(&together) {
            let alone = LocalModel::open(&spec, None).unwrap();
            assert_eq!(*reply, replies(&alone, std::slice::from_ref(request))[0], "{name}: alone");
        }
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let other = LocalModel::open(&spec, None).unwrap();
        assert_eq!(together, one.install(|| replies(&other, &requests)), "{name}: one thread");
    }
}

#[test]
fn training_is_the_same_on_any_number_of_threads_and_reaches_every_weight() {
    for (name, shape) in shapes() {
        let (_directory, spec) = directory(&shape);
        let before = source::declared(&spec).unwrap().weights(&spec).unwrap();
        for lora in [None, Some(lora())] {
            let train = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| trained(&spec, None, &recipe(lora.clone()))).weights
            };
            let version = train(1);
            assert!(version == train(2), "{name}: two threads");
            let adapters::Version::Full(after) = adapters::read(&version, None).unwrap() else { continue };
            for (weight, array) in &after {
                assert!(before[weight] != *array, "{name}: `{weight}` did not move");
            }
        }
    }
}

#[test]
fn gradients_are_the_slopes_of_the_loss_in_each_family() {
    for (name, shape) in shapes() {
        let (_directory, spec) = directory(&shape);
        let declared = source::declared(&spec).unwrap();
        let all = variables(&declared.weights(&spec).unwrap()).unwrap();
        let decoder = Decoder::new(&declared.shape, Parameters::Full(&all), 64).unwrap();
        differentiate(name, &all, &decoder, &rows(&spec)[2], None);
    }
}

#[test]
fn a_version_that_is_written_reads_back_in_its_family() {
    for (name, shape) in shapes() {
        let (_directory, spec) = directory(&shape);
        let out = TempDir::new().unwrap();
        crate::model::local::export(&spec, None, out.path(), false).unwrap();
        let again = ModelSpec { source: Source::Path(out.path().to_owned()), ..spec.clone() };
        let (one, other) = (LocalModel::open(&spec, None).unwrap(), LocalModel::open(&again, None).unwrap());
        let shape = |spec: &ModelSpec| source::declared(spec).unwrap().shape;
        assert_eq!(shape(&spec), shape(&again), "{name}");
        let requests = requests(&one, 0.0);
        assert_eq!(replies(&one, &requests), replies(&other, &requests), "{name}");
    }
}
