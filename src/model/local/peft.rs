//! Turns a directory as PEFT saves it into an adapter, and an adapter into PEFT's description of it.
//!
//! # Invariants
//! What PEFT would compute is computed, or it is refused by the field that asks for something else.

use super::config::Shape;
use super::lora::{self, Adapter};
use super::weights::{self, read, read_text};
use crate::base::Hasher;
use crate::model::ModelError;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// PEFT's description of an adapter over the model at `base`. Nothing is dropped once it is trained.
///
/// # Errors
/// An adapter whose modules have different ranks.
pub fn config(adapter: &Adapter, base: &str) -> Result<Value, ModelError> {
    let Adapter { arrays, scale } = adapter;
    let a = arrays.iter().filter_map(|(name, array)| Some((name.strip_suffix(".lora_A.weight")?, array.shape[0])));
    let (modules, ranks): (Vec<&str>, BTreeSet<usize>) = a.unzip();
    let (Some(rank), 1) = (ranks.first(), ranks.len()) else {
        return Err(weights::file_error("trained weights", format!("the adapter has {} ranks, not one", ranks.len())));
    };
    let targets: BTreeSet<&str> = modules.into_iter().filter_map(|module| module.rsplit('.').next()).collect();
    Ok(json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": scale * *rank as f64,
        "lora_dropout": 0.0,
        "target_modules": targets,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
    }))
}

/// The files of an adapter's directory.
pub fn files(directory: &Path) -> [PathBuf; 2] {
    ["adapter_config.json", "adapter_model.safetensors"].map(|name| directory.join(name))
}

/// What decides what an adapter adds.
///
/// # Errors
/// As [`Saved::open`], as far as no decoder is needed to tell.
pub fn feed(directory: &Path, hasher: &mut Hasher) -> Result<(), ModelError> {
    let [config, matrices] = files(directory);
    let (_, scale) = described(&config.display().to_string(), &read_text(&config)?)?;
    hasher.str("adapter").put(&scale).bytes(&read(&matrices, u64::MAX)?);
    Ok(())
}

/// What an adapter's directory says, its matrices apart.
pub struct Saved {
    file: PathBuf,
    /// What the product of the two matrices counts by.
    scale: f64,
}

impl Saved {
    /// Holds the description and the file's header against the decoder.
    ///
    /// # Errors
    /// A missing or foreign file; a description that asks for more than `W x + scale B A x`; matrices that do not fit.
    pub fn open(directory: &Path, shape: &Shape) -> Result<Self, ModelError> {
        let [config, file] = files(directory);
        let (rank, scale) = described(&config.display().to_string(), &read_text(&config)?)?;
        let name = file.display().to_string();
        let wrong = |problem: String| weights::file_error(&name, problem);
        let shapes = lora::adapter(weights::header(&file)?).map_err(|_| wrong(lora::NEITHER.to_owned()))?;
        lora::fit(&name, shape, &shapes)?;
        let other = shapes.iter().find(|(name, dims)| name.ends_with(".lora_A.weight") && dims[0] as u64 != rank);
        match other {
            Some((name, dims)) => Err(wrong(format!("`{name}` has the rank {}; the description says {rank}", dims[0]))),
            None => Ok(Self { file, scale }),
        }
    }

    /// # Errors
    /// A matrix with a value that is not finite.
    pub fn adapter(&self) -> Result<Adapter, ModelError> {
        let name = self.file.display().to_string();
        let (arrays, _) = weights::parse(&name, &read(&self.file, u64::MAX)?)?;
        let arrays = lora::adapter(arrays).map_err(|_| weights::file_error(&name, lora::NEITHER))?;
        Ok(Adapter { arrays, scale: self.scale })
    }
}

/// Rank and scale that an `adapter_config.json` tells.
fn described(path: &str, text: &str) -> Result<(u64, f64), ModelError> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| weights::file_error(path, format!("is not JSON: {error}")))?;
    let wrong =
        |field: &str, problem: String| ModelError::Config { path: path.to_owned(), field: field.into(), problem };
    // What adds other arithmetic than LoRA's own, with what it is where it adds none.
    let plain = [
        ("peft_type", json!("LORA")),
        ("bias", json!("none")),
        ("fan_in_fan_out", json!(false)),
        ("use_dora", json!(false)),
        ("use_qalora", json!(false)),
        ("lora_bias", json!(false)),
        ("rank_pattern", json!({})),
        ("alpha_pattern", json!({})),
        ("modules_to_save", Value::Null),
        ("trainable_token_indices", Value::Null),
        ("layer_replication", Value::Null),
        ("target_parameters", Value::Null),
        ("alora_invocation_tokens", Value::Null),
    ];
    for (field, plain) in plain {
        let found = &value[field];
        let is_missing = found.is_null() && field != "peft_type";
        if !is_missing && *found != plain {
            return Err(wrong(field, format!("is {found}; supported: {plain}")));
        }
    }
    // Others begin from what is left of the weights once the adapter is taken out of them, and stand over that.
    let begun = &value["init_lora_weights"];
    if !matches!(begun, Value::Null | Value::Bool(_)) && *begun != json!("gaussian") && *begun != json!("eva") {
        return Err(wrong("init_lora_weights", format!("is {begun}; supported: true, false, \"gaussian\", \"eva\"")));
    }
    let is_stabilized = match &value["use_rslora"] {
        Value::Null => false,
        Value::Bool(is) => *is,
        other => return Err(wrong("use_rslora", format!("is {other}, neither true nor false"))),
    };
    let rank = value["r"].as_u64().filter(|rank| (1..=4096).contains(rank));
    let rank = rank.ok_or_else(|| wrong("r", format!("is {}, not from 1 to 4096", value["r"])))?;
    let alpha = value["lora_alpha"].as_f64().filter(|alpha| *alpha > 0.0);
    let alpha =
        alpha.ok_or_else(|| wrong("lora_alpha", format!("is {}, not a positive number", value["lora_alpha"])))?;
    // Kalajdzievski 2023 keeps the product's size as the rank grows.
    let divisor = if is_stabilized { (rank as f64).sqrt() } else { rank as f64 };
    Ok((rank, alpha / divisor))
}
