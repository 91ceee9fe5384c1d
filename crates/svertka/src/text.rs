//! A network in one line: `"conv32 relu pool2 conv64 relu pool2 linear10"`.
//!
//! Layers stand in a row, separated by spaces, commas or arrows. A layer is a word, its main number, and options of a letter and a number:
//!
//! | layer | main number | options (default) |
//! |---|---|---|
//! | `conv` | output channels | `k` kernel size (3), `s` stride (1), `p` padding (`same`), `d` dilation (1), `g` groups (1), `nobias`, a padding mode |
//! | `dwconv` | channel multiplier (1) | as `conv` without `g` |
//! | `pool`, `maxpool`, `avgpool` | window size | `s` stride (the window), `p` padding (0) |
//! | `gap`, `gmp` | | global average, global max |
//! | `linear` | output features | |
//! | `dropout` | probability | |
//! | `bn` `relu` `relu6` `leakyrelu` `silu` `hardswish` `sigmoid` `tanh` `gelu` `flatten` `softmax` | slope for `leakyrelu` (0.01) | |
//!
//! Sizes that differ along the axes are joined by `x`: `conv16k3x5s2x1`. Padding modes are `zeros`, `replicate`, `reflect`, `symmetric`, `circular`, after a dash: `conv16k5-circular`.

use svertka_kernels::activation::Activation;

use crate::error::{Error, Result};
use crate::network::{Network, PoolSpec};
use crate::ops::Reduction;
use crate::spec::{ConvSpec, Padding, PaddingMode, Sizes};

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
            x = layer(&mut network, x, word).map_err(|error| error.within(&format!("network: {word:?}")))?;
        }
        Ok(network)
    }
}

#[rustfmt::skip] // A group of kin each line.
const KINDS: &[&str] = &[
    "conv", "dwconv",
    "pool", "maxpool", "avgpool", "gap", "gmp",
    "linear", "flatten", "softmax", "dropout", "bn",
    "relu", "relu6", "leakyrelu", "silu", "hardswish", "sigmoid", "tanh", "gelu",
];

fn layer(network: &mut Network, x: crate::Value, word: &str) -> Result<crate::Value> {
    let (word, mode) = word.split_once('-').map_or((word, None), |(word, mode)| (word, Some(mode)));
    // The longest name first: `relu6` before `relu`.
    let kind = KINDS.iter().copied().filter(|kind| word.starts_with(kind)).max_by_key(|kind| kind.len());
    let kind = kind.ok_or_else(|| Error::argument("layer", "name", KINDS.join(", "), format!("{word:?}")))?;
    let rest = &word[kind.len()..];
    let mut options = Options { kind, rest, mode };
    let value = match kind {
        "conv" | "dwconv" => {
            let channels = network.shape(x).get(1).copied().unwrap_or(0);
            let main = options.number()?;
            let mut spec = ConvSpec::new().padding(Padding::Same);
            let mut kernel_size = Sizes::from(3);
            let out_channels = if kind == "conv" {
                main.ok_or_else(|| options.error("output channels, as in conv32"))?
            } else {
                spec.groups = channels;
                channels.saturating_mul(main.unwrap_or(1))
            };
            while let Some(letter) = options.letter() {
                match letter {
                    'k' => kernel_size = options.sizes()?,
                    's' => spec.stride = options.sizes()?,
                    'p' => spec.padding = Padding::Amount(options.sizes()?),
                    'd' => spec.dilation = options.sizes()?,
                    'g' if kind == "conv" => spec.groups = options.required()?,
                    'n' if options.rest == "obias" => {
                        options.rest = "";
                        spec.bias = false;
                    }
                    other => return Err(options.error(&format!("k, s, p, d, g or nobias, not {other:?}"))),
                }
            }
            if let Some(mode) = options.mode.take() {
                let modes = "-zeros, -replicate, -reflect, -symmetric or -circular";
                spec.padding_mode = PaddingMode::from_name(mode).ok_or_else(|| options.error(modes))?;
            }
            network.conv(x, out_channels, kernel_size, &spec)?
        }
        "pool" | "maxpool" | "avgpool" => {
            let mut spec = PoolSpec::new(options.sizes()?);
            while let Some(letter) = options.letter() {
                match letter {
                    's' => spec.stride = options.sizes()?,
                    'p' => spec.padding = Padding::Amount(options.sizes()?),
                    other => return Err(options.error(&format!("s or p, not {other:?}"))),
                }
            }
            if kind == "avgpool" { network.average_pool(x, &spec)? } else { network.max_pool(x, &spec)? }
        }
        "gap" => network.global_pool(x, Reduction::Average)?,
        "gmp" => network.global_pool(x, Reduction::Max)?,
        "linear" => {
            let features =
                options.number()?.ok_or_else(|| options.error("output features, as in linear10"))?;
            network.linear(x, features)?
        }
        "dropout" => {
            let p = options.fraction()?.ok_or_else(|| options.error("a probability, as in dropout0.5"))?;
            network.dropout(x, p)?
        }
        "bn" => network.batch_norm(x)?,
        "flatten" => network.flatten(x)?,
        "softmax" => network.softmax(x)?,
        "relu" => network.relu(x)?,
        "relu6" => network.activation(x, Activation::Clip { min: 0.0, max: 6.0 })?,
        "leakyrelu" => {
            let alpha = options.fraction()?.unwrap_or(0.01);
            network.activation(x, Activation::LeakyRelu { alpha })?
        }
        "silu" => network.activation(x, Activation::Silu)?,
        "hardswish" => network.activation(x, Activation::HardSwish)?,
        "sigmoid" => network.activation(x, Activation::Sigmoid)?,
        "tanh" => network.activation(x, Activation::Tanh)?,
        "gelu" => network.activation(x, Activation::Gelu)?,
        _ => unreachable!("every kind of the list has an arm"),
    };
    if !options.rest.is_empty() || options.mode.is_some() {
        return Err(options.error("nothing more"));
    }
    Ok(value)
}

/// What follows a layer's name.
struct Options<'a> {
    kind: &'a str,
    rest: &'a str,
    mode: Option<&'a str>,
}

impl<'a> Options<'a> {
    fn error(&self, expected: &str) -> Error {
        let received = match self.mode {
            Some(mode) => format!("{:?} and -{mode}", self.rest),
            None => format!("{:?}", self.rest),
        };
        Error::argument(self.kind, "options", expected, received)
    }

    fn take(&mut self, allowed: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !allowed(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn letter(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(letter)
    }

    fn number(&mut self) -> Result<Option<usize>> {
        let digits = self.take(|c| c.is_ascii_digit());
        if digits.is_empty() {
            return Ok(None);
        }
        digits
            .parse()
            .map(Some)
            .map_err(|_| Error::argument(self.kind, "options", "a number", format!("{digits:?}")))
    }

    fn required(&mut self) -> Result<usize> {
        self.number()?.ok_or_else(|| self.error("a number"))
    }

    fn sizes(&mut self) -> Result<Sizes> {
        let mut sizes = vec![self.required()?];
        while let Some(rest) = self.rest.strip_prefix('x') {
            self.rest = rest;
            sizes.push(self.required()?);
        }
        Ok(Sizes::from(sizes))
    }

    fn fraction(&mut self) -> Result<Option<f32>> {
        let digits = self.take(|c| c.is_ascii_digit() || c == '.');
        if digits.is_empty() {
            return Ok(None);
        }
        digits
            .parse()
            .map(Some)
            .map_err(|_| Error::argument(self.kind, "options", "a number", format!("{digits:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn errors_name_the_word() {
        for (text, message) in [
            ("", "network: text: expected layers such as \"conv32 relu pool2 linear10\", received none"),
            ("conv8 konv", "network: \"konv\": layer: name: expected conv, dwconv, pool"),
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
