use svertka::kernels::geometry::Window;
use svertka::kernels::pool::IndexOrder;
use svertka::ops::MaxPoolWithIndices;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let window = Window { kernel: [1, 3, 2], ..Window::default() };
    let op = MaxPoolWithIndices { window, ceil_mode: false, storage_order: IndexOrder::RowMajor };
    vec![
        case(
            op,
            [&[2, 3, 2, 4]],
            "MaxPoolWithIndices: kernel_size: expected at most the padded input 2 along the height, received a window of 3 (kernel_size 3, dilation 1)",
        ),
        case(
            op,
            [&[2, 3, 4096, 4096]],
            "MaxPoolWithIndices: elements that the indices count: expected 0 to 16777216, received 100663296",
        ),
    ]
}
