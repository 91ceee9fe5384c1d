//! A dense array of `f32`: a shape and 64-byte aligned data in row-major order.

use svertka_kernels::Buffer;
use svertka_kernels::geometry::checked_product;

use crate::error::{Error, Result};

/// A dense array, row-major. Activations are `N x C x spatial`, weights `out x in / groups x spatial`; rank and sizes are checked at run time.
///
/// ```
/// use svertka::Tensor;
/// let x = Tensor::new([1, 1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!(x.shape(), [1, 1, 2, 3]);
/// assert_eq!(x.data()[4], 5.0);
/// # Ok::<(), svertka::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Buffer,
}

impl Tensor {
    /// A tensor of `shape` that holds a copy of `data`.
    ///
    /// # Errors
    /// Where `data` has not as many elements as `shape` says.
    pub fn new(shape: impl Into<Vec<usize>>, data: &[f32]) -> Result<Self> {
        Self::from_buffer(shape, Buffer::from(data))
    }

    /// As [`Tensor::new`], without the copy.
    ///
    /// # Errors
    /// Where `data` has not as many elements as `shape` says.
    pub fn from_buffer(shape: impl Into<Vec<usize>>, data: Buffer) -> Result<Self> {
        let shape = shape.into();
        let len = checked_product("shape", &shape).map_err(Error::geometry("Tensor"))?;
        if len != data.len() {
            return Err(Error::argument(
                "Tensor",
                "data",
                format!("{len} elements for shape {shape:?}"),
                data.len(),
            ));
        }
        Ok(Self { shape, data })
    }

    /// Zeros.
    ///
    /// # Panics
    /// Where the shape has 2^40 elements or more; shapes from outside are checked before.
    pub fn zeros(shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        let len = checked_product("shape", &shape).expect("a shape below 2^40 elements");
        Self { data: Buffer::zeroed(len), shape }
    }

    /// A shape whose elements are elsewhere.
    pub(crate) fn placeholder(shape: Vec<usize>) -> Self {
        Self { shape, data: Buffer::default() }
    }

    /// The memory of the elements.
    pub(crate) fn into_buffer(self) -> Buffer {
        self.data
    }

    /// A tensor without axes.
    pub fn scalar(value: f32) -> Self {
        Self { shape: vec![], data: Buffer::from(&[value][..]) }
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row-major.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The elements, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// Where `shape` holds another number of elements.
    pub fn reshape(self, shape: impl Into<Vec<usize>>) -> Result<Self> {
        Self::from_buffer(shape, self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_must_fit_its_data() {
        let error = Tensor::new([2, 3], &[0.0; 5]).unwrap_err().to_string();
        assert_eq!(error, "Tensor: data: expected 6 elements for shape [2, 3], received 5");
        let error = Tensor::new([usize::MAX, 3], &[]).unwrap_err().to_string();
        assert!(error.contains("expected a size below 2^40"), "{error}");
    }
}
