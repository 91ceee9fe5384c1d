//! The transposed convolution as a plain function.

use std::sync::Arc;

use super::apply;
use crate::error::Result;
use crate::network::ConvTransposeSpec;
use crate::tensor::Tensor;

/// The transposed convolution of `x` (`N x C x spatial`) with `weight` (`C x out / groups x kernel`), plus `bias` (`out`).
///
/// # Errors
/// Where shapes or options do not fit, or the padding mode is not zeros; the message names the argument.
///
/// ```
/// use svertka::{ConvTransposeSpec, Tensor, conv_transpose};
/// let x = Tensor::new([1, 1, 3], &[1.0, 2.0, 3.0])?;
/// let weight = Tensor::new([1, 1, 3], &[1.0, 10.0, 100.0])?;
/// let y = conv_transpose(&x, &weight, None, &ConvTransposeSpec::new().stride(2))?;
/// assert_eq!(y.data(), [1.0, 10.0, 102.0, 20.0, 203.0, 30.0, 300.0]);
/// # Ok::<(), svertka::Error>(())
/// ```
pub fn conv_transpose(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    spec: &ConvTransposeSpec,
) -> Result<Tensor> {
    let kernel_size = weight.shape().get(2..).unwrap_or_default().to_vec();
    let op = spec.operator(x.shape(), &kernel_size.into())?;
    let mut inputs = vec![x, weight];
    inputs.extend(bias);
    apply(Arc::new(op), &inputs)
}
