//! Lines of a plain tensor, each normalized by its own mean and variance: `y = (x - mean) / sqrt(var + eps) * scale + bias`.
//!
//! Instance normalization has a line for each image and channel, group normalization one for each image and group of channels, layer normalization
//! one for each image (or cell), and they differ in which elements share scale and bias: [`Parameters`] says that. Sums are in `f64`, the variance
//! is that of the deviations, in a second pass.

use std::ops::Range;

use crate::cpu::Cpu;
use crate::elementwise::run_ranges;
use crate::lines::{Lines, TILE, Tile, pieces};
use crate::threads::SharedMut;

/// A normalization of lines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineNorm {
    /// The lines.
    pub lines: Lines,
    /// Which elements share a scale and a bias.
    pub parameters: Parameters,
    /// Added to the variance.
    pub eps: f32,
    /// Whether the mean is taken away; else the variance is the mean square.
    pub centered: bool,
}

/// Element `at` of the tensor has scale and bias number `at / run % count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Elements in a row that share them.
    pub run: usize,
    /// How many there are.
    pub count: usize,
}

impl Parameters {
    /// Of a normalization without scale and bias.
    pub const NONE: Self = Self { run: usize::MAX, count: 1 };

    /// Elements after which another one begins, or the first again.
    fn boundary(self) -> usize {
        if self.run == 1 { self.count } else { self.run }
    }
}

/// Where the gradients are written.
#[derive(Debug)]
pub struct LineGradientsMut<'a> {
    /// By the input.
    pub dx: &'a mut [f32],
    /// By scale.
    pub dscale: Option<&'a mut [f32]>,
    /// By bias.
    pub dbias: Option<&'a mut [f32]>,
}

/// Mean and inverse standard deviation for each lane of a tile.
type Statistics = [[f32; TILE]; 2];

impl LineNorm {
    /// What [`line_norm_backward`] needs as scratch.
    pub fn scratch_len(&self) -> usize {
        2 * self.lines.count()
    }

    fn check(&self, parameters: [Option<&[f32]>; 2]) {
        let Lines { len, inner, .. } = self.lines;
        let Parameters { run, count } = self.parameters;
        assert!(parameters.iter().flatten().all(|p| p.len() == count), "{count} parameters");
        let fits = if inner == 1 { run == 1 || len.is_multiple_of(run.max(1)) } else { run == inner };
        assert!(fits || self.parameters == Parameters::NONE, "a run of parameters lies inside a line");
    }

    fn statistics(&self, tile: Tile, x: &[f32]) -> Statistics {
        let terms = self.lines.terms().max(1) as f64;
        let mut mean = [0.0; TILE];
        if self.centered {
            [mean] = self.lines.sums(tile, |at, _| [f64::from(x[at])]);
            mean.iter_mut().for_each(|mean| *mean /= terms);
        }
        let [squares] = self.lines.sums(tile, |at, lane| [(f64::from(x[at]) - mean[lane]).powi(2)]);
        let inv_std = squares.map(|sum| (sum / terms + f64::from(self.eps)).sqrt().recip() as f32);
        [mean.map(|mean| mean as f32), inv_std]
    }

    /// Calls `f` for pieces of the tile in which parameters are all the same or all different.
    fn pieces(&self, tile: Tile, mut f: impl FnMut(Range<usize>)) {
        let boundary = self.parameters.boundary();
        self.lines.stretches(tile).flat_map(|stretch| pieces(stretch, boundary)).for_each(&mut f);
    }

    /// The parameters of a piece, `default` where there are none.
    fn spread(&self, piece: &Range<usize>, parameters: Option<&[f32]>, default: f32) -> [f32; TILE] {
        let Some(parameters) = parameters else { return [default; TILE] };
        let first = piece.start / self.parameters.run % self.parameters.count;
        if self.parameters.run > 1 {
            return [parameters[first]; TILE];
        }
        let mut lanes = [default; TILE];
        lanes[..piece.len()].copy_from_slice(&parameters[first..first + piece.len()]);
        lanes
    }
}

/// Normalizes; `affine` is scale and bias, 1 and 0 where they are missing. `statistics`, where wanted, gets the mean and `1 / sqrt(var + eps)` of
/// each line. A line without elements has mean and variance zero.
///
/// # Panics
/// Where a slice has not its length.
pub fn line_norm(
    cpu: &Cpu,
    norm: LineNorm,
    affine: [Option<&[f32]>; 2],
    x: &[f32],
    y: &mut [f32],
    statistics: Option<[&mut [f32]; 2]>,
) {
    norm.check(affine);
    assert!(x.len() == norm.lines.elements() && y.len() == x.len());
    assert!(statistics.iter().flatten().all(|values| values.len() == norm.lines.count()));
    let (y, saved) = (SharedMut::new(y), statistics.map(|values| values.map(SharedMut::new)));
    norm.lines.run(cpu, |tile| {
        let values = norm.statistics(tile, x);
        if let Some(saved) = saved {
            store(&norm, tile, saved, &values);
        }
        let [mean, inv_std] = values;
        norm.pieces(tile, |piece| {
            let [scale, bias] = [(affine[0], 1.0), (affine[1], 0.0)].map(|(p, d)| norm.spread(&piece, p, d));
            // SAFETY: each element belongs to one tile.
            let y = unsafe { y.slice(piece.start, piece.len()) };
            for (lane, (y, x)) in y.iter_mut().zip(&x[piece]).enumerate() {
                *y = (x - mean[lane]) * inv_std[lane] * scale[lane] + bias[lane];
            }
        });
    });
}

/// Gradients of [`line_norm`], overwritten. The statistics are found again.
///
/// # Panics
/// Where a slice has not its length, or `scratch` is shorter than [`LineNorm::scratch_len`].
pub fn line_norm_backward(
    cpu: &Cpu,
    norm: LineNorm,
    scale: Option<&[f32]>,
    x: &[f32],
    dy: &[f32],
    gradients: LineGradientsMut<'_>,
    scratch: &mut [f32],
) {
    let LineGradientsMut { dx, dscale, dbias } = gradients;
    norm.check([dscale.as_deref(), dbias.as_deref()]);
    norm.check([scale, None]);
    assert!(x.len() == norm.lines.elements() && dy.len() == x.len() && dx.len() == x.len());
    let (means, inv_stds) = scratch[..norm.scratch_len()].split_at_mut(norm.lines.count());
    let (dx, saved) = (SharedMut::new(dx), [&mut *means, &mut *inv_stds].map(SharedMut::new));
    let terms = norm.lines.terms().max(1) as f64;
    norm.lines.run(cpu, |tile| {
        let values = norm.statistics(tile, x);
        store(&norm, tile, saved, &values);
        let [mean, inv_std] = values;
        let normalized = |at: usize, lane: usize| (x[at] - mean[lane]) * inv_std[lane];
        // With g = dy scale and the normalized input xn: dx = inv_std (g - mean(g) - xn mean(g xn)).
        let mut sums = [[0.0; TILE]; 2];
        norm.pieces(tile, |piece| {
            let scale = norm.spread(&piece, scale, 1.0);
            for (lane, at) in piece.enumerate() {
                let g = f64::from(dy[at] * scale[lane]);
                sums[0][lane] += g;
                sums[1][lane] += g * f64::from(normalized(at, lane));
            }
        });
        let [mut sum, dot] = norm.lines.joined(sums).map(|sums| sums.map(|sum| (sum / terms) as f32));
        if !norm.centered {
            sum = [0.0; TILE];
        }
        norm.pieces(tile, |piece| {
            let scale = norm.spread(&piece, scale, 1.0);
            // SAFETY: each element belongs to one tile.
            let dx = unsafe { dx.slice(piece.start, piece.len()) };
            for ((lane, at), dx) in piece.enumerate().zip(dx) {
                let g = dy[at] * scale[lane];
                *dx = inv_std[lane] * (g - sum[lane] - normalized(at, lane) * dot[lane]);
            }
        });
    });
    if dscale.is_some() || dbias.is_some() {
        parameter_gradients(cpu, &norm, [means, inv_stds], [x, dy], [dscale, dbias]);
    }
}

/// Each job has its own parameters and walks all their elements.
fn parameter_gradients(
    cpu: &Cpu,
    norm: &LineNorm,
    [means, inv_stds]: [&[f32]; 2],
    [x, dy]: [&[f32]; 2],
    gradients: [Option<&mut [f32]>; 2],
) {
    let Parameters { run, count } = norm.parameters;
    let gradients = gradients.map(|gradient| gradient.map(SharedMut::new));
    // Parameters of one element each come together, so that a job reads rows.
    let together = if run == 1 { TILE } else { 1 };
    let periods = if x.is_empty() { 0 } else { x.len() / (run * count) };
    run_ranges(
        cpu,
        count.div_ceil(together),
        periods.saturating_mul(run.saturating_mul(together)),
        |blocks| {
            for block in blocks {
                let first = block * together;
                let width = together.min(count - first);
                let mut sums = [[0.0; TILE]; 2];
                for period in 0..periods {
                    let start = (period * count + first) * run;
                    for piece in pieces(start..start + width * run, norm.lines.contiguous()) {
                        let line = norm.lines.line_of(piece.start);
                        let lane = if run == 1 { piece.start - start } else { 0 };
                        for (i, at) in piece.enumerate() {
                            let line = if norm.lines.inner == 1 { line } else { line + i };
                            let dy = f64::from(dy[at]);
                            sums[0][lane + i] += dy * f64::from((x[at] - means[line]) * inv_stds[line]);
                            sums[1][lane + i] += dy;
                        }
                    }
                }
                for (sums, gradient) in sums.iter_mut().zip(&gradients) {
                    if run > 1 {
                        sums[0] = sums.iter().sum();
                    }
                    if let Some(gradient) = gradient {
                        // SAFETY: each job writes its own parameters.
                        let out = unsafe { gradient.slice(first, width) };
                        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = *sum as f32);
                    }
                }
            }
        },
    );
}

fn store(norm: &LineNorm, tile: Tile, saved: [SharedMut<'_, f32>; 2], values: &Statistics) {
    let lines = norm.lines.lines_of(tile);
    for (saved, values) in saved.iter().zip(values) {
        // SAFETY: each line belongs to one tile.
        let saved = unsafe { saved.slice(lines.start, lines.len()) };
        saved.copy_from_slice(&values[..lines.len()]);
    }
}
