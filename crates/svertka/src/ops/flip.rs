//! The spatial axes turned around (ONNX `Slice` with steps of minus one): before the weight of a [`Conv`](super::Conv) it makes the
//! cross-correlation a true convolution.
//!
//! `y[n, c, p] = x[n, c, size - 1 - p]` along every spatial axis.

use std::ops::RangeInclusive;

use super::{Example, Layouts, Lowered, Operator, Role, Shapes, elements, expect_activation};
use crate::error::Result;
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export};

/// Reverses the spatial axes. Input: a weight `out x in x kernel`, or an activation `N x C x spatial`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flip;

impl Operator for Flip {
    fn name(&self) -> &'static str {
        "Flip"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        expect_activation(self, "input", inputs[0])?;
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let cells = elements(&shapes.inputs[0][2..]).max(1);
        Ok(Lowered::new(move |_, io| {
            let x = io.inputs.get(0).chunks_exact(cells);
            for (x, y) in x.zip(io.outputs[0].chunks_exact_mut(cells)) {
                // In row-major order all axes turn around at once.
                x.iter().rev().zip(y).for_each(|(x, y)| *y = *x);
            }
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(Self, &[dy])?;
        context.add(0, dx[0])
    }

    fn role(&self, _: usize) -> Role {
        Role::Weight
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let axes: Vec<i64> = (2..export.shape_of_input(0).len() as i64).collect();
        let mut inputs = vec![export.input(0)];
        for (suffix, value) in [("starts", -1), ("ends", i64::MIN)] {
            inputs.push(export.constant_ints(suffix, &vec![value; axes.len()]));
        }
        inputs.push(export.constant_ints("axes", &axes));
        inputs.push(export.constant_ints("steps", &vec![-1; axes.len()]));
        export.node_with("Slice", &inputs, Attributes::new());
        Ok(())
    }
}

pub(super) fn examples() -> Vec<Example> {
    let shapes: [&[usize]; 4] = [&[2, 3, 5], &[5, 3, 3, 4], &[9, 1, 1, 2], &[1, 2, 2, 3, 4]];
    shapes.into_iter().map(|shape| Example::new(Flip, [shape])).collect()
}
