//! Channels of one blocked activation into another: what concatenation, splitting and their gradients are made of.

use std::ops::Range;

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::layout::{BLOCK, blocked_len, blocks};
use crate::threads::SharedMut;

/// Where channels are read: from channel `start` of a blocked activation with `channels` channels.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The activation.
    pub data: &'a [f32],
    /// All its channels.
    pub channels: usize,
    /// The first channel to read.
    pub start: usize,
}

/// Where channels are written: from channel `start` of a blocked activation with `channels` channels.
#[derive(Debug)]
pub struct Target<'a> {
    /// The activation.
    pub data: &'a mut [f32],
    /// All its channels.
    pub channels: usize,
    /// The first channel to write.
    pub start: usize,
}

/// Copies `count` channels. Other channels of `to` stay as they are; with its last channel the spare lanes are written too, as zeros.
/// Fastest where both starts leave the same remainder by eight.
///
/// Concatenation is one call for each part, into growing `to.start`; its gradient, or a split, is one call for each part from growing
/// `from.start`.
///
/// # Panics
/// Where the channels do not lie in their activations, or a slice has not the length that its layout needs.
///
/// ```
/// use svertka_kernels::{Cpu, concat::{Source, Target, copy_channels}};
/// let (red, rest) = ([1.0, 0., 0., 0., 0., 0., 0., 0.], [2.0, 3.0, 0., 0., 0., 0., 0., 0.]);
/// let (cpu, mut rgb) = (Cpu::new(1), [f32::NAN; 8]);
/// copy_channels(&cpu, 1, 1, 1, Source { data: &red, channels: 1, start: 0 }, Target { data: &mut rgb, channels: 3, start: 0 });
/// copy_channels(&cpu, 1, 1, 2, Source { data: &rest, channels: 2, start: 0 }, Target { data: &mut rgb, channels: 3, start: 1 });
/// assert_eq!(rgb, [1.0, 2.0, 3.0, 0., 0., 0., 0., 0.]);
/// ```
pub fn copy_channels(cpu: &Cpu, batch: usize, pixels: usize, count: usize, from: Source<'_>, to: Target<'_>) {
    assert!(from.start + count <= from.channels && to.start + count <= to.channels);
    assert_eq!(from.data.len(), blocked_len(batch, from.channels, pixels));
    assert_eq!(to.data.len(), blocked_len(batch, to.channels, pixels));
    if count == 0 {
        return;
    }
    let plane = pixels * BLOCK;
    let written = to.start / BLOCK..(to.start + count).div_ceil(BLOCK);
    let (in_blocks, out_blocks) = (blocks(from.channels), blocks(to.channels));
    let out = SharedMut::new(to.data);
    run_ranges(cpu, batch * written.len(), plane, |jobs| {
        for job in jobs {
            let (image, block) = (job / written.len(), written.start + job % written.len());
            // SAFETY: each job writes its own plane.
            let out = unsafe { out.slice((image * out_blocks + block) * plane, plane) };
            let end = (to.start + count).min((block + 1) * BLOCK);
            let mut channel = to.start.max(block * BLOCK);
            while channel < end {
                // The run of channels that lies in one block on both sides.
                let source = channel - to.start + from.start;
                let run = (end - channel).min(BLOCK - source % BLOCK);
                let read = &from.data[(image * in_blocks + source / BLOCK) * plane..][..plane];
                copy_lanes(read, source % BLOCK, out, channel % BLOCK..channel % BLOCK + run);
                channel += run;
            }
            if end == to.channels && !end.is_multiple_of(BLOCK) {
                out.chunks_exact_mut(BLOCK).for_each(|pixel| pixel[end % BLOCK..].fill(0.0));
            }
        }
    });
}

/// Lanes `lane..` of one plane into `lanes` of another.
fn copy_lanes(from: &[f32], lane: usize, to: &mut [f32], lanes: Range<usize>) {
    if lanes.len() == BLOCK {
        to.copy_from_slice(from);
        return;
    }
    for (lane, to_lane) in (lane..).zip(lanes) {
        for (to, from) in to.chunks_exact_mut(BLOCK).zip(from.chunks_exact(BLOCK)) {
            to[to_lane] = from[lane];
        }
    }
}
