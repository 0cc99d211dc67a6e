//! Turns what is wrong into diagnostics: a mistake that shows at several places is told once, with a label at each.

use super::error::CheckError;
use crate::base::{Diagnostic, Label, Span};
use std::collections::BTreeMap;

/// Places that are drawn beside the first one.
const MOST_LABELS: usize = 2;

/// In the order of their places. `file`: which file a place is of; what is written in two of them is two mistakes.
pub fn tell(errors: Vec<CheckError>, file: impl Fn(Span) -> usize) -> Vec<Diagnostic> {
    let both = |error: CheckError| (mistake(&error), Diagnostic::from(error));
    let mut errors: Vec<_> = errors.into_iter().map(both).collect();
    errors.sort_by_key(|(_, diagnostic)| diagnostic.primary());
    let mut told: Vec<Diagnostic> = Vec::with_capacity(errors.len());
    let mut first = BTreeMap::new();
    for (mistake, diagnostic) in errors {
        let Some(mistake) = mistake else {
            told.push(diagnostic);
            continue;
        };
        let mistake = (file(diagnostic.primary()), mistake);
        match first.get(&mistake) {
            None => {
                first.insert(mistake, told.len());
                told.push(diagnostic);
            }
            Some(first) => again(&mut told[*first], diagnostic),
        }
    }
    told
}

/// What makes an error the same mistake as another one.
fn mistake(error: &CheckError) -> Option<(&'static str, String)> {
    Some(match error {
        CheckError::Unknown { name, .. } => ("name", name.clone()),
        CheckError::UnknownSplit { name, env, .. } => ("split", format!("{env}.{name}")),
        CheckError::UnknownColumn { name, .. } | CheckError::NotJudged { name, .. } => ("column", name.clone()),
        // `score.mean` is the metric of the column `score`.
        CheckError::UnknownMetric { name, .. } => ("column", name.strip_suffix(".mean")?.to_owned()),
        CheckError::PromptMisfit { name, why, .. } => ("prompt", format!("{name}: {why}")),
        _ => return None,
    })
}

/// The same edit at each place mends the mistake at once.
fn again(told: &mut Diagnostic, other: Diagnostic) {
    let place = other.primary();
    if told.labels.iter().any(|label| label.span == place) {
        return;
    }
    if told.labels.len() <= MOST_LABELS {
        told.labels.push(Label { span: place, text: "and here".to_owned() });
    }
    if !told.edits.is_empty() {
        told.edits.extend(other.edits);
    }
}
