//! Convolution by rows of cells, for channels of small groups: forward and input gradient.
//!
//! A written row is cut into tiles of up to eight cells side by side, whose hot loop is `row_tile.rs`. Rows that reach the same kernel rows are a
//! class; within a row, cells with the same phase of stride and dilation are a line (`windows.rs`).
//!
//! Sums run over blocks of read channels, kernel rows, channels of the block and taps of the row, in one order for every cell.

use std::marker::PhantomData;
use std::ops::Range;

use super::row_tile::{All, Group, Read, Step, steps_of_row, sums};
use super::side::Side;
use super::tile::{pieces, with_rows};
use super::windows::{self, Class, Line, Tap};
use crate::cpu::{Cpu, WithSimd};
use crate::epilogue::{Epilogue, Finish};
use crate::geometry::ConvGeometry;
use crate::layout::BLOCK;
use crate::simd::Simd;
use crate::threads::{SharedMut, job_goal, share};

/// Cells of the largest tile: as many sums as the FMA units have in flight. They, three taps, a read vector and its permutation are 13 of 16 registers.
const CELLS: usize = 8;

/// Rows of a range, so that few of those that two ranges read are read twice.
const BAND: usize = 7;

/// What the lanes of a written block are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factors {
    /// All lanes of a group of 2 or 4 with one channel of the group after the other.
    Group,
    /// All with one channel after the other.
    All,
}

/// The plan of one pass. Offsets are in elements.
#[derive(Debug)]
pub(crate) struct Rows {
    batch: usize,
    taps: usize,
    factors: Factors,
    read: Side,
    write: Side,
    /// Channels that a lane is multiplied with, and written channels that have these in common.
    group_read: usize,
    group_write: usize,
    /// Row-major, in a block of one image.
    rows: Vec<Row>,
    /// For each class of rows, the pieces of a row. All classes have as many.
    classes: Vec<Vec<Piece>>,
    steps: Vec<Step>,
    /// Jobs are ranges of images, times ranges of the pieces of all rows, times ranges of written blocks.
    image_sets: usize,
    chunks: usize,
    block_sets: usize,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    class: usize,
    write: usize,
    read: usize,
}

/// Neighbours of a line that make a tile.
#[derive(Debug)]
struct Piece {
    write: usize,
    write_step: usize,
    count: usize,
    read: isize,
    steps: Range<usize>,
    /// Whether all steps are [`Step::beside`].
    beside: bool,
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
        Self::new(
            g,
            factors,
            (read, g.output[2]),
            (write, g.input[2]),
            &rows,
            &windows::input_gradient_lines(g),
        )
    }

    fn new(
        g: &ConvGeometry,
        factors: Factors,
        (read, read_width): (Side, usize),
        (write, write_width): (Side, usize),
        of_rows: &[Class],
        lines: &[Line],
    ) -> Self {
        let mut rows = vec![];
        for (class, Class { cells, .. }) in of_rows.iter().enumerate() {
            rows.extend(cells.iter().map(|cell| Row {
                class,
                write: cell.write * write_width * BLOCK,
                read: cell.read * read_width * BLOCK,
            }));
        }
        rows.sort_by_key(|row| row.write);
        let mut plan = Self {
            batch: g.batch,
            taps: g.window.kernel.iter().product(),
            factors,
            read,
            write,
            group_read: read.channels / g.groups,
            group_write: write.channels / g.groups,
            rows,
            classes: vec![],
            steps: vec![],
            image_sets: 0,
            chunks: 0,
            block_sets: 0,
        };
        for class in of_rows {
            let pieces = plan.pieces(&class.taps, lines, read_width, g.window.kernel[2]);
            plan.classes.push(pieces);
        }
        // A product counts as much as four of the dense tile's: much of the time goes to loads and stores.
        let goal = job_goal(g.macs() * 4).next_power_of_two();
        plan.image_sets = goal.min(plan.batch).max(1);
        let rest = goal.div_ceil(plan.image_sets);
        // As the pointwise layers around are cut, see `Direct`: by rows, unless their weights are more than what they read and write. Of a layer that
        // makes six channels of one and back, that is so from about seven channels a cell on.
        let bands = if write.channels <= 7 * write.cells { plan.rows.len() / BAND } else { 1 };
        plan.block_sets = rest.div_ceil(bands.clamp(1, rest)).min(write.blocks()).max(1);
        plan.chunks = rest.div_ceil(plan.block_sets).min(plan.tiles().max(1));
        plan
    }

    /// Tiles of a block of one image.
    fn tiles(&self) -> usize {
        self.rows.len() * self.classes.first().map_or(0, Vec::len)
    }

    /// The pieces of a row that reaches `kernel_rows`.
    fn pieces(
        &mut self,
        kernel_rows: &[Tap],
        lines: &[Line],
        read_width: usize,
        kernel_width: usize,
    ) -> Vec<Piece> {
        let mut all: Vec<Piece> = vec![];
        let group = self.group_write;
        for line in lines {
            for cells in pieces(line.count, CELLS) {
                let start = self.steps.len();
                for block in 0..self.group_read.div_ceil(BLOCK) {
                    for row in kernel_rows {
                        for channel in block * BLOCK..self.group_read.min((block + 1) * BLOCK) {
                            let a = match self.factors {
                                Factors::All => block * self.read.cells * BLOCK + channel % BLOCK,
                                Factors::Group => 0,
                            } + row.read * read_width * BLOCK;
                            let b = (channel * self.taps + row.index * kernel_width) * BLOCK;
                            self.steps.extend(steps_of_row(line, &cells).into_iter().map(|step| Step {
                                a: step.a + a,
                                b: step.b + b,
                                from: std::array::from_fn(|lane| (lane / group * group + channel) as i32 % 4),
                                ..step
                            }));
                        }
                    }
                }
                let mut steps = start..self.steps.len();
                // Pieces inside of the picture have the same steps.
                if let Some(same) =
                    all.iter().find(|p| self.steps[p.steps.clone()] == self.steps[steps.clone()])
                {
                    self.steps.truncate(start);
                    steps = same.steps.clone();
                }
                all.push(Piece {
                    beside: self.steps[steps.clone()].iter().all(Step::beside),
                    write: (line.write + cells.start * line.write_step) * BLOCK,
                    write_step: line.write_step * BLOCK,
                    count: cells.len(),
                    read: (line.read + (cells.start * line.stride * line.read_step) as isize)
                        * BLOCK as isize,
                    steps,
                });
            }
        }
        all
    }

    pub(crate) fn packed_len(&self) -> usize {
        self.write.blocks() * self.group_read * self.taps * BLOCK
    }

    /// Packs `weight`, in which the taps of written channel `w` and read channel `r` of its group start at `start(w, r)`, to block x read
    /// channel of the group x tap x lane.
    pub(crate) fn pack(&self, weight: &[f32], packed: &mut [f32], start: impl Fn(usize, usize) -> usize) {
        packed.fill(0.0);
        for written in 0..self.write.channels {
            for channel in 0..self.group_read {
                let read = written / self.group_write * self.group_read + channel;
                let weight = &weight[start(written, read)..][..self.taps];
                let at = (written / BLOCK * self.group_read + channel) * self.taps * BLOCK + written % BLOCK;
                for (packed, &weight) in packed[at..].iter_mut().step_by(BLOCK).zip(weight) {
                    *packed = weight;
                }
            }
        }
    }

    pub(crate) fn run(&self, cpu: &Cpu, x: &[f32], packed: &[f32], epilogue: &Epilogue<'_>, y: &mut [f32]) {
        assert_eq!(x.len(), self.batch * self.read.image_len(), "elements that the pass reads");
        assert_eq!(y.len(), self.batch * self.write.image_len(), "elements that the pass writes");
        assert_eq!(packed.len(), self.packed_len(), "packed weight");
        let finish = epilogue.finish(cpu.isa, self.write.channels, SharedMut::new(y));
        let blocks = self.write.blocks();
        cpu.threads.run(self.image_sets * self.chunks * self.block_sets, |job, _| {
            let (band, set) = (job / self.block_sets, job % self.block_sets);
            let tiles = share(self.tiles(), self.chunks, band % self.chunks);
            let images = share(self.batch, self.image_sets, band / self.chunks);
            let of_image =
                |image| share(blocks, self.block_sets, set).map(move |block| image * blocks + block);
            for unit in images.flat_map(of_image) {
                let band = Band { plan: self, x, packed, finish, unit, tiles: tiles.clone() };
                match self.factors {
                    Factors::Group => cpu.isa.dispatch(By::<Group>(band, PhantomData)),
                    Factors::All => cpu.isa.dispatch(By::<All>(band, PhantomData)),
                }
            }
        });
    }

    /// The rows that have some of the `tiles`, and these.
    #[inline(always)]
    fn rows(&self, tiles: Range<usize>) -> impl Iterator<Item = (&Row, &[Piece])> {
        let in_row = self.classes.first().map_or(1, Vec::len);
        (tiles.start / in_row..tiles.end.div_ceil(in_row)).map(move |number| {
            let (row, first) = (&self.rows[number], number * in_row);
            let pieces = tiles.start.saturating_sub(first)..(tiles.end - first).min(in_row);
            (row, &self.classes[row.class][pieces])
        })
    }
}

/// Some tiles of a written block of an image.
struct Band<'a> {
    plan: &'a Rows,
    x: &'a [f32],
    packed: &'a [f32],
    finish: Finish<'a>,
    unit: usize,
    tiles: Range<usize>,
}

/// A band with its factors as a type, so that each way to read is compiled by itself.
struct By<'a, R>(Band<'a>, PhantomData<R>);

impl<R: Read> WithSimd for By<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Band { plan, x, packed, finish, unit, tiles } = self.0;
        let (image, block) = (unit / plan.write.blocks(), unit % plan.write.blocks());
        let read = image * plan.read.blocks() + block * BLOCK / plan.group_write * plan.group_read / BLOCK;
        let x = x.as_ptr().wrapping_add(read * plan.read.cells * BLOCK);
        let weight = packed.as_ptr().wrapping_add(block * plan.group_read * plan.taps * BLOCK);
        let start = finish.start(s, block);
        for (row, pieces) in plan.rows(tiles) {
            let y = unit * plan.write.cells * BLOCK + row.write;
            for piece in pieces {
                let x = x.wrapping_add(row.read).wrapping_offset(piece.read);
                let steps = &plan.steps[piece.steps.clone()];
                // Copies, which no store can change.
                let (mut place, step) = (y + piece.write, piece.write_step);
                with_rows!(piece.count, CELLS in [1 2 3 4 5 6 7 8] => {
                    // SAFETY: `run` has checked the lengths that the tables were made for; no other job writes these cells.
                    unsafe {
                        let sums = if piece.beside {
                            sums::<S, R, CELLS, true>(s, start, x, weight, steps)
                        } else {
                            sums::<S, R, CELLS, false>(s, start, x, weight, steps)
                        };
                        for sum in sums {
                            finish.store(s, place, sum);
                            place += step;
                        }
                    }
                });
            }
            let cells = |piece: &Piece| {
                let (first, step) = (y + piece.write, piece.write_step);
                (0..piece.count).map(move |cell| first + cell * step)
            };
            // SAFETY: the cells that have just been written.
            unsafe { finish.settle(pieces.iter().flat_map(cells)) };
        }
    }
}
