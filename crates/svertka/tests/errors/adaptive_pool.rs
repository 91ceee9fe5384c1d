use svertka::ops::{AdaptiveAveragePool, AdaptiveMaxPool};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            AdaptiveMaxPool { output_size: [1, 2, 0] },
            [&[1, 2, 5, 5]],
            "AdaptiveMaxPool: output_size: expected at least 1 along every axis, received [1, 2, 0]",
        ),
        case(
            AdaptiveMaxPool { output_size: [1, 2, 3] },
            [&[1, 2, 5]],
            "AdaptiveMaxPool: output_size: expected 1 along the 2 axes that the input lacks, received [1, 2, 3]",
        ),
        case(
            AdaptiveAveragePool { output_size: [1, 2, 3] },
            [&[1, 2]],
            "AdaptiveAveragePool: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [1, 2]",
        ),
        case(
            AdaptiveAveragePool { output_size: [1, 1 << 20, 1 << 20] },
            [&[1, 2, 5, 5]],
            "AdaptiveAveragePool: output: expected a size below 2^40 elements, received 9895604649984",
        ),
    ]
}
