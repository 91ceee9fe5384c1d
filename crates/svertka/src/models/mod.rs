//! Networks by name, one file each.
//!
//! All take `N x C x H x W` and end in logits, `N x classes`, without softmax. Sections and blocks are named as in torchvision where it has
//! the network (`features`, `layer1.0`); the layers in them are numbered by the builder.
//!
//! To add one, write its file and add its line to [`MODELS`].

use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::network::{Network, PoolSpec};
use crate::spec::ConvSpec;

mod alexnet;
mod lenet5;
mod mobilenet_v1;
mod mobilenet_v2;
mod resnet;
mod resnet9;
mod small;
mod vgg;

pub use alexnet::alexnet;
pub use lenet5::lenet5;
pub use mobilenet_v1::mobilenet_v1;
pub use mobilenet_v2::mobilenet_v2;
pub use resnet::{resnet18, resnet34, resnet50};
pub use resnet9::resnet9;
pub use small::small;
pub use vgg::{vgg11, vgg16};

/// A line of the list of networks.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// As users type it.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Channels, height and width of the pictures it was made for.
    pub input: [usize; 3],
    /// Builds it for pictures of a shape (channels, height, width), a number of classes and a seed of the weights.
    pub build: fn(&[usize], usize, u64) -> Result<Graph>,
}

/// Every network that has a name.
#[rustfmt::skip] // A line each.
pub const MODELS: &[Entry] = &[
    Entry { name: "small", summary: "three convolutions for small pictures, quick to train", input: [3, 32, 32], build: small },
    Entry { name: "resnet9", summary: "residual network with 9 layers for small pictures (Page 2018)", input: [3, 32, 32], build: resnet9 },
    Entry { name: "lenet5", summary: "LeNet-5 (LeCun 1998) with ReLU and max pooling, for digits", input: [1, 28, 28], build: lenet5 },
    Entry { name: "alexnet", summary: "AlexNet in one tower (Krizhevsky 2014)", input: [3, 224, 224], build: alexnet },
    Entry { name: "vgg11", summary: "VGG with 11 layers (Simonyan 2014)", input: [3, 224, 224], build: vgg11 },
    Entry { name: "vgg16", summary: "VGG with 16 layers (Simonyan 2014)", input: [3, 224, 224], build: vgg16 },
    Entry { name: "resnet18", summary: "residual network with 18 layers (He 2015)", input: [3, 224, 224], build: resnet18 },
    Entry { name: "resnet34", summary: "residual network with 34 layers (He 2015)", input: [3, 224, 224], build: resnet34 },
    Entry { name: "resnet50", summary: "residual network with 50 layers, bottlenecks (He 2015)", input: [3, 224, 224], build: resnet50 },
    Entry { name: "mobilenet-v1", summary: "depthwise separable convolutions (Howard 2017)", input: [3, 224, 224], build: mobilenet_v1 },
    Entry { name: "mobilenet-v2", summary: "inverted residuals (Sandler 2018)", input: [3, 224, 224], build: mobilenet_v2 },
];

/// The network of this name; case does not matter, and `_` may stand for `-`.
pub fn find(name: &str) -> Option<&'static Entry> {
    let name = name.trim().replace('_', "-");
    MODELS.iter().find(|entry| entry.name.eq_ignore_ascii_case(&name))
}

/// Pictures from which on a set is large: a network with more to learn, and longer batches, then give more than they cost.
pub(crate) const MANY_PICTURES: usize = 20_000;

/// The name of the network to begin with, for so many training pictures of a shape (channels, height, width).
///
/// ```
/// use svertka::models::default_for;
/// let names = [(5_000, [1, 28, 28]), (50_000, [3, 32, 32]), (5_000, [3, 96, 128])];
/// assert_eq!(names.map(|(pictures, shape)| default_for(pictures, shape)), ["small", "resnet9", "resnet18"]);
/// ```
pub fn default_for(pictures: usize, shape: [usize; 3]) -> &'static str {
    match (is_small(&shape), pictures >= MANY_PICTURES && shape[1].min(shape[2]) >= 16) {
        (true, false) => "small",
        (true, true) => "resnet9",
        (false, _) => "resnet18",
    }
}

/// A network of [`MODELS`] by name, or one from its one-line text ([`Network::from_text`]), which must end in a linear layer with
/// `classes` features. `shape` is channels, height and width.
///
/// # Errors
/// Where the name is unknown, the text is none, or the network does not fit the shape.
///
/// ```
/// use svertka::models;
/// let by_name = models::build("resnet18", &[3, 32, 32], 10, 0)?;
/// let by_text = models::build("conv32 relu pool2 linear10", &[3, 32, 32], 10, 0)?;
/// for graph in [by_name, by_text] {
///     assert_eq!(graph.shapes(&graph.input_shapes(5))?.last().unwrap(), &[5, 10]);
/// }
/// # Ok::<(), svertka::Error>(())
/// ```
pub fn build(name_or_text: &str, shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    match find(name_or_text) {
        Some(entry) => (entry.build)(shape, classes, seed).map_err(|error| error.within(entry.name)),
        None => from_text(name_or_text, shape, classes, seed),
    }
}

fn from_text(text: &str, shape: &[usize], classes: usize, seed: u64) -> Result<Graph> {
    expect_classes(classes)?;
    let is_word = text.trim().chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    let graph = Network::from_text(text, shape, seed).map_err(|error| match error {
        Error::Argument { argument, .. } if argument == "name" && is_word => {
            let names = MODELS.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
            let expected = format!("{names}, or layers such as \"conv32 relu pool2 linear{classes}\"");
            Error::argument("network", "name", expected, format!("{text:?}"))
        }
        error => error,
    })?;
    let graph = graph.finish();
    let last = graph
        .outputs
        .first()
        .and_then(|output| graph.producer(*output))
        .filter(|node| node.op.name() == "Gemm");
    let weight = last.and_then(|node| graph.parameter_of(*node.inputs.get(1)?));
    if weight.is_none_or(|weight| weight.shape().first() != Some(&classes)) {
        let expected = format!("linear{classes} as its last layer, for {classes} classes: append it");
        return Err(Error::argument("network", "text", expected, format!("{text:?}")));
    }
    Ok(graph)
}

fn expect_classes(classes: usize) -> Result<()> {
    if classes == 0 { Err(Error::argument("network", "classes", "at least 1", classes)) } else { Ok(()) }
}

/// A network without layers yet, for pictures.
fn network(shape: &[usize], classes: usize, seed: u64) -> Result<Network> {
    expect_classes(classes)?;
    if shape.len() != 3 || shape.contains(&0) {
        let expected = "channels, height and width, each at least 1";
        return Err(Error::argument("network", "input", expected, format!("{shape:?}")));
    }
    Ok(Network::new(shape, seed))
}

/// Whether a picture is so small (32 x 32, say) that the stem of a network for 224 x 224 would leave nothing of it.
pub(crate) fn is_small(shape: &[usize]) -> bool {
    shape[1..].iter().all(|&side| side <= 64)
}

/// A convolution that keeps the size at stride 1, and a batch normalization, whose shift makes a bias superfluous.
fn conv_bn(
    net: &mut Network,
    x: Value,
    out_channels: usize,
    kernel_size: usize,
    spec: ConvSpec,
) -> Result<Value> {
    let x = net.conv(x, out_channels, kernel_size, &spec.padding(kernel_size / 2).bias(false))?;
    net.batch_norm(x)
}

/// Refuses pictures for which [`average_grid`] would have unequal windows. `first` is the smallest side that works, `step` the distance to the
/// next; as everything before the grid halves five times, or divides by as much, the 32 sides from there on give the same grid.
fn expect_grid(shape: &[usize], first: usize, step: usize) -> Result<()> {
    if shape[1..].iter().all(|&side| side >= first && (side - first) % step < 32) {
        return Ok(());
    }
    let [end, second, second_end] = [first + 31, first + step, first + step + 31];
    let expected =
        format!("height and width from {first} to {end}, from {second} to {second_end}, and so on by {step}");
    Err(Error::argument("network", "input", expected, format!("{} x {}", shape[1], shape[2])))
}

/// The means of `grid x grid` equal windows, as `torch.nn.AdaptiveAvgPool2d` where `grid` divides the sides; nothing where they are `grid`.
fn average_grid(net: &mut Network, x: Value, grid: usize) -> Result<Value> {
    let window: Vec<usize> = net.shape(x)[2..].iter().map(|side| side / grid).collect();
    if window == [1, 1] { Ok(x) } else { net.average_pool(x, &PoolSpec::new(window)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The claim of [`expect_grid`], against the geometry of the layers themselves, one channel wide.
    #[test]
    fn grids_divide_the_sides_that_are_let_through_and_no_others() {
        for (features, grid, first, step) in [
            ("conv1k11s4p2 pool3s2 pool3s2 pool3s2", 6, 223, 192),
            ("pool2 pool2 pool2 pool2 pool2", 7, 224, 224),
        ] {
            for side in 1..1000 {
                let cells = Network::from_text(features, &[1, side, side], 0).map_or(0, |net| {
                    let graph = net.finish();
                    graph.shapes(&graph.input_shapes(1)).unwrap()[graph.outputs[0].0][2]
                });
                let divides = cells > 0 && cells.is_multiple_of(grid);
                assert_eq!(
                    expect_grid(&[1, side, side], first, step).is_ok(),
                    divides,
                    "{features}: {side} gives {cells}"
                );
            }
        }
    }
}
