//! Softmax over the last axis of `N x classes` (ONNX `Softmax`).

use std::ops::RangeInclusive;

use svertka_kernels::softmax;

use super::{Example, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// `exp(x) / sum(exp(x))` of each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax;

impl Operator for Softmax {
    fn name(&self) -> &'static str {
        "Softmax"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        if inputs[0].len() != 2 {
            return Err(Error::argument("Softmax", "input", "N x classes", format!("shape {:?}", inputs[0])));
        }
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (rows, classes) = (shapes.inputs[0][0], shapes.inputs[0][1]);
        Ok(Lowered::new(move |cpu, io| {
            softmax::softmax(cpu, rows, classes, io.inputs.get(0), &mut io.outputs[0])
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(SoftmaxGradient, &[context.output(0), dy])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.node("Softmax", Attributes::new().int("axis", 1));
        Ok(())
    }
}

/// Inputs: output, gradient of the output.
#[derive(Clone, Copy, Debug)]
struct SoftmaxGradient;

impl Operator for SoftmaxGradient {
    fn name(&self) -> &'static str {
        "SoftmaxGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (rows, classes) = (shapes.inputs[0][0], shapes.inputs[0][1]);
        Ok(Lowered::new(move |cpu, io| {
            let (y, dy) = (io.inputs.get(0), io.inputs.get(1));
            softmax::softmax_backward(cpu, rows, classes, y, dy, &mut io.outputs[0]);
        }))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let shape = import.shape(x).to_vec();
    // Before opset 13 the default axis is 1 and all later ones belong to the row: of two axes that is the same.
    let axis = import.axis("axis", if import.opset() < 13 { 1 } else { -1 }, shape.len())?;
    let rows = import.flattened(x)?;
    if axis != 1 {
        return Err(Error::unsupported("Softmax", format!("axis = {axis} of shape {shape:?}")));
    }
    import.push(Softmax, &[rows])
}

pub(super) fn examples() -> Vec<Example> {
    vec![Example::new(Softmax, [&[3, 7]]), Example::new(Softmax, [&[1, 10]])]
}
