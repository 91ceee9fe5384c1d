use svertka::ops::{Along, Hardmax};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let message = "Hardmax: axis: expected an axis of shape [2, 3], received 2";
    vec![case(Hardmax(Along { axis: 2, to_last: true }), [&[2, 3]], message)]
}
