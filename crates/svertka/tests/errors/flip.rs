use svertka::ops::Flip;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            Flip,
            [&[5, 3]],
            "Flip: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [5, 3]",
        ),
        case(Flip, [&[5, 3, 2], &[5, 3, 2]], "Flip: inputs: expected 1, received 2"),
    ]
}
