//! Activation functions and their gradients, elementwise on any layout.
//!
//! Not-a-number goes through every function as not-a-number, as in PyTorch: the vector minimum and maximum give their second operand where
//! either is not a number, and here that is always the data.
//! The gradient of a piecewise function there is that of its left piece.

use crate::cpu::{Cpu, Isa, WithSimd};
use crate::elementwise::{Lanewise, map};
use crate::simd::{LANES, Lanes, Simd};

mod piecewise;
mod smooth;

pub(crate) use piecewise::Clip;
use piecewise::{HardSigmoid, HardSwish, LeakyRelu, Relu, Shrink, ThresholdedRelu};
use smooth::{Exponential, Gelu, GeluTanh, LogSigmoid, Mish, Sigmoid, Softplus, Softsign, Swish, Tanh};

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
    /// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`, close to [`Activation::Gelu`].
    GeluTanh,
    /// `x sigmoid(alpha x)`.
    Swish {
        /// Steepness of the gate.
        alpha: f32,
    },
    /// `x` where positive, else `alpha (e^x - 1)`.
    Elu {
        /// Minus the limit at minus infinity.
        alpha: f32,
    },
    /// `gamma` times [`Activation::Elu`].
    Selu {
        /// As of ELU.
        alpha: f32,
        /// Factor of everything.
        gamma: f32,
    },
    /// `x` where positive, else `alpha (e^(x / alpha) - 1)`; smooth for every `alpha`.
    Celu {
        /// Minus the limit at minus infinity; not zero.
        alpha: f32,
    },
    /// `ln(1 + e^x)`.
    Softplus,
    /// `ln(sigmoid(x))`.
    LogSigmoid,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `x tanh(ln(1 + e^x))`.
    Mish,
    /// `x` above `alpha`, else zero; the gradient at `alpha` is zero.
    ThresholdedRelu {
        /// Where the line begins.
        alpha: f32,
    },
    /// `x + bias` below `-lambd`, `x - bias` above `lambd`, zero between; the gradient at both is zero. With `bias = lambd` it is
    /// `torch.nn.Softshrink`, with `bias = 0` `torch.nn.Hardshrink`.
    Shrink {
        /// How much the magnitude shrinks.
        bias: f32,
        /// Half the width of the flat part.
        lambd: f32,
    },
}

impl Activation {
    /// SELU with the constants of Klambauer et al., 2017.
    pub const SELU: Self = Self::Selu { alpha: 1.673_263_2, gamma: 1.050_701 };
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
    /// Where the function is `min(high, max(low, x))`, these two: it then can follow another one in registers.
    pub fn bounds(self) -> Option<(f32, f32)> {
        match self {
            Self::Relu => Some((0.0, f32::INFINITY)),
            Self::Clip { min, max } => Some((min, max)),
            _ => None,
        }
    }

    /// What [`backward`] reads as `saved`.
    pub fn gradient_reads(self) -> Saved {
        match self {
            Self::Relu | Self::Clip { .. } | Self::Sigmoid | Self::Tanh | Self::HardSigmoid { .. } => {
                Saved::Output
            }
            // The sign of the value is that of the argument only then.
            Self::LeakyRelu { alpha } if alpha >= 0.0 => Saved::Output,
            _ => Saved::Input,
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
                let $f = Swish { alpha: 1.0 };
                $body
            }
            Activation::Swish { alpha } => {
                let $f = Swish { alpha };
                $body
            }
            Activation::Elu { alpha } => {
                let $f = Exponential { right: 1.0, left: alpha, rate: 1.0 };
                $body
            }
            Activation::Selu { alpha, gamma } => {
                let $f = Exponential { right: gamma, left: gamma * alpha, rate: 1.0 };
                $body
            }
            Activation::Celu { alpha } => {
                let $f = Exponential { right: 1.0, left: alpha, rate: alpha.recip() };
                $body
            }
            Activation::Softplus => {
                let $f = Softplus;
                $body
            }
            Activation::LogSigmoid => {
                let $f = LogSigmoid;
                $body
            }
            Activation::Softsign => {
                let $f = Softsign;
                $body
            }
            Activation::Mish => {
                let $f = Mish;
                $body
            }
            Activation::ThresholdedRelu { alpha } => {
                let $f = ThresholdedRelu { alpha };
                $body
            }
            Activation::Shrink { bias, lambd } => {
                let $f = Shrink { bias, lambd };
                $body
            }
            Activation::GeluTanh => {
                let $f = GeluTanh;
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

/// Applies `activation` to the eight values at each of `places`.
///
/// # Safety
/// `y` may be read and written there.
pub(crate) unsafe fn apply_to_cells(isa: Isa, activation: Activation, y: *mut f32, places: &[usize]) {
    with_function!(activation, f => isa.dispatch(Cells { f, y, places }));
}

/// Work of [`apply_to_cells`], which alone makes one.
struct Cells<'a, F> {
    f: F,
    y: *mut f32,
    places: &'a [usize],
}

impl<F: Function> WithSimd for Cells<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (wide, mut places) = (S::Wide::from(s), self.places);
        while let [at, rest @ ..] = places {
            // Two neighbours at once where vectors are so wide.
            // SAFETY: the promise that was made to `apply_to_cells`, for both.
            unsafe {
                let y = self.y.add(*at);
                if S::Wide::WIDTH == 2 * LANES && rest.first() == Some(&(at + LANES)) {
                    wide.store(y, self.f.value(wide, wide.load(y)));
                    places = &rest[1..];
                } else {
                    s.store(y, self.f.value(s, s.load(y)));
                    places = rest;
                }
            }
        }
    }
}

/// One function, its parameters in the implementing type.
pub(crate) trait Function: Copy + Sync {
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V;
    /// `dy` times the derivative, by the input or the output, as [`Activation::gradient_reads`] says.
    fn gradient<S: Lanes>(self, s: S, saved: S::V, dy: S::V) -> S::V;
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
