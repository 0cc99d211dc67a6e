//! What agx makes of the files of `tests/gguf`, which llama.cpp reads as well.

use super::*;
use crate::model::local::weights::serialize;
use serde_json::{Value, json};

const GREEDY: usize = 24;

#[expect(clippy::disallowed_methods, reason = "a script says where its files are")]
fn place() -> std::path::PathBuf {
    std::env::var_os("AGX_GGUF").expect("`tests/gguf` sets AGX_GGUF to a directory").into()
}

#[test]
#[ignore = "tests/gguf makes its files, and reads what is said of them"]
fn says_what_llama_cpp_is_held_against() {
    let asked: Value = serde_json::from_slice(&std::fs::read(place().join("asked.json")).unwrap()).unwrap();
    for (name, asked) in asked.as_object().unwrap() {
        let spec = ModelSpec { context: 256, ..spec(Source::Gguf(place().join(name))) };
        let declared = source::declared(&spec).unwrap();
        let texts = asked["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
        let ids: Vec<Vec<u32>> = texts.map(|text| declared.tokenizer.encode(text).unwrap()).collect();
        let texts: Vec<String> = ids.iter().map(|ids| declared.tokenizer.decode(ids).unwrap()).collect();
        let arrays = declared.weights(&spec).unwrap();
        let decoder = Decoder::new(&declared.shape, Parameters::Frozen(arrays.clone()), 256).unwrap();
        let last = |ids: &[u32]| {
            let segments = Segments::from_lengths([ids.len()]);
            let positions = segments.positions();
            let hidden = decoder.forward(ids, &decoder.pass(segments, positions, None), None);
            decoder.logits(&hidden, &[ids.len() - 1]).to_vec()
        };
        let mut row: Vec<u32> = serde_json::from_value(asked["prompt"].clone()).unwrap();
        let (logits, prompt) = (last(&row), row.len());
        for _ in 0..GREEDY {
            let logits = last(&row);
            row.push((0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32);
        }
        let said = json!({ "ids": ids, "texts": texts, "logits": logits, "greedy": row[prompt..] });
        std::fs::write(place().join(format!("{name}.json")), said.to_string()).unwrap();
        let bytes = serialize(&arrays, &BTreeMap::new(), Dtype::F32);
        std::fs::write(place().join(format!("{name}.safetensors")), bytes).unwrap();
    }
}
