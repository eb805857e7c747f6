//! One vector register of `f64` per instruction set, for kernels that are written once.

/// A register of `N` numbers.
///
/// # Safety
/// Every method may use the instructions of its set: call it only on a processor that has them.
/// `load` and `store` access `N` numbers from the pointer on.
#[allow(clippy::missing_safety_doc, reason = "said once for all methods")]
pub trait Doubles: Copy {
    /// How many numbers.
    const N: usize;
    /// The value `N` times.
    unsafe fn splat(value: f64) -> Self;
    /// The numbers from `at` on.
    unsafe fn load(at: *const f64) -> Self;
    /// Writes the numbers from `at` on.
    unsafe fn store(self, at: *mut f64);
    /// `self * by + plus`.
    unsafe fn fma(self, by: Self, plus: Self) -> Self;
}

/// Plain arrays; the compiler makes them vectors of what the target always has.
#[derive(Clone, Copy)]
pub struct Portable([f64; 2]);

impl Doubles for Portable {
    const N: usize = 2;

    #[inline(always)]
    unsafe fn splat(value: f64) -> Self {
        Self([value; 2])
    }

    #[inline(always)]
    unsafe fn load(at: *const f64) -> Self {
        // SAFETY: the caller passes two readable numbers; an unaligned read needs no alignment.
        Self(unsafe { at.cast::<[f64; 2]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f64) {
        // SAFETY: the caller passes room for two numbers; an unaligned write needs no alignment.
        unsafe { at.cast::<[f64; 2]>().write_unaligned(self.0) }
    }

    // Two roundings: `mul_add` would call the C library where the processor has no such instruction.
    #[inline(always)]
    unsafe fn fma(self, by: Self, plus: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * by.0[lane] + plus.0[lane]))
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Doubles;
    use std::arch::x86_64::*;

    /// Four numbers.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256d);

    impl Doubles for Avx2 {
        const N: usize = 4;

        #[inline(always)]
        unsafe fn splat(value: f64) -> Self {
            // SAFETY: the caller vouches for AVX2 and FMA.
            Self(unsafe { _mm256_set1_pd(value) })
        }

        #[inline(always)]
        unsafe fn load(at: *const f64) -> Self {
            // SAFETY: the caller vouches for AVX2 and for four readable numbers.
            Self(unsafe { _mm256_loadu_pd(at) })
        }

        #[inline(always)]
        unsafe fn store(self, at: *mut f64) {
            // SAFETY: the caller vouches for AVX2 and for room for four numbers.
            unsafe { _mm256_storeu_pd(at, self.0) }
        }

        #[inline(always)]
        unsafe fn fma(self, by: Self, plus: Self) -> Self {
            // SAFETY: the caller vouches for AVX2 and FMA.
            Self(unsafe { _mm256_fmadd_pd(self.0, by.0, plus.0) })
        }
    }

    /// Eight numbers.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512d);

    impl Doubles for Avx512 {
        const N: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f64) -> Self {
            // SAFETY: the caller vouches for AVX-512.
            Self(unsafe { _mm512_set1_pd(value) })
        }

        #[inline(always)]
        unsafe fn load(at: *const f64) -> Self {
            // SAFETY: the caller vouches for AVX-512 and for eight readable numbers.
            Self(unsafe { _mm512_loadu_pd(at) })
        }

        #[inline(always)]
        unsafe fn store(self, at: *mut f64) {
            // SAFETY: the caller vouches for AVX-512 and for room for eight numbers.
            unsafe { _mm512_storeu_pd(at, self.0) }
        }

        #[inline(always)]
        unsafe fn fma(self, by: Self, plus: Self) -> Self {
            // SAFETY: the caller vouches for AVX-512.
            Self(unsafe { _mm512_fmadd_pd(self.0, by.0, plus.0) })
        }
    }
}
