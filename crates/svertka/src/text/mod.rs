//! A network in one line: `"conv32 relu pool2 conv64 relu pool2 linear10"`.
//!
//! Layers stand in a row, separated by spaces, commas or arrows. A layer is a word, its main number, and options of a letter and a number:
//!
//! | layer | main number | options (default) |
//! |---|---|---|
//! | `conv` | output channels | `k` kernel size (3), `s` stride (1), `p` padding (`same`), `d` dilation (1), `g` groups (1), `nobias`, a padding mode |
//! | `dwconv` | channel multiplier (1) | as `conv` without `g`: depthwise |
//! | `dsconv` | output channels | as `conv`, `m` channel multiplier (1) instead of `g`: depthwise, then pointwise |
//! | `sepconv` `unshared` `deformconv` | output channels | as `conv`: spatially separable, locally connected, deformable |
//! | `tconv` | output channels | `k` (3), `s` (1), `p` (0), `o` output padding (0), `d` (1), `g` (1), `nobias`: transposed |
//! | `pool` or `maxpool` `avgpool` `sumpool` `minpool` `stochasticpool` | window size | `s` stride (the window), `p` padding (0), `d` dilation (1), `ceil`, a padding mode |
//! | `lppool` | window size | as `pool`, `n` the norm (2) |
//! | `adaptivemaxpool` `adaptiveavgpool` | output size | |
//! | `fractionalpool` | output size | `k` window size (2) |
//! | `kmaxpool` | k, along the last axis | |
//! | `dynkmaxpool` | k of the last layer | `l` this layer, `t` of how many |
//! | `gap` `gmp` `glp` | the norm for `glp` (2) | global average, max, norm |
//! | `bn` `in` `ln` | | batch, instance, layer norm |
//! | `gn` `lrn` | groups; channels of a window (5) | group norm, local response |
//! | `upsample` | factor | `-nearest`, `-linear`, `-cubic` |
//! | `resize` | output size | `-nearest`, `-linear`, `-cubic` |
//! | `shuffle` `unshuffle` | factor | pixels from channels, channels from pixels |
//! | `pad` | cells | a padding mode |
//! | `linear` | output features | |
//! | `dropout` | probability | |
//! | `leakyrelu` `elu` `celu` | slope or scale (0.01, 1, 1) | |
//! | `relu` `relu6` `silu` `hardswish` `sigmoid` `tanh` `gelu` `selu` `mish` `softplus` `softsign` `prelu` `flatten` `softmax` `logsoftmax` | | |
//!
//! Sizes that differ along the axes are joined by `x`: `conv16k3x5s2x1`. Padding modes are `zeros`, `replicate`, `reflect`, `symmetric`, `circular`, after a dash: `conv16k5-circular`.

mod convolutions;
mod layers;
mod options;
mod pools;

use crate::error::{Error, Result};
use crate::network::Network;

impl Network {
    /// A network from its one-line text; the table above lists the layers.
    ///
    /// # Errors
    /// Where a word is no layer, a number is missing, or a layer does not fit the one before; the message names the word.
    ///
    /// ```
    /// use svertka::Network;
    /// let graph = Network::from_text("conv32 relu pool2 conv64 relu pool2 linear10", &[1, 28, 28], 0)?.finish();
    /// assert_eq!(graph.nodes().len(), 8); // one flatten before the linear layer
    /// # Ok::<(), svertka::Error>(())
    /// ```
    pub fn from_text(text: &str, shape: &[usize], seed: u64) -> Result<Self> {
        let mut network = Self::new(shape, seed);
        let mut x = network.input();
        let separator = |c: char| c.is_whitespace() || c == ',' || c == '>' || c == '→';
        let words: Vec<&str> =
            text.split(separator).filter(|word| !word.is_empty() && *word != "-").collect();
        if words.is_empty() {
            return Err(Error::argument(
                "network",
                "text",
                "layers such as \"conv32 relu pool2 linear10\"",
                "none",
            ));
        }
        for word in words {
            x = layers::layer(&mut network, x, word)
                .map_err(|error| error.within(&format!("network: {word:?}")))?;
        }
        Ok(network)
    }
}

#[cfg(test)]
mod tests {
    use svertka_kernels::activation::Activation;

    use super::*;
    use crate::network::PoolSpec;
    use crate::ops::Reduction;
    use crate::spec::{ConvSpec, Padding, PaddingMode};

    #[test]
    fn text_and_builder_give_the_same_graph() -> Result<()> {
        let text = "conv8k5x3s2x1p2x0nobias bn relu6 dwconv2-circular silu maxpool3s2p1, conv16g4d2 leakyrelu0.2 > gap dropout0.3 linear7";
        let from_text = Network::from_text(text, &[3, 20, 17], 5)?.finish();
        let mut net = Network::new(&[3, 20, 17], 5);
        let spec = ConvSpec::new().stride([2, 1]).padding([2, 0]).bias(false);
        let x = net.conv(net.input(), 8, [5, 3], &spec)?;
        let x = net.batch_norm(x)?;
        let x = net.activation(x, Activation::Clip { min: 0.0, max: 6.0 })?;
        let spec = ConvSpec::new().padding(Padding::Same).groups(8).padding_mode(PaddingMode::Circular);
        let x = net.conv(x, 16, 3, &spec)?;
        let x = net.activation(x, Activation::Silu)?;
        let x = net.max_pool(x, &PoolSpec::new(3).stride(2).padding(1))?;
        let x = net.conv(x, 16, 3, &ConvSpec::new().padding(Padding::Same).groups(4).dilation(2))?;
        let x = net.activation(x, Activation::LeakyRelu { alpha: 0.2 })?;
        let x = net.global_pool(x, Reduction::Average)?;
        let x = net.dropout(x, 0.3)?;
        net.linear(x, 7)?;
        assert_eq!(from_text, net.finish());
        Ok(())
    }

    #[test]
    fn every_kind_of_layer_has_a_word() -> Result<()> {
        for (text, shape, operators) in [
            ("tconv4k4s2p1o1nobias", vec![3, 5, 6], "ConvTranspose"),
            ("unshared4k3-reflect", vec![3, 5, 6], "Pad Unshared"),
            ("dsconv6m2k5", vec![3, 7, 6], "Conv Conv"),
            ("sepconv6k5", vec![3, 7, 6], "Conv Conv"),
            ("deformconv4", vec![3, 7, 6], "Conv DeformConv"),
            ("pool3s2d2ceil", vec![3, 9, 8], "MaxPool"),
            ("avgpool2p1-circular", vec![3, 9, 8], "Pad AveragePool"),
            ("sumpool2 minpool2", vec![3, 9, 8], "SumPool MinPool"),
            ("lppool2n3 stochasticpool2", vec![3, 9, 8], "LpPool StochasticPool"),
            ("adaptivemaxpool3x2 adaptiveavgpool2", vec![3, 9, 8], "AdaptiveMaxPool AdaptiveAveragePool"),
            ("fractionalpool5x4k3", vec![3, 9, 8], "FractionalMaxPool"),
            ("kmaxpool5", vec![3, 9], "KMaxPool"),
            ("dynkmaxpool3l1t3", vec![3, 18], "KMaxPool"),
            ("gap", vec![3, 9], "GlobalAveragePool"),
            ("glp3", vec![3, 9], "GlobalLpPool"),
            (
                "in gn3 ln lrn3",
                vec![6, 5, 4],
                "InstanceNormalization GroupNormalization LayerNormalization LRN",
            ),
            ("upsample2 resize5x7-cubic", vec![3, 4, 4], "Resize Resize"),
            ("shuffle2 unshuffle2", vec![4, 2, 3], "DepthToSpace SpaceToDepth"),
            ("pad2x1-symmetric", vec![2, 4, 3], "Pad"),
            ("prelu elu0.5 celu selu mish", vec![2, 4, 3], "PRelu Elu Celu Selu Mish"),
            ("softplus softsign flatten logsoftmax", vec![2, 4], "Softplus Softsign Flatten LogSoftmax"),
        ] {
            let graph = Network::from_text(text, &shape, 0)?.finish();
            let made: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
            // Sigmoid and slices of a deformable convolution's prediction stand between.
            let mut rest = made.iter();
            assert!(operators.split(' ').all(|name| rest.any(|made| *made == name)), "{text}: {made:?}");
        }
        let dynamic = Network::from_text("dynkmaxpool3l1t3", &[3, 18], 0)?.finish();
        // max(3, ceil((3 - 1) / 3 * 18)), as in the paper's example.
        assert_eq!(dynamic.shapes(&[vec![1, 3, 18]])?.last().unwrap(), &[1, 3, 12]);
        Ok(())
    }

    #[test]
    fn errors_name_the_word() {
        for (text, message) in [
            ("", "network: text: expected layers such as \"conv32 relu pool2 linear10\", received none"),
            ("conv8 konv", "network: \"konv\": layer: name: expected conv, dwconv, dsconv"),
            (
                "conv",
                "network: \"conv\": conv: options: expected output channels, as in conv32, received \"\"",
            ),
            (
                "conv8z3",
                "network: \"conv8z3\": conv: options: expected k, s, p, d, g or nobias, not 'z', received \"3\"",
            ),
            ("conv8-mirror", "network: \"conv8-mirror\": conv: options: expected -zeros, -replicate"),
            (
                "conv8k99p0",
                "network: \"conv8k99p0\": conv1: Conv: kernel_size: expected at most the padded input 6",
            ),
            (
                "conv8g3",
                "network: \"conv8g3\": conv1: Conv: in_channels: expected a multiple of groups = 3, received 2",
            ),
            ("relu7", "network: \"relu7\": relu: options: expected nothing more, received \"7\""),
            (
                "linear10 pool2",
                "network: \"pool2\": MaxPool: input: expected 1 to 3 spatial axes, received shape [1, 10]",
            ),
            (
                "conv99999999999999999999",
                "network: \"conv99999999999999999999\": conv: options: expected a number",
            ),
            ("dropout1.5", "network: \"dropout1.5\": dropout1: Dropout: p: expected a probability"),
        ] {
            let error = Network::from_text(text, &[2, 6, 5], 0).unwrap_err().to_string();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }
}
