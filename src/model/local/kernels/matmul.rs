//! Turns two matrices into their product.
//!
//! # Invariants
//! Every element is one chain over k in order, from zero or, with `carry`, from what the place holds. Nothing is summed
//! across blocks: a block of k goes on where the block before stopped. What is scaled is the end of a chain, once.

use super::buffer::Buffer;
use super::pack::{Lane, Panels, View, pack_panel};
use super::parallel::{Shared, each, tasks_for, zeros};
use super::quantised::Quantised;
use super::rows::scale;
use super::simd::{Isa, LANES};
use super::tile::{Chains, Left, most_panels, most_rows, tile};
use std::cell::RefCell;
use std::ops::Range;

pub use super::tile::Target;

/// Terms of a chain done at a time: two panels of this depth and a tile of rows fit the first-level cache.
const DEPTH: usize = 384;

/// Rows packed at a time: with the panels they meet they fit the second-level cache.
const HEIGHT: usize = 168;

/// Numbers of a right side from which on every task that reads it gets it from memory: tasks of columns read it once.
pub(super) const FAR: usize = 1 << 22;

/// `a · b`, row-major and contiguous.
pub fn matmul(isa: Isa, a: View<'_>, b: Panels<'_>) -> Buffer {
    made(isa, a, b, Chains { carry: false, scales: None })
}

/// `a · b`, row-major and contiguous: chains over the whole numbers of `b`, each times its column's scale.
pub fn matmul_quantised(isa: Isa, a: View<'_>, b: &Quantised) -> Buffer {
    made(isa, a, b.panels(), Chains { carry: false, scales: Some(b.scales()) })
}

fn made(isa: Isa, a: View<'_>, b: Panels<'_>, chains: Chains<'_>) -> Buffer {
    let len = a.height() * b.width();
    if b.depth == 0 {
        return zeros(len);
    }
    let mut out = Buffer::stale(len);
    spread(isa, a, b, &Shared::new(&mut out), chains);
    out
}

/// `out += a · b`: the chains go on from what `out` holds.
pub fn matmul_onto(isa: Isa, a: View<'_>, b: Panels<'_>, out: &mut [f32]) {
    assert_eq!(out.len(), a.height() * b.width(), "the product has another size");
    spread(isa, a, b, &Shared::new(out), Chains { carry: true, scales: None });
}

/// `a · b`, added to `onto` where there is one.
pub fn matmul_added(isa: Isa, a: View<'_>, b: Panels<'_>, onto: Option<Buffer>) -> Buffer {
    match onto {
        None => matmul(isa, a, b),
        Some(mut sum) => {
            matmul_onto(isa, a, b, &mut sum);
            sum
        }
    }
}

/// A product through few columns, which goes beside another: `scale · (a · down) · up`.
pub struct LowRank<'a> {
    pub down: Panels<'a>,
    pub up: Panels<'a>,
    pub scale: f32,
}

/// `a · b + scale · (a · down) · up`, and with it `scale · (a · down)`: each chain of `a · b`, from zero or what `onto` holds, goes
/// on with the terms of the other product. Rows go through all of it while they are at hand.
pub fn matmul_low_rank(
    isa: Isa,
    a: View<'_>,
    b: Panels<'_>,
    beside: LowRank<'_>,
    onto: Option<Buffer>,
) -> (Buffer, Buffer) {
    let LowRank { down, up, scale: by } = beside;
    let (rows, width, rank) = (a.height(), b.width(), down.width());
    assert!(up.width() == width && up.depth == rank, "factors do not meet");
    let Some(tasks) = tasks_of_rows(isa, rows, b).filter(|_| b.depth > 0) else {
        let mut low = matmul(isa, a, down);
        scale(isa, by, &mut low);
        let mut out = matmul_added(isa, a, b, onto);
        matmul_onto(isa, View::new(&low, rows, rank), up, &mut out);
        return (out, low);
    };
    let first = Chains { carry: onto.is_some(), scales: None };
    let mut out = onto.unwrap_or_else(|| Buffer::stale(rows * width));
    assert_eq!(out.len(), rows * width, "the product has another size");
    let mut low = Buffer::stale(rows * rank);
    let shared = [Shared::new(&mut out), Shared::new(&mut low)];
    let [to_out, to_low] = &shared;
    each(tasks.len(), rows * a.width() * (width + rank), |task| {
        let rows = tasks[task].clone();
        let side = |b, out, chains| Side::whole(b, out, rows.start, chains);
        let parts = [side(b, to_out, first), side(down, to_low, Chains { carry: false, scales: None })];
        // SAFETY: tasks have rows of their own, here and below.
        unsafe { block(isa, a.rows(rows.clone()), &parts) };
        let low = unsafe { to_low.part(rows.start * rank..rows.end * rank) };
        scale(isa, by, low);
        let low = View::new(low, rows.len(), rank);
        unsafe { block(isa, low, &[side(up, to_out, Chains { carry: true, scales: None })]) };
    });
    (out, low)
}

/// The rows of each task, where a product is split by rows: whole tiles, in tasks as even as can be, so that none is waited for
/// long. Nothing where it is better split by columns.
fn tasks_of_rows(isa: Isa, rows: usize, b: Panels<'_>) -> Option<Vec<Range<usize>>> {
    let (wanted, tile) = (tasks_for(rows * b.width() * b.depth), most_rows(isa));
    let by_row = match b.depth * b.width() {
        FAR.. => rows >= b.width(),
        _ => rows >= wanted * tile || rows >= b.count(),
    };
    let tiles = rows.div_ceil(tile);
    let tasks = rows.div_ceil(HEIGHT).next_multiple_of(wanted).min(tiles);
    let start = |task: usize| rows.min(task * tiles / tasks * tile);
    by_row.then(|| (0..tasks).map(|task| start(task)..start(task + 1)).collect())
}

/// The whole product, over rayon's threads. Nothing is written where there are no terms.
fn spread(isa: Isa, a: View<'_>, b: Panels<'_>, out: &Shared<'_>, chains: Chains<'_>) {
    let (rows, work) = (a.height(), a.height() * b.width() * a.width());
    if let Some(tasks) = tasks_of_rows(isa, rows, b) {
        each(tasks.len(), work, |task| {
            let rows = tasks[task].clone();
            // SAFETY: tasks have rows of their own.
            unsafe { block(isa, a.rows(rows.clone()), &[Side::whole(b, out, rows.start, chains)]) }
        });
    } else {
        let groups = most_panels(isa, rows.min(most_rows(isa)), 8);
        let panels = b.count().div_ceil(tasks_for(work)).next_multiple_of(groups);
        each(b.count().div_ceil(panels), work, |task| {
            let panels = task * panels..b.count().min((task + 1) * panels);
            // SAFETY: tasks have columns of their own.
            unsafe { block(isa, a, &[Side { panels, ..Side::whole(b, out, 0, chains) }]) }
        });
    }
}

/// A right side, which panels of it count, where their product goes, and from what its chains go on.
struct Side<'a> {
    b: Panels<'a>,
    panels: Range<usize>,
    target: Target<'a>,
    chains: Chains<'a>,
}

impl<'a> Side<'a> {
    /// All panels, into the rows of `out` from `row` on.
    fn whole(b: Panels<'a>, out: &'a Shared<'a>, row: usize, chains: Chains<'a>) -> Self {
        Self { b, panels: 0..b.count(), target: Target { out, start: row * b.width(), stride: b.width() }, chains }
    }
}

thread_local! {
    /// Packed rows of the left side, kept between calls.
    static PACKED: RefCell<Vec<Lane>> = const { RefCell::new(Vec::new()) };
    /// A few panels of the right side as floats, where they are stored in fewer bits and read more than once.
    static WIDE: RefCell<Vec<Lane>> = const { RefCell::new(Vec::new()) };
}

/// The part of `a · b` in the columns of `panels`, on this thread. Element (i, j) goes to
/// `target.start + i · target.stride + j` (a product of depth 0 leaves it as it is).
///
/// # Safety
/// No other thread touches these elements meanwhile.
pub unsafe fn matmul_block(
    isa: Isa,
    a: View<'_>,
    b: Panels<'_>,
    panels: Range<usize>,
    target: Target<'_>,
    carry: bool,
) {
    // SAFETY: the caller's promise.
    unsafe { block(isa, a, &[Side { b, panels, target, chains: Chains { carry, scales: None } }]) }
}

/// As [`matmul_block`], for several right sides that meet the same rows.
///
/// # Safety
/// As there.
unsafe fn block(isa: Isa, a: View<'_>, sides: &[Side<'_>]) {
    for Side { b, panels, target, .. } in sides {
        assert!(a.width() == b.depth && panels.end <= b.count(), "left and right sides do not meet");
        assert!(a.height() <= 1 || target.stride >= b.width(), "rows of the product overlap");
    }
    if a.height() == 0 {
        return;
    }
    let tiles = balanced(a.height(), most_rows(isa));
    PACKED.with_borrow_mut(|packed| {
        let mut done = 0;
        while done < a.width() {
            // A short rest joins the block before it.
            let rest = a.width() - done;
            let depth = if rest <= DEPTH + DEPTH / 2 { rest } else { DEPTH };
            let block = a.cols(done..done + depth);
            let single = block.only_row();
            if single.is_none() && block.by_row {
                if packed.len() < tiles.len() * depth {
                    packed.resize(tiles.len() * depth, Lane::ZERO);
                }
                for (rows, lanes) in tiles.iter().zip(packed.chunks_mut(depth)) {
                    pack_panel(isa, block.rows(rows.clone()).transposed(), lanes);
                }
            }
            let left = |tile: usize| match single {
                Some(row) => Left { data: row, step: 1 },
                // A tile's rows lie side by side: nothing to pack.
                None if !block.by_row => Left { data: &block.data[tiles[tile].start..], step: block.stride },
                None => {
                    let lanes = &packed[tile * depth..][..depth];
                    Left { data: Lane::plain(lanes).as_flattened(), step: LANES }
                }
            };
            let group = most_panels(isa, tiles[0].len(), 8);
            for Side { b, panels, target, chains } in sides {
                let right = Panels { lanes: b.lanes.from(done * b.step), depth, ..*b };
                let chains =
                    Chains { carry: chains.carry || done > 0, scales: chains.scales.filter(|_| depth == rest) };
                for first in panels.clone().step_by(group) {
                    let strip = right.strip(first, group.min(panels.end - first));
                    let start = target.start + first * LANES;
                    let across = |strip: Panels<'_>| {
                        for (tile, rows) in tiles.iter().enumerate() {
                            let target = Target { start: start + rows.start * target.stride, ..*target };
                            // SAFETY: the caller's promise; tiles are disjoint.
                            unsafe { tiles_across(isa, rows.len(), left(tile), strip, target, chains.from(first)) }
                        }
                    };
                    // Several tiles of rows would each widen what they read.
                    match tiles.len() {
                        2.. if strip.is_narrow() => WIDE.with_borrow_mut(|wide| across(strip.widened(isa, wide))),
                        _ => across(strip),
                    }
                }
            }
            done += depth;
        }
    });
}

/// One tile of rows against a few panels.
///
/// # Safety
/// As [`matmul_block`].
unsafe fn tiles_across(isa: Isa, rows: usize, left: Left<'_>, b: Panels<'_>, target: Target<'_>, chains: Chains<'_>) {
    let mut first = 0;
    while first < b.count() {
        let panels = most_panels(isa, rows, b.count() - first);
        let target = Target { start: target.start + first * LANES, ..target };
        // SAFETY: the caller's promise.
        unsafe { tile(isa, rows, panels, left, b.strip(first, panels), target, chains.from(first)) };
        first += panels;
    }
}

/// `rows` in as few tiles of at most `most` as there can be, sizes as even as there can be, the larger ones first.
fn balanced(rows: usize, most: usize) -> Vec<Range<usize>> {
    let tiles = rows.div_ceil(most);
    let (size, larger) = (rows / tiles, rows % tiles);
    let start = |tile: usize| tile * size + tile.min(larger);
    (0..tiles).map(|tile| start(tile)..start(tile + 1)).collect()
}
