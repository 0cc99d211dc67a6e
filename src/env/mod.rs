//! Environments: where an agent works, what it may see, and what only the metrics know.
//!
//! [`Env`] is the table of members. A member gives a [`Schema`], tasks by split, and [`Episode`]s that are stepped one call
//! at a time.
//!
//! # Invariants
//! An environment is a pure function of its spec, the task and the seed; state lives in the episode.
//! Ground truth leaves an episode by [`Episode::truth`] only.

pub mod api_bank;
pub mod benchmark;
pub mod call;
pub mod desk;
pub mod outside;
pub mod packed;
pub mod schema;
pub mod session;

pub use call::form::Callable;
pub use call::{Action, Call};
pub use outside::{EnvError, Outside, Reach};
pub use packed::{OpenTask, PackedTasks};
pub use schema::{Field, FieldType, Schema, ToolInfo, Visibility};

use crate::base::{Canonical, Digest, Hasher, Seed, file};
use crate::model::{Form, Message, Role, ToolFormat, Wire};
use benchmark::{Figure, Published};
use litemap::LiteMap;
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// A declared environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnvSpec {
    pub kind: EnvKind,
    pub splits: Vec<Split>,
    /// Agent turns in an episode; the one that would exceed them is not asked for.
    pub max_steps: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvKind {
    Desk,
    /// API-Bank over its published files.
    ApiBank(api_bank::Declared),
    Outside(Box<Outside>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    pub name: String,
    pub size: u32,
    /// May be evaluated, never used to train, stop or pick.
    pub held_out: bool,
}

/// One task. `fields` follow the schema's task fields; those `visible to none` are in `hidden`, apart, so that no
/// rendering can reach them by mistake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Unique in the environment, stable: `train-0012`.
    pub id: String,
    pub fields: Map<String, Value>,
    pub hidden: Hidden,
}

/// What only the environment reads of a task, kept as JSON text: a tenth of the room that its tree would take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub struct Hidden(Box<str>);

impl Hidden {
    /// The text of what has its fields in the order of their names, so that it is the text of the same tree: a tree of it, only
    /// to sort them, costs as much as all else of a task.
    pub fn of(hidden: &impl Serialize) -> Self {
        let text = serde_json::to_string(hidden).expect("a task is plain data");
        debug_assert_eq!(text, serde_json::from_str::<Value>(&text).expect("it was written here").to_string());
        Self(text.into())
    }

    /// `None` where it is of another shape.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.0).ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Value> for Hidden {
    fn from(value: Value) -> Self {
        Self(value.to_string().into())
    }
}

impl From<Hidden> for Value {
    fn from(hidden: Hidden) -> Self {
        serde_json::from_str(&hidden.0).expect("it was made of a value")
    }
}

impl Canonical for Task {
    fn feed(&self, hasher: &mut Hasher) {
        let Self { id, fields, hidden } = self;
        hasher.put(id).str(&Value::Object(fields.clone()).to_string()).str(hidden.as_str());
    }
}

/// What an episode answers to one action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// What the agent reads next; the last one is for whoever reads the trajectory.
    pub text: String,
    /// Whose words it are: a tool's, or the user's, who goes on after an answer.
    pub by: Role,
    pub done: bool,
    /// It ends here without being done.
    #[serde(default)]
    pub truncated: bool,
}

impl Observation {
    pub fn told(text: impl Into<String>) -> Self {
        Self { text: text.into(), by: Role::Tool, done: false, truncated: false }
    }

    pub fn asked(text: impl Into<String>) -> Self {
        Self { text: text.into(), by: Role::User, done: false, truncated: false }
    }

    pub fn done() -> Self {
        Self { text: String::new(), by: Role::Tool, done: true, truncated: false }
    }
}

/// Named figures of one episode, in name order: `success` is 0 or 1. At least one: of none the JSON would be a list.
pub type Truth = LiteMap<String, f64>;

/// One run through one task.
pub trait Episode: Send {
    /// # Errors
    /// An environment outside the program that fails: the episode comes to nothing.
    fn step(&mut self, action: &Action) -> Result<Observation, EnvError>;
    /// Ground truth at this moment. For metrics and audits.
    fn truth(&self) -> Truth;
    /// What may be called in it; nothing where that is not known.
    fn tools(&self) -> Vec<Callable> {
        Vec::new()
    }
}

/// An episode within the program, which cannot fail.
pub trait PureEpisode: Send {
    fn step(&mut self, action: &Action) -> Observation;
    fn truth(&self) -> Truth;
    /// As [`Episode::tools`].
    fn tools(&self) -> Vec<Callable> {
        Vec::new()
    }
}

impl PureEpisode for Box<dyn PureEpisode> {
    fn step(&mut self, action: &Action) -> Observation {
        (**self).step(action)
    }

    fn truth(&self) -> Truth {
        (**self).truth()
    }

    fn tools(&self) -> Vec<Callable> {
        (**self).tools()
    }
}

impl<E: PureEpisode> Episode for E {
    fn step(&mut self, action: &Action) -> Result<Observation, EnvError> {
        Ok(PureEpisode::step(self, action))
    }

    fn truth(&self) -> Truth {
        PureEpisode::truth(self)
    }

    fn tools(&self) -> Vec<Callable> {
        PureEpisode::tools(self)
    }
}

/// One example of a static dataset that an environment offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    pub messages: Vec<Message>,
    /// For labelled verdicts: the columns a critic's prompt may ask for (`task`, `traj`) and the true answer fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled: Option<Labelled>,
}

/// A finished trajectory with its true verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    pub task: Task,
    /// Assistant and tool messages after the prompt, in order.
    pub turns: Vec<Message>,
    pub ended: bool,
    pub truth: Truth,
}

/// An environment, opened.
#[derive(Debug)]
pub enum Env {
    Desk(desk::Desk),
    ApiBank(api_bank::ApiBank),
    Outside(Box<outside::Opened>),
}

/// An episode, and what is said before the agent's first turn, if anything.
pub type Begun = (Box<dyn Episode>, Option<Observation>);

impl Env {
    /// # Errors
    /// An environment whose data cannot be used.
    pub fn open(spec: &EnvSpec, wire: &Wire) -> Result<Self, Unopened> {
        match &spec.kind {
            EnvKind::Desk => Ok(Env::Desk(desk::Desk::new(spec))),
            EnvKind::ApiBank(declared) => {
                let unreadable =
                    |problem| Unopened::Unreadable(format!("{}: {}", declared.data.display(), file::reason(&problem)));
                // That all it names can be read is said by their names.
                identity(&spec.kind).map_err(unreadable)?;
                api_bank::ApiBank::open(spec, declared).map(Env::ApiBank)
            }
            EnvKind::Outside(outside) => {
                let opened = outside::Opened::open(outside, &spec.splits, wire)?;
                Ok(Env::Outside(Box::new(opened)))
            }
        }
    }

    /// How many tasks a split has.
    ///
    /// # Panics
    /// When the split is not declared: references are checked before.
    pub fn count(&self, split: &str) -> u32 {
        match self {
            Env::Desk(desk) => desk.split(split).size,
            Env::ApiBank(bank) => bank.count(split),
            Env::Outside(outside) => outside.split(split).len() as u32,
        }
    }

    /// A task of a split by its place.
    ///
    /// # Panics
    /// As [`Env::count`].
    pub fn task(&self, split: &str, index: u32) -> Task {
        match self {
            Env::Desk(desk) => desk.task(split, index),
            Env::ApiBank(bank) => bank.task(split, index),
            Env::Outside(outside) => outside.split(split)[index as usize].clone(),
        }
    }

    /// The place of a task in its split, by its id.
    ///
    /// # Panics
    /// As [`Env::count`].
    pub fn place(&self, split: &str, id: &str) -> Option<u32> {
        match self {
            Env::Desk(desk) => desk.place(split, id),
            Env::ApiBank(bank) => bank.place(split, id),
            Env::Outside(outside) => outside.place(split, id),
        }
    }

    /// Every task of a split, in order.
    ///
    /// # Panics
    /// As [`Env::count`].
    pub fn tasks(&self, split: &str) -> Vec<Task> {
        (0..self.count(split)).into_par_iter().map(|index| self.task(split, index)).collect()
    }

    /// What a reply says, in the way its model writes calls.
    pub fn action(&self, reply: &str, format: ToolFormat) -> Action {
        match self {
            Env::Desk(_) => call::parse(reply, format),
            Env::ApiBank(bank) => bank.action(reply, format),
            Env::Outside(outside) => outside.action(reply, format),
        }
    }

    /// What form replies in an episode have that are read without fault; `None` where every text is an action.
    pub fn form(&self, episode: &dyn Episode, format: ToolFormat) -> Option<Form> {
        match self {
            Env::Outside(outside) if !outside.has_calls() => None,
            _ => Some(call::form(&episode.tools(), format)),
        }
    }

    /// Whether [`Env::benchmark`] has figures.
    pub fn is_benchmark(&self) -> bool {
        matches!(self, Env::ApiBank(bank) if bank.is_benchmark())
    }

    /// Figures over all tasks of an evaluation, by their ids with the last reply of each, where the environment is a benchmark
    /// that counts several of them together; and what others published.
    pub fn benchmark(&self, said: &[(String, String)]) -> Option<(Vec<Figure>, Published)> {
        match self {
            Env::Desk(_) | Env::Outside(_) => None,
            Env::ApiBank(bank) => bank.benchmark(said),
        }
    }

    /// # Errors
    /// An environment outside the program that cannot be reached, or does not answer as it should.
    pub fn start(&self, task: &Task, seed: Seed) -> Result<Begun, EnvError> {
        match self {
            Env::Desk(desk) => Ok((Box::new(desk.start(task)), None)),
            Env::ApiBank(bank) => Ok((Box::new(bank.start(task)), None)),
            Env::Outside(outside) => outside.start(task, seed),
        }
    }

    /// An episode to be played again, of which `said` followed the prompt the first time. One that answers otherwise another time
    /// is played by its record.
    ///
    /// # Errors
    /// As [`Env::start`].
    pub fn again(&self, task: &Task, seed: Seed, said: (&[Message], bool), truth: &Truth) -> Result<Begun, EnvError> {
        match self {
            Env::Desk(_) | Env::ApiBank(_) => self.start(task, seed),
            Env::Outside(outside) => outside.again(task, seed, said, truth),
        }
    }

    /// How many episodes may be open at once, where each waits for somebody else.
    pub fn in_flight(&self) -> Option<usize> {
        match self {
            Env::Desk(_) | Env::ApiBank(_) => None,
            Env::Outside(outside) => Some(outside.in_flight()),
        }
    }

    /// What it says of itself and of the first task of a split, held against what the file declares.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn examine(&self, split: &str) -> Result<Vec<String>, EnvError> {
        match self {
            Env::Desk(_) | Env::ApiBank(_) => Ok(Vec::new()),
            Env::Outside(outside) => outside.examine(split),
        }
    }

    /// `count` examples of an offered dataset, by name (`lessons`, `dialogues`, `demos`, `verdicts`).
    pub fn examples(&self, offer: &str, count: u32) -> Vec<Example> {
        match self {
            Env::Desk(desk) => desk.examples(offer, count),
            Env::ApiBank(_) | Env::Outside(_) => Vec::new(),
        }
    }
}

impl EnvKind {
    /// The command that it starts, as it would be typed.
    pub fn program(&self) -> Option<String> {
        match self {
            EnvKind::Desk | EnvKind::ApiBank(_) => None,
            EnvKind::Outside(outside) => outside.reach.command().map(outside::typed_out),
        }
    }
}

/// The schema of a kind, known without opening it: the checker types prompts and rules against it.
pub fn schema(kind: &EnvKind) -> &Schema {
    match kind {
        EnvKind::Desk => desk::schema(),
        EnvKind::ApiBank(declared) => declared.schema(),
        EnvKind::Outside(outside) => &outside.schema,
    }
}

/// Whether an episode may begin with the environment's words, which stand after the prompt.
pub fn speaks_first(kind: &EnvKind) -> bool {
    matches!(kind, EnvKind::Outside(outside) if outside.reach.word() != "mcp")
}

/// Every tool of a kind, as far as it is known without reaching out.
pub fn tools(kind: &EnvKind) -> Vec<ToolInfo> {
    match kind {
        EnvKind::Desk => desk::tool_infos(),
        EnvKind::ApiBank(_) | EnvKind::Outside(_) => Vec::new(),
    }
}

/// Everything that decides tasks, tools, observations and metrics, as far as it is known without reaching out.
///
/// # Errors
/// A file of tasks that cannot be read.
pub fn identity(kind: &EnvKind) -> std::io::Result<Digest> {
    match kind {
        EnvKind::Desk => {
            // Splits and steps are in the keys of what uses them, so that a larger test set rolls nothing out again; here a
            // few tasks of the customary splits stand for what the environment is.
            let split = |name: &str, held_out| Split { name: name.to_owned(), size: 8, held_out };
            let splits = vec![split("train", false), split("dev", false), split("test", true)];
            Ok(desk::Desk::new(&EnvSpec { kind: EnvKind::Desk, splits, max_steps: 0 }).digest())
        }
        EnvKind::ApiBank(declared) => declared.identity(),
        EnvKind::Outside(outside) => outside.identity(),
    }
}

/// The files that [`identity`] reads.
///
/// # Errors
/// A directory that cannot be read.
pub fn files(kind: &EnvKind) -> std::io::Result<Vec<PathBuf>> {
    match kind {
        EnvKind::Desk => Ok(Vec::new()),
        EnvKind::ApiBank(declared) => declared.files(),
        EnvKind::Outside(outside) => Ok(outside.files()),
    }
}

/// Why an environment cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    #[error("{0}")]
    Unreadable(String),
    #[error(transparent)]
    Outside(#[from] EnvError),
    #[error("the splits take {wanted} tasks, of which there are {has}")]
    TooFew { wanted: usize, has: usize },
    #[error("the split `{split}` takes {wanted} tasks, of which there are {has}")]
    SplitTooFew { split: String, wanted: usize, has: usize },
}

/// The language has it, this version does not run it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be run by this version")]
pub struct NotBuilt(pub String);
