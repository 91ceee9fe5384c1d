//! Convolution as its definition reads: plain loops over `f64` in the plain layout, slow on purpose. Tests measure every kernel against it.

use crate::geometry::ConvGeometry;

/// Calls `visit(x, weight, y)` for each product of a convolution, with the three flat indices of the plain tensors, in the order
/// image, output channel, output cell, input channel, tap. Taps on padding are products with zero and are left out.
pub fn conv_products(geometry: &ConvGeometry, mut visit: impl FnMut(usize, usize, usize)) {
    let &ConvGeometry { batch, in_channels, out_channels, groups, input, output, window } = geometry;
    let (group_in, group_out) = (in_channels / groups, out_channels / groups);
    for image in 0..batch {
        for out_channel in 0..out_channels {
            for cell in cells(output) {
                let y = flat(image * out_channels + out_channel, output, cell);
                for channel in 0..group_in {
                    let in_channel = out_channel / group_out * group_in + channel;
                    for tap in cells(window.kernel) {
                        let at: [Option<usize>; 3] = std::array::from_fn(|a| {
                            let padded = cell[a] * window.stride[a] + tap[a] * window.dilation[a];
                            padded.checked_sub(window.padding[a].0).filter(|&i| i < input[a])
                        });
                        if let [Some(d), Some(h), Some(w)] = at {
                            let x = flat(image * in_channels + in_channel, input, [d, h, w]);
                            let weight = flat(out_channel * group_in + channel, window.kernel, tap);
                            visit(x, weight, y);
                        }
                    }
                }
            }
        }
    }
}

/// `y = x * weight + bias`: `x` is N x C x D x H x W, `weight` O x C/groups x D x H x W, `bias` O; returns N x O x D x H x W.
///
/// ```
/// use svertka_kernels::{geometry::{ConvGeometry, Window}, reference::conv_forward};
/// let window = Window { kernel: [1, 1, 3], ..Window::default() };
/// let geometry = ConvGeometry::new(1, 1, 1, 1, [1, 1, 5], window).unwrap();
/// assert_eq!(conv_forward(&geometry, &[0., 0., 1., 1., 1.], &[-1., 0., 1.], None), [1., 1., 0.]);
/// ```
pub fn conv_forward(geometry: &ConvGeometry, x: &[f64], weight: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let cells: usize = geometry.output.iter().product();
    let mut y: Vec<f64> = (0..geometry.batch * geometry.out_channels * cells)
        .map(|i| bias.map_or(0.0, |bias| bias[i / cells % geometry.out_channels]))
        .collect();
    conv_products(geometry, |i, w, o| y[o] += x[i] * weight[w]);
    y
}

/// The gradient for the input, shaped as the input.
pub fn conv_input_gradient(geometry: &ConvGeometry, dy: &[f64], weight: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; geometry.batch * geometry.in_channels * geometry.input.iter().product::<usize>()];
    conv_products(geometry, |i, w, o| dx[i] += dy[o] * weight[w]);
    dx
}

/// The gradients for the weight and for the bias, shaped as these.
pub fn conv_weight_gradient(geometry: &ConvGeometry, x: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut dw = vec![0.0; geometry.weight_len()];
    conv_products(geometry, |i, w, o| dw[w] += x[i] * dy[o]);
    let mut db = vec![0.0; geometry.out_channels];
    let cells: usize = geometry.output.iter().product();
    dy.iter().enumerate().for_each(|(i, dy)| db[i / cells % geometry.out_channels] += dy);
    (dw, db)
}

/// All positions of a box, row-major.
fn cells(size: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let [depth, height, width] = size;
    (0..depth).flat_map(move |d| (0..height).flat_map(move |h| (0..width).map(move |w| [d, h, w])))
}

fn flat(outer: usize, size: [usize; 3], at: [usize; 3]) -> usize {
    ((outer * size[0] + at[0]) * size[1] + at[1]) * size[2] + at[2]
}
