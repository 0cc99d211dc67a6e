//! Which fields of a file are in keys, and which are not: the written contract, field by field.
//!
//! [`FIELDS`] is for people and for the tests, which change every field of an experiment and look at the keys of its plan;
//! [`key`](super::key) is what makes them.

use super::difference::{Difference, differences};
use super::outline::{Part, outline};
use super::why::Planned;
use crate::base::Digest;
use crate::experiment::Named;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

/// Whether a change of a field is a change of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keyed {
    /// It decides a result.
    In,
    /// By what stands in the file that it names; where that file lies is in no key.
    Contents,
    /// No result depends on it.
    Out,
}

/// A field, and everything below it that has no line of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// As in [`Part::kind`].
    pub kind: &'static str,
    /// As [`outline`] names it; empty where the declaration has no fields.
    pub field: &'static str,
    pub keyed: Keyed,
    pub why: &'static str,
}

const fn field(kind: &'static str, field: &'static str, keyed: Keyed, why: &'static str) -> Field {
    Field { kind, field, keyed, why }
}

use Keyed::{Contents, In, Out};

/// Of a kind, the fields in the order of their lines. A more special line goes before a more general one.
pub const FIELDS: &[Field] = &[
    field("every declaration", "name", Out, "names are for people"),
    field("experiment", "name", Out, "names are for people"),
    field("experiment", "doc", Out, "comments are for people"),
    field("experiment", "seed", In, "of what draws: a greedy reply does not"),
    field("experiment", "budget", Out, "pauses a run, changes nothing that is in it"),
    field("experiment", "unstable", Out, "what it allows is keyed where it is used"),
    field("experiment", "report", Out, "chooses among results"),
    field("env", "use", In, "tasks, tools, observations, metrics"),
    field("env", "use.api-bank.data", Contents, ""),
    field("env", "use.openenv", Out, "an address says nothing of what answers there"),
    field("env", "use.mcp.address", Out, "an address says nothing of what answers there"),
    field("env", "use.agentgym", Out, "an address says nothing of what answers there"),
    field("env", "tasks", Contents, ""),
    field("env", "limits", Out, "what it may take changes nothing that it says"),
    field("env", "task", In, ""),
    field("env", "metrics", In, ""),
    field("env", "splits", In, "of the split that is worked: another split's size changes nothing"),
    field("env", "max_steps", In, ""),
    field("dataset", "from", In, ""),
    field("dataset", "from.jsonl", Contents, ""),
    field("model", "weights.path", Contents, "config, weights, tokenizer, chat template"),
    field("model", "weights.gguf", Contents, "and how it is read"),
    field("model", "weights.hub", In, "a commit is what it is"),
    field("model", "weights.fresh", In, "the shape, and its seed"),
    field("model", "weights.fresh.tokenizer", Contents, ""),
    field("model", "adapter", Contents, "its matrices and its scale"),
    field("model", "scripted", Contents, ""),
    field("model", "remote.name", In, "all that is known of what answers"),
    field("model", "remote.base_url", Out, "the same model behind another address"),
    field("model", "remote.key", Out, "who pays"),
    field("model", "remote.price", Out, "what it costs"),
    field("model", "remote.limits", Out, "how fast it may be asked"),
    field("model", "context", In, ""),
    field("model", "dtype", In, ""),
    field("model", "device", In, "a GPU's, whose results are its own: `auto` and `cpu` are one"),
    field("model", "lora", In, "of trainings whose trainer names none"),
    field("model", "tool_format", In, ""),
    field("model", "tool_calls", In, ""),
    field("prompt", "", In, "each byte, and each hole"),
    field("critic", "model", In, "by what it is"),
    field("critic", "prompt", In, "by what it says"),
    field("critic", "answer", In, ""),
    field("critic", "on_unparsed", In, ""),
    field("critic", "kind", In, ""),
    field("critic", "votes", In, ""),
    field("critic", "panel", In, ""),
    field("critic", "by", In, ""),
    field("critic", "temperature", In, ""),
    field("critic", "top_p", In, ""),
    field("critic", "top_k", In, ""),
    field("critic", "min_p", In, ""),
    field("critic", "repetition_penalty", In, ""),
    field("critic", "max_tokens", In, ""),
    field("rule", "", In, "each stage in its typed form"),
    field("trainer", "recompute", Out, "the same bits, computed twice"),
    field("trainer", "", In, "each field, as it is in this iteration"),
    field("rollout", "let", Out, "names are for people"),
    field("rollout", "max_failed", Out, "what is missing is in the keys of what reads it"),
    field("rollout", "timeout", Out, "as max_failed"),
    field("rollout", "retries", Out, "an item gives what it gives"),
    field("rollout", "", In, ""),
    field("judge", "let", Out, "names are for people"),
    field("judge", "max_failed", Out, "what is missing is in the keys of what reads it"),
    field("judge", "timeout", Out, "as max_failed"),
    field("judge", "retries", Out, "an item gives what it gives"),
    field("judge", "", In, ""),
    field("select", "let", Out, "names are for people"),
    field("select", "", In, ""),
    field("audit", "", In, ""),
    field("calibrate", "", In, ""),
    field("train", "", In, ""),
    field("evaluate", "let", Out, "names are for people"),
    field("evaluate", "max_failed", Out, "what is missing is in the keys of what reads it"),
    field("evaluate", "timeout", Out, "as max_failed"),
    field("evaluate", "retries", Out, "an item gives what it gives"),
    field("evaluate", "", In, "but no iteration: equal weights share their results"),
    field("repeat", "as", Out, "names are for people"),
    field("repeat", "times", Out, "earlier iterations stay what they are"),
    field("repeat", "until", In, "of the loop's own gates, and of nothing else"),
    field("pick", "let", Out, "names are for people"),
    field("pick", "", In, ""),
];

/// The line that holds for a field: of those that stand above it, the longest.
pub fn keyed(kind: &str, path: &str) -> Option<&'static Field> {
    let above = |line: &&Field| {
        let rest = path.strip_prefix(line.field);
        line.kind == kind
            && rest.is_some_and(|rest| line.field.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
    };
    FIELDS.iter().filter(above).max_by_key(|line| line.field.len())
}

/// One field in which two experiments differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub kind: &'static str,
    #[serde(flatten)]
    pub difference: Difference,
    pub keyed: Keyed,
}

/// Every field in which they differ, in the order of the file that is. Where files lie is none, as long as they are called the
/// same and hold the same.
pub fn changes(was: Planned<'_>, is: Planned<'_>) -> Vec<Change> {
    let (before, after) = (outline(was.experiment), outline(is.experiment));
    let find =
        |parts: &[Part], part: &Part| parts.iter().find(|it| it.kind == part.kind && it.name == part.name).cloned();
    let mut changes = Vec::new();
    for part in &after {
        match find(&before, part) {
            Some(earlier) => {
                let alike = contents(was, part).is_some_and(|it| contents(is, part) == Some(it));
                changes.extend(between(&earlier, part).into_iter().filter(|change| !(alike && change.is_moved())));
            }
            None => changes.push(declared(part, false)),
        }
    }
    changes.extend(before.iter().filter(|part| find(&after, part).is_none()).map(|part| declared(part, true)));
    changes
}

/// What stands in the files that a declaration names.
fn contents(of: Planned<'_>, Part { kind, name, .. }: &Part) -> Option<Digest> {
    fn at<T>(name: &str, list: &[Named<T>], digests: &[Digest]) -> Option<Digest> {
        list.iter().position(|it| it.name == *name).and_then(|at| digests.get(at).copied())
    }
    let Planned { experiment, identities, plan: _ } = of;
    match *kind {
        "env" => at(name, &experiment.envs, &identities.envs),
        "dataset" => at(name, &experiment.datasets, &identities.datasets),
        "model" => at(name, &experiment.models, &identities.models),
        _ => None,
    }
}

impl Change {
    /// A file of the same name somewhere else.
    fn is_moved(&self) -> bool {
        let Difference { field: _, was, is } = &self.difference;
        let file = |value: &Option<Value>| match value {
            Some(Value::String(path)) => Path::new(path).file_name().map(std::ffi::OsStr::to_owned),
            _ => None,
        };
        self.keyed == Keyed::Contents && file(was).is_some() && file(was) == file(is)
    }
}

/// A whole declaration or statement that only one of them has.
fn declared(Part { kind, name, .. }: &Part, was: bool) -> Change {
    let there = Some(json!("declared"));
    let (was, is) = if was { (there, None) } else { (None, there) };
    // The word of a statement begins with what it does.
    let field = if name.starts_with(kind) { name.clone() } else { format!("{kind} {name}") };
    Change { kind, difference: Difference { field, was, is }, keyed: Keyed::In }
}

/// The fields in which two parts of one kind differ.
pub fn between(was: &Part, is: &Part) -> Vec<Change> {
    let named = |difference: Difference| {
        let line = keyed(is.kind, &difference.field).expect("every field has a line");
        let parts = [is.name.as_str(), difference.field.as_str()].into_iter().filter(|part| !part.is_empty());
        let field = parts.collect::<Vec<_>>().join(".").replace(".[", "[");
        Change { kind: is.kind, difference: Difference { field, ..difference }, keyed: line.keyed }
    };
    differences("", &was.fields, &is.fields).into_iter().map(named).collect()
}
