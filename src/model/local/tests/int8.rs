//! Models whose weights are held in eight bits.

use super::exact::{parts, whole};
use super::*;
use crate::model::ModelError;
use crate::model::local::decoder::{Decoder, Parameters};
use crate::model::local::weights::Arrays;
use crate::model::local::{LocalModel, export, identity, lora as adapters, train};

fn int8(spec: &ModelSpec) -> ModelSpec {
    ModelSpec { dtype: Dtype::Int8, ..spec.clone() }
}

fn open(spec: &ModelSpec) -> LocalModel {
    LocalModel::open(spec, None).unwrap()
}

/// As the statement has it, in plain arithmetic: each row its whole numbers times its scale.
fn rounded(arrays: &Arrays) -> Arrays {
    let mut arrays = arrays.clone();
    for array in arrays.values_mut().filter(|array| array.shape.len() == 2) {
        for row in {
            let width = array.shape[1];
            array.floats_mut().chunks_mut(width)
        } {
            let scale = row.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
            row.iter_mut().for_each(|x| *x = (*x / scale).round_ties_even() * scale);
        }
    }
    arrays
}

fn floats(logits: Vec<Vec<u32>>) -> Vec<f32> {
    logits.into_iter().flatten().map(f32::from_bits).collect()
}

/// The root of the mean square difference, in standard deviations of the logits.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let mean = a.iter().map(|a| f64::from(*a)).sum::<f64>() / a.len() as f64;
    let spread = (a.iter().map(|a| (f64::from(*a) - mean).powi(2)).sum::<f64>() / a.len() as f64).sqrt();
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    (a.iter().zip(b).map(square).sum::<f64>() / a.len() as f64).sqrt() / spread
}

/// Of every family: the arithmetic is that of the rounded weights in floats, up to the order of roundings, and not far from that of
/// the weights as they were. Norms and biases are as they were: rounding them, too, would show.
#[test]
fn logits_are_those_of_the_rounded_weights() {
    for (name, shape) in families::shapes() {
        let arrays = families::noise(&shape);
        let decoder = |parameters| Decoder::new(&shape, parameters, 64).unwrap();
        let sequence: Vec<u32> = (0..40u32).map(|at| (at * at * 31 + 3) % shape.vocab as u32).collect();
        let logits = |decoder: Decoder| floats(whole(&decoder, &[&sequence]));
        let exact = logits(decoder(Parameters::Frozen(arrays.clone())));
        let stated = logits(decoder(Parameters::Frozen(rounded(&arrays))));
        let eight = logits(decoder(Parameters::Quantised(arrays)));
        let (near, far) = (distance(&stated, &eight), distance(&exact, &eight));
        assert!(near < 1e-5, "{name}: {near} from the rounded weights");
        assert!(far > 1e-3 && far < 0.1, "{name}: {far} from the weights");
    }
}

#[test]
fn company_and_threads_change_nothing() {
    let (_, shape) = families::shapes().swap_remove(0);
    let decoder = Decoder::new(&shape, Parameters::Quantised(families::noise(&shape)), 64).unwrap();
    let token = |n: usize, at: usize| ((at + n) * 7 % shape.vocab) as u32;
    let sequences: Vec<Vec<u32>> = (0..32).map(|n| (0..12 + n % 5).map(|at| token(n, at)).collect()).collect();
    let borrowed: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let alone: Vec<_> = borrowed.iter().map(|sequence| whole(&decoder, &[sequence]).remove(0)).collect();
    for batch in [7, 32] {
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let together =
                pool.install(|| borrowed.chunks(batch).flat_map(|some| whole(&decoder, some)).collect::<Vec<_>>());
            assert!(together == alone, "{batch} at a time, {threads} threads");
        }
    }
    let directory = tokenizer();
    let spec = int8(&fresh(directory.path()));
    let model = open(&spec);
    let requests = requests(&model, 1.0);
    let together = replies(&model, &requests);
    for (request, reply) in requests.iter().zip(&together) {
        assert_eq!(*reply, replies(&open(&spec), std::slice::from_ref(request))[0]);
    }
    assert_ne!(together, replies(&open(&fresh(directory.path())), &requests), "it is another model than in f32");
}

/// A version is trained on the weights as declared, written as they are, and rounded where it is opened.
#[test]
fn a_version_is_trained_and_written_unrounded() {
    let directory = tokenizer();
    let declared = fresh(directory.path());
    let rows = training::rows(&declared);
    for recipe in [recipe(None), recipe(Some(lora()))] {
        let trained = |spec: &ModelSpec| train(spec, None, &rows, &recipe, Seed(3), &mut Monitor::default()).unwrap();
        let version = trained(&declared).weights;
        assert!(version == trained(&int8(&declared)).weights);
        let out = TempDir::new().unwrap();
        let written = |spec: &ModelSpec, name: &str| {
            let path = out.path().join(name);
            export(spec, Some(&version), &path, false).unwrap();
            path
        };
        let path = written(&int8(&declared), "eight");
        let file = |path: &Path| std::fs::read(path.join("model.safetensors")).unwrap();
        assert!(file(&path) == file(&written(&declared, "single")));
        let one = LocalModel::open(&int8(&declared), Some(&version)).unwrap();
        let requests = requests(&one, 1.0);
        assert_eq!(replies(&one, &requests), replies(&open(&int8(&spec(Source::Path(path)))), &requests));
    }
}

/// Rows of zeros, of one huge weight, and of weights too small for a scale: no reply of them is anything but a reply.
#[test]
fn hostile_rows_make_no_logit_that_is_not_a_number() {
    let directory = tokenizer();
    let (declared, mut arrays) = parts(&fresh(directory.path()));
    for array in arrays.values_mut().filter(|array| array.shape.len() == 2) {
        let width = array.shape[1];
        for (n, row) in array.floats_mut().chunks_mut(width).enumerate() {
            match n % 7 {
                1 => row.fill(0.0),
                2 => row.iter_mut().enumerate().for_each(|(at, x)| *x = f32::from_bits(1 + at as u32)),
                3 => row[0] = 1e4,
                4 => row.fill(-0.0),
                5 => row.iter_mut().for_each(|x| *x *= 1e-38),
                _ => {}
            }
        }
    }
    let decoder = Decoder::new(&declared.shape, Parameters::Quantised(arrays), 64).unwrap();
    let sequence: Vec<u32> = (0..60).collect();
    assert!(floats(whole(&decoder, &[&sequence])).iter().all(|logit| logit.is_finite()));
}

/// A weight that is no finite number is told as in any other precision: by the logits.
#[test]
fn a_weight_that_is_not_finite_is_not_rounded_away() {
    let directory = tokenizer();
    let spec = int8(&fresh(directory.path()));
    let (_, mut arrays) = parts(&spec);
    arrays.get_mut("model.layers.1.mlp.down_proj.weight").unwrap().floats_mut()[45] = f32::NAN;
    let version = adapters::write(&adapters::Version::Full(arrays.clone()));
    // A file cannot hold it: it is refused before.
    assert!(matches!(LocalModel::open(&spec, Some(&version)), Err(ModelError::File { .. })));
    let (declared, _) = parts(&spec);
    let decoder = Decoder::new(&declared.shape, Parameters::Quantised(arrays), 64).unwrap();
    assert!(floats(whole(&decoder, &[&[5, 6, 7]])).iter().any(|logit| logit.is_nan()));
}

#[test]
fn its_name_is_in_the_identity_and_changes_no_other() {
    let directory = tokenizer();
    let spec = fresh(directory.path());
    let of = |dtype| identity(&ModelSpec { dtype, ..spec.clone() }).unwrap();
    let all = [Dtype::F32, Dtype::Bf16, Dtype::F16, Dtype::Int8].map(of);
    for (n, one) in all.iter().enumerate() {
        assert!(!all[n + 1..].contains(one));
    }
    let words = [Dtype::F32, Dtype::Bf16, Dtype::F16, Dtype::Int8].map(|dtype| serde_json::to_string(&dtype).unwrap());
    assert_eq!(words, [r#""f32""#, r#""bf16""#, r#""f16""#, r#""int8""#]);
    assert_eq!(serde_json::from_str::<Dtype>(r#""int8""#).unwrap().as_str(), "int8");
}
