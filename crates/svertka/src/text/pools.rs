//! Pooling of every kind.

use super::options::Options;
use crate::error::Result;
use crate::graph::Value;
use crate::network::{Network, PoolSpec};
use crate::ops::Reduction;
use crate::spec::{Padding, Sizes};

/// Pooling over windows.
pub(super) fn windows(network: &mut Network, x: Value, options: &mut Options<'_>) -> Result<Value> {
    let (mut spec, mut p) = (PoolSpec::new(options.sizes()?), 2.0);
    while let Some(letter) = options.letter() {
        match letter {
            's' => spec.stride = options.sizes()?,
            'p' => spec.padding = Padding::Amount(options.sizes()?),
            'd' => spec.dilation = options.sizes()?,
            'c' if options.word("eil") => spec.ceil_mode = true,
            'n' if options.kind == "lppool" => {
                p = options.fraction()?.ok_or_else(|| options.error("a norm, as in n2"))?;
            }
            other => return Err(options.error(&format!("s, p, d or ceil, not {other:?}"))),
        }
    }
    if let Some(mode) = options.padding_mode()? {
        spec.padding_mode = mode;
    }
    match options.kind {
        "avgpool" => network.average_pool(x, &spec),
        "sumpool" => network.sum_pool(x, &spec),
        "minpool" => network.min_pool(x, &spec),
        "lppool" => network.lp_pool(x, p, &spec),
        "stochasticpool" => network.stochastic_pool(x, &spec),
        _ => network.max_pool(x, &spec),
    }
}

/// Pooling to a size, of the largest values, or of everything.
pub(super) fn others(network: &mut Network, x: Value, options: &mut Options<'_>) -> Result<Value> {
    match options.kind {
        "adaptivemaxpool" => {
            let size = options.sizes()?;
            network.adaptive_max_pool(x, size)
        }
        "adaptiveavgpool" => {
            let size = options.sizes()?;
            network.adaptive_average_pool(x, size)
        }
        "fractionalpool" => {
            let size = options.sizes()?;
            let kernel_size = if options.word("k") { options.sizes()? } else { Sizes::from(2) };
            network.fractional_max_pool(x, kernel_size, size)
        }
        "kmaxpool" => {
            let k = options.required()?;
            network.k_max_pool(x, k, last_axis(network, x))
        }
        "dynkmaxpool" => {
            let top = options.required()?;
            let mut numbered = |letter: &str| {
                if options.word(letter) {
                    options.required()
                } else {
                    Err(options.error("l and t, as in dynkmaxpool3l1t3"))
                }
            };
            let (layer, layers) = (numbered("l")?, numbered("t")?);
            let axis = last_axis(network, x);
            let size = network.shape(network.input()).last().copied().unwrap_or(0);
            network.dynamic_k_max_pool(x, axis, top, layer, layers, size)
        }
        "glp" => {
            let p = options.fraction()?.unwrap_or(2.0);
            network.global_lp_pool(x, p)
        }
        "gmp" => network.global_pool(x, Reduction::Max),
        _ => network.global_pool(x, Reduction::Average),
    }
}

fn last_axis(network: &Network, x: Value) -> usize {
    network.shape(x).len().saturating_sub(1)
}
