//! Building a graph layer by layer, with parameters drawn from a seed.

mod activation;
mod conv_transpose;
mod deform_conv;
mod norm;
mod pooling;
mod resample;
mod separable;
mod unshared;

use std::collections::HashMap;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::ops::{Add, Concat, Dropout, Flatten, Flip, Linear, Mul, Operator};
use crate::spec::{ConvSpec, Sizes};
use crate::tensor::Tensor;

pub use conv_transpose::ConvTransposeSpec;
pub use pooling::{FractionalSize, PoolSpec};
pub use resample::{ResizeMode, ResizeSpec};

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
        let mut weight = self.weight(&format!("{name}.weight"), weight, fan_in)?;
        if spec.flip {
            weight = self.push(&format!("{name}.flip"), Flip, &[weight])?;
        }
        let mut inputs = vec![x, weight];
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

    /// Zeroes values with probability `p` in training.
    ///
    /// # Errors
    /// Where `p` is no probability below one.
    pub fn dropout(&mut self, x: Value, p: f32) -> Result<Value> {
        let stream = self.graph.nodes().len() as u64;
        let name = self.name("dropout");
        self.push(&name, Dropout { p, stream, training: false, mask: false }, &[x])
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

    /// Adds a node for any operator with one output.
    ///
    /// # Errors
    /// Where the operator refuses the shapes.
    pub fn push(&mut self, name: &str, op: impl Operator + 'static, inputs: &[Value]) -> Result<Value> {
        Ok(self.push_all(name, op, inputs)?[0])
    }

    /// Adds a node and gives all its outputs; the first is the last layer's.
    fn push_all(&mut self, name: &str, op: impl Operator + 'static, inputs: &[Value]) -> Result<Vec<Value>> {
        let read: Vec<&[usize]> = inputs.iter().map(|value| self.shapes[value.0].as_slice()).collect();
        let made = (&op as &dyn Operator).output_shapes(&read).map_err(|error| error.within(name))?;
        let outputs = self.graph.push(name, Arc::new(op), inputs, made.len());
        self.shapes.extend(made);
        self.last = outputs[0];
        Ok(outputs)
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
