use svertka::ops::CrossEntropy;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let op = CrossEntropy { label_smoothing: 0.1 };
    vec![
        case(
            op,
            [&[3, 7, 2], &[3, 7, 2]],
            "CrossEntropy: logits: expected N x classes, received shape [3, 7, 2]",
        ),
        case(op, [&[3, 7], &[3, 6]], "CrossEntropy: targets: expected shape [3, 7], received shape [3, 6]"),
    ]
}
