//! Grids of places for [`grid_sample`](crate::grid_sample), by affine maps (ONNX `AffineGrid`; Jaderberg et al., "Spatial transformer networks", 2015).
//!
//! Over `r` spatial axes `theta` is `batch x r x (r + 1)` and the grid `batch x spatial x r`: `grid[n, p, i] = sum over j < r of theta[n, i, j] * base[p, j] +
//! theta[n, i, r]`, where `base` counts the axes from the last (x, y, z) and runs from -1 to 1.

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::threads::SharedMut;

/// Sizes of one grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffineGrid {
    /// Maps in the batch.
    pub batch: usize,
    /// Number of spatial axes, 1 to 3.
    pub dims: usize,
    /// Spatial size of the grid, with leading ones.
    pub output: [usize; 3],
    /// Whether -1 and 1 are the middles of the outer cells, or their outer edges.
    pub align_corners: bool,
}

impl AffineGrid {
    fn places(&self) -> usize {
        self.output.iter().product()
    }

    fn map_len(&self) -> usize {
        self.dims * (self.dims + 1)
    }

    /// The homogeneous base vector of a place, x first; its elements beyond `dims` are zero.
    fn base(&self, place: usize) -> [f32; 4] {
        let [_, out_h, out_w] = self.output;
        let cells = [place % out_w, place / out_w % out_h, place / out_w / out_h];
        let mut base = [0.0; 4];
        for (axis, base) in base[..self.dims].iter_mut().enumerate() {
            let (cell, size) = (cells[axis] as f32, self.output[2 - axis] as f32);
            *base = match self.align_corners {
                // A single cell lies in the middle.
                true if size <= 1.0 => 0.0,
                true => 2.0 * cell / (size - 1.0) - 1.0,
                false => (2.0 * cell + 1.0) / size - 1.0,
            };
        }
        base[self.dims] = 1.0;
        base
    }
}

/// Writes the places of `theta` into `grid`.
///
/// # Panics
/// Where a slice has not the length that its shape needs.
pub fn forward(cpu: &Cpu, g: &AffineGrid, theta: &[f32], grid: &mut [f32]) {
    let (dims, places) = (g.dims, g.places());
    assert!(theta.len() == g.batch * g.map_len() && grid.len() == g.batch * places * dims);
    let grid = SharedMut::new(grid);
    run_ranges(cpu, g.batch * places, g.map_len(), |range| {
        // SAFETY: ranges do not overlap.
        let grid = unsafe { grid.slice(range.start * dims, range.len() * dims) };
        for (place, grid) in range.zip(grid.chunks_exact_mut(dims)) {
            let base = g.base(place % places);
            let theta = &theta[place / places * g.map_len()..][..g.map_len()];
            for (grid, row) in grid.iter_mut().zip(theta.chunks_exact(dims + 1)) {
                *grid = row.iter().zip(base).map(|(theta, base)| theta * base).sum();
            }
        }
    });
}

/// The gradient of [`forward`] by `theta`.
///
/// # Panics
/// As [`forward`].
pub fn backward(cpu: &Cpu, g: &AffineGrid, d_grid: &[f32], d_theta: &mut [f32]) {
    let (dims, places) = (g.dims, g.places());
    assert!(d_theta.len() == g.batch * g.map_len() && d_grid.len() == g.batch * places * dims);
    let d_theta = SharedMut::new(d_theta);
    run_ranges(cpu, g.batch, g.map_len().saturating_mul(places), |pictures| {
        for picture in pictures {
            // SAFETY: pictures do not overlap.
            let d_theta = unsafe { d_theta.slice(picture * g.map_len(), g.map_len()) };
            let mut sums = [[0.0f64; 4]; 3];
            for (place, d_grid) in
                d_grid[picture * places * dims..].chunks_exact(dims).take(places).enumerate()
            {
                let base = g.base(place);
                for (sums, d_grid) in sums.iter_mut().zip(d_grid) {
                    sums.iter_mut().zip(base).for_each(|(sum, base)| *sum += f64::from(d_grid * base));
                }
            }
            for (d_theta, sums) in d_theta.chunks_exact_mut(dims + 1).zip(sums) {
                d_theta.iter_mut().zip(sums).for_each(|(d_theta, sum)| *d_theta = sum as f32);
            }
        }
    });
}
