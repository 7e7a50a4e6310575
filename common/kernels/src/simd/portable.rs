//! Plain Rust on arrays of eight, which compilers turn into the vectors of the target.

use super::Simd;

/// Eight floats without special instructions. None of its methods but those that load and store is really unsafe.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

const LANES: usize = 8;

#[inline(always)]
fn map2(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut out = a;
    for i in 0..LANES {
        out[i] = f(a[i], b[i]);
    }
    out
}

impl Simd for Portable {
    type V = [f32; LANES];
    type Mask = usize;
    const LANES: usize = LANES;
    const TILE_VECTORS: usize = 1;

    #[inline(always)]
    unsafe fn mask(count: usize) -> usize {
        count
    }

    #[inline(always)]
    unsafe fn zero() -> Self::V {
        [0.0; LANES]
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: the caller gives a pointer valid for eight floats; arrays of f32 need the alignment of f32 only.
        unsafe { p.cast::<Self::V>().read() }
    }

    #[inline(always)]
    unsafe fn load_masked(p: *const f32, mask: usize) -> Self::V {
        let mut out = [0.0; LANES];
        for (i, lane) in out.iter_mut().enumerate().take(mask) {
            // SAFETY: the caller gives a pointer valid for the masked lanes.
            *lane = unsafe { p.add(i).read() };
        }
        out
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        // SAFETY: as for `load`.
        unsafe { p.cast::<Self::V>().write(v) }
    }

    #[inline(always)]
    unsafe fn store_masked(p: *mut f32, v: Self::V, mask: usize) {
        for (i, lane) in v.into_iter().enumerate().take(mask) {
            // SAFETY: as for `load_masked`.
            unsafe { p.add(i).write(lane) };
        }
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| a * b)
    }

    // `f32::mul_add` would be a call into libm where the target has no FMA.
    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        map2(map2(a, b, |a, b| a * b), c, |product, c| product + c)
    }

    #[inline(always)]
    unsafe fn neg_mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        map2(map2(a, b, |a, b| a * b), c, |product, c| c - product)
    }

    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        map2(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn sqrt(a: Self::V) -> Self::V {
        map2(a, a, |a, _| a.sqrt())
    }

    #[inline(always)]
    unsafe fn keep_positive(test: Self::V, value: Self::V) -> Self::V {
        map2(test, value, |test, value| if test > 0.0 { value } else { 0.0 })
    }

    #[inline(always)]
    unsafe fn reciprocal(a: Self::V) -> Self::V {
        map2(a, a, |a, _| 1.0 / a)
    }

    #[inline(always)]
    unsafe fn sum_eight(v: [Self::V; 8]) -> [f32; 8] {
        let mut out = [0.0; 8];
        for (sum, v) in out.iter_mut().zip(v) {
            *sum = ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
        }
        out
    }

    #[inline(always)]
    unsafe fn largest(v: Self::V) -> f32 {
        v.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    unsafe fn equal_bits(a: Self::V, b: Self::V) -> u32 {
        let mut bits = 0;
        for i in 0..LANES {
            bits |= u32::from(a[i] == b[i]) << i;
        }
        bits
    }

    #[inline(always)]
    unsafe fn low_halves(v: Self::V) -> Self::V {
        map2(v, v, |v, _| f32::from_bits(v.to_bits() << 16))
    }

    #[inline(always)]
    unsafe fn high_halves(v: Self::V) -> Self::V {
        map2(v, v, |v, _| f32::from_bits(v.to_bits() & !0xFFFF))
    }
}
