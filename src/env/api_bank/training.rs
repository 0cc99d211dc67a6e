//! The training rows of level 3: recorded dialogues over a thousand made-up APIs, which can be played again.
//!
//! A row of the data is a dialogue up to a call or to its answer; those up to an answer hold a whole dialogue each. Its APIs exist
//! only in what was recorded, so an agent's call is answered as it was recorded, and one that was not is an exception.
//!
//! # Invariants
//! No recorded dialogue of the evaluation is among the training rows: [`meeting`] holds what their users ask for, by digests, against
//! each other, when a file is checked and again when the environment is opened.

use super::library::{self, Unreadable};
use super::parse::{api_call, written};
use super::rouge::rouge_l;
use super::text::is_space;
use super::tools::tool_searcher::Index;
use super::value::Value;
use crate::base::Digest;
use crate::env::{Action, Call, Observation, PureEpisode, Truth};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// All training rows, and those of them that hold a whole dialogue.
const ALL: &str = "training-data/lv3-train.json";
const WHOLE: &str = "training-data/lv3-response-train.json";
/// Where the dialogues of the evaluation stand.
const EVALUATION: [&str; 3] = ["test-data/level-1-api.json", "test-data/level-2-api.json", "test-data/level-3.json"];

const SEARCH: &str = "ToolSearcher";
/// Characters of an answer that are read.
const LONGEST_ANSWER: usize = 20_000;

/// A dialogue that can be played again.
#[derive(Clone, Debug)]
pub struct Recording {
    pub request: String,
    calls: Vec<(Call, String)>,
    answer: String,
}

/// A row that writes a call in another form is left out: it could not be played again.
///
/// # Errors
/// A copy without training rows.
pub fn read(data: &Path) -> Result<Vec<Recording>, Unreadable> {
    let path = data.join(WHOLE);
    let rows = library::read(&path)?;
    let recordings: Vec<Recording> = rows.as_list().unwrap_or_default().iter().filter_map(recording).collect();
    if recordings.is_empty() {
        return Err(Unreadable { path, reason: "no dialogue in it can be played again".to_owned() });
    }
    Ok(recordings)
}

fn recording(row: &Value) -> Option<Recording> {
    let input = row.get("input")?.as_str()?;
    let mut request = None;
    let mut calls = Vec::new();
    for line in input.lines() {
        if let Some(said) = line.strip_prefix("User:") {
            request.get_or_insert_with(|| said.trim().to_owned());
        } else if let Some(call) = line.strip_prefix("API-Request:") {
            let (call, result) = call.split_once(")]->")?;
            let call = format!("{call})]");
            let found = api_call(&call)?;
            let arguments = written(found.inside).into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            calls.push((Call { name: found.name.to_owned(), arguments: arguments.collect() }, result.to_owned()));
        }
    }
    let answer = row.get("output")?.as_str()?.trim();
    let answer = answer.strip_prefix("AI:").unwrap_or(answer).trim().to_owned();
    Some(Recording { request: request?, calls, answer })
}

impl Recording {
    #[cfg(test)]
    pub fn calls(&self) -> &[(Call, String)] {
        &self.calls
    }

    #[cfg(test)]
    pub fn answer(&self) -> &str {
        &self.answer
    }

    /// The recorded search whose keywords and answer have the most in common with these.
    fn searched(&self, keywords: &str) -> Option<usize> {
        let searches = self.calls.iter().enumerate().filter(|(_, (call, _))| call.name == SEARCH);
        let asked = |call: &Call| call.arguments.get("keywords").cloned().unwrap_or_default();
        if let Some((place, _)) = searches.clone().find(|(_, (call, _))| asked(call) == keywords) {
            return Some(place);
        }
        let described: Vec<(Arc<str>, String)> =
            searches.map(|(place, (call, found))| (place.to_string().into(), asked(call) + " " + found)).collect();
        Index::new(&described).nearest(keywords)?.parse().ok()
    }
}

#[derive(Debug)]
pub struct RecordingEpisode {
    recording: Arc<Recording>,
    met: Vec<bool>,
    answer: Option<String>,
}

impl RecordingEpisode {
    pub fn new(recording: Arc<Recording>) -> Self {
        Self { met: vec![false; recording.calls.len()], recording, answer: None }
    }

    /// What was recorded for a call; of several that are the same, the first that was not made yet.
    fn call(&mut self, call: &Call) -> String {
        let calls = &self.recording.calls;
        if call.name == SEARCH {
            let keywords = call.arguments.get("keywords").map_or("", String::as_str);
            let found = self.recording.searched(keywords);
            return found.map_or_else(|| "Exception: no tools".to_owned(), |place| calls[place].1.clone());
        }
        let same = |place: &usize| calls[*place].0 == *call;
        let places = (0..calls.len()).filter(same);
        match places.clone().find(|place| !self.met[*place]).or_else(|| places.clone().next_back()) {
            Some(place) => {
                self.met[place] = true;
                calls[place].1.clone()
            }
            None if calls.iter().any(|(it, _)| it.name == call.name) => {
                "Exception: nothing is recorded for these arguments".to_owned()
            }
            None => "Exception: invalid tool name.".to_owned(),
        }
    }
}

impl PureEpisode for RecordingEpisode {
    fn step(&mut self, action: &Action) -> Observation {
        match action {
            _ if self.answer.is_some() => Observation::done(),
            Action::Call(call) => Observation::told(self.call(call)),
            Action::Unreadable(reason) => Observation::told(format!("error: {reason}")),
            Action::Answer(text) => {
                self.answer = Some(text.chars().take(LONGEST_ANSWER).collect());
                Observation::done()
            }
        }
    }

    /// As of the dialogues: searches are not asked for.
    fn truth(&self) -> Truth {
        let wanted = self.recording.calls.iter().zip(&self.met).filter(|((call, _), _)| call.name != SEARCH);
        let (all, met) = wanted.fold((0, 0), |(all, met), (_, is_met)| (all + 1, met + usize::from(*is_met)));
        let success = met == all && self.answer.is_some();
        let rouge = self.answer.as_ref().and_then(|answer| rouge_l(&self.recording.answer, answer));
        let figures = [
            ("success", f64::from(u8::from(success))),
            ("progress", f64::from(met as u32) / f64::from(all.max(1) as u32)),
            ("rouge", rouge.map_or(0.0, |rouge| rouge.f)),
        ];
        figures.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect()
    }
}

/// What a user asks for, whatever its layout: lower case, one space between words, without the time of day that training rows add.
fn asked_for(text: &str) -> Digest {
    let text = text.split("TIME:").next().unwrap_or(text).to_lowercase();
    let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    Digest::of_bytes(words.join(" ").as_bytes())
}

/// Enough of a request to find it by.
fn shown(said: &str) -> String {
    said.trim().chars().filter(|c| !c.is_control()).take(80).collect()
}

/// The first line of a text that a user says.
fn first_said(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("User:"))
}

/// A dialogue of the evaluation that a training row asks for as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    pub training: String,
    pub evaluation: String,
    pub asks: String,
}

impl std::fmt::Display for Meeting {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { training, evaluation, asks } = self;
        write!(out, "{training} asks what {evaluation} asks: `{asks}`")
    }
}

/// Holds every training row against every dialogue of the evaluation. `None`: they do not meet, as far as the files are given.
pub fn meeting(data: &Path, bytes: &dyn Fn(&Path) -> Option<Vec<u8>>) -> Option<Meeting> {
    let rows = |name: &str| -> Vec<Value> {
        let value = bytes(&data.join(name)).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        value.and_then(|rows| rows.as_list().map(<[_]>::to_vec)).unwrap_or_default()
    };
    let mut seen: BTreeMap<Digest, (&str, usize)> = BTreeMap::new();
    let said = |row: &Value| {
        let requirement = row.get("requirement").and_then(Value::as_str);
        requirement.or_else(|| first_said(row.get("input")?.as_str()?)).map(str::to_owned)
    };
    for name in EVALUATION {
        for (number, row) in rows(name).iter().enumerate() {
            if let Some(said) = said(row) {
                seen.entry(asked_for(&said)).or_insert((name, number));
            }
        }
    }
    let met = |name: &'static str| {
        let rows = rows(name);
        rows.iter().enumerate().find_map(|(number, row)| {
            let said = said(row)?;
            let (other, place) = seen.get(&asked_for(&said))?;
            let (training, evaluation) = (format!("{name}, row {number}"), format!("{other}, row {place}"));
            Some(Meeting { training, evaluation, asks: shown(&said) })
        })
    };
    [ALL, WHOLE].into_iter().find_map(met)
}
