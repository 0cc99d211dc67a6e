//! Turns a run's experiment into the list of files that it hangs on, each with its place below the run's directory, where a
//! run that was brought from elsewhere has it: `files/0/policy.json`, `files/1/critic/config.json`.
//!
//! A frozen experiment names its files from where its project lay. Elsewhere they lie with the run, so nothing of it is
//! written beside the store, and no name in it can lead out of its directory.
//!
//! # Invariants
//! A place depends on nothing but the frozen experiment. Nothing here writes.

use crate::env;
use crate::experiment::Dataset;
use crate::model;
use crate::run::{Project, RunError, directory};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A file that decides something about an experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Below `files/`, with `/`.
    pub place: String,
    /// Where it lies now.
    pub path: PathBuf,
}

/// All files that a run's experiment hangs on, by their places; with those of its models, or without.
///
/// # Errors
/// A frozen experiment or a directory that cannot be read.
pub fn files(project: &Project, run: &str, with_models: bool) -> Result<Vec<Carried>, RunError> {
    let experiment = directory::experiment(project, run)?;
    let mut frozen = directory::as_frozen(project, run)?;
    let mut lying = experiment.clone();
    let lying = directory::files(&mut lying).into_iter();
    let places = directory::places(&mut frozen).into_iter().zip(lying).map(|((place, _), path)| (path.clone(), place));
    let places: BTreeMap<PathBuf, PathBuf> = places.collect();
    let mut found = BTreeMap::new();
    let mut add = |files: Vec<PathBuf>| {
        for path in files {
            // A file that is named itself, or one in a directory that is.
            let root = path.ancestors().find_map(|above| Some((above, places.get(above)?)));
            let (above, place) = root.expect("a file is or lies below what the experiment names");
            let below = path.strip_prefix(above).expect("an ancestor is a prefix");
            let parts = place.iter().chain(below.iter()).map(|part| part.to_string_lossy());
            let place = parts.collect::<Vec<_>>().join("/");
            found.entry(place.clone()).or_insert(Carried { place, path });
        }
    };
    for model in experiment.models.iter().filter(|_| with_models) {
        let blame = |problem| RunError::Model { name: model.name.clone(), problem };
        add(model::files(&model.it).map_err(blame)?);
    }
    for env in &experiment.envs {
        let blame = |problem| RunError::Environment { name: env.name.clone(), problem };
        add(env::files(&env.it.kind).map_err(blame)?);
    }
    for dataset in &experiment.datasets {
        if let Dataset::Jsonl { path } = &dataset.it {
            add(vec![path.clone()]);
        }
    }
    Ok(found.into_values().collect())
}
