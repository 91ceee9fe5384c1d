//! Normalizations, with scales that begin at one and biases that begin at zero.

use super::Network;
use crate::error::Result;
use crate::graph::Value;
use crate::ops::{
    BatchNorm, ChannelLayerNorm, GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm, Operator,
};
use crate::tensor::Tensor;

impl Network {
    /// Batch normalization.
    ///
    /// # Errors
    /// Where the value has no channels.
    pub fn batch_norm(&mut self, x: Value) -> Result<Value> {
        let channels = self.channels(x);
        let name = self.name("bn");
        let mut inputs = vec![x];
        for (suffix, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            inputs.push(self.constant(&format!("{name}.{suffix}"), channels, value));
        }
        self.push(&name, BatchNorm::default(), &inputs)
    }

    /// Each channel of each image by its own mean and variance; `affine`, with a learned scale and bias for each channel, as
    /// `torch.nn.InstanceNorm2d` has it without `track_running_stats`.
    ///
    /// # Errors
    /// Where the value has no spatial axes.
    pub fn instance_norm(&mut self, x: Value, affine: bool) -> Result<Value> {
        let name = self.name("instancenorm");
        if !affine {
            return self.push(&name, InstanceNorm::default(), &[x]);
        }
        self.affine_norm(&name, InstanceNorm::default(), x, vec![self.channels(x)])
    }

    /// Groups of channels of each image by their own mean and variance, with a learned scale and bias for each channel.
    ///
    /// # Errors
    /// Where `groups` does not divide the channels.
    ///
    /// ```
    /// let mut network = svertka::Network::new(&[6, 8, 8], 0);
    /// let x = network.group_norm(network.input(), 3)?;
    /// assert_eq!(network.shape(x), [1, 6, 8, 8]);
    /// let error = network.group_norm(x, 4).unwrap_err().to_string();
    /// assert!(error.ends_with("groups: expected a divisor of the 6 channels, received 4"), "{error}");
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn group_norm(&mut self, x: Value, groups: usize) -> Result<Value> {
        let name = self.name("groupnorm");
        self.affine_norm(&name, GroupNorm { groups, eps: 1e-5 }, x, vec![self.channels(x)])
    }

    /// Each image by its own mean and variance over all axes but the batch, with a learned scale and bias for each element:
    /// `torch.nn.LayerNorm` of the shape without batch.
    ///
    /// # Errors
    /// None for a value of this network.
    pub fn layer_norm(&mut self, x: Value) -> Result<Value> {
        let name = self.name("layernorm");
        let shape = self.shape(x)[1..].to_vec();
        self.affine_norm(&name, LayerNorm { axis: 1, eps: 1e-5, statistics: false }, x, shape)
    }

    /// Each cell by the mean and variance of its channels, with a learned scale and bias for each channel: the layer normalization of ConvNeXt
    /// (Liu et al., 2022).
    ///
    /// # Errors
    /// Where the value has no channels.
    pub fn channel_layer_norm(&mut self, x: Value) -> Result<Value> {
        let name = self.name("layernorm");
        self.affine_norm(&name, ChannelLayerNorm { eps: 1e-6 }, x, vec![self.channels(x)])
    }

    /// Each value divided by a power of the squares of `size` neighbouring channels, with the defaults of `torch.nn.LocalResponseNorm`. An even
    /// window has its odd channel after the middle as in ONNX, where PyTorch has it before.
    ///
    /// # Errors
    /// Where `size` is zero.
    pub fn local_response_norm(&mut self, x: Value, size: usize) -> Result<Value> {
        let name = self.name("lrn");
        self.push(&name, LocalResponseNorm::new(size), &[x])
    }

    fn channels(&self, x: Value) -> usize {
        self.shape(x).get(1).copied().unwrap_or(0)
    }

    fn affine_norm(
        &mut self,
        name: &str,
        op: impl Operator + 'static,
        x: Value,
        shape: Vec<usize>,
    ) -> Result<Value> {
        let mut ones = Tensor::zeros(shape.clone());
        ones.data_mut().fill(1.0);
        let scale = self.parameter(&format!("{name}.weight"), ones);
        let bias = self.parameter(&format!("{name}.bias"), Tensor::zeros(shape));
        self.push(name, op, &[x, scale, bias])
    }
}
