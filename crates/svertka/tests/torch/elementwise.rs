//! Activations, functions of two values, reductions, embeddings.

use svertka::ops::{Activate, BinaryFunction, Broadcast, Gather, Reduce, ReduceFunction};
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
        _ => return None,
    })
}
