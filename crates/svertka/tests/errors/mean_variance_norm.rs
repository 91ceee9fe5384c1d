use svertka::ops::MeanVarianceNorm;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let op = |batch, first, end| MeanVarianceNorm { batch, first, end };
    vec![
        case(
            op(false, 2, 4),
            [&[2, 3, 5]],
            "MeanVarianceNormalization: axes: expected a run of axes 0..3, received 2..4",
        ),
        case(
            op(true, 0, 1),
            [&[2, 3, 5]],
            "MeanVarianceNormalization: axes: expected a run of axes 1..3, received 0..1",
        ),
        case(
            op(false, 2, 1),
            [&[2, 3, 5]],
            "MeanVarianceNormalization: axes: expected a run of axes 0..3, received 2..1",
        ),
    ]
}
