//! MobileNet: Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017. torchvision has none.

use super::{conv_bn, is_small, network};
use crate::error::Result;
use crate::graph::Graph;
use crate::ops::Reduction;
use crate::spec::ConvSpec;

/// Output channels and stride of each depthwise separable block (table 1 of the paper).
const BLOCKS: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

/// MobileNet: 4,231,976 parameters for a thousand classes of three channels. Pictures up to 64 x 64 keep their size through the first layer.
///
/// # Errors
/// Where the shape is not channels, height and width.
pub fn mobilenet_v1(shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    let mut net = network(shape, classes, seed)?;
    let x = net.input();
    let x = conv_bn(&mut net, x, 32, 3, ConvSpec::new().stride(if is_small(shape) { 1 } else { 2 }))?;
    let mut x = net.relu(x)?;
    for (index, (out_channels, stride)) in BLOCKS.into_iter().enumerate() {
        x = net.scope(&format!("block{}", index + 1), |net| {
            let channels = net.shape(x)[1];
            let x = conv_bn(net, x, channels, 3, ConvSpec::new().stride(stride).groups(channels))?;
            let x = net.relu(x)?;
            let x = conv_bn(net, x, out_channels, 1, ConvSpec::new())?;
            net.relu(x)
        })?;
    }
    let x = net.global_pool(x, Reduction::Average)?;
    net.linear(x, classes)?;
    Ok(net.finish())
}
