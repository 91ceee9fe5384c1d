use svertka::kernels::geometry::Window;
use svertka::ops::StochasticPool;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let window = Window { kernel: [1, 3, 2], ..Window::default() };
    vec![case(
        StochasticPool { window, ceil_mode: false, stream: 0, training: true },
        [&[2, 3, 2, 4]],
        "StochasticPool: kernel_size: expected at most the padded input 2 along the height, received a window of 3 (kernel_size 3, dilation 1)",
    )]
}
