//! Operators as plain functions on tensors, for those who want no network.

mod conv_transpose;
mod matrix;
mod unshared;

use std::sync::Arc;

use svertka_kernels::Cpu;

use crate::error::Result;
use crate::graph::Graph;
use crate::ops::Operator;
use crate::plan::{Plan, Weights};
use crate::spec::ConvSpec;
use crate::tensor::Tensor;

pub use conv_transpose::conv_transpose;
pub use matrix::{LayerMatrix, layer_matrix};
pub use unshared::unshared;

/// The convolution of `x` (`N x C x spatial`) with `weight` (`out x C / groups x kernel`), plus `bias` (`out`): cross-correlation, as everywhere in the field.
///
/// # Errors
/// Where shapes or options do not fit; the message names the argument.
///
/// ```
/// use svertka::{ConvSpec, PaddingMode, Tensor, conv};
/// let x = Tensor::new([1, 1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0])?;
/// let weight = Tensor::new([1, 1, 5], &[-1.0, 0.0, 2.0, 0.0, -1.0])?;
/// let spec = ConvSpec::new().padding(2).padding_mode(PaddingMode::Symmetric);
/// assert_eq!(conv(&x, &weight, None, &spec)?.data(), [-3.0, -1.0, 0.0, 1.0, 3.0]);
/// # Ok::<(), svertka::Error>(())
/// ```
pub fn conv(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, spec: &ConvSpec) -> Result<Tensor> {
    let kernel_size = weight.shape().get(2..).unwrap_or_default().to_vec();
    let (pad, op) = spec.operators(x.shape(), &kernel_size.into())?;
    let padded = pad.map(|pad| apply(Arc::new(pad), &[x])).transpose()?;
    let mut inputs = vec![padded.as_ref().unwrap_or(x), weight];
    inputs.extend(bias);
    apply(Arc::new(op), &inputs)
}

/// The first output of an operator applied to tensors, on all cores.
///
/// # Errors
/// Where the operator refuses the shapes.
///
/// ```
/// use std::sync::Arc;
/// use svertka::{Tensor, apply, ops::Softmax};
/// let x = Tensor::new([1, 2], &[0.0, 3.0_f32.ln()])?;
/// let y = apply(Arc::new(Softmax), &[&x])?;
/// assert!((y.data()[1] - 0.75).abs() < 1e-6);
/// # Ok::<(), svertka::Error>(())
/// ```
pub fn apply(op: Arc<dyn Operator>, inputs: &[&Tensor]) -> Result<Tensor> {
    let shapes: Vec<Vec<usize>> = inputs.iter().map(|tensor| tensor.shape().to_vec()).collect();
    let read: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
    let outputs = op.output_shapes(&read)?.len();
    let mut graph = Graph::new();
    let values: Vec<_> = shapes
        .iter()
        .enumerate()
        .map(|(i, shape)| graph.input(&format!("input{i}"), shape.iter().copied().map(Some).collect()))
        .collect();
    graph.outputs = vec![graph.push("", op, &values, outputs)[0]];
    let cpu = Cpu::new(0);
    let mut plan = Plan::new(&graph, &shapes, Weights::Constant, &cpu)?;
    plan.run(&cpu, &[], inputs, 0)?;
    Tensor::new(plan.output_shape(0), plan.output(0))
}
