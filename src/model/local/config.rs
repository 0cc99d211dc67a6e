//! Turns a Hugging Face `config.json` into the [`Shape`] of a decoder, and back.
//!
//! # Invariants
//! A field that would change the arithmetic and is not understood is an error that names it; nothing is guessed.
//! Nothing here reads a weight.

use crate::model::{Fresh, ModelError};
use serde_json::{Map, Value, json};

/// Everything that decides the arithmetic of a Llama-family decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    pub width: usize,
    pub ffn: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
    pub norm_eps: f64,
    pub rope_theta: f64,
    /// The output head is the embedding.
    pub tied: bool,
    /// The longest sequence the positions were made for.
    pub positions: usize,
}

/// A parsed `config.json`: the shape and the ids it gives a meaning to.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub shape: Shape,
    pub bos: Option<u32>,
    pub eos: Vec<u32>,
}

/// The largest size any field may declare: far above every model, far below what overflows a product of two.
const LARGEST: u64 = 1 << 24;

/// A decoder with its language head, as transformers calls it.
const ARCHITECTURE: &str = "LlamaForCausalLM";

/// Beyond every model; a list of the tensors of more would itself be large.
const MOST_LAYERS: usize = 1024;
/// Random weights are made up to this many (4 GiB of f32).
const MOST_FRESH_WEIGHTS: usize = 1 << 30;

/// Fields that describe training or bookkeeping and do not change what an inference computes.
const HARMLESS: &[&str] = &[
    "_name_or_path",
    "attention_dropout",
    "dtype",
    "initializer_range",
    "is_llama_config",
    "pad_token_id",
    "pretraining_tp",
    "rope_interleaved",
    "torch_dtype",
    "transformers_version",
    "use_cache",
];

struct Fields<'a> {
    path: &'a str,
    map: &'a Map<String, Value>,
}

impl Fields<'_> {
    fn wrong(&self, field: &str, problem: impl Into<String>) -> ModelError {
        ModelError::Config { path: self.path.to_owned(), field: field.to_owned(), problem: problem.into() }
    }

    /// The value unless absent or null.
    fn get(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    fn size_or(&self, field: &str, default: Option<usize>) -> Result<usize, ModelError> {
        match (self.get(field), default) {
            (None, Some(default)) => Ok(default),
            (None, None) => Err(self.wrong(field, "is missing")),
            (Some(value), _) => match value.as_u64() {
                Some(size) if (1..=LARGEST).contains(&size) => Ok(size as usize),
                _ => Err(self.wrong(field, format!("is {value}, not a whole number from 1 to {LARGEST}"))),
            },
        }
    }

    fn size(&self, field: &str) -> Result<usize, ModelError> {
        self.size_or(field, None)
    }

    fn positive(&self, field: &str, default: f64) -> Result<f64, ModelError> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => match value.as_f64() {
                Some(number) if (number as f32).is_finite() && number as f32 > 0.0 => Ok(number),
                _ => Err(self.wrong(field, format!("is {value}, not a positive number that f32 can hold"))),
            },
        }
    }

    fn flag(&self, field: &str, default: bool) -> Result<bool, ModelError> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(field, format!("is {value}, not true or false"))),
        }
    }

    /// One id or a list of ids.
    fn ids(&self, field: &str) -> Result<Vec<u32>, ModelError> {
        let one = |value: &Value| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| self.wrong(field, format!("holds {value}, not a token id")))
        };
        match self.get(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(one).collect(),
            Some(value) => Ok(vec![one(value)?]),
        }
    }

    fn must_be_false(&self, field: &str) -> Result<(), ModelError> {
        if self.flag(field, false)? { Err(self.wrong(field, "is true, which is not supported")) } else { Ok(()) }
    }
}

/// # Errors
/// Text that is not a JSON object, a missing field, a value outside its range, an architecture or option that is not
/// supported: each names the field.
pub fn parse(path: &str, text: &str) -> Result<Config, ModelError> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| ModelError::File { path: path.to_owned(), problem: format!("is not JSON: {error}") })?;
    let Value::Object(map) = &value else {
        return Err(ModelError::File { path: path.to_owned(), problem: "is not a JSON object".to_owned() });
    };
    let fields = Fields { path, map };
    match fields.get("model_type").and_then(Value::as_str) {
        Some("llama") => {}
        Some(other) => return Err(fields.wrong("model_type", format!("is `{other}`; supported: `llama`"))),
        None => return Err(fields.wrong("model_type", "is missing")),
    }
    if let Some(value) = fields.get("architectures") {
        let known = value.as_array().is_some_and(|list| list.iter().all(|name| name == ARCHITECTURE));
        if !known {
            return Err(fields.wrong("architectures", format!("is {value}; supported: `{ARCHITECTURE}`")));
        }
    }
    match fields.get("hidden_act").map(|value| value.as_str().unwrap_or_default()) {
        None | Some("silu") => {}
        Some(other) => return Err(fields.wrong("hidden_act", format!("is `{other}`; supported: `silu`"))),
    }
    fields.must_be_false("attention_bias")?;
    fields.must_be_false("mlp_bias")?;
    fields.must_be_false("rope_interleaved")?;
    if fields.get("quantization_config").is_some() {
        return Err(fields.wrong("quantization_config", "is set; quantised weights are not supported"));
    }
    let rope_theta = rope_theta(&fields)?;
    refuse_unknown(&fields)?;

    let width = fields.size("hidden_size")?;
    let heads = fields.size("num_attention_heads")?;
    let kv_heads = fields.size_or("num_key_value_heads", Some(heads))?;
    if heads % kv_heads != 0 {
        return Err(fields.wrong("num_key_value_heads", format!("is {kv_heads}, which does not divide {heads} heads")));
    }
    let head_dim = match fields.get("head_dim") {
        Some(_) => fields.size("head_dim")?,
        None if width % heads == 0 => width / heads,
        None => return Err(fields.wrong("num_attention_heads", format!("is {heads}, which does not divide {width}"))),
    };
    if head_dim % 2 != 0 {
        return Err(fields.wrong("head_dim", format!("is {head_dim}; rotary positions need it even")));
    }
    let layers = fields.size("num_hidden_layers")?;
    if layers > MOST_LAYERS {
        return Err(fields.wrong("num_hidden_layers", format!("is {layers}; at most {MOST_LAYERS} are supported")));
    }
    let shape = Shape {
        width,
        ffn: fields.size("intermediate_size")?,
        layers,
        heads,
        kv_heads,
        head_dim,
        vocab: fields.size("vocab_size")?,
        norm_eps: fields.positive("rms_norm_eps", 1e-6)?,
        rope_theta,
        tied: fields.flag("tie_word_embeddings", false)?,
        positions: fields.size_or("max_position_embeddings", Some(2048))?,
    };
    Ok(Config { shape, bos: fields.ids("bos_token_id")?.first().copied(), eos: fields.ids("eos_token_id")? })
}

/// The base of the rotary positions, from the field of transformers 4 or the object of transformers 5.
fn rope_theta(fields: &Fields) -> Result<f64, ModelError> {
    let plain = |object: &Map<String, Value>| {
        ["rope_type", "type"].iter().filter_map(|key| object.get(*key)).all(|kind| kind == "default")
    };
    if let Some(value) = fields.get("rope_scaling")
        && !value.as_object().is_some_and(plain)
    {
        return Err(fields.wrong("rope_scaling", format!("is {value}, which is not supported")));
    }
    match fields.get("rope_parameters") {
        None => fields.positive("rope_theta", 10_000.0),
        Some(Value::Object(map)) if plain(map) => Fields { path: fields.path, map }.positive("rope_theta", 10_000.0),
        Some(value) => Err(fields.wrong("rope_parameters", format!("is {value}, which is not supported"))),
    }
}

fn refuse_unknown(fields: &Fields) -> Result<(), ModelError> {
    const READ: &[&str] = &[
        "architectures",
        "attention_bias",
        "bos_token_id",
        "eos_token_id",
        "head_dim",
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "max_position_embeddings",
        "mlp_bias",
        "model_type",
        "num_attention_heads",
        "num_hidden_layers",
        "num_key_value_heads",
        "rms_norm_eps",
        "rope_parameters",
        "rope_scaling",
        "rope_theta",
        "tie_word_embeddings",
        "vocab_size",
    ];
    let known = |field: &str| READ.contains(&field) || HARMLESS.contains(&field);
    // A null, a false or an empty list switches nothing on.
    let idle = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    match fields.map.iter().find(|(field, value)| !known(field) && !idle(value)) {
        Some((field, value)) => Err(fields.wrong(field, format!("is {value}, which is not understood"))),
        None => Ok(()),
    }
}

impl Shape {
    /// # Errors
    /// A shape whose sizes do not fit together.
    pub fn fresh(fresh: &Fresh, vocab: usize, context: usize) -> Result<Self, ModelError> {
        let text = render(
            &Shape {
                width: fresh.width as usize,
                ffn: fresh.ffn as usize,
                layers: fresh.layers as usize,
                heads: fresh.heads as usize,
                kv_heads: fresh.kv_heads as usize,
                head_dim: (fresh.width / fresh.heads.max(1)) as usize,
                vocab,
                norm_eps: 1e-5,
                rope_theta: 10_000.0,
                tied: true,
                positions: context,
            },
            None,
            &[],
            "float32",
        );
        let config = parse("fresh model", &text)?;
        if config.shape.heads * config.shape.head_dim != config.shape.width {
            let problem = format!("is {}, which does not divide the width {}", fresh.heads, fresh.width);
            return Err(ModelError::Config { path: "fresh model".into(), field: "heads".into(), problem });
        }
        let weights = config.shape.weights();
        if weights > MOST_FRESH_WEIGHTS {
            let problem = format!("is {}: {weights} weights in all; at most {MOST_FRESH_WEIGHTS}", fresh.width);
            return Err(ModelError::Config { path: "fresh model".into(), field: "width".into(), problem });
        }
        Ok(config.shape)
    }

    /// Numbers the model is made of; saturating, for shapes nobody checked.
    pub fn weights(&self) -> usize {
        let product = |a: usize, b: usize| a.saturating_mul(b);
        let attention = product(2, product(self.width, self.query_width() + self.kv_width()));
        let layer = attention.saturating_add(product(3, product(self.width, self.ffn))).saturating_add(2 * self.width);
        let tables = product(if self.tied { 1 } else { 2 }, product(self.vocab, self.width));
        product(self.layers, layer).saturating_add(tables).saturating_add(self.width)
    }

    /// Width of the queries of all heads together.
    pub fn query_width(&self) -> usize {
        // Below 2^48: both sizes are at most [`LARGEST`].
        self.heads * self.head_dim
    }

    /// Width of the keys (or values) of all key/value heads together.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// The `config.json` that transformers reads for this shape.
pub fn render(shape: &Shape, bos: Option<u32>, eos: &[u32], dtype: &str) -> String {
    let eos = match eos {
        [] => Value::Null,
        [one] => json!(one),
        many => json!(many),
    };
    let value = json!({
        "architectures": [ARCHITECTURE],
        "attention_bias": false,
        "bos_token_id": bos,
        "dtype": dtype,
        "eos_token_id": eos,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "max_position_embeddings": shape.positions,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": shape.tied,
        "torch_dtype": dtype,
        "vocab_size": shape.vocab,
    });
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            width: 8,
            ffn: 16,
            layers: 2,
            heads: 2,
            kv_heads: 1,
            head_dim: 4,
            vocab: 11,
            norm_eps: 1e-5,
            rope_theta: 10_000.0,
            tied: true,
            positions: 64,
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let config = parse("c", &render(&shape(), Some(1), &[2, 3], "float32")).unwrap();
        assert_eq!(config, Config { shape: shape(), bos: Some(1), eos: vec![2, 3] });
    }

    #[test]
    fn every_unsupported_field_is_named() {
        let cases = [
            ("model_type", json!("gpt2"), "`model_type` is `gpt2`"),
            ("hidden_act", json!("gelu"), "`hidden_act` is `gelu`"),
            ("attention_bias", json!(true), "`attention_bias` is true"),
            ("rope_scaling", json!({"rope_type": "yarn", "factor": 4}), "`rope_scaling` is"),
            ("sliding_window", json!(4096), "`sliding_window` is 4096, which is not understood"),
            ("hidden_size", json!(-3), "`hidden_size` is -3"),
            ("hidden_size", json!(1e30), "`hidden_size` is 1e+30"),
            ("vocab_size", Value::Null, "`vocab_size` is missing"),
            ("num_key_value_heads", json!(3), "`num_key_value_heads` is 3"),
            ("num_hidden_layers", json!(1_000_000), "`num_hidden_layers` is 1000000"),
            ("head_dim", json!(3), "`head_dim` is 3"),
            ("rms_norm_eps", json!("small"), "`rms_norm_eps` is \"small\""),
            ("rms_norm_eps", json!(1e300), "`rms_norm_eps` is 1e+300, not a positive number that f32 can hold"),
            ("rope_theta", json!(1e-300), "`rope_theta` is 1e-300"),
            ("architectures", json!(["LlamaForSequenceClassification"]), "supported: `LlamaForCausalLM`"),
            ("architectures", json!("LlamaForCausalLM"), "`architectures` is"),
            ("eos_token_id", json!([1, "x"]), "`eos_token_id` holds \"x\""),
        ];
        for (field, value, message) in cases {
            let mut config: Value = serde_json::from_str(&render(&shape(), None, &[2], "float32")).unwrap();
            config[field] = value;
            let error = parse("c", &config.to_string()).expect_err(field).to_string();
            assert!(error.contains(message), "{error}");
        }
        for text in ["", "[]", "\u{0}", "{\"model_type\": 3}"] {
            assert!(parse("c", text).is_err());
        }
    }
}
