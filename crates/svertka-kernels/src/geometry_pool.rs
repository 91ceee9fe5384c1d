//! Sizes of the poolings whose windows do not move evenly: `k`-max, fractional, and the way back from maxima to their cells.

use crate::geometry::{GeometryError, checked_product};

/// The largest count that `f32` numbers all the way: an index below it is exact.
pub const MAX_INDEX: usize = 1 << 24;

fn range(argument: &'static str, least: usize, most: usize, received: usize) -> Result<(), GeometryError> {
    if (least..=most).contains(&received) {
        return Ok(());
    }
    Err(GeometryError::Range { argument, least, most, received })
}

/// Elements of `N x C x spatial`, where all of them can be numbered in `f32`.
///
/// # Errors
/// Where there are more than [`MAX_INDEX`].
pub fn indexable(
    argument: &'static str,
    batch: usize,
    channels: usize,
    spatial: [usize; 3],
) -> Result<usize, GeometryError> {
    let elements = spatial.iter().fold(batch.saturating_mul(channels), |a, &b| a.saturating_mul(b));
    range(argument, 0, MAX_INDEX, elements)?;
    Ok(elements)
}

/// Max unpooling: cells of `input` go to places in `output`, given as indices into a plain `N x C x indexed`. Where the two sizes differ, the
/// first cells of both are the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpoolGeometry {
    /// Pictures in the batch.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Spatial size of the values and their indices.
    pub input: [usize; 3],
    /// Spatial size of what the indices count.
    pub indexed: [usize; 3],
    /// Spatial size of the result.
    pub output: [usize; 3],
}

impl UnpoolGeometry {
    /// Checks that everything can be numbered.
    ///
    /// # Errors
    /// A [`GeometryError`] that names the argument.
    pub fn new(
        batch: usize,
        channels: usize,
        input: [usize; 3],
        indexed: [usize; 3],
        output: [usize; 3],
    ) -> Result<Self, GeometryError> {
        indexable("elements that the indices count", batch, channels, indexed)?;
        checked_product("input", &[batch, channels, input[0], input[1], input[2]])?;
        checked_product("output_size", &[batch, channels, output[0], output[1], output[2]])?;
        Ok(Self { batch, channels, input, indexed, output })
    }

    /// The cell of plane `plane` of the output that `index` means; `None` for one that is no whole number or means another plane or a cell
    /// outside the output.
    pub fn cell(&self, plane: usize, index: f32) -> Option<usize> {
        let pixels = self.indexed.iter().product::<usize>();
        // Every number that is a whole one of the plane is exactly so after the cast there and back.
        let whole = index as usize;
        if whole as f32 != index {
            return None;
        }
        let cell = whole.checked_sub(plane * pixels).filter(|cell| *cell < pixels)?;
        if self.indexed == self.output {
            return Some(cell);
        }
        let [_, height, width] = self.indexed;
        let at = [cell / width / height, cell / width % height, cell % width];
        let inside = (0..3).all(|axis| at[axis] < self.output[axis]);
        inside.then(|| (at[0] * self.output[1] + at[1]) * self.output[2] + at[2])
    }
}

/// The spatial size whose max pooling with these windows would give `input`: `(input - 1) * stride - padding + kernel` (ONNX `MaxUnpool`).
///
/// # Errors
/// Where it is negative or too large along an axis.
pub fn unpooled(
    input: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [(usize, usize); 3],
) -> Result<[usize; 3], GeometryError> {
    let mut output = [0; 3];
    for axis in 0..3 {
        let pads = padding[axis].0.saturating_add(padding[axis].1);
        let steps = input[axis].saturating_sub(1).saturating_mul(stride[axis]);
        let covered = steps.saturating_add(kernel[axis]);
        range("padding", 0, covered, pads)?;
        output[axis] = if input[axis] == 0 { 0 } else { covered - pads };
        checked_product("output_size", &[output[axis]])?;
    }
    Ok(output)
}

/// Lines along one axis, of which the `k` largest values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KMaxGeometry {
    /// Elements before the axis.
    pub outer: usize,
    /// Elements of the axis.
    pub size: usize,
    /// Elements behind the axis.
    pub inner: usize,
    /// How many are kept.
    pub k: usize,
}

impl KMaxGeometry {
    /// Keeps `k` along axis `axis` of `shape`.
    ///
    /// # Errors
    /// Where the axis is not spatial or has not so many.
    pub fn new(shape: &[usize], axis: usize, k: usize) -> Result<Self, GeometryError> {
        range("axis", 2, shape.len().saturating_sub(1), axis)?;
        checked_product("input", shape)?;
        range("k", 1, shape[axis], k)?;
        let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
        Ok(Self { outer, size: shape[axis], inner, k })
    }
}

/// Dynamic `k` (Kalchbrenner, Grefenstette and Blunsom, 2014): `max(top, ceil((layers - layer) / layers * size))`, where `layer` of `layers`
/// convolutions stand before the pooling, and `top` values are left behind the last.
///
/// # Errors
/// Where `layer` is not one of `1..=layers`.
///
/// ```
/// use svertka_kernels::geometry_pool::dynamic_k;
/// // The paper's example: a sentence of 18 words, three layers, three values at the top.
/// assert_eq!([1, 2, 3].map(|layer| dynamic_k(3, layer, 3, 18).unwrap()), [12, 6, 3]);
/// ```
pub fn dynamic_k(top: usize, layer: usize, layers: usize, size: usize) -> Result<usize, GeometryError> {
    range("layer", 1, layers, layer)?;
    checked_product("layers", &[layers, size])?;
    Ok(top.max(((layers - layer) * size).div_ceil(layers)))
}

/// Fractional max pooling (Graham, 2014): along each axis `output` windows of `kernel` cells, the first at the beginning, the last at the end,
/// the others at distances that take two neighbouring whole numbers, in an order that one number from 0 to 1 decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FractionalGeometry {
    /// Pictures in the batch.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Spatial input size.
    pub input: [usize; 3],
    /// Spatial output size.
    pub output: [usize; 3],
    /// Window size.
    pub kernel: [usize; 3],
}

impl FractionalGeometry {
    /// Checks the sizes: `output + kernel - 1` is at most the input along each axis.
    ///
    /// # Errors
    /// A [`GeometryError`] that names the argument.
    pub fn new(
        batch: usize,
        channels: usize,
        input: [usize; 3],
        output: [usize; 3],
        kernel: [usize; 3],
    ) -> Result<Self, GeometryError> {
        checked_product("input", &[batch, channels, input[0], input[1], input[2]])?;
        for axis in 0..3 {
            range("kernel_size", 1, input[axis], kernel[axis])?;
            range("output_size", 1, input[axis] - kernel[axis] + 1, output[axis])?;
        }
        Ok(Self { batch, channels, input, output, kernel })
    }

    /// The first cell of window `o` along `axis`: `floor((o + u) * alpha) - floor(u * alpha)` with
    /// `alpha = (input - kernel) / (output - 1)`, of the last window `input - kernel`. In `f32`, as PyTorch computes it.
    pub fn start(&self, axis: usize, o: usize, u: f32) -> usize {
        let last = self.input[axis] - self.kernel[axis];
        if o + 1 >= self.output[axis] {
            return last;
        }
        let alpha = last as f32 / (self.output[axis] - 1) as f32;
        let start = ((o as f32 + u) * alpha) as usize;
        start.saturating_sub((u * alpha) as usize).min(last)
    }
}

/// The output size that is this part of the input along each axis, `floor(input * ratio)`; leading axes of size one stay.
pub fn fraction(input: [usize; 3], ratio: f64) -> [usize; 3] {
    input.map(|size| if size == 1 { 1 } else { (size as f64 * ratio) as usize })
}
