use svertka::kernels::geometry::Window;
use svertka::ops::Conv;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let window = Window { kernel: [1, 3, 2], ..Window::default() };
    let conv = |groups| Conv { window, groups };
    let stride = Conv { window: Window { stride: [1, 0, 1], ..window }, groups: 1 };
    vec![
        case(
            conv(1),
            [&[2, 3], &[4, 3, 3, 2]],
            "Conv: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [2, 3]",
        ),
        case(
            conv(1),
            [&[2, 3, 5, 4], &[4, 2, 3, 2]],
            "Conv: weight: expected shape [4, 3, 3, 2], received shape [4, 2, 3, 2]",
        ),
        case(
            conv(1),
            [&[2, 3, 5, 4], &[4, 3, 3, 2], &[5]],
            "Conv: bias: expected shape [4], received shape [5]",
        ),
        case(
            conv(2),
            [&[2, 3, 5, 4], &[4, 1, 3, 2]],
            "Conv: in_channels: expected a multiple of groups = 2, received 3",
        ),
        case(
            conv(0),
            [&[2, 3, 5, 4], &[4, 3, 3, 2]],
            "Conv: groups: expected at least 1 along every axis, received [0]",
        ),
        case(
            stride,
            [&[2, 3, 5, 4], &[4, 3, 3, 2]],
            "Conv: stride: expected at least 1 along every axis, received [1, 0, 1]",
        ),
        case(
            conv(1),
            [&[2, 3, 2, 4], &[4, 3, 3, 2]],
            "Conv: kernel_size: expected at most the padded input 2 along the height, received a window of 3 (kernel_size 3, dilation 1)",
        ),
    ]
}
