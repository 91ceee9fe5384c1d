use svertka::ops::LocalResponseNorm;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(LocalResponseNorm::new(3), [&[5]], "LRN: input: expected N x C x spatial, received shape [5]"),
        case(LocalResponseNorm::new(0), [&[2, 3, 5]], "LRN: size: expected at least 1, received 0"),
    ]
}
