//! Division by the length along an axis (ONNX `LpNormalization`, `torch.nn.functional.normalize`).

use std::ops::RangeInclusive;

use svertka_kernels::lines::Lines;
use svertka_kernels::norm::{self, Power};

use super::{Example, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// `x / length` along an axis, the length being the sum of magnitudes or the root of the sum of squares; zero where that is zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LpNorm {
    /// The axis.
    pub axis: usize,
    /// Which length.
    pub power: Power,
}

impl LpNorm {
    fn lines(&self, x: &[usize]) -> Lines {
        Lines::along(x, self.axis..self.axis + 1)
    }
}

impl Operator for LpNorm {
    fn name(&self) -> &'static str {
        "LpNormalization"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let x = inputs[0];
        if self.axis >= x.len() {
            return Err(Error::argument(self.name(), "axis", format!("an axis of shape {x:?}"), self.axis));
        }
        Ok(vec![x.to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (lines, power) = (self.lines(shapes.inputs[0]), self.power);
        Ok(Lowered::new(move |cpu, io| {
            norm::lp_norm(cpu, lines, power, io.inputs.get(0), &mut io.outputs[0])
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(LpNormGradient(*self), &[context.input(0), dy])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let power = if self.power == Power::One { 1 } else { 2 };
        export.node("LpNormalization", Attributes::new().int("axis", self.axis as i64).int("p", power));
        Ok(())
    }
}

/// Inputs: input, gradient of the output.
#[derive(Clone, Copy, Debug)]
struct LpNormGradient(LpNorm);

impl Operator for LpNormGradient {
    fn name(&self) -> &'static str {
        "LpNormalizationGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (lines, power) = (self.0.lines(shapes.inputs[0]), self.0.power);
        Ok(Lowered::new(move |cpu, io| {
            norm::lp_norm_backward(cpu, lines, power, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0]);
        }))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let axis = import.axis("axis", -1, import.shape(x).len())?;
    let power = match import.int("p", 2)? {
        1 => Power::One,
        2 => Power::Two,
        other => return Err(Error::unsupported("LpNormalization", format!("p = {other}"))),
    };
    import.push(LpNorm { axis, power }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let shapes: [(&[usize], usize); 4] = [(&[3, 7], 1), (&[2, 9, 5, 4], 1), (&[4, 3], 0), (&[2, 3, 5], 2)];
    let power = |power| shapes.map(|(x, axis)| Example::new(LpNorm { axis, power }, [x]));
    [power(Power::One), power(Power::Two)].concat()
}
