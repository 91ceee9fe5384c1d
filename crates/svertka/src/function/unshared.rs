//! The unshared convolution as a plain function.

use std::sync::Arc;

use super::apply;
use crate::error::Result;
use crate::ops::Unshared;
use crate::spec::ConvSpec;
use crate::tensor::Tensor;

/// The unshared (locally connected) convolution of `x` (`N x C x spatial`) with `weight` (`out spatial x out x C / groups x kernel`), plus `bias`
/// (`out x out spatial`): each output position has weights of its own.
///
/// # Errors
/// Where shapes or options do not fit; the message names the argument.
///
/// ```
/// use svertka::{ConvSpec, Tensor, unshared};
/// let x = Tensor::new([1, 1, 4], &[1.0, 2.0, 3.0, 4.0])?;
/// // Three positions, one output and input channel, two taps.
/// let weight = Tensor::new([3, 1, 1, 2], &[1.0, 0.0, 1.0, 1.0, -1.0, 1.0])?;
/// assert_eq!(unshared(&x, &weight, None, &ConvSpec::new())?.data(), [1.0, 5.0, 1.0]);
/// # Ok::<(), svertka::Error>(())
/// ```
pub fn unshared(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, spec: &ConvSpec) -> Result<Tensor> {
    let kernel_size = weight.shape().get(x.shape().len()..).unwrap_or_default().to_vec();
    let (pad, window) = spec.pad_and_window("Unshared", x.shape(), &kernel_size.into())?;
    let padded = pad.map(|pad| apply(Arc::new(pad), &[x])).transpose()?;
    let mut inputs = vec![padded.as_ref().unwrap_or(x), weight];
    inputs.extend(bias);
    apply(Arc::new(Unshared { window, groups: spec.groups }), &inputs)
}
