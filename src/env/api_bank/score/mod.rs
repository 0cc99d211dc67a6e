//! Scores replies to the dialogues, by three rules: the original's, a repaired one, and ToolRL's.
//!
//! # Invariants
//! A score is a function of the data and the replies. Services online count as down, as they were when the original was
//! measured: their rows and the tool searcher's are counted apart as well.

pub mod calls;
pub mod official;
pub mod repaired;
pub mod toolrl;

use super::Mode;
use super::dialogues::{Dialogue, Recorded, Turn};
use super::library::Library;
use super::rouge::rouge_l;
use super::tools::Raised;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// To the last quirk: each call in a world of its own, lists never read.
    #[default]
    Official,
    /// Lists are read, the dialogue's earlier calls made first, each turn counted once.
    Repaired,
    /// Name and arguments are the recorded ones; nothing is called.
    Toolrl,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub level: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_id: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_id: Option<usize>,
    pub pred: String,
}

/// What became of a reply, by the original's names.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Correct,
    NoApiCall,
    ApiNameMismatch,
    HasException,
    OutputMismatch,
    InputMismatch,
    InvalidInputParameter,
    KeyError,
    FailedParseApiCall,
    MissInputArgument,
    /// Wrong, and in none of the original's classes.
    Unclassified,
    /// An error on which the original's evaluation stops.
    Raised(Raised),
    /// Text, not a call.
    Response(f64),
    /// This rule does not count the row.
    NotCounted,
}

impl From<Mode> for Rule {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Official => Rule::Official,
            Mode::Repaired => Rule::Repaired,
        }
    }
}

/// Which rows count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// All of a level: what no reply answers is wrong.
    Level,
    /// Those that a reply answers, and of level 3 the samples all of whose calls are answered.
    Replies,
}

/// What is published for the three levels, in percent (Li et al. 2023).
pub const PUBLISHED: [(&str, [f64; 3]); 4] = [
    ("GPT-4", [63.66, 37.04, 70.00]),
    ("GPT-3.5", [59.40, 38.52, 22.00]),
    ("Lynx-7B", [49.87, 30.37, 20.00]),
    ("Alpaca-7B", [24.06, 5.19, 0.00]),
];

/// Where it is published.
pub const SOURCE: &str = "M. Li et al., API-Bank: A Comprehensive Benchmark for Tool-Augmented LLMs, EMNLP 2023";

impl Status {
    pub const UNCLASSIFIED: &'static str = "UNCLASSIFIED";
    pub const RAISED: &'static str = "RAISED";

    /// Their order in a report.
    pub const CLASSES: [&'static str; 9] = [
        "NO_API_CALL",
        "API_NAME_MISMATCH",
        "HAS_EXCEPTION",
        "INPUT_MISMATCH",
        "OUTPUT_MISMATCH",
        "INVALID_INPUT_PARAMETER",
        "KEY_ERROR",
        "FAILED_PARSE_API_CALL",
        "MISS_INPUT_ARGUMENT",
    ];

    /// Its class; an error's own words come after it in [`Status::words`].
    pub fn class(&self) -> &'static str {
        match self {
            Status::Correct => "CORRECT",
            Status::NoApiCall => "NO_API_CALL",
            Status::ApiNameMismatch => "API_NAME_MISMATCH",
            Status::HasException => "HAS_EXCEPTION",
            Status::OutputMismatch => "OUTPUT_MISMATCH",
            Status::InputMismatch => "INPUT_MISMATCH",
            Status::InvalidInputParameter => "INVALID_INPUT_PARAMETER",
            Status::KeyError => "KEY_ERROR",
            Status::FailedParseApiCall => "FAILED_PARSE_API_CALL",
            Status::MissInputArgument => "MISS_INPUT_ARGUMENT",
            Status::Unclassified => Self::UNCLASSIFIED,
            Status::Raised(_) => Self::RAISED,
            Status::Response(_) => "RESPONSE",
            Status::NotCounted => "NOT_COUNTED",
        }
    }

    pub fn words(&self) -> String {
        match self {
            Status::Raised(Raised { kind, message }) => format!("RAISED {kind}: {message}"),
            _ => self.class().to_owned(),
        }
    }

    /// The original's class of an error that a call raised.
    pub fn of(raised: Raised) -> Self {
        let Raised { kind, message } = &raised;
        match *kind {
            "AssertionError" if message.contains("The API name is not correct.") => Status::ApiNameMismatch,
            "AssertionError" if message.contains("invalid parameter name") => Status::InvalidInputParameter,
            "AssertionError" => Status::Raised(raised),
            _ if message.contains("missing") && message.contains("required positional argument") => {
                Status::MissInputArgument
            }
            _ => Status::Raised(raised),
        }
    }
}

/// What a reply answers to.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// A turn of a dialogue of level 1 or 2.
    Turn { dialogue: &'a Dialogue, turn: usize },
    /// A call of level 3.
    Call { sample: usize, call: usize },
    /// The answer of level 3.
    Answer { sample: usize },
}

/// A reply that answers to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Astray {
    #[error("there is no level {0}: levels are 1, 2 and 3")]
    Level(u32),
    #[error("a reply of level {level} needs `{needs}`")]
    Lacks { level: u32, needs: &'static str },
    #[error("level {level} has no dialogue `{file}`")]
    File { level: u32, file: String },
    #[error("`{file}` asks for {has} turns: there is no id {id}")]
    Id { file: String, has: usize, id: usize },
    #[error("level 3 has {has} samples: there is no {sample}")]
    Sample { has: usize, sample: usize },
    #[error("sample {sample} has {has} calls: there is no {call}")]
    Call { sample: usize, has: usize, call: usize },
}

/// # Errors
/// Where there is no such turn, call or sample.
pub fn asked<'a>(library: &'a Library, reply: &Reply) -> Result<Asked<'a>, Astray> {
    let level = reply.level;
    match level {
        1 | 2 => {
            let file = reply.file.as_deref().ok_or(Astray::Lacks { level, needs: "file" })?;
            let id = reply.id.ok_or(Astray::Lacks { level, needs: "id" })?;
            let place = library.place(level, file).ok_or_else(|| Astray::File { level, file: file.to_owned() })?;
            let dialogue = &library.dialogues[level as usize - 1][place];
            let turns = dialogue.asked();
            let lacking = || Astray::Id { file: file.to_owned(), has: turns.len(), id };
            Ok(Asked::Turn { dialogue, turn: *turns.get(id).ok_or_else(lacking)? })
        }
        3 => {
            let sample = reply.sample_id.ok_or(Astray::Lacks { level, needs: "sample_id" })?;
            let has = library.samples.len();
            let calls = library.samples.get(sample).ok_or(Astray::Sample { has, sample })?.calls.len();
            match reply.api_id {
                None => Ok(Asked::Answer { sample }),
                Some(call) if call < calls => Ok(Asked::Call { sample, call }),
                Some(call) => Err(Astray::Call { sample, has: calls, call }),
            }
        }
        other => Err(Astray::Level(other)),
    }
}

impl Asked<'_> {
    /// The recorded call.
    pub fn call<'a>(&'a self, library: &'a Library) -> Option<&'a Recorded> {
        match self {
            Asked::Turn { dialogue, turn } => dialogue.turns[*turn].call(),
            Asked::Call { sample, call } => library.samples[*sample].calls.get(*call),
            Asked::Answer { .. } => None,
        }
    }
}

/// ROUGE-L of a text, with an empty one at nothing; levels 1 and 2 round it to four digits.
pub fn response(library: &Library, asked: Asked, pred: &str) -> f64 {
    match asked {
        Asked::Turn { dialogue, turn } => {
            let gold = match &dialogue.turns[turn] {
                Turn::Ai(text) | Turn::User(text) => text,
                Turn::Api(_) => return 0.0,
            };
            let f = rouge_l(gold, pred).map_or(0.0, |rouge| rouge.f);
            format!("{f:.4}").parse().unwrap_or(f)
        }
        Asked::Answer { sample } | Asked::Call { sample, .. } => {
            let pred = pred.replace("User:", "").replace("AI:", "");
            rouge_l(&library.samples[sample].response, super::text::strip(&pred)).map_or(0.0, |rouge| rouge.f)
        }
    }
}

/// How many are correct of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub rows: usize,
    pub correct: usize,
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { rows, correct } = *self;
        let mut out = serializer.serialize_struct("Count", 3)?;
        out.serialize_field("rows", &rows)?;
        out.serialize_field("correct", &correct)?;
        out.serialize_field("accuracy", &self.accuracy())?;
        out.end()
    }
}

impl Count {
    fn add(&mut self, correct: bool) {
        self.rows += 1;
        self.correct += usize::from(correct);
    }

    pub fn accuracy(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.correct as f64 / self.rows as f64)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LevelScore {
    pub level: u32,
    /// Calls that are asked for, answered or not; of level 3 those that were answered, as the original counts.
    pub calls: Count,
    /// Calls that no reply answers.
    pub unanswered: usize,
    /// Of the calls those of the tool searcher, which an encoder decided.
    pub tool_searcher: Count,
    /// Of the calls those of services online.
    pub online: Count,
    /// Wrong calls by class.
    pub errors: BTreeMap<&'static str, usize>,
    /// Samples of level 3 without a wrong call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<Count>,
    pub responses: usize,
    #[serde(serialize_with = "finite", skip_serializing_if = "Option::is_none")]
    pub rouge_l: Option<f64>,
}

fn finite<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    value.filter(|it| it.is_finite()).serialize(serializer)
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    pub mode: Rule,
    /// Those that have a reply.
    pub levels: Vec<LevelScore>,
    /// What became of each reply, in their order.
    #[serde(skip)]
    pub statuses: Vec<Status>,
}

pub fn is_online(tool: &str) -> bool {
    matches!(tool, "Dictionary" | "Translate")
}

/// # Errors
/// The place of a reply that answers to nothing.
pub fn score(library: &Arc<Library>, mode: Rule, replies: &[Reply]) -> Result<Scored, (usize, Astray)> {
    score_counted(library, mode, Counted::Level, replies)
}

/// As [`score`], of some rows.
///
/// # Errors
/// As [`score`].
pub fn score_counted(
    library: &Arc<Library>,
    mode: Rule,
    counted: Counted,
    replies: &[Reply],
) -> Result<Scored, (usize, Astray)> {
    let mut asked = Vec::with_capacity(replies.len());
    for (place, reply) in replies.iter().enumerate() {
        asked.push(self::asked(library, reply).map_err(|astray| (place, astray))?);
    }
    let statuses = match mode {
        Rule::Official => official::statuses(library, replies, &asked),
        Rule::Repaired => repaired::statuses(library, replies, &asked),
        Rule::Toolrl => toolrl::statuses(library, replies, &asked),
    };
    let levels = (1..=3).filter(|level| replies.iter().any(|reply| reply.level == *level));
    let levels = levels.map(|level| level_score(library, (mode, counted), level, replies, &asked, &statuses)).collect();
    Ok(Scored { mode, levels, statuses })
}

/// What counts as one row: a row of a file, or its turn under the repaired rule and where ToolRL numbers no tool searcher.
fn row(mode: Rule, reply: &Reply, asked: Asked) -> (String, usize) {
    match asked {
        Asked::Turn { dialogue, turn } if mode == Rule::Repaired || (mode == Rule::Toolrl && reply.level == 2) => {
            (dialogue.file.clone(), turn)
        }
        Asked::Turn { dialogue, .. } => (dialogue.file.clone(), reply.id.unwrap_or_default()),
        Asked::Call { sample, call } => (sample.to_string(), call),
        Asked::Answer { sample } => (sample.to_string(), usize::MAX),
    }
}

/// Every call of a level that a mode asks for: what counts it, and the tool's name.
fn wanted(library: &Library, mode: Rule, level: u32) -> BTreeMap<(String, usize), String> {
    if mode == Rule::Toolrl {
        return toolrl::wanted(library, level);
    }
    let mut wanted = BTreeMap::new();
    if level == 3 {
        return wanted;
    }
    for dialogue in &library.dialogues[level as usize - 1] {
        for (id, turn) in dialogue.asked().into_iter().enumerate() {
            if let Some(call) = dialogue.turns[turn].call() {
                let place = if mode == Rule::Repaired { turn } else { id };
                wanted.insert((dialogue.file.clone(), place), call.name.to_string());
            }
        }
    }
    wanted
}

fn level_score(
    library: &Library,
    (mode, counted): (Rule, Counted),
    level: u32,
    replies: &[Reply],
    asked: &[Asked],
    statuses: &[Status],
) -> LevelScore {
    let mut wanted = wanted(library, mode, level);
    let mut score = LevelScore {
        level,
        calls: Count::default(),
        unanswered: 0,
        tool_searcher: Count::default(),
        online: Count::default(),
        errors: Status::CLASSES.into_iter().map(|class| (class, 0)).collect(),
        samples: None,
        responses: 0,
        rouge_l: None,
    };
    let mut count = |name: &str, status: Option<&Status>| {
        let correct = status == Some(&Status::Correct);
        score.calls.add(correct);
        if name == "ToolSearcher" {
            score.tool_searcher.add(correct);
        }
        if is_online(name) {
            score.online.add(correct);
        }
        match status {
            None => score.unanswered += 1,
            Some(Status::Correct) => {}
            Some(status) => *score.errors.entry(status.class()).or_default() += 1,
        }
    };
    let mine = || replies.iter().zip(asked).zip(statuses).filter(|((reply, _), _)| reply.level == level);
    // Of two replies to one row the last counts.
    let mut last: BTreeMap<(String, usize), (&Asked, &Status)> = BTreeMap::new();
    let (mut rouge, mut wrong) = (Vec::new(), std::collections::BTreeSet::new());
    for ((reply, asked), status) in mine() {
        match status {
            Status::Response(f) => rouge.push(*f),
            Status::NotCounted => {}
            _ => {
                last.insert(row(mode, reply, *asked), (asked, status));
            }
        }
        if let (Asked::Call { sample, .. }, false) = (asked, matches!(status, Status::Correct | Status::NotCounted)) {
            wrong.insert(*sample);
        }
    }
    for (row, (asked, status)) in &last {
        wanted.remove(row);
        count(asked.call(library).map_or("", |call| &call.name), Some(status));
    }
    if counted == Counted::Level {
        wanted.values().for_each(|name| count(name, None));
    }
    if level == 3 && mode != Rule::Toolrl && !last.is_empty() {
        let answered = |sample: &usize| last.keys().filter(|(it, _)| *it == sample.to_string()).count();
        let is_whole = |sample: &usize| answered(sample) == library.samples[*sample].calls.len();
        let samples = (0..library.samples.len()).filter(|it| counted == Counted::Level || is_whole(it));
        let mut whole = Count::default();
        samples.for_each(|sample| whole.add(!wrong.contains(&sample)));
        score.samples = Some(whole);
    }
    score.responses = rouge.len();
    score.rouge_l = (!rouge.is_empty()).then(|| rouge.iter().sum::<f64>() / rouge.len() as f64);
    score
}
