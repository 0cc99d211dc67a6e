//! Language models as the rest of agx sees them: messages and token ids in, token ids out; rows in, new weights out.
//!
//! [`LanguageModel`] is the one seam between orchestration and tensors. [`local`] holds real transformers (candle), [`hub`] finds
//! them on the Hugging Face hub, [`remote`] asks an endpoint, [`scripted`] answers from a file, for tests and dry runs.
//!
//! # Invariants
//! Token in, token out: the ids a model sampled are the ids that are trained on; nothing re-tokenises its text.
//! Nothing here knows tasks, environments or critics.

pub mod attend;
pub mod form;
pub mod hub;
#[cfg(feature = "local")]
pub mod local;
pub mod remote;
pub mod scripted;
mod shards;
pub mod spec;
mod spelled;
pub mod template;
pub mod wire;

pub use attend::Listener;
pub use form::Form;
pub use hub::{Hub, HubError};
pub use spec::{
    Decay, Device, DpoLoss, Dtype, Fresh, Limits, LoraConfig, LossOn, Method, ModelSpec, Price, Rate, Remote, Scale,
    Source, ToolCalls, ToolFormat, TrainConfig,
};
pub use wire::{Secret, Wire};

use crate::base::{Canonical, Digest, Hasher, Seed};
#[cfg(feature = "local")]
use local::{adapter_files, feed_adapter};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

pub type TokenId = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

impl Message {
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

impl Canonical for Message {
    fn feed(&self, hasher: &mut Hasher) {
        let Self { role, content } = self;
        hasher.str(role.as_str()).put(content);
    }
}

/// How a reply is drawn. Everything here changes the science, so everything here is in a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 is greedy: the most probable token, ties to the smallest id.
    pub temperature: f64,
    /// Nucleus mass in (0, 1]; 1 keeps all.
    pub top_p: f64,
    /// 0 keeps all.
    pub top_k: u32,
    /// Least probability, as a share of the most probable token's; 0 keeps all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_p: f64,
    /// What makes a token that stands in prompt or reply less likely: its logit is divided by it where positive, multiplied
    /// where negative. 1 leaves all as they are.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub repetition_penalty: f64,
    pub max_tokens: u32,
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

fn is_one(x: &f64) -> bool {
    *x == 1.0
}

fn one() -> f64 {
    1.0
}

impl Sampling {
    pub fn greedy(max_tokens: u32) -> Self {
        Self { max_tokens, ..Self::plain() }
    }

    /// As `temperature = 1` draws it, nothing cut off.
    pub fn drawn(max_tokens: u32) -> Self {
        Self { temperature: 1.0, max_tokens, ..Self::plain() }
    }

    fn plain() -> Self {
        Self { temperature: 0.0, top_p: 1.0, top_k: 0, min_p: 0.0, repetition_penalty: 1.0, max_tokens: 0 }
    }
}

impl Canonical for Sampling {
    fn feed(&self, hasher: &mut Hasher) {
        let Self { temperature, top_p, top_k, min_p, repetition_penalty, max_tokens } = self;
        hasher.put(temperature).put(top_p).put(top_k).put(max_tokens);
        // Left out where they change nothing: keys of before there were such fields stand.
        if !is_zero(min_p) {
            hasher.str("min_p").put(min_p);
        }
        if !is_one(repetition_penalty) {
            hasher.str("repetition_penalty").put(repetition_penalty);
        }
    }
}

/// One reply wanted. `seed` and the position in the reply decide every draw, so company in a batch cannot.
#[derive(Clone, Debug)]
pub struct GenRequest {
    pub prompt: Vec<TokenId>,
    pub seed: Seed,
    pub sampling: Sampling,
    /// Whether the reply is to say how likely the numbers in it were. It changes no draw.
    pub likely: bool,
    /// What form the reply is to have: tokens that would break it are not drawn. Local models alone can.
    pub form: Option<Arc<Form>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model ended its turn; the end token is the last of `tokens`.
    EndOfTurn,
    /// `max_tokens` were sampled.
    MaxTokens,
    /// Prompt and reply fill the context window.
    ContextFull,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenReply {
    /// The sampled ids, including the end-of-turn token when there is one.
    pub tokens: Vec<TokenId>,
    pub text: String,
    pub stop: StopReason,
    /// Sum of the log-probabilities (nats, at temperature 1) of the sampled tokens; 0 where the model does not say.
    pub logprob: f64,
    /// Where it was asked for and the model says: of each token that is a number, which numbers might have stood there.
    pub likely: Vec<Likely>,
    /// What it took, where that is not the ids sent and drawn: an endpoint counts by its own tokens.
    pub used: Option<Tokens>,
}

/// So many of the likeliest tokens at a place are looked at: no endpoint tells more.
pub const LIKELIEST: usize = 20;

/// A token of a reply that is a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Likely {
    /// Its first byte in the reply's text.
    pub at: usize,
    pub number: i64,
    /// Numbers that might have stood there, with their log-probabilities in nats; never above 0.
    pub numbers: Vec<(i64, f64)>,
}

impl Likely {
    /// Of a token that stands at `at`, and the likeliest in its place; `None` where it is no number.
    pub fn of<'t>(at: usize, token: &str, likeliest: impl Iterator<Item = (&'t str, f64)>) -> Option<Self> {
        let number = number(token)?;
        let told = |(token, logprob): (&str, f64)| Some((self::number(token)?, logprob.min(0.0)));
        let numbers = likeliest.filter(|(_, logprob)| !logprob.is_nan()).filter_map(told).collect();
        Some(Self { at: at + token.len() - token.trim_start().len(), number, numbers })
    }
}

/// A token that is a whole number, as it is written without a sign before it or zeros.
fn number(token: &str) -> Option<i64> {
    let token = token.trim();
    let number = token.parse().ok()?;
    (i64::to_string(&number) == token).then_some(number)
}

impl GenReply {
    /// What it took to answer a prompt of so many ids.
    pub fn took(&self, prompt: usize) -> Tokens {
        self.used.unwrap_or(Tokens { prompt: prompt as u64, completion: self.tokens.len() as u64 })
    }
}

/// Tokens sent to a model and drawn from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    pub prompt: u64,
    pub completion: u64,
}

impl Tokens {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::Add for Tokens {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let add = u64::saturating_add;
        Self { prompt: add(self.prompt, other.prompt), completion: add(self.completion, other.completion) }
    }
}

/// A model that can be asked. One value is one version: its weights never change.
pub trait LanguageModel: Send + Sync {
    /// Tokens that prompt and reply may hold together.
    fn context(&self) -> usize;

    /// Bytes of text that a token stands for at most: so many tokens a text has at least.
    fn longest_token(&self) -> usize {
        usize::MAX
    }

    /// The ids of a conversation by the model's own chat template, up to where the assistant is to speak.
    fn encode_chat(&self, messages: &[Message]) -> Result<Vec<TokenId>, ModelError>;

    /// The ids to append after an assistant's reply `reply` (as sampled, to `history` = all messages before it) so that the
    /// conversation goes on with `next` and the assistant speaks again. When the reply was cut before its end-of-turn
    /// token, the ids begin with what closes the turn.
    fn continue_chat(
        &self,
        history: &[Message],
        reply: &GenReply,
        next: &[Message],
    ) -> Result<Vec<TokenId>, ModelError>;

    /// A whole conversation as a training row: the ids, and for each whether the assistant wrote it (the end-of-turn
    /// token included). For dialogues that were not sampled here, so have no ids of their own.
    fn encode_row(&self, messages: &[Message]) -> Result<TrainRow, ModelError>;

    /// How many requests are asked at once, each by itself; `None` where they are answered together.
    fn in_flight(&self) -> Option<usize> {
        None
    }

    /// Replies in the order of the requests.
    fn generate(&self, requests: &[GenRequest]) -> Vec<Result<GenReply, ModelError>>;

    /// As [`LanguageModel::encode_chat`], with tools shown by the chat template: a JSON list of them, as OpenAI's protocol has
    /// it. `None` where the template shows none.
    fn encode_tools(&self, _messages: &[Message], _tools: &str) -> Result<Option<Vec<TokenId>>, ModelError> {
        Ok(None)
    }

    /// Answers whatever a listener asks, until there is nothing more. Where a model cannot be heard token by token, a group
    /// after the other is heard whole.
    fn attend(&self, listener: &mut dyn Listener) {
        let mut number = 0;
        loop {
            let requests: Vec<GenRequest> =
                listener.next(usize::MAX).into_iter().map(|wanted| wanted.request).collect();
            if requests.is_empty() {
                break;
            }
            for reply in self.generate(&requests) {
                listener.done(number, reply);
                number += 1;
            }
        }
    }
}

/// Token ids to learn from. `learn[i]` says whether predicting `tokens[i]` counts towards the loss.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainRow {
    pub tokens: Vec<TokenId>,
    pub learn: Vec<bool>,
}

impl Canonical for TrainRow {
    fn feed(&self, hasher: &mut Hasher) {
        let Self { tokens, learn } = self;
        hasher.put(tokens).put(learn);
    }
}

/// What a long training says while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainProgress {
    pub step: u64,
    pub steps: u64,
    /// Mean negative log-likelihood in nats a trained token, of this step.
    pub loss: f64,
    pub grad_norm: f64,
    /// Tokens of the rows seen so far, padding never counted.
    pub tokens: u64,
}

/// Where a training leaves what it needs to go on to the same bytes, and hears whether it should pause.
pub trait TrainMonitor {
    fn progress(&mut self, progress: TrainProgress);
    /// Checked between steps; `true` stops with [`ModelError::Paused`] after a checkpoint.
    fn paused(&mut self) -> bool;
    /// The newest checkpoint of this very training, if one was left.
    fn load(&mut self) -> Option<Vec<u8>>;
    /// Called now and then, and before a pause; replaces the earlier checkpoint.
    fn save(&mut self, checkpoint: &[u8]);
}

/// What came of a training.
pub struct Trained {
    /// Safetensors: all weights (full) or a PEFT adapter (LoRA). Open it again with [`open`].
    pub weights: Vec<u8>,
    pub steps: u64,
    pub tokens: u64,
    pub first_loss: f64,
    pub last_loss: f64,
}

/// Opens one version of a model: what the spec declares, and over it, once trained, the weights of `version`. What is behind
/// an endpoint is asked by way of `wire`, and not before its first request.
///
/// # Errors
/// A missing, short or foreign file, an unsupported config field, a version that does not fit.
pub fn open(spec: &ModelSpec, version: Option<&[u8]>, wire: &Wire) -> Result<Arc<dyn LanguageModel>, ModelError> {
    let spec = &*hub::placed(spec, &wire.hub)?;
    match &spec.source {
        Source::Scripted(path) => Ok(Arc::new(scripted::Scripted::open(path, spec, version)?)),
        #[cfg(feature = "local")]
        Source::Path(_) | Source::Fresh(_) | Source::Gguf(_) => local::open(spec, version, wire.memory),
        #[cfg(not(feature = "local"))]
        Source::Path(_) | Source::Fresh(_) | Source::Gguf(_) => {
            let _ = version;
            Err(ModelError::NotBuilt)
        }
        Source::Remote(remote) => Ok(Arc::new(remote::RemoteModel::open(remote, spec.context, wire))),
        Source::Hub { .. } => unreachable!("it was placed"),
    }
}

/// The digest of everything declared that decides what a model says: weights, config, tokenizer, chat template, precision.
pub fn identity(spec: &ModelSpec) -> Result<Digest, ModelError> {
    match &spec.source {
        Source::Scripted(path) => scripted::identity(path),
        #[cfg(feature = "local")]
        Source::Path(_) | Source::Fresh(_) | Source::Gguf(_) => local::identity(spec),
        #[cfg(not(feature = "local"))]
        Source::Path(_) | Source::Fresh(_) | Source::Gguf(_) => Err(ModelError::NotBuilt),
        Source::Hub { repo, revision } => {
            let mut hasher = Hasher::new("agx-hub-model/1");
            hasher.put(repo).put(revision);
            if let Some(adapter) = &spec.adapter {
                feed_adapter(adapter, &mut hasher)?;
            }
            Ok(hasher.finish())
        }
        Source::Remote(Remote { name, base_url: _, key: _, price: _, limits: _ }) => {
            Ok(Hasher::new("agx-remote-model/1").put(name).finish())
        }
    }
}

#[cfg(not(feature = "local"))]
fn feed_adapter(_: &std::path::Path, _: &mut Hasher) -> Result<(), ModelError> {
    Err(ModelError::NotBuilt)
}

#[cfg(not(feature = "local"))]
fn adapter_files(_: &std::path::Path) -> Vec<PathBuf> {
    Vec::new()
}

/// Whether this build and this machine have what a model is to compute on.
///
/// # Errors
/// They have not.
pub fn computes(spec: &ModelSpec) -> Result<(), ModelError> {
    match &spec.source {
        Source::Scripted(_) | Source::Remote(_) => Ok(()),
        #[cfg(feature = "local")]
        _ => local::computes(spec),
        #[cfg(not(feature = "local"))]
        _ => Err(ModelError::NotBuilt),
    }
}

/// Whether a model in a directory is one that runs, without reading its weights.
fn look(spec: &ModelSpec) -> Result<(), ModelError> {
    #[cfg(feature = "local")]
    return local::look(spec);
    #[cfg(not(feature = "local"))]
    {
        let _ = spec;
        Err(ModelError::NotBuilt)
    }
}

/// Tokens that a model in a directory or a GGUF file was made for.
///
/// # Errors
/// A directory without a `config.json` that can be read; a file that is none.
pub fn positions(place: &std::path::Path) -> Result<u32, ModelError> {
    #[cfg(feature = "local")]
    return local::positions(place);
    #[cfg(not(feature = "local"))]
    {
        let _ = place;
        Err(ModelError::NotBuilt)
    }
}

/// The files that a model hangs on and that lie here by their own names: those of the hub are named by their revision.
///
/// # Errors
/// As [`identity`].
pub fn files(spec: &ModelSpec) -> Result<Vec<PathBuf>, ModelError> {
    match &spec.source {
        Source::Scripted(path) => Ok(vec![path.clone()]),
        #[cfg(feature = "local")]
        Source::Path(_) | Source::Fresh(_) | Source::Gguf(_) => local::files(spec),
        #[cfg(not(feature = "local"))]
        Source::Path(_) | Source::Fresh(_) | Source::Gguf(_) => Err(ModelError::NotBuilt),
        Source::Hub { .. } | Source::Remote(_) => Ok(spec.adapter.iter().flat_map(|it| adapter_files(it)).collect()),
    }
}

/// Trains from `start` (`None`: as declared) on the rows, in an order that the seed decides.
///
/// # Errors
/// No row, a row without a trainable token, a row longer than `max_len`, a loss that is not finite, a variable that got
/// no gradient, a pause.
pub fn train(
    spec: &ModelSpec,
    start: Option<&[u8]>,
    rows: &[TrainRow],
    config: &TrainConfig,
    seed: Seed,
    monitor: &mut dyn TrainMonitor,
    hub: &Hub,
) -> Result<Trained, ModelError> {
    let spec = &*hub::placed(spec, hub)?;
    match &spec.source {
        Source::Scripted(_) => scripted::train(start, rows, config, seed, monitor),
        #[cfg(feature = "local")]
        Source::Path(_) | Source::Fresh(_) | Source::Gguf(_) => local::train(spec, start, rows, config, seed, monitor),
        #[cfg(not(feature = "local"))]
        Source::Path(_) | Source::Fresh(_) | Source::Gguf(_) => Err(ModelError::NotBuilt),
        Source::Remote(_) => Err(ModelError::NoWeights),
        Source::Hub { .. } => unreachable!("it was placed"),
    }
}

/// Writes one version as a Hugging Face directory: `config.json`, `model.safetensors` (bf16 when `half`), `tokenizer.json`,
/// `tokenizer_config.json` with the chat template.
///
/// # Errors
/// A model without weights of its own ([`ModelError::NoWeights`]); a write that fails.
pub fn export(
    spec: &ModelSpec,
    version: Option<&[u8]>,
    directory: &std::path::Path,
    half: bool,
    hub: &Hub,
) -> Result<(), ModelError> {
    let spec = &*hub::placed(spec, hub)?;
    match &spec.source {
        #[cfg(feature = "local")]
        Source::Path(_) | Source::Fresh(_) | Source::Gguf(_) => local::export(spec, version, directory, half),
        Source::Scripted(_) | Source::Remote(_) => Err(ModelError::NoWeights),
        _ => {
            let _ = (version, directory, half);
            Err(ModelError::NotBuilt)
        }
    }
}

/// Writes a trained adapter as PEFT has it: `adapter_config.json`, and `adapter_model.safetensors` byte for byte as it was
/// trained.
///
/// # Errors
/// A version that is no adapter ([`ModelError::NoAdapter`]); a write that fails.
pub fn export_adapter(spec: &ModelSpec, version: &[u8], directory: &std::path::Path) -> Result<(), ModelError> {
    match &spec.source {
        #[cfg(feature = "local")]
        Source::Path(_) | Source::Fresh(_) | Source::Gguf(_) | Source::Hub { .. } => {
            local::export_adapter(spec, version, directory)
        }
        Source::Scripted(_) | Source::Remote(_) => Err(ModelError::NoWeights),
        #[cfg(not(feature = "local"))]
        Source::Path(_) | Source::Fresh(_) | Source::Gguf(_) | Source::Hub { .. } => {
            let _ = (version, directory);
            Err(ModelError::NotBuilt)
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("{path}: {problem}")]
    File { path: String, problem: String },
    #[error("{path}: `{field}` {problem}")]
    Config { path: String, field: String, problem: String },
    #[error("the conversation has {tokens} tokens; the model's context holds {context}")]
    TooLong { tokens: usize, context: usize },
    #[error("the chat template failed: {0}")]
    Template(String),
    #[error("all of its weights were trained: it is no adapter")]
    NoAdapter,
    #[error(
        "it was trained over weights with an `adapter`, which PEFT cannot name as its base: export the whole as `hf`"
    )]
    OverAdapter,
    #[error("it answers from a script or behind an endpoint: it has no weights here")]
    NoWeights,
    #[error("training: {0}")]
    Training(String),
    #[error("paused")]
    Paused,
    #[error("the script has no reply for item {0}")]
    Script(String),
    #[error("local models are not in this build: build with `--features local`")]
    NotBuilt,
    #[error("this kind of model cannot be run by this version")]
    Later,
    #[error("{0}")]
    Hub(HubError),
    #[error("tensor engine: {0}")]
    Engine(String),
    /// With what may have been charged for all the same.
    #[error("{problem}")]
    Remote { problem: remote::RemoteError, took: Tokens },
}

impl From<HubError> for ModelError {
    fn from(problem: HubError) -> Self {
        match problem {
            HubError::Paused => Self::Paused,
            problem => Self::Hub(problem),
        }
    }
}

impl ModelError {
    /// What was taken although no reply came of it, of `asked` that was sent.
    pub fn took(&self, asked: Tokens) -> Tokens {
        match self {
            ModelError::Remote { took, .. } => *took,
            _ => asked,
        }
    }

    /// Whether the same may go well another time.
    pub fn is_transient(&self) -> bool {
        match self {
            ModelError::Remote { problem, .. } => problem.is_transient(),
            // Once it was fetched.
            ModelError::Hub(HubError::Absent { .. }) => true,
            _ => false,
        }
    }

    /// Whether every other request would end in the same way now.
    pub fn is_general(&self) -> bool {
        matches!(self, ModelError::Remote { problem, .. } if problem.is_general())
    }
}
