//! Turns one version of a model into a directory that transformers or PEFT loads.
//!
//! # Invariants
//! A directory for transformers needs nothing but itself: an adapter is merged. Nothing is written before all of it is known to be good.

use super::lora::Version;
use super::weights::serialize;
use super::{config, lora, peft, source, versioned};
use crate::model::{Dtype, ModelError, ModelSpec, Source};
use std::collections::BTreeMap;
use std::path::Path;

/// See [`crate::model::export`].
pub fn export(spec: &ModelSpec, version: Option<&[u8]>, directory: &Path, half: bool) -> Result<(), ModelError> {
    let declared = source::declared(spec)?;
    let mut arrays = versioned(&declared, spec, version)?;
    // As it answers, but for eight bits: those are a way to hold a row, which no reader of such files knows.
    arrays.values_mut().for_each(|array| array.round(spec.dtype));
    let (dtype, name) = if half { (Dtype::Bf16, "bfloat16") } else { (Dtype::F32, "float32") };
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let weights = serialize(&arrays, &metadata, dtype);
    let config = config::render(&declared.shape, declared.bos, &declared.eos, name);
    let write = || {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join("config.json"), config)?;
        declared.write_tokenizer(directory)?;
        std::fs::write(directory.join("model.safetensors"), weights)
    };
    write().map_err(|error| unwritten(directory, &error))
}

/// See [`crate::model::export_adapter`].
pub fn export_adapter(spec: &ModelSpec, version: &[u8], directory: &Path) -> Result<(), ModelError> {
    let Version::Adapter(adapter) = lora::read(version, spec.lora.as_ref())? else {
        return Err(ModelError::NoAdapter);
    };
    if spec.adapter.is_some() {
        return Err(ModelError::OverAdapter);
    }
    let (base, revision) = match &spec.source {
        Source::Path(path) => (path.to_string_lossy().into_owned(), None),
        Source::Hub { repo, revision } => (repo.clone(), Some(revision)),
        // Made from a seed, or in a layout that PEFT does not read.
        _ => (String::new(), None),
    };
    let mut config = peft::config(&adapter, &base)?;
    if let Some(revision) = revision {
        config["revision"] = revision.as_str().into();
    }
    let write = || {
        std::fs::create_dir_all(directory)?;
        let [description, matrices] = peft::files(directory);
        std::fs::write(description, format!("{config:#}\n"))?;
        std::fs::write(matrices, version)
    };
    write().map_err(|error| unwritten(directory, &error))
}

fn unwritten(directory: &Path, error: &std::io::Error) -> ModelError {
    ModelError::File { path: directory.display().to_string(), problem: format!("cannot be written: {error}") }
}
