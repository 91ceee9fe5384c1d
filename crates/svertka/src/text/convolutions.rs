//! Convolutions of every kind.

use super::options::Options;
use crate::error::Result;
use crate::graph::Value;
use crate::network::{ConvTransposeSpec, Network};
use crate::spec::{ConvSpec, Padding, Sizes};

pub(super) fn convolution(network: &mut Network, x: Value, options: &mut Options<'_>) -> Result<Value> {
    let kind = options.kind;
    let channels = network.shape(x).get(1).copied().unwrap_or(0);
    let main = options.number()?;
    let mut spec = ConvSpec::new().padding(Padding::Same);
    let (mut kernel_size, mut multiplier) = (Sizes::from(3), 1);
    let out_channels = if kind == "dwconv" {
        spec.groups = channels;
        channels.saturating_mul(main.unwrap_or(1))
    } else {
        main.ok_or_else(|| options.error(&format!("output channels, as in {kind}32")))?
    };
    while let Some(letter) = options.letter() {
        match letter {
            'k' => kernel_size = options.sizes()?,
            's' => spec.stride = options.sizes()?,
            'p' => spec.padding = Padding::Amount(options.sizes()?),
            'd' => spec.dilation = options.sizes()?,
            'g' if !matches!(kind, "dwconv" | "dsconv") => spec.groups = options.required()?,
            'm' if kind == "dsconv" => multiplier = options.required()?,
            'n' if options.word("obias") => spec.bias = false,
            other => return Err(options.error(&format!("k, s, p, d, g or nobias, not {other:?}"))),
        }
    }
    if let Some(mode) = options.padding_mode()? {
        spec.padding_mode = mode;
    }
    match kind {
        "dsconv" => network.depthwise_separable_conv(x, out_channels, kernel_size, multiplier, &spec),
        "sepconv" => network.separable_conv(x, out_channels, kernel_size, &spec),
        "unshared" => network.unshared(x, out_channels, kernel_size, &spec),
        "deformconv" => network.deform_conv(x, out_channels, kernel_size, &spec),
        _ => network.conv(x, out_channels, kernel_size, &spec),
    }
}

pub(super) fn transposed(network: &mut Network, x: Value, options: &mut Options<'_>) -> Result<Value> {
    let out_channels = options.number()?.ok_or_else(|| options.error("output channels, as in tconv32"))?;
    let (mut spec, mut kernel_size) = (ConvTransposeSpec::new(), Sizes::from(3));
    while let Some(letter) = options.letter() {
        match letter {
            'k' => kernel_size = options.sizes()?,
            's' => spec.stride = options.sizes()?,
            'p' => spec.padding = Padding::Amount(options.sizes()?),
            'o' => spec.output_padding = options.sizes()?,
            'd' => spec.dilation = options.sizes()?,
            'g' => spec.groups = options.required()?,
            'n' if options.word("obias") => spec.bias = false,
            other => return Err(options.error(&format!("k, s, p, o, d, g or nobias, not {other:?}"))),
        }
    }
    if let Some(mode) = options.padding_mode()? {
        spec = spec.padding_mode(mode);
    }
    network.conv_transpose(x, out_channels, kernel_size, &spec)
}
