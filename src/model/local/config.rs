//! Turns a Hugging Face `config.json` into the [`Shape`] of a decoder, and back.
//!
//! # Invariants
//! A field that would change the arithmetic and is not understood is an error that names it; nothing is guessed.
//! Nothing here reads a weight.

use super::rope::Rope;
use crate::model::{Fresh, ModelError};
use serde_json::{Map, Value, json};

/// Whose decoder it is. They differ in what [`Shape`] says and in what a config leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Touvron et al. 2023; also SmolLM and Yi.
    Llama,
    /// Jiang et al. 2023.
    Mistral,
    /// Yang et al. 2024.
    Qwen2,
    /// Yang et al. 2025.
    Qwen3,
}

impl Family {
    pub const ALL: [Self; 4] = [Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3];

    /// `model_type`
    pub fn name(self) -> &'static str {
        match self {
            Family::Llama => "llama",
            Family::Mistral => "mistral",
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
        }
    }

    /// A decoder with its language head, as transformers calls it.
    fn architecture(self) -> &'static str {
        match self {
            Family::Llama => "LlamaForCausalLM",
            Family::Mistral => "MistralForCausalLM",
            Family::Qwen2 => "Qwen2ForCausalLM",
            Family::Qwen3 => "Qwen3ForCausalLM",
        }
    }
}

/// Everything that decides the arithmetic of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    pub family: Family,
    pub width: usize,
    pub ffn: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
    pub norm_eps: f64,
    pub rope: Rope,
    pub biases: Biases,
    /// Each head's queries and keys are normed before they turn.
    pub qk_norm: bool,
    /// How many rows each layer's queries see; all where there is none.
    pub windows: Vec<Option<usize>>,
    /// The output head is the embedding.
    pub tied: bool,
    /// The longest sequence the positions were made for.
    pub positions: usize,
}

/// Which linear maps add a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Biases {
    /// Those to queries, keys and values.
    pub qkv: bool,
    /// The one out of attention.
    pub output: bool,
    /// Those of the feed-forward part.
    pub mlp: bool,
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

pub(super) struct Fields<'a> {
    pub path: &'a str,
    pub map: &'a Map<String, Value>,
}

impl Fields<'_> {
    pub fn wrong(&self, field: &str, problem: impl Into<String>) -> ModelError {
        ModelError::Config { path: self.path.to_owned(), field: field.to_owned(), problem: problem.into() }
    }

    /// The value unless absent or null.
    pub fn get(&self, field: &str) -> Option<&Value> {
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

    /// As a size, but 0 is one too.
    fn count(&self, field: &str, default: usize) -> Result<usize, ModelError> {
        match self.get(field) {
            Some(Value::Number(zero)) if zero.as_u64() == Some(0) => Ok(0),
            _ => self.size_or(field, Some(default)),
        }
    }

    pub fn size(&self, field: &str) -> Result<usize, ModelError> {
        self.size_or(field, None)
    }

    pub fn positive(&self, field: &str, default: f64) -> Result<f64, ModelError> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => match value.as_f64() {
                Some(number) if (number as f32).is_finite() && number as f32 > 0.0 => Ok(number),
                _ => Err(self.wrong(field, format!("is {value}, not a positive number that f32 can hold"))),
            },
        }
    }

    pub fn flag(&self, field: &str, default: bool) -> Result<bool, ModelError> {
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

    pub fn must_be_false(&self, field: &str) -> Result<(), ModelError> {
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
    read(path, map)
}

/// As [`parse`], of an object.
pub fn read(path: &str, map: &Map<String, Value>) -> Result<Config, ModelError> {
    let fields = Fields { path, map };
    let name = fields.get("model_type").and_then(Value::as_str);
    let name = name.ok_or_else(|| fields.wrong("model_type", "is missing"))?;
    let family = Family::ALL.into_iter().find(|family| family.name() == name).ok_or_else(|| {
        let known = Family::ALL.map(|family| format!("`{}`", family.name())).join(", ");
        fields.wrong("model_type", format!("is `{name}`; supported: {known}"))
    })?;
    let architecture = family.architecture();
    if let Some(value) = fields.get("architectures") {
        let known = value.as_array().is_some_and(|list| list.iter().all(|name| name == architecture));
        if !known {
            return Err(fields.wrong("architectures", format!("is {value}; supported: `{architecture}`")));
        }
    }
    match fields.get("hidden_act").map(|value| value.as_str().unwrap_or_default()) {
        None | Some("silu") => {}
        Some(other) => return Err(fields.wrong("hidden_act", format!("is `{other}`; supported: `silu`"))),
    }
    fields.must_be_false("rope_interleaved")?;
    if fields.get("quantization_config").is_some() {
        return Err(fields.wrong("quantization_config", "is set; quantised weights are not supported"));
    }
    refuse_unknown(&fields, family)?;

    let width = fields.size("hidden_size")?;
    let heads = fields.size("num_attention_heads")?;
    // The others of old have numbers of their own for what is left out: nobody means those.
    let kv_heads = fields.size_or("num_key_value_heads", (family == Family::Llama).then_some(heads))?;
    if heads % kv_heads != 0 {
        return Err(fields.wrong("num_key_value_heads", format!("is {kv_heads}, which does not divide {heads} heads")));
    }
    let head_dim = match fields.get("head_dim") {
        Some(_) => fields.size("head_dim")?,
        None if family == Family::Qwen3 => 128,
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
    let positions = fields.size_or("max_position_embeddings", Some(2048))?;
    let shape = Shape {
        family,
        width,
        ffn: fields.size("intermediate_size")?,
        layers,
        heads,
        kv_heads,
        head_dim,
        vocab: fields.size("vocab_size")?,
        norm_eps: fields.positive("rms_norm_eps", 1e-6)?,
        rope: Rope::parse(&fields, positions)?,
        biases: biases(&fields, family)?,
        qk_norm: family == Family::Qwen3,
        windows: windows(&fields, family, layers)?,
        tied: fields.flag("tie_word_embeddings", false)?,
        positions,
    };
    Ok(Config { shape, bos: fields.ids("bos_token_id")?.first().copied(), eos: fields.ids("eos_token_id")? })
}

fn biases(fields: &Fields, family: Family) -> Result<Biases, ModelError> {
    match family {
        Family::Llama => {
            let attention = fields.flag("attention_bias", false)?;
            Ok(Biases { qkv: attention, output: attention, mlp: fields.flag("mlp_bias", false)? })
        }
        Family::Mistral => Ok(Biases::default()),
        Family::Qwen2 => Ok(Biases { qkv: true, output: false, mlp: false }),
        Family::Qwen3 => {
            let attention = fields.flag("attention_bias", false)?;
            Ok(Biases { qkv: attention, output: attention, mlp: false })
        }
    }
}

fn windows(fields: &Fields, family: Family, layers: usize) -> Result<Vec<Option<usize>>, ModelError> {
    let window = || fields.size_or("sliding_window", Some(4096));
    let everywhere = |window: Option<usize>| vec![window; layers];
    match family {
        Family::Llama => Ok(everywhere(None)),
        // Left out it is 4096; a null is none.
        Family::Mistral if fields.map.get("sliding_window").is_some_and(Value::is_null) => Ok(everywhere(None)),
        Family::Mistral => Ok(everywhere(Some(window()?))),
        Family::Qwen2 | Family::Qwen3 if !fields.flag("use_sliding_window", false)? => Ok(everywhere(None)),
        Family::Qwen2 | Family::Qwen3 => {
            let window = window()?;
            let Some(types) = fields.get("layer_types") else {
                let from = fields.count("max_window_layers", 28)?;
                return Ok((0..layers).map(|layer| (layer >= from).then_some(window)).collect());
            };
            let types = types.as_array().filter(|types| types.len() == layers);
            let types = types.ok_or_else(|| fields.wrong("layer_types", format!("is not a list of {layers} words")))?;
            let of = |kind: &Value| match kind.as_str() {
                Some("full_attention") => Ok(None),
                Some("sliding_attention") => Ok(Some(window)),
                _ => Err(fields.wrong("layer_types", format!("holds {kind}, which is not supported"))),
            };
            types.iter().map(of).collect()
        }
    }
}

fn refuse_unknown(fields: &Fields, family: Family) -> Result<(), ModelError> {
    const READ: &[&str] = &[
        "architectures",
        "bos_token_id",
        "eos_token_id",
        "head_dim",
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "max_position_embeddings",
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
    let own: &[&str] = match family {
        Family::Llama => &["attention_bias", "mlp_bias"],
        Family::Mistral => &["sliding_window"],
        // Without `use_sliding_window` the others do nothing.
        Family::Qwen2 => &["use_sliding_window", "sliding_window", "max_window_layers", "layer_types"],
        Family::Qwen3 => {
            &["attention_bias", "use_sliding_window", "sliding_window", "max_window_layers", "layer_types"]
        }
    };
    let known = |field: &str| READ.contains(&field) || HARMLESS.contains(&field) || own.contains(&field);
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
                family: Family::Llama,
                width: fresh.width as usize,
                ffn: fresh.ffn as usize,
                layers: fresh.layers as usize,
                heads: fresh.heads as usize,
                kv_heads: fresh.kv_heads as usize,
                head_dim: (fresh.width / fresh.heads.max(1)) as usize,
                vocab,
                norm_eps: 1e-5,
                rope: Rope::PLAIN,
                biases: Biases::default(),
                qk_norm: false,
                windows: vec![None; fresh.layers as usize],
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
        // Sums of a few sizes.
        let Biases { qkv, output, mlp } = self.biases;
        let of = |there: bool, count: usize| if there { count } else { 0 };
        let small = of(qkv, self.query_width() + 2 * self.kv_width())
            + of(output, self.width)
            + of(mlp, 2 * self.ffn + self.width)
            + of(self.qk_norm, 2 * self.head_dim);
        let layer = layer.saturating_add(small);
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
    let mut value = json!({
        "architectures": [shape.family.architecture()],
        "bos_token_id": bos,
        "dtype": dtype,
        "eos_token_id": eos,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "max_position_embeddings": shape.positions,
        "model_type": shape.family.name(),
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": shape.rope.theta,
        "tie_word_embeddings": shape.tied,
        "torch_dtype": dtype,
        "vocab_size": shape.vocab,
    });
    if let Some(scaling) = shape.rope.render() {
        value["rope_scaling"] = scaling;
    }
    let window = shape.windows.iter().flatten().next();
    match shape.family {
        Family::Llama => {
            value["attention_bias"] = json!(shape.biases.qkv);
            value["mlp_bias"] = json!(shape.biases.mlp);
        }
        Family::Mistral => value["sliding_window"] = json!(window),
        Family::Qwen2 | Family::Qwen3 => {
            if shape.family == Family::Qwen3 {
                value["attention_bias"] = json!(shape.biases.qkv);
            }
            value["use_sliding_window"] = json!(window.is_some());
            value["sliding_window"] = json!(window);
            let kind = |window: &Option<usize>| if window.is_some() { "sliding_attention" } else { "full_attention" };
            value["layer_types"] = shape.windows.iter().map(kind).collect();
        }
    }
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            family: Family::Llama,
            width: 8,
            ffn: 16,
            layers: 2,
            heads: 2,
            kv_heads: 1,
            head_dim: 4,
            vocab: 11,
            norm_eps: 1e-5,
            rope: Rope::PLAIN,
            biases: Biases::default(),
            qk_norm: false,
            windows: vec![None; 2],
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
            ("attention_bias", json!("both"), "`attention_bias` is \"both\", not true or false"),
            (
                "rope_scaling",
                json!({"rope_type": "dynamic", "factor": 4}),
                "`rope_type` is not supported; there are `default`",
            ),
            ("rope_scaling", json!({"type": "yarn"}), "`factor` is missing"),
            ("rope_scaling", json!({"type": "yarn", "factor": 2, "mscale": 1}), "does not go with `mscale`"),
            ("rope_scaling", json!({"type": "linear", "factor": -2}), "`factor` is not a positive number"),
            ("rope_scaling", json!("linear"), "`rope_scaling` is \"linear\", not an object"),
            ("rope_parameters", json!({"rope_theta": 0}), "`rope_theta` is 0"),
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

    #[test]
    fn what_a_family_leaves_out_is_as_transformers_has_it() {
        let windows = |own: Value| {
            let mut config = json!({
                "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
                "num_key_value_heads": 1, "vocab_size": 11,
            });
            config.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            parse("c", &config.to_string()).map(|config| config.shape.windows).map_err(|error| error.to_string())
        };
        let qwen2 = |layers: Value| {
            windows(
                json!({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 5, "layer_types": layers}),
            )
        };
        assert_eq!(windows(json!({"model_type": "mistral"})), Ok(vec![Some(4096); 3]));
        assert_eq!(windows(json!({"model_type": "mistral", "sliding_window": null})), Ok(vec![None; 3]));
        assert_eq!(windows(json!({"model_type": "qwen2", "sliding_window": 5})), Ok(vec![None; 3]));
        assert_eq!(qwen2(Value::Null), Ok(vec![None; 3]), "it begins at layer 28");
        assert_eq!(
            qwen2(json!(["sliding_attention", "full_attention", "sliding_attention"])),
            Ok(vec![Some(5), None, Some(5)])
        );
        assert!(qwen2(json!(["full_attention"])).unwrap_err().contains("`layer_types` is not a list of 3 words"));
        assert!(qwen2(json!([1, 2, 3])).unwrap_err().contains("`layer_types` holds 1"));
        let missing = windows(json!({"model_type": "qwen2", "num_key_value_heads": null})).unwrap_err();
        assert!(missing.contains("`num_key_value_heads` is missing"), "{missing}");
        assert!(windows(json!({"model_type": "llama", "sliding_window": 5})).unwrap_err().contains("not understood"));
    }
}
