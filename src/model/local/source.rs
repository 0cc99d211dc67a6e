//! Turns a declared model into what it stands for: shape, weights, tokenizer, chat template.
//!
//! # Invariants
//! Nothing here trains or generates. What decides a reply is in [`identity`], and nothing else is.

use super::chat::Chat;
use super::config::{self, Config, Shape};
use super::gguf::Gguf;
use super::peft::{self, Saved};
use super::tokenizer::Tokenizer;
use super::weights::{self, Arrays, read, read_text};
use super::{fresh, gpu, lora};
use crate::base::{Digest, Hasher, Seed, file};
use crate::model::{Fresh, Message, ModelError, ModelSpec, Role, Source, TokenId};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Far above what anyone runs, and a table of rotations still fits.
const MOST_CONTEXT: usize = 1 << 20;

/// What a spec declares, weights apart.
pub struct Declared {
    pub shape: Shape,
    pub tokenizer: Tokenizer,
    pub chat: Chat,
    pub bos: Option<TokenId>,
    pub eos: Vec<TokenId>,
    /// Names the model in messages.
    pub name: String,
    texts: Texts,
    adapter: Option<Saved>,
    /// Where it is declared by such a file.
    gguf: Option<Gguf>,
}

/// The tokenizer's files as they are, or would be.
pub struct Texts {
    pub tokenizer: Vec<u8>,
    pub config: String,
    pub template: String,
}

/// # Errors
/// A missing or foreign file, an unsupported config, a context the model was not made for.
pub fn declared(spec: &ModelSpec) -> Result<Declared, ModelError> {
    let context = spec.context as usize;
    let name = match &spec.source {
        Source::Path(path) | Source::Gguf(path) => path.display().to_string(),
        Source::Fresh(_) => "fresh model".to_owned(),
        other => return Err(foreign(other)),
    };
    let wrong = |field: &str, problem: String| ModelError::Config { path: name.clone(), field: field.into(), problem };
    if !(2..=MOST_CONTEXT).contains(&context) {
        return Err(wrong("context", format!("is {context}, not from 2 to {MOST_CONTEXT}")));
    }
    let (gguf, tokenizer, texts) = match &spec.source {
        Source::Gguf(path) => {
            let (gguf, texts) = Gguf::open(path)?;
            (Some(gguf), Tokenizer::parse(&name, &texts.tokenizer)?, texts)
        }
        Source::Path(directory) | Source::Fresh(Fresh { tokenizer: directory, .. }) => {
            let (tokenizer, bytes) = Tokenizer::open(directory)?;
            (None, tokenizer, texts(directory, bytes)?)
        }
        other => return Err(foreign(other)),
    };
    let special = |field| special_token(&texts.config, field);
    let (bos, eos) = (special("bos_token"), special("eos_token"));
    let Config { shape, bos: bos_id, eos: mut ends } = match (&spec.source, &gguf) {
        (_, Some(gguf)) => gguf.config.clone(),
        (Source::Path(path), _) => {
            let file = path.join("config.json");
            config::parse(&file.display().to_string(), &read_text(&file)?)?
        }
        (Source::Fresh(fresh), _) => {
            Config { shape: Shape::fresh(fresh, tokenizer.vocab(), context)?, bos: None, eos: Vec::new() }
        }
        (other, _) => return Err(foreign(other)),
    };
    if shape.positions < context {
        let problem = format!("is {}, less than the declared context of {context}", shape.positions);
        let error = wrong("max_position_embeddings", problem);
        return Err(match &gguf {
            Some(gguf) => gguf.renamed(error),
            None => error,
        });
    }
    if tokenizer.vocab() > shape.vocab {
        let problem = format!("is {}; the tokenizer has {} tokens", shape.vocab, tokenizer.vocab());
        return Err(wrong("vocab_size", problem));
    }
    if let Source::Path(path) = &spec.source
        && let generation = path.join("generation_config.json")
        && generation.exists()
    {
        ends.extend(generation_ends(&read_text(&generation)?));
    }
    ends.extend(eos.as_deref().and_then(|eos| tokenizer.id(eos)));
    ends.sort_unstable();
    ends.dedup();
    let bos_id = bos_id.or_else(|| tokenizer.id(bos.as_deref()?));
    for (field, id) in ends.iter().map(|id| ("eos_token_id", id)).chain(bos_id.iter().map(|id| ("bos_token_id", id))) {
        if *id as usize >= shape.vocab {
            return Err(wrong(field, format!("is {id}, outside the vocabulary of {}", shape.vocab)));
        }
    }
    if let Source::Path(path) = &spec.source {
        weights::look(&name, &shape, path)?;
    }
    let adapter = spec.adapter.as_deref().map(|directory| Saved::open(directory, &shape)).transpose()?;
    let chat = Chat::new(&texts.template, bos, eos, &ends, &tokenizer)?;
    // A template that fails on the shortest conversation fails on every one: it is the model's fault, no task's.
    if chat.encode_chat(&tokenizer, &[Message::new(Role::User, "?")])?.is_empty() {
        return Err(ModelError::Template("it makes nothing of a question".to_owned()));
    }
    Ok(Declared { shape, tokenizer, chat, bos: bos_id, eos: ends, name, texts, adapter, gguf })
}

/// Whether it is one that runs here, without reading its weights.
pub fn look(spec: &ModelSpec) -> Result<(), ModelError> {
    gpu::place(spec)?;
    declared(spec).map(drop)
}

/// Of its `config.json` or its GGUF file, as far as a context may go.
pub fn positions(place: &Path) -> Result<u32, ModelError> {
    let Config { shape, .. } = if place.is_dir() {
        let file = place.join("config.json");
        config::parse(&file.display().to_string(), &read_text(&file)?)?
    } else {
        Gguf::open(place)?.0.config
    };
    Ok(shape.positions.min(MOST_CONTEXT) as u32)
}

fn texts(directory: &Path, tokenizer: Vec<u8>) -> Result<Texts, ModelError> {
    let path = directory.join("tokenizer_config.json");
    let wrong = |problem: String| ModelError::File { path: path.display().to_string(), problem };
    let config = read_text(&path)?;
    let value: Value = serde_json::from_str(&config).map_err(|error| wrong(format!("is not JSON: {error}")))?;
    let separate = directory.join("chat_template.jinja");
    let template = if separate.exists() {
        read_text(&separate)?
    } else {
        match &value["chat_template"] {
            Value::String(template) => template.clone(),
            // Several by name, as some models with tools have: the default one.
            Value::Array(list) => {
                let default = list.iter().find(|entry| entry["name"] == "default");
                let template = default.and_then(|entry| entry["template"].as_str());
                template.ok_or_else(|| wrong("has no chat template named `default`".to_owned()))?.to_owned()
            }
            _ => return Err(wrong("has no `chat_template`, and there is no chat_template.jinja".to_owned())),
        }
    };
    Ok(Texts { tokenizer, config, template })
}

/// A special token's text: a string, or an object with its `content`.
fn special_token(config: &str, field: &str) -> Option<String> {
    let value: Value = serde_json::from_str(config).ok()?;
    let token = &value[field];
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

fn generation_ends(text: &str) -> Vec<TokenId> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let id = |value: &Value| value.as_u64().and_then(|id| TokenId::try_from(id).ok());
    match &value["eos_token_id"] {
        Value::Array(list) => list.iter().filter_map(id).collect(),
        one => id(one).into_iter().collect(),
    }
}

impl Declared {
    /// The declared weights with their adapter, in f32 and full precision.
    pub fn weights(&self, spec: &ModelSpec) -> Result<Arrays, ModelError> {
        let mut arrays = match &spec.source {
            Source::Path(path) => weights::check(&self.name, &self.shape, weights::load(path)?)?,
            Source::Fresh(fresh) => fresh::weights(&self.shape, Seed(fresh.seed)),
            other => match &self.gguf {
                Some(gguf) => gguf.weights()?,
                None => return Err(foreign(other)),
            },
        };
        if let Some(saved) = &self.adapter {
            lora::merge(&mut arrays, &saved.adapter()?);
        }
        Ok(arrays)
    }

    /// Writes the tokenizer's files, the chat template where transformers looks for it.
    pub fn write_tokenizer(&self, directory: &Path) -> std::io::Result<()> {
        let mut config: Value = serde_json::from_str(&self.texts.config).unwrap_or_default();
        config["chat_template"] = Value::String(self.texts.template.clone());
        std::fs::write(directory.join("tokenizer.json"), &self.texts.tokenizer)?;
        std::fs::write(directory.join("tokenizer_config.json"), format!("{config:#}\n"))
    }
}

/// The digest of all that decides what the model says.
pub fn identity(spec: &ModelSpec) -> Result<Digest, ModelError> {
    let declared = declared(spec)?;
    let mut hasher = Hasher::new("agx-local-model/1");
    hasher.put(&spec.context).put(&spec.dtype).bytes(&declared.texts.tokenizer).put(&declared.texts.template);
    // Rendered, so that the order of a config's fields and what transformers notes in it do not count.
    hasher.put(&config::render(&declared.shape, declared.bos, &declared.eos, "any"));
    hasher.put(&special_token(&declared.texts.config, "bos_token"));
    hasher.put(&special_token(&declared.texts.config, "eos_token"));
    match &spec.source {
        Source::Path(path) => {
            hasher.str("files");
            for file in weights::files(path)? {
                hasher.bytes(&read(&file, u64::MAX)?);
            }
        }
        Source::Fresh(fresh) => {
            hasher.str("fresh/1").u64(fresh.seed);
        }
        Source::Gguf(path) => {
            let digest =
                file::open(path).and_then(Digest::of_reader).map_err(|error| weights::unreadable(path, &error))?;
            hasher.str("gguf").put(&digest);
        }
        other => return Err(foreign(other)),
    }
    if let Some(directory) = &spec.adapter {
        peft::feed(directory, &mut hasher)?;
    }
    Ok(hasher.finish())
}

/// The files that [`identity`] reads.
pub fn files(spec: &ModelSpec) -> Result<Vec<PathBuf>, ModelError> {
    let (directory, mut files) = match &spec.source {
        Source::Gguf(path) => (None, vec![path.clone()]),
        Source::Path(path) => {
            let mut files = weights::files(path)?;
            if files != [path.join("model.safetensors")] {
                files.push(path.join("model.safetensors.index.json"));
            }
            files.extend(["config.json", "generation_config.json"].map(|name| path.join(name)));
            (Some(path), files)
        }
        Source::Fresh(fresh) => (Some(&fresh.tokenizer), Vec::new()),
        other => return Err(foreign(other)),
    };
    let names = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
    files.extend(directory.iter().flat_map(|directory| names.map(|name| directory.join(name))));
    files.extend(spec.adapter.iter().flat_map(|directory| peft::files(directory)));
    files.retain(|file| file.exists());
    Ok(files)
}

/// Of a model that is none of this engine's.
fn foreign(source: &Source) -> ModelError {
    match source {
        Source::Scripted(path) => ModelError::Script(path.display().to_string()),
        _ => ModelError::Later,
    }
}
