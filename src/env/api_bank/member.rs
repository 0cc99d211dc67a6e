//! API-Bank as an environment of experiments: its dialogues, its rows and its training dialogues as tasks.
//!
//! # Invariants
//! Splits share no task.

use super::episode::{ApiBankEpisode, Goal};
use super::figures::{figures, published};
use super::rows::{self, Row, RowEpisode};
use super::score::Reply;
use super::training::{self, Recording, RecordingEpisode};
use super::value::Value;
use super::{Declared, Level, Library, Mode, Tasks};
use crate::base::{Seed, file};
use crate::env::benchmark::{Figure, Published};
use crate::env::{Action, EnvSpec, Hidden, Observation, PureEpisode, Split, Task, Truth, Unopened, call};
use crate::model::ToolFormat;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// No file that is held against another is longer.
const MOST: u64 = 1 << 28;

#[derive(Debug)]
pub struct ApiBank {
    library: Arc<Library>,
    declared: Declared,
    /// Every task there is, and its place by its id.
    all: Vec<Kind>,
    places: BTreeMap<String, usize>,
    /// Of each split the places of its tasks.
    splits: Vec<(Split, Vec<usize>)>,
}

#[derive(Debug)]
enum Kind {
    Dialogue(Goal),
    Row(Row),
    Recording(Arc<Recording>),
}

#[derive(Serialize, Deserialize)]
struct Gold {
    gold: String,
}

impl ApiBank {
    /// Each split takes the next of all tasks, in an order of their own that is always the same.
    ///
    /// # Errors
    /// A copy that cannot be read, or that has fewer tasks than the splits take; training rows among what is evaluated.
    pub fn open(spec: &EnvSpec, declared: &Declared) -> Result<Self, Unopened> {
        let Declared { data, from, to, mode: _, tasks } = declared;
        let unreadable = |problem: super::Unreadable| Unopened::Unreadable(problem.to_string());
        let library = Library::open(data).map_err(unreadable)?;
        let all: Vec<Kind> = match tasks {
            Tasks::Dialogues => Goal::all(&library, *from..=*to).into_iter().map(Kind::Dialogue).collect(),
            Tasks::Turns => {
                let rows = rows::read(data, &library, *from..=*to).map_err(unreadable)?;
                rows.into_iter().map(Kind::Row).collect()
            }
            Tasks::Training => {
                if let Some(meeting) = training::meeting(data, &|path| file::read(path, MOST).ok()) {
                    return Err(Unopened::Unreadable(meeting.to_string()));
                }
                let recordings = training::read(data).map_err(unreadable)?;
                recordings.into_iter().map(|it| Kind::Recording(Arc::new(it))).collect()
            }
        };
        let places: BTreeMap<String, usize> =
            all.iter().enumerate().map(|(place, kind)| (kind.id(place, &library), place)).collect();
        let mut order: Vec<usize> = places.values().copied().collect();
        order.sort_unstable();
        Seed(0xba2c).derive("splits").rng().shuffle(&mut order);
        let wanted = spec.splits.iter().map(|split| split.size as usize).sum();
        if wanted > order.len() {
            return Err(Unopened::TooFew { wanted, has: order.len() });
        }
        let mut order = order.into_iter();
        let splits = spec.splits.iter();
        let splits = splits.map(|split| (split.clone(), order.by_ref().take(split.size as usize).collect())).collect();
        Ok(Self { library, declared: declared.clone(), all, places, splits })
    }

    fn split(&self, name: &str) -> &[usize] {
        let split = self.splits.iter().find(|(split, _)| split.name == name);
        &split.expect("references to splits are checked").1
    }

    pub fn count(&self, split: &str) -> u32 {
        self.split(split).len() as u32
    }

    pub fn task(&self, split: &str, index: u32) -> Task {
        let place = self.split(split)[index as usize];
        let kind = &self.all[place];
        let fields = match kind {
            Kind::Dialogue(goal) => vec![
                ("request", json!(goal.exchanges(&self.library)[0].said)),
                ("tools", json!(goal.tools(&self.library))),
                ("level", json!(goal.level)),
            ],
            Kind::Row(row) => vec![
                ("instruction", json!(row.instruction)),
                ("request", json!(row.input)),
                ("level", json!(row.reply.level)),
            ],
            Kind::Recording(recording) => vec![
                ("request", json!(recording.request)),
                ("tools", json!(Goal::searcher(&self.library))),
                ("level", json!(3)),
            ],
        };
        let fields: Map<_, _> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let id = kind.id(place, &self.library);
        Task { hidden: Hidden::of(&Gold { gold: id.clone() }), id, fields }
    }

    pub fn place(&self, split: &str, id: &str) -> Option<u32> {
        let wanted = self.places.get(id)?;
        let place = self.split(split).iter().position(|place| place == wanted)?;
        u32::try_from(place).ok()
    }

    /// A row is answered by text: its evaluators read it themselves, in their own notation.
    pub fn action(&self, reply: &str, format: ToolFormat) -> Action {
        match (self.declared.tasks, self.declared.mode, format) {
            (Tasks::Turns, _, _) => Action::Answer(rows::pred(reply, format)),
            (_, Mode::Official, ToolFormat::ApiBank) => call::api_bank::parse_as_original(reply),
            _ => call::parse(reply, format),
        }
    }

    pub fn start(&self, task: &Task) -> Box<dyn PureEpisode> {
        let gold: Option<Gold> = task.hidden.read();
        let kind = gold.and_then(|it| self.places.get(&it.gold)).map(|place| &self.all[*place]);
        let (library, mode) = (&self.library, self.declared.mode);
        match kind {
            Some(Kind::Dialogue(goal)) => Box::new(ApiBankEpisode::of(library, *goal, mode)),
            Some(Kind::Row(Row { reply, .. })) => {
                Box::new(RowEpisode { library: library.clone(), reply: reply.clone(), mode, done: false })
            }
            Some(Kind::Recording(recording)) => Box::new(RecordingEpisode::new(recording.clone())),
            None => Box::new(ApiBankEpisode::new(library, Level::General, mode)),
        }
    }

    pub fn is_benchmark(&self) -> bool {
        self.declared.tasks == Tasks::Turns
    }

    /// Of the rows that an evaluation asked, by their ids with what was replied: figures over all of them, and what others
    /// published. `None` where a task is no row.
    pub fn benchmark(&self, said: &[(String, String)]) -> Option<(Vec<Figure>, Published)> {
        let reply = |(id, pred): &(String, String)| match &self.all[*self.places.get(id)?] {
            Kind::Row(row) => Some(Reply { pred: pred.clone(), ..row.reply.clone() }),
            Kind::Dialogue(_) | Kind::Recording(_) => None,
        };
        let mut replies: Vec<Reply> = said.iter().filter_map(reply).collect();
        if replies.is_empty() {
            return None;
        }
        // Level 3 has one world for all its rows, in the order of the data.
        replies.sort_by_key(|reply| (reply.level, reply.sample_id, reply.api_id));
        Some((figures(&self.library, self.declared.mode, &replies), published(&replies)))
    }
}

impl Kind {
    fn id(&self, place: usize, library: &Library) -> String {
        match self {
            Kind::Dialogue(goal) => goal.id(library),
            Kind::Row(row) => row.id(),
            Kind::Recording(_) => format!("training/{place}"),
        }
    }
}

impl PureEpisode for ApiBankEpisode {
    fn step(&mut self, action: &Action) -> Observation {
        match action {
            _ if self.is_done() => Observation::done(),
            Action::Call(call) => {
                let given = call.arguments.iter();
                let given = given.map(|(name, value)| (name.as_str().into(), Value::str(value.as_str())));
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
