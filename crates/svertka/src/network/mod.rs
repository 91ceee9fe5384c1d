//! Building a graph layer by layer, with parameters drawn from a seed.

use std::collections::HashMap;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use svertka_kernels::activation::Activation;

use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::ops::{
    Activate, Add, AveragePool, BatchNorm, Concat, Dropout, Flatten, GlobalPool, Linear, MaxPool, Mul,
    Operator, Reduction, Softmax,
};
use crate::spec::{ConvSpec, Padding, Sizes, window};
use crate::tensor::Tensor;

mod resample;

pub use resample::{ResizeMode, ResizeSpec};

/// The options of a pooling, with the defaults of `torch.nn.MaxPool2d`: the stride is the kernel size.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSpec {
    /// Size of the window.
    pub kernel_size: Sizes,
    /// Step of the window.
    pub stride: Sizes,
    /// How much is added around the input.
    pub padding: Padding,
    /// Round the output size up.
    pub ceil_mode: bool,
    /// Whether an average counts cells of padding.
    pub count_include_pad: bool,
}

impl PoolSpec {
    /// Windows of this size, side by side.
    pub fn new(kernel_size: impl Into<Sizes>) -> Self {
        let kernel_size = kernel_size.into();
        Self {
            stride: kernel_size.clone(),
            kernel_size,
            padding: 0.into(),
            ceil_mode: false,
            count_include_pad: true,
        }
    }

    /// Sets the stride.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Sizes>) -> Self {
        self.stride = stride.into();
        self
    }

    /// Sets the padding.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.padding = padding.into();
        self
    }
}

/// A graph under construction. Each method adds a layer behind a value and gives the layer's output. Parameters are named as in PyTorch
/// (`conv1.weight`, `layer1.0.bn2.running_var` with [`Network::scope`]) and drawn from the seed and their number: weights by Kaiming's uniform rule
/// (He et al., 2015), biases zero, norms one and zero.
///
/// ```
/// use svertka::{ConvSpec, Network, PoolSpec};
/// let mut network = Network::new(&[3, 32, 32], 0);
/// let x = network.conv(network.input(), 16, 3, &ConvSpec::new().padding(1).bias(false))?;
/// let x = network.batch_norm(x)?;
/// let x = network.relu(x)?;
/// let shortcut = x;
/// let x = network.conv(x, 16, 3, &ConvSpec::new().padding(1))?;
/// let x = network.add(x, shortcut)?;
/// let x = network.max_pool(x, &PoolSpec::new(2))?;
/// let x = network.linear(x, 10)?; // flattens what has spatial axes
/// let graph = network.finish();
/// assert_eq!(graph.shapes(&graph.input_shapes(5))?.last().unwrap(), &[5, 10]);
/// # Ok::<(), svertka::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Network {
    graph: Graph,
    /// Of every value, for a batch of one.
    shapes: Vec<Vec<usize>>,
    scope: String,
    counts: HashMap<String, usize>,
    seed: u64,
    last: Value,
}

/// Numbers of one weight: 4 GiB, more than any network of pictures has. A slip of the finger should be an error, not an allocation that fails.
const MAX_WEIGHT: usize = 1 << 30;

impl Network {
    /// Takes inputs `N x shape`; `shape` is channels and one to three spatial sizes.
    pub fn new(shape: &[usize], seed: u64) -> Self {
        let mut graph = Graph::new();
        let dims = [None].into_iter().chain(shape.iter().copied().map(Some)).collect();
        let last = graph.input("input", dims);
        let shapes = vec![[&[1], shape].concat()];
        Self { graph, shapes, scope: String::new(), counts: HashMap::new(), seed, last }
    }

    /// The input.
    pub fn input(&self) -> Value {
        self.graph.inputs()[0].value
    }

    /// The shape of a value for a batch of one.
    pub fn shape(&self, value: Value) -> &[usize] {
        &self.shapes[value.0]
    }

    /// The graph, with the last layer's output as its own.
    pub fn finish(mut self) -> Graph {
        self.graph.outputs = vec![self.last];
        self.graph
    }

    /// Adds layers whose names begin with `name.`; numbering starts anew inside.
    ///
    /// # Errors
    /// Those of `layers`.
    pub fn scope<T>(&mut self, name: &str, layers: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (scope, counts) = (self.scope.clone(), std::mem::take(&mut self.counts));
        self.scope = format!("{scope}{name}.");
        let result = layers(self);
        (self.scope, self.counts) = (scope, counts);
        result
    }

    /// A convolution with `out_channels` channels.
    ///
    /// # Errors
    /// Where the arguments do not fit the value's shape.
    pub fn conv(
        &mut self,
        x: Value,
        out_channels: usize,
        kernel_size: impl Into<Sizes>,
        spec: &ConvSpec,
    ) -> Result<Value> {
        let shape = self.shape(x).to_vec();
        let (pad, conv) = spec.operators(&shape, &kernel_size.into())?;
        let name = self.name("conv");
        let x = match pad {
            Some(pad) => self.push(&format!("{name}.pad"), pad, &[x])?,
            None => x,
        };
        let dims = shape.len() - 2;
        let weight =
            [&[out_channels, shape[1] / spec.groups.max(1)], &conv.window.kernel[3 - dims..]].concat();
        let fan_in = weight[1..].iter().product();
        let mut inputs = vec![x, self.weight(&format!("{name}.weight"), weight, fan_in)?];
        if spec.bias {
            inputs.push(self.constant(&format!("{name}.bias"), out_channels, 0.0));
        }
        self.push(&name, conv, &inputs)
    }

    /// A fully connected layer; a value with spatial axes is flattened first.
    ///
    /// # Errors
    /// Where the value has no features.
    pub fn linear(&mut self, x: Value, out_features: usize) -> Result<Value> {
        let x = if self.shape(x).len() == 2 { x } else { self.flatten(x)? };
        let features = self.shape(x)[1];
        let name = self.name("linear");
        let weight = self.weight(&format!("{name}.weight"), vec![out_features, features], features)?;
        let bias = self.constant(&format!("{name}.bias"), out_features, 0.0);
        self.push(&name, Linear, &[x, weight, bias])
    }

    /// Batch normalization.
    ///
    /// # Errors
    /// Where the value has no channels.
    pub fn batch_norm(&mut self, x: Value) -> Result<Value> {
        let channels = self.shape(x).get(1).copied().unwrap_or(0);
        let name = self.name("bn");
        let mut inputs = vec![x];
        for (suffix, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            inputs.push(self.constant(&format!("{name}.{suffix}"), channels, value));
        }
        self.push(&name, BatchNorm::default(), &inputs)
    }

    /// An elementwise nonlinearity.
    ///
    /// # Errors
    /// None for a value of this network.
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

    /// Max pooling.
    ///
    /// # Errors
    /// Where the window does not fit.
    pub fn max_pool(&mut self, x: Value, spec: &PoolSpec) -> Result<Value> {
        let window = window("MaxPool", self.shape(x), &spec.kernel_size, &spec.stride, &spec.padding, None)?;
        let name = self.name("maxpool");
        self.push(&name, MaxPool { window, ceil_mode: spec.ceil_mode }, &[x])
    }

    /// Average pooling.
    ///
    /// # Errors
    /// Where the window does not fit.
    pub fn average_pool(&mut self, x: Value, spec: &PoolSpec) -> Result<Value> {
        let window =
            window("AveragePool", self.shape(x), &spec.kernel_size, &spec.stride, &spec.padding, None)?;
        let PoolSpec { ceil_mode, count_include_pad, .. } = *spec;
        let name = self.name("avgpool");
        self.push(&name, AveragePool { window, ceil_mode, count_include_pad }, &[x])
    }

    /// The mean or maximum over all spatial cells, `N x C x 1...`.
    ///
    /// # Errors
    /// Where the value has no spatial axes.
    pub fn global_pool(&mut self, x: Value, reduction: Reduction) -> Result<Value> {
        let name = self.name("globalpool");
        self.push(&name, GlobalPool(reduction), &[x])
    }

    /// Zeroes values with probability `p` in training.
    ///
    /// # Errors
    /// Where `p` is no probability below one.
    pub fn dropout(&mut self, x: Value, p: f32) -> Result<Value> {
        let stream = self.graph.nodes().len() as u64;
        let name = self.name("dropout");
        self.push(&name, Dropout { p, stream, training: false }, &[x])
    }

    /// `N x ...` to `N x features`.
    ///
    /// # Errors
    /// None for a value of this network.
    pub fn flatten(&mut self, x: Value) -> Result<Value> {
        let name = self.name("flatten");
        self.push(&name, Flatten, &[x])
    }

    /// Sum of two values of one shape.
    ///
    /// # Errors
    /// Where the shapes differ.
    pub fn add(&mut self, a: Value, b: Value) -> Result<Value> {
        let name = self.name("add");
        self.push(&name, Add, &[a, b])
    }

    /// Product of two values of one shape, or of an activation and one factor a channel.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn mul(&mut self, a: Value, b: Value) -> Result<Value> {
        let name = self.name("mul");
        self.push(&name, Mul, &[a, b])
    }

    /// Joins values along the channels.
    ///
    /// # Errors
    /// Where other sizes differ.
    pub fn concat(&mut self, values: &[Value]) -> Result<Value> {
        let name = self.name("concat");
        self.push(&name, Concat { axis: 1 }, values)
    }

    /// Probabilities of classes.
    ///
    /// # Errors
    /// Where the value is not `N x classes`.
    pub fn softmax(&mut self, x: Value) -> Result<Value> {
        let name = self.name("softmax");
        self.push(&name, Softmax, &[x])
    }

    /// Adds a node for any operator with one output.
    ///
    /// # Errors
    /// Where the operator refuses the shapes.
    pub fn push(&mut self, name: &str, op: impl Operator + 'static, inputs: &[Value]) -> Result<Value> {
        let read: Vec<&[usize]> = inputs.iter().map(|value| self.shapes[value.0].as_slice()).collect();
        let made = (&op as &dyn Operator).output_shapes(&read).map_err(|error| error.within(name))?;
        let outputs = self.graph.push(name, Arc::new(op), inputs, made.len());
        self.shapes.extend(made);
        self.last = outputs[0];
        Ok(self.last)
    }

    fn name(&mut self, kind: &str) -> String {
        let count = self.counts.entry(kind.to_owned()).or_default();
        *count += 1;
        format!("{}{kind}{count}", self.scope)
    }

    fn constant(&mut self, name: &str, len: usize, value: f32) -> Value {
        let mut tensor = Tensor::zeros([len]);
        tensor.data_mut().fill(value);
        self.parameter(name, tensor)
    }

    /// Uniform between plus and minus `sqrt(6 / fan_in)`, so that a ReLU keeps the variance.
    fn weight(&mut self, name: &str, shape: Vec<usize>, fan_in: usize) -> Result<Value> {
        let elements = shape.iter().fold(1usize, |a, &b| a.saturating_mul(b));
        if elements > MAX_WEIGHT {
            return Err(Error::argument(
                name,
                "shape",
                format!("at most {MAX_WEIGHT} numbers"),
                format!("{shape:?}"),
            ));
        }
        let mut tensor = Tensor::zeros(shape);
        let bound = (6.0 / fan_in.max(1) as f32).sqrt();
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(self.graph.parameters().len() as u64);
        for value in tensor.data_mut() {
            // 24 random bits are all that an f32 in 0..1 holds.
            let unit = (random.next_u32() >> 8) as f32 / (1 << 24) as f32;
            *value = bound * (2.0 * unit - 1.0);
        }
        Ok(self.parameter(name, tensor))
    }

    fn parameter(&mut self, name: &str, tensor: Tensor) -> Value {
        self.shapes.push(tensor.shape().to_vec());
        self.graph.parameter(name, tensor)
    }
}
