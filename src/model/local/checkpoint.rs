//! Turns the state of a training into bytes and back.
//!
//! # Invariants
//! A checkpoint of another training, of another version of this format, or a damaged one reads as none: the training then
//! begins anew, which costs time and nothing else.

use super::optim::AdamWState;
use super::weights::{self, Array, Arrays};
use crate::base::Digest;
use crate::model::Dtype;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const FORMAT: &str = "agx-checkpoint/1";

/// Everything a training needs to go on to the same bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub progress: Progress,
    pub state: State,
}

/// What learns, between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub variables: Arrays,
    pub optimiser: AdamWState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    pub tokens: u64,
    pub first_loss: f64,
    pub last_loss: f64,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    training: Digest,
    progress: Progress,
    optimiser_step: u64,
}

/// `training` identifies the run: start, rows, recipe and seed.
pub fn write(training: Digest, checkpoint: Checkpoint) -> Vec<u8> {
    let Checkpoint { progress, state: State { variables, optimiser } } = checkpoint;
    let head = Head { format: FORMAT.to_owned(), training, progress, optimiser_step: optimiser.step };
    let head = serde_json::to_string(&head).expect("invariant: numbers and text are JSON");
    let mut arrays = Arrays::new();
    for (name, (first, second)) in optimiser.moments {
        arrays.insert(format!("first/{name}"), Array::new(&[first.len()], first));
        arrays.insert(format!("second/{name}"), Array::new(&[second.len()], second));
    }
    arrays.extend(variables.into_iter().map(|(name, array)| (format!("value/{name}"), array)));
    weights::serialize(&arrays, &BTreeMap::from([("agx".to_owned(), head)]), Dtype::F32)
}

pub fn read(training: Digest, bytes: &[u8]) -> Option<Checkpoint> {
    let (arrays, metadata) = weights::parse("checkpoint", bytes).ok()?;
    let head: Head = serde_json::from_str(metadata.get("agx")?).ok()?;
    if head.format != FORMAT || head.training != training {
        return None;
    }
    let mut variables = Arrays::new();
    let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
    for (name, array) in arrays {
        match name.split_once('/')? {
            ("value", name) => drop(variables.insert(name.to_owned(), array)),
            ("first", name) => drop(first.insert(name.to_owned(), array.into_floats())),
            ("second", name) => drop(second.insert(name.to_owned(), array.into_floats())),
            _ => return None,
        }
    }
    let pair = |(name, first)| second.remove(&name).map(|second| (name, (first, second)));
    let moments = first.into_iter().map(pair).collect::<Option<_>>()?;
    let optimiser = AdamWState { step: head.optimiser_step, moments };
    Some(Checkpoint { progress: head.progress, state: State { variables, optimiser } })
}
