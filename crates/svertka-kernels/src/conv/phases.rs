//! Winograd's filtering for the input gradient of 4 x 4 windows of stride 2, which is the transposed convolution by which decoders double a picture.
//!
//! Written cell `i` and read cell `o` meet at tap `i + padding - 2 o`. So the even and the odd `i + padding` are two convolutions of two taps each, and six
//! neighbours, the first of them even, read the same four cells. From the values of these at the points 0, 1, -1 and ∞ three outputs of either phase
//! follow by four products where the definition has six: over both axes 64 products in place of 144 for a square of 6 x 6 written cells. One transformed
//! square of 4 x 4 read cells serves the four phases, which are to the products what more channels would be. The error is below that of the definition in `f32`.
//!
//! Squares are worked through in chunks, and sums run over the channels in order, whatever the chunk and the thread.

use std::ops::Range;

use super::ahead::Resting;
use super::side::Side;
use super::tile::{Alike, Keep, PANEL, ROWS, Step, panel_vectors, side_by_side, tile_of_blocks, with_rows};
use crate::cpu::{Cpu, WithSimd};
use crate::epilogue::{Epilogue, Finish};
use crate::geometry::ConvGeometry;
use crate::layout::BLOCK;
use crate::simd::Simd;
use crate::threads::{SharedMut, share};

/// Values of a square along an axis, and in all.
pub(super) const SIDE: usize = 4;
const POINTS: usize = SIDE * SIDE;

/// Cells of one phase that a square gives along an axis.
const CELLS: usize = 3;

/// Phases: even and odd, in both axes.
pub(super) const PHASES: usize = 4;

/// Bytes of transformed input that a chunk should have at most: it stays in the second-level cache for the most part.
const CHUNK_BYTES: usize = 192 << 10;

/// Squares of a chunk at least, where there are so many: each chunk brings all transformed weights into the caches once.
const LEAST_SQUARES: usize = 8 * ROWS;

/// Chunks from which on each is a job of its own, transform and products; fewer are shared by all threads.
const MANY_CHUNKS: usize = 8;

/// The plan of an input gradient.
#[derive(Debug)]
pub(crate) struct Phases {
    batch: usize,
    pub(super) read: Side,
    pub(super) write: Side,
    /// Rows and columns of the side that is read and of the one that is written.
    from: [usize; 2],
    to: [usize; 2],
    /// Padding before the first row and column.
    before: [usize; 2],
    /// Squares in each row and column of an image.
    across: [usize; 2],
    chunks: usize,
    steps: Vec<Step>,
}

/// Whether the window is 4 x 4 of stride 2, over one group of channels.
pub(crate) fn supports(g: &ConvGeometry) -> bool {
    let w = &g.window;
    let plane = w.kernel == [1, 4, 4] && w.stride == [1, 2, 2] && w.dilation == [1; 3];
    plane && w.padding[0] == (0, 0) && g.groups == 1 && g.input[0] == 1
}

/// Whether the saved products are more than the transforms cost, and squares enough to be worth the transformed weights.
pub(crate) fn pays(g: &ConvGeometry) -> bool {
    let squares = g.input[1].div_ceil(2 * CELLS) * g.input[2].div_ceil(2 * CELLS);
    g.in_channels.min(g.out_channels) >= 16 && squares >= 9
}

impl Phases {
    pub(crate) fn input_gradient(g: &ConvGeometry) -> Self {
        let side =
            |channels, spatial: [usize; 3]| Side { channels, cells: spatial.iter().product(), lanes: BLOCK };
        let (read, write) = (side(g.out_channels, g.output), side(g.in_channels, g.input));
        let before = [g.window.padding[1].0, g.window.padding[2].0];
        let to = [g.input[1], g.input[2]];
        let across = [0, 1].map(|axis| (to[axis] + before[axis] % 2).div_ceil(2 * CELLS));
        let steps = (0..read.blocks()).map(|block| Step {
            a: block * ROWS * BLOCK,
            b: block * BLOCK * PANEL,
            k: BLOCK.min(read.channels - block * BLOCK),
        });
        let bytes = POINTS * read.blocks() * BLOCK * size_of::<f32>();
        let most = (CHUNK_BYTES / bytes.max(1)).max(LEAST_SQUARES).next_multiple_of(ROWS);
        Self {
            batch: g.batch,
            read,
            write,
            from: [g.output[1], g.output[2]],
            to,
            before,
            across,
            chunks: (g.batch * across[0] * across[1]).div_ceil(most).max(1),
            steps: steps.collect(),
        }
    }

    fn squares(&self) -> usize {
        self.batch * self.across[0] * self.across[1]
    }

    /// Panels of written channels, each in all phases: panel `p` is phase `p % PHASES` of channel panel `p / PHASES`.
    pub(super) fn panels(&self) -> usize {
        self.write.channels.div_ceil(PANEL) * PHASES
    }

    /// Elements of a panel of weights at all points.
    pub(super) fn panel_len(&self) -> usize {
        POINTS * self.read.channels * PANEL
    }

    pub(crate) fn packed_len(&self) -> usize {
        self.panels() * self.panel_len()
    }

    /// Distance between the points of a square.
    fn point_len(&self) -> usize {
        self.read.blocks() * ROWS * BLOCK
    }

    /// Elements of a chunk's transformed input: groups of [`ROWS`] squares, then points, blocks, squares, lanes.
    fn input_len(&self) -> usize {
        self.squares().div_ceil(self.chunks).div_ceil(ROWS) * POINTS * self.point_len()
    }

    /// Elements of a chunk's products for two panels: panels, then squares, points, lanes.
    fn products_len(&self) -> usize {
        2 * self.squares().div_ceil(self.chunks) * POINTS * PANEL
    }

    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        let inputs = if self.chunks < MANY_CHUNKS { 1 } else { threads };
        inputs * self.input_len() + threads * self.products_len()
    }

    pub(crate) fn run(
        &self,
        cpu: &Cpu,
        x: &[f32],
        packed: &[f32],
        epilogue: &Epilogue<'_>,
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        assert_eq!(x.len(), self.batch * self.read.image_len(), "elements that the pass reads");
        assert_eq!(y.len(), self.batch * self.write.image_len(), "elements that the pass writes");
        assert_eq!(packed.len(), self.packed_len(), "packed weight");
        let threads = cpu.threads.count();
        let (input_len, products_len) = (self.input_len(), self.products_len());
        let (inputs, products) = scratch[..self.scratch_len(threads)]
            .split_at_mut(self.scratch_len(threads) - threads * products_len);
        let (inputs, products) = (SharedMut::new(inputs), SharedMut::new(products));
        let finish = epilogue.finish(cpu.isa, self.write.channels, SharedMut::new(y));
        let pass = Pass { plan: self, x, packed, finish };
        // The stages of a chunk, `part` of its blocks or panels, in the input's memory from `start` on.
        let transform = |chunk: usize, blocks: Range<usize>, start: usize| {
            let squares = share(self.squares(), self.chunks, chunk);
            // SAFETY: jobs that run beside this one have another start or other blocks.
            let input = SharedMut::new(unsafe { inputs.slice(start, input_len) });
            cpu.isa.dispatch(Input { pass, squares, blocks, input });
        };
        let multiply = |chunk: usize, panels: Range<usize>, start: usize, worker: usize| {
            let squares = share(self.squares(), self.chunks, chunk);
            // SAFETY: the transform has ended, so nobody writes the input; each worker has its own products.
            let (input, products) = unsafe {
                (&*inputs.slice(start, input_len), products.slice(worker * products_len, products_len))
            };
            cpu.isa.dispatch(Products { pass, squares, panels, input, products });
        };
        let (blocks, panels) = (self.read.blocks(), self.panels());
        if self.chunks >= MANY_CHUNKS {
            cpu.threads.run(self.chunks, |chunk, worker| {
                transform(chunk, 0..blocks, worker * input_len);
                multiply(chunk, 0..panels, worker * input_len, worker);
            });
        } else {
            for chunk in 0..self.chunks {
                cpu.threads.run(blocks, |block, _| transform(chunk, block..block + 1, 0));
                cpu.threads
                    .run(panels / 2, |pair, worker| multiply(chunk, pair * 2..pair * 2 + 2, 0, worker));
            }
        }
    }
}

/// Whether a panel writes the odd rows and columns, counted with the padding.
#[inline(always)]
pub(super) fn phase(panel: usize) -> [usize; 2] {
    [panel % PHASES / 2, panel % 2]
}

/// What all jobs of a run share.
#[derive(Clone, Copy)]
struct Pass<'a> {
    plan: &'a Phases,
    x: &'a [f32],
    packed: &'a [f32],
    finish: Finish<'a>,
}

impl Pass<'_> {
    /// A square's image, and its place among the squares of each axis.
    #[inline(always)]
    fn place(&self, square: usize) -> (usize, [usize; 2]) {
        let [rows, columns] = self.plan.across;
        let (image, at) = (square / (rows * columns), square % (rows * columns));
        (image, [at / columns, at % columns])
    }

    /// The cells that the square at place `at` of an axis reads, as far as there are such.
    #[inline(always)]
    fn read(&self, axis: usize, at: usize) -> [Option<usize>; SIDE] {
        let first = self.plan.before[axis] / 2 + at * CELLS;
        std::array::from_fn(|i| (first + i).checked_sub(1).filter(|cell| *cell < self.plan.from[axis]))
    }

    /// The cells of a phase that it writes.
    #[inline(always)]
    fn written(&self, axis: usize, at: usize, odd: usize) -> [Option<usize>; CELLS] {
        let (first, cut) = (at * 2 * CELLS + odd, self.plan.before[axis] % 2);
        std::array::from_fn(|i| (first + 2 * i).checked_sub(cut).filter(|cell| *cell < self.plan.to[axis]))
    }
}

/// Four cells' values at the points.
#[inline(always)]
fn values<S: Simd>(s: S, x: [S::V; SIDE]) -> [S::V; SIDE] {
    [s.sub(x[0], x[2]), s.add(x[1], x[2]), s.sub(x[2], x[1]), s.sub(x[3], x[1])]
}

/// Three outputs from the products at the points.
#[inline(always)]
fn outputs<S: Simd>(s: S, m: [S::V; SIDE]) -> [S::V; CELLS] {
    let even = s.add(m[1], m[2]);
    [s.add(m[0], even), s.sub(m[1], m[2]), s.add(even, m[3])]
}

/// Transforms some blocks of the squares of a chunk.
struct Input<'a> {
    pass: Pass<'a>,
    squares: Range<usize>,
    blocks: Range<usize>,
    input: SharedMut<'a>,
}

impl WithSimd for Input<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let plan = self.pass.plan;
        for block in self.blocks.clone() {
            for (number, square) in self.squares.clone().enumerate() {
                let (image, at) = self.pass.place(square);
                let plane = image * plan.read.image_len() + block * plan.read.cells * BLOCK;
                let plane = &self.pass.x[plane..][..plan.read.cells * BLOCK];
                let (rows, columns) = (self.pass.read(0, at[0]), self.pass.read(1, at[1]));
                let mut square = [[s.splat(0.0); SIDE]; SIDE];
                for (vectors, column) in square.iter_mut().zip(columns) {
                    for (vector, row) in vectors.iter_mut().zip(rows) {
                        if let (Some(row), Some(column)) = (row, column) {
                            *vector = s.from_slice(&plane[(row * plan.from[1] + column) * BLOCK..]);
                        }
                    }
                    *vectors = values(s, *vectors);
                }
                let start = (number / ROWS * POINTS * plan.read.blocks() + block) * ROWS * BLOCK
                    + number % ROWS * BLOCK;
                #[expect(clippy::needless_range_loop, reason = "the second index of all columns")]
                for i in 0..SIDE {
                    let row = values(s, std::array::from_fn(|j| square[j][i]));
                    for (j, value) in row.into_iter().enumerate() {
                        // SAFETY: each square and block has its own places.
                        let cell =
                            unsafe { self.input.slice(start + (i * SIDE + j) * plan.point_len(), BLOCK) };
                        s.write(cell, value);
                    }
                }
            }
        }
    }
}

/// Multiplies a chunk's transformed input with some panels of weights, and transforms back.
struct Products<'a> {
    pass: Pass<'a>,
    squares: Range<usize>,
    panels: Range<usize>,
    input: &'a [f32],
    products: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        // A panel and the one behind it are two phases of the same channels.
        for panel in self.panels.clone().step_by(S::PANELS) {
            if const { S::PANELS == 2 } && panel + 1 < self.panels.end {
                self.multiply::<S, 4>(s, panel);
            } else if panel / PHASES * 2 + 1 < self.pass.plan.write.blocks() {
                self.multiply::<S, 2>(s, panel);
            } else {
                self.multiply::<S, 1>(s, panel);
            }
            for beside in 0..S::PANELS.min(self.panels.end - panel) {
                self.transform(s, panel + beside, beside);
            }
        }
    }
}

impl Products<'_> {
    /// The products of all squares at all points with a panel of `NV` blocks, or two panels of two.
    #[inline(always)]
    fn multiply<S: Simd, const NV: usize>(&mut self, s: S, panel: usize) {
        let (plan, panels) = (self.pass.plan, NV.div_ceil(2));
        let packed = &self.pass.packed[panel * plan.panel_len()..][..panels * plan.panel_len()];
        let (count, row, point) = (self.squares.len(), POINTS * PANEL, plan.point_len());
        let beside = count * row;
        assert!(self.products.len() >= panels * beside, "products of {panels} panels");
        for at in 0..POINTS {
            let weight = &packed[at * plan.read.channels * PANEL..];
            for first in (0..count).step_by(ROWS) {
                let input = &self.input[(first / ROWS * POINTS + at) * point..][..point];
                let rows = (count - first).min(ROWS);
                let products = self.products[first * row..].as_mut_ptr();
                with_rows!(rows, MR in [1 2 3 4 5 6] => {
                    let mut acc = [[s.splat(0.0); NV]; MR];
                    // SAFETY: the steps stay inside one point of a group of squares and one point of each panel, whose lengths the slices check; each
                    // square's products have their own row for each panel.
                    unsafe {
                        let a = side_by_side::<MR>(input.as_ptr(), BLOCK);
                        let b = panel_vectors::<NV>(weight.as_ptr(), plan.panel_len());
                        tile_of_blocks(s, Alike([s.splat(0.0); NV]), a, b, &plan.steps, Resting, Keep(&mut acc));
                        for (i, acc) in acc.iter().enumerate() {
                            for (j, acc) in acc.iter().enumerate() {
                                let to = j / 2 * beside + i * row + at * PANEL + j % 2 * BLOCK;
                                s.store(products.add(to), *acc);
                            }
                        }
                    }
                });
            }
        }
    }

    /// The written cells of a panel from its products, which are number `beside`.
    #[inline(always)]
    fn transform<S: Simd>(&mut self, s: S, panel: usize, beside: usize) {
        let plan = self.pass.plan;
        let products = &self.products[beside * self.squares.len() * POINTS * PANEL..];
        let odd = phase(panel);
        let first = panel / PHASES * 2;
        for block in first..(first + 2).min(plan.write.blocks()) {
            let bias = self.pass.finish.start(s, block);
            for (number, square) in self.squares.clone().enumerate() {
                let products = &products[number * POINTS * PANEL + block % 2 * BLOCK..];
                let (image, at) = self.pass.place(square);
                let mut columns = [[s.splat(0.0); CELLS]; SIDE];
                for (j, column) in columns.iter_mut().enumerate() {
                    let at_points =
                        std::array::from_fn(|i| s.from_slice(&products[(i * SIDE + j) * PANEL..]));
                    *column = outputs(s, at_points);
                }
                let plane = image * plan.write.image_len() + block * plan.write.cells * BLOCK;
                let to = self.pass.written(1, at[1], odd[1]);
                for (i, row) in self.pass.written(0, at[0], odd[0]).into_iter().enumerate() {
                    let Some(row) = row else { continue };
                    let places = to.map(|column| Some(plane + (row * plan.to[1] + column?) * BLOCK));
                    let cells = outputs(s, std::array::from_fn(|j| columns[j][i]));
                    for (at, cell) in places.into_iter().zip(cells) {
                        if let Some(at) = at {
                            // SAFETY: the cell is inside the plane, and no other job writes this phase of this square of these channels.
                            unsafe { self.pass.finish.store(s, at, s.add(cell, bias)) };
                        }
                    }
                    // SAFETY: as above.
                    unsafe { self.pass.finish.settle(places.into_iter().flatten()) };
                }
            }
        }
    }
}
