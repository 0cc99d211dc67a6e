//! Turns tensors as llama.cpp names, keeps and orders them into those of Hugging Face's layout.
//!
//! # Invariants
//! Quantised weights are what their blocks say, value by value: nothing is computed with blocks.

use super::super::array::{Array, finite};
use candle_core::quantized::{GgmlDType, ggml_file::qtensor_from_ggml};
use candle_core::{Device, Result};

const OUTSIDE: [(&str, &str); 3] =
    [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")];

const INSIDE: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// What llama.cpp calls a tensor of [`layout`](super::super::weights::layout).
pub fn theirs(tensor: &str) -> String {
    let of = |table: &[(&str, &'static str)], module: &str| {
        let found = table.iter().find(|(ours, _)| *ours == module);
        found.expect("invariant: every module of a decoder is in the tables").1
    };
    let (module, kind) = tensor.rsplit_once('.').expect("invariant: a module and `weight` or `bias`");
    match module.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, part)) => format!("blk.{layer}.{}.{kind}", of(&INSIDE, part)),
        None => format!("{}.{kind}", of(&OUTSIDE, module)),
    }
}

/// # Errors
/// Values that are not finite; blocks that candle refuses.
pub fn values(kind: GgmlDType, bytes: &[u8]) -> std::result::Result<Vec<f32>, String> {
    let plain = match kind {
        GgmlDType::F32 => Some(safetensors::Dtype::F32),
        GgmlDType::F16 => Some(safetensors::Dtype::F16),
        GgmlDType::BF16 => Some(safetensors::Dtype::BF16),
        _ => None,
    };
    match plain {
        Some(dtype) => Ok(Array::read(&[], dtype, bytes)?.into_floats()),
        None => finite(blocks(kind, bytes).map_err(|error| format!("cannot be read: {error}"))?),
    }
}

fn blocks(kind: GgmlDType, bytes: &[u8]) -> Result<Vec<f32>> {
    let count = bytes.len() / kind.type_size() * kind.block_size();
    qtensor_from_ggml(kind, bytes, vec![count], &Device::Cpu)?.dequantize(&Device::Cpu)?.to_vec1()
}

/// Takes back what llama.cpp's converter does to the maps to queries and keys of a `llama`: it turns neighbours in a head where
/// Hugging Face turns halves, so it has the rows of the two halves by turns.
pub fn by_halves(array: &mut Array, heads: usize) {
    let width: usize = array.shape[1..].iter().product();
    let (half, head) = (array.shape[0] / heads / 2, array.shape[0] / heads * width);
    let reorder = |head: &[f32]| -> Vec<f32> {
        let row = |row: usize| &head[row * width..(row + 1) * width];
        (0..2 * half).flat_map(|at| row(2 * (at % half) + at / half)).copied().collect()
    };
    let floats = array.floats_mut();
    *floats = floats.chunks_exact(head).flat_map(reorder).collect();
}
