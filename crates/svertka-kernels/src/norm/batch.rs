//! Batch normalization over `[N][C/8][S][8]`, with the statistics of the batch or with fixed ones, and sums for each channel.
//!
//! `y = (x - mean) / sqrt(var + eps) * gamma + beta`, one mean, variance, gamma and beta for each channel, over the batch and all pixels.
//! Parameters and statistics are plain, `channels` long. Spare lanes of `x` and `dy` may hold any finite value; those of `dx` are zero, and those of `y`
//! what the activation makes of zero.
//!
//! A residual and a ReLU or clip behind the normalization happen in the same pass, [`After`], with the bits that passes of their own would give.
//! The gradients then find out from `x` where the activation let something through: its value need not be kept, and its gradient is no pass.
//!
//! Statistics are taken plane by plane, each around its own mean, and joined in `f64` (Chan, Golub and LeVeque, 1983): a mean that is large
//! against the spread costs no digits, and a plane is read from memory once.

use std::iter::StepBy;
use std::ops::Range;

use super::batch_lanes::{DeviationDot, Deviations, Gate, InputGradient, Normalize, Open, Passage};
use crate::activation::{Activation, Clip};
use crate::cpu::Cpu;
use crate::elementwise::{Sum, fold, map_part, run_ranges};
use crate::layout::BLOCK;
use crate::planes::Planes;
use crate::threads::SharedMut;

/// The learned part of a batch normalization.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// Factor of each channel.
    pub gamma: &'a [f32],
    /// Added to each channel.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub eps: f32,
    /// What happens to the result before it is stored.
    pub after: After<'a>,
}

/// What follows a normalization in the same pass: `activation(y + residual)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct After<'a> {
    /// Of the shape and layout of `y`.
    pub residual: Option<&'a [f32]>,
    /// One that has [`Activation::bounds`].
    pub activation: Option<Activation>,
}

/// Statistics of a batch, written by [`batch_norm_train`].
#[derive(Debug)]
pub struct StatisticsMut<'a> {
    /// Mean of each channel.
    pub mean: &'a mut [f32],
    /// Biased variance of each channel: the mean square of the deviation.
    pub var: &'a mut [f32],
    /// `1 / sqrt(var + eps)`.
    pub inv_std: &'a mut [f32],
}

/// What the gradients read: the parameters and the statistics that the forward pass used.
#[derive(Clone, Copy, Debug)]
pub struct Normalization<'a> {
    /// Factor of each channel.
    pub gamma: &'a [f32],
    /// Added to each channel.
    pub beta: &'a [f32],
    /// Mean of each channel.
    pub mean: &'a [f32],
    /// `1 / sqrt(var + eps)`, see [`inv_std`].
    pub inv_std: &'a [f32],
    /// Of [`After`], where there was no residual: `dy` is the gradient of what the activation gave.
    pub activation: Option<Activation>,
}

impl Normalization<'_> {
    fn clip(&self) -> Option<Clip> {
        self.activation.map(clip)
    }
}

fn clip(activation: Activation) -> Clip {
    let (min, max) = activation.bounds().expect("an activation of bounds");
    Clip { min, max }
}

/// Where the gradients are written.
#[derive(Debug)]
pub struct GradientsMut<'a> {
    /// By the input, blocked.
    pub dx: &'a mut [f32],
    /// By gamma.
    pub dgamma: &'a mut [f32],
    /// By beta.
    pub dbeta: &'a mut [f32],
}

/// What [`batch_norm_train`] and the two gradients need as scratch.
pub fn batch_norm_scratch_len(planes: Planes) -> usize {
    3 * planes.reduced().elements()
}

/// Normalizes by the statistics of this batch, and gives them. A channel of no pixels has mean and variance zero.
///
/// # Panics
/// Where a slice has not its length, `scratch` is shorter than [`batch_norm_scratch_len`], or the activation has no bounds.
pub fn batch_norm_train(
    cpu: &Cpu,
    planes: Planes,
    affine: Affine<'_>,
    x: &[f32],
    y: &mut [f32],
    statistics: StatisticsMut<'_>,
    scratch: &mut [f32],
) {
    assert_eq!(x.len(), planes.elements());
    let (means, rest) = scratch[..batch_norm_scratch_len(planes)].split_at_mut(planes.count() * BLOCK);
    let (residues, vars) = rest.split_at_mut(planes.count() * BLOCK);
    let shared = [&mut *means, &mut *residues, &mut *vars].map(SharedMut::new);
    let pixels = planes.pixels.max(1) as f64;
    planes.run(cpu, |plane, _| {
        let x = &x[planes.range(plane)];
        let [sums] = fold(cpu.isa, Sum, [x]);
        let mean = sums.map(|sum| (sum / pixels) as f32);
        let [sums, squares] = fold(cpu.isa, Deviations { mean }, [x]);
        // What rounding the mean left over.
        let residue = sums.map(|sum| sum / pixels);
        let var: [f32; BLOCK] =
            std::array::from_fn(|lane| (squares[lane] / pixels - residue[lane].powi(2)) as f32);
        for (values, shared) in [mean, residue.map(|r| r as f32), var].iter().zip(shared) {
            // SAFETY: planes do not overlap.
            unsafe { shared.slice(plane * BLOCK, BLOCK) }.copy_from_slice(values);
        }
    });
    let StatisticsMut { mean, var, inv_std: inverse } = statistics;
    for_channels(cpu, planes, [&mut *mean, var, &mut *inverse], |_, terms| {
        let batch = planes.batch.max(1) as f64;
        let plane_mean = |at: usize| f64::from(means[at]) + f64::from(residues[at]);
        let mean = terms.clone().map(plane_mean).sum::<f64>() / batch;
        let spread = |at: usize| f64::from(vars[at]) + (plane_mean(at) - mean).powi(2);
        let var = terms.map(spread).sum::<f64>() / batch;
        [mean, var, (var + f64::from(affine.eps)).sqrt().recip()]
    });
    normalize(cpu, planes, affine, mean, |c| inverse[c], Some(x), y);
}

/// Normalizes by fixed statistics; without `x`, in place on `y`.
///
/// # Panics
/// Where a slice has not its length.
pub fn batch_norm_infer(
    cpu: &Cpu,
    planes: Planes,
    affine: Affine<'_>,
    mean: &[f32],
    var: &[f32],
    x: Option<&[f32]>,
    y: &mut [f32],
) {
    assert_eq!(var.len(), planes.channels);
    normalize(cpu, planes, affine, mean, |c| inverse_root(var[c], affine.eps), x, y);
}

/// What [`batch_norm_train`] gave, once more from the statistics that it gave: the same bits.
///
/// # Panics
/// Where a slice has not its length.
pub fn batch_norm_again(
    cpu: &Cpu,
    planes: Planes,
    Normalization { gamma, beta, mean, inv_std, activation }: Normalization<'_>,
    x: &[f32],
    y: &mut [f32],
) {
    assert_eq!(inv_std.len(), planes.channels);
    // The epsilon is in the deviation already.
    let affine = Affine { gamma, beta, eps: 0.0, after: After { residual: None, activation } };
    normalize(cpu, planes, affine, mean, |c| inv_std[c], Some(x), y);
}

/// `1 / sqrt(var + eps)` of each channel, for the gradient with fixed statistics.
///
/// # Panics
/// Where the lengths differ.
pub fn inv_std(var: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!(var.len(), out.len());
    out.iter_mut().zip(var).for_each(|(out, &var)| *out = inverse_root(var, eps));
}

/// Gradients of [`batch_norm_train`], overwritten; the statistics depend on `x`. Without `dy`, it stands in `dx`.
///
/// # Panics
/// Where a slice has not its length, or `scratch` is shorter than [`batch_norm_scratch_len`].
pub fn batch_norm_backward(
    cpu: &Cpu,
    planes: Planes,
    normalization: Normalization<'_>,
    x: &[f32],
    dy: Option<&[f32]>,
    gradients: GradientsMut<'_>,
    scratch: &mut [f32],
) {
    let GradientsMut { dx, dgamma, dbeta } = gradients;
    let terms = (x, dy.unwrap_or(dx));
    parameter_gradients(cpu, planes, normalization, terms, [&mut *dgamma, &mut *dbeta], scratch);
    // With `xn` the normalized input: dx = gamma inv_std (dy - mean(dy) - xn mean(dy xn)).
    let count = (planes.batch * planes.pixels).max(1) as f32;
    input_gradient(cpu, planes, normalization, [Some(x), dy], dx, |c| {
        let Normalization { gamma, inv_std, .. } = normalization;
        let scale = gamma[c] * inv_std[c];
        [scale, -scale * inv_std[c] * dgamma[c] / count, -scale * dbeta[c] / count]
    });
}

/// Gradients of [`batch_norm_infer`], overwritten; the statistics are constants, so `dx = gamma inv_std dy`. Without `dy`, it stands in `dx`.
///
/// # Panics
/// As [`batch_norm_backward`].
pub fn batch_norm_infer_backward(
    cpu: &Cpu,
    planes: Planes,
    normalization: Normalization<'_>,
    x: &[f32],
    dy: Option<&[f32]>,
    gradients: GradientsMut<'_>,
    scratch: &mut [f32],
) {
    let GradientsMut { dx, dgamma, dbeta } = gradients;
    parameter_gradients(cpu, planes, normalization, (x, dy.unwrap_or(dx)), [dgamma, dbeta], scratch);
    let Normalization { gamma, inv_std, .. } = normalization;
    input_gradient(cpu, planes, normalization, [Some(x), dy], dx, |c| [gamma[c] * inv_std[c], 0.0, 0.0]);
}

/// What [`channel_sums`] needs as scratch.
pub fn channel_sums_scratch_len(planes: Planes) -> usize {
    planes.reduced().elements()
}

/// The sum of each channel over the batch and all pixels: the gradient of a bias.
///
/// # Panics
/// Where a slice has not its length, or `scratch` is shorter than [`channel_sums_scratch_len`].
pub fn channel_sums(cpu: &Cpu, planes: Planes, x: &[f32], out: &mut [f32], scratch: &mut [f32]) {
    assert_eq!(x.len(), planes.elements());
    let scratch = &mut scratch[..channel_sums_scratch_len(planes)];
    let sums = SharedMut::new(scratch);
    planes.run(cpu, |plane, _| {
        let [sum] = fold(cpu.isa, Sum, [&x[planes.range(plane)]]);
        // SAFETY: planes do not overlap.
        unsafe { sums.slice(plane * BLOCK, BLOCK) }.copy_from_slice(&sum.map(|sum| sum as f32));
    });
    for_channels(cpu, planes, [out], |_, terms| [terms.map(|at| f64::from(scratch[at])).sum()]);
}

fn inverse_root(var: f32, eps: f32) -> f32 {
    (var + eps).sqrt().recip()
}

/// Fills plain slices channel by channel. `f` receives the channel and where its values stand in reduced planes, image by image.
fn for_channels<const OUT: usize>(
    cpu: &Cpu,
    planes: Planes,
    outputs: [&mut [f32]; OUT],
    f: impl Fn(usize, StepBy<Range<usize>>) -> [f64; OUT] + Sync,
) {
    assert!(outputs.iter().all(|out| out.len() == planes.channels), "one value for each channel");
    let outputs = outputs.map(SharedMut::new);
    let image = planes.blocks() * BLOCK;
    run_ranges(cpu, planes.channels, planes.batch, |channels| {
        for channel in channels {
            // Channel `c` stands at `c` of each image: block `c / 8`, lane `c % 8`.
            let values = f(channel, (channel..planes.batch * image).step_by(image));
            for (out, value) in outputs.iter().zip(values) {
                // SAFETY: each job writes its own channels.
                unsafe { out.slice(channel, 1) }.fill(value as f32);
            }
        }
    });
}

fn normalize(
    cpu: &Cpu,
    planes: Planes,
    Affine { gamma, beta, after: After { residual, activation }, .. }: Affine<'_>,
    mean: &[f32],
    inv_std: impl Fn(usize) -> f32 + Sync,
    x: Option<&[f32]>,
    y: &mut [f32],
) {
    assert!([gamma, beta, mean].iter().all(|p| p.len() == planes.channels), "one value for each channel");
    assert_eq!(y.len(), planes.elements());
    assert!([x, residual].iter().flatten().all(|x| x.len() == y.len()));
    let clip = activation.map_or(Clip { min: f32::NEG_INFINITY, max: f32::INFINITY }, clip);
    let y = SharedMut::new(y);
    planes.run(cpu, |plane, block| {
        let mut step = Normalize::new(clip);
        for (lane, c) in planes.channels_of(block).enumerate() {
            (step.mean[lane], step.scale[lane], step.beta[lane]) = (mean[c], gamma[c] * inv_std(c), beta[c]);
        }
        let range = planes.range(plane);
        // SAFETY: planes do not overlap.
        let y = unsafe { y.slice(range.start, range.len()) };
        let x = x.map(|x| &x[range.clone()]);
        match residual {
            None => map_part(cpu.isa, step, [x], [y]),
            Some(residual) => map_part(cpu.isa, step, [x, Some(&residual[range])], [y]),
        }
    });
}

fn parameter_gradients(
    cpu: &Cpu,
    planes: Planes,
    normalization: Normalization<'_>,
    inputs: (&[f32], &[f32]),
    gradients: [&mut [f32]; 2],
    scratch: &mut [f32],
) {
    match normalization.clip() {
        None => gated_sums(cpu, planes, normalization, inputs, gradients, scratch, |_| Open),
        Some(clip) => {
            let gate = |block| Gate::new(&normalization, clip, planes.channels_of(block));
            gated_sums(cpu, planes, normalization, inputs, gradients, scratch, gate);
        }
    }
}

fn gated_sums<P: Passage>(
    cpu: &Cpu,
    planes: Planes,
    Normalization { mean, inv_std, .. }: Normalization<'_>,
    (x, dy): (&[f32], &[f32]),
    [dgamma, dbeta]: [&mut [f32]; 2],
    scratch: &mut [f32],
    passage: impl Fn(usize) -> P + Sync,
) {
    assert!(x.len() == planes.elements() && dy.len() == x.len());
    assert!(mean.len() == planes.channels && inv_std.len() == planes.channels);
    let (dots, sums) = scratch[..batch_norm_scratch_len(planes)].split_at_mut(planes.count() * BLOCK);
    let sums = &mut sums[..planes.count() * BLOCK];
    let (shared_dots, shared_sums) = (SharedMut::new(dots), SharedMut::new(sums));
    planes.run(cpu, |plane, block| {
        let mut step = DeviationDot { mean: [0.0; BLOCK], passage: passage(block) };
        let channels = planes.channels_of(block);
        step.mean[..channels.len()].copy_from_slice(&mean[channels]);
        let [dot, sum] = fold(cpu.isa, step, [&x[planes.range(plane)], &dy[planes.range(plane)]]);
        // SAFETY: planes do not overlap.
        unsafe {
            shared_dots.slice(plane * BLOCK, BLOCK).copy_from_slice(&dot.map(|v| v as f32));
            shared_sums.slice(plane * BLOCK, BLOCK).copy_from_slice(&sum.map(|v| v as f32));
        }
    });
    for_channels(cpu, planes, [dgamma, dbeta], |channel, terms| {
        let dot: f64 = terms.clone().map(|at| f64::from(dots[at])).sum();
        [dot * f64::from(inv_std[channel]), terms.map(|at| f64::from(sums[at])).sum()]
    });
}

/// `dx = a dy + b (x - mean) + c` with `[a, b, c]` of each channel from `coefficients`, and zero for `dy` where the activation let nothing through.
fn input_gradient(
    cpu: &Cpu,
    planes: Planes,
    normalization: Normalization<'_>,
    inputs: [Option<&[f32]>; 2],
    dx: &mut [f32],
    coefficients: impl Fn(usize) -> [f32; 3] + Sync,
) {
    match normalization.clip() {
        None => gated_gradient(cpu, planes, normalization, inputs, dx, coefficients, |_| Open),
        Some(clip) => {
            let gate = |block| Gate::new(&normalization, clip, planes.channels_of(block));
            gated_gradient(cpu, planes, normalization, inputs, dx, coefficients, gate);
        }
    }
}

fn gated_gradient<P: Passage>(
    cpu: &Cpu,
    planes: Planes,
    Normalization { mean, .. }: Normalization<'_>,
    inputs: [Option<&[f32]>; 2],
    dx: &mut [f32],
    coefficients: impl Fn(usize) -> [f32; 3] + Sync,
    passage: impl Fn(usize) -> P + Sync,
) {
    assert_eq!(dx.len(), planes.elements());
    let dx = SharedMut::new(dx);
    planes.run(cpu, |plane, block| {
        let mut step = InputGradient::new(passage(block));
        for (lane, c) in planes.channels_of(block).enumerate() {
            step.mean[lane] = mean[c];
            [step.dy[lane], step.deviation[lane], step.constant[lane]] = coefficients(c);
        }
        let range = planes.range(plane);
        // SAFETY: planes do not overlap.
        let dx = unsafe { dx.slice(range.start, range.len()) };
        map_part(cpu.isa, step, inputs.map(|i| i.map(|i| &i[range.clone()])), [dx]);
    });
}
