use svertka::ops::PRelu;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            PRelu,
            [&[2, 3, 5], &[3]],
            "PRelu: slope: expected a shape that broadcasts to [2, 3, 5], received shape [3]",
        ),
        case(
            PRelu,
            [&[3], &[1, 3]],
            "PRelu: slope: expected a shape that broadcasts to [3], received shape [1, 3]",
        ),
    ]
}
