use svertka::kernels::depth_to_space::BlockOrder;
use svertka::ops::{DepthToSpace, SpaceToDepth};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let order = BlockOrder::DepthLast;
    let wide = |block_size| DepthToSpace { block_size, order };
    let deep = |block_size| SpaceToDepth { block_size, order };
    vec![
        case(wide(2), [&[2, 8, 5]], "DepthToSpace: input: expected N x C x H x W, received shape [2, 8, 5]"),
        case(
            wide(2),
            [&[2, 6, 5, 4]],
            "DepthToSpace: input: expected a multiple of block_size^2 = 4 channels, received shape [2, 6, 5, 4]",
        ),
        case(wide(0), [&[2, 8, 5, 4]], "DepthToSpace: block_size: expected at least 1, received 0"),
        case(
            deep(2),
            [&[1, 3, 4, 6, 8]],
            "SpaceToDepth: input: expected N x C x H x W, received shape [1, 3, 4, 6, 8]",
        ),
        case(
            deep(2),
            [&[1, 3, 4, 5]],
            "SpaceToDepth: input: expected height and width that are multiples of block_size = 2, received shape [1, 3, 4, 5]",
        ),
        case(deep(0), [&[1, 3, 4, 5]], "SpaceToDepth: block_size: expected at least 1, received 0"),
        case(
            deep(1 << 30),
            [&[1, 3, 4, 5]],
            "SpaceToDepth: block_size: expected a size below 2^40 elements, received 1152921504606846976",
        ),
    ]
}
