//! From a run-time level to compiled code: one generic kernel in, its instance for the level out.
//!
//! The functions here are the only ones that enable target features. Kernels and everything they call are
//! `#[inline(always)]`, so that their bodies, and the intrinsics in them, are compiled inside these functions. A
//! kernel must not hide vector operations in closures: those would be compiled without the features.

use crate::{
    level::{Kind, Level},
    simd::{Portable, Simd},
};

/// Work written once for every vector type.
pub(crate) trait Kernel {
    /// What the work returns.
    type Output;

    /// Does the work. Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The CPU has the instructions of `S`; the kernel's own pointers are valid.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// Runs a kernel at a level.
///
/// # Safety
/// What the kernel itself asks for (valid pointers). That the CPU has the instructions is proven by `level`.
#[inline]
pub(crate) unsafe fn dispatch<K: Kernel>(level: Level, kernel: K) -> K::Output {
    // SAFETY: a `Level` is only made after asking the CPU for its instructions; the rest is the caller's promise.
    unsafe {
        match level.0 {
            Kind::Portable => kernel.run::<Portable>(),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => avx512(kernel),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the features of this function are those of `Avx2`; the rest is the caller's promise.
    unsafe { kernel.run::<crate::simd::Avx2>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the features of this function are those of `Avx512`; the rest is the caller's promise.
    unsafe { kernel.run::<crate::simd::Avx512>() }
}
