//! Turns recorded metrics into the decision to end a `repeat`.
//!
//! # Invariants
//! Never reads time or spend. A metric that was not recorded never stops a loop.

use serde::{Deserialize, Serialize};

/// `dev.success`, `kept.precision`, `graded.score.mean`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MetricRef {
    pub name: String,
    pub metric: String,
}

impl std::fmt::Display for MetricRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.name, self.metric)
    }
}

/// When a `repeat` ends early. Reads recorded metrics only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// The metric's best has not grown by `by`, or at all where it is 0, for `rounds` iterations; `since` counts as
    /// iteration 0.
    Stalls {
        metric: MetricRef,
        rounds: u32,
        by: f64,
        since: Option<String>,
    },
    Reaches {
        metric: MetricRef,
        at_least: f64,
    },
    Falls {
        metric: MetricRef,
        at_most: f64,
    },
    Any(Vec<Until>),
    All(Vec<Until>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateDecision {
    pub stop: bool,
    /// One line for people: `dev.success: best 0.53, 0.525 two iterations ago: grew by less than 0.01`.
    pub why: String,
}

/// Growth closer to `by` than this counts as `by`: 0.30 − 0.29 is not exactly 0.01.
const SLACK: f64 = 1e-9;

/// Decides after iteration `iteration` (from 1). `history` gives a metric's recorded value at an iteration; for the name
/// in `since` it is asked at iteration 0.
pub fn decide(until: &Until, history: &dyn Fn(&MetricRef, u32) -> Option<f64>, iteration: u32) -> GateDecision {
    let unknown = |metric: &MetricRef| GateDecision { stop: false, why: format!("{metric} is not known") };
    match until {
        Until::Reaches { metric, at_least } => match history(metric, iteration) {
            None => unknown(metric),
            Some(value) => {
                let stop = value >= *at_least;
                let sign = if stop { "reached" } else { "below" };
                GateDecision { stop, why: format!("{metric} {}: {sign} {at_least}", figure(value)) }
            }
        },
        Until::Falls { metric, at_most } => match history(metric, iteration) {
            None => unknown(metric),
            Some(value) => {
                let stop = value <= *at_most;
                let sign = if stop { "fell to" } else { "above" };
                GateDecision { stop, why: format!("{metric} {}: {sign} {at_most}", figure(value)) }
            }
        },
        Until::Stalls { metric, rounds, by, since } => {
            let at = |i: u32| match (i, since) {
                (0, None) => None,
                (0, Some(name)) => history(&MetricRef { name: name.clone(), metric: metric.metric.clone() }, 0),
                _ => history(metric, i),
            };
            let best = |last: u32| (0..=last).filter_map(at).reduce(f64::max);
            let (Some(earlier), Some(now)) = (iteration.checked_sub(*rounds).and_then(best), best(iteration)) else {
                return GateDecision {
                    stop: false,
                    why: format!("{metric}: fewer than {rounds} iterations to compare"),
                };
            };
            // Without a margin, any growth counts.
            let stop = now <= earlier || now - earlier < by - SLACK;
            let verdict = match (*by > 0.0, stop) {
                (true, true) => format!("grew by less than {by}"),
                (true, false) => format!("grew by at least {by}"),
                (false, true) => "did not grow".to_owned(),
                (false, false) => "grew".to_owned(),
            };
            let why = format!(
                "{metric}: best {} after {} {rounds} iterations before: {verdict}",
                figure(now),
                figure(earlier)
            );
            GateDecision { stop, why }
        }
        Until::Any(parts) => {
            let parts: Vec<GateDecision> = parts.iter().map(|part| decide(part, history, iteration)).collect();
            let stop = parts.iter().any(|part| part.stop);
            GateDecision { stop, why: join(&parts, stop) }
        }
        Until::All(parts) => {
            let parts: Vec<GateDecision> = parts.iter().map(|part| decide(part, history, iteration)).collect();
            let stop = !parts.is_empty() && parts.iter().all(|part| part.stop);
            GateDecision { stop, why: join(&parts, stop) }
        }
    }
}

/// The reasons of the parts that decided: those that agree with the outcome.
fn join(parts: &[GateDecision], stop: bool) -> String {
    let why: Vec<&str> = parts.iter().filter(|part| part.stop == stop).map(|part| part.why.as_str()).collect();
    why.join("; ")
}

fn figure(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str) -> MetricRef {
        MetricRef { name: name.to_owned(), metric: "success".to_owned() }
    }

    /// `dev` at iterations 1, 2, …; `base` at 0.
    fn after(until: &Until, base: Option<f64>, dev: &[f64]) -> GateDecision {
        let history = |metric: &MetricRef, iteration: u32| match (metric.name.as_str(), iteration) {
            ("base", 0) => base,
            ("dev", iteration) => dev.get(iteration.checked_sub(1)? as usize).copied(),
            _ => None,
        };
        decide(until, &history, dev.len() as u32)
    }

    fn stalls(since: bool) -> Until {
        Until::Stalls { metric: metric("dev"), rounds: 2, by: 0.01, since: since.then(|| "base".to_owned()) }
    }

    #[test]
    fn stalling_compares_bests_and_base_counts_as_iteration_zero() {
        assert!(!after(&stalls(true), Some(0.3), &[0.3]).stop, "one iteration is not two");
        assert!(after(&stalls(true), Some(0.3), &[0.3, 0.305]).stop);
        assert!(!after(&stalls(true), Some(0.29), &[0.1, 0.30]).stop, "0.30 - 0.29 is 0.01");
        assert!(after(&stalls(true), Some(0.5), &[0.2, 0.3]).stop, "the best is the base's");
        assert!(!after(&stalls(false), Some(0.5), &[0.2, 0.2]).stop, "nothing lies two iterations before the second");
        assert!(after(&stalls(false), None, &[0.2, 0.2, 0.2]).stop);
        assert!(!after(&stalls(false), None, &[0.2, 0.1, 0.4]).stop);
        assert!(after(&stalls(false), None, &[0.4, 0.5, 0.4, 0.5]).stop, "back to the best is no growth");
        let why = after(&stalls(true), Some(0.3), &[0.3, 0.305]).why;
        assert_eq!(why, "dev.success: best 0.305 after 0.3 2 iterations before: grew by less than 0.01");
    }

    #[test]
    fn without_a_margin_any_growth_counts() {
        let until = Until::Stalls { metric: metric("dev"), rounds: 1, by: 0.0, since: None };
        assert!(after(&until, None, &[0.2, 0.2]).stop && after(&until, None, &[0.2, 0.1]).stop);
        assert!(!after(&until, None, &[0.2, 0.2001]).stop);
        let why = after(&until, None, &[0.2, 0.2]).why;
        assert_eq!(why, "dev.success: best 0.2 after 0.2 1 iterations before: did not grow");
    }

    #[test]
    fn reaching_and_falling_meet_their_bounds() {
        let reaches = Until::Reaches { metric: metric("dev"), at_least: 0.5 };
        let falls = Until::Falls { metric: metric("dev"), at_most: 0.1 };
        assert!(after(&reaches, None, &[0.2, 0.5]).stop && !after(&reaches, None, &[0.6, 0.4]).stop);
        assert!(after(&falls, None, &[0.1]).stop && !after(&falls, None, &[0.2]).stop);
        let any = Until::Any(vec![reaches.clone(), falls.clone()]);
        assert_eq!(
            after(&any, None, &[0.05]),
            GateDecision { stop: true, why: "dev.success 0.05: fell to 0.1".to_owned() }
        );
        let all = Until::All(vec![reaches, Until::Falls { metric: metric("dev"), at_most: 0.7 }]);
        assert!(after(&all, None, &[0.6]).stop && !after(&all, None, &[0.8]).stop);
        assert!(
            !after(&Until::All(Vec::new()), None, &[0.6]).stop && !after(&Until::Any(Vec::new()), None, &[0.6]).stop
        );
    }

    #[test]
    fn what_was_not_recorded_never_stops() {
        for until in
            [Until::Reaches { metric: metric("x"), at_least: 0.0 }, Until::Falls { metric: metric("x"), at_most: 1.0 }]
        {
            let GateDecision { stop, why } = after(&until, None, &[0.5]);
            assert!(!stop && why == "x.success is not known");
        }
        assert!(!after(&stalls(true), None, &[]).stop);
    }
}
