//! Turns the metadata of a GGUF file into the [`Config`] of a decoder.
//!
//! # Invariants
//! A key that would change the arithmetic and is not understood is an error that names it, as a field of a `config.json` is.

use super::super::config::{self, Config, Family};
use super::super::rope::{Rope, Scaling};
use super::header::Header;
use crate::model::ModelError;
use serde_json::{Map, Value, json};

/// The fields of a `config.json` that a key says in the same way.
const SAME: [(&str, &str); 10] = [
    ("hidden_size", "embedding_length"),
    ("intermediate_size", "feed_forward_length"),
    ("num_hidden_layers", "block_count"),
    ("num_attention_heads", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("head_dim", "attention.key_length"),
    ("max_position_embeddings", "context_length"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("rope_theta", "rope.freq_base"),
    ("sliding_window", "attention.sliding_window"),
];

/// What llama.cpp cannot do without, either.
const NEEDED: [&str; 6] = [
    "embedding_length",
    "feed_forward_length",
    "block_count",
    "attention.head_count",
    "context_length",
    "attention.layer_norm_rms_epsilon",
];

/// What is read here besides, and what says nothing of the arithmetic.
const OTHERS: [&str; 9] = [
    "attention.value_length",
    "rope.dimension_count",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.finetuned",
    "vocab_size",
];

/// By what each pair's frequency is divided, where Llama 3.1 stretches them.
pub const FACTORS: &str = "rope_freqs.weight";

/// Whose decoder it is, by `general.architecture`.
pub fn architecture(header: &Header) -> Result<Family, ModelError> {
    const KEY: &str = "general.architecture";
    match header.text(KEY)? {
        "llama" => Ok(Family::Llama),
        "qwen2" => Ok(Family::Qwen2),
        "qwen3" => Ok(Family::Qwen3),
        other => Err(header.wrong(KEY, format!("is `{other}`; supported: `llama`, `qwen2`, `qwen3`"))),
    }
}

/// What a file calls a field of a `config.json`.
pub fn key(header: &Header, field: &str) -> String {
    let arch = header.text("general.architecture").unwrap_or_default();
    match SAME.iter().find(|(ours, _)| *ours == field) {
        Some((_, theirs)) => format!("{arch}.{theirs}"),
        None => field.to_owned(),
    }
}

/// `factors` are the values of [`FACTORS`], where there are any.
///
/// # Errors
/// An architecture or a key that is not supported, is missing or has no sense: each is named.
pub fn config(header: &Header, factors: Option<&[f32]>) -> Result<Config, ModelError> {
    let family = architecture(header)?;
    let arch = family.name();
    let fields = header.fields();
    if let Some(parts) = fields.get("split.count").filter(|parts| **parts != json!(1)) {
        return Err(fields.wrong("split.count", format!("is {parts}; supported: a file that is whole")));
    }
    refuse_unknown(header, arch)?;
    let at = |key: &str| format!("{arch}.{key}");
    let size = |key: &str| fields.get(&at(key)).map(|_| fields.size(&at(key))).transpose();
    if let Some(key) = NEEDED.into_iter().find(|key| fields.get(&at(key)).is_none()) {
        return Err(fields.wrong(&at(key), "is missing"));
    }
    let mut config = Map::new();
    for (ours, theirs) in SAME {
        if let Some(value) = fields.get(&at(theirs)) {
            config.insert(ours.to_owned(), value.clone());
        }
    }
    let (width, heads) = (fields.size(&at("embedding_length"))?, fields.size(&at("attention.head_count"))?);
    config.entry("num_key_value_heads").or_insert(json!(heads));
    let head_dim = match size("attention.key_length")? {
        Some(head_dim) => head_dim,
        None if width.is_multiple_of(heads) => width / heads,
        None => {
            return Err(fields.wrong(&at("attention.head_count"), format!("is {heads}, which does not divide {width}")));
        }
    };
    config.insert("head_dim".to_owned(), json!(head_dim));
    for key in ["attention.value_length", "rope.dimension_count"] {
        if let Some(other) = size(key)?.filter(|other| *other != head_dim) {
            return Err(fields.wrong(&at(key), format!("is {other}; supported: {head_dim}, the size of a head")));
        }
    }
    let theta = fields.positive(&at("rope.freq_base"), Rope::PLAIN.theta)?;
    let stretched = (stretched(header, arch)?, factors.map(|factors| llama3(header, factors, head_dim, theta)));
    let scaling = match stretched {
        (Some(_), Some(_)) => {
            return Err(fields.wrong(&at("rope.scaling.type"), format!("does not go with the tensor `{FACTORS}`")));
        }
        (scaling, None) => scaling,
        (None, Some(scaling)) => Some(scaling?),
    };
    config.extend(scaling.map(|scaling| ("rope_scaling".to_owned(), scaling)));

    let is_there = |tensor: &str| header.tensors.contains_key(tensor);
    let embedding = header.tensors.get("token_embd.weight").map(|place| place.dims[0]);
    // Without one it is missed by its name where all tensors are looked for.
    config.insert("vocab_size".to_owned(), json!(embedding.unwrap_or(1)));
    config.insert("tie_word_embeddings".to_owned(), json!(!is_there("output.weight")));
    let has_window = fields.get(&at("attention.sliding_window")).is_some_and(|window| *window != json!(0));
    if !has_window {
        config.remove("sliding_window");
    }
    let model_type = match family {
        // It has no architecture of its own here.
        Family::Llama if has_window => Family::Mistral,
        family => family,
    };
    config.insert("model_type".to_owned(), json!(model_type.name()));
    let attention = json!(is_there("blk.0.attn_q.bias") || is_there("blk.0.attn_output.bias"));
    match model_type {
        Family::Llama => {
            config.insert("attention_bias".to_owned(), attention);
            config.insert("mlp_bias".to_owned(), json!(is_there("blk.0.ffn_up.bias")));
        }
        Family::Qwen3 => drop(config.insert("attention_bias".to_owned(), attention)),
        Family::Mistral | Family::Qwen2 => {}
    }
    config::read(fields.path, &config)
}

fn refuse_unknown(header: &Header, arch: &str) -> Result<(), ModelError> {
    let fields = header.fields();
    let own = |field: &str| field.strip_prefix(arch)?.strip_prefix('.').map(str::to_owned);
    for (field, value) in fields.map {
        let Some(key) = own(field) else { continue };
        let window = key == "attention.sliding_window" && arch != Family::Llama.name();
        let known = OTHERS.contains(&key.as_str()) || SAME.iter().any(|(_, theirs)| *theirs == key);
        // Zero, false and nothing switch nothing on; how the converter found the weights says nothing.
        let idle = match &*key {
            "tensor_data_layout" => true,
            "attention.causal" => *value == json!(true),
            _ => matches!(value, Value::Bool(false)) || value.as_f64() == Some(0.0) || *value == json!(""),
        };
        if !idle && (!known || window) {
            return Err(fields.wrong(field, format!("is {value}, which is not understood")));
        }
    }
    Ok(())
}

/// What `rope.scaling.*` say, as transformers has it.
fn stretched(header: &Header, arch: &str) -> Result<Option<Value>, ModelError> {
    let fields = header.fields();
    let at = |key: &str| format!("{arch}.rope.scaling.{key}");
    let optional = |key: &str| fields.get(&at(key)).map(|_| fields.positive(&at(key), 1.0)).transpose();
    let kind = match fields.get(&at("type")) {
        None => {
            if fields.get(&at("factor")).is_some() {
                "linear"
            } else {
                "none"
            }
        }
        Some(_) => header.text(&at("type"))?,
    };
    let factor = || optional("factor")?.ok_or_else(|| fields.wrong(&at("factor"), "is missing"));
    match kind {
        "none" => Ok(None),
        "linear" => Ok(Some(json!({ "rope_type": kind, "factor": factor()? }))),
        "yarn" => {
            let mut scaling = json!({ "rope_type": kind, "factor": factor()? });
            for (ours, theirs) in [
                ("original_max_position_embeddings", "original_context_length"),
                ("beta_fast", "yarn_beta_fast"),
                ("beta_slow", "yarn_beta_slow"),
            ] {
                if let Some(value) = optional(theirs)? {
                    scaling[ours] = json!(value);
                }
            }
            Ok(Some(scaling))
        }
        other => Err(fields.wrong(&at("type"), format!("is `{other}`; supported: `none`, `linear`, `yarn`"))),
    }
}

/// Llama 3.1's scaling from what it comes to: llama.cpp's converter writes down the quotients, not the numbers they are made
/// of. All such models have the same bounds, 1 and 4, and an original length that is a power of two.
fn llama3(header: &Header, factors: &[f32], head_dim: usize, theta: f64) -> Result<Value, ModelError> {
    let wrong = |problem: String| {
        super::super::weights::file_error(header.fields().path, format!("tensor `{FACTORS}` {problem}"))
    };
    if factors.len() != head_dim / 2 {
        return Err(wrong(format!("has {} values; a head has {} pairs", factors.len(), head_dim / 2)));
    }
    let plain = Rope { theta, scaling: None }.frequencies(head_dim);
    let factor = factors.iter().fold(1.0f32, |most, factor| most.max(*factor));
    let scaling =
        |original: u64| Scaling::Llama3 { factor: factor.into(), low: 1.0, high: 4.0, original: original as f64 };
    let is_such = |original: &u64| {
        let scaled = Rope { theta, scaling: Some(scaling(*original)) }.frequencies(head_dim);
        let quotients = plain.iter().zip(&scaled).map(|(plain, scaled)| plain / scaled);
        quotients.zip(factors).all(|(quotient, factor)| (quotient - f64::from(*factor)).abs() <= 1e-4 * quotient)
    };
    let original = (3..=24).map(|power| 1u64 << power).find(is_such);
    let original =
        original.ok_or_else(|| wrong("is no scaling as Llama 3.1 has it; supported: no other".to_owned()))?;
    Ok(Rope { theta, scaling: Some(scaling(original)) }.render().expect("it has a scaling"))
}
