use svertka::ops::AffineGrid;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let grid = |size: &[usize]| AffineGrid { size: size.to_vec(), align_corners: false };
    vec![
        case(grid(&[4]), [&[2, 1, 2]], "AffineGrid: size: expected 2 or 3 spatial sizes, received [4]"),
        case(grid(&[4, 5]), [&[2, 3, 3]], "AffineGrid: theta: expected N x 2 x 3, received shape [2, 3, 3]"),
        case(grid(&[4, 5, 2]), [&[2, 3]], "AffineGrid: theta: expected N x 3 x 4, received shape [2, 3]"),
        case(
            grid(&[1 << 30, 1 << 30]),
            [&[1, 2, 3]],
            "AffineGrid: size: expected a size below 2^40 elements, received 2305843009213693952",
        ),
    ]
}
