//! Turns logits and one uniform number into a token.
//!
//! # Determinism
//! All sums run in order of the token ids (of the kept tokens: in order of probability), in f64, over our own softmax.
//!
//! # Invariants
//! Nothing here draws a random number.

use super::constrain::Allowed;
use super::kernels::math::ln64;
use super::kernels::{isa, rows};
use crate::model::{Sampling, TokenId};
use std::cmp::Ordering;

#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    pub token: TokenId,
    /// Natural logarithm of the token's probability at temperature 1, nothing cut off.
    pub logprob: f64,
    /// The most probable tokens with the same of theirs, as many as were asked for.
    pub likeliest: Vec<(TokenId, f64)>,
}

/// Probabilities below this are none: the exponential is cut where results would not be normal numbers.
const LEAST: f32 = 1e-30;
/// Temperatures below this make no difference that f32 could hold.
const COLDEST: f64 = 1e-6;

/// More probable first, ties by the smaller id.
fn order(logits: &[f32]) -> impl Fn(&u32, &u32) -> Ordering {
    |a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b))
}

/// The penalty on what was seen (Keskar et al. 2019), temperature, then the `top_k` most probable, then the smallest set of
/// those whose mass reaches `top_p` (Holtzman et al. 2020), then those not below `min_p` of the most probable (Nguyen et al.
/// 2024), as transformers orders them. `seen` are prompt and reply so far, `uniform` is in [0, 1).
/// What is not `allowed` is out before all of it.
pub fn draw(
    raw: &[f32],
    seen: &[TokenId],
    allowed: Option<&Allowed<'_>>,
    sampling: &Sampling,
    uniform: f64,
    likeliest: usize,
) -> Draw {
    let mut probabilities = raw.to_vec();
    let (greatest, mass) = rows::softmax(isa(), &mut probabilities, 1.0);
    let mut changed = penalised(raw, seen, sampling.repetition_penalty as f32);
    if let Some(allowed) = allowed {
        allowed.bar(changed.get_or_insert_with(|| raw.to_vec()));
    }
    let logits = changed.as_deref().unwrap_or(raw);
    let token = if sampling.temperature <= 0.0 {
        (1..logits.len()).fold(0, |best, id| if logits[id] > logits[best] { id } else { best }) as TokenId
    } else {
        if sampling.temperature != 1.0 || changed.is_some() {
            probabilities.copy_from_slice(logits);
            rows::softmax(isa(), &mut probabilities, (1.0 / sampling.temperature.max(COLDEST)) as f32);
        }
        choose(logits, &probabilities, sampling, uniform)
    };
    let logprob = |id: TokenId| f64::from(raw[id as usize]) - f64::from(greatest) - ln64(f64::from(mass));
    let likeliest = most_probable(raw, likeliest).into_iter().map(|id| (id, logprob(id))).collect();
    Draw { token, logprob: logprob(token), likeliest }
}

/// So many of the ids, the most probable first.
fn most_probable(logits: &[f32], most: usize) -> Vec<u32> {
    let most = most.min(logits.len());
    if most == 0 {
        return Vec::new();
    }
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    ids.select_nth_unstable_by(most - 1, order(logits));
    ids.truncate(most);
    ids.sort_unstable_by(order(logits));
    ids
}

/// The logits with those of seen tokens divided by the penalty where positive, multiplied where negative; `None` where that
/// changes nothing.
fn penalised(logits: &[f32], seen: &[TokenId], penalty: f32) -> Option<Vec<f32>> {
    if penalty == 1.0 {
        return None;
    }
    let mut penalised = logits.to_vec();
    for token in seen {
        let logit = logits[*token as usize];
        penalised[*token as usize] = if logit < 0.0 { logit * penalty } else { logit / penalty };
    }
    Some(penalised)
}

fn choose(logits: &[f32], probabilities: &[f32], sampling: &Sampling, uniform: f64) -> TokenId {
    let weigh = |id: &u32| match probabilities[*id as usize] {
        probability if probability > LEAST => f64::from(probability),
        _ => 0.0,
    };
    let mut kept: Vec<u32> = (0..logits.len() as u32).collect();
    let most = sampling.top_k as usize;
    if most > 0 && most < kept.len() {
        kept.select_nth_unstable_by(most - 1, order(logits));
        kept.truncate(most);
        kept.sort_unstable();
    }
    if sampling.top_p < 1.0 {
        kept.sort_unstable_by(order(logits));
        let goal = sampling.top_p * kept.iter().map(weigh).sum::<f64>();
        let mut mass = 0.0;
        let enough = kept.iter().position(|id| {
            mass += weigh(id);
            mass >= goal
        });
        kept.truncate(enough.map_or(kept.len(), |at| at + 1));
    }
    if sampling.min_p > 0.0 {
        let least = sampling.min_p * kept.iter().map(weigh).fold(0.0, f64::max);
        kept.retain(|id| weigh(id) >= least);
    }
    let goal = uniform * kept.iter().map(weigh).sum::<f64>();
    let mut mass = 0.0;
    let found = kept.iter().copied().find(|id| {
        mass += weigh(id);
        mass > goal
    });
    // Only rounding can leave the goal unreached: then it is the last token that has any mass.
    let last = || kept.iter().copied().rev().find(|id| weigh(id) > 0.0);
    found.or_else(last).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the platform's functions, in f64, are the reference here")]

    use super::*;

    fn sampling(temperature: f64, top_k: u32, top_p: f64) -> Sampling {
        Sampling { temperature, top_k, top_p, ..Sampling::drawn(1) }
    }

    /// How often each token comes over evenly spread uniforms.
    fn shares(logits: &[f32], sampling: &Sampling) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        for step in 0..10_000 {
            counts[draw(logits, &[], None, sampling, f64::from(step) / 1e4, 0).token as usize] += 1e-4;
        }
        counts
    }

    fn close(got: &[f64], wanted: &[f64]) {
        assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 2e-4), "{got:?} {wanted:?}");
    }

    #[test]
    fn draws_follow_the_distribution() {
        // Probabilities 0.1, 0.2, 0.4, 0.3.
        let logits = [0.1f32, 0.2, 0.4, 0.3].map(f32::ln);
        close(&shares(&logits, &sampling(1.0, 0, 1.0)), &[0.1, 0.2, 0.4, 0.3]);
        close(&shares(&logits, &sampling(0.5, 0, 1.0)), &[1.0 / 30.0, 4.0 / 30.0, 16.0 / 30.0, 9.0 / 30.0]);
        close(&shares(&logits, &sampling(1.0, 2, 1.0)), &[0.0, 0.0, 4.0 / 7.0, 3.0 / 7.0]);
        close(&shares(&logits, &sampling(1.0, 0, 0.65)), &[0.0, 0.0, 4.0 / 7.0, 3.0 / 7.0]);
        close(&shares(&logits, &sampling(1.0, 0, 0.75)), &[0.0, 2.0 / 9.0, 4.0 / 9.0, 3.0 / 9.0]);
        close(&shares(&logits, &sampling(1.0, 1, 0.5)), &[0.0, 0.0, 1.0, 0.0]);
        let one = draw(&logits, &[], None, &sampling(1.0, 0, 1.0), 0.0, 2);
        assert!((one.logprob - 0.1f64.ln()).abs() < 1e-6);
        let (ids, likely): (Vec<TokenId>, Vec<f64>) = one.likeliest.into_iter().unzip();
        close(&likely.iter().map(|logprob| logprob.exp()).collect::<Vec<_>>(), &[0.4, 0.3]);
        assert_eq!(ids, [2, 3]);
    }

    #[test]
    fn what_is_far_less_likely_than_the_best_is_cut() {
        let logits = [0.1f32, 0.2, 0.4, 0.3].map(f32::ln);
        let min_p = |min_p| Sampling { min_p, ..sampling(1.0, 0, 1.0) };
        close(&shares(&logits, &min_p(0.3)), &[0.0, 2.0 / 9.0, 4.0 / 9.0, 3.0 / 9.0]);
        close(&shares(&logits, &min_p(0.7)), &[0.0, 0.0, 4.0 / 7.0, 3.0 / 7.0]);
        close(&shares(&logits, &min_p(1.0)), &[0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn what_was_seen_is_less_likely() {
        let logits = [2.0, 1.5, -1.0, -1.5];
        let penalty = |temperature| Sampling { repetition_penalty: 2.0, ..sampling(temperature, 0, 1.0) };
        let of = |logits: [f64; 4]| {
            let mass: f64 = logits.iter().map(|x| x.exp()).sum();
            logits.map(|x| x.exp() / mass)
        };
        let shares = |seen: &[TokenId]| {
            let mut counts = [0.0; 4];
            for step in 0..10_000 {
                counts[draw(&logits, seen, None, &penalty(1.0), f64::from(step) / 1e4, 0).token as usize] += 1e-4;
            }
            counts
        };
        close(&shares(&[]), &of([2.0, 1.5, -1.0, -1.5]));
        // Seen twice is seen.
        close(&shares(&[0, 2, 0]), &of([1.0, 1.5, -2.0, -1.5]));
        let greedy = draw(&logits, &[0], None, &penalty(0.0), 0.0, 0);
        assert_eq!(greedy.token, 1);
        // What the model itself gives it.
        assert!((greedy.logprob - of([2.0, 1.5, -1.0, -1.5])[1].ln()).abs() < 1e-6);
    }

    #[test]
    fn greedy_ties_go_to_the_smallest_id() {
        assert_eq!(draw(&[0.0, 3.0, 3.0, -1.0], &[], None, &sampling(0.0, 0, 1.0), 0.9, 0).token, 1);
        assert_eq!(draw(&[0.0, 500.0, -500.0], &[], None, &sampling(1.0, 0, 1.0), 0.999, 0).token, 1);
        // Equal logits at the edge of top-k: the smaller ids stay.
        close(&shares(&[1.0, 1.0, 1.0], &sampling(1.0, 2, 1.0)), &[0.5, 0.5, 0.0]);
    }
}
