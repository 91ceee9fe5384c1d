//! Fully connected layers and products of matrices.

use svertka::ops::{Linear, MatMul};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(Linear, [&[3, 5, 2], &[4, 5]], "Gemm: input: expected N x features, received shape [3, 5, 2]"),
        case(Linear, [&[3, 5], &[4, 6]], "Gemm: weight: expected shape [4, 5], received shape [4, 6]"),
        case(Linear, [&[3, 5], &[4, 5], &[5]], "Gemm: bias: expected shape [4], received shape [5]"),
        case(
            MatMul,
            [&[2, 3, 5], &[4, 6]],
            "MatMul: second input: expected matrices that [2, 3, 5] can be multiplied by, received shape [4, 6]",
        ),
        case(
            MatMul,
            [&[5], &[5, 6]],
            "MatMul: second input: expected matrices that [5] can be multiplied by, received shape [5, 6]",
        ),
    ]
}
