//! Blocks of pixels into channels and back (ONNX `DepthToSpace`, `SpaceToDepth`), of plain activations: permuted copies.

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::threads::SharedMut;

/// Which channel of the deep side holds pixel `(row, column)` of the blocks of channel `c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOrder {
    /// `(row * block + column) * channels + c`: depth, column, row (ONNX `DCR`).
    DepthFirst,
    /// `(c * block + row) * block + column`: column, row, depth (ONNX `CRD`, PyTorch's pixel shuffle).
    DepthLast,
}

/// Sizes of one rearrangement: `batch x channels * block^2 x height x width` on the deep side, `batch x channels x height * block x width * block` on
/// the wide one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockGeometry {
    /// Pictures in the batch.
    pub batch: usize,
    /// Channels on the wide side.
    pub channels: usize,
    /// Height on the deep side.
    pub height: usize,
    /// Width on the deep side.
    pub width: usize,
    /// Pixels of a block along either axis.
    pub block: usize,
    /// Order of the channels on the deep side.
    pub order: BlockOrder,
}

impl BlockGeometry {
    fn elements(&self) -> usize {
        self.batch * self.channels * self.block * self.block * self.height * self.width
    }

    /// Lines of `width * block` pixels on the wide side.
    fn lines(&self) -> usize {
        self.batch * self.channels * self.height * self.block
    }

    /// Where the line of the deep side begins whose pixels are every `block`th pixel of wide line `line`, from `column` on.
    fn deep(&self, line: usize, column: usize) -> usize {
        let Self { channels, height, width, block, order, .. } = *self;
        let (row, h, plane) = (line % block, line / block % height, line / block / height);
        let (c, picture) = (plane % channels, plane / channels);
        let channel = match order {
            BlockOrder::DepthFirst => (row * block + column) * channels + c,
            BlockOrder::DepthLast => (c * block + row) * block + column,
        };
        ((picture * channels * block * block + channel) * height + h) * width
    }
}

/// Writes the deep `x` wide into `y`.
///
/// # Panics
/// Where a slice has not the length of the activation.
pub fn depth_to_space(cpu: &Cpu, g: &BlockGeometry, x: &[f32], y: &mut [f32]) {
    assert!(x.len() == g.elements() && y.len() == g.elements());
    let (block, width) = (g.block, g.width);
    let y = SharedMut::new(y);
    run_ranges(cpu, g.lines(), width * block, |lines| {
        for line in lines {
            // SAFETY: lines do not overlap.
            let y = unsafe { y.slice(line * width * block, width * block) };
            for column in 0..block.min(y.len()) {
                let x = &x[g.deep(line, column)..][..width];
                y[column..].iter_mut().step_by(block).zip(x).for_each(|(y, x)| *y = *x);
            }
        }
    });
}

/// Writes the wide `x` deep into `y`: the inverse of [`depth_to_space`], and its gradient.
///
/// # Panics
/// Where a slice has not the length of the activation.
pub fn space_to_depth(cpu: &Cpu, g: &BlockGeometry, x: &[f32], y: &mut [f32]) {
    assert!(x.len() == g.elements() && y.len() == g.elements());
    let (block, width) = (g.block, g.width);
    let y = SharedMut::new(y);
    run_ranges(cpu, g.lines(), width * block, |lines| {
        for line in lines {
            let x = &x[line * width * block..][..width * block];
            for column in 0..block.min(x.len()) {
                // SAFETY: each line and column of the wide side is a line of the deep side of its own.
                let y = unsafe { y.slice(g.deep(line, column), width) };
                y.iter_mut().zip(x[column..].iter().step_by(block)).for_each(|(y, x)| *y = *x);
            }
        }
    });
}
