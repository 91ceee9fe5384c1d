//! Pooling over all spatial cells (ONNX `GlobalAveragePool`, `GlobalMaxPool`): `N x C x spatial` to `N x C x 1...`.

use std::ops::RangeInclusive;

use svertka_kernels::pool;

use super::{Example, Field, Layouts, Lowered, Operator, Shapes, expect_activation, planes};
use crate::error::Result;
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// What is kept of all the cells of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    Average,
    /// The largest.
    Max,
}

/// Pooling over all spatial cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GlobalPool(pub Reduction);

impl Operator for GlobalPool {
    fn name(&self) -> &'static str {
        match self.0 {
            Reduction::Average => "GlobalAveragePool",
            Reduction::Max => "GlobalMaxPool",
        }
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        expect_activation(self, "input", inputs[0])?;
        let mut shape = inputs[0].to_vec();
        shape[2..].fill(1);
        Ok(vec![shape])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let planes = planes(shapes.inputs[0]);
        let run = match self.0 {
            Reduction::Average => pool::global_average_forward,
            Reduction::Max => pool::global_max_forward,
        };
        Ok(Lowered::new(move |cpu, io| run(cpu, planes, io.inputs.get(0), &mut io.outputs[0])))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let x = context.input(0);
        let dx = match self.0 {
            Reduction::Average => {
                let shape = context.shape(x).to_vec();
                context.push(GlobalAverageGradient { shape }, &[dy])?
            }
            Reduction::Max => context.push(GlobalMaxGradient, &[x, dy])?,
        };
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.node(self.name(), Attributes::new());
        Ok(())
    }
}

/// Input: gradient of the output.
#[derive(Clone, Debug)]
struct GlobalAverageGradient {
    shape: Vec<usize>,
}

impl Operator for GlobalAverageGradient {
    fn name(&self) -> &'static str {
        "GlobalAveragePoolGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![[&inputs[0][..1], &self.shape[1..]].concat()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let planes = planes(shapes.outputs[0]);
        Ok(Lowered::new(move |cpu, io| {
            pool::global_average_backward(cpu, planes, io.inputs.get(0), &mut io.outputs[0]);
        }))
    }
}

/// Inputs: input, gradient of the output. Finds each channel's first maximum again.
#[derive(Clone, Copy, Debug)]
struct GlobalMaxGradient;

impl Operator for GlobalMaxGradient {
    fn name(&self) -> &'static str {
        "GlobalMaxPoolGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Blocked { inputs: &[0, 1], outputs: &[0] }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let planes = planes(shapes.inputs[0]);
        Ok(Lowered::new(move |cpu, io| {
            let (x, dy) = (io.inputs.get(0), io.inputs.get(1));
            pool::global_max_backward(cpu, planes, x, dy, &mut io.outputs[0]);
        }))
    }
}

pub(super) fn import_average(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    import.push(GlobalPool(Reduction::Average), &[x])
}

pub(super) fn import_max(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    import.push(GlobalPool(Reduction::Max), &[x])
}

pub(super) fn examples() -> Vec<Example> {
    [Reduction::Average, Reduction::Max]
        .into_iter()
        .flat_map(|reduction| {
            let op = GlobalPool(reduction);
            [
                Example::new(op, [&[2, 3, 5, 4]]),
                Example::new(op, [&[1, 9, 7]]),
                Example::new(op, [&[2, 2, 2, 3, 1]]),
            ]
        })
        .collect()
}
