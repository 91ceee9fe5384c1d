use svertka::kernels::pad::PadMode;
use svertka::ops::Pad;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let pad = |mode, pads| Pad { mode, pads: [(0, 0), (0, 0), pads] };
    vec![
        case(
            pad(PadMode::Replicate, (1, 1)),
            [&[3, 7]],
            "Pad: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [3, 7]",
        ),
        case(
            pad(PadMode::Reflect, (4, 0)),
            [&[1, 2, 4]],
            "Pad: pads (reflect): expected at most 3 on either side of the width of size 4, as a reflection shows each cell once, but not the one at the edge, received (4, 0)",
        ),
        case(
            pad(PadMode::Symmetric, (0, 5)),
            [&[1, 2, 4]],
            "Pad: pads (symmetric): expected at most 4 on either side of the width of size 4, as a mirror image shows each cell once, received (0, 5)",
        ),
        case(
            pad(PadMode::Circular, (5, 0)),
            [&[1, 2, 4]],
            "Pad: pads (circular): expected at most 4 on either side of the width of size 4, as the other end shows each cell once, received (5, 0)",
        ),
        case(
            pad(PadMode::Replicate, (1, 0)),
            [&[1, 2, 0]],
            "Pad: pads (replicate): expected at most 0 on either side of the width of size 0, as without cells there is no edge, received (1, 0)",
        ),
        case(
            pad(PadMode::Constant(0.0), (1 << 40, 1 << 40)),
            [&[1, 2, 4]],
            "Pad: pads: expected a size below 2^40 elements, received 2199023255552",
        ),
    ]
}
