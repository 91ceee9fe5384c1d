use svertka::Activation;
use svertka::ops::Activate;

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
    ]
    .map(|(activation, message)| case(Activate(activation), [&[3], &[3]], message))
    .into()
}
