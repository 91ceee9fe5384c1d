//! Convolution and correlation of bare arrays, as `scipy.signal` has them.

use std::sync::Arc;

use super::{apply, conv};
use crate::error::{Error, Result};
use crate::ops::Flip;
use crate::spec::{ConvSpec, Padding};
use crate::tensor::Tensor;

/// How much of a convolution is kept. With `n` cells in the input and `k` in the kernel along an axis:
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// Every position in which the two touch, `n + k - 1`.
    Full,
    /// The `n` in the middle of the full one, from its cell `floor((k - 1) / 2)` on.
    Same,
    /// Where the kernel lies inside the input altogether, `n - k + 1`.
    Valid,
}

/// The true convolution, which turns the kernel around: `y[p] = sum over t of x[p - t] * kernel[t]` along every axis, zero outside. As
/// [`scipy.signal.convolve`](https://docs.scipy.org/doc/scipy/reference/generated/scipy.signal.convolve.html), term by term.
///
/// `x` and `kernel` have the same number of axes, one to three, all spatial. Either may be the larger one. [`Extent::Same`] has always the
/// shape of `x`; for [`Extent::Valid`] the one that contains the other counts as the input.
///
/// # Errors
/// Where the axes do not fit, one has no cell, or for [`Extent::Valid`] neither contains the other.
///
/// ```
/// use svertka::{Extent, Tensor, convolve};
/// // (1 + 3x + x^2) (1 + 2x) = 1 + 5x + 7x^2 + 2x^3
/// let (a, b) = (Tensor::new([3], &[1.0, 3.0, 1.0])?, Tensor::new([2], &[1.0, 2.0])?);
/// assert_eq!(convolve(&a, &b, Extent::Full)?.data(), [1.0, 5.0, 7.0, 2.0]);
/// assert_eq!(convolve(&a, &b, Extent::Same)?.data(), [1.0, 5.0, 7.0]);
/// assert_eq!(convolve(&a, &b, Extent::Valid)?.data(), [5.0, 7.0]);
/// # Ok::<(), svertka::Error>(())
/// ```
pub fn convolve(x: &Tensor, kernel: &Tensor, extent: Extent) -> Result<Tensor> {
    check("convolve", x, kernel)?;
    // Convolution commutes, so that the larger one may be the input.
    let swap = swaps("convolve", x, kernel, extent)?;
    if swap { slide(kernel, x, extent, true) } else { slide(x, kernel, extent, true) }
}

/// The cross-correlation of bare arrays: `y[p] = sum over t of x[p + t] * kernel[t]`, which is [`convolve`] with the kernel turned around. As
/// [`scipy.signal.correlate`](https://docs.scipy.org/doc/scipy/reference/generated/scipy.signal.correlate.html): the full one begins
/// with the position in which the last cell of the kernel lies on the first of `x`.
///
/// # Errors
/// As [`convolve`].
///
/// ```
/// use svertka::{Extent, Tensor, correlate};
/// let (x, kernel) = (Tensor::new([4], &[1.0, 2.0, 4.0, 8.0])?, Tensor::new([2], &[-1.0, 1.0])?);
/// assert_eq!(correlate(&x, &kernel, Extent::Valid)?.data(), [1.0, 2.0, 4.0]);
/// assert_eq!(correlate(&x, &kernel, Extent::Full)?.data(), [1.0, 1.0, 2.0, 4.0, -8.0]);
/// # Ok::<(), svertka::Error>(())
/// ```
pub fn correlate(x: &Tensor, kernel: &Tensor, extent: Extent) -> Result<Tensor> {
    check("correlate", x, kernel)?;
    if swaps("correlate", x, kernel, extent)? {
        // Correlation does not commute: with the two swapped, the result stands backwards.
        return flip(&slide(kernel, x, extent, false)?);
    }
    slide(x, kernel, extent, false)
}

/// Slides `kernel` over `x`, turned around or not.
fn slide(x: &Tensor, kernel: &Tensor, extent: Extent, flip: bool) -> Result<Tensor> {
    let padding = match extent {
        Extent::Full => Padding::Full,
        Extent::Same => Padding::SameLower,
        Extent::Valid => Padding::Valid,
    };
    let y = conv(&plane(x)?, &plane(kernel)?, None, &ConvSpec::new().padding(padding).flip(flip))?;
    let shape = y.shape()[2..].to_vec();
    y.reshape(shape)
}

fn flip(x: &Tensor) -> Result<Tensor> {
    apply(Arc::new(Flip), &[&plane(x)?])?.reshape(x.shape())
}

/// One picture of one channel, or one filter on one channel.
fn plane(x: &Tensor) -> Result<Tensor> {
    x.clone().reshape([&[1, 1], x.shape()].concat())
}

fn check(subject: &str, x: &Tensor, kernel: &Tensor) -> Result<()> {
    for (argument, tensor) in [("x", x), ("kernel", kernel)] {
        let shape = tensor.shape();
        if !(1..=3).contains(&shape.len()) || shape.contains(&0) {
            let expected = "1 to 3 axes with at least one cell along each";
            return Err(Error::argument(subject, argument, expected, format!("shape {shape:?}")));
        }
    }
    if x.shape().len() != kernel.shape().len() {
        let expected = format!("{} axes, as x has", x.shape().len());
        return Err(Error::argument(subject, "kernel", expected, format!("shape {:?}", kernel.shape())));
    }
    Ok(())
}

/// Whether the kernel counts as the input because it is the larger one.
fn swaps(subject: &str, x: &Tensor, kernel: &Tensor, extent: Extent) -> Result<bool> {
    let contains = |a: &Tensor, b: &Tensor| a.shape().iter().zip(b.shape()).all(|(a, b)| a >= b);
    match extent {
        // Nothing but speed: the window is what is walked for each position.
        Extent::Full => Ok(kernel.data().len() > x.data().len()),
        Extent::Same => Ok(false),
        Extent::Valid if contains(x, kernel) => Ok(false),
        Extent::Valid if contains(kernel, x) => Ok(true),
        Extent::Valid => {
            let expected = format!("a shape inside {:?} or around it along every axis", x.shape());
            Err(Error::argument(subject, "kernel (valid)", expected, format!("shape {:?}", kernel.shape())))
        }
    }
}
