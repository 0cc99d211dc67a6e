//! A search engine over a few documents: BM25 as the Python package `rank_bm25` has it.

use super::check::{Pair, Verdict};
use super::{Call, Output, Raised, Tool};
use crate::env::api_bank::text::{is_space, strip};
use crate::env::api_bank::value::{Text, Value};
use std::collections::BTreeMap;

pub const TOOLS: &[Tool] = &[Tool::new("SearchEngine", search, check)];

const K1: f64 = 1.5;
const B: f64 = 0.75;
const EPSILON: f64 = 0.25;
/// How many documents are found.
const FOUND: usize = 2;

/// Documents, and how often which word is in which.
#[derive(Debug, Default)]
pub struct Index {
    documents: Vec<Value>,
    lengths: Vec<f64>,
    /// Of a word its weight, and the documents that have it.
    words: BTreeMap<Text, (f64, Vec<(usize, f64)>)>,
}

impl Index {
    pub fn new(documents: &[Value], tokenized: &[Value]) -> Self {
        let mut words: BTreeMap<Text, (f64, Vec<(usize, f64)>)> = BTreeMap::new();
        let mut order: Vec<Text> = Vec::new();
        let mut lengths = Vec::new();
        for (place, tokens) in tokenized.iter().enumerate() {
            let tokens = tokens.as_list().unwrap_or_default();
            lengths.push(tokens.len() as f64);
            for token in tokens {
                let Value::Str(token) = token else { continue };
                let (_, found) = words.entry(token.clone()).or_insert_with(|| {
                    order.push(token.clone());
                    (0.0, Vec::new())
                });
                match found.last_mut() {
                    Some((last, count)) if *last == place => *count += 1.0,
                    _ => found.push((place, 1.0)),
                }
            }
        }
        let all = lengths.len() as f64;
        let mut sum = 0.0;
        for token in &order {
            let (weight, found) = words.get_mut(token).expect("it was just put there");
            let with = found.len() as f64;
            *weight = libm::log(all - with + 0.5) - libm::log(with + 0.5);
            sum += *weight;
        }
        // A word in most documents weighs little, not less than nothing.
        let floor = EPSILON * sum / (words.len() as f64).max(1.0);
        words.values_mut().filter(|(weight, _)| *weight < 0.0).for_each(|(weight, _)| *weight = floor);
        Self { documents: documents.to_vec(), lengths, words }
    }

    pub fn search(&self, query: &str) -> Vec<Value> {
        let average = self.lengths.iter().sum::<f64>() / (self.lengths.len() as f64).max(1.0);
        let mut scores = vec![0.0; self.lengths.len()];
        for token in tokens(query) {
            let Some((weight, found)) = self.words.get(token.as_str()) else { continue };
            for (place, count) in found {
                let length = 1.0 - B + B * self.lengths[*place] / average;
                scores[*place] += weight * (count * (K1 + 1.0) / (count + K1 * length));
            }
        }
        let mut ranks: Vec<usize> = (0..scores.len()).collect();
        ranks.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        ranks.iter().take(FOUND).filter_map(|place| self.documents.get(*place).cloned()).collect()
    }
}

/// Words and marks, each apart, as the Penn treebank has them: `it's` is `it` and `'s`, a full stop only at the end.
fn tokens(text: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(text.len() * 2);
    let chars: Vec<char> = text.chars().collect();
    for (place, &c) in chars.iter().enumerate() {
        let next = chars.get(place + 1);
        let apart = match c {
            ';' | '@' | '#' | '$' | '%' | '&' | '?' | '!' | '"' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' => true,
            ',' | ':' => next.is_none_or(|next| !next.is_ascii_digit()),
            '.' => chars[place + 1..].iter().all(|c| is_space(*c) || "])}>\"'".contains(*c)),
            _ => false,
        };
        if apart {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    let mut found = Vec::new();
    for word in spaced.split(is_space).filter(|word| !word.is_empty()) {
        let endings = ["n't", "'s", "'m", "'d", "'ll", "'re", "'ve"];
        match endings.iter().find(|ending| word.len() > ending.len() && word.ends_with(**ending)) {
            Some(ending) => {
                found.push(word[..word.len() - ending.len()].to_owned());
                found.push((*ending).to_owned());
            }
            None => found.push(word.to_owned()),
        }
    }
    found
}

fn search(call: &mut Call) -> Output {
    let keyword = call.text("keyword", "lower")?.to_lowercase();
    Ok(Value::list(call.world.library().engine.search(strip(&keyword))))
}

/// The same documents in whatever order; what was asked is not compared.
fn check(pair: &Pair) -> Verdict {
    if !pair.same("api_name")? || !pair.same("exception")? {
        return Ok(false);
    }
    let [response, gold] = pair.both("output")?.map(sorted);
    match (response, gold) {
        (Some(response), Some(gold)) => Ok(response == gold),
        _ => Err(Raised::new("UnboundLocalError", "a result without documents cannot be compared")),
    }
}

fn sorted(documents: &Value) -> Option<Vec<Value>> {
    let of = |document: &Value, name: &str| document.get(name).map(Value::display).unwrap_or_default();
    let mut documents = documents.as_list()?.to_vec();
    documents.sort_by_cached_key(|document| of(document, "title") + &of(document, "abstract"));
    Some(documents)
}
