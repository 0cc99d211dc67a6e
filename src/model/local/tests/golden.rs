//! The bits themselves, of replies and of trainings of every family: what the same file gives on machines of different kinds, and in
//! this version and the next.

use super::training::trained;
use super::*;
use crate::base::{Digest, Hasher};
use crate::model::local::{LocalModel, lora as adapters};

/// Bits change only with the meaning of every record that depends on them: see "Changing results" in CONTRIBUTING.md.
const WANTED: &str = "\
llama: d033797964b8 4800dbd04668 e6ce8154c916 f280ae1af63b 0c76a2862d31
llama-1: f6b43cc0d6a4 7d28a499bb45 59f16acc080e 9566307082fb 55d8ae614609
llama-wide: 5fcfb292801e be43a36a94ea cea919eb1bb4 a3edf2f473f5 e6ead54dc5b9
llama-biased: 66cfc937381f 78967b9ffbe8 4a3d34afb73c d9afb22565a1 18599c2e4668
llama-3.1: d72d9485281a d5fd13b6d700 d187f2b2fd90 d95e60b9b3de 886a55deafb2
llama-linear: bea71f389bc1 dbc72d347231 28a76b4d2f35 ca8350ecfe80 aa16a2153fca
mistral: dbff4f6640a8 72371bacbcf2 e386f5e0d161 0ade6fd755ff e174abd6612c
mistral-0.3: c9aaaa3e2fa0 065279c111dd 8f490caa17c2 e3350a4b9d94 6b2722adbcd3
qwen2: 0d4fbf7712c1 53521af0f90b c7d7ab1037ba efb0bce6284f ac76571dce01
qwen2-yarn: 546b1a1e538a c466cbde4400 fec5dd77f323 a5d4f04d9850 ac55abfc15e2
qwen3: d223be4f21fc c8b3b44638b4 e653de32cdf8 2213d705c1c4 0bcea350966f
";

fn of_replies(replies: &[GenReply]) -> Digest {
    let mut hasher = Hasher::new("replies");
    for reply in replies {
        hasher.put(&reply.tokens).u64(reply.logprob.to_bits());
    }
    hasher.finish()
}

/// Of the numbers alone: how a version is written as bytes is another question.
fn of_version(version: &[u8]) -> Digest {
    let arrays = match adapters::read(version, None).unwrap() {
        adapters::Version::Full(arrays) => arrays,
        adapters::Version::Adapter(adapter) => adapter.arrays,
    };
    let mut hasher = Hasher::new("weights");
    for (name, array) in &arrays {
        hasher.str(name).bytes(&array.floats().iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
    }
    hasher.finish()
}

#[test]
fn every_machine_replies_and_learns_with_these_bits() {
    let mut found = String::new();
    for (name, shape) in families::shapes() {
        let (_directory, spec) = families::directory(&shape);
        let model = LocalModel::open(&spec, None).unwrap();
        let [all, adapter] = [None, Some(LoraConfig { dropout: 0.2, ..lora() })].map(|lora| {
            let trained = trained(&spec, None, &recipe(lora));
            let after = LocalModel::open(&spec, Some(&trained.weights)).unwrap();
            (of_version(&trained.weights), of_replies(&replies(&after, &requests(&after, 1.0))))
        });
        let said = of_replies(&replies(&model, &requests(&model, 1.0)));
        let digests = [said, all.0, all.1, adapter.0, adapter.1].map(|digest| digest.short());
        found.push_str(&format!("{name}: {}\n", digests.join(" ")));
    }
    assert_eq!(found, WANTED);
}
