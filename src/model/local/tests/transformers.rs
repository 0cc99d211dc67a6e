//! The decoder, its gradients and its adapters against transformers and PEFT.
//!
//! `transformers.json` is what transformers says of [`families`]; `tests/transformers` makes it anew, and holds what cannot be
//! written down as figures: files that either side reads of the other.

use super::families::{directory, shapes};
use super::training::{rows, trained};
use super::*;
use crate::model::local::config::Shape;
use crate::model::local::decoder::{Decoder, Parameters};
use crate::model::local::ops::{Goal, Segments};
use crate::model::local::weights::{self, Array, Arrays};
use crate::model::local::{LocalModel, export, export_adapter, source, train::variables};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Tokens before the greedy ones, and how many follow.
const PROMPT: usize = 5;
const GREEDY: usize = 64;
const SCRIPT: &str = "`tests/transformers` sets AGX_TRANSFORMERS to a directory";

fn ids(vocab: usize) -> Vec<u32> {
    (0..29).map(|i| ((i * i * 7 + 3) % vocab) as u32).collect()
}

fn is_learned(place: usize) -> bool {
    place >= 11 && !place.is_multiple_of(3)
}

/// The logits after the last of `ids`.
fn last(decoder: &Decoder, ids: &[u32]) -> Vec<f32> {
    let segments = Segments::from_lengths([ids.len()]);
    let positions = segments.positions();
    let hidden = decoder.forward(ids, &decoder.pass(segments, positions, None), None);
    decoder.logits(&hidden, &[ids.len() - 1]).to_vec()
}

fn greedy(decoder: &Decoder, ids: &[u32]) -> Vec<u32> {
    let mut ids = ids[..PROMPT].to_vec();
    for _ in 0..GREEDY {
        let logits = last(decoder, &ids);
        let best = (1..logits.len()).fold(0, |best, id| if logits[id] > logits[best] { id } else { best });
        ids.push(best as u32);
    }
    ids.split_off(PROMPT)
}

fn decoder(shape: &Shape, parameters: Parameters) -> Decoder {
    Decoder::new(shape, parameters, PROMPT + GREEDY).unwrap()
}

/// Of one family: what transformers is held against, and the gradients.
fn said(spec: &ModelSpec) -> (Value, Arrays) {
    let declared = source::declared(spec).unwrap();
    let all = variables(&declared.weights(spec).unwrap()).unwrap();
    let decoder = decoder(&declared.shape, Parameters::Full(&all));
    let ids = ids(declared.shape.vocab);
    let learned: Vec<bool> = (0..ids.len()).map(is_learned).collect();
    let weights: Vec<f32> = learned[1..].iter().map(|learned| f32::from(u8::from(*learned))).collect();
    let goal = Goal::new(&ids[1..], &weights, weights.iter().map(|weight| f64::from(*weight)).sum()).unwrap();
    let segments = Segments::from_lengths([ids.len() - 1]);
    let positions = segments.positions();
    let loss = decoder.learn(&ids[..ids.len() - 1], &decoder.pass(segments, positions, None), &goal, false).unwrap();
    let gradients = decoder.gradients(&all).unwrap();
    let array = |(name, variable): (&String, &candle_core::Var)| {
        (name.clone(), Array::new(variable.dims(), gradients.get(name).unwrap().to_vec()))
    };
    let (logits, greedy) = (last(&decoder, &ids), greedy(&decoder, &ids));
    let said = json!({ "ids": ids, "learned": learned, "logits": logits, "loss": loss, "greedy": greedy });
    (said, all.iter().map(array).collect())
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn close(what: &str, wanted: &Value, got: &Value) {
    let (wanted, got) = (numbers(wanted), numbers(got));
    assert_eq!(wanted.len(), got.len(), "{what}");
    let largest = wanted.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    for (wanted, got) in wanted.iter().zip(&got) {
        assert!((wanted - got).abs() <= 2e-5 * largest, "{what}: {wanted} {got}");
    }
}

#[test]
fn logits_loss_and_greedy_tokens_are_those_of_transformers() {
    let wanted: Value = serde_json::from_str(include_str!("transformers.json")).unwrap();
    for (name, shape) in shapes() {
        let (_directory, spec) = directory(&shape);
        let (said, _) = said(&spec);
        let wanted = &wanted[name];
        close(name, &wanted["logits"], &said["logits"]);
        let loss = |value: &Value| value["loss"].as_f64().unwrap();
        assert!((loss(wanted) - loss(&said)).abs() <= 1e-6 * loss(wanted), "{name}: {wanted} {said}");
        assert_eq!(wanted["greedy"], said["greedy"], "{name}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a script says where its files are")]
fn place() -> PathBuf {
    std::env::var_os("AGX_TRANSFORMERS").expect(SCRIPT).into()
}

/// The logits of a model as declared.
fn logits(spec: &ModelSpec) -> Value {
    let declared = source::declared(spec).unwrap();
    let arrays = declared.weights(spec).unwrap();
    json!(last(&decoder(&declared.shape, Parameters::Frozen(arrays.clone())), &ids(declared.shape.vocab)))
}

#[test]
#[ignore = "its files are read by tests/transformers"]
fn writes_what_transformers_and_peft_read() {
    for (name, shape) in shapes() {
        let (_directory, spec) = directory(&shape);
        let place = place().join(name);
        export(&spec, None, &place.join("model"), false).unwrap();
        let (mut said, gradients) = said(&spec);
        let bytes = weights::serialize(&gradients, &BTreeMap::new(), Dtype::F32);
        std::fs::write(place.join("gradients.safetensors"), bytes).unwrap();

        let spec = ModelSpec { source: Source::Path(place.join("model")), ..spec };
        let model = LocalModel::open(&spec, None).unwrap();
        let chat = &dialogues()[0];
        let messages: Vec<Value> = chat.iter().map(|it| json!({"role": it.role, "content": it.content})).collect();
        said["chat"] = json!({
            "messages": messages[..2], "prompt": model.encode_chat(&chat[..2]).unwrap(),
            "dialogue": messages, "row": rows(&spec)[0].tokens,
        });
        let recipe = TrainConfig { lr: 5e-2, ..recipe(Some(lora())) };
        let adapter = trained(&spec, None, &recipe).weights;
        export_adapter(&spec, &adapter, &place.join("adapter")).unwrap();
        export(&spec, Some(&adapter), &place.join("merged"), false).unwrap();
        let merged = ModelSpec { source: Source::Path(place.join("merged")), ..spec.clone() };
        said["adapted"] = logits(&merged);
        let over = ModelSpec { adapter: Some(place.join("adapter")), ..spec.clone() };
        assert_eq!(logits(&over), said["adapted"], "{name}: an adapter of our own, over its base");
        assert_ne!(said["logits"], said["adapted"], "{name}: it learned nothing");
        std::fs::write(place.join("said.json"), said.to_string()).unwrap();
    }
}

#[test]
#[ignore = "tests/transformers has PEFT write them"]
fn reads_what_peft_writes() {
    for (name, _) in shapes() {
        let place = place().join(name);
        let wanted: Value = serde_json::from_slice(&std::fs::read(place.join("peft.json")).unwrap()).unwrap();
        for (adapter, wanted) in wanted.as_object().unwrap() {
            let spec = ModelSpec { adapter: Some(place.join(adapter)), ..spec(Source::Path(place.join("model"))) };
            close(&format!("{name}, {adapter}"), wanted, &logits(&spec));
        }
    }
}
