//! API-Bank as an environment of experiments: its dialogues and requirements as tasks.
//!
//! # Invariants
//! Splits share no task.

use super::episode::{ApiBankEpisode, Goal};
use super::{Declared, Level, Library, Mode};
use crate::base::{Digest, Seed};
use crate::env::{Action, EnvSpec, Episode, Hidden, Observation, Split, Task, Truth, Unopened};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use std::sync::Arc;

#[derive(Debug)]
pub struct ApiBank {
    library: Arc<Library>,
    mode: Mode,
    splits: Vec<(Split, Vec<Goal>)>,
    digest: Digest,
}

#[derive(Serialize, Deserialize)]
struct Gold {
    gold: String,
}

impl ApiBank {
    /// Each split takes the next of all tasks, in an order of their own that is always the same.
    ///
    /// # Errors
    /// A copy that cannot be read, or that has fewer tasks than the splits take.
    pub fn open(spec: &EnvSpec, declared: &Declared, digest: Digest) -> Result<Self, Unopened> {
        let Declared { data, from, to, mode } = declared;
        let library = Library::open(data).map_err(|problem| Unopened::Unreadable(problem.to_string()))?;
        let mut goals = Goal::all(&library, *from..=*to);
        Seed(0xba2c).derive("splits").rng().shuffle(&mut goals);
        let wanted = spec.splits.iter().map(|split| split.size as usize).sum();
        if wanted > goals.len() {
            return Err(Unopened::TooFew { wanted, has: goals.len() });
        }
        let mut goals = goals.into_iter();
        let splits = spec.splits.iter();
        let splits = splits.map(|split| (split.clone(), goals.by_ref().take(split.size as usize).collect())).collect();
        Ok(Self { library, mode: *mode, splits, digest })
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    fn goals(&self, name: &str) -> &[Goal] {
        let split = self.splits.iter().find(|(split, _)| split.name == name);
        &split.expect("references to splits are checked").1
    }

    pub fn count(&self, split: &str) -> u32 {
        self.goals(split).len() as u32
    }

    pub fn task(&self, split: &str, index: u32) -> Task {
        let goal = self.goals(split)[index as usize];
        let fields = [
            ("request", json!(goal.exchanges(&self.library)[0].said)),
            ("tools", json!(goal.tools(&self.library))),
            ("level", json!(goal.level)),
        ];
        let fields: Map<_, _> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let id = goal.id(&self.library);
        Task { hidden: Hidden::of(&Gold { gold: id.clone() }), id, fields }
    }

    pub fn place(&self, split: &str, id: &str) -> Option<u32> {
        let goal = Goal::read(&self.library, id)?;
        let place = self.goals(split).iter().position(|it| *it == goal)?;
        u32::try_from(place).ok()
    }

    pub fn start(&self, task: &Task) -> Box<dyn Episode> {
        let gold: Option<Gold> = task.hidden.read();
        let goal = gold.and_then(|it| Goal::read(&self.library, &it.gold));
        Box::new(match goal {
            Some(goal) => ApiBankEpisode::of(&self.library, goal, self.mode),
            None => ApiBankEpisode::new(&self.library, Level::General, self.mode),
        })
    }
}

impl Episode for ApiBankEpisode {
    fn step(&mut self, action: &Action) -> Observation {
        match action {
            _ if self.is_done() => Observation::done(),
            Action::Call(call) => {
                let given = call.arguments.iter();
                let given = given.map(|(name, value)| (name.as_str().into(), super::value::Value::str(value.as_str())));
                Observation::told(Self::observation(&self.call(&call.name, given.collect())))
            }
            Action::Unreadable(reason) => Observation::told(format!("error: {reason}")),
            Action::Answer(text) => self.answer(text).map_or_else(Observation::done, Observation::asked),
        }
    }

    fn truth(&self) -> Truth {
        self.figures()
    }
}
