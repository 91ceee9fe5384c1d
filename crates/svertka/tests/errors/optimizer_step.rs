use svertka::kernels::optimizer_rule::Rule;
use svertka::ops::OptimizerStep;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let momentum =
        OptimizerStep { rule: Rule::Momentum { alpha: 0.9, beta: 1.0, nesterov: false }, decay: 0.0 };
    let adagrad = OptimizerStep { rule: Rule::Adagrad { eps: 1e-6, rate_decay: 0.0 }, decay: 0.0 };
    let rule = Rule::Adam { alpha: 0.9, beta: 0.999, eps: 1e-6, decay_after: 0.0 };
    let adam = OptimizerStep { rule, decay: 0.0 };
    vec![
        case(
            momentum,
            [&[2], &[], &[3], &[3], &[3]],
            "Momentum: learning rate: expected one number, received shape [2]",
        ),
        case(
            momentum,
            [&[], &[0], &[3], &[3], &[3]],
            "Momentum: step: expected one number, received shape [0]",
        ),
        case(
            adagrad,
            [&[], &[], &[3], &[2], &[3]],
            "Adagrad: gradient: expected shape [3], received shape [2]",
        ),
        case(
            adam,
            [&[], &[], &[3], &[3], &[3, 1], &[3]],
            "Adam: first state: expected shape [3], received shape [3, 1]",
        ),
        case(
            adam,
            [&[], &[], &[3], &[3], &[3], &[4]],
            "Adam: second state: expected shape [3], received shape [4]",
        ),
        case(adam, [&[], &[], &[3], &[3], &[3]], "Adam: inputs: expected 6, received 5"),
    ]
}
