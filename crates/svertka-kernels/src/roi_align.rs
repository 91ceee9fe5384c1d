//! Regions of pictures brought to one size (ONNX `RoiAlign`; He et al., "Mask R-CNN", 2017), and the gradient of the pictures.
//!
//! Each output cell is a bin of its region, with points in it on a regular grid; the value at a point is linear between the four cells around it, and zero more
//! than a cell outside the picture. A region whose numbers are not finite, or whose picture there is not, gives not-a-number.

use std::ops::Range;

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::layout::BLOCK;
use crate::planes::Planes;
use crate::threads::SharedMut;

/// How the points of a bin become a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoiMode {
    /// Their mean.
    Average,
    /// The largest product of a cell and its weight, as ONNX defines it.
    Max,
}

/// Everything about one alignment but its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoiGeometry {
    /// Pictures in the batch.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Height and width of the pictures; at least one cell each.
    pub input: [usize; 2],
    /// Number of regions.
    pub regions: usize,
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Average or maximum.
    pub mode: RoiMode,
    /// Points of a bin along either axis; 0 for as many as it has cells.
    pub sampling_ratio: usize,
    /// Cells of the picture for one unit of the regions' coordinates.
    pub spatial_scale: f32,
    /// Whether whole coordinates are edges of cells, or their middles.
    pub half_pixel: bool,
}

/// Writes the regions `rois` (`regions x 4`: x and y of the first corner, then of the last) of the pictures `indices` into `y`; `x` and `y` are blocked.
///
/// # Panics
/// Where a slice has not the length that its shape needs.
pub fn forward(cpu: &Cpu, g: &RoiGeometry, x: &[f32], rois: &[f32], indices: &[f32], y: &mut [f32]) {
    let (pictures, bins) = g.check(x, rois, indices, y);
    let y = SharedMut::new(y);
    run_ranges(cpu, bins.count(), bins.pixels * BLOCK * 16, |planes| {
        for plane in planes {
            let (region, block) = (plane / pictures.blocks(), plane % pictures.blocks());
            let range = bins.range(plane);
            // SAFETY: planes do not overlap.
            let y = unsafe { y.slice(range.start, range.len()) };
            let Some(region) = g.region(rois, indices, region) else {
                y.fill(0.0);
                let real = bins.channels_of(block).len();
                y.as_chunks_mut::<BLOCK>().0.iter_mut().for_each(|y| y[..real].fill(f32::NAN));
                continue;
            };
            let x = &x[pictures.range(region.picture * pictures.blocks() + block)];
            for (bin, y) in y.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                *y = match g.mode {
                    RoiMode::Average => {
                        let mut sum = [0.0; BLOCK];
                        g.points(&region, bin, |cell, weight| {
                            let x = &x[cell * BLOCK..][..BLOCK];
                            (0..BLOCK).for_each(|lane| sum[lane] += weight * x[lane]);
                        });
                        sum.map(|sum| sum / region.points())
                    }
                    RoiMode::Max => g.maxima(&region, bin, x).map(|max| max.value),
                };
            }
        }
    });
}

/// The gradient of [`forward`] by `x`, written to `dx`. With [`RoiMode::Max`] the first largest product takes it, which `x` tells.
///
/// # Panics
/// As [`forward`].
pub fn backward(
    cpu: &Cpu,
    g: &RoiGeometry,
    x: &[f32],
    rois: &[f32],
    indices: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    let (pictures, bins) = g.check(x, rois, indices, dy);
    assert_eq!(dx.len(), x.len());
    let dx = SharedMut::new(dx);
    let cost = g.regions.saturating_mul(bins.pixels * BLOCK * 16) / g.batch.max(1);
    run_ranges(cpu, pictures.count(), cost, |planes| {
        for plane in planes {
            let (picture, block) = (plane / pictures.blocks(), plane % pictures.blocks());
            let range = pictures.range(plane);
            // SAFETY: planes do not overlap.
            let dx = unsafe { dx.slice(range.start, range.len()) };
            dx.fill(0.0);
            for number in 0..g.regions {
                let Some(region) = g.region(rois, indices, number).filter(|region| region.picture == picture)
                else {
                    continue;
                };
                let dy = &dy[bins.range(number * pictures.blocks() + block)];
                for (bin, dy) in dy.as_chunks::<BLOCK>().0.iter().enumerate() {
                    match g.mode {
                        RoiMode::Average => {
                            let share = dy.map(|dy| dy / region.points());
                            g.points(&region, bin, |cell, weight| {
                                let dx = &mut dx[cell * BLOCK..][..BLOCK];
                                (0..BLOCK).for_each(|lane| dx[lane] += weight * share[lane]);
                            });
                        }
                        RoiMode::Max => {
                            let maxima = g.maxima(&region, bin, &x[range.clone()]);
                            for (lane, max) in maxima.into_iter().enumerate() {
                                dx[max.cell * BLOCK + lane] += max.weight * dy[lane];
                            }
                        }
                    }
                }
            }
        }
    });
}

/// One region in cells of its picture; pairs are along height and width.
struct Region {
    picture: usize,
    start: [f32; 2],
    /// Size of a bin.
    bin: [f32; 2],
    /// Points of a bin; none where not above zero.
    grid: [f32; 2],
}

impl Region {
    /// Points of one bin, at least one.
    fn points(&self) -> f32 {
        (self.grid[0] * self.grid[1]).max(1.0)
    }
}

/// The largest product of one lane and where it comes from.
#[derive(Clone, Copy)]
struct Maximum {
    value: f32,
    cell: usize,
    weight: f32,
}

impl RoiGeometry {
    /// The pictures and the bins of all regions, after a look at the slices' lengths.
    fn check(&self, x: &[f32], rois: &[f32], indices: &[f32], y: &[f32]) -> (Planes, Planes) {
        let planes = |batch, [height, width]: [usize; 2]| Planes {
            batch,
            channels: self.channels,
            pixels: height * width,
        };
        let (pictures, bins) = (planes(self.batch, self.input), planes(self.regions, self.output));
        assert!(x.len() == pictures.elements() && y.len() == bins.elements());
        assert!(rois.len() == 4 * self.regions && indices.len() == self.regions && !self.input.contains(&0));
        (pictures, bins)
    }

    /// Region `number`, or `None` where it is none.
    fn region(&self, rois: &[f32], indices: &[f32], number: usize) -> Option<Region> {
        let index = indices[number];
        let offset = if self.half_pixel { 0.5 } else { 0.0 };
        let [left, top, right, bottom] =
            [0, 1, 2, 3].map(|i| rois[4 * number + i] * self.spatial_scale - offset);
        let known = index >= 0.0 && index < self.batch as f32 && index.fract() == 0.0;
        if !known || ![left, top, right, bottom].iter().all(|place| place.is_finite()) {
            return None;
        }
        // Before the half pixel, a region had at least the size of a cell.
        let size =
            [bottom - top, right - left].map(|size| if self.half_pixel { size } else { size.max(1.0) });
        let bin = [0, 1].map(|axis| size[axis] / self.output[axis] as f32);
        let grid = match self.sampling_ratio {
            0 => bin.map(f32::ceil),
            ratio => [ratio as f32; 2],
        };
        Some(Region { picture: index as usize, start: [top, left], bin, grid })
    }

    /// Calls `f(cell, weight)` for the four cells around each point of a bin that is not outside the picture. Returns the number of these points.
    fn points(&self, region: &Region, bin: usize, mut f: impl FnMut(usize, f32)) -> usize {
        let (row, column, width) = (bin / self.output[1], bin % self.output[1], self.input[1]);
        let mut count = 0;
        for point_y in self.range(region, 0, row) {
            let Some([above, below]) = self.cells(region, 0, row, point_y) else { continue };
            for point_x in self.range(region, 1, column) {
                let Some(sides) = self.cells(region, 1, column, point_x) else { continue };
                count += 1;
                for (y, weight_y) in [above, below] {
                    sides.iter().for_each(|&(x, weight_x)| f(y * width + x, weight_y * weight_x));
                }
            }
        }
        count
    }

    /// The points of a bin along an axis, without most of those outside the picture: a wild region would have any number of them.
    fn range(&self, region: &Region, axis: usize, bin: usize) -> Range<usize> {
        let (size, grid) = (f64::from(region.bin[axis]), f64::from(region.grid[axis]));
        let (step, first) = (size / grid, f64::from(region.start[axis]) + bin as f64 * size);
        let all = 0..grid as usize;
        if step > 0.0 {
            let inside = |place: f64| (place - first) / step;
            let (from, to) = (inside(-1.0).floor() - 1.0, inside(self.input[axis] as f64).ceil() + 1.0);
            return from as usize..all.end.min(to as usize);
        }
        all
    }

    /// The cells before and behind a point along an axis with their weights, or `None` where it lies more than a cell outside the picture.
    fn cells(&self, region: &Region, axis: usize, bin: usize, point: usize) -> Option<[(usize, f32); 2]> {
        let (size, last) = (region.bin[axis], self.input[axis] - 1);
        let place = region.start[axis] + bin as f32 * size + (point as f32 + 0.5) * size / region.grid[axis];
        if !(-1.0..=self.input[axis] as f32).contains(&place) {
            return None;
        }
        let place = place.clamp(0.0, last as f32);
        let first = (place as usize).min(last);
        let behind = place - first as f32;
        Some([(first, 1.0 - behind), ((first + 1).min(last), behind)])
    }

    /// The largest product of weight and cell over the points of a bin, the first of equal ones; a point outside the picture counts as zero, and one that is
    /// not a number as the largest.
    fn maxima(&self, region: &Region, bin: usize, x: &[f32]) -> [Maximum; BLOCK] {
        let mut maxima: [Option<Maximum>; BLOCK] = [None; BLOCK];
        let mut offer = |lane: usize, value: f32, cell, weight| {
            let more = |max: Maximum| value > max.value || value.is_nan() && !max.value.is_nan();
            if maxima[lane].is_none_or(more) {
                maxima[lane] = Some(Maximum { value, cell, weight });
            }
        };
        let count = self.points(region, bin, |cell, weight| {
            let x = &x[cell * BLOCK..][..BLOCK];
            (0..BLOCK).for_each(|lane| offer(lane, weight * x[lane], cell, weight));
        });
        if (count as f32) < region.points() || count == 0 {
            (0..BLOCK).for_each(|lane| offer(lane, 0.0, 0, 0.0));
        }
        maxima.map(|max| max.unwrap_or(Maximum { value: 0.0, cell: 0, weight: 0.0 }))
    }
}
