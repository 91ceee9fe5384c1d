//! Depthwise convolution: each channel has its own filter, so vectors of eight channels multiply lane by lane. Forward and input gradient
//! keep several cells of a block in registers, the weight gradient several taps.

use std::ops::Range;

use super::sweep::{Chunk, Sweep, SweepPart};
use super::tile::{LANE_ROWS, Step, add_cells, lane_tile, lane_tile_of_single_steps, pieces, with_rows};
use super::windows::{Cell, Class, forward, input_gradient, parts_by_class};
use crate::cpu::{Cpu, WithSimd};
use crate::epilogue::{Epilogue, Finish};
use crate::geometry::ConvGeometry;
use crate::layout::{BLOCK, blocked_len, blocks};
use crate::simd::Simd;
use crate::threads::{SharedMut, job_goal, share};

/// Forward pass or input gradient. Tables hold offsets in elements, within one block of one image.
#[derive(Debug)]
pub(crate) struct Depthwise {
    batch: usize,
    channels: usize,
    taps: usize,
    read_cells: usize,
    write_cells: usize,
    steps: Vec<Step>,
    cells: Vec<Cell>,
    tiles: Vec<Tile>,
    /// Jobs are `block_sets` ranges of the blocks of all images, times `chunks` ranges of the tiles.
    block_sets: usize,
    chunks: usize,
}

#[derive(Debug)]
struct Tile {
    steps: Range<usize>,
    cells: Range<usize>,
}

impl Depthwise {
    pub(crate) fn forward(g: &ConvGeometry) -> Self {
        Self::new(g, g.input, g.output, &forward(g))
    }

    pub(crate) fn input_gradient(g: &ConvGeometry) -> Self {
        Self::new(g, g.output, g.input, &input_gradient(g))
    }

    fn new(g: &ConvGeometry, read: [usize; 3], write: [usize; 3], classes: &[Class]) -> Self {
        let (mut steps, mut cells, mut tiles) = (vec![], vec![], vec![]);
        for class in classes {
            let (first_step, first_cell) = (steps.len(), cells.len());
            steps.extend(class.taps.iter().map(|tap| Step {
                a: tap.read * BLOCK,
                b: tap.index * BLOCK,
                k: 1,
            }));
            cells.extend(
                class.cells.iter().map(|cell| Cell { write: cell.write * BLOCK, read: cell.read * BLOCK }),
            );
            tiles.extend(pieces(class.cells.len(), LANE_ROWS).map(|piece| Tile {
                steps: first_step..steps.len(),
                cells: first_cell + piece.start..first_cell + piece.end,
            }));
        }
        let units = g.batch * blocks(g.in_channels);
        // A vector of products counts as much as four of the tile's: loads limit it.
        let goal = job_goal(g.macs() * 4);
        let block_sets = goal.min(units);
        let chunks = goal.div_ceil(block_sets.max(1)).min(tiles.len().max(1));
        Self {
            batch: g.batch,
            channels: g.in_channels,
            taps: g.window.kernel.iter().product(),
            read_cells: read.iter().product(),
            write_cells: write.iter().product(),
            steps,
            cells,
            tiles,
            block_sets,
            chunks,
        }
    }

    pub(crate) fn packed_len(&self) -> usize {
        blocks(self.channels) * self.taps * BLOCK
    }

    /// From channel x tap to block x tap x lane.
    pub(crate) fn pack(&self, weight: &[f32], packed: &mut [f32]) {
        packed.fill(0.0);
        for (channel, weight) in weight.chunks_exact(self.taps).enumerate() {
            let start = channel / BLOCK * self.taps * BLOCK + channel % BLOCK;
            for (packed, &weight) in packed[start..].iter_mut().step_by(BLOCK).zip(weight) {
                *packed = weight;
            }
        }
    }

    pub(crate) fn run(&self, cpu: &Cpu, x: &[f32], packed: &[f32], epilogue: &Epilogue<'_>, y: &mut [f32]) {
        assert_eq!(
            x.len(),
            blocked_len(self.batch, self.channels, self.read_cells),
            "elements that the pass reads"
        );
        assert_eq!(
            y.len(),
            blocked_len(self.batch, self.channels, self.write_cells),
            "elements that the pass writes"
        );
        assert_eq!(packed.len(), self.packed_len(), "packed weight");
        let finish = epilogue.finish(self.channels, SharedMut::new(y));
        cpu.threads.run(self.block_sets * self.chunks, |job, _| {
            cpu.isa.dispatch(Job { plan: self, x, packed, finish, job });
        });
    }
}

struct Job<'a> {
    plan: &'a Depthwise,
    x: &'a [f32],
    packed: &'a [f32],
    finish: Finish<'a>,
    job: usize,
}

impl WithSimd for Job<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let plan = self.plan;
        let tiles = &plan.tiles[share(plan.tiles.len(), plan.chunks, self.job % plan.chunks)];
        let units = plan.batch * blocks(plan.channels);
        for unit in share(units, plan.block_sets, self.job / plan.chunks) {
            let block = unit % blocks(plan.channels);
            let bias = self.finish.start(s, block);
            for tile in tiles {
                let (steps, cells) = (&plan.steps[tile.steps.clone()], &plan.cells[tile.cells.clone()]);
                with_rows!(cells.len(), MR in [1 2 3 4 5 6 7 8 9] => {
                    // SAFETY: `run` has checked the lengths that the tables were made for; no other job writes these cells.
                    unsafe { self.tile::<S, MR>(s, unit, block, bias, steps, cells) }
                });
            }
        }
    }
}

impl Job<'_> {
    /// # Safety
    /// The slices have the lengths that the tables were made for; no other thread writes these cells.
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize>(
        &self,
        s: S,
        unit: usize,
        block: usize,
        bias: S::V,
        steps: &[Step],
        cells: &[Cell],
    ) {
        let plan = self.plan;
        let x = self.x.as_ptr().wrapping_add(unit * plan.read_cells * BLOCK);
        let weight = self.packed.as_ptr().wrapping_add(block * plan.taps * BLOCK);
        let mut acc = [bias; MR];
        // SAFETY: the caller's promise.
        unsafe {
            let a = std::array::from_fn(|i| x.wrapping_add(cells[i].read));
            lane_tile_of_single_steps(s, &mut acc, a, weight, steps);
            for (acc, cell) in acc.iter().zip(cells) {
                self.finish.store(s, unit * plan.write_cells * BLOCK + cell.write, *acc);
            }
            self.finish.settle(s, cells.iter().map(|cell| unit * plan.write_cells * BLOCK + cell.write));
        }
    }
}

/// Weight gradient: a job is a block of channels.
#[derive(Debug)]
pub(crate) struct DepthwiseWeightGradient {
    geometry: ConvGeometry,
    taps: usize,
    sweep: Sweep,
}

impl DepthwiseWeightGradient {
    pub(crate) fn new(geometry: &ConvGeometry) -> Self {
        let sweep = Sweep::new(geometry, parts_by_class(geometry), blocks(geometry.in_channels), BLOCK);
        Self { geometry: *geometry, taps: geometry.window.kernel.iter().product(), sweep }
    }

    /// Jobs, and sums of one: a vector for each tap and one for the bias.
    fn sizes(&self) -> (usize, usize) {
        (blocks(self.geometry.in_channels), (self.taps + 1) * BLOCK)
    }

    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        let (jobs, sums) = self.sizes();
        self.sweep.scratch_len(threads, jobs, sums)
    }

    pub(crate) fn run(
        &self,
        cpu: &Cpu,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        db: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) {
        let g = &self.geometry;
        assert_eq!(x.len(), blocked_len(g.batch, g.in_channels, g.input.iter().product()), "x");
        assert_eq!(dy.len(), blocked_len(g.batch, g.in_channels, g.output.iter().product()), "dy");
        assert_eq!(dw.len(), g.weight_len(), "dw");
        assert!(db.as_ref().is_none_or(|db| db.len() == g.out_channels), "db");
        let dw = SharedMut::new(dw);
        let db = db.map(SharedMut::new);
        self.sweep.run(
            cpu,
            scratch,
            self.sizes(),
            |block, chunks, sums| cpu.isa.dispatch(Add { plan: self, x, dy, block, chunks, sums }),
            |block, sums| {
                let lanes = BLOCK.min(g.in_channels - block * BLOCK);
                // SAFETY: job `block` alone has the channels of its block.
                let dw = unsafe { dw.slice(block * BLOCK * self.taps, lanes * self.taps) };
                for (lane, dw) in dw.chunks_exact_mut(self.taps).enumerate() {
                    dw.iter_mut().zip(sums.chunks_exact(BLOCK)).for_each(|(dw, sums)| *dw = sums[lane]);
                }
                if let Some(db) = &db {
                    // SAFETY: as above.
                    let db = unsafe { db.slice(block * BLOCK, lanes) };
                    db.copy_from_slice(&sums[self.taps * BLOCK..][..lanes]);
                }
            },
        );
    }
}

/// Adds chunks to the sums of one block.
struct Add<'a> {
    plan: &'a DepthwiseWeightGradient,
    x: &'a [f32],
    dy: &'a [f32],
    block: usize,
    chunks: &'a mut dyn Iterator<Item = Chunk>,
    sums: &'a mut [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        while let Some(chunk) = self.chunks.next() {
            for part in &self.plan.sweep.parts {
                for taps in pieces(part.taps.len(), LANE_ROWS) {
                    with_rows!(taps.len(), MR in [1 2 3 4 5 6 7 8 9] => {
                        // SAFETY: `run` has checked the lengths that the tables were made for.
                        unsafe { self.tile::<S, MR>(s, &chunk, part, taps.start) }
                    });
                }
            }
            for image in chunk.images.clone() {
                let dy = &self.dy[self.starts(image).1..][chunk.cells.start * BLOCK..chunk.cells.end * BLOCK];
                add_cells(s, dy, &mut self.sums[self.plan.taps * BLOCK..]);
            }
        }
    }
}

impl Add<'_> {
    /// Where the block of `image` starts in `x` and `dy`.
    #[inline(always)]
    fn starts(&self, image: usize) -> (usize, usize) {
        let g = &self.plan.geometry;
        let at = |cells: [usize; 3]| {
            (image * blocks(g.in_channels) + self.block) * cells.iter().product::<usize>() * BLOCK
        };
        (at(g.input), at(g.output))
    }

    /// `MR` taps of a part, from `first`.
    ///
    /// # Safety
    /// `x` and `dy` have the lengths that the plan was made for.
    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize>(&mut self, s: S, chunk: &Chunk, part: &SweepPart, first: usize) {
        let sweep = &self.plan.sweep;
        let taps = &part.taps[first..first + MR];
        let steps = &sweep.steps[part.steps[chunk.piece].clone()];
        let mut acc = [s.splat(0.0); MR];
        for (acc, tap) in acc.iter_mut().zip(taps) {
            *acc = s.from_slice(&self.sums[tap.index * BLOCK..]);
        }
        for image in chunk.images.clone() {
            let (x, dy) = self.starts(image);
            let (x, dy) = (self.x.as_ptr().wrapping_add(x), self.dy.as_ptr().wrapping_add(dy));
            let a = std::array::from_fn(|i| x.wrapping_add(taps[i].read * BLOCK));
            // SAFETY: offsets of the tables stay inside a block of an image.
            unsafe { lane_tile(s, &mut acc, a, dy, steps, sweep.strides) };
        }
        for (acc, tap) in acc.iter().zip(taps) {
            s.write(&mut self.sums[tap.index * BLOCK..], *acc);
        }
    }
}
