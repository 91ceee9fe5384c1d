//! Sizes of transposed convolutions.
//!
//! Along one axis, with `i` input cells, kernel `k`, stride `s`, dilation `d`, padding `p0`, `p1` and output padding `q`, the input cells write
//! windows `s` apart, together `(i - 1) * s + d * (k - 1) + 1` cells; `q` more stand behind them, and padding crops both ends. What is left,
//! `(i - 1) * s + d * (k - 1) + 1 + q - p0 - p1`, is the output (ONNX `ConvTranspose`; Dumoulin and Visin, 2016, chapter 4).

use crate::geometry::{ConvGeometry, GeometryError, MAX_ELEMENTS, Window, check_channels, checked_product};

impl Window {
    /// The output size of the transposed convolution over an input of `input` cells, before padding crops it.
    fn uncropped(&self, input: [usize; 3], output_padding: [usize; 3]) -> [usize; 3] {
        let extent = self.extent();
        std::array::from_fn(|a| {
            let starts = input[a].saturating_sub(1).saturating_mul(self.stride[a]);
            starts.saturating_add(extent[a]).saturating_add(output_padding[a])
        })
    }

    /// Padding and output padding with which the transposed convolution of `input` cells has the size `output`: where that is less than the
    /// uncropped size, which counts `output_padding`, both ends are cropped, the odd cell after (ONNX `SAME_UPPER`) or before (any other
    /// `auto_pad`); where it is more, the output padding makes up for it.
    pub fn transposed_padding(
        &self,
        input: [usize; 3],
        output: [usize; 3],
        output_padding: [usize; 3],
        odd_cell_after: bool,
    ) -> ([(usize, usize); 3], [usize; 3]) {
        let uncropped = self.uncropped(input, output_padding);
        let padding = std::array::from_fn(|a| {
            let total = uncropped[a].saturating_sub(output[a]);
            let (small, large) = (total / 2, total - total / 2);
            if odd_cell_after { (small, large) } else { (large, small) }
        });
        let missing = |a: usize| output[a].saturating_sub(uncropped[a]);
        (padding, std::array::from_fn(|a| output_padding[a].saturating_add(missing(a))))
    }
}

impl ConvGeometry {
    /// The convolution whose input gradient is the transposed convolution with these arguments. It goes the other way: its `input` and
    /// `in_channels` are what the transposed convolution writes. `window.padding` is of both.
    ///
    /// # Errors
    /// A [`GeometryError`] that names the argument, among them output padding that is neither below the stride nor below the dilation.
    ///
    /// ```
    /// use svertka_kernels::geometry::{ConvGeometry, Window};
    /// // torch.nn.ConvTranspose2d(16, 33, (3, 5), stride=(2, 1), padding=(4, 2), output_padding=(1, 0)) on 20 x 16 x 50 x 100
    /// let window = Window { kernel: [1, 3, 5], stride: [1, 2, 1], padding: [(0, 0), (4, 4), (2, 2)], ..Window::default() };
    /// let geometry = ConvGeometry::transposed(20, 16, 33, 1, [1, 50, 100], window, [0, 1, 0]).unwrap();
    /// assert_eq!((geometry.in_channels, geometry.input), (33, [1, 94, 100]));
    /// ```
    pub fn transposed(
        batch: usize,
        in_channels: usize,
        out_channels: usize,
        groups: usize,
        input: [usize; 3],
        window: Window,
        output_padding: [usize; 3],
    ) -> Result<Self, GeometryError> {
        check_channels(groups, in_channels, out_channels)?;
        window.check()?;
        if input.contains(&0) {
            return Err(GeometryError::Zero { argument: "input", received: input.to_vec() });
        }
        let uncropped = window.uncropped(input, output_padding);
        let mut output = [0; 3];
        for axis in 0..3 {
            let (stride, dilation) = (window.stride[axis], window.dilation[axis]);
            if output_padding[axis] >= stride.max(dilation) {
                let received = output_padding[axis];
                return Err(GeometryError::OutputPadding { axis, stride, dilation, received });
            }
            if uncropped[axis] > MAX_ELEMENTS {
                return Err(GeometryError::TooLarge { argument: "output", received: uncropped[axis] });
            }
            let (before, after) = window.padding[axis];
            output[axis] = uncropped[axis].saturating_sub(before.saturating_add(after));
            if output[axis] == 0 {
                let (uncropped, received) = (uncropped[axis], window.padding[axis]);
                return Err(GeometryError::Cropped { axis, uncropped, received });
            }
        }
        for (argument, first, channels, spatial) in [
            ("input", batch, in_channels, input),
            ("output", batch, out_channels, output),
            ("weight", in_channels, out_channels / groups, window.kernel),
        ] {
            let channels = channels.saturating_add(7);
            checked_product(argument, &[first, channels, spatial[0], spatial[1], spatial[2]])?;
        }
        // Windows beyond the last input cell could fit into the output padding where that is above the stride: so the size is set, not worked out.
        Ok(Self {
            batch,
            in_channels: out_channels,
            out_channels: in_channels,
            groups,
            input: output,
            output: input,
            window,
        })
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

    fn output(input: usize, window: Window, output_padding: usize) -> Result<usize, String> {
        ConvGeometry::transposed(1, 1, 1, 1, [1, 1, input], window, [0, 0, output_padding])
            .map(|geometry| geometry.input[2])
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_convolution_leads_back() {
        for input in 1..7 {
            for (kernel, stride, dilation, padding, output_padding) in
                [(3, 1, 1, (1, 1), 0), (3, 2, 1, (1, 0), 1), (2, 3, 2, (0, 1), 2), (4, 2, 3, (2, 2), 1)]
            {
                let w = window(kernel, stride, dilation, padding);
                let Ok(output) = output(input, w, output_padding) else { continue };
                assert_eq!(w.output([1, 1, output]).unwrap()[2], input, "{w:?} over {output}");
            }
        }
    }

    #[test]
    fn errors_name_the_argument() {
        assert_eq!(
            output(3, window(3, 2, 1, (0, 0)), 2).unwrap_err(),
            "output_padding: expected less than the larger of stride 2 and dilation 1 along the width, received 2"
        );
        assert_eq!(
            output(1, window(3, 2, 1, (2, 1)), 0).unwrap_err(),
            "padding: expected less in all than the uncropped output 3 along the width, received (2, 1)"
        );
        assert_eq!(
            output(0, window(3, 2, 1, (2, 1)), 0).unwrap_err(),
            "input: expected at least 1 along every axis, received [1, 1, 0]"
        );
        let huge = output(usize::MAX, window(3, usize::MAX, 1, (0, 0)), 0).unwrap_err();
        assert!(huge.starts_with("output: expected a size below 2^40"), "{huge}");
        let huge = output(2, window(3, 2, 1, (usize::MAX, 1)), 0).unwrap_err();
        assert!(huge.starts_with("padding: expected less in all"), "{huge}");
    }

    #[test]
    fn padding_follows_from_the_output_size() {
        for (input, size, output_padding) in [(3, 6, 0), (3, 10, 1), (4, 7, 0), (4, 9, 1), (5, 15, 0)] {
            for after in [true, false] {
                let mut w = window(3, 2, 3, (0, 0));
                let (padding, output_padding) =
                    w.transposed_padding([1, 1, input], [1, 1, size], [0, 0, output_padding], after);
                w.padding = padding;
                assert_eq!(output(input, w, output_padding[2]), Ok(size), "{input} to {size}");
            }
        }
        let w = window(3, 2, 1, (0, 0));
        assert_eq!(w.transposed_padding([1, 1, 3], [1, 1, 6], [0; 3], true).0[2], (0, 1));
        assert_eq!(w.transposed_padding([1, 1, 3], [1, 1, 6], [0; 3], false).0[2], (1, 0));
    }
}
