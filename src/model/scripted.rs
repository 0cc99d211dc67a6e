//! Turns a JSON file into a model: replies by rule, for tests and dry runs. Nothing here learns or understands anything.
//!
//! ```json
//! {
//!   "replies": [
//!     { "when": "room: Oak", "say": ["call book_room\nroom: Oak"] },
//!     { "when": "book a room", "skill": 1, "say": ["call find_room", "Done."] }
//!   ],
//!   "default": ["I do not know."]
//! }
//! ```
//!
//! The first rule whose `when` is part of the last user or tool message, and whose `skill` the model has reached, answers;
//! `default` where none does. Of several texts the greedy reply (temperature 0) is the first, others are drawn by the
//! request's seed. "Training" only counts: the new version has one skill more than the one it started from, so that in a
//! dry run something changes from iteration to iteration.
//!
//! # Invariants
//! Ids and text are each other's exact picture: an id is a role mark, the end of a turn, or up to three bytes of text. No
//! vocabulary is stored. Replies depend on prompt, sampling and seed only.

use super::*;
use serde::Deserialize;
use std::path::Path;

/// The end of a turn.
const END: TokenId = 0;
const ROLES: [(Role, TokenId); 4] = [(Role::System, 1), (Role::User, 2), (Role::Assistant, 3), (Role::Tool, 4)];
/// Bytes of text in one id; the count of them stands above them, so no text looks like a mark.
const BYTES: usize = 3;

#[derive(Debug)]
pub struct Scripted {
    script: Script,
    context: usize,
    skill: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    #[serde(default)]
    replies: Vec<Reply>,
    #[serde(default)]
    default: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    when: String,
    /// Trainings that the version has had at least.
    #[serde(default)]
    skill: u32,
    say: Vec<String>,
}

/// What stands for weights.
#[derive(Debug, Serialize, Deserialize)]
struct Version {
    skill: u32,
    /// Of the version it was trained from.
    start: Option<Digest>,
    /// Of the rows, the recipe and the seed.
    training: Digest,
}

impl Scripted {
    /// # Errors
    /// A file that cannot be read or is not a script; a version that no training of a script made.
    pub fn open(path: &Path, spec: &ModelSpec, version: Option<&[u8]>) -> Result<Self, ModelError> {
        let script: Script =
            serde_json::from_slice(&read(path)?).map_err(|error| wrong(path, &format!("is not a script: {error}")))?;
        if let Some(reply) = script.replies.iter().find(|reply| reply.say.is_empty()) {
            return Err(wrong(path, &format!("the reply to `{}` has nothing to say", reply.when)));
        }
        let skill = version.map(parse_version).transpose()?.map_or(0, |version| version.skill);
        Ok(Self { script, context: spec.context as usize, skill })
    }

    fn say(&self, request: &GenRequest) -> Result<&str, ModelError> {
        let last = last_told(&request.prompt);
        let fits = |reply: &&Reply| reply.skill <= self.skill && last.contains(&reply.when);
        let texts = self.script.replies.iter().find(fits).map_or(&self.script.default, |reply| &reply.say);
        match texts.as_slice() {
            [] => Err(ModelError::Script(last.chars().take(80).collect())),
            [first, ..] if request.sampling.temperature <= 0.0 => Ok(first),
            several => Ok(request.seed.rng().pick::<String>(several)),
        }
    }

    fn reply(&self, request: &GenRequest) -> Result<GenReply, ModelError> {
        let GenRequest { prompt, seed: _, sampling } = request;
        let room = self.context.saturating_sub(prompt.len());
        if room == 0 {
            return Err(ModelError::TooLong { tokens: prompt.len(), context: self.context });
        }
        let mut tokens = encode(self.say(request)?);
        tokens.push(END);
        let limit = room.min(sampling.max_tokens as usize);
        let stop = if tokens.len() <= limit {
            StopReason::EndOfTurn
        } else if limit == room {
            StopReason::ContextFull
        } else {
            StopReason::MaxTokens
        };
        tokens.truncate(limit);
        let logprob = -0.5 * tokens.len() as f64;
        Ok(GenReply { text: decode(&tokens), tokens, stop, logprob })
    }
}

impl LanguageModel for Scripted {
    fn context(&self) -> usize {
        self.context
    }

    fn encode_chat(&self, messages: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        let mut ids = Vec::new();
        messages.iter().for_each(|message| turn(message, &mut ids));
        ids.push(mark(Role::Assistant));
        Ok(ids)
    }

    fn continue_chat(&self, _: &[Message], reply: &GenReply, next: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        let mut ids = Vec::new();
        if reply.tokens.last() != Some(&END) {
            ids.push(END);
        }
        ids.extend(self.encode_chat(next)?);
        Ok(ids)
    }

    fn encode_row(&self, messages: &[Message]) -> Result<TrainRow, ModelError> {
        let mut row = TrainRow { tokens: Vec::new(), learn: Vec::new() };
        for message in messages {
            turn(message, &mut row.tokens);
            row.learn.push(false);
            row.learn.resize(row.tokens.len(), message.role == Role::Assistant);
        }
        Ok(row)
    }

    fn generate(&self, requests: &[GenRequest]) -> Vec<Result<GenReply, ModelError>> {
        requests.iter().map(|request| self.reply(request)).collect()
    }
}

/// Of the script's bytes.
pub fn identity(path: &Path) -> Result<Digest, ModelError> {
    Ok(Hasher::new("agx-script/1").bytes(&read(path)?).finish())
}

/// Counts one skill up. The bytes also hold what was trained on, so that versions differ as real ones would.
pub fn train(
    start: Option<&[u8]>,
    rows: &[TrainRow],
    config: &TrainConfig,
    seed: Seed,
    monitor: &mut dyn TrainMonitor,
) -> Result<Trained, ModelError> {
    if rows.is_empty() {
        return Err(ModelError::Training("there is no row to train on".to_owned()));
    }
    if monitor.paused() {
        return Err(ModelError::Paused);
    }
    let before = start.map(parse_version).transpose()?.map_or(0, |version| version.skill);
    let version = Version {
        skill: before + 1,
        start: start.map(Digest::of_bytes),
        training: Hasher::new("agx-script-training/1").put(rows).put(config).put(&seed).finish(),
    };
    let steps = (rows.len() as u64).div_ceil(u64::from(config.batch.max(1))) * u64::from(config.epochs.max(1));
    let tokens: u64 = rows.iter().map(|row| row.tokens.len() as u64).sum::<u64>() * u64::from(config.epochs.max(1));
    let loss_at = |skill: u32| 2.0 / f64::from(skill + 1);
    let (first_loss, last_loss) = (loss_at(before), loss_at(version.skill));
    monitor.progress(TrainProgress { step: steps, steps, loss: last_loss, grad_norm: 1.0, tokens });
    let weights = serde_json::to_vec(&version).expect("a version is plain data");
    Ok(Trained { weights, steps, tokens, first_loss, last_loss })
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|error| wrong(path, &error.to_string()))
}

fn wrong(path: &Path, problem: &str) -> ModelError {
    ModelError::File { path: path.display().to_string(), problem: problem.to_owned() }
}

fn parse_version(bytes: &[u8]) -> Result<Version, ModelError> {
    serde_json::from_slice(bytes).map_err(|_| ModelError::Training("the start is not a version of a script".to_owned()))
}

fn mark(role: Role) -> TokenId {
    ROLES.iter().find(|(known, _)| *known == role).map_or(END, |(_, id)| *id)
}

fn turn(message: &Message, ids: &mut Vec<TokenId>) {
    ids.push(mark(message.role));
    ids.extend(encode(&message.content));
    ids.push(END);
}

/// Each word, with the space after it, begins an id of its own, so that like words have like ids.
fn encode(text: &str) -> Vec<TokenId> {
    let words = text.split_inclusive(|c: char| c.is_whitespace());
    let id = |bytes: &[u8]| {
        let packed = bytes.iter().fold(0, |packed, byte| packed << 8 | TokenId::from(*byte));
        (bytes.len() as TokenId) << 24 | packed
    };
    words.flat_map(|word| word.as_bytes().chunks(BYTES)).map(id).collect()
}

/// The text of ids; marks have none. A character that the last id cuts in two is replaced.
fn decode(ids: &[TokenId]) -> String {
    let mut bytes = Vec::with_capacity(ids.len() * BYTES);
    for id in ids {
        let count = (id >> 24) as usize;
        bytes.extend_from_slice(&id.to_be_bytes()[4 - count.min(BYTES)..]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last message of the user or a tool.
fn last_told(prompt: &[TokenId]) -> String {
    let told = [mark(Role::User), mark(Role::Tool)];
    let start = prompt.iter().rposition(|id| told.contains(id)).map_or(0, |at| at + 1);
    let rest = &prompt[start..];
    let end = rest.iter().position(|id| *id == END).unwrap_or(rest.len());
    decode(&rest[..end])
}
