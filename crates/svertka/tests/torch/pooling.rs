//! Pooling of every kind.

use svertka::Value;
use svertka::ops::{
    AdaptiveAveragePool, AdaptiveMaxPool, AveragePool, BinaryFunction, Broadcast, FractionalMaxPool, LpPool,
    MaxPool, MaxUnpool,
};

use crate::Build;
use crate::convolution::{three, window};

pub(crate) fn build(kind: &str, build: &mut Build<'_>, inputs: &[Value]) -> Option<Value> {
    let x = build.shape(inputs[0]).to_vec();
    let dims = x.len().saturating_sub(2);
    let ceil_mode = build.flag("ceil");
    let output = |build: &Build<'_>| three(&build.sizes("output", dims), 1);
    Some(match kind {
        "max_pool" => build.push(MaxPool { window: window(build, dims), ceil_mode }, inputs),
        "avg_pool" => {
            let count_include_pad = build.flag("include");
            let divisor_override = build.args["divisor"].as_u64().map(|divisor| divisor as usize);
            let window = window(build, dims);
            build.push(AveragePool { window, ceil_mode, count_include_pad, divisor_override }, inputs)
        }
        "lp_pool" => {
            let (window, p) = (window(build, dims), build.float("p"));
            build.push(LpPool { window, ceil_mode, p }, inputs)
        }
        "adaptive_max_pool" => build.push(AdaptiveMaxPool { output_size: output(build) }, inputs),
        "adaptive_avg_pool" => build.push(AdaptiveAveragePool { output_size: output(build) }, inputs),
        "fractional_max_pool" => {
            let kernel_size = three(&vec![build.int("kernel"); dims], 1);
            let output_size = output(build);
            build.push(FractionalMaxPool { kernel_size, output_size, stream: 0, training: false }, inputs)
        }
        "max_unpool" => {
            // PyTorch counts the cells of each plane, ONNX those of the whole tensor.
            let output = build.sizes("output", dims);
            let (planes, cells) = (output[0] * output[1], output[2..].iter().product::<usize>());
            let starts: Vec<f32> = (0..planes).map(|plane| (plane * cells) as f32).collect();
            let shape = [&output[..2], &vec![1; dims]].concat();
            let starts = build.constant(&shape, &starts);
            let indices = build.push(Broadcast(BinaryFunction::Add), &[inputs[1], starts]);
            let size = three(&output[2..], 1);
            build.push(MaxUnpool { indexed: size, output_size: size }, &[inputs[0], indices])
        }
        _ => return None,
    })
}
