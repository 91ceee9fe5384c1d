//! The deformable convolution as a layer, with the convolutions that say where it reads.

use svertka_kernels::activation::Activation;
use svertka_kernels::geometry::Window;

use super::Network;
use crate::error::{Error, Result};
use crate::graph::Value;
use crate::ops::{Activate, Conv, DeformConv};
use crate::spec::{ConvSpec, Sizes};

impl Network {
    /// A modulated deformable convolution (Zhu et al., "Deformable ConvNets v2", 2018) with `out_channels` channels. Two ordinary convolutions of the same
    /// window predict, for each of its taps at each pixel, how far it is moved and how much it counts; their weights are zero at first, so
    /// that the layer begins as half an ordinary convolution. All channels are moved alike; for groups of offsets push a
    /// [`DeformConv`] of your own.
    ///
    /// # Errors
    /// Where the arguments do not fit the value's shape, which has two spatial axes; where `spec.flip` is set.
    ///
    /// ```
    /// use svertka::{ConvSpec, Network};
    /// let mut network = Network::new(&[3, 32, 48], 0);
    /// let y = network.deform_conv(network.input(), 16, 3, &ConvSpec::new().padding(1).stride(2))?;
    /// assert_eq!(network.shape(y), [1, 16, 16, 24]);
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn deform_conv(
        &mut self,
        x: Value,
        out_channels: usize,
        kernel_size: impl Into<Sizes>,
        spec: &ConvSpec,
    ) -> Result<Value> {
        if spec.flip {
            return Err(Error::unsupported("deform_conv", "flip"));
        }
        let shape = self.shape(x).to_vec();
        let &[_, channels, _, _] = shape.as_slice() else {
            return Err(Error::argument("deform_conv", "input", "N x C x H x W", format!("shape {shape:?}")));
        };
        let (pad, Conv { window, groups }) = spec.operators(&shape, &kernel_size.into())?;
        let name = self.name("deformconv");
        let x = match pad {
            Some(pad) => self.push(&format!("{name}.pad"), pad, &[x])?,
            None => x,
        };
        let [_, height, width] = window.kernel;
        let taps = height.saturating_mul(width);
        let offset = self.zero_conv(&format!("{name}.offset"), x, taps.saturating_mul(2), window)?;
        let mask = self.zero_conv(&format!("{name}.mask"), x, taps, window)?;
        let mask = self.push(&format!("{name}.sigmoid"), Activate(Activation::Sigmoid), &[mask])?;
        let kernel = vec![out_channels, channels / groups.max(1), height, width];
        let fan_in = kernel[1..].iter().fold(1, |a: usize, &b| a.saturating_mul(b));
        let mut inputs = vec![x, self.weight(&format!("{name}.weight"), kernel, fan_in)?, offset];
        if spec.bias {
            inputs.push(self.constant(&format!("{name}.bias"), out_channels, 0.0));
        }
        inputs.push(mask);
        self.push(
            &name,
            DeformConv { window, groups, offset_groups: 1, bias: spec.bias, mask: true },
            &inputs,
        )
    }

    /// An ordinary convolution whose parameters begin as zero.
    fn zero_conv(&mut self, name: &str, x: Value, out_channels: usize, window: Window) -> Result<Value> {
        let kernel = vec![out_channels, self.shape(x)[1], window.kernel[1], window.kernel[2]];
        // `weight` refuses what no memory holds.
        let weight = self.weight(&format!("{name}.weight"), kernel, 1)?;
        if let Some(tensor) = self.graph.parameters_mut().last_mut() {
            tensor.data_mut().fill(0.0);
        }
        let bias = self.constant(&format!("{name}.bias"), out_channels, 0.0);
        self.push(name, Conv { window, groups: 1 }, &[x, weight, bias])
    }
}
