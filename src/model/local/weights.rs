//! Turns safetensors files, one or many, into named arrays of f32, and arrays into safetensors bytes.
//!
//! # Invariants
//! f32, bf16 and f16 widen exactly. Equal arrays give equal bytes, wherever they were made.
//! No file can make this panic: whatever is wrong is one error that names the file and the tensor.

use super::array::no_type;
use super::config::{Biases, Shape};
use crate::base::file;
use crate::model::{Dtype, ModelError, shards};
use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Configs, indices and templates are written by people or are lists of names.
const MOST_TEXT: u64 = 1 << 26;
/// As the format has it.
const MOST_HEADER: u64 = 100_000_000;

pub use super::array::{Array, Arrays};

pub fn file_error(path: &str, problem: impl Into<String>) -> ModelError {
    ModelError::File { path: path.to_owned(), problem: problem.into() }
}

pub fn unreadable(path: &Path, error: &std::io::Error) -> ModelError {
    let problem = match error.kind() {
        ErrorKind::InvalidData => error.to_string(),
        _ => format!("cannot be read: {}", file::reason(error)),
    };
    file_error(&path.display().to_string(), problem)
}

/// Reads a file that must be there, of at most so many bytes.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, ModelError> {
    file::read(path, most).map_err(|error| unreadable(path, &error))
}

/// Reads a text file that must be there: a config, an index, a template.
pub fn read_text(path: &Path) -> Result<String, ModelError> {
    file::read_text(path, MOST_TEXT).map_err(|error| unreadable(path, &error))
}

/// The weight files of a model directory, in name order.
///
/// # Errors
/// Neither `model.safetensors` nor `model.safetensors.index.json`; an index that is not one, or points out of the
/// directory.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let single = directory.join("model.safetensors");
    if single.exists() {
        return Ok(vec![single]);
    }
    let index = directory.join("model.safetensors.index.json");
    let name = index.display().to_string();
    if !index.exists() {
        let problem = "has neither `model.safetensors` nor `model.safetensors.index.json`";
        return Err(file_error(&directory.display().to_string(), problem));
    }
    Ok(shards::named(&name, &read_text(&index)?)?.into_iter().map(|shard| directory.join(shard)).collect())
}

/// All arrays of a model directory whose headers were looked at. They come one by one, so that no file is held beside them.
pub fn load(directory: &Path) -> Result<Arrays, ModelError> {
    let mut all = Arrays::new();
    for path in files(directory)? {
        let name = path.display().to_string();
        let (mut file, header) = opened(&path)?;
        for tensor in header.offset_keys() {
            let info = header.info(&tensor).expect("a key of the header");
            let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
            file.read_exact(&mut bytes).map_err(|error| unreadable(&path, &error))?;
            let array = Array::read(&info.shape, info.dtype, &bytes);
            all.insert(tensor.clone(), array.map_err(|problem| of_tensor(&name, &tensor, &problem))?);
        }
    }
    Ok(all)
}

fn of_tensor(file: &str, tensor: &str, problem: &str) -> ModelError {
    file_error(file, format!("tensor `{tensor}` {problem}"))
}

/// Holds the headers of a model directory against a shape, without reading a weight: every file whole, every tensor there,
/// once, in its shape and in a type that can be read.
pub fn look(name: &str, shape: &Shape, directory: &Path) -> Result<(), ModelError> {
    let mut all = Shapes::new();
    for file in files(directory)? {
        let name = file.display().to_string();
        for (tensor, dims) in header(&file)? {
            if all.insert(tensor.clone(), dims).is_some() {
                return Err(file_error(&name, format!("tensor `{tensor}` is also in another shard")));
            }
        }
    }
    fit(name, &layout(shape), &all, |tensor| is_spare(shape, tensor))
}

pub type Shapes = BTreeMap<String, Vec<usize>>;

pub fn shapes(arrays: &Arrays) -> Shapes {
    arrays.iter().map(|(tensor, array)| (tensor.clone(), array.shape.clone())).collect()
}

/// The shapes that a file's header tells; the file must be as long as they ask for.
pub fn header(path: &Path) -> Result<Shapes, ModelError> {
    let name = path.display().to_string();
    let (_, header) = opened(path)?;
    let mut shapes = Shapes::new();
    for tensor in header.offset_keys() {
        let info = header.info(&tensor).expect("a key of the header");
        if !matches!(info.dtype, safetensors::Dtype::F32 | safetensors::Dtype::BF16 | safetensors::Dtype::F16) {
            return Err(of_tensor(&name, &tensor, &no_type(info.dtype)));
        }
        shapes.insert(tensor, info.shape.clone());
    }
    Ok(shapes)
}

/// A file behind its header, which it is as long as.
fn opened(path: &Path) -> Result<(File, Metadata), ModelError> {
    let name = path.display().to_string();
    let fail = |error: std::io::Error| unreadable(path, &error);
    let broken = |problem: String| file_error(&name, format!("is not a whole safetensors file: {problem}"));
    let mut file = file::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(|_| broken("it is too short".to_owned()))?;
    let size = u64::from_le_bytes(size);
    if size > MOST_HEADER.min(length - 8) {
        return Err(broken(format!("its header is said to have {size} bytes")));
    }
    let mut text = vec![0; size as usize];
    file.read_exact(&mut text).map_err(fail)?;
    let header: Metadata = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
    let wanted = 8 + size + header.data_len() as u64;
    if length != wanted {
        return Err(broken(format!("it has {length} bytes, its header asks for {wanted}")));
    }
    Ok((file, header))
}

/// The arrays and the metadata of one safetensors file, `name` for messages.
pub fn parse(name: &str, bytes: &[u8]) -> Result<(Arrays, BTreeMap<String, String>), ModelError> {
    let (_, header) = SafeTensors::read_metadata(bytes)
        .map_err(|error| file_error(name, format!("is not a whole safetensors file: {error}")))?;
    let tensors = SafeTensors::deserialize(bytes)
        .map_err(|error| file_error(name, format!("is not a whole safetensors file: {error}")))?;
    let metadata = header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut arrays = Arrays::new();
    for (tensor, view) in tensors.iter() {
        let array = Array::read(view.shape(), view.dtype(), view.data());
        arrays.insert(tensor.to_owned(), array.map_err(|problem| of_tensor(name, tensor, &problem))?);
    }
    Ok((arrays, metadata))
}

/// Safetensors bytes, numbers in single precision where `dtype` is none of the format's, tensors and metadata in name order: the format's own writer sorts by type and name, but takes
/// metadata as a hash map.
pub fn serialize(arrays: &Arrays, metadata: &BTreeMap<String, String>, dtype: Dtype) -> Vec<u8> {
    let (label, width) = match dtype {
        Dtype::F32 | Dtype::Int8 => ("F32", 4),
        Dtype::Bf16 => ("BF16", 2),
        Dtype::F16 => ("F16", 2),
    };
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), json!(metadata));
    }
    let mut offset = 0;
    for (name, array) in arrays {
        let end = offset + array.len() * width;
        header.insert(name.clone(), json!({"dtype": label, "shape": array.shape, "data_offsets": [offset, end]}));
        offset = end;
    }
    let mut text = Value::Object(header).to_string();
    // The data begins at a multiple of eight; the format pads its header with spaces.
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    let mut bytes = Vec::with_capacity(8 + text.len() + offset);
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
    for array in arrays.values() {
        for value in array.floats().iter() {
            match dtype {
                Dtype::F32 | Dtype::Int8 => bytes.extend(value.to_le_bytes()),
                Dtype::Bf16 => bytes.extend(bf16::from_f32(*value).to_le_bytes()),
                Dtype::F16 => bytes.extend(f16::from_f32(*value).to_le_bytes()),
            }
        }
    }
    bytes
}

/// The name and shape of every tensor of a decoder, in name order.
pub fn layout(shape: &Shape) -> Shapes {
    let Shape { width, ffn, vocab, .. } = *shape;
    let (query, kv) = (shape.query_width(), shape.kv_width());
    let mut all = BTreeMap::from([
        ("model.embed_tokens.weight".to_owned(), vec![vocab, width]),
        ("model.norm.weight".to_owned(), vec![width]),
    ]);
    if !shape.tied {
        all.insert("lm_head.weight".to_owned(), vec![vocab, width]);
    }
    for layer in 0..shape.layers {
        let parts = [
            ("input_layernorm", vec![width]),
            ("post_attention_layernorm", vec![width]),
            ("self_attn.q_proj", vec![query, width]),
            ("self_attn.k_proj", vec![kv, width]),
            ("self_attn.v_proj", vec![kv, width]),
            ("self_attn.o_proj", vec![width, query]),
            ("mlp.gate_proj", vec![ffn, width]),
            ("mlp.up_proj", vec![ffn, width]),
            ("mlp.down_proj", vec![width, ffn]),
        ];
        all.extend(parts.map(|(part, dims)| (format!("model.layers.{layer}.{part}.weight"), dims)));
        let Biases { qkv, output, mlp } = shape.biases;
        let small = [
            (qkv, "self_attn.q_proj.bias", query),
            (qkv, "self_attn.k_proj.bias", kv),
            (qkv, "self_attn.v_proj.bias", kv),
            (output, "self_attn.o_proj.bias", width),
            (mlp, "mlp.gate_proj.bias", ffn),
            (mlp, "mlp.up_proj.bias", ffn),
            (mlp, "mlp.down_proj.bias", width),
            (shape.qk_norm, "self_attn.q_norm.weight", shape.head_dim),
            (shape.qk_norm, "self_attn.k_norm.weight", shape.head_dim),
        ];
        let there = small.into_iter().filter(|(there, ..)| *there);
        all.extend(there.map(|(_, name, size)| (format!("model.layers.{layer}.{name}"), vec![size])));
    }
    all
}

/// Holds the arrays against the layout: each tensor there, in its shape, and none that nobody would use.
pub fn check(name: &str, shape: &Shape, mut arrays: Arrays) -> Result<Arrays, ModelError> {
    fit(name, &layout(shape), &shapes(&arrays), |tensor| is_spare(shape, tensor))?;
    arrays.retain(|tensor, _| !is_spare(shape, tensor));
    Ok(arrays)
}

/// Old exports carry the rotary table; some carry the tied head a second time.
fn is_spare(shape: &Shape, tensor: &str) -> bool {
    tensor.ends_with("rotary_emb.inv_freq") || (shape.tied && tensor == "lm_head.weight")
}

/// Holds what was found against the layout; spare is what may be there and is not used.
pub fn fit(name: &str, layout: &Shapes, found: &Shapes, is_spare: impl Fn(&str) -> bool) -> Result<(), ModelError> {
    for (tensor, dims) in layout {
        let found = found.get(tensor).ok_or_else(|| file_error(name, format!("tensor `{tensor}` is missing")))?;
        if found != dims {
            let problem = format!("tensor `{tensor}` has the shape {found:?}; the config asks for {dims:?}");
            return Err(file_error(name, problem));
        }
    }
    match found.keys().find(|tensor| !layout.contains_key(*tensor) && !is_spare(tensor)) {
        Some(tensor) => Err(file_error(name, format!("tensor `{tensor}` has no place in this architecture"))),
        None => Ok(()),
    }
}
