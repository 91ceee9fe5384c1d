//! x86-64 with AVX2 and FMA.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::{Lanes, Simd};
use crate::cpu::WithSimd;

/// Proof that the CPU has AVX2 and FMA. Made by [`Avx2::detect`] only.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(
    #[cfg(target_arch = "x86_64")] (),
    #[cfg(not(target_arch = "x86_64"))] std::convert::Infallible,
);

#[cfg(not(target_arch = "x86_64"))]
impl Avx2 {
    /// Never on this architecture.
    pub fn detect() -> Option<Self> {
        None
    }

    /// Unreachable, since no value exists on this architecture.
    pub fn run<W: WithSimd>(self, _: W) -> W::Output {
        match self.0 {}
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// The proof, where the CPU has the instructions.
    #[inline]
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// Runs `work` in a function compiled for AVX2 and FMA.
    #[inline]
    pub fn run<W: WithSimd>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx2,fma")]
        #[inline(never)]
        fn inner<W: WithSimd>(simd: Avx2, work: W) -> W::Output {
            work.with_simd(simd)
        }
        // SAFETY: `self` proves that the CPU has both features.
        unsafe { inner(self, work) }
    }
}

/// Implements arithmetic on one to three vectors by one intrinsic each.
#[cfg(target_arch = "x86_64")]
macro_rules! by_intrinsic {
    ($($name:ident($($arg:ident),+) = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Self::V),+) -> Self::V {
            // SAFETY: `self` proves that the CPU has the instruction.
            unsafe { $intrinsic($($arg),+) }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
pub(super) use by_intrinsic;

#[cfg(target_arch = "x86_64")]
// SAFETY: a value is made only after detection of AVX2 and FMA, and no more is used.
unsafe impl Lanes for Avx2 {
    type V = __m256;

    by_intrinsic! {
        add(a, b) = _mm256_add_ps;
        sub(a, b) = _mm256_sub_ps;
        mul(a, b) = _mm256_mul_ps;
        div(a, b) = _mm256_div_ps;
        fma(a, b, c) = _mm256_fmadd_ps;
        max(a, b) = _mm256_max_ps;
        min(a, b) = _mm256_min_ps;
        sqrt(a) = _mm256_sqrt_ps;
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::V {
        // SAFETY: the caller promises eight readable floats.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    fn permute_halves(self, v: Self::V, from: &[i32; 8]) -> Self::V {
        // SAFETY: `self` proves that the CPU has AVX, and `from` is eight integers long.
        unsafe { _mm256_permutevar_ps(v, _mm256_loadu_si256(from.as_ptr().cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::V) {
        // SAFETY: the caller promises eight writable floats.
        unsafe { _mm256_storeu_ps(p, v) }
    }

    #[inline(always)]
    fn if_gt(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_GT_OQ>(a, b)) }
    }

    #[inline(always)]
    fn exponent_from_low_bits(self, a: Self::V) -> Self::V {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(a))) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Simd for Avx2 {
    type Panel = [Self::V; 2];
    type Wide = Self;

    #[inline(always)]
    fn apart<W: WithSimd>(self, work: W) -> W::Output {
        self.run(work)
    }

    #[inline(always)]
    fn transpose(self, square: [Self::V; 8]) -> [Self::V; 8] {
        // Pairs of neighbours, then fours within each half, then the halves.
        let [a, b, c, d, e, f, g, h] = square;
        // SAFETY: `self` proves that the CPU has AVX.
        unsafe {
            let pairs = |x, y| (_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y));
            let ((ab, ab_high), (cd, cd_high)) = (pairs(a, b), pairs(c, d));
            let ((ef, ef_high), (gh, gh_high)) = (pairs(e, f), pairs(g, h));
            let fours = |x, y| (_mm256_shuffle_ps::<0x44>(x, y), _mm256_shuffle_ps::<0xee>(x, y));
            let ((s0, s1), (s2, s3)) = (fours(ab, cd), fours(ab_high, cd_high));
            let ((t0, t1), (t2, t3)) = (fours(ef, gh), fours(ef_high, gh_high));
            let low = |x, y| _mm256_permute2f128_ps::<0x20>(x, y);
            let high = |x, y| _mm256_permute2f128_ps::<0x31>(x, y);
            [
                low(s0, t0),
                low(s1, t1),
                low(s2, t2),
                low(s3, t3),
                high(s0, t0),
                high(s1, t1),
                high(s2, t2),
                high(s3, t3),
            ]
        }
    }

    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        // SAFETY: a hint reads nothing, so any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
}
