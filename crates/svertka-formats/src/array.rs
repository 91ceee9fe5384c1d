//! Numbers with a shape: what npy, npz and safetensors files hold.

use std::borrow::Cow;

use crate::limits::at_most;
use crate::{Error, Limits, Result};

/// A dense array in row-major (C) order.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Extents, outermost first. Their product is the number of elements; a scalar has none.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: ArrayData,
}

/// Elements of an [`Array`]. Bytes stay bytes; other types are widened to the nearest variant without loss.
#[derive(Debug, Clone, PartialEq)]
pub enum ArrayData {
    /// `u8` and `bool` (0 or 1).
    U8(Vec<u8>),
    /// All other integers.
    I64(Vec<i64>),
    /// `f32`, `f16` and `bf16`.
    F32(Vec<f32>),
    /// `f64`.
    F64(Vec<f64>),
}

/// Arrays of one file with their names.
pub type NamedArrays = Vec<(String, Array)>;

impl Array {
    /// An array whose `shape` is checked against the number of elements.
    pub fn new(shape: Vec<usize>, data: ArrayData) -> Result<Self> {
        let array = Self { shape, data };
        array.check()?;
        Ok(array)
    }

    /// Refuses a shape that does not match the data: the fields are public.
    pub(crate) fn check(&self) -> Result<()> {
        let received = self.data.len();
        if volume(&self.shape) == Some(received) {
            return Ok(());
        }
        let expected = format!("as many elements as shape {:?} says", self.shape);
        Err(Error::malformed("array", "data", expected, received.to_string()))
    }
}

impl ArrayData {
    /// Number of elements.
    #[allow(clippy::len_without_is_empty)] // A count, compared with a shape; nobody asks whether it is zero.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(data) => data.len(),
            Self::I64(data) => data.len(),
            Self::F32(data) => data.len(),
            Self::F64(data) => data.len(),
        }
    }

    /// The elements as `f32`, each rounded to nearest. `f32` data is borrowed.
    pub fn to_f32(&self) -> Cow<'_, [f32]> {
        match self {
            Self::U8(data) => data.iter().map(|&x| f32::from(x)).collect(),
            Self::I64(data) => data.iter().map(|&x| x as f32).collect(),
            Self::F32(data) => Cow::Borrowed(data),
            Self::F64(data) => data.iter().map(|&x| x as f32).collect(),
        }
    }

    /// Like [`to_f32`](Self::to_f32), without a copy of `f32` data.
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(data) => data,
            other => other.to_f32().into_owned(),
        }
    }

    /// The elements in little-endian order, each as wide as the variant says.
    pub(crate) fn to_le_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::U8(data) => Cow::Borrowed(data),
            Self::I64(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F32(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F64(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
}

/// Product of the extents; `None` if it exceeds `usize`.
pub(crate) fn volume(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent))
}

/// Number of bytes of an array with elements of `element_bytes`, checked against [`Limits::array_bytes`].
pub(crate) fn array_bytes(
    format: &'static str,
    shape: &[usize],
    element_bytes: usize,
    limits: &Limits,
) -> Result<usize> {
    let bytes = volume(shape).and_then(|count| count.checked_mul(element_bytes)).ok_or_else(|| {
        let expected = format!("a size of at most {} bytes", limits.array_bytes);
        Error::malformed(format, "shape", expected, format!("{shape:?}"))
    })?;
    at_most(format, "bytes of an array", limits.array_bytes, bytes as u64)?;
    Ok(bytes)
}
