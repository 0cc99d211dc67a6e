//! GGUF files of the families' decoders: the same bits as from a directory with the same weights.

mod asked;
mod hostile;
mod made;
mod words;

pub use made::{Entry, Made, tokens};

use super::families::{directory, noise, shapes};
use super::training::trained;
use super::*;
use crate::model::local::config::{Family, Shape};
use crate::model::local::decoder::{Decoder, Parameters};
use crate::model::local::ops::Segments;
use crate::model::local::rope::Scaling;
use crate::model::local::weights::{Array, Arrays, layout};
use crate::model::local::{LocalModel, export, files, identity, positions, source};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device as CandleDevice, Tensor};
use std::collections::BTreeMap;

/// The shapes that the format can say: those of Qwen without its windows.
pub fn said() -> Vec<(&'static str, Shape)> {
    let mut all = shapes();
    for (_, shape) in &mut all {
        if matches!(shape.family, Family::Qwen2 | Family::Qwen3) {
            shape.windows.fill(None);
        }
    }
    all
}

/// A file with these weights, of the tokenizer that the directories of the families have.
fn file(shape: &Shape, arrays: &Arrays) -> (TempDir, ModelSpec) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("model.gguf");
    std::fs::write(&path, Made::of(shape, arrays, GgmlDType::F32).bytes()).unwrap();
    (directory, spec(Source::Gguf(path)))
}

/// Weights for the vocabulary that the tests' tokenizer has.
fn worded(shape: &Shape) -> (Shape, Arrays) {
    let shape = Shape { vocab: tokens().len(), ..shape.clone() };
    let arrays = noise(&shape);
    (shape, arrays)
}

fn logits(spec: &ModelSpec, ids: &[u32]) -> Vec<u32> {
    let declared = source::declared(spec).unwrap();
    let arrays = declared.weights(spec).unwrap();
    let decoder = Decoder::new(&declared.shape, Parameters::Frozen(arrays), 64).unwrap();
    let segments = Segments::from_lengths([ids.len()]);
    let positions = segments.positions();
    let hidden = decoder.forward(ids, &decoder.pass(segments, positions, None), None);
    decoder.logits(&hidden, &(0..ids.len()).collect::<Vec<_>>()).iter().map(|logit| logit.to_bits()).collect()
}

#[test]
fn a_file_has_the_bits_of_a_directory_with_its_weights() {
    let ids: Vec<u32> = (0..40u32).map(|i| (i * i * 7 + 3) % 37).collect();
    for (name, shape) in said() {
        let (_directory, listed) = directory(&shape);
        let (shape, arrays) = worded(&shape);
        let (_file, packed) = file(&shape, &arrays);
        let read = source::declared(&packed).unwrap();
        assert!(read.weights(&packed).unwrap() == arrays, "{name}: weights");
        assert_eq!(logits(&packed, &ids), logits(&listed, &ids), "{name}: logits");
        let (one, other) = (LocalModel::open(&listed, None).unwrap(), LocalModel::open(&packed, None).unwrap());
        let requests = requests(&one, 1.0);
        assert_eq!(replies(&one, &requests), replies(&other, &requests), "{name}: replies");
        assert_eq!(positions(packed_path(&packed)).unwrap() as usize, shape.positions, "{name}");
    }
}

fn packed_path(spec: &ModelSpec) -> &Path {
    match &spec.source {
        Source::Gguf(path) => path,
        _ => panic!("a file"),
    }
}

#[test]
fn what_a_file_says_of_its_shape_is_what_is_read() {
    for (name, mut shape) in said() {
        let arrays;
        (shape, arrays) = worded(&shape);
        let (_file, spec) = file(&shape, &arrays);
        let mut read = source::declared(&spec).unwrap().shape;
        // Without a window a Mistral is a Llama.
        if shape.family == Family::Mistral && shape.windows[0].is_none() {
            assert_eq!(std::mem::replace(&mut read.family, Family::Mistral), Family::Llama, "{name}");
        }
        assert_eq!(read, shape, "{name}");
    }
}

#[test]
fn quantised_weights_are_what_their_blocks_say() {
    let (_, plain) = said().remove(0);
    // Rows that blocks of 256 fill.
    let plain =
        Shape { width: 256, ffn: 512, heads: 4, kv_heads: 2, head_dim: 64, layers: 1, windows: vec![None], ..plain };
    let (shape, arrays) = worded(&plain);
    // The largest error of a value, as a share of the largest in its row of the format: one step of its scale and some more.
    let kinds = [
        (GgmlDType::F16, 1e-3),
        (GgmlDType::BF16, 1e-2),
        (GgmlDType::Q8_0, 0.01),
        (GgmlDType::Q6K, 0.04),
        (GgmlDType::Q5_1, 0.05),
        (GgmlDType::Q5_0, 0.08),
        (GgmlDType::Q5K, 0.06),
        (GgmlDType::Q4_1, 0.09),
        (GgmlDType::Q4_0, 0.15),
        (GgmlDType::Q4K, 0.12),
        (GgmlDType::Q3K, 0.3),
        (GgmlDType::Q2K, 0.5),
    ];
    for (kind, share) in kinds {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("model.gguf");
        std::fs::write(&path, Made::of(&shape, &arrays, kind).bytes()).unwrap();
        let packed = spec(Source::Gguf(path.clone()));
        let read = source::declared(&packed).unwrap().weights(&packed).unwrap();
        let largest = |array: &Array| array.floats().iter().fold(0.0f32, |most, value| most.max(value.abs()));
        for (name, array) in &arrays {
            let apart = array
                .floats()
                .into_owned()
                .into_iter()
                .zip(read[name].floats().into_owned())
                .map(|(a, b)| (a - b).abs());
            let apart = apart.fold(0.0, f32::max) / largest(array);
            assert!(apart <= share, "{kind:?} {name}: {apart}");
            assert!(apart > 0.0 || array.shape.len() == 1, "{kind:?} {name}: nothing was lost");
        }
        // A directory of what was read is the same model.
        let out = TempDir::new().unwrap();
        export(&packed, None, out.path(), false).unwrap();
        let listed = spec(Source::Path(out.path().to_owned()));
        let (one, other) = (LocalModel::open(&listed, None).unwrap(), LocalModel::open(&packed, None).unwrap());
        let requests = requests(&one, 1.0);
        assert_eq!(requests[0].prompt, self::requests(&other, 1.0)[0].prompt, "{kind:?}");
        assert_eq!(replies(&one, &requests), replies(&other, &requests), "{kind:?}");
    }
}

#[test]
fn a_file_can_be_trained_rounded_and_exported() {
    let (_, shape) = said().remove(0);
    let (shape, arrays) = worded(&shape);
    let (_directory, listed) = directory(&shape);
    let (_file, packed) = file(&shape, &arrays);
    // Its own words: the directory cuts text in another way.
    let rows = super::training::rows(&packed);
    for lora in [None, Some(lora())] {
        let train = |spec: &ModelSpec| {
            crate::model::local::train(spec, None, &rows, &recipe(lora.clone()), Seed(11), &mut Monitor::default())
        };
        let version = train(&packed).unwrap().weights;
        assert!(version == train(&listed).unwrap().weights, "{lora:?}");
        assert!(version == trained(&packed, None, &recipe(lora.clone())).weights, "{lora:?}");
        let out = TempDir::new().unwrap();
        export(&packed, Some(&version), out.path(), false).unwrap();
        let again = spec(Source::Path(out.path().to_owned()));
        let (one, other) =
            (LocalModel::open(&packed, Some(&version)).unwrap(), LocalModel::open(&again, None).unwrap());
        let requests = requests(&one, 0.0);
        assert_eq!(replies(&one, &requests), replies(&other, &requests), "{lora:?}");
    }
    let half = |spec: &ModelSpec| ModelSpec { dtype: Dtype::Bf16, ..spec.clone() };
    let requests = requests(&LocalModel::open(&packed, None).unwrap(), 1.0);
    let [a, b] = [&listed, &packed].map(|spec| replies(&LocalModel::open(&half(spec), None).unwrap(), &requests));
    assert_eq!(a, b);
}

#[test]
fn a_file_is_known_by_its_contents() {
    let (_, shape) = said().remove(0);
    let (shape, mut arrays) = worded(&shape);
    let (_first, one) = file(&shape, &arrays);
    let (_again, same) = file(&shape, &arrays);
    arrays.values_mut().next().unwrap().floats_mut()[0] += 1.0;
    let (_other, other) = file(&shape, &arrays);
    assert_eq!(identity(&one).unwrap(), identity(&same).unwrap());
    assert_ne!(identity(&one).unwrap(), identity(&other).unwrap());
    assert_ne!(identity(&one).unwrap(), identity(&ModelSpec { dtype: Dtype::Bf16, ..one.clone() }).unwrap());
    assert_eq!(files(&one).unwrap(), [packed_path(&one).to_owned()]);
}
