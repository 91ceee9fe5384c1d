//! A blocked activation as the channel-wise kernels see it: planes of `pixels x 8`, one for each image and block of channels.

use std::ops::Range;

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::layout::{BLOCK, blocked_len, blocks};

/// Sizes of a blocked activation whose spatial axes do not matter one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Planes {
    /// Pictures in the batch.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Spatial cells.
    pub pixels: usize,
}

impl Planes {
    /// Elements of the activation, spare lanes among them.
    pub fn elements(&self) -> usize {
        blocked_len(self.batch, self.channels, self.pixels)
    }

    /// One value for each image and channel, blocked: what the spatial axes are reduced to.
    pub fn reduced(self) -> Self {
        Self { pixels: 1, ..self }
    }

    pub(crate) fn blocks(&self) -> usize {
        blocks(self.channels)
    }

    /// Number of planes; plane `p` is block `p % blocks` of image `p / blocks`.
    pub(crate) fn count(&self) -> usize {
        self.batch * self.blocks()
    }

    /// Where plane `plane` lies in the activation.
    pub(crate) fn range(&self, plane: usize) -> Range<usize> {
        plane * self.pixels * BLOCK..(plane + 1) * self.pixels * BLOCK
    }

    /// Calls `f(plane, block)` for each plane, small planes together in one job.
    pub(crate) fn run(&self, cpu: &Cpu, f: impl Fn(usize, usize) + Sync) {
        let blocks = self.blocks();
        run_ranges(cpu, self.count(), self.pixels * BLOCK, |planes| {
            planes.for_each(|plane| f(plane, plane % blocks));
        });
    }

    /// Channels of `block`, without its spare lanes.
    pub(crate) fn channels_of(&self, block: usize) -> Range<usize> {
        block * BLOCK..self.channels.min((block + 1) * BLOCK)
    }
}
