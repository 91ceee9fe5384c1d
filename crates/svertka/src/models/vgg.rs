//! VGG: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014. Without batch normalization, as the
//! paper and torchvision's `vgg11` and `vgg16`.

use super::{average_grid, expect_grid, network};
use crate::error::Result;
use crate::graph::Graph;
use crate::network::PoolSpec;
use crate::spec::ConvSpec;

/// VGG with 11 layers (configuration A): 132,863,336 parameters for a thousand classes of three channels.
///
/// # Errors
/// Where a side is not 224 to 255, or so many times 224 more.
pub fn vgg11(shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    vgg(shape, classes, seed, [1, 1, 2, 2, 2])
}

/// VGG with 16 layers (configuration D): 138,357,544 parameters for a thousand classes of three channels.
///
/// # Errors
/// As [`vgg11`].
pub fn vgg16(shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    vgg(shape, classes, seed, [2, 2, 3, 3, 3])
}

/// `convs` is the number of convolutions before each of the five poolings.
fn vgg(shape: &[usize], classes: usize, seed: u64, convs: [usize; 5]) -> Result<Graph> {
    let mut net = network(shape, classes, seed)?;
    expect_grid(shape, 224, 224)?;
    let x = net.input();
    let x = net.scope("features", |net| {
        let mut x = x;
        for (convs, out_channels) in convs.into_iter().zip([64, 128, 256, 512, 512]) {
            for _ in 0..convs {
                x = net.conv(x, out_channels, 3, &ConvSpec::new().padding(1))?;
                x = net.relu(x)?;
            }
            x = net.max_pool(x, &PoolSpec::new(2))?;
        }
        Ok(x)
    })?;
    let x = average_grid(&mut net, x, 7)?;
    net.scope("classifier", |net| {
        let mut x = x;
        for _ in 0..2 {
            x = net.linear(x, 4096)?;
            x = net.relu(x)?;
            x = net.dropout(x, 0.5)?;
        }
        net.linear(x, classes)
    })?;
    Ok(net.finish())
}
