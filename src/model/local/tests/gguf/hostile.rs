//! GGUF files that are wrong: one clear error each, never a panic, and no room made for what is not there.

use super::*;
use proptest::prelude::*;

/// A decoder of one layer.
fn small() -> Made {
    let (_, shape) = said().remove(0);
    let (shape, _) = worded(&Shape { layers: 1, windows: vec![None], ..shape });
    Made::of(&shape, &noise(&shape), GgmlDType::F32)
}

fn opened(bytes: &[u8]) -> Result<LocalModel, String> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    LocalModel::open(&spec(Source::Gguf(path)), None).map_err(|error| error.to_string())
}

fn problem(made: &Made) -> String {
    opened(&made.bytes()).err().expect("a wrong file opened")
}

#[test]
fn a_file_that_ends_early_is_not_whole() {
    let whole = small().bytes();
    assert!(opened(&whole).is_ok());
    let lengths = (0..400).chain((400..whole.len()).step_by(499)).chain([whole.len() - 1]);
    for length in lengths {
        let error = opened(&whole[..length]).err().expect("a part of a file opened");
        assert!(error.contains("is not a whole GGUF file"), "{length}: {error}");
    }
    assert!(opened(b"GGML").err().unwrap().contains("is not a GGUF file"));
    assert!(opened(b"").err().unwrap().contains("is not a whole GGUF file"));
}

#[test]
fn counts_and_lengths_that_lie_are_found() {
    let whole = small().bytes();
    let with = |at: usize, value: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        opened(&bytes).err().expect("a file that lies opened")
    };
    let huge = (1u64 << 60).to_le_bytes();
    let ends = "it ends, or goes on for too long, before its tensors begin";
    for lie in [huge, u64::MAX.to_le_bytes(), (1u64 << 31).to_le_bytes()] {
        // Of tensors and of entries: what comes behind those that are there is none.
        with(8, &lie);
        with(16, &lie);
        assert!(with(24, &lie).contains(ends), "the first key's length");
    }
    // A list's length: after its key, the two kinds.
    let key = b"tokenizer.ggml.tokens";
    let at = whole.windows(key.len()).position(|part| part == key).unwrap() + key.len();
    let error = with(at + 8, &huge);
    assert!(error.contains(ends) || error.contains("is not UTF-8"), "{error}");
    assert!(with(at + 4, &9u32.to_le_bytes()).contains("is a list of values of the kind 9"));
    assert!(with(at, &77u32.to_le_bytes()).contains("is a value of the kind 77"));
    assert!(with(4, &1u32.to_le_bytes()).contains("is GGUF of version 1; supported: 2, 3"));
    assert!(with(4, &3u32.to_be_bytes()).contains("version 50331648"));
}

#[test]
fn tensors_that_cannot_be_are_refused_by_name() {
    let with = |change: &dyn Fn(&mut Made)| {
        let mut made = small();
        change(&mut made);
        problem(&made)
    };
    let named = |made: &mut Made, name: &str| made.tensors.iter().position(|part| part.name == name).unwrap();
    let query = "blk.0.attn_q.weight";
    let part = |change: &dyn Fn(&mut made::Part)| {
        with(&|made| {
            let at = named(made, query);
            change(&mut made.tensors[at]);
        })
    };
    let cases = [
        (part(&|part| part.dims = vec![1 << 40, 24]), "tensor `blk.0.attn_q.weight` has a dimension of 1099511627776"),
        (part(&|part| part.dims = vec![1 << 30; 4]), "tensor `blk.0.attn_q.weight` has more values than there are"),
        (part(&|part| part.dims = vec![0, 24]), "has a dimension of 0"),
        (part(&|part| part.dims = vec![1; 5]), "has 5 dimensions"),
        (part(&|part| part.dims = vec![24, 23]), "has the shape [24, 23]; the config asks for [24, 24]"),
        (part(&|part| part.kind = 20), "has the type IQ4_NL; supported: F32, F16, BF16, Q4_0"),
        (part(&|part| part.kind = 9), "has the type Q8_1; supported:"),
        (part(&|part| part.kind = 1000), "has the type number 1000; supported:"),
        (part(&|part| part.kind = 8), "has rows of 24, which blocks of 32 do not fill"),
        (part(&|part| part.offset = Some(u64::MAX)), "tensor `blk.0.attn_q.weight` would end behind its"),
        (part(&|part| part.offset = Some(1 << 40)), "tensor `blk.0.attn_q.weight` would end behind its"),
        (part(&|part| part.offset = Some(0)), "lies over"),
        (part(&|part| part.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes())), "holds a value that is not finite"),
        (part(&|part| part.name = "blk.0.attn_qkv.weight".into()), "tensor `blk.0.attn_q.weight` is missing"),
        (part(&|part| part.name = "token_embd.weight".into()), "has the tensor `token_embd.weight` twice"),
        (with(&|made| made.tensors.clear()), "is missing"),
        (
            with(&|made| made.part("blk.0.ffn_gate_inp.weight", &[24, 24], GgmlDType::F32, &[0.0; 576])),
            "tensor `blk.0.ffn_gate_inp.weight` has no place in this architecture",
        ),
        (
            with(&|made| made.part("rope_freqs.weight", &[3], GgmlDType::F32, &[1.0, 2.0, 1.5])),
            "tensor `rope_freqs.weight` is no scaling as Llama 3.1 has it",
        ),
        (
            with(&|made| made.part("rope_freqs.weight", &[4], GgmlDType::F32, &[1.0; 4])),
            "tensor `rope_freqs.weight` has 4 values; a head has 3 pairs",
        ),
    ];
    for (error, message) in cases {
        assert!(error.contains(message), "{error}\nnot {message}");
    }
}

#[test]
fn metadata_that_is_not_understood_is_refused_by_its_key() {
    let text = |text: &str| Entry::Text(text.to_owned());
    let cases = [
        (
            "general.architecture",
            text("gemma3"),
            "`general.architecture` is `gemma3`; supported: `llama`, `qwen2`, `qwen3`",
        ),
        ("general.architecture", Entry::Is(true), "`general.architecture` is true, not a text"),
        ("general.alignment", Entry::Whole(0), "`general.alignment` is 0, not a power of two"),
        ("general.alignment", Entry::Whole(48), "`general.alignment` is 48, not a power of two"),
        ("split.count", Entry::Whole(3), "`split.count` is 3"),
        ("llama.block_count", Entry::Whole(0), "`llama.block_count` is 0, not a whole number from 1"),
        ("llama.block_count", Entry::Whole(100_000), "`llama.block_count` is 100000; at most 1024"),
        ("llama.block_count", Entry::Real(1.0), "`llama.block_count` is 1.0, not a whole number"),
        ("llama.block_count", Entry::Kinds(vec![1]), "`llama.block_count` is \"a list\", not a whole number"),
        ("llama.embedding_length", text("wide"), "`llama.embedding_length` is \"wide\", not a whole number"),
        (
            "llama.attention.head_count_kv",
            Entry::Whole(3),
            "`llama.attention.head_count_kv` is 3, which does not divide",
        ),
        ("llama.attention.key_length", Entry::Whole(7), "is 6; supported: 7, the size of a head"),
        ("llama.attention.value_length", Entry::Whole(8), "`llama.attention.value_length` is 8; supported: 6"),
        ("llama.rope.dimension_count", Entry::Whole(4), "`llama.rope.dimension_count` is 4; supported: 6"),
        ("llama.rope.freq_base", Entry::Real(f32::NAN), "`llama.rope.freq_base` is \"NaN\", not a positive number"),
        ("llama.rope.freq_base", Entry::Real(-1.0), "`llama.rope.freq_base` is -1.0, not a positive number"),
        ("llama.attention.layer_norm_rms_epsilon", Entry::Real(f32::INFINITY), "_epsilon` is \"inf\", not a positive"),
        ("llama.rope.scaling.type", text("longrope"), "`llama.rope.scaling.type` is `longrope`; supported: `none`,"),
        ("llama.rope.scaling.type", text("yarn"), "`llama.rope.scaling.factor` is missing"),
        ("llama.rope.scaling.factor", Entry::Real(0.0), "`llama.rope.scaling.factor` is 0.0, not a positive number"),
        ("llama.expert_count", Entry::Whole(8), "`llama.expert_count` is 8, which is not understood"),
        ("llama.logit_scale", Entry::Real(0.5), "`llama.logit_scale` is 0.5, which is not understood"),
        ("llama.attention.causal", Entry::Is(false), "`llama.attention.causal` is false, which is not understood"),
        ("llama.attention.causal", Entry::Is(true), "no error"),
        (
            "llama.context_length",
            Entry::Whole(32),
            "`llama.context_length` is 32, less than the declared context of 64",
        ),
        ("llama.vocab_size", Entry::Whole(1), "no error"),
        ("llama.expert_count", Entry::Whole(0), "no error"),
    ];
    for (key, entry, message) in cases {
        let mut made = small();
        made.put(key, entry);
        let error = opened(&made.bytes()).err().unwrap_or_else(|| "no error".to_owned());
        assert!(error.contains(message), "{key}: {error}\nnot {message}");
    }
    for key in ["general.architecture", "llama.block_count", "llama.context_length", "llama.attention.head_count"] {
        let mut made = small();
        made.entries.retain(|(other, _)| other != key);
        assert!(problem(&made).contains(&format!("`{key}` is missing")), "{}", problem(&made));
    }
    let mut twice = small();
    twice.entries.push(twice.entries[0].clone());
    assert!(problem(&twice).contains("has `general.architecture` twice"));
}

#[test]
fn a_file_that_is_none_says_so() {
    let directory = TempDir::new().unwrap();
    let error = |path: &Path| LocalModel::open(&spec(Source::Gguf(path.to_owned())), None).err().unwrap().to_string();
    assert!(error(&directory.path().join("none.gguf")).contains("cannot be read"));
    assert!(error(directory.path()).contains("is not a regular file"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// Whatever the bytes are, a file is opened or refused.
    #[test]
    fn spoilt_bytes_never_panic(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), header in any::<bool>()) {
        let mut bytes = small().bytes();
        let data = bytes.windows(10).rposition(|part| part == b"ffn_up.wei").unwrap_or(bytes.len());
        let most = if header { data } else { bytes.len() };
        for (place, value) in places {
            bytes[place.index(most)] = value;
        }
        let _ = opened(&bytes);
    }
}
