//! The operators: one file each, with attributes, shape rule, kernel, gradient, cost, receptive field and ONNX mapping.
//!
//! To add one, write its file and add its line to [`OPERATORS`]: gradient checks, ONNX import and the table of operators follow from the list.

use std::fmt::Debug;
use std::sync::Arc;

use svertka_kernels::geometry::Window;
use svertka_kernels::planes::Planes;
use svertka_kernels::{Buffer, Cpu};

use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Export, Import};

mod activation;
mod arithmetic;
mod batch_norm;
mod concat;
mod conv;
mod cross_entropy;
mod dropout;
mod global_pool;
mod linear;
mod pad;
mod pool;
mod reshape;
mod softmax;

pub use activation::Activate;
pub use arithmetic::{Add, Mul};
pub use batch_norm::{BatchNorm, MovingAverage};
pub use concat::Concat;
pub use conv::Conv;
pub use cross_entropy::CrossEntropy;
pub use dropout::Dropout;
pub use global_pool::{GlobalPool, Reduction};
pub use linear::Linear;
pub use pad::Pad;
pub use pool::{AveragePool, MaxPool};
pub use reshape::Flatten;
pub use softmax::Softmax;

/// What a network is made of.
pub trait Operator: Debug + Send + Sync {
    /// The ONNX operator's name where there is one.
    fn name(&self) -> &'static str;

    /// The shapes of the outputs.
    ///
    /// # Errors
    /// Where the inputs' shapes do not fit; the message names the argument, what is expected and what was received.
    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>>;

    /// Which inputs and outputs are blocked activations.
    fn layouts(&self, shapes: &Shapes<'_>) -> Layouts;

    /// The kernel for these shapes. They passed [`Operator::infer`].
    ///
    /// # Errors
    /// Where there is no kernel for them.
    fn lower(&self, shapes: &Shapes<'_>, threads: usize) -> Result<Lowered>;

    /// Adds the gradient's nodes to the graph.
    ///
    /// # Errors
    /// Where the operator has none.
    fn gradient(&self, _context: &mut GradientContext<'_>) -> Result<()> {
        Err(Error::unsupported(self.name(), "the gradient"))
    }

    /// The form of this operator during training, where it differs.
    fn training(&self) -> Option<TrainingForm> {
        None
    }

    /// Multiply-accumulates, counting those on padding.
    fn macs(&self, _shapes: &Shapes<'_>) -> u64 {
        0
    }

    /// How an output cell looks on the input's cells.
    fn field(&self) -> Field {
        Field::Cell
    }

    /// What the parameter at this input is.
    fn role(&self, _input: usize) -> Role {
        Role::Constant
    }

    /// Adds the ONNX nodes that compute this.
    ///
    /// # Errors
    /// Where ONNX has no such operator.
    fn export(&self, _export: &mut Export<'_>) -> Result<()> {
        Err(Error::unsupported(self.name(), "export to ONNX"))
    }
}

impl PartialEq for dyn Operator {
    /// The same operator with the same attributes.
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && format!("{self:?}") == format!("{other:?}")
    }
}

/// What an operator becomes in training.
pub struct TrainingForm {
    /// The operator.
    pub op: Arc<dyn Operator>,
    /// How many outputs it has.
    pub outputs: usize,
    /// Parameters that follow the data: input, the output they follow, and how.
    pub statistics: Vec<(usize, usize, MovingAverage)>,
}

/// The shapes around a node.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    /// Of its inputs.
    pub inputs: &'a [&'a [usize]],
    /// Of its outputs.
    pub outputs: &'a [&'a [usize]],
}

/// The layouts that a kernel wants; see [`svertka_kernels::layout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layouts {
    /// All plain.
    Plain,
    /// Any, the same for all inputs and outputs.
    Same,
    /// All blocked.
    AllBlocked,
    /// Blocked at these positions, plain elsewhere.
    Blocked {
        /// Input positions.
        inputs: &'static [usize],
        /// Output positions.
        outputs: &'static [usize],
    },
}

/// What an output cell sees of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The cell at its own place.
    Cell,
    /// A window.
    Window(Window),
    /// Everything.
    All,
}

/// What a parameter is to the operator that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Learned, decays.
    Weight,
    /// Learned, does not decay: biases, scales and shifts of norms.
    Bias,
    /// Follows the data during training: running mean and variance.
    Statistic,
    /// Stays as it is.
    Constant,
}

impl Role {
    /// Whether an optimizer changes it.
    pub fn is_learned(self) -> bool {
        matches!(self, Self::Weight | Self::Bias)
    }
}

/// Code that makes a node's outputs from its inputs.
pub type Kernel = Box<dyn FnMut(&Cpu, &mut Io<'_>) + Send>;

/// A node ready to run.
pub struct Lowered {
    /// What to run.
    pub kernel: Kernel,
    /// Elements of scratch memory.
    pub scratch: usize,
    /// Inputs that the kernel wants in a form of its own; it then gets that instead of the input.
    pub packs: Vec<Pack>,
    /// Whether output 0 may stand where input 0 stood; [`Io::in_place`] then says that it does.
    pub in_place: bool,
}

/// The making of a packed input.
pub struct Pack {
    /// Which input.
    pub input: usize,
    /// Elements of the packed form.
    pub len: usize,
    /// Makes it: input 0 to output 0.
    pub kernel: Kernel,
}

impl Lowered {
    /// A kernel without scratch memory.
    pub fn new(kernel: impl FnMut(&Cpu, &mut Io<'_>) + Send + 'static) -> Self {
        Self { kernel: Box::new(kernel), scratch: 0, packs: vec![], in_place: false }
    }

    /// With `scratch` elements of scratch memory.
    #[must_use]
    pub fn scratch(mut self, scratch: usize) -> Self {
        self.scratch = scratch;
        self
    }

    /// Output 0 may stand where input 0 stood.
    #[must_use]
    pub fn in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// Input `input` is wanted packed.
    #[must_use]
    pub fn pack(
        mut self,
        input: usize,
        len: usize,
        kernel: impl FnMut(&Cpu, &mut Io<'_>) + Send + 'static,
    ) -> Self {
        self.packs.push(Pack { input, len, kernel: Box::new(kernel) });
        self
    }
}

/// An output buffer with the length that is used of it.
#[derive(Debug, Default)]
pub struct Output {
    pub(crate) buffer: Buffer,
    pub(crate) len: usize,
}

impl std::ops::Deref for Output {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.buffer[..self.len]
    }
}

impl std::ops::DerefMut for Output {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[..self.len]
    }
}

/// What a kernel reads and writes.
pub struct Io<'a> {
    /// The inputs.
    pub inputs: Inputs<'a>,
    /// The outputs, of the right lengths, with arbitrary content.
    pub outputs: &'a mut [Output],
    /// Scratch memory, with arbitrary content.
    pub scratch: &'a mut [f32],
    /// Whether output 0 holds input 0.
    pub in_place: bool,
    /// Seed of this run, for operators that draw random numbers.
    pub seed: u64,
}

impl<'a> Io<'a> {
    /// Input 0, or `None` where it stands in output 0.
    pub fn first(&self) -> Option<&'a [f32]> {
        (!self.in_place).then(|| self.inputs.get(0))
    }
}

/// The inputs of a kernel.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub(crate) locations: &'a [crate::plan::Location],
    pub(crate) memory: crate::plan::Memory<'a>,
}

impl<'a> Inputs<'a> {
    /// Input `index`.
    pub fn get(&self, index: usize) -> &'a [f32] {
        self.memory.get(self.locations[index])
    }

    /// Number of inputs.
    pub fn len(&self) -> usize {
        self.locations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.locations.is_empty()
    }
}

/// An entry of the list of operators.
pub struct Entry {
    /// The ONNX operator that maps to it.
    pub onnx: &'static str,
    /// Reads a node of an ONNX file.
    pub import: fn(&mut Import<'_>) -> Result<()>,
    /// Operators of this kind and the shapes of inputs to check them with.
    pub examples: fn() -> Vec<Example>,
}

/// An operator and the shapes of inputs to try it on.
#[derive(Clone, Debug)]
pub struct Example {
    /// The operator.
    pub op: Arc<dyn Operator>,
    /// Shapes of its inputs.
    pub inputs: Vec<Vec<usize>>,
}

impl Example {
    pub(crate) fn new<const N: usize>(op: impl Operator + 'static, inputs: [&[usize]; N]) -> Self {
        Self { op: Arc::new(op), inputs: inputs.iter().map(|shape| shape.to_vec()).collect() }
    }
}

/// Every operator that an ONNX file may hold.
pub const OPERATORS: &[Entry] = &[
    Entry { onnx: "Conv", import: conv::import, examples: conv::examples },
    Entry { onnx: "Gemm", import: linear::import_gemm, examples: linear::examples },
    Entry { onnx: "MatMul", import: linear::import_mat_mul, examples: Vec::new },
    Entry { onnx: "MaxPool", import: pool::import_max, examples: pool::max_examples },
    Entry { onnx: "AveragePool", import: pool::import_average, examples: pool::average_examples },
    Entry { onnx: "GlobalAveragePool", import: global_pool::import_average, examples: global_pool::examples },
    Entry { onnx: "GlobalMaxPool", import: global_pool::import_max, examples: Vec::new },
    Entry { onnx: "BatchNormalization", import: batch_norm::import, examples: batch_norm::examples },
    Entry { onnx: "Relu", import: activation::import, examples: activation::examples },
    Entry { onnx: "Clip", import: activation::import_clip, examples: Vec::new },
    Entry { onnx: "LeakyRelu", import: activation::import, examples: Vec::new },
    Entry { onnx: "Sigmoid", import: activation::import, examples: Vec::new },
    Entry { onnx: "Tanh", import: activation::import, examples: Vec::new },
    Entry { onnx: "HardSwish", import: activation::import, examples: Vec::new },
    Entry { onnx: "HardSigmoid", import: activation::import, examples: Vec::new },
    Entry { onnx: "Gelu", import: activation::import, examples: Vec::new },
    Entry { onnx: "Add", import: arithmetic::import_add, examples: arithmetic::add_examples },
    Entry { onnx: "Mul", import: arithmetic::import_mul, examples: arithmetic::mul_examples },
    Entry { onnx: "Concat", import: concat::import, examples: concat::examples },
    Entry { onnx: "Flatten", import: reshape::import_flatten, examples: reshape::examples },
    Entry { onnx: "Reshape", import: reshape::import_reshape, examples: Vec::new },
    Entry { onnx: "Dropout", import: dropout::import, examples: dropout::examples },
    Entry { onnx: "Softmax", import: softmax::import, examples: softmax::examples },
    Entry { onnx: "Pad", import: pad::import, examples: pad::examples },
    Entry { onnx: "Gather", import: pad::import_gather, examples: Vec::new },
    Entry { onnx: "Identity", import: reshape::import_identity, examples: Vec::new },
    Entry { onnx: "Constant", import: reshape::import_constant, examples: Vec::new },
];

/// The examples of every operator, those that no file holds among them.
pub fn examples() -> Vec<Example> {
    OPERATORS.iter().flat_map(|entry| (entry.examples)()).chain(cross_entropy::examples()).collect()
}

/// `[depth, height, width]` of an activation `N x C x spatial`, with leading ones.
pub(crate) fn spatial(shape: &[usize]) -> [usize; 3] {
    let mut sizes = [1; 3];
    let axes = &shape[2.min(shape.len())..];
    sizes[3 - axes.len()..].copy_from_slice(axes);
    sizes
}

/// `N x C x spatial` with as many spatial axes as `like` has.
pub(crate) fn activation(batch: usize, channels: usize, spatial: [usize; 3], like: &[usize]) -> Vec<usize> {
    [&[batch, channels], &spatial[5 - like.len()..]].concat()
}

/// Fails unless `shape` is an activation with one to three spatial axes.
pub(crate) fn expect_activation(op: &dyn Operator, argument: &str, shape: &[usize]) -> Result<()> {
    if (3..=5).contains(&shape.len()) {
        return Ok(());
    }
    Err(Error::argument(
        op.name(),
        argument,
        "N x C x spatial with 1 to 3 spatial axes",
        format!("shape {shape:?}"),
    ))
}

/// Fails unless `shape` is `expected`.
pub(crate) fn expect_shape(
    op: &dyn Operator,
    argument: &str,
    expected: &[usize],
    shape: &[usize],
) -> Result<()> {
    if shape == expected {
        return Ok(());
    }
    Err(Error::argument(op.name(), argument, format!("shape {expected:?}"), format!("shape {shape:?}")))
}

/// An activation `N x C x spatial` (or `N x C`) whose spatial axes do not matter one by one.
pub(crate) fn planes(shape: &[usize]) -> Planes {
    Planes { batch: shape[0], channels: shape[1], pixels: elements(&shape[2..]) }
}

/// Elements of a shape.
pub(crate) fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}
