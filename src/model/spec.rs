//! What a file declares about a model and about a training: plain data, with its canonical encoding.

use crate::base::{Canonical, Hasher};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A model slot as declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    pub source: Source,
    /// A directory as PEFT saves it: an adapter that is merged into the weights before anything else.
    pub adapter: Option<PathBuf>,
    /// Tokens that prompt and reply may hold together.
    pub context: u32,
    pub dtype: Dtype,
    pub device: Device,
    pub lora: Option<LoraConfig>,
    pub tool_format: ToolFormat,
    pub tool_calls: ToolCalls,
}

impl ModelSpec {
    /// Whether it says the same again, the same bytes on any machine.
    pub fn answers_again(&self) -> bool {
        match self.source {
            Source::Remote(_) => false,
            Source::Scripted(_) => true,
            Source::Path(_) | Source::Fresh(_) | Source::Hub { .. } | Source::Gguf(_) => !self.device.is_gpu(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A Hugging Face directory.
    Path(PathBuf),
    /// Random weights from the seed, in a shape given here.
    Fresh(Fresh),
    /// A model of the Hugging Face hub at one revision.
    Hub { repo: String, revision: String },
    /// A GGUF file.
    Gguf(PathBuf),
    /// Behind an endpoint.
    Remote(Remote),
    /// Replies read from a JSON file.
    Scripted(PathBuf),
}

/// A model behind an OpenAI-compatible endpoint. Its name is its identity; where it is, what it costs and how fast it may be
/// asked are in no key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remote {
    pub name: String,
    pub base_url: String,
    /// The name of the secret, never the secret.
    pub key: Option<String>,
    pub price: Option<Price>,
    pub limits: Limits,
}

/// Micro-dollars a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    pub input: u64,
    pub output: u64,
    /// Of what was sent before; as `input` where it is not declared.
    pub cached: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub rate: Option<Rate>,
    /// Requests at once.
    pub in_flight: u32,
    /// Milliseconds a request may take; of these until it is connected, and until the first byte of an answer.
    pub timeout: u64,
    pub connect: u64,
    pub first_byte: u64,
    /// How often a request that failed is sent again.
    pub retries: u32,
}

/// So many in so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    pub count: u64,
    pub each: u64,
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
    /// Weights in eight bits each, a scale for each row; the rest in single precision.
    Int8,
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

/// Whether a model's calls may be broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolCalls {
    /// A reply is what was drawn.
    #[default]
    Drawn,
    /// Tokens that would break a call are not drawn.
    WellFormed,
}

impl Canonical for ToolCalls {
    fn feed(&self, hasher: &mut Hasher) {
        // Left out where they are as drawn: keys of before there was a choice stand.
        if *self != Self::Drawn {
            hasher.str("tool_calls").str(self.as_str());
        }
    }
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
    /// `<tool_call>{…}</tool_call>`
    Hermes,
    /// `{"name": …, "parameters": {…}}` after `<|python_tag|>`
    Llama3,
    /// `[TOOL_CALLS] […]`
    Mistral,
    /// `[ApiName(key='value')]`
    ApiBank,
    /// `Action: …` and `Action Input: …`
    React,
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
    /// Parts a batch is worked in.
    pub accumulate: u32,
    /// Whether a layer's activations are computed again for its gradient instead of kept: the same bits, so it is in no key.
    #[serde(skip)]
    pub recompute: bool,
    /// The outside program that trains instead.
    pub command: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Supervised fine-tuning: mean negative log-likelihood of the trained tokens of a batch.
    Sft { loss_on: LossOn },
    /// The same, each row's loss multiplied by its weight.
    Weighted { loss_on: LossOn },
    /// Direct preference optimisation, on pairs.
    Dpo { beta: f64, loss: DpoLoss, smoothing: f64, nll: f64 },
    /// Kahneman-Tversky optimisation, on rows that are wanted or not.
    Kto { beta: f64, wanted: f64, unwanted: f64 },
    /// Group-relative policy optimisation; a row's weight is its reward.
    Grpo { beta: f64, epsilon: f64, scale: Scale },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DpoLoss {
    Sigmoid,
    Ipo,
}

/// What an advantage is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The standard deviation of the group's rewards.
    Std,
    None,
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
    /// To nothing, in a straight line.
    Linear {
        warmup: f64,
    },
    /// To a tenth of the peak; `warmup` is a share of all steps, linear from zero.
    Cosine {
        warmup: f64,
    },
}

impl Device {
    /// Whether its sums have no order of ours.
    pub fn is_gpu(self) -> bool {
        matches!(self, Device::Cuda | Device::Metal)
    }
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
named!(Dtype { F32 => "f32", Bf16 => "bf16", F16 => "f16", Int8 => "int8" });
named!(Device { Auto => "auto", Cpu => "cpu", Cuda => "cuda", Metal => "metal" });
named!(ToolFormat {
    Lines => "lines", Json => "json", Hermes => "hermes", Llama3 => "llama3", Mistral => "mistral", ApiBank => "api_bank",
    React => "react",
});
named!(DpoLoss { Sigmoid => "sigmoid", Ipo => "ipo" });
named!(Scale { Std => "std", None => "none" });
named!(LossOn { Agent => "agent", All => "all" });

impl ToolCalls {
    pub fn as_str(self) -> &'static str {
        match self {
            ToolCalls::Drawn => "drawn",
            ToolCalls::WellFormed => "well_formed",
        }
    }
}

impl ToolFormat {
    pub const ALL: [Self; 7] =
        [Self::Lines, Self::Json, Self::Hermes, Self::Llama3, Self::Mistral, Self::ApiBank, Self::React];
}

impl Method {
    /// Whether it is held to a reference model.
    pub fn refers(&self) -> bool {
        match self {
            Method::Sft { .. } | Method::Weighted { .. } => false,
            Method::Dpo { .. } | Method::Kto { .. } | Method::Grpo { .. } => true,
        }
    }
}

impl Decay {
    /// Share of the steps in which the rate rises from nothing.
    pub fn warmup(self) -> f64 {
        match self {
            Decay::Constant { warmup } | Decay::Linear { warmup } | Decay::Cosine { warmup } => warmup,
        }
    }
}

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
            Decay::Linear { warmup } => hasher.str("linear").put(warmup),
            Decay::Cosine { warmup } => hasher.str("cosine").put(warmup),
        };
    }
}

impl Canonical for Method {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Method::Sft { loss_on } => hasher.str("sft").put(loss_on),
            Method::Weighted { loss_on } => hasher.str("weighted").put(loss_on),
            Method::Dpo { beta, loss, smoothing, nll } => hasher.str("dpo").put(beta).put(loss).put(smoothing).put(nll),
            Method::Kto { beta, wanted, unwanted } => hasher.str("kto").put(beta).put(wanted).put(unwanted),
            Method::Grpo { beta, epsilon, scale } => hasher.str("grpo").put(beta).put(epsilon).put(scale),
        };
    }
}

impl Canonical for TrainConfig {
    fn feed(&self, hasher: &mut Hasher) {
        let Self {
            method,
            lr,
            decay,
            epochs,
            batch,
            max_len,
            clip,
            weight_decay,
            lora,
            accumulate,
            recompute: _,
            command,
        } = self;
        hasher.put(method).put(lr).put(decay).put(epochs).put(batch);
        hasher.put(max_len).put(clip).put(weight_decay).put(lora);
        // Only where they are said: what was trained before they could be keeps its key.
        if *accumulate > 1 {
            hasher.str("accumulate").put(accumulate);
        }
        if let Some(command) = command {
            hasher.str("command").put(command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gpu_says_is_recorded_and_a_script_says_the_same_anywhere() {
        let spec = |source: Source, device| ModelSpec {
            source,
            adapter: None,
            context: 64,
            dtype: Dtype::F32,
            device,
            lora: None,
            tool_format: ToolFormat::Lines,
            tool_calls: ToolCalls::Drawn,
        };
        for (device, again) in
            [(Device::Auto, true), (Device::Cpu, true), (Device::Cuda, false), (Device::Metal, false)]
        {
            assert_eq!(spec(Source::Path("base".into()), device).answers_again(), again, "{device:?}");
            assert_eq!(spec(Source::Gguf("a.gguf".into()), device).answers_again(), again, "{device:?}");
            assert!(spec(Source::Scripted("a.json".into()), device).answers_again());
        }
    }
}
