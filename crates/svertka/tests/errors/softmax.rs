use svertka::ops::{LogSoftmax, Softmax};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(Softmax::new(2), [&[2, 3]], "Softmax: axis: expected an axis of shape [2, 3], received 2"),
        case(LogSoftmax::new(1), [&[2]], "LogSoftmax: axis: expected an axis of shape [2], received 1"),
    ]
}
