//! x86-64 with AVX-512 (F and VL).
//!
//! Vectors of eight are those of AVX2, encoded with all 32 registers; what is new is [`Simd::Panel`], one register of sixteen, and
//! [`Simd::Wide`], which computes on such registers.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::Avx2;
#[cfg(target_arch = "x86_64")]
use super::{Lanes, Row, Simd, avx2::by_intrinsic};
use crate::cpu::WithSimd;

/// Proof that the CPU has AVX-512F, AVX-512VL, AVX2 and FMA. Made by [`Avx512::detect`] only.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(Avx2);

#[cfg(not(target_arch = "x86_64"))]
impl Avx512 {
    /// Never on this architecture.
    pub fn detect() -> Option<Self> {
        None
    }

    /// Unreachable, since no value exists on this architecture.
    pub fn run<W: WithSimd>(self, work: W) -> W::Output {
        self.0.run(work)
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    /// The proof, where the CPU has the instructions.
    #[inline]
    pub fn detect() -> Option<Self> {
        let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
        Avx2::detect().filter(|_| wide).map(Self)
    }

    /// Runs `work` in a function compiled for AVX-512.
    #[inline]
    pub fn run<W: WithSimd>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
        #[inline(never)]
        fn inner<W: WithSimd>(simd: Avx512, work: W) -> W::Output {
            work.with_simd(simd)
        }
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { inner(self, work) }
    }
}

/// Implements arithmetic on one to four vectors as AVX2 does.
#[cfg(target_arch = "x86_64")]
macro_rules! by_avx2 {
    ($($name:ident($($arg:ident),+);)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: __m256),+) -> __m256 {
            self.0.$name($($arg),+)
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
// SAFETY: a value is made only after detection of AVX-512F, AVX-512VL, AVX2 and FMA, and no more is used.
unsafe impl Lanes for Avx512 {
    type V = __m256;

    by_avx2! {
        add(a, b);
        sub(a, b);
        mul(a, b);
        div(a, b);
        fma(a, b, c);
        max(a, b);
        min(a, b);
        sqrt(a);
        if_gt(a, b, yes, no);
        exponent_from_low_bits(a);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        self.0.splat(x)
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::V {
        // SAFETY: the caller promises eight readable floats.
        unsafe { self.0.load(p) }
    }

    #[inline(always)]
    fn permute_halves(self, v: Self::V, from: &[i32; 8]) -> Self::V {
        self.0.permute_halves(v, from)
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::V) {
        // SAFETY: the caller promises eight writable floats.
        unsafe { self.0.store(p, v) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Simd for Avx512 {
    type Panel = __m512;
    const PANELS: usize = 2;
    type Wide = Wide;

    #[inline(always)]
    fn apart<W: WithSimd>(self, work: W) -> W::Output {
        self.run(work)
    }

    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        self.0.prefetch(p);
    }

    #[inline(always)]
    fn transpose(self, square: [Self::V; 8]) -> [Self::V; 8] {
        self.0.transpose(square)
    }
}

/// Sixteen lanes.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub struct Wide(Avx512);

#[cfg(target_arch = "x86_64")]
impl From<Avx512> for Wide {
    #[inline(always)]
    fn from(narrow: Avx512) -> Self {
        Self(narrow)
    }
}

#[cfg(target_arch = "x86_64")]
// SAFETY: a value has one of `Avx512` inside, and AVX-512F is enough.
unsafe impl Lanes for Wide {
    type V = __m512;
    const WIDTH: usize = 16;

    by_intrinsic! {
        add(a, b) = _mm512_add_ps;
        sub(a, b) = _mm512_sub_ps;
        mul(a, b) = _mm512_mul_ps;
        div(a, b) = _mm512_div_ps;
        fma(a, b, c) = _mm512_fmadd_ps;
        max(a, b) = _mm512_max_ps;
        min(a, b) = _mm512_min_ps;
        sqrt(a) = _mm512_sqrt_ps;
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: as above.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::V {
        // SAFETY: the caller promises sixteen readable floats.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn repeat(self, p: *const f32) -> Self::V {
        // SAFETY: the caller promises eight readable floats.
        unsafe { _mm512_castpd_ps(_mm512_broadcast_f64x4(_mm256_loadu_pd(p.cast()))) }
    }

    #[inline(always)]
    unsafe fn load_cells(self, p: *const f32, mask: u8) -> Self::V {
        // SAFETY: the caller's promise; a bit of the mask is two floats.
        unsafe { _mm512_castpd_ps(_mm512_maskz_loadu_pd(mask, p.cast())) }
    }

    #[inline(always)]
    fn permute_halves(self, v: Self::V, from: &[i32; 8]) -> Self::V {
        // SAFETY: as above; `from` is eight integers long.
        unsafe {
            let from = _mm512_broadcast_i64x4(_mm256_loadu_si256(from.as_ptr().cast()));
            _mm512_permutevar_ps(v, from)
        }
    }

    #[inline(always)]
    fn after_first_cell(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: as above.
        unsafe {
            let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
            _mm512_castpd_ps(_mm512_shuffle_f64x2::<0b0100_1110>(a, b))
        }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::V) {
        // SAFETY: the caller promises sixteen writable floats.
        unsafe { _mm512_storeu_ps(p, v) }
    }

    #[inline(always)]
    fn if_gt(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V {
        // SAFETY: as above.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), no, yes) }
    }

    #[inline(always)]
    fn exponent_from_low_bits(self, a: Self::V) -> Self::V {
        // SAFETY: as above.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(a))) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Row<Avx512> for __m512 {
    #[inline(always)]
    fn join(_: Avx512, vectors: &[__m256]) -> Self {
        let [low, high] = vectors else { unreachable!("a panel is two vectors") };
        // SAFETY: a value of `Avx512` proves that the CPU has AVX-512F.
        unsafe {
            let high = _mm256_castps_pd(*high);
            let low = _mm512_castps_pd(_mm512_castps256_ps512(*low));
            _mm512_castpd_ps(_mm512_insertf64x4::<1>(low, high))
        }
    }

    #[inline(always)]
    fn split(self, _: Avx512, vectors: &mut [__m256]) {
        let [low, high] = vectors else { unreachable!("a panel is two vectors") };
        // SAFETY: a value of `Avx512` proves that the CPU has AVX-512F.
        unsafe {
            *low = _mm512_castps512_ps256(self);
            *high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self)));
        }
    }

    #[inline(always)]
    unsafe fn load(s: Avx512, places: &[*const f32], at: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::join(s, &[s.load(places[0].add(at)), s.load(places[1].add(at))]) }
    }

    #[inline(always)]
    unsafe fn load_panels(_: Avx512, places: &[*const f32], at: usize) -> Self {
        // SAFETY: the caller promises two times eight readable floats side by side.
        unsafe { _mm512_loadu_ps(places[0].add(at)) }
    }

    #[inline(always)]
    fn fma(self, _: Avx512, a: f32, b: Self) -> Self {
        // SAFETY: a value of `Avx512` proves that the CPU has AVX-512F.
        unsafe { _mm512_fmadd_ps(_mm512_set1_ps(a), b, self) }
    }

    #[inline(always)]
    unsafe fn add(self, s: Avx512, start: *const f32, pitch: usize, count: usize) -> Self {
        let mut vectors = [s.splat(0.0); 2];
        self.split(s, &mut vectors);
        // SAFETY: the caller's promise.
        Self::join(s, &unsafe { Row::<Avx512>::add(vectors, s, start, pitch, count) })
    }

    #[inline(always)]
    fn clamp(self, _: Avx512, low: f32, high: f32) -> Self {
        // SAFETY: a value of `Avx512` proves that the CPU has AVX-512F.
        unsafe { _mm512_min_ps(_mm512_set1_ps(high), _mm512_max_ps(_mm512_set1_ps(low), self)) }
    }

    #[inline(always)]
    unsafe fn store(self, s: Avx512, start: *mut f32, pitch: usize, count: usize) {
        let mut vectors = [s.splat(0.0); 2];
        self.split(s, &mut vectors);
        // SAFETY: the caller's promise.
        unsafe { Row::<Avx512>::store(vectors, s, start, pitch, count) };
    }
}
