//! Turns a few rows and a few panels into the elements where they meet, all accumulators in registers.
//!
//! # Invariants
//! Each element is one chain of fused multiply-adds in the order of k, scaled when it ends or not at all. Nothing outside the tile is
//! written.

use super::pack::{Lane, Lanes, Panels};
use super::parallel::Shared;
use super::simd::{Isa, Kind, LANES, for_every_isa};

/// Where a product goes: row `i` begins at `start + i · stride`.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub out: &'a Shared<'a>,
    pub start: usize,
    pub stride: usize,
}

/// Rows of the left side: element (i, k) is `data[k · step + i]`.
#[derive(Clone, Copy)]
pub struct Left<'a> {
    pub data: &'a [f32],
    pub step: usize,
}

/// The most rows a tile has on this instruction set: accumulators, operands and all stay in its registers.
pub fn most_rows(isa: Isa) -> usize {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512(_) => 14,
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2(_) => 6,
        #[cfg(target_arch = "aarch64")]
        Kind::Neon(_) => 6,
        Kind::Portable(_) => 4,
    }
}

/// How many of `left` panels a tile of `rows` rows takes: enough chains to hide a multiply-add's latency.
pub fn most_panels(isa: Isa, rows: usize, left: usize) -> usize {
    let most = match (isa.0, rows) {
        #[cfg(target_arch = "x86_64")]
        (Kind::Avx512(_), 1) => 8,
        #[cfg(target_arch = "x86_64")]
        (Kind::Avx512(_), 2..=6) => 4,
        #[cfg(target_arch = "x86_64")]
        (Kind::Avx512(_), _) => 2,
        #[cfg(target_arch = "x86_64")]
        (Kind::Avx2(_), 1) => 4,
        #[cfg(target_arch = "x86_64")]
        (Kind::Avx2(_), 2..=3) => 2,
        #[cfg(target_arch = "aarch64")]
        (Kind::Neon(_), 1) => 4,
        // Of three rows, two panels would spill.
        #[cfg(target_arch = "aarch64")]
        (Kind::Neon(_), 2) => 2,
        _ => 1,
    };
    if left >= most { most } else { 1 << left.ilog2() }
}

/// What comes before a part of chains, and what after it.
#[derive(Clone, Copy)]
pub struct Chains<'a> {
    /// They go on from what the target holds; else from zero.
    pub carry: bool,
    /// Where they end, and their ends are multiplied: by what, a lane for each panel.
    pub scales: Option<&'a [Lane]>,
}

impl Chains<'_> {
    /// Those of the panels from `first` on.
    pub fn from(self, first: usize) -> Self {
        Self { scales: self.scales.map(|scales| &scales[first..]), ..self }
    }
}

/// The most lanes a tile has, on any instruction set.
const MOST: usize = 28;

/// `target = left · b` for `rows` rows and the `panels` panels of `b`.
///
/// # Safety
/// No other thread touches the tile's elements meanwhile.
pub unsafe fn tile(isa: Isa, rows: usize, panels: usize, left: Left, b: Panels, target: Target, chains: Chains) {
    let Target { out, start, stride } = target;
    let (width, whole) = (b.width, panels * LANES);
    assert!(width <= whole && width + LANES > whole, "panels of another width");
    if width == whole {
        let place = Place { first: out.corner(start, rows, width, stride), stride };
        return full(isa, rows, panels, left, b, place, chains);
    }
    // The last panel is in part padding, which has no place there: made aside.
    let mut aside = [[0.0f32; LANES]; MOST];
    let aside = &mut aside.as_flattened_mut()[..rows * whole];
    // SAFETY: this thread's alone, as the caller promises; used one by one.
    let row = |i: usize| unsafe { out.part(start + i * stride..start + i * stride + width) };
    if chains.carry {
        aside.chunks_mut(whole).enumerate().for_each(|(i, aside)| aside[..width].copy_from_slice(row(i)));
    }
    let place = Place { first: aside.as_mut_ptr(), stride: whole };
    full(isa, rows, panels, left, b, place, chains);
    aside.chunks(whole).enumerate().for_each(|(i, aside)| row(i).copy_from_slice(&aside[..width]));
}

/// Where a tile of whole panels goes: its first element, and how far from one another its rows begin. Whoever makes one answers for
/// it: all lanes of the tile lie in memory that no other thread touches.
#[derive(Clone, Copy)]
struct Place {
    first: *mut f32,
    stride: usize,
}

impl Place {
    /// Where the lanes of row `i` and panel `j` are.
    #[inline(always)]
    fn lanes(self, i: usize, j: usize) -> *mut [f32; LANES] {
        self.first.wrapping_add(i * self.stride + j * LANES).cast()
    }
}

/// As [`tile`], where all panels are whole.
fn full(isa: Isa, rows: usize, panels: usize, left: Left, b: Panels, place: Place, chains: Chains) {
    macro_rules! dispatch {
        ($lanes:expr) => {
            dispatch!($lanes;
                1 => 1 2 4 8, 2 => 1 2 4, 3 => 1 2 4, 4 => 1 2 4, 5 => 1 2 4, 6 => 1 2 4, 7 => 1 2, 8 => 1 2, 9 => 1 2,
                10 => 1 2, 11 => 1 2, 12 => 1 2, 13 => 1 2, 14 => 1 2,
            )
        };
        ($lanes:expr; $($rows:literal => $($panels:literal)+),* $(,)?) => {
            match (rows, panels) {
                $($(($rows, $panels) => run::<$rows, $panels, _>(isa, left, b, $lanes, place, chains),)+)*
                _ => unreachable!("no tile of {rows} rows and {panels} panels"),
            }
        };
    }
    match b.lanes {
        Lanes::F32(lanes) => dispatch!(lanes),
        Lanes::Bf16(lanes) => dispatch!(lanes),
        Lanes::F16(lanes) => dispatch!(lanes),
        Lanes::I8(lanes) => dispatch!(lanes),
    }
}

for_every_isa! {
    fn run<const ROWS: usize, const PANELS: usize; E: Element>(s;
        left: Left<'_>, b: Panels<'_>, lanes: &[[E; LANES]], place: Place, chains: Chains<'_>
    ) {
        // `most_rows` and `most_panels` never ask for more; saying so spares the compiler those tiles.
        if ROWS * PANELS > S::SUMS {
            unreachable!("a tile of {ROWS} rows and {PANELS} panels");
        }
        let Panels { depth, panel, step, .. } = b;
        assert!(depth > 0);
        assert!((depth - 1) * left.step + ROWS <= left.data.len());
        assert!((PANELS - 1) * panel + (depth - 1) * step < lanes.len());
        // Arrays are made and read by index, never moved or changed as a whole: else the sums live in memory, and a tile of few terms
        // takes twice its time.
        let mut sums: [[S::V; PANELS]; ROWS] = if chains.carry {
            // SAFETY: `place` is the tile's.
            std::array::from_fn(|i| std::array::from_fn(|j| s.load(&unsafe { place.lanes(i, j).read() })))
        } else {
            std::array::from_fn(|i| {
                std::array::from_fn(|j| {
                    s.prefetch(place.lanes(i, j));
                    s.splat(0.0)
                })
            })
        };
        for k in 0..depth {
            // SAFETY: the assertions above, for every k below `depth`.
            let columns: [S::V; PANELS] =
                std::array::from_fn(|j| E::load(s, unsafe { lanes.get_unchecked(j * panel + k * step) }));
            for (i, row) in sums.iter_mut().enumerate() {
                // SAFETY: as above.
                let x = s.splat(unsafe { *left.data.get_unchecked(k * left.step + i) });
                for (sum, column) in row.iter_mut().zip(columns) {
                    *sum = s.fma(x, column, *sum);
                }
            }
        }
        let ends = chains.scales.map(|scales| std::array::from_fn::<_, PANELS, _>(|j| s.load(&scales[j].0)));
        for (i, row) in sums.iter().enumerate() {
            for (j, sum) in row.iter().enumerate() {
                let end = ends.map_or(*sum, |ends| s.mul(*sum, ends[j]));
                // SAFETY: `place` is the tile's.
                unsafe { place.lanes(i, j).write(s.array(end)) };
            }
        }
    }
}
