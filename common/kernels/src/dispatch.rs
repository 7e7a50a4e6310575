//! From a run-time level to compiled code: one generic kernel in, its instance for the level out.
//!
//! The functions here are the only ones that enable target features. Kernels and everything they call are
//! `#[inline(always)]`, so that their bodies, and the intrinsics in them, are compiled inside these functions. A
//! kernel must not hide vector operations in closures: those would be compiled without the features (those of a function with
//! `target_feature` have its).

use crate::{
    level::{Kind, Level},
    simd::{Portable, Simd, bytes::Bytes},
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

/// Work on bytes, written once for every kind of [`Bytes`].
pub(crate) trait ByteKernel {
    /// What the work returns.
    type Output;

    /// Does the work. Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The CPU has the instructions of `B`; the kernel's own pointers are valid.
    unsafe fn run<B: Bytes>(self) -> Self::Output;
}

/// Runs a kernel on bytes at a level.
///
/// # Safety
/// As [`dispatch`].
#[inline]
pub(crate) unsafe fn dispatch_bytes<K: ByteKernel>(level: Level, kernel: K) -> K::Output {
    // SAFETY: as in `dispatch`; VNNI, which AVX-512 may lack, is asked for.
    unsafe {
        match level.0 {
            Kind::Portable => kernel.run::<Portable>(),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512
                if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw") =>
            {
                vnni(kernel)
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 | Kind::Avx512 => avx2_bytes(kernel),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_bytes<K: ByteKernel>(kernel: K) -> K::Output {
    // SAFETY: the features of this function are those of `Avx2`; the rest is the caller's promise.
    unsafe { kernel.run::<crate::simd::Avx2>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
unsafe fn vnni<K: ByteKernel>(kernel: K) -> K::Output {
    // SAFETY: the features of this function are those of `Vnni`; the rest is the caller's promise.
    unsafe { kernel.run::<crate::simd::bytes::Vnni>() }
}
