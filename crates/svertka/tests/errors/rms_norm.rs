use svertka::ops::RmsNorm;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let op = |axis| RmsNorm { axis, eps: 1e-5 };
    vec![
        case(op(2), [&[2, 3]], "RMSNormalization: axis: expected an axis of shape [2, 3], received 2"),
        case(op(1), [&[2, 3], &[2]], "RMSNormalization: scale: expected shape [3], received shape [2]"),
    ]
}
