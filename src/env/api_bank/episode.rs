//! One run through a dialogue or a requirement: the agent calls tools until it answers, and the user goes on as recorded.
//!
//! # Invariants
//! What the user says later is known to nobody before the agent has answered. Whatever it answers, the user says the same.
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

    /// At least one; of level 3 the requirement and its answer.
    pub fn exchanges(self, library: &Library) -> Vec<Exchange<'_>> {
        if self.level == 3 {
            let sample = &library.samples[self.place];
            let said = super::text::strip(&sample.requirement).to_owned();
            return vec![Exchange { said, answer: Some(&sample.response) }];
        }
        let mut exchanges = vec![Exchange::default()];
        // Whether the assistant did anything since the user spoke.
        let mut goes_on = false;
        for turn in &library.dialogues[self.level as usize - 1][self.place].turns {
            match turn {
                Turn::User(text) if goes_on => {
                    exchanges.push(Exchange { said: text.to_string(), answer: None });
                    goes_on = false;
                }
                Turn::User(text) => {
                    let said = &mut exchanges.last_mut().expect("there is one from the beginning").said;
                    *said = [said.as_str(), text]
                        .iter()
                        .filter(|it| !it.is_empty())
                        .copied()
                        .collect::<Vec<_>>()
                        .join("\n");
                }
                Turn::Ai(text) => {
                    goes_on = true;
                    exchanges.last_mut().expect("there is one from the beginning").answer = Some(text);
                }
                Turn::Api(_) => goes_on = true,
            }
        }
        exchanges
    }

    /// The recorded calls but for searches.
    pub fn calls(self, library: &Library) -> Vec<&Recorded> {
        let all: Vec<&Recorded> = match self.level {
            3 => library.samples[self.place].calls.iter().collect(),
            level => library.dialogues[level as usize - 1][self.place].turns.iter().filter_map(Turn::call).collect(),
        };
        all.into_iter().filter(|call| call.name.as_ref() != "ToolSearcher").collect()
    }

    /// The tools that are given: of level 1 those that are needed, otherwise the one that finds others.
    pub fn tools(self, library: &Library) -> Vec<String> {
        let suite = library.suite(self.suite());
        let mut names: Vec<&str> = match self.level {
            1 => self.calls(library).into_iter().map(|call| call.name.as_ref()).collect(),
            _ => return Self::searcher(library),
        };
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(|name| suite.specs.get(name)).map(|spec| spec.value.json()).collect()
    }

    /// The tool that finds others, as prompts of every level have it.
    pub fn searcher(library: &Library) -> Vec<String> {
        library.suite(Level::General).specs.get("ToolSearcher").map(|spec| spec.value.json()).into_iter().collect()
    }

    pub fn suite(self) -> Level {
        if self.level == 3 { Level::Three } else { Level::General }
    }
}

/// What the user says before the assistant does anything, and the last that the recorded assistant said to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// A line a turn.
    pub said: String,
    answer: Option<&'a str>,
}

/// An episode of a goal, or of none: then only its calls count, and the first answer ends it.
#[derive(Clone, Debug)]
pub struct ApiBankEpisode {
    library: Arc<Library>,
    world: World,
    goal: Option<Goal>,
    /// Of each recorded call whether it was met.
    met: Vec<bool>,
    /// One for each exchange that is over.
    answers: Vec<String>,
    exchanges: usize,
    mode: Mode,
}

impl ApiBankEpisode {
    pub fn new(library: &Arc<Library>, level: Level, mode: Mode) -> Self {
        let world = World::new(library, level, Network::Recorded);
        Self { library: library.clone(), world, goal: None, met: Vec::new(), answers: Vec::new(), exchanges: 1, mode }
    }

    pub fn of(library: &Arc<Library>, goal: Goal, mode: Mode) -> Self {
        let met = vec![false; goal.calls(library).len()];
        let exchanges = goal.exchanges(library).len();
        Self { goal: Some(goal), met, exchanges, ..Self::new(library, goal.suite(), mode) }
    }

    pub fn is_done(&self) -> bool {
        self.answers.len() == self.exchanges
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

    /// Ends an exchange, and gives what the user says next; `None` when that was the last.
    pub fn answer(&mut self, text: &str) -> Option<String> {
        if !self.is_done() {
            self.answers.push(text.chars().take(LONGEST_ANSWER).collect());
        }
        let mut exchanges = self.goal?.exchanges(&self.library).into_iter();
        exchanges.nth(self.answers.len()).map(|next| next.said)
    }

    pub fn figures(&self) -> Truth {
        let met = self.met.iter().filter(|met| **met).count();
        let progress = met as f64 / self.met.len().max(1) as f64;
        let all = self.goal.is_some() && met == self.met.len() && self.is_done();
        let exchanges = self.goal.map(|goal| goal.exchanges(&self.library)).unwrap_or_default();
        let answered = exchanges.iter().enumerate().filter_map(|(place, exchange)| {
            let given = self.answers.get(place).map_or("", String::as_str);
            Some(rouge_l(exchange.answer?, given).map_or(0.0, |rouge| rouge.f))
        });
        let answered: Vec<f64> = answered.collect();
        let rouge = answered.iter().sum::<f64>() / answered.len().max(1) as f64;
        let figures = [("success", f64::from(u8::from(all))), ("progress", progress), ("rouge", rouge)];
        figures.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect()
    }
}
