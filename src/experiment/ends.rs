//! Turns a metric into what it may be, and tells of a condition on it that never ends the loop, or always does.
//!
//! # Invariants
//! What is told is a proof: a range holds whatever a model does.

use super::Checker;
use super::error::CheckError;
use super::interval::Interval;
use super::model::{MetricRef, Until};
use super::rule::{Answers, Rows};
use super::schedule::{Flow, Made};
use crate::base::Span;
use crate::node::spec::AnswerKind;
use crate::syntax::ast::{Expr, ExprKind, Quantity};

impl Checker<'_> {
    /// Of one condition of an `until`; `bound` is what stands on its other side.
    pub(super) fn can_end(&mut self, until: &Until, span: Span, bound: Option<&Expr>, flow: &Flow) {
        let metric = match until {
            Until::Reaches { metric, .. } | Until::Falls { metric, .. } | Until::Stalls { metric, .. } => metric,
            Until::Any(_) | Until::All(_) => return,
        };
        let Some(range) = self.range_of(metric, flow) else { return };
        let (never, always, gain) = match until {
            Until::Reaches { at_least, .. } => (range.high < *at_least, range.low >= *at_least, false),
            Until::Falls { at_most, .. } => (range.low > *at_most, range.high <= *at_most, false),
            Until::Stalls { by, .. } => (range.high - range.low <= *by, false, true),
            Until::Any(_) | Until::All(_) => return,
        };
        let (path, low, high) = (metric.to_string(), range.low, range.high);
        if never {
            let percent = bound.and_then(bare_number).filter(|number| range == Interval::SHARE && *number > 1.0);
            let percent = percent.filter(|number| *number <= 100.0).and(bound).map(|bound| bound.span);
            self.error(CheckError::NeverEnds { span, path, low, high, gain, percent });
        } else if always {
            self.error(CheckError::EndsAtOnce { span, path, low, high });
        }
    }

    fn range_of(&self, metric: &MetricRef, flow: &Flow) -> Option<Interval> {
        let name = metric.metric.as_str();
        match flow.names.get(&metric.name).map(|binding| &binding.made) {
            Some(Made::Evaluation { env, .. }) => {
                let info = self.envs[env.0].it.as_ref()?;
                let own = info.schema.metrics.iter().any(|own| own == name);
                let steps = f64::from(info.spec.max_steps);
                if own { Some(Interval::SHARE) } else { of_episodes(name, steps) }
            }
            Some(Made::Rows(rows)) => {
                let steps =
                    self.envs[rows.env.0].it.as_ref().map_or(f64::INFINITY, |info| f64::from(info.spec.max_steps));
                of_rows(name, rows).or_else(|| of_episodes(name, steps))
            }
            Some(Made::Picked { .. } | Made::Poisoned) => None,
            // A critic's calibration, or a model's training.
            None => match name {
                "kappa" => Some(Interval { low: -1.0, ..Interval::SHARE }),
                "accuracy" | "parsed" | "precision" | "recall" => Some(Interval::SHARE),
                _ => None,
            },
        }
    }
}

fn of_episodes(name: &str, most_steps: f64) -> Option<Interval> {
    match name {
        "ended" | "truncated" | "error" => Some(Interval::SHARE),
        "steps" => Some(Interval { high: most_steps, ..Interval::SHARE }),
        _ => None,
    }
}

fn of_rows(name: &str, rows: &Rows) -> Option<Interval> {
    match name {
        "parsed" | "precision" | "recall" | "accuracy" | "score" | "truth" => Some(Interval::SHARE),
        "gap" => Some(Interval { low: -1.0, ..Interval::SHARE }),
        "count" => Some(Interval { low: rows.low as f64, high: rows.high as f64, whole: true }),
        _ => {
            let Answers::Schema(schema) = &rows.answer else { return None };
            let field = name.strip_suffix(".mean")?;
            match schema.fields.iter().find(|it| it.name == field)?.kind {
                AnswerKind::Int { min, max } => Some(Interval { low: min as f64, high: max as f64, whole: false }),
                AnswerKind::Bool => Some(Interval::SHARE),
                AnswerKind::Text => None,
            }
        }
    }
}

/// A number without a unit, as written.
fn bare_number(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        ExprKind::Quantity(Quantity { digits, unit: None, per: None, percent: false, .. }) => digits.value.parse().ok(),
        _ => None,
    }
}
