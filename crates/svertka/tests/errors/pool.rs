use svertka::kernels::geometry::Window;
use svertka::ops::{AveragePool, MaxPool, MinPool, SumPool};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let window = Window { kernel: [1, 3, 2], ..Window::default() };
    let average = AveragePool { window, ceil_mode: false, count_include_pad: false, divisor_override: None };
    let still = Window { stride: [1, 0, 1], ..window };
    let wide = Window { padding: [(0, 0), (usize::MAX, 1), (0, 0)], ..window };
    vec![
        case(
            MaxPool { window, ceil_mode: false },
            [&[3, 7]],
            "MaxPool: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [3, 7]",
        ),
        case(
            MinPool { window: still, ceil_mode: false },
            [&[2, 3, 4, 4]],
            "MinPool: stride: expected at least 1 along every axis, received [1, 0, 1]",
        ),
        case(
            SumPool { window: Window { dilation: [1, 1, 5], ..window }, ceil_mode: true },
            [&[2, 3, 4, 4]],
            "SumPool: kernel_size: expected at most the padded input 4 along the width, received a window of 6 (kernel_size 2, dilation 5)",
        ),
        case(
            SumPool { window: wide, ceil_mode: false },
            [&[2, 3, 4, 4]],
            "SumPool: padding: expected a size below 2^40 elements, received 18446744073709551615",
        ),
        case(
            average,
            [&[2, 3, 2, 4]],
            "AveragePool: kernel_size: expected at most the padded input 2 along the height, received a window of 3 (kernel_size 3, dilation 1)",
        ),
        case(
            AveragePool { divisor_override: Some(0), ..average },
            [&[2, 3, 4, 4]],
            "AveragePool: divisor_override: expected at least 1, received 0",
        ),
    ]
}
