//! Where a moved tap reads: between four cells, each of which counts by how near it is.

use std::ops::Range;

use super::{CHUNK, DeformGeometry};
use crate::cpu::{Isa, WithSimd};
use crate::simd::Simd;

/// How far the taps are moved, and how much they count.
#[derive(Clone, Copy, Debug)]
pub struct Offsets<'a> {
    /// Vertical and horizontal, `N x offset_groups * taps * 2 x output`.
    pub offset: &'a [f32],
    /// `N x offset_groups * taps x output`; all one where it is missing.
    pub mask: Option<&'a [f32]>,
}

/// Index of a corner outside the picture: no plane has it.
const OUTSIDE: u32 = u32::MAX;

/// The pixels of a chunk of one image, and where their windows begin.
pub(super) struct Chunk {
    pub(super) image: usize,
    pub(super) pixels: Range<usize>,
    start: [[f32; CHUNK]; 2],
}

impl Chunk {
    pub(super) fn new(g: &DeformGeometry, image: usize, index: usize) -> Self {
        let pixels = index * CHUNK..((index + 1) * CHUNK).min(g.pixels());
        let mut start = [[0.0; CHUNK]; 2];
        for (p, pixel) in pixels.clone().enumerate() {
            let cell = [pixel / g.conv.output[2], pixel % g.conv.output[2]];
            for (a, start) in start.iter_mut().enumerate() {
                // A window may begin before the first cell.
                let padding = g.conv.window.padding[a + 1].0;
                start[p] = (cell[a] * g.conv.window.stride[a + 1]) as f32 - padding as f32;
            }
        }
        Self { image, pixels, start }
    }

    pub(super) fn len(&self) -> usize {
        self.pixels.len()
    }
}

/// One tap over the pixels of a chunk. Corners are in the order upper left, upper right, lower left, lower right.
pub(super) struct Corners {
    /// Cells of a plane.
    index: [[u32; CHUNK]; 4],
    /// What each contributes, the mask among it.
    weight: [[f32; CHUNK]; 4],
    /// How far the position lies below and right of the upper left corner.
    fraction: [[f32; CHUNK]; 2],
    mask: [f32; CHUNK],
}

impl Default for Corners {
    fn default() -> Self {
        let (index, weight) = ([[OUTSIDE; CHUNK]; 4], [[0.0; CHUNK]; 4]);
        Self { index, weight, fraction: [[0.0; CHUNK]; 2], mask: [1.0; CHUNK] }
    }
}

impl Corners {
    /// Sets this to tap `moved % taps` as offset group `moved / taps` moves it.
    pub(super) fn place(
        &mut self,
        isa: Isa,
        g: &DeformGeometry,
        at: &Offsets<'_>,
        moved: usize,
        chunk: &Chunk,
    ) {
        let (window, taps, pixels) = (&g.conv.window, g.taps(), g.pixels());
        let row = chunk.image * g.offset_groups * taps + moved;
        let tap = [moved % taps / window.kernel[2], moved % taps % window.kernel[2]];
        let mut position = chunk.start;
        for (a, position) in position.iter_mut().enumerate() {
            let tap = (tap[a] * window.dilation[a + 1]) as f32;
            let offset = &at.offset[(2 * row + a) * pixels..][chunk.pixels.clone()];
            position
                .iter_mut()
                .zip(offset)
                .for_each(|(position, offset)| *position = *position + tap + offset);
        }
        if let Some(mask) = at.mask {
            self.mask[..chunk.len()].copy_from_slice(&mask[row * pixels..][chunk.pixels.clone()]);
        }
        let [_, height, width] = g.conv.input;
        isa.dispatch(Place { corners: self, position: &position, height, width });
    }

    /// Number `p * stride` of `to` is what the tap reads of `plane` at pixel `p`.
    pub(super) fn gather(&self, plane: &[f32], len: usize, to: &mut [f32], stride: usize) {
        let [a, b, c, d] = &self.weight;
        for p in 0..len.min(CHUNK) {
            let above = a[p] * self.read(plane, 0, p) + b[p] * self.read(plane, 1, p);
            let below = c[p] * self.read(plane, 2, p) + d[p] * self.read(plane, 3, p);
            to[p * stride] = above + below;
        }
    }

    /// Gives the gradient of what the tap read to the cells of `plane`.
    pub(super) fn scatter(&self, gradient: &[f32], plane: &mut [f32]) {
        for (p, gradient) in gradient.iter().enumerate() {
            for corner in 0..4 {
                if let Some(cell) = plane.get_mut(self.index[corner][p] as usize) {
                    *cell += self.weight[corner][p] * gradient;
                }
            }
        }
    }

    /// Adds the products of the gradient and each corner's cell to the four rows of `sums`.
    pub(super) fn add_products(&self, gradient: &[f32], plane: &[f32], sums: &mut [f32; 4 * CHUNK]) {
        for (p, gradient) in gradient.iter().enumerate().take(CHUNK) {
            for corner in 0..4 {
                sums[corner * CHUNK + p] += gradient * self.read(plane, corner, p);
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
    #[inline(always)]
    fn read(&self, plane: &[f32], corner: usize, p: usize) -> f32 {
        plane.get(self.index[corner][p] as usize).copied().unwrap_or(0.0)
    }
}

/// The corners around positions; those behind the end of the chunk are as good as any.
struct Place<'a> {
    corners: &'a mut Corners,
    position: &'a [[f32; CHUNK]; 2],
    height: usize,
    width: usize,
}

impl WithSimd for Place<'_> {
    type Output = ();

    /// Plain code: rounding down is one instruction only where the instruction set has it.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { corners, position: [vertical, horizontal], height, width } = self;
        for p in 0..CHUNK {
            let (top, left) = (vertical[p].floor(), horizontal[p].floor());
            let (down, right) = (vertical[p] - top, horizontal[p] - left);
            (corners.fraction[0][p], corners.fraction[1][p]) = (down, right);
            let weights = weights(down, right);
            for (corner, weight) in weights.into_iter().enumerate() {
                let line = if corner < 2 { top } else { top + 1.0 };
                let column = if corner % 2 == 0 { left } else { left + 1.0 };
                // Not-a-number compares as not outside and becomes cell 0, so that its weight is seen.
                let outside = line < 0.0 || column < 0.0 || line >= height as f32 || column >= width as f32;
                let cell = (line as i32 as u32).wrapping_mul(width as u32).wrapping_add(column as i32 as u32);
                corners.index[corner][p] = if outside { OUTSIDE } else { cell };
                corners.weight[corner][p] = weight * corners.mask[p];
            }
        }
    }
}

/// How much each corner counts for a position so far below and right of the upper left one.
#[inline(always)]
fn weights(down: f32, right: f32) -> [f32; 4] {
    let (up, left) = (1.0 - down, 1.0 - right);
    [up * left, up * right, down * left, down * right]
}
