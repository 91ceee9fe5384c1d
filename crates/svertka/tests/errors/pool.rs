use svertka::kernels::geometry::Window;
use svertka::ops::{AveragePool, MaxPool};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let window = Window { kernel: [1, 3, 2], ..Window::default() };
    vec![
        case(
            MaxPool { window, ceil_mode: false },
            [&[3, 7]],
            "MaxPool: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [3, 7]",
        ),
        case(
            AveragePool { window, ceil_mode: false, count_include_pad: false, divisor_override: None },
            [&[2, 3, 2, 4]],
            "AveragePool: kernel_size: expected at most the padded input 2 along the height, received a window of 3 (kernel_size 3, dilation 1)",
        ),
    ]
}
