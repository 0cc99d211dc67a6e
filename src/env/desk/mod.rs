//! The desk: a procedurally generated office, with calendar, mail, contacts, rooms, expenses, notes and reminders.
//!
//! [`Desk`] is the environment. A task is a request of one to four dependent calls ([`task`]), made of moves ([`moves`]) in
//! families ([`families`]); an [`episode`] steps an office ([`tools`], [`world`]). [`lessons`] and [`verdicts`] are the texts
//! that it offers to learn from and to measure with.
//!
//! # Invariants
//! Everything is drawn from constants, split names and indices: no declared seed, so a task is the same in every run.
//! Nothing here reads a file.

pub mod episode;
pub mod expert;
pub mod families;
pub mod lessons;
pub mod lexicon;
pub mod mistakes;
pub mod moves;
pub mod request;
pub mod session;
pub mod small_talk;
pub mod task;
pub mod tools;
pub mod verdicts;
pub mod world;

#[cfg(test)]
mod tests;

pub use expert::expert;
pub use lexicon::lexicon;

use super::schema::Offer;
use super::{EnvSpec, Example, Field, FieldType, PureEpisode, Schema, Split, Task, ToolInfo, Visibility};
use crate::base::{Digest, Hasher, Seed};
use lexicon::Pool;
use std::sync::LazyLock;

/// Changes by hand with every change of tasks, tools, observations, metrics or offered text.
const REVISION: u64 = 1;

#[derive(Debug)]
pub struct Desk {
    splits: Vec<Split>,
}

impl Desk {
    pub fn new(spec: &EnvSpec) -> Self {
        Self { splits: spec.splits.clone() }
    }

    /// Of the generator, not of the declared splits: a task has a digest of its own, and one more of them changes no other.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new("agx-desk/2");
        hasher.u64(REVISION).put(&lexicon());
        for (name, held_out) in [("train", false), ("dev", false), ("test", true)] {
            // A few tasks and lessons stand for the generator: a change that was not announced shows.
            for index in 0..8 {
                let task = task_of(name, held_out, index);
                let actions = expert(&task);
                hasher.put(&task).str(&format!("{actions:?}"));
            }
        }
        for index in 0..8 {
            for (offer, corpus) in [("lessons", &lessons::LESSONS), ("hasty_lessons", &lessons::HASTY)] {
                hasher.put(&lessons::lesson(corpus, &mut stream(offer, index).rng()));
            }
        }
        hasher.finish()
    }

    pub fn split(&self, name: &str) -> &Split {
        self.splits.iter().find(|split| split.name == name).expect("references to splits are checked")
    }

    pub fn task(&self, split: &str, index: u32) -> Task {
        task_of(split, self.split(split).held_out, index)
    }

    pub fn place(&self, split: &str, id: &str) -> Option<u32> {
        let index = id.strip_prefix(split)?.strip_prefix('-')?.parse().ok()?;
        (index < self.split(split).size && id == id_of(split, index)).then_some(index)
    }

    pub fn start(&self, task: &Task) -> Box<dyn PureEpisode> {
        Box::new(episode::DeskEpisode::new(task::goal(task).unwrap_or_else(task::Goal::nothing)))
    }

    pub fn examples(&self, offer: &str, count: u32) -> Vec<Example> {
        (0..count).filter_map(|index| example(offer, index)).collect()
    }
}

fn stream(name: &str, index: u32) -> Seed {
    Seed(0xde5c).derive(name).derive(index)
}

fn example(offer: &str, index: u32) -> Option<Example> {
    let mut rng = stream(offer, index).rng();
    let plain = |messages| Example { messages, labelled: None };
    match offer {
        "lessons" => Some(plain(lessons::lesson(&lessons::LESSONS, &mut rng))),
        "hasty_lessons" => Some(plain(lessons::lesson(&lessons::HASTY, &mut rng))),
        "dialogues" => Some(plain(lessons::dialogue(&mut rng))),
        "demos" => Some(verdicts::demo(&mut rng)),
        "verdicts" | "verdict_lessons" => Some(verdicts::verdict(format!("verdict-{index:05}"), &mut rng)),
        _ => None,
    }
}

/// The pool of a split: `train`, `dev` and `test` by name, others by whether they are held out.
fn pool(split: &str, held_out: bool) -> Pool {
    match split {
        "train" => Pool::Train,
        "dev" => Pool::Dev,
        "test" => Pool::Test,
        _ if held_out => Pool::Test,
        _ => Pool::Train,
    }
}

fn task_of(split: &str, held_out: bool, index: u32) -> Task {
    let pool = pool(split, held_out);
    let mut rng = stream("tasks", index).derive(split).rng();
    let weight = |family: &families::Family| if pool == Pool::Test { family.test } else { family.train };
    let draft = task::compose(verdicts::family(weight, &mut rng).parts, pool, &mut rng);
    draft.into_task(id_of(split, index))
}

fn id_of(split: &str, index: u32) -> String {
    format!("{split}-{index:04}")
}

pub fn tool_infos() -> Vec<ToolInfo> {
    let tools = tools::Tool::ALL.into_iter();
    tools.map(|tool| ToolInfo { signature: tool.signature(), changes: tool.changes() }).collect()
}

pub fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
        let field = |name: &str, ty, visible, doc: &str| {
            let (name, doc) = (name.to_owned(), doc.to_owned());
            Field { name, ty, optional: false, max_tokens: None, visible, doc }
        };
        let offer = |name: &str, labelled, doc: &str| Offer { name: name.to_owned(), labelled, doc: doc.to_owned() };
        Schema {
            name: "desk".to_owned(),
            task: vec![
                field("request", FieldType::Text, Visibility::ALL, "What the user wants, in plain English."),
                field(
                    "tools",
                    FieldType::List(Box::new(FieldType::Text)),
                    Visibility::ALL,
                    "The granted tools, each a signature: `find_contact(name)`.",
                ),
                field("goal", FieldType::Opaque, Visibility::NONE, "The office, and what success needs."),
            ],
            metrics: ["success", "progress"].map(str::to_owned).into(),
            offers: vec![
                offer("lessons", false, "Conversations that teach language, format, copying and single calls."),
                offer(
                    "hasty_lessons",
                    false,
                    "The same by hands that mostly forget all parts of a request but the first.",
                ),
                offer("dialogues", false, "Ordinary office talk and single calls, against forgetting."),
                offer("demos", false, "An expert's episodes on tasks like those of train."),
                offer(
                    "verdicts",
                    true,
                    "Trajectories of an agent that makes mistakes, with the truth: to measure a critic.",
                ),
                offer(
                    "verdict_lessons",
                    true,
                    "Others of the same kind: to teach a critic, apart from what measures it.",
                ),
            ],
            doc: "An office desk with contacts, mail, calendar, rooms, expenses, notes, reminders and search."
                .to_owned(),
        }
    });
    &SCHEMA
}
