//! Turns what is known of rows, tokens and money before anything runs into hints behind the names that a schedule gives.

use super::Document;
use crate::base::Span;
use crate::base::units::MicroUsd;
use crate::experiment::Experiment;
use crate::plan::{Op, foresee};
use crate::syntax::ast::ItemKind;
use std::collections::BTreeMap;

/// A few words behind a place, and what they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub at: usize,
    pub text: String,
    pub explanation: &'static str,
}

const EXPLANATION: &str = "As many rows as there can be in an iteration, the most tokens that models may be asked and may \
                           answer for them, and what that costs by the declared prices, if nothing is cached.";

pub fn hints(document: &Document, range: Span) -> Vec<Hint> {
    let asked = asked(document);
    let declared = document.index.declarations().filter(|(span, _)| range.start <= span.end && span.end <= range.end);
    declared
        .filter_map(|(span, it)| {
            let asked = asked.get(&span);
            let tokens = asked.map(|asked| format!("at most {} tokens", short(asked.tokens)));
            let priced = asked.filter(|asked| asked.micro_usd > 0);
            let money = priced.map(|asked| format!("at most {}", MicroUsd(asked.micro_usd)));
            let words: Vec<String> = it.rows_words().into_iter().chain(tokens).chain(money).collect();
            let text = format!(": {}", words.join(", "));
            (!words.is_empty()).then_some(Hint { at: span.end as usize, text, explanation: EXPLANATION })
        })
        .collect()
}

/// The most that a statement may ask models in one iteration.
#[derive(Clone, Copy, Default)]
struct Asked {
    tokens: u64,
    /// 0 for models of this machine.
    micro_usd: u64,
}

/// By the place of the name that the statement gives.
fn asked(document: &Document) -> BTreeMap<Span, Asked> {
    let mut most: BTreeMap<Span, Asked> = BTreeMap::new();
    for experiment in &document.experiments {
        let Some(around) = place(document, experiment) else { continue };
        let Some((plan, bounds)) = foresee(experiment) else { continue };
        for (step, bounds) in plan.steps.iter().zip(bounds) {
            let asked = (bounds.prompt_tokens + bounds.completion_tokens).high;
            if let (Op::Rollout | Op::Judge | Op::Evaluate, Some(asked)) = (step.op, asked)
                && let Some(declared) = given(document, around, &step.name)
            {
                let known = most.entry(declared).or_default();
                known.tokens = known.tokens.max(asked);
                known.micro_usd = known.micro_usd.max(bounds.spend.high.unwrap_or(0));
            }
        }
    }
    most
}

/// Where an experiment stands.
fn place(document: &Document, experiment: &Experiment) -> Option<Span> {
    let mut items = document.file.items.iter();
    items
        .find(|item| matches!(&item.kind, ItemKind::Experiment(it) if it.name.value == experiment.name))
        .map(|item| item.span)
}

/// Where the schedule within `around` gives a name.
fn given(document: &Document, around: Span, name: &str) -> Option<Span> {
    let mut declared = document.index.declarations();
    let found = declared.find(|(span, it)| around.start <= span.start && span.end <= around.end && it.name == name);
    found.map(|(span, _)| span)
}

/// `960`, `197k`, `1.2M`
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{}k", count.div_ceil(1000)),
        _ => format!("{:.1}M", count as f64 / 1e6),
    }
}
