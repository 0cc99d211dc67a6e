//! Candle's tensors beside our own kernels: the same models, replies and steps, on candle's processor and on a GPU where this build and
//! this machine have one.

use super::super::decoder::{Decoder, Parameters};
use super::super::engine::{Engine, Learner, Way};
use super::super::learner;
use super::super::ops::{Dropout, Goal, Segments};
use super::super::optim::{AdamW, AdamWConfig};
use super::super::tests::{families, fresh, replies, requests, tokenizer};
use super::super::train::variables;
use super::super::weights::Arrays;
use super::super::{LocalModel, lora};
use super::*;
use crate::base::Seed;
use crate::model::LoraConfig;
use candle_core::Device as CandleDevice;
use std::collections::BTreeMap;

/// Where candle computes.
fn places(dtype: DType) -> Vec<Place> {
    let devices = [Some(CandleDevice::Cpu), device(Device::Cuda).ok().flatten()];
    devices.into_iter().flatten().map(|device| Place { device, dtype }).collect()
}

fn apart(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let largest = ours.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
    ours.iter().zip(theirs).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

fn answering(shape: &super::super::config::Shape, place: &Place) -> Answering {
    let weights = Weights { frozen: families::noise(shape), learning: &BTreeMap::new(), scale: 1.0 };
    Model::new(shape, weights, 64, place).and_then(Answering::new).unwrap()
}

/// The logits of all rows of sequences that arrive in the same parts.
fn logits<E: Engine>(engine: &E, sequences: &[Vec<u32>], parts: &[usize]) -> Vec<f32> {
    let mut caches: Vec<E::Cache> = sequences.iter().map(|_| engine.cache()).collect();
    let mut from = 0;
    let mut out = Vec::new();
    for part in parts {
        let range = |sequence: &Vec<u32>| from.min(sequence.len())..(from + part).min(sequence.len());
        let due = sequences.iter().zip(&mut caches).filter(|(sequence, _)| !range(sequence).is_empty());
        let (due, mut caches): (Vec<&Vec<u32>>, Vec<&mut E::Cache>) = due.unzip();
        let ids: Vec<u32> = due.iter().flat_map(|sequence| sequence[range(sequence)].to_vec()).collect();
        let positions = due.iter().flat_map(|sequence| range(sequence)).map(|at| at as u32).collect();
        let segments = Segments::from_lengths(due.iter().map(|sequence| range(sequence).len()));
        let all: Vec<usize> = (0..ids.len()).collect();
        out.extend_from_slice(&engine.advance(&ids, segments, positions, &mut caches, &all).unwrap());
        from += part;
    }
    out
}

#[test]
fn every_family_has_the_logits_of_our_own_engine() {
    for (name, shape) in families::shapes() {
        let ours = Decoder::new(&shape, Parameters::Frozen(families::noise(&shape)), 64).unwrap();
        let vocab = shape.vocab as u32;
        let sequence = |length: u32| (0..length).map(|i| (i * i * 31 + length * 7) % vocab).collect();
        let sequences: Vec<Vec<u32>> = [1, 37, 5, 19, 40].into_iter().map(sequence).collect();
        let parts = [17, 1, 1, 4, 64];
        let ours = logits(&ours, &sequences, &parts);
        for (dtype, least, most) in [(DType::F32, 0.0, 2e-5), (DType::BF16, 1e-4, 0.1), (DType::F16, 1e-6, 0.02)] {
            for place in places(dtype) {
                let difference = apart(&ours, &logits(&answering(&shape, &place), &sequences, &parts));
                assert!((least..most).contains(&difference), "{name} on {place:?}: {difference}");
            }
        }
    }
}

#[test]
fn replies_are_those_of_our_own_engine_whoever_is_in_the_company() {
    let tokenizer = tokenizer();
    let spec = fresh(tokenizer.path());
    let ours = LocalModel::open(&spec, None).unwrap();
    let places = places(DType::F32);
    let theirs: Vec<_> = places.iter().map(|place| LocalModel::open_on(&spec, None, place).unwrap()).collect();
    for (temperature, theirs) in [0.0, 1.0].into_iter().flat_map(|it| theirs.iter().map(move |model| (it, model))) {
        let requests = requests(&ours, temperature);
        let wanted = replies(&ours, &requests);
        // Twice: the second time from what was kept.
        for _ in 0..2 {
            let found = replies(theirs, &requests);
            for (ours, theirs) in wanted.iter().zip(&found) {
                assert_eq!((&ours.tokens, ours.stop), (&theirs.tokens, theirs.stop));
                assert!((ours.logprob - theirs.logprob).abs() < 1e-4);
            }
        }
    }
}

/// Both learners over the same weights: ours, and candle's.
fn learners(adapted: Option<&LoraConfig>, place: &Place) -> [Box<dyn Learner>; 2] {
    let (_, shape) = families::shapes().into_iter().last().expect("some");
    let adam = AdamWConfig { beta2: 0.95, weight_decay: 0.01, ..AdamWConfig::default() };
    let base = families::noise(&shape);
    let (frozen, learning, scale) = match adapted {
        None => (Arrays::new(), base, 1.0),
        Some(config) => {
            let mut adapters = lora::fresh(&shape, config, Seed(4));
            // Where B is zero, A has no gradient yet.
            adapters.values_mut().for_each(|array| array.floats_mut().iter_mut().for_each(|x| *x += 0.01));
            (base, adapters, lora::scale(config))
        }
    };
    let vars = variables(&learning).unwrap();
    let parameters = match adapted {
        None => Parameters::Full(&vars),
        Some(_) => Parameters::Lora { base: frozen.clone(), adapters: &vars, scale },
    };
    let decoder = Decoder::new(&shape, parameters, 64).unwrap();
    let ours = learner::Trained::new(decoder, AdamW::new(vars, adam));
    let theirs = Learning::new(&shape, frozen, &learning, scale, 64, place, adam).unwrap();
    [Box::new(ours), Box::new(theirs)]
}

fn steps(learner: &mut dyn Learner, way: &Way, count: u64) -> Vec<(f64, f64)> {
    let lengths = [9usize, 21, 1, 4];
    let ids: Vec<u32> = (0..35u32).map(|i| (i * i * 7 + 3) % 37).collect();
    let targets: Vec<u32> = (0..35u32).map(|i| (i * 11 + 5) % 37).collect();
    let weights: Vec<f32> = (0..35).map(|i| if i % 3 == 0 { 0.0 } else { 1.0 }).collect();
    let step = |_| {
        let mut loss = 0.0;
        // A batch in two parts.
        for (lengths, rows) in [(&lengths[..2], 0..30), (&lengths[2..], 30..35)] {
            let goal = Goal::new(&targets[rows.clone()], &weights[rows.clone()], 23.0).unwrap();
            loss += learner.learn(&ids[rows], Segments::from_lengths(lengths.iter().copied()), &goal, way).unwrap();
        }
        let norm = learner.norm().unwrap();
        learner.update(1e-2, (1.0 / norm).min(1.0)).unwrap();
        (loss, norm)
    };
    (0..count).map(step).collect()
}

fn agree(ours: &dyn Learner, theirs: &dyn Learner, within: f32) {
    let (ours, theirs) = (ours.state().unwrap(), theirs.state().unwrap());
    assert_eq!(ours.optimiser.step, theirs.optimiser.step);
    assert!(ours.variables.keys().eq(theirs.variables.keys()));
    for (name, value) in &ours.variables {
        let other = &theirs.variables[name];
        assert_eq!(value.shape, other.shape);
        let difference = apart(&value.floats(), &other.floats());
        assert!(difference < within, "{name}: {difference}");
        let (first, _) = &ours.optimiser.moments[name];
        let difference = apart(first, &theirs.optimiser.moments[name].0);
        assert!(difference < within, "first moment of {name}: {difference}");
    }
}

#[test]
fn steps_are_those_of_our_own_engine() {
    let on = ["q_proj", "v_proj", "down_proj"].map(str::to_owned).to_vec();
    let config = LoraConfig { rank: 3, alpha: 6.0, dropout: 0.2, on };
    for (adapted, place) in
        [None, Some(&config)].into_iter().flat_map(|it| places(DType::F32).into_iter().map(move |at| (it, at)))
    {
        let dropout = || adapted.map(|config| Dropout { rate: config.dropout, seed: Seed(8) });
        for recompute in [false, true] {
            let way = Way { dropout: dropout(), recompute };
            let [mut ours, mut theirs] = learners(adapted, &place);
            let pairs = steps(&mut *ours, &way, 3).into_iter().zip(steps(&mut *theirs, &way, 3));
            for ((loss, norm), (their_loss, their_norm)) in pairs {
                assert!((loss - their_loss).abs() < 1e-5 * loss, "{loss} {their_loss}");
                assert!((norm - their_norm).abs() < 1e-4 * norm, "{norm} {their_norm}");
            }
            agree(&*ours, &*theirs, 1e-3);
        }
    }
}

#[test]
fn a_step_goes_on_from_a_checkpoint() {
    let way = Way { dropout: None, recompute: false };
    let place = &places(DType::F32)[0];
    let [_, mut straight] = learners(None, place);
    steps(&mut *straight, &way, 4);
    let [_, mut halted] = learners(None, place);
    steps(&mut *halted, &way, 2);
    let state = halted.state().unwrap();
    let [_, mut again] = learners(None, place);
    again.restore(state.clone()).unwrap();
    steps(&mut *again, &way, 2);
    assert_eq!(straight.state().unwrap(), again.state().unwrap());
    let mut short = state;
    short.variables.pop_first();
    assert!(again.restore(short).is_err());
}

#[test]
fn a_target_that_cannot_be_and_a_missing_gradient_are_errors() {
    let way = Way { dropout: None, recompute: false };
    let [_, mut theirs] = learners(None, &places(DType::F32)[0]);
    let goal = Goal::new(&[1, 60_000], &[1.0, 1.0], 2.0).unwrap();
    let error = theirs.learn(&[1, 2], Segments::from_lengths([2]), &goal, &way).unwrap_err();
    assert!(error.to_string().contains("row 1 is to predict token 60000"), "{error}");
    let error = theirs.norm().unwrap_err();
    assert!(error.to_string().contains("has no gradient"), "{error}");
}

#[test]
fn what_a_build_or_a_machine_lacks_is_told() {
    assert!(device(Device::Auto).unwrap().is_none() && device(Device::Cpu).unwrap().is_none());
    let problem = device(Device::Metal).unwrap_err().to_string();
    assert!(problem.contains("this build has no metal support"), "{problem}");
    #[cfg(not(feature = "cuda"))]
    {
        let problem = device(Device::Cuda).unwrap_err().to_string();
        assert!(problem.contains("--features cuda"), "{problem}");
    }
    let tokenizer = tokenizer();
    let mut spec = fresh(tokenizer.path());
    assert!(place(&spec).unwrap().is_none());
    (spec.dtype, spec.device) = (Dtype::Int8, Device::Cuda);
    let problem = place(&spec).unwrap_err().to_string();
    assert!(problem.contains("`dtype = int8` does not go with `device = cuda`"), "{problem}");
    // What it would say is not known; how it reads is.
    let absent = super::super::open(&spec, None, None).unwrap();
    let here = LocalModel::open(&fresh(tokenizer.path()), None).unwrap();
    let asked = requests(&here, 0.0);
    for (ours, read) in asked.iter().zip(requests(&*absent, 0.0)) {
        assert_eq!(ours.prompt, read.prompt);
    }
    for reply in absent.generate(&asked) {
        assert!(reply.unwrap_err().to_string().contains("does not go with"));
    }
}
