use svertka::ops::{Add, BinaryFunction, Broadcast, Mul};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case(Add, [&[2, 3], &[3, 2]], "Add: second input: expected shape [2, 3], received shape [3, 2]"),
        case(Add, [&[2, 3]], "Add: inputs: expected 2, received 1"),
        case(
            Mul,
            [&[2, 3, 5, 4], &[2, 5, 1, 1]],
            "Mul: second input: expected shape [2, 3, 5, 4], received shape [2, 5, 1, 1]",
        ),
    ];
    for (function, message) in [
        (
            BinaryFunction::Sub,
            "Sub: second input: expected a shape that broadcasts with [2, 3], received shape [2]",
        ),
        (
            BinaryFunction::Div,
            "Div: second input: expected a shape that broadcasts with [2, 3], received shape [2]",
        ),
        (
            BinaryFunction::Pow,
            "Pow: second input: expected a shape that broadcasts with [2, 3], received shape [2]",
        ),
        (
            BinaryFunction::Max,
            "Max: second input: expected a shape that broadcasts with [2, 3], received shape [2]",
        ),
        (
            BinaryFunction::Min,
            "Min: second input: expected a shape that broadcasts with [2, 3], received shape [2]",
        ),
    ] {
        cases.push(case(Broadcast(function), [&[2, 3], &[2]], message));
    }
    cases
}
