//! Turns text into token ids and back, by a `tokenizer.json`; makes the tokenizer of the base models.
//!
//! # Invariants
//! Nothing is added to what is asked for: no BOS, no template. Whatever [`whole_words`] makes gives back any text as it was.

use super::weights::read;
use crate::model::{ModelError, TokenId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

/// Far above the largest vocabularies.
const MOST_BYTES: u64 = 1 << 28;
/// What ends every turn of our own base models.
pub const END: &str = "<|end|>";
/// The special tokens of our own base models, by id.
pub const SPECIALS: [&str; 5] = [END, "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"];

/// The chat template of our own base models.
pub const TEMPLATE: &str = "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}\
{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/// Where the text is cut before the vocabulary is asked, first alternative first: a time, one digit, a word with its
/// leading space, an email's host, an English contraction, one sign with its leading space, one white space.
const CUTS: &str = r" ?\d\d:\d\d| ?\d| ?[\p{L}_]+|@[\p{L}_]+|'(?:s|t|re|ve|m|ll|d)(?![\p{L}_])| ?[^\s\p{L}\d_]|\s";

pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    specials: BTreeMap<String, TokenId>,
    longest: usize,
}

impl Tokenizer {
    /// # Errors
    /// A `tokenizer.json` that is missing or not one.
    pub fn open(directory: &Path) -> Result<(Self, Vec<u8>), ModelError> {
        let path = directory.join("tokenizer.json");
        let bytes = read(&path, MOST_BYTES)?;
        Ok((Self::parse(&path.display().to_string(), &bytes)?, bytes))
    }

    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, ModelError> {
        let wrong = |problem| ModelError::File { path: name.to_owned(), problem };
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|error| wrong(format!("is not a tokenizer.json: {error}")))?;
        // Settings of somebody's last batch; they would cut or pad every conversation.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| wrong(error.to_string()))?;
        let added = inner.get_added_tokens_decoder();
        let specials =
            added.into_iter().filter(|(_, token)| token.special).map(|(id, token)| (token.content, id)).collect();
        let longest = inner.get_vocab(true).into_keys().map(|token| token.len()).max().unwrap_or(1).max(1);
        Ok(Self { inner, specials, longest })
    }

    /// The ids of a text; special tokens written in it are read as such.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, ModelError> {
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|error| ModelError::Engine(format!("tokenizer: {error}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of the ids, special tokens left out.
    pub fn decode(&self, ids: &[TokenId]) -> Result<String, ModelError> {
        self.inner.decode(ids, true).map_err(|error| ModelError::Engine(format!("tokenizer: {error}")))
    }

    /// Reads ids one by one, and gives the text that each adds: nothing while a character is not whole.
    pub fn reader(&self) -> impl FnMut(TokenId) -> String + Send + '_ {
        let mut stream = self.inner.decode_stream(true);
        // An id that fits nowhere adds nothing: the text as a whole tells what it stands for.
        move |id| stream.step(id).ok().flatten().unwrap_or_default()
    }

    /// A token for people, special ones too.
    pub fn shown(&self, id: TokenId) -> String {
        let text = self.decode(&[id]).unwrap_or_default();
        if text.is_empty() { self.token(id).unwrap_or_default() } else { text }
    }

    pub fn id(&self, token: &str) -> Option<TokenId> {
        self.inner.token_to_id(token)
    }

    pub fn token(&self, id: TokenId) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The texts that mean special tokens.
    pub fn specials(&self) -> impl Iterator<Item = &str> {
        self.specials.keys().map(String::as_str)
    }

    /// Bytes of text that a token stands for at most, or some more.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// What each id adds to a text, in bytes, special tokens as they are written; nothing where an id stands for none.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        let decoder = serde_json::to_string(&self.inner.get_decoder()).unwrap_or_default();
        let by_bytes = decoder.contains("\"ByteLevel\"");
        let added: BTreeMap<TokenId, String> =
            self.inner.get_added_tokens_decoder().into_iter().map(|(id, token)| (id, token.content)).collect();
        let of = |id: TokenId| match (added.get(&id), self.token(id)) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, None) => Vec::new(),
            (None, Some(token)) if by_bytes => token.chars().filter_map(char_byte).collect(),
            (None, Some(token)) => match token.strip_prefix("<0x").and_then(|token| token.strip_suffix('>')) {
                Some(hex) if hex.len() == 2 => u8::from_str_radix(hex, 16).into_iter().collect(),
                // As SentencePiece writes a blank.
                _ => token.replace('\u{2581}', " ").into_bytes(),
            },
        };
        (0..self.vocab() as TokenId).map(of).collect()
    }

    /// One more than the largest id.
    pub fn vocab(&self) -> usize {
        let ids = self.inner.get_vocab(true).into_values();
        ids.max().map_or(0, |id| id as usize + 1)
    }
}

/// A byte as GPT-2 writes it in a vocabulary: printable as itself, others shifted to 256 and on.
fn byte_char(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match printable(byte) {
        true => char::from(byte),
        false => {
            let before = (0..byte).filter(|other| !printable(*other)).count() as u32;
            char::from_u32(256 + before).expect("invariant: 256..=323 are characters")
        }
    }
}

/// The byte that GPT-2 writes so.
fn char_byte(c: char) -> Option<u8> {
    static BYTES: LazyLock<BTreeMap<char, u8>> =
        LazyLock::new(|| (0..=255).map(|byte| (byte_char(byte), byte)).collect());
    BYTES.get(&c).copied()
}

fn written(text: &str) -> String {
    text.bytes().map(byte_char).collect()
}

/// The `tokenizer.json` of a model that knows whole words: five special tokens, 256 bytes, and every word of the lexicon
/// with and without a leading space. Words outside the lexicon fall into bytes, so any text goes in and comes out.
///
/// A form that no text is cut into (a word with a blank in it, a second space) gets no id: it could not occur.
pub fn whole_words(words: &[String]) -> String {
    let mut vocab = BTreeMap::new();
    let mut add = |token: String| {
        let next = vocab.len() as TokenId;
        vocab.entry(token).or_insert(next);
    };
    SPECIALS.iter().for_each(|special| add((*special).to_owned()));
    (0..=255).for_each(|byte| add(byte_char(byte).to_string()));
    let cutter = tokenizer_of(&json!({}));
    for word in words {
        for form in [word.clone(), format!(" {word}")] {
            if is_one_piece(&cutter, &form) {
                add(written(&form));
            }
        }
    }
    let whole = tokenizer_of(&json!(vocab));
    whole.to_string(true).expect("invariant: a tokenizer that was read can be written") + "\n"
}

fn tokenizer_of(vocab: &Value) -> tokenizers::Tokenizer {
    let added = |(id, content): (usize, &&str)| {
        json!({"id": id, "content": content, "special": true, "normalized": false,
               "single_word": false, "lstrip": false, "rstrip": false})
    };
    let added = if vocab.get(END).is_some() { SPECIALS.iter().enumerate().map(added).collect() } else { Vec::new() };
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
    let text = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": CUTS}, "behavior": "Isolated", "invert": false},
            byte_level,
        ]},
        "post_processor": null,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
                  "vocab": vocab, "merges": []},
    });
    tokenizers::Tokenizer::from_bytes(text.to_string()).expect("invariant: our own tokenizer.json is one")
}

fn is_one_piece(tokenizer: &tokenizers::Tokenizer, text: &str) -> bool {
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};
    let mut pieces = PreTokenizedString::from(text);
    let cut = tokenizer.get_pre_tokenizer().expect("invariant: ours has one").pre_tokenize(&mut pieces);
    cut.is_ok() && pieces.get_splits(OffsetReferential::Original, OffsetType::Byte).len() == 1
}

/// The `tokenizer_config.json` that goes with [`whole_words`]: end token and chat template.
pub fn whole_words_config() -> String {
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": null,
        "eos_token": END,
        "pad_token": END,
        "clean_up_tokenization_spaces": false,
        "chat_template": TEMPLATE,
    });
    format!("{config:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tiny() -> Tokenizer {
        let words = ["Ada", "book", "the", "room", "14:00", "@desk", "find_contact", "'s", ".", "7", "two words"];
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Tokenizer::parse("tiny", whole_words(&words).as_bytes()).unwrap()
    }

    fn tokens(text: &str) -> Vec<String> {
        let tokenizer = tiny();
        tokenizer.encode(text).unwrap().into_iter().map(|id| tokenizer.token(id).unwrap()).collect()
    }

    #[test]
    fn a_word_of_the_lexicon_is_one_token() {
        assert_eq!(
            tokens("book Ada's room at 14:00.\nada@desk find_contact 77"),
            [
                "book",
                "ĠAda",
                "'s",
                "Ġroom",
                "Ġ",
                "a",
                "t",
                "Ġ14:00",
                ".",
                "Ċ",
                "a",
                "d",
                "a",
                "@desk",
                "Ġfind_contact",
                "Ġ7",
                "7"
            ]
        );
        assert_eq!(tokens("<|user|>the<|end|>"), ["<|user|>", "the", "<|end|>"]);
        assert!(tiny().id("twoĠwords").is_none());
    }

    #[test]
    fn bytes_are_written_as_gpt_2_does() {
        assert_eq!(written(" \n\u{0}é~"), "ĠĊĀÃ©~");
        let all: std::collections::BTreeSet<char> = (0..=255).map(byte_char).collect();
        assert_eq!(all.len(), 256);
    }

    #[test]
    fn the_file_is_the_same_each_time_and_hostile_ones_are_errors() {
        let words = ["b".to_owned(), "a".to_owned(), "b".to_owned()];
        assert_eq!(whole_words(&words), whole_words(&words));
        for bytes in [&b""[..], b"{}", b"\xff\xfe", b"{\"model\": {\"type\": \"BPE\"}}"] {
            assert!(Tokenizer::parse("t", bytes).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn any_text_comes_back(text in "(\\PC|[ \\n\\t\\r]|Ada|book| 14:00|@desk|[0-9:']){0,40}") {
            let tokenizer = tiny();
            prop_assume!(!SPECIALS.iter().any(|special| text.contains(special)));
            let ids = tokenizer.encode(&text).unwrap();
            prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
    }
}
