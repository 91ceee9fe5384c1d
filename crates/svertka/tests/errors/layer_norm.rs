use svertka::ops::{ChannelLayerNorm, LayerNorm};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let op = |axis| LayerNorm { axis, eps: 1e-5, statistics: false };
    let channels = ChannelLayerNorm { eps: 1e-6 };
    vec![
        case(
            op(3),
            [&[2, 3, 5]],
            "LayerNormalization: axis: expected an axis of shape [2, 3, 5], received 3",
        ),
        case(
            op(1),
            [&[2, 3, 5], &[5]],
            "LayerNormalization: scale: expected shape [3, 5], received shape [5]",
        ),
        case(
            op(2),
            [&[2, 3, 5], &[5], &[1]],
            "LayerNormalization: bias: expected shape [5], received shape [1]",
        ),
        case(
            channels,
            [&[3]],
            "ChannelLayerNormalization: input: expected N x C x spatial, received shape [3]",
        ),
        case(
            channels,
            [&[2, 3, 5], &[5]],
            "ChannelLayerNormalization: scale: expected shape [3], received shape [5]",
        ),
        case(
            channels,
            [&[2, 3, 5], &[3], &[5]],
            "ChannelLayerNormalization: bias: expected shape [3], received shape [5]",
        ),
    ]
}
