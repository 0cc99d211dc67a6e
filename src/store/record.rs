//! Turns a finished piece of work into a small file that says what came of which recipe, and back.
//!
//! A record's file is one line of JSON and, on the next line, the digest of the first: a flipped bit is found.
//!
//! # Invariants
//! The first record of a key stays. No record names a file by path.

use crate::base::Digest;
use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a result's bytes can be trusted; a run's label is the weakest of its nodes'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunLabel {
    /// A remote reply, or what a GPU said: the record is the truth.
    Recorded,
    /// A local model: the same bytes anywhere.
    Seeded,
    /// No model at all.
    Pure,
}

/// What was made from which recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The recipe: see `node::key`.
    pub key: Digest,
    /// `rollout`, `judge`, `train`, …
    pub op: String,
    /// The blob that was made.
    pub output: Digest,
    /// Further blobs by role: `truth` of a rollout item.
    #[serde(default, skip_serializing_if = "LiteMap::is_empty")]
    pub also: LiteMap<String, Digest>,
    /// Of a node with items: the items' keys, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Digest>,
    pub label: RunLabel,
    /// Counts for people: tokens, steps, milliseconds. Not compared between two records of one key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cost: BTreeMap<String, u64>,
}

impl Record {
    pub fn new(key: Digest, op: &str, output: Digest, label: RunLabel) -> Self {
        Self { key, op: op.to_owned(), output, also: LiteMap::new(), items: Vec::new(), label, cost: BTreeMap::new() }
    }

    #[must_use]
    pub fn also(mut self, role: &str, blob: Digest) -> Self {
        self.also.insert(role.to_owned(), blob);
        self
    }

    #[must_use]
    pub fn cost(mut self, name: &str, count: u64) -> Self {
        self.cost.insert(name.to_owned(), count);
        self
    }

    /// Every blob it names.
    pub fn blobs(&self) -> impl Iterator<Item = &Digest> {
        std::iter::once(&self.output).chain(self.also.values())
    }

    /// Whether both say that the recipe gives the same bytes.
    pub fn agrees(&self, other: &Record) -> bool {
        let Self { key, op, output, also, items, label: _, cost: _ } = self;
        *key == other.key && *op == other.op && *output == other.output && *also == other.also && *items == other.items
    }

    pub(super) fn to_file(&self) -> Vec<u8> {
        let mut text = serde_json::to_string(self).expect("a record is plain data");
        let digest = Digest::of_bytes(text.as_bytes());
        text.push_str(&format!("\n{digest}\n"));
        text.into_bytes()
    }

    pub(super) fn from_file(key: &Digest, bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
        let (json, digest) = text.split_once('\n').ok_or("cut short")?;
        let digest = digest.strip_suffix('\n').ok_or("cut short")?;
        if digest != Digest::of_bytes(json.as_bytes()).to_string() {
            return Err("its checksum does not fit".to_owned());
        }
        let record: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if record.key != *key { Err("it belongs to another key".to_owned()) } else { Ok(record) }
    }
}

/// One recipe gave two results: the first stays, the second is kept beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    pub first: Record,
    pub second: Record,
}
