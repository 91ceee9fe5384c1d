//! The transforms of Winograd's filtering: values at points, and back, along one axis.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::simd::Simd;

/// One axis of a transform between `POINTS` values and `OUT` outputs of a filter with three taps.
pub(crate) trait Transform<const POINTS: usize, const OUT: usize>: Copy + Send + Sync {
    /// What the taps are multiplied with at each point.
    const WEIGHT: [[f64; 3]; POINTS];

    /// The input's values at the points.
    fn input<S: Simd>(s: S, x: [S::V; POINTS]) -> [S::V; POINTS];

    /// The outputs from the products at the points.
    fn output<S: Simd>(s: S, m: [S::V; POINTS]) -> [S::V; OUT];
}

/// Two outputs, points 0, 1, -1, ∞.
#[derive(Clone, Copy)]
pub(crate) struct Two;

impl Transform<4, 2> for Two {
    const WEIGHT: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

    #[inline(always)]
    fn input<S: Simd>(s: S, x: [S::V; 4]) -> [S::V; 4] {
        [s.sub(x[0], x[2]), s.add(x[1], x[2]), s.sub(x[2], x[1]), s.sub(x[3], x[1])]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 4]) -> [S::V; 2] {
        [s.add(s.add(m[0], m[1]), m[2]), s.add(s.sub(m[1], m[2]), m[3])]
    }
}

/// Four outputs, points 0, √½, -√½, √2, -√2, ∞.
#[derive(Clone, Copy)]
pub(crate) struct Four;

impl Transform<6, 4> for Four {
    // At point p: (1, p, p²) over the product of its distances from the other finite points.
    const WEIGHT: [[f64; 3]; 6] = [
        [1.0, 0.0, 0.0],
        [-2.0 / 3.0, -SQRT_2 / 3.0, -1.0 / 3.0],
        [-2.0 / 3.0, SQRT_2 / 3.0, -1.0 / 3.0],
        [1.0 / 6.0, SQRT_2 / 6.0, 1.0 / 3.0],
        [1.0 / 6.0, -SQRT_2 / 6.0, 1.0 / 3.0],
        [0.0, 0.0, 1.0],
    ];

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
}
