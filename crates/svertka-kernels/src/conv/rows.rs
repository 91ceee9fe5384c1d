//! Convolution by rows of cells, for channels that mix with few others: depthwise layers and small groups, forward and input gradient.
//!
//! A written row is cut into tiles of up to eight vectors of neighbouring cells, whose hot loop is `row_tile.rs`. A vector is one cell; where registers hold
//! sixteen floats and the cells that are read lie side by side, it is two. Rows that reach the same kernel rows are a class; within a row, cells with the same phase of
//! stride and dilation are a line (`windows.rs`).
//!
//! Sums run over blocks of read channels, kernel rows, channels of the block and taps of the row, in one order for every cell. Kernel rows on padding are left out, cells of a row on padding are zeros.

use std::marker::PhantomData;
use std::ops::Range;

use super::row_tile::{All, Group, KernelRow, Own, Read, Step, VECTORS, lanes_of, steps_of_row, sums};
use super::side::Side;
use super::tile::{each_row, pieces, with_rows};
use super::windows::{self, Class, Line, Tap};
use crate::cpu::{Cpu, WithSimd};
use crate::epilogue::{Epilogue, Finish};
use crate::geometry::ConvGeometry;
use crate::layout::BLOCK;
use crate::simd::{LANES, Lanes, Simd};
use crate::threads::{SharedMut, job_goal, share};

/// Rows of a range, so that few of those that two ranges read are read twice.
const BAND: usize = 7;

/// What the lanes of a written block are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factors {
    /// Each with its own channel.
    Own,
    /// All lanes of a group of 2 or 4 with one channel of the group after the other.
    Group,
    /// All with one channel after the other.
    All,
}

/// The plan of one pass. Offsets are in elements.
#[derive(Debug)]
pub(crate) struct Rows {
    batch: usize,
    factors: Factors,
    read: Side,
    write: Side,
    /// Channels that a lane is multiplied with, and written channels that have these in common.
    group_read: usize,
    group_write: usize,
    /// Kernel rows, and taps of a row.
    kernel: [usize; 2],
    /// Taps of a row that are reached, in the order in which lines have them.
    taps: Vec<usize>,
    /// Row-major, in a block of one image.
    rows: Vec<Row>,
    /// For each class of rows, what its sums run over.
    classes: Vec<Vec<KernelRow>>,
    /// The tiles of a row with one cell to a vector, and with two where that can be.
    tiles: [Vec<Tile>; 2],
    steps: Vec<Step>,
    write_step: usize,
    /// Jobs are ranges of images, times ranges of the tiles of all rows, times ranges of blocks.
    image_sets: usize,
    chunks: usize,
    block_sets: usize,
}

#[derive(Debug)]
struct Row {
    class: usize,
    write: usize,
    read: usize,
}

/// Neighbouring cells of a line.
#[derive(Debug)]
struct Tile {
    write: usize,
    /// Where the first cell meets the first tap of a row, which may be padding.
    read: isize,
    cells: usize,
    vectors: usize,
    steps: Range<usize>,
}

impl Rows {
    pub(crate) fn forward(g: &ConvGeometry, factors: Factors) -> Self {
        let read = Side { channels: g.in_channels, cells: g.input.iter().product(), lanes: BLOCK };
        let write = Side { channels: g.out_channels, cells: g.output.iter().product(), lanes: BLOCK };
        let rows = windows::forward(&windows::of_rows(g));
        Self::new(g, factors, (read, g.input[2]), (write, g.output[2]), &rows, &windows::forward_lines(g))
    }

    pub(crate) fn input_gradient(g: &ConvGeometry, factors: Factors) -> Self {
        let read = Side { channels: g.out_channels, cells: g.output.iter().product(), lanes: BLOCK };
        let write = Side { channels: g.in_channels, cells: g.input.iter().product(), lanes: BLOCK };
        let rows = windows::input_gradient(&windows::of_rows(g));
        let lines = windows::input_gradient_lines(g);
        Self::new(g, factors, (read, g.output[2]), (write, g.input[2]), &rows, &lines)
    }

    fn new(
        g: &ConvGeometry,
        factors: Factors,
        (read, read_width): (Side, usize),
        (write, write_width): (Side, usize),
        of_rows: &[Class],
        lines: &[Line],
    ) -> Self {
        let [depth, height, width] = g.window.kernel;
        let mut plan = Self {
            batch: g.batch,
            factors,
            read,
            write,
            group_read: read.channels / g.groups,
            group_write: write.channels / g.groups,
            kernel: [depth * height, width],
            taps: taps_in_order(lines),
            rows: vec![],
            classes: vec![],
            tiles: [vec![], vec![]],
            steps: vec![],
            write_step: lines.first().map_or(1, |line| line.write_step),
            image_sets: 1,
            chunks: 1,
            block_sets: 1,
        };
        for (class, Class { taps, cells }) in of_rows.iter().enumerate() {
            plan.rows.extend(cells.iter().map(|cell| Row {
                class,
                write: cell.write * write_width * BLOCK,
                read: cell.read * read_width * BLOCK,
            }));
            plan.classes.push(plan.kernel_rows(taps, read_width));
        }
        plan.rows.sort_by_key(|row| row.write);
        plan.tiles[0] = plan.tiles(lines, 1);
        // Cells of a pair are read and written side by side; a channel for all lanes is not a pair's.
        if factors != Factors::All && lines.iter().all(|line| (line.stride, line.read_step) == (1, 1)) {
            plan.tiles[1] = plan.tiles(lines, 2);
        }
        // A product counts as much as four of the dense tile's: much of the time goes to loads and stores.
        let goal = job_goal(g.macs() * 4).next_power_of_two();
        plan.image_sets = goal.min(plan.batch).max(1);
        let rest = goal.div_ceil(plan.image_sets);
        // As the pointwise layers around are cut, see `Direct`: by rows, unless their weights are more than what they read and write. Of a layer that
        // makes six channels of one and back, that is so from about seven channels a cell on.
        let bands = if write.channels <= 7 * write.cells { plan.rows.len() / BAND } else { 1 };
        plan.block_sets = rest.div_ceil(bands.clamp(1, rest)).min(write.blocks()).max(1);
        plan.chunks = rest.div_ceil(plan.block_sets).min((plan.rows.len() * plan.tiles[0].len()).max(1));
        plan
    }

    /// What the sums of rows run over that reach the kernel rows `taps`.
    fn kernel_rows(&self, taps: &[Tap], read_width: usize) -> Vec<KernelRow> {
        let row_len = self.taps.len() * BLOCK;
        let mut all = vec![];
        for block in 0..self.group_read.div_ceil(BLOCK) {
            for row in taps {
                for channel in block * BLOCK..self.group_read.min((block + 1) * BLOCK) {
                    let of_channel = match self.factors {
                        Factors::All => block * self.read.cells * BLOCK + channel % BLOCK,
                        Factors::Own | Factors::Group => 0,
                    };
                    all.push(KernelRow {
                        x: row.read * read_width * BLOCK + of_channel,
                        weight: (channel * self.kernel[0] + row.index) * row_len,
                        from: lanes_of(self.group_write, channel),
                    });
                }
            }
        }
        all
    }

    /// The tiles of a row, with `width` cells to a vector.
    fn tiles(&mut self, lines: &[Line], width: usize) -> Vec<Tile> {
        let mut tiles: Vec<Tile> = vec![];
        for line in lines {
            let first_tap = self.taps.iter().position(|tap| line.taps.first() == Some(tap)).unwrap_or(0);
            for vectors in pieces(line.count.div_ceil(width), VECTORS) {
                let first = vectors.start * width;
                let cells = line.count.min(vectors.end * width) - first;
                let steps = steps_of_row(line, first, cells, width, first_tap);
                // Those inside of the picture have the same steps.
                let same = tiles.iter().rev().find(|tile| self.steps[tile.steps.clone()] == steps);
                let range =
                    same.map_or(self.steps.len()..self.steps.len() + steps.len(), |tile| tile.steps.clone());
                if same.is_none() {
                    self.steps.extend(steps);
                }
                tiles.push(Tile {
                    write: (line.write + first * line.write_step) * BLOCK,
                    read: (line.read + (first * line.stride * line.read_step) as isize) * BLOCK as isize,
                    cells,
                    vectors: vectors.len(),
                    steps: range,
                });
            }
        }
        tiles
    }

    pub(crate) fn packed_len(&self) -> usize {
        self.write.blocks() * self.block_len()
    }

    /// Weights of a block.
    fn block_len(&self) -> usize {
        self.group_read * self.kernel[0] * self.taps.len() * BLOCK
    }

    /// Packs `weight`, in which the taps of written channel `w` and read channel `r` of its group start at `start(w, r)`, to block x read channel of the
    /// group x kernel row x tap x lane.
    pub(crate) fn pack(&self, weight: &[f32], packed: &mut [f32], start: impl Fn(usize, usize) -> usize) {
        packed.fill(0.0);
        if self.taps.is_empty() {
            return;
        }
        let [rows, width] = self.kernel;
        for written in 0..self.write.channels {
            for channel in 0..self.group_read {
                let read = written / self.group_write * self.group_read + channel;
                let weight = &weight[start(written, read)..][..rows * width];
                let in_order =
                    weight.chunks_exact(width).flat_map(|row| self.taps.iter().map(|&tap| row[tap]));
                let before = written / BLOCK * self.group_read + channel;
                let at = before * rows * self.taps.len() * BLOCK + written % BLOCK;
                packed[at..]
                    .iter_mut()
                    .step_by(BLOCK)
                    .zip(in_order)
                    .for_each(|(packed, weight)| *packed = weight);
            }
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
            let job = Job { plan: self, x, packed, finish, images, blocks, chunk: chunk % self.chunks };
            match self.factors {
                Factors::Own => cpu.isa.dispatch(By::<Own>(job, PhantomData)),
                Factors::Group => cpu.isa.dispatch(By::<Group>(job, PhantomData)),
                Factors::All => cpu.isa.dispatch(By::<All>(job, PhantomData)),
            }
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

/// The taps of a kernel row in the order in which lines have them. Lines have the same taps, or none in common.
fn taps_in_order(lines: &[Line]) -> Vec<usize> {
    let mut taps = vec![];
    for line in lines {
        if line.taps.first().is_some_and(|tap| !taps.contains(tap)) {
            taps.extend(&line.taps);
        }
    }
    taps
}

/// Some tiles of some blocks of some images.
struct Job<'a> {
    plan: &'a Rows,
    x: &'a [f32],
    packed: &'a [f32],
    finish: Finish<'a>,
    images: Range<usize>,
    blocks: Range<usize>,
    chunk: usize,
}

/// A job with its factors as a type, so that each way to read is compiled by itself.
struct By<'a, R>(Job<'a>, PhantomData<R>);

impl<R: Read> WithSimd for By<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let [single, double] = &self.0.plan.tiles;
        if const { <S::Wide as Lanes>::WIDTH == LANES || !R::PAIRS } || double.is_empty() {
            self.0.blocks::<S, S, R>(s, s, single);
        } else if const { <S::Wide as Lanes>::WIDTH > LANES && R::PAIRS } {
            self.0.blocks::<S, S::Wide, R>(s, S::Wide::from(s), double);
        }
    }
}

impl Job<'_> {
    #[inline(always)]
    fn blocks<S: Simd, L: Lanes, R: Read>(&self, s: S, l: L, tiles: &[Tile]) {
        let Self { plan, finish, .. } = self;
        for image in self.images.clone() {
            for block in self.blocks.clone() {
                let read = block * BLOCK / plan.group_write * plan.group_read / BLOCK;
                let x = (image * plan.read.blocks() + read) * plan.read.cells * BLOCK;
                let x = self.x.as_ptr().wrapping_add(x);
                let weight = self.packed.as_ptr().wrapping_add(block * plan.block_len());
                let start = s.to_array(finish.start(s, block));
                // SAFETY: the array has eight floats.
                let start = unsafe { l.repeat(start.as_ptr()) };
                let y = (image * plan.write.blocks() + block) * plan.write.cells * BLOCK;
                for (row, tiles) in plan.rows(tiles, self.chunk) {
                    let (x, kernel_rows) = (x.wrapping_add(row.read), &plan.classes[row.class]);
                    for tile in tiles {
                        let (x, steps) = (x.wrapping_offset(tile.read), &plan.steps[tile.steps.clone()]);
                        with_rows!(tile.vectors, VECTORS in [1 2 3 4 5 6 7 8] => {
                            // SAFETY: `run` has checked the lengths that the tables were made for; no other job writes these cells.
                            unsafe {
                                let sums = sums::<L, R, VECTORS>(l, start, x, weight, kernel_rows, steps);
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
