//! Exponential and its relatives, the same polynomial on every instruction set.

use super::Lanes;

/// `e^x`, relative error below 3e-7; inputs are clamped to -87..88, so the result is finite and normal.
///
/// Range reduction `x = n ln 2 + r` with a two-part `ln 2`, then the degree-5 polynomial of Cephes `expf`.
#[inline(always)]
pub fn exp<S: Lanes>(s: S, x: S::V) -> S::V {
    // `max` and `min` give their second operand where the first is not a number: this order keeps NaN.
    let x = s.min(s.splat(88.0), s.max(s.splat(-87.0), x));
    // Floats of this size are whole numbers: the sum rounds, and its last bits are the exponent of the result.
    let shift = s.splat(1.5 * (1 << 23) as f32 + 127.0);
    let t = s.fma(x, s.splat(std::f32::consts::LOG2_E), shift);
    let n = s.sub(t, shift);
    let r = s.fma(n, s.splat(-0.693_359_4), x);
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    let one = s.splat(1.0);
    s.mul(s.fma(s.fma(exp_tail(s, r), r, one), r, one), s.exponent_from_low_bits(t))
}

/// `(e^r - 1 - r) / r^2` for `|r|` up to `ln 2 / 2`.
#[inline(always)]
fn exp_tail<S: Lanes>(s: S, r: S::V) -> S::V {
    let coefficients = [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    coefficients.iter().fold(s.splat(1.987_569_1e-4), |p, &c| s.fma(p, r, s.splat(c)))
}

/// `e^x - 1`: near zero the polynomial of [`exp`] without its one, which would take the digits.
#[inline(always)]
pub fn exp_m1<S: Lanes>(s: S, x: S::V) -> S::V {
    let far = s.sub(exp(s, x), s.splat(1.0));
    let near = s.fma(s.mul(exp_tail(s, x), x), x, x);
    s.if_gt(s.splat(0.34), s.max(x, s.sub(s.splat(0.0), x)), near, far)
}

/// `ln(1 + e^x)`, without overflow: `max(x, 0) + ln(1 + u)` with `u = e^-|x|`, and `ln(1 + u) = 2 artanh(z)` with `z = u / (u + 2)` below a third.
#[inline(always)]
pub fn ln_1p_exp<S: Lanes>(s: S, x: S::V) -> S::V {
    let zero = s.splat(0.0);
    let magnitude = s.max(x, s.sub(zero, x));
    let u = exp(s, s.sub(zero, magnitude));
    let z = s.div(u, s.add(u, s.splat(2.0)));
    let square = s.mul(z, z);
    // The series of artanh; the first term left out is below 1e-8 of the sum.
    let coefficients = [2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0, 2.0];
    let series = coefficients.iter().fold(s.splat(2.0 / 15.0), |p, &c| s.fma(p, square, s.splat(c)));
    s.fma(series, z, s.max(zero, x))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid<S: Lanes>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// Hyperbolic tangent: an odd polynomial near zero, where `1 - 2 / (e^2x + 1)` would cancel.
#[inline(always)]
pub fn tanh<S: Lanes>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    let far = s.sub(one, s.div(s.splat(2.0), s.add(exp(s, s.add(x, x)), one)));
    // Cephes tanhf on |x| < 0.625.
    let z = s.mul(x, x);
    let coefficients = [2.063_908_8e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1];
    let p = coefficients.iter().fold(s.splat(-5.704_988e-3), |p, &c| s.fma(p, z, s.splat(c)));
    let near = s.fma(s.mul(p, z), x, x);
    let magnitude = s.max(x, s.sub(s.splat(0.0), x));
    s.if_gt(s.splat(0.625), magnitude, near, far)
}

/// Error function, absolute error below 3e-7 (Abramowitz and Stegun 7.1.26 has 1.5e-7 before rounding).
#[inline(always)]
pub fn erf<S: Lanes>(s: S, x: S::V) -> S::V {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let magnitude = s.max(x, s.sub(zero, x));
    let t = s.div(one, s.fma(magnitude, s.splat(0.327_591_1), one));
    let coefficients = [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6];
    let p = coefficients.iter().fold(s.splat(1.061_405_4), |p, &c| s.fma(p, t, s.splat(c)));
    let tail = s.mul(s.mul(p, t), exp(s, s.sub(zero, s.mul(magnitude, magnitude))));
    let positive = s.sub(one, tail);
    s.if_gt(zero, x, s.sub(zero, positive), positive)
}
