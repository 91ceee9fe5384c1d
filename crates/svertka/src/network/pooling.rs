//! Poolings of every kind.

use svertka_kernels::geometry::Window;
use svertka_kernels::geometry_pool::{dynamic_k, fraction, unpooled};
use svertka_kernels::pool::IndexOrder;

use super::Network;
use crate::error::{Error, Result};
use crate::graph::Value;
use crate::ops::{
    AdaptiveAveragePool, AdaptiveMaxPool, AveragePool, FractionalMaxPool, GlobalPool, KMaxPool, LpPool,
    MaxPool, MaxPoolWithIndices, MaxUnpool, MinPool, Operator, Pad, Reduction, StochasticPool, SumPool,
    spatial,
};
use crate::spec::{Padding, PaddingMode, Sizes, spatial_dims, window};

/// The options of a pooling, with the defaults of `torch.nn.MaxPool2d`: the stride is the kernel size.
///
/// ```
/// use svertka::{PaddingMode, PoolSpec};
/// let spec = PoolSpec::new([3, 2]).stride(2).padding(1).padding_mode(PaddingMode::Reflect).ceil_mode(true);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSpec {
    /// Size of the window.
    pub kernel_size: Sizes,
    /// Step of the window.
    pub stride: Sizes,
    /// How much is added around the input.
    pub padding: Padding,
    /// What is added. By default nothing that a maximum could choose: the window ends at the edge. Any other mode, a constant zero too, is a
    /// [`Pad`] before the pooling.
    pub padding_mode: PaddingMode,
    /// Distance between the cells that a window reads.
    pub dilation: Sizes,
    /// Round the output size up.
    pub ceil_mode: bool,
    /// Whether an average counts cells of padding.
    pub count_include_pad: bool,
    /// What an average divides by, instead of its cells.
    pub divisor_override: Option<usize>,
}

impl PoolSpec {
    /// Windows of this size, side by side.
    pub fn new(kernel_size: impl Into<Sizes>) -> Self {
        let kernel_size = kernel_size.into();
        Self {
            stride: kernel_size.clone(),
            kernel_size,
            padding: 0.into(),
            padding_mode: PaddingMode::Zeros,
            dilation: 1.into(),
            ceil_mode: false,
            count_include_pad: true,
            divisor_override: None,
        }
    }

    /// Sets the stride.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Sizes>) -> Self {
        self.stride = stride.into();
        self
    }

    /// Sets the padding.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.padding = padding.into();
        self
    }

    /// Sets what the padding holds.
    #[must_use]
    pub fn padding_mode(mut self, mode: PaddingMode) -> Self {
        self.padding_mode = mode;
        self
    }

    /// Sets the dilation.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Sizes>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// Sets whether the output size is rounded up.
    #[must_use]
    pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
        self.ceil_mode = ceil_mode;
        self
    }

    /// Sets whether an average counts cells of padding.
    #[must_use]
    pub fn count_include_pad(mut self, count_include_pad: bool) -> Self {
        self.count_include_pad = count_include_pad;
        self
    }

    /// Sets what an average divides by.
    #[must_use]
    pub fn divisor_override(mut self, divisor: usize) -> Self {
        self.divisor_override = Some(divisor);
        self
    }

    /// The padding if it is an operator of its own, and the window behind it, for an input of this shape.
    fn operators(&self, subject: &str, input: &[usize]) -> Result<(Option<Pad>, Window)> {
        let Self { kernel_size, stride, padding, dilation, .. } = self;
        let mut window = window(subject, input, kernel_size, stride, padding, Some(dilation))?;
        let apart = self.padding_mode != PaddingMode::Zeros && window.padding != [(0, 0); 3];
        let pad = apart
            .then(|| Pad { mode: self.padding_mode.pad_mode(), pads: std::mem::take(&mut window.padding) });
        Ok((pad, window))
    }
}

/// The output size of a fractional pooling.
#[derive(Clone, Debug, PartialEq)]
pub enum FractionalSize {
    /// Cells along each axis.
    Cells(Sizes),
    /// This part of the input along each axis, rounded down.
    Ratio(f64),
}

impl<T: Into<Sizes>> From<T> for FractionalSize {
    fn from(cells: T) -> Self {
        Self::Cells(cells.into())
    }
}

/// Poolings.
///
/// ```
/// use svertka::{Network, PoolSpec};
/// let mut net = Network::new(&[3, 15, 20], 0);
/// let (x, indices) = net.max_pool_with_indices(net.input(), &PoolSpec::new(2).ceil_mode(true))?;
/// assert_eq!(net.shape(x), [1, 3, 8, 10]);
/// let unpooled = net.max_unpool(x, indices, &PoolSpec::new(2), Some([15, 20].into()))?;
/// let y = net.adaptive_average_pool(unpooled, [4, 7])?;
/// assert_eq!(net.shape(y), [1, 3, 4, 7]);
/// # Ok::<(), svertka::Error>(())
/// ```
impl Network {
    /// Padding if it is a node of its own, then the operator of that window.
    fn pool<P: Operator + 'static>(
        &mut self,
        x: Value,
        spec: &PoolSpec,
        [subject, kind]: [&str; 2],
        op: impl FnOnce(Window) -> P,
    ) -> Result<Vec<Value>> {
        let (pad, window) = spec.operators(subject, self.shape(x))?;
        let name = self.name(kind);
        let x = match pad {
            Some(pad) => self.push(&format!("{name}.pad"), pad, &[x])?,
            None => x,
        };
        self.push_all(&name, op(window), &[x])
    }

    /// Max pooling.
    ///
    /// # Errors
    /// Where the window does not fit.
    pub fn max_pool(&mut self, x: Value, spec: &PoolSpec) -> Result<Value> {
        let ceil_mode = spec.ceil_mode;
        Ok(self.pool(x, spec, ["MaxPool", "maxpool"], |window| MaxPool { window, ceil_mode })?[0])
    }

    /// Max pooling; gives the values and where they stand, as [`MaxPoolWithIndices`] counts. With a `padding_mode` that is the place in the
    /// padded input.
    ///
    /// # Errors
    /// Where the window does not fit, or the input has more than 2^24 elements.
    pub fn max_pool_with_indices(&mut self, x: Value, spec: &PoolSpec) -> Result<(Value, Value)> {
        let (ceil_mode, storage_order) = (spec.ceil_mode, IndexOrder::RowMajor);
        let made = self.pool(x, spec, ["MaxPoolWithIndices", "maxpool"], |window| MaxPoolWithIndices {
            window,
            ceil_mode,
            storage_order,
        })?;
        Ok((made[0], made[1]))
    }

    /// Puts values back to the cells that `indices` of [`Network::max_pool_with_indices`] mean, zeros elsewhere. The result has the size
    /// `output_size`, which is that of the pooling's input; without it `(input - 1) * stride - padding + kernel`, which several sizes share.
    ///
    /// # Errors
    /// Where the shapes differ, or the size is unknown because the padding is.
    pub fn max_unpool(
        &mut self,
        x: Value,
        indices: Value,
        spec: &PoolSpec,
        output_size: Option<Sizes>,
    ) -> Result<Value> {
        const OP: &str = "MaxUnpool";
        let shape = self.shape(x);
        let size = match output_size {
            Some(size) => size.expand(OP, "output_size", spatial_dims(OP, shape)?, 1)?,
            None if matches!(spec.padding, Padding::Same | Padding::SameLower) => {
                return Err(Error::argument(
                    OP,
                    "output_size",
                    "a size where the padding is \"same\"",
                    "none",
                ));
            }
            None => {
                let (_, window) = spec.operators(OP, shape)?;
                unpooled(spatial(shape), window.extent(), window.stride, window.padding)
                    .map_err(Error::geometry(OP))?
            }
        };
        let name = self.name("maxunpool");
        self.push(&name, MaxUnpool { indexed: size, output_size: size }, &[x, indices])
    }

    /// Min pooling, `-max(-x)`.
    ///
    /// # Errors
    /// Where the window does not fit.
    pub fn min_pool(&mut self, x: Value, spec: &PoolSpec) -> Result<Value> {
        let ceil_mode = spec.ceil_mode;
        Ok(self.pool(x, spec, ["MinPool", "minpool"], |window| MinPool { window, ceil_mode })?[0])
    }

    /// Average pooling.
    ///
    /// # Errors
    /// Where the window does not fit.
    pub fn average_pool(&mut self, x: Value, spec: &PoolSpec) -> Result<Value> {
        let PoolSpec { ceil_mode, count_include_pad, divisor_override, .. } = *spec;
        let made = self.pool(x, spec, ["AveragePool", "avgpool"], |window| AveragePool {
            window,
            ceil_mode,
            count_include_pad,
            divisor_override,
        })?;
        Ok(made[0])
    }

    /// Sum pooling.
    ///
    /// # Errors
    /// Where the window does not fit.
    pub fn sum_pool(&mut self, x: Value, spec: &PoolSpec) -> Result<Value> {
        let ceil_mode = spec.ceil_mode;
        Ok(self.pool(x, spec, ["SumPool", "sumpool"], |window| SumPool { window, ceil_mode })?[0])
    }

    /// Pooling by the `p`-norm, `(sum |x|^p)^(1/p)`.
    ///
    /// # Errors
    /// Where the window does not fit, or `p` is below 1.
    pub fn lp_pool(&mut self, x: Value, p: f32, spec: &PoolSpec) -> Result<Value> {
        let ceil_mode = spec.ceil_mode;
        Ok(self.pool(x, spec, ["LpPool", "lppool"], |window| LpPool { window, ceil_mode, p })?[0])
    }

    /// Stochastic pooling: in training a cell of each window, drawn with a probability in proportion to its value; at inference their mean. For
    /// values that are not negative.
    ///
    /// # Errors
    /// Where the window does not fit.
    pub fn stochastic_pool(&mut self, x: Value, spec: &PoolSpec) -> Result<Value> {
        let (ceil_mode, stream) = (spec.ceil_mode, self.graph.nodes().len() as u64);
        let made = self.pool(x, spec, ["StochasticPool", "stochasticpool"], |window| StochasticPool {
            window,
            ceil_mode,
            stream,
            training: false,
        })?;
        Ok(made[0])
    }

    /// Max pooling to a given size.
    ///
    /// # Errors
    /// Where there is not one size or one for each axis, or one is zero.
    pub fn adaptive_max_pool(&mut self, x: Value, output_size: impl Into<Sizes>) -> Result<Value> {
        let output_size = self.output_size("AdaptiveMaxPool", x, &output_size.into())?;
        let name = self.name("adaptivemaxpool");
        self.push(&name, AdaptiveMaxPool { output_size }, &[x])
    }

    /// Average pooling to a given size.
    ///
    /// # Errors
    /// Where there is not one size or one for each axis, or one is zero.
    pub fn adaptive_average_pool(&mut self, x: Value, output_size: impl Into<Sizes>) -> Result<Value> {
        let output_size = self.output_size("AdaptiveAveragePool", x, &output_size.into())?;
        let name = self.name("adaptiveavgpool");
        self.push(&name, AdaptiveAveragePool { output_size }, &[x])
    }

    fn output_size(&self, subject: &str, x: Value, size: &Sizes) -> Result<[usize; 3]> {
        size.expand(subject, "output_size", spatial_dims(subject, self.shape(x))?, 1)
    }

    /// Fractional max pooling with windows of `kernel_size`, at pseudo-random places in training.
    ///
    /// # Errors
    /// Where `output_size + kernel_size - 1` is more than the input.
    ///
    /// ```
    /// use svertka::{FractionalSize, Network};
    /// let mut net = Network::new(&[3, 13, 20], 0);
    /// let x = net.fractional_max_pool(net.input(), 2, FractionalSize::Ratio(0.7))?;
    /// assert_eq!(net.shape(x), [1, 3, 9, 14]);
    /// let x = net.fractional_max_pool(x, 2, [6, 10])?;
    /// assert_eq!(net.shape(x), [1, 3, 6, 10]);
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn fractional_max_pool(
        &mut self,
        x: Value,
        kernel_size: impl Into<Sizes>,
        output_size: impl Into<FractionalSize>,
    ) -> Result<Value> {
        const OP: &str = "FractionalMaxPool";
        let dims = spatial_dims(OP, self.shape(x))?;
        let kernel_size = kernel_size.into().expand(OP, "kernel_size", dims, 1)?;
        let output_size = match output_size.into() {
            FractionalSize::Cells(size) => size.expand(OP, "output_size", dims, 1)?,
            FractionalSize::Ratio(ratio) => fraction(spatial(self.shape(x)), ratio),
        };
        let stream = self.graph.nodes().len() as u64;
        let name = self.name("fractionalmaxpool");
        self.push(&name, FractionalMaxPool { kernel_size, output_size, stream, training: false }, &[x])
    }

    /// The `k` largest values along spatial axis `axis` (2 is the first of them), in their order.
    ///
    /// # Errors
    /// Where the axis is not spatial or has not so many.
    pub fn k_max_pool(&mut self, x: Value, k: usize, axis: usize) -> Result<Value> {
        let name = self.name("kmaxpool");
        self.push(&name, KMaxPool { k, axis }, &[x])
    }

    /// [`Network::k_max_pool`] with `k = max(top, ceil((layers - layer) / layers * size))`: behind convolution `layer` of `layers`, for an axis
    /// whose size in the network's input is `size`, so that `top` values are left behind the last.
    ///
    /// # Errors
    /// As [`Network::k_max_pool`], or where `layer` is not one of `1..=layers`.
    ///
    /// ```
    /// use svertka::Network;
    /// let mut net = Network::new(&[4, 18], 0);
    /// let x = net.dynamic_k_max_pool(net.input(), 2, 3, 1, 3, 18)?;
    /// assert_eq!(net.shape(x), [1, 4, 12]);
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn dynamic_k_max_pool(
        &mut self,
        x: Value,
        axis: usize,
        top: usize,
        layer: usize,
        layers: usize,
        size: usize,
    ) -> Result<Value> {
        let k = dynamic_k(top, layer, layers, size).map_err(Error::geometry("KMaxPool"))?;
        self.k_max_pool(x, k, axis)
    }

    /// One value of all spatial cells of a channel, `N x C x 1...`.
    ///
    /// # Errors
    /// Where the value has no spatial axes.
    pub fn global_pool(&mut self, x: Value, reduction: Reduction) -> Result<Value> {
        let name = self.name("globalpool");
        self.push(&name, GlobalPool(reduction), &[x])
    }

    /// The `p`-norm of all spatial cells of a channel, `N x C x 1...`.
    ///
    /// # Errors
    /// Where the value has no spatial axes, or `p` is below 1.
    pub fn global_lp_pool(&mut self, x: Value, p: f32) -> Result<Value> {
        self.global_pool(x, Reduction::Lp(p))
    }
}
