//! Activations made of exponentials.

use super::Function;
use crate::simd::{Lanes, erf, exp, exp_m1, ln_1p_exp, sigmoid, tanh};

#[derive(Clone, Copy)]
pub(super) struct Sigmoid;

impl Function for Sigmoid {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        sigmoid(s, x)
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, y: S::V, dy: S::V) -> S::V {
        s.mul(dy, s.mul(y, s.sub(s.splat(1.0), y)))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Tanh;

impl Function for Tanh {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        tanh(s, x)
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, y: S::V, dy: S::V) -> S::V {
        s.mul(dy, s.sub(s.splat(1.0), s.mul(y, y)))
    }
}

/// `x sigmoid(alpha x)`; SiLU with `alpha` 1.
#[derive(Clone, Copy)]
pub(super) struct Swish {
    pub(super) alpha: f32,
}

impl Function for Swish {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        // The division of the sigmoid does the product, too.
        s.div(x, s.add(s.splat(1.0), exp(s, s.mul(s.splat(-self.alpha), x))))
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, x: S::V, dy: S::V) -> S::V {
        let (one, scaled) = (s.splat(1.0), s.mul(s.splat(self.alpha), x));
        let gate = sigmoid(s, scaled);
        s.mul(dy, s.mul(gate, s.fma(scaled, s.sub(one, gate), one)))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Gelu;

impl Gelu {
    /// The distribution function of the standard normal.
    #[inline(always)]
    fn gate<S: Lanes>(s: S, x: S::V) -> S::V {
        let half = s.splat(0.5);
        s.fma(half, erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2))), half)
    }
}

impl Function for Gelu {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        s.mul(x, Self::gate(s, x))
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, x: S::V, dy: S::V) -> S::V {
        // The density of the standard normal, e^(-x^2 / 2) / sqrt(2 pi).
        let density = s.mul(s.splat(0.398_942_3), exp(s, s.mul(s.splat(-0.5), s.mul(x, x))));
        s.mul(dy, s.fma(x, density, Self::gate(s, x)))
    }
}

/// [`Gelu`] with `tanh(sqrt(2 / pi) (x + 0.044715 x^3))` in place of the error function; `(1 + tanh u) / 2` is `sigmoid(2 u)`.
#[derive(Clone, Copy)]
pub(super) struct GeluTanh;

impl GeluTanh {
    /// `2 sqrt(2 / pi)`.
    const SLOPE: f32 = 1.595_769;
    const CUBE: f32 = 0.044_715;

    /// The gate and `x^2`.
    #[inline(always)]
    fn gate<S: Lanes>(s: S, x: S::V) -> (S::V, S::V) {
        let square = s.mul(x, x);
        let slope = s.fma(square, s.splat(Self::SLOPE * Self::CUBE), s.splat(Self::SLOPE));
        (sigmoid(s, s.mul(slope, x)), square)
    }
}

impl Function for GeluTanh {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        s.mul(x, Self::gate(s, x).0)
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, x: S::V, dy: S::V) -> S::V {
        let (gate, square) = Self::gate(s, x);
        let slope = s.fma(square, s.splat(3.0 * Self::SLOPE * Self::CUBE), s.splat(Self::SLOPE));
        // Far from zero the gate is 0 or 1 to the last bit, and must not meet an infinite slope.
        let slope = s.min(s.splat(1e12), slope);
        let change = s.mul(s.mul(gate, s.sub(s.splat(1.0), gate)), slope);
        s.mul(dy, s.fma(x, change, gate))
    }
}

/// `right x` above zero, else `left (e^(rate x) - 1)`: ELU, SELU and CELU.
#[derive(Clone, Copy)]
pub(super) struct Exponential {
    pub(super) right: f32,
    pub(super) left: f32,
    pub(super) rate: f32,
}

impl Function for Exponential {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        let left = s.mul(s.splat(self.left), exp_m1(s, s.mul(s.splat(self.rate), x)));
        s.if_gt(x, s.splat(0.0), s.mul(s.splat(self.right), x), left)
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, x: S::V, dy: S::V) -> S::V {
        let left = s.mul(s.splat(self.left * self.rate), exp(s, s.mul(s.splat(self.rate), x)));
        s.mul(dy, s.if_gt(x, s.splat(0.0), s.splat(self.right), left))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Softplus;

impl Function for Softplus {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        ln_1p_exp(s, x)
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, x: S::V, dy: S::V) -> S::V {
        s.mul(dy, sigmoid(s, x))
    }
}

/// `-softplus(-x)`.
#[derive(Clone, Copy)]
pub(super) struct LogSigmoid;

impl Function for LogSigmoid {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        let zero = s.splat(0.0);
        s.sub(zero, ln_1p_exp(s, s.sub(zero, x)))
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, x: S::V, dy: S::V) -> S::V {
        s.mul(dy, sigmoid(s, s.sub(s.splat(0.0), x)))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Softsign;

impl Softsign {
    /// `1 + |x|`.
    #[inline(always)]
    fn divisor<S: Lanes>(s: S, x: S::V) -> S::V {
        s.add(s.splat(1.0), s.max(x, s.sub(s.splat(0.0), x)))
    }
}

impl Function for Softsign {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        s.div(x, Self::divisor(s, x))
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, x: S::V, dy: S::V) -> S::V {
        let divisor = Self::divisor(s, x);
        s.div(dy, s.mul(divisor, divisor))
    }
}

/// `x tanh(softplus(x))`; with `e = e^x` and `w = e^2 + 2 e` the second factor is `w / (w + 2)`.
#[derive(Clone, Copy)]
pub(super) struct Mish;

impl Mish {
    #[inline(always)]
    fn gate<S: Lanes>(s: S, x: S::V) -> S::V {
        let two = s.splat(2.0);
        // From 20 on the quotient is one; the square of a larger exponential would be infinite.
        let e = exp(s, s.min(s.splat(20.0), x));
        let w = s.fma(e, e, s.mul(two, e));
        s.div(w, s.add(w, two))
    }
}

impl Function for Mish {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        s.mul(x, Self::gate(s, x))
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, x: S::V, dy: S::V) -> S::V {
        let gate = Self::gate(s, x);
        let change = s.mul(s.sub(s.splat(1.0), s.mul(gate, gate)), sigmoid(s, x));
        s.mul(dy, s.fma(x, change, gate))
    }
}
