//! Pooling of every kind.

use svertka::Value;
use svertka::ops::{AveragePool, MaxPool};

use crate::Build;
use crate::convolution::window;

pub(crate) fn build(kind: &str, build: &mut Build<'_>, inputs: &[Value]) -> Option<Value> {
    let dims = build.shape(inputs[0]).len().saturating_sub(2);
    let ceil_mode = build.flag("ceil");
    Some(match kind {
        "max_pool" => build.push(MaxPool { window: window(build, dims), ceil_mode }, inputs),
        "avg_pool" if build.args["divisor"].is_null() => {
            let count_include_pad = build.flag("include");
            build.push(AveragePool { window: window(build, dims), ceil_mode, count_include_pad }, inputs)
        }
        _ => return None,
    })
}
