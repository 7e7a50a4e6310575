//! Numbers of 16 bits (bf16: the upper half of an f32), two in a lane of a vector of f32: one trait, emulated or by the CPU's own
//! instructions.
//!
//! The low half of a lane is the first number of a pair, the high half the second.

use super::Simd;
use crate::halves::rounded;

/// Lanes of the widest vector.
const MOST_LANES: usize = 16;

/// What multiplies: numbers of 32 bits, or pairs of 16.
///
/// # Safety
/// For every method: the CPU has the instructions of `S` and of the implementing type.
pub(crate) trait Product<S: Simd> {
    /// `c` and the product of `a` and `b`, lane by lane.
    unsafe fn add_product(a: S::V, b: S::V, c: S::V) -> S::V;
}

/// Numbers of 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Whole;

impl<S: Simd> Product<S> for Whole {
    #[inline(always)]
    unsafe fn add_product(a: S::V, b: S::V, c: S::V) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::mul_add(a, b, c) }
    }
}

/// Pairs of 16 bits: a product is the sum of both, in f32.
///
/// # Safety
/// As [`Product`].
pub(crate) trait Halves<S: Simd>: Product<S> {
    /// Pairs of one number of each, [`rounded`].
    unsafe fn zip(first: S::V, second: S::V) -> S::V;

    /// The pairs of neighbours of two vectors, one behind the other.
    unsafe fn pair_up(front: S::V, back: S::V) -> S::V;
}

/// By instructions that every level has: slower than [`Whole`], for CPUs that lack others.
#[derive(Clone, Copy)]
pub(crate) struct Emulated;

impl<S: Simd> Product<S> for Emulated {
    #[inline(always)]
    unsafe fn add_product(a: S::V, b: S::V, c: S::V) -> S::V {
        // SAFETY: the caller's promise.
        unsafe {
            let second = S::mul_add(S::high_halves(a), S::high_halves(b), c);
            S::mul_add(S::low_halves(a), S::low_halves(b), second)
        }
    }
}

impl<S: Simd> Halves<S> for Emulated {
    #[inline(always)]
    unsafe fn zip(first: S::V, second: S::V) -> S::V {
        const { assert!(S::LANES <= MOST_LANES) };
        let (mut firsts, mut seconds) = ([0.0_f32; MOST_LANES], [0.0_f32; MOST_LANES]);
        // SAFETY: no vector has more lanes than the arrays.
        unsafe {
            S::store(firsts.as_mut_ptr(), first);
            S::store(seconds.as_mut_ptr(), second);
        }
        for i in 0..S::LANES {
            let pair = u32::from(rounded(firsts[i])) | u32::from(rounded(seconds[i])) << 16;
            firsts[i] = f32::from_bits(pair);
        }
        // SAFETY: as above.
        unsafe { S::load(firsts.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn pair_up(front: S::V, back: S::V) -> S::V {
        const { assert!(S::LANES <= MOST_LANES) };
        let (mut numbers, mut pairs) = ([0.0_f32; 2 * MOST_LANES], [0.0_f32; MOST_LANES]);
        // SAFETY: no vector has more lanes than the arrays have room for.
        unsafe {
            S::store(numbers.as_mut_ptr(), front);
            S::store(numbers.as_mut_ptr().add(S::LANES), back);
        }
        for i in 0..S::LANES {
            let pair = u32::from(rounded(numbers[2 * i])) | u32::from(rounded(numbers[2 * i + 1])) << 16;
            pairs[i] = f32::from_bits(pair);
        }
        // SAFETY: as above.
        unsafe { S::load(pairs.as_ptr()) }
    }
}
