//! Convolutions and products.

use svertka::Value;
use svertka::kernels::geometry::Window;
use svertka::kernels::pad::PadMode;
use svertka::ops::{Conv, ConvTranspose, DeformConv, Linear, MatMul, Pad};

use crate::Build;

/// Three sizes, the first ones `default`.
pub(crate) fn three<T: Copy>(sizes: &[T], default: T) -> [T; 3] {
    let mut three = [default; 3];
    three[3 - sizes.len()..].copy_from_slice(sizes);
    three
}

/// The window of the arguments `kernel`, `stride`, `dilation` and `padding`.
pub(crate) fn window(build: &Build<'_>, dims: usize) -> Window {
    let get = |name: &str, default| {
        if build.args[name].is_null() { [default; 3] } else { three(&build.sizes(name, dims), default) }
    };
    let padding = if build.args["padding"].is_string() { [0; 3] } else { get("padding", 0) };
    Window {
        kernel: get("kernel", 1),
        stride: get("stride", 1),
        dilation: get("dilation", 1),
        padding: padding.map(|p| (p, p)),
    }
}

pub(crate) fn mode(name: &str, value: f32) -> PadMode {
    match name {
        "zeros" => PadMode::Constant(0.0),
        "constant" => PadMode::Constant(value),
        "reflect" => PadMode::Reflect,
        "replicate" => PadMode::Replicate,
        "circular" => PadMode::Circular,
        other => panic!("{other}"),
    }
}

pub(crate) fn build(kind: &str, build: &mut Build<'_>, inputs: &[Value]) -> Option<Value> {
    Some(match kind {
        "conv" => {
            let x = build.shape(inputs[0]).to_vec();
            let mut window = window(build, x.len() - 2);
            if build.args["padding"] == "same" {
                window.padding = window.same_padding(three(&x[2..], 1), true);
            }
            let (name, groups) = (build.text("mode").to_owned(), build.int("groups"));
            let mut inputs = inputs.to_vec();
            if name != "zeros" {
                let pads = std::mem::take(&mut window.padding);
                inputs[0] = build.push(Pad { mode: mode(&name, 0.0), pads }, &inputs[..1]);
            }
            build.push(Conv { window, groups }, &inputs)
        }
        "pad" => {
            let sides: Vec<(usize, usize)> = serde_json::from_value(build.args["pads"].clone()).unwrap();
            let mode = mode(build.text("mode"), build.float("value"));
            build.push(Pad { mode, pads: three(&sides, (0, 0)) }, inputs)
        }
        "conv_transpose" => {
            let dims = build.shape(inputs[0]).len() - 2;
            let output_padding = three(&build.sizes("output_padding", dims), 0);
            let (window, groups) = (window(build, dims), build.int("groups"));
            build.push(ConvTranspose { window, output_padding, groups }, inputs)
        }
        "deform_conv" => {
            let [groups, offset_groups] = ["groups", "offset_groups"].map(|name| build.int(name));
            let [bias, mask] = ["bias", "mask"].map(|name| build.flag(name));
            let window = window(build, 2);
            build.push(DeformConv { window, groups, offset_groups, bias, mask }, inputs)
        }
        "linear" => build.push(Linear, inputs),
        "matmul" => build.push(MatMul, inputs),
        _ => return None,
    })
}
