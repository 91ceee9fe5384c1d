use svertka::ops::Dropout;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let op = |p| Dropout { p, stream: 0, training: false, mask: false };
    vec![
        case(op(1.0), [&[2, 3]], "Dropout: p: expected a probability of at least 0 and below 1, received 1"),
        case(
            op(-0.5),
            [&[2, 3]],
            "Dropout: p: expected a probability of at least 0 and below 1, received -0.5",
        ),
    ]
}
