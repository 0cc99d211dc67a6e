//! What the benchmark says of an evaluation as a whole: shares of calls by level and rule, beside the published ones.
//!
//! # Invariants
//! The figures are those of `agx score` on the same replies, over the rows that were asked.

use super::score::{Counted, PUBLISHED, Reply, Rule, SOURCE, Scored, Status, score_counted};
use super::{Library, Mode};
use crate::env::benchmark::{Figure, Of, Published};
use std::sync::Arc;

/// The rules, by the names of their metrics.
const RULES: [(Rule, &str); 3] = [(Rule::Official, "official"), (Rule::Repaired, "repaired"), (Rule::Toolrl, "toolrl")];

/// The names of a level's figures, in the order of a report.
pub fn names(level: u32) -> Vec<String> {
    let mut names: Vec<String> = RULES.iter().map(|(_, rule)| format!("level{level}.{rule}")).collect();
    if level == 3 {
        names.extend(RULES[..2].iter().map(|(_, rule)| samples(rule)));
    }
    names.push(format!("level{level}.rouge"));
    let classes = Status::CLASSES.iter().chain(&[Status::UNCLASSIFIED, Status::RAISED]);
    names.extend(classes.map(|class| error(level, class)));
    names
}

fn samples(rule: &str) -> String {
    format!("level3.samples.{rule}")
}

fn error(level: u32, class: &str) -> String {
    format!("level{level}.errors.{}", class.to_lowercase())
}

/// Of replies to rows, the figures of each level. Error classes are shares of the calls, by the mode's rule.
pub fn figures(library: &Arc<Library>, mode: Mode, replies: &[Reply]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut add = |name: String, of| figures.push(Figure { name, of });
    for (rule, word) in RULES {
        if rule == Rule::Toolrl && library.toolrl.iter().all(Vec::is_empty) {
            continue;
        }
        let scored = score_counted(library, rule, Counted::Replies, replies);
        let Scored { mode: _, levels, statuses } = scored.expect("a row answers to something");
        for level in levels {
            let (number, calls) = (level.level, level.calls);
            if calls.rows > 0 {
                add(format!("level{number}.{word}"), Of::Share(calls.correct, calls.rows));
            }
            if let Some(whole) = level.samples.filter(|whole| whole.rows > 0) {
                add(samples(word), Of::Share(whole.correct, whole.rows));
            }
            if rule != Rule::from(mode) {
                continue;
            }
            let mine = replies.iter().zip(&statuses).filter(|(reply, _)| reply.level == number);
            let rouge: Vec<f64> =
                mine.filter_map(|(_, status)| if let Status::Response(f) = status { Some(*f) } else { None }).collect();
            if !rouge.is_empty() {
                add(format!("level{number}.rouge"), Of::Values(rouge));
            }
            if calls.rows > 0 {
                let errors = level.errors.iter();
                errors.for_each(|(class, count)| add(error(number, class), Of::Share(*count, calls.rows)));
            }
        }
    }
    figures
}

/// Of the levels that replies answer to. Level 3's published figures are of whole samples: each is a number of fiftieths.
pub fn published(replies: &[Reply]) -> Published {
    let name = |place: usize| if place == 2 { samples("official") } else { format!("level{}.official", place + 1) };
    let is_there = |place: usize| replies.iter().any(|reply| reply.level as usize == place + 1);
    let of = |percents: [f64; 3]| {
        let levels = percents.into_iter().enumerate().filter(|(place, _)| is_there(*place));
        levels.map(|(place, percent)| (name(place), percent / 100.0)).collect()
    };
    let figures = PUBLISHED.iter().map(|(whose, percents)| ((*whose).to_owned(), of(*percents))).collect();
    Published { source: SOURCE.to_owned(), figures }
}
