//! Dot products of bytes: one trait, three kinds (AVX-512 with VNNI, AVX2, portable). Sums are whole numbers, so that all
//! kinds agree to the last bit.

/// Bytes of a line; rows are whole lines.
pub(crate) const LINE: usize = 64;

/// Rows whose products are formed together.
pub(crate) const ROWS: usize = 16;

/// Products of bytes.
pub(crate) trait Bytes: Copy {
    /// The dot products of sixteen rows of a table with a query. Rows and query are `lines` lines long.
    ///
    /// # Safety
    /// The CPU has the instructions of the implementing type; `table` holds the rows, and `query` is as long as one. Sums
    /// fit an i32.
    unsafe fn dot_rows(table: *const u8, rows: &[u32; ROWS], query: *const i8, lines: usize) -> [i32; ROWS];
}

impl Bytes for super::Portable {
    #[inline(always)]
    unsafe fn dot_rows(table: *const u8, rows: &[u32; ROWS], query: *const i8, lines: usize) -> [i32; ROWS] {
        let mut out = [0; ROWS];
        for i in 0..ROWS {
            let first = rows[i] as usize * lines * LINE;
            let mut sum = 0;
            for j in 0..lines * LINE {
                // SAFETY: the caller gives rows of the table and a query, `lines` lines long.
                sum += unsafe { i32::from(*table.add(first + j)) * i32::from(*query.add(j)) };
            }
            out[i] = sum;
        }
        out
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Bytes, LINE, ROWS};
    use crate::simd::Avx2;

    impl Bytes for Avx2 {
        #[inline]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn dot_rows(
            table: *const u8,
            rows: &[u32; ROWS],
            query: *const i8,
            lines: usize,
        ) -> [i32; ROWS] {
            let mut out = [0; ROWS];
            for (rows, out) in rows.chunks_exact(8).zip(out.chunks_exact_mut(8)) {
                let mut sums = [_mm256_setzero_si256(); 8];
                for at in (0..lines * LINE).step_by(16) {
                    // SAFETY: the caller gives rows of the table and a query, `lines` lines long.
                    unsafe {
                        // Products of pairs could be too large for `maddubs`, which has 16 bits for their sum.
                        let q = _mm256_cvtepi8_epi16(_mm_loadu_si128(query.add(at).cast()));
                        for i in 0..8 {
                            let row = table.add(rows[i] as usize * lines * LINE + at);
                            let row = _mm256_cvtepu8_epi16(_mm_loadu_si128(row.cast()));
                            sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(row, q));
                        }
                    }
                }
                // Three rounds of adding neighbours leave, in each 128-bit half, that half's sums of four vectors.
                let add = |a, b| _mm256_hadd_epi32(a, b);
                let low = add(add(sums[0], sums[1]), add(sums[2], sums[3]));
                let high = add(add(sums[4], sums[5]), add(sums[6], sums[7]));
                let sums = _mm256_add_epi32(
                    _mm256_permute2x128_si256::<0x20>(low, high),
                    _mm256_permute2x128_si256::<0x31>(low, high),
                );
                // SAFETY: `out` holds the eight sums written.
                unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sums) };
            }
            out
        }
    }

    /// Sixty-four products in an instruction.
    #[derive(Clone, Copy)]
    pub(crate) struct Vnni;

    impl Bytes for Vnni {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
        unsafe fn dot_rows(
            table: *const u8,
            rows: &[u32; ROWS],
            query: *const i8,
            lines: usize,
        ) -> [i32; ROWS] {
            let mut v = [_mm512_setzero_si512(); ROWS];
            for line in 0..lines {
                // SAFETY: the caller gives rows of the table and a query, `lines` lines long.
                unsafe {
                    let q = _mm512_loadu_si512(query.add(line * LINE).cast());
                    for i in 0..ROWS {
                        let row = table.add((rows[i] as usize * lines + line) * LINE);
                        v[i] = _mm512_dpbusd_epi32(v[i], _mm512_loadu_si512(row.cast()), q);
                    }
                }
            }
            // Each round adds halves of two vectors: after two, a vector has four rows in each 128-bit lane; after four, one
            // vector has all rows in order.
            let mut of_four = [_mm512_setzero_si512(); 4];
            for i in 0..4 {
                let [a, b, c, d] = [v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3]];
                let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
                let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
                of_four[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
            }
            let add_lanes = |a, b| {
                let (even, odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xDD>(a, b));
                _mm512_add_epi32(even, odd)
            };
            let [a, b, c, d] = of_four;
            let sums = add_lanes(add_lanes(a, b), add_lanes(c, d));
            let mut out = [0; ROWS];
            // SAFETY: `out` holds the sixteen sums written.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) };
            out
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Vnni;
