//! What training does, and that nothing disturbs it.

use super::*;
use crate::model::local::decoder::{Decoder, Parameters, tensor};
use crate::model::local::ops::{Dropout, Goal, Segments};
use crate::model::local::train::variables;
use crate::model::local::weights::{Array, Arrays};
use crate::model::local::{LocalModel, export, fresh as fresh_weights, identity, lora as adapters, source, train};
use crate::model::{ModelError, TrainRow, Trained};
use candle_core::Var;
use std::collections::BTreeMap;

pub(super) fn rows(spec: &ModelSpec) -> Vec<TrainRow> {
    let model = LocalModel::open(spec, None).unwrap();
    dialogues().iter().map(|dialogue| model.encode_row(dialogue).unwrap()).collect()
}

pub(super) fn trained(spec: &ModelSpec, start: Option<&[u8]>, config: &TrainConfig) -> Trained {
    train(spec, start, &rows(spec), config, Seed(11), &mut Monitor::default()).unwrap()
}

/// The loss of a row in two segments; its gradients collect.
fn loss(decoder: &Decoder, row: &TrainRow, dropout: Option<&Dropout>) -> f64 {
    let count = row.tokens.len() - 1;
    let segments = Segments::from_lengths([count / 3, count - count / 3]);
    let positions = segments.positions();
    let weights: Vec<f32> = row.learn[1..].iter().map(|learn| f32::from(u8::from(*learn))).collect();
    let goal = Goal::new(&row.tokens[1..], &weights, weights.iter().map(|weight| f64::from(*weight)).sum()).unwrap();
    decoder.learn(&row.tokens[..count], &decoder.pass(segments, positions, dropout.cloned()), &goal, false).unwrap()
}

/// Holds each variable's gradient against the loss's change along it.
pub(super) fn differentiate(
    what: &str,
    variables: &BTreeMap<String, Var>,
    decoder: &Decoder,
    row: &TrainRow,
    dropout: Option<&Dropout>,
) {
    loss(decoder, row, dropout);
    let gradients = decoder.gradients(variables).unwrap();
    for (name, variable) in variables {
        let gradient = gradients.get(name).unwrap();
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-4, "{what}: {name}: the gradient is only {norm}");
        let before = variable.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let step = 4e-3;
        let at = |sign: f64| {
            let move_by = |(value, g): (&f32, &f32)| (f64::from(*value) + sign * step * f64::from(*g) / norm) as f32;
            let moved = before.iter().zip(gradient).map(move_by).collect();
            variable.set(&tensor(&Array::new(variable.dims(), moved)).unwrap()).unwrap();
            loss(decoder, row, dropout)
        };
        let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
        variable.set(&tensor(&Array::new(variable.dims(), before.clone())).unwrap()).unwrap();
        assert!((slope - norm).abs() < 0.02 * norm + 2e-4, "{what}: {name}: slope {slope}, gradient {norm}");
    }
    // Those of the last slopes.
    decoder.gradients(variables).unwrap();
}

/// Weights large enough that every part of the model matters.
fn loud(spec: &ModelSpec) -> (source::Declared, Arrays) {
    let declared = source::declared(spec).unwrap();
    let mut arrays = declared.weights(spec).unwrap();
    for (name, array) in &mut arrays {
        let noise = fresh_weights::normal(Seed(1).derive(&**name), array.len(), 0.3);
        array.floats_mut().iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
    }
    (declared, arrays)
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    let tokenizer = tokenizer();
    let spec = fresh(tokenizer.path());
    let (declared, arrays) = loud(&spec);
    let row = &rows(&spec)[2];
    let all = variables(&arrays).unwrap();
    differentiate("all weights", &all, &Decoder::new(&declared.shape, Parameters::Full(&all), 64).unwrap(), row, None);

    let mut adapter = adapters::fresh(&declared.shape, &lora(), Seed(3));
    adapter.values_mut().for_each(|array| *array.floats_mut() = fresh_weights::normal(Seed(2), array.len(), 0.3));
    let variables = variables(&adapter).unwrap();
    let parameters = Parameters::Lora { base: arrays.clone(), adapters: &variables, scale: 2.0 };
    let decoder = Decoder::new(&declared.shape, parameters, 64).unwrap();
    for dropout in [None, Some(Dropout { rate: 0.3, seed: Seed(5) })] {
        differentiate("an adapter", &variables, &decoder, row, dropout.as_ref());
    }
}

#[test]
fn an_untied_head_learns_too() {
    let tokenizer = tokenizer();
    let spec = fresh(tokenizer.path());
    let (mut declared, mut arrays) = loud(&spec);
    declared.shape.tied = false;
    let head = fresh_weights::normal(Seed(8), declared.shape.vocab * declared.shape.width, 0.3);
    arrays.insert("lm_head.weight".into(), Array::new(&[declared.shape.vocab, declared.shape.width], head));
    let all = variables(&arrays).unwrap();
    differentiate(
        "all weights",
        &all,
        &Decoder::new(&declared.shape, Parameters::Full(&all), 64).unwrap(),
        &rows(&spec)[0],
        None,
    );
}

#[test]
fn interrupted_trainings_end_in_the_same_bytes() {
    let tokenizer = tokenizer();
    let spec = fresh(tokenizer.path());
    let dropped = LoraConfig { dropout: 0.2, ..lora() };
    for config in [recipe(None), recipe(Some(lora())), recipe(Some(dropped))] {
        let rows = rows(&spec);
        let whole = trained(&spec, None, &config);
        assert_eq!(whole.steps, 6);
        let mut monitor = Monitor::default();
        for pause in [1, 4] {
            monitor.pause_after = Some(pause);
            let paused = train(&spec, None, &rows, &config, Seed(11), &mut monitor);
            assert!(matches!(paused, Err(ModelError::Paused)));
        }
        monitor.pause_after = None;
        // What is left of another training is not used.
        let other = train(&spec, None, &rows, &config, Seed(12), &mut monitor).unwrap();
        assert!(other.weights != whole.weights);
        let rest = train(&spec, None, &rows, &config, Seed(11), &mut monitor).unwrap();
        assert!(rest.weights == whole.weights);
        assert_eq!((rest.steps, rest.tokens), (whole.steps, whole.tokens));
        assert_eq!((rest.first_loss, rest.last_loss), (whole.first_loss, whole.last_loss));
        let steps: Vec<u64> = monitor.steps.iter().map(|progress| progress.step).collect();
        assert_eq!(steps, [1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 5, 6]);
        monitor.checkpoint.as_mut().unwrap().truncate(100);
        assert!(train(&spec, None, &rows, &config, Seed(11), &mut monitor).unwrap().weights == whole.weights);
    }
}

#[test]
fn threads_do_not_change_what_is_learned() {
    let tokenizer = tokenizer();
    let spec = fresh(tokenizer.path());
    let weights = [1, 2, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| trained(&spec, None, &recipe(None)).weights)
    });
    assert!(weights[0] == weights[1] && weights[1] == weights[2]);
}

#[test]
fn a_model_learns_four_dialogues_by_heart_and_says_them() {
    let tokenizer = tokenizer();
    let spec = fresh(tokenizer.path());
    let config = TrainConfig { epochs: 160, batch: 4, weight_decay: 0.0, ..recipe(None) };
    let trained = trained(&spec, None, &config);
    assert!(trained.first_loss > 5.0 && trained.last_loss < 0.02, "{} {}", trained.first_loss, trained.last_loss);
    let model = LocalModel::open(&spec, Some(&trained.weights)).unwrap();
    for dialogue in dialogues() {
        let prompt = model.encode_chat(&dialogue[..2]).unwrap();
        let ask = |prompt: &[u32]| GenRequest {
            prompt: prompt.to_vec(),
            seed: Seed(0),
            sampling: Sampling::greedy(12),
            likely: false,
            form: None,
        };
        let first = replies(&model, &[ask(&prompt)]).remove(0);
        assert_eq!(first.text, dialogue[2].content);
        assert_eq!(first.stop, crate::model::StopReason::EndOfTurn);
        let mut prompt = prompt;
        prompt.extend(&first.tokens);
        prompt.extend(model.continue_chat(&dialogue[..2], &first, &dialogue[3..4]).unwrap());
        assert_eq!(replies(&model, &[ask(&prompt)])[0].text, dialogue[4].content);
    }
}

#[test]
fn an_adapter_learns_goes_on_learning_and_merges() {
    let tokenizer = tokenizer();
    let base = fresh(tokenizer.path());
    // A base that half knows the dialogues.
    let path = tokenizer.path().join("base");
    let half = TrainConfig { epochs: 30, ..recipe(None) };
    export(&base, Some(&trained(&base, None, &half).weights), &path, false).unwrap();
    let spec = super::spec(Source::Path(path));
    let wide = LoraConfig { rank: 8, alpha: 16.0, dropout: 0.0, on: adapters::MODULES.map(str::to_owned).to_vec() };
    let config = TrainConfig { epochs: 40, batch: 4, lr: 2e-2, ..recipe(Some(wide)) };
    let first = trained(&spec, None, &config);
    assert!(first.last_loss < first.first_loss - 0.15, "{} {}", first.first_loss, first.last_loss);
    let second = trained(&spec, Some(&first.weights), &config);
    assert!((second.first_loss - first.last_loss).abs() < 0.01, "{} {}", first.last_loss, second.first_loss);
    assert!(matches!(adapters::read(&second.weights, None).unwrap(), adapters::Version::Adapter(_)));
    let names = |bytes: &[u8]| super::super::weights::parse("w", bytes).unwrap().0.into_keys().collect::<Vec<_>>();
    assert_eq!(names(&first.weights)[0], "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight");
    // Over other weights than the declared, an adapter alone would not open: the result is whole.
    let every = TrainConfig { batch: 4, epochs: 6, ..recipe(None) };
    let full = trained(&spec, None, &every);
    let merged = trained(&spec, Some(&full.weights), &config);
    let losses = (full.first_loss, merged.first_loss, merged.last_loss);
    assert!(losses.0 > losses.1 && losses.1 > losses.2, "{losses:?}");
    assert_eq!(names(&merged.weights), names(&full.weights));
    LocalModel::open(&spec, Some(&merged.weights)).unwrap();
    // And whole weights from an adapter.
    let whole = trained(&spec, Some(&first.weights), &every);
    assert!(whole.first_loss < first.first_loss - 0.1);
    assert_eq!(names(&whole.weights), names(&full.weights));
}

#[test]
fn a_batch_in_chunks_has_the_loss_of_the_batch() {
    let tokenizer = tokenizer();
    let mut spec = fresh(tokenizer.path());
    spec.context = 1024;
    let long = |salt: u32| TrainRow {
        tokens: (0..900).map(|i| (i * i + salt) % 250 + 5).collect(),
        learn: (0..900).map(|i| i % (salt + 2) == 0).collect(),
    };
    let rows: Vec<TrainRow> = (0..4).map(long).collect();
    let config = TrainConfig { batch: 4, epochs: 1, ..recipe(None) };
    let together = train(&spec, None, &rows, &config, Seed(1), &mut Monitor::default()).unwrap();
    let alone = TrainConfig { batch: 1, epochs: 1, lr: 0.0, ..recipe(None) };
    let mut monitor = Monitor::default();
    train(&spec, None, &rows, &alone, Seed(1), &mut monitor).unwrap();
    // The same order of rows, so each loss counts with its row's trained tokens.
    let count = |row: &TrainRow| row.learn[1..].iter().filter(|learn| **learn).count() as f64;
    let (mut order, mut sum, mut total) = (vec![0, 1, 2, 3], 0.0, 0.0);
    Seed(1).derive("epoch").derive(0u64).rng().shuffle(&mut order);
    for (index, progress) in order.into_iter().zip(&monitor.steps) {
        sum += progress.loss * count(&rows[index]);
        total += count(&rows[index]);
    }
    assert!((together.first_loss - sum / total).abs() < 1e-5, "{} {}", together.first_loss, sum / total);
}

#[test]
fn a_batch_worked_in_parts_is_the_same_step() {
    let tokenizer = tokenizer();
    let spec = fresh(tokenizer.path());
    let steps = |accumulate: u32| {
        let config = TrainConfig { batch: 4, accumulate, ..recipe(None) };
        let mut monitor = Monitor::default();
        train(&spec, None, &rows(&spec), &config, Seed(11), &mut monitor).unwrap();
        monitor.steps
    };
    let whole = steps(1);
    // The last is more parts than there are rows.
    for parts in [2, 3, 4, 9] {
        for (one, other) in whole.iter().zip(steps(parts)) {
            let near = |a: f64, b: f64| (a - b).abs() < 1e-4 * a;
            assert!(near(one.loss, other.loss) && near(one.grad_norm, other.grad_norm), "{parts}: {one:?} {other:?}");
            assert_eq!((one.step, one.tokens), (other.step, other.tokens));
        }
    }
}

/// Activations that are computed again are the same bits, dropout's among them.
#[test]
fn what_is_recomputed_changes_nothing() {
    let tokenizer = tokenizer();
    let spec = fresh(tokenizer.path());
    for config in [recipe(None), recipe(Some(LoraConfig { dropout: 0.2, ..lora() }))] {
        let again = TrainConfig { recompute: true, ..config.clone() };
        assert!(trained(&spec, None, &config).weights == trained(&spec, None, &again).weights);
    }
}

#[test]
fn rates_rise_and_fall_as_declared() {
    let rates = |decay: Decay| {
        let config = TrainConfig { lr: 1.0, decay, ..recipe(None) };
        [0, 1, 2, 6, 9].map(|step| train::rate(&config, step, 10))
    };
    let near = |decay: Decay, wanted: [f64; 5]| {
        let rates = rates(decay);
        assert!(rates.iter().zip(wanted).all(|(rate, wanted)| (rate - wanted).abs() < 1e-9), "{decay:?}: {rates:?}");
    };
    near(Decay::Constant { warmup: 0.2 }, [0.5, 1.0, 1.0, 1.0, 1.0]);
    near(Decay::Linear { warmup: 0.2 }, [0.5, 1.0, 1.0, 0.5, 0.125]);
    near(Decay::Linear { warmup: 0.0 }, [1.0, 0.9, 0.8, 0.4, 0.1]);
    near(
        Decay::Cosine { warmup: 0.2 },
        [0.5, 1.0, 1.0, 0.55, 0.1 + 0.45 * (1.0 + libm::cos(0.875 * std::f64::consts::PI))],
    );
}

/// What a chunk adds to a gradient goes on from what the chunk before left there.
#[test]
fn a_batch_in_chunks_has_the_gradients_of_the_batch() {
    let tokenizer = tokenizer();
    let (declared, arrays) = loud(&fresh(tokenizer.path()));
    let all = variables(&arrays).unwrap();
    let decoder = Decoder::new(&declared.shape, Parameters::Full(&all), 64).unwrap();
    let sequence = |salt: u32| -> Vec<u32> { (0..64).map(|i| (i * i + salt) % 250 + 5).collect() };
    let sequences = [sequence(1), sequence(2), sequence(3)];
    let gradients = |parts: &[&[Vec<u32>]]| {
        for part in parts {
            let segments = Segments::from_lengths(part.iter().map(Vec::len));
            let positions = segments.positions();
            let goal = Goal::new(&vec![7; positions.len()], &vec![1.0; positions.len()], 192.0).unwrap();
            decoder.learn(&part.concat(), &decoder.pass(segments, positions, None), &goal, false).unwrap();
        }
        let gradients = decoder.gradients(&all).unwrap();
        all.keys().map(|name| gradients.get(name).unwrap().to_vec()).collect::<Vec<_>>()
    };
    let (whole, parts) = (gradients(&[&sequences]), gradients(&[&sequences[..1], &sequences[1..]]));
    assert!(decoder.gradients(&all).is_err(), "each is given once");
    for ((name, whole), parts) in all.keys().zip(&whole).zip(&parts) {
        // But for the table, which takes from both of its ends in turn.
        let same = if name.contains("embed_tokens") { whole.len() == parts.len() } else { whole == parts };
        assert!(same, "{name}");
    }
}

#[test]
fn rows_that_cannot_be_learned_from_are_named() {
    let tokenizer = tokenizer();
    let spec = fresh(tokenizer.path());
    let good = rows(&spec);
    let attempt = |rows: &[TrainRow], config: &TrainConfig| {
        train(&spec, None, rows, config, Seed(1), &mut Monitor::default()).err().unwrap().to_string()
    };
    let row = |tokens: &[u32], learn: &[bool]| TrainRow { tokens: tokens.to_vec(), learn: learn.to_vec() };
    let cases = [
        (row(&[7, 8], &[true, false]), "row 1 has no token to learn"),
        (row(&[], &[]), "row 1 has no token to learn"),
        (row(&[7, 8], &[true]), "row 1 has 2 tokens and 1 marks"),
        (row(&[7, 99_999], &[true, true]), "row 1 holds token 99999, which is outside the vocabulary"),
        (row(&[7; 65], &[true; 65]), "row 1 has 65 tokens; at most 64 are allowed"),
    ];
    for (row, message) in cases {
        assert_eq!(attempt(&[good[0].clone(), row], &recipe(None)), format!("training: {message}"));
    }
    assert_eq!(attempt(&[], &recipe(None)), "training: there are no rows to learn from");
    let short = TrainConfig { max_len: Some(4), ..recipe(None) };
    assert!(attempt(&good, &short).contains("at most 4 are allowed"));
    let wild = TrainConfig { lr: 1e30, clip: 0.0, ..recipe(None) };
    assert!(attempt(&good, &wild).contains("is not finite"));
    let unknown = LoraConfig { on: vec!["x_proj".into()], ..lora() };
    assert!(attempt(&good, &recipe(Some(unknown))).contains("there is no linear `x_proj`"));
    let all = TrainConfig { method: Method::Sft { loss_on: LossOn::All }, ..recipe(None) };
    let unmarked = row(&[7, 8, 9], &[false; 3]);
    assert!(train(&spec, None, &[unmarked], &all, Seed(1), &mut Monitor::default()).is_ok());
}

#[test]
fn the_identity_knows_what_decides_a_reply() {
    let (here, there) = (tokenizer(), tokenizer());
    let spec = fresh(here.path());
    assert_eq!(identity(&spec).unwrap(), identity(&fresh(there.path())).unwrap());
    let Source::Fresh(shape) = &spec.source else { unreachable!() };
    let others = [
        ModelSpec { source: Source::Fresh(Fresh { seed: 6, ..shape.clone() }), ..spec.clone() },
        ModelSpec { source: Source::Fresh(Fresh { layers: 3, ..shape.clone() }), ..spec.clone() },
        ModelSpec { dtype: Dtype::Bf16, ..spec.clone() },
        ModelSpec { context: 63, ..spec.clone() },
    ];
    for other in &others {
        assert_ne!(identity(&spec).unwrap(), identity(other).unwrap());
    }
    std::fs::write(there.path().join("chat_template.jinja"), "{{ messages }}").unwrap();
    assert_ne!(identity(&spec).unwrap(), identity(&fresh(there.path())).unwrap());
}
