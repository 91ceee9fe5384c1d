//! Sums, means and extremes over axes (ONNX `ReduceSum`, `ReduceMean`, `ReduceMax`, `ReduceMin`).

use std::ops::RangeInclusive;

use svertka_kernels::strided::{self, Reduce as Kernel, Reduction, View};

use super::{Example, Field, Layouts, Lowered, Operator, Shapes, elements};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// What becomes of the elements along the reduced axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceFunction {
    /// Their sum.
    Sum,
    /// Their mean; of none it is not a number.
    Mean,
    /// The largest; those that are equally large share the gradient.
    Max,
    /// The smallest; those that are equally small share the gradient.
    Min,
}

/// A reduction over `axes`, which stay with size one where `keep_dims` is set and go otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    /// What is kept.
    pub function: ReduceFunction,
    /// The axes, in order.
    pub axes: Vec<usize>,
    /// Whether the result has as many axes as the input.
    pub keep_dims: bool,
}

impl Reduce {
    /// The result's shape with all axes of `x`.
    fn kept(&self, x: &[usize]) -> Vec<usize> {
        (0..x.len()).map(|axis| if self.axes.contains(&axis) { 1 } else { x[axis] }).collect()
    }

    fn kernel(&self, reduction: Reduction, x: &[usize]) -> Kernel {
        let axes = x.iter().copied().zip(View::contiguous(x).strides).enumerate();
        let (reduced, kept): (Vec<_>, Vec<_>) = axes.partition(|(axis, _)| self.axes.contains(axis));
        let sizes =
            |axes: Vec<(usize, (usize, isize))>| axes.into_iter().map(|(_, axis)| axis).collect::<Vec<_>>();
        Kernel::new(reduction, &sizes(kept), &sizes(reduced))
    }

    /// Elements that one of the result is made of.
    fn count(&self, x: &[usize]) -> usize {
        self.axes.iter().map(|&axis| x[axis]).product()
    }
}

impl Operator for Reduce {
    fn name(&self) -> &'static str {
        match self.function {
            ReduceFunction::Sum => "ReduceSum",
            ReduceFunction::Mean => "ReduceMean",
            ReduceFunction::Max => "ReduceMax",
            ReduceFunction::Min => "ReduceMin",
        }
    }

    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let x = inputs[0];
        if self.axes.last().is_some_and(|&axis| axis >= x.len()) || !self.axes.is_sorted_by(|a, b| a < b) {
            let expected = format!("different axes below {}, in order", x.len());
            return Err(Error::argument(self.name(), "axes", expected, format!("{:?}", self.axes)));
        }
        if self.keep_dims {
            return Ok(vec![self.kept(x)]);
        }
        let axes = x.iter().enumerate().filter(|(axis, _)| !self.axes.contains(axis));
        Ok(vec![axes.map(|(_, &size)| size).collect()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let x = shapes.inputs[0];
        let (reduction, divisor) = match self.function {
            ReduceFunction::Sum => (Reduction::Sum, 1.0),
            ReduceFunction::Mean => (Reduction::Sum, self.count(x) as f32),
            ReduceFunction::Max => (Reduction::Max, 1.0),
            ReduceFunction::Min => (Reduction::Min, 1.0),
        };
        let kernel = self.kernel(reduction, x);
        Ok(Lowered::new(move |cpu, io| {
            kernel.run(cpu, io.inputs.get(0), &mut io.outputs[0]);
            io.outputs[0].iter_mut().for_each(|y| *y /= divisor);
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let (x, y) = (context.input(0), context.output(0));
        let extreme = matches!(self.function, ReduceFunction::Max | ReduceFunction::Min);
        let dx = if extreme {
            // How many elements are equal to the result decides on each one's share.
            let ties = context.push(Ties(self.clone()), &[x, y])?[0];
            context.push(ReduceGradient(self.clone()), &[dy, x, y, ties])?
        } else {
            context.push(ReduceGradient(self.clone()), &[dy, x])?
        };
        context.add(0, dx[0])
    }

    fn field(&self) -> Field {
        Field::All
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let axes: Vec<i64> = self.axes.iter().map(|&axis| axis as i64).collect();
        let axes = export.constant_ints("axes", &axes);
        let attributes =
            Attributes::new().int("keepdims", i64::from(self.keep_dims)).int("noop_with_empty_axes", 1);
        export.node_with(self.name(), &[export.input(0), axes], attributes);
        Ok(())
    }
}

/// Inputs: gradient of the output, input, and for extremes the output and the number of ties.
#[derive(Clone, Debug)]
struct ReduceGradient(Reduce);

impl Operator for ReduceGradient {
    fn name(&self) -> &'static str {
        "ReduceGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[1].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let x = shapes.inputs[1].to_vec();
        let (repeated, own) = (View::broadcast(&self.0.kept(&x), &x), View::contiguous(&x));
        if shapes.inputs.len() == 4 {
            let views = [repeated.clone(), own, repeated.clone(), repeated];
            return Ok(Lowered::new(move |cpu, io| {
                let inputs = [0, 1, 2, 3].map(|i| io.inputs.get(i));
                strided::map(cpu, &x, &views, inputs, &mut io.outputs[0], |[dy, x, y, ties]| {
                    if x == y { dy / ties } else { 0.0 }
                });
            }));
        }
        let mean = self.0.function == ReduceFunction::Mean;
        let divisor = if mean { self.0.count(&x).max(1) as f32 } else { 1.0 };
        Ok(Lowered::new(move |cpu, io| {
            let dy = [io.inputs.get(0)];
            strided::map(cpu, &x, std::array::from_ref(&repeated), dy, &mut io.outputs[0], |[dy]| {
                dy / divisor
            });
        }))
    }
}

/// How many elements of the input are equal to the result they went into; inputs: input, result.
#[derive(Clone, Debug)]
struct Ties(Reduce);

impl Operator for Ties {
    fn name(&self) -> &'static str {
        "ReduceTies"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[1].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let x = shapes.inputs[0].to_vec();
        let views = [View::contiguous(&x), View::broadcast(&self.0.kept(&x), &x)];
        let kernel = self.0.kernel(Reduction::Sum, &x);
        Ok(Lowered::new(move |cpu, io| {
            let equal = &mut io.scratch[..];
            let inputs = [io.inputs.get(0), io.inputs.get(1)];
            strided::map(cpu, &x, &views, inputs, equal, |[x, y]| f32::from(u8::from(x == y)));
            kernel.run(cpu, equal, &mut io.outputs[0]);
        })
        .scratch(elements(shapes.inputs[0])))
    }
}

/// Axes are an attribute, or from opset 13 (sums) and 18 on a constant input; without any, all.
pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let function = match import.op_type() {
        "ReduceMean" => ReduceFunction::Mean,
        "ReduceMax" => ReduceFunction::Max,
        "ReduceMin" => ReduceFunction::Min,
        _ => ReduceFunction::Sum,
    };
    let x = import.input(0)?;
    let rank = import.shape(x).len();
    let mut axes = import.axes(rank)?.unwrap_or_default();
    if axes.is_empty() && import.int("noop_with_empty_axes", 0)? == 0 {
        axes = (0..rank).collect();
    }
    axes.sort_unstable();
    let keep_dims = import.int("keepdims", 1)? != 0;
    import.push(Reduce { function, axes, keep_dims }, &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let all = [ReduceFunction::Sum, ReduceFunction::Mean, ReduceFunction::Max, ReduceFunction::Min];
    let reduce = |function, axes: &[usize], keep_dims| Reduce { function, axes: axes.to_vec(), keep_dims };
    all.into_iter()
        .flat_map(|function| {
            [
                Example::new(reduce(function, &[2, 3], true), [&[2, 9, 5, 4]]),
                Example::new(reduce(function, &[1], false), [&[3, 2, 7]]),
                Example::new(reduce(function, &[0, 1], false), [&[3, 7]]),
            ]
        })
        .collect()
}
