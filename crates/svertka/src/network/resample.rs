//! Layers that change the number or the order of pixels: resizing, sampling, shuffling, windows as columns, padding.

use svertka_kernels::depth_to_space::BlockOrder;
use svertka_kernels::geometry::Window;
use svertka_kernels::resize::{Aspect, Coordinates, Interpolation, Rounding, Target};

use super::{Network, PoolSpec};
use crate::error::Result;
use crate::graph::Value;
use crate::ops::{AffineGrid, DepthToSpace, Fold, GridSample, Pad, Resize, SpaceToDepth, Unfold};
use crate::spec::{Padding, PaddingMode, Sizes, spatial_dims, window};

/// How [`Network::resize`] and [`Network::upsample`] make pixels; the names are those of `torch.nn.functional.interpolate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeMode {
    /// The cell at `floor(o * input / output)`.
    Nearest,
    /// The cell whose middle is nearest.
    NearestExact,
    /// Linear along each axis (`linear`, `bilinear`, `trilinear`).
    Linear,
    /// Cubic along each axis (`bicubic`).
    Cubic,
}

/// The options of a resizing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResizeSpec {
    /// How pixels are made.
    pub mode: ResizeMode,
    /// The middles of the outer pixels fall together, instead of their outer edges; for [`ResizeMode::Linear`] and [`ResizeMode::Cubic`].
    pub align_corners: bool,
    /// Pixels of a smaller output see all the pixels that they stand for; for [`ResizeMode::Linear`] and [`ResizeMode::Cubic`].
    pub antialias: bool,
}

impl ResizeSpec {
    /// Outer edges together, without antialias.
    pub fn new(mode: ResizeMode) -> Self {
        Self { mode, align_corners: false, antialias: false }
    }

    /// Sets whether the middles of the outer pixels fall together.
    #[must_use]
    pub fn align_corners(mut self, align_corners: bool) -> Self {
        self.align_corners = align_corners;
        self
    }

    /// Sets whether smaller outputs are smoothed.
    #[must_use]
    pub fn antialias(mut self, antialias: bool) -> Self {
        self.antialias = antialias;
        self
    }

    fn operator(&self, dims: usize, target: Target) -> Resize {
        let smooth = if self.align_corners { Coordinates::AlignCorners } else { Coordinates::HalfPixel };
        let cubic = if self.antialias { -0.5 } else { -0.75 };
        let (interpolation, coordinates) = match self.mode {
            ResizeMode::Nearest => (Interpolation::Nearest(Rounding::Floor), Coordinates::Asymmetric),
            ResizeMode::NearestExact => {
                (Interpolation::Nearest(Rounding::PreferCeil), Coordinates::HalfPixel)
            }
            ResizeMode::Linear => (Interpolation::Linear, smooth),
            ResizeMode::Cubic => (Interpolation::Cubic(cubic), smooth),
        };
        let resize = Resize::new((2..2 + dims).collect(), target, interpolation, coordinates);
        Resize { antialias: self.antialias, exclude_outside: self.antialias, ..resize }
    }
}

impl Network {
    /// The picture with these spatial sizes.
    ///
    /// # Errors
    /// Where the sizes do not fit the value's spatial axes, or one is zero.
    ///
    /// ```
    /// use svertka::{Network, ResizeMode, ResizeSpec};
    /// let mut network = Network::new(&[3, 15, 20], 0);
    /// let x = network.resize(network.input(), [32, 48], &ResizeSpec::new(ResizeMode::Linear))?;
    /// assert_eq!(network.shape(x), [1, 3, 32, 48]);
    /// let x = network.upsample(x, 2.0, &ResizeSpec::new(ResizeMode::Nearest))?;
    /// assert_eq!(network.shape(x), [1, 3, 64, 96]);
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn resize(&mut self, x: Value, size: impl Into<Sizes>, spec: &ResizeSpec) -> Result<Value> {
        let dims = spatial_dims("Resize", self.shape(x))?;
        let sizes = size.into().expand("Resize", "size", dims, 1)?[3 - dims..].to_vec();
        let name = self.name("resize");
        self.push(&name, spec.operator(dims, Target::Sizes(sizes, Aspect::Stretch)), &[x])
    }

    /// The picture with `floor(scale_factor * size)` pixels along each spatial axis.
    ///
    /// # Errors
    /// Where the value has no spatial axes, `scale_factor` is no positive number or leaves no pixel.
    pub fn upsample(&mut self, x: Value, scale_factor: f32, spec: &ResizeSpec) -> Result<Value> {
        let dims = spatial_dims("Resize", self.shape(x))?;
        let op = spec.operator(dims, Target::Scales(vec![scale_factor; dims]));
        let name = self.name("upsample");
        if !spec.align_corners {
            return self.push(&name, op, &[x]);
        }
        // With corners aligned PyTorch knows the sizes only, ONNX the scale too.
        let sizes = op.output_sizes(self.shape(x))?;
        self.push(&name, spec.operator(dims, Target::Sizes(sizes, Aspect::Stretch)), &[x])
    }

    /// `N x C * r^2 x H x W` to `N x C x H * r x W * r`, by `torch.nn.PixelShuffle`.
    ///
    /// # Errors
    /// Where the value has not two spatial axes, or its channels are no multiple of `r^2`.
    ///
    /// ```
    /// let mut network = svertka::Network::new(&[12, 5, 4], 0);
    /// let x = network.pixel_shuffle(network.input(), 2)?;
    /// assert_eq!(network.shape(x), [1, 3, 10, 8]);
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn pixel_shuffle(&mut self, x: Value, upscale_factor: usize) -> Result<Value> {
        let name = self.name("pixelshuffle");
        let op = DepthToSpace { block_size: upscale_factor, order: BlockOrder::DepthLast };
        self.push(&name, op, &[x])
    }

    /// `N x C x H * r x W * r` to `N x C * r^2 x H x W`, by `torch.nn.PixelUnshuffle`.
    ///
    /// # Errors
    /// Where the value has not two spatial axes, or one is no multiple of `r`.
    pub fn pixel_unshuffle(&mut self, x: Value, downscale_factor: usize) -> Result<Value> {
        let name = self.name("pixelunshuffle");
        let op = SpaceToDepth { block_size: downscale_factor, order: BlockOrder::DepthLast };
        self.push(&name, op, &[x])
    }

    /// The values of `x` (`N x C x spatial`) at the places of `grid` (`N x out spatial x r`, x first, from -1 to 1): `torch.nn.functional.grid_sample`.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn grid_sample(&mut self, x: Value, grid: Value, op: GridSample) -> Result<Value> {
        let name = self.name("gridsample");
        self.push(&name, op, &[x, grid])
    }

    /// Places for [`Network::grid_sample`] by the maps `theta`, `N x r x (r + 1)`, over a picture of `size`: `torch.nn.functional.affine_grid`.
    ///
    /// # Errors
    /// Where `size` has not 2 or 3 axes, or `theta` another number.
    pub fn affine_grid(&mut self, theta: Value, size: &[usize], align_corners: bool) -> Result<Value> {
        let name = self.name("affinegrid");
        self.push(&name, AffineGrid { size: size.to_vec(), align_corners }, &[theta])
    }

    /// `N x C x spatial` to `N x C * taps x windows`, by `torch.nn.Unfold`; the kernel size, stride and padding of `spec` (whose stride is the kernel size
    /// where it is not set), and a dilation.
    ///
    /// # Errors
    /// Where the window does not fit.
    ///
    /// ```
    /// use svertka::{Network, PoolSpec};
    /// let mut network = Network::new(&[3, 9, 8], 0);
    /// let spec = PoolSpec::new([3, 2]).stride(1);
    /// let x = network.unfold(network.input(), &spec)?;
    /// assert_eq!(network.shape(x), [1, 18, 49]);
    /// let x = network.fold(x, [9, 8], &spec)?;
    /// assert_eq!(network.shape(x), [1, 3, 9, 8]);
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn unfold(&mut self, x: Value, spec: &PoolSpec) -> Result<Value> {
        let window = patch("Unfold", self.shape(x), spec)?;
        let name = self.name("unfold");
        self.push(&name, Unfold { window }, &[x])
    }

    /// `N x C * taps x windows` to `N x C x output_size`, by `torch.nn.Fold`: what overlaps is added up. As [`Network::unfold`] otherwise.
    ///
    /// # Errors
    /// Where the window does not fit, or the value has not its taps and windows.
    pub fn fold(&mut self, x: Value, output_size: impl Into<Vec<usize>>, spec: &PoolSpec) -> Result<Value> {
        let output_size = output_size.into();
        let window = patch("Fold", &[&[1, 1], &output_size[..]].concat(), spec)?;
        let name = self.name("fold");
        self.push(&name, Fold { window, output_size }, &[x])
    }

    /// Cells around the spatial axes, by `torch.nn.ConstantPad2d` and its relatives.
    ///
    /// # Errors
    /// Where the padding does not fit the value's spatial axes, or the mode has not so many cells to show.
    ///
    /// ```
    /// use svertka::{Network, Padding, PaddingMode};
    /// let mut network = Network::new(&[3, 5, 4], 0);
    /// let x = network.pad(network.input(), &Padding::Sides(vec![(2, 1), (0, 3)]), PaddingMode::Reflect)?;
    /// assert_eq!(network.shape(x), [1, 3, 8, 7]);
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn pad(&mut self, x: Value, padding: &Padding, mode: PaddingMode) -> Result<Value> {
        let one: Sizes = 1.into();
        // Around windows of one cell, nothing is needed to keep the size.
        let pads = window("Pad", self.shape(x), &one, &one, padding, None)?.padding;
        let name = self.name("pad");
        self.push(&name, Pad { mode: mode.pad_mode(), pads }, &[x])
    }
}

/// The window of an unfolding over an input of this shape.
fn patch(subject: &str, input: &[usize], spec: &PoolSpec) -> Result<Window> {
    window(subject, input, &spec.kernel_size, &spec.stride, &spec.padding, Some(&spec.dilation))
}
