//! Padding of the spatial axes of an activation (ONNX `Pad`) in every mode of [`PadMode`].

use std::ops::RangeInclusive;

use svertka_kernels::geometry::{AXES, checked_product};
use svertka_kernels::pad::{self, PadGeometry, PadMode};

use super::{Example, Layouts, Lowered, Operator, PadAxes, Shapes, activation, expect_activation, spatial};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Pads the spatial axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pad {
    /// What the new cells hold.
    pub mode: PadMode,
    /// Cells before the first and after the last, for depth, height and width.
    pub pads: [(usize, usize); 3],
}

impl Pad {
    fn geometry(&self, x: &[usize]) -> PadGeometry {
        PadGeometry { batch: x[0], channels: x[1], input: spatial(x), pads: self.pads }
    }
}

impl Operator for Pad {
    fn name(&self) -> &'static str {
        "Pad"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let x = inputs[0];
        expect_activation(self, "input", x)?;
        pad::check(self.mode, spatial(x), self.pads).map_err(|error| {
            let expected = format!(
                "at most {} on either side of the {} of size {}, as {}",
                error.most,
                AXES[error.axis],
                error.size,
                error.mode.reason()
            );
            Error::argument(
                "Pad",
                format!("pads ({})", error.mode.name()),
                expected,
                format!("{:?}", (error.before, error.after)),
            )
        })?;
        for (before, after) in self.pads {
            checked_product("pads", &[before.saturating_add(after)]).map_err(Error::geometry("Pad"))?;
        }
        let shape = activation(x[0], x[1], pad::output(spatial(x), self.pads), x);
        checked_product("pads", &shape).map_err(Error::geometry("Pad"))?;
        Ok(vec![shape])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (mode, geometry) = (self.mode, self.geometry(shapes.inputs[0]));
        Ok(Lowered::new(move |cpu, io| {
            pad::forward(cpu, mode, &geometry, io.inputs.get(0), &mut io.outputs[0])
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let shape = context.shape(context.input(0)).to_vec();
        let dx = context.push(PadGradient { of: *self, shape }, &[dy])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let dims = export.shape_of_input(0).len() - 2;
        let axes = &self.pads[3 - dims..];
        let begins = axes.iter().map(|pads| pads.0 as i64);
        let ends = axes.iter().map(|pads| pads.1 as i64);
        let pads: Vec<i64> = [0, 0].into_iter().chain(begins).chain([0, 0]).chain(ends).collect();
        let mode = match self.mode {
            PadMode::Constant(_) => "constant",
            PadMode::Replicate => "edge",
            PadMode::Reflect => "reflect",
            PadMode::Circular => "wrap",
            // No mode of `Pad` repeats the edge in a mirror: read every axis by index instead.
            PadMode::Symmetric => {
                let input = spatial(export.shape_of_input(0));
                let mut name = export.input(0);
                let padded = (3 - dims..3).filter(|&axis| self.pads[axis] != (0, 0)).collect::<Vec<_>>();
                if padded.is_empty() {
                    export.node("Identity", Attributes::new());
                }
                for (i, &axis) in padded.iter().enumerate() {
                    let (before, after) = self.pads[axis];
                    let index = (0..input[axis] + before + after).map(|cell| {
                        pad::source(PadMode::Symmetric, input[axis], before, cell).unwrap_or(0) as i64
                    });
                    let index = export.constant_ints(&format!("index{axis}"), &index.collect::<Vec<_>>());
                    let attributes = Attributes::new().int("axis", (axis + dims - 1) as i64);
                    if i + 1 == padded.len() {
                        export.node_with("Gather", &[name.clone(), index], attributes);
                    } else {
                        name = export.inner("Gather", &[name, index], attributes);
                    }
                }
                return Ok(());
            }
        };
        let mut inputs = vec![export.input(0), export.constant_ints("pads", &pads)];
        if let PadMode::Constant(value) = self.mode {
            inputs.push(export.constant("value", &[], &[value]));
        }
        export.node_with("Pad", &inputs, Attributes::new().string("mode", mode));
        Ok(())
    }
}

/// Each padded cell's gradient goes to the cell it was read from. Input: gradient of the output.
#[derive(Clone, Debug)]
struct PadGradient {
    of: Pad,
    shape: Vec<usize>,
}

impl Operator for PadGradient {
    fn name(&self) -> &'static str {
        "PadGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![[&inputs[0][..1], &self.shape[1..]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (mode, geometry) = (self.of.mode, self.of.geometry(shapes.outputs[0]));
        Ok(Lowered::new(move |cpu, io| {
            pad::backward(cpu, mode, &geometry, io.inputs.get(0), &mut io.outputs[0])
        }))
    }
}

/// `Pad`: pads are an attribute before opset 11 (`paddings` in opset 1), then a constant input. [`PadAxes`] where they are not those of spatial axes.
pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let rank = import.shape(x).len();
    let given = match import.ints(if import.opset() < 2 { "paddings" } else { "pads" })? {
        Some(pads) => pads,
        None => import.constant_ints(1)?,
    };
    let axes: Vec<usize> = match import.constant_ints_if_given(3)? {
        Some(axes) => {
            axes.iter().map(|&axis| import.axis_number("axes", axis, rank)).collect::<Result<_>>()?
        }
        None => (0..rank).collect(),
    };
    if given.len() != 2 * axes.len() {
        let expected = format!("{} numbers, two for each axis", 2 * axes.len());
        return Err(Error::argument("Pad", "pads", expected, format!("{given:?}")));
    }
    let mut pads = vec![(0, 0); rank];
    for (&axis, pair) in axes.iter().zip(given.iter().zip(&given[axes.len()..])) {
        pads[axis] = (*pair.0, *pair.1);
    }
    let mode = match import.string("mode", "constant")?.as_str() {
        "constant" => {
            let mut value = import.float("value", 0.0)?;
            if import.optional(2)?.is_some() {
                value = import.constant(2)?.data().first().copied().unwrap_or(value);
            }
            PadMode::Constant(value)
        }
        "edge" => PadMode::Replicate,
        "reflect" => PadMode::Reflect,
        "wrap" => PadMode::Circular,
        other => return Err(Error::unsupported("Pad", format!("mode = {other:?}"))),
    };
    let size = |pads: &(i64, i64)| Some((usize::try_from(pads.0).ok()?, usize::try_from(pads.1).ok()?));
    let spatial: Option<Vec<(usize, usize)>> = pads.iter().map(size).collect();
    match spatial {
        Some(spatial) if (3..=5).contains(&rank) && spatial[..2] == [(0, 0); 2] => {
            let mut pads = [(0, 0); 3];
            pads[5 - rank..].copy_from_slice(&spatial[2..]);
            import.push(Pad { mode, pads }, &[x])
        }
        _ => import.push(PadAxes { mode, pads }, &[x]),
    }
}

pub(super) fn examples() -> Vec<Example> {
    let modes =
        [PadMode::Constant(1.5), PadMode::Replicate, PadMode::Reflect, PadMode::Symmetric, PadMode::Circular];
    let pads = [(0, 0), (2, 1), (0, 3)];
    modes
        .into_iter()
        .flat_map(|mode| {
            [
                Example::new(Pad { mode, pads }, [&[2, 3, 5, 4]]),
                Example::new(Pad { mode, pads }, [&[1, 9, 1, 3, 6]]),
            ]
        })
        .collect()
}
