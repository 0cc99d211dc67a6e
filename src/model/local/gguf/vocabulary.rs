//! Turns the vocabulary of a GGUF file into a `tokenizer.json`, as Hugging Face has it for the same model.
//!
//! # Invariants
//! A vocabulary or a way to cut text that is not known is an error that names its key; none is guessed.

use super::super::config::Config;
use super::super::source::Texts;
use super::header::Header;
use crate::model::{ModelError, TokenId};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";
const TEMPLATE: &str = "tokenizer.chat_template";

/// SentencePiece's own trainer makes none above 48 characters.
const LONGEST_PIECE: usize = 256;

/// Where a byte-level vocabulary cuts text before it merges, by the name that llama.cpp gives it.
struct Cuts {
    names: &'static [&'static str],
    /// Each is tried on what the ones before have left whole.
    patterns: &'static [&'static str],
    /// A piece that is a token is one, whatever the merges come to.
    whole: bool,
    /// Unicode's composed form, before anything is cut.
    composed: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// As the `tokenizer.json` of these models have them; `default` is llama.cpp's own.
const CUTS: [Cuts; 7] = [
    Cuts {
        names: &["default"],
        patterns: &[r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
        whole: false,
        composed: false,
    },
    Cuts { names: &["gpt-2"], patterns: &[GPT2], whole: false, composed: false },
    Cuts { names: &["llama-bpe", "llama-v3", "llama3"], patterns: &[LLAMA3], whole: true, composed: false },
    Cuts { names: &["qwen2"], patterns: &[QWEN2], whole: false, composed: true },
    Cuts { names: &["deepseek-r1-qwen"], patterns: &[QWEN2], whole: false, composed: false },
    Cuts { names: &["refact", "smollm", "starcoder"], patterns: &[r"\p{N}", GPT2], whole: false, composed: false },
    Cuts { names: &["tekken"], patterns: &[TEKKEN], whole: true, composed: false },
];

/// What the format says of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    /// Found in any text, before it is cut.
    Own,
    Unused,
    Byte,
}

struct Tokens<'a> {
    header: &'a Header,
    all: &'a [String],
    kinds: Vec<Kind>,
    ids: BTreeMap<&'a str, TokenId>,
}

/// The tokenizer's texts; the ids that have a meaning go into the config.
///
/// # Errors
/// A vocabulary of another model than `gpt2` or `llama`, or one whose parts do not fit together; no chat template.
pub fn texts(header: &Header, config: &mut Config) -> Result<Texts, ModelError> {
    let is_pieces = match header.text(MODEL)? {
        "gpt2" => false,
        "llama" => true,
        other => return Err(header.wrong(MODEL, format!("is `{other}`; supported: `gpt2`, `llama`"))),
    };
    let mut tokens = Tokens::read(header)?;
    if tokens.all.len() > config.shape.vocab {
        let problem = format!("has {} tokens; the model has room for {}", tokens.all.len(), config.shape.vocab);
        return Err(header.wrong(TOKENS, problem));
    }
    let special = |name: &str| tokens.special(&format!("tokenizer.ggml.{name}_token_id"));
    let (bos, eos, unknown) = (special("bos")?, special("eos")?, special("unknown")?);
    // A turn's end and a message's are others than the text's in some models.
    let ends: BTreeSet<TokenId> = [eos, special("eot")?, special("eom")?].into_iter().flatten().collect();
    for id in bos.iter().chain(&ends) {
        tokens.kinds[*id as usize] = Kind::Control;
    }
    let unknown = unknown.filter(|_| is_pieces);
    if let Some(id) = unknown {
        tokens.kinds[id as usize] = Kind::Unknown;
    }
    let template = header.text(TEMPLATE)?.to_owned();
    let tokenizer = if is_pieces { tokens.pieces()? } else { tokens.bytes()? };
    let text = |id: Option<TokenId>| id.map(|id| &*tokens.all[id as usize]);
    let mut said = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": text(bos),
        "eos_token": text(eos),
        "unk_token": text(unknown),
        "clean_up_tokenization_spaces": false,
    });
    if let Some(add) = header.fields().get("tokenizer.ggml.add_bos_token") {
        said["add_bos_token"] = add.clone();
    }
    (config.bos, config.eos) = (bos, ends.into_iter().collect());
    Ok(Texts { tokenizer: tokenizer.to_string().into_bytes(), config: format!("{said:#}\n"), template })
}

impl<'a> Tokens<'a> {
    fn read(header: &'a Header) -> Result<Self, ModelError> {
        let all = header.texts(TOKENS)?;
        let wrong = |key: &str, problem: String| Err(header.wrong(key, problem));
        if all.is_empty() || TokenId::try_from(all.len()).is_err() {
            return wrong(TOKENS, format!("has {} tokens", all.len()));
        }
        let mut ids = BTreeMap::new();
        for (id, token) in (0..).zip(all) {
            if let Some(other) = ids.insert(token.as_str(), id) {
                return wrong(TOKENS, format!("has {token:?} twice, as {other} and as {id}"));
            }
        }
        let numbers = header.numbers(KINDS)?;
        if let Some(numbers) = numbers.filter(|numbers| numbers.len() != all.len()) {
            return wrong(KINDS, format!("has {} entries; there are {} tokens", numbers.len(), all.len()));
        }
        let kind = |number: &f32| match *number {
            1.0 => Ok(Kind::Normal),
            2.0 => Ok(Kind::Unknown),
            3.0 => Ok(Kind::Control),
            4.0 => Ok(Kind::Own),
            5.0 => Ok(Kind::Unused),
            6.0 => Ok(Kind::Byte),
            other => Err(header.wrong(KINDS, format!("has a kind of {other}, not one from 1 to 6"))),
        };
        let kinds = match numbers {
            Some(numbers) => numbers.iter().map(kind).collect::<Result<_, _>>()?,
            None => vec![Kind::Normal; all.len()],
        };
        Ok(Self { header, all, kinds, ids })
    }

    fn special(&self, key: &str) -> Result<Option<TokenId>, ModelError> {
        let fields = self.header.fields();
        let Some(value) = fields.get(key) else { return Ok(None) };
        match value.as_u64().filter(|id| *id < self.all.len() as u64) {
            Some(id) => Ok(Some(id as TokenId)),
            None => Err(self.header.wrong(key, format!("is {value}, not one of the {} tokens", self.all.len()))),
        }
    }

    fn of(&self, kinds: &'static [Kind]) -> impl Iterator<Item = (TokenId, &'a str)> {
        let (all, own) = (self.all, &self.kinds);
        let wanted = (0..all.len() as TokenId).zip(all).filter(move |(id, _)| kinds.contains(&own[*id as usize]));
        wanted.map(|(id, token)| (id, token.as_str()))
    }

    /// Tokens that no text becomes are left out: the model has room for them, and nothing else.
    fn vocab(&self) -> Map<String, Value> {
        let all = self.of(&[Kind::Normal, Kind::Unknown, Kind::Control, Kind::Own, Kind::Byte]);
        all.map(|(id, token)| (token.to_owned(), json!(id))).collect()
    }

    fn tokenizer(&self, normalizer: Value, pre_tokenizer: Value, decoder: Value, model: Value) -> Value {
        let added = self.of(&[Kind::Unknown, Kind::Control, Kind::Own]).map(|(id, content)| {
            json!({"id": id, "content": content, "special": self.kinds[id as usize] != Kind::Own, "normalized": false,
                   "single_word": false, "lstrip": false, "rstrip": false})
        });
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added.collect::<Vec<_>>(),
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": null,
            "decoder": decoder,
            "model": model,
        })
    }

    /// Byte-level BPE: Radford et al. 2019.
    fn bytes(&self) -> Result<Value, ModelError> {
        let name = self.header.text(PRE)?;
        let cuts = CUTS.iter().find(|cuts| cuts.names.contains(&name)).ok_or_else(|| {
            let known: Vec<String> = CUTS.iter().flat_map(|cuts| cuts.names).map(|name| format!("`{name}`")).collect();
            self.header.wrong(PRE, format!("is `{name}`; supported: {}", known.join(", ")))
        })?;
        let mut merges = Vec::new();
        for (number, merge) in self.header.texts(MERGES)?.iter().enumerate() {
            // A token may begin with a blank.
            let blank = merge.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
            let parts = blank.map(|at| (&merge[..at], &merge[at + 1..]));
            let known = |(left, right): &(&str, &str)| {
                [*left, *right, &*format!("{left}{right}")].iter().all(|token| self.ids.contains_key(token))
            };
            let Some((left, right)) = parts.filter(known) else {
                let problem = format!("has {merge:?} as number {number}, not two tokens that are one together");
                return Err(self.header.wrong(MERGES, problem));
            };
            merges.push(json!([left, right]));
        }
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
        let split = |pattern: &&str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let steps: Vec<Value> = cuts.patterns.iter().map(split).chain([byte_level.clone()]).collect();
        Ok(self.tokenizer(
            if cuts.composed { json!({"type": "NFC"}) } else { Value::Null },
            json!({"type": "Sequence", "pretokenizers": steps}),
            byte_level,
            json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                   "ignore_merges": cuts.whole, "vocab": self.vocab(), "merges": merges}),
        ))
    }

    /// SentencePiece's BPE (Kudo and Richardson 2018), as transformers writes it down: merges instead of scores.
    fn pieces(&self) -> Result<Value, ModelError> {
        let fields = self.header.fields();
        for key in ["remove_extra_whitespaces", "treat_whitespace_as_suffix"] {
            fields.must_be_false(&format!("tokenizer.ggml.{key}"))?;
        }
        let scores = self.header.numbers(SCORES)?.ok_or_else(|| fields.wrong(SCORES, "is missing"))?;
        if scores.len() != self.all.len() {
            let problem = format!("has {} entries; there are {} tokens", scores.len(), self.all.len());
            return Err(fields.wrong(SCORES, problem));
        }
        let is_prefixed = fields.flag("tokenizer.ggml.add_space_prefix", true)?;
        let blanks = json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"});
        let normalizers = match is_prefixed {
            true => json!([{"type": "Prepend", "prepend": "\u{2581}"}, blanks]),
            false => json!([blanks]),
        };
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if is_prefixed {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = self.of(&[Kind::Unknown]).next().map(|(_, token)| token);
        let has_bytes = (0..=255u8).all(|byte| self.ids.contains_key(format!("<0x{byte:02X}>").as_str()));
        Ok(self.tokenizer(
            json!({"type": "Sequence", "normalizers": normalizers}),
            Value::Null,
            json!({"type": "Sequence", "decoders": decoders}),
            json!({"type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": has_bytes,
                   "ignore_merges": false, "vocab": self.vocab(), "merges": self.merges(scores)?}),
        ))
    }

    /// Every two pieces that are one together, the best one first: `generate_merges` of transformers.
    fn merges(&self, scores: &[f32]) -> Result<Vec<Value>, ModelError> {
        let piece = |text: &str| {
            let id = *self.ids.get(text)?;
            matches!(self.kinds[id as usize], Kind::Normal | Kind::Own).then_some(id)
        };
        let mut all = Vec::new();
        for (id, token) in self.of(&[Kind::Normal, Kind::Own]) {
            if token.len() > LONGEST_PIECE {
                let problem = format!("has a piece of {} bytes; at most {LONGEST_PIECE} are supported", token.len());
                return Err(self.header.wrong(TOKENS, problem));
            }
            let splits = token.char_indices().skip(1).enumerate().filter_map(|(before, (at, _))| {
                let (left, right) = token.split_at(at);
                Some(((piece(left)?, piece(right)?), before, (left, right)))
            });
            let mut splits: Vec<_> = splits.collect();
            splits.sort_unstable();
            let length = token.chars().count();
            all.extend(splits.into_iter().map(|(_, before, pair)| (scores[id as usize], before + 1, length, pair)));
        }
        // Of equal ones those with the longer left part first, then those with the longer right one.
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then((b.2 - b.1).cmp(&(a.2 - a.1))));
        Ok(all.into_iter().map(|(_, _, _, (left, right))| json!([left, right])).collect())
    }
}
