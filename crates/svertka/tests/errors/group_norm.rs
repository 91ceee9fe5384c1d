use svertka::ops::GroupNorm;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let op = |groups| GroupNorm { groups, eps: 1e-5 };
    vec![
        case(op(2), [&[6]], "GroupNormalization: input: expected N x C x spatial, received shape [6]"),
        case(
            op(4),
            [&[2, 6, 5]],
            "GroupNormalization: groups: expected a divisor of the 6 channels, received 4",
        ),
        case(
            op(0),
            [&[2, 6, 5]],
            "GroupNormalization: groups: expected a divisor of the 6 channels, received 0",
        ),
        case(
            op(2),
            [&[2, 6, 5], &[3], &[6]],
            "GroupNormalization: scale: expected shape [6], received shape [3]",
        ),
        case(
            op(2),
            [&[2, 6, 5], &[2], &[6]],
            "GroupNormalization: bias: expected shape [2], received shape [6]",
        ),
    ]
}
