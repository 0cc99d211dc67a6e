//! Turns a rule into its stages, and what is known of the rows that each leaves.

use super::Subject;
use super::facts::Facts;
use crate::experiment::Statement;
use crate::report::text::{Cell, Table};

pub fn rule(subject: &Subject, name: &str) -> Facts {
    let mut facts = subject.facts("rule", name);
    let experiment = &subject.experiment;
    let uses = experiment.rules.iter().enumerate().filter(|(_, rule)| rule.name == name);
    let mut typed = Vec::new();
    for (place, rule) in uses {
        let mut table = Table::default();
        for stage in &rule.it.stages {
            table.push([Cell::left(stage.describe())]);
        }
        facts.table(&format!("Keeps {}", selections(&experiment.schedule, place).join(", ")), table);
        typed.push(&rule.it);
    }
    facts.data("typed", typed);
    facts
}

/// What is selected by it, as `kept` from `graded`.
fn selections(statements: &[Statement], wanted: usize) -> Vec<String> {
    let mut found = Vec::new();
    for statement in statements {
        match statement {
            Statement::Select { name, rows, rule } if rule.0 == wanted => {
                found.push(format!("`{name}` of `{}`", rows.name));
            }
            Statement::Repeat { body, .. } => found.extend(selections(body, wanted)),
            _ => {}
        }
    }
    found
}
