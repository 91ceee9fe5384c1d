//! Resizing (ONNX `Resize`): output sizes, and for each axis the [`Table`] of a mode.
//!
//! Output cell `o` lies at a place `x` of the input, in cells, by its [`Coordinates`]; its value is the sum of the cells around `x`, cell `j` with weight
//! `filter(j - x)`. Cells beyond the edge show the cell at the edge, or count for nothing with `exclude_outside`. With `antialias` a filter is stretched
//! by `input / output` where that is above one.

use crate::geometry::{GeometryError, checked_product};
use crate::resample::Table;

/// What is asked for along the resized axes, one number for each.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// `output = floor(input * scale)`; the exact scale goes on to place the cells.
    Scales(Vec<f32>),
    /// Output sizes, taken as [`Aspect`] says.
    Sizes(Vec<usize>, Aspect),
}

/// What happens where sizes do not keep the aspect ratio (ONNX `keep_aspect_ratio_policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// Each axis gets its size.
    Stretch,
    /// One scale for all axes, so large that no axis passes its size.
    NotLarger,
    /// One scale for all axes, so small that no axis falls short of its size.
    NotSmaller,
}

/// How a cell's value is made of those around its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interpolation {
    /// One cell.
    Nearest(Rounding),
    /// `1 - |t|` up to distance 1.
    Linear,
    /// The cubic of Keys (1981) with this coefficient, up to distance 2: -0.75 in PyTorch, -0.5 with its antialias.
    Cubic(f32),
}

/// Which cell is nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// The nearest; halves go down.
    PreferFloor,
    /// The nearest; halves go up.
    PreferCeil,
    /// The one at or before the place.
    Floor,
    /// The one at or behind the place.
    Ceil,
}

/// Where output cell `o` lies in the input, with `scale = output / input`.
#[derive(Clone, Debug, PartialEq)]
pub enum Coordinates {
    /// `(o + 0.5) / scale - 0.5`: the outer edges fall together.
    HalfPixel,
    /// As half pixel, with the middles together where `input * scale` is no whole number.
    HalfPixelSymmetric,
    /// As half pixel, but 0 for a single output cell.
    PytorchHalfPixel,
    /// `o * (input - 1) / (output - 1)`: the outer cells fall together.
    AlignCorners,
    /// `o / scale`.
    Asymmetric,
    /// As align corners, over a part of the input.
    CropAndResize {
        /// Where the part begins and ends, for each resized axis, in parts of the input.
        roi: Vec<(f32, f32)>,
        /// What cells beyond the input hold.
        extrapolation_value: f32,
    },
}

/// One axis that is resized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResizedAxis {
    /// Cells of the input.
    pub input: usize,
    /// Cells of the output.
    pub output: usize,
    /// So many input cells go on so many output cells: a fraction, so that whole places come out whole.
    step: (f64, f64),
}

impl ResizedAxis {
    /// The axes of sizes `input`, resized to `target`, which has a number for each.
    ///
    /// # Errors
    /// Where an axis has no cell before or after.
    pub fn all(input: &[usize], target: &Target) -> Result<Vec<Self>, GeometryError> {
        if input.contains(&0) {
            return Err(GeometryError::Zero { argument: "input", received: input.to_vec() });
        }
        let axes: Vec<Self> = match target {
            Target::Scales(scales) => {
                // The product in f32 as everywhere else: 0.7 of 10 cells are 7. A third as f32 is meant as a third.
                let axis = |(&input, &scale): (&usize, &f32)| {
                    let (whole, exact) = ((1.0 / scale).fract() == 0.0, f64::from(scale));
                    let step = if whole { (f64::from(1.0 / scale), 1.0) } else { (1.0, exact) };
                    Self { input, output: (input as f32 * scale).floor() as usize, step }
                };
                input.iter().zip(scales).map(axis).collect()
            }
            Target::Sizes(sizes, aspect) => {
                let step = |(&input, &size): (&usize, &usize)| (input as f64, size as f64);
                let smaller = |a: &(f64, f64), b: &(f64, f64)| (a.1 * b.0).total_cmp(&(b.1 * a.0));
                let steps = input.iter().zip(sizes).map(step);
                let common = match aspect {
                    Aspect::Stretch => None,
                    Aspect::NotLarger => steps.min_by(smaller),
                    Aspect::NotSmaller => steps.max_by(smaller),
                };
                let axis = |pair: (&usize, &usize)| match common {
                    None => Self { input: *pair.0, output: *pair.1, step: step(pair) },
                    Some(step) => {
                        let exact = *pair.0 as f64 * step.1 / step.0;
                        Self { input: *pair.0, output: (exact + 0.5).floor() as usize, step }
                    }
                };
                input.iter().zip(sizes).map(axis).collect()
            }
        };
        let output: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
        if output.contains(&0) {
            return Err(GeometryError::Zero { argument: "output", received: output });
        }
        checked_product("output", &output)?;
        Ok(axes)
    }

    /// Output cells with their fraction.
    fn length(&self) -> f64 {
        self.input as f64 * self.step.1 / self.step.0
    }

    /// Where output cell `o` lies, `None` outside a crop. `index` counts the resized axes.
    fn place(&self, coordinates: &Coordinates, index: usize, o: usize) -> Option<f64> {
        let (o, last, length) = (o as f64, self.input as f64 - 1.0, self.length());
        let half_pixel = (o + 0.5) * self.step.0 / self.step.1 - 0.5;
        Some(match coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => {
                half_pixel + self.input as f64 / 2.0 * (1.0 - self.output as f64 / length)
            }
            Coordinates::PytorchHalfPixel if self.output == 1 => 0.0,
            Coordinates::PytorchHalfPixel => half_pixel,
            Coordinates::AlignCorners if self.output == 1 => 0.0,
            Coordinates::AlignCorners => o * last / (length - 1.0),
            Coordinates::Asymmetric => o * self.step.0 / self.step.1,
            Coordinates::CropAndResize { roi, .. } => {
                let (start, end) = (f64::from(roi[index].0), f64::from(roi[index].1));
                let place = if self.output == 1 {
                    (start + end) * last / 2.0
                } else {
                    start * last + o * (end - start) * last / (length - 1.0)
                };
                return (0.0..=last).contains(&place).then_some(place);
            }
        })
    }

    /// The table of this axis, the `index`th of those resized.
    pub fn table(
        &self,
        index: usize,
        interpolation: Interpolation,
        coordinates: &Coordinates,
        antialias: bool,
        exclude_outside: bool,
    ) -> Table {
        // Wide filters for few output cells only: a filter shrinks the picture to what it covers.
        let stretch = if antialias { (self.step.0 / self.step.1).max(1.0) } else { 1.0 };
        let cells = (0..self.output).map(|o| {
            let Some(place) = self.place(coordinates, index, o) else { return vec![] };
            match interpolation {
                Interpolation::Nearest(rounding) => vec![(self.clamp(rounding.of(place)), 1.0)],
                Interpolation::Linear => {
                    self.filtered(place, stretch, 1.0, exclude_outside, |t| (1.0 - t.abs()).max(0.0))
                }
                Interpolation::Cubic(a) => {
                    let a = f64::from(a);
                    self.filtered(place, stretch, 2.0, exclude_outside, |t| keys(a, t.abs()))
                }
            }
        });
        Table::new(self.input, cells)
    }

    fn clamp(&self, cell: f64) -> usize {
        // A float beyond any size becomes the largest there is.
        (cell.max(0.0) as usize).min(self.input - 1)
    }

    /// The cells around `place` with the weights of `filter`, which ends at `reach` and is stretched.
    fn filtered(
        &self,
        place: f64,
        stretch: f64,
        reach: f64,
        exclude_outside: bool,
        filter: impl Fn(f64) -> f64,
    ) -> Vec<(usize, f32)> {
        let reach = reach * stretch;
        let (first, last) = ((place - reach).floor(), (place + reach).ceil());
        let mut taps: Vec<(usize, f64)> = vec![];
        for step in 0..=(last - first) as usize {
            let cell = first + step as f64;
            let weight = filter((cell - place) / stretch);
            let outside = cell < 0.0 || cell >= self.input as f64;
            if weight == 0.0 || exclude_outside && outside {
                continue;
            }
            let cell = self.clamp(cell);
            match taps.last_mut() {
                Some(tap) if tap.0 == cell => tap.1 += weight,
                _ => taps.push((cell, weight)),
            }
        }
        let sum: f64 = taps.iter().map(|tap| tap.1).sum();
        if sum == 0.0 {
            return vec![(self.clamp(place.round()), 1.0)];
        }
        // Weights of an unstretched whole filter have sum one but for rounding.
        taps.into_iter().map(|(cell, weight)| (cell, (weight / sum) as f32)).collect()
    }
}

impl Rounding {
    fn of(self, place: f64) -> f64 {
        match self {
            Self::PreferFloor => (place - 0.5).ceil(),
            Self::PreferCeil => (place + 0.5).floor(),
            Self::Floor => place.floor(),
            Self::Ceil => place.ceil(),
        }
    }
}

/// Keys, "Cubic convolution interpolation for digital image processing" (1981), equation 4, for distance `t`.
fn keys(a: f64, t: f64) -> f64 {
    if t <= 1.0 {
        ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    } else if t < 2.0 {
        ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a
    } else {
        0.0
    }
}
