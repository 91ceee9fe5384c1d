use svertka::kernels::norm::Power;
use svertka::ops::LpNorm;

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let message = "LpNormalization: axis: expected an axis of shape [2, 3], received 2";
    vec![case(LpNorm { axis: 2, power: Power::Two }, [&[2, 3]], message)]
}
