//! The three stages of Winograd's filtering over a chunk of squares: input transform, products, output transform.

use std::ops::Range;

use super::ahead::FetchingShare;
use super::squares::{Axis, MOST, Transform, with_axis};
use super::tile::{
    Alike, PANEL, ROWS, Write, panel_vectors, side_by_side, tile_of_blocks, with_blocks, with_rows,
    with_tile_rows,
};
use super::winograd::{Chunk, Square, Winograd};
use crate::cpu::WithSimd;
use crate::epilogue::Finish;
use crate::layout::BLOCK;
use crate::simd::Simd;
use crate::threads::SharedMut;

/// What the stages work on: a chunk of squares of one group of channels.
///
/// `input` and `products` lie as points, blocks of the group, squares, lanes. So transforms write whole cache lines, square after square, and a
/// tile of products is written side by side.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) plan: &'a Winograd,
    pub(super) x: &'a [f32],
    pub(super) packed: &'a [f32],
    pub(super) finish: Finish<'a>,
    pub(super) group: usize,
    pub(super) chunk: &'a Chunk,
    pub(super) input: SharedMut<'a>,
    pub(super) products: SharedMut<'a>,
}

/// Transforms some of the group's blocks of all squares of the part. Nobody else touches these blocks of `input`.
pub(super) struct Input<'a>(pub(super) Part<'a>, pub(super) Range<usize>);

/// Multiplies at some points. Nobody else writes `input`, or touches these points of `products`.
pub(super) struct Products<'a>(pub(super) Part<'a>, pub(super) Range<usize>);

/// Transforms some of the group's written blocks back. Nobody else writes `products`, or touches these blocks of these squares of the output.
pub(super) struct Output<'a>(pub(super) Part<'a>, pub(super) Range<usize>);

/// A square's cells between its two passes, or with zeros for those outside of the image.
pub(super) type Cells<V> = [[V; MOST]; MOST];

impl WithSimd for Input<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self(part, blocks) = self;
        let plan = part.plan;
        let (mut padded, mut between) = ([[s.splat(0.0); MOST]; MOST], [[s.splat(0.0); MOST]; MOST]);
        for block in blocks.clone() {
            for (at, square) in plan.squares[part.chunk.squares.clone()].iter().enumerate() {
                let plane = (square.image * plan.read.blocks() + part.group * plan.blocks[0] + block)
                    * plan.read.cells
                    * BLOCK;
                let plane = &part.x[plane..][..plan.read.cells * BLOCK];
                if block + 1 < blocks.end {
                    let next = plane.as_ptr().wrapping_add(plane.len());
                    bring_near(s, next, square.at, plan.before, plan.from[1], plan.side());
                }
                let to = block * plan.pitch * BLOCK + at * BLOCK;
                transform_input(s, plan, part.input, plane, *square, to, &mut padded, &mut between);
            }
        }
    }
}

/// Transforms the input cells of a square, of one block; the value at the first point goes to `to`.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "two of them are memory that is zeroed once")]
pub(super) fn transform_input<S: Simd>(
    s: S,
    plan: &Winograd,
    input: SharedMut<'_>,
    plane: &[f32],
    square: Square,
    to: usize,
    padded: &mut Cells<S::V>,
    between: &mut Cells<S::V>,
) {
    let [height, width] = plan.from;
    let axes = plan.axes(square);
    let [rows, columns] = axes.map(Axis::points);
    // First row and column, which may lie in the padding.
    let [row, column] = std::array::from_fn(|d| square.at[d].wrapping_sub(plan.before[d]));
    let inside =
        |first: usize, cells: usize, size: usize| first.checked_add(cells).is_some_and(|end| end <= size);
    let (from, pitch) = if inside(row, rows.len(), height) && inside(column, columns.len(), width) {
        (plane[(row * width + column) * BLOCK..].as_ptr(), width * BLOCK)
    } else {
        let clip = |d: usize, cells: usize, size: usize| {
            let skipped = plan.before[d].saturating_sub(square.at[d]).min(cells);
            skipped..cells.min((size + plan.before[d]).saturating_sub(square.at[d])).max(skipped)
        };
        padded.iter_mut().take(rows.len()).for_each(|row| row.fill(s.splat(0.0)));
        let columns = clip(1, columns.len(), width);
        for i in clip(0, rows.len(), height) {
            for j in columns.clone() {
                let cell = row.wrapping_add(i) * width + column.wrapping_add(j);
                padded[i][j] = s.from_slice(&plane[cell * BLOCK..]);
            }
        }
        (padded.as_ptr().cast(), MOST * BLOCK)
    };
    with_axis!(axes[0], T, POINTS => {
        for j in 0..columns.len() {
            // SAFETY: the square lies inside the plane, or in `padded`, whose vectors are eight floats each.
            let cells: [S::V; POINTS] = std::array::from_fn(|i| unsafe { s.load(from.add(i * pitch + j * BLOCK)) });
            for (between, value) in between.iter_mut().zip(T::input(s, cells)) {
                between[j] = value;
            }
        }
    });
    let point = plan.point_len(0);
    assert!((plan.points() - 1) * point + to + BLOCK <= input.len(), "the last point lies in the input");
    let to = input.as_ptr().wrapping_add(to);
    with_axis!(axes[1], T, POINTS => {
        for (&i, between) in rows.iter().zip(between.iter()) {
            let row: [S::V; POINTS] = std::array::from_fn(|j| between[j]);
            let to = to.wrapping_add(i * plan.side() * point);
            for (&j, value) in T::AT.iter().zip(T::input(s, row)) {
                // SAFETY: no point lies behind the last; each square and block has its own places.
                unsafe { s.store(to.add(j * point), value) };
            }
        }
    });
}

/// Asks for what a square will need of the next block's plane, at `next`: `cells` rows and columns from `at - before` on. The cache lines come
/// while this block is at work, where they would be waited for one square after the other.
#[inline(always)]
fn bring_near<S: Simd>(
    s: S,
    next: *const f32,
    at: [usize; 2],
    before: [usize; 2],
    width: usize,
    cells: usize,
) {
    let [row, column] = std::array::from_fn(|d| at[d].wrapping_sub(before[d]));
    for i in 0..cells {
        let cell = row.wrapping_add(i).wrapping_mul(width).wrapping_add(column);
        // A cache line holds two cells.
        for column in (0..cells).step_by(2) {
            s.prefetch(next.wrapping_add(cell.wrapping_add(column).wrapping_mul(BLOCK)));
        }
    }
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self(part, points) = self;
        for point in points {
            for panel in (0..part.plan.panels()).step_by(S::PANELS) {
                with_blocks!(S, part.plan.blocks[1] - panel * 2, (NV, BLOCKS) => {
                    multiply::<S, NV, BLOCKS, { NV.div_ceil(2) }>(s, part, point, panel);
                });
            }
        }
    }
}

/// The products at a point of all squares that have it with `PANELS` panels from `panel` on. `NV` blocks are computed, of which there are `BLOCKS`.
#[inline(always)]
fn multiply<S: Simd, const NV: usize, const BLOCKS: usize, const PANELS: usize>(
    s: S,
    part: Part<'_>,
    point: usize,
    panel: usize,
) {
    let squares = part.plan.taking_part(part.chunk, point);
    let of = squares.len().div_ceil(ROWS * S::PANELS);
    // The first `larger` tiles have one row more.
    let (rows, larger) = (squares.len() / of.max(1), squares.len() % of.max(1));
    let mut first = squares.start;
    for (rows, tiles) in
        [(rows + 1, 0..larger), (rows, larger..of)].into_iter().filter(|(_, tiles)| !tiles.is_empty())
    {
        let count = rows * tiles.len();
        let work = Tiles { part, point, panel, squares: first..first + count, tiles, of };
        with_tile_rows!(S, rows, MR => s.apart(TilesBySize::<MR, NV, BLOCKS, PANELS>(work)));
        first += count;
    }
}

/// Some of the `of` tiles of a point and a panel, all of one size.
struct Tiles<'a> {
    part: Part<'a>,
    point: usize,
    panel: usize,
    squares: Range<usize>,
    tiles: Range<usize>,
    of: usize,
}

/// [`Tiles`] of `MR` squares. Each size is a function of its own: the compiler's time grows with the square of a function's length.
struct TilesBySize<'a, const MR: usize, const NV: usize, const BLOCKS: usize, const PANELS: usize>(Tiles<'a>);

impl<const MR: usize, const NV: usize, const BLOCKS: usize, const PANELS: usize> WithSimd
    for TilesBySize<'_, MR, NV, BLOCKS, PANELS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Tiles { part, point, panel, squares, tiles, of } = self.0;
        let plan = part.plan;
        let weight = plan.panel_start(part.group, point, panel);
        let panel_len = plan.channels[0] * PANEL;
        let weight = &part.packed[weight..][..PANELS * panel_len];
        // SAFETY: the input has been transformed, and nobody writes it during the products.
        let input: &[f32] = unsafe { part.input.slice(point * plan.point_len(0), plan.point_len(0)) };
        // SAFETY: nobody else has this point's products.
        let products = unsafe { part.products.slice(point * plan.point_len(1), plan.point_len(1)) };
        assert!(squares.end <= plan.most, "a chunk has {} squares at most", plan.most);
        let products = &mut products[panel * 2 * plan.pitch * BLOCK..][..BLOCKS * plan.pitch * BLOCK];
        let next = weight.as_ptr().wrapping_add(weight.len());
        let start = Alike([s.splat(0.0); NV]);
        let b = panel_vectors::<NV>(weight.as_ptr(), panel_len);
        for (tile, first) in tiles.zip(squares.step_by(MR)) {
            // The next panel comes into the cache while this one is at work.
            let ahead = FetchingShare::<PANELS>::of_tile(next, tile, of);
            // SAFETY: the steps stay inside one point of the input and one panel of weights, which the slices check, as the squares are at most
            // `most`.
            unsafe {
                let a = side_by_side::<MR>(input.as_ptr().add(first * BLOCK), BLOCK);
                let written = products.as_mut_ptr().add(first * BLOCK);
                let sink = Write::<BLOCKS> { start: written, pitch: plan.pitch * BLOCK };
                tile_of_blocks(s, start, a, b, &plan.steps, ahead, sink);
            }
        }
    }
}

impl WithSimd for Output<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self(part, blocks) = self;
        let plan = part.plan;
        let mut between = [[s.splat(0.0); MOST]; MOST];
        for block in blocks.clone() {
            let written = part.group * plan.blocks[1] + block;
            let bias = part.finish.start(s, written);
            for (at, square) in plan.squares[part.chunk.squares.clone()].iter().enumerate() {
                let plane = (square.image * plan.write.blocks() + written) * plan.write.cells * BLOCK;
                if block + 1 < blocks.end {
                    let next = plane + plan.write.cells * BLOCK;
                    let next = part.finish.y.as_ptr().cast_const().wrapping_add(next);
                    bring_near(s, next, square.at, [0, 0], plan.to[1], plan.whole.cells());
                }
                let from = block * plan.pitch * BLOCK + at * BLOCK;
                transform_output(s, part, from, *square, plane, bias, &mut between);
            }
        }
    }
}

/// Transforms a square of one block back, whose product at the first point is at `from`, and writes its cells of the plane that starts at `plane`.
#[inline(always)]
fn transform_output<S: Simd>(
    s: S,
    part: Part<'_>,
    from: usize,
    square: Square,
    plane: usize,
    bias: S::V,
    between: &mut Cells<S::V>,
) {
    let plan = part.plan;
    let [height, width] = plan.to;
    let axes = plan.axes(square);
    let columns = axes[1].points();
    let point = plan.point_len(1);
    assert!(
        (plan.points() - 1) * point + from + BLOCK <= part.products.len(),
        "the last point lies in the products"
    );
    let from = part.products.as_ptr().cast_const().wrapping_add(from);
    with_axis!(axes[0], T, POINTS => {
        let pitch = plan.side() * point;
        for (j, &column) in columns.iter().enumerate() {
            let from = from.wrapping_add(column * point);
            // SAFETY: no point lies behind the last.
            let products: [S::V; POINTS] = std::array::from_fn(|i| unsafe { s.load(from.add(T::AT[i] * pitch)) });
            for (between, value) in between.iter_mut().zip(T::output(s, products)) {
                between[j] = value;
            }
        }
    });
    let [row, column] = square.at;
    with_axis!(axes[1], T, POINTS => {
        for (i, between) in between.iter().enumerate().take(axes[0].cells().min(height - row)) {
            let cells = T::output(s, std::array::from_fn::<_, POINTS, _>(|j| between[j]));
            let start = plane + ((row + i) * width + column) * BLOCK;
            let places = (0..cells.len().min(width - column)).map(|j| start + j * BLOCK);
            for (at, cell) in places.zip(cells) {
                // SAFETY: the cell is inside the plane, and no other job writes this square of this block.
                unsafe { part.finish.store(s, at, s.add(cell, bias)) };
            }
        }
    });
    let [rows, columns] = std::array::from_fn(|d| axes[d].cells().min(plan.to[d] - square.at[d]));
    let start = plane + (row * width + column) * BLOCK;
    let places = (0..rows).flat_map(|i| (0..columns).map(move |j| start + (i * width + j) * BLOCK));
    // SAFETY: the cells of this square, as above.
    unsafe { part.finish.settle(places) };
}
