use svertka::ops::FractionalMaxPool;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let op = FractionalMaxPool { kernel_size: [1, 2, 3], output_size: [1, 4, 5], stream: 0, training: false };
    vec![
        case(
            op,
            [&[1, 2]],
            "FractionalMaxPool: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [1, 2]",
        ),
        case(op, [&[1, 2, 6, 2]], "FractionalMaxPool: kernel_size: expected 1 to 2, received 3"),
        case(op, [&[1, 2, 6, 6]], "FractionalMaxPool: output_size: expected 1 to 4, received 5"),
        case(
            op,
            [&[1, 2, 6, 9], &[1, 2, 3]],
            "FractionalMaxPool: samples: expected shape [1, 2, 2], received shape [1, 2, 3]",
        ),
    ]
}
