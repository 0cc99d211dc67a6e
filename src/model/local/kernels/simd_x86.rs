//! Turns x86-64 vectors into sixteen lanes: one register of AVX-512, two of AVX2.
//!
//! # Invariants
//! A token is made by `detect` alone. No intrinsic here that rounds twice or approximates.

use super::{LANES, Simd};
use half::{bf16, f16};
use std::arch::x86_64::*;

/// Proof that the processor has AVX-512F.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx512 {
    pub fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }
}

/// Proof that the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    pub fn detect() -> Option<Self> {
        let all =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        all.then_some(Self(()))
    }
}

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

// SAFETY (every block below): `self` proves that the instructions exist; loads and stores stay inside the array or slice
// they are given.
impl Simd for Avx512 {
    type V = __m512;
    const SUMS: usize = 28;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> __m512 {
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: __m512, out: &mut [f32; LANES]) {
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn prefetch(self, out: *const [f32; LANES]) {
        // A hint: it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(out.cast()) }
    }
    #[inline(always)]
    fn widen_bf16(self, x: &[bf16; LANES]) -> __m512 {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    fn widen_f16(self, x: &[f16; LANES]) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn widen_i8(self, x: &[i8; LANES]) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<NEAREST>(a) }
    }
    #[inline(always)]
    fn exp2i(self, n: __m512) -> __m512 {
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        }
    }

    #[inline(always)]
    fn load_part(self, x: &[f32], fill: f32) -> __m512 {
        let mask = (1u32 << x.len().min(LANES)) - 1;
        // Masked lanes are not read, so nothing past the slice is touched.
        unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(fill), mask as __mmask16, x.as_ptr()) }
    }
    #[inline(always)]
    fn store_part(self, v: __m512, out: &mut [f32]) {
        let mask = (1u32 << out.len().min(LANES)) - 1;
        unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), mask as __mmask16, v) }
    }

    #[inline(always)]
    fn transpose(self, r: [__m512; LANES]) -> [__m512; LANES] {
        // Quarters of four rows each are transposed in place (4 × 4 blocks), then the blocks are.
        unsafe {
            let mut blocks = [[_mm512_setzero_ps(); 4]; 4];
            for (quarter, block) in blocks.iter_mut().enumerate() {
                let [a, b, c, d] = [r[4 * quarter], r[4 * quarter + 1], r[4 * quarter + 2], r[4 * quarter + 3]];
                let (ab_low, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let (cd_low, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                *block = [
                    _mm512_shuffle_ps::<0x44>(ab_low, cd_low),
                    _mm512_shuffle_ps::<0xee>(ab_low, cd_low),
                    _mm512_shuffle_ps::<0x44>(ab_high, cd_high),
                    _mm512_shuffle_ps::<0xee>(ab_high, cd_high),
                ];
            }
            let mut columns = [_mm512_setzero_ps(); LANES];
            for i in 0..4 {
                let [a, b, c, d] = [blocks[0][i], blocks[1][i], blocks[2][i], blocks[3][i]];
                let (ab_even, ab_odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                let (cd_even, cd_odd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
                columns[i] = _mm512_shuffle_f32x4::<0x88>(ab_even, cd_even);
                columns[i + 4] = _mm512_shuffle_f32x4::<0x88>(ab_odd, cd_odd);
                columns[i + 8] = _mm512_shuffle_f32x4::<0xdd>(ab_even, cd_even);
                columns[i + 12] = _mm512_shuffle_f32x4::<0xdd>(ab_odd, cd_odd);
            }
            columns
        }
    }
}

/// Applies an intrinsic to both halves.
macro_rules! halves {
    ($intrinsic:path; $($arg:ident),*) => {
        unsafe { [$intrinsic($($arg[0]),*), $intrinsic($($arg[1]),*)] }
    };
}

// SAFETY (every block below): as above.
impl Simd for Avx2 {
    type V = [__m256; 2];
    const SUMS: usize = 6;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        unsafe { [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x[8..].as_ptr())] }
    }
    #[inline(always)]
    fn store(self, v: Self::V, out: &mut [f32; LANES]) {
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), v[0]);
            _mm256_storeu_ps(out[8..].as_mut_ptr(), v[1]);
        }
    }
    #[inline(always)]
    fn prefetch(self, out: *const [f32; LANES]) {
        // A hint: it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(out.cast()) }
    }
    #[inline(always)]
    fn widen_bf16(self, x: &[bf16; LANES]) -> Self::V {
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(x[8..].as_ptr().cast()));
            [_mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)), _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high))]
        }
    }
    #[inline(always)]
    fn widen_f16(self, x: &[f16; LANES]) -> Self::V {
        unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(x[8..].as_ptr().cast())),
            ]
        }
    }
    #[inline(always)]
    fn widen_i8(self, x: &[i8; LANES]) -> Self::V {
        unsafe {
            let low = _mm256_cvtepi8_epi32(_mm_loadl_epi64(x.as_ptr().cast()));
            let high = _mm256_cvtepi8_epi32(_mm_loadl_epi64(x[8..].as_ptr().cast()));
            [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)]
        }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        halves!(_mm256_fmadd_ps; a, b, c)
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_add_ps; a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_sub_ps; a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_mul_ps; a, b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_div_ps; a, b)
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_max_ps; a, b)
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_min_ps; a, b)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        halves!(_mm256_sqrt_ps; a)
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        unsafe { [_mm256_round_ps::<NEAREST>(a[0]), _mm256_round_ps::<NEAREST>(a[1])] }
    }
    #[inline(always)]
    fn exp2i(self, n: Self::V) -> Self::V {
        unsafe {
            let bias = _mm256_set1_epi32(127);
            let low = _mm256_add_epi32(_mm256_cvtps_epi32(n[0]), bias);
            let high = _mm256_add_epi32(_mm256_cvtps_epi32(n[1]), bias);
            [_mm256_castsi256_ps(_mm256_slli_epi32::<23>(low)), _mm256_castsi256_ps(_mm256_slli_epi32::<23>(high))]
        }
    }
}
