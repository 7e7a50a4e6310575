//! Vectors of f32: one trait, three kinds. The only file family that names intrinsics.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod bytes;
pub(crate) mod halves;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{Avx512, Bf16};
pub(crate) use portable::Portable;

/// The operations kernels are written in.
///
/// # Safety
/// For every method: the CPU has the instructions of the implementing type. Loads and stores: the pointer is valid
/// for [`Simd::LANES`] floats, or for as many as the mask covers; no alignment is needed.
pub(crate) trait Simd: Copy {
    /// A vector.
    type V: Copy;
    /// Selects the first lanes of a vector.
    type Mask: Copy;
    /// Floats in a vector.
    const LANES: usize;
    /// Vectors side by side in a register tile of [`mod@crate::gemm`]; six rows of them must fit in the registers.
    const TILE_VECTORS: usize;

    /// The mask of the first `count` lanes, `count <= LANES`.
    unsafe fn mask(count: usize) -> Self::Mask;
    /// All lanes 0.
    unsafe fn zero() -> Self::V;
    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self::V;
    /// Reads a vector.
    unsafe fn load(p: *const f32) -> Self::V;
    /// Reads the masked lanes; the others are 0 and their memory is not touched.
    unsafe fn load_masked(p: *const f32, mask: Self::Mask) -> Self::V;
    /// Writes a vector.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// Writes the masked lanes; the memory of the others is not touched.
    unsafe fn store_masked(p: *mut f32, v: Self::V, mask: Self::Mask);
    /// `a + b`.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `a b`.
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a b + c`, rounded once where the CPU can (not in portable code).
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a b`, rounded likewise.
    unsafe fn neg_mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The smaller lane; `b` where either is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// The larger lane; `b` where either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The square root, rounded correctly.
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// `value` where `test > 0`, else 0.
    unsafe fn keep_positive(test: Self::V, value: Self::V) -> Self::V;
    /// `1 / a` within 2 units in the last place, for `1e-37 <= |a| <= 8e37`.
    unsafe fn reciprocal(a: Self::V) -> Self::V;
    /// The sum of the lanes of each of eight vectors, every one added in the same order.
    unsafe fn sum_eight(v: [Self::V; 8]) -> [f32; 8];
    /// The largest lane of a vector without NaN.
    unsafe fn largest(v: Self::V) -> f32;
    /// Bit i is set where lane i of both is equal.
    unsafe fn equal_bits(a: Self::V, b: Self::V) -> u32;
    /// The f32 whose upper half is the lower half of a lane.
    unsafe fn low_halves(v: Self::V) -> Self::V;
    /// The f32 that the upper half of a lane is.
    unsafe fn high_halves(v: Self::V) -> Self::V;

    /// Writes a tile of as many rows as a vector has lanes with rows and columns exchanged; rows are `stride` apart.
    #[inline(always)]
    unsafe fn transpose_tile(from: (*const f32, usize), to: (*mut f32, usize)) {
        for i in 0..Self::LANES {
            for j in 0..Self::LANES {
                // SAFETY: the caller gives tiles of `LANES` rows, each valid for a vector.
                unsafe { *to.0.add(j * to.1 + i) = *from.0.add(i * from.1 + j) };
            }
        }
    }
}

/// Asks for numbers that will be read soon, into the L2 cache.
#[inline(always)]
pub fn prefetch(x: &[f32]) {
    /// Numbers of a cache line.
    const LINE: usize = 16;
    // The last number lies in a line of its own where the first is not at the beginning of one.
    for line in x.chunks(LINE).chain(x.last().map(std::slice::from_ref)) {
        // SAFETY: every x86-64 has the instruction, which reads nothing.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

/// Reads a vector, or its masked lanes.
///
/// # Safety
/// As [`Simd::load`] or [`Simd::load_masked`].
#[inline(always)]
pub(crate) unsafe fn load<S: Simd, const MASKED: bool>(p: *const f32, mask: S::Mask) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if MASKED { S::load_masked(p, mask) } else { S::load(p) } }
}

/// Writes a vector, or its masked lanes.
///
/// # Safety
/// As [`Simd::store`] or [`Simd::store_masked`].
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, const MASKED: bool>(p: *mut f32, v: S::V, mask: S::Mask) {
    // SAFETY: the caller's promise.
    unsafe { if MASKED { S::store_masked(p, v, mask) } else { S::store(p, v) } }
}
