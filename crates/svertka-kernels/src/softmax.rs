//! Softmax and cross-entropy over the rows of a plain `[rows][classes]` matrix. The largest element of a row is taken away first, so nothing
//! overflows.

use crate::cpu::{Cpu, Isa};
use crate::elementwise::{Lanewise, fold, map_part, run_ranges};
use crate::simd::{LANES, Simd, exp};
use crate::threads::SharedMut;

/// `y = e^x / sum(e^x)` in each row.
///
/// # Panics
/// Where a slice has not `rows * classes` elements.
pub fn softmax(cpu: &Cpu, rows: usize, classes: usize, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), rows * classes);
    for_rows(cpu, rows, classes, y, |row, y| {
        softmax_row(cpu.isa, &x[row * classes..][..classes], y);
    });
}

/// Gradient of [`softmax`] from its output: `dx = y (dy - sum(dy y))` in each row.
///
/// # Panics
/// Where a slice has not `rows * classes` elements.
pub fn softmax_backward(cpu: &Cpu, rows: usize, classes: usize, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(y.len() == rows * classes && dy.len() == y.len());
    for_rows(cpu, rows, classes, dx, |row, dx| {
        let (y, dy) = (&y[row * classes..][..classes], &dy[row * classes..][..classes]);
        let dot = y.iter().zip(dy).map(|(&y, &dy)| f64::from(y) * f64::from(dy)).sum::<f64>() as f32;
        dx.iter_mut().zip(y.iter().zip(dy)).for_each(|(dx, (y, dy))| *dx = y * (dy - dot));
    });
}

/// `y = x - log(sum(e^x))` in each row.
///
/// # Panics
/// Where a slice has not `rows * classes` elements.
pub fn log_softmax(cpu: &Cpu, rows: usize, classes: usize, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), rows * classes);
    for_rows(cpu, rows, classes, y, |row, y| {
        let x = &x[row * classes..][..classes];
        let (max, log_sum) = log_sum_exp(cpu.isa, x);
        // Two steps: their sum may have lost the digits of the logarithm.
        y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - max) - log_sum as f32);
    });
}

/// Gradient of [`log_softmax`] from its output: `dx = dy - e^y sum(dy)` in each row.
///
/// # Panics
/// Where a slice has not `rows * classes` elements.
pub fn log_softmax_backward(cpu: &Cpu, rows: usize, classes: usize, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(y.len() == rows * classes && dy.len() == y.len());
    for_rows(cpu, rows, classes, dx, |row, dx| {
        let (y, dy) = (&y[row * classes..][..classes], &dy[row * classes..][..classes]);
        map_part(cpu.isa, Exp { shift: 0.0 }, [Some(y)], [&mut *dx]);
        let sum = dy.iter().map(|&dy| f64::from(dy)).sum::<f64>() as f32;
        dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = dy - *dx * sum);
    });
}

/// The cross-entropy of each row between `softmax(logits)` and the smoothed targets `t = (1 - label_smoothing) target + label_smoothing / classes`:
/// `-sum(t log softmax)`. `targets` are probabilities of the classes; a row of zeros (one that fills up a short batch) has loss 0. A class of
/// target zero adds nothing, even where its logit is minus infinity.
///
/// # Panics
/// Where a slice has not `rows * classes` elements, or `losses` not `rows`.
pub fn cross_entropy(
    cpu: &Cpu,
    classes: usize,
    logits: &[f32],
    targets: &[f32],
    label_smoothing: f32,
    losses: &mut [f32],
) {
    let rows = losses.len();
    assert!(logits.len() == rows * classes && targets.len() == logits.len());
    let losses = SharedMut::new(losses);
    run_ranges(cpu, rows, classes, |rows| {
        for row in rows {
            let (x, targets) = (&logits[row * classes..][..classes], &targets[row * classes..][..classes]);
            let loss = smoothed(targets, label_smoothing).map_or(0.0, |target| {
                let (max, log_sum) = log_sum_exp(cpu.isa, x);
                let term = |(&x, &t): (&f32, &f32)| match target(t) {
                    0.0 => 0.0,
                    t => f64::from(t) * (log_sum - f64::from(x - max)),
                };
                x.iter().zip(targets).map(term).sum()
            });
            // SAFETY: each job writes its own rows.
            unsafe { losses.slice(row, 1) }.fill(loss as f32);
        }
    });
}

/// Gradient of `scale * sum(losses)` of [`cross_entropy`] by the logits: `scale (softmax sum(t) - t)`; zero in rows of zero targets. With
/// `scale = 1 / rows` the mean loss is meant.
///
/// # Panics
/// Where a slice has not `rows * classes` elements.
pub fn cross_entropy_backward(
    cpu: &Cpu,
    classes: usize,
    logits: &[f32],
    targets: &[f32],
    label_smoothing: f32,
    scale: f32,
    dlogits: &mut [f32],
) {
    assert!(logits.len() == dlogits.len() && targets.len() == logits.len());
    let rows = logits.len() / classes.max(1);
    for_rows(cpu, rows, classes, dlogits, |row, dx| {
        let (x, targets) = (&logits[row * classes..][..classes], &targets[row * classes..][..classes]);
        let Some(target) = smoothed(targets, label_smoothing) else {
            dx.fill(0.0);
            return;
        };
        let sum: f32 = targets.iter().map(|&t| target(t)).sum();
        softmax_row(cpu.isa, x, dx);
        dx.iter_mut().zip(targets).for_each(|(dx, &t)| *dx = scale * (*dx * sum - target(t)));
    });
}

/// How a target of this row is smoothed; `None` for a row of zeros.
fn smoothed(targets: &[f32], label_smoothing: f32) -> Option<impl Fn(f32) -> f32> {
    let floor = label_smoothing / targets.len() as f32;
    targets.iter().any(|&t| t != 0.0).then_some(move |t| (1.0 - label_smoothing) * t + floor)
}

fn for_rows(cpu: &Cpu, rows: usize, classes: usize, out: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
    assert_eq!(out.len(), rows * classes);
    let out = SharedMut::new(out);
    run_ranges(cpu, rows, classes, |range| {
        // SAFETY: each job writes its own rows.
        range.for_each(|row| f(row, unsafe { out.slice(row * classes, classes) }));
    });
}

fn softmax_row(isa: Isa, x: &[f32], y: &mut [f32]) {
    map_part(isa, Exp { shift: maximum(x) }, [Some(x)], [&mut *y]);
    let sum = y.iter().map(|&y| f64::from(y)).sum::<f64>() as f32;
    y.iter_mut().for_each(|y| *y /= sum);
}

/// The largest element, and the logarithm of the sum of `e^(x - largest)`.
fn log_sum_exp(isa: Isa, x: &[f32]) -> (f32, f64) {
    let shift = maximum(x);
    let [sums] = fold(isa, SumExp(Exp { shift }), [x]);
    (shift, sums.iter().sum::<f64>().ln())
}

/// The largest element; not-a-number is passed over here and comes back in the exponentials.
fn maximum(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for part in x.chunks(LANES) {
        lanes.iter_mut().zip(part).for_each(|(lane, &x)| *lane = lane.max(x));
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// `e^(x - shift)`.
#[derive(Clone, Copy)]
struct Exp {
    shift: f32,
}

impl Lanewise<1, 1> for Exp {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x]: [S::V; 1], _: [S::V; 1]) -> [S::V; 1] {
        [exp(s, s.sub(x, s.splat(self.shift)))]
    }
}

#[derive(Clone, Copy)]
struct SumExp(Exp);

impl Lanewise<1, 1> for SumExp {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, x: [S::V; 1], sum: [S::V; 1]) -> [S::V; 1] {
        let [term] = self.0.step(s, x, sum);
        [s.add(sum[0], term)]
    }
}
