use svertka::kernels::pad::PadMode;
use svertka::ops::{Pad, PadAxes};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let pad = |mode, pads: &[(i64, i64)]| PadAxes { mode, pads: pads.to_vec() };
    let zeros = PadMode::Constant(0.0);
    vec![
        case(
            Pad { mode: PadMode::Reflect, pads: [(0, 0), (3, 0), (0, 0)] },
            [&[1, 2, 3, 4]],
            "Pad: pads (reflect): expected at most 2 on either side of the height of size 3, as a reflection shows each cell once, but not the one at the edge, received (3, 0)",
        ),
        case(
            pad(zeros, &[(1, 1)]),
            [&[3, 7]],
            "Pad: pads: expected two numbers for each axis of shape [3, 7], received [(1, 1)]",
        ),
        case(
            pad(zeros, &[(0, 0), (-4, -4)]),
            [&[3, 7]],
            "Pad: pads: expected to crop at most the 7 cells of axis 1, received (-4, -4)",
        ),
        case(
            pad(PadMode::Reflect, &[(0, 3), (0, 0)]),
            [&[3, 7]],
            "Pad: pads (reflect): expected at most 2 on either side of axis 0 of size 3, as a reflection shows each cell once, but not the one at the edge, received (0, 3)",
        ),
        // What is cropped can't be shown.
        case(
            pad(PadMode::Circular, &[(0, 0), (-3, 5)]),
            [&[3, 7]],
            "Pad: pads (circular): expected at most 4 on either side of axis 1 of size 4, as the other end shows each cell once, received (-3, 5)",
        ),
        case(
            pad(PadMode::Replicate, &[(0, 0), (0, 1)]),
            [&[3, 0]],
            "Pad: pads (replicate): expected at most 0 on either side of axis 1 of size 0, as without cells there is no edge, received (0, 1)",
        ),
        case(
            pad(zeros, &[(0, 0), (1 << 41, 0)]),
            [&[0, 7]],
            "Pad: pads: expected a size below 2^40 elements, received 2199023255559",
        ),
    ]
}
