//! Elementwise sum and product of two values (ONNX `Add`, `Mul`).

use std::ops::RangeInclusive;

use svertka_kernels::binary;

use super::{Example, Layouts, Lowered, Operator, Shapes, broadcast, elements, expect_shape, planes};
use crate::error::Result;
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Sum of two values of one shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Add;

impl Operator for Add {
    fn name(&self) -> &'static str {
        "Add"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        expect_shape(self, "second input", inputs[0], inputs[1])?;
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Same
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        Ok(Lowered::new(|cpu, io| binary::add(cpu, io.first(), io.inputs.get(1), &mut io.outputs[0]))
            .in_place())
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        for i in 0..2 {
            if context.needs(i) {
                context.add(i, dy)?;
            }
        }
        Ok(())
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.node("Add", Attributes::new());
        Ok(())
    }
}

/// Product of two values of one shape, or of an activation `N x C x spatial` and one factor a channel, `N x C x 1...`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mul;

fn by_channel(shapes: &Shapes<'_>) -> bool {
    shapes.inputs[0] != shapes.inputs[1]
}

impl Operator for Mul {
    fn name(&self) -> &'static str {
        "Mul"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let mut factors = inputs[0].to_vec();
        factors.iter_mut().skip(2).for_each(|size| *size = 1);
        if inputs[1] != factors || inputs[0].len() < 3 {
            expect_shape(self, "second input", inputs[0], inputs[1])?;
        }
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, shapes: &Shapes<'_>) -> Layouts {
        if by_channel(shapes) { Layouts::Blocked { inputs: &[0, 1], outputs: &[0] } } else { Layouts::Same }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        if !by_channel(shapes) {
            let run = |cpu: &_, io: &mut super::Io<'_>| {
                binary::mul(cpu, io.first(), io.inputs.get(1), &mut io.outputs[0])
            };
            return Ok(Lowered::new(run).in_place());
        }
        let planes = planes(shapes.inputs[0]);
        Ok(Lowered::new(move |cpu, io| {
            binary::scale_channels(cpu, planes, io.inputs.get(1), io.first(), &mut io.outputs[0]);
        })
        .in_place())
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let (a, b) = (context.input(0), context.input(1));
        if context.needs(0) {
            let da = context.push(Mul, &[dy, b])?;
            context.add(0, da[0])?;
        }
        if context.needs(1) {
            let db = if context.shape(a) == context.shape(b) {
                context.push(Mul, &[dy, a])?
            } else {
                context.push(MulFactorGradient, &[dy, a])?
            };
            context.add(1, db[0])?;
        }
        Ok(())
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.node("Mul", Attributes::new());
        Ok(())
    }
}

/// The gradient of one factor a channel; inputs: gradient of the output, activation.
#[derive(Clone, Copy, Debug)]
struct MulFactorGradient;

impl Operator for MulFactorGradient {
    fn name(&self) -> &'static str {
        "MulFactorGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let mut shape = inputs[0].to_vec();
        shape.iter_mut().skip(2).for_each(|size| *size = 1);
        Ok(vec![shape])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0, 1], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let planes = planes(shapes.inputs[0]);
        Ok(Lowered::new(move |cpu, io| {
            let (dy, x) = (io.inputs.get(0), io.inputs.get(1));
            binary::scale_channels_factor_gradient(cpu, planes, x, dy, &mut io.outputs[0]);
        }))
    }
}

/// `Add`; of a constant row after a product of matrices it is that product's bias.
pub(super) fn import_add(import: &mut Import<'_>) -> Result<()> {
    if import.fold_bias()? {
        return Ok(());
    }
    match import.all_inputs()?[..] {
        [a, b] if import.shape(a) == import.shape(b) => import.push(Add, &[a, b]),
        _ => broadcast::import(import),
    }
}

/// `Mul`, the larger input first.
pub(super) fn import_mul(import: &mut Import<'_>) -> Result<()> {
    if let [a, b] = import.all_inputs()?[..] {
        let swap = elements(import.shape(a)) < elements(import.shape(b));
        let inputs = if swap { [b, a] } else { [a, b] };
        if Mul.infer(&inputs.map(|value| import.shape(value))).is_ok() {
            return import.push(Mul, &inputs);
        }
    }
    broadcast::import(import)
}

pub(super) fn examples() -> Vec<Example> {
    vec![
        Example::new(Add, [&[2, 3, 5, 4], &[2, 3, 5, 4]]),
        Example::new(Add, [&[3, 7], &[3, 7]]),
        Example::new(Mul, [&[2, 3, 5, 4], &[2, 3, 5, 4]]),
        Example::new(Mul, [&[2, 9, 5, 4], &[2, 9, 1, 1]]),
        Example::new(Mul, [&[3, 7], &[3, 7]]),
    ]
}
