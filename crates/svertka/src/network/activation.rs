//! Nonlinearities.

use svertka_kernels::activation::Activation;

use super::Network;
use crate::error::Result;
use crate::graph::Value;
use crate::ops::{Activate, LogSoftmax, Operator, PRelu, Softmax};
use crate::tensor::Tensor;

impl Network {
    /// An elementwise nonlinearity.
    ///
    /// # Errors
    /// Where a parameter of the nonlinearity has no meaning.
    pub fn activation(&mut self, x: Value, activation: Activation) -> Result<Value> {
        let op = Activate(activation);
        let name = self.name(&op.name().to_lowercase());
        self.push(&name, op, &[x])
    }

    /// `max(x, 0)`.
    ///
    /// # Errors
    /// None for a value of this network.
    pub fn relu(&mut self, x: Value) -> Result<Value> {
        self.activation(x, Activation::Relu)
    }

    /// `x` above zero, else a learned slope times `x`: one slope for each channel, or one for all. It begins at 0.25.
    ///
    /// # Errors
    /// Where the value has no channels.
    ///
    /// ```
    /// use svertka::{ConvSpec, Network};
    /// let mut network = Network::new(&[3, 8, 8], 0);
    /// let x = network.conv(network.input(), 16, 3, &ConvSpec::new())?;
    /// let x = network.prelu(x, true)?;
    /// assert_eq!(network.shape(x), [1, 16, 6, 6]);
    /// assert_eq!(network.finish().parameters()[2].shape(), [16, 1, 1]);
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn prelu(&mut self, x: Value, by_channel: bool) -> Result<Value> {
        let name = self.name("prelu");
        let shape = self.shape(x);
        let mut slopes = vec![1; shape.len().saturating_sub(1).max(1)];
        if by_channel {
            slopes[0] = shape.get(1).copied().unwrap_or(0);
        }
        let mut slope = Tensor::zeros(slopes);
        slope.data_mut().fill(0.25);
        let slope = self.parameter(&format!("{name}.weight"), slope);
        self.push(&name, PRelu, &[x, slope])
    }

    /// Probabilities of classes, or of channels in each cell: along axis 1.
    ///
    /// # Errors
    /// Where the value has one axis only.
    pub fn softmax(&mut self, x: Value) -> Result<Value> {
        let name = self.name("softmax");
        self.push(&name, Softmax::new(1), &[x])
    }

    /// The logarithm of [`Network::softmax`].
    ///
    /// # Errors
    /// Where the value has one axis only.
    pub fn log_softmax(&mut self, x: Value) -> Result<Value> {
        let name = self.name("logsoftmax");
        self.push(&name, LogSoftmax::new(1), &[x])
    }
}
