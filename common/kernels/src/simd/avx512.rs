//! 512-bit vectors, AVX-512F; products of 16 bits with AVX-512 BF16.

use std::{arch::x86_64::*, mem::transmute};

use super::{
    Simd,
    halves::{Halves, Product},
};

/// Sixteen floats in a zmm register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

impl Simd for Avx512 {
    type V = __m512;
    type Mask = __mmask16;
    const LANES: usize = 16;
    const TILE_VECTORS: usize = 4;

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn mask(count: usize) -> __mmask16 {
        debug_assert!(count <= 16);
        ((1u32 << count) - 1) as __mmask16
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn zero() -> __m512 {
        _mm512_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn splat(x: f32) -> __m512 {
        _mm512_set1_ps(x)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: the caller gives a pointer valid for the lanes read.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_masked(p: *const f32, mask: __mmask16) -> __m512 {
        // SAFETY: the caller gives a pointer valid for the lanes read.
        unsafe { _mm512_maskz_loadu_ps(mask, p) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: the caller gives a pointer valid for the lanes written.
        unsafe { _mm512_storeu_ps(p, v) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store_masked(p: *mut f32, v: __m512, mask: __mmask16) {
        // SAFETY: the caller gives a pointer valid for the lanes written.
        unsafe { _mm512_mask_storeu_ps(p, mask, v) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        _mm512_sub_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        _mm512_mul_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, c)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn neg_mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fnmadd_ps(a, b, c)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        _mm512_min_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        _mm512_max_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sqrt(a: __m512) -> __m512 {
        _mm512_sqrt_ps(a)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn keep_positive(test: __m512, value: __m512) -> __m512 {
        _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(test, _mm512_setzero_ps()), value)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn reciprocal(a: __m512) -> __m512 {
        // One Newton step takes the 14 bits of the estimate to 24; a division would take 3 times as long.
        let estimate = _mm512_rcp14_ps(a);
        let residual = _mm512_fnmadd_ps(a, estimate, _mm512_set1_ps(1.0));
        _mm512_fmadd_ps(estimate, residual, estimate)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sum_eight(v: [__m512; 8]) -> [f32; 8] {
        let mut halves = [_mm256_setzero_ps(); 8];
        for i in 0..8 {
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v[i])));
            halves[i] = _mm256_add_ps(_mm512_castps512_ps256(v[i]), high);
        }
        // SAFETY: AVX-512F includes AVX2.
        unsafe { super::Avx2::sum_eight(halves) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn largest(v: __m512) -> f32 {
        _mm512_reduce_max_ps(v)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn equal_bits(a: __m512, b: __m512) -> u32 {
        u32::from(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn transpose_tile(from: (*const f32, usize), to: (*mut f32, usize)) {
        let pd = |x: __m512| _mm512_castps_pd(x);
        let zero = _mm512_setzero_ps();
        let (mut rows, mut pairs, mut fours) = ([zero; 16], [zero; 16], [zero; 16]);
        for i in 0..16 {
            // SAFETY: the caller gives sixteen rows, each valid for a vector.
            rows[i] = unsafe { _mm512_loadu_ps(from.0.add(i * from.1)) };
        }
        for i in 0..8 {
            let (a, b) = (rows[2 * i], rows[2 * i + 1]);
            (pairs[2 * i], pairs[2 * i + 1]) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        }
        // Then lane l of `fours[4 i + j]` holds column 4 l + j of rows 4 i to 4 i + 3.
        for i in 0..4 {
            for j in 0..2 {
                let (a, b) = (pd(pairs[4 * i + j]), pd(pairs[4 * i + 2 + j]));
                fours[4 * i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                fours[4 * i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
            }
        }
        for j in 0..4 {
            let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
            let even = [_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d)];
            let odd = [_mm512_shuffle_f32x4::<0xDD>(a, b), _mm512_shuffle_f32x4::<0xDD>(c, d)];
            let columns = [
                _mm512_shuffle_f32x4::<0x88>(even[0], even[1]),
                _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]),
                _mm512_shuffle_f32x4::<0xDD>(even[0], even[1]),
                _mm512_shuffle_f32x4::<0xDD>(odd[0], odd[1]),
            ];
            for l in 0..4 {
                // SAFETY: the caller gives room for sixteen columns, each valid for a vector.
                unsafe { _mm512_storeu_ps(to.0.add((4 * l + j) * to.1), columns[l]) };
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn low_halves(v: __m512) -> __m512 {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(v)))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn high_halves(v: __m512) -> __m512 {
        _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(!0xFFFF)))
    }
}

/// Pairs of bf16 by the CPU's own instructions.
#[derive(Clone, Copy)]
pub(crate) struct Bf16;

impl Product<Avx512> for Bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn add_product(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the types are as long, and any bits are a value of either.
        unsafe { _mm512_dpbf16_ps(c, transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b)) }
    }
}

impl Halves<Avx512> for Bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn zip(first: __m512, second: __m512) -> __m512 {
        let lanes = _mm512_cvtne2ps_pbh(second, first);
        // Word 2 i from the first sixteen, word 2 i + 1 from the others.
        let order: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * 16) as u16);
        // SAFETY: the types are as long, and any bits are a value of either.
        unsafe {
            let (lanes, order) =
                (transmute::<__m512bh, __m512i>(lanes), transmute::<[u16; 32], __m512i>(order));
            _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, lanes))
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pair_up(front: __m512, back: __m512) -> __m512 {
        // SAFETY: the types are as long, and any bits are a value of either.
        unsafe { transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(back, front)) }
    }
}
