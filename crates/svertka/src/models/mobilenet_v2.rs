//! MobileNetV2: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018.

use svertka_kernels::activation::Activation;

use super::{conv_bn, is_small, network};
use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::network::Network;
use crate::ops::Reduction;
use crate::spec::ConvSpec;

/// Expansion, output channels, number of blocks, and stride of the first of them (table 2 of the paper).
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// MobileNetV2: 3,504,872 parameters for a thousand classes of three channels. Pictures up to 64 x 64 keep their size through the first layer.
///
/// # Errors
/// Where the shape is not channels, height and width.
pub fn mobilenet_v2(shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    let mut net = network(shape, classes, seed)?;
    let mut x = net.input();
    let stride = if is_small(shape) { 1 } else { 2 };
    x = net.scope("features.0", |net| conv_bn_relu6(net, x, 32, 3, ConvSpec::new().stride(stride)))?;
    let mut index = 0;
    for (expansion, out_channels, blocks, first_stride) in STAGES {
        for block in 0..blocks {
            index += 1;
            let stride = if block == 0 { first_stride } else { 1 };
            x = net.scope(&format!("features.{index}"), |net| {
                inverted_residual(net, x, expansion, out_channels, stride)
            })?;
        }
    }
    x =
        net.scope(&format!("features.{}", index + 1), |net| conv_bn_relu6(net, x, 1280, 1, ConvSpec::new()))?;
    let x = net.global_pool(x, Reduction::Average)?;
    net.scope("classifier", |net| {
        let x = net.dropout(x, 0.2)?;
        net.linear(x, classes)
    })?;
    Ok(net.finish())
}

fn inverted_residual(
    net: &mut Network,
    x: Value,
    expansion: usize,
    out_channels: usize,
    stride: usize,
) -> Result<Value> {
    let in_channels = net.shape(x)[1];
    let channels = expansion * in_channels;
    let y = if expansion == 1 { x } else { conv_bn_relu6(net, x, channels, 1, ConvSpec::new())? };
    let y = conv_bn_relu6(net, y, channels, 3, ConvSpec::new().stride(stride).groups(channels))?;
    let y = conv_bn(net, y, out_channels, 1, ConvSpec::new())?;
    if stride == 1 && in_channels == out_channels { net.add(x, y) } else { Ok(y) }
}

fn conv_bn_relu6(
    net: &mut Network,
    x: Value,
    out_channels: usize,
    kernel_size: usize,
    spec: ConvSpec,
) -> Result<Value> {
    let x = conv_bn(net, x, out_channels, kernel_size, spec)?;
    net.activation(x, Activation::Clip { min: 0.0, max: 6.0 })
}
