//! One vector register of `f32` per instruction set: what kernels are written over, and whole loops compiled for each
//! set.

use super::Level;

/// A register of `N` numbers. The kernels are generic over it and compiled once per instruction set.
///
/// # Safety
/// Every method may use the instructions of its set: call it only on a processor that has them.
/// `load` and `store` access `N` numbers from the pointer on.
#[allow(clippy::missing_safety_doc, reason = "said once for all methods")]
pub trait Lanes: Copy {
    /// How many numbers.
    const N: usize;
    /// Zeros.
    unsafe fn zero() -> Self;
    /// The value `N` times.
    unsafe fn splat(value: f32) -> Self;
    /// The numbers from `at` on.
    unsafe fn load(at: *const f32) -> Self;
    /// Writes the numbers from `at` on.
    unsafe fn store(self, at: *mut f32);
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self * by + plus`.
    unsafe fn fma(self, by: Self, plus: Self) -> Self;
    /// `self / by`.
    unsafe fn div(self, by: Self) -> Self;
    /// The square roots.
    unsafe fn sqrt(self) -> Self;
    /// The lesser of each pair.
    unsafe fn min(self, other: Self) -> Self;
    /// The greater of each pair.
    unsafe fn max(self, other: Self) -> Self;
    /// `a` where `self > other`, otherwise `b`.
    unsafe fn choose(self, other: Self, a: Self, b: Self) -> Self;
    /// The sum within each of eight registers: a transposing tree costs 24 instructions where eight single
    /// sums cost about 60 (AVX-512).
    unsafe fn sums(rows: [Self; 8]) -> [f32; 8];
}

/// Work whose loops are written over [`Lanes`].
pub trait Kernel {
    /// What it returns.
    type Output;

    /// Must be `#[inline(always)]`, as everything that it calls in its loops: only so is it compiled for the set.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    unsafe fn run<L: Lanes>(self) -> Self::Output;
}

/// Runs a kernel with the instructions of a level, or of the best that the processor has.
pub fn dispatch<K: Kernel>(level: Level, kernel: K) -> K::Output {
    match level.min(super::level()) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor was found to have these instructions.
        Level::Avx512 => unsafe { avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor was found to have these instructions.
        Level::Avx2 => unsafe { avx2(kernel) },
        // SAFETY: these instructions are everywhere.
        _ => unsafe { kernel.run::<Portable>() },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function is compiled for the instructions.
    unsafe { kernel.run::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function is compiled for the instructions.
    unsafe { kernel.run::<Avx2>() }
}

/// Plain arrays; the compiler makes them vectors of what the target always has.
#[derive(Clone, Copy)]
pub struct Portable([f32; 4]);

impl Lanes for Portable {
    const N: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 4])
    }

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

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }

    // Two roundings: `mul_add` would call the C library where the processor has no such instruction.
    #[inline(always)]
    unsafe fn fma(self, by: Self, plus: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * by.0[lane] + plus.0[lane]))
    }

    #[inline(always)]
    unsafe fn div(self, by: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] / by.0[lane]))
    }

    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Self(self.0.map(f32::sqrt))
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

    #[inline(always)]
    unsafe fn sums(rows: [Self; 8]) -> [f32; 8] {
        rows.map(|Self([a, b, c, d])| (a + c) + (b + d))
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// Eight numbers.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    impl Lanes for Avx2 {
        const N: usize = 8;

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller vouches for AVX2 and FMA.
            Self(unsafe { _mm256_setzero_ps() })
        }

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
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller vouches for AVX2 and FMA.
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn fma(self, by: Self, plus: Self) -> Self {
            // SAFETY: the caller vouches for AVX2 and FMA.
            Self(unsafe { _mm256_fmadd_ps(self.0, by.0, plus.0) })
        }

        #[inline(always)]
        unsafe fn div(self, by: Self) -> Self {
            // SAFETY: the caller vouches for AVX2 and FMA.
            Self(unsafe { _mm256_div_ps(self.0, by.0) })
        }

        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            // SAFETY: the caller vouches for AVX2 and FMA.
            Self(unsafe { _mm256_sqrt_ps(self.0) })
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

        #[inline(always)]
        unsafe fn sums(rows: [Self; 8]) -> [f32; 8] {
            let [a, b, c, d, e, f, g, h] = rows.map(|row| row.0);
            let mut sums = [0.0; 8];
            // SAFETY: the caller vouches for AVX2; `sums` has room for the eight numbers stored.
            unsafe {
                let abcd = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
                let efgh = _mm256_hadd_ps(_mm256_hadd_ps(e, f), _mm256_hadd_ps(g, h));
                let low = _mm256_permute2f128_ps::<0x20>(abcd, efgh);
                let high = _mm256_permute2f128_ps::<0x31>(abcd, efgh);
                _mm256_storeu_ps(sums.as_mut_ptr(), _mm256_add_ps(low, high));
            }
            sums
        }
    }

    /// Sums of neighbouring halves: two quarters of `a`, then two of `b`.
    ///
    /// # Safety
    /// The processor has AVX-512 F.
    #[inline(always)]
    unsafe fn halves(a: Avx512, b: Avx512) -> __m512 {
        // SAFETY: the caller vouches for AVX-512.
        unsafe {
            let low = _mm512_shuffle_f32x4::<0x44>(a.0, b.0);
            _mm512_add_ps(low, _mm512_shuffle_f32x4::<0xEE>(a.0, b.0))
        }
    }

    /// Sums of even and odd quarters: one quarter per row.
    ///
    /// # Safety
    /// The processor has AVX-512 F.
    #[inline(always)]
    unsafe fn quarters(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller vouches for AVX-512.
        unsafe {
            let even = _mm512_shuffle_f32x4::<0x88>(a, b);
            _mm512_add_ps(even, _mm512_shuffle_f32x4::<0xDD>(a, b))
        }
    }

    /// Sixteen numbers.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    impl Lanes for Avx512 {
        const N: usize = 16;

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller vouches for AVX-512.
            Self(unsafe { _mm512_setzero_ps() })
        }

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
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller vouches for AVX-512.
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn fma(self, by: Self, plus: Self) -> Self {
            // SAFETY: the caller vouches for AVX-512.
            Self(unsafe { _mm512_fmadd_ps(self.0, by.0, plus.0) })
        }

        #[inline(always)]
        unsafe fn div(self, by: Self) -> Self {
            // SAFETY: the caller vouches for AVX-512.
            Self(unsafe { _mm512_div_ps(self.0, by.0) })
        }

        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            // SAFETY: the caller vouches for AVX-512.
            Self(unsafe { _mm512_sqrt_ps(self.0) })
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

        #[inline(always)]
        unsafe fn sums(rows: [Self; 8]) -> [f32; 8] {
            let mut sums = [0.0; 8];
            // SAFETY: the caller vouches for AVX-512 F and VL; `sums` has room for the eight numbers stored.
            unsafe {
                // Each 128-bit quarter now belongs to one row: a b c d and e f g h.
                let abcd = quarters(halves(rows[0], rows[1]), halves(rows[2], rows[3]));
                let efgh = quarters(halves(rows[4], rows[5]), halves(rows[6], rows[7]));
                let pairs = _mm512_add_ps(_mm512_unpacklo_ps(abcd, efgh), _mm512_unpackhi_ps(abcd, efgh));
                let all = _mm512_add_ps(pairs, _mm512_permute_ps::<0x4E>(pairs));
                let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 0, 0, 0, 0, 0, 0, 0);
                let ordered = _mm512_castps512_ps256(_mm512_permutexvar_ps(order, all));
                _mm256_storeu_ps(sums.as_mut_ptr(), ordered);
            }
            sums
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums_of<L: Lanes>() -> ([f32; 8], [f32; 8]) {
        let numbers: Vec<f32> = (0..8 * L::N).map(|at| (at * at % 97) as f32).collect();
        let expected = std::array::from_fn(|row| numbers[row * L::N..][..L::N].iter().sum());
        // SAFETY: the test asks for an instruction set only if the processor has it; loads stay inside
        // `numbers`.
        let sums = unsafe { L::sums(std::array::from_fn(|row| L::load(numbers.as_ptr().add(row * L::N)))) };
        (sums, expected)
    }

    #[test]
    fn transposing_sums_keep_the_order_of_rows() {
        #[allow(unused_mut, reason = "pushed to on x86-64 only")]
        let mut pairs = vec![sums_of::<Portable>()];
        #[cfg(target_arch = "x86_64")]
        {
            use crate::simd::level;
            if level() >= Level::Avx2 {
                pairs.push(sums_of::<Avx2>());
            }
            if level() >= Level::Avx512 {
                pairs.push(sums_of::<Avx512>());
            }
        }
        for (sums, expected) in pairs {
            assert_eq!(sums, expected);
        }
    }
}
