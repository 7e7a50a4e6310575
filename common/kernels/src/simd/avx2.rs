//! 256-bit vectors, AVX2 with FMA.

use std::arch::x86_64::*;

use super::Simd;

/// Eight floats in a ymm register.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// Eight set words, then eight clear ones: a mask of `count` lanes is read `8 - count` words in.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

impl Simd for Avx2 {
    type V = __m256;
    type Mask = __m256i;
    const LANES: usize = 8;
    const TILE_VECTORS: usize = 2;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn mask(count: usize) -> __m256i {
        debug_assert!(count <= 8);
        // SAFETY: words `8 - count..16 - count` lie inside the sixteen of `MASKS`.
        unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - count).cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn zero() -> __m256 {
        _mm256_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn splat(x: f32) -> __m256 {
        _mm256_set1_ps(x)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load(p: *const f32) -> __m256 {
        // SAFETY: the caller gives a pointer valid for the lanes read.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load_masked(p: *const f32, mask: __m256i) -> __m256 {
        // SAFETY: the caller gives a pointer valid for the lanes read.
        unsafe { _mm256_maskload_ps(p, mask) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store(p: *mut f32, v: __m256) {
        // SAFETY: the caller gives a pointer valid for the lanes written.
        unsafe { _mm256_storeu_ps(p, v) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store_masked(p: *mut f32, v: __m256, mask: __m256i) {
        // SAFETY: the caller gives a pointer valid for the lanes written.
        unsafe { _mm256_maskstore_ps(p, mask, v) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        _mm256_sub_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        _mm256_mul_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, c)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn neg_mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fnmadd_ps(a, b, c)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        _mm256_min_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        _mm256_max_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sqrt(a: __m256) -> __m256 {
        _mm256_sqrt_ps(a)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn keep_positive(test: __m256, value: __m256) -> __m256 {
        _mm256_and_ps(value, _mm256_cmp_ps::<_CMP_GT_OQ>(test, _mm256_setzero_ps()))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn reciprocal(a: __m256) -> __m256 {
        _mm256_div_ps(_mm256_set1_ps(1.0), a)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn sum_eight(v: [__m256; 8]) -> [f32; 8] {
        // Three rounds of adding neighbours leave, in each 128-bit half, that half's sums of four vectors.
        let low = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
        let high = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
        let sums = _mm256_add_ps(
            _mm256_permute2f128_ps::<0x20>(low, high),
            _mm256_permute2f128_ps::<0x31>(low, high),
        );
        let mut out = [0.0; 8];
        // SAFETY: `out` holds the eight lanes written.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sums) };
        out
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn largest(v: __m256) -> f32 {
        let mut lanes = [0.0; 8];
        // SAFETY: `lanes` holds the eight lanes written.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), v) };
        lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn equal_bits(a: __m256, b: __m256) -> u32 {
        _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b)) as u32
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn low_halves(v: __m256) -> __m256 {
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(v)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn high_halves(v: __m256) -> __m256 {
        _mm256_castsi256_ps(_mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(!0xFFFF)))
    }
}
