//! Sizes, padding and its modes as `torch.nn` spells them, and what they mean for an input.

use svertka_kernels::geometry::Window;
use svertka_kernels::pad::PadMode;

use crate::error::{Error, Result};
use crate::ops::{self, spatial};

/// One size for all spatial axes, or one for each (height before width).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(Vec<usize>);

impl From<usize> for Sizes {
    fn from(size: usize) -> Self {
        Self(vec![size])
    }
}

impl<const N: usize> From<[usize; N]> for Sizes {
    fn from(sizes: [usize; N]) -> Self {
        Self(sizes.to_vec())
    }
}

impl From<Vec<usize>> for Sizes {
    fn from(sizes: Vec<usize>) -> Self {
        Self(sizes)
    }
}

impl Sizes {
    /// One size for each of `dims` axes, behind leading `fill`s: `[depth, height, width]` as kernels have them.
    ///
    /// # Errors
    /// Where there is neither one size nor one for each axis; the message names `subject` and `argument`.
    ///
    /// # Panics
    /// Where `dims` is above 3.
    pub fn expand(&self, subject: &str, argument: &str, dims: usize, fill: usize) -> Result<[usize; 3]> {
        let mut sizes = [fill; 3];
        match self.0[..] {
            [size] => sizes[3 - dims..].fill(size),
            _ if self.0.len() == dims => sizes[3 - dims..].copy_from_slice(&self.0),
            _ => {
                return Err(Error::argument(
                    subject,
                    argument,
                    format!("one size or {dims}"),
                    format!("{:?}", self.0),
                ));
            }
        }
        Ok(sizes)
    }
}

/// How much is added around the spatial axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// So much at both ends of each axis.
    Amount(Sizes),
    /// So much before and after, for each axis.
    Sides(Vec<(usize, usize)>),
    /// As much as gives `ceil(input / stride)` outputs, the odd cell at the end.
    Same,
    /// As much as gives `ceil(input / stride)` outputs, the odd cell at the beginning.
    SameLower,
    /// As much as shows every window that touches the input.
    Full,
    /// None.
    Valid,
}

impl<T: Into<Sizes>> From<T> for Padding {
    fn from(amount: T) -> Self {
        Self::Amount(amount.into())
    }
}

/// What the added cells hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PaddingMode {
    /// Zero.
    #[default]
    Zeros,
    /// This value.
    Constant(f32),
    /// The nearest cell of the edge.
    Replicate,
    /// The mirror image, edge not repeated.
    Reflect,
    /// The mirror image, edge repeated.
    Symmetric,
    /// The cells of the other end.
    Circular,
}

impl PaddingMode {
    /// By name: `zeros`, `constant:VALUE`, `replicate`, `reflect`, `symmetric`, `circular`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "zeros" => Self::Zeros,
            "replicate" => Self::Replicate,
            "reflect" => Self::Reflect,
            "symmetric" => Self::Symmetric,
            "circular" => Self::Circular,
            _ => Self::Constant(name.strip_prefix("constant:")?.parse().ok()?),
        })
    }

    /// The mode of the [`Pad`](ops::Pad) operator that does the same.
    pub fn pad_mode(self) -> PadMode {
        match self {
            Self::Zeros => PadMode::Constant(0.0),
            Self::Constant(value) => PadMode::Constant(value),
            Self::Replicate => PadMode::Replicate,
            Self::Reflect => PadMode::Reflect,
            Self::Symmetric => PadMode::Symmetric,
            Self::Circular => PadMode::Circular,
        }
    }
}

/// The options of a convolution, with the defaults of `torch.nn.Conv2d`.
///
/// ```
/// use svertka::{ConvSpec, PaddingMode};
/// let spec = ConvSpec::new().stride([2, 1]).padding(3).padding_mode(PaddingMode::Circular).groups(4).bias(false);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ConvSpec {
    /// Step of the window.
    pub stride: Sizes,
    /// How much is added around the input.
    pub padding: Padding,
    /// What is added.
    pub padding_mode: PaddingMode,
    /// Distance between the cells that a window reads.
    pub dilation: Sizes,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether a layer has a bias.
    pub bias: bool,
    /// Whether the kernel is turned around: a convolution as mathematics has it, in place of the usual cross-correlation.
    pub flip: bool,
}

impl Default for ConvSpec {
    fn default() -> Self {
        Self {
            stride: 1.into(),
            padding: 0.into(),
            padding_mode: PaddingMode::Zeros,
            dilation: 1.into(),
            groups: 1,
            bias: true,
            flip: false,
        }
    }
}

impl ConvSpec {
    /// Stride 1, no padding, dilation 1, one group, with bias, cross-correlation.
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

    /// Sets whether the kernel is turned around.
    #[must_use]
    pub fn flip(mut self, flip: bool) -> Self {
        self.flip = flip;
        self
    }

    /// The operators for an input of this shape and a kernel of this size: the padding if it is not zeros, then the convolution.
    pub(crate) fn operators(
        &self,
        input: &[usize],
        kernel_size: &Sizes,
    ) -> Result<(Option<ops::Pad>, ops::Conv)> {
        let (pad, window) = self.pad_and_window("Conv", input, kernel_size)?;
        Ok((pad, ops::Conv { window, groups: self.groups }))
    }

    /// The padding if it is not zeros, then the window of an operator that pads with zeros itself.
    pub(crate) fn pad_and_window(
        &self,
        subject: &str,
        input: &[usize],
        kernel_size: &Sizes,
    ) -> Result<(Option<ops::Pad>, Window)> {
        let mut window =
            window(subject, input, kernel_size, &self.stride, &self.padding, Some(&self.dilation))?;
        let apart = self.padding_mode != PaddingMode::Zeros && window.padding != [(0, 0); 3];
        let pad = apart.then(|| ops::Pad {
            mode: self.padding_mode.pad_mode(),
            pads: std::mem::take(&mut window.padding),
        });
        Ok((pad, window))
    }
}

/// The number of spatial axes of an activation's shape.
pub(crate) fn spatial_dims(subject: &str, input: &[usize]) -> Result<usize> {
    match input.len() {
        3..=5 => Ok(input.len() - 2),
        _ => Err(Error::argument(subject, "input", "1 to 3 spatial axes", format!("shape {input:?}"))),
    }
}

/// The window over an input of shape `input`.
pub(crate) fn window(
    subject: &str,
    input: &[usize],
    kernel_size: &Sizes,
    stride: &Sizes,
    padding: &Padding,
    dilation: Option<&Sizes>,
) -> Result<Window> {
    let dims = spatial_dims(subject, input)?;
    let mut window = Window {
        kernel: kernel_size.expand(subject, "kernel_size", dims, 1)?,
        stride: stride.expand(subject, "stride", dims, 1)?,
        dilation: dilation.map_or(Ok([1; 3]), |dilation| dilation.expand(subject, "dilation", dims, 1))?,
        padding: [(0, 0); 3],
    };
    window.padding = match padding {
        Padding::Amount(amount) => amount.expand(subject, "padding", dims, 0)?.map(|amount| (amount, amount)),
        Padding::Sides(sides) if sides.len() == dims => {
            let mut pads = [(0, 0); 3];
            pads[3 - dims..].copy_from_slice(sides);
            pads
        }
        Padding::Sides(sides) => {
            return Err(Error::argument(subject, "padding", format!("{dims} pairs"), format!("{sides:?}")));
        }
        Padding::Same => window.same_padding(spatial(input), true),
        Padding::SameLower => window.same_padding(spatial(input), false),
        Padding::Full => window.full_padding(),
        Padding::Valid => [(0, 0); 3],
    };
    Ok(window)
}
