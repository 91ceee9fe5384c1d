use svertka::ops::BatchNorm;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let op = BatchNorm::default();
    let (own, other): (&[usize], &[usize]) = (&[3], &[2]);
    let x: &[usize] = &[2, 3, 5];
    vec![
        case(
            op,
            [own, own, own, own, own],
            "BatchNormalization: input: expected N x C x spatial, received shape [3]",
        ),
        case(
            op,
            [x, other, own, own, own],
            "BatchNormalization: scale: expected shape [3], received shape [2]",
        ),
        case(
            op,
            [x, own, other, own, own],
            "BatchNormalization: bias: expected shape [3], received shape [2]",
        ),
        case(
            op,
            [x, own, own, other, own],
            "BatchNormalization: mean: expected shape [3], received shape [2]",
        ),
        case(
            BatchNorm { training: true, ..op },
            [x, own, own, own, other],
            "BatchNormalization: var: expected shape [3], received shape [2]",
        ),
    ]
}
