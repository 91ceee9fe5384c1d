use svertka::ops::{GlobalPool, Reduction};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let flat = |reduction, message| case(GlobalPool(reduction), [&[3, 7]], message);
    vec![
        flat(
            Reduction::Average,
            "GlobalAveragePool: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [3, 7]",
        ),
        flat(
            Reduction::Sum,
            "GlobalSumPool: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [3, 7]",
        ),
        flat(
            Reduction::Max,
            "GlobalMaxPool: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [3, 7]",
        ),
        flat(
            Reduction::Min,
            "GlobalMinPool: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [3, 7]",
        ),
        case(
            GlobalPool(Reduction::Lp(-1.0)),
            [&[1, 2, 5]],
            "GlobalLpPool: p: expected a finite number of at least 1, received -1",
        ),
    ]
}
