//! What batch normalization does to a vector of eight channels of one pixel: the steps of its passes.

use std::ops::Range;

use super::batch::Normalization;
use crate::elementwise::Lanewise;
use crate::layout::BLOCK;
use crate::simd::Simd;

/// All lanes zero by default, so that spare lanes of the result are those of zero.
#[derive(Clone, Copy, Default)]
pub(super) struct Normalize {
    pub(super) mean: [f32; BLOCK],
    pub(super) scale: [f32; BLOCK],
    pub(super) beta: [f32; BLOCK],
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Normalize {
    #[inline(always)]
    fn affine<S: Simd>(&self, s: S, x: S::V) -> S::V {
        let deviation = s.sub(x, s.from_slice(&self.mean));
        s.fma(deviation, s.from_slice(&self.scale), s.from_slice(&self.beta))
    }

    /// What is not a number stays that: the data is the second operand.
    #[inline(always)]
    fn bound<S: Simd>(&self, s: S, y: S::V) -> S::V {
        s.min(s.splat(self.high), s.max(s.splat(self.low), y))
    }
}

impl Lanewise<1, 1> for Normalize {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x]: [S::V; 1], _: [S::V; 1]) -> [S::V; 1] {
        [self.bound(s, self.affine(s, x))]
    }
}

impl Lanewise<2, 1> for Normalize {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x, residual]: [S::V; 2], _: [S::V; 1]) -> [S::V; 1] {
        [self.bound(s, s.add(self.affine(s, x), residual))]
    }
}

/// What becomes of `dy` on its way through the activation.
pub(super) trait Passage: Copy + Sync {
    /// `deviation` is `x - mean`.
    fn pass<S: Simd>(&self, s: S, deviation: S::V, dy: S::V) -> S::V;
}

/// There is no activation.
#[derive(Clone, Copy)]
pub(super) struct Open;

impl Passage for Open {
    #[inline(always)]
    fn pass<S: Simd>(&self, _: S, _: S::V, dy: S::V) -> S::V {
        dy
    }
}

/// Lets through what comes from between the bounds.
#[derive(Clone, Copy)]
pub(super) struct Gate {
    pub(super) scale: [f32; BLOCK],
    pub(super) beta: [f32; BLOCK],
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Gate {
    pub(super) fn new(of: &Normalization<'_>, (low, high): (f32, f32), channels: Range<usize>) -> Self {
        let mut gate = Self { scale: [0.0; BLOCK], beta: [0.0; BLOCK], low, high };
        for (lane, c) in channels.enumerate() {
            (gate.scale[lane], gate.beta[lane]) = (of.gamma[c] * of.inv_std[c], of.beta[c]);
        }
        gate
    }
}

impl Passage for Gate {
    #[inline(always)]
    fn pass<S: Simd>(&self, s: S, deviation: S::V, dy: S::V) -> S::V {
        // The bits of the forward pass.
        let y = s.fma(deviation, s.from_slice(&self.scale), s.from_slice(&self.beta));
        let below_high = s.if_gt(s.splat(self.high), y, dy, s.splat(0.0));
        s.if_gt(y, s.splat(self.low), below_high, s.splat(0.0))
    }
}

/// Coefficients of the input's gradient.
#[derive(Clone, Copy)]
pub(super) struct InputGradient<P> {
    pub(super) mean: [f32; BLOCK],
    pub(super) dy: [f32; BLOCK],
    pub(super) deviation: [f32; BLOCK],
    pub(super) constant: [f32; BLOCK],
    pub(super) passage: P,
}

impl<P> InputGradient<P> {
    /// All zero, as spare lanes stay.
    pub(super) fn new(passage: P) -> Self {
        let zero = [0.0; BLOCK];
        Self { mean: zero, dy: zero, deviation: zero, constant: zero, passage }
    }
}

impl<P: Passage> Lanewise<2, 1> for InputGradient<P> {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x, dy]: [S::V; 2], _: [S::V; 1]) -> [S::V; 1] {
        let deviation = s.sub(x, s.from_slice(&self.mean));
        let constant = s.fma(deviation, s.from_slice(&self.deviation), s.from_slice(&self.constant));
        [s.fma(self.passage.pass(s, deviation, dy), s.from_slice(&self.dy), constant)]
    }
}

/// The sums of `x - mean` and of its square.
#[derive(Clone, Copy)]
pub(super) struct Deviations {
    pub(super) mean: [f32; BLOCK],
}

impl Lanewise<1, 2> for Deviations {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x]: [S::V; 1], [sum, squares]: [S::V; 2]) -> [S::V; 2] {
        let deviation = s.sub(x, s.from_slice(&self.mean));
        [s.add(sum, deviation), s.fma(deviation, deviation, squares)]
    }
}

/// The sums of `dy (x - mean)` and of `dy`.
#[derive(Clone, Copy)]
pub(super) struct DeviationDot<P> {
    pub(super) mean: [f32; BLOCK],
    pub(super) passage: P,
}

impl<P: Passage> Lanewise<2, 2> for DeviationDot<P> {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x, dy]: [S::V; 2], [dot, sum]: [S::V; 2]) -> [S::V; 2] {
        let deviation = s.sub(x, s.from_slice(&self.mean));
        let dy = self.passage.pass(s, deviation, dy);
        [s.fma(dy, deviation, dot), s.add(sum, dy)]
    }
}
