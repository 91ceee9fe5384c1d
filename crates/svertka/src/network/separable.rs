//! Convolutions taken apart: along the axes, and into channels and pixels.

use super::Network;
use crate::error::{Error, Result};
use crate::graph::Value;
use crate::spec::{ConvSpec, Padding, PaddingMode, Sizes};

impl Network {
    /// A spatially separable convolution: one pass along each axis, `k x 1` and then `1 x k` (in three dimensions `k x 1 x 1`, `1 x k x 1`,
    /// `1 x 1 x k`), without anything between them. The first pass goes from the channels of `x` to `out_channels`, the others keep
    /// them, so that along a kernel of `k` cells a pixel costs `k * in * out + k * out * out` multiply-accumulates in place of
    /// `k * k * in * out`; with groups each pass has them. Stride, dilation and padding act in the pass of their axis; the bias, of which more than
    /// one would change nothing, in the last.
    ///
    /// # Errors
    /// Where the arguments do not fit the value's shape; for `constant` padding other than zero, which passes would add to one another.
    ///
    /// ```
    /// use svertka::{ConvSpec, Network, Padding};
    /// let mut network = Network::new(&[3, 32, 48], 0);
    /// let y = network.separable_conv(network.input(), 16, [5, 7], &ConvSpec::new().padding(Padding::Same))?;
    /// assert_eq!(network.shape(y), [1, 16, 32, 48]);
    /// let shapes: Vec<_> = network.finish().parameters().iter().map(|p| p.shape().to_vec()).collect();
    /// assert_eq!(shapes, [vec![16, 3, 5, 1], vec![16, 16, 1, 7], vec![16]]);
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn separable_conv(
        &mut self,
        x: Value,
        out_channels: usize,
        kernel_size: impl Into<Sizes>,
        spec: &ConvSpec,
    ) -> Result<Value> {
        if let PaddingMode::Constant(value) = spec.padding_mode {
            let what = format!("padding with the constant {value}");
            return Err(Error::unsupported("separable_conv", what));
        }
        let (pad, conv) = spec.operators(self.shape(x), &kernel_size.into())?;
        let (window, dims) = (conv.window, self.shape(x).len() - 2);
        let padding = pad.map_or(window.padding, |pad| pad.pads);
        self.numbered("separable", |network| {
            (3 - dims..3).try_fold(x, |x, axis| {
                let along = |sizes: [usize; 3]| {
                    let mut along = vec![1; dims];
                    along[axis + dims - 3] = sizes[axis];
                    along
                };
                let mut sides = vec![(0, 0); dims];
                sides[axis + dims - 3] = padding[axis];
                let pass = spec
                    .clone()
                    .stride(along(window.stride))
                    .dilation(along(window.dilation))
                    .padding(Padding::Sides(sides))
                    .bias(spec.bias && axis == 2);
                network.conv(x, out_channels, along(window.kernel), &pass)
            })
        })
    }

    /// A depthwise separable convolution (Chollet, "Xception", 2017; Howard et al., "MobileNets", 2017): `multiplier` kernels of `kernel_size` for each
    /// channel, then a pointwise convolution `1 x 1` to `out_channels`. `spec` is that of the depthwise one; the bias, of
    /// which two would be one too many, is added by the pointwise one.
    ///
    /// # Errors
    /// Where the arguments do not fit the value's shape, or `spec` has groups of its own.
    ///
    /// ```
    /// // The lecture's costs: 3 x 3, 3 to 16 channels, 128 x 128.
    /// use svertka::{ConvSpec, Network, Padding, cost};
    /// let mut network = Network::new(&[3, 128, 128], 0);
    /// let spec = ConvSpec::new().padding(Padding::Same).bias(false);
    /// network.depthwise_separable_conv(network.input(), 16, 3, 1, &spec)?;
    /// let graph = network.finish();
    /// let layers = cost(&graph, &graph.input_shapes(1))?;
    /// assert_eq!(layers.iter().map(|layer| layer.parameters).sum::<usize>(), 75);
    /// assert_eq!(layers.iter().map(|layer| layer.macs).sum::<u64>(), 1_228_800);
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn depthwise_separable_conv(
        &mut self,
        x: Value,
        out_channels: usize,
        kernel_size: impl Into<Sizes>,
        multiplier: usize,
        spec: &ConvSpec,
    ) -> Result<Value> {
        if spec.groups != 1 {
            return Err(Error::argument("depthwise_separable_conv", "groups", 1, spec.groups));
        }
        let channels = self.shape(x).get(1).copied().unwrap_or(0);
        let depthwise = spec.clone().groups(channels).bias(false);
        self.numbered("separable", |network| {
            let x = network.conv(x, channels.saturating_mul(multiplier), kernel_size, &depthwise)?;
            network.conv(x, out_channels, 1, &ConvSpec::new().bias(spec.bias))
        })
    }

    /// Layers in a scope that is called `kind` and numbered.
    fn numbered<T>(&mut self, kind: &str, layers: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let name = self.name(kind);
        let inner = name.strip_prefix(&self.scope).unwrap_or(&name).to_owned();
        self.scope(&inner, layers)
    }
}
