//! Turns a low-rank adaptation into variables, into PEFT's names, and into plain weights.
//!
//! `W' = W + (alpha / rank) B A` (Hu et al. 2021); `A` begins uniform, `B` zero, so that an untrained adapter changes
//! nothing.
//!
//! # Invariants
//! Names are those of PEFT without its prefix `base_model.model.`, which only files carry.

use super::config::Shape;
use super::decoder::{lora_a, lora_b};
use super::weights::{self, Array, Arrays, Shapes};
use crate::base::Seed;
use crate::model::{Dtype, LoraConfig, ModelError};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What PEFT puts before every name.
const PREFIX: &str = "base_model.model.";
pub(super) const NEITHER: &str = "holds tensors that are neither LoRA's A nor its B";
/// The metadata key under which a version says what it is.
const KEY: &str = "agx";
pub(super) const MODULES: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// The weights of one trained version.
#[derive(Debug, PartialEq)]
pub enum Version {
    Full(Arrays),
    Adapter(Adapter),
}

/// A trained adapter; `scale` is alpha / rank.
#[derive(Debug, PartialEq)]
pub struct Adapter {
    pub arrays: Arrays,
    pub scale: f64,
}

fn wrong(problem: impl Into<String>) -> ModelError {
    weights::file_error("trained weights", problem)
}

pub fn scale(config: &LoraConfig) -> f64 {
    config.alpha / f64::from(config.rank)
}

/// The adapted modules with their `[out, in]`.
fn modules(shape: &Shape, on: &[String]) -> BTreeMap<String, (usize, usize)> {
    let adapted = |(name, dims): (String, Vec<usize>)| {
        let module = name.strip_suffix(".weight")?;
        let wanted = on.iter().any(|part| module.rsplit('.').next() == Some(part));
        wanted.then(|| (module.to_owned(), (dims[0], dims[1])))
    };
    weights::layout(shape).into_iter().filter_map(adapted).collect()
}

/// # Errors
/// A rank or a dropout out of range, a module that does not exist.
pub fn check(config: &LoraConfig) -> Result<(), ModelError> {
    let LoraConfig { rank, alpha, dropout, on } = config;
    let unknown = on.iter().find(|name| !MODULES.contains(&name.as_str()));
    let problem = match unknown {
        Some(name) => format!("LoRA: there is no linear `{name}`; there are {}", MODULES.join(", ")),
        None if on.is_empty() => "LoRA: on no linear at all".to_owned(),
        None if *rank == 0 || *rank > 4096 => format!("LoRA: rank {rank} is not from 1 to 4096"),
        None if !alpha.is_finite() || *alpha <= 0.0 => format!("LoRA: alpha {alpha} is not a positive number"),
        None if !(0.0..1.0).contains(dropout) => format!("LoRA: dropout {dropout} is not in [0, 1)"),
        None => return Ok(()),
    };
    Err(ModelError::Training(problem))
}

/// An adapter that changes nothing yet: `A` uniform in ±1/sqrt(in), as PEFT begins, `B` zero.
pub fn fresh(shape: &Shape, config: &LoraConfig, seed: Seed) -> Arrays {
    let rank = config.rank as usize;
    let mut arrays = Arrays::new();
    for (module, (out, input)) in modules(shape, &config.on) {
        let seed = seed.derive(&*module);
        let bound = 1.0 / (input as f64).sqrt();
        let draw = |position| ((2.0 * seed.uniform(position) - 1.0) * bound) as f32;
        let a = (0..(rank * input) as u64).map(draw).collect();
        arrays.insert(lora_a(&module), Array::new(&[rank, input], a));
        arrays.insert(lora_b(&module), Array::new(&[out, rank], vec![0.0; out * rank]));
    }
    arrays
}

/// Whether an adapter can go on being trained as `config` says.
pub fn fits(shape: &Shape, config: &LoraConfig, adapter: &Adapter) -> bool {
    let rank = config.rank as usize;
    let modules = modules(shape, &config.on);
    let same = |(module, (out, input)): (&String, &(usize, usize))| {
        let has = |name: String, dims: [usize; 2]| adapter.arrays.get(&name).is_some_and(|array| array.shape == dims);
        has(lora_a(module), [rank, *input]) && has(lora_b(module), [*out, rank])
    };
    scale(config) == adapter.scale && adapter.arrays.len() == 2 * modules.len() && modules.iter().all(same)
}

/// Puts a version over the declared weights.
///
/// # Errors
/// A version of another architecture.
pub fn apply(shape: &Shape, mut base: Arrays, version: Version) -> Result<Arrays, ModelError> {
    let adapter = match version {
        Version::Full(arrays) => return weights::check("trained weights", shape, arrays),
        Version::Adapter(adapter) => adapter,
    };
    fit("trained weights", shape, &weights::shapes(&adapter.arrays))?;
    merge(&mut base, &adapter);
    Ok(base)
}

/// Holds an adapter's shapes against the decoder's: both matrices of each module, of one rank and as wide as it is.
pub fn fit(file: &str, shape: &Shape, adapter: &Shapes) -> Result<(), ModelError> {
    let wrong = |problem: String| weights::file_error(file, problem);
    let layout = weights::layout(shape);
    for name in adapter.keys() {
        let module = name.strip_suffix(".lora_A.weight").or_else(|| name.strip_suffix(".lora_B.weight"));
        let module = module.expect("an adapter's names end so");
        let matrix = |name: String| adapter.get(&name).ok_or_else(|| wrong(format!("`{name}` is missing")));
        let (a, b) = (matrix(lora_a(module))?, matrix(lora_b(module))?);
        let target = layout.get(&format!("{module}.weight"));
        let target = target.ok_or_else(|| wrong(format!("the base has no module `{module}`")))?;
        let ([rank, input], [out, rank_of_b], [rows, columns]) = (&a[..], &b[..], &target[..]) else {
            return Err(wrong(format!("the adapter of `{module}` is not two matrices")));
        };
        if rank != rank_of_b || out != rows || input != columns {
            let problem = format!("the adapter of `{module}` has the shapes {a:?} and {b:?}");
            return Err(wrong(format!("{problem}; the module has {target:?}")));
        }
    }
    Ok(())
}

/// Adds an adapter that fits to the weights that it adapts.
pub fn merge(base: &mut Arrays, Adapter { arrays, scale }: &Adapter) {
    for (name, a) in arrays {
        let Some(module) = name.strip_suffix(".lora_A.weight") else { continue };
        let (floats, b) = (a.floats(), arrays[&lora_b(module)].floats());
        let target = base.get_mut(&format!("{module}.weight")).expect("it fits");
        let [rank, input] = a.shape[..] else { unreachable!("it fits") };
        for (row, b) in target.floats_mut().chunks_exact_mut(input).zip(b.chunks_exact(rank)) {
            for (a, b) in floats.chunks_exact(input).zip(b) {
                let factor = (scale * f64::from(*b)) as f32;
                row.iter_mut().zip(a).for_each(|(weight, a)| *weight = factor.mul_add(*a, *weight));
            }
        }
    }
}

/// The bytes of a version: safetensors with what is needed to open it again.
pub fn write(version: &Version) -> Vec<u8> {
    let metadata =
        |what: Value| BTreeMap::from([("format".to_owned(), "pt".to_owned()), (KEY.to_owned(), what.to_string())]);
    match version {
        Version::Full(arrays) => weights::serialize(arrays, &metadata(json!({"kind": "full"})), Dtype::F32),
        Version::Adapter(Adapter { arrays, scale }) => {
            let named = arrays.iter().map(|(name, array)| (format!("{PREFIX}{name}"), array.clone())).collect();
            weights::serialize(&named, &metadata(json!({"kind": "lora", "scale": scale})), Dtype::F32)
        }
    }
}

/// Reads a version. An adapter that comes from elsewhere takes its scale from `declared`.
///
/// # Errors
/// Bytes that are not safetensors; adapter and plain weights mixed; an adapter whose scale nobody says.
pub fn read(bytes: &[u8], declared: Option<&LoraConfig>) -> Result<Version, ModelError> {
    let (arrays, metadata) = weights::parse("trained weights", bytes)?;
    let arrays = match adapter(arrays) {
        Ok(arrays) => arrays,
        Err(arrays) if arrays.keys().any(|name| name.starts_with(PREFIX)) => return Err(wrong(NEITHER)),
        Err(arrays) => return Ok(Version::Full(arrays)),
    };
    let own: Value = metadata.get(KEY).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    match own["scale"].as_f64().or(declared.map(scale)) {
        Some(scale) => Ok(Version::Adapter(Adapter { arrays, scale })),
        None => Err(wrong("does not say its alpha, and the model declares no LoRA")),
    }
}

/// An adapter's tensors by their own names; those of anything else as they are.
pub fn adapter<T>(tensors: BTreeMap<String, T>) -> Result<BTreeMap<String, T>, BTreeMap<String, T>> {
    let is_of_adapter = |name: &String| {
        name.starts_with(PREFIX) && (name.ends_with(".lora_A.weight") || name.ends_with(".lora_B.weight"))
    };
    if tensors.is_empty() || !tensors.keys().all(is_of_adapter) {
        return Err(tensors);
    }
    Ok(tensors.into_iter().map(|(name, tensor)| (name[PREFIX.len()..].to_owned(), tensor)).collect())
}
