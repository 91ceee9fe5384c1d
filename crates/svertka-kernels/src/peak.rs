//! The most that a core can compute: multiply-adds on registers alone. What a kernel reaches is measured as a share of it, in the same run, as clocks and neighbours change.

use std::hint::black_box;
use std::time::Instant;

use crate::cpu::{Isa, WithSimd};
use crate::simd::{LANES, Pair, Row, Simd};

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

/// Chains of multiply-adds, as many as a tile has sums: the units are kept busy, and all sums stay in registers.
struct RegisterLoop;

impl WithSimd for RegisterLoop {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> f64 {
        if const { S::PANELS == 2 } { rate::<S, Pair<S::Panel>, 4>(s) } else { rate::<S, S::Panel, 2>(s) }
    }
}

/// GFLOP/s with rows of `NV` vectors.
#[inline(always)]
fn rate<S: Simd, R: Row<S>, const NV: usize>(s: S) -> f64 {
    // Ten chains of AVX2 or AVX-512: two units of five cycles' latency.
    const ROWS: usize = 5;
    const TURNS: usize = 20_000;
    let mut sums = [R::join(s, &[s.splat(black_box(1.0)); NV]); ROWS];
    let (a, b) = (black_box(0.5), R::join(s, &[s.splat(black_box(0.25)); NV]));
    let begin = Instant::now();
    for _ in 0..TURNS {
        sums.iter_mut().for_each(|sum| *sum = sum.fma(s, a, b));
    }
    let seconds = begin.elapsed().as_secs_f64();
    for sum in sums {
        let mut vectors = [s.splat(0.0); NV];
        sum.split(s, &mut vectors);
        black_box(vectors.map(|vector| s.sum(vector)));
    }
    2e-9 * (TURNS * ROWS * NV * LANES) as f64 / seconds
}
