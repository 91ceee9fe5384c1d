//! The hot loops: everything else in this folder only decides what they walk over.
//!
//! [`tile`] multiplies scalars of `a` with vectors of `b`; by the choice of the two it is the forward pass (pixels and packed weights), the
//! input gradient (the same, transposed), the weight gradient (input channels and output gradients, summed over pixels) and the matrix
//! product.
//!
//! Sums run over steps and then over `k`, in one order for every number of rows, so results do not depend on how pixels are cut into tiles.

use crate::layout::BLOCK;
use crate::simd::{LANES, Row, Simd};
use crate::threads::share;

/// Rows of the largest [`tile`]. With two vectors of `b`, twelve sums, one broadcast and two operands are 15 of the 16 registers of AVX2;
/// one more and LLVM spills in the loop. On NEON, 24 sums, a panel of 4 and a scalar are 29 of 32. On AVX-512, where a panel is one register, the six
/// sums are three quarters of the products that two units of latency four have in flight. `.ci/spills` reads the loops of each.
pub(crate) const ROWS: usize = 6;

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
    strides: (usize, usize),
) {
    // SAFETY: the caller's promise.
    unsafe {
        if NV * LANES == PANEL {
            rows::<S, S::Panel, MR, NV, false>(s, acc, a, b, steps, strides, Resting);
        } else {
            rows::<S, [S::V; NV], MR, NV, false>(s, acc, a, b, steps, strides, Resting);
        }
    }
}

/// What a tile asks the caches for while it multiplies. Weights that come from memory would otherwise hold up the first tile of each panel.
pub(crate) trait Ahead: Copy {
    /// Asks for what belongs to the next step.
    fn step<S: Simd>(&mut self, s: S);
}

/// Nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resting;

impl Ahead for Resting {
    #[inline(always)]
    fn step<S: Simd>(&mut self, _s: S) {}
}

/// A cache line a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetching {
    next: *const f32,
    stride: usize,
}

impl Fetching {
    /// Floats of a cache line.
    const LINE: usize = 16;

    /// For tile `tile`, of `steps` steps, of those that together ask for all of `wanted`.
    pub(crate) fn of_tile(wanted: &[f32], tile: usize, steps: usize) -> Self {
        match wanted.get(tile * steps * Self::LINE..) {
            Some(rest) if !rest.is_empty() => Self { next: rest.as_ptr(), stride: Self::LINE },
            _ => Self { next: wanted.as_ptr(), stride: 0 },
        }
    }
}

/// Some cache lines of each block of a panel, where a step is a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchingShare {
    next: *const f32,
    lines: usize,
}

impl FetchingShare {
    /// For tile `tile` of `tiles`, which together ask for the panel that starts at `panel`; it may lie beyond the last.
    pub(crate) fn of_tile(panel: *const f32, tile: usize, tiles: usize) -> Self {
        let lines = share(BLOCK, tiles, tile);
        Self { next: panel.wrapping_add(lines.start * PANEL), lines: lines.len() }
    }
}

impl Ahead for FetchingShare {
    #[inline(always)]
    fn step<S: Simd>(&mut self, s: S) {
        for line in 0..self.lines {
            s.prefetch(self.next.wrapping_add(line * PANEL));
        }
        self.next = self.next.wrapping_add(BLOCK * PANEL);
    }
}

impl Ahead for Fetching {
    #[inline(always)]
    fn step<S: Simd>(&mut self, s: S) {
        s.prefetch(self.next);
        self.next = self.next.wrapping_add(self.stride);
    }
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
    ahead: impl Ahead,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if NV * LANES == PANEL {
            rows::<S, S::Panel, MR, NV, true>(s, acc, a, b, steps, (1, PANEL), ahead);
        } else {
            rows::<S, [S::V; NV], MR, NV, true>(s, acc, a, b, steps, (1, PANEL), ahead);
        }
    }
}

/// [`tile`] with sums of the type `R`; whole blocks are unrolled where `BLOCKS` says that there are such.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn rows<S: Simd, R: Row<S>, const MR: usize, const NV: usize, const BLOCKS: bool>(
    s: S,
    acc: &mut [[S::V; NV]; MR],
    a: [*const f32; MR],
    b: [*const f32; NV],
    steps: &[Step],
    (stride_a, stride_b): (usize, usize),
    mut ahead: impl Ahead,
) {
    // Loops, not `map` and `from_fn`: their closures may stay calls, and then sums live in memory.
    let mut sum = [R::join(s, &acc[0]); MR];
    for (sum, acc) in sum.iter_mut().zip(&*acc) {
        *sum = R::join(s, acc);
    }
    for step in steps {
        ahead.step(s);
        // SAFETY: the caller's promise.
        unsafe {
            if BLOCKS && S::UNROLLS_BLOCKS && step.k == BLOCK {
                for k in 0..BLOCK {
                    product(s, &mut sum, &a, &b, step.a + k * stride_a, step.b + k * stride_b);
                }
            } else {
                for k in 0..step.k {
                    product(s, &mut sum, &a, &b, step.a + k * stride_a, step.b + k * stride_b);
                }
            }
        }
    }
    for (acc, sum) in acc.iter_mut().zip(&sum) {
        sum.split(s, acc);
    }
}

/// [`tile`] for steps whose `k` is one. With few taps a nested loop costs more than the table: it ends too often to be predicted.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
pub(crate) unsafe fn tile_of_single_steps<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    acc: &mut [[S::V; NV]; MR],
    a: [*const f32; MR],
    b: [*const f32; NV],
    steps: &[Step],
) {
    let mut sum = *acc;
    for step in steps {
        // SAFETY: the caller's promise.
        unsafe { product(s, &mut sum, &a, &b, step.a, step.b) };
    }
    *acc = sum;
}

/// One `k` of [`tile`].
///
/// # Safety
/// The scalars of `a` at `at_a` and the vectors of `b` at `at_b` are readable.
#[inline(always)]
unsafe fn product<S: Simd, R: Row<S>, const MR: usize, const NV: usize>(
    s: S,
    sum: &mut [R; MR],
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
    let row = R::join(s, &vectors);
    for (sum, a) in sum.iter_mut().zip(a) {
        // SAFETY: the caller's promise.
        *sum = sum.fma(s, unsafe { *a.add(at_a) }, row);
    }
}

/// Packs a panel of a matrix whose rows lie in memory: the first `width` lanes of row `i` are `row(i)`.
pub(crate) fn pack_rows<'a>(packed: &mut [f32], width: usize, row: impl Fn(usize) -> &'a [f32]) {
    for (i, packed) in packed.chunks_exact_mut(PANEL).enumerate() {
        packed[..width].copy_from_slice(&row(i)[..width]);
        packed[width..].fill(0.0);
    }
}

/// Packs a panel of a matrix whose columns lie in memory: lane `i` of its rows, of the first `width` lanes, is `column(i)`. In squares of 16 x 16, so that
/// lines are read and written whole: columns often lie a power of two apart, where the first-level cache would not keep a line for each.
pub(crate) fn pack_columns<'a>(packed: &mut [f32], width: usize, column: impl Fn(usize) -> &'a [f32]) {
    for (square, packed) in packed.chunks_mut(PANEL * PANEL).enumerate() {
        if width < PANEL {
            packed.fill(0.0);
        }
        for lane in 0..width {
            let column = &column(lane)[square * PANEL..];
            for (row, &value) in packed.chunks_exact_mut(PANEL).zip(column) {
                row[lane] = value;
            }
        }
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
