//! Turns clauses into a request in plain English: openers, connectors, full stops.

use super::lexicon::{Pool, capital};
use crate::base::seed::Rng;

const OPENERS: &[&str] = &["please {c}", "{c}", "could you {c}", "I need you to {c}"];
const CONNECTORS: &[&str] = &[" and ", ", then ", ", and then ", ". Then ", ", and after that ", ". After that "];
const CLOSERS: &[&str] = &["Thanks.", "Thank you."];

pub fn phrases() -> impl Iterator<Item = &'static str> {
    OPENERS.iter().chain(CONNECTORS).chain(CLOSERS).copied().chain(["also ", "First ", "? ."])
}

/// The phrasings a pool may use: the first quarter is for train and dev, the last for test, the rest for both.
pub fn phrasings<'a>(all: &'a [&'a str], pool: Pool) -> &'a [&'a str] {
    let quarter = all.len() / 4;
    match pool {
        Pool::Train | Pool::Dev => &all[..all.len() - quarter],
        Pool::Test => &all[quarter..],
        Pool::All => all,
    }
}

/// Joins clauses. A clause that ends with `?` is a sentence of its own.
pub fn join(clauses: &[String], pool: Pool, rng: &mut Rng) -> String {
    let mut text = String::new();
    let mut open: Option<char> = None;
    for clause in clauses {
        let question = clause.ends_with('?');
        match open {
            Some(_) if !question => {
                let connector = rng.pick(phrasings(CONNECTORS, pool));
                let and_again =
                    *connector == " and " && text.rsplit(". ").next().is_some_and(|last| last.contains(" and "));
                let connector = if and_again { ", then " } else { connector };
                if let Some(next) = connector.strip_prefix('.') {
                    text.extend(open.replace('.'));
                    text.push_str(next);
                } else {
                    text.push_str(connector);
                }
                text.push_str(clause);
            }
            _ => {
                if let Some(end) = open.take() {
                    text.push(end);
                }
                if !text.is_empty() {
                    text.push(' ');
                }
                if question {
                    text.push_str(&capital(clause));
                } else {
                    let opener = if rng.chance(0.35) { rng.pick(phrasings(OPENERS, pool)) } else { "{c}" };
                    text.push_str(&capital(&opener.replace("{c}", clause)));
                    open = Some(if opener.starts_with("could") { '?' } else { '.' });
                }
            }
        }
    }
    text.extend(open);
    if rng.chance(0.08) {
        text.push(' ');
        text.push_str(rng.pick::<&str>(CLOSERS));
    }
    text
}
