//! Turns a rule into its stages, and what is known of the rows that each leaves.

use super::Subject;
use super::facts::Facts;
use crate::experiment::{RowBounds, Statement};
use crate::report::text::{Cell, Table, count};

pub fn rule(subject: &Subject, name: &str) -> Facts {
    let mut facts = subject.facts("rule", name);
    let experiment = &subject.experiment;
    let uses = experiment.rules.iter().enumerate().filter(|(_, rule)| rule.name == name);
    let mut typed = Vec::new();
    for (place, rule) in uses {
        let mut table = Table::with_head([Cell::left("stage"), Cell::right("rows it leaves")]);
        let counts = subject.counts.iter().find(|counts| counts.stages == rule.it.stages);
        if let Some(counts) = counts {
            table.push([Cell::left(""), Cell::right(bounds(counts.before))]);
        }
        for (at, stage) in rule.it.stages.iter().enumerate() {
            let left = counts.and_then(|counts| counts.after.get(at)).map_or_else(String::new, |left| bounds(*left));
            table.push([Cell::left(stage.describe()), Cell::right(left)]);
        }
        facts.table(&format!("Keeps {}", selections(&experiment.schedule, place).join(", ")), table);
        typed.push(&rule.it);
    }
    facts.data("typed", typed);
    facts.data("rows", &subject.counts);
    facts
}

/// `256`, `0 to 256`, `at least 16`: what holds whatever the model and the critic do.
fn bounds(RowBounds { low, high, pairs }: RowBounds) -> String {
    let what = if pairs { " pairs" } else { "" };
    match (low, high) {
        (low, u64::MAX) => format!("at least {}{what}", count(low)),
        (low, high) if low == high => format!("{}{what}", count(low)),
        (low, high) => format!("{} to {}{what}", count(low), count(high)),
    }
}

/// What is selected by it, as `kept` from `graded`.
fn selections(statements: &[Statement], wanted: usize) -> Vec<String> {
    let mut found = Vec::new();
    for statement in statements {
        match statement {
            Statement::Select { name, rows, rule } if rule.values().any(|rule| rule.0 == wanted) => {
                found.push(format!("`{name}` of `{}`", rows.name));
            }
            Statement::Repeat { body, .. } => found.extend(selections(body, wanted)),
            _ => {}
        }
    }
    found
}
