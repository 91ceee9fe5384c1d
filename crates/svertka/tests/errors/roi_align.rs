use svertka::kernels::roi_align::RoiMode;
use svertka::ops::RoiAlign;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let mode = RoiMode::Average;
    let op = RoiAlign { mode, output: [3, 2], sampling_ratio: 0, spatial_scale: 1.0, half_pixel: true };
    vec![
        case(
            op,
            [&[2, 3, 5], &[4, 4], &[4]],
            "RoiAlign: input: expected N x C x H x W, received shape [2, 3, 5]",
        ),
        case(
            op,
            [&[2, 3, 5, 0], &[4, 4], &[4]],
            "RoiAlign: input: expected height and width from 1 to 2^24, received shape [2, 3, 5, 0]",
        ),
        case(op, [&[2, 3, 5, 4], &[4, 5], &[4]], "RoiAlign: rois: expected R x 4, received shape [4, 5]"),
        case(
            op,
            [&[2, 3, 5, 4], &[4, 4], &[3]],
            "RoiAlign: batch_indices: expected shape [4], received shape [3]",
        ),
        case(
            RoiAlign { output: [3, 0], ..op },
            [&[2, 3, 5, 4], &[4, 4], &[4]],
            "RoiAlign: output: expected at least 1 along either axis, received [3, 0]",
        ),
    ]
}
