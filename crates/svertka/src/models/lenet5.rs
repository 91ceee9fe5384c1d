//! LeNet-5: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998.
//!
//! In today's form: each feature map sees all before it, and the last layer is linear. ReLU and max pooling stand for the paper's scaled tanh
//! and trained subsampling: they train faster, and the builder draws weights for ReLU.

use super::network;
use crate::error::Result;
use crate::graph::Graph;
use crate::network::PoolSpec;
use crate::spec::ConvSpec;

/// LeNet-5: 61,706 parameters for ten classes of one channel of 28 x 28 or 32 x 32. Sides under 32 are padded by 2, as the paper pads
/// the 28 of MNIST.
///
/// # Errors
/// Where the picture is under 12 x 12.
pub fn lenet5(shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    let mut net = network(shape, classes, seed)?;
    let padding: Vec<usize> = shape[1..].iter().map(|&side| if side < 32 { 2 } else { 0 }).collect();
    let mut x = net.input();
    for (out_channels, spec) in [(6, ConvSpec::new().padding(padding)), (16, ConvSpec::new())] {
        x = net.conv(x, out_channels, 5, &spec)?;
        x = net.relu(x)?;
        x = net.max_pool(x, &PoolSpec::new(2))?;
    }
    for features in [120, 84] {
        x = net.linear(x, features)?;
        x = net.relu(x)?;
    }
    net.linear(x, classes)?;
    Ok(net.finish())
}
