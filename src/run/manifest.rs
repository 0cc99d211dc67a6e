//! What a finished step leaves in the store: its items, its figures, and what other steps read of it.

use crate::base::{Digest, Hasher};
use crate::node::metric::Metric;
use crate::node::spec::Verdict;
use crate::plan::Op;
use crate::run::ItemOutcome;
use crate::run::missing::MissingItem;
use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::Write;

/// The blob that a step's record names. The same recipe gives the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub op: Op,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ManifestItem>,
    /// Items that it does without, in their order; none of them is among `items`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingItem>,
    pub metrics: Vec<Metric>,
    /// What depends on the kind: a funnel, a decision, a confusion.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
    /// What later steps read: rows (a [`RowSet`]) of rollout, judge and select; weights of train, `None` when they are
    /// the declared ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Digest>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifestItem {
    /// `train-0012/3`: task and sample.
    pub item: String,
    pub key: Digest,
    #[serde(flatten)]
    pub outcome: ItemOutcome,
    /// Of a question about several trajectories: their samples, in the order in which they were shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<u32>,
    /// Further blobs by role: `truth` of an episode.
    #[serde(default, skip_serializing_if = "LiteMap::is_empty")]
    pub also: LiteMap<String, Digest>,
}

/// Rows as they go from step to step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowSet {
    pub rows: Vec<RowEntry>,
    /// Of a selection: what entered and did not stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<RowEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowEntry {
    pub task: String,
    pub sample: u32,
    /// In which it was rolled out.
    pub iteration: u32,
    /// A `node::trajectory::Trajectory`.
    pub trajectory: Digest,
    /// A `node::trajectory::TruthRecord`: for metrics and audits only.
    pub truth: Digest,
    /// The critic's raw reply (`node::judge::JudgeReply`), once judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Digest>,
    /// The replies beside it, where it was asked about more than once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Digest>,
    /// What was read in the reply, or what several have become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why nothing could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unparsed: Option<String>,
    /// The stage of a selection that dropped it, as the file writes it; `readable` for a verdict that could not be read,
    /// `comparable` for a row without another to compare it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_by: Option<String>,
}

impl RowEntry {
    /// Every blob it names.
    pub fn blobs(self) -> impl Iterator<Item = Digest> {
        [self.trajectory, self.truth].into_iter().chain(self.reply).chain(self.replies)
    }
}

/// JSON in a buffer of its very length: one that grows takes three times the room of what is large.
pub fn to_json(value: &impl Serialize) -> Vec<u8> {
    struct Length(usize);
    impl Write for Length {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value).expect("plain data");
    let mut bytes = Vec::with_capacity(length.0);
    serde_json::to_writer(&mut bytes, value).expect("plain data");
    bytes
}

impl Manifest {
    pub fn new(op: Op) -> Self {
        Self { op, items: Vec::new(), missing: Vec::new(), metrics: Vec::new(), detail: Value::Null, output: None }
    }

    /// What stands for its step in the keys of those that read it: the step's own key, and what is missing of it. How it came
    /// to be missing changes nothing that is read.
    pub fn key(&self, step: Digest) -> Digest {
        if self.missing.is_empty() {
            return step;
        }
        let names: Vec<&str> = self.missing.iter().map(|missing| missing.item.as_str()).collect();
        Hasher::new("agx-missing/1").put(&step).put(&names).finish()
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        to_json(self)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        // Looked at as a whole: string by string, that it is text takes a tenth of the time.
        serde_json::from_str(std::str::from_utf8(bytes).map_err(serde::de::Error::custom)?)
    }

    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    }

    /// How many items its step has: one, where it has none of its own.
    pub fn total(&self) -> u64 {
        match self.op {
            Op::Select | Op::Audit | Op::Gate | Op::Pick => 1,
            _ => (self.items.len() + self.missing.len()) as u64,
        }
    }

    /// Every blob it names.
    pub fn blobs(&self) -> Vec<Digest> {
        let mut blobs: Vec<Digest> = self.output.into_iter().collect();
        for item in &self.items {
            match item.outcome {
                ItemOutcome::Done { blob } | ItemOutcome::Unparsed { blob } => blobs.push(blob),
                ItemOutcome::Failed { .. } | ItemOutcome::Timeout => {}
            }
            blobs.extend(item.also.values());
        }
        blobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::missing::Lack;

    /// One of 256 sets of missing items.
    fn missing(set: u8, kind: Lack) -> Manifest {
        let mut manifest = Manifest::new(Op::Rollout);
        let names = (0..8).filter(|at| set & (1 << at) != 0).map(|at| format!("train-{:04}/{}", at / 2, at % 2));
        let item = |item: String| MissingItem { key: Digest::of_bytes(item.as_bytes()), item, kind };
        manifest.missing = names.map(item).collect();
        manifest
    }

    #[test]
    fn every_missing_set_is_a_key_of_its_own_and_none_is_the_step_s() {
        let step = Digest::of_bytes(b"a step");
        let keys: Vec<Digest> = (0..=u8::MAX).map(|set| missing(set, Lack::Failed).key(step)).collect();
        assert_eq!(keys[0], step);
        let different: std::collections::BTreeSet<&Digest> = keys.iter().collect();
        assert_eq!(different.len(), 256);
        for set in 0..=u8::MAX {
            let mut other = missing(set, Lack::Timeout);
            assert_eq!(other.key(step), keys[set as usize], "how it came to be missing changes nothing");
            other.metrics.push(Metric::plain("count", 1.0, 1));
            assert_eq!(other.key(step), keys[set as usize]);
            assert!(set == 0 || other.key(Digest::of_bytes(b"another step")) != keys[set as usize]);
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_a_whole_one_as_before() {
        let lacking = missing(0b101, Lack::Timeout);
        assert_eq!(Manifest::from_bytes(&lacking.to_bytes()).expect("reads"), lacking);
        let text = String::from_utf8(lacking.to_bytes()).expect("JSON");
        assert!(text.contains(r#""missing":[{"item":"train-0000/0","key":""#), "{text}");
        assert!(text.contains(r#""kind":"timeout"}"#), "{text}");
        let whole = String::from_utf8(missing(0, Lack::Failed).to_bytes()).expect("JSON");
        assert_eq!(whole, r#"{"op":"rollout","metrics":[]}"#);
    }
}
