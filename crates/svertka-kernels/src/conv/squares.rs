//! The transforms of Winograd's filtering along one axis: values at points, and back.
//!
//! A square at the edge of an image has fewer rows or columns to give, and needs fewer points for them. It takes some of the points of the whole
//! square and meets the same transformed weights there; what these would have been divided by with the fewer points is in its input transform.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::simd::Simd;

/// Points of the largest transform.
pub(super) const MOST: usize = 8;

/// How one axis of a square is transformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Two,
    Four,
    /// Three cells from five points of [`Axis::Four`].
    FourToThree,
    /// Two cells from four points of [`Axis::Four`].
    FourToTwo,
    Six,
}

impl Axis {
    /// Cells that the transform gives.
    pub(super) const fn cells(self) -> usize {
        self.points().len() - 2
    }

    /// Its points, as numbered in the whole square; it reads as many cells.
    pub(super) const fn points(self) -> &'static [usize] {
        match self {
            Self::Two => &Two::AT,
            Self::Four => &Four::AT,
            Self::FourToThree => &FourToThree::AT,
            Self::FourToTwo => &FourToTwo::AT,
            Self::Six => &Six::AT,
        }
    }

    /// The transform for the last cells of an axis of `size` cells, which whole squares with this one do not fill.
    pub(super) fn at_edge(self, size: usize) -> Self {
        match (self, size % self.cells()) {
            (Self::Four, 1 | 2) => Self::FourToTwo,
            (Self::Four, 3) => Self::FourToThree,
            _ => self,
        }
    }

    /// What the taps are multiplied with at each point of a whole square: `(1, p, p²)` over the product of the distances from the other finite points.
    pub(super) fn weight(self) -> &'static [[f64; 3]] {
        match self {
            Self::Two => &[[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]],
            Self::Four | Self::FourToThree | Self::FourToTwo => &[
                [1.0, 0.0, 0.0],
                [-2.0 / 3.0, -SQRT_2 / 3.0, -1.0 / 3.0],
                [-2.0 / 3.0, SQRT_2 / 3.0, -1.0 / 3.0],
                [1.0 / 6.0, SQRT_2 / 6.0, 1.0 / 3.0],
                [1.0 / 6.0, -SQRT_2 / 6.0, 1.0 / 3.0],
                [0.0, 0.0, 1.0],
            ],
            Self::Six => &[
                [1.0, 0.0, 0.0],
                [-2.0 / 9.0, -2.0 / 9.0, -2.0 / 9.0],
                [-2.0 / 9.0, 2.0 / 9.0, -2.0 / 9.0],
                [1.0 / 90.0, 1.0 / 45.0, 2.0 / 45.0],
                [1.0 / 90.0, -1.0 / 45.0, 2.0 / 45.0],
                [32.0 / 45.0, 16.0 / 45.0, 8.0 / 45.0],
                [32.0 / 45.0, -16.0 / 45.0, 8.0 / 45.0],
                [0.0, 0.0, 1.0],
            ],
        }
    }
}

/// An [`Axis`] between `POINTS` values and `CELLS` outputs of a filter with three taps.
pub(super) trait Transform<const POINTS: usize, const CELLS: usize> {
    /// The points, as numbered in the whole square.
    const AT: [usize; POINTS];

    /// The input's values at the points.
    fn input<S: Simd>(s: S, x: [S::V; POINTS]) -> [S::V; POINTS];

    /// The outputs from the products at the points.
    fn output<S: Simd>(s: S, m: [S::V; POINTS]) -> [S::V; CELLS];

    /// The gradients of the products from those of the outputs: the adjoint of [`Transform::output`].
    fn output_gradient<S: Simd>(s: S, y: [S::V; CELLS]) -> [S::V; POINTS];
}

/// Calls `$body` with the type of `$axis`, and the number of its points.
macro_rules! with_axis {
    ($axis:expr, $transform:ident, $points:ident => $body:expr) => {
        match $axis {
            $crate::conv::squares::Axis::Two => with_axis!(Two 4 $transform $points $body),
            $crate::conv::squares::Axis::Four => with_axis!(Four 6 $transform $points $body),
            $crate::conv::squares::Axis::FourToThree => with_axis!(FourToThree 5 $transform $points $body),
            $crate::conv::squares::Axis::FourToTwo => with_axis!(FourToTwo 4 $transform $points $body),
            $crate::conv::squares::Axis::Six => with_axis!(Six 8 $transform $points $body),
        }
    };
    ($name:ident $n:literal $transform:ident $points:ident $body:expr) => {{
        type $transform = $crate::conv::squares::$name;
        const $points: usize = $n;
        $body
    }};
}
pub(super) use with_axis;

/// Two outputs, points 0, 1, -1, ∞.
pub(super) struct Two;

impl Transform<4, 2> for Two {
    const AT: [usize; 4] = [0, 1, 2, 3];

    #[inline(always)]
    fn input<S: Simd>(s: S, x: [S::V; 4]) -> [S::V; 4] {
        [s.sub(x[0], x[2]), s.add(x[1], x[2]), s.sub(x[2], x[1]), s.sub(x[3], x[1])]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 4]) -> [S::V; 2] {
        [s.add(s.add(m[0], m[1]), m[2]), s.add(s.sub(m[1], m[2]), m[3])]
    }

    #[inline(always)]
    fn output_gradient<S: Simd>(s: S, y: [S::V; 2]) -> [S::V; 4] {
        [y[0], s.add(y[0], y[1]), s.sub(y[0], y[1]), y[1]]
    }
}

/// Four outputs, points 0, √½, -√½, √2, -√2, ∞.
pub(super) struct Four;

impl Transform<6, 4> for Four {
    const AT: [usize; 6] = [0, 1, 2, 3, 4, 5];

    #[inline(always)]
    fn input<S: Simd>(s: S, x: [S::V; 6]) -> [S::V; 6] {
        let c = |value: f64| s.splat(value as f32);
        let (root, half_root) = (c(SQRT_2), c(FRAC_1_SQRT_2));
        let even = s.fma(c(-2.0), x[2], x[4]);
        let odd = s.sub(s.mul(half_root, x[3]), s.mul(root, x[1]));
        let far_even = s.fma(c(-0.5), x[2], x[4]);
        let far_odd = s.sub(s.mul(root, x[3]), s.mul(half_root, x[1]));
        [
            s.fma(c(-2.5), x[2], s.add(x[0], x[4])),
            s.add(even, odd),
            s.sub(even, odd),
            s.add(far_even, far_odd),
            s.sub(far_even, far_odd),
            s.fma(c(-2.5), x[3], s.add(x[1], x[5])),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 6]) -> [S::V; 4] {
        let c = |value: f64| s.splat(value as f32);
        let (even, odd) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        let (far_even, far_odd) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
        [
            s.add(m[0], s.add(even, far_even)),
            s.fma(c(SQRT_2), far_odd, s.mul(c(FRAC_1_SQRT_2), odd)),
            s.fma(c(2.0), far_even, s.mul(c(0.5), even)),
            s.add(m[5], s.fma(c(2.0 * SQRT_2), far_odd, s.mul(c(0.5 * FRAC_1_SQRT_2), odd))),
        ]
    }

    #[inline(always)]
    fn output_gradient<S: Simd>(s: S, y: [S::V; 4]) -> [S::V; 6] {
        let c = |value: f64| s.splat(value as f32);
        let even = s.fma(c(0.5), y[2], y[0]);
        let odd = s.fma(c(0.5 * FRAC_1_SQRT_2), y[3], s.mul(c(FRAC_1_SQRT_2), y[1]));
        let far_even = s.fma(c(2.0), y[2], y[0]);
        let far_odd = s.fma(c(2.0 * SQRT_2), y[3], s.mul(c(SQRT_2), y[1]));
        [y[0], s.add(even, odd), s.sub(even, odd), s.add(far_even, far_odd), s.sub(far_even, far_odd), y[3]]
    }
}

/// Three outputs, points 0, √½, -√½, √2, ∞. Values are multiplied with their points' distances from -√2, which the weights of [`Four`] are divided by.
pub(super) struct FourToThree;

impl Transform<5, 3> for FourToThree {
    const AT: [usize; 5] = [0, 1, 2, 3, 5];

    #[inline(always)]
    fn input<S: Simd>(s: S, x: [S::V; 5]) -> [S::V; 5] {
        let c = |value: f64| s.splat(value as f32);
        let difference = s.fma(c(-0.5), x[1], x[3]);
        let sum = s.mul(c(FRAC_1_SQRT_2), s.add(x[1], x[3]));
        [
            s.fma(c(SQRT_2), difference, s.fma(c(-2.0), x[2], x[0])),
            s.fma(c(-1.5), x[2], s.mul(c(1.5 * SQRT_2), s.sub(x[3], x[1]))),
            s.fma(c(-1.5), x[2], sum),
            s.mul(c(2.0 * SQRT_2), difference),
            s.fma(c(-SQRT_2), difference, s.fma(c(-0.5), x[2], x[4])),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 5]) -> [S::V; 3] {
        let c = |value: f64| s.splat(value as f32);
        let (even, odd) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        [
            s.add(m[0], s.add(even, m[3])),
            s.fma(c(SQRT_2), m[3], s.mul(c(FRAC_1_SQRT_2), odd)),
            s.add(m[4], s.fma(c(2.0), m[3], s.mul(c(0.5), even))),
        ]
    }

    #[inline(always)]
    fn output_gradient<S: Simd>(s: S, y: [S::V; 3]) -> [S::V; 5] {
        let c = |value: f64| s.splat(value as f32);
        let (even, odd) = (s.fma(c(0.5), y[2], y[0]), s.mul(c(FRAC_1_SQRT_2), y[1]));
        let far = s.fma(c(2.0), y[2], s.fma(c(SQRT_2), y[1], y[0]));
        [y[0], s.add(even, odd), s.sub(even, odd), far, y[2]]
    }
}

/// Two outputs, points 0, √½, -√½, ∞. Values are multiplied with their points' distances from √2 and -√2, which the weights of [`Four`] are divided by.
pub(super) struct FourToTwo;

impl Transform<4, 2> for FourToTwo {
    const AT: [usize; 4] = [0, 1, 2, 5];

    #[inline(always)]
    fn input<S: Simd>(s: S, x: [S::V; 4]) -> [S::V; 4] {
        let c = |value: f64| s.splat(value as f32);
        let (even, odd) = (s.mul(c(-1.5), x[2]), s.mul(c(-1.5 * FRAC_1_SQRT_2), x[1]));
        [s.fma(c(-2.0), x[2], x[0]), s.add(even, odd), s.sub(even, odd), s.fma(c(-0.5), x[1], x[3])]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 4]) -> [S::V; 2] {
        let half_root = s.splat(FRAC_1_SQRT_2 as f32);
        [s.add(m[0], s.add(m[1], m[2])), s.fma(half_root, s.sub(m[1], m[2]), m[3])]
    }

    #[inline(always)]
    fn output_gradient<S: Simd>(s: S, y: [S::V; 2]) -> [S::V; 4] {
        let odd = s.mul(s.splat(FRAC_1_SQRT_2 as f32), y[1]);
        [y[0], s.add(y[0], odd), s.sub(y[0], odd), y[1]]
    }
}

/// Six outputs, points 0, 1, -1, 2, -2, ½, -½, ∞.
pub(super) struct Six;

impl Transform<8, 6> for Six {
    const AT: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

    #[inline(always)]
    fn input<S: Simd>(s: S, x: [S::V; 8]) -> [S::V; 8] {
        let c = |value: f32| s.splat(value);
        let even = s.fma(c(-4.25), x[4], s.add(x[2], x[6]));
        let odd = s.fma(c(-4.25), x[3], s.add(x[1], x[5]));
        let two_even = s.fma(c(0.25), x[2], s.fma(c(-1.25), x[4], x[6]));
        let two_odd = s.fma(c(0.5), x[1], s.fma(c(-2.5), x[3], s.mul(c(2.0), x[5])));
        let half_even = s.fma(c(4.0), x[2], s.fma(c(-5.0), x[4], x[6]));
        let half_odd = s.fma(c(2.0), x[1], s.fma(c(-2.5), x[3], s.mul(c(0.5), x[5])));
        [
            s.fma(c(5.25), s.sub(x[4], x[2]), s.sub(x[0], x[6])),
            s.add(even, odd),
            s.sub(even, odd),
            s.add(two_even, two_odd),
            s.sub(two_even, two_odd),
            s.add(half_even, half_odd),
            s.sub(half_even, half_odd),
            s.fma(c(5.25), s.sub(x[3], x[5]), s.sub(x[7], x[1])),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 8]) -> [S::V; 6] {
        let c = |value: f32| s.splat(value);
        let (even, odd) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        let (two_even, two_odd) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
        let (half_even, half_odd) = (s.add(m[5], m[6]), s.sub(m[5], m[6]));
        [
            s.add(s.add(m[0], even), s.add(two_even, half_even)),
            s.fma(c(2.0), two_odd, s.fma(c(0.5), half_odd, odd)),
            s.fma(c(4.0), two_even, s.fma(c(0.25), half_even, even)),
            s.fma(c(8.0), two_odd, s.fma(c(0.125), half_odd, odd)),
            s.fma(c(16.0), two_even, s.fma(c(1.0 / 16.0), half_even, even)),
            s.add(m[7], s.fma(c(32.0), two_odd, s.fma(c(1.0 / 32.0), half_odd, odd))),
        ]
    }

    #[inline(always)]
    fn output_gradient<S: Simd>(s: S, y: [S::V; 6]) -> [S::V; 8] {
        let c = |value: f32| s.splat(value);
        let even = s.add(y[0], s.add(y[2], y[4]));
        let odd = s.add(y[1], s.add(y[3], y[5]));
        let two_even = s.fma(c(16.0), y[4], s.fma(c(4.0), y[2], y[0]));
        let two_odd = s.fma(c(32.0), y[5], s.fma(c(8.0), y[3], s.mul(c(2.0), y[1])));
        let half_even = s.fma(c(1.0 / 16.0), y[4], s.fma(c(0.25), y[2], y[0]));
        let half_odd = s.fma(c(1.0 / 32.0), y[5], s.fma(c(0.125), y[3], s.mul(c(0.5), y[1])));
        [
            y[0],
            s.add(even, odd),
            s.sub(even, odd),
            s.add(two_even, two_odd),
            s.sub(two_even, two_odd),
            s.add(half_even, half_odd),
            s.sub(half_even, half_odd),
            y[5],
        ]
    }
}
