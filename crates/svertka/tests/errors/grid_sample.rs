use svertka::kernels::grid_sample::{SampleMode, SamplePadding};
use svertka::ops::GridSample;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let op = GridSample { mode: SampleMode::Linear, padding: SamplePadding::Zeros, align_corners: false };
    vec![
        case(
            op,
            [&[2, 3], &[2, 3]],
            "GridSample: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [2, 3]",
        ),
        case(
            op,
            [&[2, 3, 0, 4], &[2, 5, 5, 2]],
            "GridSample: input: expected 1 to 16777216 cells along each spatial axis, received shape [2, 3, 0, 4]",
        ),
        case(
            op,
            [&[2, 3, 5, 4], &[2, 5, 5, 3]],
            "GridSample: grid: expected 2 x H x W x 2, received shape [2, 5, 5, 3]",
        ),
        case(
            op,
            [&[2, 3, 5, 4, 3], &[1, 5, 5, 5, 3]],
            "GridSample: grid: expected 2 x D x H x W x 3, received shape [1, 5, 5, 5, 3]",
        ),
    ]
}
