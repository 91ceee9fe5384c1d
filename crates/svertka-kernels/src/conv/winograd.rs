//! Winograd's minimal filtering for 3 x 3 windows of stride 1: forward and input gradient (Lavin and Gray, "Fast Algorithms for Convolutional
//! Neural Networks", 2016).
//!
//! Output squares of 4 x 4 (or 2 x 2) cells come from 6 x 6 (4 x 4) input cells by 36 (16) products a channel pair where the definition needs 144 (36):
//! input squares and weights are transformed, multiplied point by point, which for all channels at once is one matrix product a point, and
//! transformed back. The points of the 4 x 4 form are 0, ±√½, ±√2 and ∞: with them its error is two to three times that of the definition in `f32`,
//! with the customary 0, ±1, ±2 it would be five times as large.
//!
//! Squares are worked through in chunks, so that a chunk's transformed input stays in the caches while all panels of weights pass by. Sums run over the
//! channels in order, whatever the chunk and the thread.
//!
//! The file is long because the plan, the transforms and the products share one arrangement of memory.

use std::ops::Range;

use super::direct::Side;
use super::squares::{Four, Transform, Two};
use super::tile::{PANEL, ROWS, Resting, Step, tile_of_blocks, with_rows};
use crate::cpu::{Cpu, WithSimd};
use crate::epilogue::{Epilogue, Finish};
use crate::geometry::ConvGeometry;
use crate::layout::BLOCK;
use crate::simd::Simd;
use crate::threads::{SharedMut, share};

/// Bytes of transformed input that a chunk should have at most: it stays in the second-level cache for the most part.
const CHUNK_BYTES: usize = 512 << 10;

/// Squares of a chunk at least, where there are so many: each brings all transformed weights into the caches once.
const LEAST_SQUARES: usize = 8 * ROWS;

/// Chunks from which on each is a job of its own, transform and products; fewer are shared by all threads.
const MANY_CHUNKS: usize = 8;

/// The plan of one pass.
#[derive(Debug)]
pub(crate) struct Winograd {
    batch: usize,
    read: Side,
    write: Side,
    /// Rows and columns of the side that is read and of the one that is written.
    from: [usize; 2],
    to: [usize; 2],
    /// Padding before the first row and column.
    before: [usize; 2],
    /// Cells along the side of an output square: 2 or 4.
    square: usize,
    /// Squares in each row and column of an image.
    across: [usize; 2],
    chunks: usize,
    mirrored: bool,
    steps: Vec<Step>,
}

/// Whether the window is 3 x 3 of stride 1, over one group of channels.
pub(crate) fn supports(g: &ConvGeometry) -> bool {
    let w = &g.window;
    let plane = w.kernel == [1, 3, 3] && w.stride == [1; 3] && w.dilation == [1; 3];
    // The padding of the input gradient is what the forward pass lacks of a full one.
    let padding =
        w.padding[0] == (0, 0) && w.padding.iter().all(|&(before, after)| before <= 2 && after <= 2);
    plane && padding && g.groups == 1 && g.input[0] == 1
}

/// Whether squares of 4 x 4 save time: the transforms cost as much as some channels' products, and transformed weights, four times as large,
/// need enough squares to be worth their way through the caches.
pub(crate) fn pays(g: &ConvGeometry) -> bool {
    let channels = g.in_channels.min(g.out_channels);
    let squares = g.output[1].div_ceil(4) * g.output[2].div_ceil(4);
    channels >= 16 && squares >= 9
}

impl Winograd {
    pub(crate) fn forward(g: &ConvGeometry, square: usize) -> Self {
        let before = [g.window.padding[1].0, g.window.padding[2].0];
        Self::new(g.batch, [g.in_channels, g.out_channels], [g.input, g.output], before, square, false)
    }

    pub(crate) fn input_gradient(g: &ConvGeometry, square: usize) -> Self {
        let before = [2 - g.window.padding[1].0, 2 - g.window.padding[2].0];
        Self::new(g.batch, [g.out_channels, g.in_channels], [g.output, g.input], before, square, true)
    }

    fn new(
        batch: usize,
        channels: [usize; 2],
        [from, to]: [[usize; 3]; 2],
        before: [usize; 2],
        square: usize,
        mirrored: bool,
    ) -> Self {
        let side =
            |channels, spatial: [usize; 3]| Side { channels, cells: spatial.iter().product(), lanes: BLOCK };
        let (read, write) = (side(channels[0], from), side(channels[1], to));
        let across = [to[1].div_ceil(square), to[2].div_ceil(square)];
        let points = (square + 2) * (square + 2);
        let steps = (0..read.blocks()).map(|block| Step {
            a: block * ROWS * BLOCK,
            b: block * BLOCK * PANEL,
            k: BLOCK.min(read.channels - block * BLOCK),
        });
        let mut plan = Self {
            batch,
            read,
            write,
            from: [from[1], from[2]],
            to: [to[1], to[2]],
            before,
            square,
            across,
            chunks: 1,
            mirrored,
            steps: steps.collect(),
        };
        let bytes = points * read.blocks() * BLOCK * size_of::<f32>();
        let most = (CHUNK_BYTES / bytes.max(1)).max(LEAST_SQUARES).next_multiple_of(ROWS);
        plan.chunks = plan.squares().div_ceil(most).max(1);
        plan
    }

    fn squares(&self) -> usize {
        self.batch * self.across[0] * self.across[1]
    }

    fn points(&self) -> usize {
        (self.square + 2) * (self.square + 2)
    }

    fn panels(&self) -> usize {
        self.write.channels.div_ceil(PANEL)
    }

    /// Elements of a panel of weights at all points.
    fn panel_len(&self) -> usize {
        self.points() * self.read.channels * PANEL
    }

    pub(crate) fn packed_len(&self) -> usize {
        self.panels() * self.panel_len()
    }

    /// Elements of a chunk's transformed input: groups of [`ROWS`] squares, then points, blocks, squares, lanes.
    fn input_len(&self) -> usize {
        self.squares().div_ceil(self.chunks).div_ceil(ROWS)
            * ROWS
            * self.points()
            * self.read.blocks()
            * BLOCK
    }

    /// Elements of a chunk's products for one panel: squares, then points, lanes.
    fn products_len(&self) -> usize {
        self.squares().div_ceil(self.chunks) * self.points() * PANEL
    }

    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        let inputs = if self.chunks < MANY_CHUNKS { 1 } else { threads };
        inputs * self.input_len() + threads * self.products_len()
    }

    /// Packs `weight`, in which the taps of written channel `w` and read channel `r` start at `start(w, r)`.
    pub(crate) fn pack(
        &self,
        cpu: &Cpu,
        weight: &[f32],
        packed: &mut [f32],
        start: impl Fn(usize, usize) -> usize + Sync,
    ) {
        let transform = if self.square == 2 { &Two::WEIGHT[..] } else { &Four::WEIGHT };
        let (points, out) = (transform.len(), SharedMut::new(packed));
        cpu.threads.run(self.panels(), |panel, _| {
            // SAFETY: panels are disjoint, and each is written by its own job.
            let packed = unsafe { out.slice(panel * self.panel_len(), self.panel_len()) };
            packed.fill(0.0);
            for lane in 0..PANEL.min(self.write.channels - panel * PANEL) {
                for read in 0..self.read.channels {
                    let taps = &weight[start(panel * PANEL + lane, read)..][..9];
                    let tap = |i: usize| f64::from(taps[if self.mirrored { 8 - i } else { i }]);
                    for (y, rows) in transform.iter().enumerate() {
                        let column = |x: usize| (0..3).map(|row| rows[row] * tap(row * 3 + x)).sum::<f64>();
                        let column = [column(0), column(1), column(2)];
                        for (x, columns) in transform.iter().enumerate() {
                            let value: f64 = columns.iter().zip(column).map(|(a, b)| a * b).sum();
                            let at = ((y * points + x) * self.read.channels + read) * PANEL + lane;
                            packed[at] = value as f32;
                        }
                    }
                }
            }
        });
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
        let (inputs, products) = scratch[..self.scratch_len(threads)]
            .split_at_mut(self.scratch_len(threads) - threads * self.products_len());
        let (inputs, products) = (SharedMut::new(inputs), SharedMut::new(products));
        let finish = epilogue.finish(cpu.isa, self.write.channels, SharedMut::new(y));
        let pass = Pass { plan: self, x, packed, finish };
        let (input_len, products_len, blocks) = (self.input_len(), self.products_len(), self.read.blocks());
        if self.chunks >= MANY_CHUNKS {
            cpu.threads.run(self.chunks, |chunk, worker| {
                let squares = share(self.squares(), self.chunks, chunk);
                // SAFETY: each worker has its own part of both.
                let (input, products) = unsafe {
                    (
                        inputs.slice(worker * input_len, input_len),
                        products.slice(worker * products_len, products_len),
                    )
                };
                let input = SharedMut::new(input);
                cpu.isa.dispatch(Input { pass, squares: squares.clone(), blocks: 0..blocks, input });
                // SAFETY: the transform has ended, so nobody writes the input.
                let input = unsafe { input.slice(0, input_len) };
                cpu.isa.dispatch(Products { pass, squares, panels: 0..self.panels(), input, products });
            });
            return;
        }
        for chunk in 0..self.chunks {
            let squares = share(self.squares(), self.chunks, chunk);
            cpu.threads.run(blocks, |block, _| {
                let blocks = block..block + 1;
                cpu.isa.dispatch(Input { pass, squares: squares.clone(), blocks, input: inputs });
            });
            // SAFETY: the transform has ended, so nobody writes the input.
            let input: &[f32] = unsafe { inputs.slice(0, input_len) };
            cpu.threads.run(self.panels(), |panel, worker| {
                // SAFETY: each worker has its own part.
                let products = unsafe { products.slice(worker * products_len, products_len) };
                let panels = panel..panel + 1;
                cpu.isa.dispatch(Products { pass, squares: squares.clone(), panels, input, products });
            });
        }
    }
}

/// What all jobs of a run share.
#[derive(Clone, Copy)]
struct Pass<'a> {
    plan: &'a Winograd,
    x: &'a [f32],
    packed: &'a [f32],
    finish: Finish<'a>,
}

impl Pass<'_> {
    /// Image, and first row and column, of the output square `square`.
    fn place(&self, square: usize) -> (usize, [usize; 2]) {
        let [rows, columns] = self.plan.across;
        let (image, at) = (square / (rows * columns), square % (rows * columns));
        (image, [at / columns * self.plan.square, at % columns * self.plan.square])
    }
}

/// Transforms some blocks of the input squares of a chunk.
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
        match self.pass.plan.square {
            2 => self.transform::<S, Two, 4, 2>(s),
            _ => self.transform::<S, Four, 6, 4>(s),
        }
    }
}

impl Input<'_> {
    #[inline(always)]
    fn transform<S: Simd, T: Transform<P, M>, const P: usize, const M: usize>(self, s: S) {
        let plan = self.pass.plan;
        let [height, width] = plan.from;
        // Distance between points of one square.
        let point = plan.read.blocks() * ROWS * BLOCK;
        for block in self.blocks.clone() {
            for (at, square) in self.squares.clone().enumerate() {
                let (image, [row, column]) = self.pass.place(square);
                let plane = image * plan.read.image_len() + block * plan.read.cells * BLOCK;
                let plane = &self.pass.x[plane..][..plan.read.cells * BLOCK];
                let mut columns = [[s.splat(0.0); P]; P];
                let inside =
                    |first: usize, before: usize, size: usize| first >= before && first - before + P <= size;
                if inside(row, plan.before[0], height) && inside(column, plan.before[1], width) {
                    let corner = ((row - plan.before[0]) * width + column - plan.before[1]) * BLOCK;
                    for (j, column) in columns.iter_mut().enumerate() {
                        // SAFETY: the whole square lies inside the plane.
                        *column = T::input(
                            s,
                            std::array::from_fn(|i| unsafe {
                                s.load(plane.as_ptr().add(corner + (i * width + j) * BLOCK))
                            }),
                        );
                    }
                } else {
                    for (j, vectors) in columns.iter_mut().enumerate() {
                        let cell = |i: usize| {
                            let row = (row + i).checked_sub(plan.before[0]).filter(|row| *row < height);
                            let column =
                                (column + j).checked_sub(plan.before[1]).filter(|column| *column < width);
                            match (row, column) {
                                (Some(row), Some(column)) => {
                                    s.from_slice(&plane[(row * width + column) * BLOCK..])
                                }
                                _ => s.splat(0.0),
                            }
                        };
                        *vectors = T::input(s, std::array::from_fn(cell));
                    }
                }
                let start = at / ROWS * ROWS * plan.points() * plan.read.blocks() * BLOCK
                    + block * ROWS * BLOCK
                    + at % ROWS * BLOCK;
                #[expect(clippy::needless_range_loop, reason = "the second index of all columns")]
                for i in 0..P {
                    let row = T::input(s, std::array::from_fn(|j| columns[j][i]));
                    for (j, value) in row.into_iter().enumerate() {
                        // SAFETY: each square and block has its own places; the slice bounds check them.
                        let cell = unsafe { self.input.slice(start + (i * P + j) * point, BLOCK) };
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
        let plan = self.pass.plan;
        for panel in self.panels.clone() {
            let two = panel * 2 + 1 < plan.write.blocks();
            if two {
                self.multiply::<S, 2>(s, panel)
            } else {
                self.multiply::<S, 1>(s, panel)
            }
            match plan.square {
                2 => self.transform::<S, Two, 4, 2>(s, panel),
                _ => self.transform::<S, Four, 6, 4>(s, panel),
            }
        }
    }
}

impl Products<'_> {
    /// The products of all squares at all points with a panel of `NV` blocks.
    #[inline(always)]
    fn multiply<S: Simd, const NV: usize>(&mut self, s: S, panel: usize) {
        let plan = self.pass.plan;
        let packed = &self.pass.packed[panel * plan.panel_len()..][..plan.panel_len()];
        let (points, count) = (plan.points(), self.squares.len());
        let (row, point) = (points * PANEL, plan.read.blocks() * ROWS * BLOCK);
        for at in 0..points {
            let weight = &packed[at * plan.read.channels * PANEL..][..plan.read.channels * PANEL];
            for first in (0..count).step_by(ROWS) {
                let input = &self.input[first * points * plan.read.blocks() * BLOCK + at * point..][..point];
                let products = &mut self.products[first * row..][..(count - first).min(ROWS) * row];
                with_rows!((count - first).min(ROWS), MR in [1 2 3 4 5 6] => {
                    let mut acc = [[s.splat(0.0); NV]; MR];
                    // SAFETY: the steps stay inside one point of a group of squares and one point of a panel, whose lengths the slices check; each
                    // square's products have their own row.
                    unsafe {
                        let a = std::array::from_fn(|i| input.as_ptr().add(i * BLOCK));
                        let b = std::array::from_fn(|j| weight.as_ptr().wrapping_add(j * BLOCK));
                        tile_of_blocks(s, &mut acc, a, b, &plan.steps, Resting);
                        for (i, acc) in acc.iter().enumerate() {
                            for (j, acc) in acc.iter().enumerate() {
                                s.store(products.as_mut_ptr().add(i * row + at * PANEL + j * BLOCK), *acc);
                            }
                        }
                    }
                });
            }
        }
    }

    /// The output squares of a panel from its products.
    #[inline(always)]
    fn transform<S: Simd, T: Transform<P, M>, const P: usize, const M: usize>(&mut self, s: S, panel: usize) {
        let plan = self.pass.plan;
        let [height, width] = plan.to;
        for block in panel * 2..(panel * 2 + 2).min(plan.write.blocks()) {
            let bias = self.pass.finish.start(s, block);
            for (at, square) in self.squares.clone().enumerate() {
                let products = &self.products[at * P * P * PANEL + block % 2 * BLOCK..];
                let (image, [row, column]) = self.pass.place(square);
                let mut columns = [[s.splat(0.0); M]; P];
                for (j, column) in columns.iter_mut().enumerate() {
                    *column =
                        T::output(s, std::array::from_fn(|i| s.from_slice(&products[(i * P + j) * PANEL..])));
                }
                let plane = image * plan.write.image_len() + block * plan.write.cells * BLOCK;
                #[expect(clippy::needless_range_loop, reason = "the second index of all columns")]
                for i in 0..M.min(height - row) {
                    let cells = T::output(s, std::array::from_fn(|j| columns[j][i]));
                    let start = plane + ((row + i) * width + column) * BLOCK;
                    let places = (0..M.min(width - column)).map(|j| start + j * BLOCK);
                    for (at, cell) in places.clone().zip(cells) {
                        // SAFETY: the cell is inside the plane, and no other job writes this square of this panel.
                        unsafe { self.pass.finish.store(s, at, s.add(cell, bias)) };
                    }
                    // SAFETY: as above.
                    unsafe { self.pass.finish.settle(places) };
                }
            }
        }
    }
}
