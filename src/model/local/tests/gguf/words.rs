//! The vocabularies of GGUF files: where text is cut, and what becomes of the pieces.

use super::*;
use crate::model::local::gguf::Gguf;
use crate::model::local::tokenizer::Tokenizer;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

/// Tokens that the models here have room for.
const ROOM: usize = 400;

/// The `tokenizer.json` of a file with this vocabulary.
fn json(change: impl FnOnce(&mut Made)) -> Result<Vec<u8>, String> {
    let (_, shape) = said().remove(0);
    let shape = Shape { vocab: ROOM, ..shape };
    let mut made = Made::of(&shape, &noise(&shape), GgmlDType::F32);
    change(&mut made);
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("model.gguf");
    std::fs::write(&path, made.bytes()).unwrap();
    let (_, texts) = Gguf::open(&path).map_err(|error| error.to_string())?;
    Ok(texts.tokenizer)
}

fn pieces(pre: &str, text: &str) -> Vec<String> {
    let json = json(|made| made.put("tokenizer.ggml.pre", Entry::Text(pre.to_owned()))).unwrap();
    let tokenizer = tokenizers::Tokenizer::from_bytes(json).unwrap();
    let mut pieces = PreTokenizedString::from(text);
    tokenizer.get_pre_tokenizer().unwrap().pre_tokenize(&mut pieces).unwrap();
    let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
    splits.into_iter().map(|(_, (from, to), _)| text[from..to].to_owned()).collect()
}

#[test]
fn text_is_cut_as_each_model_cuts_it() {
    const TEXT: &str = "Hello'Ve I'll 1234\n\n  fooBar!?\n";
    let cut = |pre: &str| pieces(pre, TEXT).join("|");
    assert_eq!(cut("gpt-2"), "Hello|'|Ve| I|'ll| 1234|\n\n | fooBar|!?|\n");
    assert_eq!(cut("smollm"), "Hello|'|Ve| I|'ll| |1|2|3|4|\n\n | fooBar|!?|\n");
    assert_eq!(cut("llama-bpe"), "Hello|'Ve| I|'ll| |123|4|\n\n| | fooBar|!?\n");
    assert_eq!(cut("llama3"), cut("llama-bpe"));
    assert_eq!(cut("qwen2"), "Hello|'Ve| I|'ll| |1|2|3|4|\n\n| | fooBar|!?\n");
    assert_eq!(cut("deepseek-r1-qwen"), cut("qwen2"));
    assert_eq!(cut("tekken"), "Hello|'Ve| I|'ll| |1|2|3|4|\n\n| | foo|Bar|!?\n");
    assert_eq!(cut("default"), "Hello|'|Ve| I|'|ll| |123|4|\n\n | fooBar|!?|\n");
}

#[test]
fn merges_are_tried_in_their_order() {
    let tokens: Vec<String> = tokens().into_iter().chain(["ab", "bc", "abc", "Ġab"].map(str::to_owned)).collect();
    let ids = |merges: [&str; 3], pre: &str| {
        let (_, shape) = said().remove(0);
        let shape = Shape { vocab: tokens.len(), ..shape };
        let mut made = Made::of(&shape, &noise(&shape), GgmlDType::F32);
        made.words("gpt2", &tokens);
        made.put("tokenizer.ggml.pre", Entry::Text(pre.to_owned()));
        made.put("tokenizer.ggml.merges", Entry::Texts(merges.map(str::to_owned).to_vec()));
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("model.gguf");
        std::fs::write(&path, made.bytes()).unwrap();
        let tokenizer = source::declared(&spec(Source::Gguf(path))).unwrap().tokenizer;
        let ids = tokenizer.encode("abc ab").unwrap();
        ids.into_iter().map(|id| tokenizer.token(id).unwrap()).collect::<Vec<_>>().join("|")
    };
    assert_eq!(ids(["a b", "b c", "Ġ ab"], "gpt-2"), "ab|c|Ġab");
    assert_eq!(ids(["b c", "a b", "Ġ ab"], "gpt-2"), "a|bc|Ġab");
    assert_eq!(ids(["b c", "a bc", "a b"], "gpt-2"), "abc|Ġ|ab");
    // Where a whole piece is a token no merge is asked.
    assert_eq!(ids(["b c", "a b", "Ġ ab"], "llama-bpe"), "abc|Ġab");
}

/// SentencePiece's BPE as llama.cpp has it: of all neighbours that are a piece together the one with the best score, the
/// first of equal ones, until there are none.
fn merged(text: &str, score: &BTreeMap<String, f32>) -> Vec<String> {
    let mut parts: Vec<String> = text.chars().map(String::from).collect();
    loop {
        let scored = parts.windows(2).enumerate().filter_map(|(at, pair)| Some((*score.get(&pair.concat())?, at)));
        let best = scored.fold(None, |best: Option<(f32, usize)>, one| match best {
            Some(best) if best.0 >= one.0 => Some(best),
            _ => Some(one),
        });
        let Some((_, at)) = best else { return parts };
        let right = parts.remove(at + 1);
        parts[at] += &right;
    }
}

#[test]
fn pieces_are_joined_by_their_scores() {
    let seed = Seed(21);
    let mut joined = 0;
    for case in 0..40u64 {
        let draw = |at: u64| seed.derive(case).bits(at) as usize;
        let letters = ["▁", "a", "b", "c", "d", "é"];
        let mut all: Vec<String> = letters.map(str::to_owned).to_vec();
        for at in 0..30 {
            let pair = format!("{}{}", all[draw(2 * at) % all.len()], all[draw(2 * at + 1) % all.len()]);
            // In a word with itself the first of two equal joints counts there, the longer left part here.
            let is_mixed = pair.chars().collect::<std::collections::BTreeSet<_>>().len() == pair.chars().count();
            if is_mixed && !all.contains(&pair) {
                all.push(pair);
            }
        }
        let scores: BTreeMap<String, f32> = all
            .iter()
            .enumerate()
            .map(|(at, piece)| (piece.clone(), -(draw(900 + at as u64) as f32 % 65536.0) - at as f32 / 64.0))
            .collect();
        let (tokens, kinds, values) = vocabulary(&all, &scores);
        let json = json(|made| sentencepiece(made, tokens.clone(), kinds, values)).unwrap();
        let tokenizer = Tokenizer::parse("pieces", &json).unwrap();
        let text: String = (0..24).map(|at| [" ", "a", "b", "c", "d", "é"][draw(500 + at) % 6]).collect();
        let wanted = merged(&format!("▁{}", text.replace(' ', "▁")), &scores);
        let ids = tokenizer.encode(&text).unwrap();
        let got: Vec<String> = ids.iter().map(|id| tokenizer.token(*id).unwrap()).collect();
        assert_eq!(got, wanted, "{text:?} {scores:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        joined += text.chars().count() + 1 - got.len();
    }
    assert!(joined > 100, "{joined}");
}

/// Unknown, two special tokens, the bytes, and the pieces.
fn vocabulary(pieces: &[String], scores: &BTreeMap<String, f32>) -> (Vec<String>, Vec<i32>, Vec<f32>) {
    let specials = [("<unk>", 2), ("<s>", 3), ("</s>", 3)].map(|(token, kind)| (token.to_owned(), kind, 0.0));
    let bytes = (0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), 6, 0.0));
    let all = specials.into_iter().chain(bytes).chain(pieces.iter().map(|piece| (piece.clone(), 1, scores[piece])));
    let mut parts = (Vec::new(), Vec::new(), Vec::new());
    for (token, kind, score) in all {
        parts.0.push(token);
        parts.1.push(kind);
        parts.2.push(score);
    }
    parts
}

fn sentencepiece(made: &mut Made, tokens: Vec<String>, kinds: Vec<i32>, scores: Vec<f32>) {
    made.put("tokenizer.ggml.model", Entry::Text("llama".to_owned()));
    made.put("tokenizer.ggml.tokens", Entry::Texts(tokens));
    made.put("tokenizer.ggml.token_type", Entry::Kinds(kinds));
    made.put("tokenizer.ggml.scores", Entry::Reals(scores));
    made.put("tokenizer.ggml.bos_token_id", Entry::Whole(1));
    made.put("tokenizer.ggml.eos_token_id", Entry::Whole(2));
    made.put("tokenizer.ggml.eot_token_id", Entry::Whole(2));
    made.put("tokenizer.ggml.unknown_token_id", Entry::Whole(0));
}

#[test]
fn what_is_no_piece_falls_into_bytes_and_no_text_becomes_a_special_token() {
    let pieces = ["▁", "a", "<", "s", ">", "/"].map(str::to_owned);
    let scores = pieces.iter().map(|piece| (piece.clone(), -1.0)).collect();
    let (tokens, kinds, values) = vocabulary(&pieces, &scores);
    let read = |is_prefixed: bool| {
        let json = json(|made| {
            sentencepiece(made, tokens.clone(), kinds.clone(), values.clone());
            made.put("tokenizer.ggml.add_space_prefix", Entry::Is(is_prefixed));
        });
        Tokenizer::parse("pieces", &json.unwrap()).unwrap()
    };
    let shown = |tokenizer: &Tokenizer, text: &str| {
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text.replace("<s>", ""));
        ids.into_iter().map(|id| tokenizer.token(id).unwrap()).collect::<Vec<_>>().join("|")
    };
    assert_eq!(shown(&read(true), "a ☕\n"), "▁|a|▁|<0xE2>|<0x98>|<0x95>|<0x0A>");
    assert_eq!(shown(&read(false), "a ☕\n"), "a|▁|<0xE2>|<0x98>|<0x95>|<0x0A>");
    assert_eq!(shown(&read(false), "<s>a</s"), "<s>|a|<|/|s");
    let bytes = read(false).bytes();
    assert_eq!(bytes[3 + 0x0A], b"\n");
    assert_eq!(bytes[3 + 256], b" ");
}

#[test]
fn a_vocabulary_that_does_not_fit_together_is_refused_by_its_key() {
    let text = |text: &str| Entry::Text(text.to_owned());
    let texts = |texts: &[&str]| Entry::Texts(texts.iter().map(|text| (*text).to_owned()).collect());
    let cases = [
        ("tokenizer.ggml.model", text("bert"), "`tokenizer.ggml.model` is `bert`; supported: `gpt2`, `llama`"),
        ("tokenizer.ggml.model", Entry::Whole(3), "`tokenizer.ggml.model` is 3, not a text"),
        ("tokenizer.ggml.model", text("llama"), "`tokenizer.ggml.scores` is missing"),
        ("tokenizer.ggml.pre", text("falcon"), "`tokenizer.ggml.pre` is `falcon`; supported: `default`, `gpt-2`,"),
        ("tokenizer.ggml.tokens", texts(&[]), "`tokenizer.ggml.tokens` has 0 tokens"),
        ("tokenizer.ggml.tokens", texts(&["a", "b", "a"]), "`tokenizer.ggml.tokens` has \"a\" twice, as 0 and as 2"),
        ("tokenizer.ggml.tokens", text("a"), "`tokenizer.ggml.tokens` is not the list"),
        ("tokenizer.ggml.tokens", Entry::Kinds(vec![1]), "`tokenizer.ggml.tokens` is not the list that it should be"),
        ("tokenizer.ggml.token_type", Entry::Kinds(vec![1]), "`tokenizer.ggml.token_type` has 1 entries; there are"),
        ("tokenizer.ggml.token_type", text("x"), "`tokenizer.ggml.token_type` is not the list"),
        ("tokenizer.ggml.merges", texts(&["a  b"]), "has \"a  b\" as number 0, not two tokens"),
        ("tokenizer.ggml.merges", texts(&["ab"]), "has \"ab\" as number 0, not two tokens"),
        ("tokenizer.ggml.merges", texts(&["a b"]), "not two tokens that are one together"),
        ("tokenizer.ggml.eos_token_id", Entry::Whole(4096), "`tokenizer.ggml.eos_token_id` is 4096, not one of the"),
        ("tokenizer.ggml.bos_token_id", Entry::Real(-1.0), "`tokenizer.ggml.bos_token_id` is -1.0, not one of the"),
        ("tokenizer.chat_template", Entry::Is(true), "`tokenizer.chat_template` is true, not a text"),
    ];
    for (key, entry, message) in cases {
        let error = json(|made| made.put(key, entry)).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
    for key in ["tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.merges", "tokenizer.chat_template"] {
        let error = json(|made| made.entries.retain(|(other, _)| other != key)).unwrap_err();
        assert!(error.contains(&format!("`{key}` is missing")), "{error}");
    }
    let kinds = Entry::Kinds(tokens().iter().map(|_| 7).collect());
    let error = json(|made| made.put("tokenizer.ggml.token_type", kinds)).unwrap_err();
    assert!(error.contains("has a kind of 7, not one from 1 to 6"), "{error}");
    let more = (0..=ROOM).map(|number| format!("word {number}")).collect();
    let error = json(|made| {
        made.put("tokenizer.ggml.tokens", Entry::Texts(more));
        made.entries.retain(|(key, _)| key != "tokenizer.ggml.token_type");
    });
    let error = error.unwrap_err();
    assert!(error.contains("has 401 tokens; the model has room for 400"), "{error}");
}
