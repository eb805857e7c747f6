//! One vector register of `f32` per instruction set, and whole loops compiled for each set.

use crate::simd::Level;

/// A register of `N` numbers. The kernels are generic over it and compiled once per instruction set.
///
/// # Safety
/// Every method may use the instructions of its set: call it only on a processor that has them. `load` and `store`
/// access `N` numbers from the pointer on.
pub(super) trait Lanes: Copy {
    const N: usize;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(at: *const f32) -> Self;
    unsafe fn store(self, at: *mut f32);
    /// `self * by + plus`, rounded once or twice.
    unsafe fn fma(self, by: Self, plus: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    /// `a` where `self > other`, otherwise `b`.
    unsafe fn choose(self, other: Self, a: Self, b: Self) -> Self;
}

/// Work whose loops are written over [`Lanes`].
pub(super) trait Kernel {
    type Output;

    /// Must be `#[inline(always)]`, as everything that it calls in its loops: only so is it compiled for the set.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    unsafe fn run<L: Lanes>(self) -> Self::Output;
}

/// Runs a kernel with the instructions of a level.
pub(super) fn dispatch<K: Kernel>(level: Level, kernel: K) -> K::Output {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level exists only where the processor was found to have these instructions.
        Level::Avx512 => unsafe { avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level exists only where the processor was found to have these instructions.
        Level::Avx2 => unsafe { avx2(kernel) },
        // SAFETY: these instructions are everywhere.
        _ => unsafe { kernel.run::<Portable>() },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function is compiled for the instructions.
    unsafe { kernel.run::<x86::Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function is compiled for the instructions.
    unsafe { kernel.run::<x86::Avx2>() }
}

/// Plain arrays; the compiler makes them vectors of what the target always has.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; 4]);

impl Lanes for Portable {
    const N: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: the caller passes four readable numbers; an unaligned read needs no alignment.
        Self(unsafe { at.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: the caller passes room for four numbers; an unaligned write needs no alignment.
        unsafe { at.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    // Two roundings: `mul_add` would call the C library where the processor has no such instruction.
    #[inline(always)]
    unsafe fn fma(self, by: Self, plus: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * by.0[lane] + plus.0[lane]))
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(std::array::from_fn(
            |lane| if self.0[lane] < other.0[lane] { self.0[lane] } else { other.0[lane] },
        ))
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(std::array::from_fn(
            |lane| if self.0[lane] > other.0[lane] { self.0[lane] } else { other.0[lane] },
        ))
    }

    #[inline(always)]
    unsafe fn choose(self, other: Self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|lane| if self.0[lane] > other.0[lane] { a.0[lane] } else { b.0[lane] }))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// Eight numbers.
    #[derive(Clone, Copy)]
    pub(super) struct Avx2(__m256);

    impl Lanes for Avx2 {
        const N: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: the caller vouches for AVX2 and FMA.
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(at: *const f32) -> Self {
            // SAFETY: the caller vouches for AVX2 and for eight readable numbers.
            Self(unsafe { _mm256_loadu_ps(at) })
        }

        #[inline(always)]
        unsafe fn store(self, at: *mut f32) {
            // SAFETY: the caller vouches for AVX2 and for room for eight numbers.
            unsafe { _mm256_storeu_ps(at, self.0) }
        }

        #[inline(always)]
        unsafe fn fma(self, by: Self, plus: Self) -> Self {
            // SAFETY: the caller vouches for AVX2 and FMA.
            Self(unsafe { _mm256_fmadd_ps(self.0, by.0, plus.0) })
        }

        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            // SAFETY: the caller vouches for AVX2 and FMA.
            Self(unsafe { _mm256_min_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            // SAFETY: the caller vouches for AVX2 and FMA.
            Self(unsafe { _mm256_max_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn choose(self, other: Self, a: Self, b: Self) -> Self {
            // SAFETY: the caller vouches for AVX2 and FMA.
            Self(unsafe { _mm256_blendv_ps(b.0, a.0, _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, other.0)) })
        }
    }

    /// Sixteen numbers.
    #[derive(Clone, Copy)]
    pub(super) struct Avx512(__m512);

    impl Lanes for Avx512 {
        const N: usize = 16;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: the caller vouches for AVX-512.
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(at: *const f32) -> Self {
            // SAFETY: the caller vouches for AVX-512 and for sixteen readable numbers.
            Self(unsafe { _mm512_loadu_ps(at) })
        }

        #[inline(always)]
        unsafe fn store(self, at: *mut f32) {
            // SAFETY: the caller vouches for AVX-512 and for room for sixteen numbers.
            unsafe { _mm512_storeu_ps(at, self.0) }
        }

        #[inline(always)]
        unsafe fn fma(self, by: Self, plus: Self) -> Self {
            // SAFETY: the caller vouches for AVX-512.
            Self(unsafe { _mm512_fmadd_ps(self.0, by.0, plus.0) })
        }

        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            // SAFETY: the caller vouches for AVX-512.
            Self(unsafe { _mm512_min_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            // SAFETY: the caller vouches for AVX-512.
            Self(unsafe { _mm512_max_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn choose(self, other: Self, a: Self, b: Self) -> Self {
            // SAFETY: the caller vouches for AVX-512.
            Self(unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, other.0), b.0, a.0) })
        }
    }
}
