//! Finds a tool by keywords.
//!
//! The original asks a sentence encoder. Here: what the data recorded for the same keywords, else the tool of that name, else
//! the one whose name and description have the most in common with them, by runs of three to five characters.

use super::check;
use super::{Call, Output, Tool};
use crate::env::api_bank::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const TOOLS: &[Tool] = &[Tool::new("ToolSearcher", search, check::result_only)];

/// Characters of keywords that are read.
const LONGEST: usize = 1000;

/// What is searched: of each tool the weights of the runs in its name and description.
#[derive(Debug, Default)]
pub struct Index {
    names: Vec<Arc<str>>,
    vectors: Vec<BTreeMap<String, f64>>,
    /// How rare a run is.
    weights: BTreeMap<String, f64>,
}

/// A name in words, and the description straight after it.
pub fn described(name: &str, description: &str) -> String {
    split_name(name).to_lowercase() + description
}

/// `QueryMeeting` as ` Query Meeting`, without the blank in front.
pub fn split_name(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            words.push(' ');
        }
        words.push(c);
    }
    super::text::strip(&words).to_owned()
}

fn runs(text: &str) -> BTreeMap<String, f64> {
    let chars: Vec<char> = format!(" {} ", text.to_lowercase()).chars().take(LONGEST).collect();
    let mut runs = BTreeMap::new();
    for length in 3..=5 {
        for run in chars.windows(length) {
            *runs.entry(run.iter().collect()).or_insert(0.0) += 1.0;
        }
    }
    runs
}

impl Index {
    /// Of names and descriptions.
    pub fn new(tools: &[(Arc<str>, String)]) -> Self {
        let counts: Vec<BTreeMap<String, f64>> =
            tools.iter().map(|(name, description)| runs(&described(name, description))).collect();
        let mut weights: BTreeMap<String, f64> = BTreeMap::new();
        for run in counts.iter().flat_map(BTreeMap::keys) {
            *weights.entry(run.clone()).or_insert(0.0) += 1.0;
        }
        let all = tools.len() as f64;
        weights.values_mut().for_each(|with| *with = libm::log((1.0 + all) / (1.0 + *with)) + 1.0);
        let names = tools.iter().map(|(name, _)| name.clone()).collect();
        let mut index = Self { names, vectors: Vec::new(), weights };
        index.vectors = counts.into_iter().map(|counts| index.vector(counts)).collect();
        index
    }

    fn vector(&self, mut counts: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
        counts.retain(|run, count| {
            *count *= self.weights.get(run).copied().unwrap_or_default();
            *count > 0.0
        });
        let norm = counts.values().map(|it| it * it).sum::<f64>().sqrt();
        counts.values_mut().for_each(|it| *it /= norm);
        counts
    }

    pub fn nearest(&self, keywords: &str) -> Option<&Arc<str>> {
        let plain: String = keywords.chars().filter(|c| *c != ' ').collect();
        if let Some(name) = self.names.iter().find(|name| name.eq_ignore_ascii_case(&plain)) {
            return Some(name);
        }
        let query = self.vector(runs(keywords));
        let score = |vector: &BTreeMap<String, f64>| -> f64 {
            query.iter().filter_map(|(run, weight)| Some(weight * vector.get(run)?)).sum()
        };
        let scores = self.names.iter().zip(self.vectors.iter().map(score));
        // The first of the best.
        scores.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(name, _)| name)
    }
}

fn search(call: &mut Call) -> Output {
    let keywords = call.text("keywords", "lower")?;
    let suite = call.world.suite();
    let recorded = suite.searched.get(keywords.as_ref());
    let Some(name) = recorded.or_else(|| suite.index.nearest(&keywords)) else { return Err("no tools".into()) };
    let Some(spec) = suite.specs.get(name) else { return Err("no tools".into()) };
    if spec.parameters().get("token").is_none() {
        return Ok(spec.value.clone());
    }
    // What a token is got with comes along, with what it is searched by.
    let mut found = Vec::new();
    if let Some(spec) = suite.specs.get("GetUserToken") {
        let mut token = spec.value.as_dict().cloned().unwrap_or_default();
        let description = spec.value.get("description").map(Value::display).unwrap_or_default();
        token.set("desc_for_search", Value::str(described("GetUserToken", &description)));
        found.push(Value::Dict(Arc::new(token)));
    }
    found.push(spec.value.clone());
    Ok(Value::list(found))
}
