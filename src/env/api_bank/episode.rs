//! One run through a dialogue or a requirement: the agent calls tools until it answers.
//!
//! # Invariants
//! A recorded call is met by a call whose answer its tool's own check accepts, each by one of its own. Success needs all of them
//! met and an answer. Searches for tools are not asked for.

use super::dialogues::{Recorded, Turn};
use super::rouge::rouge_l;
use super::score::calls::made;
use super::tools::Raised;
use super::tools::check::Pair;
use super::value::{Text, Value};
use super::{Level, Library, Mode, Network, World};
use crate::env::Truth;
use std::sync::Arc;

/// Characters of an answer that are read.
const LONGEST_ANSWER: usize = 20_000;

/// What a task asks for: its number among the dialogues of its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    pub level: u32,
    pub place: usize,
}

impl Goal {
    /// `level-1/AddAgenda-level-1-1`, `level-3/7`
    pub fn read(library: &Library, id: &str) -> Option<Self> {
        let (level, name) = id.strip_prefix("level-")?.split_once('/')?;
        let level: u32 = level.parse().ok()?;
        let place = match level {
            1 | 2 => library.place(level, &format!("{name}.jsonl"))?,
            3 => name.parse().ok().filter(|place| *place < library.samples.len())?,
            _ => return None,
        };
        Some(Self { level, place })
    }

    pub fn id(self, library: &Library) -> String {
        match self.level {
            3 => format!("level-3/{}", self.place),
            level => {
                let file = &library.dialogues[level as usize - 1][self.place].file;
                format!("level-{level}/{}", file.strip_suffix(".jsonl").unwrap_or(file))
            }
        }
    }

    /// Those of some levels that call anything, in order.
    pub fn all(library: &Library, levels: std::ops::RangeInclusive<u32>) -> Vec<Self> {
        let places = |level: u32| match level {
            3 => library.samples.len(),
            level => library.dialogues[level as usize - 1].len(),
        };
        let levels = levels.filter(|level| (1..=3).contains(level));
        let all = levels.flat_map(|level| (0..places(level)).map(move |place| Self { level, place }));
        all.filter(|goal| !goal.calls(library).is_empty()).collect()
    }

    /// What the user says, a line a turn; of level 3 the requirement.
    pub fn request(self, library: &Library) -> String {
        if self.level == 3 {
            return super::text::strip(&library.samples[self.place].requirement).to_owned();
        }
        let turns = library.dialogues[self.level as usize - 1][self.place].turns.iter();
        let said: Vec<&str> =
            turns.filter_map(|turn| if let Turn::User(text) = turn { Some(text.as_ref()) } else { None }).collect();
        said.join("\n")
    }

    /// The recorded calls but for searches.
    pub fn calls(self, library: &Library) -> Vec<&Recorded> {
        let all: Vec<&Recorded> = match self.level {
            3 => library.samples[self.place].calls.iter().collect(),
            level => library.dialogues[level as usize - 1][self.place].turns.iter().filter_map(Turn::call).collect(),
        };
        all.into_iter().filter(|call| call.name.as_ref() != "ToolSearcher").collect()
    }

    /// The last that the recorded assistant said.
    fn answer(self, library: &Library) -> &str {
        match self.level {
            3 => &library.samples[self.place].response,
            level => {
                let mut turns = library.dialogues[level as usize - 1][self.place].turns.iter().rev();
                turns
                    .find_map(|turn| if let Turn::Ai(text) = turn { Some(text.as_ref()) } else { None })
                    .unwrap_or_default()
            }
        }
    }

    /// The tools that are given: of level 1 those that are needed, otherwise the one that finds others.
    pub fn tools(self, library: &Library) -> Vec<String> {
        let suite = library.suite(self.suite());
        let mut names: Vec<&str> = match self.level {
            1 => self.calls(library).into_iter().map(|call| call.name.as_ref()).collect(),
            _ => vec!["ToolSearcher"],
        };
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(|name| suite.specs.get(name)).map(|spec| spec.value.json()).collect()
    }

    pub fn suite(self) -> Level {
        if self.level == 3 { Level::Three } else { Level::General }
    }
}

/// An episode of a goal, or of none: then only its calls count.
#[derive(Clone, Debug)]
pub struct ApiBankEpisode {
    library: Arc<Library>,
    world: World,
    goal: Option<Goal>,
    /// Of each recorded call whether it was met.
    met: Vec<bool>,
    answer: Option<String>,
    mode: Mode,
}

impl ApiBankEpisode {
    pub fn new(library: &Arc<Library>, level: Level, mode: Mode) -> Self {
        let world = World::new(library, level, Network::Recorded);
        Self { library: library.clone(), world, goal: None, met: Vec::new(), answer: None, mode }
    }

    pub fn of(library: &Arc<Library>, goal: Goal, mode: Mode) -> Self {
        let met = vec![false; goal.calls(library).len()];
        Self { goal: Some(goal), met, ..Self::new(library, goal.suite(), mode) }
    }

    pub fn is_done(&self) -> bool {
        self.answer.is_some()
    }

    /// A call's whole answer.
    ///
    /// # Errors
    /// What the original raises instead of answering.
    pub fn call(&mut self, name: &str, given: Vec<(Text, Value)>) -> Result<Value, Raised> {
        let result = match self.mode {
            Mode::Official => self.world.call(name, given)?,
            Mode::Repaired => made(&mut self.world, name, given)?,
        };
        let suite = self.world.suite();
        if let (Some(goal), Some(spec)) = (self.goal, suite.specs.get(name)) {
            let calls = goal.calls(&self.library);
            let accepts = |gold: &Recorded| {
                gold.name.as_ref() == name
                    && (spec.tool.check)(&Pair { response: &result, gold: &gold.result }) == Ok(true)
            };
            let found = calls.iter().zip(&self.met).position(|(gold, met)| !met && accepts(gold));
            if let Some(place) = found {
                self.met[place] = true;
            }
        }
        Ok(result)
    }

    /// What an agent reads of an answer: the output, or what went wrong.
    pub fn observation(answer: &Result<Value, Raised>) -> String {
        match answer {
            Err(raised) => format!("{}: {}", raised.kind, raised.message),
            Ok(answer) => match answer.get("exception").filter(|exception| !exception.is_none()) {
                Some(exception) => format!("Exception: {}", exception.display()),
                None => answer.get("output").map(Value::display).unwrap_or_default(),
            },
        }
    }

    /// Ends the episode.
    pub fn answer(&mut self, text: &str) {
        self.answer = Some(text.chars().take(LONGEST_ANSWER).collect());
    }

    pub fn figures(&self) -> Truth {
        let met = self.met.iter().filter(|met| **met).count();
        let progress = met as f64 / self.met.len().max(1) as f64;
        let all = self.goal.is_some() && met == self.met.len() && self.is_done();
        let rouge = match (self.goal, &self.answer) {
            (Some(goal), Some(answer)) => rouge_l(goal.answer(&self.library), answer).map_or(0.0, |rouge| rouge.f),
            _ => 0.0,
        };
        let figures = [("success", f64::from(u8::from(all))), ("progress", progress), ("rouge", rouge)];
        figures.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect()
    }
}
