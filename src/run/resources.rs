//! What steps work with: environments, tasks, datasets and models, opened when first needed and kept.
//!
//! # Invariants
//! A run in which everything is cached opens nothing.

use crate::base::{Digest, Hasher, file};
use crate::env::{Env, Example, NotBuilt, OpenTask, PackedTasks};
use crate::experiment::{Dataset, DatasetId, EnvId, Experiment, ModelId, Named};
use crate::model::{LanguageModel, ModelError, ModelSpec, Wire};
use crate::plan::Identities;
use crate::run::StepError;
use crate::run::manifest::RowSet;
use crate::store::Store;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct Resources<'a> {
    pub experiment: &'a Experiment,
    pub identities: &'a Identities,
    pub store: &'a Store,
    pub wire: Wire,
    envs: RefCell<BTreeMap<EnvId, Arc<Env>>>,
    tasks: RefCell<BTreeMap<(EnvId, String), Arc<PackedTasks>>>,
    models: RefCell<BTreeMap<ModelId, OpenModel>>,
}

/// A dataset of JSON lines is held in memory.
pub const MOST_JSONL: u64 = 1 << 30;

/// The tasks of a split, in order.
pub struct Tasks {
    env: Arc<Env>,
    split: String,
    pub all: Arc<PackedTasks>,
}

impl Tasks {
    pub fn get(&self, id: &str) -> Option<OpenTask> {
        Some(self.all.get(self.env.place(&self.split, id)? as usize))
    }
}

/// The weights over the declared ones, and the model with them.
type OpenModel = (Option<Digest>, Arc<dyn LanguageModel>);

/// One version of a model slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub model: ModelId,
    /// 0 is as declared.
    pub number: u32,
    /// What was trained over the declared weights.
    pub weights: Option<Digest>,
}

impl<'a> Resources<'a> {
    pub fn new(experiment: &'a Experiment, identities: &'a Identities, store: &'a Store, wire: Wire) -> Self {
        Self {
            experiment,
            identities,
            store,
            wire,
            envs: RefCell::default(),
            tasks: RefCell::default(),
            models: RefCell::default(),
        }
    }

    pub fn env(&self, id: EnvId) -> Result<Arc<Env>, StepError> {
        if let Some(env) = self.envs.borrow().get(&id) {
            return Ok(env.clone());
        }
        let Named { name, it } = &self.experiment.envs[id.0];
        let fail = |problem| StepError::Environment { name: name.clone(), problem };
        let env = Arc::new(Env::open(it, &self.wire).map_err(fail)?);
        self.envs.borrow_mut().insert(id, env.clone());
        Ok(env)
    }

    /// The tasks of a split; each split's are made once.
    pub fn tasks(&self, id: EnvId, split: &str) -> Result<Tasks, StepError> {
        let env = self.env(id)?;
        let make = || Arc::new(PackedTasks::of(&env, split));
        let all = self.tasks.borrow_mut().entry((id, split.to_owned())).or_insert_with(make).clone();
        Ok(Tasks { env, split: split.to_owned(), all })
    }

    /// One version of each slot is kept open: the last one asked for.
    pub fn model(&self, version: &Version) -> Result<Arc<dyn LanguageModel>, StepError> {
        if let Some((weights, model)) = self.models.borrow().get(&version.model)
            && *weights == version.weights
        {
            return Ok(model.clone());
        }
        let weights = version.weights.map(|digest| self.store.get(&digest)).transpose()?;
        let spec = &self.experiment.models[version.model.0].it;
        let model = crate::model::open(spec, weights.as_deref(), &self.wire);
        let model = model.map_err(|problem| self.blame(version.model, problem))?;
        #[cfg(test)]
        let model = crate::run::tests::faults::around(model);
        self.models.borrow_mut().insert(version.model, (version.weights, model.clone()));
        Ok(model)
    }

    /// A model's error with its name in the file.
    pub fn blame(&self, model: ModelId, problem: ModelError) -> StepError {
        blame(&self.experiment.models[model.0].name, problem)
    }

    /// Everything that decides what a version says.
    pub fn version_digest(&self, version: &Version) -> Digest {
        let Version { model, number: _, weights } = version;
        version_digest(&self.identities.models[model.0], &self.experiment.models[model.0].it, *weights)
    }

    pub fn examples(&self, id: DatasetId) -> Result<Vec<Example>, StepError> {
        match &self.experiment.datasets[id.0].it {
            Dataset::Offered { env, offer, count } => Ok(self.env(*env)?.examples(offer, *count)),
            Dataset::Hub { .. } => Err(NotBuilt("a data set of the hub".to_owned()).into()),
            Dataset::Jsonl { path } => {
                let fail = |problem: String| StepError::Dataset { path: path.clone(), problem };
                let text = file::read_text(path, MOST_JSONL).map_err(|error| fail(file::reason(&error)))?;
                let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
                lines
                    .map(|(at, line)| {
                        let Line { messages } =
                            serde_json::from_str(line).map_err(|error| fail(format!("line {}: {error}", at + 1)))?;
                        Ok(Example { messages, labelled: None })
                    })
                    .collect()
            }
        }
    }

    /// A blob read as JSON.
    pub fn json<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T, StepError> {
        read_json(self.store, digest)
    }

    pub fn row_set(&self, digest: Option<Digest>) -> Result<RowSet, StepError> {
        digest.map_or_else(|| Ok(RowSet::default()), |digest| self.json(&digest))
    }
}

/// Everything that decides what a model says, of one version of it.
pub fn version_digest(identity: &Digest, spec: &ModelSpec, weights: Option<Digest>) -> Digest {
    let mut hasher = Hasher::new("agx-version/1");
    hasher.put(identity).put(&spec.context).put(&spec.dtype).put(&weights);
    if spec.device.is_gpu() {
        hasher.put(&spec.device);
    }
    hasher.finish()
}

/// A model's error with its name.
pub fn blame(name: &str, problem: ModelError) -> StepError {
    match problem {
        ModelError::Paused => StepError::Paused,
        problem => StepError::Model { name: name.to_owned(), problem },
    }
}

/// A blob read as JSON; apart from [`Resources`] so that threads can share it.
pub fn read_json<T: DeserializeOwned>(store: &Store, digest: &Digest) -> Result<T, StepError> {
    let bytes = store.get(digest)?;
    serde_json::from_slice(&bytes).map_err(|problem| StepError::Blob { blob: *digest, problem: problem.to_string() })
}

/// A row of a JSON-lines dataset; other columns are not read.
#[derive(Deserialize)]
struct Line {
    messages: Vec<crate::model::Message>,
}
