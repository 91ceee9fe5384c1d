//! The residual network of nine layers that is known for training in little time: Page, "How to train your ResNet", 2018 (DAWNBench), at half its
//! width, which on the CPU gives more accuracy for the time than the whole.

use super::{conv_bn, network};
use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::network::{Network, PoolSpec};
use crate::ops::Reduction;
use crate::spec::ConvSpec;

/// For many small pictures: 1,646,122 parameters for ten classes of 3 x 32 x 32.
///
/// # Errors
/// Where the picture is under 8 x 8.
pub fn resnet9(shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    let mut net = network(shape, classes, seed)?;
    let x = net.input();
    let x = conv_relu(&mut net, x, 32)?;
    let x = halved(&mut net, x, 64)?;
    let x = net.scope("residual1", |net| residual(net, x, 64))?;
    let x = halved(&mut net, x, 128)?;
    let x = halved(&mut net, x, 256)?;
    let x = net.scope("residual2", |net| residual(net, x, 256))?;
    let x = net.global_pool(x, Reduction::Max)?;
    net.linear(x, classes)?;
    Ok(net.finish())
}

fn conv_relu(net: &mut Network, x: Value, channels: usize) -> Result<Value> {
    let x = conv_bn(net, x, channels, 3, ConvSpec::new())?;
    net.relu(x)
}

/// A convolution at half of height and width: pooled at once, norm and activation have a quarter to do.
fn halved(net: &mut Network, x: Value, channels: usize) -> Result<Value> {
    let x = net.conv(x, channels, 3, &ConvSpec::new().padding(1).bias(false))?;
    let x = net.max_pool(x, &PoolSpec::new(2))?;
    let x = net.batch_norm(x)?;
    net.relu(x)
}

fn residual(net: &mut Network, x: Value, channels: usize) -> Result<Value> {
    let y = conv_relu(net, x, channels)?;
    let y = conv_relu(net, y, channels)?;
    net.add(x, y)
}
