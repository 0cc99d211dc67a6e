//! Turns several verdicts on one row into one, and says how far they agree.
//!
//! # Invariants
//! A verdict that could not be read has no voice. Where none could be read there is none, never a number.

use super::metric::{Metric, mean};
use super::spec::{AnswerField, AnswerKind, AnswerSchema, AnswerValue, Joined, Verdict};
use crate::base::Seed;
use std::collections::BTreeMap;

/// Resamples of an interval.
const RESAMPLES: u64 = 1000;

/// One verdict of several: field by field, of those that answer it; a text is the first one's. `None` of none.
pub fn join(verdicts: &[&Verdict], by: Joined, schema: &AnswerSchema) -> Option<Verdict> {
    let first = verdicts.first()?;
    let field = |field: &AnswerField| {
        let values = || verdicts.iter().filter_map(|verdict| verdict.get(&field.name));
        let value = match field.kind {
            AnswerKind::Text => first.get(&field.name)?.clone(),
            AnswerKind::Bool => AnswerValue::Bool(one(values().filter_map(AnswerValue::figure).collect(), by)? > 0.5),
            AnswerKind::Int { .. } => {
                let figure = one(values().filter_map(AnswerValue::figure).collect(), by)?;
                // Of whole numbers these are one of them; members of a panel may have brought fractions.
                match by.stays_whole() && figure.fract() == 0.0 {
                    true => AnswerValue::Int(figure as i64),
                    false => AnswerValue::Number(figure),
                }
            }
        };
        Some((field.name.clone(), value))
    };
    Some(schema.fields.iter().filter_map(field).collect())
}

/// One figure of several; `None` of none.
fn one(mut figures: Vec<f64>, by: Joined) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (first, last) = (*figures.first()?, *figures.last()?);
    Some(match by {
        Joined::Mean => mean(&figures),
        Joined::Median => {
            let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
            (low + high) / 2.0
        }
        Joined::Majority => {
            let mut most: &[f64] = &[];
            for equal in figures.chunk_by(|a, b| a == b) {
                // Of equally frequent ones the lowest: it came first.
                if equal.len() > most.len() {
                    most = equal;
                }
            }
            most[0]
        }
        Joined::Min => first,
        Joined::Max => last,
    })
}

/// How far verdicts on the same rows agree, of each number or boolean: `FIELD.alpha` and `FIELD.spread`, the mean distance of a
/// row's highest from its lowest. `rows` are the verdicts on each row that could be read.
pub fn agreement(rows: &[Vec<&Verdict>], schema: &AnswerSchema) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for AnswerField { name, .. } in schema.fields.iter().filter(|field| field.kind != AnswerKind::Text) {
        let figures = |row: &Vec<&Verdict>| -> Vec<f64> {
            row.iter().filter_map(|verdict| verdict.get(name)?.figure()).collect()
        };
        let units: Vec<Vec<f64>> = rows.iter().map(figures).filter(|unit| unit.len() > 1).collect();
        metrics.extend(alpha(&format!("{name}.alpha"), &units));
        let range = |unit: &Vec<f64>| {
            let ends = |(low, high): (f64, f64), value: &f64| (low.min(*value), high.max(*value));
            let (low, high) = unit.iter().fold((f64::INFINITY, f64::NEG_INFINITY), ends);
            high - low
        };
        metrics.extend(Metric::mean(&format!("{name}.spread"), &units.iter().map(range).collect::<Vec<_>>()));
    }
    metrics
}

/// What [`alpha`] needs of a unit. Sums of squares are of distances from a mean: of large figures, or of equal ones that no
/// binary fraction is, a difference of sums would be rounding alone.
#[derive(Clone, Copy, Debug)]
struct Unit {
    count: f64,
    mean: f64,
    /// The squared distances from its mean, summed.
    squares: f64,
    low: f64,
    high: f64,
}

impl Unit {
    /// Figures as distances from `middle`: the same for all units, it changes no difference.
    fn of(values: &[f64], middle: f64) -> Self {
        let values: Vec<f64> = values.iter().map(|value| value - middle).collect();
        let mean = mean(&values);
        Self {
            count: values.len() as f64,
            mean,
            squares: values.iter().map(|value| (value - mean) * (value - mean)).sum(),
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// Krippendorff's alpha with the interval metric (K. Krippendorff, *Content Analysis*, 2004, chapter 11): `1 − D_o / D_e`, the
/// squared differences within rows against those between all values. Of booleans as 0 and 1 it is the nominal one. Its 95 %
/// interval is half the width between the percentiles of resampled rows. `None` where all values are one.
fn alpha(name: &str, units: &[Vec<f64>]) -> Option<Metric> {
    let middle = *units.first()?.first()?;
    let units: Vec<Unit> = units.iter().map(|values| Unit::of(values, middle)).collect();
    let value = alpha_of(&units)?;
    let seed = Seed(0).derive("agx-alpha/1");
    let resampled = |round: u64| {
        let mut rng = seed.derive(round).rng();
        let drawn: Vec<Unit> = units.iter().map(|_| units[rng.below(units.len())]).collect();
        alpha_of(&drawn)
    };
    let mut others: Vec<f64> = (0..RESAMPLES).filter_map(resampled).collect();
    others.sort_by(f64::total_cmp);
    let at = |share: f64| others[((others.len() - 1) as f64 * share).round() as usize];
    let ci95 = (units.len() > 1 && !others.is_empty()).then(|| (at(0.975) - at(0.025)) / 2.0);
    Some(Metric { name: name.to_owned(), value, n: units.len() as u64, ci95 })
}

/// The squared differences of all ordered pairs of `n` values are `2n` times their squared distances from the mean; those of
/// all units together are the ones within each and those of the units' means.
fn alpha_of(units: &[Unit]) -> Option<f64> {
    let low = units.iter().map(|unit| unit.low).fold(f64::INFINITY, f64::min);
    let high = units.iter().map(|unit| unit.high).fold(f64::NEG_INFINITY, f64::max);
    if low >= high {
        return None;
    }
    let count: f64 = units.iter().map(|unit| unit.count).sum();
    let middle = units.iter().map(|unit| unit.count * unit.mean).sum::<f64>() / count;
    let squares = |unit: &Unit| unit.squares + unit.count * (unit.mean - middle) * (unit.mean - middle);
    let observed: f64 = units.iter().map(|unit| unit.count * unit.squares / (unit.count - 1.0)).sum();
    let expected = count * units.iter().map(squares).sum::<f64>() / (count - 1.0);
    Some(1.0 - observed / expected)
}

/// Why no verdict on a row could be read; each reason once.
pub fn unread(reasons: &[String]) -> String {
    if let [only] = reasons {
        return only.clone();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    reasons.iter().for_each(|reason| *counts.entry(reason).or_default() += 1);
    let words = |(reason, count): (&&str, &usize)| format!("{reason} ({count} of {})", reasons.len());
    counts.iter().map(words).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schema() -> AnswerSchema {
        let field = |name: &str, kind| AnswerField { name: name.to_owned(), kind, expectation: false };
        AnswerSchema {
            fields: vec![
                field("score", AnswerKind::Int { min: 0, max: 4 }),
                field("ok", AnswerKind::Bool),
                field("why", AnswerKind::Text),
            ],
        }
    }

    fn verdict(score: i64, ok: bool) -> Verdict {
        let score = ("score".to_owned(), AnswerValue::Int(score));
        let text = AnswerValue::Text(format!("{ok}"));
        [score, ("ok".to_owned(), AnswerValue::Bool(ok)), ("why".to_owned(), text)].into_iter().collect()
    }

    fn joined(scores: &[(i64, bool)], by: Joined) -> Verdict {
        let verdicts: Vec<Verdict> = scores.iter().map(|(score, ok)| verdict(*score, *ok)).collect();
        join(&verdicts.iter().collect::<Vec<_>>(), by, &schema()).expect("some voices")
    }

    #[test]
    fn several_verdicts_become_one_as_the_file_says() {
        let votes = [(1, true), (4, false), (1, true), (2, false)];
        let expected = [
            (Joined::Mean, AnswerValue::Number(2.0), false),
            (Joined::Median, AnswerValue::Number(1.5), false),
            (Joined::Majority, AnswerValue::Int(1), false),
            (Joined::Min, AnswerValue::Int(1), false),
            (Joined::Max, AnswerValue::Int(4), true),
        ];
        for (by, score, ok) in expected {
            let verdict = joined(&votes, by);
            assert_eq!(verdict.get("score"), Some(&score), "{by:?}");
            assert_eq!(verdict.get("ok"), Some(&AnswerValue::Bool(ok)), "{by:?}: an even vote is no yes");
            assert_eq!(verdict.get("why"), Some(&AnswerValue::Text("true".to_owned())));
        }
        assert_eq!(
            joined(&[(3, true), (1, false), (3, false)], Joined::Majority).get("score"),
            Some(&AnswerValue::Int(3))
        );
        assert_eq!(join(&[], Joined::Mean, &schema()), None);
    }

    /// Interval data of K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section E: 0.849.
    #[test]
    fn alpha_is_the_published_one() {
        let coders = [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
            [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
        ];
        let unit = |at: usize| coders.iter().map(|coder| coder[at]).filter(|it| *it > 0).map(f64::from).collect();
        let units: Vec<Vec<f64>> = (0..12).map(unit).filter(|unit: &Vec<f64>| unit.len() > 1).collect();
        let metric = alpha("score.alpha", &units).expect("values differ");
        assert!((metric.value - 0.849).abs() < 5e-4, "{}", metric.value);
        assert_eq!(metric.n, 11);
        assert!(metric.ci95.is_some_and(|half| (0.02..0.4).contains(&half)), "{metric:?}");
    }

    #[test]
    fn nothing_agrees_or_disagrees_where_all_say_one_thing() {
        assert_eq!(alpha("a", &[vec![2.0, 2.0], vec![2.0, 2.0]]), None);
        assert_eq!(alpha("a", &[]), None);
        // 0.1 is no binary fraction: three of it are not what its square times nine is.
        for value in [0.1, 2.0 / 3.0, 1.1, 1e9 + 0.1] {
            assert_eq!(alpha("a", &[vec![value; 3], vec![value; 7], vec![value; 3]]), None, "{value}");
        }
        let rows = [verdict(1, true), verdict(3, true)];
        let metrics = agreement(&[rows.iter().collect(), vec![&rows[0]]], &schema());
        let names: Vec<(&str, f64)> = metrics.iter().map(|metric| (metric.name.as_str(), metric.value)).collect();
        assert_eq!(names, [("score.alpha", 0.0), ("score.spread", 2.0), ("ok.spread", 0.0)]);
    }

    /// The formula itself: all ordered pairs within units, over one less than their values, against all ordered pairs.
    fn alpha_by_pairs(units: &[Vec<f64>]) -> f64 {
        let pairs =
            |values: &[f64]| -> f64 { values.iter().flat_map(|a| values.iter().map(move |b| (a - b) * (a - b))).sum() };
        let all: Vec<f64> = units.concat();
        let observed: f64 = units.iter().map(|unit| pairs(unit) / (unit.len() as f64 - 1.0)).sum();
        1.0 - observed / (pairs(&all) / (all.len() as f64 - 1.0))
    }

    proptest! {
        /// On scales near zero and far from it, with steps that are binary fractions and others.
        #[test]
        fn alpha_is_the_one_of_all_pairs(
            units in prop::collection::vec(prop::collection::vec(0u8..5, 2..6), 1..9),
            start in prop::sample::select(vec![0.0, 0.1, -7.0, 1e9, -1e12]),
            step in prop::sample::select(vec![1.0, 0.1, 1.0 / 3.0, 250.0]),
        ) {
            let unit = |unit: &Vec<u8>| unit.iter().map(|value| start + f64::from(*value) * step).collect();
            let figures: Vec<Vec<f64>> = units.iter().map(unit).collect();
            let all = units.concat();
            match alpha("a", &figures) {
                None => prop_assert!(all.iter().all(|value| *value == all[0])),
                Some(metric) => {
                    prop_assert!(all.iter().any(|value| *value != all[0]));
                    let expected = alpha_by_pairs(&figures);
                    prop_assert!((metric.value - expected).abs() < 1e-6, "{} for {}", metric.value, expected);
                    prop_assert!(metric.value <= 1.0);
                }
            }
        }

        /// Whoever is asked first changes nothing, and what is joined lies between what was said.
        #[test]
        fn no_order_and_nothing_outside(votes in prop::collection::vec((0i64..=4, any::<bool>()), 1..9), turn in 0usize..8) {
            let mut others = votes.clone();
            others.rotate_left(turn % votes.len());
            for by in [Joined::Mean, Joined::Median, Joined::Majority, Joined::Min, Joined::Max] {
                let figure = |verdict: &Verdict, name: &str| verdict.get(name).and_then(AnswerValue::figure).unwrap();
                let (one, other) = (joined(&votes, by), joined(&others, by));
                let score = figure(&one, "score");
                prop_assert!((score - figure(&other, "score")).abs() < 1e-12);
                prop_assert_eq!(one.get("ok"), other.get("ok"));
                let scores = || votes.iter().map(|(score, _)| *score as f64);
                prop_assert!(scores().fold(f64::INFINITY, f64::min) <= score && score <= scores().fold(0.0, f64::max));
            }
        }
    }
}
