//! The terms of a convolution: the padded input, the sizes, and the sum behind each number of the result.

use svertka::Tensor;
use svertka::kernels::geometry::ConvGeometry;
use svertka::kernels::pad::{self, PadMode};

use super::numbers::{grid, number};

/// A convolution of one picture. `y` is the library's result, which the terms explain.
pub(super) struct Shown<'a> {
    pub(super) x: &'a Tensor,
    pub(super) weight: &'a Tensor,
    pub(super) bias: Option<&'a Tensor>,
    pub(super) y: &'a Tensor,
    pub(super) geometry: &'a ConvGeometry,
    pub(super) mode: PadMode,
    /// Spatial axes, 1 to 3.
    pub(super) dims: usize,
    /// Whether the result has an axis of channels.
    pub(super) channels: bool,
}

impl Shown<'_> {
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = self.padded_input();
        lines.extend(self.sizes());
        lines.extend(self.unread());
        lines.push(String::new());
        lines.extend(self.terms());
        lines
    }

    /// What padded position `at` of a channel holds, and whether it lies in the padding.
    fn cell(&self, channel: usize, at: [usize; 3]) -> (f32, bool) {
        let size = self.geometry.input;
        let source: [_; 3] = std::array::from_fn(|a| self.source(a, at[a]));
        let value = match (source, self.mode) {
            ([Some(d), Some(h), Some(w)], _) => {
                self.x.data()[((channel * size[0] + d) * size[1] + h) * size[2] + w]
            }
            (_, PadMode::Constant(value)) => value,
            _ => unreachable!("the padding was checked: only a constant has no source"),
        };
        let inside = |a: usize| (0..size[a]).contains(&at[a].wrapping_sub(self.before(a)));
        (value, !(0..3).all(inside))
    }

    fn source(&self, axis: usize, at: usize) -> Option<usize> {
        pad::source(self.mode, self.geometry.input[axis], self.before(axis), at)
    }

    fn before(&self, axis: usize) -> usize {
        self.geometry.window.padding[axis].0
    }

    /// The padded position that tap `t` of window `o` reads.
    fn position(&self, axis: usize, o: usize, t: usize) -> usize {
        let window = &self.geometry.window;
        o * window.stride[axis] + t * window.dilation[axis]
    }

    /// Every plane of the padded input, the padding cut off by lines.
    fn padded_input(&self) -> Vec<String> {
        let pads = self.geometry.window.padding;
        let [depth, height, width] = pad::output(self.geometry.input, pads);
        let ends = |axis: usize, size: usize| {
            let (before, after) = pads[axis];
            [(before > 0).then_some(before), (after > 0).then_some(size - after)]
        };
        let mut lines = Vec::new();
        for channel in 0..self.geometry.in_channels {
            for d in 0..depth {
                let of_channel = (self.geometry.in_channels > 1).then(|| format!("channel {channel}"));
                let of_depth = (depth > 1).then(|| match self.cell(channel, [d, pads[1].0, pads[2].0]) {
                    (_, true) => "depth: padding".to_owned(),
                    (_, false) => format!("depth {}", d - pads[0].0),
                });
                let title: Vec<String> = of_channel.into_iter().chain(of_depth).collect();
                lines.extend((!title.is_empty()).then(|| title.join(", ")));
                let mut rows: Vec<Vec<String>> = Vec::new();
                for h in 0..height {
                    let mut row: Vec<String> =
                        (0..width).map(|w| number(self.cell(channel, [d, h, w]).0)).collect();
                    for at in ends(2, width).into_iter().flatten().rev() {
                        row.insert(at, "|".into());
                    }
                    rows.push(row);
                }
                let mut drawn = grid(&rows);
                let rule = "-".repeat(drawn.first().map_or(0, String::len));
                for at in ends(1, height).into_iter().flatten().rev() {
                    drawn.insert(at, rule.clone());
                }
                lines.extend(drawn);
            }
        }
        lines
    }

    /// The formula of the output size, an axis a line.
    fn sizes(&self) -> Vec<String> {
        let ConvGeometry { input, output, window, .. } = self.geometry;
        let names = if self.dims == 1 { ["", "", "length"] } else { ["depth", "height", "width"] };
        let line = |a: usize| {
            let (name, size, (before, after)) = (names[a], input[a], window.padding[a]);
            let (kernel, stride, dilation) = (window.kernel[a], window.stride[a], window.dilation[a]);
            format!(
                "{name}: floor(({size} + {before} + {after} - {dilation}*({kernel}-1) - 1) / {stride}) + 1 = {}",
                output[a]
            )
        };
        (3 - self.dims..3).map(line).collect()
    }

    /// How many cells of a channel no window reads, if any.
    fn unread(&self) -> Option<String> {
        let read = |axis: usize| {
            let mut cells = vec![false; self.geometry.input[axis]];
            for o in 0..self.geometry.output[axis] {
                for t in 0..self.geometry.window.kernel[axis] {
                    if let Some(cell) = self.source(axis, self.position(axis, o, t)) {
                        cells[cell] = true;
                    }
                }
            }
            cells.into_iter().filter(|read| *read).count()
        };
        let all: usize = self.geometry.input.iter().product();
        let unread = all - (0..3).map(read).product::<usize>();
        let verb = if unread == 1 { "is" } else { "are" };
        (unread > 0).then(|| format!("{unread} of {all} input cells {verb} never read"))
    }

    /// A line for each number of the result: its products, cells of the padding in brackets.
    fn terms(&self) -> Vec<String> {
        let ConvGeometry { in_channels, out_channels, groups, output, window, .. } = *self.geometry;
        let (in_group, out_group) = (in_channels / groups, out_channels / groups);
        let mut results = self.y.data().iter();
        let mut weights = self.weight.data().chunks(in_group * window.kernel.iter().product::<usize>());
        let mut lines = Vec::new();
        for out_channel in 0..out_channels {
            let weights = weights.next().expect("the library checked the weight's shape");
            for o in positions(output) {
                let cells = (0..in_group).flat_map(|i| {
                    let channel = out_channel / out_group * in_group + i;
                    positions(window.kernel).map(move |t| {
                        self.cell(channel, std::array::from_fn(|a| self.position(a, o[a], t[a])))
                    })
                });
                let (mut words, mut sum, mut magnitude) = (Vec::new(), 0.0_f64, 0.0_f64);
                for ((value, padding), weight) in cells.zip(weights) {
                    let product = f64::from(value) * f64::from(*weight);
                    (sum, magnitude) = (sum + product, magnitude + product.abs());
                    let value = if padding { format!("[{}]", number(value)) } else { number(value) };
                    words.push(format!("{value}*{}", number(*weight)));
                }
                if let Some(bias) = self.bias {
                    let bias = bias.data()[out_channel];
                    (sum, magnitude) = (sum + f64::from(bias), magnitude + f64::from(bias.abs()));
                    words.push(number(bias));
                }
                let y = *results.next().expect("the result has a number for each position");
                debug_assert!(
                    !y.is_finite() || (f64::from(y) - sum).abs() <= 1e-4 * magnitude,
                    "{y} is not the sum {sum} of its terms"
                );
                let first = if self.channels { vec![out_channel] } else { vec![] };
                let index = [&first, &o[3 - self.dims..]].concat();
                lines.push(format!("y{index:?} = {} = {}", words.join(" + "), number(y)));
            }
        }
        lines
    }
}

/// Every position of a box, the last axis fastest.
fn positions([depth, height, width]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..depth).flat_map(move |d| (0..height).flat_map(move |h| (0..width).map(move |w| [d, h, w])))
}
