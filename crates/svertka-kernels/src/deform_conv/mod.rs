//! Deformable convolution over two spatial axes (Dai et al., "Deformable Convolutional Networks", 2017; Zhu et al., "Deformable ConvNets v2", 2018)
//! and its gradients, in the plain layout: each tap of each window reads where an offset moves it, between the cells, and by a mask
//! more or less.
//!
//! All four passes have one shape: a chunk of output pixels at a time, the numbers that some channels' taps read there are laid out as rows
//! (`channels * taps x pixels`), and a dense product joins rows and weight. So a sampled number is computed once for all output
//! channels. Sums over more than a chunk or a block are sums of sums.

mod blocks;
mod product;
mod sample;

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::threads::SharedMut;
use blocks::Block;
pub use blocks::DeformGeometry;
use product::{Product, WIDTH};
pub use sample::Offsets;
use sample::{Chunk, Corners};

/// Output pixels of one chunk.
const CHUNK: usize = 64;
const _: () = assert!(CHUNK.is_multiple_of(WIDTH));

/// Rows of sampled numbers that a block of channels has at most, unless the kernel alone has more: they stay in the cache.
const ROWS: usize = 128;

/// Scratch of [`forward`].
pub fn forward_scratch_len(g: &DeformGeometry, threads: usize) -> usize {
    threads * (g.rows() + g.block_out()) * CHUNK
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
        let chunk = Chunk::new(g, job / g.chunks(), job % g.chunks());
        // SAFETY: each worker has its part.
        let scratch = unsafe { scratch.slice(worker * each, each) };
        let (columns, sums) = scratch.split_at_mut(g.rows() * CHUNK);
        for block in (0..g.blocks()).map(|index| g.block(index)) {
            let rows = block.channels.len() * g.taps();
            let layout = Layout { group: rows * CHUNK, row: CHUNK, pixel: 1 };
            sample_columns(cpu, g, x, &at, &block, &chunk, columns, layout);
            for (group, columns) in block.groups.clone().zip(columns.chunks(layout.group)) {
                let sums = &mut sums[(group - block.groups.start) * out * CHUNK..][..out * CHUNK];
                if block.first {
                    for (o, sums) in sums.chunks_exact_mut(CHUNK).enumerate() {
                        sums.fill(bias.map_or(0.0, |bias| bias[group * out + o]));
                    }
                }
                cpu.isa.dispatch(Product {
                    a: &weight[g.weight_start(group, &block)..],
                    a_strides: [g.group_rows(), 1],
                    b: columns,
                    y: sums,
                    rows: out,
                    depth: rows,
                    width: CHUNK,
                });
                if block.last {
                    for (o, sums) in sums.chunks_exact(CHUNK).enumerate() {
                        let channel = chunk.image * g.conv.out_channels + group * out + o;
                        // SAFETY: these pixels of this image belong to this job.
                        let y = unsafe { y.slice(channel * pixels + chunk.pixels.start, chunk.len()) };
                        y.copy_from_slice(&sums[..chunk.len()]);
                    }
                }
            }
        }
    });
}

/// Scratch of [`weight_backward`].
pub fn weight_backward_scratch_len(g: &DeformGeometry, threads: usize) -> usize {
    let width = (g.block_channels() * g.taps()).next_multiple_of(WIDTH);
    threads * g.block_groups() * (CHUNK + g.group_out()) * width
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
    let width = (g.block_channels() * g.taps()).next_multiple_of(WIDTH);
    let (dw, scratch) = (SharedMut::new(dw), SharedMut::new(scratch));
    cpu.threads.run(g.blocks(), |job, worker| {
        let block = g.block(job);
        // SAFETY: each worker has its part.
        let scratch = unsafe { scratch.slice(worker * each, each) };
        let (columns, sums) = scratch.split_at_mut(g.block_groups() * CHUNK * width);
        sums.fill(0.0);
        // Pixels as rows, so that the product adds up over them.
        let layout = Layout { group: CHUNK * width, row: 1, pixel: width };
        for chunk in g.all_chunks() {
            sample_columns(cpu, g, x, &at, &block, &chunk, columns, layout);
            let parts = columns.chunks(layout.group).zip(sums.chunks_exact_mut(out * width));
            for (group, (columns, sums)) in block.groups.clone().zip(parts) {
                let channel = chunk.image * g.conv.out_channels + group * out;
                cpu.isa.dispatch(Product {
                    a: &dy[channel * pixels + chunk.pixels.start..],
                    a_strides: [pixels, 1],
                    b: columns,
                    y: sums,
                    rows: out,
                    depth: chunk.len(),
                    width,
                });
            }
        }
        let len = block.channels.len() * g.taps();
        for (group, sums) in block.groups.clone().zip(sums.chunks_exact(out * width)) {
            for (o, sums) in sums.chunks_exact(width).enumerate() {
                let start = g.weight_start(group, &block) + o * g.group_rows();
                // SAFETY: the weights of these input channels belong to this job.
                unsafe { dw.slice(start, len) }.copy_from_slice(&sums[..len]);
            }
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
    assert_eq!(weight.len(), g.conv.weight_len());
    let (each, pixels) = (input_backward_scratch_len(g, 1), g.input_pixels());
    let (dx, scratch) = (SharedMut::new(dx), SharedMut::new(scratch));
    cpu.threads.run(g.conv.batch * g.blocks(), |job, worker| {
        let (image, block) = (job / g.blocks(), g.block(job % g.blocks()));
        // SAFETY: each worker has its part.
        let scratch = unsafe { scratch.slice(worker * each, each) };
        // SAFETY: the channels of this block of this image belong to this job, which holds one at a time.
        let plane = |channel| unsafe { dx.slice((image * g.conv.in_channels + channel) * pixels, pixels) };
        for group in block.groups.clone() {
            block.channels.clone().for_each(|channel| plane(group * g.group_in() + channel).fill(0.0));
        }
        for chunk in (0..g.chunks()).map(|index| Chunk::new(g, image, index)) {
            let columns = column_gradient(cpu, g, weight, dy, &block, &chunk, scratch);
            each_sample(cpu, g, &at, &block, &chunk, |_, channel, row, corners| {
                corners.scatter(&columns[row * CHUNK..][..chunk.len()], plane(channel));
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
    assert!(weight.len() == g.conv.weight_len() && d_offset.len() == at.offset.len());
    assert!(d_mask.as_ref().is_none_or(|d_mask| d_mask.len() == g.mask_len()));
    let (each, moved) = (offset_backward_scratch_len(g, 1), g.offset_groups * g.taps());
    let (pixels, in_pixels) = (g.pixels(), g.input_pixels());
    let (d_offset, d_mask) = (SharedMut::new(d_offset), d_mask.map(SharedMut::new));
    let scratch = SharedMut::new(scratch);
    cpu.threads.run(g.conv.batch * g.chunks(), |job, worker| {
        let chunk = Chunk::new(g, job / g.chunks(), job % g.chunks());
        // SAFETY: each worker has its part.
        let scratch = unsafe { scratch.slice(worker * each, each) };
        // For each moved tap, what each of its four corners gets over all channels: offset and mask differ in how they weigh these.
        let (sums, scratch) = scratch.split_at_mut(4 * moved * CHUNK);
        sums.fill(0.0);
        let (sums, _) = sums.as_chunks_mut();
        for block in (0..g.blocks()).map(|index| g.block(index)) {
            let columns = column_gradient(cpu, g, weight, dy, &block, &chunk, scratch);
            each_sample(cpu, g, &at, &block, &chunk, |moved, channel, row, corners| {
                let plane = &x[(chunk.image * g.conv.in_channels + channel) * in_pixels..][..in_pixels];
                corners.add_products(&columns[row * CHUNK..][..chunk.len()], plane, &mut sums[moved]);
            });
        }
        let mut corners = Corners::default();
        for (index, sums) in sums.iter().enumerate() {
            corners.place(cpu.isa, g, &at, index, &chunk);
            let row = chunk.image * moved + index;
            let start = |row: usize| row * pixels + chunk.pixels.start;
            // SAFETY: these pixels of this image belong to this job.
            let parts = [2 * row, 2 * row + 1].map(|row| unsafe { d_offset.slice(start(row), chunk.len()) });
            // SAFETY: as above.
            let part = d_mask.map(|d_mask| unsafe { d_mask.slice(start(row), chunk.len()) });
            corners.derivatives(sums, parts, part);
        }
    });
}

/// Where the numbers of a block lie: those of a group together, and in it by rows, which are taps within channels, and pixels.
#[derive(Clone, Copy)]
struct Layout {
    group: usize,
    row: usize,
    pixel: usize,
}

/// Lays out what the taps of a block's channels read.
#[expect(clippy::too_many_arguments, reason = "one place in five axes")]
fn sample_columns(
    cpu: &Cpu,
    g: &DeformGeometry,
    x: &[f32],
    at: &Offsets<'_>,
    block: &Block,
    chunk: &Chunk,
    columns: &mut [f32],
    layout: Layout,
) {
    let (pixels, rows) = (g.input_pixels(), block.channels.len() * g.taps());
    each_sample(cpu, g, at, block, chunk, |_, channel, row, corners| {
        let plane = &x[(chunk.image * g.conv.in_channels + channel) * pixels..][..pixels];
        let start = row / rows * layout.group + row % rows * layout.row;
        corners.gather(plane, chunk.len(), &mut columns[start..], layout.pixel);
    });
}

/// Calls `visit(moved, channel, row, corners)` for each tap of each channel of a block: the tap among those of its group of offsets, the channel among all,
/// the row among those of the block.
fn each_sample(
    cpu: &Cpu,
    g: &DeformGeometry,
    at: &Offsets<'_>,
    block: &Block,
    chunk: &Chunk,
    mut visit: impl FnMut(usize, usize, usize, &Corners),
) {
    let of_offsets = g.conv.in_channels / g.offset_groups;
    let mut corners = Corners::default();
    for tap in 0..g.taps() {
        let mut placed = None;
        let channels = block
            .groups
            .clone()
            .flat_map(|group| block.channels.clone().map(move |c| group * g.group_in() + c));
        for (index, channel) in channels.enumerate() {
            let moved = channel / of_offsets * g.taps() + tap;
            // Channels that are moved alike share the corners.
            if placed.replace(moved) != Some(moved) {
                corners.place(cpu.isa, g, at, moved, chunk);
            }
            visit(moved, channel, index * g.taps() + tap, &corners);
        }
    }
}

/// The gradient of what the taps of a block's channels read, a row of `scratch` for each tap.
fn column_gradient<'a>(
    cpu: &Cpu,
    g: &DeformGeometry,
    weight: &[f32],
    dy: &[f32],
    block: &Block,
    chunk: &Chunk,
    scratch: &'a mut [f32],
) -> &'a [f32] {
    let (rows, out, pixels) = (block.channels.len() * g.taps(), g.group_out(), g.pixels());
    let (columns, copy) = scratch.split_at_mut(g.rows() * CHUNK);
    columns.fill(0.0);
    for (group, columns) in block.groups.clone().zip(columns.chunks_exact_mut(rows * CHUNK)) {
        for (o, row) in copy.chunks_exact_mut(CHUNK).take(out).enumerate() {
            let channel = chunk.image * g.conv.out_channels + group * out + o;
            row[..chunk.len()].copy_from_slice(&dy[channel * pixels..][chunk.pixels.clone()]);
        }
        cpu.isa.dispatch(Product {
            a: &weight[g.weight_start(group, block)..],
            a_strides: [1, g.group_rows()],
            b: copy,
            y: columns,
            rows,
            depth: out,
            width: CHUNK,
        });
    }
    columns
}
