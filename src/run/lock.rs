//! Turns an experiment, what it names and what came of it into `exp.lock`, the file beside it in git, and back.
//!
//! ```toml
//! version = 1
//!
//! [quickstart]
//! plan = "9c1f…"
//!
//! [quickstart.inputs]
//! "model policy" = "51aa…"
//!
//! [quickstart.results]
//! "rollout@1" = "07d2…"
//! ```
//!
//! # Invariants
//! A lock holds digests and no paths: it says the same on every machine. Nothing is locked in silence: inputs change by
//! `agx lock`, results come from a finished run of the same plan.

use crate::base::{Digest, file};
use crate::experiment::Experiment;
use crate::plan::{Identities, Plan};
use crate::run::{NodeStatus, RunEvent};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;
/// A lock has a line for each input and node.
const MOST_BYTES: u64 = 1 << 26;

/// The lock of one file: an entry for each of its experiments that was locked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    pub experiments: BTreeMap<String, Locked>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// Every step with its key: the file's meaning together with all inputs.
    pub plan: Digest,
    /// `model policy`, `env desk`, `dataset general`: what the declarations name, as it was.
    pub inputs: BTreeMap<String, Digest>,
    /// What each node gave in a finished run; none before there was one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub results: BTreeMap<String, Digest>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    #[serde(flatten)]
    experiments: BTreeMap<String, Locked>,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{path} cannot be read: {why}", path = .path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("{path} is of version {version} of locks; this agx reads version {VERSION}", path = .path.display())]
    Version { path: PathBuf, version: u32 },
    #[error("{path} cannot be written: {why}", path = .path.display())]
    Unwritable { path: PathBuf, why: String },
}

/// One name whose digest is another one than the lock says; `None` where it is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Differs {
    pub name: String,
    pub locked: Option<Digest>,
    pub now: Option<Digest>,
}

/// `experiments/quickstart.agx` → `experiments/quickstart.lock`
pub fn path(file: &Path) -> PathBuf {
    file.with_extension("lock")
}

impl Lock {
    /// # Errors
    /// A file that is there and is no lock of this version.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        let unreadable = |why: String| LockError::Unreadable { path: path.to_owned(), why };
        let text = match file::read_text(path, MOST_BYTES) {
            Ok(text) => text,
            Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(problem) => return Err(unreadable(file::reason(&problem))),
        };
        let table: toml::Table = toml::from_str(&text).map_err(|problem| unreadable(problem.message().to_owned()))?;
        let version = table.get("version").and_then(toml::Value::as_integer).and_then(|it| u32::try_from(it).ok());
        match version {
            Some(VERSION) => {}
            Some(version) => return Err(LockError::Version { path: path.to_owned(), version }),
            None => return Err(unreadable("it has no `version`".to_owned())),
        }
        let written: Written = toml::Value::Table(table)
            .try_into()
            .map_err(|problem: toml::de::Error| unreadable(problem.message().to_owned()))?;
        Ok(Some(Self { experiments: written.experiments }))
    }

    /// # Errors
    /// A write that fails.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let unwritable =
            |problem: std::io::Error| LockError::Unwritable { path: path.to_owned(), why: file::reason(&problem) };
        let mut beside = file::temporary(path.parent().unwrap_or(path)).map_err(unwritable)?;
        std::io::Write::write_all(&mut beside, self.text().as_bytes()).map_err(unwritable)?;
        beside.persist(path).map_err(|problem| unwritable(problem.error))?;
        Ok(())
    }

    pub fn text(&self) -> String {
        let written = Written { version: VERSION, experiments: self.experiments.clone() };
        let body = toml::to_string(&written).expect("a lock is plain data");
        format!("# Written by `agx lock`: what the file names, and what came of it. Keep it in git.\n{body}")
    }
}

impl Locked {
    /// As things are now, without results.
    pub fn now(experiment: &Experiment, identities: &Identities, plan: &Plan) -> Self {
        let mut inputs = BTreeMap::new();
        let envs = experiment.envs.iter().map(|it| format!("env {}", it.name)).zip(&identities.envs);
        let models = experiment.models.iter().map(|it| format!("model {}", it.name)).zip(&identities.models);
        let datasets = experiment.datasets.iter().map(|it| format!("dataset {}", it.name)).zip(&identities.datasets);
        inputs.extend(envs.chain(models).chain(datasets).map(|(name, digest)| (name, *digest)));
        Self { plan: plan.digest, inputs, results: BTreeMap::new() }
    }

    /// Inputs that are not as they were locked.
    pub fn inputs_differ(&self, now: &Self) -> Vec<Differs> {
        differ(&self.inputs, &now.inputs)
    }

    /// Results that are not as they were locked.
    pub fn results_differ(&self, now: &BTreeMap<String, Digest>) -> Vec<Differs> {
        differ(&self.results, now)
    }
}

fn differ(locked: &BTreeMap<String, Digest>, now: &BTreeMap<String, Digest>) -> Vec<Differs> {
    let names = locked.keys().chain(now.keys().filter(|name| !locked.contains_key(*name)));
    let both = names.map(|name| (name, locked.get(name).copied(), now.get(name).copied()));
    both.filter(|(_, locked, now)| locked != now)
        .map(|(name, locked, now)| Differs { name: name.clone(), locked, now })
        .collect()
}

/// What came of a run that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    pub plan: Digest,
    /// What each node gave.
    pub nodes: BTreeMap<String, Digest>,
    /// Nodes that completed without some of their items: they give something else where those do not fail.
    pub missing: BTreeSet<String>,
}

/// `None` of a run that did not come to its end.
pub fn results<'e>(events: impl IntoIterator<Item = &'e RunEvent>) -> Option<Results> {
    let (mut plan, mut nodes, mut missing, mut finished) = (None, BTreeMap::new(), BTreeSet::new(), false);
    for event in events {
        match event {
            RunEvent::RunStarted { plan: made, .. } => plan = Some(*made),
            RunEvent::NodeFinished {
                node,
                status: NodeStatus::Done | NodeStatus::Cached,
                output: Some(output),
                items,
                ..
            } => {
                nodes.insert(node.clone(), *output);
                if items.failed > 0 {
                    missing.insert(node.clone());
                } else {
                    missing.remove(node);
                }
            }
            RunEvent::RunFinished { failed, .. } => finished = !failed,
            _ => {}
        }
    }
    Some(Results { plan: plan.filter(|_| finished)?, nodes, missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::of_bytes(&[n])
    }

    fn lock() -> Lock {
        let inputs = BTreeMap::from([("model policy".to_owned(), digest(1)), ("env desk".to_owned(), digest(2))]);
        let results = BTreeMap::from([("rollout@1".to_owned(), digest(3)), ("evaluate:base".to_owned(), digest(4))]);
        let locked = Locked { plan: digest(0), inputs, results };
        let bare = Locked { results: BTreeMap::new(), ..locked.clone() };
        Lock { experiments: BTreeMap::from([("quickstart".to_owned(), locked), ("other".to_owned(), bare)]) }
    }

    #[test]
    fn what_is_written_is_read() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("a.lock");
        assert_eq!(Lock::read(&path).expect("nothing is no error"), None);
        lock().write(&path).expect("writes");
        assert_eq!(Lock::read(&path).expect("reads"), Some(lock()));
        let mut settings = insta::Settings::clone_current();
        settings.add_filter("[0-9a-f]{64}", "[digest]");
        settings.bind(|| insta::assert_snapshot!(lock().text()));
    }

    #[test]
    fn what_is_no_lock_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("a.lock");
        let said = |text: &str| {
            std::fs::write(&path, text).expect("writes");
            Lock::read(&path).expect_err("it is none").to_string().replace(&path.display().to_string(), "a.lock")
        };
        assert_eq!(said("version = 2"), "a.lock is of version 2 of locks; this agx reads version 1");
        assert_eq!(said("plan = 1"), "a.lock cannot be read: it has no `version`");
        assert!(
            said("version = 1\n[a]\nplan = 3").starts_with("a.lock cannot be read: "),
            "{}",
            said("version = 1\n[a]\nplan = 3")
        );
        assert!(said("<<<<<<< HEAD").starts_with("a.lock cannot be read: "));
    }

    #[test]
    fn a_difference_is_named() {
        let locked = &lock().experiments["quickstart"];
        let mut now = locked.clone();
        assert_eq!(locked.inputs_differ(&now), []);
        now.inputs.insert("model policy".to_owned(), digest(9));
        now.inputs.insert("dataset more".to_owned(), digest(8));
        now.inputs.remove("env desk");
        let names: Vec<String> = locked.inputs_differ(&now).into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["env desk", "model policy", "dataset more"]);
    }
}
