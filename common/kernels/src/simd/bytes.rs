//! Dot products of bytes and sums of looked up ones: one trait, three kinds (AVX-512 with VNNI, AVX2, portable). Sums are
//! whole numbers, so that all kinds agree to the last bit.

/// Bytes of a line; rows are whole lines.
pub(crate) const LINE: usize = 64;

/// Rows whose products are formed together.
pub(crate) const ROWS: usize = 16;

/// Points that a code of 4 bits tells apart.
pub(crate) const POINTS: usize = 16;

/// Rows of a block of [`crate::product_codes`].
pub(crate) const BLOCK: usize = 32;

/// Codes of a block for two tables, or two tables.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(crate) struct Register(pub(crate) [u8; BLOCK]);

/// Products of bytes.
pub(crate) trait Bytes: Copy {
    /// The dot products of sixteen rows of a table with a query. Rows and query are `lines` lines long.
    ///
    /// # Safety
    /// The CPU has the instructions of the implementing type; `table` holds the rows, and `query` is as long as one. Sums
    /// fit an i32.
    unsafe fn dot_rows(table: *const u8, rows: &[u32; ROWS], query: *const i8, lines: usize) -> [i32; ROWS];

    /// For each row of a block, `more` and what its codes pick from the tables.
    ///
    /// # Safety
    /// The CPU has the instructions of the implementing type; the block has as many registers as the tables. No number in
    /// a table is above 63, and sums fit a u16.
    unsafe fn sum_picked(block: &[Register], tables: &[Register], more: u16) -> [u16; BLOCK];

    /// Asks for the codes of a block that will be read soon.
    ///
    /// # Safety
    /// The CPU has the instructions of the implementing type.
    unsafe fn prefetch(block: &[Register]);

    /// A bit for each of these numbers, set where it is not below `least`.
    ///
    /// # Safety
    /// The CPU has the instructions of the implementing type.
    unsafe fn at_least(numbers: &[u16; BLOCK], least: u16) -> u32;
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

    #[inline(always)]
    unsafe fn sum_picked(block: &[Register], tables: &[Register], more: u16) -> [u16; BLOCK] {
        let mut out = [more; BLOCK];
        for (codes, tables) in block.iter().zip(tables) {
            for (codes, table) in codes.0.chunks_exact(POINTS).zip(tables.0.chunks_exact(POINTS)) {
                for (row, code) in codes.iter().enumerate() {
                    out[row] += u16::from(table[usize::from(code & 15)]);
                    out[row + POINTS] += u16::from(table[usize::from(code >> 4)]);
                }
            }
        }
        out
    }

    #[inline(always)]
    unsafe fn prefetch(_: &[Register]) {}

    #[inline(always)]
    unsafe fn at_least(numbers: &[u16; BLOCK], least: u16) -> u32 {
        (0..).zip(numbers).fold(0, |bits, (i, &number)| bits | u32::from(number >= least) << i)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BLOCK, Bytes, LINE, ROWS, Register};
    use crate::simd::Avx2;

    /// Sums of so many numbers of a table fit a byte.
    const TOGETHER: usize = 4;

    /// Adds what the codes of at most [`TOGETHER`] registers pick.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add_picked(block: &[Register], tables: &[Register], sums: &mut [__m256i; 4]) {
        let (low_bits, zero) = (_mm256_set1_epi8(15), _mm256_setzero_si256());
        let (mut low, mut high) = (zero, zero);
        for (codes, table) in block.iter().zip(tables) {
            // SAFETY: a register has 32 bytes.
            let (codes, table) = unsafe {
                (_mm256_load_si256(codes.0.as_ptr().cast()), _mm256_load_si256(table.0.as_ptr().cast()))
            };
            let of_low = _mm256_and_si256(codes, low_bits);
            let of_high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), low_bits);
            low = _mm256_add_epi8(low, _mm256_shuffle_epi8(table, of_low));
            high = _mm256_add_epi8(high, _mm256_shuffle_epi8(table, of_high));
        }
        sums[0] = _mm256_add_epi16(sums[0], _mm256_unpacklo_epi8(low, zero));
        sums[1] = _mm256_add_epi16(sums[1], _mm256_unpackhi_epi8(low, zero));
        sums[2] = _mm256_add_epi16(sums[2], _mm256_unpacklo_epi8(high, zero));
        sums[3] = _mm256_add_epi16(sums[3], _mm256_unpackhi_epi8(high, zero));
    }

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

        #[inline]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn sum_picked(block: &[Register], tables: &[Register], more: u16) -> [u16; BLOCK] {
            // In 16 bits, of rows 0 to 7, 8 to 15, 16 to 23 and 24 to 31: of the first table of a register in the low half.
            let mut sums = [_mm256_setzero_si256(); 4];
            let (fours, rest) = block.as_chunks::<TOGETHER>();
            let (tables_of_fours, tables_of_rest) = tables.as_chunks::<TOGETHER>();
            for (block, tables) in fours.iter().zip(tables_of_fours) {
                add_picked(block, tables, &mut sums);
            }
            add_picked(rest, tables_of_rest, &mut sums);
            let (more, mut out) = (_mm256_set1_epi16(more.cast_signed()), [0; BLOCK]);
            for (i, [a, b]) in [[sums[0], sums[1]], [sums[2], sums[3]]].into_iter().enumerate() {
                // Low halves and high ones are of the same rows.
                let (first, second) =
                    (_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b));
                let sum = _mm256_add_epi16(_mm256_add_epi16(first, second), more);
                // SAFETY: `out` holds 32 sums, sixteen of which are written.
                unsafe { _mm256_storeu_si256(out.as_mut_ptr().add(16 * i).cast(), sum) };
            }
            out
        }

        #[inline]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn prefetch(block: &[Register]) {
            // Two of them are a line of the cache.
            for codes in block.iter().step_by(2) {
                _mm_prefetch::<_MM_HINT_T0>(codes.0.as_ptr().cast());
            }
        }

        #[inline]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn at_least(numbers: &[u16; BLOCK], least: u16) -> u32 {
            let least = _mm256_set1_epi16(least.cast_signed());
            // SAFETY: there are 32 numbers, sixteen a register.
            let [a, b] = [0, 16].map(|at| unsafe { _mm256_loadu_si256(numbers.as_ptr().add(at).cast()) });
            let is_least = |x| _mm256_cmpeq_epi16(_mm256_max_epu16(x, least), x);
            // Packing goes by halves of both.
            let bytes =
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(is_least(a), is_least(b)));
            _mm256_movemask_epi8(bytes).cast_unsigned()
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

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
        unsafe fn sum_picked(block: &[Register], tables: &[Register], more: u16) -> [u16; BLOCK] {
            // SAFETY: the caller's promise; whoever has VNNI has AVX2.
            unsafe { Avx2::sum_picked(block, tables, more) }
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
        unsafe fn prefetch(block: &[Register]) {
            // SAFETY: as above.
            unsafe { Avx2::prefetch(block) }
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
        unsafe fn at_least(numbers: &[u16; BLOCK], least: u16) -> u32 {
            // SAFETY: as above.
            unsafe { Avx2::at_least(numbers, least) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Vnni;
