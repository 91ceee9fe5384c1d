//! The layer of an unshared convolution.

use super::Network;
use crate::error::Result;
use crate::graph::Value;
use crate::ops::Unshared;
use crate::spec::{ConvSpec, Sizes};
use crate::tensor::Tensor;

impl Network {
    /// An unshared (locally connected) convolution with `out_channels` channels: [`Network::conv`] with a weight for each output position, and a bias
    /// for each output cell. The input's size must be that of training.
    ///
    /// # Errors
    /// Where the arguments do not fit the value's shape.
    ///
    /// ```
    /// use svertka::{ConvSpec, Network, cost};
    /// let mut network = Network::new(&[3, 6, 8], 0);
    /// network.unshared(network.input(), 16, 3, &ConvSpec::new().bias(false))?;
    /// let layers = { let graph = network.finish(); cost(&graph, &graph.input_shapes(1))? };
    /// // 4 x 6 positions: as many multiply-accumulates as a convolution, each with a weight of its own.
    /// assert_eq!((layers[0].parameters, layers[0].macs), (24 * 432, 24 * 432));
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn unshared(
        &mut self,
        x: Value,
        out_channels: usize,
        kernel_size: impl Into<Sizes>,
        spec: &ConvSpec,
    ) -> Result<Value> {
        let (pad, window) = spec.pad_and_window("Unshared", self.shape(x), &kernel_size.into())?;
        let name = self.name("unshared");
        let x = match pad {
            Some(pad) => self.push(&format!("{name}.pad"), pad, &[x])?,
            None => x,
        };
        let op = Unshared { window, groups: spec.groups };
        let (weight, bias) =
            op.parameter_shapes(self.shape(x), out_channels).map_err(|error| error.within(&name))?;
        let fan_in = weight[bias.len()..].iter().product();
        let mut inputs = vec![x, self.weight(&format!("{name}.weight"), weight, fan_in)?];
        if spec.bias {
            inputs.push(self.parameter(&format!("{name}.bias"), Tensor::zeros(bias)));
        }
        self.push(&name, op, &inputs)
    }
}
