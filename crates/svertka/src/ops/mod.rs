//! The operators: one file each, with attributes, shape rule, kernel, gradient, cost, receptive field and ONNX mapping.
//!
//! To add one, write its file and add its line to [`OPERATORS`] in `list.rs`: gradient checks, ONNX import and the table of operators follow from the list.

use std::any::Any;
use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::sync::Arc;

pub(crate) use svertka_kernels::activation::Activation;
use svertka_kernels::conv::{Accuracy, Algorithm};
use svertka_kernels::geometry::{ConvGeometry, Window};
use svertka_kernels::planes::Planes;

use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::Export;

mod activation;
mod adaptive_pool;
mod affine_grid;
mod arithmetic;
mod batch_norm;
mod batch_norm_activation;
mod broadcast;
mod concat;
mod conv;
mod conv_transpose;
mod cross_entropy;
mod deform_conv;
mod depth_to_space;
mod dropout;
mod example;
mod flip;
mod fold;
mod folded_batch_norm;
mod fractional_max_pool;
mod fused_conv;
mod gather;
mod global_pool;
mod grid_sample;
mod group_norm;
mod hardmax;
mod instance_norm;
mod k_max_pool;
mod layer_norm;
mod likelihood_loss;
mod line_norm;
mod linear;
mod list;
mod local_response_norm;
mod lowered;
mod lp_norm;
mod lp_pool;
mod mat_mul;
mod max_pool_with_indices;
mod max_unpool;
mod mean_variance_norm;
mod optimizer_step;
mod pad;
mod pad_axes;
mod pool;
mod pooling;
mod prelu;
mod quantize;
mod reduce;
mod reshape;
mod resize;
mod rms_norm;
mod roi_align;
mod slice;
mod softmax;
mod stochastic_pool;
mod tile;
mod transpose;
mod unary;
mod unshared;
mod upsample;

pub use activation::Activate;
pub use adaptive_pool::{AdaptiveAveragePool, AdaptiveMaxPool};
pub use affine_grid::AffineGrid;
pub use arithmetic::{Add, Mul};
pub(crate) use batch_norm::NormalizeAgain;
pub use batch_norm::{BatchNorm, MovingAverage};
pub(crate) use batch_norm_activation::BatchNormActivation;
pub use broadcast::{BinaryFunction, Broadcast};
pub use concat::Concat;
pub(crate) use conv::After;
pub use conv::Conv;
pub use conv_transpose::ConvTranspose;
pub use cross_entropy::CrossEntropy;
pub use deform_conv::DeformConv;
pub use depth_to_space::{DepthToSpace, SpaceToDepth};
pub use dropout::Dropout;
pub use example::{Domain, Example};
pub use flip::Flip;
pub use fold::{Fold, Unfold};
pub(crate) use folded_batch_norm::{FoldedBias, FoldedWeight};
pub use fractional_max_pool::FractionalMaxPool;
pub(crate) use fused_conv::{FusedConv, Layer};
pub use gather::Gather;
pub use global_pool::{GlobalPool, Reduction};
pub use grid_sample::GridSample;
pub use group_norm::GroupNorm;
pub use hardmax::Hardmax;
pub use instance_norm::InstanceNorm;
pub use k_max_pool::KMaxPool;
pub use layer_norm::{ChannelLayerNorm, LayerNorm};
pub use likelihood_loss::{LikelihoodLoss, LossReduction};
pub use linear::Linear;
pub(crate) use list::importer;
pub use list::{Entry, OPERATORS, examples};
pub use local_response_norm::LocalResponseNorm;
pub use lowered::{Inputs, Io, Kernel, Lowered, Output, Pack};
pub use lp_norm::LpNorm;
pub use lp_pool::LpPool;
pub use mat_mul::MatMul;
pub use max_pool_with_indices::MaxPoolWithIndices;
pub use max_unpool::MaxUnpool;
pub use mean_variance_norm::MeanVarianceNorm;
pub use optimizer_step::OptimizerStep;
pub use pad::Pad;
pub use pad_axes::PadAxes;
pub use pool::{AveragePool, MaxPool, MinPool, SumPool};
pub use prelu::PRelu;
pub use reduce::{Reduce, ReduceFunction};
pub use reshape::{Flatten, Reshape};
pub use resize::Resize;
pub use rms_norm::RmsNorm;
pub use roi_align::RoiAlign;
pub use slice::{Range, Slice};
pub use softmax::{Along, LogSoftmax, Softmax};
pub use stochastic_pool::StochasticPool;
pub use tile::Tile;
pub use transpose::Transpose;
pub use unary::{Unary, UnaryFunction};
pub use unshared::Unshared;

/// What a network is made of.
pub trait Operator: Any + Debug + Send + Sync {
    /// The ONNX operator's name where there is one.
    fn name(&self) -> &'static str;

    /// How many inputs it takes; the last ones may be left out down to the least.
    fn arity(&self) -> RangeInclusive<usize> {
        0..=usize::MAX
    }

    /// The shapes of the outputs. There are as many inputs as [`Operator::arity`] allows: call `output_shapes`, which checks that.
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

/// The operator, if it is a `T`: for those who rewrite graphs.
pub(crate) fn is<T: Operator + Copy>(op: &Arc<dyn Operator>) -> Option<T> {
    (op.as_ref() as &dyn Any).downcast_ref::<T>().copied()
}

impl dyn Operator {
    /// The shapes of the outputs for inputs of any number and shape.
    ///
    /// # Errors
    /// Where there are too few or too many inputs, or their shapes do not fit.
    pub fn output_shapes(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let arity = self.arity();
        if !arity.contains(&inputs.len()) {
            let expected = match (*arity.start(), *arity.end()) {
                (least, usize::MAX) => format!("at least {least}"),
                (least, most) if least == most => least.to_string(),
                (least, most) => format!("{least} to {most}"),
            };
            return Err(Error::argument(self.name(), "inputs", expected, inputs.len()));
        }
        self.infer(inputs)
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

/// What a node's kernel is chosen by: the shapes around it, and the accuracy that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    /// Of its inputs.
    pub inputs: &'a [&'a [usize]],
    /// Of its outputs.
    pub outputs: &'a [&'a [usize]],
    /// How much rounding error convolutions may have.
    pub accuracy: Accuracy,
    /// The algorithm of this node, where the plan says it.
    pub algorithm: Option<Algorithm>,
}

impl<'a> Shapes<'a> {
    /// With the default accuracy and no algorithm said.
    pub fn new(inputs: &'a [&'a [usize]], outputs: &'a [&'a [usize]]) -> Self {
        Self { inputs, outputs, accuracy: Accuracy::Default, algorithm: None }
    }

    /// The algorithm of a convolution of this geometry.
    pub(crate) fn algorithm_for(&self, geometry: &ConvGeometry) -> Algorithm {
        self.algorithm.unwrap_or_else(|| Algorithm::choose(geometry, self.accuracy))
    }
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
    /// The windows that cover it, of those that the input's cells write: of a transposed convolution.
    Transposed(Window),
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
