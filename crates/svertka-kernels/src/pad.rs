//! Padding of blocked activations: what stands beyond the edge, and its gradient.
//!
//! All modes come from one map along one axis, [`source`]: which input cell a padded cell shows. Over the cells `1 2 3 4 5`, padded by two:
//!
//! | mode | |
//! |---|---|
//! | constant 0 | `0 0 [1 2 3 4 5] 0 0` |
//! | replicate  | `1 1 [1 2 3 4 5] 5 5` |
//! | reflect    | `3 2 [1 2 3 4 5] 4 3` |
//! | symmetric  | `2 1 [1 2 3 4 5] 5 4` |
//! | circular   | `4 5 [1 2 3 4 5] 1 2` |

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::geometry::AXES;
use crate::layout::BLOCK;
use crate::planes::Planes;
use crate::resample::Table;
use crate::threads::SharedMut;

/// What stands beyond the edge. In brackets the names of PyTorch's `padding_mode` and of NumPy's `pad`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// This value (`zeros`; `constant`).
    Constant(f32),
    /// The cell at the edge (`replicate`; `edge`).
    Replicate,
    /// The mirror image about the cell at the edge, which is not repeated (`reflect`; `reflect`).
    Reflect,
    /// The mirror image about the edge, the cell at the edge repeated (none; `symmetric`).
    Symmetric,
    /// The other end (`circular`; `wrap`).
    Circular,
}

/// The input has not the cells that a padding shows.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "padding ({}): expected at most {most} on either side of the {} of size {size}, as {}, received ({before}, {after})",
    mode.name(), AXES[*axis], mode.reason()
)]
pub struct PadError {
    /// What should stand beyond the edge.
    pub mode: PadMode,
    /// 0 depth, 1 height, 2 width.
    pub axis: usize,
    /// Cells along the axis.
    pub size: usize,
    /// The largest padding that the mode allows there.
    pub most: usize,
    /// Padding before the first cell.
    pub before: usize,
    /// Padding after the last cell.
    pub after: usize,
}

impl PadMode {
    /// PyTorch's name, or NumPy's where PyTorch has none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant(_) => "constant",
            Self::Replicate => "replicate",
            Self::Reflect => "reflect",
            Self::Symmetric => "symmetric",
            Self::Circular => "circular",
        }
    }

    /// The most cells that this mode can add on either side of `size` cells: `reflect` less than the size, `symmetric` and `circular` at most the
    /// size, `replicate` none where there is no cell.
    pub fn most(self, size: usize) -> usize {
        match self {
            Self::Constant(_) => usize::MAX,
            Self::Replicate => size.saturating_mul(usize::MAX),
            Self::Reflect => size.saturating_sub(1),
            Self::Symmetric | Self::Circular => size,
        }
    }

    /// Why it can add no more, to go on after "as".
    pub fn reason(self) -> &'static str {
        match self {
            Self::Constant(_) => "sizes are limited",
            Self::Replicate => "without cells there is no edge",
            Self::Reflect => "a reflection shows each cell once, but not the one at the edge",
            Self::Symmetric => "a mirror image shows each cell once",
            Self::Circular => "the other end shows each cell once",
        }
    }
}

/// Whether `input` can be padded by `pads`, the cells before and after along each axis; see [`PadMode::most`].
///
/// # Errors
/// For the first axis that cannot.
pub fn check(mode: PadMode, input: [usize; 3], pads: [(usize, usize); 3]) -> Result<(), PadError> {
    for (axis, (size, (before, after))) in input.into_iter().zip(pads).enumerate() {
        let most = mode.most(size);
        if before.max(after) > most {
            return Err(PadError { mode, axis, size, most, before, after });
        }
    }
    Ok(())
}

/// The cell of an axis of `size` cells that padded cell `index` shows, with `before` cells of padding before the first; `None` where it shows the
/// constant (or nothing, if [`check`] does not hold).
///
/// ```
/// use svertka_kernels::pad::{PadMode, source};
/// let cells = |mode| (0..9).map(|i| source(mode, 5, 2, i).map_or(0, |cell| cell + 1)).collect::<Vec<_>>();
/// assert_eq!(cells(PadMode::Constant(0.0)), [0, 0, 1, 2, 3, 4, 5, 0, 0]);
/// assert_eq!(cells(PadMode::Replicate), [1, 1, 1, 2, 3, 4, 5, 5, 5]);
/// assert_eq!(cells(PadMode::Reflect), [3, 2, 1, 2, 3, 4, 5, 4, 3]);
/// assert_eq!(cells(PadMode::Symmetric), [2, 1, 1, 2, 3, 4, 5, 5, 4]);
/// assert_eq!(cells(PadMode::Circular), [4, 5, 1, 2, 3, 4, 5, 1, 2]);
/// ```
pub fn source(mode: PadMode, size: usize, before: usize, index: usize) -> Option<usize> {
    // How far the padded cell lies before the first cell (at least 1) or behind the last (at least 0).
    let (left, right) = (before.saturating_sub(index), index.saturating_sub(before).checked_sub(size));
    let cell = match (mode, right) {
        (_, None) if left == 0 => Some(index - before),
        (PadMode::Constant(_), _) => None,
        (PadMode::Replicate, None) => Some(0),
        (PadMode::Replicate, Some(_)) => size.checked_sub(1),
        (PadMode::Reflect, None) => Some(left),
        (PadMode::Reflect, Some(right)) => size.checked_sub(right + 2),
        (PadMode::Symmetric, None) => Some(left - 1),
        (PadMode::Symmetric, Some(right)) => size.checked_sub(right + 1),
        (PadMode::Circular, None) => size.checked_sub(left),
        (PadMode::Circular, Some(right)) => Some(right),
    };
    cell.filter(|&cell| cell < size)
}

/// What is left of `size` cells where negative `pads` crop some before the first and after the last; `None` where that is more than there are.
pub fn kept(size: usize, pads: (i64, i64)) -> Option<usize> {
    let cropped = |pad: i64| usize::try_from(pad.min(0).unsigned_abs()).ok();
    size.checked_sub(cropped(pads.0)?)?.checked_sub(cropped(pads.1)?)
}

/// The map along one axis of `size` cells that is cropped as [`kept`] says and then padded where `pads` are positive. Cells that show the constant have no
/// taps.
///
/// # Panics
/// Where nothing is [`kept`], or the padded size passes the address space.
pub fn table(mode: PadMode, size: usize, pads: (i64, i64)) -> Table {
    let kept = kept(size, pads).expect("as many cells as are cropped");
    let (first, before, after) =
        (pads.0.min(0).unsigned_abs(), pads.0.max(0) as usize, pads.1.max(0) as usize);
    let cells = (0..before + kept + after).map(|cell| source(mode, kept, before, cell));
    Table::new(size, cells.map(|cell| cell.map(|cell| (first as usize + cell, 1.0))))
}

/// Size of the padded activation.
pub fn output(input: [usize; 3], pads: [(usize, usize); 3]) -> [usize; 3] {
    std::array::from_fn(|axis| input[axis] + pads[axis].0 + pads[axis].1)
}

/// Sizes of one padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PadGeometry {
    /// Pictures in the batch.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Spatial size of the unpadded activation.
    pub input: [usize; 3],
    /// Cells before and after, along each axis.
    pub pads: [(usize, usize); 3],
}

impl PadGeometry {
    fn planes(&self, spatial: [usize; 3]) -> Planes {
        Planes { batch: self.batch, channels: self.channels, pixels: spatial.iter().product() }
    }

    /// The row of input cells that padded row `row` of a plane shows, as an offset in the plane.
    fn source_row(&self, mode: PadMode, row: usize) -> Option<usize> {
        let height = output(self.input, self.pads)[1];
        let depth = source(mode, self.input[0], self.pads[0].0, row / height)?;
        let line = source(mode, self.input[1], self.pads[1].0, row % height)?;
        Some((depth * self.input[1] + line) * self.input[2] * BLOCK)
    }
}

/// Writes the padded `x` into `y`, both blocked. Spare lanes of a constant are zero.
///
/// # Panics
/// Where [`check`] fails or a slice has not the length of its activation.
pub fn forward(cpu: &Cpu, mode: PadMode, g: &PadGeometry, x: &[f32], y: &mut [f32]) {
    assert_eq!(check(mode, g.input, g.pads), Ok(()));
    let out = output(g.input, g.pads);
    let (from, to) = (g.planes(g.input), g.planes(out));
    assert!(x.len() == from.elements() && y.len() == to.elements());
    let (in_w, before) = (g.input[2], g.pads[2].0);
    let (rows, width) = (out[0] * out[1], out[2] * BLOCK);
    let y = SharedMut::new(y);
    run_ranges(cpu, to.count() * rows, width, |range| {
        for row in range {
            let plane = row / rows;
            let constant = constant(mode, from.channels_of(plane % from.blocks()).len());
            // SAFETY: rows do not overlap.
            let y = unsafe { y.slice(row * width, width) };
            let Some(start) = g.source_row(mode, row % rows) else {
                y.as_chunks_mut().0.fill(constant);
                continue;
            };
            let x = &x[from.range(plane)][start..][..in_w * BLOCK];
            let (left, rest) = y.split_at_mut(before * BLOCK);
            let (middle, right) = rest.split_at_mut(x.len());
            middle.copy_from_slice(x);
            let ends = [(left, 0), (right, before + in_w)];
            for (end, first) in ends {
                for (index, cell) in (first..).zip(end.chunks_exact_mut(BLOCK)) {
                    let shown = source(mode, in_w, before, index).map(|c| &x[c * BLOCK..][..BLOCK]);
                    cell.copy_from_slice(shown.unwrap_or(&constant));
                }
            }
        }
    });
}

/// The gradient of [`forward`] by `x`, written to `dx`: each cell receives the sum over the padded cells that show it.
///
/// # Panics
/// As [`forward`].
pub fn backward(cpu: &Cpu, mode: PadMode, g: &PadGeometry, dy: &[f32], dx: &mut [f32]) {
    assert_eq!(check(mode, g.input, g.pads), Ok(()));
    let out = output(g.input, g.pads);
    let (from, to) = (g.planes(g.input), g.planes(out));
    assert!(dx.len() == from.elements() && dy.len() == to.elements());
    let (in_w, before) = (g.input[2], g.pads[2].0);
    let (rows, width) = (out[0] * out[1], out[2] * BLOCK);
    let dx = SharedMut::new(dx);
    to.run(cpu, |plane, _| {
        let range = from.range(plane);
        // SAFETY: planes do not overlap.
        let dx = unsafe { dx.slice(range.start, range.len()) };
        dx.fill(0.0);
        for row in 0..rows {
            let Some(start) = g.source_row(mode, row) else { continue };
            let (dx, dy) = (&mut dx[start..][..in_w * BLOCK], &dy[to.range(plane)][row * width..][..width]);
            add(dx, &dy[before * BLOCK..][..in_w * BLOCK]);
            for index in (0..before).chain(before + in_w..out[2]) {
                if let Some(cell) = source(mode, in_w, before, index) {
                    add(&mut dx[cell * BLOCK..][..BLOCK], &dy[index * BLOCK..][..BLOCK]);
                }
            }
        }
    });
}

/// One pixel of the constant; the lanes beyond `real` stay zero.
fn constant(mode: PadMode, real: usize) -> [f32; BLOCK] {
    let mut pixel = [0.0; BLOCK];
    if let PadMode::Constant(value) = mode {
        pixel[..real].fill(value);
    }
    pixel
}

fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}
