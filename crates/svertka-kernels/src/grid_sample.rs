//! Values of an activation at places that another tensor names (ONNX `GridSample`, PyTorch `grid_sample`), and its gradients.
//!
//! `x` is blocked, `batch x channels x spatial`; `grid` is plain, `batch x out spatial x r` for `r` spatial axes: the place of each output cell, its last axis
//! first (x, y, z), from -1 to 1 over the picture. Places beyond the picture follow PyTorch: they are clamped or reflected before interpolation, but with the
//! cubic each tap is. A place that is not a number gives not-a-number.

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::layout::BLOCK;
use crate::planes::Planes;
use crate::threads::SharedMut;

/// How a value is made of the cells around its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleMode {
    /// The two cells around it along each axis.
    Linear,
    /// The nearest cell; halves to even. Does not depend on the place, as far as gradients go.
    Nearest,
    /// The four cells around it along each axis, by the cubic of Keys with `a = -0.75`.
    Cubic,
}

/// What stands beyond the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplePadding {
    /// Zeros.
    Zeros,
    /// The cell at the edge.
    Border,
    /// The mirror image: about the middle of the outer cells with `align_corners`, else about their outer edges.
    Reflection,
}

/// Everything about one sampling but its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleGeometry {
    /// Pictures in the batch.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Number of spatial axes, 1 to 3.
    pub dims: usize,
    /// Spatial size of the picture, with leading ones; at least one cell along each axis.
    pub input: [usize; 3],
    /// Spatial size of the grid, with leading ones.
    pub output: [usize; 3],
    /// How values are made.
    pub mode: SampleMode,
    /// What stands beyond the picture.
    pub padding: SamplePadding,
    /// Whether -1 and 1 are the middles of the outer cells, or their outer edges.
    pub align_corners: bool,
}

/// Writes the values at the places of `grid` into `y`, blocked.
///
/// # Panics
/// Where a slice has not the length that its shape needs.
pub fn forward(cpu: &Cpu, g: &SampleGeometry, x: &[f32], grid: &[f32], y: &mut [f32]) {
    g.check(x, grid, y);
    let (places, blocks) = (g.places(), g.planes(g.input).blocks());
    let y = SharedMut::new(y);
    run_ranges(cpu, g.batch * places, blocks * BLOCK * g.taps(), |range| {
        for place in range {
            let (picture, p) = (place / places, place % places);
            let taps = g.at(&grid[place * g.dims..][..g.dims]);
            for block in 0..blocks {
                let plane = picture * blocks + block;
                let x = &x[g.planes(g.input).range(plane)];
                // SAFETY: each place of each plane is visited once.
                let y = unsafe { y.slice((plane * places + p) * BLOCK, BLOCK) };
                let mut sum = [0.0; BLOCK];
                taps.each(g, |cell, weights| {
                    let x = &x[cell * BLOCK..][..BLOCK];
                    (0..BLOCK).for_each(|lane| sum[lane] += weights[0] * x[lane]);
                });
                y.copy_from_slice(&sum);
            }
        }
    });
}

/// The gradient of [`forward`] by `x`, written to `dx`.
///
/// # Panics
/// As [`forward`].
pub fn backward_input(cpu: &Cpu, g: &SampleGeometry, grid: &[f32], dy: &[f32], dx: &mut [f32]) {
    g.check(dx, grid, dy);
    let (places, planes) = (g.places(), g.planes(g.input));
    let dx = SharedMut::new(dx);
    run_ranges(cpu, planes.count(), places * BLOCK * g.taps(), |range| {
        for plane in range {
            let picture = plane / planes.blocks();
            let cells = planes.range(plane);
            // SAFETY: planes do not overlap.
            let dx = unsafe { dx.slice(cells.start, cells.len()) };
            dx.fill(0.0);
            for p in 0..places {
                let dy = &dy[(plane * places + p) * BLOCK..][..BLOCK];
                g.at(&grid[(picture * places + p) * g.dims..][..g.dims]).each(g, |cell, weights| {
                    let dx = &mut dx[cell * BLOCK..][..BLOCK];
                    (0..BLOCK).for_each(|lane| dx[lane] += weights[0] * dy[lane]);
                });
            }
        }
    });
}

/// The gradient of [`forward`] by `grid`, written to `d_grid`.
///
/// # Panics
/// As [`forward`].
pub fn backward_grid(cpu: &Cpu, g: &SampleGeometry, x: &[f32], grid: &[f32], dy: &[f32], d_grid: &mut [f32]) {
    g.check(x, grid, dy);
    assert_eq!(d_grid.len(), grid.len());
    let (places, planes) = (g.places(), g.planes(g.input));
    let d_grid = SharedMut::new(d_grid);
    run_ranges(cpu, g.batch * places, planes.blocks() * BLOCK * g.taps() * g.dims, |range| {
        for place in range {
            let (picture, p) = (place / places, place % places);
            let taps = g.at(&grid[place * g.dims..][..g.dims]);
            let mut sums = [0.0f64; 3];
            for block in 0..planes.blocks() {
                let plane = picture * planes.blocks() + block;
                let (x, dy) = (&x[planes.range(plane)], &dy[(plane * places + p) * BLOCK..][..BLOCK]);
                let mut slopes = [[0.0; BLOCK]; 3];
                taps.each(g, |cell, weights| {
                    let x = &x[cell * BLOCK..][..BLOCK];
                    for (slope, weight) in slopes.iter_mut().zip(&weights[1..]) {
                        (0..BLOCK).for_each(|lane| slope[lane] += weight * x[lane]);
                    }
                });
                let real = planes.channels_of(block).len();
                for (sum, slope) in sums.iter_mut().zip(slopes) {
                    let terms = slope.iter().zip(dy).take(real);
                    *sum += terms.map(|(slope, dy)| f64::from(slope * dy)).sum::<f64>();
                }
            }
            // SAFETY: ranges of places do not overlap.
            let d_grid = unsafe { d_grid.slice(place * g.dims, g.dims) };
            // The grid counts the axes from the last.
            d_grid.iter_mut().zip(sums.iter().rev()).for_each(|(d_grid, sum)| *d_grid = *sum as f32);
        }
    });
}

/// A cell along one axis with its weight, and how the weight changes with the grid's number.
#[derive(Clone, Copy, Default)]
struct Tap {
    cell: usize,
    weight: f32,
    slope: f32,
}

/// The taps along one axis.
#[derive(Clone, Copy, Default)]
struct AxisTaps {
    taps: [Tap; 4],
    count: usize,
}

impl AxisTaps {
    fn push(&mut self, cell: usize, weight: f32, slope: f32) {
        self.taps[self.count] = Tap { cell, weight, slope };
        self.count += 1;
    }

    #[inline(always)]
    fn each(&self) -> impl Iterator<Item = &Tap> {
        self.taps[..self.count].iter()
    }
}

/// The taps of one place, along depth, height and width.
struct Taps([AxisTaps; 3]);

impl Taps {
    /// Calls `f` with each cell and four numbers: its weight, and how the weight changes along each axis.
    #[inline(always)]
    fn each(&self, g: &SampleGeometry, mut f: impl FnMut(usize, [f32; 4])) {
        let [depth, height, width] = &self.0;
        for d in depth.each() {
            for h in height.each() {
                let row = (d.cell * g.input[1] + h.cell) * g.input[2];
                let (weight, by_d, by_h) = (d.weight * h.weight, d.slope * h.weight, d.weight * h.slope);
                for w in width.each() {
                    f(row + w.cell, [weight * w.weight, by_d * w.weight, by_h * w.weight, weight * w.slope]);
                }
            }
        }
    }
}

impl SampleGeometry {
    fn places(&self) -> usize {
        self.output.iter().product()
    }

    fn planes(&self, spatial: [usize; 3]) -> Planes {
        Planes { batch: self.batch, channels: self.channels, pixels: spatial.iter().product() }
    }

    /// The most taps of one place.
    pub fn taps(&self) -> usize {
        let along: usize = match self.mode {
            SampleMode::Nearest => 1,
            SampleMode::Linear => 2,
            SampleMode::Cubic => 4,
        };
        along.pow(self.dims as u32)
    }

    fn check(&self, x: &[f32], grid: &[f32], y: &[f32]) {
        assert!((1..=3).contains(&self.dims) && !self.input.contains(&0));
        assert_eq!(x.len(), self.planes(self.input).elements());
        assert_eq!(y.len(), self.planes(self.output).elements());
        assert_eq!(grid.len(), self.batch * self.places() * self.dims);
    }

    #[inline(always)]
    fn at(&self, place: &[f32]) -> Taps {
        let mut taps = [AxisTaps::default(); 3];
        // Axes that the activation does not have have one cell.
        taps[..3 - self.dims].iter_mut().for_each(|taps| taps.push(0, 1.0, 0.0));
        for (axis, number) in (3 - self.dims..3).rev().zip(place) {
            taps[axis] = self.along(self.input[axis], *number);
        }
        Taps(taps)
    }

    /// The taps of `number` along an axis of `size` cells. Those outside the picture are left out.
    #[inline(always)]
    fn along(&self, size: usize, number: f32) -> AxisTaps {
        let (cells, mut taps) = (size as f32, AxisTaps::default());
        let (place, mut slope) = if self.align_corners {
            ((number + 1.0) / 2.0 * (cells - 1.0), (cells - 1.0) / 2.0)
        } else {
            (((number + 1.0) * cells - 1.0) / 2.0, cells / 2.0)
        };
        // Beyond this an f32 knows no cells; infinity would make weights that are not numbers.
        let place = place.clamp(-1e9, 1e9);
        // What is not a number counts as inside; its weights are not numbers either.
        let inside = |cell: f32| !(cell < 0.0 || cell >= cells);
        match self.mode {
            SampleMode::Nearest => {
                let (place, _) = self.bring_in(place, cells);
                let cell = place.round_ties_even();
                if inside(cell) {
                    taps.push(cell as usize, if cell.is_nan() { cell } else { 1.0 }, 0.0);
                }
            }
            SampleMode::Linear => {
                let (place, sign) = self.bring_in(place, cells);
                slope *= sign;
                let (first, t) = (place.floor(), place - place.floor());
                if inside(first) {
                    taps.push(first as usize, 1.0 - t, -slope);
                }
                if inside(first + 1.0) {
                    taps.push((first + 1.0) as usize, t, slope);
                }
            }
            SampleMode::Cubic => {
                let (first, t) = (place.floor(), place - place.floor());
                let (weights, slopes) = keys(t);
                for (i, (weight, by_t)) in weights.into_iter().zip(slopes).enumerate() {
                    let (cell, _) = self.bring_in(first + i as f32 - 1.0, cells);
                    if inside(cell) {
                        taps.push(cell as usize, weight, by_t * slope);
                    }
                }
            }
        }
        taps
    }

    /// The place inside the picture that stands for `place`, and whether it moves along (1), against it (-1) or not at all (0).
    #[inline(always)]
    fn bring_in(&self, place: f32, cells: f32) -> (f32, f32) {
        let clamp = |place: f32, sign: f32| match place {
            place if place <= 0.0 => (0.0, 0.0),
            place if place >= cells - 1.0 => (cells - 1.0, 0.0),
            place => (place, sign),
        };
        match self.padding {
            SamplePadding::Zeros => (place, 1.0),
            SamplePadding::Border => clamp(place, 1.0),
            SamplePadding::Reflection => {
                let (low, span) = if self.align_corners { (0.0, cells - 1.0) } else { (-0.5, cells) };
                if span == 0.0 {
                    return clamp(0.0 * place, 0.0);
                }
                let (distance, sign) = if place < low { (low - place, -1.0) } else { (place - low, 1.0) };
                let (rest, flips) = (distance % span, (distance / span).floor());
                if flips % 2.0 == 0.0 { clamp(low + rest, sign) } else { clamp(low + span - rest, -sign) }
            }
        }
    }
}

/// Weights of the cells -1, 0, 1, 2 for a place `t` behind cell 0, and their derivatives: Keys, "Cubic convolution interpolation for digital image processing"
/// (1981), equation 4, with `a = -0.75`.
#[inline(always)]
fn keys(t: f32) -> ([f32; 4], [f32; 4]) {
    const A: f32 = -0.75;
    let near =
        |t: f32| (((A + 2.0) * t - (A + 3.0)) * t * t + 1.0, (3.0 * (A + 2.0) * t - 2.0 * (A + 3.0)) * t);
    let far =
        |t: f32| (((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A, (3.0 * A * t - 10.0 * A) * t + 8.0 * A);
    let taps = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
    (taps.map(|tap| tap.0), [taps[0].1, taps[1].1, -taps[2].1, -taps[3].1])
}
