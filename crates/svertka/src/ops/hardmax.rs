//! One at the first maximum along an axis, zero elsewhere (ONNX `Hardmax`).

use std::ops::RangeInclusive;

use svertka_kernels::softmax;

use super::softmax::Along;
use super::{Example, Layouts, Lowered, Operator, Shapes};
use crate::error::Result;
use crate::gradient::GradientContext;
use crate::onnx::{Export, Import};

/// One at the first maximum along an axis, zero elsewhere. Its gradient is zero wherever it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hardmax(pub Along);

impl Operator for Hardmax {
    fn name(&self) -> &'static str {
        "Hardmax"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        self.0.check(self, inputs[0])?;
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let lines = self.0.lines(shapes.inputs[0]);
        Ok(Lowered::new(move |cpu, io| softmax::hardmax(cpu, lines, io.inputs.get(0), &mut io.outputs[0])))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(HardmaxGradient, &[dy])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        self.0.export(export, "Hardmax");
        Ok(())
    }
}

/// Zeros. Input: gradient of the output.
#[derive(Clone, Copy, Debug)]
struct HardmaxGradient;

impl Operator for HardmaxGradient {
    fn name(&self) -> &'static str {
        "HardmaxGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Same
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(Lowered::new(|_, io| io.outputs[0].fill(0.0)))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let shape = import.shape(x).to_vec();
    let along = Along::import(import, &shape)?;
    import.push(Hardmax(along), &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let shapes: [(&[usize], usize, bool); 4] =
        [(&[3, 7], 1, false), (&[3, 7], 0, false), (&[2, 9, 5, 4], 1, false), (&[2, 3, 5], 1, true)];
    shapes.map(|(x, axis, to_last)| Example::new(Hardmax(Along { axis, to_last }), [x])).into()
}
