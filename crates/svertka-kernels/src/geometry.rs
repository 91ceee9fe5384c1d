//! Sizes, padding, stride and dilation: the only place where this arithmetic stands.
//!
//! Spatial axes are always three, `[depth, height, width]`; one- and two-dimensional layers have leading ones. Along one axis, with
//! `i` input cells, kernel `k`, stride `s`, dilation `d` and padding `p0`, `p1` at the two ends, a window starts at
//! `o * s - p0`, reads `k` cells `d` apart, and there are `floor((i + p0 + p1 - (d * (k - 1) + 1)) / s) + 1` of them
//! (Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016).

/// Names of the spatial axes; of fewer than three, the last ones.
pub const AXES: [&str; 3] = ["depth", "height", "width"];

/// Why a geometry has no meaning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// An argument that must be at least one is zero.
    #[error("{argument}: expected at least 1 along every axis, received {received:?}")]
    Zero {
        /// The argument's name.
        argument: &'static str,
        /// What was given, `[depth, height, width]` or one number.
        received: Vec<usize>,
    },
    /// Channels do not divide into groups.
    #[error("{argument}: expected a multiple of groups = {groups}, received {received}")]
    Groups {
        /// `in_channels` or `out_channels`.
        argument: &'static str,
        /// Number of groups.
        groups: usize,
        /// What was given.
        received: usize,
    },
    /// The window is larger than the padded input.
    #[error(
        "kernel_size: expected at most the padded input {padded} along the {}, received a window of {window} \
         (kernel_size {kernel}, dilation {dilation})", AXES[*axis]
    )]
    WindowTooLarge {
        /// 0 depth, 1 height, 2 width.
        axis: usize,
        /// Input and both paddings.
        padded: usize,
        /// `dilation * (kernel - 1) + 1`.
        window: usize,
        /// Kernel size.
        kernel: usize,
        /// Dilation.
        dilation: usize,
    },
    /// A number that must lie between two others does not.
    #[error("{argument}: expected {least} to {most}, received {received}")]
    Range {
        /// The argument's name.
        argument: &'static str,
        /// The smallest that is allowed.
        least: usize,
        /// The largest that is allowed.
        most: usize,
        /// What was given.
        received: usize,
    },
    /// The padding of a transposed convolution crops all of its output.
    #[error(
        "padding: expected less in all than the uncropped output {uncropped} along the {}, received {received:?}",
        AXES[*axis]
    )]
    Cropped {
        /// 0 depth, 1 height, 2 width.
        axis: usize,
        /// Output size without padding.
        uncropped: usize,
        /// Padding before and after.
        received: (usize, usize),
    },
    /// Output padding that a larger input of the transposed convolution would reach.
    #[error(
        "output_padding: expected less than the larger of stride {stride} and dilation {dilation} along the {}, \
         received {received}", AXES[*axis]
    )]
    OutputPadding {
        /// 0 depth, 1 height, 2 width.
        axis: usize,
        /// Stride.
        stride: usize,
        /// Dilation.
        dilation: usize,
        /// What was given.
        received: usize,
    },
    /// A size does not fit the address space.
    #[error("{argument}: expected a size below 2^40 elements, received {received}")]
    TooLarge {
        /// What is too large.
        argument: &'static str,
        /// The size, saturated.
        received: usize,
    },
}

/// More elements than any tensor may have: 4 TiB of `f32`. Sizes below it never overflow `usize` arithmetic.
pub const MAX_ELEMENTS: usize = 1 << 40;

/// The product of `sizes`, or an error where it passes [`MAX_ELEMENTS`].
pub fn checked_product(argument: &'static str, sizes: &[usize]) -> Result<usize, GeometryError> {
    let product = sizes.iter().fold(1usize, |a, &b| a.saturating_mul(b));
    if product > MAX_ELEMENTS {
        Err(GeometryError::TooLarge { argument, received: product })
    } else {
        Ok(product)
    }
}

/// How a window moves over the spatial axes, without its input: kernel size, stride, dilation and padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Kernel size, `[depth, height, width]`.
    pub kernel: [usize; 3],
    /// Step between windows.
    pub stride: [usize; 3],
    /// Distance between the cells a window reads.
    pub dilation: [usize; 3],
    /// Padding before the first cell and after the last.
    pub padding: [(usize, usize); 3],
}

impl Default for Window {
    fn default() -> Self {
        Self { kernel: [1; 3], stride: [1; 3], dilation: [1; 3], padding: [(0, 0); 3] }
    }
}

impl Window {
    /// From the first to the last cell that a window covers: `dilation * (kernel - 1) + 1`.
    pub fn extent(&self) -> [usize; 3] {
        std::array::from_fn(|a| {
            self.dilation[a].saturating_mul(self.kernel[a].saturating_sub(1)).saturating_add(1)
        })
    }

    /// Whether sizes, stride and dilation are at least one.
    pub(crate) fn check(&self) -> Result<(), GeometryError> {
        for (argument, sizes) in
            [("kernel_size", self.kernel), ("stride", self.stride), ("dilation", self.dilation)]
        {
            if sizes.contains(&0) {
                return Err(GeometryError::Zero { argument, received: sizes.to_vec() });
            }
        }
        Ok(())
    }

    /// The output size over an input of `input` cells.
    ///
    /// # Errors
    /// Where a size, stride or dilation is zero, or the window does not fit into the padded input.
    pub fn output(&self, input: [usize; 3]) -> Result<[usize; 3], GeometryError> {
        self.output_rounded(input, false)
    }

    /// As [`Window::output`]; with `ceil_mode` a last window may hang over the far end, as long as it starts inside the input
    /// or the padding before it (the rule of PyTorch and ONNX).
    ///
    /// # Errors
    /// As [`Window::output`].
    pub fn output_rounded(&self, input: [usize; 3], ceil_mode: bool) -> Result<[usize; 3], GeometryError> {
        self.check()?;
        let extent = self.extent();
        let mut output = [0; 3];
        for axis in 0..3 {
            let (before, after) = self.padding[axis];
            let padded = input[axis].saturating_add(before).saturating_add(after);
            if padded > MAX_ELEMENTS {
                return Err(GeometryError::TooLarge { argument: "padding", received: padded });
            }
            if extent[axis] > padded {
                let (kernel, dilation) = (self.kernel[axis], self.dilation[axis]);
                return Err(GeometryError::WindowTooLarge {
                    axis,
                    padded,
                    window: extent[axis],
                    kernel,
                    dilation,
                });
            }
            let (room, stride) = (padded - extent[axis], self.stride[axis]);
            output[axis] = room / stride + 1;
            if ceil_mode && room % stride != 0 && output[axis] * stride < input[axis] + before {
                output[axis] += 1;
            }
        }
        Ok(output)
    }

    /// The padding that lets every window that touches the input count.
    pub fn full_padding(&self) -> [(usize, usize); 3] {
        self.extent().map(|extent| (extent - 1, extent - 1))
    }

    /// The padding that gives `ceil(input / stride)` outputs; the odd cell goes after (ONNX `SAME_UPPER`) or before (`SAME_LOWER`).
    pub fn same_padding(&self, input: [usize; 3], odd_cell_after: bool) -> [(usize, usize); 3] {
        let extent = self.extent();
        std::array::from_fn(|a| {
            let stride = self.stride[a].max(1);
            let last_start = input[a].div_ceil(stride).saturating_sub(1).saturating_mul(stride);
            let total = last_start.saturating_add(extent[a]).saturating_sub(input[a]);
            let (small, large) = (total / 2, total - total / 2);
            if odd_cell_after { (small, large) } else { (large, small) }
        })
    }
}

/// Everything about the shape of one convolution. `input` and `output` are spatial, `[depth, height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Pictures in the batch.
    pub batch: usize,
    /// Channels read.
    pub in_channels: usize,
    /// Channels written.
    pub out_channels: usize,
    /// Groups: output channel `o` reads the `in_channels / groups` input channels of group `o / (out_channels / groups)`.
    pub groups: usize,
    /// Spatial input size.
    pub input: [usize; 3],
    /// Spatial output size.
    pub output: [usize; 3],
    /// The moving window.
    pub window: Window,
}

impl ConvGeometry {
    /// Checks the arguments and works out the output size.
    ///
    /// # Errors
    /// A [`GeometryError`] that names the argument.
    ///
    /// ```
    /// use svertka_kernels::geometry::{ConvGeometry, Window};
    /// // torch.nn.Conv2d(16, 33, (3, 5), stride=(2, 1), padding=(4, 2), dilation=(3, 1)) on 20 x 16 x 50 x 100
    /// let window = Window { kernel: [1, 3, 5], stride: [1, 2, 1], dilation: [1, 3, 1], padding: [(0, 0), (4, 4), (2, 2)] };
    /// let geometry = ConvGeometry::new(20, 16, 33, 1, [1, 50, 100], window).unwrap();
    /// assert_eq!(geometry.output, [1, 26, 100]);
    /// ```
    pub fn new(
        batch: usize,
        in_channels: usize,
        out_channels: usize,
        groups: usize,
        input: [usize; 3],
        window: Window,
    ) -> Result<Self, GeometryError> {
        check_channels(groups, in_channels, out_channels)?;
        let output = window.output(input)?;
        let geometry = Self { batch, in_channels, out_channels, groups, input, output, window };
        for (argument, channels, spatial) in [
            ("input", in_channels, input),
            ("output", out_channels, output),
            ("weight", out_channels, window.kernel),
        ] {
            let first = if argument == "weight" { in_channels / groups } else { batch };
            checked_product(
                argument,
                &[first, channels.saturating_add(7), spatial[0], spatial[1], spatial[2]],
            )?;
        }
        Ok(geometry)
    }

    /// Length of the plain weight, `out_channels x in_channels / groups x kernel`.
    pub fn weight_len(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.window.kernel.iter().product::<usize>()
    }

    /// Multiply-accumulates of one forward pass over the whole batch, counting those on padding.
    pub fn macs(&self) -> u64 {
        ((self.batch * self.output.iter().product::<usize>()) as u64).saturating_mul(self.weight_len() as u64)
    }
}

/// Whether channels divide into groups.
pub(crate) fn check_channels(
    groups: usize,
    in_channels: usize,
    out_channels: usize,
) -> Result<(), GeometryError> {
    if groups == 0 {
        return Err(GeometryError::Zero { argument: "groups", received: vec![groups] });
    }
    for (argument, received) in [("in_channels", in_channels), ("out_channels", out_channels)] {
        if received == 0 {
            return Err(GeometryError::Zero { argument, received: vec![received] });
        }
        if received % groups != 0 {
            return Err(GeometryError::Groups { argument, groups, received });
        }
    }
    Ok(())
}

/// Everything about the shape of one pooling. Channels stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolGeometry {
    /// Pictures in the batch.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Spatial input size.
    pub input: [usize; 3],
    /// Spatial output size.
    pub output: [usize; 3],
    /// The moving window.
    pub window: Window,
    /// The windows are the bins of [`PoolGeometry::adaptive`] instead.
    pub adaptive: bool,
}

impl PoolGeometry {
    /// Checks the arguments and works out the output size.
    ///
    /// # Errors
    /// A [`GeometryError`] that names the argument.
    pub fn new(
        batch: usize,
        channels: usize,
        input: [usize; 3],
        window: Window,
        ceil_mode: bool,
    ) -> Result<Self, GeometryError> {
        let output = window.output_rounded(input, ceil_mode)?;
        checked_product("output", &[batch, channels.saturating_add(7), output[0], output[1], output[2]])?;
        Ok(Self { batch, channels, input, output, window, adaptive: false })
    }

    /// Adaptive pooling: `output` bins an axis, of which bin `o` has the cells `floor(o * input / output)..ceil((o + 1) * input / output)`
    /// (PyTorch's `AdaptiveMaxPool2d`). Neighbours may share a cell.
    ///
    /// # Errors
    /// A [`GeometryError`] that names the argument.
    pub fn adaptive(
        batch: usize,
        channels: usize,
        input: [usize; 3],
        output: [usize; 3],
    ) -> Result<Self, GeometryError> {
        if output.contains(&0) {
            return Err(GeometryError::Zero { argument: "output_size", received: output.to_vec() });
        }
        // Bins are worked out from products of the two sizes.
        for axis in 0..3 {
            checked_product("output_size", &[input[axis].max(1), output[axis]])?;
        }
        for (argument, size) in [("input", input), ("output", output)] {
            checked_product(argument, &[batch, channels.saturating_add(7), size[0], size[1], size[2]])?;
        }
        let kernel = std::array::from_fn(|axis| input[axis].div_ceil(output[axis]).max(1));
        let window = Window { kernel, stride: kernel, ..Window::default() };
        Ok(Self { batch, channels, input, output, window, adaptive: true })
    }

    /// The cells that window `o` reads along `axis`: indices of the kernel that fall into the input, and the first input cell.
    /// Returns `(taps, first_cell)`, where tap `t` of `taps` reads cell `first_cell + (t - taps.start) * dilation`.
    pub fn taps(&self, axis: usize, o: usize) -> (std::ops::Range<usize>, usize) {
        if self.adaptive {
            let (input, output) = (self.input[axis], self.output[axis]);
            let first = o * input / output;
            return (0..((o + 1) * input).div_ceil(output) - first, first);
        }
        let (kernel, dilation) = (self.window.kernel[axis], self.window.dilation[axis]);
        let (start, before) = (o * self.window.stride[axis], self.window.padding[axis].0);
        let first = before.saturating_sub(start).div_ceil(dilation).min(kernel);
        let end = (self.input[axis] + before).saturating_sub(start).div_ceil(dilation).min(kernel);
        (first..end.max(first), (start + first * dilation).saturating_sub(before))
    }

    /// The windows whose tap `tap` falls into the input along `axis`, and the cell that it reads in the first of them. Returns
    /// `(windows, first_cell)`; window `o` of `windows` reads cell `first_cell + (o - windows.start) * stride`.
    pub fn windows_at(&self, axis: usize, tap: usize) -> (std::ops::Range<usize>, usize) {
        let (stride, before) = (self.window.stride[axis], self.window.padding[axis].0);
        let offset = tap * self.window.dilation[axis];
        let first = before.saturating_sub(offset).div_ceil(stride).min(self.output[axis]);
        let end = (self.input[axis] + before).saturating_sub(offset).div_ceil(stride).min(self.output[axis]);
        (first..end.max(first), (first * stride + offset).saturating_sub(before))
    }

    /// Taps of one window.
    pub fn taps_of_window(&self) -> usize {
        self.window.kernel.iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: usize, stride: usize, dilation: usize, padding: (usize, usize)) -> Window {
        Window {
            kernel: [1, 1, kernel],
            stride: [1, 1, stride],
            dilation: [1, 1, dilation],
            padding: [(0, 0), (0, 0), padding],
        }
    }

    #[test]
    fn output_counts_the_window_positions() {
        // Positions counted one by one, not by the formula.
        for input in 1..9usize {
            for (kernel, stride, dilation, padding) in [
                (1, 1, 1, (0, 0)),
                (3, 1, 1, (1, 1)),
                (3, 2, 1, (0, 1)),
                (2, 3, 2, (2, 0)),
                (3, 4, 3, (3, 2)),
            ] {
                let padded = input + padding.0 + padding.1;
                let count =
                    (0..padded).step_by(stride).filter(|s| s + dilation * (kernel - 1) < padded).count();
                let output = window(kernel, stride, dilation, padding).output([1, 1, input]);
                assert_eq!(
                    output.map_or(0, |o| o[2]),
                    count,
                    "{input} {kernel} {stride} {dilation} {padding:?}"
                );
            }
        }
    }

    #[test]
    fn same_padding_keeps_the_size_divided_by_the_stride() {
        for (input, kernel, stride, dilation) in
            [(7, 3, 1, 1), (8, 3, 2, 1), (9, 4, 2, 1), (5, 2, 3, 2), (28, 5, 1, 1)]
        {
            for after in [true, false] {
                let mut w = window(kernel, stride, dilation, (0, 0));
                w.padding = w.same_padding([1, 1, input], after);
                assert_eq!(w.output([1, 1, input]).unwrap()[2], input.div_ceil(stride));
            }
        }
        assert_eq!(window(4, 1, 1, (0, 0)).same_padding([1, 1, 9], true)[2], (1, 2));
        assert_eq!(window(4, 1, 1, (0, 0)).same_padding([1, 1, 9], false)[2], (2, 1));
    }

    #[test]
    fn taps_are_the_cells_inside_the_input() {
        for (input, w) in
            [(7, window(3, 2, 2, (3, 2))), (5, window(4, 1, 1, (2, 1))), (6, window(2, 3, 4, (1, 4)))]
        {
            let geometry = PoolGeometry::new(1, 1, [1, 1, input], w, true).unwrap();
            for o in 0..geometry.output[2] {
                let (taps, first) = geometry.taps(2, o);
                let got: Vec<_> =
                    taps.clone().map(|t| (t, first + (t - taps.start) * w.dilation[2])).collect();
                let cell = |t: usize| (o * w.stride[2] + t * w.dilation[2]).checked_sub(w.padding[2].0);
                let expected: Vec<_> =
                    (0..w.kernel[2]).filter_map(|t| Some((t, cell(t)?))).filter(|c| c.1 < input).collect();
                assert_eq!(got, expected, "window {o} of {w:?} over {input}");
            }
        }
    }

    #[test]
    fn windows_at_a_tap_are_those_that_read_a_cell_with_it() {
        for (input, w) in
            [(7, window(3, 2, 2, (3, 2))), (5, window(4, 1, 1, (2, 1))), (6, window(2, 3, 4, (1, 4)))]
        {
            let geometry = PoolGeometry::new(1, 1, [1, 1, input], w, false).unwrap();
            for tap in 0..w.kernel[2] {
                let (windows, first) = geometry.windows_at(2, tap);
                let got: Vec<_> =
                    windows.clone().map(|o| (o, first + (o - windows.start) * w.stride[2])).collect();
                let read = |o: usize| geometry.taps(2, o);
                let expected: Vec<_> = (0..geometry.output[2])
                    .filter(|&o| read(o).0.contains(&tap))
                    .map(|o| (o, read(o).1 + (tap - read(o).0.start) * w.dilation[2]))
                    .collect();
                assert_eq!(got, expected, "tap {tap} of {w:?} over {input}");
            }
        }
    }

    #[test]
    fn errors_name_the_argument() {
        let new = |in_c, out_c, groups, w| {
            ConvGeometry::new(1, in_c, out_c, groups, [1, 1, 4], w).unwrap_err().to_string()
        };
        let w = window(3, 1, 2, (0, 0));
        assert_eq!(new(6, 8, 4, w), "in_channels: expected a multiple of groups = 4, received 6");
        assert_eq!(new(6, 8, 0, w), "groups: expected at least 1 along every axis, received [0]");
        assert_eq!(
            new(6, 8, 2, w),
            "kernel_size: expected at most the padded input 4 along the width, received a window of 5 \
             (kernel_size 3, dilation 2)"
        );
        assert!(new(6, 8, 2, window(3, 0, 1, (0, 0))).starts_with("stride: expected at least 1"));
        assert!(new(6, 8, 2, window(1, 1, 1, (usize::MAX, 1))).starts_with("padding: expected a size below"));
    }
}
