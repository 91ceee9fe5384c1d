//! What a pass reads or writes: channels, cells and how they lie in memory.

/// One side of the product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) channels: usize,
    pub(crate) cells: usize,
    /// Channels that stand side by side: a block of them, or one where the layout is plain.
    pub(crate) lanes: usize,
}

impl Side {
    pub(crate) fn blocks(self) -> usize {
        self.channels.div_ceil(self.lanes)
    }

    /// Elements of one image.
    pub(crate) fn image_len(self) -> usize {
        self.blocks() * self.cells * self.lanes
    }

    /// Where a channel of a cell stands in its image.
    pub(crate) fn at(self, channel: usize, cell: usize) -> usize {
        (channel / self.lanes * self.cells + cell) * self.lanes + channel % self.lanes
    }
}
