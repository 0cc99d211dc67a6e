//! Turns prompts into replies: continuous batching over the decoder, with shared prefixes computed once.
//!
//! Up to [`COMPANY`] sequences go forward together. Each leaves when it is done and the next enters; a prompt is prefilled
//! in the same pass in which others decode. A sequence starts from the cache that shares most of its first tokens:
//! another sequence's under way, or one kept of a sequence that is done.
//!
//! # Determinism
//! A reply depends on the weights, the prompt, the sampling and the seed alone: every row's bits are independent of its
//! company and of where its prefix was computed, and draw `i` is the seed's number at position `i`.
//!
//! # Invariants
//! Nothing here knows text or templates.

use super::constrain::{Constrained, Constraints};
use super::engine::Engine;
use super::kernels::Hold;
use super::ops::Segments;
use super::prefix::{PrefixStore, shared};
use super::sample::{Draw, draw};
use crate::base::Seed;
use crate::model::{GenRequest, LIKELIEST, ModelError, Sampling, StopReason, TokenId};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Sequences that go forward together.
const COMPANY: usize = 64;
/// Rows of one forward pass beyond which no further prompt rows enter.
const ROWS: usize = 1024;
/// Tokens that must be shared before waiting for another sequence's prefill pays.
const WORTH_WAITING: usize = 8;
/// Bytes of keys and values kept between calls, where nobody says how many.
const KEPT_BYTES: u64 = 512 << 20;

pub struct Generator<E: Engine> {
    engine: E,
    context: usize,
    ends: BTreeSet<TokenId>,
    kept: Mutex<PrefixStore<E::Cache>>,
    constraints: Constraints,
}

/// A reply in token ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    pub tokens: Vec<TokenId>,
    pub stop: StopReason,
    pub logprob: f64,
    /// Where they were asked for: of each token the likeliest in its place, with their log-probabilities.
    pub likeliest: Vec<Vec<(TokenId, f64)>>,
}

/// Whoever asks, and hears tokens as they are drawn; as [`Listener`](crate::model::Listener), in ids.
pub trait Company {
    /// Requests, each with how many likeliest tokens are told beside each that is drawn.
    fn next(&mut self, room: usize) -> Vec<(GenRequest, usize)>;
    fn hear(&mut self, number: usize, draw: &Draw) -> bool;
    fn done(&mut self, number: usize, reply: Result<Sampled, ModelError>);
}

/// One that waits to be let in.
struct Waiting {
    number: usize,
    /// With which call they came: who came earlier is let in earlier.
    arrival: usize,
    request: GenRequest,
    likeliest: usize,
    constrained: Option<Constrained>,
}

/// A sequence on its way.
struct Sequence<C> {
    number: usize,
    seed: Seed,
    sampling: Sampling,
    likeliest: usize,
    /// Where its form is held to.
    constrained: Option<Constrained>,
    /// Prompt and reply so far.
    tokens: Vec<TokenId>,
    prompt: usize,
    cache: C,
    /// Tokens whose keys and values are in the cache.
    cached: usize,
    logprob: f64,
    /// The likeliest of every draw, where the request asks for them.
    likely: Option<Vec<Vec<(TokenId, f64)>>>,
    /// What the last pass drew, or why nothing could be.
    fresh: Option<Result<Draw, ModelError>>,
}

impl<E: Engine> Generator<E> {
    pub fn new(engine: E, context: usize, ends: BTreeSet<TokenId>, constraints: Constraints) -> Self {
        let mut generator = Self { engine, context, ends, kept: Mutex::new(PrefixStore::new(0)), constraints };
        generator.keep(KEPT_BYTES);
        generator
    }

    /// Keeps at most so many bytes of keys and values between calls; what is kept already goes.
    pub fn keep(&mut self, bytes: u64) {
        // The rest is for the sequences that are answered.
        let bytes = self.engine.room().map_or(bytes, |room| bytes.min(room / 4));
        let rows = usize::try_from(bytes).unwrap_or(usize::MAX) / self.engine.row_bytes();
        self.kept = Mutex::new(PrefixStore::new(rows));
    }

    pub fn context(&self) -> usize {
        self.context
    }

    /// Replies in the order of the requests.
    pub fn generate(&self, requests: &[GenRequest]) -> Vec<Result<Sampled, ModelError>> {
        let mut group = Group { requests, replies: requests.iter().map(|_| None).collect() };
        self.attend(&mut group);
        let missing = || Err(ModelError::Engine("a request was lost".to_owned()));
        group.replies.into_iter().map(|reply| reply.unwrap_or_else(missing)).collect()
    }

    /// Answers whatever is asked; newcomers are let in between two passes.
    pub fn attend(&self, company: &mut dyn Company) {
        let _memory = Hold::new();
        let (mut waiting, mut running, mut number) = (Vec::<Waiting>::new(), Vec::<Sequence<E::Cache>>::new(), 0);
        for arrival in 0.. {
            let room = COMPANY.saturating_sub(running.len() + waiting.len());
            let came = if room > 0 { company.next(room) } else { Vec::new() };
            if running.is_empty() && waiting.is_empty() && came.is_empty() {
                break;
            }
            if !came.is_empty() {
                for (request, likeliest) in came {
                    let constrained = request.form.as_ref().map(|form| self.constraints.begin(form)).transpose();
                    match (self.refuse(&request), constrained) {
                        (Some(reply), _) => company.done(number, reply),
                        (None, Err(error)) => company.done(number, Err(error)),
                        (None, Ok(constrained)) => {
                            waiting.push(Waiting { number, arrival, request, likeliest, constrained })
                        }
                    }
                    number += 1;
                }
                // Of those who came together, neighbours in this order share the longest prefixes there are.
                let order = |a: &Waiting, b: &Waiting| {
                    let first = b.arrival.cmp(&a.arrival).then_with(|| b.request.prompt.cmp(&a.request.prompt));
                    first.then(b.number.cmp(&a.number))
                };
                waiting.sort_by(order);
            }
            self.admit(&mut waiting, &mut running);
            if running.is_empty() {
                continue;
            }
            // On a thread of the pool, where a product's parts need nobody to be woken for each.
            rayon::scope(|_| self.step(&mut running));
            let mut index = 0;
            while index < running.len() {
                let sequence = &mut running[index];
                let heard = match sequence.fresh.take() {
                    None => true,
                    Some(Ok(draw)) => company.hear(sequence.number, &draw),
                    Some(Err(error)) => {
                        let sequence = running.remove(index);
                        company.done(sequence.number, Err(error));
                        continue;
                    }
                };
                match self.finished(sequence) {
                    stop if !heard || stop.is_some() => {
                        let sequence = running.remove(index);
                        let number = sequence.number;
                        let reply = self.retire(sequence);
                        if let Some(stop) = stop.filter(|_| heard) {
                            company.done(number, Ok(Sampled { stop, ..reply }));
                        }
                    }
                    _ => index += 1,
                }
            }
        }
    }

    /// The answer to a request that cannot be run.
    fn refuse(&self, request: &GenRequest) -> Option<Result<Sampled, ModelError>> {
        let prompt = &request.prompt;
        let empty = |stop| Some(Ok(Sampled { tokens: Vec::new(), stop, logprob: 0.0, likeliest: Vec::new() }));
        if prompt.is_empty() {
            return Some(Err(ModelError::Engine("an empty prompt".to_owned())));
        }
        if let Some(id) = prompt.iter().find(|id| **id as usize >= self.engine.shape().vocab) {
            return Some(Err(ModelError::Engine(format!("token {id} is outside the vocabulary"))));
        }
        if prompt.len() > self.context {
            return Some(Err(ModelError::TooLong { tokens: prompt.len(), context: self.context }));
        }
        if prompt.len() == self.context {
            return empty(StopReason::ContextFull);
        }
        if request.sampling.max_tokens == 0 {
            return empty(StopReason::MaxTokens);
        }
        None
    }

    fn finished(&self, sequence: &Sequence<E::Cache>) -> Option<StopReason> {
        let reply = &sequence.tokens[sequence.prompt..];
        let last = reply.last()?;
        if self.ends.contains(last) {
            return Some(StopReason::EndOfTurn);
        }
        if reply.len() >= sequence.sampling.max_tokens as usize {
            return Some(StopReason::MaxTokens);
        }
        (sequence.tokens.len() >= self.context).then_some(StopReason::ContextFull)
    }

    /// Lets waiting requests in while there is room, except one that would compute what a neighbour is just computing.
    fn admit(&self, waiting: &mut Vec<Waiting>, running: &mut Vec<Sequence<E::Cache>>) {
        let mut rows: usize = running.iter().map(|sequence| sequence.tokens.len() - sequence.cached).sum();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut place = waiting.len();
        let mut patience = 4 * COMPANY;
        while place > 0 && patience > 0 && running.len() < COMPANY && rows < ROWS {
            place -= 1;
            patience -= 1;
            let prompt = &waiting[place].request.prompt;
            // The last token's row is always computed: its hidden state is what the first draw is made from.
            let most = prompt.len() - 1;
            let source = running
                .iter()
                .enumerate()
                .map(|(at, other)| (shared(&other.tokens[..other.cached], prompt).min(most), at))
                .max_by_key(|(length, at)| (*length, usize::MAX - at));
            let (from_running, at) = source.unwrap_or((0, 0));
            let coming = running.iter().map(|other| shared(&other.tokens, prompt).min(most)).max().unwrap_or(0);
            let from_kept = kept.longest(prompt).min(most);
            let known = from_running.max(from_kept);
            if coming > known + WORTH_WAITING {
                continue;
            }
            let shared = match known {
                0 => None,
                _ if from_kept >= from_running => kept.fetch(prompt),
                _ => Some(running[at].cache.clone()),
            };
            let mut cache = shared.unwrap_or_else(|| self.engine.cache());
            E::truncate(&mut cache, known);
            rows += prompt.len() - known;
            let Waiting { number, arrival: _, request, likeliest, constrained } = waiting.remove(place);
            let GenRequest { prompt, seed, sampling, likely, form: _ } = request;
            running.push(Sequence {
                number,
                seed,
                sampling,
                likeliest,
                constrained,
                prompt: prompt.len(),
                tokens: prompt,
                cache,
                cached: known,
                logprob: 0.0,
                likely: likely.then(Vec::new),
                fresh: None,
            });
        }
    }

    /// One forward pass: every sequence's rows that are not cached yet (long prompts in parts), then a draw for each whose
    /// last row was among them.
    fn step(&self, running: &mut [Sequence<E::Cache>]) {
        let mut room = ROWS.max(running.len());
        let mut ids = Vec::new();
        let mut positions = Vec::new();
        let mut lengths = Vec::new();
        let others = running.len();
        for (place, sequence) in running.iter().enumerate() {
            let due = sequence.tokens.len() - sequence.cached;
            // One row stays free for each sequence behind.
            let take = due.min(room - (others - place - 1)).max(1);
            room -= take;
            let range = sequence.cached..sequence.cached + take;
            ids.extend(&sequence.tokens[range.clone()]);
            positions.extend(range.map(|position| position as u32));
            lengths.push(take);
        }
        let segments = Segments::from_lengths(lengths.iter().copied());
        // The last row of each sequence that draws.
        let mut rows = Vec::new();
        for ((sequence, take), range) in running.iter_mut().zip(&lengths).zip(segments.ranges()) {
            sequence.cached += take;
            if sequence.draws() {
                rows.push(range.end - 1);
            }
        }
        let mut caches: Vec<&mut E::Cache> = running.iter_mut().map(|sequence| &mut sequence.cache).collect();
        let logits = self.engine.advance(&ids, segments, positions, &mut caches, &rows);
        let due: Vec<&mut Sequence<E::Cache>> = running.iter_mut().filter(|sequence| sequence.draws()).collect();
        let logits = match logits {
            Ok(logits) => logits,
            Err(error) => {
                let failed = || Err(ModelError::Engine(error.to_string()));
                return running.iter_mut().for_each(|sequence| sequence.fresh = Some(failed()));
            }
        };
        let vocab = self.engine.shape().vocab;
        let draws: Vec<Result<Draw, ModelError>> = due
            .par_iter()
            .zip(logits.par_chunks_exact(vocab))
            .map(|(sequence, logits)| {
                let Sequence { seed, sampling, likeliest, tokens, prompt, constrained, .. } = &**sequence;
                let allowed = constrained.as_ref().map(|reply| self.constraints.allowed(reply)).transpose()?;
                let uniform = seed.uniform((tokens.len() - prompt) as u64);
                let draw = draw(logits, tokens, allowed.as_ref(), sampling, uniform, *likeliest);
                // What follows from such numbers is no reply.
                if !draw.logprob.is_finite() {
                    return Err(ModelError::Engine(
                        "the model's logits are no finite numbers: its weights are too large".into(),
                    ));
                }
                Ok(draw)
            })
            .collect();
        for (sequence, draw) in due.into_iter().zip(draws) {
            if let Ok(draw) = &draw {
                sequence.tokens.push(draw.token);
                sequence.logprob += draw.logprob;
                if let Some(likely) = &mut sequence.likely {
                    likely.push(draw.likeliest.clone());
                }
                if let Some(reply) = &mut sequence.constrained {
                    self.constraints.take(reply, draw.token);
                }
            }
            sequence.fresh = Some(draw);
        }
    }

    /// The reply so far; what was computed for it is kept.
    fn retire(&self, sequence: Sequence<E::Cache>) -> Sampled {
        let Sequence { mut tokens, prompt, cache, cached, logprob, likely, .. } = sequence;
        let reply = tokens[prompt..].to_vec();
        tokens.truncate(cached);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(tokens, cache);
        Sampled { tokens: reply, stop: StopReason::MaxTokens, logprob, likeliest: likely.unwrap_or_default() }
    }
}

impl<C> Sequence<C> {
    /// Whether its last row is computed, or is in this pass.
    fn draws(&self) -> bool {
        self.cached == self.tokens.len()
    }
}

/// Requests that came together; nobody listens.
struct Group<'a> {
    requests: &'a [GenRequest],
    replies: Vec<Option<Result<Sampled, ModelError>>>,
}

impl Company for Group<'_> {
    fn next(&mut self, _: usize) -> Vec<(GenRequest, usize)> {
        std::mem::take(&mut self.requests)
            .iter()
            .map(|request| (request.clone(), if request.likely { LIKELIEST } else { 0 }))
            .collect()
    }

    fn hear(&mut self, _: usize, _: &Draw) -> bool {
        true
    }

    fn done(&mut self, number: usize, reply: Result<Sampled, ModelError>) {
        self.replies[number] = Some(reply);
    }
}
