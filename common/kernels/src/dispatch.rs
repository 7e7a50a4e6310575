//! From a run-time level to compiled code: one generic kernel in, its instance for the level out.
//!
//! The functions here are the only safe way to ones that enable target features. Kernels and everything they call are
//! `#[inline(always)]`, so that their bodies, and the intrinsics in them, are compiled inside these functions. A
//! kernel must not hide vector operations in closures: those would be compiled without the features (those of a function with
//! `target_feature` have its).

use crate::{
    level::{Kind, Level},
    simd::{
        Portable, Simd,
        bytes::Bytes,
        halves::{Emulated, Halves},
    },
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

/// Work on pairs of 16 bits, written once for every way to multiply them.
pub(crate) trait HalfKernel {
    /// Does the work. Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The CPU has the instructions of `S` and `H`; the kernel's own pointers are valid.
    unsafe fn run<S: Simd, H: Halves<S>>(self);
}

/// A kernel on pairs by instructions that every level has.
pub(crate) struct ByEmulation<K>(pub(crate) K);

impl<K: HalfKernel> Kernel for ByEmulation<K> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: emulation needs no other instructions than those of `S`; the rest is the caller's promise.
        unsafe { self.0.run::<S, Emulated>() }
    }
}

/// Whether a level has instructions for pairs of 16 bits on this CPU.
#[inline]
pub(crate) fn has_bf16(level: Level) -> bool {
    #[cfg(target_arch = "x86_64")]
    return level.0 == Kind::Avx512
        && is_x86_feature_detected!("avx512bf16")
        && is_x86_feature_detected!("avx512bw");
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = level;
        false
    }
}

/// Runs a kernel on pairs of 16 bits at a level, by the instructions for them if there are any.
///
/// # Safety
/// As [`dispatch`].
#[inline]
pub(crate) unsafe fn dispatch_halves<K: HalfKernel>(level: Level, kernel: K) {
    // SAFETY: as in `dispatch`; the instructions for pairs are asked for.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if has_bf16(level) {
            return bf16(kernel);
        }
        dispatch(level, ByEmulation(kernel));
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma")]
unsafe fn bf16<K: HalfKernel>(kernel: K) {
    // SAFETY: the features of this function are those of `Avx512` and `Bf16`; the rest is the caller's promise.
    unsafe { kernel.run::<crate::simd::Avx512, crate::simd::Bf16>() }
}
