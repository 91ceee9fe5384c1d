//! Activations, functions of two values, reductions, embeddings.

use svertka::ops::{Activate, BinaryFunction, Broadcast, Gather, PRelu, Reduce, ReduceFunction, Reshape};
use svertka::{Activation, Value};

use crate::Build;

pub(crate) fn build(kind: &str, build: &mut Build<'_>, inputs: &[Value]) -> Option<Value> {
    if let Some(activation) = activation(kind, build) {
        return Some(build.push(Activate(activation), inputs));
    }
    let binary = match kind {
        "add" => Some(BinaryFunction::Add),
        "sub" => Some(BinaryFunction::Sub),
        "mul" => Some(BinaryFunction::Mul),
        "div" => Some(BinaryFunction::Div),
        "pow" => Some(BinaryFunction::Pow),
        "maximum" => Some(BinaryFunction::Max),
        "minimum" => Some(BinaryFunction::Min),
        _ => None,
    };
    if let Some(function) = binary {
        return Some(build.push(Broadcast(function), inputs));
    }
    let reduction = match kind {
        "sum" => Some(ReduceFunction::Sum),
        "mean" => Some(ReduceFunction::Mean),
        "amax" => Some(ReduceFunction::Max),
        "amin" => Some(ReduceFunction::Min),
        _ => None,
    };
    if let Some(function) = reduction {
        let axes = build.sizes("axes", 1);
        return Some(build.push(Reduce { function, axes, keep_dims: false }, inputs));
    }
    if kind == "prelu" {
        // One slope, or one for each channel: broadcast from the last axis as ONNX has it.
        let slopes = build.shape(inputs[1])[0] as i64;
        let ones = vec![1; build.shape(inputs[0]).len() - 2];
        let slope = build.push(Reshape { target: [&[slopes], &ones[..]].concat() }, &inputs[1..]);
        return Some(build.push(PRelu, &[inputs[0], slope]));
    }
    (kind == "embedding").then(|| build.push(Gather { axis: 0 }, inputs))
}

fn activation(kind: &str, build: &Build<'_>) -> Option<Activation> {
    Some(match kind {
        "relu" => Activation::Relu,
        "clip" => Activation::Clip { min: build.float("min"), max: build.float("max") },
        "relu6" => Activation::Clip { min: 0.0, max: 6.0 },
        "leaky_relu" => Activation::LeakyRelu { alpha: build.float("alpha") },
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "silu" => Activation::Silu,
        "hardswish" => Activation::HardSwish,
        "hardsigmoid" => Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
        "gelu" => Activation::Gelu,
        "gelu_tanh" => Activation::GeluTanh,
        "elu" => Activation::Elu { alpha: build.float("alpha") },
        "selu" => Activation::Selu { alpha: 1.673_263_2, gamma: 1.050_701 },
        "celu" => Activation::Celu { alpha: build.float("alpha") },
        "mish" => Activation::Mish,
        "softplus" => Activation::Softplus,
        "softsign" => Activation::Softsign,
        "threshold" => Activation::ThresholdedRelu { alpha: build.float("alpha") },
        "softshrink" => Activation::Shrink { bias: build.float("lambda"), lambd: build.float("lambda") },
        "hardshrink" => Activation::Shrink { bias: 0.0, lambd: build.float("lambda") },
        _ => return None,
    })
}
