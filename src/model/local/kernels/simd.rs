//! Turns instruction sets into one vocabulary: sixteen lanes of f32.
//!
//! A value of [`Isa`] (and of the tokens behind it) exists only where its instructions do, so everything but the hop into a
//! function compiled for them is safe code.
//!
//! # Invariants
//! Every operation gives the same bits in every implementation: IEEE 754 single operations, one rounding each. What is no
//! number is none everywhere, but which of them is the processor's to say. Nothing here reads the environment.

use half::{bf16, f16};
use std::sync::OnceLock;

pub const LANES: usize = 16;

/// Sixteen lanes and what can be done with them.
pub trait Simd: Copy {
    type V: Copy;

    /// Values of `V` that can be summed into at once without leaving the registers.
    const SUMS: usize;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, x: &[f32; LANES]) -> Self::V;
    fn store(self, v: Self::V, out: &mut [f32; LANES]);
    /// Says that something will be stored there soon. Any address will do.
    #[inline(always)]
    fn prefetch(self, _out: *const [f32; LANES]) {}
    /// The same numbers: every bfloat16 is a float.
    fn widen_bf16(self, x: &[bf16; LANES]) -> Self::V;
    /// The same numbers, all of them finite: every half is a float.
    fn widen_f16(self, x: &[f16; LANES]) -> Self::V;
    /// The same numbers: every whole number of eight bits is a float.
    #[inline(always)]
    fn widen_i8(self, x: &[i8; LANES]) -> Self::V {
        self.load(&x.map(f32::from))
    }
    /// `a · b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `a > b`, else `b`.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `a < b`, else `b`.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(self, a: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// 2 to the power of `n`, an integer in −126 ..= 127.
    fn exp2i(self, n: Self::V) -> Self::V;

    /// Fewer than sixteen values; the other lanes are `fill`.
    #[inline(always)]
    fn load_part(self, x: &[f32], fill: f32) -> Self::V {
        let mut lanes = [fill; LANES];
        lanes[..x.len()].copy_from_slice(x);
        self.load(&lanes)
    }

    /// The first `out.len()` lanes, fewer than sixteen.
    #[inline(always)]
    fn store_part(self, v: Self::V, out: &mut [f32]) {
        let lanes = self.array(v);
        out.copy_from_slice(&lanes[..out.len()]);
    }

    /// Rows to columns.
    #[inline(always)]
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES] {
        let from = rows.map(|row| self.array(row));
        std::array::from_fn(|column| self.load(&std::array::from_fn(|row| from[row][column])))
    }

    #[inline(always)]
    fn array(self, v: Self::V) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        self.store(v, &mut lanes);
        lanes
    }

    /// The lanes at `x[at..]`; past the end they are `fill`.
    #[inline(always)]
    fn at_or(self, x: &[f32], at: usize, fill: f32) -> Self::V {
        let rest = &x[at..];
        match rest.first_chunk() {
            Some(lanes) => self.load(lanes),
            None => self.load_part(rest, fill),
        }
    }

    #[inline(always)]
    fn at(self, x: &[f32], at: usize) -> Self::V {
        self.at_or(x, at, 0.0)
    }

    /// Stores the lanes to `out[at..]`, as many as there are places.
    #[inline(always)]
    fn put(self, v: Self::V, out: &mut [f32], at: usize) {
        let rest = &mut out[at..];
        match rest.first_chunk_mut() {
            Some(lanes) => self.store(v, lanes),
            None => self.store_part(v, rest),
        }
    }

    /// The sum of all lanes, in the one order sums are folded in.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let a = self.array(v);
        let mut b = [0.0; 8];
        for i in 0..8 {
            b[i] = a[i] + a[i + 8];
        }
        let c = [b[0] + b[4], b[1] + b[5], b[2] + b[6], b[3] + b[7]];
        (c[0] + c[2]) + (c[1] + c[3])
    }
}

/// Plain Rust, for every machine; the reference for the others.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Simd for Portable {
    type V = [f32; LANES];
    const SUMS: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        *x
    }
    #[inline(always)]
    fn store(self, v: Self::V, out: &mut [f32; LANES]) {
        *out = v;
    }
    #[inline(always)]
    fn widen_bf16(self, x: &[bf16; LANES]) -> Self::V {
        x.map(|x| f32::from_bits(u32::from(x.to_bits()) << 16))
    }
    #[inline(always)]
    fn widen_f16(self, x: &[f16; LANES]) -> Self::V {
        // The exponent's bias is 15 there and 127 here: a power of two makes up for it, exactly, below the normal numbers too.
        const BIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
        x.map(|x| {
            let (sign, rest) = (u32::from(x.to_bits() >> 15) << 31, u32::from(x.to_bits() & 0x7fff) << 13);
            f32::from_bits((f32::from_bits(rest) * BIAS).to_bits() | sign)
        })
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn exp2i(self, n: Self::V) -> Self::V {
        n.map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23))
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};
#[cfg(target_arch = "x86_64")]
#[path = "simd_x86.rs"]
mod x86;

#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
#[cfg(target_arch = "aarch64")]
#[path = "simd_neon.rs"]
mod neon;

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
}

/// An instruction set this machine has.
#[derive(Clone, Copy, Debug)]
pub struct Isa(pub(super) Kind);

impl Isa {
    pub fn portable() -> Self {
        Isa(Kind::Portable(Portable))
    }

    /// All that this machine has, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(Avx512::detect().map(|token| Isa(Kind::Avx512(token))));
            all.extend(Avx2::detect().map(|token| Isa(Kind::Avx2(token))));
        }
        #[cfg(target_arch = "aarch64")]
        all.extend(Neon::detect().map(|token| Isa(Kind::Neon(token))));
        all.push(Self::portable());
        all
    }

    pub fn best() -> Self {
        Self::available()[0]
    }

    /// `avx512`, `avx2`, `neon` or `portable`; `None` when this machine has no such thing.
    pub fn named(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon(_) => "neon",
        }
    }
}

static CHOSEN: OnceLock<Isa> = OnceLock::new();

/// The instruction set operations run on: the one set, else the best.
pub fn isa() -> Isa {
    *CHOSEN.get_or_init(Isa::best)
}

/// Chooses for the whole process; `false` when the choice was already made. Results do not depend on it, only speed.
pub fn set_isa(isa: Isa) -> bool {
    CHOSEN.set(isa).is_ok()
}

/// How a number is stored; all are computed with as floats.
pub trait Element: Copy + Default + Send + Sync {
    fn load<S: Simd>(simd: S, lanes: &[Self; LANES]) -> S::V;
}

impl Element for f32 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, lanes: &[f32; LANES]) -> S::V {
        simd.load(lanes)
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, lanes: &[bf16; LANES]) -> S::V {
        simd.widen_bf16(lanes)
    }
}

impl Element for f16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, lanes: &[f16; LANES]) -> S::V {
        simd.widen_f16(lanes)
    }
}

impl Element for i8 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, lanes: &[i8; LANES]) -> S::V {
        simd.widen_i8(lanes)
    }
}

/// Defines a function over [`Simd`] once and compiles it for every instruction set. The function takes an [`Isa`] first.
macro_rules! for_every_isa {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$(const $constant:ident: usize),* $(; $element:ident: Element)?>)? ($simd:ident; $($arg:ident: $ty:ty),* $(,)?) $(-> $out:ty)? $body:block
    )*) => { $(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name $(<$(const $constant: usize,)* $($element: $crate::model::local::kernels::simd::Element)?>)? (isa: $crate::model::local::kernels::simd::Isa, $($arg: $ty),*) $(-> $out)? {
            use $crate::model::local::kernels::simd::{Kind, Portable, Simd};
            #[cfg(target_arch = "x86_64")]
            use $crate::model::local::kernels::simd::{Avx2, Avx512};
            #[cfg(target_arch = "aarch64")]
            use $crate::model::local::kernels::simd::Neon;
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<S: Simd, $($(const $constant: usize,)* $($element: $crate::model::local::kernels::simd::Element)?)?>($simd: S, $($arg: $ty),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            #[allow(clippy::too_many_arguments)]
            fn avx512 $(<$(const $constant: usize,)* $($element: $crate::model::local::kernels::simd::Element)?>)? (simd: Avx512, $($arg: $ty),*) $(-> $out)? {
                body::<Avx512, $($($constant,)* $($element)?)?>(simd, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments)]
            fn avx2 $(<$(const $constant: usize,)* $($element: $crate::model::local::kernels::simd::Element)?>)? (simd: Avx2, $($arg: $ty),*) $(-> $out)? {
                body::<Avx2, $($($constant,)* $($element)?)?>(simd, $($arg),*)
            }
            match isa.0 {
                Kind::Portable(simd) => body::<Portable, $($($constant,)* $($element)?)?>(simd, $($arg),*),
                // SAFETY: the token exists only where the processor has AVX-512F.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512(simd) => unsafe { avx512 $(::<$($constant,)* $($element)?>)? (simd, $($arg),*) },
                // SAFETY: the token exists only where the processor has AVX2, FMA and F16C.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2(simd) => unsafe { avx2 $(::<$($constant,)* $($element)?>)? (simd, $($arg),*) },
                // What every function is compiled for there.
                #[cfg(target_arch = "aarch64")]
                Kind::Neon(simd) => body::<Neon, $($($constant,)* $($element)?)?>(simd, $($arg),*),
            }
        }
    )* };
}
pub(super) use for_every_isa;
