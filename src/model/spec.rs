//! What a file declares about a model and about a training: plain data, with its canonical encoding.

use crate::base::{Canonical, Hasher};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A model slot as declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    pub source: Source,
    /// Tokens that prompt and reply may hold together.
    pub context: u32,
    pub dtype: Dtype,
    pub device: Device,
    pub lora: Option<LoraConfig>,
    pub tool_format: ToolFormat,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A Hugging Face directory.
    Path(PathBuf),
    /// Random weights from the seed, in a shape given here.
    Fresh(Fresh),
    /// Replies read from a JSON file.
    Scripted(PathBuf),
}

/// The shape of a Llama-family decoder and where its tokenizer is; embeddings are tied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fresh {
    /// Directory with `tokenizer.json` and `tokenizer_config.json` (chat template).
    pub tokenizer: PathBuf,
    pub seed: u64,
    pub width: u32,
    pub layers: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub ffn: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    #[default]
    F32,
    Bf16,
    F16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    #[default]
    Auto,
    Cpu,
    Cuda,
    Metal,
}

/// Low-rank adaptation (Hu et al. 2021): `W x + (alpha / rank) B A x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    pub rank: u32,
    pub alpha: f64,
    pub dropout: f64,
    /// Which linears: the names `q_proj` … `down_proj`.
    pub on: Vec<String>,
}

/// How a model writes a tool call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolFormat {
    /// `call NAME` and one `argument: value` a line: short and quote-free, for small models.
    #[default]
    Lines,
    /// One JSON object: `{"name": …, "arguments": {…}}`.
    Json,
}

/// A training recipe, resolved for one iteration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    pub method: Method,
    pub lr: f64,
    pub decay: Decay,
    pub epochs: u32,
    /// Rows an optimiser step.
    pub batch: u32,
    /// Rows are refused above this length, in tokens; `None` is the model's context.
    pub max_len: Option<u32>,
    /// Global gradient norm is clipped to this; 0 never clips.
    pub clip: f64,
    pub weight_decay: f64,
    /// Adapter to train; `None` trains all weights.
    pub lora: Option<LoraConfig>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Supervised fine-tuning: mean negative log-likelihood of the trained tokens of a batch.
    Sft { loss_on: LossOn },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossOn {
    /// What the agent wrote.
    Agent,
    /// Every token but the first.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    Constant {
        warmup: f64,
    },
    /// To a tenth of the peak; `warmup` is a share of all steps, linear from zero.
    Cosine {
        warmup: f64,
    },
}

macro_rules! named {
    ($ty:ident { $($variant:ident => $name:literal),* $(,)? }) => {
        impl $ty {
            pub fn as_str(self) -> &'static str {
                match self { $($ty::$variant => $name),* }
            }
        }

        impl Canonical for $ty {
            fn feed(&self, hasher: &mut Hasher) {
                hasher.str(self.as_str());
            }
        }
    };
}
named!(Dtype { F32 => "f32", Bf16 => "bf16", F16 => "f16" });
named!(Device { Auto => "auto", Cpu => "cpu", Cuda => "cuda", Metal => "metal" });
named!(ToolFormat { Lines => "lines", Json => "json" });
named!(LossOn { Agent => "agent", All => "all" });

impl Canonical for LoraConfig {
    fn feed(&self, hasher: &mut Hasher) {
        let Self { rank, alpha, dropout, on } = self;
        hasher.put(rank).put(alpha).put(dropout).put(on);
    }
}

impl Canonical for Decay {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Decay::Constant { warmup } => hasher.str("constant").put(warmup),
            Decay::Cosine { warmup } => hasher.str("cosine").put(warmup),
        };
    }
}

impl Canonical for Method {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Method::Sft { loss_on } => hasher.str("sft").put(loss_on),
        };
    }
}

impl Canonical for TrainConfig {
    fn feed(&self, hasher: &mut Hasher) {
        let Self { method, lr, decay, epochs, batch, max_len, clip, weight_decay, lora } = self;
        hasher.put(method).put(lr).put(decay).put(epochs).put(batch);
        hasher.put(max_len).put(clip).put(weight_decay).put(lora);
    }
}
