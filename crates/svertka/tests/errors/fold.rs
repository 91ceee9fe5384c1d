use svertka::kernels::geometry::Window;
use svertka::ops::{Fold, Unfold};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let window = Window { kernel: [1, 3, 2], ..Window::default() };
    let fold = |output_size: &[usize]| Fold { window, output_size: output_size.to_vec() };
    let still = Unfold { window: Window { stride: [1, 0, 1], ..window } };
    vec![
        case(
            Unfold { window },
            [&[3, 7]],
            "Unfold: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [3, 7]",
        ),
        case(
            Unfold { window },
            [&[1, 2, 2, 4]],
            "Unfold: kernel_size: expected at most the padded input 2 along the height, received a window of 3 (kernel_size 3, dilation 1)",
        ),
        case(
            still,
            [&[1, 2, 5, 4]],
            "Unfold: stride: expected at least 1 along every axis, received [1, 0, 1]",
        ),
        case(
            fold(&[5, 4]),
            [&[1, 6, 3, 3]],
            "Fold: input: expected N x C * taps x windows, received shape [1, 6, 3, 3]",
        ),
        case(
            fold(&[5, 4]),
            [&[1, 8, 9]],
            "Fold: input: expected a multiple of 6 taps along axis 1, received shape [1, 8, 9]",
        ),
        case(
            fold(&[5, 4]),
            [&[1, 12, 8]],
            "Fold: input: expected 9 windows along axis 2, received shape [1, 12, 8]",
        ),
        case(
            fold(&[2, 4]),
            [&[1, 12, 8]],
            "Fold: kernel_size: expected at most the padded input 2 along the height, received a window of 3 (kernel_size 3, dilation 1)",
        ),
        case(
            fold(&[7]),
            [&[1, 12, 6]],
            "Fold: output_size: expected 1 to 3 spatial axes, as many as the window has, received [7]",
        ),
        case(
            fold(&[]),
            [&[1, 12, 6]],
            "Fold: output_size: expected 1 to 3 spatial axes, as many as the window has, received []",
        ),
    ]
}
