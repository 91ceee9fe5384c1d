//! The layer of a transposed convolution, and its options.

use svertka_kernels::geometry::Window;

use super::Network;
use crate::error::{Error, Result};
use crate::graph::Value;
use crate::ops::{ConvTranspose, spatial};
use crate::spec::{Padding, PaddingMode, Sizes, window};

/// The options of a transposed convolution, with the defaults of `torch.nn.ConvTranspose2d`.
///
/// ```
/// use svertka::ConvTransposeSpec;
/// let spec = ConvTransposeSpec::new().stride(2).padding(1).output_padding([1, 0]).groups(4).bias(false);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTransposeSpec {
    /// Step of the windows in the output.
    pub stride: Sizes,
    /// How much is cropped from the output. [`Padding::Same`] crops to `input * stride`.
    pub padding: Padding,
    /// Zeros: no other mode has a meaning, for nothing is padded.
    pub padding_mode: PaddingMode,
    /// Cells more at the far ends of the output.
    pub output_padding: Sizes,
    /// Distance between the cells that a window writes.
    pub dilation: Sizes,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether a layer has a bias.
    pub bias: bool,
}

impl Default for ConvTransposeSpec {
    fn default() -> Self {
        Self {
            stride: 1.into(),
            padding: 0.into(),
            padding_mode: PaddingMode::Zeros,
            output_padding: 0.into(),
            dilation: 1.into(),
            groups: 1,
            bias: true,
        }
    }
}

impl ConvTransposeSpec {
    /// Stride 1, no padding and output padding, dilation 1, one group, with bias.
    pub fn new() -> Self {
        Self::default()
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

    /// Sets the padding mode.
    #[must_use]
    pub fn padding_mode(mut self, mode: PaddingMode) -> Self {
        self.padding_mode = mode;
        self
    }

    /// Sets the output padding.
    #[must_use]
    pub fn output_padding(mut self, output_padding: impl Into<Sizes>) -> Self {
        self.output_padding = output_padding.into();
        self
    }

    /// Sets the dilation.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Sizes>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// Sets the number of groups.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Sets whether a layer has a bias.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// The operator for an input of this shape and a kernel of this size.
    pub(crate) fn operator(&self, input: &[usize], kernel_size: &Sizes) -> Result<ConvTranspose> {
        let subject = "ConvTranspose";
        if self.padding_mode != PaddingMode::Zeros {
            let expected = "zeros: the padding of a transposed convolution crops its output";
            return Err(Error::argument(
                subject,
                "padding_mode",
                expected,
                format!("{:?}", self.padding_mode),
            ));
        }
        let mut window =
            window(subject, input, kernel_size, &self.stride, &self.padding, Some(&self.dilation))?;
        let mut output_padding = self.output_padding.expand(subject, "output_padding", input.len() - 2, 0)?;
        if let Padding::Same | Padding::SameLower = self.padding {
            let input = spatial(input);
            let size = std::array::from_fn(|axis| input[axis].saturating_mul(window.stride[axis]));
            let odd_cell_after = self.padding == Padding::Same;
            window = Window { padding: [(0, 0); 3], ..window };
            (window.padding, output_padding) =
                window.transposed_padding(input, size, output_padding, odd_cell_after);
        }
        Ok(ConvTranspose { window, output_padding, groups: self.groups })
    }
}

impl Network {
    /// A transposed convolution with `out_channels` channels: with a stride it makes the activation larger.
    ///
    /// # Errors
    /// Where the arguments do not fit the value's shape, or the padding mode is not zeros.
    ///
    /// ```
    /// use svertka::{ConvTransposeSpec, Network};
    /// let mut network = Network::new(&[16, 7, 9], 0);
    /// let spec = ConvTransposeSpec::new().stride(2).padding(1).output_padding(1);
    /// let x = network.conv_transpose(network.input(), 8, 3, &spec)?;
    /// assert_eq!(network.shape(x), [1, 8, 14, 18]);
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn conv_transpose(
        &mut self,
        x: Value,
        out_channels: usize,
        kernel_size: impl Into<Sizes>,
        spec: &ConvTransposeSpec,
    ) -> Result<Value> {
        let shape = self.shape(x).to_vec();
        let op = spec.operator(&shape, &kernel_size.into())?;
        let name = self.name("convtranspose");
        let (in_channels, groups) = (shape[1], spec.groups.max(1));
        if !out_channels.is_multiple_of(groups) {
            let expected = format!("a multiple of groups = {groups}");
            let subject = format!("{name}: ConvTranspose");
            return Err(Error::argument(subject, "out_channels", expected, out_channels));
        }
        let kernel = &op.window.kernel[5 - shape.len()..];
        let weight = [&[in_channels, out_channels / groups], kernel].concat();
        // An output cell gets a window's share of the input: of all windows a cell, over the stride.
        let taps = kernel.iter().fold(in_channels / groups, |a, &b| a.saturating_mul(b));
        let fan_in = taps / op.window.stride.iter().fold(1usize, |a, &b| a.saturating_mul(b)).max(1);
        let mut inputs = vec![x, self.weight(&format!("{name}.weight"), weight, fan_in)?];
        if spec.bias {
            inputs.push(self.constant(&format!("{name}.bias"), out_channels, 0.0));
        }
        self.push(&name, op, &inputs)
    }
}
