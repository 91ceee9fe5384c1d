//! Operators that move elements: reshape, transpose, slice, tile, gather, concat, reduce.

use svertka::ops::{Concat, Flatten, Gather, Range, Reduce, ReduceFunction, Reshape, Slice, Tile, Transpose};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let range = |axis, step| Range { axis, start: 0, end: 1, step };
    let reduce = |function, axes: &[usize]| Reduce { function, axes: axes.to_vec(), keep_dims: true };
    vec![
        case(Flatten, [&[]], "Flatten: input: expected at least one axis, received a scalar"),
        case(
            Reshape { target: vec![4, -1] },
            [&[2, 3]],
            "Reshape: shape: expected a shape for the 6 elements of [2, 3], received [4, -1]",
        ),
        case(
            Reshape { target: vec![-1, -1] },
            [&[2, 3]],
            "Reshape: shape: expected a shape for the 6 elements of [2, 3], received [-1, -1]",
        ),
        case(
            Reshape { target: vec![2, 3, 0] },
            [&[2, 3]],
            "Reshape: shape: expected a shape for the 6 elements of [2, 3], received [2, 3, 0]",
        ),
        case(
            Reshape { target: vec![-2, 3] },
            [&[2, 3]],
            "Reshape: shape: expected a shape for the 6 elements of [2, 3], received [-2, 3]",
        ),
        case(
            Transpose { axes: vec![0, 0] },
            [&[2, 3]],
            "Transpose: perm: expected each axis of [2, 3] once, received [0, 0]",
        ),
        case(
            Slice { ranges: vec![range(2, 1)] },
            [&[2, 3]],
            "Slice: axes: expected different axes below 2, received 2",
        ),
        case(
            Slice { ranges: vec![range(1, 1), range(1, 1)] },
            [&[2, 3]],
            "Slice: axes: expected different axes below 2, received 1",
        ),
        case(
            Slice { ranges: vec![range(1, 0)] },
            [&[2, 3]],
            "Slice: steps: expected a step that is not zero, of at most 2^40, received 0",
        ),
        case(Tile { repeats: vec![2] }, [&[2, 3]], "Tile: repeats: expected 2 numbers, received [2]"),
        case(
            Tile { repeats: vec![1 << 40, 1] },
            [&[2, 3]],
            "Tile: repeats: expected a size below 2^40 elements, received 6597069766656",
        ),
        case(Gather { axis: 2 }, [&[2, 3], &[1]], "Gather: axis: expected below 2, received 2"),
        case(
            Gather { axis: 0 },
            [&[16_777_217], &[1]],
            "Gather: input: expected at most 16777216 along axis 0, received 16777217",
        ),
        case(Concat { axis: 2 }, [&[2, 3], &[2, 3]], "Concat: axis: expected below 2, received 2"),
        case(
            Concat { axis: 1 },
            [&[2, 3], &[3, 3]],
            "Concat: input 1: expected shape [2, 3] but for axis 1, received shape [3, 3]",
        ),
        case(
            reduce(ReduceFunction::Sum, &[2]),
            [&[2, 3]],
            "ReduceSum: axes: expected different axes below 2, in order, received [2]",
        ),
        case(
            reduce(ReduceFunction::Mean, &[1, 0]),
            [&[2, 3]],
            "ReduceMean: axes: expected different axes below 2, in order, received [1, 0]",
        ),
        case(
            reduce(ReduceFunction::Max, &[1, 1]),
            [&[2, 3]],
            "ReduceMax: axes: expected different axes below 2, in order, received [1, 1]",
        ),
        case(
            reduce(ReduceFunction::Min, &[7]),
            [&[2, 3]],
            "ReduceMin: axes: expected different axes below 2, in order, received [7]",
        ),
    ]
}
