use svertka::ops::KMaxPool;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            KMaxPool { k: 2, axis: 2 },
            [&[3, 7]],
            "KMaxPool: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [3, 7]",
        ),
        case(KMaxPool { k: 2, axis: 1 }, [&[1, 3, 7]], "KMaxPool: axis: expected 2 to 2, received 1"),
        case(KMaxPool { k: 8, axis: 3 }, [&[1, 3, 9, 7]], "KMaxPool: k: expected 1 to 7, received 8"),
        case(KMaxPool { k: 0, axis: 2 }, [&[1, 3, 7]], "KMaxPool: k: expected 1 to 7, received 0"),
    ]
}
