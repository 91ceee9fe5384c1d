//! Winograd's minimal filtering for 3 x 3 windows of stride 1: forward and input gradient (Lavin and Gray, "Fast Algorithms for Convolutional
//! Neural Networks", 2016).
//!
//! Output squares of 4 x 4 cells come from 6 x 6 input cells by 36 products a channel pair where the definition needs 144 (2 x 2: 16 for 36;
//! 6 x 6: 64 for 324): input squares and weights are transformed, multiplied point by point, which for all channels of a group at once is one matrix
//! product a point, and transformed back. The points of the 4 x 4 form are 0, ±√½, ±√2 and ∞: with them its error is two to three times that
//! of the definition in `f32`, with the customary 0, ±1, ±2 it would be five times as large. The 6 x 6 form errs seven to ten times as much.
//!
//! Squares are worked through in chunks: all three stages of a chunk, point after point in the products, so that what a chunk needs at a point
//! stays in the caches while the weights of that point, which no other point needs, pass by. Squares at the lower and right edge have
//! fewer cells and are multiplied at fewer points ([`Axis::at_edge`]); in a chunk they stand before and after the whole ones, so that the squares with a
//! point are neighbours. Sums run over the channels in order, whatever the chunk and the thread.

use std::ops::Range;

use super::side::Side;
use super::squares::Axis;
use super::tile::{PANEL, Step};
use super::winograd_stages::{Input, Output, Part, Products};
use super::winograd_weights::Weights;
use crate::cpu::Cpu;
use crate::epilogue::Epilogue;
use crate::geometry::ConvGeometry;
use crate::layout::{BLOCK, blocks};
use crate::threads::{SharedMut, share};

/// Bytes of transformed input and products that a chunk should have at most: they stay in the second-level cache for the most part.
const CHUNK_BYTES: usize = 448 << 10;

/// Squares of a chunk at least, where there are so many, by bytes of transformed weights up to: each chunk brings all weights near once, and the
/// farther they come from, the more squares must share the way.
const LEAST_SQUARES: [(usize, usize); 3] = [(1 << 20, 24), (16 << 20, 48), (usize::MAX, 96)];

/// Parts from which on each is a job of its own, all stages; fewer are shared by all threads.
const MANY_PARTS: usize = 8;

/// Floats of a cache line.
const LINE: usize = 16;

/// The plan of one pass.
#[derive(Debug)]
pub(super) struct Winograd {
    pub(super) batch: usize,
    pub(super) groups: usize,
    pub(super) read: Side,
    pub(super) write: Side,
    /// Channels and blocks of a group, read and written.
    pub(super) channels: [usize; 2],
    pub(super) blocks: [usize; 2],
    /// Rows and columns of the side that is read and of the one that is written.
    pub(super) from: [usize; 2],
    pub(super) to: [usize; 2],
    /// Padding before the first row and column.
    pub(super) before: [usize; 2],
    /// The transform of whole squares, and of the last along each axis.
    pub(super) whole: Axis,
    edge: [Axis; 2],
    pub(super) mirrored: bool,
    pub(super) squares: Vec<Square>,
    pub(super) chunks: Vec<Chunk>,
    /// Squares of the largest chunk, and how many there is room for: so many that a block of them is an odd number of cache lines.
    pub(super) most: usize,
    pub(super) pitch: usize,
    pub(super) steps: Vec<Step>,
}

/// An output square: its image, first row and first column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Square {
    pub(super) image: usize,
    pub(super) at: [usize; 2],
}

/// Some squares in the order of [`order`], and how many of them come before those that are whole in both axes, and with them and with those that
/// are cut in the columns only.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) squares: Range<usize>,
    ends: [usize; 3],
}

/// Whether the window is 3 x 3 of stride 1, and groups are of whole blocks.
pub(super) fn supports(g: &ConvGeometry) -> bool {
    let w = &g.window;
    let plane = w.kernel == [1, 3, 3] && w.stride == [1; 3] && w.dilation == [1; 3];
    // The padding of the input gradient is what the forward pass lacks of a full one.
    let padding =
        w.padding[0] == (0, 0) && w.padding.iter().all(|&(before, after)| before <= 2 && after <= 2);
    let whole = |channels: usize| (channels / g.groups).is_multiple_of(BLOCK);
    let groups = g.groups == 1 || whole(g.in_channels) && whole(g.out_channels);
    plane && padding && groups && g.input[0] == 1
}

/// Whether squares of 4 x 4 save time: the transforms cost as much as some channels' products, and transformed weights, four times as large,
/// need enough squares to be worth their way through the caches.
pub(super) fn pays(g: &ConvGeometry) -> bool {
    let channels = g.in_channels.min(g.out_channels) / g.groups;
    let squares = g.batch * g.output[1].div_ceil(4) * g.output[2].div_ceil(4);
    channels >= 16 && squares >= 9
}

/// Whether squares of 2 x 2 save time where those of 4 x 4 do not: small pictures with many channels, whose weights, less than twice as large, are
/// not worth four times as much of the way from memory.
pub(super) fn two_pays(g: &ConvGeometry) -> bool {
    let channels = g.in_channels.min(g.out_channels) / g.groups;
    let squares = g.batch * g.output[1].div_ceil(2) * g.output[2].div_ceil(2);
    channels >= 64 && squares >= 16
}

/// Whether squares of 6 x 6 save more time than those of 4 x 4: where edges are short beside the picture, and the transformed weights, seven times as
/// large as the plain ones, do not come from memory.
pub(super) fn six_pays(g: &ConvGeometry) -> bool {
    let channels = g.in_channels / g.groups * (g.out_channels / g.groups);
    pays(g) && g.output[1].min(g.output[2]) >= 24 && channels <= 1 << 16
}

impl Winograd {
    pub(super) fn forward(g: &ConvGeometry, whole: Axis) -> Self {
        let before = [g.window.padding[1].0, g.window.padding[2].0];
        Self::new(g, [g.in_channels, g.out_channels], [g.input, g.output], before, whole, false, None)
    }

    /// The squares of the forward pass in chunks of about `goal`, for the weight gradient.
    pub(super) fn weight_gradient(g: &ConvGeometry, whole: Axis, goal: usize) -> Self {
        let before = [g.window.padding[1].0, g.window.padding[2].0];
        Self::new(g, [g.in_channels, g.out_channels], [g.input, g.output], before, whole, false, Some(goal))
    }

    pub(super) fn input_gradient(g: &ConvGeometry, whole: Axis) -> Self {
        let before = [2 - g.window.padding[1].0, 2 - g.window.padding[2].0];
        Self::new(g, [g.out_channels, g.in_channels], [g.output, g.input], before, whole, true, None)
    }

    fn new(
        g: &ConvGeometry,
        channels: [usize; 2],
        [from, to]: [[usize; 3]; 2],
        before: [usize; 2],
        whole: Axis,
        mirrored: bool,
        goal: Option<usize>,
    ) -> Self {
        let side =
            |channels, spatial: [usize; 3]| Side { channels, cells: spatial.iter().product(), lanes: BLOCK };
        let (read, write) = (side(channels[0], from), side(channels[1], to));
        let (from, to) = ([from[1], from[2]], [to[1], to[2]]);
        let channels = channels.map(|channels| channels / g.groups);
        let blocks = channels.map(blocks);
        let mut plan = Self {
            batch: g.batch,
            groups: g.groups,
            read,
            write,
            channels,
            blocks,
            from,
            to,
            before,
            whole,
            edge: to.map(|size| whole.at_edge(size)),
            mirrored,
            squares: vec![],
            chunks: vec![],
            most: 0,
            pitch: 0,
            steps: vec![],
        };
        for image in 0..g.batch {
            for row in (0..to[0]).step_by(whole.cells()) {
                let columns = (0..to[1]).step_by(whole.cells());
                plan.squares.extend(columns.map(|column| Square { image, at: [row, column] }));
            }
        }
        plan.cut(goal.unwrap_or_else(|| plan.goal()));
        plan.steps = (0..blocks[0])
            .map(|block| Step {
                a: block * plan.pitch * BLOCK,
                b: block * BLOCK * PANEL,
                k: BLOCK.min(channels[0] - block * BLOCK),
            })
            .collect();
        plan
    }

    /// Squares that a chunk should have.
    fn goal(&self) -> usize {
        let bytes = |[read, write]: [usize; 2]| self.points() * size_of::<f32>() * (read + write);
        let weights = self.channels[1] * bytes([self.channels[0], 0]);
        let least = LEAST_SQUARES.iter().find(|(most, _)| weights <= *most).map_or(1, |&(_, least)| least);
        least.max(CHUNK_BYTES / bytes(self.blocks.map(|blocks| blocks * BLOCK)).max(1))
    }

    /// Cuts the squares into chunks, and orders them in each.
    fn cut(&mut self, goal: usize) {
        let count = self.squares.len();
        let mut chunks = ((count + goal / 2) / goal).max(1);
        if self.groups * chunks >= MANY_PARTS {
            // Few threads finish at the same time.
            chunks = (chunks + 2) / 4 * 4;
        }
        let chunks = chunks.max(1);
        for chunk in 0..chunks {
            let squares = share(count, chunks, chunk);
            let place = |square: &Square| match self.axes(*square).map(|axis| axis == self.whole) {
                [false, true] => 0,
                [true, true] => 1,
                [true, false] => 2,
                [false, false] => 3,
            };
            let mut sorted = self.squares[squares.clone()].to_vec();
            sorted.sort_by_key(place);
            let ends = std::array::from_fn(|end| sorted.partition_point(|square| place(square) <= end));
            self.most = self.most.max(squares.len());
            self.squares[squares.clone()].copy_from_slice(&sorted);
            self.chunks.push(Chunk { squares, ends });
        }
        self.pitch = (self.most.div_ceil(2) | 1) * 2;
    }

    /// The transforms of a square's rows and columns.
    #[inline(always)]
    pub(super) fn axes(&self, square: Square) -> [Axis; 2] {
        std::array::from_fn(|d| {
            if square.at[d] + self.whole.cells() <= self.to[d] { self.whole } else { self.edge[d] }
        })
    }

    /// Those of a chunk's squares that are multiplied at a point.
    #[inline(always)]
    pub(super) fn taking_part(&self, chunk: &Chunk, point: usize) -> Range<usize> {
        let at = [point / self.side(), point % self.side()];
        let [rows, columns]: [bool; 2] = std::array::from_fn(|d| self.edge[d].points().contains(&at[d]));
        let start = if rows { 0 } else { chunk.ends[0] };
        let end = match [rows, columns] {
            [true, true] => chunk.squares.len(),
            [false, true] => chunk.ends[2],
            [_, false] => chunk.ends[1],
        };
        start..end
    }

    /// Points along one axis, and in all.
    #[inline(always)]
    pub(super) fn side(&self) -> usize {
        self.whole.points().len()
    }

    #[inline(always)]
    pub(super) fn points(&self) -> usize {
        self.side() * self.side()
    }

    pub(super) fn panels(&self) -> usize {
        self.channels[1].div_ceil(PANEL)
    }

    /// Where a panel of weights at a point starts.
    pub(super) fn panel_start(&self, group: usize, point: usize, panel: usize) -> usize {
        ((group * self.points() + point) * self.panels() + panel) * self.channels[0] * PANEL
    }

    pub(super) fn packed_len(&self) -> usize {
        self.panel_start(self.groups, 0, 0)
    }

    /// Elements of a chunk's transformed input (0) or products (1) at one point: an odd number of cache lines, so that points do not compete for the
    /// same lines of a cache.
    #[inline(always)]
    pub(super) fn point_len(&self, side: usize) -> usize {
        ((self.blocks[side] * self.pitch * BLOCK).div_ceil(LINE) | 1) * LINE
    }

    /// Elements of a chunk's transformed input and products.
    fn part_len(&self) -> [usize; 2] {
        [self.points() * self.point_len(0), self.points() * self.point_len(1)]
    }

    fn parts(&self) -> usize {
        self.groups * self.chunks.len()
    }

    pub(super) fn scratch_len(&self, threads: usize) -> usize {
        self.part_len().iter().sum::<usize>() * if self.parts() < MANY_PARTS { 1 } else { threads }
    }

    /// Packs `weight`, in which the taps of written channel `w` and read channel `r` start at `start(w, r)`.
    pub(super) fn pack(
        &self,
        cpu: &Cpu,
        weight: &[f32],
        packed: &mut [f32],
        start: impl Fn(usize, usize) -> usize + Sync,
    ) {
        let (start, packed) = (&start, SharedMut::new(packed));
        cpu.threads.run(self.groups * self.panels(), |job, _| {
            let (group, panel) = (job / self.panels(), job % self.panels());
            cpu.isa.dispatch(Weights { plan: self, weight, start, packed, group, panel });
        });
    }

    pub(super) fn run(
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
        let scratch = SharedMut::new(&mut scratch[..self.scratch_len(cpu.threads.count())]);
        let finish = epilogue.finish(cpu.isa, self.write.channels, SharedMut::new(y));
        let ([input_len, products_len], blocks, points) = (self.part_len(), self.blocks, self.points());
        // What a part works on, in the scratch memory of `worker`.
        let part = |part: usize, worker: usize| {
            let start = worker * (input_len + products_len);
            // SAFETY: each worker has its own scratch memory, or all share one part at a time.
            let [input, products] =
                unsafe { [scratch.slice(start, input_len), scratch.slice(start + input_len, products_len)] }
                    .map(SharedMut::new);
            let (group, chunk) = (part / self.chunks.len(), &self.chunks[part % self.chunks.len()]);
            Part { plan: self, x, packed, finish, group, chunk, input, products }
        };
        if self.parts() >= MANY_PARTS {
            cpu.threads.run(self.parts(), |job, worker| {
                let part = part(job, worker);
                cpu.isa.dispatch(Input(part, 0..blocks[0]));
                cpu.isa.dispatch(Products(part, 0..points));
                cpu.isa.dispatch(Output(part, 0..blocks[1]));
            });
            return;
        }
        for part in (0..self.parts()).map(|job| part(job, 0)) {
            cpu.threads.run(blocks[0], |block, _| cpu.isa.dispatch(Input(part, block..block + 1)));
            cpu.threads.run(points, |point, _| cpu.isa.dispatch(Products(part, point..point + 1)));
            cpu.threads.run(blocks[1], |block, _| cpu.isa.dispatch(Output(part, block..block + 1)));
        }
    }
}
