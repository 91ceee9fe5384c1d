//! What batch normalization does to a vector of eight channels of one pixel: the steps of its passes.

use std::ops::Range;

use super::batch::Normalization;
use crate::activation::{Clip, Function};
use crate::elementwise::Lanewise;
use crate::layout::BLOCK;
use crate::simd::Simd;

#[derive(Clone, Copy)]
pub(super) struct Normalize {
    pub(super) mean: [f32; BLOCK],
    pub(super) scale: [f32; BLOCK],
    pub(super) beta: [f32; BLOCK],
    pub(super) clip: Clip,
}

impl Normalize {
    /// All lanes zero, so that spare lanes of the result are those of zero.
    pub(super) fn new(clip: Clip) -> Self {
        let zero = [0.0; BLOCK];
        Self { mean: zero, scale: zero, beta: zero, clip }
    }

    #[inline(always)]
    fn affine<S: Simd>(&self, s: S, x: S::V) -> S::V {
        let deviation = s.sub(x, s.from_slice(&self.mean));
        s.fma(deviation, s.from_slice(&self.scale), s.from_slice(&self.beta))
    }
}

impl Lanewise<1, 1> for Normalize {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x]: [S::V; 1], _: [S::V; 1]) -> [S::V; 1] {
        [self.clip.value(s, self.affine(s, x))]
    }
}

impl Lanewise<2, 1> for Normalize {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x, residual]: [S::V; 2], _: [S::V; 1]) -> [S::V; 1] {
        [self.clip.value(s, s.add(self.affine(s, x), residual))]
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
    scale: [f32; BLOCK],
    beta: [f32; BLOCK],
    clip: Clip,
}

impl Gate {
    pub(super) fn new(of: &Normalization<'_>, clip: Clip, channels: Range<usize>) -> Self {
        let mut gate = Self { scale: [0.0; BLOCK], beta: [0.0; BLOCK], clip };
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
        self.clip.gradient(s, y, dy)
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
