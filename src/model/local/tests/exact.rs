//! The same bits, however a sequence is computed.

use super::*;
use crate::model::local::LocalModel;
use crate::model::local::decoder::{Decoder, Parameters};
use crate::model::local::engine::Engine;
use crate::model::local::ops::{KvCache, Segments};
use crate::model::local::{lora, source, weights::Arrays};

pub fn parts(spec: &ModelSpec) -> (source::Declared, Arrays) {
    let declared = source::declared(spec).unwrap();
    let arrays = declared.weights(spec).unwrap();
    (declared, arrays)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The logits of whole sequences, packed.
pub fn whole(decoder: &Decoder, sequences: &[&[u32]]) -> Vec<Vec<u32>> {
    let segments = Segments::from_lengths(sequences.iter().map(|sequence| sequence.len()));
    let positions = segments.positions();
    let pass = decoder.pass(segments, positions, None);
    let hidden = decoder.forward(&sequences.concat(), &pass, None);
    let all = bits(&decoder.logits(&hidden, &(0..pass.segments.rows()).collect::<Vec<_>>()));
    let vocab = decoder.shape().vocab;
    let part = |range: std::ops::Range<usize>| all[range.start * vocab..range.end * vocab].to_vec();
    pass.segments.ranges().iter().cloned().map(part).collect()
}

/// The logits of one sequence whose rows arrive in parts of the given lengths.
fn in_parts(decoder: &Decoder, sequence: &[u32], lengths: &[usize]) -> Vec<u32> {
    let mut caches: Vec<KvCache> = decoder.cache();
    let (mut out, mut from) = (Vec::new(), 0);
    for length in lengths {
        let to = from + length;
        let pass = decoder.pass(Segments::from_lengths([*length]), (from as u32..to as u32).collect(), None);
        let hidden = decoder.forward(&sequence[from..to], &pass, Some(&mut [&mut caches]));
        out.extend(bits(&decoder.logits(&hidden, &(0..*length).collect::<Vec<_>>())));
        from = to;
    }
    out
}

#[test]
fn a_cached_step_equals_the_full_forward_and_company_changes_nothing() {
    for (name, shape) in families::shapes() {
        for parameters in [Parameters::Frozen, Parameters::Quantised] {
            cached_equals_full(name, &Decoder::new(&shape, parameters(families::noise(&shape)), 64).unwrap());
        }
    }
}

fn cached_equals_full(name: &str, decoder: &Decoder) {
    let vocab = decoder.shape().vocab;
    let sequences: Vec<Vec<u32>> = [1usize, 37, 5, 19, 64]
        .iter()
        .map(|length| (0..*length).map(|i| (i * i * 31 + length * 7) as u32 % vocab as u32).collect())
        .collect();
    let borrowed: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let together = whole(decoder, &borrowed);
    for (sequence, together) in borrowed.iter().zip(&together) {
        assert!(whole(decoder, &[sequence])[0] == *together, "{name}: alone, {} tokens", sequence.len());
        let steps = vec![1; sequence.len()];
        assert!(in_parts(decoder, sequence, &steps) == *together, "{name}: step by step, {} tokens", sequence.len());
        if sequence.len() > 17 {
            let parts = [16, 1, sequence.len() - 17];
            assert!(in_parts(decoder, sequence, &parts) == *together, "{name}: in parts, {} tokens", sequence.len());
        }
    }
}

#[test]
fn replies_depend_on_neither_company_threads_nor_what_is_kept() {
    let tokenizer = tokenizer();
    let spec = fresh(tokenizer.path());
    let model = LocalModel::open(&spec, None).unwrap();
    for temperature in [0.0, 1.0] {
        let requests = requests(&model, temperature);
        let together = replies(&model, &requests);
        // The same again, from kept prefixes.
        assert_eq!(together, replies(&model, &requests));
        // Each alone, in a model that has seen nothing.
        for (request, reply) in requests.iter().zip(&together) {
            let alone = LocalModel::open(&spec, None).unwrap();
            assert_eq!(*reply, replies(&alone, std::slice::from_ref(request))[0]);
        }
        let reversed: Vec<GenRequest> = requests.iter().rev().cloned().collect();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let other = LocalModel::open(&spec, None).unwrap();
            let mut back = pool.install(|| replies(&other, &reversed));
            back.reverse();
            assert_eq!(together, back);
        }
        if temperature > 0.0 {
            assert_ne!(together[0].tokens, together[1].tokens, "samples of one prompt differ by their seeds");
        }
    }
}

#[test]
fn more_requests_than_places_all_get_the_reply_they_get_alone() {
    let tokenizer = tokenizer();
    let model = LocalModel::open(&fresh(tokenizer.path()), None).unwrap();
    let sampling = Sampling::drawn(5);
    let request = |index: usize| GenRequest {
        prompt: (0..1 + index % 50).map(|i| (i * (index / 50 + 1)) as u32 % 200 + 5).collect(),
        seed: Seed(index as u64),
        sampling: sampling.clone(),
        likely: false,
        form: None,
    };
    let requests: Vec<GenRequest> = (0..150).map(request).collect();
    let together = replies(&model, &requests);
    for index in [0, 49, 50, 77, 149] {
        assert_eq!(together[index], replies(&model, &requests[index..=index])[0]);
        assert!(together[index].logprob < 0.0 && together[index].logprob.is_finite());
    }
}

#[test]
fn a_turn_that_goes_on_is_computed_as_if_from_nothing() {
    let tokenizer = tokenizer();
    let spec = fresh(tokenizer.path());
    let model = LocalModel::open(&spec, None).unwrap();
    let history = &dialogues()[0][..2];
    let mut prompt = model.encode_chat(history).unwrap();
    let sampling = Sampling::drawn(6);
    let request = |prompt: &[u32]| GenRequest {
        prompt: prompt.to_vec(),
        seed: Seed(4),
        sampling: sampling.clone(),
        likely: false,
        form: None,
    };
    let reply = replies(&model, &[request(&prompt)]).remove(0);
    prompt.extend(&reply.tokens);
    prompt.extend(model.continue_chat(history, &reply, &[Message::new(Role::Tool, "ok")]).unwrap());
    let anew = LocalModel::open(&spec, None).unwrap();
    assert_eq!(replies(&model, &[request(&prompt)]), replies(&anew, &[request(&prompt)]));
}

#[test]
fn a_prompt_longer_than_one_pass_is_read_whole() {
    let tokenizer = tokenizer();
    let mut spec = fresh(tokenizer.path());
    spec.context = 2600;
    let (declared, arrays) = parts(&spec);
    let decoder = Decoder::new(&declared.shape, Parameters::Frozen(arrays.clone()), 2600).unwrap();
    let vocab = declared.shape.vocab;
    let prompt = |salt: usize, length| (0..length).map(|i| (i * i + salt) as u32 % vocab as u32).collect::<Vec<_>>();
    let prompts = [prompt(1, 2500), prompt(2, 30), prompt(3, 1100), prompt(1, 2400)];
    let request = |prompt: &Vec<u32>| GenRequest {
        prompt: prompt.clone(),
        seed: Seed(1),
        sampling: Sampling::greedy(1),
        likely: false,
        form: None,
    };
    let requests: Vec<GenRequest> = prompts.iter().map(request).collect();
    let replies = replies(&LocalModel::open(&spec, None).unwrap(), &requests);
    for (prompt, reply) in prompts.iter().zip(replies) {
        let logits = &whole(&decoder, &[prompt])[0][(prompt.len() - 1) * vocab..];
        let logit = |id: usize| f32::from_bits(logits[id]);
        let best = (1..vocab).fold(0, |best, id| if logit(id) > logit(best) { id } else { best });
        assert_eq!(reply.tokens, [best as u32]);
    }
}

#[test]
fn replies_stop_where_they_must() {
    use crate::model::StopReason::*;
    let tokenizer = tokenizer();
    let model = LocalModel::open(&fresh(tokenizer.path()), None).unwrap();
    let ask = |length: usize, max_tokens: u32| {
        let prompt = vec![20; length];
        model
            .generate(&[GenRequest {
                prompt,
                seed: Seed(1),
                sampling: Sampling::greedy(max_tokens),
                likely: false,
                form: None,
            }])
            .remove(0)
    };
    let lengths = |reply: GenReply| (reply.tokens.len(), reply.stop);
    assert_eq!(lengths(ask(10, 4).unwrap()), (4, MaxTokens));
    assert_eq!(lengths(ask(10, 0).unwrap()), (0, MaxTokens));
    assert_eq!(lengths(ask(61, 9).unwrap()), (3, ContextFull));
    assert_eq!(lengths(ask(64, 9).unwrap()), (0, ContextFull));
    assert_eq!(ask(65, 9).unwrap_err().to_string(), "the conversation has 65 tokens; the model's context holds 64");
    assert!(ask(0, 9).is_err());
    let stranger =
        GenRequest { prompt: vec![1 << 20], seed: Seed(1), sampling: Sampling::greedy(1), likely: false, form: None };
    assert!(model.generate(&[stranger])[0].as_ref().unwrap_err().to_string().contains("outside the vocabulary"));
}

#[test]
fn an_adapter_that_learned_nothing_changes_nothing() {
    let tokenizer = tokenizer();
    let spec = fresh(tokenizer.path());
    let (declared, arrays) = parts(&spec);
    let adapter = lora::fresh(&declared.shape, &lora(), Seed(3));
    let version = lora::Version::Adapter(lora::Adapter { arrays: adapter.clone(), scale: 2.0 });
    let bytes = lora::write(&version);
    assert_eq!(lora::read(&bytes, None).unwrap(), version);
    let (base, adapted) = (LocalModel::open(&spec, None).unwrap(), LocalModel::open(&spec, Some(&bytes)).unwrap());
    let requests = requests(&base, 1.0);
    assert_eq!(replies(&base, &requests), replies(&adapted, &requests));
    // And as it is trained: the adapter beside the frozen weight.
    let variables = super::super::train::variables(&adapter).unwrap();
    let parameters = Parameters::Lora { base: arrays.clone(), adapters: &variables, scale: 2.0 };
    let beside = Decoder::new(&declared.shape, parameters, 64).unwrap();
    let frozen = Decoder::new(&declared.shape, Parameters::Frozen(arrays.clone()), 64).unwrap();
    let sequence: Vec<u32> = (5..40).collect();
    assert!(whole(&beside, &[&sequence]) == whole(&frozen, &[&sequence]));
}
