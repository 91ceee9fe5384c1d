//! Resizing along any axes (ONNX `Resize`, and `Upsample` before it) in every mode of [`Interpolation`] and [`Coordinates`].
//!
//! The file is long because ONNX has said a resize in five ways, and all are read here.

use std::ops::RangeInclusive;

use svertka_kernels::geometry::checked_product;
use svertka_kernels::layout::{BLOCK, blocks};
use svertka_kernels::resample::Resampling;
use svertka_kernels::resize::{Aspect, Coordinates, Interpolation, ResizedAxis, Rounding, Target};

use super::{Example, Field, Layouts, Lowered, Operator, Shapes, upsample};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Resizes some axes. It is separable: one pass of weighted sums along each axis, see [`svertka_kernels::resize`].
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// The axes, each at most once.
    pub axes: Vec<usize>,
    /// A scale or a size for each of them.
    pub target: Target,
    /// How a value is made of the cells around its place.
    pub interpolation: Interpolation,
    /// Where the places are.
    pub coordinates: Coordinates,
    /// Stretch the filter where the output is smaller.
    pub antialias: bool,
    /// Cells outside the input count for nothing, instead of as the cell at the edge.
    pub exclude_outside: bool,
}

impl Resize {
    /// Of these axes, without antialias, edges repeated.
    pub fn new(
        axes: Vec<usize>,
        target: Target,
        interpolation: Interpolation,
        coordinates: Coordinates,
    ) -> Self {
        Self { axes, target, interpolation, coordinates, antialias: false, exclude_outside: false }
    }

    fn resized(&self, x: &[usize]) -> Result<Vec<ResizedAxis>> {
        let wrong =
            |argument, expected, received| Err(Error::argument("Resize", argument, expected, received));
        let once =
            (0..self.axes.len()).all(|i| self.axes[i] < x.len() && !self.axes[..i].contains(&self.axes[i]));
        if !once {
            let expected = format!("each of the {} axes at most once", x.len());
            return wrong("axes", expected, format!("{:?}", self.axes));
        }
        let (argument, count) = match &self.target {
            Target::Scales(scales) if scales.iter().any(|scale| !(scale.is_finite() && *scale > 0.0)) => {
                return wrong("scales", "finite numbers above 0".into(), format!("{scales:?}"));
            }
            Target::Scales(scales) => ("scales", scales.len()),
            Target::Sizes(sizes, _) => ("sizes", sizes.len()),
        };
        if count != self.axes.len() {
            return wrong(argument, format!("one for each of {} axes", self.axes.len()), count.to_string());
        }
        if let Coordinates::CropAndResize { roi, extrapolation_value } = &self.coordinates {
            if roi.len() != self.axes.len() || !roi.iter().all(|(start, end)| (start + end).is_finite()) {
                let expected = format!("two finite numbers for each of {} axes", self.axes.len());
                return wrong("roi", expected, format!("{roi:?}"));
            }
            if !extrapolation_value.is_finite() {
                return wrong(
                    "extrapolation_value",
                    "a finite number".into(),
                    extrapolation_value.to_string(),
                );
            }
        }
        if let Interpolation::Cubic(a) = self.interpolation
            && !a.is_finite()
        {
            return wrong("cubic_coeff_a", "a finite number".into(), a.to_string());
        }
        let sizes: Vec<usize> = self.axes.iter().map(|&axis| x[axis]).collect();
        ResizedAxis::all(&sizes, &self.target).map_err(Error::geometry("Resize"))
    }

    /// The sizes of the resized axes of an input of this shape.
    ///
    /// # Errors
    /// Where the attributes do not fit it.
    pub fn output_sizes(&self, x: &[usize]) -> Result<Vec<usize>> {
        Ok(self.resized(x)?.iter().map(|axis| axis.output).collect())
    }

    /// Spatial axes are resized where the activation is blocked.
    fn blocked(&self, rank: usize) -> bool {
        (3..=5).contains(&rank) && self.axes.iter().all(|&axis| axis >= 2)
    }

    fn resampling(&self, x: &[usize]) -> Result<Resampling> {
        let mut shape = x.to_vec();
        if self.blocked(x.len()) {
            shape[1] = blocks(x[1]);
            shape.push(BLOCK);
        }
        let table = |(index, axis): (usize, ResizedAxis)| {
            axis.table(index, self.interpolation, &self.coordinates, self.antialias, self.exclude_outside)
        };
        let tables = self.resized(x)?.into_iter().enumerate().map(table);
        let constant = match self.coordinates {
            Coordinates::CropAndResize { extrapolation_value, .. } => extrapolation_value,
            _ => 0.0,
        };
        Ok(Resampling::new(&shape, self.axes.iter().copied().zip(tables).collect(), constant))
    }
}

pub(super) fn lowered(resampling: Resampling) -> Lowered {
    let scratch = resampling.scratch_len();
    Lowered::new(move |cpu, io| resampling.run(cpu, io.inputs.get(0), &mut io.outputs[0], io.scratch))
        .scratch(scratch)
}

impl Operator for Resize {
    fn name(&self) -> &'static str {
        "Resize"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let mut shape = inputs[0].to_vec();
        for (&axis, resized) in self.axes.iter().zip(self.resized(inputs[0])?) {
            shape[axis] = resized.output;
        }
        checked_product("output", &shape).map_err(Error::geometry("Resize"))?;
        Ok(vec![shape])
    }

    fn layouts(&self, shapes: &Shapes<'_>) -> Layouts {
        if self.blocked(shapes.inputs[0].len()) { Layouts::AllBlocked } else { Layouts::Plain }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(lowered(self.resampling(shapes.inputs[0])?))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let shape = context.shape(context.input(0)).to_vec();
        let dx = context.push(ResizeGradient { of: self.clone(), shape }, &[dy])?;
        context.add(0, dx[0])
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        self.resampling(shapes.inputs[0]).map_or(0, |resampling| resampling.macs())
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let (mode, attributes) = match self.interpolation {
            Interpolation::Nearest(rounding) => {
                let name = ROUNDINGS.iter().find(|(_, known)| *known == rounding).map_or("", |known| known.0);
                ("nearest", Attributes::new().string("nearest_mode", name))
            }
            Interpolation::Linear => ("linear", Attributes::new()),
            Interpolation::Cubic(a) => ("cubic", Attributes::new().float("cubic_coeff_a", a)),
        };
        let mut inputs = vec![export.input(0), String::new(), String::new()];
        let coordinates = match &self.coordinates {
            Coordinates::HalfPixel => "half_pixel",
            Coordinates::HalfPixelSymmetric => "half_pixel_symmetric",
            Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
            Coordinates::AlignCorners => "align_corners",
            Coordinates::Asymmetric => "asymmetric",
            Coordinates::CropAndResize { roi, .. } => {
                let sides: Vec<f32> =
                    roi.iter().map(|side| side.0).chain(roi.iter().map(|side| side.1)).collect();
                inputs[1] = export.constant("roi", &[sides.len()], &sides);
                "tf_crop_and_resize"
            }
        };
        let mut attributes = attributes
            .string("mode", mode)
            .string("coordinate_transformation_mode", coordinates)
            .int("antialias", i64::from(self.antialias))
            .int("exclude_outside", i64::from(self.exclude_outside))
            .ints("axes", &self.axes);
        if let Coordinates::CropAndResize { extrapolation_value, .. } = self.coordinates {
            attributes = attributes.float("extrapolation_value", extrapolation_value);
        }
        match &self.target {
            Target::Scales(scales) => inputs[2] = export.constant("scales", &[scales.len()], scales),
            Target::Sizes(sizes, aspect) => {
                let sizes: Vec<i64> = sizes.iter().map(|&size| size as i64).collect();
                inputs.push(export.constant_ints("sizes", &sizes));
                let policy = ASPECTS.iter().find(|(_, known)| known == aspect).map_or("", |known| known.0);
                attributes = attributes.string("keep_aspect_ratio_policy", policy);
            }
        }
        export.node_with("Resize", &inputs, attributes);
        Ok(())
    }
}

/// Input: gradient of the output.
#[derive(Clone, Debug)]
struct ResizeGradient {
    of: Resize,
    shape: Vec<usize>,
}

impl Operator for ResizeGradient {
    fn name(&self) -> &'static str {
        "ResizeGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let mut shape = self.shape.clone();
        if !self.of.axes.contains(&0) {
            shape[0] = inputs[0][0];
        }
        Ok(vec![shape])
    }

    fn layouts(&self, shapes: &Shapes<'_>) -> Layouts {
        self.of.layouts(shapes)
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(lowered(self.of.resampling(shapes.outputs[0])?.gradient()))
    }

    fn macs(&self, shapes: &Shapes<'_>) -> u64 {
        self.of.resampling(shapes.outputs[0]).map_or(0, |resampling| resampling.macs())
    }
}

const ROUNDINGS: [(&str, Rounding); 4] = [
    ("round_prefer_floor", Rounding::PreferFloor),
    ("round_prefer_ceil", Rounding::PreferCeil),
    ("floor", Rounding::Floor),
    ("ceil", Rounding::Ceil),
];

const ASPECTS: [(&str, Aspect); 3] =
    [("stretch", Aspect::Stretch), ("not_larger", Aspect::NotLarger), ("not_smaller", Aspect::NotSmaller)];

/// The entry of `known` that attribute `name` names.
fn choice<T: Copy>(import: &Import<'_>, name: &str, known: &[(&str, T)]) -> Result<T> {
    let received = import.string(name, known[0].0)?;
    let found = known.iter().find(|(known, _)| *known == received);
    found
        .map(|known| known.1)
        .ok_or_else(|| Error::unsupported(import.op_type(), format!("{name} = {received:?}")))
}

/// `Resize`: scales alone in opset 10, then roi, scales and sizes.
pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    if import.opset() < 11 {
        return upsample::import(import);
    }
    let (x, given) = (import.input(0)?, |import: &Import<'_>, i| {
        import.constant_if_given(i).map(|tensor| tensor.filter(|tensor| !tensor.data().is_empty()))
    });
    let rank = import.shape(x).len();
    let axes: Vec<usize> = match import.ints("axes")? {
        Some(axes) => {
            axes.iter().map(|&axis| import.axis_number("axes", axis, rank)).collect::<Result<_>>()?
        }
        None => (0..rank).collect(),
    };
    let aspect = choice(import, "keep_aspect_ratio_policy", &ASPECTS)?;
    let target = match (given(import, 2)?, given(import, 3)?) {
        (Some(scales), None) => Target::Scales(scales.data().to_vec()),
        (None, Some(_)) => {
            let sizes = import.constant_ints(3)?;
            let size = |&size: &i64| {
                usize::try_from(size).map_err(|_| {
                    Error::argument("Resize", "sizes", "no negative number", format!("{sizes:?}"))
                })
            };
            Target::Sizes(sizes.iter().map(size).collect::<Result<_>>()?, aspect)
        }
        (scales, _) => {
            let received = if scales.is_some() { "both" } else { "neither" };
            return Err(Error::argument("Resize", "scales and sizes", "one of them", received));
        }
    };
    let mut rounding = choice(import, "nearest_mode", &ROUNDINGS)?;
    let coordinates = match import.string("coordinate_transformation_mode", "half_pixel")?.as_str() {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        // The floor of a place half a cell further on.
        "tf_half_pixel_for_nn" if rounding == Rounding::Floor => {
            rounding = Rounding::PreferCeil;
            Coordinates::HalfPixel
        }
        "tf_crop_and_resize" => {
            let roi = given(import, 1)?.map_or(vec![], |roi| roi.data().to_vec());
            if roi.len() != 2 * axes.len() {
                let expected = format!("{} numbers, two for each axis", 2 * axes.len());
                return Err(Error::argument("Resize", "roi", expected, roi.len()));
            }
            let (starts, ends) = roi.split_at(axes.len());
            Coordinates::CropAndResize {
                roi: starts.iter().copied().zip(ends.iter().copied()).collect(),
                extrapolation_value: import.float("extrapolation_value", 0.0)?,
            }
        }
        other => {
            return Err(Error::unsupported("Resize", format!("coordinate_transformation_mode = {other:?}")));
        }
    };
    let interpolation = match import.string("mode", "nearest")?.as_str() {
        "nearest" => Interpolation::Nearest(rounding),
        "linear" => Interpolation::Linear,
        "cubic" => Interpolation::Cubic(import.float("cubic_coeff_a", -0.75)?),
        other => return Err(Error::unsupported("Resize", format!("mode = {other:?}"))),
    };
    let antialias = import.int("antialias", 0)? != 0;
    if antialias && matches!(interpolation, Interpolation::Nearest(_)) {
        return Err(Error::unsupported("Resize", "antialias with mode = \"nearest\""));
    }
    let exclude_outside = import.int("exclude_outside", 0)? != 0;
    let op = Resize { axes, target, interpolation, coordinates, antialias, exclude_outside };
    let shape = import.shape(x).to_vec();
    import.push(op.without_open_batch(&shape), &[x])
}

impl Resize {
    /// Without axis 0 where it stays as it is: the file's batch is not every batch.
    fn without_open_batch(mut self, x: &[usize]) -> Self {
        let Some(index) = self.axes.iter().position(|&axis| axis == 0) else { return self };
        let stays = match &self.target {
            Target::Scales(scales) => scales.get(index) == Some(&1.0),
            Target::Sizes(sizes, aspect) => *aspect == Aspect::Stretch && sizes.get(index) == x.first(),
        };
        let whole = match &self.coordinates {
            Coordinates::CropAndResize { roi, .. } => roi.get(index) == Some(&(0.0, 1.0)),
            _ => true,
        };
        if stays && whole {
            self.axes.remove(index);
            match &mut self.target {
                Target::Scales(scales) => drop(scales.remove(index)),
                Target::Sizes(sizes, _) => drop(sizes.remove(index)),
            }
            if let Coordinates::CropAndResize { roi, .. } = &mut self.coordinates {
                roi.remove(index);
            }
        }
        self
    }
}

pub(super) fn examples() -> Vec<Example> {
    let sizes = |sizes: &[usize]| Target::Sizes(sizes.to_vec(), Aspect::Stretch);
    let scales = |scales: &[f32]| Target::Scales(scales.to_vec());
    let (nearest, cubic) = (Interpolation::Nearest, Interpolation::Cubic(-0.75));
    let crop = Coordinates::CropAndResize { roi: vec![(0.1, 0.8), (-0.2, 1.1)], extrapolation_value: 0.5 };
    let square =
        |target, interpolation, coordinates| Resize::new(vec![2, 3], target, interpolation, coordinates);
    let antialias = |interpolation| Resize {
        antialias: true,
        ..square(sizes(&[3, 2]), interpolation, Coordinates::HalfPixel)
    };
    let mut examples = vec![
        Example::new(
            Resize::new(vec![2], scales(&[2.5]), nearest(Rounding::Floor), Coordinates::Asymmetric),
            [&[2, 3, 7]],
        ),
        Example::new(
            Resize::new(vec![2, 3, 4], sizes(&[5, 2, 6]), Interpolation::Linear, Coordinates::HalfPixel),
            [&[2, 9, 3, 5, 2]],
        ),
        Example::new(
            Resize::new(vec![1, 2], sizes(&[5, 4]), Interpolation::Linear, Coordinates::HalfPixel),
            [&[2, 3, 7]],
        ),
        Example::new(
            Resize { exclude_outside: true, ..square(scales(&[1.7, 2.0]), cubic, Coordinates::HalfPixel) },
            [&[1, 3, 5, 4]],
        ),
        Example::new(square(sizes(&[4, 5]), Interpolation::Linear, crop), [&[2, 3, 5, 4]]),
        Example::new(
            Resize::new(
                vec![3, 2],
                Target::Sizes(vec![5, 9], Aspect::NotLarger),
                nearest(Rounding::PreferFloor),
                Coordinates::HalfPixel,
            ),
            [&[1, 2, 6, 4]],
        ),
        Example::new(antialias(Interpolation::Linear), [&[2, 9, 7, 8]]),
        Example::new(antialias(cubic), [&[2, 3, 8, 9]]),
    ];
    let places = [
        Coordinates::HalfPixel,
        Coordinates::PytorchHalfPixel,
        Coordinates::AlignCorners,
        Coordinates::Asymmetric,
        Coordinates::HalfPixelSymmetric,
    ];
    for coordinates in places {
        // Aligned corners of no whole number of cells mean another thing to each runtime.
        let whole = coordinates == Coordinates::AlignCorners;
        let scales = scales(if whole { &[1.6, 2.25] } else { &[1.6, 2.3] });
        let up = square(scales, Interpolation::Linear, coordinates.clone());
        examples.push(Example::new(up, [&[2, 3, 5, 4]]));
        let down = square(sizes(&[3, 5]), cubic, coordinates);
        examples.push(Example::new(down, [&[1, 9, 5, 4]]));
    }
    examples
}
