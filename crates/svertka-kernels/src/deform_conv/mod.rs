//! Deformable convolution over two spatial axes (Dai et al., "Deformable Convolutional Networks", 2017; Zhu et al., "Deformable ConvNets v2", 2018)
//! and its gradients, in the plain layout: each tap of each window reads where an offset moves it, between the cells, and by a mask
//! more or less.
//!
//! All four passes have one shape: a chunk of output pixels at a time, the numbers that some channels' taps read there are laid out as rows
//! (`channels * taps x pixels`), and a dense product joins rows and weight. So a sampled number is computed once for all output
//! channels. Sums over more than a chunk or a block are sums of sums.

mod product;
mod sample;

use std::ops::Range;

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::geometry::ConvGeometry;
use crate::threads::SharedMut;
use product::{Product, WIDTH};
use sample::Corners;
pub use sample::Offsets;

/// Output pixels of one chunk.
const CHUNK: usize = 64;
const _: () = assert!(CHUNK.is_multiple_of(WIDTH));

/// Rows of sampled numbers that a block of channels has at most, unless the kernel alone has more: they stay in the cache.
const ROWS: usize = 128;

/// Sizes of a deformable convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeformGeometry {
    /// Those of the convolution that it is with offsets of zero; its depth is one.
    pub conv: ConvGeometry,
    /// Groups of input channels that are moved alike; they divide the channels.
    pub offset_groups: usize,
}

impl DeformGeometry {
    /// Cells of the kernel.
    pub fn taps(&self) -> usize {
        self.conv.window.kernel.iter().product()
    }

    /// Output pixels of one channel.
    pub fn pixels(&self) -> usize {
        self.conv.output.iter().product()
    }

    fn input_pixels(&self) -> usize {
        self.conv.input.iter().product()
    }

    fn group_in(&self) -> usize {
        self.conv.in_channels / self.conv.groups
    }

    fn group_out(&self) -> usize {
        self.conv.out_channels / self.conv.groups
    }

    /// Channels of a block; none reaches over the end of a group.
    fn block(&self) -> usize {
        (ROWS / self.taps()).clamp(1, self.group_in())
    }

    fn rows(&self) -> usize {
        self.block() * self.taps()
    }

    /// Blocks of one group.
    fn blocks(&self) -> usize {
        self.group_in().div_ceil(self.block())
    }

    /// Group and channels of block `index` of all `groups * blocks`.
    fn channels(&self, index: usize) -> (usize, Range<usize>) {
        let (group, first) = (index / self.blocks(), index % self.blocks() * self.block());
        let start = group * self.group_in();
        (group, start + first..start + (first + self.block()).min(self.group_in()))
    }

    fn chunks(&self) -> usize {
        self.pixels().div_ceil(CHUNK)
    }

    /// The pixels of chunk `index`.
    fn chunk(&self, index: usize) -> Range<usize> {
        index * CHUNK..((index + 1) * CHUNK).min(self.pixels())
    }

    /// The weight from the first output channel of `group` and from input channel `channel` on; rows of output channels are
    /// [`DeformGeometry::weight_row`] apart.
    fn weight_start(&self, group: usize, channel: usize) -> usize {
        group * self.group_out() * self.weight_row() + (channel - group * self.group_in()) * self.taps()
    }

    fn weight_row(&self) -> usize {
        self.group_in() * self.taps()
    }

    /// Elements of the offsets: vertical and horizontal for each tap of each group of offsets.
    pub fn offset_len(&self) -> usize {
        2 * self.mask_len()
    }

    /// Elements of the mask.
    pub fn mask_len(&self) -> usize {
        self.conv.batch * self.offset_groups * self.taps() * self.pixels()
    }

    fn assert_lengths(&self, x: &[f32], at: &Offsets<'_>, y: &[f32]) {
        let &ConvGeometry { batch, in_channels, out_channels, .. } = &self.conv;
        assert_eq!(x.len(), batch * in_channels * self.input_pixels());
        assert_eq!(y.len(), batch * out_channels * self.pixels());
        assert_eq!(at.offset.len(), self.offset_len());
        assert!(at.mask.is_none_or(|mask| mask.len() == self.mask_len()));
    }
}

/// Scratch of [`forward`].
pub fn forward_scratch_len(g: &DeformGeometry, threads: usize) -> usize {
    threads * (g.rows() + g.group_out()) * CHUNK
}

/// `y[n, o, p] = bias[o] + sum over i, t of weight[o, i, t] * mask[n, t, p] * x[n, i, p * stride + t * dilation - padding + offset[n, t, p]]`,
/// between the cells interpolated in both directions, outside zero.
///
/// # Panics
/// Where a slice has not the length of its tensor.
#[expect(clippy::too_many_arguments, reason = "the operator has as many")]
pub fn forward(
    cpu: &Cpu,
    g: &DeformGeometry,
    x: &[f32],
    weight: &[f32],
    at: Offsets<'_>,
    bias: Option<&[f32]>,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    g.assert_lengths(x, &at, y);
    assert_eq!(weight.len(), g.conv.weight_len());
    let (each, out, pixels) = (forward_scratch_len(g, 1), g.group_out(), g.pixels());
    let (y, scratch) = (SharedMut::new(y), SharedMut::new(scratch));
    cpu.threads.run(g.conv.batch * g.chunks(), |job, worker| {
        let (image, chunk) = (job / g.chunks(), g.chunk(job % g.chunks()));
        // SAFETY: each worker has its part.
        let scratch = unsafe { scratch.slice(worker * each, each) };
        let (columns, sums) = scratch.split_at_mut(g.rows() * CHUNK);
        for index in 0..g.conv.groups * g.blocks() {
            let (group, channels) = g.channels(index);
            if index % g.blocks() == 0 {
                for (o, sums) in sums.chunks_exact_mut(CHUNK).enumerate() {
                    sums.fill(bias.map_or(0.0, |bias| bias[group * out + o]));
                }
            }
            sample_columns(g, x, &at, image, &channels, &chunk, columns, [CHUNK, 1]);
            cpu.isa.dispatch(Product {
                a: &weight[g.weight_start(group, channels.start)..],
                a_strides: [g.weight_row(), 1],
                b: columns,
                y: sums,
                rows: out,
                depth: channels.len() * g.taps(),
                width: CHUNK,
            });
            if (index + 1) % g.blocks() == 0 {
                for (o, sums) in sums.chunks_exact(CHUNK).enumerate() {
                    let channel = image * g.conv.out_channels + group * out + o;
                    // SAFETY: these pixels of this image belong to this job.
                    let y = unsafe { y.slice(channel * pixels + chunk.start, chunk.len()) };
                    y.copy_from_slice(&sums[..chunk.len()]);
                }
            }
        }
    });
}

/// Scratch of [`weight_backward`].
pub fn weight_backward_scratch_len(g: &DeformGeometry, threads: usize) -> usize {
    threads * (CHUNK + g.group_out()) * g.rows().next_multiple_of(WIDTH)
}

/// The gradients of weight and bias, written to `dw` and `db`.
///
/// # Panics
/// As [`forward`].
#[expect(clippy::too_many_arguments, reason = "the operator has as many")]
pub fn weight_backward(
    cpu: &Cpu,
    g: &DeformGeometry,
    x: &[f32],
    at: Offsets<'_>,
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    g.assert_lengths(x, &at, dy);
    assert_eq!(dw.len(), g.conv.weight_len());
    let (each, out, pixels) = (weight_backward_scratch_len(g, 1), g.group_out(), g.pixels());
    let width = g.rows().next_multiple_of(WIDTH);
    let (dw, scratch) = (SharedMut::new(dw), SharedMut::new(scratch));
    cpu.threads.run(g.conv.groups * g.blocks(), |job, worker| {
        let (group, channels) = g.channels(job);
        // SAFETY: each worker has its part.
        let scratch = unsafe { scratch.slice(worker * each, each) };
        let (columns, sums) = scratch.split_at_mut(CHUNK * width);
        sums.fill(0.0);
        for image in 0..g.conv.batch {
            for chunk in (0..g.chunks()).map(|index| g.chunk(index)) {
                // Pixels as rows, so that the product adds up over them.
                sample_columns(g, x, &at, image, &channels, &chunk, columns, [1, width]);
                cpu.isa.dispatch(Product {
                    a: &dy[(image * g.conv.out_channels + group * out) * pixels + chunk.start..],
                    a_strides: [pixels, 1],
                    b: columns,
                    y: sums,
                    rows: out,
                    depth: chunk.len(),
                    width,
                });
            }
        }
        let len = channels.len() * g.taps();
        for (o, sums) in sums.chunks_exact(width).enumerate() {
            let start = g.weight_start(group, channels.start) + o * g.weight_row();
            // SAFETY: the weights of these input channels belong to this job.
            unsafe { dw.slice(start, len) }.copy_from_slice(&sums[..len]);
        }
    });
    let Some(db) = db else { return };
    let db = SharedMut::new(db);
    run_ranges(cpu, g.conv.out_channels, g.conv.batch * pixels, |range| {
        for channel in range {
            let image = |image| &dy[(image * g.conv.out_channels + channel) * pixels..][..pixels];
            let sum: f64 = (0..g.conv.batch).flat_map(image).map(|&dy| f64::from(dy)).sum();
            // SAFETY: ranges do not overlap.
            unsafe { db.slice(channel, 1) }.fill(sum as f32);
        }
    });
}

/// Scratch of [`input_backward`].
pub fn input_backward_scratch_len(g: &DeformGeometry, threads: usize) -> usize {
    threads * (g.rows() + g.group_out()) * CHUNK
}

/// The gradient of the input, written to `dx`: each sampled number gives to the four cells it was made from.
///
/// # Panics
/// As [`forward`].
pub fn input_backward(
    cpu: &Cpu,
    g: &DeformGeometry,
    weight: &[f32],
    at: Offsets<'_>,
    dy: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    g.assert_lengths(dx, &at, dy);
    let (each, jobs, pixels) =
        (input_backward_scratch_len(g, 1), g.conv.groups * g.blocks(), g.input_pixels());
    let (dx, scratch) = (SharedMut::new(dx), SharedMut::new(scratch));
    cpu.threads.run(g.conv.batch * jobs, |job, worker| {
        let (image, (group, channels)) = (job / jobs, g.channels(job % jobs));
        // SAFETY: each worker has its part.
        let scratch = unsafe { scratch.slice(worker * each, each) };
        let start = (image * g.conv.in_channels + channels.start) * pixels;
        // SAFETY: these channels of this image belong to this job.
        let dx = unsafe { dx.slice(start, channels.len() * pixels) };
        dx.fill(0.0);
        for chunk in (0..g.chunks()).map(|index| g.chunk(index)) {
            let columns = column_gradient(cpu, g, weight, dy, image, group, &channels, &chunk, scratch);
            each_sample(g, &at, image, &channels, &chunk, |channel, tap, corners| {
                let row = (channel - channels.start) * g.taps() + tap;
                let plane = &mut dx[(channel - channels.start) * pixels..][..pixels];
                corners.scatter(&columns[row * CHUNK..][..chunk.len()], plane);
            });
        }
    });
}

/// Scratch of [`offset_backward`].
pub fn offset_backward_scratch_len(g: &DeformGeometry, threads: usize) -> usize {
    threads * (g.rows() + g.group_out() + 4 * g.offset_groups * g.taps()) * CHUNK
}

/// The gradients of the offsets and the mask, written to `d_offset` and `d_mask`. On a line between cells, where the derivative by an offset
/// jumps, it is that of the side of larger coordinates.
///
/// # Panics
/// As [`forward`].
#[expect(clippy::too_many_arguments, reason = "the operator has as many")]
pub fn offset_backward(
    cpu: &Cpu,
    g: &DeformGeometry,
    x: &[f32],
    weight: &[f32],
    at: Offsets<'_>,
    dy: &[f32],
    d_offset: &mut [f32],
    d_mask: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    g.assert_lengths(x, &at, dy);
    assert_eq!(d_offset.len(), at.offset.len());
    assert!(d_mask.as_ref().is_none_or(|d_mask| d_mask.len() == g.mask_len()));
    let each = offset_backward_scratch_len(g, 1);
    let (pixels, in_pixels, of_group) = (g.pixels(), g.input_pixels(), g.conv.in_channels / g.offset_groups);
    let (d_offset, d_mask) = (SharedMut::new(d_offset), d_mask.map(SharedMut::new));
    let scratch = SharedMut::new(scratch);
    cpu.threads.run(g.conv.batch * g.chunks(), |job, worker| {
        let (image, chunk) = (job / g.chunks(), g.chunk(job % g.chunks()));
        // SAFETY: each worker has its part.
        let scratch = unsafe { scratch.slice(worker * each, each) };
        // For each moved tap, what each of its four corners gets over all channels: offset and mask differ in how they weigh these.
        let (sums, scratch) = scratch.split_at_mut(4 * g.offset_groups * g.taps() * CHUNK);
        sums.fill(0.0);
        for index in 0..g.conv.groups * g.blocks() {
            let (group, channels) = g.channels(index);
            let columns = column_gradient(cpu, g, weight, dy, image, group, &channels, &chunk, scratch);
            each_sample(g, &at, image, &channels, &chunk, |channel, tap, corners| {
                let row = (channel - channels.start) * g.taps() + tap;
                let plane = &x[(image * g.conv.in_channels + channel) * in_pixels..][..in_pixels];
                let sums = &mut sums[(channel / of_group * g.taps() + tap) * 4 * CHUNK..][..4 * CHUNK];
                corners.add_products(&columns[row * CHUNK..][..chunk.len()], plane, sums);
            });
        }
        let mut corners = Corners::default();
        for moved in 0..g.offset_groups * g.taps() {
            corners.place(g, &at, image, moved, &chunk);
            let row = image * g.offset_groups * g.taps() + moved;
            // SAFETY: these pixels of this image belong to this job.
            let parts = [2 * row, 2 * row + 1]
                .map(|row| unsafe { d_offset.slice(row * pixels + chunk.start, chunk.len()) });
            // SAFETY: as above.
            let part = d_mask.map(|d_mask| unsafe { d_mask.slice(row * pixels + chunk.start, chunk.len()) });
            corners.derivatives(&sums[moved * 4 * CHUNK..][..4 * CHUNK], parts, part);
        }
    });
}

/// Lays out what the taps of some channels read: number `row * strides[0] + pixel * strides[1]` of `columns`, rows being taps within channels.
#[expect(clippy::too_many_arguments, reason = "one place in five axes")]
fn sample_columns(
    g: &DeformGeometry,
    x: &[f32],
    at: &Offsets<'_>,
    image: usize,
    channels: &Range<usize>,
    chunk: &Range<usize>,
    columns: &mut [f32],
    strides: [usize; 2],
) {
    let pixels = g.input_pixels();
    each_sample(g, at, image, channels, chunk, |channel, tap, corners| {
        let row = (channel - channels.start) * g.taps() + tap;
        let plane = &x[(image * g.conv.in_channels + channel) * pixels..][..pixels];
        corners.gather(plane, chunk.len(), &mut columns[row * strides[0]..], strides[1]);
    });
}

/// Calls `visit(channel, tap, corners)` for each tap of each channel.
fn each_sample(
    g: &DeformGeometry,
    at: &Offsets<'_>,
    image: usize,
    channels: &Range<usize>,
    chunk: &Range<usize>,
    mut visit: impl FnMut(usize, usize, &Corners),
) {
    let of_group = g.conv.in_channels / g.offset_groups;
    let mut corners = Corners::default();
    for tap in 0..g.taps() {
        let mut placed = None;
        for channel in channels.clone() {
            let group = channel / of_group;
            // Channels that are moved alike share the corners.
            if placed.replace(group) != Some(group) {
                corners.place(g, at, image, group * g.taps() + tap, chunk);
            }
            visit(channel, tap, &corners);
        }
    }
}

/// The gradient of what the taps of some channels read, rows as [`sample_columns`] lays them out, in the first part of `scratch`.
#[expect(clippy::too_many_arguments, reason = "one place in five axes")]
fn column_gradient<'a>(
    cpu: &Cpu,
    g: &DeformGeometry,
    weight: &[f32],
    dy: &[f32],
    image: usize,
    group: usize,
    channels: &Range<usize>,
    chunk: &Range<usize>,
    scratch: &'a mut [f32],
) -> &'a [f32] {
    let (rows, out, pixels) = (channels.len() * g.taps(), g.group_out(), g.pixels());
    let (columns, copy) = scratch.split_at_mut(g.rows() * CHUNK);
    for (o, row) in copy.chunks_exact_mut(CHUNK).take(out).enumerate() {
        let channel = image * g.conv.out_channels + group * out + o;
        row[..chunk.len()].copy_from_slice(&dy[channel * pixels..][chunk.clone()]);
    }
    columns.fill(0.0);
    cpu.isa.dispatch(Product {
        a: &weight[g.weight_start(group, channels.start)..],
        a_strides: [1, g.weight_row()],
        b: copy,
        y: columns,
        rows,
        depth: out,
        width: CHUNK,
    });
    columns
}
