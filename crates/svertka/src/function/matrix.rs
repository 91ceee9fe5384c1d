//! A layer written out as the matrix that it is.

use std::collections::HashSet;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use svertka_kernels::geometry::checked_product;

use super::apply;
use crate::error::{Error, Result};
use crate::ops::{Operator, elements};
use crate::tensor::Tensor;

/// An affine layer as `y = M x + b`, with the elements of `x` and `y`, `C x spatial`, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerMatrix {
    /// Elements of `y`.
    pub rows: usize,
    /// Elements of `x`.
    pub columns: usize,
    /// `M`, `rows x columns`.
    pub matrix: Tensor,
    /// `b`, `rows`: the response to zero.
    pub bias: Tensor,
}

impl LayerMatrix {
    /// Elements that are not zero: the connections from input cells to output cells.
    pub fn nonzeros(&self) -> usize {
        self.matrix.data().iter().filter(|value| **value != 0.0).count()
    }

    /// Different values among those that are not zero: the weights, if no two are equal.
    pub fn distinct(&self) -> usize {
        let nonzeros = self.matrix.data().iter().filter(|value| **value != 0.0);
        nonzeros.map(|value| value.to_bits()).collect::<HashSet<_>>().len()
    }
}

/// The largest matrix: 1 GiB.
const MAX_ELEMENTS: usize = 1 << 28;

/// Elements of the activations that go through the layer at once.
const CHUNK: usize = 1 << 22;

/// The size of the basis vectors. Large against one, so that subtracting the response to zero costs no digits of small weights; a power of two, so
/// that dividing by it costs none.
const SCALE: f32 = 4096.0;

/// Deviation of the layer from its matrix that counts as rounding, relative to the sum of absolute products.
const ROUNDING: f64 = 1e-4;

/// The matrix of an operator that is affine in its input 0: convolutions of every kind, average pooling, fully connected layers, padding,
/// normalization with fixed statistics. `input_shape` is that of one image, without the batch; `others` are the other inputs, weights and so on.
///
/// The basis vectors go through the operator as a batch: what comes out, minus the response to zero, are the columns.
///
/// # Errors
/// Where the operator refuses the shapes, does not give one output for each image, is not affine (two random inputs tell), or the matrix would
/// have more than 2^28 elements.
///
/// ```
/// use std::sync::Arc;
/// use svertka::kernels::geometry::Window;
/// use svertka::{Tensor, layer_matrix, ops::Conv};
/// let conv = Conv { window: Window { kernel: [1, 1, 2], ..Window::default() }, groups: 1 };
/// let weight = Tensor::new([1, 1, 2], &[3.0, 5.0])?;
/// let layer = layer_matrix(Arc::new(conv), &[1, 4], &[&weight])?;
/// assert_eq!((layer.rows, layer.columns), (3, 4));
/// assert_eq!(layer.matrix.data(), [
///     3.0, 5.0, 0.0, 0.0, //
///     0.0, 3.0, 5.0, 0.0, //
///     0.0, 0.0, 3.0, 5.0,
/// ]);
/// assert_eq!((layer.nonzeros(), layer.distinct()), (6, 2));
/// # Ok::<(), svertka::Error>(())
/// ```
pub fn layer_matrix(op: Arc<dyn Operator>, input_shape: &[usize], others: &[&Tensor]) -> Result<LayerMatrix> {
    checked_product("input_shape", input_shape).map_err(Error::geometry(op.name()))?;
    let shape_of = |batch: usize| [&[batch], input_shape].concat();
    let one = shape_of(1);
    let shapes: Vec<&[usize]> =
        [one.as_slice()].into_iter().chain(others.iter().map(|other| other.shape())).collect();
    let made = op.output_shapes(&shapes)?;
    let output_shape = made.first().and_then(|shape| shape.get(1..)).unwrap_or_default();
    let (rows, columns) = (elements(output_shape), elements(input_shape));
    if rows.saturating_mul(columns) > MAX_ELEMENTS {
        let expected = format!("at most {MAX_ELEMENTS} elements");
        return Err(Error::argument(op.name(), "matrix", expected, format!("{rows} x {columns}")));
    }
    // The responses to a batch, one after the other.
    let respond = |x: Tensor| {
        let batch = x.shape()[0];
        let y = apply(Arc::clone(&op), &[&[&x], others].concat())?;
        if y.shape().first() == Some(&batch) && y.data().len() == batch * rows {
            return Ok(y);
        }
        let expected = format!("{batch} x {output_shape:?} for {batch} inputs");
        Err(Error::argument(op.name(), "output", expected, format!("shape {:?}", y.shape())))
    };
    let bias = respond(Tensor::zeros(one.clone()))?.reshape([rows])?;
    let mut matrix = Tensor::zeros([rows, columns]);
    let each = (CHUNK / rows.max(columns).max(1)).max(1);
    for first in (0..columns).step_by(each) {
        let count = each.min(columns - first);
        let mut basis = Tensor::zeros(shape_of(count));
        (0..count).for_each(|i| basis.data_mut()[i * columns + first + i] = SCALE);
        let responses = respond(basis)?;
        for (row, (to, zero)) in matrix.data_mut().chunks_exact_mut(columns).zip(bias.data()).enumerate() {
            for (to, response) in to[first..].iter_mut().zip(responses.data().chunks_exact(rows)) {
                *to = (response[row] - zero) / SCALE;
            }
        }
    }
    let layer = LayerMatrix { rows, columns, matrix, bias };
    let mut random = ChaCha8Rng::seed_from_u64(0);
    // One input of ordinary size, one beyond the range in which a clipped or saturating function is straight.
    for size in [1.0, 1000.0] {
        let mut x = Tensor::zeros(one.clone());
        for value in x.data_mut() {
            *value = size * ((random.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0);
        }
        check(&*op, &layer, x.data(), respond(x.clone())?.data())?;
    }
    Ok(layer)
}

/// Whether `y` is what the matrix makes of `x`.
fn check(op: &dyn Operator, layer: &LayerMatrix, x: &[f32], y: &[f32]) -> Result<()> {
    let columns = layer.columns;
    for (i, (&y, &bias)) in y.iter().zip(layer.bias.data()).enumerate() {
        let row = &layer.matrix.data()[i * columns..][..columns];
        let (mut sum, mut size) = (f64::from(bias), f64::from(bias).abs());
        for (m, x) in row.iter().zip(x) {
            let product = f64::from(*m) * f64::from(*x);
            sum += product;
            size += product.abs();
        }
        let close = (f64::from(y) - sum).abs() <= ROUNDING * size;
        if !close {
            let expected = "one that is affine in its input, y = M x + b";
            let received = format!("{y} for output {i} of a random input where M x + b is {sum}");
            return Err(Error::argument(op.name(), "operator", expected, received));
        }
    }
    Ok(())
}
