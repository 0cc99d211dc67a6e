//! Model directories that are wrong: one clear error each, never a panic.

use super::*;
use crate::model::ModelError;
use crate::model::local::{LocalModel, export, export_adapter, files, identity, look};
use std::path::PathBuf;

/// A whole model directory, exported from a fresh model.
fn exported(half: bool) -> (TempDir, PathBuf) {
    let directory = tokenizer();
    let path = directory.path().join("model");
    export(&fresh(directory.path()), None, &path, half).unwrap();
    (directory, path)
}

fn open(path: &Path) -> Result<LocalModel, ModelError> {
    LocalModel::open(&spec(Source::Path(path.to_owned())), None)
}

fn problem(path: &Path) -> String {
    open(path).err().expect("a wrong directory opened").to_string()
}

#[test]
fn an_exported_model_says_what_the_original_says() {
    let (directory, path) = exported(false);
    let original = LocalModel::open(&fresh(directory.path()), None).unwrap();
    let copy = open(&path).unwrap();
    let requests = requests(&original, 1.0);
    assert_eq!(replies(&original, &requests), replies(&copy, &requests));
    // In bf16 it is another model, the one that the original is when declared in bf16.
    let (directory, path) = exported(true);
    let copy = open(&path).unwrap();
    let rounded = ModelSpec { dtype: Dtype::Bf16, ..fresh(directory.path()) };
    assert_eq!(replies(&LocalModel::open(&rounded, None).unwrap(), &requests), replies(&copy, &requests));
    assert_ne!(replies(&original, &requests), replies(&copy, &requests));
}

#[test]
fn weights_may_lie_in_shards() {
    let (_directory, path) = exported(false);
    let whole = identity(&spec(Source::Path(path.clone()))).unwrap();
    let (mut first, _) =
        crate::model::local::weights::parse("w", &std::fs::read(path.join("model.safetensors")).unwrap()).unwrap();
    let second = first.split_off("model.layers.1");
    let mut map = serde_json::Map::new();
    for (file, arrays) in [("model-1.safetensors", first), ("model-2.safetensors", second)] {
        map.extend(arrays.keys().map(|name| (name.clone(), file.into())));
        let bytes = crate::model::local::weights::serialize(&arrays, &Default::default(), Dtype::F32);
        std::fs::write(path.join(file), bytes).unwrap();
    }
    let original = replies(&open(&path).unwrap(), &requests(&open(&path).unwrap(), 1.0));
    std::fs::remove_file(path.join("model.safetensors")).unwrap();
    let index = path.join("model.safetensors.index.json");
    std::fs::write(&index, serde_json::json!({"weight_map": map}).to_string()).unwrap();
    let sharded = open(&path).unwrap();
    assert_eq!(replies(&sharded, &requests(&sharded, 1.0)), original);
    assert_ne!(identity(&spec(Source::Path(path.clone()))).unwrap(), whole);

    std::fs::remove_file(path.join("model-2.safetensors")).unwrap();
    assert!(problem(&path).contains("model-2.safetensors: cannot be read"), "{}", problem(&path));
    for (text, message) in [
        (r#"{"weight_map": {"a": "../../etc/passwd"}}"#, "not to a file here"),
        (r#"{"weight_map": 3}"#, "has no object `weight_map`"),
        ("{", "is not JSON"),
        (
            r#"{"weight_map": {"a": "model-1.safetensors"}}"#,
            "tensor `model.layers.1.input_layernorm.weight` is missing",
        ),
    ] {
        std::fs::write(&index, text).unwrap();
        assert!(problem(&path).contains(message), "{}", problem(&path));
    }
}

#[test]
fn broken_weights_name_the_file_and_the_tensor() {
    let (_directory, path) = exported(false);
    let file = path.join("model.safetensors");
    let good = std::fs::read(&file).unwrap();
    let header_end = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(good[8..header_end].to_vec()).unwrap();
    let with_header = |header: &str| {
        let padded = format!("{header:width$}", width = header.len().next_multiple_of(8));
        [&(padded.len() as u64).to_le_bytes()[..], padded.as_bytes(), &good[header_end..]].concat()
    };
    let mut infinite = good.clone();
    infinite[header_end..header_end + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let norm = r#""model.norm.weight":{"data_offsets""#;
    assert!(header.contains(norm) && header.contains("[24]"), "{header}");
    let cases = [
        (Vec::new(), "is not a whole safetensors file"),
        (good[..7].to_vec(), "is not a whole safetensors file"),
        (good[..header_end / 2].to_vec(), "is not a whole safetensors file"),
        (good[..good.len() - 1].to_vec(), "is not a whole safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n".to_vec(), "is not a whole"),
        ([&u64::MAX.to_le_bytes()[..], &good[8..]].concat(), "is not a whole safetensors file"),
        (with_header("{}"), "is not a whole safetensors file"),
        (with_header(&header.replace("[24]", "[9223372036854775807,9]")), "is not a whole safetensors file"),
        (with_header(&header.replace("[24]", "[23]")), "is not a whole safetensors file"),
        (
            with_header(&header.replace("[24]", "[12,2]")),
            "tensor `model.layers.0.input_layernorm.weight` has the shape",
        ),
        (with_header(&header.replace("F32", "I32")), "has the type I32"),
        (with_header(&header.replace("model.norm", "model.gnome")), "tensor `model.norm.weight` is missing"),
        (infinite, "tensor `model.embed_tokens.weight` holds a value that is not finite"),
    ];
    for (bytes, message) in cases {
        std::fs::write(&file, bytes).unwrap();
        let problem = problem(&path);
        assert!(problem.contains(message), "{problem} (wanted: {message})");
        // All but a number itself is found before anything runs.
        let early = identity(&spec(Source::Path(path.clone()))).is_err();
        assert_eq!(early, !message.contains("not finite"), "{message}");
        assert!(problem.contains("model"), "{problem}");
    }
    let (mut arrays, _) = crate::model::local::weights::parse("w", &good).unwrap();
    arrays.insert("model.layers.0.self_attn.q_norm.weight".into(), arrays["model.norm.weight"].clone());
    std::fs::write(&file, crate::model::local::weights::serialize(&arrays, &Default::default(), Dtype::F32)).unwrap();
    assert!(problem(&path).contains("q_norm.weight` has no place in this architecture"));
    std::fs::remove_file(&file).unwrap();
    assert!(problem(&path).contains("has neither `model.safetensors` nor"));
    std::fs::create_dir(&file).unwrap();
    assert!(problem(&path).contains("cannot be read"));
}

#[test]
fn other_files_of_the_directory_are_named_too() {
    let cases: [(&str, &[u8], &str); 9] = [
        ("config.json", b"\xff\xfe", "is not UTF-8 text"),
        ("config.json", b"{}", "`model_type` is missing"),
        ("tokenizer.json", b"{}", "is not a tokenizer.json"),
        ("tokenizer_config.json", b"[", "is not JSON"),
        ("tokenizer_config.json", b"{}", "has no `chat_template`"),
        ("tokenizer_config.json", br#"{"chat_template": [{"name": "rag", "template": ""}]}"#, "named `default`"),
        (
            "tokenizer_config.json",
            br#"{"chat_template": "{% if %}", "eos_token": "<|end|>"}"#,
            "the chat template failed",
        ),
        ("chat_template.jinja", b"{{", "the chat template failed"),
        ("chat_template.jinja", b"{{ raise_exception('never') }}", "the chat template failed: never"),
    ];
    let (_directory, path) = exported(false);
    let config = std::fs::read_to_string(path.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["eos_token_id"] = serde_json::json!(999_999);
    std::fs::write(path.join("config.json"), config.to_string()).unwrap();
    assert!(problem(&path).contains("`eos_token_id` is 999999, outside the vocabulary"), "{}", problem(&path));
    for (file, bytes, message) in cases {
        let (_directory, path) = exported(false);
        std::fs::write(path.join(file), bytes).unwrap();
        assert!(problem(&path).contains(message), "{}", problem(&path));
        if file != "chat_template.jinja" {
            std::fs::remove_file(path.join(file)).unwrap();
            assert!(problem(&path).contains(&format!("{file}: cannot be read")), "{}", problem(&path));
        }
    }
    let nowhere = Path::new("/nowhere/at/all");
    assert!(problem(nowhere).contains("/nowhere/at/all/tokenizer.json: cannot be read"));
}

#[test]
fn a_spec_that_asks_too_much_is_refused() {
    let (directory, path) = exported(false);
    let base = spec(Source::Path(path));
    let problem = |spec: &ModelSpec| LocalModel::open(spec, None).err().unwrap().to_string();
    assert!(problem(&ModelSpec { context: 65, ..base.clone() }).contains("`max_position_embeddings` is 64"));
    assert!(problem(&ModelSpec { context: 0, ..base.clone() }).contains("`context` is 0"));
    assert!(problem(&ModelSpec { context: u32::MAX, ..base.clone() }).contains("`context` is 4294967295"));
    let metal = ModelSpec { device: Device::Metal, ..base.clone() };
    assert!(look(&metal).unwrap_err().to_string().contains("no metal support"));
    let fresh = fresh(directory.path());
    let Source::Fresh(shape) = &fresh.source else { unreachable!() };
    for (changed, message) in [
        (Fresh { heads: 0, ..shape.clone() }, "`num_attention_heads` is 0"),
        (Fresh { heads: 5, ..shape.clone() }, "heads"),
        (Fresh { heads: 24, kv_heads: 24, ..shape.clone() }, "`head_dim` is 1"),
        (Fresh { kv_heads: 3, ..shape.clone() }, "`num_key_value_heads` is 3"),
        (Fresh { layers: 0, ..shape.clone() }, "`num_hidden_layers` is 0"),
        (Fresh { width: 1 << 20, heads: 1 << 10, kv_heads: 1, ..shape.clone() }, "`width` is 1048576"),
    ] {
        let problem = problem(&ModelSpec { source: Source::Fresh(changed), ..fresh.clone() });
        assert!(problem.contains(message), "{problem}");
    }
}

#[test]
fn a_version_that_does_not_fit_is_refused() {
    let directory = tokenizer();
    let spec = fresh(directory.path());
    let problem = |bytes: &[u8]| LocalModel::open(&spec, Some(bytes)).err().unwrap().to_string();
    assert!(problem(b"").contains("trained weights: is not a whole safetensors file"));
    let arrays = |names: &[(&str, &[usize])]| {
        let array = |dims: &[usize]| super::super::weights::Array::new(dims, vec![0.5; dims.iter().product()]);
        let all = names.iter().map(|(name, dims)| ((*name).to_owned(), array(dims))).collect();
        super::super::weights::serialize(&all, &Default::default(), Dtype::F32)
    };
    let (a, b) = (
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight",
    );
    assert!(problem(&arrays(&[])).contains("tensor `model.embed_tokens.weight` is missing"));
    assert!(problem(&arrays(&[(a, &[2, 24]), (b, &[24, 2])])).contains("does not say its alpha"));
    let with = ModelSpec { lora: Some(lora()), ..spec.clone() };
    let problem = |bytes: &[u8]| LocalModel::open(&with, Some(bytes)).err().map(|error| error.to_string());
    assert_eq!(problem(&arrays(&[(a, &[2, 24]), (b, &[24, 2])])), None);
    let wrong = |names: &[(&str, &[usize])]| problem(&arrays(names)).unwrap();
    assert!(wrong(&[(a, &[2, 24])]).contains("lora_B.weight` is missing"));
    assert!(wrong(&[(a, &[2, 25]), (b, &[24, 2])]).contains("has the shapes [2, 25] and [24, 2]"));
    assert!(wrong(&[(a, &[2, 24]), (b, &[24, 3])]).contains("has the shapes"));
    assert!(wrong(&[(a, &[48]), (b, &[24, 2])]).contains("is not two matrices"));
    assert!(wrong(&[(b, &[24, 2])]).contains("lora_A.weight` is missing"));
    assert!(
        wrong(&[(&a.replace("layers.0", "layers.9"), &[2, 24]), (&b.replace("layers.0", "layers.9"), &[24, 2])])
            .contains("no module `model.layers.9.self_attn.q_proj`")
    );
    assert!(wrong(&[(a, &[2, 24]), ("model.norm.weight", &[24])]).contains("neither LoRA's A nor its B"));
}

/// PEFT finds its own names and its own fields; the weights are those that were trained, byte for byte.
#[test]
fn an_adapter_is_exported_as_peft_has_it() {
    let directory = tokenizer();
    let spec = ModelSpec { lora: Some(lora()), ..fresh(directory.path()) };
    let model = LocalModel::open(&spec, None).unwrap();
    let rows: Vec<_> = dialogues().iter().map(|dialogue| model.encode_row(dialogue).unwrap()).collect();
    let config = TrainConfig { epochs: 1, ..recipe(Some(lora())) };
    let trained = super::super::train(&spec, None, &rows, &config, Seed(1), &mut Monitor::default()).unwrap();
    let to = directory.path().join("adapter");
    export_adapter(&spec, &trained.weights, &to).unwrap();
    assert!(std::fs::read(to.join("adapter_model.safetensors")).unwrap() == trained.weights);
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(to.join("adapter_config.json")).unwrap()).unwrap();
    insta::assert_json_snapshot!(config);
    let (arrays, _) = super::super::weights::parse("adapter", &trained.weights).unwrap();
    let a = &arrays["base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"];
    assert_eq!(a.shape, [3, 40]);

    let full = TrainConfig { epochs: 1, ..recipe(None) };
    let spec = fresh(directory.path());
    let trained = super::super::train(&spec, None, &rows, &full, Seed(1), &mut Monitor::default()).unwrap();
    let refused = export_adapter(&spec, &trained.weights, &directory.path().join("none"));
    assert!(matches!(refused, Err(ModelError::NoAdapter)) && !directory.path().join("none").exists());
}

/// What is packed with a run is what its identity reads: with nothing else beside them the files are the same model.
#[test]
fn the_files_of_a_model_are_all_that_it_needs() {
    let (_directory, path) = exported(false);
    std::fs::write(path.join("training_args.bin"), "somebody's own").unwrap();
    let spec = spec(Source::Path(path));
    let found = files(&spec).unwrap();
    let elsewhere = TempDir::new().unwrap();
    for file in &found {
        std::fs::copy(file, elsewhere.path().join(file.file_name().unwrap())).unwrap();
    }
    assert!(!elsewhere.path().join("training_args.bin").exists());
    let there = ModelSpec { source: Source::Path(elsewhere.path().to_owned()), ..spec.clone() };
    assert_eq!(identity(&there).unwrap(), identity(&spec).unwrap());
}

#[test]
fn a_directory_that_is_no_plain_adapter_says_why() {
    let directory = tokenizer();
    let base = fresh(directory.path());
    let to = directory.path().join("adapter");
    let learned = super::training::trained(&base, None, &recipe(Some(lora()))).weights;
    export_adapter(&ModelSpec { lora: Some(lora()), ..base.clone() }, &learned, &to).unwrap();
    let over = ModelSpec { adapter: Some(to.clone()), ..base.clone() };
    let (plain, adapted) = (LocalModel::open(&base, None).unwrap(), LocalModel::open(&over, None).unwrap());
    let asked = requests(&plain, 1.0);
    assert_ne!(replies(&plain, &asked), replies(&adapted, &asked));
    let trained = LocalModel::open(&base, Some(&learned)).unwrap();
    assert_eq!(replies(&trained, &asked), replies(&adapted, &asked), "the version that it was");
    let [was, is] = [&base, &over].map(|spec| identity(spec).unwrap());
    assert_ne!(was, is);
    assert_eq!(files(&over).unwrap().len(), files(&base).unwrap().len() + 2);

    let [description, matrices] = crate::model::local::peft::files(&to);
    let whole: serde_json::Value = serde_json::from_slice(&std::fs::read(&description).unwrap()).unwrap();
    let wrong = |field: &str, value: serde_json::Value, message: &str| {
        let mut changed = whole.clone();
        changed[field] = value;
        std::fs::write(&description, changed.to_string()).unwrap();
        // Before anything runs.
        let problem = identity(&over).unwrap_err().to_string();
        assert!(problem.contains(&format!("adapter_config.json: `{field}` {message}")), "{problem}");
    };
    use serde_json::json;
    wrong("peft_type", json!("IA3"), "is \"IA3\"; supported: \"LORA\"");
    wrong("peft_type", json!(null), "is null");
    wrong("use_dora", json!(true), "is true; supported: false");
    wrong("rank_pattern", json!({"q_proj": 8}), "is {\"q_proj\":8}");
    wrong("modules_to_save", json!(["lm_head"]), "is [\"lm_head\"]");
    wrong("init_lora_weights", json!("pissa_niter_4"), "is \"pissa_niter_4\"; supported: true");
    wrong("use_rslora", json!("yes"), "is \"yes\", neither true nor false");
    wrong("r", json!(0), "is 0, not from 1 to 4096");
    wrong("r", json!(-3), "is -3");
    wrong("lora_alpha", json!(0), "is 0");
    wrong("lora_alpha", json!("8"), "is \"8\"");
    let problem = |text: &str, bytes: &[u8]| {
        std::fs::write(&description, text).unwrap();
        std::fs::write(&matrices, bytes).unwrap();
        identity(&over).unwrap_err().to_string()
    };
    let whole = whole.to_string();
    assert!(problem("[", &learned).contains("adapter_config.json: is not JSON"));
    assert!(problem(&whole, &learned[..99]).contains("is not a whole safetensors file"));
    assert!(problem(&whole.replace("\"r\":3", "\"r\":4"), &learned).contains("has the rank 3; the description says 4"));
    let full = super::training::trained(&base, None, &recipe(None)).weights;
    assert!(problem(&whole, &full).contains("neither LoRA's A nor its B"));
    let again =
        export_adapter(&ModelSpec { lora: Some(lora()), ..over.clone() }, &learned, &directory.path().join("none"));
    assert!(matches!(again, Err(ModelError::OverAdapter)), "PEFT would read it over another base");
    std::fs::remove_file(&matrices).unwrap();
    assert!(identity(&over).unwrap_err().to_string().contains("adapter_model.safetensors: cannot be read"));
}

#[test]
fn weights_that_overflow_are_an_error_and_no_reply() {
    let (_directory, path) = exported(false);
    let file = path.join("model.safetensors");
    let (mut arrays, _) = crate::model::local::weights::parse("w", &std::fs::read(&file).unwrap()).unwrap();
    let large = arrays.get_mut("model.layers.0.mlp.up_proj.weight").unwrap();
    large.floats_mut().iter_mut().for_each(|value| *value = value.signum() * 3e38);
    std::fs::write(&file, crate::model::local::weights::serialize(&arrays, &Default::default(), Dtype::F32)).unwrap();
    let model = open(&path).unwrap();
    for temperature in [0.0, 1.0] {
        let replies = model.generate(&requests(&model, temperature));
        assert!(
            replies.iter().all(|reply| reply.as_ref().is_err_and(|it| it.to_string().contains("no finite numbers")))
        );
    }
}
