//! Activation functions and their gradients, elementwise on any layout.
//!
//! Not-a-number goes through every function as not-a-number, as in PyTorch: the vector minimum and maximum give their second operand where
//! either is not a number, and here that is always the data.
//! The gradient of a piecewise function there is that of its left piece.

use crate::cpu::Cpu;
use crate::elementwise::{Lanewise, map};
use crate::simd::{Simd, erf, exp, sigmoid, tanh};

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `max(0, x)`; the gradient at zero is zero.
    Relu,
    /// `min(max, max(min, x))`, ONNX `Clip`; `ReLU6` is 0 to 6. The gradient at the bounds is zero, as of `torch.nn.Hardtanh`.
    Clip {
        /// Lower bound.
        min: f32,
        /// Upper bound.
        max: f32,
    },
    /// `x` where positive, else `alpha x`; the slope at zero is `alpha`.
    LeakyRelu {
        /// Slope of the negative part.
        alpha: f32,
    },
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x sigmoid(x)`.
    Silu,
    /// `x min(1, max(0, x / 6 + 1 / 2))`; the gradient is 0 at -3 and 1 at 3.
    HardSwish,
    /// `min(1, max(0, alpha x + beta))`, ONNX `HardSigmoid`; the gradient is zero where the value is 0 or 1.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at zero.
        beta: f32,
    },
    /// `x (1 + erf(x / sqrt 2)) / 2`, the exact form.
    Gelu,
}

/// What a gradient needs from the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The function's argument.
    Input,
    /// The function's value; the argument may be overwritten.
    Output,
}

impl Activation {
    /// What [`backward`] reads as `saved`.
    pub fn gradient_reads(self) -> Saved {
        match self {
            Self::Relu | Self::Clip { .. } | Self::Sigmoid | Self::Tanh | Self::HardSigmoid { .. } => {
                Saved::Output
            }
            // The sign of the value is that of the argument only then.
            Self::LeakyRelu { alpha } if alpha >= 0.0 => Saved::Output,
            Self::LeakyRelu { .. } | Self::Silu | Self::HardSwish | Self::Gelu => Saved::Input,
        }
    }
}

/// Chooses the function's type once, so that the loop over elements does not ask.
macro_rules! with_function {
    ($activation:expr, $f:ident => $body:expr) => {
        match $activation {
            Activation::Relu => {
                let $f = Relu;
                $body
            }
            Activation::Clip { min, max } => {
                let $f = Clip { min, max };
                $body
            }
            Activation::LeakyRelu { alpha } => {
                let $f = LeakyRelu { alpha };
                $body
            }
            Activation::Sigmoid => {
                let $f = Sigmoid;
                $body
            }
            Activation::Tanh => {
                let $f = Tanh;
                $body
            }
            Activation::Silu => {
                let $f = Silu;
                $body
            }
            Activation::HardSwish => {
                let $f = HardSwish;
                $body
            }
            Activation::HardSigmoid { alpha, beta } => {
                let $f = HardSigmoid { alpha, beta };
                $body
            }
            Activation::Gelu => {
                let $f = Gelu;
                $body
            }
        }
    };
}

/// `y = activation(x)`; `None` works in place on `y`.
///
/// # Panics
/// Where the lengths differ.
///
/// ```
/// use svertka_kernels::{Cpu, activation::{Activation, forward}};
/// let mut y = [-1.0, 0.5, 7.0];
/// forward(&Cpu::new(1), Activation::Clip { min: 0.0, max: 6.0 }, None, &mut y);
/// assert_eq!(y, [0.0, 0.5, 6.0]);
/// ```
pub fn forward(cpu: &Cpu, activation: Activation, x: Option<&[f32]>, y: &mut [f32]) {
    with_function!(activation, f => map(cpu, Forward(f), [x], [y]));
}

/// `dx = dy activation'`, where `saved` is what [`Activation::gradient_reads`] says; `None` works in place on `dx`.
///
/// # Panics
/// Where the lengths differ.
pub fn backward(cpu: &Cpu, activation: Activation, saved: &[f32], dy: Option<&[f32]>, dx: &mut [f32]) {
    with_function!(activation, f => map(cpu, Backward(f), [Some(saved), dy], [dx]));
}

/// One function, its parameters in the implementing type.
trait Function: Copy + Sync {
    fn value<S: Simd>(self, s: S, x: S::V) -> S::V;
    /// `dy` times the derivative, by the input or the output, as [`Activation::gradient_reads`] says.
    fn gradient<S: Simd>(self, s: S, saved: S::V, dy: S::V) -> S::V;
}

#[derive(Clone, Copy)]
struct Forward<F>(F);

impl<F: Function> Lanewise<1, 1> for Forward<F> {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [x]: [S::V; 1], _: [S::V; 1]) -> [S::V; 1] {
        [self.0.value(s, x)]
    }
}

#[derive(Clone, Copy)]
struct Backward<F>(F);

impl<F: Function> Lanewise<2, 1> for Backward<F> {
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, [saved, dy]: [S::V; 2], _: [S::V; 1]) -> [S::V; 1] {
        [self.0.gradient(s, saved, dy)]
    }
}

#[derive(Clone, Copy)]
struct Relu;

impl Function for Relu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::V) -> S::V {
        s.max(s.splat(0.0), x)
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, y: S::V, dy: S::V) -> S::V {
        s.if_gt(y, s.splat(0.0), dy, s.splat(0.0))
    }
}

#[derive(Clone, Copy)]
struct Clip {
    min: f32,
    max: f32,
}

impl Function for Clip {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::V) -> S::V {
        s.min(s.splat(self.max), s.max(s.splat(self.min), x))
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, y: S::V, dy: S::V) -> S::V {
        let below_max = s.if_gt(s.splat(self.max), y, dy, s.splat(0.0));
        s.if_gt(y, s.splat(self.min), below_max, s.splat(0.0))
    }
}

#[derive(Clone, Copy)]
struct LeakyRelu {
    alpha: f32,
}

impl Function for LeakyRelu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::V) -> S::V {
        s.if_gt(x, s.splat(0.0), x, s.mul(x, s.splat(self.alpha)))
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, saved: S::V, dy: S::V) -> S::V {
        s.if_gt(saved, s.splat(0.0), dy, s.mul(dy, s.splat(self.alpha)))
    }
}

#[derive(Clone, Copy)]
struct Sigmoid;

impl Function for Sigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::V) -> S::V {
        sigmoid(s, x)
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, y: S::V, dy: S::V) -> S::V {
        s.mul(dy, s.mul(y, s.sub(s.splat(1.0), y)))
    }
}

#[derive(Clone, Copy)]
struct Tanh;

impl Function for Tanh {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::V) -> S::V {
        tanh(s, x)
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, y: S::V, dy: S::V) -> S::V {
        s.mul(dy, s.sub(s.splat(1.0), s.mul(y, y)))
    }
}

#[derive(Clone, Copy)]
struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::V) -> S::V {
        s.mul(x, sigmoid(s, x))
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, x: S::V, dy: S::V) -> S::V {
        let (one, y) = (s.splat(1.0), sigmoid(s, x));
        s.mul(dy, s.mul(y, s.fma(x, s.sub(one, y), one)))
    }
}

#[derive(Clone, Copy)]
struct HardSwish;

impl HardSwish {
    const GATE: HardSigmoid = HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };
}

impl Function for HardSwish {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::V) -> S::V {
        s.mul(x, Self::GATE.value(s, x))
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, x: S::V, dy: S::V) -> S::V {
        let inside = s.mul(dy, s.fma(x, s.splat(1.0 / 3.0), s.splat(0.5)));
        let right = s.if_gt(s.splat(3.0), x, inside, dy);
        s.if_gt(x, s.splat(-3.0), right, s.splat(0.0))
    }
}

#[derive(Clone, Copy)]
struct HardSigmoid {
    alpha: f32,
    beta: f32,
}

impl Function for HardSigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::V) -> S::V {
        let line = s.fma(x, s.splat(self.alpha), s.splat(self.beta));
        Clip { min: 0.0, max: 1.0 }.value(s, line)
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, y: S::V, dy: S::V) -> S::V {
        Clip { min: 0.0, max: 1.0 }.gradient(s, y, s.mul(dy, s.splat(self.alpha)))
    }
}

#[derive(Clone, Copy)]
struct Gelu;

impl Gelu {
    /// The distribution function of the standard normal.
    #[inline(always)]
    fn gate<S: Simd>(s: S, x: S::V) -> S::V {
        let half = s.splat(0.5);
        s.fma(half, erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2))), half)
    }
}

impl Function for Gelu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::V) -> S::V {
        s.mul(x, Self::gate(s, x))
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, x: S::V, dy: S::V) -> S::V {
        // The density of the standard normal, e^(-x^2 / 2) / sqrt(2 pi).
        let density = s.mul(s.splat(0.398_942_3), exp(s, s.mul(s.splat(-0.5), s.mul(x, x))));
        s.mul(dy, s.fma(x, density, Self::gate(s, x)))
    }
}
