//! The hot loops: everything else in this folder only decides what they walk over.
//!
//! [`tile`] multiplies scalars of `a` with vectors of `b`; by the choice of the two it is the forward pass (pixels and packed weights), the
//! input gradient (the same, transposed), the weight gradient (input channels and output gradients, summed over pixels) and the matrix
//! product. [`lane_tile`] multiplies vectors with vectors: weight gradients of depthwise layers, where channels do not mix.
//!
//! Sums run over steps and then over `k`, in one order for every number of rows, so results do not depend on how pixels are cut into tiles.

use crate::layout::BLOCK;
use crate::simd::{LANES, Simd};
use crate::threads::share;

/// Rows of the largest [`tile`]. With two vectors of `b`, twelve sums, one broadcast and two operands are 15 of the 16 registers of AVX2;
/// one more and LLVM spills in the loop.
pub(crate) const ROWS: usize = 6;

/// Rows of the largest [`lane_tile`]: more sums than the FMA units have in flight, and a 3x3 weight gradient in one piece.
pub(crate) const LANE_ROWS: usize = 9;

/// Output channels of one panel: two vectors.
pub(crate) const PANEL: usize = 16;

/// One run of the inner loop: where it starts in `a` and `b`, in elements, and its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) k: usize,
}

/// `acc[i][j] += sum over steps and k of a[i][step.a + k * stride_a] * vector(b[j] + step.b + k * stride_b)`.
///
/// # Safety
/// Each named scalar of `a` and vector of `b` is readable.
#[inline(always)]
pub(crate) unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    acc: &mut [[S::V; NV]; MR],
    a: [*const f32; MR],
    b: [*const f32; NV],
    steps: &[Step],
    (stride_a, stride_b): (usize, usize),
) {
    let mut sum = *acc;
    for step in steps {
        for k in 0..step.k {
            // SAFETY: the caller's promise.
            unsafe { product(s, &mut sum, &a, &b, step.a + k * stride_a, step.b + k * stride_b) };
        }
    }
    *acc = sum;
}

/// [`tile`] for steps over the channels of a block: neighbours in `a`, and panels in `b`. Whole blocks are unrolled.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
pub(crate) unsafe fn tile_of_blocks<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    acc: &mut [[S::V; NV]; MR],
    a: [*const f32; MR],
    b: [*const f32; NV],
    steps: &[Step],
) {
    let mut sum = *acc;
    for step in steps {
        // SAFETY: the caller's promise.
        unsafe {
            if step.k == BLOCK {
                for k in 0..BLOCK {
                    product(s, &mut sum, &a, &b, step.a + k, step.b + k * PANEL);
                }
            } else {
                for k in 0..step.k {
                    product(s, &mut sum, &a, &b, step.a + k, step.b + k * PANEL);
                }
            }
        }
    }
    *acc = sum;
}

/// One `k` of [`tile`].
///
/// # Safety
/// The scalars of `a` at `at_a` and the vectors of `b` at `at_b` are readable.
#[inline(always)]
unsafe fn product<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    sum: &mut [[S::V; NV]; MR],
    a: &[*const f32; MR],
    b: &[*const f32; NV],
    at_a: usize,
    at_b: usize,
) {
    // Vectors of `b` are loaded before the first broadcast: the other order needs 19 registers.
    let mut vectors = [s.splat(0.0); NV];
    for (vector, b) in vectors.iter_mut().zip(b) {
        // SAFETY: the caller's promise.
        *vector = unsafe { s.load(b.add(at_b)) };
    }
    for (sum, a) in sum.iter_mut().zip(a) {
        // SAFETY: the caller's promise.
        let a = s.splat(unsafe { *a.add(at_a) });
        for (sum, vector) in sum.iter_mut().zip(vectors) {
            *sum = s.fma(a, vector, *sum);
        }
    }
}

/// `acc[i] += sum over steps and k of vector(a[i] + step.a + k * stride_a) * vector(b + step.b + k * stride_b)`.
///
/// # Safety
/// Each named vector is readable.
#[inline(always)]
pub(crate) unsafe fn lane_tile<S: Simd, const MR: usize>(
    s: S,
    acc: &mut [S::V; MR],
    a: [*const f32; MR],
    b: *const f32,
    steps: &[Step],
    (stride_a, stride_b): (usize, usize),
) {
    let mut sum = *acc;
    for step in steps {
        for k in 0..step.k {
            // SAFETY: the caller's promise.
            unsafe { lane_product(s, &mut sum, &a, b, step.a + k * stride_a, step.b + k * stride_b) };
        }
    }
    *acc = sum;
}

/// One `k` of [`lane_tile`].
///
/// # Safety
/// The vectors of `a` at `at_a` and of `b` at `at_b` are readable.
#[inline(always)]
unsafe fn lane_product<S: Simd, const MR: usize>(
    s: S,
    sum: &mut [S::V; MR],
    a: &[*const f32; MR],
    b: *const f32,
    at_a: usize,
    at_b: usize,
) {
    // SAFETY: the caller's promise.
    let b = unsafe { s.load(b.add(at_b)) };
    for (sum, a) in sum.iter_mut().zip(a) {
        // SAFETY: the caller's promise.
        let a = unsafe { s.load(a.add(at_a)) };
        *sum = s.fma(a, b, *sum);
    }
}

/// Adds the cells of a block, eight lanes each, to the first eight of `total`.
#[inline(always)]
pub(crate) fn add_cells<S: Simd>(s: S, cells: &[f32], total: &mut [f32]) {
    // Four sums, or the latency of the addition would show.
    let mut sums = [s.splat(0.0); 4];
    let (fours, rest) = cells.as_chunks::<{ 4 * LANES }>();
    for four in fours {
        for (sum, cell) in sums.iter_mut().zip(four.chunks_exact(LANES)) {
            *sum = s.add(*sum, s.from_slice(cell));
        }
    }
    for cell in rest.chunks_exact(LANES) {
        sums[0] = s.add(sums[0], s.from_slice(cell));
    }
    let sum = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
    let total = &mut total[..LANES];
    let new = s.add(s.from_slice(total), sum);
    s.write(total, new);
}

/// Calls `$body` with the constant `$rows` equal to `$count`, which is one of those listed.
macro_rules! with_rows {
    ($count:expr, $rows:ident in [$($n:literal)*] => $body:expr) => {
        match $count {
            $($n => { const $rows: usize = $n; $body })*
            _ => unreachable!("tiles are cut to these sizes"),
        }
    };
}
pub(crate) use with_rows;

/// Cuts `count` things into the fewest pieces of at most `most`, nearly equal: 7 in pieces of 6 are 3 and 4, since a piece of one costs
/// almost as much as a piece of six.
pub(crate) fn pieces(count: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> + Clone {
    let pieces = count.div_ceil(most.max(1));
    (0..pieces).map(move |i| share(count, pieces, i))
}
