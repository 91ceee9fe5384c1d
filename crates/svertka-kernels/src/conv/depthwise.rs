//! Depthwise convolution, forward and input gradient: each vector of channels meets its own taps.
//!
//! A written row is cut into tiles of up to eight vectors of neighbouring cells, whose hot loop is `depthwise_tile.rs`. A vector is one cell; where registers hold
//! sixteen floats and the cells that are read lie side by side, it is two. Rows that reach the same kernel rows are a class; within a row, cells with the same phase of
//! stride and dilation are a line (`windows.rs`).
//!
//! Sums run over kernel rows and then the taps of a row, in one order for every cell. Kernel rows on padding are left out, cells of a row on padding are zeros.

use std::ops::Range;

use super::depthwise_tile::{KernelRow, Step, VECTORS, steps_of_row, sums};
use super::side::Side;
use super::tile::{each_row, pieces, with_rows};
use super::windows::{self, Class, Line};
use crate::cpu::{Cpu, WithSimd};
use crate::epilogue::{Epilogue, Finish};
use crate::geometry::ConvGeometry;
use crate::layout::BLOCK;
use crate::simd::{LANES, Lanes, Simd};
use crate::threads::{SharedMut, job_goal, share};

/// Rows of a range, so that few of those that two ranges read are read twice.
const BAND: usize = 7;

/// The plan of one pass. Offsets are in elements.
#[derive(Debug)]
pub(crate) struct Depthwise {
    batch: usize,
    read: Side,
    write: Side,
    /// Kernel rows, and taps of a row.
    kernel: [usize; 2],
    /// Taps of a row that are reached, in the order in which lines have them.
    taps: Vec<usize>,
    /// Row-major, in a block of one image.
    rows: Vec<Row>,
    /// The tiles of a row with one cell to a vector, and with two where that can be.
    tiles: [Vec<Tile>; 2],
    write_step: usize,
    /// Jobs are ranges of images, times ranges of the tiles of all rows, times ranges of blocks.
    image_sets: usize,
    chunks: usize,
    block_sets: usize,
}

#[derive(Debug)]
struct Row {
    write: usize,
    kernel_rows: Vec<KernelRow>,
}

/// Neighbouring cells of a line.
#[derive(Debug)]
struct Tile {
    write: usize,
    cells: usize,
    vectors: usize,
    steps: Vec<Step>,
}

impl Depthwise {
    pub(crate) fn forward(g: &ConvGeometry) -> Self {
        let rows = windows::forward(&windows::of_rows(g));
        Self::new(g, g.input, g.output, &rows, &windows::forward_lines(g))
    }

    pub(crate) fn input_gradient(g: &ConvGeometry) -> Self {
        let rows = windows::input_gradient(&windows::of_rows(g));
        Self::new(g, g.output, g.input, &rows, &windows::input_gradient_lines(g))
    }

    fn new(g: &ConvGeometry, read: [usize; 3], write: [usize; 3], classes: &[Class], lines: &[Line]) -> Self {
        let side =
            |size: [usize; 3]| Side { channels: g.in_channels, cells: size.iter().product(), lanes: BLOCK };
        // Lines have the same taps, or none in common.
        let mut taps: Vec<usize> = vec![];
        for line in lines.iter().filter(|line| !line.taps.is_empty()) {
            if !taps.contains(&line.taps[0]) {
                taps.extend(&line.taps);
            }
        }
        let [depth, height, width] = g.window.kernel;
        let mut plan = Self {
            batch: g.batch,
            read: side(read),
            write: side(write),
            kernel: [depth * height, width],
            rows: rows(classes, read[2], write[2], taps.len()),
            tiles: [tiles(lines, &taps, 1), vec![]],
            write_step: lines.first().map_or(1, |line| line.write_step),
            taps,
            image_sets: 1,
            chunks: 1,
            block_sets: 1,
        };
        if lines.iter().all(|line| (line.stride, line.read_step) == (1, 1)) {
            plan.tiles[1] = tiles(lines, &plan.taps, 2);
        }
        // A product counts as much as four of the dense tile's: much of the time goes to loads and stores.
        let goal = job_goal(g.macs() * 4).next_power_of_two();
        plan.image_sets = goal.min(plan.batch).max(1);
        let rest = goal.div_ceil(plan.image_sets);
        // As the pointwise layers around are cut, see `Direct`: by rows, unless their weights are more than what they read and write. Of a layer that
        // makes six channels of one and back, that is so from about seven channels a cell on.
        let bands = if g.in_channels <= 7 * plan.write.cells { plan.rows.len() / BAND } else { 1 };
        plan.block_sets = rest.div_ceil(bands.clamp(1, rest)).min(plan.write.blocks()).max(1);
        plan.chunks = rest.div_ceil(plan.block_sets).min((plan.rows.len() * plan.tiles[0].len()).max(1));
        plan
    }

    pub(crate) fn packed_len(&self) -> usize {
        self.write.blocks() * self.block_len()
    }

    /// Weights of a block.
    fn block_len(&self) -> usize {
        self.kernel[0] * self.taps.len() * BLOCK
    }

    /// Packs `weight`, in which the taps of channel `c` start at `start(c, c)`, to block x kernel row x tap x lane.
    pub(crate) fn pack(&self, weight: &[f32], packed: &mut [f32], start: impl Fn(usize, usize) -> usize) {
        packed.fill(0.0);
        if self.taps.is_empty() {
            return;
        }
        let [rows, width] = self.kernel;
        for channel in 0..self.write.channels {
            let weight = &weight[start(channel, channel)..][..rows * width];
            let in_order = weight.chunks_exact(width).flat_map(|row| self.taps.iter().map(|&tap| row[tap]));
            let packed = packed[channel / BLOCK * self.block_len() + channel % BLOCK..].iter_mut();
            packed.step_by(BLOCK).zip(in_order).for_each(|(packed, weight)| *packed = weight);
        }
    }

    pub(crate) fn run(&self, cpu: &Cpu, x: &[f32], packed: &[f32], epilogue: &Epilogue<'_>, y: &mut [f32]) {
        assert_eq!(x.len(), self.batch * self.read.image_len(), "elements that the pass reads");
        assert_eq!(y.len(), self.batch * self.write.image_len(), "elements that the pass writes");
        assert_eq!(packed.len(), self.packed_len(), "packed weight");
        let finish = epilogue.finish(cpu.isa, self.write.channels, SharedMut::new(y));
        cpu.threads.run(self.image_sets * self.chunks * self.block_sets, |job, _| {
            let (chunk, set) = (job / self.block_sets, job % self.block_sets);
            let images = share(self.batch, self.image_sets, chunk / self.chunks);
            let blocks = share(self.write.blocks(), self.block_sets, set);
            cpu.isa.dispatch(Job {
                plan: self,
                x,
                packed,
                finish,
                images,
                blocks,
                chunk: chunk % self.chunks,
            });
        });
    }

    /// The rows that have some of the tiles of a chunk, and these.
    #[inline(always)]
    fn rows<'a>(&'a self, tiles: &'a [Tile], chunk: usize) -> impl Iterator<Item = (&'a Row, &'a [Tile])> {
        let in_row = tiles.len().max(1);
        let range = share(self.rows.len() * tiles.len(), self.chunks, chunk);
        (range.start / in_row..range.end.div_ceil(in_row)).map(move |number| {
            let first = number * in_row;
            let of_row = range.start.saturating_sub(first)..(range.end - first).min(in_row);
            (&self.rows[number], &tiles[of_row])
        })
    }
}

/// The written rows; a kernel row has `taps` taps.
fn rows(classes: &[Class], read_width: usize, write_width: usize, taps: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![];
    for Class { taps: kernel_rows, cells } in classes {
        rows.extend(cells.iter().map(|cell| {
            Row {
                write: cell.write * write_width * BLOCK,
                kernel_rows: kernel_rows
                    .iter()
                    .map(|row| KernelRow {
                        x: (cell.read + row.read) * read_width * BLOCK,
                        weight: row.index * taps * BLOCK,
                    })
                    .collect(),
            }
        }));
    }
    rows.sort_by_key(|row| row.write);
    rows
}

/// The tiles of a row, with `width` cells to a vector; `taps` is their order.
fn tiles(lines: &[Line], taps: &[usize], width: usize) -> Vec<Tile> {
    let mut tiles = vec![];
    for line in lines {
        let first_tap = taps.iter().position(|tap| line.taps.first() == Some(tap)).unwrap_or(0);
        for vectors in pieces(line.count.div_ceil(width), VECTORS) {
            let first = vectors.start * width;
            let cells = line.count.min(vectors.end * width) - first;
            tiles.push(Tile {
                write: (line.write + first * line.write_step) * BLOCK,
                cells,
                vectors: vectors.len(),
                steps: steps_of_row(line, first, cells, width, first_tap),
            });
        }
    }
    tiles
}

/// Some tiles of some blocks of some images.
struct Job<'a> {
    plan: &'a Depthwise,
    x: &'a [f32],
    packed: &'a [f32],
    finish: Finish<'a>,
    images: Range<usize>,
    blocks: Range<usize>,
    chunk: usize,
}

impl WithSimd for Job<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let [single, double] = &self.plan.tiles;
        if const { <S::Wide as Lanes>::WIDTH == LANES } {
            self.blocks(s, s, single);
        } else if double.is_empty() {
            self.blocks(s, s, single);
        } else {
            self.blocks(s, S::Wide::from(s), double);
        }
    }
}

impl Job<'_> {
    #[inline(always)]
    fn blocks<S: Simd, L: Lanes>(&self, s: S, l: L, tiles: &[Tile]) {
        let Self { plan, finish, .. } = self;
        for image in self.images.clone() {
            for block in self.blocks.clone() {
                let x = (image * plan.read.blocks() + block) * plan.read.cells * BLOCK;
                let x = self.x.as_ptr().wrapping_add(x);
                let weight = self.packed.as_ptr().wrapping_add(block * plan.block_len());
                let start = s.to_array(finish.start(s, block));
                // SAFETY: the array has eight floats.
                let start = unsafe { l.repeat(start.as_ptr()) };
                let y = (image * plan.write.blocks() + block) * plan.write.cells * BLOCK;
                for (row, tiles) in plan.rows(tiles, self.chunk) {
                    for tile in tiles {
                        with_rows!(tile.vectors, VECTORS in [1 2 3 4 5 6 7 8] => {
                            // SAFETY: `run` has checked the lengths that the tables were made for; no other job writes these cells.
                            unsafe {
                                let sums = sums::<L, VECTORS>(l, start, x, weight, &row.kernel_rows, &tile.steps);
                                self.store(s, l, sums, y + row.write + tile.write, tile.cells);
                            }
                        });
                    }
                    let step = plan.write_step * BLOCK;
                    let cells = |tile: &Tile| {
                        let first = y + row.write + tile.write;
                        (0..tile.cells).map(move |cell| first + cell * step)
                    };
                    // SAFETY: the cells that have just been written.
                    unsafe { finish.settle(tiles.iter().flat_map(cells)) };
                }
            }
        }
    }

    /// Finishes and stores the sums of `cells` cells, the first at `at`.
    ///
    /// # Safety
    /// As for [`Finish::store`].
    #[inline(always)]
    unsafe fn store<S: Simd, L: Lanes, const VECTORS: usize>(
        &self,
        s: S,
        l: L,
        sums: [L::V; VECTORS],
        at: usize,
        cells: usize,
    ) {
        let width = const { L::WIDTH / BLOCK };
        let step = self.plan.write_step * BLOCK;
        each_row!(VECTORS, V => {
            // SAFETY: the caller's promise.
            unsafe {
                if width == 1 || step == BLOCK && (V + 1) * width <= cells {
                    self.finish.store(l, at + V * width * step, sums[V]);
                } else {
                    let mut parts = [0.0; 2 * BLOCK];
                    l.store(parts.as_mut_ptr(), sums[V]);
                    for cell in V * width..cells.min((V + 1) * width) {
                        let part = s.from_slice(&parts[(cell - V * width) * BLOCK..]);
                        self.finish.store(s, at + cell * step, part);
                    }
                }
            }
        });
    }
}
