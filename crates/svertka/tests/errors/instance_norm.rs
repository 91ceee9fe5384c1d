use svertka::ops::InstanceNorm;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let op = InstanceNorm { eps: 1e-5 };
    vec![
        case(op, [&[2, 3]], "InstanceNormalization: input: expected N x C x spatial, received shape [2, 3]"),
        case(
            op,
            [&[2, 3, 5], &[2], &[3]],
            "InstanceNormalization: scale: expected shape [3], received shape [2]",
        ),
        case(
            op,
            [&[2, 3, 5], &[3], &[3, 1]],
            "InstanceNormalization: bias: expected shape [3], received shape [3, 1]",
        ),
    ]
}
