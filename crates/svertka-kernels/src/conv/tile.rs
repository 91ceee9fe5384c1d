//! The hot loops: everything else in this folder only decides what they walk over.
//!
//! [`tile`] multiplies scalars of `a` with vectors of `b`; by the choice of the two it is the forward pass (pixels and packed weights), the
//! input gradient (the same, transposed), the weight gradient (input channels and output gradients, summed over pixels) and the matrix
//! product.
//!
//! Sums run over steps and then over `k`, in one order for every number of rows, so results do not depend on how pixels are cut into tiles.

use super::ahead::{Ahead, Resting};
use crate::layout::BLOCK;
use crate::simd::{LANES, Pair, Row, Simd};
use crate::threads::share;

/// Rows of the largest [`tile`]. With two vectors of `b`, twelve sums, one broadcast and two operands are 15 of the 16 registers of AVX2;
/// one more and LLVM spills in the loop. On NEON, 24 sums, a panel of 4 and a scalar are 29 of 32. On AVX-512 a panel is one register, and two units
/// of latency four have more than six products in flight: there a tile has two panels ([`Simd::PANELS`]) and, since these come from the second-level cache for
/// each tile, twice as many rows: 24 sums, two operands and a scalar are 27 of 32. `.ci/spills` reads the loops of each.
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
    unsafe { by_width::<S, MR, NV, false>(s, *acc, a, b, steps, strides, Resting, Keep(acc)) }
}

/// What the sums of a tile start from: an array of vectors for each row, or [`Alike`].
pub(crate) trait Start<S: Simd, const MR: usize> {
    /// The rows.
    fn rows<R: Row<S>>(self, s: S) -> [R; MR];
}

impl<S: Simd, const MR: usize, const NV: usize> Start<S, MR> for [[S::V; NV]; MR] {
    #[inline(always)]
    fn rows<R: Row<S>>(self, s: S) -> [R; MR] {
        // Loops, not `map` and `from_fn`: their closures may stay calls, and then sums live in memory.
        let mut rows = [R::join(s, &self[0]); MR];
        for (row, vectors) in rows.iter_mut().zip(&self) {
            *row = R::join(s, vectors);
        }
        rows
    }
}

/// These vectors in each row.
#[derive(Clone, Copy)]
pub(crate) struct Alike<V, const NV: usize>(pub(crate) [V; NV]);

impl<S: Simd, const MR: usize, const NV: usize> Start<S, MR> for Alike<S::V, NV> {
    #[inline(always)]
    fn rows<R: Row<S>>(self, s: S) -> [R; MR] {
        [R::join(s, &self.0); MR]
    }
}

/// What becomes of the sums of a tile.
pub(crate) trait Sink<S: Simd, const MR: usize> {
    /// Takes them.
    ///
    /// # Safety
    /// What the sink writes is writable, and nobody else uses it.
    unsafe fn take<R: Row<S>>(self, s: S, sums: [R; MR]);
}

/// Back to where they started.
pub(crate) struct Keep<'a, V, const MR: usize, const NV: usize>(pub(crate) &'a mut [[V; NV]; MR]);

impl<S: Simd, const MR: usize, const NV: usize> Sink<S, MR> for Keep<'_, S::V, MR, NV> {
    #[inline(always)]
    unsafe fn take<R: Row<S>>(self, s: S, sums: [R; MR]) {
        for (acc, sum) in self.0.iter_mut().zip(&sums) {
            sum.split(s, acc);
        }
    }
}

/// To memory: `BLOCKS` vectors of each row, `pitch` floats apart, the rows side by side.
pub(crate) struct Write<const BLOCKS: usize> {
    pub(crate) start: *mut f32,
    pub(crate) pitch: usize,
}

impl<S: Simd, const MR: usize, const BLOCKS: usize> Sink<S, MR> for Write<BLOCKS> {
    #[inline(always)]
    unsafe fn take<R: Row<S>>(self, s: S, sums: [R; MR]) {
        each_row!(MR, ROW => {
            // SAFETY: the caller's promise.
            unsafe { sums[ROW].store(s, self.start.wrapping_add(ROW * LANES), self.pitch, BLOCKS) };
        });
    }
}

/// Calls `$body` for each `$row` below `$rows`, twelve at most, as a constant: of a loop, LLVM would keep what it indexes in memory.
macro_rules! each_row {
    ($rows:expr, $row:ident => $body:expr) => {
        each_row!(@ $rows, $row, $body, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@ $rows:expr, $row:ident, $body:expr, $($n:literal)*) => {
        $({
            const $row: usize = $n;
            if const { $row < $rows } {
                $body
            }
        })*
    };
}
pub(crate) use each_row;

/// [`tile`] for steps over the channels of a block: neighbours in `a`, and panels in `b`, whose two vectors lie side by side. Whole blocks are unrolled.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
pub(crate) unsafe fn tile_of_blocks<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    start: impl Start<S, MR>,
    a: [*const f32; MR],
    b: [*const f32; NV],
    steps: &[Step],
    ahead: impl Ahead,
    sink: impl Sink<S, MR>,
) {
    // SAFETY: the caller's promise.
    unsafe { by_width::<S, MR, NV, true>(s, start, a, b, steps, (1, PANEL), ahead, sink) }
}

/// [`rows`] with the sums that suit `NV` vectors: a panel, two side by side, or less than one.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "a product, and what happens around it")]
unsafe fn by_width<S: Simd, const MR: usize, const NV: usize, const BLOCKS: bool>(
    s: S,
    start: impl Start<S, MR>,
    a: [*const f32; MR],
    b: [*const f32; NV],
    steps: &[Step],
    strides: (usize, usize),
    ahead: impl Ahead,
    sink: impl Sink<S, MR>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match const { NV * LANES / PANEL } {
            1 => sink.take(s, rows::<S, S::Panel, MR, NV, BLOCKS>(s, start, a, b, steps, strides, ahead)),
            2 => {
                sink.take(s, rows::<S, Pair<S::Panel>, MR, NV, BLOCKS>(s, start, a, b, steps, strides, ahead))
            }
            _ => sink.take(s, rows::<S, [S::V; NV], MR, NV, BLOCKS>(s, start, a, b, steps, strides, ahead)),
        }
    }
}

/// The sums of [`tile`], of the type `R`; `BLOCKS` as in [`tile_of_blocks`].
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn rows<S: Simd, R: Row<S>, const MR: usize, const NV: usize, const BLOCKS: bool>(
    s: S,
    start: impl Start<S, MR>,
    a: [*const f32; MR],
    b: [*const f32; NV],
    steps: &[Step],
    (stride_a, stride_b): (usize, usize),
    mut ahead: impl Ahead,
) -> [R; MR] {
    let mut sum = start.rows::<R>(s);
    for step in steps {
        ahead.step(s, a[0].wrapping_add(step.a));
        // SAFETY: the caller's promise.
        unsafe {
            // Of twice the rows, LLVM would load more panels ahead than there is place for.
            if const { BLOCKS && S::UNROLLS_BLOCKS && MR <= ROWS } && step.k == BLOCK {
                for k in 0..BLOCK {
                    let (a_at, b_at) = (step.a + k * stride_a, step.b + k * stride_b);
                    product::<S, R, MR, NV, BLOCKS>(s, &mut sum, &a, &b, a_at, b_at);
                }
            } else {
                for k in 0..step.k {
                    let (a_at, b_at) = (step.a + k * stride_a, step.b + k * stride_b);
                    product::<S, R, MR, NV, BLOCKS>(s, &mut sum, &a, &b, a_at, b_at);
                }
            }
        }
    }
    sum
}

/// [`tile`] for steps whose `k` is one. With few taps a nested loop costs more than the table: it ends too often to be predicted.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
pub(crate) unsafe fn tile_of_single_steps<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    start: impl Start<S, MR>,
    a: [*const f32; MR],
    b: [*const f32; NV],
    steps: &[Step],
    sink: impl Sink<S, MR>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match const { NV * LANES / PANEL } {
            1 => sink.take(s, single_steps::<S, S::Panel, MR, NV>(s, start, a, b, steps)),
            2 => sink.take(s, single_steps::<S, Pair<S::Panel>, MR, NV>(s, start, a, b, steps)),
            _ => sink.take(s, single_steps::<S, [S::V; NV], MR, NV>(s, start, a, b, steps)),
        }
    }
}

/// The sums of [`tile_of_single_steps`], of the type `R`.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn single_steps<S: Simd, R: Row<S>, const MR: usize, const NV: usize>(
    s: S,
    start: impl Start<S, MR>,
    a: [*const f32; MR],
    b: [*const f32; NV],
    steps: &[Step],
) -> [R; MR] {
    let mut sum = start.rows::<R>(s);
    for step in steps {
        // SAFETY: the caller's promise.
        unsafe { product::<S, R, MR, NV, true>(s, &mut sum, &a, &b, step.a, step.b) };
    }
    sum
}

/// One `k` of [`tile`]. With `PANELS`, the vectors of a panel lie side by side.
///
/// # Safety
/// The scalars of `a` at `at_a` and the vectors of `b` at `at_b` are readable.
#[inline(always)]
unsafe fn product<S: Simd, R: Row<S>, const MR: usize, const NV: usize, const PANELS: bool>(
    s: S,
    sum: &mut [R; MR],
    a: &[*const f32; MR],
    b: &[*const f32; NV],
    at_a: usize,
    at_b: usize,
) {
    // Vectors of `b` are loaded before the first broadcast: the other order needs 19 registers.
    // SAFETY: the caller's promise.
    let row = unsafe { if PANELS { R::load_panels(s, b, at_b) } else { R::load(s, b, at_b) } };
    for (sum, a) in sum.iter_mut().zip(a) {
        // SAFETY: the caller's promise.
        *sum = sum.fma(s, unsafe { *a.add(at_a) }, row);
    }
}

/// Where `COUNT` things lie that are `stride` apart, as the first argument of [`tile`].
#[inline(always)]
pub(crate) fn side_by_side<const COUNT: usize>(start: *const f32, stride: usize) -> [*const f32; COUNT] {
    std::array::from_fn(|i| start.wrapping_add(i * stride))
}

/// Where the vectors of panels lie, each `panel_len` behind the one before, as the second argument of [`tile`].
#[inline(always)]
pub(crate) fn panel_vectors<const NV: usize>(start: *const f32, panel_len: usize) -> [*const f32; NV] {
    std::array::from_fn(|j| start.wrapping_add(j / 2 * panel_len + j % 2 * LANES))
}

/// Where the `BLOCKS` blocks of panels lie, each `pitch` behind the one before. What is computed beside the last is the last once more.
#[inline(always)]
pub(crate) fn block_vectors<const NV: usize, const BLOCKS: usize>(
    start: *const f32,
    pitch: usize,
) -> [*const f32; NV] {
    std::array::from_fn(|j| start.wrapping_add(j.min(BLOCKS - 1) * pitch))
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

/// [`with_rows`] for all that a tile of `$simd` may have: [`ROWS`], or twice as many where it has two panels.
macro_rules! with_tile_rows {
    ($simd:ty, $count:expr, $rows:ident => $body:expr) => {
        if $count <= $crate::conv::tile::ROWS {
            with_rows!($count, $rows in [1 2 3 4 5 6] => $body)
        } else if const { <$simd>::PANELS == 2 } {
            with_rows!($count, $rows in [7 8 9 10 11 12] => $body)
        } else {
            unreachable!("tiles are cut to these sizes")
        }
    };
}
pub(crate) use with_tile_rows;

/// Calls `$body` for `$blocks` blocks of a panel and those behind it, with the constants `$vectors`, how many are computed, and `$stored`, how many of
/// these there are: four and four, where vectors of `$simd` are so wide, or four and three, two and two, one and one.
macro_rules! with_blocks {
    ($simd:ty, $blocks:expr, ($vectors:ident, $stored:ident) => $body:expr) => {
        match $blocks {
            4.. if const { <$simd>::PANELS == 2 } => with_blocks!(@ $vectors 4, $stored 4, $body),
            3 if const { <$simd>::PANELS == 2 } => with_blocks!(@ $vectors 4, $stored 3, $body),
            2.. => with_blocks!(@ $vectors 2, $stored 2, $body),
            _ => with_blocks!(@ $vectors 1, $stored 1, $body),
        }
    };
    (@ $vectors:ident $v:literal, $stored:ident $s:literal, $body:expr) => {{
        const $vectors: usize = $v;
        const $stored: usize = $s;
        $body
    }};
}
pub(crate) use with_blocks;

/// Cuts `count` things into the fewest pieces of at most `most`, nearly equal: 7 in pieces of 6 are 3 and 4, since a piece of one costs
/// almost as much as a piece of six.
pub(crate) fn pieces(count: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> + Clone {
    let pieces = count.div_ceil(most.max(1));
    (0..pieces).map(move |i| share(count, pieces, i))
}
