//! The most that a core can compute: multiply-adds on registers alone. What a kernel reaches is measured as a share of it, in the same run, as clocks and neighbours change.

use std::hint::black_box;
use std::time::Instant;

use crate::cpu::{Isa, WithSimd};
use crate::simd::{LANES, Simd};

/// GFLOP/s of one core now, from some tens of microseconds of multiply-adds that touch no memory; a multiply-add is two FLOPs. The largest of
/// several readings is the peak: a single one may have met an interruption.
///
/// ```
/// use svertka_kernels::{Isa, peak};
/// let readings = (0..5).map(|_| peak::core_gflops(Isa::active()));
/// assert!(readings.fold(0.0, f64::max) > 0.1);
/// ```
pub fn core_gflops(isa: Isa) -> f64 {
    isa.dispatch(RegisterLoop)
}

/// Ten chains of multiply-adds: two units of five cycles' latency are kept busy, and all sums stay in registers.
struct RegisterLoop;

impl WithSimd for RegisterLoop {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> f64 {
        const CHAINS: usize = 10;
        const TURNS: usize = 20_000;
        let mut sums = [s.splat(black_box(1.0)); CHAINS];
        let (a, b) = (s.splat(black_box(0.5)), s.splat(black_box(0.25)));
        let begin = Instant::now();
        for _ in 0..TURNS {
            sums.iter_mut().for_each(|sum| *sum = s.fma(*sum, a, b));
        }
        black_box(sums.map(|sum| s.sum(sum)));
        2e-9 * (TURNS * CHAINS * LANES) as f64 / begin.elapsed().as_secs_f64()
    }
}
