//! Softmax and its logarithm (ONNX `Softmax`, `LogSoftmax`) along an axis.

use std::ops::RangeInclusive;

use svertka_kernels::lines::Lines;
use svertka_kernels::softmax;

use super::{Example, Layouts, Lowered, Operator, Shapes};
use crate::error::{Error, Result};
use crate::gradient::GradientContext;
use crate::onnx::{Attributes, Export, Import};

/// The elements among which a softmax or a maximum is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Along {
    /// The axis.
    pub axis: usize,
    /// Whether all later axes belong to it too, as in ONNX before opset 13.
    pub to_last: bool,
}

impl Along {
    pub(super) fn lines(self, shape: &[usize]) -> Lines {
        Lines::along(shape, self.axis..if self.to_last { shape.len() } else { self.axis + 1 })
    }

    pub(super) fn check(self, op: &dyn Operator, shape: &[usize]) -> Result<()> {
        if self.axis < shape.len() {
            return Ok(());
        }
        Err(Error::argument(op.name(), "axis", format!("an axis of shape {shape:?}"), self.axis))
    }

    /// The node; where later axes belong to the line, in this library's own domain, as the operator set written has no such form.
    pub(super) fn export(self, export: &mut Export<'_>, op_type: &str) {
        let attributes = Attributes::new().int("axis", self.axis as i64);
        if self.to_last {
            export.own_node(op_type, attributes.int("to_last", 1));
        } else {
            export.node(op_type, attributes);
        }
    }

    /// Before opset 13 the default axis is 1, and all later ones belong to the line.
    pub(super) fn import(import: &Import<'_>, shape: &[usize]) -> Result<Self> {
        let old = import.opset() < 13;
        let axis = import.axis("axis", if old { 1 } else { -1 }, shape.len())?;
        let to_last = import.int("to_last", i64::from(old))? != 0;
        Ok(Self { axis, to_last: to_last && shape[axis + 1..].iter().any(|&size| size != 1) })
    }
}

/// `exp(x) / sum(exp(x))` along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax(pub Along);

/// `x - log(sum(exp(x)))` along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogSoftmax(pub Along);

impl Softmax {
    /// Along the axis `axis`; that of classes, or channels, is 1.
    pub fn new(axis: usize) -> Self {
        Self(Along { axis, to_last: false })
    }
}

impl LogSoftmax {
    /// Along the axis `axis`; that of classes, or channels, is 1.
    pub fn new(axis: usize) -> Self {
        Self(Along { axis, to_last: false })
    }
}

impl Operator for Softmax {
    fn name(&self) -> &'static str {
        "Softmax"
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
        Ok(Lowered::new(move |cpu, io| softmax::softmax(cpu, lines, io.inputs.get(0), &mut io.outputs[0])))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(SoftmaxGradient(self.0), &[context.output(0), dy])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        self.0.export(export, "Softmax");
        Ok(())
    }
}

impl Operator for LogSoftmax {
    fn name(&self) -> &'static str {
        "LogSoftmax"
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
        Ok(Lowered::new(move |cpu, io| {
            softmax::log_softmax(cpu, lines, io.inputs.get(0), &mut io.outputs[0])
        }))
    }

    fn gradient(&self, context: &mut GradientContext<'_>) -> Result<()> {
        let Some(dy) = context.output_gradient() else { return Ok(()) };
        let dx = context.push(LogSoftmaxGradient(self.0), &[context.output(0), dy])?;
        context.add(0, dx[0])
    }

    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        self.0.export(export, "LogSoftmax");
        Ok(())
    }
}

/// Inputs: output, gradient of the output.
#[derive(Clone, Copy, Debug)]
struct SoftmaxGradient(Along);

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
        let lines = self.0.lines(shapes.inputs[0]);
        Ok(Lowered::new(move |cpu, io| {
            softmax::softmax_backward(cpu, lines, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0]);
        }))
    }
}

/// Inputs: output, gradient of the output.
#[derive(Clone, Copy, Debug)]
struct LogSoftmaxGradient(Along);

impl Operator for LogSoftmaxGradient {
    fn name(&self) -> &'static str {
        "LogSoftmaxGradient"
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, shapes: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let lines = self.0.lines(shapes.inputs[0]);
        Ok(Lowered::new(move |cpu, io| {
            softmax::log_softmax_backward(cpu, lines, io.inputs.get(0), io.inputs.get(1), &mut io.outputs[0]);
        }))
    }
}

pub(super) fn import(import: &mut Import<'_>) -> Result<()> {
    let x = import.input(0)?;
    let shape = import.shape(x).to_vec();
    let along = Along::import(import, &shape)?;
    if import.op_type() == "LogSoftmax" {
        return import.push(LogSoftmax(along), &[x]);
    }
    import.push(Softmax(along), &[x])
}

pub(super) fn examples() -> Vec<Example> {
    let shapes: [(&[usize], usize, bool); 7] = [
        (&[3, 7], 1, false),
        (&[1, 10], 1, false),
        (&[3, 7], 0, false),
        (&[2, 9, 5, 4], 1, false),
        (&[2, 3, 4, 5], 3, false),
        (&[2, 3, 5], 1, true),
        (&[6], 0, false),
    ];
    let softmax = shapes.map(|(x, axis, to_last)| Example::new(Softmax(Along { axis, to_last }), [x]));
    let log_softmax = shapes.map(|(x, axis, to_last)| Example::new(LogSoftmax(Along { axis, to_last }), [x]));
    [softmax, log_softmax].concat()
}
