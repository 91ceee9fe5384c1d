use svertka::kernels::geometry::Window;
use svertka::ops::LpPool;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let window = Window { kernel: [1, 3, 2], ..Window::default() };
    let op = |p| LpPool { window, ceil_mode: false, p };
    vec![
        case(op(0.5), [&[1, 2, 5, 5]], "LpPool: p: expected a finite number of at least 1, received 0.5"),
        case(
            op(f32::NAN),
            [&[1, 2, 5, 5]],
            "LpPool: p: expected a finite number of at least 1, received NaN",
        ),
        case(
            op(2.0),
            [&[1, 2, 5, 1]],
            "LpPool: kernel_size: expected at most the padded input 1 along the width, received a window of 2 (kernel_size 2, dilation 1)",
        ),
    ]
}
