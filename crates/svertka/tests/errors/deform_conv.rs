use svertka::kernels::geometry::Window;
use svertka::ops::DeformConv;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let window = Window { kernel: [1, 3, 2], ..Window::default() };
    let op = |groups, offset_groups, bias, mask| DeformConv { window, groups, offset_groups, bias, mask };
    let (x, weight): (&[usize], &[usize]) = (&[2, 4, 5, 4], &[6, 4, 3, 2]);
    let (offset, mask): (&[usize], &[usize]) = (&[2, 12, 3, 3], &[2, 6, 3, 3]);
    vec![
        case(
            op(1, 1, false, false),
            [&[2, 4, 5], weight, offset],
            "DeformConv: input: expected N x C x H x W, received shape [2, 4, 5]",
        ),
        case(
            op(1, 1, false, false),
            [x, &[6, 2, 3, 2], offset],
            "DeformConv: weight: expected shape [6, 4, 3, 2], received shape [6, 2, 3, 2]",
        ),
        case(
            op(3, 1, false, false),
            [x, weight, offset],
            "DeformConv: in_channels: expected a multiple of groups = 3, received 4",
        ),
        case(
            op(1, 3, false, false),
            [x, weight, offset],
            "DeformConv: offset_groups: expected a divisor of in_channels = 4, received 3",
        ),
        case(
            op(1, 0, false, false),
            [x, weight, offset],
            "DeformConv: offset_groups: expected a divisor of in_channels = 4, received 0",
        ),
        case(
            op(1, 1, false, false),
            [&[1, 4, 1 << 17, 1 << 15], weight, offset],
            "DeformConv: input: expected at most 2147483648 pixels, received 131072 x 32768",
        ),
        case(
            op(1, 2, false, false),
            [x, weight, offset],
            "DeformConv: offset: expected shape [2, 24, 3, 3], received shape [2, 12, 3, 3]",
        ),
        case(
            op(1, 1, true, false),
            [x, weight, offset, &[5]],
            "DeformConv: bias: expected shape [6], received shape [5]",
        ),
        case(
            op(1, 1, true, true),
            [x, weight, offset, &[6], offset],
            "DeformConv: mask: expected shape [2, 6, 3, 3], received shape [2, 12, 3, 3]",
        ),
        case(op(1, 1, false, true), [x, weight, offset], "DeformConv: inputs: expected 4, received 3"),
        case(op(1, 1, false, false), [x, weight, offset, mask], "DeformConv: inputs: expected 3, received 4"),
        case(
            op(1, 1, false, false),
            [&[2, 4, 2, 4], weight, offset],
            "DeformConv: kernel_size: expected at most the padded input 2 along the height, received a window of 3 (kernel_size 3, dilation 1)",
        ),
    ]
}
