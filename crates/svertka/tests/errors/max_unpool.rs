use svertka::ops::MaxUnpool;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let op = MaxUnpool { indexed: [1, 5, 6], output_size: [1, 5, 6] };
    vec![
        case(
            op,
            [&[3, 7], &[3, 7]],
            "MaxUnpool: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [3, 7]",
        ),
        case(
            op,
            [&[1, 2, 3, 3], &[1, 2, 3, 4]],
            "MaxUnpool: indices: expected shape [1, 2, 3, 3], received shape [1, 2, 3, 4]",
        ),
        case(
            op,
            [&[1, 2, 3], &[1, 2, 3]],
            "MaxUnpool: indexed: expected 1 spatial axes behind ones, received [1, 5, 6]",
        ),
        case(
            MaxUnpool { output_size: [2, 5, 6], ..op },
            [&[1, 2, 3, 3], &[1, 2, 3, 3]],
            "MaxUnpool: output_size: expected 2 spatial axes behind ones, received [2, 5, 6]",
        ),
        case(
            MaxUnpool { indexed: [1, 4096, 4096], ..op },
            [&[1, 2, 3, 3], &[1, 2, 3, 3]],
            "MaxUnpool: elements that the indices count: expected 0 to 16777216, received 33554432",
        ),
        case(
            MaxUnpool { output_size: [1, 1 << 20, 1 << 20], ..op },
            [&[1, 2, 3, 3], &[1, 2, 3, 3]],
            "MaxUnpool: output_size: expected a size below 2^40 elements, received 2199023255552",
        ),
    ]
}
