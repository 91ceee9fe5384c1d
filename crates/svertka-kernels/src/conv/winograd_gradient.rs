//! The weight gradient of 3 x 3 windows of stride 1 by Winograd's filtering: the adjoint of the forward pass in `winograd.rs`, square for square.
//!
//! Input squares go to their points as they do forward, squares of the output's gradient by the adjoint of the transform back. At each point the
//! channels of both are multiplied and summed over all squares, a quarter of the products of the definition, and the sums come back to nine taps once, in `f64`.
//!
//! Squares are worked through in chunks, all threads at one, since the sums, four times as many as weights, are in memory once: so each sum has one
//! order. A chunk has so many squares that the way of the sums to the registers and back is short beside the products.

use super::squares::{Axis, MOST, Transform, with_axis};
use super::tile::{PANEL, ROWS, Step, add_cells, block_vectors, pieces, tile, with_blocks, with_rows};
use super::winograd::{Chunk, Square, Winograd};
use super::winograd_stages::{Cells, transform_input};
use crate::cpu::{Cpu, WithSimd};
use crate::geometry::ConvGeometry;
use crate::layout::BLOCK;
use crate::simd::Simd;
use crate::threads::SharedMut;

/// Taps of the window.
const TAPS: usize = 9;

/// Squares that a chunk should have.
const CHUNK_SQUARES: usize = 192;

#[derive(Debug)]
pub(super) struct WinogradWeightGradient(Winograd);

/// Whether it saves time: the transforms cost as much as some channels' products, and the sums four times as much memory as the weights, which
/// only many squares are worth.
pub(super) fn pays(g: &ConvGeometry) -> bool {
    let channels = g.in_channels.min(g.out_channels) / g.groups;
    let squares = g.batch * g.output[1].div_ceil(4) * g.output[2].div_ceil(4);
    channels >= 32 && squares >= 64
}

impl WinogradWeightGradient {
    pub(super) fn new(g: &ConvGeometry, whole: Axis) -> Self {
        Self(Winograd::weight_gradient(g, whole, CHUNK_SQUARES))
    }

    /// Elements of a transformed chunk of one group, of `x` and of `dy`, and of all sums.
    fn lens(&self) -> [usize; 3] {
        let Self(plan) = self;
        let [x, dy] = [0, 1].map(|side| plan.points() * plan.point_len(side));
        [x, dy, plan.packed_len()]
    }

    pub(super) fn scratch_len(&self) -> usize {
        self.lens().iter().sum()
    }

    pub(super) fn run(
        &self,
        cpu: &Cpu,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        db: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) {
        let Self(plan) = self;
        let [read, write] = plan.channels;
        assert_eq!(x.len(), plan.batch * plan.read.image_len(), "x");
        assert_eq!(dy.len(), plan.batch * plan.write.image_len(), "dy");
        assert_eq!(dw.len(), plan.groups * write * read * TAPS, "dw");
        assert!(db.as_ref().is_none_or(|db| db.len() == plan.groups * write), "db");
        if plan.chunks.iter().all(|chunk| chunk.squares.is_empty()) {
            dw.fill(0.0);
        } else {
            self.sum(cpu, x, dy, SharedMut::new(dw), scratch);
        }
        if let Some(db) = db {
            let db = SharedMut::new(db);
            cpu.threads.run(plan.write.blocks(), |block, _| {
                // SAFETY: each block has its own channels.
                let db = unsafe { db.slice(block * BLOCK, BLOCK.min(plan.write.channels - block * BLOCK)) };
                cpu.isa.dispatch(BiasGradient { plan, dy, block, db });
            });
        }
    }

    fn sum(&self, cpu: &Cpu, x: &[f32], dy: &[f32], dw: SharedMut<'_>, scratch: &mut [f32]) {
        let Self(plan) = self;
        let [x_len, dy_len, sums_len] = self.lens();
        let (x_at_points, rest) = scratch.split_at_mut(x_len);
        let (dy_at_points, rest) = rest.split_at_mut(dy_len);
        let [x_at_points, dy_at_points, sums] =
            [x_at_points, dy_at_points, &mut rest[..sums_len]].map(SharedMut::new);
        for group in 0..plan.groups {
            for (number, chunk) in plan.chunks.iter().enumerate() {
                let part = Part { plan, group, chunk, x_at_points, dy_at_points, sums };
                let [blocks, out_blocks] = plan.blocks;
                cpu.threads.run(blocks + out_blocks, |job, _| match job.checked_sub(blocks) {
                    None => cpu.isa.dispatch(Input { part, x, block: job }),
                    Some(block) => cpu.isa.dispatch(OutputGradient { part, dy, block }),
                });
                let first = number == 0;
                cpu.threads.run(plan.points(), |point, _| {
                    cpu.isa.dispatch(Products { part, point, first });
                });
            }
        }
        cpu.threads.run(plan.groups * plan.panels(), |job, _| {
            let (group, panel) = (job / plan.panels(), job % plan.panels());
            cpu.isa.dispatch(Taps { plan, sums, dw, group, panel });
        });
    }
}

/// A chunk of squares of one group of channels, transformed.
///
/// `x_at_points` and `dy_at_points` lie as points, blocks of the group, squares, lanes; `sums` as transformed weights do when they are packed.
#[derive(Clone, Copy)]
struct Part<'a> {
    plan: &'a Winograd,
    group: usize,
    chunk: &'a Chunk,
    x_at_points: SharedMut<'a>,
    dy_at_points: SharedMut<'a>,
    sums: SharedMut<'a>,
}

impl<'a> Part<'a> {
    /// The chunk's squares, each with its plane of one of the group's blocks in `values`, which lie as `plan.read` (0) or `plan.write` (1) says.
    fn squares(
        self,
        values: &'a [f32],
        side: usize,
        block: usize,
    ) -> impl Iterator<Item = (usize, Square, &'a [f32])> {
        let plan = self.plan;
        let of = if side == 0 { &plan.read } else { &plan.write };
        plan.squares[self.chunk.squares.clone()].iter().enumerate().map(move |(at, square)| {
            let plane = square.image * of.blocks() + self.group * plan.blocks[side] + block;
            let to = (block * plan.pitch + at) * BLOCK;
            (to, *square, &values[plane * of.cells * BLOCK..][..of.cells * BLOCK])
        })
    }
}

/// Transforms a block of the input. Nobody else touches this block of `x_at_points`.
struct Input<'a> {
    part: Part<'a>,
    x: &'a [f32],
    block: usize,
}

impl WithSimd for Input<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { part, x, block } = self;
        let (mut padded, mut between) = ([[s.splat(0.0); MOST]; MOST], [[s.splat(0.0); MOST]; MOST]);
        for (to, square, plane) in part.squares(x, 0, block) {
            transform_input(s, part.plan, part.x_at_points, plane, square, to, &mut padded, &mut between);
        }
    }
}

/// Transforms a block of the output's gradient. Nobody else touches this block of `dy_at_points`.
struct OutputGradient<'a> {
    part: Part<'a>,
    dy: &'a [f32],
    block: usize,
}

impl WithSimd for OutputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { part, dy, block } = self;
        let (mut padded, mut between) = ([[s.splat(0.0); MOST]; MOST], [[s.splat(0.0); MOST]; MOST]);
        for (to, square, plane) in part.squares(dy, 1, block) {
            transform_gradient(s, part, plane, square, to, &mut padded, &mut between);
        }
    }
}

/// Transforms the cells of a square of one block; the value at the first point goes to `to`. Cells beyond the edge count as zero.
#[inline(always)]
fn transform_gradient<S: Simd>(
    s: S,
    part: Part<'_>,
    plane: &[f32],
    square: Square,
    to: usize,
    padded: &mut Cells<S::V>,
    between: &mut Cells<S::V>,
) {
    let plan = part.plan;
    let width = plan.to[1];
    let axes = plan.axes(square);
    let [rows, columns] = axes.map(Axis::cells);
    let real: [usize; 2] = std::array::from_fn(|d| axes[d].cells().min(plan.to[d] - square.at[d]));
    let first = &plane[(square.at[0] * width + square.at[1]) * BLOCK..];
    let (from, pitch) = if real == [rows, columns] {
        assert!(first.len() >= ((rows - 1) * width + columns) * BLOCK, "the square lies inside the plane");
        (first.as_ptr(), width * BLOCK)
    } else {
        padded.iter_mut().take(rows).for_each(|row| row.fill(s.splat(0.0)));
        for (i, row) in padded.iter_mut().enumerate().take(real[0]) {
            for (j, cell) in row.iter_mut().enumerate().take(real[1]) {
                *cell = s.from_slice(&first[(i * width + j) * BLOCK..]);
            }
        }
        (padded.as_ptr().cast(), MOST * BLOCK)
    };
    with_axis!(axes[0], T, POINTS => {
        for j in 0..columns {
            // SAFETY: the square lies inside the plane, or in `padded`, whose vectors are eight floats each.
            let cells = std::array::from_fn(|i| unsafe { s.load(from.add(i * pitch + j * BLOCK)) });
            let points: [S::V; POINTS] = T::output_gradient(s, cells);
            for (between, value) in between.iter_mut().zip(points) {
                between[j] = value;
            }
        }
    });
    let point = plan.point_len(1);
    let values = part.dy_at_points;
    assert!((plan.points() - 1) * point + to + BLOCK <= values.len(), "the last point lies in the values");
    let to = values.as_ptr().wrapping_add(to);
    with_axis!(axes[1], T, POINTS => {
        for (&i, between) in axes[0].points().iter().zip(between.iter()) {
            let points: [S::V; POINTS] = T::output_gradient(s, std::array::from_fn(|j| between[j]));
            let to = to.wrapping_add(i * plan.side() * point);
            for (&j, value) in T::AT.iter().zip(points) {
                // SAFETY: no point lies behind the last; each square and block has its own places.
                unsafe { s.store(to.add(j * point), value) };
            }
        }
    });
}

/// Adds the products of a chunk at a point to the sums, or with the first chunk begins them. Nobody else touches the sums of this point.
struct Products<'a> {
    part: Part<'a>,
    point: usize,
    first: bool,
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let plan = self.part.plan;
        for panel in (0..plan.panels()).step_by(S::PANELS) {
            for channels in pieces(plan.channels[0], ROWS) {
                with_rows!(channels.len(), MR in [1 2 3 4 5 6] => {
                    with_blocks!(S, plan.blocks[1] - panel * 2, (NV, BLOCKS) => {
                        self.multiply::<S, MR, NV, BLOCKS>(s, panel, channels.start);
                    });
                });
            }
        }
    }
}

impl Products<'_> {
    /// `MR` channels of the input from `channel` with the panels from `panel` on. `NV` blocks are computed, of which there are `BLOCKS`.
    #[inline(always)]
    fn multiply<S: Simd, const MR: usize, const NV: usize, const BLOCKS: usize>(
        &self,
        s: S,
        panel: usize,
        channel: usize,
    ) {
        let Self { part, point, first } = *self;
        let plan = part.plan;
        let squares = plan.taking_part(part.chunk, point);
        let [x, dy] = [0, 1].map(|side| (point * plan.point_len(side), plan.point_len(side)));
        // SAFETY: both have been transformed, and nobody writes them during the products.
        let (x, dy) = unsafe { (part.x_at_points.slice(x.0, x.1), part.dy_at_points.slice(dy.0, dy.1)) };
        let (sums, panel_len) = (plan.panel_start(part.group, point, panel), plan.channels[0] * PANEL);
        // SAFETY: nobody else has the sums of this point.
        let sums = unsafe { part.sums.slice(sums, BLOCKS.div_ceil(2) * panel_len) };
        let sum_at = |i: usize, j: usize| j / 2 * panel_len + (channel + i) * PANEL + j % 2 * BLOCK;
        let plane = plan.pitch * BLOCK;
        assert!(
            squares.end <= plan.pitch
                && x.len() >= plan.blocks[0] * plane
                && dy.len() >= plan.blocks[1] * plane
        );
        let mut acc = [[s.splat(0.0); NV]; MR];
        // SAFETY: `channel + MR` is at most the number of channels, so their blocks lie in `x` and their sums in `sums`, and the panels are the plan's.
        unsafe {
            let a = std::array::from_fn(|i| {
                let channel = channel + i;
                x.as_ptr().add(channel / BLOCK * plane + squares.start * BLOCK + channel % BLOCK)
            });
            let b = dy.as_ptr().add(panel * 2 * plane + squares.start * BLOCK);
            let b = block_vectors::<NV, BLOCKS>(b, plane);
            if !first {
                for (i, acc) in acc.iter_mut().enumerate() {
                    for (j, acc) in acc.iter_mut().enumerate().take(BLOCKS) {
                        *acc = s.load(sums.as_ptr().add(sum_at(i, j)));
                    }
                }
            }
            tile(s, &mut acc, a, b, &[Step { a: 0, b: 0, k: squares.len() }], (BLOCK, BLOCK));
            for (i, acc) in acc.iter().enumerate() {
                for (j, acc) in acc.iter().enumerate().take(BLOCKS) {
                    s.store(sums.as_mut_ptr().add(sum_at(i, j)), *acc);
                }
            }
        }
    }
}

/// Brings the sums of a panel of one group back to taps. Nobody else has its output channels.
struct Taps<'a> {
    plan: &'a Winograd,
    sums: SharedMut<'a>,
    dw: SharedMut<'a>,
    group: usize,
    panel: usize,
}

impl WithSimd for Taps<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { plan, sums, dw, group, panel } = self;
        let [read, write] = plan.channels;
        let lanes = PANEL.min(write - panel * PANEL);
        // SAFETY: nobody else has these output channels.
        let dw = unsafe { dw.slice((group * write + panel * PANEL) * read * TAPS, lanes * read * TAPS) };
        let (side, transform) = (plan.side(), plan.whole.weight());
        for channels in pieces(read, BLOCK) {
            // Lanes last, so that the compiler makes vectors of them.
            let mut taps = [[[[0.0; PANEL]; 3]; 3]; BLOCK];
            for (x, factors) in transform.iter().enumerate() {
                let mut columns = [[[0.0; PANEL]; 3]; BLOCK];
                for (y, factors) in transform.iter().enumerate() {
                    let at = plan.panel_start(group, y * side + x, panel) + channels.start * PANEL;
                    // SAFETY: all products are done.
                    let sums = unsafe { sums.slice(at, channels.len() * PANEL) };
                    for (column, sums) in columns.iter_mut().zip(sums.as_chunks().0) {
                        let sums: [f64; PANEL] = sums.map(f64::from);
                        column
                            .iter_mut()
                            .zip(factors)
                            .for_each(|(column, factor)| add_scaled(column, *factor, &sums));
                    }
                }
                for (taps, column) in taps.iter_mut().zip(&columns) {
                    for (taps, values) in taps.iter_mut().zip(column) {
                        taps.iter_mut()
                            .zip(factors)
                            .for_each(|(tap, factor)| add_scaled(tap, *factor, values));
                    }
                }
            }
            for (channel, taps) in channels.zip(&taps) {
                for lane in 0..lanes {
                    let dw = &mut dw[(lane * read + channel) * TAPS..][..TAPS];
                    dw.iter_mut().zip(taps.as_flattened()).for_each(|(dw, tap)| *dw = tap[lane] as f32);
                }
            }
        }
    }
}

/// Adds `factor * values`.
#[inline(always)]
fn add_scaled(sums: &mut [f64; PANEL], factor: f64, values: &[f64; PANEL]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}

/// Sums the output's gradient of one block over all images.
struct BiasGradient<'a> {
    plan: &'a Winograd,
    dy: &'a [f32],
    block: usize,
    db: &'a mut [f32],
}

impl WithSimd for BiasGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { plan, dy, block, db } = self;
        let (mut sums, plane) = ([0.0; BLOCK], plan.write.cells * BLOCK);
        for image in 0..plan.batch {
            add_cells(s, &dy[(image * plan.write.blocks() + block) * plane..][..plane], &mut sums);
        }
        db.iter_mut().zip(sums).for_each(|(db, sum)| *db = sum);
    }
}
