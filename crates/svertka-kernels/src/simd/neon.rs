//! AArch64 with NEON: a vector of eight is a pair of registers of four.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;

#[cfg(target_arch = "aarch64")]
use super::{Lanes, Simd};
use crate::cpu::WithSimd;

/// Proof that the CPU has NEON. Made by [`Neon::detect`] only.
#[derive(Clone, Copy, Debug)]
pub struct Neon(
    #[cfg(target_arch = "aarch64")] (),
    #[cfg(not(target_arch = "aarch64"))] std::convert::Infallible,
);

#[cfg(not(target_arch = "aarch64"))]
impl Neon {
    /// Never on this architecture.
    pub fn detect() -> Option<Self> {
        None
    }

    /// Unreachable, since no value exists on this architecture.
    pub fn run<W: WithSimd>(self, _: W) -> W::Output {
        match self.0 {}
    }
}

#[cfg(target_arch = "aarch64")]
impl Neon {
    /// The proof, where the CPU has the instructions.
    #[inline]
    pub fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    /// Runs `work` in a function compiled for NEON.
    #[inline]
    pub fn run<W: WithSimd>(self, work: W) -> W::Output {
        #[target_feature(enable = "neon")]
        #[inline(never)]
        fn inner<W: WithSimd>(simd: Neon, work: W) -> W::Output {
            work.with_simd(simd)
        }
        // SAFETY: `self` proves that the CPU has the feature.
        unsafe { inner(self, work) }
    }
}

/// Implements operations on vectors of eight, each half by the expression on registers of four.
#[cfg(target_arch = "aarch64")]
macro_rules! by_halves {
    ($($name:ident($($arg:ident),+) = $half:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Self::V),+) -> Self::V {
            // SAFETY: `self` proves that the CPU has NEON.
            let half = |i: usize| unsafe {
                $(let $arg = $arg[i];)+
                $half
            };
            [half(0), half(1)]
        }
    )*};
}

#[cfg(target_arch = "aarch64")]
// SAFETY: a value is made only after detection of NEON, and no more is used.
unsafe impl Lanes for Neon {
    type V = [float32x4_t; 2];

    by_halves! {
        add(a, b) = vaddq_f32(a, b);
        sub(a, b) = vsubq_f32(a, b);
        mul(a, b) = vmulq_f32(a, b);
        div(a, b) = vdivq_f32(a, b);
        fma(a, b, c) = vfmaq_f32(c, a, b);
        // Not `vmaxq_f32` and `vminq_f32`, which give no number where either operand is none.
        max(a, b) = vbslq_f32(vcgtq_f32(a, b), a, b);
        min(a, b) = vbslq_f32(vcltq_f32(a, b), a, b);
        sqrt(a) = vsqrtq_f32(a);
        if_gt(a, b, yes, no) = vbslq_f32(vcgtq_f32(a, b), yes, no);
        exponent_from_low_bits(a) = vreinterpretq_f32_s32(vshlq_n_s32::<23>(vreinterpretq_s32_f32(a)));
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: `self` proves that the CPU has NEON.
        unsafe { [vdupq_n_f32(x); 2] }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::V {
        // SAFETY: the caller promises eight readable floats.
        unsafe { [vld1q_f32(p), vld1q_f32(p.add(4))] }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::V) {
        // SAFETY: the caller promises eight writable floats.
        unsafe {
            vst1q_f32(p, v[0]);
            vst1q_f32(p.add(4), v[1]);
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl Simd for Neon {
    type Panel = [Self::V; 2];
    // Of 32 registers, the sums of six rows take 24, a panel 4 and a scalar 1. Unrolled, LLVM loads two neighbours of all six rows at once.
    const UNROLLS_BLOCKS: bool = false;
    type Wide = Self;

    #[inline(always)]
    fn apart<W: WithSimd>(self, work: W) -> W::Output {
        self.run(work)
    }
}
