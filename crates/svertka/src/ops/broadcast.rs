//! Elementwise functions of two values whose shapes broadcast (ONNX `Add`, `Sub`, `Mul`, `Div`, `Pow`, `Max`, `Min`): axes are aligned at the last,
//! those of size one and those missing are repeated.
//!
//! [`Add`](super::Add) and [`Mul`](super::Mul) are the fast forms for shapes that need no repeating.

use std::ops::RangeInclusive;

use svertka_kernels::strided::{self, Reduce, Reduction, View};

use super::{Domain, Example, Layouts, Lowered, Operator, Reshape, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::graph::Value;
use crate::onnx::{Attributes, Export, Import};

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryFunction {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a b`.
    Mul,
    /// `a / b`.
    Div,
    /// `a^b`.
    Pow,
    /// The larger; not-a-number counts as that. Where both are equal each has half of the gradient, as in PyTorch.
    Max,
    /// The smaller; not-a-number counts as that. Where both are equal each has half of the gradient.
    Min,
}

impl BinaryFunction {
    const ALL: [Self; 7] = [Self::Add, Self::Sub, Self::Mul, Self::Div, Self::Pow, Self::Max, Self::Min];

    fn value(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Pow => a.powf(b),
            Self::Max if a.is_nan() || a > b => a,
            Self::Min if a.is_nan() || a < b => a,
            Self::Max | Self::Min => b,
        }
    }

    /// The derivative by `a` (side 0) or `b` (side 1).
    fn derivative(self, side: usize, a: f32, b: f32) -> f32 {
        let wins = |first: bool| if a == b { 0.5 } else { f32::from(u8::from(first == (side == 0))) };
        match (self, side) {
            (Self::Add, _) | (Self::Sub, 0) => 1.0,
            (Self::Sub, _) => -1.0,
            (Self::Mul, 0) => b,
            (Self::Mul, _) => a,
            (Self::Div, 0) => 1.0 / b,
            (Self::Div, _) => -a / (b * b),
            // The limit where the other factor would be infinite.
            (Self::Pow, 0) => {
                if b == 0.0 {
                    0.0
                } else {
                    b * a.powf(b - 1.0)
                }
            }
            (Self::Pow, _) => {
                if a == 0.0 && b >= 0.0 {
                    0.0
                } else {
                    a.powf(b) * a.ln()
                }
            }
            (Self::Max, _) => wins(a > b),
            (Self::Min, _) => wins(a < b),
        }
    }
}

/// An elementwise function of two values whose shapes broadcast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Broadcast(pub BinaryFunction);

/// The shape that both broadcast to.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (a, b) if a == b || b == 1 => Some(a),
            (1, b) => Some(b),
            _ => None,
        })
        .collect()
}

impl Operator for Broadcast {
    fn name(&self) -> &'static str {
        match self.0 {
            BinaryFunction::Add => "Add",
            BinaryFunction::Sub => "Sub",
            BinaryFunction::Mul => "Mul",
            BinaryFunction::Div => "Div",
            BinaryFunction::Pow => "Pow",
            BinaryFunction::Max => "Max",
            BinaryFunction::Min => "Min",
        }
    }

    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        let shape = broadcast(inputs[0], inputs[1]).ok_or_else(|| {
            let expected = format!("a shape that broadcasts with {:?}", inputs[0]);
            Error::argument(self.name(), "second input", expected, format!("shape {:?}", inputs[1]))
        })?;
        Ok(vec![shape])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (function, [a, b]) = (self.0, [shapes.inputs[0], shapes.inputs[1]]);
        if a == b {
            return Ok(Lowered::new(move |cpu, io| {
                let inputs = [io.inputs.get(0), io.inputs.get(1)];
                strided::zip(cpu, inputs, &mut io.outputs[0], |[a, b]| function.value(a, b));
            }));
        }
        let shape = shapes.outputs[0].to_vec();
        let views = [a, b].map(|input| View::broadcast(input, &shape));
        Ok(Lowered::new(move |cpu, io| {
            let inputs = [io.inputs.get(0), io.inputs.get(1)];
            strided::map(cpu, &shape, &views, inputs, &mut io.outputs[0], |[a, b]| function.value(a, b));
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let (a, b) = (context.input(0), context.input(1));
        for side in 0..2 {
            if !context.needs(side) {
                continue;
            }
            let linear = matches!(self.0, BinaryFunction::Add);
            let own = context.input(side);
            let mut gradient = if linear {
                dy
            } else {
                context.push(BroadcastGradient { function: self.0, side }, &[dy, a, b])?[0]
            };
            if context.shape(gradient) != context.shape(own) {
                gradient = context.push(SumTo, &[gradient, own])?[0];
            }
            context.add(side, gradient)?;
        }
        Ok(())
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        export.node(self.name(), Attributes::new());
        Ok(())
    }
}

/// The gradient of one side before it is summed over what was repeated; inputs: gradient of the output, both sides.
#[derive(Clone, Copy, Debug)]
struct BroadcastGradient {
    function: BinaryFunction,
    side: usize,
}

impl Operator for BroadcastGradient {
    fn name(&self) -> &'static str {
        "BroadcastGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (Self { function, side }, shape) = (*self, shapes.outputs[0].to_vec());
        let views = [0, 1, 2].map(|i| View::broadcast(shapes.inputs[i], &shape));
        Ok(Lowered::new(move |cpu, io| {
            let inputs = [0, 1, 2].map(|i| io.inputs.get(i));
            strided::map(cpu, &shape, &views, inputs, &mut io.outputs[0], |[dy, a, b]| {
                dy * function.derivative(side, a, b)
            });
        }))
    }
}

/// Sums input 0 to the shape of input 1, which broadcasts to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SumTo;

impl Operator for SumTo {
    fn name(&self) -> &'static str {
        "SumTo"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[1].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let (from, to) = (shapes.inputs[0], View::broadcast(shapes.inputs[1], shapes.inputs[0]));
        let axes = from.iter().copied().zip(View::contiguous(from).strides);
        // An axis of size one has stride zero in both senses: it may count as either.
        let (reduced, kept): (Vec<_>, Vec<_>) = axes.zip(to.strides).partition(|(_, stride)| *stride == 0);
        let axes =
            |list: Vec<((usize, isize), isize)>| list.into_iter().map(|(axis, _)| axis).collect::<Vec<_>>();
        let reduce = Reduce::new(Reduction::Sum, &axes(kept), &axes(reduced));
        Ok(Lowered::new(move |cpu, io| reduce.run(cpu, io.inputs.get(0), &mut io.outputs[0])))
    }
}

/// Both inputs, and after them any more, with the same function; the axis from which on the second is aligned is an attribute before opset 7.
pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let function = match import.op_type() {
        "Sub" => BinaryFunction::Sub,
        "Mul" => BinaryFunction::Mul,
        "Div" => BinaryFunction::Div,
        "Pow" => BinaryFunction::Pow,
        "Max" => BinaryFunction::Max,
        "Min" => BinaryFunction::Min,
        _ => BinaryFunction::Add,
    };
    let inputs = import.all_inputs()?;
    let (&first, rest) =
        inputs.split_first().ok_or_else(|| Error::argument(import.op_type(), "inputs", "at least 1", 0))?;
    let mut value = first;
    for (i, &next) in rest.iter().enumerate() {
        let next = if import.opset() < 7 { aligned(import, value, next)? } else { next };
        value = import.append(&format!("{}", i + 1), Broadcast(function), &[value, next])?[0];
    }
    if rest.is_empty() {
        import.forward(first)
    } else {
        import.define(0, value);
        Ok(())
    }
}

/// Before opset 7 the second value's axes lie from `axis` of the first one on.
fn aligned(import: &mut Import<'_>, a: Value, b: Value) -> Result<Value> {
    let (rank, shape) = (import.shape(a).len(), import.shape(b).to_vec());
    let axis = import.int("axis", rank as i64 - shape.len() as i64)?;
    let missing = usize::try_from(axis).ok().and_then(|axis| rank.checked_sub(axis + shape.len()));
    let missing = missing.ok_or_else(|| {
        let expected = format!("an axis from which {} axes fit into {rank}", shape.len());
        Error::argument(import.op_type(), "axis", expected, axis)
    })?;
    if missing == 0 {
        return Ok(b);
    }
    let target: Vec<i64> =
        shape.iter().map(|&size| size as i64).chain(std::iter::repeat_n(1, missing)).collect();
    Ok(import.append("aligned", Reshape { target }, &[b])?[0])
}

pub(super) fn examples() -> Vec<Example> {
    let shapes: [[&[usize]; 2]; 4] =
        [[&[2, 3, 5, 4], &[2, 3, 5, 4]], [&[2, 3, 5, 4], &[3, 1, 1]], [&[3, 1], &[2, 1, 5]], [&[4, 2], &[]]];
    let mut examples = vec![];
    for function in BinaryFunction::ALL {
        let domain = match function {
            BinaryFunction::Div | BinaryFunction::Pow => Domain::Positive,
            _ => Domain::Any,
        };
        let needs_repeating = matches!(function, BinaryFunction::Add | BinaryFunction::Mul);
        for [a, b] in shapes.into_iter().skip(usize::from(needs_repeating)) {
            examples.push(Example::new(Broadcast(function), [a, b]).domain(0, domain).domain(1, domain));
        }
    }
    examples
}
