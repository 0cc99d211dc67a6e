//! Turns two matrices into their product.
//!
//! # Invariants
//! Every element is one chain over k in order, from zero or, with `carry`, from what the place holds. Nothing is summed
//! across blocks: a block of k goes on where the block before stopped. What is scaled is the end of a chain, once.

use super::buffer::Buffer;
use super::pack::{Lane, Panels, View, pack_panel};
use super::parallel::{Shared, each, tasks_for, zeros};
use super::quantised::Quantised;
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

/// The whole product, over rayon's threads. Nothing is written where there are no terms.
fn spread(isa: Isa, a: View<'_>, b: Panels<'_>, out: &Shared<'_>, chains: Chains<'_>) {
    let (rows, width) = (a.height(), b.width());
    let work = rows * width * a.width();
    let wanted = tasks_for(work);
    let tile_rows = most_rows(isa);
    let by_row = match b.depth * width {
        FAR.. => rows >= width,
        _ => rows >= wanted * tile_rows || rows >= b.count(),
    };
    let target = |row: usize| Target { out, start: row * width, stride: width };
    if by_row {
        // Whole tiles, in tasks as even as can be: none is waited for long.
        let tiles = rows.div_ceil(tile_rows);
        let tasks = rows.div_ceil(HEIGHT).next_multiple_of(wanted).min(tiles);
        let start = |task: usize| rows.min(task * tiles / tasks * tile_rows);
        each(tasks, work, |task| {
            let range = start(task)..start(task + 1);
            // SAFETY: tasks have rows of their own.
            unsafe { block(isa, a.rows(range.clone()), b, 0..b.count(), target(range.start), chains) }
        });
    } else {
        let panels = b.count().div_ceil(wanted).next_multiple_of(most_panels(isa, rows.min(tile_rows), 8));
        each(b.count().div_ceil(panels), work, |task| {
            let range = task * panels..b.count().min((task + 1) * panels);
            // SAFETY: tasks have columns of their own.
            unsafe { block(isa, a, b, range, target(0), chains) }
        });
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
    unsafe { block(isa, a, b, panels, target, Chains { carry, scales: None }) }
}

/// As [`matmul_block`].
///
/// # Safety
/// As there.
unsafe fn block(isa: Isa, a: View<'_>, b: Panels<'_>, panels: Range<usize>, target: Target<'_>, chains: Chains<'_>) {
    assert!(a.width() == b.depth && panels.end <= b.count(), "left and right sides do not meet");
    assert!(a.height() <= 1 || target.stride >= b.width(), "rows of the product overlap");
    if a.height() == 0 || panels.is_empty() {
        return;
    }
    let tiles = balanced(a.height(), most_rows(isa));
    PACKED.with_borrow_mut(|packed| {
        let mut done = 0;
        while done < b.depth {
            // A short rest joins the block before it.
            let rest = b.depth - done;
            let depth = if rest <= DEPTH + DEPTH / 2 { rest } else { DEPTH };
            let block = a.cols(done..done + depth);
            let right = Panels { lanes: b.lanes.from(done * b.step), depth, ..b };
            let chains = Chains { carry: chains.carry || done > 0, scales: chains.scales.filter(|_| depth == rest) };
            let single = block.only_row();
            if single.is_none() && block.by_row {
                if packed.len() < tiles.len() * depth {
                    packed.resize(tiles.len() * depth, Lane::ZERO);
                }
                for (rows, lanes) in tiles.iter().zip(packed.chunks_mut(depth)) {
                    pack_panel(isa, block.rows(rows.clone()).transposed(), lanes);
                }
            }
            let group = most_panels(isa, tiles[0].len(), 8);
            for first in panels.clone().step_by(group) {
                let strip = right.strip(first, group.min(panels.end - first));
                let target = Target { start: target.start + first * LANES, ..target };
                let chains = chains.from(first);
                let across = |strip: Panels<'_>| {
                    for (index, rows) in tiles.iter().enumerate() {
                        let left = match single {
                            Some(row) => Left { data: row, step: 1 },
                            // A tile's rows lie side by side: nothing to pack.
                            None if !block.by_row => Left { data: &block.data[rows.start..], step: block.stride },
                            None => {
                                let lanes = &packed[index * depth..][..depth];
                                Left { data: Lane::plain(lanes).as_flattened(), step: LANES }
                            }
                        };
                        let start = target.start + rows.start * target.stride;
                        let target = Target { start, ..target };
                        // SAFETY: the caller's promise; tiles are disjoint.
                        unsafe { tiles_across(isa, rows.len(), left, strip, target, chains) }
                    }
                };
                // Several tiles of rows would each widen what they read.
                match tiles.len() {
                    2.. if strip.is_narrow() => WIDE.with_borrow_mut(|wide| across(strip.widened(isa, wide))),
                    _ => across(strip),
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
