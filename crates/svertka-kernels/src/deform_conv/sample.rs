//! Where a moved tap reads: between four cells, each of which counts by how near it is.

use std::ops::Range;

use super::{CHUNK, DeformGeometry};

/// How far the taps are moved, and how much they count.
#[derive(Clone, Copy, Debug)]
pub struct Offsets<'a> {
    /// Vertical and horizontal, `N x offset_groups * taps * 2 x output`.
    pub offset: &'a [f32],
    /// `N x offset_groups * taps x output`; all one where it is missing.
    pub mask: Option<&'a [f32]>,
}

/// Index of a corner outside the picture: no plane has it.
const OUTSIDE: usize = usize::MAX;

/// One tap over the pixels of a chunk. Corners are in the order upper left, upper right, lower left, lower right.
pub(super) struct Corners {
    /// Cells of a plane.
    index: [[usize; CHUNK]; 4],
    /// What each contributes, the mask among it.
    weight: [[f32; CHUNK]; 4],
    /// How far the position lies below and right of the upper left corner.
    fraction: [[f32; CHUNK]; 2],
    mask: [f32; CHUNK],
}

impl Default for Corners {
    fn default() -> Self {
        let (index, weight) = ([[OUTSIDE; CHUNK]; 4], [[0.0; CHUNK]; 4]);
        Self { index, weight, fraction: [[0.0; CHUNK]; 2], mask: [0.0; CHUNK] }
    }
}

impl Corners {
    /// Sets this to tap `moved % taps` as offset group `moved / taps` moves it.
    pub(super) fn place(
        &mut self,
        g: &DeformGeometry,
        at: &Offsets<'_>,
        image: usize,
        moved: usize,
        chunk: &Range<usize>,
    ) {
        let (window, [_, _, out_w], [_, height, width]) = (&g.conv.window, g.conv.output, g.conv.input);
        let (taps, pixels) = (g.taps(), g.pixels());
        let tap = [moved % taps / window.kernel[2], moved % taps % window.kernel[2]];
        let row = image * g.offset_groups * taps + moved;
        let offset = [2 * row, 2 * row + 1].map(|row| &at.offset[row * pixels..][chunk.clone()]);
        match at.mask {
            Some(mask) => self.mask[..chunk.len()].copy_from_slice(&mask[row * pixels..][chunk.clone()]),
            None => self.mask.fill(1.0),
        }
        let mut cell = [chunk.start / out_w, chunk.start % out_w];
        for p in 0..chunk.len() {
            // Where the tap lies without an offset may be left of the first cell.
            let [y, x] = [0, 1].map(|a| {
                let (axis, start) = (a + 1, cell[a] * window.stride[a + 1] + tap[a] * window.dilation[a + 1]);
                start as f32 - window.padding[axis].0 as f32 + offset[a][p]
            });
            let (top, left) = (y.floor(), x.floor());
            let [down, right] = [y - top, x - left];
            for (a, fraction) in [down, right].into_iter().enumerate() {
                self.fraction[a][p] = fraction;
            }
            let weights = weights(down, right);
            for (corner, (line, column)) in
                [(top, left), (top, left + 1.0), (top + 1.0, left), (top + 1.0, left + 1.0)]
                    .into_iter()
                    .enumerate()
            {
                // Not-a-number compares as not outside and becomes cell 0, so that its weight is seen.
                let outside = line < 0.0 || column < 0.0 || line >= height as f32 || column >= width as f32;
                self.index[corner][p] =
                    if outside { OUTSIDE } else { line as usize * width + column as usize };
                self.weight[corner][p] = weights[corner] * self.mask[p];
            }
            cell[1] += 1;
            if cell[1] == out_w {
                cell = [cell[0] + 1, 0];
            }
        }
    }

    /// Number `p * stride` of `to` is what the tap reads of `plane` at pixel `p`.
    pub(super) fn gather(&self, plane: &[f32], len: usize, to: &mut [f32], stride: usize) {
        for (p, to) in to.iter_mut().step_by(stride).take(len).enumerate() {
            *to = (0..4).map(|corner| self.weight[corner][p] * self.read(plane, corner, p)).sum();
        }
    }

    /// Gives the gradient of what the tap read to the cells of `plane`.
    pub(super) fn scatter(&self, gradient: &[f32], plane: &mut [f32]) {
        for (p, gradient) in gradient.iter().enumerate() {
            for corner in 0..4 {
                if let Some(cell) = plane.get_mut(self.index[corner][p]) {
                    *cell += self.weight[corner][p] * gradient;
                }
            }
        }
    }

    /// Adds the products of the gradient and each corner's cell to the four rows of `sums`.
    pub(super) fn add_products(&self, gradient: &[f32], plane: &[f32], sums: &mut [f32]) {
        for (corner, sums) in sums.chunks_exact_mut(CHUNK).enumerate() {
            for ((p, gradient), sum) in gradient.iter().enumerate().zip(sums) {
                *sum += gradient * self.read(plane, corner, p);
            }
        }
    }

    /// From the sums of [`Corners::add_products`] the derivatives by vertical and horizontal offset and by the mask.
    pub(super) fn derivatives(&self, sums: &[f32], offset: [&mut [f32]; 2], mask: Option<&mut [f32]>) {
        let sum = |p: usize, factors: [f32; 4]| {
            (0..4).map(|corner| factors[corner] * sums[corner * CHUNK + p]).sum::<f32>()
        };
        let [vertical, horizontal] = offset;
        for (p, (by_y, by_x)) in vertical.iter_mut().zip(horizontal).enumerate() {
            let [down, right] = [self.fraction[0][p], self.fraction[1][p]];
            *by_y = self.mask[p] * sum(p, [right - 1.0, -right, 1.0 - right, right]);
            *by_x = self.mask[p] * sum(p, [down - 1.0, 1.0 - down, -down, down]);
        }
        for (p, by_mask) in mask.into_iter().flatten().enumerate() {
            *by_mask = sum(p, weights(self.fraction[0][p], self.fraction[1][p]));
        }
    }

    /// A corner's cell, zero outside.
    fn read(&self, plane: &[f32], corner: usize, p: usize) -> f32 {
        plane.get(self.index[corner][p]).copied().unwrap_or(0.0)
    }
}

/// How much each corner counts for a position so far below and right of the upper left one.
fn weights(down: f32, right: f32) -> [f32; 4] {
    let (up, left) = (1.0 - down, 1.0 - right);
    [up * left, up * right, down * left, down * right]
}
