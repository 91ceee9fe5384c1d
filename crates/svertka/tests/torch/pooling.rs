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
        "avg_pool" => {
            let count_include_pad = build.flag("include");
            let divisor_override = build.args["divisor"].as_u64().map(|divisor| divisor as usize);
            let window = window(build, dims);
            build.push(AveragePool { window, ceil_mode, count_include_pad, divisor_override }, inputs)
        }
        _ => return None,
    })
}
