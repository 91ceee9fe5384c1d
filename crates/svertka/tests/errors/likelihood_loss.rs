use svertka::ops::{LikelihoodLoss, LossReduction};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let op = LikelihoodLoss { reduction: LossReduction::Mean, ignore_index: None };
    let far = LikelihoodLoss { ignore_index: Some(-(1 << 25)), ..op };
    vec![
        case(
            op,
            [&[2], &[2]],
            "NegativeLogLikelihoodLoss: input: expected N x C x spatial, received shape [2]",
        ),
        case(
            op,
            [&[1, 1 << 25], &[1]],
            "NegativeLogLikelihoodLoss: classes: expected at most 16777216, received 33554432",
        ),
        case(
            op,
            [&[2, 3, 5], &[2, 3]],
            "NegativeLogLikelihoodLoss: labels: expected shape [2, 5], received shape [2, 3]",
        ),
        case(
            op,
            [&[2, 3, 5], &[2, 5], &[5]],
            "NegativeLogLikelihoodLoss: weight: expected shape [3], received shape [5]",
        ),
        case(
            far,
            [&[2, 3], &[2]],
            "NegativeLogLikelihoodLoss: ignore_index: expected a magnitude of at most 16777216, received -33554432",
        ),
    ]
}
