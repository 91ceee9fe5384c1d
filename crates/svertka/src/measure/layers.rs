//! The layers that figures are given for: those of ResNet-50, VGG and MobileNetV2, and one of each other kind.

use std::sync::Arc;

use svertka_kernels::geometry::{ConvGeometry, Window};

use super::numbers;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::ops::{Conv, ConvTranspose};

/// A convolution whose options are the same along each of its one to three spatial axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Spatial axes, 1 to 3.
    pub dims: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Kernel size.
    pub kernel_size: usize,
    /// Depth, height and width of the input; ones before the layer's own axes.
    pub input: [usize; 3],
    /// Stride.
    pub stride: usize,
    /// Padding at both ends.
    pub padding: usize,
    /// Dilation.
    pub dilation: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Whether it is the transposed convolution.
    pub transposed: bool,
}

/// The list: name and layer. Names say kernel size, stride where it is not one, channels and side.
#[rustfmt::skip] // A line each.
pub const LAYERS: &[(&str, Layer)] = &[
    // ResNet-50
    ("r50_7x7s2_3_64_224", Layer { stride: 2, ..square(3, 64, 7, 224) }),
    ("r50_1x1_64_64_56", square(64, 64, 1, 56)),
    ("r50_3x3_64_64_56", square(64, 64, 3, 56)),
    ("r50_1x1_64_256_56", square(64, 256, 1, 56)),
    ("r50_3x3s2_128_128_56", Layer { stride: 2, ..square(128, 128, 3, 56) }),
    ("r50_3x3_128_128_28", square(128, 128, 3, 28)),
    ("r50_3x3_256_256_14", square(256, 256, 3, 14)),
    ("r50_3x3_512_512_7", square(512, 512, 3, 7)),
    ("r50_1x1_1024_256_14", square(1024, 256, 1, 14)),
    ("r50_1x1_512_2048_7", square(512, 2048, 1, 7)),
    ("r50_1x1s2_512_1024_28", Layer { stride: 2, ..square(512, 1024, 1, 28) }),
    // VGG
    ("vgg_3x3_64_64_224", square(64, 64, 3, 224)),
    ("vgg_3x3_256_256_56", square(256, 256, 3, 56)),
    // MobileNetV2, depthwise
    ("dw3x3s2_96_112", Layer { stride: 2, ..depthwise(96, 112) }),
    ("dw3x3_144_56", depthwise(144, 56)),
    ("dw3x3_576_14", depthwise(576, 14)),
    ("dw3x3_960_7", depthwise(960, 7)),
    // One of each other kind
    ("dil2_3x3_256_256_28", Layer { dilation: 2, padding: 2, ..square(256, 256, 3, 28) }),
    ("grp32_3x3_128_128_56", Layer { groups: 32, ..square(128, 128, 3, 56) }),
    ("inc_5x5_48_64_35", square(48, 64, 5, 35)),
    ("tr4x4s2_256_128_16", Layer { stride: 2, transposed: true, ..square(256, 128, 4, 16) }),
    ("tr4x4s2_64_32_64", Layer { stride: 2, transposed: true, ..square(64, 32, 4, 64) }),
    ("conv1d_k9_64_128_4096", Layer { dims: 1, input: [1, 1, 4096], ..square(64, 128, 9, 1) }),
    ("conv3d_3x3x3_16_32_16x56x56", Layer { dims: 3, input: [16, 56, 56], ..square(16, 32, 3, 1) }),
];

/// Over a square, padded by half the kernel.
const fn square(in_channels: usize, out_channels: usize, kernel_size: usize, side: usize) -> Layer {
    Layer {
        dims: 2,
        in_channels,
        out_channels,
        kernel_size,
        input: [1, side, side],
        stride: 1,
        padding: (kernel_size - 1) / 2,
        dilation: 1,
        groups: 1,
        transposed: false,
    }
}

const fn depthwise(channels: usize, side: usize) -> Layer {
    Layer { groups: channels, ..square(channels, channels, 3, side) }
}

impl Layer {
    /// What the kernels need for a batch. Of a transposed layer it is the convolution that leads back, see [`ConvGeometry::transposed`].
    ///
    /// # Errors
    /// Where the sizes do not fit together.
    pub fn geometry(&self, batch: usize) -> Result<ConvGeometry> {
        let Self { in_channels, out_channels, groups, input, .. } = *self;
        let geometry = if self.transposed {
            ConvGeometry::transposed(batch, in_channels, out_channels, groups, input, self.window(), [0; 3])
        } else {
            ConvGeometry::new(batch, in_channels, out_channels, groups, input, self.window())
        };
        geometry.map_err(Error::geometry("layer"))
    }

    /// A network of this layer alone, with a bias; its batch is open.
    ///
    /// # Errors
    /// As [`Layer::geometry`].
    pub fn graph(&self) -> Result<Graph> {
        let geometry = self.geometry(1)?;
        let axes = 3 - self.dims.clamp(1, 3)..;
        let (window, groups) = (self.window(), self.groups);
        let sizes = self.input[axes.clone()].iter().copied().map(Some);
        let shape = [None, Some(self.in_channels)].into_iter().chain(sizes).collect();
        let kernel = &window.kernel[axes];
        // A transposed layer's weight is that of the convolution that leads back.
        let weight = [&[geometry.out_channels, geometry.in_channels / groups], kernel].concat();
        let mut graph = Graph::new();
        let inputs = [
            graph.input("x", shape),
            graph.parameter("weight", numbers(weight)),
            graph.parameter("bias", numbers([self.out_channels])),
        ];
        graph.outputs = if self.transposed {
            graph.push(
                "layer",
                Arc::new(ConvTranspose { window, output_padding: [0; 3], groups }),
                &inputs,
                1,
            )
        } else {
            graph.push("layer", Arc::new(Conv { window, groups }), &inputs, 1)
        };
        Ok(graph)
    }

    fn window(&self) -> Window {
        let first = 3 - self.dims.clamp(1, 3);
        let along = |value, other| std::array::from_fn(|axis| if axis < first { other } else { value });
        Window {
            kernel: along(self.kernel_size, 1),
            stride: along(self.stride, 1),
            dilation: along(self.dilation, 1),
            padding: along(self.padding, 0).map(|padding| (padding, padding)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_layer_has_a_geometry() {
        for (i, (name, layer)) in LAYERS.iter().enumerate() {
            assert!(LAYERS[..i].iter().all(|(other, _)| other != name), "{name}");
            let geometry = layer.geometry(2).unwrap();
            let graph = layer.graph().unwrap();
            let shapes = graph.shapes(&graph.input_shapes(2)).unwrap();
            let made = if layer.transposed { geometry.input } else { geometry.output };
            let expected = [&[2, layer.out_channels], &made[3 - layer.dims..]].concat();
            assert_eq!(shapes[graph.outputs[0].0], expected, "{name}");
        }
    }

    #[test]
    fn macs_are_those_of_the_papers() {
        let macs = |name: &str| {
            let (_, layer) = LAYERS.iter().find(|(other, _)| *other == name).unwrap();
            layer.geometry(1).unwrap().macs()
        };
        assert_eq!(macs("r50_7x7s2_3_64_224"), 118_013_952);
        assert_eq!(macs("dw3x3_960_7"), 423_360);
        assert_eq!(macs("tr4x4s2_256_128_16"), 16 * 16 * 16 * 256 * 128);
        assert_eq!(macs("conv1d_k9_64_128_4096"), 4096 * 9 * 64 * 128);
    }
}
