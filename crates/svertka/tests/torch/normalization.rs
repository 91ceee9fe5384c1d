//! Norms, softmax, losses.

use svertka::Value;
use svertka::kernels::norm::LocalResponse;
use svertka::ops::{
    BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LikelihoodLoss, LocalResponseNorm, LogSoftmax,
    LossReduction, Softmax,
};

use crate::{Build, numbers};

/// PyTorch's default.
const EPS: f32 = 1e-5;

pub(crate) fn build(kind: &str, build: &mut Build<'_>, inputs: &[Value]) -> Option<Value> {
    let x = build.shape(inputs[0]).to_vec();
    Some(match kind {
        "batch_norm" => {
            let channels = &x[1..2];
            let mean = build.constant(channels, numbers(channels, 11, -1.0, 1.0).data());
            let var = build.constant(channels, numbers(channels, 12, 0.5, 2.0).data());
            let training = build.flag("training");
            let op = BatchNorm { eps: EPS, training, ..BatchNorm::default() };
            build.push(op, &[inputs[0], inputs[1], inputs[2], mean, var])
        }
        "instance_norm" => build.push(InstanceNorm { eps: EPS }, inputs),
        "group_norm" => {
            let groups = build.int("groups");
            build.push(GroupNorm { groups, eps: EPS }, inputs)
        }
        "layer_norm" => {
            let axis = x.len() - build.int("axes");
            build.push(LayerNorm { axis, eps: EPS, statistics: false }, inputs)
        }
        "local_response_norm" => {
            let [alpha, beta, bias] = ["alpha", "beta", "k"].map(|name| build.float(name));
            let size = build.int("size");
            build.push(LocalResponseNorm(LocalResponse { size, alpha, beta, bias }), inputs)
        }
        "softmax" => {
            let axis = build.int("axis");
            build.push(Softmax::new(axis), inputs)
        }
        "log_softmax" => {
            let axis = build.int("axis");
            build.push(LogSoftmax::new(axis), inputs)
        }
        "cross_entropy" => {
            let logarithms = build.push(LogSoftmax::new(1), &inputs[..1]);
            likelihood(build, logarithms, inputs[1])
        }
        "nll_loss" => likelihood(build, inputs[0], inputs[1]),
        _ => return None,
    })
}

fn likelihood(build: &mut Build<'_>, logarithms: Value, labels: Value) -> Value {
    let reduction = match build.text("reduction") {
        "none" => LossReduction::None,
        "sum" => LossReduction::Sum,
        "mean" => LossReduction::Mean,
        other => panic!("{other}"),
    };
    let ignore_index = build.args["ignore"].as_i64();
    let mut inputs = vec![logarithms, labels];
    let weights: Option<Vec<f32>> = serde_json::from_value(build.args["weight"].clone()).unwrap();
    if let Some(weights) = weights {
        inputs.push(build.constant(&[weights.len()], &weights));
    }
    build.push(LikelihoodLoss { reduction, ignore_index }, &inputs)
}
