//! `svertka conv`: the calculator. One convolution, on numbers or on shapes alone, with the terms of every sum on demand.

mod kinds;
mod numbers;
mod separate;
mod show;

use std::io::Write;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use serde_json::Value;
use svertka::kernels::geometry::{ConvGeometry, Window};
use svertka::kernels::pad;
use svertka::ops::Flip;
use svertka::{ConvSpec, Error, Padding, PaddingMode, Sizes, Tensor, apply, conv};

use crate::output;
use show::Shown;

/// Convolves INPUT with KERNEL and prints the result.
///
/// Arrays are numbers separated by spaces or commas, rows by ';' or a line's end, planes by '|' or an empty line; or nested JSON lists; or
/// @FILE (.npy or either text); or - for standard input. "1 2 3;" is a picture of one row. A kernel with as many axes as the input is one
/// filter on one channel; with one more, the input is channels x spatial and the kernel out_channels x in_channels / groups x spatial.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The input, of 1 to 3 spatial axes.
    #[arg(allow_hyphen_values = true, required_unless_present = "input_shape")]
    input: Option<String>,
    /// The kernel; with --separate it may stand alone.
    #[arg(allow_hyphen_values = true, required_unless_present_any = ["input_shape", "separate", "layers"])]
    kernel: Option<String>,
    /// Step of the window, one number or one for each axis: 2 or 2x1.
    #[arg(long, default_value = "1", value_name = "SIZES")]
    stride: Axes,
    /// Distance between the cells that a window reads.
    #[arg(long, default_value = "1", value_name = "SIZES")]
    dilation: Axes,
    /// Cells added at both ends, or: valid (none), same (output as large as input / stride, an odd cell at the end), same-lower (at the beginning, as
    /// SciPy's 'same'), full (every window that touches the input).
    #[arg(long, default_value = "0", value_name = "SIZES|NAME")]
    padding: Extent,
    /// Cells added before the first of each axis.
    #[arg(long, conflicts_with = "padding", value_name = "SIZES")]
    pads_begin: Option<Axes>,
    /// Cells added after the last of each axis.
    #[arg(long, conflicts_with = "padding", value_name = "SIZES")]
    pads_end: Option<Axes>,
    /// What the added cells hold: zeros, constant:VALUE, replicate, reflect, symmetric or circular.
    #[arg(long, default_value = "zeros", value_name = "MODE", value_parser = padding_mode)]
    padding_mode: PaddingMode,
    /// The mathematical convolution, which turns the kernel around.
    #[arg(long)]
    flip: bool,
    /// The transposed convolution; --padding crops its output. With channels the kernel is channels x out_channels / groups x spatial.
    #[arg(long, conflicts_with_all = ["flip", "show", "shape_only", "input_shape", "separate"])]
    transposed: bool,
    /// Cells more at the far ends of a transposed convolution's output.
    #[arg(long, default_value = "0", requires = "transposed", value_name = "SIZES")]
    output_padding: Axes,
    /// A filter of its own for each output cell: the kernel is output x filter, of one channel.
    #[arg(long, conflicts_with_all = ["transposed", "flip", "show", "shape_only", "input_shape", "separate"])]
    unshared: bool,
    /// Print the layer as a matrix as well: output = matrix times input, both row by row.
    #[arg(long, conflicts_with_all = ["flip", "show", "shape_only", "input_shape", "separate"])]
    matrix: bool,
    /// Instead of a kernel: layers without weights in the one-line language, such as "pad1-reflect lppool2n3".
    #[arg(
        long,
        conflicts_with_all = ["kernel", "transposed", "unshared", "matrix", "flip", "show", "shape_only", "input_shape", "separate", "bias"],
        value_name = "TEXT"
    )]
    layers: Option<String>,
    /// With --layers: the first axis of the input is channels.
    #[arg(long, requires = "layers")]
    channels: bool,
    /// A number for each output channel, added to it.
    #[arg(long, allow_hyphen_values = true, value_name = "NUMBERS")]
    bias: Option<String>,
    /// Groups of channels that do not see each other.
    #[arg(long, default_value_t = 1, value_name = "N")]
    groups: usize,
    /// Print the output's shape and the cost instead of numbers.
    #[arg(long)]
    shape_only: bool,
    /// Without numbers: the input's shape, batch x channels x spatial.
    #[arg(
        long,
        conflicts_with_all = ["input", "bias", "show", "separate", "flip"],
        requires_all = ["out_channels", "kernel_size"],
        value_name = "SIZES"
    )]
    input_shape: Option<Axes>,
    /// Without numbers: channels of the output.
    #[arg(long, requires = "input_shape", value_name = "N")]
    out_channels: Option<usize>,
    /// Without numbers: size of the kernel.
    #[arg(long, requires = "input_shape", value_name = "SIZES")]
    kernel_size: Option<Axes>,
    /// Print the padded input, the formula of the output size and the products behind each number.
    #[arg(long, conflicts_with = "shape_only")]
    show: bool,
    /// Tell whether the kernel is a column times a row, and which.
    #[arg(long)]
    separate: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The largest padded plane that is computed: what a few characters ask for should not fill the memory.
const MAX_CELLS: usize = 1 << 24;

/// Runs the command.
///
/// # Errors
/// Where numbers cannot be read or sizes do not fit.
pub(crate) fn run(args: Args) -> Result<()> {
    let answer = args.answer()?;
    if args.json {
        return output::json(&answer.json);
    }
    writeln!(std::io::stdout().lock(), "{}", answer.lines.join("\n"))?;
    Ok(())
}

/// What is printed, for people and for programs.
#[derive(Default)]
struct Answer {
    lines: Vec<String>,
    json: serde_json::Map<String, Value>,
}

impl Args {
    fn answer(&self) -> Result<Answer> {
        let mut answer = Answer::default();
        if let (Some(shape), Some(out_channels), Some(kernel_size)) =
            (&self.input_shape, self.out_channels, &self.kernel_size)
        {
            let geometry = self.geometry(&shape.0, out_channels, kernel_size)?;
            let output = &geometry.output[5 - shape.0.len()..];
            answer.shape(&geometry, &[&[geometry.batch, out_channels], output].concat());
        }
        let kernel = match (&self.input, &self.kernel) {
            (Some(input), Some(kernel)) => {
                let kernel = numbers::read("kernel", kernel)?;
                self.convolve(&mut answer, numbers::read("input", input)?, kernel.clone())?;
                Some(kernel)
            }
            (Some(input), None) if self.layers.is_some() => {
                let x = numbers::read("input", input)?;
                let one: &[usize] = if self.channels { &[1] } else { &[1, 1] };
                let shape = [one, x.shape()].concat();
                let y = kinds::layers(self.layers.as_deref().unwrap_or_default(), &x.reshape(shape)?)?;
                answer.output(kinds::without_channels(y, self.channels)?)?;
                None
            }
            (Some(kernel), None) => Some(numbers::read("kernel", kernel)?),
            (None, _) => None,
        };
        if let Some(kernel) = kernel.filter(|_| self.separate) {
            let product = separate::separate(&kernel)?;
            if !answer.lines.is_empty() {
                answer.lines.push(String::new());
            }
            answer.lines.extend(separate::lines(&product, &kernel));
            answer.json.insert("separation".into(), separate::json(&product));
        }
        Ok(answer)
    }

    fn convolve(&self, answer: &mut Answer, input: Tensor, kernel: Tensor) -> Result<()> {
        let (x_shape, w_shape) = (input.shape().to_vec(), kernel.shape().to_vec());
        let channels = w_shape.len() == x_shape.len() + 1 && !self.unshared;
        let dims = x_shape.len().wrapping_sub(channels.into());
        if !(1..=3).contains(&dims) || !channels && w_shape.len() != dims && !self.unshared {
            let expected =
                "1 to 3 axes in both, or channels x these and out_channels x channels / groups x these";
            let received = format!("shapes {x_shape:?} and {w_shape:?}");
            return Err(Error::argument("conv", "input and kernel", expected, received).into());
        }
        let plain: &[usize] = if channels { &[] } else { &[1] };
        let x = input.reshape([&[1], plain, &x_shape].concat())?;
        let bias = self.bias.as_deref().map(|bias| numbers::read("bias", bias)).transpose()?;
        if self.transposed || self.unshared || self.matrix {
            let layer = self.layer(&x, kernel, channels)?;
            if self.matrix {
                layer.matrix(&x, answer)?;
                answer.lines.push(String::new());
            }
            return answer.output(kinds::without_channels(layer.run(&x, bias)?, channels)?);
        }
        let mut weight = kernel.reshape([plain, plain, &w_shape].concat())?;
        let kernel_size = Axes(weight.shape()[2..].to_vec());
        let geometry = self.geometry(x.shape(), weight.shape()[0], &kernel_size)?;
        if self.flip {
            weight = apply(Arc::new(Flip), &[&weight])?;
        }
        let window = &geometry.window;
        let padded = pad::output(geometry.input, window.padding).into_iter().fold(1, usize::saturating_mul);
        if padded > MAX_CELLS {
            return Err(Error::argument(
                "conv",
                "padded input",
                format!("at most {MAX_CELLS} cells"),
                padded,
            )
            .into());
        }
        let spatial = 3 - dims..;
        let spec = ConvSpec::new()
            .stride(window.stride[spatial.clone()].to_vec())
            .dilation(window.dilation[spatial.clone()].to_vec())
            .padding(Padding::Sides(window.padding[spatial].to_vec()))
            .padding_mode(self.padding_mode)
            .groups(self.groups);
        let y = conv(&x, &weight, bias.as_ref(), &spec)?;
        let shape = y.shape()[1 + plain.len()..].to_vec();
        if self.shape_only {
            answer.shape(&geometry, &shape);
            return Ok(());
        }
        if self.show {
            let (bias, mode) = (bias.as_ref(), self.padding_mode.pad_mode());
            let shown =
                Shown { x: &x, weight: &weight, bias, y: &y, geometry: &geometry, mode, dims, channels };
            let lines = shown.lines();
            answer.json.insert("show".into(), lines.clone().into());
            answer.lines.extend(lines);
            answer.lines.push(String::new());
        }
        answer.output(y.reshape(shape)?)
    }

    /// Of a convolution of `batch x channels x spatial`.
    fn geometry(&self, shape: &[usize], out_channels: usize, kernel_size: &Axes) -> Result<ConvGeometry> {
        let (&[batch, in_channels], sizes @ ([_] | [_, _] | [_, _, _])) =
            shape.split_first_chunk().unwrap_or((&[0, 0], &[]))
        else {
            let (expected, received) = ("batch x channels x 1 to 3 sizes", format!("{shape:?}"));
            return Err(Error::argument("conv", "input_shape", expected, received).into());
        };
        let window = self.window(sizes, &kernel_size.0)?;
        let input = Axes(sizes.to_vec()).expand("input_shape", sizes.len(), 1)?;
        pad::check(self.padding_mode.pad_mode(), input, window.padding)
            .map_err(|error| anyhow!("conv: {error}"))?;
        let geometry = ConvGeometry::new(batch, in_channels, out_channels, self.groups, input, window);
        Ok(geometry.map_err(Error::geometry("conv"))?)
    }

    /// The window over an input of these spatial sizes.
    fn window(&self, sizes: &[usize], kernel_size: &[usize]) -> Result<Window> {
        let dims = sizes.len();
        let input = Axes(sizes.to_vec()).expand("input_shape", dims, 1)?;
        let mut window = Window {
            kernel: Axes(kernel_size.to_vec()).expand("kernel_size", dims, 1)?,
            stride: self.stride.expand("stride", dims, 1)?,
            dilation: self.dilation.expand("dilation", dims, 1)?,
            ..Window::default()
        };
        window.padding = match &self.padding {
            Extent::Amount(amount) => amount.expand("padding", dims, 0)?.map(|amount| (amount, amount)),
            Extent::Same => window.same_padding(input, true),
            Extent::SameLower => window.same_padding(input, false),
            Extent::Valid => window.padding,
            Extent::Full => window.full_padding(),
        };
        if let Some(begin) = &self.pads_begin {
            let begin = begin.expand("pads_begin", dims, 0)?;
            window.padding.iter_mut().zip(begin).for_each(|(padding, begin)| padding.0 = begin);
        }
        if let Some(end) = &self.pads_end {
            let end = end.expand("pads_end", dims, 0)?;
            window.padding.iter_mut().zip(end).for_each(|(padding, end)| padding.1 = end);
        }
        Ok(window)
    }
}

impl Answer {
    /// Numbers, for people and for programs.
    fn output(&mut self, y: Tensor) -> Result<()> {
        self.json.insert("output".into(), numbers::to_json(y.shape(), y.data()));
        self.json.insert("shape".into(), y.shape().into());
        self.lines.extend(numbers::to_text(&y));
        Ok(())
    }

    fn shape(&mut self, geometry: &ConvGeometry, shape: &[usize]) {
        let (weights, biases, macs) = (geometry.weight_len(), geometry.out_channels, geometry.macs());
        let sizes = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
        self.lines.push(format!("shape: {sizes}"));
        self.lines.push(format!("parameters: {weights}, with a bias {}", weights + biases));
        self.lines.push(format!("multiply-accumulates: {macs}"));
        self.json.insert("shape".into(), shape.into());
        self.json.insert("parameters".into(), weights.into());
        self.json.insert("macs".into(), macs.into());
    }
}

/// Sizes joined by `x`, height before width.
#[derive(Clone, Debug)]
struct Axes(Vec<usize>);

impl std::str::FromStr for Axes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes = text.split('x').map(|size| size.parse().ok()).collect::<Option<_>>();
        sizes.map(Self).ok_or_else(|| "expected whole numbers joined by x, as in 3 or 3x5".to_owned())
    }
}

impl Axes {
    /// One size for each of `dims` axes, behind leading `fill`s.
    fn expand(&self, argument: &str, dims: usize, fill: usize) -> Result<[usize; 3], Error> {
        Sizes::from(self.0.clone()).expand("conv", argument, dims, fill)
    }
}

/// Padding by amount or by name.
#[derive(Clone, Debug)]
enum Extent {
    Amount(Axes),
    Same,
    SameLower,
    Valid,
    Full,
}

impl std::str::FromStr for Extent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "same" => Self::Same,
            "same-lower" => Self::SameLower,
            "valid" => Self::Valid,
            "full" => Self::Full,
            _ => Self::Amount(
                text.parse().map_err(|error| format!("{error}; or same, same-lower, valid or full"))?,
            ),
        })
    }
}

fn padding_mode(name: &str) -> Result<PaddingMode, &'static str> {
    PaddingMode::from_name(name)
        .ok_or("expected zeros, constant:VALUE, replicate, reflect, symmetric or circular")
}
