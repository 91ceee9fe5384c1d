//! Sizes, and how the work is cut: chunks of output pixels, blocks of input channels.

use std::ops::Range;

use super::sample::{Chunk, Offsets};
use super::{CHUNK, ROWS};
use crate::geometry::ConvGeometry;

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

    pub(super) fn input_pixels(&self) -> usize {
        self.conv.input.iter().product()
    }

    pub(super) fn group_in(&self) -> usize {
        self.conv.in_channels / self.conv.groups
    }

    pub(super) fn group_out(&self) -> usize {
        self.conv.out_channels / self.conv.groups
    }

    pub(super) fn group_rows(&self) -> usize {
        self.group_in() * self.taps()
    }

    /// Whole groups of a block; one where a group is cut into several blocks.
    pub(super) fn block_groups(&self) -> usize {
        (ROWS / self.group_rows()).clamp(1, self.conv.groups)
    }

    /// Channels that a block has of each of its groups.
    pub(super) fn block_channels(&self) -> usize {
        (ROWS / self.taps()).clamp(1, self.group_in())
    }

    /// Blocks that make up one group, or several.
    pub(super) fn blocks_of_group(&self) -> usize {
        self.group_in().div_ceil(self.block_channels())
    }

    pub(super) fn blocks(&self) -> usize {
        self.conv.groups.div_ceil(self.block_groups()) * self.blocks_of_group()
    }

    pub(super) fn block(&self, index: usize) -> Block {
        let (step, part) = (index / self.blocks_of_group(), index % self.blocks_of_group());
        let groups = step * self.block_groups()..((step + 1) * self.block_groups()).min(self.conv.groups);
        let channels =
            part * self.block_channels()..((part + 1) * self.block_channels()).min(self.group_in());
        Block { groups, channels, first: part == 0, last: part + 1 == self.blocks_of_group() }
    }

    /// Rows of sampled numbers of a block, at most.
    pub(super) fn rows(&self) -> usize {
        self.block_groups() * self.block_channels() * self.taps()
    }

    /// Output channels of a block, at most.
    pub(super) fn block_out(&self) -> usize {
        self.block_groups() * self.group_out()
    }

    pub(super) fn chunks(&self) -> usize {
        self.pixels().div_ceil(CHUNK)
    }

    /// Every chunk of every image.
    pub(super) fn all_chunks(&self) -> impl Iterator<Item = Chunk> {
        (0..self.conv.batch * self.chunks()).map(|i| Chunk::new(self, i / self.chunks(), i % self.chunks()))
    }

    /// Where the weights of `group` begin that read the channels of a block; rows of output channels are [`DeformGeometry::group_rows`] apart.
    pub(super) fn weight_start(&self, group: usize, block: &Block) -> usize {
        (group * self.group_out() * self.group_in() + block.channels.start) * self.taps()
    }

    /// Elements of the offsets: vertical and horizontal for each tap of each group of offsets.
    pub fn offset_len(&self) -> usize {
        2 * self.mask_len()
    }

    /// Elements of the mask.
    pub fn mask_len(&self) -> usize {
        self.conv.batch * self.offset_groups * self.taps() * self.pixels()
    }

    pub(super) fn assert_lengths(&self, x: &[f32], at: &Offsets<'_>, y: &[f32]) {
        let &ConvGeometry { batch, in_channels, out_channels, .. } = &self.conv;
        assert_eq!(x.len(), batch * in_channels * self.input_pixels());
        assert_eq!(y.len(), batch * out_channels * self.pixels());
        assert_eq!(at.offset.len(), self.offset_len());
        assert!(at.mask.is_none_or(|mask| mask.len() == self.mask_len()));
    }
}

/// Channels whose taps are read together: of each of some groups the same ones.
pub(super) struct Block {
    pub(super) groups: Range<usize>,
    /// Within a group.
    pub(super) channels: Range<usize>,
    /// Whether these are the first channels of their groups.
    pub(super) first: bool,
    /// Whether these are the last channels of their groups.
    pub(super) last: bool,
}
