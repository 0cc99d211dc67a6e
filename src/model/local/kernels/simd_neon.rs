//! Turns AArch64's vectors into sixteen lanes: four registers of NEON.
//!
//! # Invariants
//! A token is made by `detect` alone. No intrinsic here that rounds twice or approximates, and none of those that choose a
//! maximum otherwise than a comparison does.

use super::{LANES, Simd};
use half::{bf16, f16};
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

/// Proof that the processor has NEON. AArch64 without it runs no program of an ordinary target, so functions need not be
/// compiled for it apart.
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

impl Neon {
    pub fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

/// Four of the lanes.
type Quarter = float32x4_t;

#[inline(always)]
fn quarters(quarter: impl Fn(usize) -> Quarter) -> [Quarter; 4] {
    [quarter(0), quarter(1), quarter(2), quarter(3)]
}

/// Four halves as floats. The intrinsic for this instruction wants Rust 1.94.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
unsafe fn widened(halves: uint16x4_t) -> Quarter {
    let floats: Quarter;
    // SAFETY: from register to register, the caller's word for the instruction.
    unsafe { asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) floats, in(vreg) halves, options(pure, nomem, nostack)) };
    floats
}

// SAFETY (every block below): `self` proves that the instructions exist; loads and stores stay inside the array they are given.
impl Simd for Neon {
    type V = [Quarter; 4];
    const SUMS: usize = 6;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        quarters(|_| unsafe { vdupq_n_f32(x) })
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        quarters(|i| unsafe { vld1q_f32(x[4 * i..4 * i + 4].as_ptr()) })
    }
    #[inline(always)]
    fn store(self, v: Self::V, out: &mut [f32; LANES]) {
        for (quarter, out) in v.into_iter().zip(out.chunks_exact_mut(4)) {
            unsafe { vst1q_f32(out.as_mut_ptr(), quarter) };
        }
    }
    #[inline(always)]
    fn widen_bf16(self, x: &[bf16; LANES]) -> Self::V {
        quarters(|i| unsafe {
            let wide = vmovl_u16(vld1_u16(x[4 * i..4 * i + 4].as_ptr().cast()));
            vreinterpretq_f32_u32(vshlq_n_u32::<16>(wide))
        })
    }
    #[inline(always)]
    fn widen_f16(self, x: &[f16; LANES]) -> Self::V {
        quarters(|i| unsafe { widened(vld1_u16(x[4 * i..4 * i + 4].as_ptr().cast())) })
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        quarters(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        quarters(|i| unsafe { vaddq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        quarters(|i| unsafe { vsubq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        quarters(|i| unsafe { vmulq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        quarters(|i| unsafe { vdivq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // `vmaxq_f32` takes what is no number wherever it stands, and of two zeros the positive one.
        quarters(|i| unsafe { vbslq_f32(vcgtq_f32(a[i], b[i]), a[i], b[i]) })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        quarters(|i| unsafe { vbslq_f32(vcltq_f32(a[i], b[i]), a[i], b[i]) })
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        quarters(|i| unsafe { vsqrtq_f32(a[i]) })
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        quarters(|i| unsafe { vrndnq_f32(a[i]) })
    }
    #[inline(always)]
    fn exp2i(self, n: Self::V) -> Self::V {
        quarters(|i| unsafe {
            let exponent = vaddq_s32(vcvtq_s32_f32(n[i]), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
        })
    }

    #[inline(always)]
    fn transpose(self, r: [Self::V; LANES]) -> [Self::V; LANES] {
        // In blocks of 4 × 4: quarter `i` of the columns from `4 · j` on is made of quarter `j` of the rows from `4 · i` on.
        let mut columns = [self.splat(0.0); LANES];
        for i in 0..4 {
            for j in 0..4 {
                let [a, b, c, d] = [r[4 * i][j], r[4 * i + 1][j], r[4 * i + 2][j], r[4 * i + 3][j]];
                let block = unsafe {
                    let low = |a, b| vcombine_f32(vget_low_f32(a), vget_low_f32(b));
                    let high = |a, b| vcombine_f32(vget_high_f32(a), vget_high_f32(b));
                    let (ab_even, ab_odd) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
                    let (cd_even, cd_odd) = (vtrn1q_f32(c, d), vtrn2q_f32(c, d));
                    [low(ab_even, cd_even), low(ab_odd, cd_odd), high(ab_even, cd_even), high(ab_odd, cd_odd)]
                };
                for (k, column) in block.into_iter().enumerate() {
                    columns[4 * j + k][i] = column;
                }
            }
        }
        columns
    }
}
