//! Softmax and its kin over the lines of a plain tensor, cross-entropy over the rows of a plain `[rows][classes]` matrix. The largest element of a
//! line is taken away first, so nothing overflows.

use std::ops::Range;

use crate::cpu::{Cpu, Isa};
use crate::elementwise::{Lanewise, fold, map_part, run_ranges};
use crate::lines::{Lines, TILE, Tile};
use crate::simd::{LANES, Simd, exp};
use crate::threads::SharedMut;

/// `y = e^x / sum(e^x)` in each line.
///
/// # Panics
/// Where a slice has not as many elements as the lines.
pub fn softmax(cpu: &Cpu, lines: Lines, x: &[f32], y: &mut [f32]) {
    exponentials(cpu, lines, x, y, |sum| sum as f32, |y, _, _, sum| *y /= sum);
}

/// Gradient of [`softmax`] from its output: `dx = y (dy - sum(dy y))` in each line.
///
/// # Panics
/// Where a slice has not as many elements as the lines.
pub fn softmax_backward(cpu: &Cpu, lines: Lines, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(y.len() == lines.elements() && dy.len() == y.len());
    lines.fill(cpu, dx, |tile| {
        let [dots] = lines.sums(tile, |at, _| [f64::from(y[at]) * f64::from(dy[at])]);
        let dots = dots.map(|dot| dot as f32);
        move |at, lane| y[at] * (dy[at] - dots[lane])
    });
}

/// `y = x - log(sum(e^x))` in each line.
///
/// # Panics
/// Where a slice has not as many elements as the lines.
pub fn log_softmax(cpu: &Cpu, lines: Lines, x: &[f32], y: &mut [f32]) {
    // Two steps: their sum may have lost the digits of the logarithm.
    exponentials(cpu, lines, x, y, |sum| sum.ln() as f32, |y, x, max, log_sum| *y = (x - max) - log_sum);
}

/// Gradient of [`log_softmax`] from its output: `dx = dy - e^y sum(dy)` in each line.
///
/// # Panics
/// Where a slice has not as many elements as the lines.
pub fn log_softmax_backward(cpu: &Cpu, lines: Lines, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(y.len() == lines.elements() && dy.len() == y.len() && dx.len() == y.len());
    let dx = SharedMut::new(dx);
    lines.run(cpu, |tile| {
        let [sums] = lines.sums(tile, |at, _| [f64::from(dy[at])]);
        for stretch in lines.stretches(tile) {
            // SAFETY: each element belongs to one tile.
            let dx = unsafe { dx.slice(stretch.start, stretch.len()) };
            map_part(cpu.isa, Exp { shift: 0.0 }, [Some(&y[stretch.clone()])], [&mut *dx]);
            for (i, (dx, dy)) in dx.iter_mut().zip(&dy[stretch]).enumerate() {
                *dx = dy - *dx * sums[lane(lines, i)] as f32;
            }
        }
    });
}

/// One at the first maximum of each line, zero elsewhere. Not-a-number counts as larger than any number.
///
/// # Panics
/// Where a slice has not as many elements as the lines.
pub fn hardmax(cpu: &Cpu, lines: Lines, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), lines.elements());
    lines.fill(cpu, y, |tile| {
        let mut largest = [(f32::NEG_INFINITY, usize::MAX); TILE];
        for stretch in lines.stretches(tile) {
            for (i, at) in stretch.enumerate() {
                let (max, place) = &mut largest[lane(lines, i)];
                if *place == usize::MAX || x[at] > *max || (x[at].is_nan() && !max.is_nan()) {
                    (*max, *place) = (x[at], at);
                }
            }
        }
        if lines.inner == 1 {
            largest = [largest[0]; TILE];
        }
        move |at, lane| if largest[lane].1 == at { 1.0 } else { 0.0 }
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

/// Where in a tile the line is to which the element `i` of a stretch belongs.
fn lane(lines: Lines, i: usize) -> usize {
    if lines.inner == 1 { 0 } else { i }
}

/// Writes `e^(x - max)` to `y`, then calls `finish(y, x, max, of_sum(sum))` for each element with the maximum and the sum of its line.
fn exponentials(
    cpu: &Cpu,
    lines: Lines,
    x: &[f32],
    y: &mut [f32],
    of_sum: impl Fn(f64) -> f32 + Sync,
    finish: impl Fn(&mut f32, f32, f32, f32) + Sync,
) {
    assert!(x.len() == lines.elements() && y.len() == x.len());
    let y = SharedMut::new(y);
    // SAFETY: each element belongs to one tile, and the stretches of a tile come one after the other.
    let part = |stretch: &Range<usize>| unsafe { y.slice(stretch.start, stretch.len()) };
    lines.run(cpu, |tile| {
        let (max, mut sums) = (maxima(lines, tile, x), [0.0; TILE]);
        for stretch in lines.stretches(tile) {
            let (x, y) = (&x[stretch.clone()], part(&stretch));
            if lines.inner == 1 {
                map_part(cpu.isa, Exp { shift: max[0] }, [Some(x)], [&mut *y]);
            } else {
                map_part(cpu.isa, ExpDifference, [Some(x), Some(&max[..x.len()])], [&mut *y]);
            }
            for (i, y) in y.iter().enumerate() {
                sums[lane(lines, i)] += f64::from(*y);
            }
        }
        let sums = sums.map(&of_sum);
        for stretch in lines.stretches(tile) {
            for (i, (y, x)) in part(&stretch).iter_mut().zip(&x[stretch]).enumerate() {
                let lane = lane(lines, i);
                finish(y, *x, max[lane], sums[lane]);
            }
        }
    });
}

/// The largest element of each line of a tile.
fn maxima(lines: Lines, tile: Tile, x: &[f32]) -> [f32; TILE] {
    let mut max = [f32::NEG_INFINITY; TILE];
    for stretch in lines.stretches(tile) {
        if lines.inner == 1 {
            max[0] = max[0].max(maximum(&x[stretch]));
        } else {
            max.iter_mut().zip(&x[stretch]).for_each(|(max, x)| *max = max.max(*x));
        }
    }
    max
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

/// `e^(a - b)`.
#[derive(Clone, Copy)]
struct ExpDifference;

impl Lanewise<2, 1> for ExpDifference {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [a, b]: [S::V; 2], _: [S::V; 1]) -> [S::V; 1] {
        [exp(s, s.sub(a, b))]
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
