use svertka::Activation;
use svertka::ops::{Activate, Unary, UnaryFunction};

use crate::{Case, case};

/// Any shape will do: what can be wrong is the number of inputs.
pub(crate) fn cases() -> Vec<Case> {
    [
        (Activation::Relu, "Relu: inputs: expected 1, received 2"),
        (Activation::Clip { min: 0.0, max: 6.0 }, "Clip: inputs: expected 1, received 2"),
        (Activation::LeakyRelu { alpha: 0.1 }, "LeakyRelu: inputs: expected 1, received 2"),
        (Activation::Sigmoid, "Sigmoid: inputs: expected 1, received 2"),
        (Activation::Tanh, "Tanh: inputs: expected 1, received 2"),
        (Activation::Silu, "Swish: inputs: expected 1, received 2"),
        (Activation::HardSwish, "HardSwish: inputs: expected 1, received 2"),
        (Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }, "HardSigmoid: inputs: expected 1, received 2"),
        (Activation::Gelu, "Gelu: inputs: expected 1, received 2"),
        (Activation::GeluTanh, "Gelu: inputs: expected 1, received 2"),
        (Activation::Swish { alpha: 2.0 }, "Swish: inputs: expected 1, received 2"),
        (Activation::Elu { alpha: 1.0 }, "Elu: inputs: expected 1, received 2"),
        (Activation::SELU, "Selu: inputs: expected 1, received 2"),
        (Activation::Celu { alpha: 1.0 }, "Celu: inputs: expected 1, received 2"),
        (Activation::Softplus, "Softplus: inputs: expected 1, received 2"),
        (Activation::LogSigmoid, "LogSigmoid: inputs: expected 1, received 2"),
        (Activation::Softsign, "Softsign: inputs: expected 1, received 2"),
        (Activation::Mish, "Mish: inputs: expected 1, received 2"),
        (Activation::ThresholdedRelu { alpha: 1.0 }, "ThresholdedRelu: inputs: expected 1, received 2"),
        (Activation::Shrink { bias: 0.0, lambd: 0.5 }, "Shrink: inputs: expected 1, received 2"),
    ]
    .map(|(activation, message)| case(Activate(activation), [&[3], &[3]], message))
    .into_iter()
    .chain(unary())
    .chain([celu()])
    .collect()
}

fn unary() -> [Case; 13] {
    [
        (UnaryFunction::Exp, "Exp: inputs: expected 1, received 2"),
        (UnaryFunction::Log, "Log: inputs: expected 1, received 2"),
        (UnaryFunction::Sqrt, "Sqrt: inputs: expected 1, received 2"),
        (UnaryFunction::Abs, "Abs: inputs: expected 1, received 2"),
        (UnaryFunction::Neg, "Neg: inputs: expected 1, received 2"),
        (UnaryFunction::Reciprocal, "Reciprocal: inputs: expected 1, received 2"),
        (UnaryFunction::Floor, "Floor: inputs: expected 1, received 2"),
        (UnaryFunction::Ceil, "Ceil: inputs: expected 1, received 2"),
        (UnaryFunction::Round, "Round: inputs: expected 1, received 2"),
        (UnaryFunction::Trunc, "Trunc: inputs: expected 1, received 2"),
        (UnaryFunction::Sign, "Sign: inputs: expected 1, received 2"),
        (UnaryFunction::Sin, "Sin: inputs: expected 1, received 2"),
        (UnaryFunction::Cos, "Cos: inputs: expected 1, received 2"),
    ]
    .map(|(function, message)| case(Unary(function), [&[3], &[3]], message))
}

fn celu() -> Case {
    case(
        Activate(Activation::Celu { alpha: 0.0 }),
        [&[3]],
        "Celu: alpha: expected any number but zero, received 0",
    )
}
