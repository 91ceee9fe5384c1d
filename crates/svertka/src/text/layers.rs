//! The words, and the layers that they stand for.

use svertka_kernels::activation::Activation;

use super::options::Options;
use super::{convolutions, pools};
use crate::error::{Error, Result};
use crate::graph::Value;
use crate::network::{Network, ResizeMode, ResizeSpec};
use crate::spec::{Padding, PaddingMode};

#[rustfmt::skip] // A group of kin each line.
const KINDS: &[&str] = &[
    "conv", "dwconv", "dsconv", "sepconv", "unshared", "deformconv", "tconv",
    "pool", "maxpool", "avgpool", "sumpool", "minpool", "lppool", "stochasticpool",
    "adaptivemaxpool", "adaptiveavgpool", "fractionalpool", "kmaxpool", "dynkmaxpool", "gap", "gmp", "glp",
    "linear", "flatten", "softmax", "logsoftmax", "dropout",
    "bn", "in", "ln", "gn", "lrn",
    "upsample", "resize", "shuffle", "unshuffle", "pad",
    "relu", "relu6", "leakyrelu", "prelu", "elu", "celu", "selu", "silu", "mish", "hardswish", "sigmoid", "tanh", "gelu", "softplus", "softsign",
];

pub(super) fn layer(network: &mut Network, x: Value, word: &str) -> Result<Value> {
    let (word, mode) = word.split_once('-').map_or((word, None), |(word, mode)| (word, Some(mode)));
    // The longest name first: `relu6` before `relu`.
    let kind = KINDS.iter().copied().filter(|kind| word.starts_with(kind)).max_by_key(|kind| kind.len());
    let kind = kind.ok_or_else(|| Error::argument("layer", "name", KINDS.join(", "), format!("{word:?}")))?;
    let rest = &word[kind.len()..];
    let mut options = Options { kind, rest, mode };
    let value = match kind {
        "conv" | "dwconv" | "dsconv" | "sepconv" | "unshared" | "deformconv" => {
            convolutions::convolution(network, x, &mut options)?
        }
        "tconv" => convolutions::transposed(network, x, &mut options)?,
        "pool" | "maxpool" | "avgpool" | "sumpool" | "minpool" | "lppool" | "stochasticpool" => {
            pools::windows(network, x, &mut options)?
        }
        "adaptivemaxpool" | "adaptiveavgpool" | "fractionalpool" | "kmaxpool" | "dynkmaxpool" | "gap"
        | "gmp" | "glp" => pools::others(network, x, &mut options)?,
        "bn" => network.batch_norm(x)?,
        "in" => network.instance_norm(x, true)?,
        "ln" => network.layer_norm(x)?,
        "gn" => {
            let groups = options.required()?;
            network.group_norm(x, groups)?
        }
        "lrn" => {
            let size = options.number()?.unwrap_or(5);
            network.local_response_norm(x, size)?
        }
        "upsample" => {
            let factor = options.fraction()?.ok_or_else(|| options.error("a factor, as in upsample2"))?;
            let spec = resize_spec(&mut options)?;
            network.upsample(x, factor, &spec)?
        }
        "resize" => {
            let size = options.sizes()?;
            let spec = resize_spec(&mut options)?;
            network.resize(x, size, &spec)?
        }
        "shuffle" => {
            let factor = options.required()?;
            network.pixel_shuffle(x, factor)?
        }
        "unshuffle" => {
            let factor = options.required()?;
            network.pixel_unshuffle(x, factor)?
        }
        "pad" => {
            let padding = Padding::Amount(options.sizes()?);
            let mode = options.padding_mode()?.unwrap_or(PaddingMode::Zeros);
            network.pad(x, &padding, mode)?
        }
        "linear" => {
            let features =
                options.number()?.ok_or_else(|| options.error("output features, as in linear10"))?;
            network.linear(x, features)?
        }
        "dropout" => {
            let p = options.fraction()?.ok_or_else(|| options.error("a probability, as in dropout0.5"))?;
            network.dropout(x, p)?
        }
        "flatten" => network.flatten(x)?,
        "softmax" => network.softmax(x)?,
        "logsoftmax" => network.log_softmax(x)?,
        "prelu" => network.prelu(x, true)?,
        _ => {
            let activation = activation(&mut options)?;
            network.activation(x, activation)?
        }
    };
    if !options.rest.is_empty() || options.mode.is_some() {
        return Err(options.error("nothing more"));
    }
    Ok(value)
}

fn activation(options: &mut Options<'_>) -> Result<Activation> {
    Ok(match options.kind {
        "relu" => Activation::Relu,
        "relu6" => Activation::Clip { min: 0.0, max: 6.0 },
        "leakyrelu" => Activation::LeakyRelu { alpha: options.fraction()?.unwrap_or(0.01) },
        "elu" => Activation::Elu { alpha: options.fraction()?.unwrap_or(1.0) },
        "celu" => Activation::Celu { alpha: options.fraction()?.unwrap_or(1.0) },
        "selu" => Activation::SELU,
        "silu" => Activation::Silu,
        "mish" => Activation::Mish,
        "hardswish" => Activation::HardSwish,
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "gelu" => Activation::Gelu,
        "softplus" => Activation::Softplus,
        "softsign" => Activation::Softsign,
        _ => unreachable!("every kind of the list has an arm"),
    })
}

/// How a resizing makes pixels, after a dash; the nearest where nothing stands there.
fn resize_spec(options: &mut Options<'_>) -> Result<ResizeSpec> {
    let mode = match options.mode {
        None | Some("nearest") => ResizeMode::Nearest,
        Some("linear") => ResizeMode::Linear,
        Some("cubic") => ResizeMode::Cubic,
        Some(_) => return Err(options.error("-nearest, -linear or -cubic")),
    };
    options.mode = None;
    Ok(ResizeSpec::new(mode))
}
