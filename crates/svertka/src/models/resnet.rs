//! Residual networks: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015. A bottleneck strides in its 3 x 3
//! convolution, as torchvision's does (the paper's strides in the first 1 x 1).

use super::{conv_bn, is_small, network};
use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::network::{Network, PoolSpec};
use crate::ops::Reduction;
use crate::spec::ConvSpec;

/// Residual network with 18 layers: 11,689,512 parameters for a thousand classes of three channels at more than 64 x 64. Smaller pictures keep
/// their size through the stem, a 3 x 3 convolution instead of 7 x 7 and a pooling.
///
/// # Errors
/// Where the shape is not channels, height and width.
pub fn resnet18(shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    resnet(shape, classes, seed, [2, 2, 2, 2], basic)
}

/// Residual network with 34 layers: 21,797,672 parameters, counted as for [`resnet18`].
///
/// # Errors
/// As [`resnet18`].
pub fn resnet34(shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    resnet(shape, classes, seed, [3, 4, 6, 3], basic)
}

/// Residual network with 50 layers in bottlenecks: 25,557,032 parameters, counted as for [`resnet18`].
///
/// # Errors
/// As [`resnet18`].
pub fn resnet50(shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    resnet(shape, classes, seed, [3, 4, 6, 3], bottleneck)
}

/// From a value, the channels of its 3 x 3 convolutions and the stride.
type Block = fn(&mut Network, Value, usize, usize) -> Result<Value>;

fn resnet(shape: &[usize], classes: usize, seed: u64, blocks: [usize; 4], block: Block) -> Result<Graph> {
    let mut net = network(shape, classes, seed)?;
    let x = net.input();
    let mut x = if is_small(shape) {
        let x = conv_bn(&mut net, x, 64, 3, ConvSpec::new())?;
        net.relu(x)?
    } else {
        let x = conv_bn(&mut net, x, 64, 7, ConvSpec::new().stride(2))?;
        let x = net.relu(x)?;
        net.max_pool(x, &PoolSpec::new(3).stride(2).padding(1))?
    };
    for (stage, blocks) in blocks.into_iter().enumerate() {
        for index in 0..blocks {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            x =
                net.scope(&format!("layer{}.{index}", stage + 1), |net| block(net, x, 64 << stage, stride))?;
        }
    }
    let x = net.global_pool(x, Reduction::Average)?;
    net.linear(x, classes)?;
    Ok(net.finish())
}

fn basic(net: &mut Network, x: Value, channels: usize, stride: usize) -> Result<Value> {
    let y = conv_bn(net, x, channels, 3, ConvSpec::new().stride(stride))?;
    let y = net.relu(y)?;
    let y = conv_bn(net, y, channels, 3, ConvSpec::new())?;
    add_shortcut(net, y, x, stride)
}

fn bottleneck(net: &mut Network, x: Value, channels: usize, stride: usize) -> Result<Value> {
    let y = conv_bn(net, x, channels, 1, ConvSpec::new())?;
    let y = net.relu(y)?;
    let y = conv_bn(net, y, channels, 3, ConvSpec::new().stride(stride))?;
    let y = net.relu(y)?;
    let y = conv_bn(net, y, 4 * channels, 1, ConvSpec::new())?;
    add_shortcut(net, y, x, stride)
}

/// `relu(y + x)`, with `x` projected where the block changes its shape.
fn add_shortcut(net: &mut Network, y: Value, x: Value, stride: usize) -> Result<Value> {
    let out_channels = net.shape(y)[1];
    let shortcut = if stride > 1 || net.shape(x)[1] != out_channels {
        net.scope("downsample", |net| conv_bn(net, x, out_channels, 1, ConvSpec::new().stride(stride)))?
    } else {
        x
    };
    let sum = net.add(y, shortcut)?;
    net.relu(sum)
}
