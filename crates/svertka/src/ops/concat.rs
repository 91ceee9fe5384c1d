//! Joining values along an axis (ONNX `Concat`).

use std::ops::RangeInclusive;

use svertka_kernels::Cpu;
use svertka_kernels::concat::{Source, Target, copy_channels};

use super::{Example, Layouts, Lowered, Operator, Shapes, elements};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// Joins values along `axis`; the other sizes are equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
}

impl Operator for Concat {
    fn name(&self) -> &'static str {
        "Concat"
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=usize::MAX
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let mut shape = inputs.first().copied().unwrap_or_default().to_vec();
        if self.axis >= shape.len() {
            return Err(Error::argument("Concat", "axis", format!("below {}", shape.len()), self.axis));
        }
        for (i, input) in inputs.iter().enumerate().skip(1) {
            let same = input.len() == shape.len()
                && input.iter().zip(&shape).enumerate().all(|(axis, (a, b))| axis == self.axis || a == b);
            if !same {
                let expected = format!("shape {shape:?} but for axis {}", self.axis);
                return Err(Error::argument(
                    "Concat",
                    format!("input {i}"),
                    expected,
                    format!("shape {input:?}"),
                ));
            }
            shape[self.axis] += input[self.axis];
        }
        Ok(vec![shape])
    }

    fn layouts(&self, shapes: &Shapes<'_>) -> Layouts {
        if blocked(self, shapes.outputs[0]) { Layouts::AllBlocked } else { Layouts::Plain }
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let parts: Vec<usize> = shapes.inputs.iter().map(|shape| shape[self.axis]).collect();
        let copy = Copy::new(self, shapes.outputs[0]);
        Ok(Lowered::new(move |cpu, io| {
            let mut start = 0;
            for (i, &size) in parts.iter().enumerate() {
                let from = Source { data: io.inputs.get(i), channels: size, start: 0 };
                copy.run(cpu, from, Target { data: &mut io.outputs[0], channels: copy.total, start }, size);
                start += size;
            }
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let mut start = 0;
        for i in 0..context.inputs() {
            let size = context.shape(context.input(i))[self.axis];
            if context.needs(i) {
                let part = context.push(Part { axis: self.axis, start, size }, &[dy])?;
                context.add(i, part[0])?;
            }
            start += size;
        }
        Ok(())
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.node("Concat", Attributes::new().int("axis", self.axis as i64));
        Ok(())
    }
}

/// Channels of an activation are joined blocked; all else is plain.
fn blocked(op: &Concat, shape: &[usize]) -> bool {
    op.axis == 1 && shape.len() > 2
}

/// Copies a range of an axis between values that differ in its size only. "Channels" are the cells of that axis, blocked or plain.
struct Copy {
    outer: usize,
    inner: usize,
    total: usize,
    blocked: bool,
}

impl Copy {
    fn new(op: &Concat, shape: &[usize]) -> Self {
        let (outer, inner) = (elements(&shape[..op.axis]), elements(&shape[op.axis + 1..]));
        Self { outer, inner, total: shape[op.axis], blocked: blocked(op, shape) }
    }

    fn run(&self, cpu: &Cpu, from: Source<'_>, to: Target<'_>, count: usize) {
        let (outer, inner) = (self.outer, self.inner);
        if self.blocked {
            return copy_channels(cpu, outer, inner, count, from, to);
        }
        for row in 0..outer {
            let source = &from.data[(row * from.channels + from.start) * inner..][..count * inner];
            to.data[(row * to.channels + to.start) * inner..][..count * inner].copy_from_slice(source);
        }
    }
}

/// A range of an axis: the gradient of one part of a [`Concat`].
#[derive(Clone, Copy, Debug)]
struct Part {
    axis: usize,
    start: usize,
    size: usize,
}

impl Operator for Part {
    fn name(&self) -> &'static str {
        "ConcatGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let mut shape = inputs[0].to_vec();
        shape[self.axis] = self.size;
        Ok(vec![shape])
    }

    fn layouts(&self, shapes: &Shapes<'_>) -> Layouts {
        Concat { axis: self.axis }.layouts(shapes)
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let Self { start, size, .. } = *self;
        let copy = Copy::new(&Concat { axis: self.axis }, shapes.inputs[0]);
        Ok(Lowered::new(move |cpu, io| {
            let from = Source { data: io.inputs.get(0), channels: copy.total, start };
            copy.run(cpu, from, Target { data: &mut io.outputs[0], channels: size, start: 0 }, size);
        }))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let inputs = import.all_inputs()?;
    let rank = inputs.first().map_or(0, |value| import.shape(*value).len());
    let axis = import.axis("axis", 1, rank)?;
    import.push(Concat { axis }, &inputs)
}

pub(super) fn examples() -> Vec<Example> {
    vec![
        Example::new(Concat { axis: 1 }, [&[2, 3, 5, 4], &[2, 8, 5, 4], &[2, 9, 5, 4]]),
        Example::new(Concat { axis: 2 }, [&[2, 3, 5, 4], &[2, 3, 2, 4]]),
        Example::new(Concat { axis: 1 }, [&[3, 2], &[3, 5]]),
    ]
}
