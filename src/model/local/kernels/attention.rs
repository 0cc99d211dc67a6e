//! Turns queries, keys and values into causal attention, and its gradient.
//!
//! One path serves training and decoding: keys and values lie in a [`HeadCache`], queries come in blocks. For the gradient,
//! probabilities are computed again, a block of queries at a time, so memory grows with the length and not with its square.
//!
//! # Invariants
//! Query i of a sequence sees keys 0 ..= i, of them the last `window` where there is one. Scores are chains over the head's width, outputs chains over keys in order, so
//! neither block size, company nor the point where a cached sequence was continued can be seen in the bits.

use super::buffer::Buffer;
use super::matmul::{Target, matmul_block};
use super::pack::{Lane, Packed, Panels, View, pack_panel};
use super::parallel::{Shared, each, tasks_for, zeros};
use super::rows::{softmax, softmax_back};
use super::simd::{Isa, LANES};
use rayon::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Queries handled at a time: whole tiles of 14 rows and of 4.
const BLOCK: usize = 56;

/// Queries of decoding steps that go together at most: they read what they share once, and several threads find work.
const TOGETHER: usize = 64;

thread_local! {
    /// Scores of a block of queries, and what a gradient needs beside them; kept between calls.
    static SCORES: Cell<[Vec<f32>; 2]> = const { Cell::new([Vec::new(), Vec::new()]) };
}

/// A layer's grouped-query attention; `heads` is a multiple of `kv_heads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// How many keys a query sees, its own among them; all before it where there is none (Beltagy et al. 2020).
    pub window: Option<usize>,
}

impl Heads {
    pub fn query_width(self) -> usize {
        self.heads * self.head_dim
    }

    pub fn kv_width(self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Query heads of a key/value head.
    pub fn group(self) -> usize {
        self.heads / self.kv_heads
    }

    /// The keys that the query of this place sees.
    fn visible(self, place: usize) -> Range<usize> {
        self.window.map_or(0, |window| (place + 1).saturating_sub(window))..place + 1
    }

    fn scale(self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// One key/value head's columns of the given rows.
    fn kv<'a>(self, data: &'a [f32], rows: &Range<usize>, head: usize) -> View<'a> {
        let from = rows.start * self.kv_width() + head * self.head_dim;
        View::strided(data.get(from..).unwrap_or(&[]), rows.len(), self.head_dim, self.kv_width())
    }

    /// One query head's columns of the given rows.
    fn query<'a>(self, data: &'a [f32], rows: &Range<usize>, head: usize) -> View<'a> {
        let from = rows.start * self.query_width() + head * self.head_dim;
        View::strided(&data[from..], rows.len(), self.head_dim, self.query_width())
    }

    fn check(self, q: &[f32], k: &[f32], v: &[f32], segments: &[Range<usize>]) {
        let rows = segments.iter().map(|rows| rows.len()).sum::<usize>();
        let mut ends = std::iter::once(0).chain(segments.iter().map(|rows| rows.end));
        assert!(segments.iter().all(|rows| Some(rows.start) == ends.next()), "segments are not one after another");
        assert!(self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads), "heads do not divide into groups");
        assert_eq!(q.len(), rows * self.query_width(), "queries have another size");
        assert!(k.len() == rows * self.kv_width() && v.len() == k.len(), "keys or values have another size");
    }

    /// Multiply-adds of one key/value head over segments that already hold `before` rows.
    fn work(self, segments: &[Range<usize>]) -> usize {
        segments.iter().map(|s| s.len() * s.len()).sum::<usize>() * self.query_width()
    }
}

/// Rows of a block that sequences may share.
const SHARED_ROWS: usize = 64;

/// Some rows of one head's keys and values, in the panels that products read.
#[derive(Clone)]
struct Block {
    /// Sixteen keys a panel: element d of key t is lane `t % 16` of place `t / 16 · head_dim + d`. Behind the keys, value t is the
    /// lanes from `t · lanes_of_a_value` on.
    lanes: Buffer<Lane>,
    /// Lanes of the keys.
    keys: usize,
}

/// One head's keys and values. A clone shares their blocks; one that is shared is copied before it is written to.
#[derive(Clone)]
struct HeadCache {
    blocks: Vec<Arc<Block>>,
    rows_of_a_block: usize,
    width: usize,
    len: usize,
}

impl HeadCache {
    fn new(width: usize, rows_of_a_block: usize) -> Self {
        Self { blocks: Vec::new(), rows_of_a_block: rows_of_a_block.next_multiple_of(LANES), width, len: 0 }
    }

    /// Appends rows `[n, head_dim]`.
    fn append(&mut self, isa: Isa, keys: View<'_>, values: View<'_>) {
        let mut row = 0;
        while row < keys.height() {
            let (block, at) = (self.len / self.rows_of_a_block, self.len % self.rows_of_a_block);
            let count = (self.rows_of_a_block - at).min(keys.height() - row);
            if block == self.blocks.len() {
                self.blocks.push(Arc::new(Block::new(self.rows_of_a_block, self.width)));
            }
            let rows = row..row + count;
            Arc::make_mut(&mut self.blocks[block]).put(isa, at, keys.rows(rows.clone()), values.rows(rows));
            self.len += count;
            row += count;
        }
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.blocks.truncate(self.len.div_ceil(self.rows_of_a_block));
    }

    /// The block of this number, with the places of its keys.
    fn block(&self, at: usize) -> Option<(Range<usize>, &Arc<Block>)> {
        let rows = self.rows_of_a_block;
        self.blocks.get(at).map(|block| (at * rows..self.len.min((at + 1) * rows), block))
    }

    /// The blocks of the first `keys` keys, each with the place of its first.
    fn first(&self, keys: usize) -> impl Iterator<Item = (Range<usize>, &Block)> {
        let rows = self.rows_of_a_block;
        let blocks = self.blocks.iter().enumerate().take(keys.div_ceil(rows));
        blocks.map(move |(at, block)| (at * rows..keys.min((at + 1) * rows), &**block))
    }
}

impl Block {
    fn new(rows: usize, width: usize) -> Self {
        let (keys, values) = (rows / LANES * width, rows * width.div_ceil(LANES));
        let mut lanes = Buffer::stale(keys + values);
        lanes.fill(Lane::ZERO);
        Self { lanes, keys }
    }

    /// Puts rows in the places from `from` on.
    fn put(&mut self, isa: Isa, from: usize, keys: View<'_>, values: View<'_>) {
        let (rows, width) = (keys.height(), keys.width());
        let (panels, places) = self.lanes.split_at_mut(self.keys);
        let mut row = 0;
        while row < rows {
            let at = from + row;
            let panel = &mut panels[at / LANES * width..][..width];
            let count = (LANES - at % LANES).min(rows - row);
            let block = keys.rows(row..row + count);
            if count == LANES {
                pack_panel(isa, block.transposed(), panel);
            } else {
                for t in 0..count {
                    let key = block.rows(t..t + 1);
                    let key = key.only_row().expect("rows of a head are contiguous");
                    for (lane, &x) in panel.iter_mut().zip(key) {
                        lane.0[at % LANES + t] = x;
                    }
                }
            }
            row += count;
        }
        let lanes = width.div_ceil(LANES);
        for (row, lanes) in places[from * lanes..][..rows * lanes].chunks_mut(lanes).enumerate() {
            let value = values.rows(row..row + 1);
            let value = value.only_row().expect("rows of a head are contiguous");
            for (lane, part) in lanes.iter_mut().zip(value.chunks(LANES)) {
                lane.0[..part.len()].copy_from_slice(part);
            }
        }
    }

    /// Right side of the scores: `[width, keys]`.
    fn keys(&self, keys: usize, width: usize) -> Panels<'_> {
        Panels::new(Lane::plain(&self.lanes[..self.keys]), width, keys, width, 1)
    }

    /// Right side of the outputs: `[keys, width]`.
    fn values(&self, keys: usize, width: usize) -> Panels<'_> {
        Panels::new(Lane::plain(&self.lanes[self.keys..]), keys, width, 1, width.div_ceil(LANES))
    }
}

/// Keys and values of one sequence in one layer, in the order the kernels read them. A clone shares what is there, so a prefix
/// is computed and held once and continued many times.
#[derive(Clone)]
pub struct KvCache {
    heads: Heads,
    by_head: Vec<HeadCache>,
}

impl KvCache {
    pub fn new(heads: Heads) -> Self {
        Self { heads, by_head: vec![HeadCache::new(heads.head_dim, SHARED_ROWS); heads.kv_heads] }
    }

    pub fn heads(&self) -> Heads {
        self.heads
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.by_head[0].len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all rows from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.by_head.iter_mut().for_each(|head| head.truncate(len));
    }
}

/// Attention inside each segment, from packed rows alone.
pub fn forward(isa: Isa, heads: Heads, q: &[f32], k: &[f32], v: &[f32], segments: &[Range<usize>]) -> Buffer {
    heads.check(q, k, v, segments);
    let mut out = Buffer::stale(q.len());
    let shared = Shared::new(&mut out);
    each(segments.len() * heads.kv_heads, heads.work(segments), |task| {
        let (rows, head) = (&segments[task / heads.kv_heads], task % heads.kv_heads);
        let mut cache = HeadCache::new(heads.head_dim, rows.len());
        cache.append(isa, heads.kv(k, rows, head), heads.kv(v, rows, head));
        // SAFETY: every task writes the columns of its own heads in the rows of its own segment.
        unsafe { attend(isa, heads, q, rows, head, &cache, &shared) }
    });
    out
}

/// Appends the rows of segment s to `caches[s]`, then lets them attend to all it holds.
pub fn cached(
    isa: Isa,
    heads: Heads,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    segments: &[Range<usize>],
    caches: &mut [&mut KvCache],
) -> Buffer {
    heads.check(q, k, v, segments);
    assert_eq!(segments.len(), caches.len(), "a cache for every segment");
    assert!(caches.iter().all(|cache| cache.heads == heads), "a cache of other heads");
    let held: usize = segments.iter().zip(caches.iter()).map(|(s, cache)| s.len() * (s.len() + cache.len())).sum();
    let mut out = Buffer::stale(q.len());
    let shared = Shared::new(&mut out);
    let companies = companies(heads, segments, caches);
    let mut tasks = BTreeMap::<(usize, usize), Vec<(&Range<usize>, &mut HeadCache)>>::new();
    for ((rows, cache), company) in segments.iter().zip(caches).zip(companies) {
        for (head, cache) in cache.by_head.iter_mut().enumerate() {
            tasks.entry((company, head)).or_default().push((rows, cache));
        }
    }
    let mut tasks: Vec<_> = tasks.into_iter().map(|((_, head), members)| (head, members)).collect();
    let run = |(head, members): &mut (usize, Vec<(&Range<usize>, &mut HeadCache)>)| {
        for (rows, cache) in members.iter_mut() {
            cache.append(isa, heads.kv(k, rows, *head), heads.kv(v, rows, *head));
        }
        // SAFETY: every task writes the columns of its own heads in the rows of its own segments.
        unsafe {
            match &members[..] {
                [(rows, cache)] if rows.len() != 1 => attend(isa, heads, q, rows, *head, cache, &shared),
                members => attend_together(isa, heads, q, members, *head, &shared),
            }
        }
    };
    if tasks_for(held * heads.query_width()) > 1 {
        tasks.par_iter_mut().with_max_len(1).for_each(run);
    } else {
        tasks.iter_mut().for_each(run);
    }
    out
}

/// Which segments go together, by numbers: decoding steps whose sequences begin with the same block, in as few companies as there
/// can be, of sizes as even as there can be.
fn companies(heads: Heads, segments: &[Range<usize>], caches: &[&mut KvCache]) -> Vec<usize> {
    let begins = |(rows, cache): (&Range<usize>, &&mut KvCache)| {
        let first = &cache.by_head[0];
        (rows.len() == 1 && first.len >= first.rows_of_a_block).then(|| Arc::as_ptr(&first.blocks[0]))
    };
    let begins: Vec<Option<*const Block>> = segments.iter().zip(caches).map(begins).collect();
    let mut sizes = BTreeMap::<*const Block, usize>::new();
    begins.iter().flatten().for_each(|block| *sizes.entry(*block).or_default() += 1);
    // The sequences so far that begin with a block, and the company of the last one.
    let mut open = BTreeMap::<*const Block, (usize, usize)>::new();
    let mut companies = 0;
    let mut found = || {
        companies += 1;
        companies
    };
    let company = |begins: &Option<*const Block>| {
        let Some(block) = begins else { return found() };
        let size = sizes[block].div_ceil((sizes[block] * heads.group()).div_ceil(TOGETHER));
        let (count, company) = open.entry(*block).or_default();
        if *count % size == 0 {
            *company = found();
        }
        *count += 1;
        *company
    };
    begins.iter().map(company).collect()
}

/// As [`attend`], of a decoding step, of one sequence or several: the heads of a group are rows of one product, and a block that
/// neighbours hold is met by all their queries at once. Each row's chains are the same.
///
/// # Safety
/// No other thread touches the group's columns in these rows of `out`.
unsafe fn attend_together(
    isa: Isa,
    heads: Heads,
    q: &[f32],
    members: &[(&Range<usize>, &mut HeadCache)],
    head: usize,
    out: &Shared<'_>,
) {
    let (width, group) = (heads.head_dim, heads.group());
    let place = |rows: &Range<usize>| rows.start * heads.query_width() + head * group * width;
    let gathered: Vec<f32> = members.iter().flat_map(|(rows, _)| &q[place(rows)..][..group * width]).copied().collect();
    let queries = View::new(&gathered, members.len() * group, width);
    let stride = members.iter().map(|(_, cache)| cache.len).max().unwrap_or(0).next_multiple_of(LANES);
    let [mut scores, other] = SCORES.take();
    scores.resize(queries.height() * stride, 0.0);
    each_block(members, |these, keys, block| {
        let (left, scores) = (these.start * group..these.end * group, &mut scores[these.start * group * stride..]);
        product(isa, queries.rows(left), block.keys(keys.len(), width), keys.start, stride, scores);
    });
    for ((_, cache), scores) in members.iter().zip(scores.chunks_mut(group * stride)) {
        probabilities(isa, &|_| heads.visible(cache.len - 1), heads.scale(), stride, scores);
    }
    let mut seen = vec![0.0; gathered.len()];
    let target = Shared::new(&mut seen);
    each_block(members, |these, keys, block| {
        let first = these.start * group;
        let weights = View::strided(&scores[first * stride + keys.start..], these.len() * group, keys.len(), stride);
        let (values, target) =
            (block.values(keys.len(), width), Target { out: &target, start: first * width, stride: width });
        // SAFETY: it is this thread's own. A chain goes on from block to block.
        unsafe { matmul_block(isa, weights, values, 0..values.count(), target, keys.start > 0) }
    });
    for ((rows, _), seen) in members.iter().zip(seen.chunks(group * width)) {
        let place = place(rows);
        // SAFETY: the caller's promise.
        unsafe { out.part(place..place + group * width) }.copy_from_slice(seen);
    }
    SCORES.set([scores, other]);
}

/// Visits every block of keys that members hold, each member's in order: once for all neighbours that hold the same one, with who
/// they are and the places of its keys.
fn each_block(members: &[(&Range<usize>, &mut HeadCache)], mut visit: impl FnMut(Range<usize>, Range<usize>, &Block)) {
    let most = members.iter().map(|(_, cache)| cache.blocks.len()).max().unwrap_or(0);
    for at in 0..most {
        let mut member = 0;
        while member < members.len() {
            let first = member;
            let Some((keys, block)) = members[first].1.block(at) else {
                member += 1;
                continue;
            };
            let same = |(_, cache): &&(&Range<usize>, &mut HeadCache)| {
                cache.block(at).is_some_and(|(others, other)| others == keys && Arc::ptr_eq(block, other))
            };
            member += members[first..].iter().take_while(same).count();
            visit(first..member, keys, block);
        }
    }
}

/// The queries of one segment (the last rows that `cache` holds) in the group of one key/value head.
///
/// # Safety
/// No other thread touches the group's columns in these rows of `out`.
unsafe fn attend(
    isa: Isa,
    heads: Heads,
    q: &[f32],
    rows: &Range<usize>,
    head: usize,
    cache: &HeadCache,
    out: &Shared<'_>,
) {
    let (width, group) = (heads.head_dim, heads.group());
    let [mut scores, other] = SCORES.take();
    for head in head * group..(head + 1) * group {
        for first in rows.clone().step_by(BLOCK) {
            let block = first..rows.end.min(first + BLOCK);
            let queries = heads.query(q, &block, head);
            let seen = |i: usize| heads.visible(cache.len + first + i - rows.end);
            let keys = seen(block.len() - 1).end;
            let stride = keys.next_multiple_of(LANES);
            scores.resize(block.len() * stride, 0.0);
            for (range, block) in cache.first(keys) {
                product(isa, queries, block.keys(range.len(), width), range.start, stride, &mut scores);
            }
            probabilities(isa, &seen, heads.scale(), stride, &mut scores);
            let target = Target { out, start: first * heads.query_width() + head * width, stride: heads.query_width() };
            for (range, block) in cache.first(keys) {
                let weights = View::strided(&scores[range.start..], queries.height(), range.len(), stride);
                let values = block.values(range.len(), width);
                // SAFETY: the caller's promise. A chain goes on from block to block.
                unsafe { matmul_block(isa, weights, values, 0..values.count(), target, range.start > 0) }
            }
        }
    }
    SCORES.set([scores, other]);
}

/// Softmax of scaled scores, row after row, each row `stride` long; what a query does not see is zero.
fn probabilities(isa: Isa, seen: &dyn Fn(usize) -> Range<usize>, scale: f32, stride: usize, scores: &mut [f32]) {
    for (i, row) in scores.chunks_mut(stride).enumerate() {
        let Range { start, end } = seen(i);
        row[..start].fill(0.0);
        softmax(isa, &mut row[start..end], scale);
        row[end..].fill(0.0);
    }
}

/// A product into columns from `start` on of a buffer of this thread's own, whose rows are `stride` long.
fn product(isa: Isa, left: View<'_>, right: Panels<'_>, start: usize, stride: usize, out: &mut [f32]) {
    let shared = Shared::new(out);
    let target = Target { out: &shared, start, stride };
    // SAFETY: `out` is borrowed here alone.
    unsafe { matmul_block(isa, left, right, 0..right.count(), target, false) }
}

/// Gradients of [`forward`] to queries, keys and values.
pub fn backward(
    isa: Isa,
    heads: Heads,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    grad: &[f32],
    segments: &[Range<usize>],
) -> [Buffer; 3] {
    heads.check(q, k, v, segments);
    assert_eq!(grad.len(), q.len(), "the gradient has another size");
    let (mut dq, mut dk, mut dv) = (Buffer::stale(q.len()), zeros(k.len()), zeros(v.len()));
    let shared = [Shared::new(&mut dq), Shared::new(&mut dk), Shared::new(&mut dv)];
    each(segments.len() * heads.kv_heads, heads.work(segments) * 3, |task| {
        let (rows, head) = (&segments[task / heads.kv_heads], task % heads.kv_heads);
        if !rows.is_empty() {
            // SAFETY: every task writes the columns of its own heads in the rows of its own segment.
            unsafe { attend_back(isa, heads, [q, k, v, grad], rows, head, &shared) }
        }
    });
    [dq, dk, dv]
}

/// With probabilities P, outputs O = P V and G the gradient to O: `dV = Pᵀ G`, `dP = G Vᵀ`,
/// `dS = P ∘ (dP − rowsum(P ∘ dP)) · scale`, `dQ = dS K`, `dK = dSᵀ Q`. Keys and values collect over the heads of the group
/// and then over queries, in order.
///
/// # Safety
/// No other thread touches this group's columns in these rows of `[dq, dk, dv]`.
unsafe fn attend_back(
    isa: Isa,
    heads: Heads,
    [q, k, v, grad]: [&[f32]; 4],
    rows: &Range<usize>,
    head: usize,
    [dq, dk, dv]: &[Shared<'_>; 3],
) {
    let (width, group) = (heads.head_dim, heads.group());
    let keys_down = Packed::new(isa, heads.kv(k, rows, head).transposed());
    let values_down = Packed::new(isa, heads.kv(v, rows, head).transposed());
    let keys = Packed::new(isa, heads.kv(k, rows, head));
    let [mut scores, mut dscores] = SCORES.take();
    let kv_start = rows.start * heads.kv_width() + head * width;
    let [dk, dv] = [dk, dv].map(|out| Target { out, start: kv_start, stride: heads.kv_width() });
    let panels = 0..width.div_ceil(LANES);
    for head in head * group..(head + 1) * group {
        for first in rows.clone().step_by(BLOCK) {
            let block = first..rows.end.min(first + BLOCK);
            let seen = block.end - rows.start;
            let stride = seen.next_multiple_of(LANES);
            let (queries, grads) = (heads.query(q, &block, head), heads.query(grad, &block, head));
            let visible = |i: usize| heads.visible(first - rows.start + i);
            scores.resize(block.len() * stride, 0.0);
            dscores.resize(block.len() * stride, 0.0);
            product(isa, queries, keys_down.panels().left(seen), 0, stride, &mut scores);
            probabilities(isa, &visible, heads.scale(), stride, &mut scores);
            product(isa, grads, values_down.panels().left(seen), 0, stride, &mut dscores);
            let view = View::strided(&scores, block.len(), seen, stride);
            let grads = Packed::new(isa, grads);
            // SAFETY: the caller's promise, here and below.
            unsafe { matmul_block(isa, view.transposed(), grads.panels(), panels.clone(), dv, true) }
            for (i, (p, dp)) in scores.chunks_mut(stride).zip(dscores.chunks(stride)).enumerate() {
                softmax_back(isa, &mut p[visible(i)], &dp[visible(i)], heads.scale());
            }
            let view = View::strided(&scores, block.len(), seen, stride);
            let start = first * heads.query_width() + head * width;
            let dq = Target { out: dq, start, stride: heads.query_width() };
            unsafe { matmul_block(isa, view, keys.panels().top(seen), panels.clone(), dq, false) }
            let queries = Packed::new(isa, queries);
            unsafe { matmul_block(isa, view.transposed(), queries.panels(), panels.clone(), dk, true) }
        }
    }
    SCORES.set([scores, dscores]);
}
