//! Turns a finished run into a statement of what of it can be proven, level by level: [`verify`].
//!
//! | level | does | proves |
//! |---|---|---|
//! | 0 stored | hashes every blob again, reads every record, walks the journal's chain, compares the frozen files | nothing stored was changed or lost |
//! | 1 keyed | expands the frozen source again, recomputes every key and seed, and what the run says of itself | the results belong to this file and these params |
//! | 2 replayed | works every pure step again, and plays every episode, from what the models said | given that, the ground truth, the training sets, the stop and every figure follow |
//! | 3 remade | lets the models answer and train again, all or a share | the same bytes come out here |
//!
//! # Invariants
//! Nothing of the run or its store is written; what is worked again lies in a directory that is removed afterwards. A level
//! is only begun when the one below found nothing: what it would say would rest on damaged ground.

mod claims;
pub(super) mod differ;
mod levels;
mod told;

#[cfg(test)]
pub(in crate::run) mod tests;

pub(super) use levels::follows;

use crate::base::Seed;
use crate::experiment::Experiment;
use crate::model::Wire;
use crate::run::replay::Replay;
use crate::run::verify::levels::Second;
use crate::run::verify::told::Told;
use crate::run::{Clock, Control, Project, RunError, Sink};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Stored,
    Keyed,
    Replayed,
    Remade,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::Stored, Self::Keyed, Self::Replayed, Self::Remade];

    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Keyed => "keyed",
            Self::Replayed => "replayed",
            Self::Remade => "remade",
        }
    }

    /// What is proven once it holds.
    pub fn claim(self) -> &'static str {
        match self {
            Self::Stored => "nothing stored was changed or lost",
            Self::Keyed => "the results belong to this file and its params",
            Self::Replayed => "given what the models said, every figure follows",
            Self::Remade => "the models say the same again, bit by bit",
        }
    }
}

/// By its number.
impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub level: Level,
    /// Of what models made, the share that they make again on the last level, of each node something: 1 is all.
    pub share: f64,
    /// Draws that share: nobody who made the run could know it.
    pub draw: Seed,
    /// Threads; `None` leaves it to rayon.
    pub jobs: Option<usize>,
    /// On the last level: another run to compare with, instead of making anything again.
    pub against: Option<String>,
    /// What environments are started with.
    pub wire: Wire,
}

/// Turns a frozen source's directory and what was set into the experiments that the source gives; the third is the frozen
/// experiment, for where its files are.
pub type Expand<'a> = &'a dyn Fn(&Path, &BTreeMap<String, Value>, &Experiment) -> Result<Vec<Experiment>, String>;

/// One thing that is not as the run says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub level: Level,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// `verdict.score is 4 in the run and 3 now`
    pub what: String,
}

/// One level's outcome: how much was looked at, and what was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    pub level: Level,
    /// `1,412 blobs, 96 events`
    pub looked_at: String,
    pub findings: Vec<Finding>,
    /// Something was there to be proven, or disproven: a model behind an endpoint is asked nothing again.
    #[serde(skip)]
    pub proves: bool,
}

impl Outcome {
    /// What its level claims is proven.
    pub fn proven(&self) -> bool {
        self.proves && self.findings.is_empty()
    }
}

/// What could be said of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verified {
    pub run: String,
    /// As far as asked, or to the first level with findings.
    pub levels: Vec<Outcome>,
    /// The run came to its end: of one that did not, or whose journal was cut short, only what it tells is looked at.
    pub finished: bool,
    /// An interrupt ended it.
    pub interrupted: bool,
    /// Some of it was made by models that can make it again here.
    #[serde(skip)]
    pub remakable: bool,
    pub lacking: Lacking,
}

/// How many items the nodes of a run do without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lacking {
    pub failed: usize,
    pub timeout: usize,
    /// Of those that failed, so many were asked again and failed again; `None` where nothing was made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_again: Option<usize>,
    /// Where models answered again: of so many items it stands in the record alone what an endpoint said.
    #[serde(skip_serializing_if = "is_none")]
    pub recorded: u64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Lacking {
    /// Those of which nothing was proven: how many, and beside them how many that took too long, where what failed was asked
    /// again.
    pub fn not_proven(&self) -> (usize, usize) {
        let Self { failed, timeout, failed_again, recorded: _ } = *self;
        failed_again.map_or((failed + timeout, 0), |again| (failed - again, timeout))
    }
}

impl Verified {
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.levels.iter().flat_map(|level| &level.findings)
    }

    pub fn holds(&self) -> bool {
        self.findings().next().is_none()
    }
}

/// Verifies a run as far as is asked. What models make again is told to `sink` as it goes.
///
/// # Errors
/// A run that does not exist or never started, a file that cannot be read at all.
pub fn verify(
    project: &Project,
    run: &str,
    asked: &Asked,
    expand: Expand<'_>,
    control: &Control,
    clock: Clock<'_>,
    sink: Sink<'_>,
) -> Result<Verified, RunError> {
    let (levels, lacking) = (Vec::new(), Lacking::default());
    let mut verified =
        Verified { run: run.to_owned(), levels, finished: false, interrupted: false, remakable: false, lacking };
    let (mut told, mut frozen, mut recorded) = (Told::default(), None, BTreeSet::new());
    for level in Level::ALL.into_iter().take_while(|level| *level <= asked.level) {
        let second = |told, experiment| Second { project, run, told, experiment, asked, control, clock };
        let outcome = match (level, &frozen, &asked.against) {
            (Level::Stored, ..) => {
                let (outcome, heard) = levels::stored(project, run)?;
                verified.finished = heard.finished && outcome.findings.is_empty();
                told = heard;
                outcome
            }
            (Level::Keyed, ..) => {
                let (outcome, experiment, remote) = levels::keyed(project, run, &told, &asked.wire, expand)?;
                (frozen, recorded) = (experiment, remote);
                verified.remakable = told.asked().any(|node| !recorded.contains(&node.id));
                outcome
            }
            (Level::Remade, _, Some(other)) => levels::against(project, run, &told, other)?,
            (Level::Replayed, Some(experiment), _) => second(&told, experiment).replayed()?,
            (Level::Remade, Some(experiment), None) => second(&told, experiment).remade(&mut *sink)?,
            (Level::Replayed | Level::Remade, None, _) => {
                unreachable!("a level is only begun when the one below found nothing")
            }
        };
        let (sound, interrupted) = (outcome.findings.is_empty(), control.paused());
        verified.levels.push(outcome);
        if interrupted {
            verified.levels.pop();
            verified.interrupted = true;
        }
        if interrupted || !sound {
            break;
        }
    }
    let remade = verified.levels.last().is_some_and(|it| it.level == Level::Remade && it.findings.is_empty());
    let again = (remade && asked.against.is_none()).then(|| Replay::new(asked.share, asked.draw));
    verified.lacking = told.lacking(&project.store, again.as_ref(), &recorded);
    Ok(verified)
}
