//! Tests of the engine as a whole, on models of a few thousand weights.

mod candle;
mod chats;
mod exact;
pub(super) mod families;
mod files;
mod gguf;
mod golden;
mod heard;
mod int8;
mod reference;
mod training;
mod transformers;

use super::tokenizer::{whole_words, whole_words_config};
use crate::base::Seed;
use crate::model::{
    Decay, Device, Dtype, Fresh, GenReply, GenRequest, LanguageModel, LoraConfig, LossOn, Message, Method, ModelSpec,
    Role, Sampling, Source, ToolCalls, ToolFormat, TrainConfig, TrainMonitor, TrainProgress,
};
use std::path::Path;
use tempfile::TempDir;

const WORDS: [&str; 12] = ["Ada", "Ben", "book", "call", "find", "mail", "ok", "room", "the", "to", "14:00", "."];

/// A directory with a small tokenizer of our own kind.
pub(super) fn tokenizer() -> TempDir {
    let directory = TempDir::new().unwrap();
    let words: Vec<String> = WORDS.iter().map(|word| (*word).to_owned()).collect();
    std::fs::write(directory.path().join("tokenizer.json"), whole_words(&words)).unwrap();
    std::fs::write(directory.path().join("tokenizer_config.json"), whole_words_config()).unwrap();
    directory
}

fn spec(source: Source) -> ModelSpec {
    ModelSpec {
        source,
        adapter: None,
        context: 64,
        dtype: Dtype::F32,
        device: Device::Auto,
        lora: None,
        tool_format: ToolFormat::Lines,
        tool_calls: ToolCalls::Drawn,
    }
}

pub(super) fn fresh(tokenizer: &Path) -> ModelSpec {
    let fresh =
        Fresh { tokenizer: tokenizer.to_owned(), seed: 5, width: 24, layers: 2, heads: 4, kv_heads: 2, ffn: 40 };
    // Width 24 in 4 heads: heads of 6, no multiple of any vector.
    spec(Source::Fresh(fresh))
}

fn recipe(lora: Option<LoraConfig>) -> TrainConfig {
    TrainConfig {
        method: Method::Sft { loss_on: LossOn::Agent },
        lr: 1e-2,
        decay: Decay::Cosine { warmup: 0.1 },
        epochs: 3,
        batch: 2,
        max_len: None,
        clip: 1.0,
        weight_decay: 0.01,
        lora,
        accumulate: 1,
        recompute: false,
        command: None,
    }
}

fn lora() -> LoraConfig {
    let on = ["q_proj", "v_proj", "down_proj"].map(str::to_owned).to_vec();
    LoraConfig { rank: 3, alpha: 6.0, dropout: 0.0, on }
}

/// Dialogues of different lengths, each with its own answer.
fn dialogues() -> Vec<Vec<Message>> {
    let dialogue = |user: &str, first: &str, tool: &str, last: &str| {
        vec![
            Message::new(Role::System, "book the room."),
            Message::new(Role::User, user),
            Message::new(Role::Assistant, first),
            Message::new(Role::Tool, tool),
            Message::new(Role::Assistant, last),
        ]
    };
    vec![
        dialogue("mail Ada.", "find Ada", "ok", "mail to Ada."),
        dialogue("call Ben at 14:00.", "find Ben", "Ben 14:00.", "call Ben."),
        dialogue("book room 7 to Ada.", "find room", "7", "book room 7 14:00."),
        dialogue("the mail.", "mail", "ok", "ok."),
    ]
}

pub(super) fn requests(model: &dyn LanguageModel, temperature: f64) -> Vec<GenRequest> {
    let sampling = Sampling { temperature, top_p: 0.95, top_k: 40, ..Sampling::drawn(12) };
    let ask = |(index, dialogue): (usize, Vec<Message>)| {
        // Three samples of each task, and its second turn.
        let first = model.encode_chat(&dialogue[..2]).unwrap();
        let second = model.encode_chat(&dialogue[..4]).unwrap();
        let sampling = sampling.clone();
        [first.clone(), first.clone(), first, second].into_iter().enumerate().map(move |(sample, prompt)| GenRequest {
            prompt,
            seed: Seed(9).derive(index).derive(sample),
            sampling: sampling.clone(),
            likely: false,
            form: None,
        })
    };
    dialogues().into_iter().enumerate().flat_map(ask).collect()
}

pub(super) fn replies(model: &dyn LanguageModel, requests: &[GenRequest]) -> Vec<GenReply> {
    model.generate(requests).into_iter().map(Result::unwrap).collect()
}

/// Keeps the newest checkpoint, and pauses after so many steps.
#[derive(Default)]
struct Monitor {
    steps: Vec<TrainProgress>,
    checkpoint: Option<Vec<u8>>,
    pause_after: Option<u64>,
}

impl TrainMonitor for Monitor {
    fn progress(&mut self, progress: TrainProgress) {
        self.steps.push(progress);
    }
    fn paused(&mut self) -> bool {
        self.pause_after.is_some_and(|after| self.steps.last().is_some_and(|progress| progress.step >= after))
    }
    fn load(&mut self) -> Option<Vec<u8>> {
        self.checkpoint.clone()
    }
    fn save(&mut self, checkpoint: &[u8]) {
        self.checkpoint = Some(checkpoint.to_vec());
    }
}
