//! Padding and cropping along any axes (ONNX `Pad`, `CenterCropPad`): what [`Pad`](super::Pad) can't say.

use std::ops::RangeInclusive;

use svertka_kernels::geometry::checked_product;
use svertka_kernels::pad::{self, PadMode};
use svertka_kernels::resample::Resampling;

use super::resize::lowered;
use super::{Example, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Pads or, with negative numbers, crops any axes; what is cropped is gone before the rest is padded.
#[derive(Clone, Debug, PartialEq)]
pub struct PadAxes {
    /// What the new cells hold.
    pub mode: PadMode,
    /// Cells before the first and after the last, for every axis.
    pub pads: Vec<(i64, i64)>,
}

impl PadAxes {
    fn resampling(&self, x: &[usize]) -> Resampling {
        let tables =
            x.iter().zip(&self.pads).map(|(&size, &pads)| pad::table(self.mode, size, pads)).enumerate();
        let constant = if let PadMode::Constant(value) = self.mode { value } else { 0.0 };
        Resampling::new(x, tables.collect(), constant)
    }
}

impl Operator for PadAxes {
    fn name(&self) -> &'static str {
        "Pad"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let x = inputs[0];
        if self.pads.len() != x.len() {
            let expected = format!("two numbers for each axis of shape {x:?}");
            return Err(Error::argument("Pad", "pads", expected, format!("{:?}", self.pads)));
        }
        let mut shape = vec![];
        for (axis, (&size, &pads)) in x.iter().zip(&self.pads).enumerate() {
            let wrong = |argument: String, expected: String| {
                Err(Error::argument("Pad", argument, expected, format!("{pads:?}")))
            };
            let Some(kept) = pad::kept(size, pads) else {
                return wrong("pads".into(), format!("to crop at most the {size} cells of axis {axis}"));
            };
            let (before, after) = (pads.0.max(0) as usize, pads.1.max(0) as usize);
            let most = self.mode.most(kept);
            if before.max(after) > most {
                let reason = self.mode.reason();
                return wrong(
                    format!("pads ({})", self.mode.name()),
                    format!("at most {most} on either side of axis {axis} of size {kept}, as {reason}"),
                );
            }
            shape.push(kept.saturating_add(before).saturating_add(after));
        }
        checked_product("pads", &shape).map_err(Error::geometry("Pad"))?;
        // No axis is longer than a tensor, even where another is empty: its table has a row for each cell.
        for &size in &shape {
            checked_product("pads", &[size]).map_err(Error::geometry("Pad"))?;
        }
        Ok(vec![shape])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(lowered(self.resampling(shapes.inputs[0])))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let shape = context.shape(context.input(0)).to_vec();
        let dx = context.push(PadAxesGradient { of: self.clone(), shape }, &[dy])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let (mode, value) = match self.mode {
            PadMode::Constant(value) => ("constant", Some(value)),
            PadMode::Replicate => ("edge", None),
            PadMode::Reflect => ("reflect", None),
            PadMode::Circular => ("wrap", None),
            PadMode::Symmetric => {
                return Err(Error::unsupported("Pad", "export to ONNX of a symmetric padding of any axes"));
            }
        };
        let pads: Vec<i64> =
            self.pads.iter().map(|pads| pads.0).chain(self.pads.iter().map(|pads| pads.1)).collect();
        let mut inputs = vec![export.input(0), export.constant_ints("pads", &pads)];
        inputs.extend(value.map(|value| export.constant("value", &[], &[value])));
        export.node_with("Pad", &inputs, Attributes::new().string("mode", mode));
        Ok(())
    }
}

/// Input: gradient of the output.
#[derive(Clone, Debug)]
struct PadAxesGradient {
    of: PadAxes,
    shape: Vec<usize>,
}

impl Operator for PadAxesGradient {
    fn name(&self) -> &'static str {
        "PadAxesGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let batch = self.of.pads.iter().zip(inputs[0]).take(1);
        let batch = batch.map(|(pads, &batch)| (batch as i64 - pads.0 - pads.1) as usize);
        Ok(vec![batch.chain(self.shape.iter().copied().skip(1)).collect()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(lowered(self.of.resampling(shapes.outputs[0]).gradient()))
    }
}

/// `CenterCropPad`: each axis cropped or padded with zeros at both ends to the size of input 1; an odd cell goes at the end.
pub(super) fn import_center_crop_pad(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let (shape, sizes) = (import.shape(x).to_vec(), import.constant_ints(1)?);
    let axes: Vec<usize> = match import.ints("axes")? {
        Some(axes) => {
            axes.iter().map(|&axis| import.axis_number("axes", axis, shape.len())).collect::<Result<_>>()?
        }
        None => (0..shape.len()).collect(),
    };
    if sizes.len() != axes.len() || sizes.iter().any(|&size| size < 0) {
        let expected = format!("{} sizes, none negative", axes.len());
        return Err(Error::argument("CenterCropPad", "shape", expected, format!("{sizes:?}")));
    }
    let mut pads = vec![(0, 0); shape.len()];
    for (&axis, size) in axes.iter().zip(sizes) {
        let added = size - shape[axis] as i64;
        pads[axis] = (added / 2, added - added / 2);
    }
    import.push(PadAxes { mode: PadMode::Constant(0.0), pads }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let modes = [PadMode::Constant(1.5), PadMode::Replicate, PadMode::Reflect, PadMode::Circular];
    let every = modes.map(|mode| {
        Example::new(PadAxes { mode, pads: vec![(0, 1), (2, 0), (0, 0), (-1, 2)] }, [&[2, 3, 5, 4]])
    });
    let constant = PadMode::Constant(-0.5);
    let line = Example::new(PadAxes { mode: constant, pads: vec![(0, 0), (-2, 3)] }, [&[3, 9]]);
    let six = PadAxes { mode: constant, pads: vec![(0, 0), (0, 1), (0, 0), (-1, 0), (0, 0), (1, 1)] };
    [&every[..], &[line, Example::new(six, [&[1, 2, 2, 3, 1, 4]])]].concat()
}
