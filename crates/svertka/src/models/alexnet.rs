//! AlexNet in one tower: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, as torchvision has it. The two
//! towers, with local response normalization, are Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
//! networks", 2012.

use super::{average_grid, expect_grid, network};
use crate::error::Result;
use crate::graph::Graph;
use crate::network::PoolSpec;
use crate::spec::ConvSpec;

/// AlexNet: 61,100,840 parameters for a thousand classes of three channels.
///
/// # Errors
/// Where a side is not 223 to 254, or so many times 192 more.
pub fn alexnet(shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    let mut net = network(shape, classes, seed)?;
    expect_grid(shape, 223, 192)?;
    let x = net.input();
    let x = net.scope("features", |net| {
        let mut x = x;
        for (out_channels, kernel_size, stride, padding, pool) in [
            (64, 11, 4, 2, true),
            (192, 5, 1, 2, true),
            (384, 3, 1, 1, false),
            (256, 3, 1, 1, false),
            (256, 3, 1, 1, true),
        ] {
            x = net.conv(x, out_channels, kernel_size, &ConvSpec::new().stride(stride).padding(padding))?;
            x = net.relu(x)?;
            if pool {
                x = net.max_pool(x, &PoolSpec::new(3).stride(2))?;
            }
        }
        Ok(x)
    })?;
    let x = average_grid(&mut net, x, 6)?;
    net.scope("classifier", |net| {
        let mut x = x;
        for _ in 0..2 {
            x = net.dropout(x, 0.5)?;
            x = net.linear(x, 4096)?;
            x = net.relu(x)?;
        }
        net.linear(x, classes)
    })?;
    Ok(net.finish())
}
